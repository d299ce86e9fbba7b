// SPDX-License-Identifier: BSD-3-Clause
// Moments by one integral.
#pragma once

#include <cmath>

#include "fisherfield/activations.hpp"
#include "fisherfield/gaussian_integrals.hpp"
#include "fisherfield/host_device.hpp"
#include "fisherfield/quadrature_differences.hpp"
#include "fisherfield/quadrature_mesh.hpp"
#include "fisherfield/quadrature_scales.hpp"
#include "fisherfield/scaled.hpp"

namespace fisherfield {

namespace quadrature {

struct MomentSums {
    double rise = 0, rise2 = 0, turn = 0, turn2 = 0, u_slope = 0, u2_slope2 = 0;
    double size = 0, size2 = 0, slope_size = 0, slope_size2 = 0;

    // phi and phi', what roundings of x change of them, and how far they are from what they are measured from.
    FISHERFIELD_HD void add(double z, double weight, double phi, double slope, double off, double slope_off, double r,
                            double s) {
        rise += weight * r;
        rise2 += weight * r * r;
        const double heavy = weight * lost(z * z);
        size += heavy * (std::fabs(phi) + off);
        size2 += heavy * std::fabs(phi) * (std::fabs(phi) + 2.0 * off);
        slope_size += heavy * (std::fabs(slope) + slope_off);
        slope_size2 += heavy * std::fabs(slope) * (std::fabs(slope) + 2.0 * slope_off);
        turn += weight * s;
        turn2 += weight * s * s;
        u_slope += weight * z * s;
        u2_slope2 += weight * z * z * slope * slope;
    }
};

// E f(g u + beta).
FISHERFIELD_HD inline Moments moments(const Activation& activation, double g, double beta, int level = 0) {
    const double finer = std::ldexp(1.0, -level);
    const Turns turns(activation);
    double range = kRange, range2 = kRange; // of phi, of its square
    if (activation.kind == Kind::callable) {
        const auto size = [&](const double* z, int n, double* out) {
            double x[kBatch] = {}, value[kBatch], slope[kBatch];
            for (int i = 0; i < n; ++i) {
                x[i] = g * z[i] + beta;
            }
            evaluate(activation, x, value, slope, n);
            for (int i = 0; i < n; ++i) {
                out[i] = std::fmax(std::fabs(value[i]), std::fabs(slope[i]));
            }
        };
        range2 = reach([&](const double* z, int n, double* out) {
            size(z, n, out);
            for (int i = 0; i < n; ++i) {
                out[i] *= out[i];
            }
        });
        range = range2 < HUGE_VAL ? range2 : reach(size);
    }
    for (int i = 0; i < turns.count && activation.kind != Kind::callable; ++i) {
        const double distance = std::fabs(turns.at[i] - beta);
        range = std::fmax(range, range_of(activation, distance, distance / g, g));
    }
    Moments out;
    if (!(range < HUGE_VAL)) {
        out.status = Status::not_converged;
        return out;
    }
    Mesh mesh(range, kPanel * finer, turns.growth);
    for (int i = 0; i < turns.count; ++i) {
        const double base = turns.scale * finer / g;
        if (activation.kink_count > 0) {
            mesh.kink((turns.at[i] - beta) / g, base);
        } else {
            mesh.turn((turns.at[i] - beta) / g, base);
        }
    }
    coarsest(activation, g, finer, &mesh);
    // phi and phi' are measured from what they tend to next to beta, or from 0, then from their values at beta (phi'
    // where g is small), and last from their own means: nothing that is the same for every u is squared.
    const bool monomial = activation.kind == Kind::rectified_monomial;
    const double near = std::fmax(1.0, monomial ? beta : 0.5 * turns.scale); // g, so that phi is like phi(beta)
    const Level level_of = g < near || std::fabs(beta) > g ? Level(activation, beta) : Level();
    const double scale = turns.scale > 0.0 ? std::fmin(turns.scale, kTurn) / kTurn : 1.0;
    const bool by_rise =
        continuous(activation) && !monomial && range * g * rate_of(activation, beta) < kSmallRise * scale;
    const bool by_power = monomial && range * g < beta, crosses = crosses_zero(activation.kind);
    const double slope_base = by_rise || g < near ? level_of.slope_above : 0.0;
    const auto sum_about = [&](double centre, double slope_centre) {
        MomentSums sum;
        mesh.integrate(0.0, [&](const double* z, const double* weight, int n) {
            double x[kBatch] = {}, value[kBatch], slope[kBatch];
            for (int i = 0; i < n; ++i) {
                x[i] = moved(activation, g, z[i], beta);
            }
            if (by_rise || by_power) {
                rises(activation, beta, g, z, x, value, slope, n);
            } else {
                level_of.evaluate(activation, x, value, slope, n);
                for (int i = 0; i < n; ++i) { // of u = g z, x has lost digits
                    value[i] = (value[i] - level_of.above) + (slope[i] + level_of.slope) * (g * z[i] - (x[i] - beta));
                    slope[i] -= slope_base;
                }
            }
            const double phi = level_of.value + level_of.above, phi_slope = level_of.slope + slope_base;
            // Beside a kink roundings of x are many and average out; rises do not round x there.
            const double share = activation.kink_count == 0 ? 1.0 : by_rise || by_power ? 0.0 : 0.1;
            for (int i = 0; i < n; ++i) {
                const double far = std::fabs(g * z[i]) + std::fabs(beta), y = phi + value[i],
                             y_slope = phi_slope + slope[i];
                sum.add(z[i], weight[i], y, y_slope, share * lost_of_value(far, y_slope),
                        lost_of_slope(crosses, far, x[i], y, y_slope), value[i] - centre, slope[i] - slope_centre);
            }
        });
        return sum;
    };
    double centre = 0.0, slope_centre = 0.0;
    MomentSums sum = sum_about(centre, slope_centre);
    if (sum.rise * sum.rise > kSameAsMean * sum.rise2 || sum.turn * sum.turn > kSameAsMean * sum.turn2) {
        centre = sum.rise;
        slope_centre = sum.turn;
        sum = sum_about(centre, slope_centre);
    }
    out.mean = level_of.phi + (centre + sum.rise);
    out.variance = sum.rise2 - sum.rise * sum.rise;
    out.second = out.variance + out.mean * out.mean;
    out.slope_mean = level_of.slope + slope_base + (slope_centre + sum.turn);
    out.slope_variance = sum.turn2 - sum.turn * sum.turn;
    out.slope_second = out.slope_variance + out.slope_mean * out.slope_mean;
    out.u_slope = sum.u_slope;
    out.u2_slope2 = sum.u2_slope2;
    out.mean_error = kErrorUlps * sum.size + kErrorLeast;
    out.second_error = range2 < HUGE_VAL ? Scaled(kErrorUlps * sum.size2 + kErrorLeast) : Scaled(HUGE_VAL);
    out.slope_mean_error = kErrorUlps * sum.slope_size + kErrorLeast;
    out.slope_second_error = range2 < HUGE_VAL ? Scaled(kErrorUlps * sum.slope_size2 + kErrorLeast) : Scaled(HUGE_VAL);
    out.status = mesh.full() ? Status::not_converged : Status::ok;
    return out;
}

} // namespace quadrature

} // namespace fisherfield
