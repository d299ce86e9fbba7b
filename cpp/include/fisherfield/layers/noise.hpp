// SPDX-License-Identifier: BSD-3-Clause
// The law of a random factor of each unit, position and input, of mean 1 and variance `noise`, drawn anew for each
// input: products of two inputs, or of two positions, keep their means, squares grow.
//
//     xy, o, off, mean as they are        v = v + noise (xy + mean^2 + v)        d = d + noise (o + d)
#pragma once

#include "fisherfield/state.hpp"
#include "fisherfield/status.hpp"

namespace fisherfield {

template <class T, class Xy, class Off, class Mean>
struct NoiseLaw {
    Xy xy;
    T v;
    Off off;
    Mean mean;
    T noise;
    TangentKernel<Zero> own{};

    template <class K>
    FISHERFIELD_HD FISHERFIELD_INLINE auto kernel(const K& k) const {
        return TangentKernel{k.o, k.d + noise * (k.o + k.d), k.ou, k.du};
    }
};

template <class H, class T>
FISHERFIELD_HD FISHERFIELD_INLINE auto noise_law(const H& h, const T& noise) {
    using Law = NoiseLaw<T, decltype(h.xy), decltype(h.off), decltype(h.mean)>;
    return Law{h.xy, h.v + noise * (overlap(h) + h.v), h.off, h.mean, noise};
}

} // namespace fisherfield
