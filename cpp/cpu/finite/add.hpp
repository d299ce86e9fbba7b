// SPDX-License-Identifier: BSD-3-Clause
// The sum of branches. The pass over the nodes forms it: what is left to do is to hand it on.
#pragma once

#include "map.hpp"

namespace fisherfield::finite_network {

template <class T>
class Add final : public Map<T> {
    using Map<T>::out, Map<T>::rows_out;

public:
    explicit Add(const Image& image) : Map<T>(image, image) {}

    Buffer<T> forward(Buffer<T> sum, const Pass& pass) override;
    void pull(const T* deltas, T* result, T* code, bool direct) override;
    void push(const T* changes, T* result, const T* code, bool direct) override;
};

} // namespace fisherfield::finite_network
