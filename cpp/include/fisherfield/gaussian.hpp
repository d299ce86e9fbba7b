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
// which keeps all its digits when c -> 1. Closed forms: closed_form.hpp, polynomial.hpp and smoothed_step.hpp; all
// others by one integral (conditional.hpp) or two (quadrature.hpp). Values and slopes are right to 1e-12, or to 8 eps
// E|integrand| where that changes sign, for variances in [1e-8, 1e8] and every c; each carries a bound on its error.
// Outside [2^-100, 2^100] an activation is replaced by the two rays it tends to, exact to 2^-50. docs/theory.md,
// section 3.
#pragma once

#include <cmath>
#include <initializer_list>

#include "fisherfield/activations.hpp"
#include "fisherfield/closed_form.hpp"
#include "fisherfield/conditional.hpp"
#include "fisherfield/polynomial.hpp"
#include "fisherfield/quadrature.hpp"
#include "fisherfield/scaled.hpp"
#include "fisherfield/smoothed_step.hpp"

namespace fisherfield {

// phi(x) = phi(at) + rays(x - at) next to `at`, where nothing of phi's own scale is seen.
struct Germ {
    double value;
    Rays rays;
    bool kinked;
    double curvature; // not less than phi'' and phi''' on either side

    FISHERFIELD_HD double size() const { return std::fmax(std::fabs(rays.minus), std::fabs(rays.plus)); }

    // What is left out of phi', for a deviation g.
    FISHERFIELD_HD Scaled bend(Scaled g) const { return (kinked ? g : g * g) * curvature; }
};

// What phi or phi', `size` large, may err by where it is evaluated: in a tail e^-x by x ulps.
FISHERFIELD_HD inline Scaled evaluation(double size) {
    const double x = std::fabs(size);
    return closed_form::rounding(x > 0.0 && x < 1.0 ? 16.0 - 8.0 * std::log(x) : 16.0, x);
}

// phi at x; rbf multiplies x by sqrt 2.
FISHERFIELD_HD inline Scaled value_evaluation(const Activation& activation, double x, double value, double slope) {
    const double off = activation.kind == Kind::rbf ? 4.0 * closed_form::kEps * std::fabs(x) : 0.0;
    return evaluation(value) + Scaled(off) * (std::fabs(slope) + std::fmin(off, 1.0));
}

// phi' at x. That of silu, gelu and their kin passes through 0, a sum of two terms as large as phi; rbf' = rbf(x +-
// ..).
FISHERFIELD_HD inline Scaled slope_evaluation(const Activation& activation, double x, double value, double slope) {
    const bool crosses = quadrature::crosses_zero(activation.kind) && x > -4.0 && x < 0.0;
    const double size = crosses ? std::fabs(value) : 0.0;
    return (activation.kind == Kind::rbf ? value_evaluation(activation, x, slope, 2.0 * value) : evaluation(slope)) +
           closed_form::rounding(8, size);
}

FISHERFIELD_HD_APART inline Germ germ(const Activation& activation, double at) {
    bool kinked = false;
    for (int kink = 0; kink < activation.kink_count; ++kink) {
        kinked = kinked || activation.kinks[kink] == at;
    }
    const double step = kinked ? std::fmax(1e-30, 1e-15 * std::fabs(at)) : 0.0;
    const double x[3] = {at - step, at, at + step};
    double value[3], slope[3];
    evaluate(activation, x, value, slope, 3);
    return {value[1], {slope[0], slope[2]}, kinked, 4.0 * std::fmax(1.0, std::fabs(activation.parameter))};
}

// The kink within reach of beta, if there is one, else beta.
FISHERFIELD_HD inline double nearest(const Activation& activation, Scaled g, double beta) {
    double at = beta;
    for (int kink = 0; kink < activation.kink_count; ++kink) {
        if (Scaled(std::fabs(activation.kinks[kink] - beta)) < Scaled(kFarthest) * g) {
            at = activation.kinks[kink];
        }
    }
    return at;
}

// E x y for |x - x'| <= x_error and so on.
FISHERFIELD_HD inline Scaled product_error(Scaled x, Scaled x_error, Scaled y, Scaled y_error) {
    return abs(x) * y_error + abs(y) * x_error + x_error * y_error + closed_form::rounding(1, x * y);
}

FISHERFIELD_HD inline bool equal(Scaled x, Scaled y) { return x.m == y.m && x.e == y.e; }

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

inline constexpr double kAgreement = 1e-13; // of E|integrand|, between a mesh and one half as wide

// |coarse - fine| joins the bound on the error; whether it is small enough.
FISHERFIELD_HD inline bool settled(Scaled coarse, Scaled fine, Scaled* error) {
    const Scaled apart = abs(coarse - fine), size = *error / Scaled(quadrature::kErrorUlps);
    *error = *error + apart;
    return apart <= Scaled(kAgreement) * size;
}

FISHERFIELD_HD inline bool settled(const Moments& coarse, Moments* fine) {
    const bool values =
        settled(coarse.mean, fine->mean, &fine->mean_error) & settled(coarse.second, fine->second, &fine->second_error);
    const bool slopes = settled(coarse.slope_mean, fine->slope_mean, &fine->slope_mean_error) &
                        settled(coarse.slope_second, fine->slope_second, &fine->slope_second_error);
    return values && slopes;
}

FISHERFIELD_HD inline bool settled(const Covariance& coarse, Covariance* fine) {
    const bool values = settled(coarse.value, fine->value, &fine->value_error);
    return settled(coarse.slope, fine->slope, &fine->slope_error) && values;
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
        auto finer = integral(level);
        const bool done = settled(out, &finer);
        out = finer;
        if (done) {
            break;
        }
    }
    return out;
}

