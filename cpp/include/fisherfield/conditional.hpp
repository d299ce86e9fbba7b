// SPDX-License-Identifier: BSD-3-Clause
// Two Gaussians by one integral: E phi(u) phi(w) = E phi(u) E[phi(w) | u].
//
//     w given u is normal with mean m = beta + c sqrt(q2/q1) (u - beta) and deviation s = sqrt(q2 (1 - c^2))
//
// and E phi(x), x ~ N(m, s^2), has a closed form (conditional_mean.hpp) or is a short sum over samples of phi that are
// the same for every u (sampled_mean.hpp). docs/theory.md, section 3.
#pragma once

#include <cmath>

#include "fisherfield/conditional_mean.hpp"
#include "fisherfield/sampled_mean.hpp"

namespace fisherfield {

namespace conditional {

// A mean that is this part of what it could be lies in a tail, e^(-t^2/2) of it.
FISHERFIELD_HD inline double tail_lost(double part) {
    return part > 1e-3 ? 1.0 : quadrature::lost(-2.0 * std::log(part + 1e-300));
}

FISHERFIELD_HD inline bool available(const Activation& activation) {
    return has_mean(activation) || Sampled::serves(activation) || activation.kind == Kind::rectified_monomial;
}

inline constexpr double kPowerDecay = 8.0; // x^n e^(-x) is far less than 1; between two kinks, x^n (1 - x)^n

// The nodes z of u = outside z, the larger deviation; w has the mean lead z and the deviation s, u - lead z = apart z.
struct Outer {
    double outside, inside, s, lead, apart, range = kRange;
    Mesh mesh;

