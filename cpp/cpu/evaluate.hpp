// SPDX-License-Identifier: BSD-3-Clause
// A pass over a whole network on the host: position by position where an image is one, then state by state; and each
// affine layer's part of the output's kernel, by the way back.
#pragma once

#include <vector>

#include "fisherfield/quantities.hpp"

namespace fisherfield {

struct Output {
    Status status = Status::ok;
    int node = 0;                 // where the status arose
    TangentKernel<Scaled> kernel; // of the output
};

// What a pass leaves for the next one, where only nodes from `first` on have other numbers: every node's state.
struct KeptStates {
    int first = 0;
    std::vector<State<Scaled>> states;
};

// `rows`, if asked for, has one for each affine layer; those before kept->first are there still.
Output evaluate(const Network& network, const Settings& settings, std::vector<Row>* rows = nullptr,
                KeptStates* kept = nullptr);

// Each affine layer's part of the output's (o, d), by the way back from the states that a pass kept; a trained
// normalisation's counts to the affine layer before it.
std::vector<TangentKernel<Scaled>> contributions(const Network& network, const Settings& settings,
                                                 const KeptStates& kept);

} // namespace fisherfield
