// SPDX-License-Identifier: BSD-3-Clause
// Activations phi and their slopes phi' (almost everywhere, as frameworks compute them: 0 at relu's kink, 0 for step).
//
// Every formula is written so that no intermediate overflows and the error is a few ulp of the value and of x on both
// tails (a Gaussian tail turns an ulp of x into x^2 ulp of its own).
// Definitions follow torch.nn.functional; erf is erf(x), sin is sin(x), gelu is the erf form x Phi(x).
#pragma once

#include <cmath>

#include "fisherfield/host_device.hpp"

namespace fisherfield {

enum class Kind {
    relu,
    leaky_relu,
    abs,
    linear,
    step,
    erf,
    tanh,
    sigmoid,
    gelu,
    silu,
    softplus,
    elu,
    selu,
    hardtanh,
    relu6,
    mish,
    sin,
    callable
};

inline constexpr const char* kActivationNames[] = {"relu", "leaky_relu", "abs",   "linear", "step",     "erf",
                                                   "tanh", "sigmoid",    "gelu",  "silu",   "softplus", "elu",
                                                   "selu", "hardtanh",   "relu6", "mish",   "sin"};

inline constexpr int kMaxKinks = 8;

// A caller's own function, a batch at a time; host only.
struct Callable {
    virtual ~Callable() = default;
    virtual void evaluate(const double* x, double* value, double* slope, int n) const = 0;
};

struct Activation {
    Kind kind = Kind::linear;
    double parameter = 0.0; // leaky_relu: slope at x < 0; elu: alpha
    double kinks[kMaxKinks] = {};
    int kink_count = 0;
    const Callable* callable = nullptr;
};

FISHERFIELD_HD inline Activation make_activation(Kind kind, double parameter = 0.0) {
    Activation activation;
    activation.kind = kind;
    activation.parameter = parameter;
    switch (kind) {
    case Kind::hardtanh:
        activation.kinks[0] = -1.0;
        activation.kinks[1] = 1.0;
        activation.kink_count = 2;
        break;
    case Kind::relu6:
        activation.kinks[1] = 6.0;
        activation.kink_count = 2;
        break;
    case Kind::relu:
    case Kind::leaky_relu:
    case Kind::abs:
    case Kind::step:
    case Kind::elu:
    case Kind::selu:
        activation.kink_count = 1;
        break;
    default:
        break;
    }
    return activation;
}

namespace formulas {

// G. Klambauer et al., Self-normalizing neural networks, arXiv 1706.02515
inline constexpr double kSeluScale = 1.0507009873554804934193349852946;
inline constexpr double kSeluAlpha = 1.6732632423543772848170429916717;
inline constexpr double kSqrt2 = 1.41421356237309504880168872420970;
inline constexpr double kInvSqrt2Pi = 0.39894228040143267793994605993438;
inline constexpr double kTwoOverSqrtPi = 1.12837916709551257389615890312155;

FISHERFIELD_HD inline double normal_cdf(double x) { return 0.5 * std::erfc(-x / kSqrt2); }
FISHERFIELD_HD inline double normal_pdf(double x) { return kInvSqrt2Pi * std::exp(-0.5 * x * x); }

FISHERFIELD_HD inline double sigmoid(double x) {
    const double small = std::exp(-std::fabs(x));
    return (x >= 0 ? 1.0 : small) / (1.0 + small);
}

// tanh(softplus(x)) and its complement 1 - tanh^2, rational in y = exp(-|x|):
// tanh(log(1 + w)) = ((1 + w)^2 - 1)/((1 + w)^2 + 1)
FISHERFIELD_HD inline void mish_parts(double x, double* t, double* one_minus_t2) {
    const double y = std::exp(-std::fabs(x));
    if (x >= 0) {
        const double denominator = 1.0 + 2.0 * y + 2.0 * y * y;
        *t = (1.0 + 2.0 * y) / denominator;
        *one_minus_t2 = 4.0 * y * y * (1.0 + y) * (1.0 + y) / (denominator * denominator);
    } else {
        const double denominator = 2.0 + 2.0 * y + y * y;
        *t = y * (2.0 + y) / denominator;
        *one_minus_t2 = 4.0 * (1.0 + y) * (1.0 + y) / (denominator * denominator);
    }
}

} // namespace formulas

FISHERFIELD_HD inline double value_of(Kind kind, double parameter, double x) {
    using namespace formulas;
    switch (kind) {
    case Kind::relu:
        return x > 0 ? x : 0.0;
    case Kind::leaky_relu:
        return x > 0 ? x : parameter * x;
    case Kind::abs:
        return std::fabs(x);
    case Kind::linear:
        return x;
    case Kind::step:
        return x > 0 ? 1.0 : 0.0;
    case Kind::erf:
        return std::erf(x);
    case Kind::tanh:
        return std::tanh(x);
    case Kind::sigmoid:
        return sigmoid(x);
    case Kind::gelu:
        return x * normal_cdf(x);
    case Kind::silu:
        return x * sigmoid(x);
    case Kind::softplus:
        return (x > 0 ? x : 0.0) + std::log1p(std::exp(-std::fabs(x)));
    case Kind::elu:
        return x > 0 ? x : parameter * std::expm1(x);
    case Kind::selu:
        return kSeluScale * (x > 0 ? x : kSeluAlpha * std::expm1(x));
    case Kind::hardtanh:
        return x > 1 ? 1.0 : x < -1 ? -1.0 : x;
    case Kind::relu6:
        return x > 6 ? 6.0 : x > 0 ? x : 0.0;
    case Kind::mish: {
        double t, rest;
        mish_parts(x, &t, &rest);
        return x * t;
    }
    case Kind::sin:
        return std::sin(x);
    case Kind::callable:
        break;
    }
    return NAN;
}

FISHERFIELD_HD inline double slope_of(Kind kind, double parameter, double x) {
    using namespace formulas;
    switch (kind) {
    case Kind::relu:
        return x > 0 ? 1.0 : 0.0;
    case Kind::leaky_relu:
        return x > 0 ? 1.0 : parameter;
    case Kind::abs:
        return x > 0 ? 1.0 : x < 0 ? -1.0 : 0.0;
    case Kind::linear:
        return 1.0;
    case Kind::step:
        return 0.0;
    case Kind::erf:
        return kTwoOverSqrtPi * std::exp(-x * x);
    case Kind::tanh: {
        const double y = std::exp(-2.0 * std::fabs(x));
        return 4.0 * y / ((1.0 + y) * (1.0 + y));
    }
    case Kind::sigmoid: {
        const double y = std::exp(-std::fabs(x));
        return y / ((1.0 + y) * (1.0 + y));
    }
    case Kind::gelu:
        return normal_cdf(x) + x * normal_pdf(x);
    case Kind::silu:
        return sigmoid(x) * (1.0 + x * sigmoid(-x));
    case Kind::softplus:
        return sigmoid(x);
    case Kind::elu:
        return x > 0 ? 1.0 : parameter * std::exp(x);
    case Kind::selu:
        return kSeluScale * (x > 0 ? 1.0 : kSeluAlpha * std::exp(x));
    case Kind::hardtanh:
        return x > -1 && x < 1 ? 1.0 : 0.0;
    case Kind::relu6:
        return x > 0 && x < 6 ? 1.0 : 0.0;
    case Kind::mish: {
        double t, rest;
        mish_parts(x, &t, &rest);
        return t + x * rest * sigmoid(x);
    }
    case Kind::sin:
        return std::cos(x);
    case Kind::callable:
        break;
    }
    return NAN;
}

// phi and phi' of n points; slope may be null.
FISHERFIELD_HD inline void evaluate(const Activation& activation, const double* x, double* value, double* slope,
                                    int n) {
#if !defined(__CUDA_ARCH__)
    if (activation.kind == Kind::callable) {
        activation.callable->evaluate(x, value, slope, n);
        return;
    }
#endif
    for (int i = 0; i < n; ++i) {
        value[i] = value_of(activation.kind, activation.parameter, x[i]);
    }
    for (int i = 0; slope != nullptr && i < n; ++i) {
        slope[i] = slope_of(activation.kind, activation.parameter, x[i]);
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

// Far out, and close to the origin (after phi(0) is taken off), every other activation is a pair of rays as well.
FISHERFIELD_HD inline Rays rays_at(const Activation& activation, double distance) {
    const double x[2] = {-distance, distance};
    double value[2], slope[2];
    evaluate(activation, x, value, slope, 2);
    return {slope[0], slope[1]};
}

// phi grows without bound along a ray, so that rays_at(infinity) describes it.
FISHERFIELD_HD inline bool unbounded(const Activation& activation) {
    switch (activation.kind) {
    case Kind::gelu:
    case Kind::silu:
    case Kind::softplus:
    case Kind::elu:
    case Kind::selu:
    case Kind::mish:
        return true;
    default:
        return false;
    }
}

// phi is the integral of phi'; of a caller's function nobody knows.
FISHERFIELD_HD inline bool continuous(const Activation& activation) {
    return activation.kind != Kind::step && activation.kind != Kind::callable;
}

FISHERFIELD_HD inline bool piecewise_linear(const Activation& activation) {
    return activation.kind == Kind::hardtanh || activation.kind == Kind::relu6;
}

} // namespace fisherfield
