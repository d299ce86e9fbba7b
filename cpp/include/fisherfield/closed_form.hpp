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

// Positive Gauss-Legendre nodes of order 64 and their weights, by mpmath with 40 digits: exact to rounding for
// (cos x)^64 over [-pi, pi].
inline constexpr int kHalfNodes = 32;

FISHERFIELD_HD inline double half_node(int i) {
    constexpr double nodes[kHalfNodes] = {
        0.024350292663424432509, 0.07299312178779903945, 0.12146281929612055447, 0.16964442042399281804,
        0.21742364374000708415,  0.26468716220876741637, 0.31132287199021095616, 0.35722015833766811595,
        0.4022701579639916037,   0.44636601725346408798, 0.48940314570705295748, 0.53127946401989454566,
        0.57189564620263403428,  0.61115535517239325025, 0.64896547125465733986, 0.68523631305423324256,
        0.71988185017161082685,  0.75281990726053189661, 0.78397235894334140761, 0.81326531512279755974,
        0.84062929625258036275,  0.86599939815409281976, 0.88931544599511410585, 0.91052213707850280576,
        0.92956917213193957582,  0.94641137485840281606, 0.96100879965205371892, 0.97332682778991096374,
        0.98333625388462595693,  0.99101337147674432074, 0.99634011677195527935, 0.99930504173577213946};
    return nodes[i];
}

FISHERFIELD_HD inline double half_weight(int i) {
    constexpr double weights[kHalfNodes] = {
        0.048690957009139720383, 0.048575467441503426935,  0.04834476223480295717,   0.047999388596458307728,
        0.047540165714830308662, 0.046968182816210017325,  0.046284796581314417296,  0.04549162792741814448,
        0.04459055816375656306,  0.043583724529323453377,  0.042473515123653589007,  0.04126256324262352861,
        0.039953741132720341387, 0.038550153178615629129,  0.03705512854024004604,   0.035472213256882383811,
        0.033805161837141609392, 0.032057928354851553585,  0.030234657072402478868,  0.028339672614259483228,
        0.026377469715054658672, 0.024352702568710873338,  0.022270173808383254159,  0.020134823153530209372,
        0.017951715775697343085, 0.015726030476024719322,  0.013463047896718642598,  0.011168139460131128819,
        0.008846759826363947723, 0.0065044579689783628561, 0.0041470332605624676353, 0.0017832807216964329473};
    return weights[i];
}

// Rectified monomials u_+^n at unit variances, in polar coordinates (Cho and Saul 2009), t = pi - angle of u and w:
//
//     E u_+^n w_+^n = n!/(2 pi) int_0^t (cos x - cos t)^n dx,    cos x - cos t = 2 sin((t + x)/2) sin((t - x)/2).
//
// Nothing is subtracted, so what is left near c = -1 keeps all its digits. This is that integral over (1 + c)^n.
FISHERFIELD_HD_APART inline double rectified_integral(const Angle& angle, int n) {
    const double t = angle.supplement(), top = std::pow(std::sin(0.5 * t), 2); // (1 + c)/2
    double sum = 0.0;
    for (int i = 0; i < kHalfNodes && t > 0.0; ++i) {
        const double x = t * half_node(i);
        sum += half_weight(i) * std::pow(std::sin(0.5 * (t + x)) * std::sin(0.5 * (t - x)) / top, n);
    }
    return t * sum;
}

// The same integral at c = 1 less that at c, n >= 1, over 2^n: [0, t] gives (1 + cos x)^n - (cos x + c)^n, of which
// a^n - b^n = a^n [1 - (1 - (a - b)/a)^n], and [t, pi] gives (1 + cos x)^n.
FISHERFIELD_HD_APART inline Scaled rectified_difference(const Angle& angle, Scaled one_minus_c, int n) {
    const double t = angle.supplement(), rest = one_minus_c.value();
    Scaled near(0.0), far(0.0);
    for (int i = 0; i < kHalfNodes; ++i) {
        const double a = std::pow(std::cos(0.5 * t * half_node(i)), 2); // (1 + cos x)/2
        const double lost = std::fmin(0.5 * rest / a, 1.0);
        // (a - b)/a is below 1e-290 where (1 - c) is no float64 any more
        const Scaled share = rest > 1e-290 ? Scaled(-std::expm1(n * std::log1p(-lost))) : one_minus_c * (0.5 * n / a);
        near = near + share * (half_weight(i) * std::pow(a, n));
        // the rest of the circle from its far end: 1 + cos(pi - y) = 2 sin^2(y/2)
        const Scaled y = angle.angle() * half_node(i);
        const Scaled sine = y < Scaled(1e-8) ? y * 0.5 : Scaled(std::sin(0.5 * y.value()));
        far = far + power(sine * sine, n) * half_weight(i);
    }
    return near * t + far * angle.angle();
}

FISHERFIELD_HD inline double factorial(int n) { return std::round(std::tgamma(n + 1.0)); }

FISHERFIELD_HD_APART inline Covariance rectified_monomial(int n, Scaled r, const Correlation& correlation) {
    const Angle angle(correlation);
    const Scaled above(1.0 + correlation.c);
    const double f = factorial(n) / (2.0 * kPi), slope_f = static_cast<double>(n) * n * factorial(n - 1) / (2.0 * kPi);
    const Scaled rn = power(r, n), slope_rn = power(r, n - 1);
    Covariance out;
    out.value = rn * power(above, n) * (f * rectified_integral(angle, n));
    out.slope = slope_rn * power(above, n - 1) * (slope_f * rectified_integral(angle, n - 1));
    out.difference = rn * power(2.0, n) * rectified_difference(angle, correlation.one_minus_c, n) * f;
    out.slope_difference =
        slope_rn * power(2.0, n - 1) * rectified_difference(angle, correlation.one_minus_c, n - 1) * slope_f;
    out.slope_pair = out.value * (static_cast<double>(n) * n); // u phi'(u) = n phi(u)
    relative_errors(&out, 16.0 + 4.0 * n);
    return out;
}

// E z_+^n = (n - 1)!!/2 for even n, (n - 1)!!/sqrt(2 pi) for odd n.
FISHERFIELD_HD inline Scaled half_moment(int n) {
    Scaled product = n % 2 == 0 ? 0.5 : formulas::kInvSqrt2Pi;
    for (int k = n - 1; k > 1; k -= 2) {
        product = product * k;
    }
    return product;
}

FISHERFIELD_HD_APART inline Moments rectified_monomial(int n, Scaled g) {
    const Scaled gn = power(g, n), slope_gn = power(g, n - 1) * n;
    Moments out;
    out.mean = gn * half_moment(n);
    out.second = gn * gn * half_moment(2 * n);
    out.variance = out.second - out.mean * out.mean; // the mean's part is at most 1/6 of it for n >= 2
    out.slope_mean = slope_gn * half_moment(n - 1);
    out.slope_second = slope_gn * slope_gn * half_moment(2 * n - 2);
    out.slope_variance = out.slope_second - out.slope_mean * out.slope_mean;
    out.u_slope = slope_gn * half_moment(n);
    out.u2_slope2 = slope_gn * slope_gn * half_moment(2 * n);
    relative_errors(&out, 16.0 + 4.0 * n);
    return out;
}

} // namespace closed_form

} // namespace fisherfield
