// SPDX-License-Identifier: BSD-3-Clause
// h = phi(z), unit by unit; the slopes phi'(z) are kept.
#pragma once

#include "fisherfield/activations.hpp"
#include "map.hpp"

namespace fisherfield::finite_network {

template <class T>
class Phi final : public Map<T> {
    using Map<T>::out, Map<T>::rows_out;

public:
    Phi(const Image& image, const Activation& phi) : Map<T>(image, image), phi_(phi) {}

    Buffer<T> forward(Buffer<T> z, const Pass& pass) override;
    void pull(const T* deltas, T* result, T* code, bool direct) override;
    void push(const T* changes, T* result, const T* code, bool direct) override;

    bool in_place() const override { return true; }
    double kept(double n) const override { return linear() ? 0.0 : n * out.units(); }

private:
    bool linear() const { return phi_.kind == Kind::linear; }

    Activation phi_;
    Buffer<T> slope_;
};

} // namespace fisherfield::finite_network
