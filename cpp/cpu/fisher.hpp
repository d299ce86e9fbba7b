// SPDX-License-Identifier: BSD-3-Clause
// The whole chain for a described network: convolutional stages position-resolved, then the dense recursion.
#pragma once

#include <vector>

#include "described_network.hpp"
#include "fisherfield/fisher.hpp"

namespace fisherfield {

// What a pass leaves for the next one, where only layers from `first` on have other parameters: the states that feed
// each layer, and the output's.
struct Pass {
    int first = 0;
    std::vector<ActivationState<Scaled>> feeding;
};

// Affine layers that are treated position by position.
int convolutions(const DescribedNetwork& network, Theory theory);

// `rows`, if given, has those before pass->first still.
Outcome<Scaled> output_kernel(const DescribedNetwork& network, const Settings& settings,
                              std::vector<Row>* rows = nullptr, Pass* pass = nullptr);

// Each affine layer's part of the output's (o, d); a trained BatchNorm's counts to the affine layer before it.
Outcome<Scaled> contributions(const DescribedNetwork& network, const Settings& settings,
                              std::vector<Source<Scaled>>* parts);

} // namespace fisherfield