FISHERFIELD_HD_APART inline Moments at_point(const Activation& activation, double x) {
    double value, slope;
    evaluate(activation, &x, &value, &slope, 1);
    Moments out;
    out.mean = value;
    out.second = Scaled(value) * value;
    out.slope_mean = slope;
    out.slope_second = Scaled(slope) * slope;
    out.u2_slope2 = out.slope_second;
    out.mean_error = value_evaluation(activation, x, value, slope);
    out.second_error = product_error(out.mean, out.mean_error, out.mean, out.mean_error);
    out.slope_mean_error = slope_evaluation(activation, x, value, slope);
    out.slope_second_error = product_error(out.slope_mean, out.slope_mean_error, out.slope_mean, out.slope_mean_error);
    // A subnormal e^(-x^2/2) has lost digits before it is multiplied by x.
    for (Scaled* error : {&out.mean_error, &out.second_error, &out.slope_mean_error, &out.slope_second_error}) {
        *error = *error + Scaled(quadrature::kErrorLeast);
    }
    return out;
}

FISHERFIELD_HD inline Moments rays_beside(const Rays& rays, Scaled g, double offset) {
    return offset == 0.0 ? closed_form::rays(rays, g) : closed_form::rays(rays, g, offset);
}

// Rays from the nearest kink, where that is within reach, else from beta.
FISHERFIELD_HD_APART inline Moments of_germ(const Activation& activation, Scaled g, double beta) {
    const double at = nearest(activation, g, beta);
    const Germ near = germ(activation, at);
    Moments out = rays_beside(near.rays, g, beta - at);
    const Scaled of_value = value_evaluation(activation, at, near.value, near.size()) + g * g * near.curvature;
    const Scaled of_slope = slope_evaluation(activation, at, near.value, near.size()) + near.bend(g);
    out.mean = out.mean + Scaled(near.value);
    out.second = out.variance + out.mean * out.mean;
    out.mean_error = out.mean_error + of_value;
    out.second_error = product_error(out.mean, out.mean_error, out.mean, out.mean_error) +
                       closed_form::rounding(256, out.variance) + g * g * of_slope * (near.size() + near.curvature);
    out.slope_mean_error = out.slope_mean_error + of_slope;
    out.slope_second_error = out.slope_second_error + (Scaled(2.0 * near.size()) + of_slope) * of_slope +
                             g * g * near.curvature * near.curvature;
    if (near.rays.minus == near.rays.plus) { // then phi' is a pair of rays
        const double left = near.kinked ? std::nextafter(at, -HUGE_VAL) : at,
                     right = near.kinked ? std::nextafter(at, HUGE_VAL) : at;
        const Moments turn = rays_beside({bend_of(activation, left), bend_of(activation, right)}, g, beta - at);
        out.slope_variance = turn.variance;
        out.u_slope = g * turn.slope_mean;
    }
    return out;
}

