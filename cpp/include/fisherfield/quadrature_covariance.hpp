// SPDX-License-Identifier: BSD-3-Clause
// Covariances by two integrals, one within the other.
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
    const Turns turns(activation);
    const double turn = turns.scale * finer;
    double range = kRange, range_s = kRange, range_d = kRange;
    if (activation.kind == Kind::callable) {
        // along the lines u = r1 (along z), w = r2 (+-along z)
        const auto product = [&](double along, double sign) {
            return reach([=, &activation](const double* z, int n, double* out) {
                double x[kBatch] = {}, value[kBatch], slope[kBatch];
                for (int i = 0; i < n; ++i) {
                    x[i] = r1 * (along * z[i]) + shift;
                    x[n + i] = r2 * (sign * along * z[i]) + shift;
                }
                evaluate(activation, x, value, slope, 2 * n);
                for (int i = 0; i < n; ++i) {
                    out[i] = std::fmax(std::fabs(value[i] * value[n + i]), std::fabs(slope[i] * slope[n + i]));
                }
            });
        };
        range_s = product(a, 1.0);
        range_d = product(b, -1.0);
        if (!(range_s < HUGE_VAL && range_d < HUGE_VAL)) {
            Covariance out;
            out.status = Status::not_converged;
            return out;
        }
    }
    for (int i = 0; i < turns.count && activation.kind != Kind::callable; ++i) {
        const double u = (turns.at[i] - shift) / r1, distance = std::fabs(turns.at[i] - shift);
        range = std::fmax(range, range_of(activation, distance, distance / std::fmin(r1, r2), std::fmax(r1, r2)));
        // What lies beyond two kinks at once may be all there is.
        for (int j = 0; j < turns.count && kinked; ++j) {
            const double w = (turns.at[j] - shift) / r2;
            range_s = std::fmax(range_s, range_of(activation, 0.0, std::fabs(0.5 * (u + w)) / a, 0.0));
            range_d = std::fmax(range_d, range_of(activation, 0.0, std::fabs(0.5 * (u - w)) / b, 0.0));
        }
    }
    range_s = std::fmax(range, range_s);
    range_d = std::fmax(range, range_d);

    Mesh outer(range_d, kPanel * finer, turns.growth, equal); // d -> -d swaps u and w
    if (b > 0.0) {
        // Two turns that pass each other do so on their own scale; a kink is smoothed by the kernel of width a.
        const double smooth1 = turn / (r1 * b), smooth2 = turn / (r2 * b), sharp = kinked ? a / b : 0.0;
        const auto finest = [](double x, double y) { return x > 0.0 && y > 0.0 ? std::fmin(x, y) : std::fmax(x, y); };
        for (int i = 0; i < turns.count; ++i) {
            const double u = (turns.at[i] - shift) / r1, w = (turns.at[i] - shift) / r2;
            outer.kink(u / b, finest(smooth1, sharp));
            outer.kink(-w / b, finest(smooth2, sharp));
            for (int j = 0; j < turns.count; ++j) {
                const double meeting = 0.5 * (u - (turns.at[j] - shift) / r2) / b;
                outer.kink(meeting, finest(std::fmin(smooth1, smooth2), sharp));
            }
        }
    }

    coarsest(activation, std::fmax(r1, r2) * b, finer, &outer);
    // The points of all lines in batches: a caller's function is asked seldom.
    bool full = outer.full();
    double sum[7] = {}, s[kBatch], d[kBatch], weight[kBatch], x[2 * kBatch], phi[2 * kBatch], slopes[2 * kBatch];
    int filled = 0;
    const Level level_of(activation, shift);
    const auto flush = [&] {
        for (int i = 0; i < filled; ++i) {
            x[i] = r1 * (a * s[i] + b * d[i]) + shift;
            x[filled + i] = r2 * (a * s[i] - b * d[i]) + shift;
        }
        level_of.evaluate(activation, x, phi, slopes, 2 * filled);
        const double *w = x + filled, *phi_w = phi + filled, *slope_w = slopes + filled;
        double part[7] = {};
        for (int i = 0; i < filled; ++i) {
            const double shift_d = b * d[i], gap = 2.0 * r1 * b * d[i]; // gap = u - w for equal variances
            const bool by_slope = equal && continuous(activation) && gap < kSmallDifference;
            const double rise = by_slope ? small_difference(activation, w[i], gap) : phi[i] - phi_w[i];
            const double bend = slopes[i] - slope_w[i];
            const double value = weight[i] * (phi[i] + level_of.value) * (phi_w[i] + level_of.value);
            const double slope = weight[i] * (slopes[i] + level_of.slope) * (slope_w[i] + level_of.slope);
            const double heavy = lost_twice(s[i] * s[i]) * lost_twice(d[i] * d[i]);
            part[0] += value;
            part[1] += weight[i] * rise * rise;
            part[2] += slope;
            part[3] += weight[i] * bend * bend;
            part[4] += r1 * (a * s[i] + shift_d) * r2 * (a * s[i] - shift_d) * slope;
            part[5] += heavy * std::fabs(value);
            part[6] += heavy * std::fabs(slope);
        }
        for (int i = 0; i < 7; ++i) {
            sum[i] += part[i];
        }
        filled = 0;
    };
    outer.each(0.0, [&](double line, double line_weight) {
        const double shift_d = b * line;
        Mesh inner(range_s, kPanel * finer, turns.growth);
        double strip = 0.0;
        if (a > 0.0) {
            strip = 2.0 * shift_d / a;
            for (int i = 0; i < turns.count; ++i) {
                const double u = ((turns.at[i] - shift) / r1 - shift_d) / a,
                             w = ((turns.at[i] - shift) / r2 + shift_d) / a;
                if (kinked) {
                    inner.kink(u, turn / (r1 * a), equal ? i : -1);
                    inner.kink(w, turn / (r2 * a), equal ? i : -1);
                } else {
                    inner.turn(u, turn / (r1 * a));
                    inner.turn(w, turn / (r2 * a));
                }
            }
        }
        coarsest(activation, std::fmax(r1, r2) * a, finer, &inner);
        full = full || inner.full();
        inner.each(strip, [&](double along, double share) {
            s[filled] = along;
            d[filled] = line;
            weight[filled] = line_weight * share;
            if (++filled == kBatch) {
                flush();
            }
        });
    });
    if (filled > 0) {
        flush();
    }
    const double sides = equal ? 2.0 : 1.0;
    Covariance out;
    out.value = sides * sum[0];
    out.difference = 0.5 * sides * sum[1];
    out.slope = sides * sum[2];
    out.slope_difference = 0.5 * sides * sum[3];
    out.slope_pair = sides * sum[4];
    out.value_error = nested_error(std::fmax(r1, r2)) * sides * sum[5] + kErrorLeast;
    out.slope_error = nested_error(std::fmax(r1, r2)) * sides * sum[6] + kErrorLeast;
    out.status = full ? Status::not_converged : Status::ok;
    return out;
}

} // namespace quadrature

} // namespace fisherfield