    FISHERFIELD_HD Outer(const Activation& activation, double q1, double q2, double c, double one_minus_c, double shift)
        : outside(std::sqrt(std::fmax(q1, q2))), inside(std::sqrt(std::fmin(q1, q2))),
          s(inside * std::sqrt(one_minus_c * (1.0 + c))), lead(c * inside),
          apart(q1 == q2 ? outside * one_minus_c : outside - lead),
          mesh(kRange, kPanel / (1.0 + activation.degree / 16.0), quadrature::growth_of(activation)) {
        const quadrature::Turns turns(activation);
        const bool kinked = activation.kink_count > 0;
        const double blur = kinked ? quadrature::kTurn * s : std::hypot(turns.scale, quadrature::kTurn * s);
        double steep = 0.0; // the density falls like e^(-steep z) away from where two kinks meet
        for (int i = 0; i < turns.count; ++i) {
            const double t = turns.at[i] - shift, away = std::fabs(t);
            range = std::fmax(range, quadrature::range_of(activation, away, away / outside, outside));
            range = std::fmax(range, quadrature::range_of(activation, away, away / inside, outside));
            for (int j = 0; j < turns.count && kinked; ++j) {
                steep = std::fmax(steep, std::fabs(t / outside - c * (turns.at[j] - shift) / inside));
            }
        }
        mesh.extend(range);
        const double fall = activation.degree > 0 ? kPowerDecay : kDecay;
        const double decay = steep > 0.0 ? fall * one_minus_c * (1.0 + c) / steep : 0.0;
        for (int i = 0; i < turns.count; ++i) {
            const double t = turns.at[i] - shift;
            if (kinked) {
                const double base = turns.scale / outside;
                mesh.kink(t / outside, base > 0.0 && decay > 0.0 ? std::fmin(base, decay) : std::fmax(base, decay));
            } else {
                mesh.turn(t / outside, turns.scale / outside);
            }
            const double width = (blur > 0.0 ? blur : turns.scale) / std::fabs(lead); // s = 0: phi itself turns there
            if (kinked && (width < kPanel || !(blur > 0.0))) {
                mesh.kink(t / lead, width);
            } else {
                mesh.turn(t / lead, width);
            }
        }
        quadrature::coarsest(activation, outside, 1.0, &mesh);
    }
};

// E phi(u + shift) phi(w + shift), of phi', E u w phi' phi', and differences where the conditional mean at lead z,
// mean_given(lead z, apart z, phi(u), phi'(u)), has them; it is given phi and phi' above `level`.
template <class Given>
FISHERFIELD_HD Covariance integral(const Activation& activation, const Level& level, const Outer& at, double shift,
                                   bool differences, Given&& mean_given) {
    const bool crosses = quadrature::crosses_zero(activation.kind);
    double value = 0, slope = 0, pair = 0, difference = 0, slope_difference = 0, value_size = 0, slope_size = 0;
    at.mesh.integrate(0.0, [&](const double* z, const double* weight, int n) {
        double x[kBatch] = {}, phi[kBatch], phi_slope[kBatch];
        for (int i = 0; i < n; ++i) {
            x[i] = quadrature::moved(activation, at.outside, z[i], shift);
        }
        level.evaluate(activation, x, phi, phi_slope, n);
        for (int i = 0; i < n; ++i) {
            const double above = phi[i], slope_above = phi_slope[i];
            phi[i] += level.value;
            phi_slope[i] += level.slope;
            if (phi[i] == 0.0 && phi_slope[i] == 0.0 && !differences) {
                continue;
            }
            const double along = at.lead * z[i];
            const Mean inner = mean_given(along, at.apart * z[i], above, slope_above);
            const double product = weight[i] * phi[i] * inner.value, slopes = weight[i] * phi_slope[i] * inner.slope;
            value += product;
            slope += slopes;
            pair += weight[i] * at.outside * z[i] * phi_slope[i] * (along * inner.slope + at.s * inner.z_slope);
            difference += weight[i] * inner.rise2;
            slope_difference += weight[i] * inner.bend2;
            // gelu_tanh on the left: an ulp of x is x phi'/phi ulps of phi
            const double steep = std::fabs(x[i] * phi_slope[i]) / (std::fabs(phi[i]) + 1e-300);
            const double heavy = weight[i] * quadrature::lost(z[i] * z[i]) * std::fmax(1.0, steep / 64.0);
            const double most = at.s + std::fabs(along + shift) + 1e-300;
            // and so it is of the mean m = along + shift
            const double far = std::fabs(at.outside * z[i]) + std::fabs(shift), m = std::fabs(along) + std::fabs(shift);
            // where all that counts is next to one kink: elsewhere an ulp of m moves next to nothing across it
            const double bent = at.s > 0.0 && std::fabs(shift) > 4.0 * at.outside ? inner.z_slope / at.s : 0.0;
            const double off = quadrature::lost_of_value(m, inner.slope);
            const double slope_off =
                quadrature::lost_of_slope(crosses, far, x[i], phi[i], phi_slope[i]) * inner.slope_size +
                quadrature::lost_of_value(m, bent) * std::fabs(phi_slope[i]);
            value_size += heavy * std::fabs(phi[i]) * (inner.size * tail_lost(inner.size / most) + off);
            slope_size +=
                heavy * (std::fabs(phi_slope[i]) * inner.slope_size * tail_lost(inner.slope_size) + slope_off);
        }
    });
    Covariance out;
    out.value = value;
    out.difference = 0.5 * difference;
    out.slope = slope;
    out.slope_difference = 0.5 * slope_difference;
    out.slope_pair = pair;
    out.value_error = quadrature::kErrorUlps * value_size + quadrature::kErrorLeast;
    out.slope_error = quadrature::kErrorUlps * slope_size + quadrature::kErrorLeast;
    out.status = at.mesh.full() ? Status::not_converged : Status::ok;
    return out;
}

// Whether there is such an integral, and whether it gives the differences asked for (for equal variances).
struct Available {
    bool covariance = false, differences = false;
};

FISHERFIELD_HD inline Available covariance(const Activation& activation, double q1, double q2, double c,
                                           double one_minus_c, double shift, bool differences, Covariance* out) {
    if (!available(activation)) {
        return {};
    }
    const Outer at(activation, q1, q2, c, one_minus_c, shift);
    if (Sampled::serves(activation) && at.s >= kPoint) {
        Sampled sampled(activation, shift, std::fabs(at.lead) * at.range, at.s, differences);
        if (sampled.usable()) {
            *out = integral(activation, sampled.level(), at, shift, sampled.differences(), sampled);
            return {true, sampled.differences()};
        }
        if (activation.kind != Kind::softsign) {
            return {};
        }
    }
    const auto by = [&](auto&& mean_at) {
        *out = integral(activation, Level(), at, shift, false,
                        [&](double along, double, double, double) { return mean_at(Place{along, shift}); });
    };
    if (has_mean(activation) || at.s < kPoint) {
        by([&](Place m) { return mean(activation, m, at.s); });
    } else if (activation.kind == Kind::rectified_monomial) {
        by(RectifiedMonomial(activation.degree, at.s));
    } else {
        by(Integrated(activation, at.s));
    }
    return {true, false};
}

} // namespace conditional

} // namespace fisherfield
