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

// The four matrices over pairs of positions: overlaps of two inputs, what one input with itself has beyond that, and
// the same of the tangent kernel.
struct ImageState {
    Pair size{1, 1};
    Matrix xy, v, o, d;

    long positions() const { return static_cast<long>(size[0]) * size[1]; }
    // Means over positions, i.e. of the diagonals, as one row of order parameters.
    Preactivation<Scaled> diagonal() const;
};

ImageState image_input(Pair size, const Settings& settings);

// z = W * h + b. `own` says whether this layer's gradients are added to the tangent kernel.
ImageState convolve(const Block& block, const Windows& windows, ImageState h, bool biases, bool own);

// BatchNorm (if the block has one), then the activation.
Status activate(const Block& block, ImageState* z, const Settings& settings, bool own);

ImageState average_pool(const Windows& windows, ImageState h);

} // namespace fisherfield
