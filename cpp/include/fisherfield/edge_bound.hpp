// SPDX-License-Identifier: BSD-3-Clause
// What decides first whether the bulk's edge, or one sample's eigenvalue, may pass lambda_max: closed bounds of both
// (docs/theory.md, section 14). theory/edge.py decides by the same for a single network.
#pragma once

#include <cmath>

#include "fisherfield/network.hpp"
#include "fisherfield/scaled.hpp"
#include "fisherfield/settings.hpp"
#include "fisherfield/state.hpp"

namespace fisherfield {

// What is known of a kind of network: nothing, or its bulk's equations and, behind BatchNorm, what one sample may have:
// the logarithm of its kernel has a variance below kappa sum_l 1/N_l (0: none has an eigenvalue of its own).
struct Edges {
    bool known = false;
    double kappa = 0.0;
};

inline constexpr double kFewestOfEdges = 50.0; // samples, inputs and units of the networks that were sampled, and more

// The outlier b + (a - b)/n rules for certain where b >= outlier_from (a - b); elsewhere the edge, one sample or the
// mean C a/P may. Minus infinity where no edge is known.
//
// The edge lies below edge (a - b), one sample's eigenvalue below sample a: b + (a - b)/n passes them at b/(a - b) =
// edge - 1/n and (sample - 1/n)/(1 - sample), and the mean as the latter with C/P for `sample`.
template <class Nodes>
FISHERFIELD_HD inline double outlier_from(const Nodes& node, int count, const Settings& settings, const Edges& edges,
                                          double outputs, double parameters) {
    const double n = settings.samples;
    if (!edges.known || (settings.finite() && n < kFewestOfEdges)) {
        return -HUGE_VAL;
    }
    double sum = settings.finite() ? 1.0 / std::sqrt(n) : 0.0, fewest = HUGE_VAL, variance = 0.0;
    for (int i = 0; i < count; ++i) {
        const double inputs = node(i).fan_in; // 0 where there are no weights
        if (inputs > 0.0) {
            sum += 1.0 / std::sqrt(inputs);
            fewest = std::fmin(fewest, inputs);
            variance += edges.kappa / inputs;
        }
    }
    if (fewest < kFewestOfEdges) {
        return -HUGE_VAL;
    }
    const double one_over_n = settings.finite() ? 1.0 / n : 0.0;
    double share = outputs / parameters; // of a, the most that a rival has
    if (edges.kappa > 0.0 && settings.finite()) {
        const double sample = (1.0 + 2.4 / n) * std::fmin(1.0, std::exp(std::sqrt(2.0 * std::log(n) * variance)) / n);
        share = std::fmax(share, sample);
    }
    const double of_share = share < 1.0 ? (share - one_over_n) / (1.0 - share) : 1e100;
    // Roundings of both sides are far below 1e-12.
    return std::fmax(sum * sum - one_over_n, of_share) * (1.0 + 1e-12);
}

// Whether another than the outlier may rule.
FISHERFIELD_HD inline bool undecided(const TangentKernel<Scaled>& kernel, double outlier_from) {
    return outlier_from > 0.0 && kernel.o < Scaled(outlier_from) * kernel.d;
}

} // namespace fisherfield
