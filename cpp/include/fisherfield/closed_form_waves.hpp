// SPDX-License-Identifier: BSD-3-Clause
// Closed forms of waves, exponentials and bells; of erf with a shift, what has one.
#pragma once

#include <cmath>

#include "fisherfield/activations.hpp"
#include "fisherfield/gaussian_integrals.hpp"
#include "fisherfield/host_device.hpp"
#include "fisherfield/scaled.hpp"

namespace fisherfield {

namespace closed_form {

// Two variances and a correlation, and what is formed of them without cancellation.
struct Pair {
    double q1, q2, c, rest; // rest = 1 - c
    double root, p;         // sqrt(q1 q2), the covariance

    FISHERFIELD_HD Pair(double first, double second, double correlation, double one_minus_c)
        : q1(first), q2(second), c(correlation), rest(one_minus_c),
          root(first * second >= 1e-290 ? std::sqrt(first * second) : std::sqrt(first) * std::sqrt(second)),
          p(correlation * root) {}

    FISHERFIELD_HD double gap() const { return (q1 - q2) / (std::sqrt(q1) + std::sqrt(q2)); } // of the deviations
    FISHERFIELD_HD double half_gap2() const { return 0.5 * (q1 - q2) * (q1 - q2) / (q1 + q2 + 2.0 * root); }
    FISHERFIELD_HD double determinant() const { return q1 * q2 * rest * (1.0 + c); }   // q1 q2 - p^2
    FISHERFIELD_HD double half_minus() const { return half_gap2() + root * rest; }     // (q1 + q2)/2 - p
    FISHERFIELD_HD double half_plus() const { return half_gap2() + root * (1.0 + c); } // (q1 + q2)/2 + p
    // q1 - p and q2 - p
    FISHERFIELD_HD double minus1() const { return p > 0.0 ? std::sqrt(q1) * (gap() + rest * std::sqrt(q2)) : q1 - p; }
    FISHERFIELD_HD double minus2() const { return p > 0.0 ? std::sqrt(q2) * (rest * std::sqrt(q1) - gap()) : q2 - p; }
    // the sizes of what they are sums of
    FISHERFIELD_HD double size1() const { return p > 0.0 ? std::sqrt(q1) * std::fabs(gap()) + root * rest : q1 - p; }
    FISHERFIELD_HD double size2() const { return p > 0.0 ? std::sqrt(q2) * std::fabs(gap()) + root * rest : q2 - p; }
    // q1 + p and q2 + p
    FISHERFIELD_HD double plus1() const {
        return p < 0.0 ? std::sqrt(q1) * (gap() + (1.0 + c) * std::sqrt(q2)) : q1 + p;
    }
    FISHERFIELD_HD double plus2() const {
        return p < 0.0 ? std::sqrt(q2) * ((1.0 + c) * std::sqrt(q1) - gap()) : q2 + p;
    }
};

// A wave A sin(f x + a): sine, cosine and cos2 are those of a and 2a, with a = f shift + phase.
struct Wave {
    double amplitude2, frequency2; // A^2, f^2
    double sine, cosine, cos2;
    double phase; // what cos2 errs by, in eps; 0 where a is exact

