// SPDX-License-Identifier: BSD-3-Clause
// Convolutional layers, position-resolved: |K| x |K| matrices for one input and for two. docs/theory.md, section 5.
#pragma once

#include <vector>

#include "described_network.hpp"
#include "fisherfield/order_parameters.hpp"

namespace fisherfield {

// entries 2^(512 exponent), as Scaled. The input's positions are independent: of its matrices only diagonals are held.
struct Matrix {
    std::vector<double> entries;
    int exponent = 0;
    bool diagonal = false;

    Scaled at(size_t index) const { return {entries[index], exponent}; }
};

// The matrices over pairs of positions: overlaps of two inputs, what one input with itself has beyond that, and the
// same of the tangent kernel; and `apart`, half the mean square of what one input's values at two positions differ by.
// With lengths q, q_a + q_b - 2 (xy + v) is twice that, but by a difference that loses its digits where windows look
// alike.
struct ImageState {
    Pair size{1, 1};
    Matrix xy, v, o, d, apart;

    long positions() const { return static_cast<long>(size[0]) * size[1]; }
    // Means over positions, i.e. of the diagonals, as one row of order parameters.
    Preactivation<Scaled> diagonal() const;
};

// Whether an integral is cheaper than looking up whether it was made before; else all that differ are kept for a while.
bool cheap(const Activation& activation, double shift);

ImageState image_input(Pair size, const Settings& settings);

// z = W * h + b. `own` says whether this layer's gradients are added to the tangent kernel.
ImageState convolve(const Block& block, const Windows& windows, ImageState h, bool biases, bool own);

// BatchNorm (if the block has one), then the activation.
Status activate(const Block& block, ImageState* z, const Settings& settings, bool own);

ImageState average_pool(const Windows& windows, ImageState h);

} // namespace fisherfield
