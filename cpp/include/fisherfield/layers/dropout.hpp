// SPDX-License-Identifier: BSD-3-Clause
// Dropout in train mode: m h/p with m = 1 with probability p = 1 - rate, else 0 (N. Srivastava et al., JMLR 15, 1929,
// 2014), drawn for each input and unit, and fixed where the gradient is taken. E m^2/p^2 = 1/p: the factor's variance
// is rate/(1 - rate).
#pragma once

#include "fisherfield/layers/noise.hpp"

namespace fisherfield {

template <class N = double>
struct Dropout {
    N rate;

    template <class H, class S, class I, class Visit>
    FISHERFIELD_HD FISHERFIELD_INLINE Status pass(const H& h, const S&, const I&, Visit&& visit) const {
        using T = decltype(h.v);
        visit(noise_law(h, T(rate) / (T(1.0) - T(rate))));
        return Status::ok;
    }
};

} // namespace fisherfield
