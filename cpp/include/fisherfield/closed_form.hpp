// SPDX-License-Identifier: BSD-3-Clause
// Gaussian integrals that have a closed form: what they return, and one function a family.
#pragma once

#include <cmath>

#include "fisherfield/activations.hpp"
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

// r_n = J_n/J_{n-1}, J_n = I_n/n!, J_{-1} = pdf, for t >= 3: the minimal solution of J_{n-1} = t J_n + (n + 1) J_{n+1},
// by the recurrence downwards (J. C. P. Miller).
struct TailRatios {
    double r0, r1, r2;

    FISHERFIELD_HD explicit TailRatios(double t) {
        const int start = 10 + static_cast<int>(640.0 / (t * t)); // leaves 1e-17
        double above = 0.0, here = 1.0;                           // at most 3^81 sqrt(81!) = 1e99
        const auto down = [&](int n) {
            const double below = t * here + (n + 1) * above;
            above = here;
            here = below;
        };
        for (int n = start; n > 2; --n) {
            down(n);
        }
        down(2);
        r2 = above / here;
        down(1);
        r1 = above / here;
        down(0);
        r0 = above / here;
    }
};

FISHERFIELD_HD inline Tail tail(double t) {
    const double pdf = formulas::normal_pdf(t);
    if (t < 3.0) {
        const double i0 = formulas::normal_cdf(-t);
        return {pdf, i0, pdf - t * i0, (1.0 + t * t) * i0 - t * pdf};
    }
    const TailRatios ratio(t);
    const double i0 = pdf * ratio.r0;
    return {pdf, i0, i0 * ratio.r1, 2.0 * i0 * ratio.r1 * ratio.r2};
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

} // namespace fisherfield
