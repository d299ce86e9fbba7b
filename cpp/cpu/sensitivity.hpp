// SPDX-License-Identifier: BSD-3-Clause
// What lambda_max and the output's overlap b move by when sums over the units of a layer do: the derivatives of the
// recursion, by the way back (docs/theory.md, section 13).
//
// Sums over N units behind every phi scatter about what infinitely many have: q_hat, q_hat_xy, the mean, and t, what
// phi' makes of o. An activation's rates are those of log lambda_max by each of them. The rates of log b for one sample
// that differs from all others are the same but for BatchNorm, whose statistics one sample does not move.
#pragma once

#include <vector>

#include "evaluate.hpp"

namespace fisherfield {

// Derivatives by q_hat at fixed q_hat_xy, by q_hat_xy at fixed q_hat, by the mean, by t at fixed E phi'^2; and of what
// a LayerNorm or RMSNorm before phi takes its units through: by the logarithm of the mean square that it divides by,
// and by the mean that it takes off, over the root of that.
struct Rates {
    Scaled q, xy, mean, t, divisor, centre;
};

// Of an activation, or of the data, whose node is kData.
struct Sensitivity {
    int node = kData;
    bool normed = false;   // a BatchNorm stands before it
    State<Scaled> in;      // the Gaussian units that it reads; of the data, the data
    Rates lambda;          // of log lambda_max, for the outlier
    Rates sample;          // of log b, as one sample moves it
    Scaled worth, worth_d; // of log b by the kernel's o behind it, and of the diagonal by its D, over b
};

struct Sensitivities {
    Status status = Status::ok;
    int node = 0;
    std::vector<Sensitivity> rows; // the data first, then activations in the order of the nodes
};

// Of the outputs, Gaussian units.
struct OutputState {
    Status status = Status::ok;
    int node = 0;
    State<Scaled> z;
};

OutputState output_state(const Network& network, const Settings& settings);

// A network without positions, whose output has b > 0.
Sensitivities sensitivities(const Network& network, const Settings& settings);

} // namespace fisherfield
