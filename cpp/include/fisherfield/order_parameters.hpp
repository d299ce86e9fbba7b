// SPDX-License-Identifier: BSD-3-Clause
// The forward pass: order parameters and tangent kernel of a fully connected network, one state a layer.
//
// States carry overlaps and differences: q_xy with v = q - q_xy, and for the tangent kernel o (off-diagonal) with
// d = D - o. Every coefficient that maps (o, d) to the next layer's is a sum of like signs, so a thousand layers lose
// no more than a thousand roundings. docs/theory.md, section 4.
#pragma once

#include "fisherfield/gaussian.hpp"
#include "fisherfield/network.hpp"

namespace fisherfield {

struct Preactivation {
    Scaled xy, v; // q_xy and q - q_xy
    Scaled o, d;  // tangent kernel: off-diagonal, and diagonal minus off-diagonal
};

struct ActivationState {
    Scaled xy, v;         // q_hat_xy and q_hat - q_hat_xy
    Scaled off_xy, off_v; // the same as the next layer's own gradients see them: q_hat_off, q_hat - q_hat_off
    Scaled o, d;          // tangent kernel behind phi'
};

// (o, d) behind phi from (o, d) before it.
struct Transfer {
    Scaled oo, od, d_o, dd;
};

// One layer's own gradients, or a BatchNorm's trained gamma and beta: what is added to (o, d).
struct Source {
    Scaled o, d;
};

struct Step {
    ActivationState state;
    Transfer transfer;
    Source trained;
    Status status = Status::ok;
};

FISHERFIELD_HD inline ActivationState input_state(const Settings& settings) {
    ActivationState h;
    h.xy = settings.overlap;
    h.v = settings.length - settings.overlap;
    h.off_xy = h.xy;
    h.off_v = h.v;
    return h;
}

// N q_hat + 1 on the diagonal, N q_hat_off + 1 off it; the 1 is the bias's.
FISHERFIELD_HD inline Source own_gradients(const Block& block, const ActivationState& h, bool biases) {
    const Scaled n(block.fan_in);
    return {n * h.off_xy + Scaled(biases ? 1.0 : 0.0), n * h.off_v};
}

// q = sigma_b2 + sigma_w2 q_hat,   D = N q_hat + 1 + sigma_w2 D_hat
FISHERFIELD_HD inline Preactivation affine(const Block& block, const ActivationState& h, bool biases) {
    const Scaled w(block.sigma_w2);
    const Source own = own_gradients(block, h, biases);
    return {Scaled(block.sigma_b2) + w * h.xy, w * h.v, own.o + w * h.o, own.d + w * h.d};
}

FISHERFIELD_HD inline void carry(Step* step, const Preactivation& z) {
    const Transfer& t = step->transfer;
    step->state.o = t.oo * z.o + t.od * z.d + step->trained.o;
    step->state.d = t.d_o * z.o + t.dd * z.d + step->trained.d;
}

// No BatchNorm: D_hat = E[phi'^2] D,  o_hat = E[phi'(u) phi'(w)] o          (KAA; WSS 20-22)
FISHERFIELD_HD inline Step phi(const Activation& activation, const Preactivation& z) {
    const Scaled q = z.xy + z.v;
    const Correlation correlation = is_zero(q) ? Correlation{1.0, 0.0} : Correlation{(z.xy / q).value(), z.v / q};
    const Covariance pair = covariance(activation, q, q, correlation);
    Step step;
    step.state.xy = pair.value;
    step.state.v = pair.difference;
    step.transfer = {pair.slope, 0.0, pair.slope_difference, pair.slope + pair.slope_difference};
    step.status = pair.status;
    step.state.off_xy = step.state.xy;
    step.state.off_v = step.state.v;
    carry(&step, z);
    return step;
}

// BatchNorm, then phi. With s2 = v + eps, k = v/s2, g = sqrt(k) |gamma|, c = gamma^2/s2 and u ~ N(0, 1):
//   exact    D_hat = c E[phi'^2] d,  o_hat = -c d [(E phi')^2 + k (2 - k) (E u phi')^2]/(n - 1)
//   frozen   D_hat = c E[phi'^2] D,  o_hat =  c (E phi')^2 o
//   wei2019  as frozen with q + eps for s2 and slopes at gamma                (WSS 23-25)
// The Gaussian is symmetric, so the sign of gamma drops out.
FISHERFIELD_HD inline Step batch_norm_phi(const Block& block, const Preactivation& z, const Settings& settings,
                                          bool last) {
    const Activation& activation = block.activation;
    const Scaled s2 = z.v + Scaled(block.eps);
    Step step;
    if (is_zero(s2)) {
        step.status = Status::zero_variance;
        return step;
    }
    const double gamma = std::fabs(block.gamma), rest = settings.one_over_n_minus_1();
    const Scaled gamma2 = Scaled(gamma) * Scaled(gamma), k = z.v / s2;
    const Scaled c = gamma2 / s2;

    // A finite batch is exact where phi is positively homogeneous: direction and radius of the centred batch are
    // independent, E 1/r^2 = 1/(s2 (n - 3)), and E J Theta J^T = d c n/(n - 3) [G_ab E phi'_a phi'_b - V_ab/(n - 1)].
    Rays rays{};
    const double n = settings.samples;
    if (settings.theory == Theory::exact && !last && n >= 4.0 && gamma != 0.0 && block.beta == 0.0 &&
        block.eps == 0.0 && homogeneous(activation, &rays)) {
        const double diagonal = 1.0 - 1.0 / n;
        const Covariance pair = closed_form::rays(rays, diagonal, {-rest, 1.0 + rest});
        const Scaled slope_diagonal = pair.slope + pair.slope_difference;
        const Scaled second = pair.value + pair.difference;
        const Scaled scale = gamma2 * Scaled(n * rest), x = c * Scaled(n / (n - 3.0));
        step.state.xy = scale * pair.value;
        step.state.v = scale * pair.difference;
        const Scaled on = Scaled(diagonal) * slope_diagonal - Scaled(rest) * second;
        const Scaled off = Scaled(1.0 / n) * pair.slope + Scaled(rest) * pair.value;
        step.transfer = {0.0, -(x * off), 0.0, x * (on + off)};
        if (block.trained) {
            step.trained = {pair.slope + Scaled(n * rest) * pair.value,
                            pair.slope_difference + Scaled(n * rest) * pair.difference};
        }
        step.state.off_xy = step.state.xy;
        step.state.off_v = step.state.v;
        carry(&step, z);
        return step;
    }

    const Moments at_g = moments(activation, sqrt(k) * Scaled(gamma), block.beta);
    const bool published = settings.theory == Theory::wei2019;
    const Moments slopes = published && block.eps != 0.0 ? moments(activation, Scaled(gamma), block.beta) : at_g;
    step.status = at_g.status != Status::ok ? at_g.status : slopes.status;
    step.state.xy = at_g.mean * at_g.mean;
    step.state.v = at_g.variance;
    step.state.off_xy = step.state.xy;
    step.state.off_v = step.state.v;

    const Scaled mean2 = slopes.slope_mean * slopes.slope_mean, u2 = slopes.u_slope * slopes.u_slope;
    if (settings.theory == Theory::exact) {
        const Scaled off = c * Scaled(rest) * (mean2 + k * (Scaled(2.0) - k) * u2);
        step.transfer = {0.0, -off, 0.0, c * slopes.slope_second + off};
        const Scaled back = k * gamma2 * mean2 * Scaled(rest); // g^2 (E phi')^2/(n - 1)
        step.state.off_xy = step.state.xy - back;
        step.state.off_v = step.state.v + back;
    } else {
        const Scaled factor = published ? gamma2 / (z.xy + z.v + Scaled(block.eps)) : c;
        step.transfer = {factor * mean2, 0.0, factor * slopes.slope_variance, factor * slopes.slope_second};
    }
    if (block.trained) {
        step.trained = {mean2 + k * u2, slopes.slope_variance + k * (slopes.u2_slope2 - u2)};
    }
    carry(&step, z);
    return step;
}

struct Outcome {
    Status status = Status::ok;
    int layer = 0; // counted from 1: where the status arose
    Source kernel; // (o, d) of the output
};

// Layers first .. count - 1 from the state h that feeds layer `first`; visit(l, h, z, step) sees every layer. A last
// layer without BatchNorm ends with its affine part; its step is then empty.
template <class Visit>
FISHERFIELD_HD Outcome forward(const Block* blocks, int first, int count, ActivationState h, const Settings& settings,
                               Visit&& visit) {
    for (int l = first; l < count; ++l) {
        const Block& block = blocks[l];
        const Preactivation z = affine(block, h, settings.biases);
        const bool last = l + 1 == count;
        Step step;
        if (block.batch_norm) {
            step = batch_norm_phi(block, z, settings, last);
        } else if (!last) {
            step = phi(block.activation, z);
        } else {
            step.state.o = z.o;
            step.state.d = z.d;
        }
        visit(l, h, z, step);
        if (step.status != Status::ok) {
            return {step.status, l + 1, {}};
        }
        h = step.state;
    }
    return {Status::ok, 0, {h.o, h.d}};
}

} // namespace fisherfield
