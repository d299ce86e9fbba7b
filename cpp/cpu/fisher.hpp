// SPDX-License-Identifier: BSD-3-Clause
// The whole chain for a described network: convolutional stages position-resolved, then the dense recursion.
#pragma once

#include <vector>

#include "described_network.hpp"
#include "fisherfield/fisher.hpp"

namespace fisherfield {

// One affine layer: what feeds it (q_hat^{l-1}) and what leaves it; means over positions for a convolution.
struct Row {
    double fan_in;
    Scaled h_xy, h_v;
    Preactivation z;
};

Outcome output_kernel(const DescribedNetwork& network, const Settings& settings, std::vector<Row>* rows = nullptr);

// Each affine layer's part of the output's (o, d); a trained BatchNorm's counts to the affine layer before it.
Outcome contributions(const DescribedNetwork& network, const Settings& settings, std::vector<Source>* parts);

} // namespace fisherfield
