// SPDX-License-Identifier: BSD-3-Clause
// phi and phi' at a point.
#pragma once

#include <cmath>

#include "fisherfield/activation.hpp"
#include "fisherfield/host_device.hpp"

namespace fisherfield {

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

inline constexpr double kGeluTanhRate = 1.59576912160573071175978423973752; // 2 sqrt(2/pi)
inline constexpr double kGeluTanhCube = 0.044715;

FISHERFIELD_HD inline double gelu_tanh_twice_y(double x) { return kGeluTanhRate * (x + kGeluTanhCube * x * x * x); }

FISHERFIELD_HD inline double gelu_tanh_twice_slope(double x) {
    return kGeluTanhRate * (1.0 + 3.0 * kGeluTanhCube * x * x);
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

namespace formulas {

// normal_cdf and normal_pdf, where an ulp of x/sqrt(2) or of x^2/2 is x^2 of e^(-x^2/2), with what rounding leaves:
// erfc(y + d) = erfc(y) (1 - d h), h = 2 e^(-y^2)/(sqrt(pi) erfc(y)) to 1e-3 in the tail.
inline constexpr double kSqrt2Low = -9.6672933134529130372e-17; // sqrt(2) - kSqrt2
inline constexpr double kTail = -2.0, kTailEnd = -40.0;         // beyond, x^2 is small; the tail is 0

FISHERFIELD_HD inline double tail_cdf(double x) {
    if (!(x < kTail && x > kTailEnd)) {
        return normal_cdf(x);
    }
    const double y = -x / kSqrt2, d = -(std::fma(y, kSqrt2, x) + y * kSqrt2Low) / kSqrt2;
    return 0.5 * std::erfc(y) * (1.0 - d * (y + std::sqrt(y * y + 1.6)));
}

FISHERFIELD_HD inline double tail_pdf(double x) {
    if (!(x < kTail && x > kTailEnd)) {
        return normal_pdf(x);
    }
    return normal_pdf(x) * (1.0 - 0.5 * std::fma(x, x, -(x * x)));
}

inline constexpr double kGeluTanhRateLow = -9.9693088091109203146e-17; // 2 sqrt(2/pi) - kGeluTanhRate

// sigmoid(2 y) to its last digits, up to 700 of them: 2 y = rate x (1 + cube x^2) with what rounding leaves of each
// step.
FISHERFIELD_HD inline double gelu_tanh_share(double x) {
    if (!(x < -1.0)) {
        return sigmoid(gelu_tanh_twice_y(x));
    }
    const double square = x * x, part = kGeluTanhCube * square, sum = 1.0 + part;
    const double part_low = std::fma(kGeluTanhCube, square, -part) + kGeluTanhCube * std::fma(x, x, -square);
    const double sum_low = part < 1.0 ? part - (sum - 1.0) : 1.0 - (sum - part);
    const double line = kGeluTanhRate * x, line_low = std::fma(kGeluTanhRate, x, -line) + kGeluTanhRateLow * x;
    const double y = line * sum, y_low = std::fma(line, sum, -y) + line * (sum_low + part_low) + line_low * sum;
    return sigmoid(y) * (1.0 + y_low * sigmoid(-y));
}

} // namespace formulas

// phi and phi' at one point to a few ulp in the tails as well, where value_of and slope_of have lost x^2 ulps of gelu
// and 2 y of gelu_tanh. It takes half as long again.
FISHERFIELD_HD inline double sharp_value_of(const Activation& activation, double x) {
    switch (activation.kind) {
    case Kind::gelu:
        return x * formulas::tail_cdf(x);
    case Kind::gelu_tanh:
        return std::fabs(x) > formulas::kGeluTanhEnd ? value_of(activation, x) : x * formulas::gelu_tanh_share(x);
    default:
        return value_of(activation, x);
    }
}

FISHERFIELD_HD inline double sharp_slope_of(const Activation& activation, double x) {
    using namespace formulas;
    switch (activation.kind) {
    case Kind::gelu:
        return tail_cdf(x) + x * tail_pdf(x);
    case Kind::gelu_tanh:
        return std::fabs(x) > kGeluTanhEnd
                   ? slope_of(activation, x)
                   : gelu_tanh_share(x) * (1.0 + x * sigmoid(-gelu_tanh_twice_y(x)) * gelu_tanh_twice_slope(x));
    default:
        return slope_of(activation, x);
    }
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

} // namespace fisherfield
