// SPDX-License-Identifier: BSD-3-Clause
// An activation as the core holds it: its kind, its parameters and its kinks.
#pragma once

#include "fisherfield/conversion.hpp"
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
    sign,
    hardsigmoid,
    hardswish,
    cos,
    exp,
    gaussian,
    rbf,
    monomial,
    rectified_monomial,
    hermite,
    polynomial,
    gelu_tanh,
    celu,
    softsign,
    callable
};

inline constexpr const char* kActivationNames[] = {"relu",        "leaky_relu",
                                                   "abs",         "linear",
                                                   "step",        "erf",
                                                   "tanh",        "sigmoid",
                                                   "gelu",        "silu",
                                                   "softplus",    "elu",
                                                   "selu",        "hardtanh",
                                                   "relu6",       "mish",
                                                   "sin",         "sign",
                                                   "hardsigmoid", "hardswish",
                                                   "cos",         "exp",
                                                   "gaussian",    "rbf",
                                                   "monomial",    "rectified_monomial",
                                                   "hermite",     "polynomial",
                                                   "gelu_tanh",   "celu",
                                                   "softsign"};

inline constexpr int kMaxKinks = 8;
inline constexpr int kMaxDegree = 32; // of monomials and polynomials

// A caller's own function, a batch at a time; host only.
struct Callable {
    virtual ~Callable() = default;
    virtual void evaluate(const double* x, double* value, double* slope, int n) const = 0;
};

struct Activation {
    Kind kind = Kind::linear;
    double parameter = 0.0;                   // leaky_relu: slope at x < 0; elu, celu: alpha
    int degree = 0;                           // monomial, rectified_monomial, hermite, polynomial
    double coefficients[kMaxDegree + 1] = {}; // polynomial: of 1, x, x^2, ...
    double kinks[kMaxKinks] = {};
    int kink_count = 0;
    const Callable* callable = nullptr;
};

// The same function under its simplest name, so that whatever holds for that one is found: x^1 is linear, and so on.
FISHERFIELD_HD inline Kind simplest(Kind kind, int degree) {
    switch (kind) {
    case Kind::monomial:
    case Kind::hermite:
        return degree == 1 ? Kind::linear : kind;
    case Kind::rectified_monomial:
        return degree == 0 ? Kind::step : degree == 1 ? Kind::relu : kind;
    default:
        return kind;
    }
}

// The parameters are those of Python: slope, alpha, n or coefficients; 0 to kMaxDegree + 1 of them.
FISHERFIELD_HD inline Activation make_activation(Kind kind, const double* parameters, int count) {
    Activation activation;
    activation.parameter = count > 0 ? parameters[0] : 0.0;
    switch (kind) {
    case Kind::monomial:
    case Kind::rectified_monomial:
    case Kind::hermite:
        activation.degree = saturated<int>(activation.parameter);
        break;
    case Kind::polynomial:
        for (int i = 0; i < count; ++i) {
            activation.coefficients[i] = parameters[i];
            activation.degree = parameters[i] != 0.0 ? i : activation.degree;
        }
        break;
    default:
        break;
    }
    activation.kind = simplest(kind, activation.degree);
    const auto kinks = [&](double first, double second) {
        activation.kinks[0] = first;
        activation.kinks[1] = second;
        activation.kink_count = 2;
    };
    switch (activation.kind) {
    case Kind::hardtanh:
        kinks(-1.0, 1.0);
        break;
    case Kind::relu6:
        kinks(0.0, 6.0);
        break;
    case Kind::hardsigmoid:
    case Kind::hardswish:
        kinks(-3.0, 3.0);
        break;
    case Kind::relu:
    case Kind::leaky_relu:
    case Kind::abs:
    case Kind::step:
    case Kind::sign:
    case Kind::elu:
    case Kind::selu:
    case Kind::celu:
    case Kind::softsign:
    case Kind::rectified_monomial:
        activation.kink_count = 1;
        break;
    default:
        break;
    }
    return activation;
}

FISHERFIELD_HD inline Activation make_activation(Kind kind, double parameter = 0.0) {
    return make_activation(kind, &parameter, 1);
}

} // namespace fisherfield
