// SPDX-License-Identifier: BSD-3-Clause
// Gaussian integrals of an activation and its slope: everything that mean-field recursions ask of phi.
//
//     moments     one Gaussian u ~ N(0, 1):              E phi(g u + beta), its variance, the same of phi', ...
//     covariance  two, (u, w) of variances q1, q2 and correlation c:   E phi(u + beta) phi(w + beta), of phi', ...
//
// Differences are integrated, not subtracted: with q1 = q2,
//
//     E phi(u)^2 - E phi(u) phi(w) = E [phi(u) - phi(w)]^2 / 2,
//
// which keeps all its digits when c -> 1. Closed forms: relu, leaky_relu, abs, linear (arc-cosine kernels of Cho and
// Saul 2009), step, erf (Williams 1997), sin; all others by quadrature.hpp. Closed forms are right to a few ulp,
// quadratures to 1e-9 (seen: 1e-11) for variances in [1e-8, 1e8]. Outside [2^-100, 2^100] an activation is
// replaced by the two rays it tends to, exact to 2^-50. docs/theory.md, section 3.
#pragma once

#include <cmath>

#include "fisherfield/activations.hpp"
#include "fisherfield/quadrature.hpp"
#include "fisherfield/scaled.hpp"

namespace fisherfield {

enum class Status { ok, zero_variance, out_of_range, not_converged, overflow };

inline constexpr double kPi = 3.14159265358979323846264338327950;
inline constexpr double kSmallVariance = 0x1p-100, kLargeVariance = 0x1p100;

// E f(g u + beta), u ~ N(0, 1).
struct Moments {
    Scaled mean, second, variance;                   // of phi; variance = second - mean^2
    Scaled slope_mean, slope_second, slope_variance; // of phi'
    Scaled u_slope;                                  // E u phi'
    Scaled u2_slope2;                                // E u^2 phi'^2
    Status status = Status::ok;
};

// (u, w): correlation c, carried together with 1 - c, which c itself cannot hold.
struct Correlation {
    double c;
    Scaled one_minus_c;
};

struct Covariance {
    Scaled value;            // E phi(u + beta) phi(w + beta)
    Scaled difference;       // E phi^2 - value;    equal variances only
    Scaled slope;            // E phi'(u + beta) phi'(w + beta)
    Scaled slope_difference; // E phi'^2 - slope;   equal variances only
    Scaled slope_pair;       // E u w phi'(u + beta) phi'(w + beta)
    Status status = Status::ok;
};

namespace closed_form {

// The acute angle t between u and w or between u and -w, with its sine and cosine; right to the last digits at both
// ends.
struct Angle {
    bool acute; // c >= 0: t is the angle of u and w, else its supplement
    Scaled t;
    double sine, cosine;

    FISHERFIELD_HD explicit Angle(const Correlation& correlation) : acute(correlation.c >= 0.0) {
        cosine = std::fabs(correlation.c);
        const Scaled rest = correlation.one_minus_c;
        if (rest < Scaled(0x1p-100)) {
            t = sqrt(Scaled(2.0) * rest);
            sine = t.value();
        } else {
            sine = std::sqrt(rest.value() * (1.0 + correlation.c));
            t = std::atan2(sine, cosine);
        }
    }

    FISHERFIELD_HD double supplement() const { return acute ? kPi - t.value() : t.value(); }
    FISHERFIELD_HD Scaled angle() const { return acute ? t : Scaled(kPi - t.value()); }

