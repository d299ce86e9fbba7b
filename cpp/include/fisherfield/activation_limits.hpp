// SPDX-License-Identifier: BSD-3-Clause
// What phi and phi' tend to on both sides, and what is left of them beyond.
#pragma once

#include <cmath>

#include "fisherfield/activation.hpp"
#include "fisherfield/activation_values.hpp"
#include "fisherfield/host_device.hpp"

namespace fisherfield {

// The limits of phi and phi' at -infinity or +infinity; 0 where phi has none, and from there it counts as it is.
struct Limits {
    double value, slope;
};

FISHERFIELD_HD_APART inline Limits limits_of(const Activation& activation, bool right) {
    const double side = right ? 1.0 : -1.0;
    switch (activation.kind) {
    case Kind::tanh:
    case Kind::erf:
    case Kind::hardtanh:
    case Kind::softsign:
        return {side, 0.0};
    case Kind::sigmoid:
    case Kind::hardsigmoid:
        return {right ? 1.0 : 0.0, 0.0};
    case Kind::relu6:
        return {right ? 6.0 : 0.0, 0.0};
    case Kind::gelu:
    case Kind::silu:
    case Kind::softplus:
    case Kind::mish:
    case Kind::hardswish:
    case Kind::gelu_tanh:
        return {0.0, right ? 1.0 : 0.0};
    case Kind::elu:
        return {right ? 0.0 : -activation.parameter, right ? 1.0 : 0.0};
    case Kind::selu:
        return {right ? 0.0 : -formulas::kSeluScale * formulas::kSeluAlpha, right ? formulas::kSeluScale : 0.0};
    case Kind::celu:
        return {right || activation.parameter < 0.0 ? 0.0 : -activation.parameter, right ? 1.0 : 0.0};
    default:
        return {0.0, 0.0};
    }
}

// phi(x) less its limit on one side. Where phi is saturated this is all that is left of it, and keeps its digits.
FISHERFIELD_HD inline double value_beyond(const Activation& activation, double x, bool right) {
    using namespace formulas;
    const double side = right ? 1.0 : -1.0, parameter = activation.parameter;
    switch (activation.kind) {
    case Kind::tanh:
        return -2.0 * side * sigmoid(-2.0 * side * x);
    case Kind::erf:
        return -side * std::erfc(side * x);
    case Kind::hardtanh:
        return side * x > 1 ? 0.0 : side * x < -1 ? -2.0 * side : x - side;
    case Kind::softsign:
        return -side * (side * x > 0 ? 1.0 / (1.0 + side * x) : (1.0 - 2.0 * side * x) / (1.0 - side * x));
    case Kind::sigmoid:
        return right ? -sigmoid(-x) : sigmoid(x);
    case Kind::hardsigmoid:
        return !right ? value_of(activation, x) : x > 3 ? 0.0 : x > -3 ? (x - 3.0) / 6.0 : -1.0;
    case Kind::relu6:
        return !right ? value_of(activation, x) : x > 6 ? 0.0 : x > 0 ? x - 6.0 : -6.0;
    case Kind::elu:
        return right ? value_of(activation, x) : x > 0 ? x + parameter : parameter * std::exp(x);
    case Kind::selu:
        return right ? value_of(activation, x) : kSeluScale * (x > 0 ? x + kSeluAlpha : kSeluAlpha * std::exp(x));
    case Kind::celu:
        return right || parameter < 0.0 ? value_of(activation, x)
               : x > 0                  ? x + parameter
                                        : parameter * std::exp(x / parameter);
    default:
        return value_of(activation, x);
    }
}

// phi'(x) less its limit on one side. x phi of a sigmoid, odd about 1/2, is x + phi(-x), and so is softplus.
FISHERFIELD_HD inline double slope_beyond(const Activation& activation, double x, bool right) {
    using namespace formulas;
    if (!right) {
        return slope_of(activation, x);
    }
    switch (activation.kind) {
    case Kind::gelu:
    case Kind::silu:
    case Kind::softplus:
    case Kind::gelu_tanh:
        return -slope_of(activation, -x);
    case Kind::mish: {
        double t, rest;
        mish_parts(x, &t, &rest);
        const double y = std::exp(-std::fabs(x));
        const double below = x > 0 ? 2.0 * y * y / (1.0 + 2.0 * y + 2.0 * y * y) : 1.0 - t; // 1 - t
        return x * rest * sigmoid(x) - below;
    }
    case Kind::hardswish:
        return x >= 3 ? 0.0 : x > -3 ? (2.0 * x - 3.0) / 6.0 : -1.0;
    case Kind::elu:
    case Kind::selu:
    case Kind::celu:
        return x > 0 ? 0.0 : slope_of(activation, x) - limits_of(activation, true).slope;
    default:
        return slope_of(activation, x);
    }
}

// What phi and phi' are measured from next to `at`: the limit on that side, or 0, whichever is nearer.
struct Level {
    bool right = false, of_value = false, of_slope = false; // of_value, of_slope: the limit
    double value = 0.0, slope = 0.0;
    double phi = 0.0, phi_slope = 0.0, above = 0.0, slope_above = 0.0; // at `at`, and what is above the level there

    Level() = default; // 0

    FISHERFIELD_HD_APART Level(const Activation& activation, double at) : right(at > 0.0) {
        if (activation.kind == Kind::callable) {
            fisherfield::evaluate(activation, &at, &phi, &phi_slope, 1);
        } else { // an error of phi(at) would be one of all there is
            phi = sharp_value_of(activation, at);
            phi_slope = sharp_slope_of(activation, at);
        }
        above = phi;
        slope_above = phi_slope;
        const Limits limits = limits_of(activation, right);
        const double beyond = limits.value != 0.0 ? value_beyond(activation, at, right) : phi;
        const double slope_far = limits.slope != 0.0 ? slope_beyond(activation, at, right) : phi_slope;
        if (std::fabs(beyond) < std::fabs(phi)) {
            of_value = true;
            value = limits.value;
            above = beyond;
        }
        if (std::fabs(slope_far) < std::fabs(phi_slope)) {
            of_slope = true;
            slope = limits.slope;
            slope_above = slope_far;
        }
    }

    // phi - value and phi' - slope of n points.
    FISHERFIELD_HD_APART void evaluate(const Activation& activation, const double* x, double* values, double* slopes,
                                       int n) const {
        if (!of_value && !of_slope) {
            fisherfield::evaluate(activation, x, values, slopes, n);
            return;
        }
        for (int i = 0; i < n; ++i) {
            values[i] = of_value ? value_beyond(activation, x[i], right) : value_of(activation, x[i]);
        }
        for (int i = 0; i < n; ++i) {
            slopes[i] = of_slope ? slope_beyond(activation, x[i], right) : slope_of(activation, x[i]);
        }
    }
};

} // namespace fisherfield
