// SPDX-License-Identifier: BSD-3-Clause
// gamma (h - m)/sqrt(f + eps) + beta over the units of one sample (J. L. Ba, J. R. Kiros, G. E. Hinton, arXiv
// 1607.06450); over those of many channels and all positions, GroupNorm (Y. Wu, K. He, arXiv 1803.08494).
//
// m and f are sums over many units: of infinitely many they are the same for every sample, and no gradient flows
// through them. With s = gamma^2/(f + eps),
//
//     Gaussian units      f = xy + v               xy = s xy                      v = s v    off = s off    mean = beta
//     activations         f = xy + v - mean^2      xy = s (xy - mean^2) + beta^2  v = s v    off = s off    mean = beta
//     (o, d, ou, du) times s
//
// Trained, beta adds 1 to o; gamma adds, of Gaussian units, f/(f + eps) to ou, and of activations (xy - mean^2)/(f +
// eps) to o and v/(f + eps) to d. What all samples have in common is kept: it removes no outlier. (docs/theory.md,
// section 4)
#pragma once

#include "fisherfield/layers/scale.hpp"
#include "fisherfield/status.hpp"

namespace fisherfield {

template <class N = double>
struct LayerNorm {
    static constexpr double kRoundings = 8 * 0x1p-52; // of a mean's square and of what it is taken from

    N gamma, beta, eps;
    bool trained = false;
    bool gaussian = true; // it reads Gaussian units

    template <class Z, class S, class I, class Visit>
    FISHERFIELD_HD FISHERFIELD_INLINE Status pass(const Z& z, const S&, const I&, Visit&& visit) const {
        using T = decltype(z.v);
        const T shift(beta), centre = gaussian ? T(0.0) : T(z.mean);
        const T square = centre * centre, difference = z.xy - square, sum = difference + z.v;
        const auto rounding = sum < T(kRoundings) * square; // activations that are all the same
        const T xy = pick(rounding, T(0.0), difference), f = pick(rounding, T(0.0), sum) + T(eps);
        if (is_zero(f)) {
            return Status::zero_variance;
        }
        const T share = T(1.0) / f, s = T(gamma) * T(gamma) * share, one(trained ? 1.0 : 0.0);
        const T of_xy = one * (xy * share), of_v = one * (z.v * share);
        ScaleLaw<T> out{};
        out.xy = gaussian ? s * xy : s * xy + shift * shift;
        out.v = s * z.v;
        out.off = s * z.off;
        out.mean = out.shift = shift;
        out.factor = s;
        out.share = share;
        out.centre = centre;
        out.of_beta = one;
        out.own =
            gaussian ? TangentKernel<T>{one, 0.0, of_xy + of_v, 0.0} : TangentKernel<T>{one + of_xy, of_v, 0.0, 0.0};
        visit(out);
        return Status::ok;
    }
};

} // namespace fisherfield
