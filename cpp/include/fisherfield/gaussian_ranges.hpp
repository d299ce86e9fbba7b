// SPDX-License-Identifier: BSD-3-Clause
// Which integral an activation needs, and where it has a unit of its own, only its rays, or nothing left.
#pragma once

#include <cmath>

#include "fisherfield/activations.hpp"
#include "fisherfield/closed_form.hpp"
#include "fisherfield/host_device.hpp"
#include "fisherfield/polynomial.hpp"
#include "fisherfield/quadrature_mesh.hpp"
#include "fisherfield/scaled.hpp"
#include "fisherfield/smoothed_step.hpp"

namespace fisherfield {

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

// Of moments at this shift; of covariances with none or, with `pairs`, at this shift, too.
FISHERFIELD_HD inline Integrals needed(const Activation& activation, bool shifted, bool pairs) {
    Rays phi{};
    smoothed_step::Family smoothed{};
    if (homogeneous(activation, &phi) || activation.kind == Kind::step || activation.kind == Kind::sign) {
        return shifted && pairs && activation.kind != Kind::linear ? Integrals::all : Integrals::rays;
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

} // namespace fisherfield