    // sin t - t cos t = t^3/3 - t^5/30 + ..., without the cancellation near 0
    FISHERFIELD_HD double sine_minus() const {
        const double x = t.value();
        if (x > 0.5) {
            return sine - x * cosine;
        }
        double term = x * x * x / 3.0, sum = term;
        for (int k = 1; k < 8; ++k) { // the ninth term is 1e-17 of the first
            term *= -x * x / (2.0 * k * (2.0 * k + 3.0));
            sum += term;
        }
        return sum;
    }
};

// Covariance of rays at variances with sqrt(q1 q2) = r. With phi = A x + B |x| and t the angle,
//     E |u||w| = (2 r/pi) (sin t + (pi/2 - t) cos t),   E sign u sign w = 1 - 2 t/pi     (Cho and Saul 2009, n = 0, 1)
FISHERFIELD_HD inline Covariance rays(const Rays& phi, Scaled r, const Correlation& correlation) {
    const double a = 0.5 * (phi.plus + phi.minus), b = 0.5 * (phi.plus - phi.minus);
    const double jump2 = (phi.plus - phi.minus) * (phi.plus - phi.minus);
    const Angle angle(correlation);
    const double bend = angle.sine_minus();
    // relu's kernel sin t + (pi - t) cos t, by the supplement where that is the acute one
    const double kernel = angle.acute ? angle.sine + angle.supplement() * angle.cosine : bend;
    // 1 - E|u||w|/r, at the acute angle of u and +-w
    const Scaled away =
        (angle.acute ? correlation.one_minus_c : Scaled(1.0 + correlation.c)) - Scaled(2.0 / kPi * bend);

    Covariance out;
    out.value = r * (phi.minus * phi.plus * correlation.c + jump2 * kernel / (2.0 * kPi));
    out.difference = r * (Scaled(a * a) * correlation.one_minus_c + Scaled(b * b) * away);
    // minus plus + (plus - minus)^2 (pi - t)/(2 pi), or a^2 + b^2 (2/pi) asin c: whichever does not cancel
    out.slope = phi.minus * phi.plus >= 0.0 ? phi.minus * phi.plus + jump2 * angle.supplement() / (2.0 * kPi)
                                            : a * a + b * b * 2.0 / kPi * std::atan2(correlation.c, angle.sine);
    out.slope_difference = Scaled(jump2 / (2.0 * kPi)) * angle.angle();
    out.slope_pair = out.value; // u phi'(u) = phi(u)
    return out;
}

// E step step = (pi - t)/(2 pi); the slope is 0 almost everywhere.
FISHERFIELD_HD inline Covariance step(const Correlation& correlation) {
    const Angle angle(correlation);
    Covariance out;
    out.value = angle.supplement() / (2.0 * kPi);
    out.difference = angle.angle() / Scaled(2.0 * kPi);
    return out;
}

// E erf erf = (2/pi) asin(2 p/sqrt((1 + 2 q1)(1 + 2 q2))), p = c sqrt(q1 q2)     (Williams 1997)
// With D = (1 + 2 q1)(1 + 2 q2) - 4 p^2 the angle is atan2(2 p, sqrt D), and E phi' phi' = (4/pi)/sqrt D.
FISHERFIELD_HD inline Covariance erf(double q1, double q2, double c, double one_minus_c) {
    const double p = c * std::sqrt(q1 * q2);
    const double d = 1.0 + 2.0 * (q1 + q2) + 4.0 * q1 * q2 * one_minus_c * (1.0 + c);
    Covariance out;
    out.value = 2.0 / kPi * std::atan2(2.0 * p, std::sqrt(d));
    out.slope = 4.0 / kPi / std::sqrt(d);
    out.slope_pair = 4.0 / kPi * p / (d * std::sqrt(d));
    // q1 = q2 = q: asin x - asin y from the sine and cosine of the difference; x^2 - y^2 = (x - y)(x + y) in v = q - p
    const double q = q1, v = q * one_minus_c, scale = 1.0 + 2.0 * q;
    const double x = 2.0 * q / scale, y = 2.0 * p / scale, root_x = std::sqrt(1.0 + 4.0 * q) / scale;
    const double root_y = std::sqrt(d) / scale;
    const double sine = y >= 0.0 ? 2.0 * v / scale * (x + y) / (x * root_y + y * root_x) : x * root_y - y * root_x;
    out.difference = v == 0.0 ? 0.0 : 2.0 / kPi * std::atan2(sine, x * y + root_x * root_y);
    const double root_q = std::sqrt(1.0 + 4.0 * q), root_d = std::sqrt(d);
    out.slope_difference = 4.0 / kPi * 4.0 * q * v * (1.0 + c) / (root_q * root_d * (root_q + root_d));
    return out;
}

// E sin(u + b) sin(w + b) = [e^-m - cos 2b e^-s]/2 with m = (q1 + q2)/2 - p, s = (q1 + q2)/2 + p; slopes are cosines.
FISHERFIELD_HD inline Covariance sin(double q1, double q2, double c, double one_minus_c, double shift) {
    const double root = std::sqrt(q1 * q2), p = c * root, v = root * one_minus_c;
    const double gap = std::sqrt(q1) - std::sqrt(q2), apart = 0.5 * gap * gap;
    const double minus = apart + v, plus = apart + root * (1.0 + c);
    const double cosine = std::cos(2.0 * shift), sin2 = std::pow(std::sin(shift), 2),
                 cos2 = std::pow(std::cos(shift), 2);
    const double sum = std::exp(-plus), rise = p >= 0.0 ? -std::exp(-minus) * std::expm1(-2.0 * p) // e^-m - e^-s
                                                        : sum * std::expm1(2.0 * p);
    Covariance out;
    out.value = 0.5 * rise + sin2 * sum;
    out.slope = 0.5 * rise + cos2 * sum;
    out.slope_pair = 0.5 * ((p - (q1 - p) * (p - q2)) * std::exp(-minus) + cosine * (p - (q1 + p) * (q2 + p)) * sum);
    // q1 = q2 = q: E phi^2 - E phi phi = [(1 - e^-v) + cos 2b (e^-s - e^-2q)]/2, and e^-2q = e^-s e^-v
    const double half = -0.5 * std::expm1(-v), away = std::expm1(-plus);
    out.difference = half * (2.0 * cos2 + cosine * away);
    out.slope_difference = half * (2.0 * sin2 - cosine * away);
    return out;
}

// Tails of the normal law at t >= 0: I_n = int_t^oo (x - t)^n pdf(x) dx, n = 0, 1, 2. They obey I_n = (n - 1) I_{n-2} -
// t I_{n-1}, which cancels for large t; there the ratios come from the continued fraction (the recurrence run
// downwards).
struct Tail {
    double pdf, i0, i1, i2;
};

FISHERFIELD_HD inline Tail tail(double t) {
    const double pdf = formulas::normal_pdf(t);
    if (t < 3.0) {
        const double i0 = formulas::normal_cdf(-t);
        return {pdf, i0, pdf - t * i0, (1.0 + t * t) * i0 - t * pdf};
    }
    // J_n = I_n/n!:  J_n/J_{n-1} = 1/(t + (n + 1) J_{n+1}/J_n)
    double ratio = 1.0 / t, r2 = 0.0, r1 = 0.0;
    for (int n = 80; n >= 0; --n) {
        ratio = 1.0 / (t + (n + 1) * ratio);
        if (n == 2) {
            r2 = ratio;
        } else if (n == 1) {
            r1 = ratio;
        }
    }
    const double i0 = pdf * ratio;
    return {pdf, i0, i0 * r1, 2.0 * i0 * r1 * r2};
}

// Rays at g u + beta, beta = 0: homogeneous of degree 1, so g may lie anywhere.
FISHERFIELD_HD inline Moments rays(const Rays& phi, Scaled g) {
    const double a = 0.5 * (phi.plus + phi.minus), b = 0.5 * (phi.plus - phi.minus);
    const double root = std::sqrt(2.0 / kPi);
    Moments out;
    out.mean = g * (b * root);
    out.second = g * g * (a * a + b * b);
    out.variance = g * g * (a * a + b * b * (1.0 - 2.0 / kPi));
    out.slope_mean = a;
    out.slope_second = a * a + b * b;
    out.slope_variance = b * b;
    out.u_slope = b * root;
    out.u2_slope2 = a * a + b * b;
    return out;
}

// Rays at g u + beta, g > 0, through the tail beyond the kink. For beta > 0, relu(x) = x + relu(-x).
FISHERFIELD_HD inline Moments rays(const Rays& phi, Scaled g, double beta) {
    const double ratio = (Scaled(beta) / g).value(), jump = phi.plus - phi.minus;
    const double t = std::fabs(ratio) < 1e3 ? ratio : std::copysign(1e3, beta); // there is no tail left
    const Tail far = tail(std::fabs(t));
    const bool right = beta > 0.0;
    const double above = right ? 1.0 - far.i0 : far.i0, below = right ? far.i0 : 1.0 - far.i0;
    const Scaled relu_mean = Scaled(right ? beta : 0.0) + g * far.i1;
    const double relu_variance = (right ? 1.0 - 2.0 * far.i0 : 0.0) + far.i2 - far.i1 * far.i1; // over g^2
    const Scaled minus2 = Scaled(phi.minus) * phi.minus, plus2 = Scaled(phi.plus) * phi.plus,
                 jump2 = Scaled(jump) * jump;
    Moments out;
    out.mean = Scaled(phi.minus) * beta + Scaled(jump) * relu_mean;
    out.variance = g * g * (minus2 + Scaled(2.0 * phi.minus) * jump * above + jump2 * relu_variance);
    out.second = out.variance + out.mean * out.mean;
    out.slope_mean = phi.minus + jump * above;
    out.slope_second = minus2 * below + plus2 * above;
    out.slope_variance = jump2 * above * below;
    out.u_slope = jump * far.pdf;
    const double u2_above = above - t * far.pdf; // E u^2 1(g u + beta > 0)
    out.u2_slope2 = minus2 * (1.0 - u2_above) + plus2 * u2_above;
    return out;
}

FISHERFIELD_HD inline Moments step(double t) {
    const Tail far = tail(std::fabs(t));
    Moments out;
    out.mean = t > 0.0 ? 1.0 - far.i0 : far.i0;
    out.second = out.mean;
    out.variance = far.i0 * (1.0 - far.i0);
    return out;
}

FISHERFIELD_HD inline Moments erf(double q) {
    const double root = std::sqrt(1.0 + 4.0 * q), scale = 1.0 + 2.0 * q;
    Moments out;
    out.second = 2.0 / kPi * std::atan2(2.0 * q, root);
    out.variance = out.second;
    out.slope_mean = formulas::kTwoOverSqrtPi / std::sqrt(scale);
    out.slope_second = 4.0 / kPi / root;
    out.slope_variance = 4.0 / kPi * 4.0 * q * q / (scale * root * (scale + root));
    out.u2_slope2 = 4.0 / kPi / (root * root * root);
    return out;
}

FISHERFIELD_HD inline Moments sin(double g, double beta) {
    const double q = g * g, decay = std::exp(-0.5 * q), rest = -std::expm1(-q);
    const double cosine = std::cos(2.0 * beta), cos_beta = std::cos(beta), sin_beta = std::sin(beta);
    Moments out;
    out.mean = sin_beta * decay;
    out.variance = 0.5 * rest * (2.0 * cos_beta * cos_beta * decay * decay + rest);
    out.second = out.variance + out.mean * out.mean;
    out.slope_mean = cos_beta * decay;
    out.slope_variance = 0.5 * rest * (2.0 * sin_beta * sin_beta * decay * decay + rest);
    out.slope_second = out.slope_variance + out.slope_mean * out.slope_mean;
    out.u_slope = -g * sin_beta * decay;
    out.u2_slope2 = 0.5 * (1.0 + cosine * (1.0 - 4.0 * q) * std::exp(-2.0 * q));
    return out;
}

} // namespace closed_form

namespace quadrature {

// How far to integrate where an activation turns t deviations out: what lies there may be all there is. Of a caller's
// function nothing is known there, its kinks included.
FISHERFIELD_HD inline double range_of(const Activation& activation, double t) {
    return activation.kind != Kind::callable && t < kFarthest - kRange ? kRange + t : kRange;
}

inline constexpr double kTurn =
    1.5; // the unit scale on which tanh, sigmoid, gelu, ... turn (poles at i pi/2 and beyond)

// phi(from + h) - phi(from) where h is small: the integral of phi' by three points between kinks (h^6/2e6 relative).
FISHERFIELD_HD inline double small_difference(const Activation& activation, double from, double h) {
    constexpr double node = 0.77459666924148337704;
    double sum = 0.0, left = h > 0 ? from : from + h;
    const double start = left, end = h > 0 ? from + h : from;
    for (int kink = 0; kink <= activation.kink_count; ++kink) {
        const double right =
            kink < activation.kink_count && activation.kinks[kink] < end ? activation.kinks[kink] : end;
        if (right > left) {
            // A piece that is the whole has the width h, to the last digit.
            const double width = left == start && right == end ? std::fabs(h) : right - left;
            const double centre = 0.5 * (left + right), half = 0.5 * width;
            const double x[3] = {centre - node * half, centre, centre + node * half};
            double value[3], slope[3];
            evaluate(activation, x, value, slope, 3);
            sum += half * (5.0 / 9.0 * (slope[0] + slope[2]) + 8.0 / 9.0 * slope[1]);
            left = right;
        }
    }
    return h > 0 ? sum : -sum;
}

inline constexpr double kSmallDifference = 0.05;

FISHERFIELD_HD inline Moments moments(const Activation& activation, double g, double beta, int level = 0) {
    const double finer = std::ldexp(1.0, -level);
    const double origin = 0.0;
    const double* turns = activation.kink_count > 0 ? activation.kinks : &origin;
    const int count = activation.kink_count > 0 ? activation.kink_count : 1;
    double range = kRange;
    for (int i = 0; i < count; ++i) {
        range = std::fmax(range, range_of(activation, std::fabs((turns[i] - beta) / g)));
    }
    Mesh mesh(range, kPanel * finer);
    for (int i = 0; i < count; ++i) {
        const double base = piecewise_linear(activation) ? 0.0 : kTurn * finer / g;
        if (activation.kink_count > 0) {
            mesh.kink((turns[i] - beta) / g, base);
        } else {
            mesh.turn((turns[i] - beta) / g, base);
        }
    }
    const bool by_slope = continuous(activation) && range * g < kSmallDifference;
    // Slopes are summed as they are where g is large, and as differences from phi'(beta) where it is small.
    double at_beta, slope_at_beta;
    evaluate(activation, &beta, &at_beta, &slope_at_beta, 1);
    const double slope_base = g < 1.0 ? slope_at_beta : 0.0;
    double rise = 0, rise2 = 0, turn = 0, turn2 = 0, u_slope = 0, u2_slope2 = 0;
    mesh.integrate(0.0, [&](const double* z, const double* weight, int n) {
        double x[kBatch] = {}, value[kBatch], slope[kBatch];
        for (int i = 0; i < n; ++i) {
            x[i] = g * z[i] + beta;
        }
        evaluate(activation, x, value, slope, n);
        for (int i = 0; i < n; ++i) {
            const double r = by_slope ? small_difference(activation, beta, g * z[i]) : value[i] - at_beta;
            const double s = slope[i] - slope_base;
            rise += weight[i] * r;
            rise2 += weight[i] * r * r;
            turn += weight[i] * s;
            turn2 += weight[i] * s * s;
            u_slope += weight[i] * z[i] * s;
            u2_slope2 += weight[i] * z[i] * z[i] * slope[i] * slope[i];
        }
    });
    Moments out;
    // A mean below its own rounding is that of an odd function, 0.
    const double mean = at_beta + rise, spread = rise2 - rise * rise;
    out.mean = std::fabs(mean) < 0x1p-50 * std::sqrt(spread) ? 0.0 : mean;
    out.variance = spread;
    out.second = out.variance + out.mean * out.mean;
    out.slope_mean = slope_base + turn;
    out.slope_variance = turn2 - turn * turn;
    out.slope_second = out.slope_variance + out.slope_mean * out.slope_mean;
    out.u_slope = u_slope;
    out.u2_slope2 = u2_slope2;
    out.status = mesh.full() ? Status::not_converged : Status::ok;
    return out;
}

// u = sqrt(q1) (a s + b d), w = sqrt(q2) (a s - b d) with s, d ~ N(0, 1) independent, a^2 = (1 + c)/2, b^2 = (1 - c)/2.
// For fixed d both move along s alone: kinks and turns are points on that line. Where equal variances let two lines of
// one kink bound a strip, phi' jumps inside it and nowhere else. As d varies, the inner integral is analytic but where
// two kinks meet.
FISHERFIELD_HD inline Covariance covariance(const Activation& activation, double q1, double q2, double c,
                                            double one_minus_c, double shift, int level = 0) {
    const double finer = std::ldexp(1.0, -level);
    const double r1 = std::sqrt(q1), r2 = std::sqrt(q2);
    const double a = std::sqrt(0.5 * (1.0 + c)), b = std::sqrt(0.5 * one_minus_c);
    const bool equal = q1 == q2, kinked = activation.kink_count > 0;
    const double origin = 0.0;
    const double* turns = kinked ? activation.kinks : &origin;
    const int count = kinked ? activation.kink_count : 1;
    double range = kRange;
    for (int i = 0; i < count; ++i) {
        range = std::fmax(range, range_of(activation, std::fabs(turns[i] - shift) / std::fmin(r1, r2)));
    }
    const double turn = piecewise_linear(activation) ? 0.0 : kTurn * finer;

    Mesh outer(range, kPanel * finer, equal); // d -> -d swaps u and w
    if (b > 0.0) {
        // Two turns that pass each other do so on their own scale; a kink is smoothed by the kernel of width a.
        const double smooth1 = turn / (r1 * b), smooth2 = turn / (r2 * b), sharp = kinked ? a / b : 0.0;
        const auto finest = [](double x, double y) { return x > 0.0 && y > 0.0 ? std::fmin(x, y) : std::fmax(x, y); };
        for (int i = 0; i < count; ++i) {
            const double u = (turns[i] - shift) / r1, w = (turns[i] - shift) / r2;
            outer.kink(u / b, finest(smooth1, sharp));
            outer.kink(-w / b, finest(smooth2, sharp));
            for (int j = 0; j < count; ++j) {
                const double meeting = 0.5 * (u - (turns[j] - shift) / r2) / b;
                outer.kink(meeting, finest(std::fmin(smooth1, smooth2), sharp));
            }
        }
    }

    bool full = outer.full();
    double sum[5] = {};
    outer.integrate(0.0, [&](const double* d, const double* outer_weight, int lines) {
        for (int line = 0; line < lines; ++line) {
            const double shift_d = b * d[line], gap = 2.0 * r1 * b * d[line]; // gap = u - w for equal variances
            Mesh inner(range, kPanel * finer);
            double strip = 0.0;
            if (a > 0.0) {
                strip = 2.0 * shift_d / a;
                for (int i = 0; i < count; ++i) {
                    const double u = ((turns[i] - shift) / r1 - shift_d) / a,
                                 w = ((turns[i] - shift) / r2 + shift_d) / a;
                    if (kinked) {
                        inner.kink(u, turn / (r1 * a), equal ? i : -1);
                        inner.kink(w, turn / (r2 * a), equal ? i : -1);
                    } else {
                        inner.turn(u, turn / (r1 * a));
                        inner.turn(w, turn / (r2 * a));
                    }
                }
            }
            full = full || inner.full();
            double part[5] = {};
            inner.integrate(strip, [&](const double* s, const double* weight, int n) {
                double u[kBatch] = {}, w[kBatch] = {}, phi_u[kBatch], phi_w[kBatch], slope_u[kBatch], slope_w[kBatch];
                for (int i = 0; i < n; ++i) {
                    u[i] = r1 * (a * s[i] + shift_d) + shift;
                    w[i] = r2 * (a * s[i] - shift_d) + shift;
                }
                evaluate(activation, u, phi_u, slope_u, n);
                evaluate(activation, w, phi_w, slope_w, n);
                const bool by_slope = equal && continuous(activation) && gap < kSmallDifference;
                for (int i = 0; i < n; ++i) {
                    const double rise = by_slope ? small_difference(activation, w[i], gap) : phi_u[i] - phi_w[i];
                    const double bend = slope_u[i] - slope_w[i];
                    part[0] += weight[i] * phi_u[i] * phi_w[i];
                    part[1] += weight[i] * rise * rise;
                    part[2] += weight[i] * slope_u[i] * slope_w[i];
                    part[3] += weight[i] * bend * bend;
                    part[4] += weight[i] * (u[i] - shift) * (w[i] - shift) * slope_u[i] * slope_w[i];
                }
            });
            for (int i = 0; i < 5; ++i) {
                sum[i] += outer_weight[line] * part[i];
            }
        }
    });
    const double sides = equal ? 2.0 : 1.0;
    Covariance out;
    out.value = sides * sum[0];
    out.difference = 0.5 * sides * sum[1];
    out.slope = sides * sum[2];
    if (c == 0.0) {
        const Moments one = moments(activation, r1, shift, level), two = moments(activation, r2, shift, level);
        out.value = one.mean * two.mean;
        out.slope = one.slope_mean * two.slope_mean;
    }
    out.slope_difference = 0.5 * sides * sum[3];
    out.slope_pair = sides * sum[4];
    out.status = full ? Status::not_converged : Status::ok;
    return out;
}

inline constexpr double kAgreement = 1e-10; // of two meshes, one half as wide as the other

FISHERFIELD_HD inline bool agree(Scaled x, Scaled y, double size) {
    return std::fabs((x - y).value()) <= kAgreement * size;
}

} // namespace quadrature

// phi(x) = phi(at) + rays(x - at) next to `at`, where nothing of phi's own scale is seen.
struct Germ {
    double value;
    Rays rays;
};

FISHERFIELD_HD inline Germ germ(const Activation& activation, double at) {
    const double step = std::fmax(1e-30, 1e-15 * std::fabs(at));
    const double x[3] = {at - step, at, at + step};
    double value[3], slope[3];
    evaluate(activation, x, value, slope, 3);
    return {value[1], {slope[0], slope[2]}};
}

// Whether phi, and whether phi', jumps at one of its kinks.
struct Jumps {
    bool value = false, slope = false;
};

FISHERFIELD_HD inline Jumps jumps(const Activation& activation) {
    Jumps out;
    for (int kink = 0; kink < activation.kink_count; ++kink) {
        const double at = activation.kinks[kink], step = 1e-9 * std::fmax(1.0, std::fabs(at));
        const double x[2] = {at - step, at + step};
        double value[2], slope[2];
        evaluate(activation, x, value, slope, 2);
        out.value = out.value || std::fabs(value[1] - value[0]) > 1e-6;
        out.slope = out.slope || std::fabs(slope[1] - slope[0]) > 1e-6;
    }
    return out;
}

FISHERFIELD_HD inline bool settled(const Moments& coarse, const Moments& fine) {
    const auto close = [](Scaled x, Scaled y, Scaled size) { return quadrature::agree(x, y, size.value()); };
    return close(coarse.second, fine.second, fine.second) && close(coarse.variance, fine.variance, fine.second) &&
           close(coarse.slope_second, fine.slope_second, fine.slope_second);
}

FISHERFIELD_HD inline bool settled(const Covariance& coarse, const Covariance& fine) {
    return quadrature::agree(coarse.value, fine.value, std::fabs((fine.value + fine.difference).value())) &&
           quadrature::agree(coarse.slope, fine.slope, std::fabs((fine.slope + fine.slope_difference).value()));
}

FISHERFIELD_HD inline bool finite(const Moments& x) {
    return x.second.finite() && x.slope_second.finite() && x.u2_slope2.finite();
}

FISHERFIELD_HD inline bool finite(const Covariance& x) {
    return x.value.finite() && x.difference.finite() && x.slope.finite() && x.slope_difference.finite();
}

// A caller's function has no known scale: `integral(level)` is refined until two meshes agree.
template <class Integral>
FISHERFIELD_HD auto refined(const Activation& activation, int levels, Integral&& integral) {
    auto out = integral(0);
    for (int level = 1; activation.kind == Kind::callable && out.status == Status::ok && finite(out); ++level) {
        if (level > levels) {
            out.status = Status::not_converged;
            break;
        }
        const auto finer = integral(level);
        const bool done = settled(out, finer);
        out = finer;
        if (done) {
            break;
        }
    }
    return out;
}

FISHERFIELD_HD inline Moments at_point(const Activation& activation, double x) {
    double value, slope;
    evaluate(activation, &x, &value, &slope, 1);
    Moments out;
    out.mean = value;
    out.second = Scaled(value) * value;
    out.slope_mean = slope;
    out.slope_second = Scaled(slope) * slope;
    out.u2_slope2 = out.slope_second;
    return out;
}

// E f(g u + beta) for g >= 0.
FISHERFIELD_HD inline Moments moments(const Activation& activation, Scaled g, double beta) {
    const Scaled low(0x1p-50), high(0x1p50); // the range of g for which an integral is formed as it stands
    Rays phi{};
    Moments out;
    if (is_zero(g)) {
        out = at_point(activation, beta);
    } else if (homogeneous(activation, &phi)) {
        out = beta == 0.0 ? closed_form::rays(phi, g) : closed_form::rays(phi, g, beta);
    } else if (activation.kind == Kind::step) {
        const double t = (Scaled(beta) / g).value();
        out = closed_form::step(std::fabs(t) < 1e3 ? t : std::copysign(1e3, beta));
    } else if (g > high && unbounded(activation)) {
        out = closed_form::rays(rays_at(activation, 1e16), g, beta);
    } else if (g > high) {
        out.status = Status::out_of_range;
    } else if (g < low) {
        // Rays from the nearest kink, where that is within reach, else from beta.
        double nearest = beta;
        for (int kink = 0; kink < activation.kink_count; ++kink) {
            const double at = activation.kinks[kink];
            if (Scaled(std::fabs(at - beta)) < Scaled(kFarthest) * g) {
                nearest = at;
            }
        }
        const Germ near = germ(activation, nearest);
        out = closed_form::rays(near.rays, g, beta - nearest);
        out.mean = out.mean + Scaled(near.value);
        out.second = out.variance + out.mean * out.mean;
    } else if (activation.kind == Kind::erf && beta == 0.0) {
        out = closed_form::erf(g.value() * g.value());
    } else if (activation.kind == Kind::sin) {
        out = closed_form::sin(g.value(), beta);
    } else {
        out =
            refined(activation, 5, [&](int level) { return quadrature::moments(activation, g.value(), beta, level); });
    }
    if (out.status == Status::ok && !finite(out)) {
        out.status = Status::overflow;
    }
    return out;
}

FISHERFIELD_HD inline bool equal(Scaled x, Scaled y) { return x.m == y.m && x.e == y.e; }

// Integrals in float64: closed form or quadrature.
FISHERFIELD_HD inline Covariance ordinary(const Activation& activation, double q1, double q2, double c,
                                          double one_minus_c, double shift) {
    if (activation.kind == Kind::erf && shift == 0.0) {
        return closed_form::erf(q1, q2, c, one_minus_c);
    }
    if (activation.kind == Kind::sin) {
        return closed_form::sin(q1, q2, c, one_minus_c, shift);
    }
    return refined(activation, 3,
                   [&](int level) { return quadrature::covariance(activation, q1, q2, c, one_minus_c, shift, level); });
}

// Equal variances: below a least 1 - c, what an integral can resolve, differences go on by their power: sqrt(1 - c)
// where there is a jump, else 1 - c. Values follow from the differences.
FISHERFIELD_HD inline Covariance continued(const Activation& activation, double q1, double q2,
                                           const Correlation& correlation, double shift) {
    const Jumps jump = jumps(activation);
    const bool closed = (activation.kind == Kind::erf && shift == 0.0) || activation.kind == Kind::sin;
    // Smooth: u - w is still 1e-5, its differences good to eps/1e-5, and the next power below 1e-10. With a kink of
    // higher order the next power is (1 - c)^(1/2). With jumps, what counts is exact in the strip between two kinks.
    const double power = closed                      ? 0x1p-900
                         : jump.value || jump.slope  ? 0x1p-70
                         : activation.kink_count > 0 ? 0x1p-50
                                                     : 0x1p-36;
    const double least = closed || jump.value || jump.slope ? power : std::fmin(1.0, power / std::sqrt(q1 * q2));
    if (q1 != q2 || is_zero(correlation.one_minus_c) || correlation.one_minus_c >= Scaled(least)) {
        return ordinary(activation, q1, q2, correlation.c, correlation.one_minus_c.value(), shift);
    }
    Covariance out = ordinary(activation, q1, q2, 1.0 - least, least, shift);
    const Scaled ratio = correlation.one_minus_c / Scaled(least);
    const Scaled difference = out.difference, slope_difference = out.slope_difference;
    out.difference = difference * (jump.value ? sqrt(ratio) : ratio);
    out.slope_difference = slope_difference * (jump.slope ? sqrt(ratio) : ratio);
    out.value = out.value + (difference - out.difference);
    out.slope = out.slope + (slope_difference - out.slope_difference);
    return out;
}

// E phi(u + shift) phi(w + shift) and its companions.
FISHERFIELD_HD inline Covariance covariance(const Activation& activation, Scaled q1, Scaled q2,
                                            const Correlation& correlation, double shift = 0.0) {
    const Scaled larger = q1 < q2 ? q2 : q1, smaller = q1 < q2 ? q1 : q2, r = equal(q1, q2) ? q1 : sqrt(q1 * q2);
    Rays phi{};
    Covariance out;
    const bool is_homogeneous = homogeneous(activation, &phi);
    if (is_zero(smaller)) {
        const Moments one = moments(activation, sqrt(q1), shift), two = moments(activation, sqrt(q2), shift);
        out.value = one.mean * two.mean;
        out.slope = one.slope_mean * two.slope_mean;
        out.status = one.status != Status::ok ? one.status : two.status;
    } else if (equal(q1, q2) && is_zero(correlation.one_minus_c)) {
        const Moments one = moments(activation, sqrt(q1), shift);
        out.value = one.second;
        out.slope = one.slope_second;
        out.slope_pair = q1 * one.u2_slope2;
        out.status = one.status;
    } else if (is_homogeneous && (shift == 0.0 || activation.kind == Kind::linear)) {
        out = closed_form::rays(phi, r, correlation);
        out.value = out.value + Scaled(shift) * shift; // linear alone has both
    } else if (activation.kind == Kind::step && shift == 0.0) {
        out = closed_form::step(correlation);
    } else if (is_homogeneous) {
        // In units of the larger deviation; a shift of 1e3 of them leaves one ray.
        const double t = (Scaled(shift) / sqrt(larger)).value();
        if (std::fabs(t) > 1e3) {
            const double slope = t > 0 ? phi.plus : phi.minus;
            out = closed_form::rays({slope, slope}, r, correlation);
            out.value = out.value + Scaled(slope * slope) * shift * shift;
        } else {
            const double q = (smaller / larger).value();
            out = continued(activation, q1 < q2 ? q : 1.0, q1 < q2 ? 1.0 : q, correlation, t);
            out.value = out.value * larger;
            out.difference = out.difference * larger;
            out.slope_pair = out.slope_pair * larger;
        }
    } else if (smaller > Scaled(kLargeVariance) && unbounded(activation) &&
               Scaled(shift) * shift < Scaled(0x1p-80) * smaller) {
        out = closed_form::rays(rays_at(activation, 1e16), r, correlation);
    } else if (larger > Scaled(kLargeVariance)) {
        out.status = Status::out_of_range;
    } else if (larger < Scaled(kSmallVariance) && shift == 0.0) {
        const Germ near = germ(activation, 0.0);
        const Scaled value(near.value), mean = closed_form::rays(near.rays, Scaled(1.0)).mean;
        out = closed_form::rays(near.rays, r, correlation);
        out.value = out.value + value * (value + mean * (sqrt(q1) + sqrt(q2)));
    } else {
        // A variance far below the other one is nothing to it.
        const double floor = 0x1p-200;
        out = continued(activation, q1 < Scaled(floor) ? floor : q1.value(), q2 < Scaled(floor) ? floor : q2.value(),
                        correlation, shift);
    }
    if (out.status == Status::ok && !finite(out)) {
        out.status = Status::overflow;
    }
    return out;
}

} // namespace fisherfield
