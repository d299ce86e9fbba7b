// SPDX-License-Identifier: BSD-3-Clause
// What decides first whether the bulk's edge, or one sample's eigenvalue, may pass lambda_max: closed bounds of both
// (docs/theory.md, section 14). theory/edge.py decides by the same for a single network.
#pragma once

#include <cmath>

#include "fisherfield/network.hpp"
#include "fisherfield/settings.hpp"
#include "fisherfield/spectrum.hpp"

namespace fisherfield {

// What is known of a kind of network: nothing, or its bulk's equations and, behind BatchNorm, what one sample may have:
// the logarithm of its kernel has a variance below kappa sum_l 1/N_l (0: none has an eigenvalue of its own).
struct Edges {
    bool known = false;
    double kappa = 0.0;
};

// The edge lies below `edge` (a - b), one sample's eigenvalue below `sample` a; 0 where it is not known, or of no use
// beside the other one.
struct EdgeBound {
    double edge = 0.0, sample = 0.0;
};

inline constexpr double kFewestOfEdges = 50.0; // samples, inputs and units of the networks that were sampled, and more

template <class Nodes>
FISHERFIELD_HD inline EdgeBound edge_bound(const Nodes& node, int count, const Settings& settings, const Edges& edges) {
    EdgeBound out;
    const double n = settings.samples;
    if (!edges.known || (settings.finite() && n < kFewestOfEdges)) {
        return out;
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
        return out;
    }
    out.edge = sum * sum;
    if (edges.kappa > 0.0 && settings.finite()) {
        const double sample = (1.0 + 2.4 / n) * std::fmin(1.0, std::exp(std::sqrt(2.0 * std::log(n) * variance)) / n);
        // Beside the outlier b + (a - b)/n this one may be below what the edge's says in any case.
        const bool less = sample - 1.0 / n <= (1.0 - sample) * (out.edge - 1.0 / n);
        out.sample = less ? 0.0 : sample;
    }
    return out;
}

// Whether one of them may rule.
FISHERFIELD_HD inline bool undecided(const TangentKernel<Scaled>& kernel, const Spectrum<Scaled>& s,
                                     const EdgeBound& bound) {
    return bound.edge > 0.0 && (!s.outlier || s.lambda_max < Scaled(bound.edge) * kernel.d ||
                                s.lambda_max < Scaled(bound.sample) * (kernel.o + kernel.d));
}

} // namespace fisherfield
