// SPDX-License-Identifier: BSD-3-Clause
// What a scan may vary and what it gives back, one point at a time: the whole chain from parameters to learning rate.
#pragma once

#include "fisherfield/fisher.hpp"
#include "fisherfield/learning_rate.hpp"

namespace fisherfield {

// Of every layer that has it, or of one.
enum class Field { sigma_w2, sigma_b2, gamma, beta, eps, width, samples, overlap, length, momentum };
inline constexpr const char* kFieldNames[] = {"sigma_w2", "sigma_b2", "gamma",   "beta",   "eps",
                                              "width",    "samples",  "overlap", "length", "momentum"};
inline constexpr int kFields = 10;

// Of a point, then of each of its layers.
enum class Quantity {
    lambda_max,
    bulk,
    mean,
    second_moment,
    max_learning_rate,
    multiplicity,
    parameters,
    outlier,
    a,
    b,
    fan_in,
    q_hat,
    q_hat_xy,
    v_hat,
    q,
    q_xy,
    v,
    theta,
    theta_xy,
    d,
    c,
    part_a,
    part_b
};
inline constexpr const char* kQuantityNames[] = {"lambda_max",
                                                 "bulk",
                                                 "mean",
                                                 "second_moment",
                                                 "max_learning_rate",
                                                 "multiplicity",
                                                 "parameters",
                                                 "outlier",
                                                 "a",
                                                 "b",
                                                 "fan_in",
                                                 "q_hat",
                                                 "q_hat_xy",
                                                 "v_hat",
                                                 "q",
                                                 "q_xy",
                                                 "v",
                                                 "theta",
                                                 "theta_xy",
                                                 "d",
                                                 "c",
                                                 "part_a",
                                                 "part_b"};
inline constexpr int kQuantities = 23;

FISHERFIELD_HD inline bool of_layers(Quantity which) { return which >= Quantity::fan_in; }

// Beside the statuses of integrals.
inline constexpr int kBeyondRange = 5;  // a number that was asked for stands as 0 or inf
inline constexpr int kInadmissible = 6; // parameters that do not go together at this point

// n inputs of one length have overlaps of -length/(n - 1) at least; one sample has no variance for a BatchNorm.
FISHERFIELD_HD inline bool admissible(const Settings& settings, bool batch_norm) {
    const double n = settings.samples, least = !settings.finite()      ? 0.0
                                               : settings.one_sample() ? -settings.length
                                                                       : -settings.length / (n - 1.0);
    return settings.overlap >= least && settings.overlap <= settings.length && !(batch_norm && settings.one_sample());
}

// P: weights, biases, and gamma and beta of trained BatchNorms.
FISHERFIELD_HD inline double parameters(const Block* blocks, int count, bool biases) {
    double sum = 0.0;
    for (int l = 0; l < count; ++l) {
        const Block& block = blocks[l];
        const bool trained = block.batch_norm && block.trained;
        sum += block.units * (block.fan_in + (biases ? 1.0 : 0.0) + (trained ? 2.0 : 0.0));
    }
    return sum;
}

// What a layer's parameters are changed by; the slot's value stands for N_l of every hidden layer where it is a width.
FISHERFIELD_HD inline void assign(Field field, double value, Block* block) {
    switch (field) {
    case Field::sigma_w2:
        block->sigma_w2 = value;
        break;
    case Field::sigma_b2:
        block->sigma_b2 = value;
        break;
    case Field::gamma:
        block->gamma = value;
        break;
    case Field::beta:
        block->beta = value;
        break;
    case Field::eps:
        block->eps = value;
        break;
    default:
        break;
    }
}

// Units of every hidden layer; fan_in keeps its number of taps, and of positions where an image is flattened.
FISHERFIELD_HD inline void widen(double width, Block* blocks, int count) {
    for (int l = 0; l + 1 < count; ++l) {
        blocks[l + 1].fan_in = blocks[l + 1].fan_in / blocks[l].units * width;
        blocks[l].units = width;
    }
}

FISHERFIELD_HD inline void assign(Field field, double value, Settings* settings, double* momentum) {
    switch (field) {
    case Field::samples:
        settings->samples = value;
        break;
    case Field::overlap:
        settings->overlap = value;
        break;
    case Field::length:
        settings->length = value;
        break;
    case Field::momentum:
        *momentum = value;
        break;
    default:
        break;
    }
}

// A quantity of a point from the output's kernel.
FISHERFIELD_HD inline Scaled quantity(Quantity which, const Source<Scaled>& kernel, const Settings& settings,
                                      double momentum, Loss loss, double outputs, double parameters) {
    const Spectrum<Scaled> s = spectrum(kernel, settings, Scaled(outputs / parameters));
    switch (which) {
    case Quantity::lambda_max:
        return s.lambda_max;
    case Quantity::bulk:
        return s.bulk;
    case Quantity::mean:
        return s.mean;
    case Quantity::second_moment:
        return s.second_moment;
    case Quantity::max_learning_rate:
        return max_learning_rate(s.lambda_max, momentum, loss, outputs);
    case Quantity::multiplicity:
        return multiplicity(outlier(kernel, settings), settings, outputs, parameters);
    case Quantity::parameters:
        return parameters;
    case Quantity::outlier:
        return outlier(kernel, settings) ? 1.0 : 0.0;
    case Quantity::a:
        return kernel.o + kernel.d;
    case Quantity::b:
        return kernel.o;
    default:
        return 0.0;
    }
}

} // namespace fisherfield
