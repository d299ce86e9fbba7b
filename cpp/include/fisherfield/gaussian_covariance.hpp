// SPDX-License-Identifier: BSD-3-Clause
// Covariances of phi and of phi' under two Gaussians.
#pragma once

#include <cmath>
#include <initializer_list>

#include "fisherfield/activations.hpp"
#include "fisherfield/closed_form.hpp"
#include "fisherfield/conditional.hpp"
#include "fisherfield/gaussian_germs.hpp"
#include "fisherfield/gaussian_moments.hpp"
#include "fisherfield/gaussian_ranges.hpp"
#include "fisherfield/gaussian_refined.hpp"
#include "fisherfield/host_device.hpp"
#include "fisherfield/polynomial.hpp"
#include "fisherfield/quadrature_covariance.hpp"
#include "fisherfield/scaled.hpp"
#include "fisherfield/smoothed_step.hpp"

namespace fisherfield {

// Whether phi, and whether phi', jumps at one of its kinks.
struct Jumps {
    bool value = false, slope = false;
};

FISHERFIELD_HD_APART inline Jumps jumps(const Activation& activation) {
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

// Those without a closed form: one integral where the conditional mean is elementary, else two.
FISHERFIELD_HD inline Covariance integrated(const Activation& activation, double q1, double q2, double c,
                                            double one_minus_c, double shift, bool differences) {
    const auto nested = [&] {
        return refined(activation, 3, [&](int level) {
            return quadrature::covariance(activation, q1, q2, c, one_minus_c, shift, level);
        });
    };
    Covariance out;
    const conditional::Available available =
        conditional::covariance(activation, q1, q2, c, one_minus_c, shift, differences && q1 == q2, &out);
    if (!available.covariance) {
        return nested();
    }
    if (differences && q1 == q2 && !available.differences) {
        const Moments one = moments(activation, std::sqrt(q1), shift);
        out.difference = one.second - out.value;
        out.slope_difference = one.slope_second - out.slope;
        // Seven bits may be lost here, for the sake of speed.
        if (out.difference < Scaled(0x1p-7) * one.second || out.slope_difference < Scaled(0x1p-7) * one.slope_second) {
            const Covariance two = nested();
            out.difference = two.difference;
            out.slope_difference = two.slope_difference;
        }
    }
    return out;
}

// Integrals in float64.
template <Integrals held>
FISHERFIELD_HD inline Covariance ordinary(const Activation& activation, double q1, double q2, double c,
                                          double one_minus_c, double shift, [[maybe_unused]] bool differences) {
    smoothed_step::Family smoothed{};
    if (smoothed_step::family(activation.kind, &smoothed) && shift == 0.0) {
        return smoothed_step::covariance(smoothed, q1, q2, c, one_minus_c);
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
    if constexpr (held == Integrals::all) {
        return integrated(activation, q1, q2, c, one_minus_c, shift, differences);
    } else {
        Covariance out;
        out.status = kNotHeld;
        return out;
    }
}

// Equal variances: below a least 1 - c, what an integral can resolve, differences go on by their power: sqrt(1 - c)
// where there is a jump, else 1 - c. Values follow from the differences.
template <Integrals held>
FISHERFIELD_HD inline Covariance continued(const Activation& activation, double q1, double q2,
                                           const Correlation& correlation, double shift, bool differences) {
    const Jumps jump = jumps(activation);
    const bool closed = closed_covariance(activation.kind, shift);
    // Smooth: u - w is still 1e-5, its differences good to eps/1e-5, and the next power below 1e-10. With a kink of
    // higher order the next power is (1 - c)^(1/2). With jumps, what counts is exact in the strip between two kinks.
    const double power = closed                      ? 0x1p-600
                         : jump.value || jump.slope  ? 0x1p-70
                         : activation.kink_count > 0 ? 0x1p-50
                                                     : 0x1p-36;
    const double least = closed || jump.value || jump.slope ? power : std::fmin(1.0, power / std::sqrt(q1 * q2));
    const bool alone = !differences && conditional::available(activation); // no differences to go wrong
    if (q1 != q2 || alone || is_zero(correlation.one_minus_c) || correlation.one_minus_c >= Scaled(least)) {
        return ordinary<held>(activation, q1, q2, correlation.c, correlation.one_minus_c.value(), shift, differences);
    }
    Covariance out = ordinary<held>(activation, q1, q2, 1.0 - least, least, shift, true);
    const Scaled ratio = correlation.one_minus_c / Scaled(least);
    const Scaled difference = out.difference, slope_difference = out.slope_difference;
    out.difference = difference * (jump.value ? sqrt(ratio) : ratio);
    out.slope_difference = slope_difference * (jump.slope ? sqrt(ratio) : ratio);
    out.value = out.value + (difference - out.difference);
    out.slope = out.slope + (slope_difference - out.slope_difference);
    if (!closed) { // what `least` leaves of it is not to be neglected: at small variances that is 1
        const Scaled whole = Scaled(q1) * moments<held>(activation, std::sqrt(q1), shift).u2_slope2;
        out.slope_pair = whole - (whole - out.slope_pair) * (jump.slope ? sqrt(ratio) : ratio);
    }
    return out;
}

template <Integrals held = Integrals::all>
FISHERFIELD_HD inline Covariance covariance(const Activation& activation, Scaled q1, Scaled q2,
                                            const Correlation& correlation, double shift = 0.0,
                                            bool differences = true);

// Both variances so small that phi is its value and its rays.
template <Integrals held>
FISHERFIELD_HD_APART inline Covariance of_germs(const Activation& activation, Scaled q1, Scaled q2,
                                                const Correlation& correlation, double shift, bool differences) {
    const Scaled most = q1 < q2 ? q2 : q1, deviation = sqrt(most);
    const double at = nearest(activation, deviation, shift), offset = shift - at;
    const Germ near = germ(activation, at);
    Covariance out;
    if (offset == 0.0) {
        out = closed_form::rays(near.rays, equal(q1, q2) ? q1 : sqrt(q1 * q2), correlation);
    } else { // plus leaky_relu(x), or minus relu(-x)
        const bool right = near.rays.plus != 0.0;
        const double factor = right ? near.rays.plus : -near.rays.minus;
        const Activation ray = right ? make_activation(Kind::leaky_relu, near.rays.minus / factor) //
                                     : make_activation(Kind::relu);
        const Scaled factor2 = Scaled(factor) * factor;
        out = covariance<held>(ray, q1, q2, correlation, right ? offset : -offset, differences);
        for (Scaled* x : {&out.value, &out.difference, &out.slope, &out.slope_difference, &out.slope_pair,
                          &out.value_error, &out.slope_error}) {
            *x = *x * factor2;
        }
    }
    const Moments one = rays_beside(near.rays, sqrt(q1), offset), two = rays_beside(near.rays, sqrt(q2), offset);
    const Scaled value(near.value), size(near.size()),
        of_value = value_evaluation(activation, at, near.value, near.size()) + most * near.curvature;
    const Scaled of_slope = slope_evaluation(activation, at, near.value, near.size()) + near.bend(deviation);
    out.value = out.value + value * (value + one.mean + two.mean);
    out.value_error = out.value_error +
                      abs(value) * (of_value * 2.0 + one.mean_error + two.mean_error + abs(one.mean) * 0x1p-48 +
                                    abs(two.mean) * 0x1p-48) +
                      of_value * (of_value + (size + of_slope) * deviation * 2.0) + most * size * of_slope * 2.0;
    out.slope_error = out.slope_error + (size * 2.0 + of_slope) * of_slope + most * (near.curvature * near.curvature);
    return out;
}

// One variance so small that phi is its value and its rays there, the other one not. Where phi is straight, by Stein's
// lemma, u ~ N(0, q1):
//
//     E [phi(b) + phi'(b) u] f(w) = phi(b) E f(w) + phi'(b) p E f'(w)
//
// Beside a kink at 0 it is homogeneous, and is taken at a variance that float64 resolves. Beside another one its two
// slopes have their mean, and the bound says what that leaves out.
template <Integrals held>
FISHERFIELD_HD_APART inline Covariance beside_a_point(const Activation& activation, Scaled q1, Scaled q2,
                                                      const Correlation& correlation, double shift, bool differences) {
    const bool first = q1 < q2;
    const Scaled small = sqrt(first ? q1 : q2), large = sqrt(first ? q2 : q1), floor(0x1p-100);
    const double at = nearest(activation, small, shift);
    const Germ near = germ(activation, at);
    const Scaled held_small = small < floor ? floor : small, ratio = small / held_small;
    const bool homogeneous = near.kinked && at == 0.0;
    const double v = (held_small * held_small).value(), w = (large * large).value();
    const double moved = homogeneous ? (Scaled(shift) / ratio).value() : shift;
    Covariance out = continued<held>(activation, first ? v : w, first ? w : v, correlation, moved, differences);
    out.slope_pair = out.slope_pair * ratio;
    if (homogeneous) { // of degree n
        const int n = activation.kind == Kind::rectified_monomial ? activation.degree : jumps(activation).value ? 0 : 1;
        const Scaled of_value = power(ratio, n), of_slope = n > 0 ? power(ratio, n - 1) : Scaled(1.0);
        out.value = out.value * of_value;
        out.value_error = out.value_error * of_value;
        out.slope = out.slope * of_slope;
        out.slope_error = out.slope_error * of_slope;
        out.slope_pair = out.slope_pair * of_slope;
        return out;
    }
    const Moments other = moments<held>(activation, large, shift);
    const double mean_slope = 0.5 * (near.rays.minus + near.rays.plus);
    const double apart = 0.5 * std::fabs(near.rays.minus - near.rays.plus);
    const Scaled p = small * large * correlation.c, value(near.value), slope(mean_slope);
    const Scaled size = sqrt(other.second + other.second_error), slope_size = sqrt(other.slope_second);
    const Scaled of_value = evaluation(near.value) + small * small * near.curvature + small * apart;
    const Scaled of_slope =
        slope_evaluation(activation, at, near.value, near.size()) + near.bend(small) + small * near.curvature;
    out.value = value * other.mean + slope * p * other.slope_mean;
    out.slope = slope * other.slope_mean;
    out.value_error = abs(value) * other.mean_error + size * of_value +
                      abs(p) * (abs(slope) * other.slope_mean_error + of_slope * slope_size) +
                      closed_form::rounding(8, abs(value * other.mean) + abs(slope * p * other.slope_mean));
    out.slope_error = abs(slope) * other.slope_mean_error + slope_size * (of_slope + Scaled(apart)) +
                      closed_form::rounding(8, out.slope);
    return out;
}

// The line that phi is far from where it turns: to e^-|x|, or to less.
struct Line {
    double constant, slope;
};

// 45 deviations away, at least 20 of them: beyond 0 there is e^-1012 of the weight, and the product of two tails that
// fall like e^-|x| is at most e^(-2 |shift| + 2 q) = e^-1000. Neither is a float64.
FISHERFIELD_HD inline bool far_from_turns(const Activation& activation, Scaled q, double shift, Line* line) {
    const double away = std::fabs(shift), r = sqrt(q).value();
    BesideTail tail{};
    if (q > Scaled(kSmallVariance) && far_right_of_tail(activation, sqrt(q), shift, &tail)) {
        *line = {0.0, tail.gain};
        return true;
    }
    if (!(r >= 20.0 && away >= 45.0 * r)) {
        return false;
    }
    const bool right = shift > 0.0;
    switch (activation.kind) {
    case Kind::tanh:
        *line = {right ? 1.0 : -1.0, 0.0};
        return true;
    case Kind::sigmoid:
        *line = {right ? 1.0 : 0.0, 0.0};
        return true;
    case Kind::silu:
    case Kind::softplus:
    case Kind::mish:
    case Kind::gelu_tanh:
        *line = {0.0, right ? 1.0 : 0.0};
        return true;
    default: // those with one integral for any shift, and softsign, which turns everywhere
        return false;
    }
}

FISHERFIELD_HD inline Covariance of_line(const Line& line, Scaled r, const Correlation& correlation, double shift) {
    const Scaled mean = Scaled(line.slope) * shift + line.constant, least(0x1p-1074);
    Covariance out = closed_form::rays({line.slope, line.slope}, r, correlation);
    out.value = out.value + mean * mean;
    out.value_error = out.value_error + closed_form::rounding(4, mean * mean) + least;
    out.slope_error = out.slope_error + least;
    return out;
}

// E phi(u + shift) phi(w + shift) and its companions; without `differences` these may be left out.
template <Integrals held>
FISHERFIELD_HD inline Covariance covariance(const Activation& activation, Scaled q1, Scaled q2,
                                            const Correlation& correlation, double shift, bool differences) {
    if (!(q1.finite() && q2.finite() && std::fabs(correlation.c) < HUGE_VAL)) { // as a step of a derivative may be
        Covariance beyond;
        beyond.status = Status::overflow;
        return beyond;
    }
    if (nothing_left(activation, sqrt(q1 < q2 ? q1 : q2), shift) && q1.e <= 2 && q2.e <= 2) {
        return {};
    }
    const double unit = unit_of(activation, sqrt(q1 < q2 ? q2 : q1), shift);
    if (unit != 1.0) {
        const Scaled unit2 = Scaled(unit) * unit, value = power(Scaled(unit2), degree_of(activation)),
                     slope = value / unit2;
        Covariance out =
            covariance<held>(in_unit(activation), q1 / unit2, q2 / unit2, correlation, shift / unit, differences);
        for (Scaled* x : {&out.value, &out.difference, &out.slope_pair, &out.value_error}) {
            *x = *x * value;
        }
        for (Scaled* x : {&out.slope, &out.slope_difference, &out.slope_error}) {
            *x = *x * slope;
        }
        // Of variances far apart the powers of the smaller one may be no float64: then nothing is known but the bound.
        const auto known = [](Scaled* value, Scaled error) {
            const bool holds = error.finite() && !(Scaled(0x1p1023) < error && abs(*value) < error);
            *value = holds ? *value : Scaled(HUGE_VAL);
            return holds;
        };
        if (!(known(&out.value, out.value_error) & known(&out.slope, out.slope_error)) && out.status == Status::ok) {
            out.status = Status::overflow;
        }
        return out;
    }
    q1 = within_powers(activation, q1);
    q2 = within_powers(activation, q2);
    const Scaled larger = q1 < q2 ? q2 : q1, smaller = q1 < q2 ? q1 : q2, r = equal(q1, q2) ? q1 : sqrt(q1 * q2);
    Rays phi{};
    Covariance out;
    const bool is_homogeneous = homogeneous(activation, &phi);
    if (overflows(activation, larger)) {
        out.status = Status::overflow;
    } else if (is_zero(smaller)) {
        const Moments one = moments<held>(activation, sqrt(q1), shift),
                      two = moments<held>(activation, sqrt(q2), shift);
        out.value = one.mean * two.mean;
        out.slope = one.slope_mean * two.slope_mean;
        out.value_error = product_error(one.mean, one.mean_error, two.mean, two.mean_error);
        out.slope_error = product_error(one.slope_mean, one.slope_mean_error, two.slope_mean, two.slope_mean_error);
        out.status = one.status != Status::ok ? one.status : two.status;
    } else if (equal(q1, q2) && is_zero(correlation.one_minus_c)) {
        const Moments one = moments<held>(activation, sqrt(q1), shift);
        out.value = one.second;
        out.slope = one.slope_second;
        out.slope_pair = q1 * one.u2_slope2;
        out.value_error = one.second_error;
        out.slope_error = one.slope_second_error;
        out.status = one.status;
    } else if (is_homogeneous && (shift == 0.0 || activation.kind == Kind::linear)) {
        out = closed_form::rays(phi, r, correlation);
        out.value = out.value + Scaled(shift) * shift; // linear alone has both
        out.value_error = out.value_error + closed_form::rounding(4, Scaled(shift) * shift);
    } else if (activation.kind == Kind::step && shift == 0.0) {
        out = closed_form::step(correlation);
    } else if (activation.kind == Kind::sign && shift == 0.0) {
        out = closed_form::sign(correlation);
    } else if constexpr (held == Integrals::rays) {
        out.status = kNotHeld;
    } else if (polynomials::is_polynomial(activation)) {
        if constexpr (held >= Integrals::polynomials) {
            out = polynomials::covariance(activation, q1, q2, correlation, shift);
        } else {
            out.status = kNotHeld;
        }
    } else if (activation.kind == Kind::rectified_monomial && shift == 0.0) {
        out = closed_form::rectified_monomial(activation.degree, r, correlation);
    } else if (is_homogeneous) {
        // In units of the larger deviation; a shift of 1e3 of them leaves one ray.
        const double t = (Scaled(shift) / sqrt(larger)).value();
        if (std::fabs(t) > 1e3) {
            out = of_line({0.0, t > 0 ? phi.plus : phi.minus}, r, correlation, shift);
        } else {
            const double q = (smaller / larger).value();
            out = continued<held>(activation, q1 < q2 ? q : 1.0, q1 < q2 ? 1.0 : q, correlation, t, differences);
            out.value = out.value * larger;
            out.value_error = out.value_error * larger;
            out.difference = out.difference * larger;
            out.slope_pair = out.slope_pair * larger;
        }
    } else if (smaller > Scaled(kLargeVariance) && unbounded(activation) &&
               Scaled(shift) * shift < Scaled(0x1p-80) * smaller) {
        out = closed_form::rays(rays_at(activation, 1e16), r, correlation);
        // The turn of phi and the shift are lengths beside the smaller deviation, alpha is one beside both.
        const Scaled length(1.0 + std::fabs(shift)), low(std::fabs(low_value(activation))), least = sqrt(smaller);
        out.value_error = out.value_error + (length + low) * (length + low + sqrt(larger));
        out.slope_error = out.slope_error + (length + low * (low / least + Scaled(1.0))) * 2.0 / least;
    } else if (larger > Scaled(wave_or_exponential(activation.kind) ? 0x1p400 : kLargeVariance)) {
        out.status = Status::out_of_range;
    } else if (Line line{}; far_from_turns(activation, larger, shift, &line)) {
        out = of_line(line, r, correlation, shift);
    } else if (larger < Scaled(wave_or_exponential(activation.kind) ? 0x1p-900 : kSmallVariance)) {
        out = of_germs<held>(activation, q1, q2, correlation, shift, differences);
    } else if (smaller < Scaled(closed_covariance(activation.kind, shift) ? 0x1p-200 : kSmallVariance) &&
               !wave_or_exponential(activation.kind)) {
        out = beside_a_point<held>(activation, q1, q2, correlation, shift, differences);
    } else {
        out = continued<held>(activation, q1.value(), q2.value(), correlation, shift, differences);
        if (activation.kind == Kind::erf && shift != 0.0) {
            closed_form::erf_slopes(q1.value(), q2.value(), correlation.c, correlation.one_minus_c.value(), shift,
                                    &out);
        }
    }
    if (out.status == Status::ok && !finite(out)) {
        out.status = Status::overflow;
    }
    return out;
}

} // namespace fisherfield