    FISHERFIELD_HD double of_slope() const { return amplitude2 * frequency2; }
};

FISHERFIELD_HD inline Wave wave(Kind kind, double shift) {
    const double sine = std::sin(shift), cosine = std::cos(shift);
    if (kind == Kind::cos) { // sin(x + pi/2)
        return {1.0, 1.0, cosine, -sine, -std::cos(2.0 * shift), 0.0};
    }
    if (kind == Kind::rbf) { // sqrt(2) sin(y + pi/4), y = sqrt(2) x; far out y needs 106 bits
        constexpr double root_low = -9.667293313452913037e-17; // sqrt(2) = kSqrt2 + root_low
        const double y = formulas::kSqrt2 * shift;
        const double low = std::fma(formulas::kSqrt2, shift, -y) + root_low * shift;
        const double sine_low = std::sin(low), cosine_low = std::cos(low);
        const double s = std::sin(y) * cosine_low + std::cos(y) * sine_low;
        const double c = std::cos(y) * cosine_low - std::sin(y) * sine_low;
        const double twice = std::sin(2.0 * y) * std::cos(2.0 * low) + std::cos(2.0 * y) * std::sin(2.0 * low);
        const double phase = std::fmin(std::fabs(2.0 * y), 2.0) + std::fabs(y) * 0x1p-50;
        return {2.0, 2.0, (c + s) / formulas::kSqrt2, (c - s) / formulas::kSqrt2, -twice, phase};
    }
    return {1.0, 1.0, sine, cosine, std::cos(2.0 * shift), 0.0};
}

// e^-m - cos2 e^-s with cos2 = 1 - 2 sin^2, m - s = -2p: as it stands, or where the difference cancels and cos2 is
// close to 1 as (e^-m - e^-s) + 2 sin^2 e^-s.
FISHERFIELD_HD_APART inline Scaled interference(double m, double s, double p, double cos2, double sine, double phase,
                                                Scaled* error) {
    const Scaled em = scaled_exp(-m), es = scaled_exp(-s);
    const bool direct = cos2 <= 0.5;
    const Scaled first = direct ? em : p < 0.0 ? es * std::expm1(2.0 * p) : -(em * std::expm1(-2.0 * p));
    const Scaled second = es * (direct ? -cos2 : 2.0 * sine * sine);
    *error = rounding(8.0 + 4.0 * (direct || p >= 0.0 ? m : s), first) + rounding(8.0 + 4.0 * s, second) +
             rounding(2.0 * phase * (direct ? 1.0 : std::fabs(sine) + phase * kEps), es);
    return first + second;
}

// E sin(u + a) sin(w + a) = [e^-m - cos 2a e^-s]/2 with m = (q1 + q2)/2 - p, s = (q1 + q2)/2 + p. Slopes are cosines:
// cos 2a changes sign.
FISHERFIELD_HD_APART inline Covariance waves(const Wave& of, double variance1, double variance2, double c,
                                             double one_minus_c) {
    const Pair pair(of.frequency2 * variance1, of.frequency2 * variance2, c, one_minus_c);
    const double m = pair.half_minus(), s = pair.half_plus(), p = pair.p;
    Covariance out;
    Scaled value_error, slope_error;
    const Scaled half = 0.5 * of.amplitude2, slope_half = 0.5 * of.of_slope();
    out.value = half * interference(m, s, p, of.cos2, of.sine, of.phase, &value_error);
    out.slope = slope_half * interference(m, s, p, -of.cos2, of.cosine, of.phase, &slope_error);
    out.value_error = half * value_error;
    out.slope_error = slope_half * slope_error;
    out.slope_pair = half * (scaled_exp(-m) * (p + pair.minus1() * pair.minus2()) +
                             scaled_exp(-s) * (of.cos2 * (p - pair.plus1() * pair.plus2())));
    // q1 = q2 = q: E phi^2 - E phi phi = [(1 - e^-v) + cos 2a (e^-s - e^-2q)]/2, and e^-2q = e^-s e^-v
    const double rise = -0.5 * std::expm1(-pair.root * one_minus_c), away = std::expm1(-s);
    out.difference = of.amplitude2 * rise * (2.0 * of.cosine * of.cosine + of.cos2 * away);
    out.slope_difference = of.of_slope() * rise * (2.0 * of.sine * of.sine - of.cos2 * away);
    return out;
}

// E e^(u + b) e^(w + b) = e^(2b + (q1 + q2)/2 + p), far beyond float64 for large variances; phi' = phi.
FISHERFIELD_HD_APART inline Covariance exp(double q1, double q2, double c, double one_minus_c, double shift) {
    const Pair pair(q1, q2, c, one_minus_c);
    const double s = pair.half_plus(), v = pair.root * one_minus_c;
    Covariance out;
    out.value = scaled_exp(2.0 * shift + s);
    out.difference = times_expm1(out.value, v, scaled_exp(2.0 * (q1 + shift)));
    out.slope = out.value;
    out.slope_difference = out.difference;
    out.slope_pair = out.value * (pair.p + pair.plus1() * pair.plus2()); // e^u moves the mean of u by q1, of w by p
    out.value_error = of_exponent(8.0 + 4.0 * (std::fabs(shift) + s), out.value);
    out.slope_error = out.value_error;
    return out;
}

// Integrals of bells e^(-x^2/2), x = u + b and y = w + b:  with D = (1 + q1)(1 + q2) - p^2,
//     E bell bell = e^(-b^2 (1 + m)/D)/sqrt D,   m = (q1 + q2)/2 - p,
// and under that weight (u, w) is normal, its covariance S = 1 - (1 + Q)^-1 and the means of x, y are (1 + Q)^-1 b.
struct Bells {
    Scaled value, difference; // E bell bell; for equal variances, E bell^2 - E bell bell
    double s11, s22, s12, x, y;
    double exponent; // b^2 (1 + m)/D

