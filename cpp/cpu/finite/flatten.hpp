// SPDX-License-Identifier: BSD-3-Clause
// Units of an image, (channels, positions), as units of one position, in PyTorch's order. Dense layers read images as
// they are; this is for those that take each unit for itself.
#pragma once

#include "map.hpp"

namespace fisherfield::finite_network {

template <class T>
class Flatten final : public Map<T> {
    using Map<T>::in, Map<T>::samples;

public:
    explicit Flatten(const Image& image) : Map<T>(image, Image{static_cast<int>(image.units()), {1, 1}}) {}

    Buffer<T> forward(Buffer<T> activations, const Pass& pass) override;
    void pull(const T* deltas, T* result, T* code, bool direct) override;
    void push(const T* changes, T* result, const T* code, bool direct) override;

    // A mean of each unit is one of each unit before.
    Means removable(Means behind) const override { return behind == Means::none ? behind : Means::units; }
};

} // namespace fisherfield::finite_network
