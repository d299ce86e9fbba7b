// SPDX-License-Identifier: BSD-3-Clause
// gamma (z - mean)/sqrt(var + eps) + beta over n samples (S. Ioffe, C. Szegedy, arXiv 1502.03167), in front of phi.
//
// With s2 = v + eps, k = v/s2, c = gamma^2/s2, g^2 = k gamma^2 and r = 1/(n - 1):
//
//              xy             v               off      o        d            ou                  du
//     exact    0              g^2             -g^2 r   -c d r   c d (1+r)    -c d k (2-k) r      -ou
//     closed   -gamma^2 r     gamma^2 (1+r)   0        -x/n     x            -x/n                0     x = c d n/(n-3)
//     frozen   0              g^2             0        c o      c d          0                   0
//
// Where the units' kernel has (ou, du) already, behind a sum of normalised branches, the gradient of mean and variance
// takes ou away, and du counts with d, up to terms of O(1/n) of it. Frozen, with w = v/(xy + v), c w of both goes on,
// and c (1 - w) ou joins o, c (1 - w) du joins d: what u shares with the mean over the data is the same for all of
// them.
//
// Trained, beta adds 1 to o, and gamma k to ou (1 where closed). `closed` is exact where phi is positively homogeneous:
// direction and radius of the centred batch are independent, and E 1/r^2 = 1/(s2 (n - 3)). `exact` keeps 1/n of the
// statistics' own gradients. The Gaussian is symmetric, so gamma's sign drops out. (docs/theory.md, section 4)
#pragma once

#include "fisherfield/closed_form.hpp"
#include "fisherfield/settings.hpp"
#include "fisherfield/state.hpp"

namespace fisherfield {

// Coefficients of what a normalisation makes of (o, d), and what its gamma and beta add. Of those that are Zero nothing
// is left.
template <class T, class Xy, class Off, class Mean, class OO, class OD, class UD, class DUD>
struct NormLaw {
    Xy xy;
    T v;
    Off off;
    Mean mean;
    OO oo;
    OD od;
    T dd;
    UD ud;   // ou from d
    DUD dud; // du from d
    TangentKernel<Zero, T, T, Zero> own;

    template <class K>
    FISHERFIELD_HD FISHERFIELD_INLINE auto kernel(const K& k) const {
        const T d = k.d + k.du;
        return TangentKernel{oo * k.o + od * d, dd * d, ud * d, dud * d};
    }
};

template <class T, class Xy, class Off, class Mean, class OO, class OD, class UD, class DUD>
NormLaw(Xy, T, Off, Mean, OO, OD, T, UD, DUD, TangentKernel<Zero, T, T, Zero>)
    -> NormLaw<T, Xy, Off, Mean, OO, OD, UD, DUD>;

template <class T, class Mean, class Share>
struct FrozenLaw {
    T v;
    Mean mean;
    T c;
    Share kept, joined; // c w, c (1 - w)
    TangentKernel<Zero, T, T, Zero> own;
    Zero xy{}, off{};

    template <class K>
    FISHERFIELD_HD FISHERFIELD_INLINE auto kernel(const K& k) const {
        return TangentKernel{c * k.o + joined * k.ou, c * k.d + joined * k.du, kept * k.ou, kept * k.du};
    }
};

template <class N = double, class Beta = N, class Eps = N>
struct BatchNorm {
    N gamma;
    Beta beta;
    Eps eps;
    bool trained = false;
    bool closed_form = false; // phi behind it is positively homogeneous, and it is not the output

    template <class S>
    FISHERFIELD_HD bool closed(const S& settings) const {
        return closed_form && settings.theory == Theory::exact && settings.samples >= 4.0 && gamma != 0.0 &&
               beta == 0.0 && eps == 0.0;
    }

    template <class Z>
    FISHERFIELD_HD FISHERFIELD_INLINE auto exact(const Z& z, const auto& r) const {
        using T = decltype(z.v);
        const auto at = scales(z);
        const T c = at.c, k = at.k, cr = c * r, u = cr * (k * (T(2.0) - k));
        return NormLaw{Zero(), at.g2, -(at.g2 * r), shift<T>(), Zero(), -cr, c + cr, -u, u, own(k)};
    }

    template <class Z>
    FISHERFIELD_HD FISHERFIELD_INLINE auto closed(const Z& z, const auto& n, const auto& share, const auto& r) const {
        using T = decltype(z.v);
        const auto at = scales(z);
        const T gr = at.gamma2 * r, x = at.c * (n / (n - T(3.0))), off = -(x * share);
        return NormLaw{-gr, at.gamma2 + gr, Zero(), Zero(), Zero(), off, x, off, Zero(), own(T(1.0))};
    }

    template <class Z>
    FISHERFIELD_HD FISHERFIELD_INLINE auto frozen(const Z& z) const {
        using T = decltype(z.v);
        const auto at = scales(z);
        const auto law = [&](const auto& kept, const auto& joined) {
            using Share = std::decay_t<decltype(kept)>;
            return FrozenLaw<T, decltype(shift<T>()), Share>{at.g2, shift<T>(), at.c, kept, joined, own(at.k)};
        };
        if constexpr (std::is_same_v<decltype(z.kernel.ou), Zero>) {
            return law(Zero(), Zero());
        } else {
            const T q = z.xy + z.v, w = is_zero(q) ? T(1.0) : z.v / q;
            return law(at.c * w, at.c * (T(1.0) - w));
        }
    }

    template <class Z, class S, class I, class Visit>
    FISHERFIELD_HD FISHERFIELD_INLINE Status pass(const Z& z, const S& settings, const I&, Visit&& visit) const {
        using T = decltype(z.v);
        if (is_zero(z.v + T(eps))) {
            return Status::zero_variance;
        }
        const T r(settings.one_over_n_minus_1());
        if (closed(settings)) {
            visit(closed(z, T(settings.samples), T(settings.one_over_n()), r));
        } else if (settings.theory == Theory::exact) {
            visit(exact(z, r));
        } else {
            visit(frozen(z));
        }
        return Status::ok;
    }

private:
    template <class T>
    struct Scales {
        T gamma2, k, c, g2;
    };

    template <class Z>
    FISHERFIELD_HD FISHERFIELD_INLINE auto scales(const Z& z) const {
        using T = decltype(z.v);
        const T gamma2 = T(gamma) * T(gamma);
        if constexpr (std::is_same_v<Eps, Zero>) {
            return Scales<T>{gamma2, T(1.0), gamma2 / z.v, gamma2};
        } else {
            const T s2 = z.v + T(eps), k = is_zero(T(eps)) ? T(1.0) : z.v / s2;
            return Scales<T>{gamma2, k, gamma2 / s2, k * gamma2};
        }
    }

    template <class T>
    FISHERFIELD_HD FISHERFIELD_INLINE auto shift() const {
        if constexpr (std::is_same_v<Beta, Zero>) {
            return Zero();
        } else {
            return T(beta);
        }
    }

    template <class T>
    FISHERFIELD_HD FISHERFIELD_INLINE TangentKernel<Zero, T, T, Zero> own(const T& k) const {
        return {trained ? T(1.0) : T(0.0), {}, trained ? k : T(0.0), {}};
    }
};

} // namespace fisherfield
