// SPDX-License-Identifier: BSD-3-Clause
// gamma (h - m)/sqrt(f + eps) + beta over the units of one sample (J. L. Ba, J. R. Kiros, G. E. Hinton, arXiv
// 1607.06450); over those of many channels and all positions, GroupNorm (Y. Wu, K. He, arXiv 1803.08494).
//
// m and f are sums over many units: of infinitely many they are the same for every sample, and no gradient flows
// through them. With s = gamma^2/(f + eps),
//
//     f = xy + v               xy = s xy                      v = s v    off = s off    mean = beta
//     (o, d, ou, du) times s
//
// the same for Gaussian units and for activations, whose xy has no mean's square in it. Trained, beta adds 1 to o;
// gamma adds, of Gaussian units, (xy + v)/(f + eps) to ou, and of activations xy/(f + eps) to o and v/(f + eps) to d,
// and so of Gaussian units where gamma = 0: of those nothing is left that a kernel could go with. What all samples have
// in common is kept: it removes no outlier. (docs/theory.md, section 4)
#pragma once

#include "fisherfield/layers/scale.hpp"
#include "fisherfield/status.hpp"

namespace fisherfield {

template <class N = double>
struct LayerNorm {
    N gamma, beta, eps;
    bool trained = false;
    bool gaussian = true; // it reads Gaussian units

    template <class Z, class S, class I, class Visit>
    FISHERFIELD_HD FISHERFIELD_INLINE Status pass(const Z& z, const S&, const I&, Visit&& visit) const {
        using T = decltype(z.v);
        const T shift(beta), f = z.xy + z.v + T(eps);
        if (is_zero(f)) {
            return Status::zero_variance;
        }
        const T share = T(1.0) / f, s = T(gamma) * T(gamma) * share, one(trained ? 1.0 : 0.0);
        const T of_xy = one * (z.xy * share), of_v = one * (z.v * share);
        ScaleLaw<T> out{};
        out.xy = s * z.xy;
        out.v = s * z.v;
        out.off = s * z.off;
        out.mean = out.shift = shift;
        out.factor = s;
        out.share = share;
        out.centre = gaussian ? T(0.0) : T(z.mean);
        out.of_beta = one;
        out.own = gaussian && !is_zero(T(gamma)) ? TangentKernel<T>{one, 0.0, of_xy + of_v, 0.0}
                                                 : TangentKernel<T>{one + of_xy, of_v, 0.0, 0.0};
        visit(out);
        return Status::ok;
    }
};

} // namespace fisherfield