// What phi tends to on the left, where it is a ray on the right: -alpha or 0.
FISHERFIELD_HD inline double low_value(const Activation& activation) {
    switch (activation.kind) {
    case Kind::elu:
    case Kind::celu:
        return -activation.parameter;
    case Kind::selu:
        return -formulas::kSeluScale * formulas::kSeluAlpha;
    default:
        return 0.0;
    }
}

// A variance so large that phi is the two rays it tends to and, where these do not meet, a step between them; g is so
// large that phi on its own scale weighs 1/g.
FISHERFIELD_HD_APART inline Moments far_out(const Activation& activation, Scaled g, double beta) {
    Moments out = closed_form::rays(rays_at(activation, 1e16), g, beta);
    const Scaled low(low_value(activation)), size = larger(Scaled(1.0), abs(low));
    const double t = (Scaled(beta) / g).value();
    const closed_form::ScaledTail far(std::fmin(std::fabs(t), 1e4));
    const Scaled below = t > 0.0 ? far.i0 : Scaled(1.0) - far.i0;
    const double of_tail = 256.0 + 1.5 * t * t;
    const Scaled off =
        t > 0.0 ? closed_form::rounding(std::fmin(of_tail, 1e9), far.i0)
                : closed_form::rounding(of_tail < 1e9 ? of_tail : 0.0, far.i0) + closed_form::rounding(2, below);
    // phi' where it turns is about `size` over a length of 1, phi there less than that by a factor of |x| or so
    const Scaled turn = far.pdf / g;
    out.mean = out.mean + low * below;
    out.mean_error = out.mean_error + abs(low) * off + size * turn * 4.0 + closed_form::rounding(2, out.mean);
    out.variance =
        out.variance + low * low * below * (Scaled(1.0) - below) - low * below * (out.mean - low * below) * 2.0;
    out.second = out.second + low * low * below;
    out.second_error =
        out.second_error + low * low * off + size * size * turn * 4.0 + closed_form::rounding(2, out.second);
    out.slope_mean = out.slope_mean - low * turn;
    out.slope_mean_error = out.slope_mean_error + size * turn * 4.0;
    out.slope_second = out.slope_second + low * low * turn * 0.5;
    out.slope_second_error = out.slope_second_error + size * size * turn * 4.0;
    return out;
}

// Whether everything about phi has a closed form at any variance that float64 can square.
FISHERFIELD_HD inline bool wave_or_exponential(Kind kind) {
    return kind == Kind::sin || kind == Kind::cos || kind == Kind::rbf || kind == Kind::exp || kind == Kind::gaussian;
}

// Whether the covariance has one at this shift.
FISHERFIELD_HD inline bool closed_covariance(Kind kind, double shift) {
    smoothed_step::Family smoothed{};
    return wave_or_exponential(kind) || (smoothed_step::family(kind, &smoothed) && shift == 0.0);
}

// Integrals by what they need: a few operations, sums, arrays of a few kilobytes, meshes of panels. Code for a machine
// with little memory a thread holds the first ones alone, and whoever calls it has asked what is `needed`.
enum class Integrals { rays, sums, polynomials, all };

inline constexpr Status kNotHeld = Status::not_converged;

// Of moments at this shift, and of covariances with none.
FISHERFIELD_HD inline Integrals needed(const Activation& activation, bool shifted) {
    Rays phi{};
    smoothed_step::Family smoothed{};
    if (homogeneous(activation, &phi) || activation.kind == Kind::step || activation.kind == Kind::sign) {
        return Integrals::rays;
    }
    if (polynomials::is_polynomial(activation)) {
        return Integrals::polynomials;
    }
    const bool unshifted =
        smoothed_step::family(activation.kind, &smoothed) || activation.kind == Kind::rectified_monomial;
    return wave_or_exponential(activation.kind) || (unshifted && !shifted) ? Integrals::sums : Integrals::all;
}

