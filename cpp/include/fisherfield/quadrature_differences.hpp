// SPDX-License-Identifier: BSD-3-Clause
// Small differences of phi and phi', by the integral of what they grow by, and what roundings of x change.
#pragma once

#include <cmath>

#include "fisherfield/activations.hpp"
#include "fisherfield/host_device.hpp"

namespace fisherfield {

namespace quadrature {

// x, on the side of each kink that `low` .. `high` is on: a sum of shift and deviations may round across one.
FISHERFIELD_HD inline double between(double x, double low, double high) {
    return x <= low ? std::nextafter(low, high) : x >= high ? std::nextafter(high, low) : x;
}

// The integral of f over [from, from + h], by five points between kinks; at(kink) is added for each one passed. Places
// are counted from `from`, so that h may be less than an ulp of it, and each stays on its side of the kinks.
template <class F, class At>
FISHERFIELD_HD double between_kinks(const Activation& activation, double from, double h, F&& f, At&& at) {
    constexpr double node[2] = {0.53846931010568309104, 0.90617984593866399280};
    constexpr double weight[3] = {0.56888888888888888889, 0.47862867049936646804, 0.23692688505618908751};
    const double end = std::fmax(h, 0.0);
    double sum = 0.0, left = std::fmin(h, 0.0), below = -HUGE_VAL;
    for (int kink = 0; kink <= activation.kink_count; ++kink) {
        const double above = kink < activation.kink_count ? activation.kinks[kink] : HUGE_VAL;
        const double right = std::fmin(above - from, end);
        if (right > left) {
            const double half = 0.5 * (right - left), centre = 0.5 * (left + right);
            const auto value = [&](double place) { return f(between(from + place, below, above)); };
            double part = weight[0] * value(centre);
            for (int i = 0; i < 2; ++i) {
                part += weight[i + 1] * (value(centre - node[i] * half) + value(centre + node[i] * half));
            }
            sum += half * part + (right < end ? at(above) : 0.0);
            left = right;
        }
        below = above;
    }
    return h > 0 ? sum : -sum;
}

// g z + beta, on the side of each kink that z says: it may round across one.
FISHERFIELD_HD inline double moved(const Activation& activation, double g, double z, double beta) {
    double x = g * z + beta;
    for (int i = 0; i < activation.kink_count; ++i) {
        const double kink = activation.kinks[i];
        if (std::fabs(x - kink) <= 0x1p-50 * std::fabs(beta)) {
            const double away = g * z - (kink - beta);
            x = away > 0.0   ? std::fmax(x, std::nextafter(kink, HUGE_VAL))
                : away < 0.0 ? std::fmin(x, std::nextafter(kink, -HUGE_VAL))
                             : x;
        }
    }
    return x;
}

// What an ulp of x = g z + beta, far = |g z| + |beta|, changes, as a part of kErrorUlps; of phi' also one of its terms
// where it `crosses` 0. phi''/phi' is at most 1 or, in tails, phi'/phi; far out on a ramp it is 0.
FISHERFIELD_HD inline double lost_of_value(double far, double slope) { return 0.005 * std::fabs(far * slope); }
FISHERFIELD_HD inline double lost_of_slope(bool crosses, double far, double x, double value, double slope) {
    const double size = std::fabs(value), rise = std::fabs(slope);
    const double term = crosses && x > -4.0 && x < 0.0 ? 0.01 * size : 0.0;
    if (rise <= size) {
        return term + (x > 40.0 && rise > 0.5 ? 0.0 : 0.005 * far * rise);
    }
    const double most = 1.0 + std::fabs(x) * (1.0 + 0.25 * std::fabs(x));
    return term + 0.005 * far * rise * (rise < most * size ? rise / size : most);
}

// phi' is a sum of two terms that cancel somewhere below 0.
FISHERFIELD_HD inline bool crosses_zero(Kind kind) {
    return kind == Kind::silu || kind == Kind::gelu || kind == Kind::gelu_tanh || kind == Kind::mish ||
           kind == Kind::hardswish;
}

// phi(from + h) - phi(from) where h is small, by the integral of phi'. Five points leave h^10/1e8 where phi turns on
// the scale of 1.
FISHERFIELD_HD inline double small_difference(const Activation& activation, double from, double h) {
    return between_kinks(
        activation, from, h, [&](double x) { return slope_of(activation, x); }, [](double) { return 0.0; });
}

inline constexpr double kSmallDifference = 0.02;

// The same of phi', by the integral of phi'' and by what it jumps at kinks; one at `from` has a value of its own.
FISHERFIELD_HD_APART inline double small_bend(const Activation& activation, double from, double h) {
    const auto slope_next_to = [&](double x, double side) {
        return slope_of(activation, std::nextafter(x, std::copysign(HUGE_VAL, side)));
    };
    double start = 0.0;
    for (int kink = 0; kink < activation.kink_count; ++kink) {
        start += activation.kinks[kink] == from ? slope_next_to(from, h) - slope_of(activation, from) : 0.0;
    }
    return start + between_kinks(
                       activation, from, h, [&](double x) { return bend_of(activation, x); },
                       [&](double kink) { return slope_next_to(kink, 1.0) - slope_next_to(kink, -1.0); });
}

// x^n - y^n for x, y > 0, h = x - y: a sum of n terms of one sign.
FISHERFIELD_HD inline double power_difference(double x, double y, double h, int n) {
    double sum = 0.0, power = 1.0;
    for (int k = 0; k < n; ++k) {
        sum = sum * x + power;
        power *= y;
    }
    return h * sum;
}

// How fast phi and phi' change next to x, relative to what they are there and to a scale of 1.
FISHERFIELD_HD inline double rate_of(const Activation& activation, double x) {
    switch (activation.kind) {
    case Kind::erf:
    case Kind::gelu:
        return 1.0 + 2.0 * std::fabs(x);
    case Kind::gelu_tanh:
        return 1.0 + 0.25 * x * x;
    default:
        return 1.0;
    }
}

inline constexpr double kSmallRise = 0.2;   // of rises(), where phi turns on the scale of 1
inline constexpr double kSameAsMean = 0.94; // (E f)^2/E f^2: their difference loses four bits

// phi(x) - phi(beta) and phi'(x) - phi'(beta), x = beta + g z, where g is so small that they would cancel.
FISHERFIELD_HD_APART inline void rises(const Activation& activation, double beta, double g, const double* z,
                                       const double* x, double* value, double* slope, int n) {
    const int degree = activation.degree;
    for (int i = 0; i < n; ++i) {
        const double h = g * z[i];
        if (activation.kind == Kind::rectified_monomial) {
            value[i] = power_difference(x[i], beta, h, degree);
            slope[i] = degree * power_difference(x[i], beta, h, degree - 1);
        } else {
            value[i] = small_difference(activation, beta, h);
            slope[i] = small_bend(activation, beta, h);
        }
    }
}

} // namespace quadrature

} // namespace fisherfield
