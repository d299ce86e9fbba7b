// SPDX-License-Identifier: BSD-3-Clause
// The bulk of the spectrum of F at finite width: a fixed point for the resolvent of Theta/n without its outlier, for
// dense networks (docs/theory.md, section 14; reference/bulk.py has the derivation and the same names).
#pragma once

#include <optional>
#include <vector>

#include "fisherfield/network.hpp"
#include "fisherfield/settings.hpp"

namespace fisherfield {

// Affine layers, beyond which nothing is solved: a step there takes milliseconds.
inline constexpr int kDeepest = 32;

// What the equations ask of the neurons of a hidden layer, at one mean m and one mean gradient g.
struct Neuron {
    double weight; // how many they are
    double b, s, bg, c, cx, cd;
};

struct NeuronLayer {
    std::vector<Neuron> neurons;
    double forward, backward; // kappa_l/N_{l-1}, kappa'_l/N_l
};

struct Bulk {
    std::vector<NeuronLayer> layers; // hidden ones
    double inputs = 0.0, v0 = 0.0;   // N_0, and the variance of an input
    std::vector<double> alpha, beta; // n alpha_0 .., n beta_1 ..
    double r = 0.0, d = 0.0;         // n r; a - b of infinite data
    double share = 0.0;              // 1/n
    double widths = 0.0;             // sum of 1/sqrt(N_l)
    bool outlier = false;            // beta > 0: it passes through the layers, and the edge is not sharp

    // d (1/sqrt(n) + sum_l 1/sqrt(N_l))^2, above the edge.
    double ceiling() const;
    // The classical position of the largest eigenvalue or, at infinite data without an outlier, the edge; NaN where the
    // iteration fails.
    double edge() const;
    // At each x, in any order: the density of the n eigenvalues, with the integral 1, and how many lie above; NaN where
    // the iteration fails.
    void spectrum(const double* x, int count, double* density, double* above) const;
};

// Of a chain of dense layers, of whose hidden ones all have a BatchNorm or none; none of any other network.
std::optional<Bulk> bulk_of(const Network& network, const Settings& settings);

} // namespace fisherfield
