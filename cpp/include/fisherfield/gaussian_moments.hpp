// SPDX-License-Identifier: BSD-3-Clause
// Moments of phi and phi' under one Gaussian.
#pragma once

#include <cmath>
#include <initializer_list>

#include "fisherfield/activations.hpp"
#include "fisherfield/closed_form.hpp"
#include "fisherfield/gaussian_germs.hpp"
#include "fisherfield/gaussian_ranges.hpp"
#include "fisherfield/gaussian_refined.hpp"
#include "fisherfield/host_device.hpp"
#include "fisherfield/polynomial.hpp"
#include "fisherfield/quadrature_moments.hpp"
#include "fisherfield/scaled.hpp"
#include "fisherfield/smoothed_step.hpp"

namespace fisherfield {

// E f(g u + beta) for g >= 0.
template <Integrals held = Integrals::all>
FISHERFIELD_HD_APART inline Moments moments(const Activation& activation, Scaled g, double beta) {
    if (!g.finite()) {
        Moments beyond;
        beyond.status = Status::overflow;
        return beyond;
    }
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

} // namespace fisherfield
