// SPDX-License-Identifier: BSD-3-Clause
// A pass over a whole network by sampled units, for each group of them: how groups differ is the sampling error.
#pragma once

#include <vector>

#include "fisherfield/quantities.hpp"
#include "room.hpp"

namespace fisherfield::sampled_units {

struct Passed {
    TangentKernel<Scaled> kernel; // of the output
    std::vector<Row> rows;        // of each affine layer
};

// What one group's pass takes: bytes at most, products of numbers in those of matrices, and bytes that are written.
struct Needs {
    double bytes, products, written;
};
Needs needs_of_pass(const Network& network, const Settings& settings, const Drawing& how);

// The groups' passes, by up to `threads` threads at a time (0: as many as there are); with `only` >= 0, gradients by
// that layer's parameters alone enter the tangent kernel. BLAS must be kept to one thread. Throws Failure.
std::vector<Passed> passes(const Network& network, const Settings& settings, const Drawing& how, int threads,
                           int only = -1);

} // namespace fisherfield::sampled_units
