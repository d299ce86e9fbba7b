// SPDX-License-Identifier: BSD-3-Clause
// What Gaussian integrals of an activation return, and bounds on their errors.
#pragma once

#include <cmath>

#include "fisherfield/host_device.hpp"
#include "fisherfield/scaled.hpp"
#include "fisherfield/status.hpp"

namespace fisherfield {

inline constexpr double kPi = 3.14159265358979323846264338327950;
inline constexpr double kSmallVariance = 0x1p-100, kLargeVariance = 0x1p100;

// E f(g u + beta), u ~ N(0, 1).
struct Moments {
    Scaled mean, second, variance;                   // of phi; variance = second - mean^2
    Scaled slope_mean, slope_second, slope_variance; // of phi'
    Scaled u_slope;                                  // E u phi'
    Scaled u2_slope2;                                // E u^2 phi'^2
    // bounds on the errors of four of them
    Scaled mean_error, second_error, slope_mean_error, slope_second_error;
    Status status = Status::ok;
};

// (u, w): correlation c, carried together with 1 - c, which c itself cannot hold.
struct Correlation {
    double c;
    Scaled one_minus_c;
};

struct Covariance {
    Scaled value;                    // E phi(u + beta) phi(w + beta)
    Scaled difference;               // E phi^2 - value;    equal variances only
    Scaled slope;                    // E phi'(u + beta) phi'(w + beta)
    Scaled slope_difference;         // E phi'^2 - slope;   equal variances only
    Scaled slope_pair;               // E u w phi'(u + beta) phi'(w + beta)
    Scaled value_error, slope_error; // bounds on the errors of value and slope
    Status status = Status::ok;
};

namespace closed_form {

inline constexpr double kEps = 0x1p-52;

// A bound on the error of something that is `size` large and carries so many roundings.
FISHERFIELD_HD inline Scaled rounding(double count, Scaled size) { return Scaled(count * kEps) * abs(size); }

// Bounds for results whose errors are relative to themselves.
FISHERFIELD_HD inline void relative_errors(Moments* out, double count) {
    out->mean_error = rounding(count, out->mean);
    out->second_error = rounding(count, out->second);
    out->slope_mean_error = rounding(count, out->slope_mean);
    out->slope_second_error = rounding(count, out->slope_second);
}

FISHERFIELD_HD inline void relative_errors(Covariance* out, double count) {
    out->value_error = rounding(count, out->value);
    out->slope_error = rounding(count, out->slope);
}

// A bound for e^x where x carries so many eps: (e^(count eps) - 1) e^x, which is more than the first power of it.
FISHERFIELD_HD inline Scaled of_exponent(double count, Scaled size) {
    return count * kEps < 0.01 || is_zero(size) ? rounding(1.01 * count, size) : size * scaled_exp(count * kEps);
}

// ratio (e^x - 1) for x >= 0, which is `above` where e^x leaves float64.
FISHERFIELD_HD inline Scaled times_expm1(Scaled ratio, double x, Scaled above) {
    return x < 700.0 ? ratio * std::expm1(x) : above;
}

} // namespace closed_form

} // namespace fisherfield
