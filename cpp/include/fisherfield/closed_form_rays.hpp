// SPDX-License-Identifier: BSD-3-Clause
// Closed forms of rays (relu and its kin), step and sign; tails of the normal law.
#pragma once

#include <cmath>

#include "fisherfield/activations.hpp"
#include "fisherfield/gaussian_integrals.hpp"
#include "fisherfield/host_device.hpp"
#include "fisherfield/scaled.hpp"

namespace fisherfield {

namespace closed_form {

// sin x - x cos x = x^3/3 - x^5/30 + ..., without the cancellation near 0
FISHERFIELD_HD inline double sine_minus(double x, double sine, double cosine) {
    if (x > 1.0) {
        return sine - x * cosine;
    }
    double term = x * x * x / 3.0, sum = term;
    for (int k = 1; k < 10; ++k) { // the eleventh term is 1e-18 of the first
        term *= -x * x / (2.0 * k * (2.0 * k + 3.0));
        sum += term;
    }
    return sum;
}

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

    FISHERFIELD_HD double sine_minus() const { return closed_form::sine_minus(t.value(), sine, cosine); }
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
    out.value_error = rounding(16, r * (std::fabs(phi.minus * phi.plus * correlation.c) + jump2 * kernel));
    out.slope_error = rounding(16, std::fabs(phi.minus * phi.plus) + a * a + b * b);
    if (phi.minus * phi.plus == 0.0 || a == 0.0) { // one term
        relative_errors(&out, 16);
    }
    return out;
}

// E step step = (pi - t)/(2 pi); the slope is 0 almost everywhere.
FISHERFIELD_HD inline Covariance step(const Correlation& correlation) {
    const Angle angle(correlation);
    Covariance out;
    out.value = angle.supplement() / (2.0 * kPi);
    out.difference = angle.angle() / Scaled(2.0 * kPi);
    relative_errors(&out, 16);
    return out;
}

// E sign sign = (2/pi) asin c
FISHERFIELD_HD inline Covariance sign(const Correlation& correlation) {
    const Angle angle(correlation);
    Covariance out;
    out.value = 2.0 / kPi * std::atan2(correlation.c, angle.sine);
    out.difference = angle.angle() * Scaled(2.0 / kPi);
    relative_errors(&out, 16);
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

    FISHERFIELD_HD explicit TailRatios(double t) : r0(1.0 / t), r1(r0), r2(r0) {
        if (!(t <= 1e8)) {
            return;
        }
        const int start = 10 + static_cast<int>(640.0 / (t * t)); // at most 81; leaves 1e-17
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

FISHERFIELD_HD_APART inline Tail tail(double t) {
    const double pdf = formulas::normal_pdf(t);
    if (t < 3.0) {
        const double i0 = formulas::normal_cdf(-t);
        return {pdf, i0, pdf - t * i0, (1.0 + t * t) * i0 - t * pdf};
    }
    const TailRatios ratio(t);
    const double i0 = pdf * ratio.r0;
    return {pdf, i0, i0 * ratio.r1, 2.0 * i0 * ratio.r1 * ratio.r2};
}

// The same for what multiplies it by as much as 1e200.
struct ScaledTail {
    Scaled pdf, i0, i1, i2;

    FISHERFIELD_HD explicit ScaledTail(double t) {
        if (t < 3.0) {
            const Tail near = tail(t);
            pdf = near.pdf, i0 = near.i0, i1 = near.i1, i2 = near.i2;
            return;
        }
        const TailRatios ratio(t);
        pdf = scaled_exp(-0.5 * t * t) * formulas::kInvSqrt2Pi;
        i0 = pdf * ratio.r0;
        i1 = i0 * ratio.r1;
        i2 = i1 * (2.0 * ratio.r2);
    }
};

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
    relative_errors(&out, 16);
    return out;
}

// Rays at g u + beta, g > 0: the ray on which beta lies, and beyond the kink, t deviations away, the tail of what the
// other one adds to it,
//
//     phi(x) = near x + (far - near) min(x, 0)  for beta > 0, where |min(x, 0)|/g has the moments I_1, I_2.
//
// Nothing cancels that is large only on the far side.
FISHERFIELD_HD inline Moments rays(const Rays& phi, Scaled g, double beta) {
    const double ratio = std::fabs((Scaled(beta) / g).value());
    const double t = ratio < 1e4 ? ratio : 1e4; // there is no tail left: e^(-5e7)
    const bool right = beta > 0.0;
    const ScaledTail beyond(t);
    const Scaled near = right ? phi.plus : phi.minus, far = right ? phi.minus : phi.plus;
    const Scaled jump = right ? Scaled(phi.plus - phi.minus) : Scaled(phi.minus - phi.plus); // near - far
    const Scaled rise = (right ? jump : -jump) * g * beyond.i1;
    const Scaled near2 = near * near, far2 = far * far, jump2 = jump * jump, cross = near * jump * beyond.i0 * 2.0;
    const Scaled here = Scaled(1.0) - beyond.i0, u2_far = beyond.i0 + beyond.pdf * t; // E u^2 beyond
    Moments out;
    out.mean = near * beta + rise;
    out.variance = g * g * (near2 - cross + jump2 * (beyond.i2 - beyond.i1 * beyond.i1));
    out.second = out.variance + out.mean * out.mean;
    out.slope_mean = near * here + far * beyond.i0;
    out.slope_second = near2 * here + far2 * beyond.i0;
    out.slope_variance = jump2 * here * beyond.i0;
    out.u_slope = Scaled(phi.plus - phi.minus) * beyond.pdf;
    out.u2_slope2 = near2 * (Scaled(1.0) - u2_far) + far2 * u2_far;
    // An ulp of t is t^2 ulp of the tail; below 3, its second integral cancels, at last to 1/70 of its terms.
    const double of_tail = t < 3.0 ? 16.0 + 40.0 * t * t : 256.0 + 1.5 * t * t;
    out.mean_error = rounding(16, near * beta) + rounding(of_tail, rise);
    out.second_error = g * g * (rounding(32, near2) + rounding(of_tail, abs(cross) + jump2 * beyond.i2)) +
                       (abs(out.mean) * 2.0 + out.mean_error) * out.mean_error;
    out.slope_mean_error = rounding(16, near) + rounding(of_tail, abs(far) * beyond.i0);
    out.slope_second_error = rounding(16, near2) + rounding(of_tail, far2 * beyond.i0);
    return out;
}

FISHERFIELD_HD inline Moments step(double t) {
    const Tail far = tail(std::fabs(t));
    Moments out;
    out.mean = t > 0.0 ? 1.0 - far.i0 : far.i0;
    out.second = out.mean;
    out.variance = far.i0 * (1.0 - far.i0);
    const double of_tail = 64.0 + 1.5 * t * t; // an ulp of t is t^2 ulp of the tail
    relative_errors(&out, t > 0.0 ? 16.0 + of_tail * far.i0 : of_tail);
    return out;
}

FISHERFIELD_HD inline Moments sign(double t) {
    const Tail far = tail(std::fabs(t));
    Moments out;
    out.mean = std::erf(t / formulas::kSqrt2);
    out.second = 1.0;
    out.variance = 4.0 * far.i0 * (1.0 - far.i0);
    relative_errors(&out, 16);
    return out;
}

} // namespace closed_form

} // namespace fisherfield
