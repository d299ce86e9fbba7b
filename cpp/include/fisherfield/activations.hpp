// SPDX-License-Identifier: BSD-3-Clause
// Activations phi and their slopes phi' (almost everywhere, as frameworks compute them: 0 at relu's kink, 0 for step).
//
// Every formula is written so that no intermediate overflows and the error is a few ulp of the value and of x on both
// tails (a Gaussian tail turns an ulp of x into x^2 ulp of its own).
// Definitions follow torch.nn.functional where it has the function; gelu is the erf form x Phi(x), and
//
//     erf(x), sin x, cos x, e^x,   gaussian = exp(-x^2/2),   rbf = sqrt(2) sin(sqrt(2) x + pi/4),   step = 1 for x > 0,
//     monomial(n) = x^n,   rectified_monomial(n) = x^n for x > 0, else 0,   hermite(n) = He_n(x)/sqrt(n!),
//     polynomial(c) = c_0 + c_1 x + c_2 x^2 + ...
#pragma once

#include <cmath>

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

namespace formulas {

// G. Klambauer et al., Self-normalizing neural networks, arXiv 1706.02515
inline constexpr double kSeluScale = 1.0507009873554804934193349852946;
inline constexpr double kSeluAlpha = 1.6732632423543772848170429916717;
inline constexpr double kSqrt2 = 1.41421356237309504880168872420970;
inline constexpr double kInvSqrt2Pi = 0.39894228040143267793994605993438;
inline constexpr double kTwoOverSqrtPi = 1.12837916709551257389615890312155;

FISHERFIELD_HD inline double normal_cdf(double x) { return 0.5 * std::erfc(-x / kSqrt2); }
FISHERFIELD_HD inline double normal_pdf(double x) { return kInvSqrt2Pi * std::exp(-0.5 * x * x); }

FISHERFIELD_HD FISHERFIELD_INLINE double sigmoid(double x) {
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

// gelu_tanh is x sigmoid(2 y): torch's x (1 + tanh y)/2 would cancel on the left. At |x| = 40, e^(-2|y|) is 0.
inline constexpr double kGeluTanhEnd = 40.0;

FISHERFIELD_HD inline double gelu_tanh_twice_y(double x) {
    return 1.59576912160573071175978423973752 * (x + 0.044715 * x * x * x); // 2 sqrt(2/pi)
}

FISHERFIELD_HD inline double gelu_tanh_twice_slope(double x) {
    return 1.59576912160573071175978423973752 * (1.0 + 3.0 * 0.044715 * x * x);
}

// He_n(x)/sqrt(n!) by sqrt(k+1) h_{k+1} = x h_k - sqrt(k) h_{k-1}, as stable upwards for every real x. Beyond 1e10 the
// first power is all there is, to n^2/1e20, and two infinities of the recurrence are never subtracted.
FISHERFIELD_HD inline double hermite(int n, double x) {
    if (std::fabs(x) > 1e10) {
        return std::pow(x, n) / std::sqrt(std::tgamma(n + 1.0));
    }
    double before = 0.0, h = 1.0;
    for (int k = 0; k < n; ++k) {
        const double next = (x * h - std::sqrt(static_cast<double>(k)) * before) / std::sqrt(k + 1.0);
        before = h;
        h = next;
    }
    return h;
}

// By Horner's rule, and its derivative.
FISHERFIELD_HD inline double polynomial(const double* coefficients, int degree, double x) {
    double sum = coefficients[degree];
    for (int k = degree - 1; k >= 0; --k) {
        sum = sum * x + coefficients[k];
    }
    return sum;
}

FISHERFIELD_HD inline double polynomial_slope(const double* coefficients, int degree, double x) {
    double sum = 0.0;
    for (int k = degree; k >= 1; --k) {
        sum = sum * x + k * coefficients[k];
    }
    return sum;
}

} // namespace formulas

FISHERFIELD_HD inline double value_of(const Activation& activation, double x) {
    using namespace formulas;
    const double parameter = activation.parameter;
    switch (activation.kind) {
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
    case Kind::sign:
        return x > 0 ? 1.0 : x < 0 ? -1.0 : 0.0;
    case Kind::hardsigmoid:
        return x > 3 ? 1.0 : x > -3 ? (x + 3.0) / 6.0 : 0.0;
    case Kind::hardswish:
        return x > 3 ? x : x > -3 ? x * ((x + 3.0) / 6.0) : 0.0;
    case Kind::cos:
        return std::cos(x);
    case Kind::exp:
        return std::exp(x);
    case Kind::gaussian:
        return std::exp(-0.5 * x * x);
    case Kind::rbf: // sqrt(2) sin(y + pi/4)
        return std::sin(kSqrt2 * x) + std::cos(kSqrt2 * x);
    case Kind::monomial:
        return std::pow(x, activation.degree);
    case Kind::rectified_monomial:
        return x > 0 ? std::pow(x, activation.degree) : 0.0;
    case Kind::hermite:
        return hermite(activation.degree, x);
    case Kind::polynomial:
        return polynomial(activation.coefficients, activation.degree, x);
    case Kind::gelu_tanh:
        return x > kGeluTanhEnd ? x : x < -kGeluTanhEnd ? 0.0 : x * sigmoid(gelu_tanh_twice_y(x));
    case Kind::celu:
        return x > 0 ? x : parameter * std::expm1(x / parameter);
    case Kind::softsign:
        return x / (1.0 + std::fabs(x));
    case Kind::callable:
        break;
    }
    return NAN;
}

FISHERFIELD_HD inline double slope_of(const Activation& activation, double x) {
    using namespace formulas;
    const double parameter = activation.parameter;
    switch (activation.kind) {
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
    case Kind::sign:
        return 0.0;
    case Kind::hardsigmoid:
        return x > -3 && x < 3 ? 1.0 / 6.0 : 0.0;
    case Kind::hardswish:
        return x >= 3 ? 1.0 : x > -3 ? (2.0 * x + 3.0) / 6.0 : 0.0;
    case Kind::cos:
        return -std::sin(x);
    case Kind::exp:
        return std::exp(x);
    case Kind::gaussian:
        return -x * std::exp(-0.5 * x * x);
    case Kind::rbf:
        return kSqrt2 * (std::cos(kSqrt2 * x) - std::sin(kSqrt2 * x));
    case Kind::monomial:
        return activation.degree > 0 ? activation.degree * std::pow(x, activation.degree - 1) : 0.0;
    case Kind::rectified_monomial:
        return x > 0 ? activation.degree * std::pow(x, activation.degree - 1) : 0.0;
    case Kind::hermite:
        return activation.degree > 0
                   ? std::sqrt(static_cast<double>(activation.degree)) * hermite(activation.degree - 1, x)
                   : 0.0;
    case Kind::polynomial:
        return polynomial_slope(activation.coefficients, activation.degree, x);
    case Kind::gelu_tanh: {
        if (std::fabs(x) > kGeluTanhEnd) {
            return x > 0 ? 1.0 : 0.0;
        }
        const double y = gelu_tanh_twice_y(x);
        return sigmoid(y) * (1.0 + x * sigmoid(-y) * gelu_tanh_twice_slope(x));
    }
    case Kind::celu:
        return x > 0 ? 1.0 : std::exp(x / parameter);
    case Kind::softsign:
        return 1.0 / ((1.0 + std::fabs(x)) * (1.0 + std::fabs(x)));
    case Kind::callable:
        break;
    }
    return NAN;
}

// phi and phi' of n points; slope may be null.
FISHERFIELD_HD_APART inline void evaluate(const Activation& activation, const double* x, double* value, double* slope,
                                          int n) {
#if !defined(__CUDA_ARCH__)
    if (activation.kind == Kind::callable) {
        activation.callable->evaluate(x, value, slope, n);
        return;
    }
#endif
    for (int i = 0; i < n; ++i) {
        value[i] = value_of(activation, x[i]);
    }
    for (int i = 0; slope != nullptr && i < n; ++i) {
        slope[i] = slope_of(activation, x[i]);
    }
}

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
        fisherfield::evaluate(activation, &at, &phi, &phi_slope, 1);
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
