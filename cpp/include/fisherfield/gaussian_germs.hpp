// SPDX-License-Identifier: BSD-3-Clause
// Variances so small that phi is its value and its rays, and what phi errs by where it is evaluated.
#pragma once

#include <cmath>
#include <initializer_list>

#include "fisherfield/activations.hpp"
#include "fisherfield/closed_form.hpp"
#include "fisherfield/host_device.hpp"
#include "fisherfield/quadrature_differences.hpp"
#include "fisherfield/quadrature_mesh.hpp"
#include "fisherfield/quadrature_scales.hpp"
#include "fisherfield/scaled.hpp"

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

} // namespace fisherfield
