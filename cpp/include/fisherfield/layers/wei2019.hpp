// SPDX-License-Identifier: BSD-3-Clause
// BatchNorm and phi by the published rule (M. Wei, J. Stokes, D. J. Schwab, arXiv 1903.02606, 23-25), as one layer:
//
//     q_hat_xy = (E phi)^2, v = Var phi at g       o = f (E phi')^2 o       D = f E[phi'^2] D,   f = gamma^2/(q + eps)
//
// with slopes at gamma, where docs/theory.md, section 4, has gamma^2/(v + eps), and slopes at g.
#pragma once

#include "fisherfield/integrals.hpp"
#include "fisherfield/state.hpp"

namespace fisherfield {

template <class T>
struct PublishedLaw {
    T xy, v, mean;
    T slope, slope_difference, slope_second;
    TangentKernel<T, T, Zero> own;
    Zero off{};

    template <class K>
    FISHERFIELD_HD FISHERFIELD_INLINE TangentKernel<T, T, Zero> kernel(const K& k) const {
        return {slope * k.o, slope_difference * k.o + slope_second * k.d, {}, {}};
    }
};

template <class N = double, class Beta = N, class Eps = N>
struct PublishedBatchNorm {
    N gamma;
    Beta beta;
    Eps eps;
    bool trained = false;

    template <class Z, class S, class I, class Visit>
    FISHERFIELD_HD FISHERFIELD_INLINE Status pass(const Z& z, const S&, const I& integrals, Visit&& visit) const {
        using T = decltype(z.v);
        constexpr bool without_eps = std::is_same_v<Eps, Zero>;
        const T s2 = z.v + eps, gamma2 = T(gamma) * T(gamma);
        if (is_zero(s2)) {
            return Status::zero_variance;
        }
        const bool exactly = without_eps || is_zero(T(eps));
        const T k = exactly ? T(1.0) : z.v / s2, g2 = exactly ? gamma2 : k * gamma2;
        const auto at_g = integrals.independent(g2, T(beta));
        const auto slopes = exactly ? at_g : integrals.independent(gamma2, T(beta));
        const T mean2 = slopes.slope_mean * slopes.slope_mean, u2 = slopes.u_slope * slopes.u_slope;
        const T factor = gamma2 / (z.xy + z.v + eps);
        PublishedLaw<T> out{};
        out.xy = mean_squared(at_g);
        out.v = at_g.variance;
        out.slope = factor * mean2;
        out.slope_difference = factor * slopes.slope_variance;
        out.slope_second = factor * slopes.slope_second;
        if (trained) {
            out.own = {mean2 + k * u2, slopes.slope_variance + k * (slopes.u2_slope2 - u2), {}, {}};
        }
        visit(out);
        return at_g.status != Status::ok ? at_g.status : slopes.status;
    }
};

} // namespace fisherfield
