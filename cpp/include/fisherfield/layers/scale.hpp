// SPDX-License-Identifier: BSD-3-Clause
// The law of normalisations over the units of one sample: everything times a factor, which is the same for all samples.
#pragma once

#include "fisherfield/state.hpp"
#include "fisherfield/status.hpp"

namespace fisherfield {

template <class T>
struct ScaleLaw {
    T xy, v, off, mean;
    T factor; // gamma^2 share
    // where positions differ (cpp/cpu/positions/scale.cpp):
    T share;         // 1/(f + eps), f the mean square of what is normalised
    T centre, shift; // what is taken off units, and beta, which is put in its place
    T of_beta;       // a trained beta's gradient
    TangentKernel<T> own;

    template <class K>
    FISHERFIELD_HD FISHERFIELD_INLINE auto kernel(const K& k) const {
        return TangentKernel{factor * k.o, factor * k.d, factor * k.ou, factor * k.du};
    }
};

} // namespace fisherfield
