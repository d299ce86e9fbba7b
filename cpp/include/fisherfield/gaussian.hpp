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
// which keeps all its digits when c -> 1. Closed forms: closed_form.hpp and polynomial.hpp; all others by quadrature.hpp.
// Closed forms are right to a few ulp,
// quadratures to 1e-9 (seen: 1e-11) for variances in [1e-8, 1e8]. Outside [2^-100, 2^100] an activation is
// replaced by the two rays it tends to, exact to 2^-50. docs/theory.md, section 3.
#pragma once

#include <cmath>

#include "fisherfield/activations.hpp"
#include "fisherfield/closed_form.hpp"
#include "fisherfield/polynomial.hpp"
#include "fisherfield/quadrature.hpp"
#include "fisherfield/scaled.hpp"

namespace fisherfield {

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

// Whether everything about phi has a closed form at any variance that float64 can square.
FISHERFIELD_HD inline bool wave_or_exponential(Kind kind) {
    return kind == Kind::sin || kind == Kind::cos || kind == Kind::rbf || kind == Kind::exp || kind == Kind::gaussian;
}

// Whether the covariance has one at this shift.
FISHERFIELD_HD inline bool closed_covariance(Kind kind, double shift) {
    return wave_or_exponential(kind) || ((kind == Kind::erf || kind == Kind::gelu) && shift == 0.0);
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
    } else if (activation.kind == Kind::sign) {
        const double t = (Scaled(beta) / g).value();
        out = closed_form::sign(std::fabs(t) < 1e3 ? t : std::copysign(1e3, beta));
    } else if (polynomials::is_polynomial(activation)) {
        out = polynomials::moments(activation, g, beta);
    } else if (activation.kind == Kind::rectified_monomial && beta == 0.0) {
        out = closed_form::rectified_monomial(activation.degree, g);
    } else if (g > high && unbounded(activation)) {
        out = closed_form::rays(rays_at(activation, 1e16), g, beta);
    } else if (g > (wave_or_exponential(activation.kind) ? Scaled(0x1p200) : high)) {
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
    } else if (activation.kind == Kind::gelu && beta == 0.0) {
        out = closed_form::gelu(g.value());
    } else if (activation.kind == Kind::exp) {
        out = closed_form::exp(g.value(), beta);
    } else if (activation.kind == Kind::gaussian) {
        out = closed_form::gaussian(g.value(), beta);
    } else if (wave_or_exponential(activation.kind)) {
        out = closed_form::waves(closed_form::wave(activation.kind, beta), g.value());
    } else {
        out =
            refined(activation, 5, [&](int level) { return quadrature::moments(activation, g.value(), beta, level); });
        if (activation.kind == Kind::erf) {
            closed_form::erf_shifted(g.value(), beta, &out);
        }
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
    if (activation.kind == Kind::gelu && shift == 0.0) {
        return closed_form::gelu(q1, q2, c, one_minus_c);
    }
    if (activation.kind == Kind::exp) {
        return closed_form::exp(q1, q2, c, one_minus_c, shift);
    }
    if (activation.kind == Kind::gaussian) {
        return closed_form::gaussian(q1, q2, c, one_minus_c, shift);
    }
    if (wave_or_exponential(activation.kind)) {
        return closed_form::waves(closed_form::wave(activation.kind, shift), q1, q2, c, one_minus_c);
    }
    return refined(activation, 3,
                   [&](int level) { return quadrature::covariance(activation, q1, q2, c, one_minus_c, shift, level); });
}

// Equal variances: below a least 1 - c, what an integral can resolve, differences go on by their power: sqrt(1 - c)
// where there is a jump, else 1 - c. Values follow from the differences.
FISHERFIELD_HD inline Covariance continued(const Activation& activation, double q1, double q2,
                                           const Correlation& correlation, double shift) {
    const Jumps jump = jumps(activation);
    const bool closed = closed_covariance(activation.kind, shift);
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
    } else if (polynomials::is_polynomial(activation)) {
        out = polynomials::covariance(activation, q1, q2, correlation, shift);
    } else if (activation.kind == Kind::rectified_monomial && shift == 0.0) {
        out = closed_form::rectified_monomial(activation.degree, r, correlation);
    } else if (is_homogeneous && (shift == 0.0 || activation.kind == Kind::linear)) {
        out = closed_form::rays(phi, r, correlation);
        out.value = out.value + Scaled(shift) * shift; // linear alone has both
    } else if (activation.kind == Kind::step && shift == 0.0) {
        out = closed_form::step(correlation);
    } else if (activation.kind == Kind::sign && shift == 0.0) {
        out = closed_form::sign(correlation);
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
    } else if (larger > Scaled(wave_or_exponential(activation.kind) ? 0x1p400 : kLargeVariance)) {
        out.status = Status::out_of_range;
    } else if (larger < Scaled(kSmallVariance) && shift == 0.0) {
        const Germ near = germ(activation, 0.0);
        const Scaled value(near.value), mean = closed_form::rays(near.rays, Scaled(1.0)).mean;
        out = closed_form::rays(near.rays, r, correlation);
        out.value = out.value + value * (value + mean * (sqrt(q1) + sqrt(q2)));
    } else {
        // A variance far below the other one is nothing to it.
        const double floor = 0x1p-200;
        const double v1 = q1 < Scaled(floor) ? floor : q1.value(), v2 = q2 < Scaled(floor) ? floor : q2.value();
        out = continued(activation, v1, v2, correlation, shift);
        if (activation.kind == Kind::erf && shift != 0.0) {
            closed_form::erf_slopes(v1, v2, correlation.c, correlation.one_minus_c.value(), shift, &out);
        }
    }
    if (out.status == Status::ok && !finite(out)) {
        out.status = Status::overflow;
    }
    return out;
}

} // namespace fisherfield