// Powers of what lies beyond kMostExponent are not formed: above, they overflow; below, nothing is lost by the least
// number that is still within, since float64 has 0 for either.
FISHERFIELD_HD inline bool overflows(const Activation& activation, Scaled x) {
    return activation.degree > 1 && x.e > polynomials::kMostExponent;
}

FISHERFIELD_HD inline Scaled within_powers(const Activation& activation, Scaled x) {
    const bool below = activation.degree > 1 && x.e < -polynomials::kMostExponent;
    return below && !is_zero(x) ? Scaled(1.0, -polynomials::kMostExponent) : x;
}

// phi in units of its own: celu is alpha celu_1(x/alpha), a rectified monomial u^n of x/u. Meshes and limits then know
// its scale, and no power of it overflows.
FISHERFIELD_HD inline double unit_of(const Activation& activation, Scaled g, double beta) {
    if (activation.kind == Kind::celu) {
        return activation.parameter > 0.0 ? activation.parameter : 1.0;
    }
    if (activation.kind != Kind::rectified_monomial || beta == 0.0) {
        return 1.0;
    }
    const double larger = std::fmax(g.value(), std::fabs(beta)); // of both, as a power of two
    return larger >= 0.25 && larger <= 4.0 ? 1.0 : std::ldexp(1.0, std::ilogb(larger));
}

FISHERFIELD_HD inline Activation in_unit(Activation activation) {
    activation.parameter = activation.kind == Kind::celu ? 1.0 : activation.parameter;
    return activation;
}

FISHERFIELD_HD inline int degree_of(const Activation& activation) {
    return activation.kind == Kind::celu ? 1 : activation.degree;
}

// max(x, 0)^n a thousand deviations left of 0: e^(-5e5) of the weight is 0, whatever power it is multiplied by.
FISHERFIELD_HD inline bool nothing_left(const Activation& activation, Scaled g, double beta) {
    return activation.kind == Kind::rectified_monomial && beta < 0.0 && Scaled(-beta) > Scaled(1e3) * g;
}

// elu and its kin right of 0, where all that is left of them is a line, and what the other side adds: E (x - phi) is
// at most `mean` g, E (1 - phi')^2 at most `slope`.
struct BesideTail {
    double gain;
    Scaled mean, slope;
};

FISHERFIELD_HD inline bool far_right_of_tail(const Activation& activation, Scaled g, double beta, BesideTail* out) {
    const bool selu = activation.kind == Kind::selu;
    if (!selu && activation.kind != Kind::elu && activation.kind != Kind::celu) {
        return false;
    }
    const double t = (Scaled(beta) / g).value();
    if (!(t > kFarthest + 1.0)) {
        return false;
    }
    const double gain = selu ? formulas::kSeluScale : 1.0;
    const double steepest = selu ? formulas::kSeluScale * formulas::kSeluAlpha : std::fabs(activation.parameter);
    const closed_form::ScaledTail beyond(std::fmin(t, 1e4));
    const Scaled jump = Scaled(gain) + steepest;
    *out = {gain, jump * beyond.i1, jump * jump * beyond.i0};
    return out->slope < Scaled(0x1p-1074); // not so for a large alpha
}

FISHERFIELD_HD_APART inline Moments beside_tail(const BesideTail& of, Scaled g, double beta) {
    const Scaled gain2 = Scaled(of.gain) * of.gain, least(0x1p-1074);
    Moments out;
    out.mean = Scaled(of.gain) * beta;
    out.variance = gain2 * g * g;
    out.second = out.variance + out.mean * out.mean;
    out.slope_mean = of.gain;
    out.slope_second = gain2;
    out.u2_slope2 = gain2;
    out.mean_error = closed_form::rounding(4, out.mean) + g * of.mean;
    out.second_error = closed_form::rounding(16, out.second) + g * (g + beta) * of.mean * (2.0 * of.gain) + least;
    out.slope_mean_error = closed_form::rounding(4, out.slope_mean) + least;
    out.slope_second_error = closed_form::rounding(4, out.slope_second) + least;
    return out;
}

