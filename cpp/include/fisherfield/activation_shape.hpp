// SPDX-License-Identifier: BSD-3-Clause
// How an activation bends, and the rays it is or tends to.
#pragma once

#include <cmath>

#include "fisherfield/activation.hpp"
#include "fisherfield/activation_values.hpp"
#include "fisherfield/host_device.hpp"

namespace fisherfield {

// phi'' where it is analytic; 0 of a caller's function, of which it is not known.
FISHERFIELD_HD inline double bend_of(const Activation& activation, double x) {
    using namespace formulas;
    switch (activation.kind) {
    case Kind::erf:
        return -2.0 * x * slope_of(activation, x);
    case Kind::tanh:
        return -2.0 * std::tanh(x) * slope_of(activation, x);
    case Kind::sigmoid:
        return -std::tanh(0.5 * x) * slope_of(activation, x);
    case Kind::softplus:
        return sigmoid(x) * sigmoid(-x);
    case Kind::silu:
        return sigmoid(x) * sigmoid(-x) * (2.0 - x * std::tanh(0.5 * x));
    case Kind::gelu:
        return normal_pdf(x) * (2.0 - x * x);
    case Kind::elu:
    case Kind::selu:
        return x > 0 ? 0.0 : slope_of(activation, x);
    case Kind::celu:
        return x > 0 ? 0.0 : slope_of(activation, x) / activation.parameter;
    case Kind::mish: {
        double t, rest;
        mish_parts(x, &t, &rest);
        const double s = sigmoid(x), rise = rest * s; // t'
        return rise * (2.0 + x * (sigmoid(-x) - 2.0 * t * s));
    }
    case Kind::gelu_tanh: {
        if (std::fabs(x) > kGeluTanhEnd) {
            return 0.0;
        }
        const double y = gelu_tanh_twice_y(x), s = sigmoid(y) * sigmoid(-y), rate = gelu_tanh_twice_slope(x);
        const double rate2 = 1.59576912160573071175978423973752 * 6.0 * 0.044715 * x;
        return s * (2.0 * rate + x * (rate2 - std::tanh(0.5 * y) * rate * rate));
    }
    case Kind::hardswish:
        return std::fabs(x) < 3 ? 1.0 / 3.0 : 0.0;
    case Kind::rectified_monomial:
        return x > 0 ? activation.degree * (activation.degree - 1) * std::pow(x, activation.degree - 2) : 0.0;
    case Kind::softsign:
        return std::copysign(2.0, -x) / ((1.0 + std::fabs(x)) * (1.0 + std::fabs(x)) * (1.0 + std::fabs(x)));
    default:
        return 0.0;
    }
}

// A piecewise linear function with one kink at 0:  phi(x) = minus x for x < 0, plus x for x > 0.
struct Rays {
    double minus, plus;
};

// Positively homogeneous activations, phi(t x) = t phi(x) for t > 0.
FISHERFIELD_HD inline bool homogeneous(const Activation& activation, Rays* rays) {
    switch (activation.kind) {
    case Kind::relu:
        *rays = {0.0, 1.0};
        return true;
    case Kind::leaky_relu:
        *rays = {activation.parameter, 1.0};
        return true;
    case Kind::abs:
        *rays = {-1.0, 1.0};
        return true;
    case Kind::linear:
        *rays = {1.0, 1.0};
        return true;
    default:
        return false;
    }
}

// Far out where it is `unbounded`, and close to the origin (after phi(0) is taken off), every other activation is a
// pair of rays as well.
FISHERFIELD_HD inline Rays rays_at(const Activation& activation, double distance) {
    const double x[2] = {-distance, distance};
    double value[2], slope[2];
    evaluate(activation, x, value, slope, 2);
    return {slope[0], slope[1]};
}

// phi grows like a ray on one side or both, so that rays_at(infinity) describes it; powers and e^x outgrow every ray.
FISHERFIELD_HD inline bool unbounded(const Activation& activation) {
    switch (activation.kind) {
    case Kind::gelu:
    case Kind::silu:
    case Kind::softplus:
    case Kind::elu:
    case Kind::selu:
    case Kind::mish:
    case Kind::hardswish:
    case Kind::gelu_tanh:
    case Kind::celu:
        return true;
    default:
        return false;
    }
}

// phi is the integral of phi'; of a caller's function nobody knows.
FISHERFIELD_HD inline bool continuous(const Activation& activation) {
    return activation.kind != Kind::step && activation.kind != Kind::sign && activation.kind != Kind::callable;
}

} // namespace fisherfield