    FISHERFIELD_HD Bells(const Pair& pair, double b) {
        const double determinant = pair.determinant(), d = 1.0 + pair.q1 + pair.q2 + determinant;
        exponent = b * b * (1.0 + pair.half_minus()) / d;
        value = scaled_exp(-exponent) / Scaled(std::sqrt(d));
        s11 = (pair.q1 + determinant) / d;
        s22 = (pair.q2 + determinant) / d;
        s12 = pair.p / d;
        x = b * (1.0 + pair.minus2()) / d;
        y = b * (1.0 + pair.minus1()) / d;
        // q1 = q2 = q, v = q (1 - c), D0 = 1 + 2 q: the ratio to E bell^2 is e^-fall
        const double d0 = 1.0 + 2.0 * pair.q1, v = pair.root * pair.rest;
        const double fall = 0.5 * std::log1p(determinant / d0) + b * b * (v / d) * ((1.0 + v) / d0);
        difference = scaled_exp(-b * b / d0) * (-std::expm1(-fall) / std::sqrt(d0));
    }

    // E x y bell bell
    FISHERFIELD_HD Scaled xy() const { return value * (Scaled(s12) + Scaled(x) * y); }

    // E u x w y bell bell, where u = x - b, w = y - b
    FISHERFIELD_HD Scaled uxwy(double b) const {
        const double u = x - b, w = y - b;
        const Scaled ux = Scaled(u) * x, wy = Scaled(w) * y;
        return value *
               (Scaled(s11 * s22 + 2.0 * s12 * s12) + wy * s11 + ux * s22 + Scaled(s12) * (u + x) * (w + y) + ux * wy);
    }
};

// phi = e^(-x^2/2), phi' = -x e^(-x^2/2).
FISHERFIELD_HD_APART inline Covariance gaussian(double q1, double q2, double c, double one_minus_c, double shift) {
    const Pair pair(q1, q2, c, one_minus_c);
    const Bells bells(pair, shift);
    Covariance out;
    out.value = bells.value;
    out.difference = bells.difference;
    out.slope = bells.xy();
    out.slope_pair = bells.uxwy(shift);
    // q1 = q2 = q: with E x^2 bell^2 = E bell^2 (q/D0 + b^2/D0^2) and x = y = b (1 + v)/D, everything is a multiple of
    // v
    const double v = pair.root * one_minus_c, d0 = 1.0 + 2.0 * q1, d = 1.0 + q1 + q2 + pair.determinant();
    const double mean0 = shift / d0, spread = (v / d) * ((q1 * q1 * (1.0 + c) + d0) / d0);
    const double apart = -shift * (v / d) * ((1.0 + v) / d0); // b/D0 - x
    out.slope_difference = (bells.value + bells.difference) * (Scaled(spread) + Scaled(apart) * (mean0 + bells.x)) +
                           bells.difference * (Scaled(bells.s12) + Scaled(bells.x) * bells.x);
    const double count = 16.0 + 4.0 * bells.exponent;
    out.value_error = rounding(count, out.value);
    const double x = std::fabs(shift) * (1.0 + pair.size2()) / d, y = std::fabs(shift) * (1.0 + pair.size1()) / d;
    out.slope_error = rounding(count, out.value * (Scaled(std::fabs(bells.s12)) + Scaled(std::fabs(bells.x)) * y +
                                                   Scaled(std::fabs(bells.y)) * x));
    return out;
}

// With a shift E erf erf has no closed form, but its slopes (2/sqrt pi) e^(-x^2) are bells of sqrt(2) x.
FISHERFIELD_HD inline void erf_slopes(double q1, double q2, double c, double one_minus_c, double shift,
                                      Covariance* out) {
    const Pair pair(2.0 * q1, 2.0 * q2, c, one_minus_c);
    const double b = formulas::kSqrt2 * shift;
    const Bells bells(pair, b);
    const double u = bells.x - b, w = bells.y - b;
    out->slope = bells.value * (4.0 / kPi);
    out->slope_difference = bells.difference * (4.0 / kPi);
    // u^2 is half of that of the bells
    out->slope_pair = bells.value * (2.0 / kPi) * (Scaled(bells.s12) + Scaled(u) * w);
    out->slope_error = rounding(16.0 + 4.0 * bells.exponent, out->slope);
}

// With a shift: E erf = erf(b/sqrt(1 + 2q)) and the slopes' moments; E erf^2 has no closed form.
FISHERFIELD_HD inline void erf_shifted(double g, double shift, Moments* out) {
    const double q = g * g, scale = 1.0 + 2.0 * q, scale2 = 1.0 + 4.0 * q, b2 = shift * shift;
    const double away = -4.0 * g * shift / scale2; // mean of z under phi'^2
    out->mean = std::erf(shift / std::sqrt(scale));
    out->slope_mean = scaled_exp(-b2 / scale) * (formulas::kTwoOverSqrtPi / std::sqrt(scale));
    out->slope_second = scaled_exp(-2.0 * b2 / scale2) * (4.0 / kPi / std::sqrt(scale2));
    // log of E phi'^2/(E phi')^2
    const double rise = 0.5 * std::log1p(4.0 * q * q / scale2) + 4.0 * b2 * q / (scale * scale2);
    out->slope_variance = times_expm1(out->slope_mean * out->slope_mean, rise, out->slope_second);
    out->u_slope = out->slope_mean * (-2.0 * g * shift / scale);
    out->u2_slope2 = out->slope_second * (1.0 / scale2 + away * away);
    out->mean_error = rounding(16, out->mean);
    out->slope_mean_error = rounding(16.0 + 4.0 * b2 / scale, out->slope_mean);
    out->slope_second_error = rounding(16.0 + 8.0 * b2 / scale2, out->slope_second);
}

// E A sin(f g z + a) = A sin a e^(-q/2), q = f^2 g^2.
FISHERFIELD_HD_APART inline Moments waves(const Wave& of, double g) {
    const double q = of.frequency2 * g * g, rest = -std::expm1(-q);
    const double a = std::sqrt(of.amplitude2), slope = std::sqrt(of.of_slope()), f = std::sqrt(of.frequency2);
    const Scaled decay = scaled_exp(-0.5 * q), decay2 = decay * decay;
    Moments out;
    out.mean = decay * (a * of.sine);
    out.variance = Scaled(0.5 * of.amplitude2 * rest) * (Scaled(2.0 * of.cosine * of.cosine) * decay2 + Scaled(rest));
    out.second = out.variance + out.mean * out.mean;
    out.slope_mean = decay * (slope * of.cosine);
    out.slope_variance = Scaled(0.5 * of.of_slope() * rest) * (Scaled(2.0 * of.sine * of.sine) * decay2 + Scaled(rest));
    out.slope_second = out.slope_variance + out.slope_mean * out.slope_mean;
    out.u_slope = decay * (-slope * f * g * of.sine);
    // [1 + cos 2a (1 - 4q) e^-2q]/2
    const Scaled bent = Scaled(std::expm1(-2.0 * q)) - scaled_exp(-2.0 * q) * (4.0 * q);
    out.u2_slope2 = Scaled(of.of_slope()) * (Scaled(of.cosine * of.cosine) + bent * (0.5 * of.cos2));
    const double count = 8.0 + q;
    const double a_phase = 4.0 * of.phase * a, slope_phase = 4.0 * of.phase * slope;
    out.mean_error = rounding(count, out.mean) + rounding(a_phase, decay);
    out.slope_mean_error = rounding(count, out.slope_mean) + rounding(slope_phase, decay);
    const auto squared = [](Scaled x, Scaled error) { return (abs(x) * 2.0 + error) * error; };
    out.second_error = rounding(16, out.second) + rounding(of.phase, out.variance) + squared(out.mean, out.mean_error);
    out.slope_second_error = rounding(16, out.slope_second) + rounding(of.phase, out.slope_variance) +
                             squared(out.slope_mean, out.slope_mean_error);
    return out;
}

FISHERFIELD_HD_APART inline Moments exp(double g, double shift) {
    const double q = g * g;
    Moments out;
    out.mean = scaled_exp(shift + 0.5 * q);
    out.second = scaled_exp(2.0 * (shift + q));
    out.variance = times_expm1(scaled_exp(2.0 * shift + q), q, out.second);
    out.slope_mean = out.mean;
    out.slope_second = out.second;
    out.slope_variance = out.variance;
    out.u_slope = out.mean * g;
    out.u2_slope2 = out.second * (1.0 + 4.0 * q);
    const double count = 8.0 + std::fabs(shift) + q, count2 = 8.0 + 2.0 * std::fabs(shift) + 4.0 * q;
    out.mean_error = of_exponent(count, out.mean);
    out.second_error = of_exponent(count2, out.second);
    out.slope_mean_error = out.mean_error;
    out.slope_second_error = out.second_error;
    return out;
}

// E bell = e^(-b^2/(2 (1 + q)))/sqrt(1 + q), under which u has variance q/(1 + q) and x = u + b has mean b/(1 + q);
// E bell^2 = e^(-b^2/(1 + 2q))/sqrt(1 + 2q), the same with 2q.
FISHERFIELD_HD_APART inline Moments gaussian(double g, double shift) {
    const double q = g * g, d1 = 1.0 + q, d2 = 1.0 + 2.0 * q, b2 = shift * shift;
    const double x1 = shift / d1, x2 = shift / d2, z2 = -2.0 * g * shift / d2; // means of x, and of z under the square
    Moments out;
    out.mean = scaled_exp(-0.5 * b2 / d1) / Scaled(std::sqrt(d1));
    out.second = scaled_exp(-b2 / d2) / Scaled(std::sqrt(d2));
    const double rise = 0.5 * std::log1p(q * q / d2) + b2 * q / (d1 * d2); // log of E bell^2/(E bell)^2
    const Scaled mean2 = out.mean * out.mean;
    out.variance = times_expm1(mean2, rise, out.second);
    out.slope_mean = -(out.mean * x1);
    out.slope_second = out.second * (Scaled(q / d2) + Scaled(x2) * x2);
    const double bent = rise - 2.0 * std::log1p(q / d1); // the same of the slopes, but for the spread of x
    out.slope_variance = out.second * (q / d2) + times_expm1(mean2 * x1 * x1, bent, out.second * x2 * x2);
    out.u_slope = out.mean * (Scaled(x1) * x1 - Scaled(1.0 / d1)) * g;
    const Scaled both = Scaled(z2) * x2, sum = g * z2 + x2;
    out.u2_slope2 =
        out.second * (Scaled(3.0 * q / (d2 * d2)) + (sum * sum + both * (2.0 * g)) * (1.0 / d2) + both * both);
    const double count = 16.0 + 4.0 * b2 / d2;
    relative_errors(&out, count);
    return out;
}

} // namespace closed_form

} // namespace fisherfield
