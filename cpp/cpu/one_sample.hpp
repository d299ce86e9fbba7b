// SPDX-License-Identifier: BSD-3-Clause
// The Gaussian integrals of a single sample's length and gradient behind BatchNorm (docs/theory.md, section 14;
// reference/one_sample.py has the derivation and the same names).
#pragma once

#include "fisherfield/activation.hpp"

namespace fisherfield {

// Of phi(y) and phi'(y), y = scale u + shift, u ~ N(0, 1). F = (phi - mean)^2, Q = phi^2, D = phi'^2.
struct SampleMoments {
    double mean, variance, square, slope, mean_slope;     // E phi, E F, E Q, E D, E phi'
    double forward, read, backward;                       // d log E F, E Q, E D / d log of the variance of y
    double of_variance, of_square, of_slope;              // E F^2/(E F)^2 - 1, of Q, and of D g^2
    double variance_square, variance_slope, square_slope; // E F Q/(E F E Q) - 1 and so on
};
SampleMoments sample_moments(const Activation& activation, double scale, double shift);

// E F, E Q and E D over the units where y = scale h/sqrt(1 + share (h^2 - 1)) + shift, h ~ N(0, length): the sample has
// this share of each unit's variance.
struct SampleLengths {
    double variance, square, slope;
};
SampleLengths sample_lengths(const Activation& activation, double scale, double shift, double mean, double length,
                             double share);

} // namespace fisherfield
