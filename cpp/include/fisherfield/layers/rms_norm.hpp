// SPDX-License-Identifier: BSD-3-Clause
// gamma h/sqrt(f + eps), f the mean square over the units of one sample (B. Zhang, R. Sennrich, arXiv 1910.07467): over
// many units the same for every sample, and no gradient flows through it. With s = gamma^2/(f + eps),
//
//     f = xy + v + mean^2        xy, v, off, o, d, ou, du times s        mean times gamma/sqrt(f + eps)
//
// A trained gamma adds mean^2/(f + eps) to o, and of Gaussian units (xy + v)/(f + eps) to ou; of activations, and where
// gamma = 0, xy/(f + eps) to o and v/(f + eps) to d. Of Gaussian units with a mean, products of it and u are left out
// there. What all samples have in common is kept: it removes no outlier. (docs/theory.md, section 4)
#pragma once

#include "fisherfield/layers/scale.hpp"

namespace fisherfield {

template <class N = double>
struct RmsNorm {
    N gamma, eps;
    bool trained = false;
    bool gaussian = true; // it reads Gaussian units

    template <class Z, class S, class I, class Visit>
    FISHERFIELD_HD FISHERFIELD_INLINE Status pass(const Z& z, const S&, const I&, Visit&& visit) const {
        using T = decltype(z.v);
        const T mean(z.mean), mean2 = mean * mean, q = z.xy + z.v, f = q + mean2 + T(eps);
        if (is_zero(f)) {
            return Status::zero_variance;
        }
        const T share = T(1.0) / f, one(trained ? 1.0 : 0.0);
        ScaleLaw<T> out{};
        out.factor = T(gamma) * T(gamma) * share;
        out.share = share;
        out.xy = out.factor * z.xy;
        out.v = out.factor * z.v;
        out.off = out.factor * z.off;
        out.mean = T(gamma) * sqrt(share) * mean;
        out.own = gaussian && !is_zero(T(gamma))
                      ? TangentKernel<T>{one * (mean2 * share), 0.0, one * (q * share), 0.0}
                      : TangentKernel<T>{one * ((z.xy + mean2) * share), one * (z.v * share), 0.0, 0.0};
        visit(out);
        return Status::ok;
    }
};

} // namespace fisherfield
