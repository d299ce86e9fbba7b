// SPDX-License-Identifier: BSD-3-Clause
// Pooling: one number a channel and window.
#pragma once

#include "map.hpp"

namespace fisherfield::finite_network {

// The mean over windows; zeros around the image count.
template <class T>
class AveragePool final : public Map<T> {
    using Map<T>::in, Map<T>::out, Map<T>::samples, Map<T>::rows_in, Map<T>::rows_out;

public:
    AveragePool(const Image& in, const Windows& windows)
        : Map<T>(in, slid(in, windows, in.channels)), windows_(windows) {}

    Buffer<T> forward(Buffer<T> activations, const Pass& pass) override;
    void pull(const T* deltas, T* result, T* code, bool direct) override;
    void push(const T* changes, T* result, const T* code, bool direct) override;

    // What is the same in all rows stays the same; a border of zeros tells the positions of a channel apart.
    Means removable(Means behind) const override {
        return behind == Means::channels && windows_.padding != Pair{0, 0} ? Means::none : behind;
    }

private:
    template <class Pixels>
    void each(const Pixels& pixels) const;

    Windows windows_;
};

} // namespace fisherfield::finite_network