// E f(g u + beta) for g >= 0.
template <Integrals held = Integrals::all>
FISHERFIELD_HD_APART inline Moments moments(const Activation& activation, Scaled g, double beta) {
    if (nothing_left(activation, g, beta)) {
        return {};
    }
    const double unit = unit_of(activation, g, beta);
    if (unit != 1.0) {
        Moments out = moments<held>(in_unit(activation), g / Scaled(unit), beta / unit);
        const Scaled value = power(Scaled(unit), degree_of(activation)), slope = value / Scaled(unit);
        for (Scaled* x : {&out.mean, &out.mean_error}) {
            *x = *x * value;
        }
        for (Scaled* x : {&out.second, &out.variance, &out.second_error}) {
            *x = *x * value * value;
        }
        for (Scaled* x : {&out.slope_mean, &out.u_slope, &out.slope_mean_error}) {
            *x = *x * slope;
        }
        for (Scaled* x : {&out.slope_second, &out.slope_variance, &out.u2_slope2, &out.slope_second_error}) {
            *x = *x * slope * slope;
        }
        return out;
    }
    // the range of g for which an integral is formed as it stands
    [[maybe_unused]] const Scaled low(0x1p-50), high(0x1p50);
    Rays phi{};
    smoothed_step::Family smoothed{};
    BesideTail tail{};
    Moments out;
    g = within_powers(activation, g);
    if (is_zero(g)) {
        out = at_point(activation, beta);
    } else if (overflows(activation, g)) {
        out.status = Status::overflow;
    } else if (homogeneous(activation, &phi)) {
        out = beta == 0.0 ? closed_form::rays(phi, g) : closed_form::rays(phi, g, beta);
    } else if (activation.kind == Kind::step) {
        const double t = (Scaled(beta) / g).value();
        out = closed_form::step(std::fabs(t) < 1e3 ? t : std::copysign(1e3, beta));
    } else if (activation.kind == Kind::sign) {
        const double t = (Scaled(beta) / g).value();
        out = closed_form::sign(std::fabs(t) < 1e3 ? t : std::copysign(1e3, beta));
    } else if constexpr (held == Integrals::rays) {
        out.status = kNotHeld;
    } else if (polynomials::is_polynomial(activation)) {
        if constexpr (held >= Integrals::polynomials) {
            out = polynomials::moments(activation, g, beta);
        } else {
            out.status = kNotHeld;
        }
    } else if (activation.kind == Kind::rectified_monomial && beta == 0.0) {
        out = closed_form::rectified_monomial(activation.degree, g);
    } else if (g > high && unbounded(activation)) {
        out = far_out(activation, g, beta);
    } else if (g > (wave_or_exponential(activation.kind) ? Scaled(0x1p200) : high)) {
        out.status = Status::out_of_range;
    } else if (g < (wave_or_exponential(activation.kind) ? Scaled(0x1p-500) : low)) {
        out = of_germ(activation, g, beta);
    } else if (smoothed_step::family(activation.kind, &smoothed) && beta == 0.0) {
        out = smoothed_step::moments(smoothed, g.value());
    } else if (activation.kind == Kind::exp) {
        out = closed_form::exp(g.value(), beta);
    } else if (activation.kind == Kind::gaussian) {
        out = closed_form::gaussian(g.value(), beta);
    } else if (wave_or_exponential(activation.kind)) {
        out = closed_form::waves(closed_form::wave(activation.kind, beta), g.value());
    } else if constexpr (held != Integrals::all) {
        out.status = kNotHeld;
    } else if (far_right_of_tail(activation, g, beta, &tail)) {
        out = beside_tail(tail, g, beta);
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

// Those without a closed form: one integral where the conditional mean is elementary, else two.
FISHERFIELD_HD inline Covariance integrated(const Activation& activation, double q1, double q2, double c,
                                            double one_minus_c, double shift, bool differences) {
    const auto nested = [&] {
        return refined(activation, 3, [&](int level) {
            return quadrature::covariance(activation, q1, q2, c, one_minus_c, shift, level);
        });
    };
    Covariance out;
    const conditional::Found found =
        conditional::covariance(activation, q1, q2, c, one_minus_c, shift, differences && q1 == q2, &out);
    if (!found.covariance) {
        return nested();
    }
    if (differences && q1 == q2 && !found.differences) {
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
