// SPDX-License-Identifier: BSD-3-Clause
// The forward pass: order parameters and tangent kernel of a fully connected network, one state a layer.
//
// States carry overlaps and differences: q_xy with v = q - q_xy, and for the tangent kernel o (off-diagonal) with
// d = D - o. Every coefficient that maps (o, d) to the next layer's is a sum of like signs, so a thousand layers lose
// no more than a thousand roundings. docs/theory.md, section 4.
//
// T is what a number is: Scaled for one network, a vector of doubles for many points of a scan. B, a layer, has its
// parameters and gives covariance(block, z), moments(block, g) and finite_batch(block, settings, last, &pair); S, the
// settings, gives 1/n and 1/(n - 1).
#pragma once

#include "fisherfield/elementary.hpp"
#include "fisherfield/gaussian.hpp"
#include "fisherfield/network.hpp"

namespace fisherfield {

template <class T>
struct Preactivation {
    T xy, v; // q_xy and q - q_xy
    T o, d;  // tangent kernel: off-diagonal, and diagonal minus off-diagonal
};

template <class T>
struct ActivationState {
    T xy = 0.0, v = 0.0;         // q_hat_xy and q_hat - q_hat_xy
    T off_xy = 0.0, off_v = 0.0; // the same as the next layer's own gradients see them: q_hat_off, q_hat - q_hat_off
    T o = 0.0, d = 0.0;          // tangent kernel behind phi'
};

// (o, d) behind phi from (o, d) before it.
template <class T>
struct Transfer {
    T oo = 0.0, od = 0.0, d_o = 0.0, dd = 0.0;
};

// One layer's own gradients, or a BatchNorm's trained gamma and beta: what is added to (o, d).
template <class T>
struct Source {
    T o = 0.0, d = 0.0;
};

template <class T>
struct Step {
    ActivationState<T> state;
    Transfer<T> transfer;
    Source<T> trained;
    Status status = Status::ok;
};

template <class T>
FISHERFIELD_HD FISHERFIELD_INLINE ActivationState<T> input_state(T overlap, T length) {
    const T v = length - overlap;
    return {overlap, v, overlap, v, 0.0, 0.0};
}

// N q_hat + 1 on the diagonal, N q_hat_off + 1 off it; the 1 is the bias's.
template <class B, class T>
FISHERFIELD_HD FISHERFIELD_INLINE Source<T> own_gradients(const B& block, const ActivationState<T>& h, bool biases) {
    const T n(block.fan_in);
    return {n * h.off_xy + T(biases ? 1.0 : 0.0), n * h.off_v};
}

// q = sigma_b2 + sigma_w2 q_hat,   D = N q_hat + 1 + sigma_w2 D_hat
template <class B, class T>
FISHERFIELD_HD FISHERFIELD_INLINE Preactivation<T> affine(const B& block, const ActivationState<T>& h, bool biases) {
    const T w(block.sigma_w2);
    const Source<T> own = own_gradients(block, h, biases);
    return {T(block.sigma_b2) + w * h.xy, w * h.v, own.o + w * h.o, own.d + w * h.d};
}

template <class T>
FISHERFIELD_HD FISHERFIELD_INLINE void train(Step<T>* step, const Source<T>& gamma_and_beta) {
    step->trained = gamma_and_beta;
    step->state.o = step->state.o + gamma_and_beta.o;
    step->state.d = step->state.d + gamma_and_beta.d;
}

// No BatchNorm: D_hat = E[phi'^2] D,  o_hat = E[phi'(u) phi'(w)] o          (KAA; WSS 20-22)
template <class B, class T>
FISHERFIELD_HD FISHERFIELD_INLINE void phi(const B& block, const Preactivation<T>& z, Step<T>* step) {
    const auto pair = covariance(block, z);
    step->state.xy = step->state.off_xy = pair.value;
    step->state.v = step->state.off_v = pair.difference;
    step->transfer = {pair.slope, 0.0, pair.slope_difference, pair.slope + pair.slope_difference};
    step->state.o = step->transfer.oo * z.o;
    step->state.d = step->transfer.d_o * z.o + step->transfer.dd * z.d;
    step->status = pair.status;
}

// BatchNorm, then phi. With s2 = v + eps, k = v/s2, g = sqrt(k) |gamma|, c = gamma^2/s2 and u ~ N(0, 1):
//   exact    D_hat = c E[phi'^2] d,  o_hat = -c d [(E phi')^2 + k (2 - k) (E u phi')^2]/(n - 1)
//   frozen   D_hat = c E[phi'^2] D,  o_hat =  c (E phi')^2 o
//   wei2019  as frozen with q + eps for s2 and slopes at gamma                (WSS 23-25)
// The Gaussian is symmetric, so the sign of gamma drops out.
template <class B, class S, class T>
FISHERFIELD_HD FISHERFIELD_INLINE void batch_norm_phi(const B& block, const Preactivation<T>& z, const S& settings,
                                                      bool last, Step<T>* step) {
    const T eps(block.eps), s2 = z.v + eps;
    if (is_zero(s2)) {
        step->status = Status::zero_variance;
        return;
    }
    const T gamma = abs(T(block.gamma)), rest(settings.one_over_n_minus_1());
    const T gamma2 = gamma * gamma, k = block.has_eps() ? z.v / s2 : T(1.0), c = gamma2 / s2;

    // A finite batch is exact where phi is positively homogeneous: direction and radius of the centred batch are
    // independent, E 1/r^2 = 1/(s2 (n - 3)), and E J Theta J^T = d c n/(n - 3) [G_ab E phi'_a phi'_b - V_ab/(n - 1)].
    decltype(covariance(block, z)) pair;
    if (finite_batch(block, settings, last, &pair)) {
        const T n(settings.samples), share(settings.one_over_n()), diagonal = T(1.0) - share;
        const T slope_diagonal = pair.slope + pair.slope_difference, second = pair.value + pair.difference;
        const T spread = n * rest, scale = gamma2 * spread, x = c * (n / (n - T(3.0)));
        step->state.xy = step->state.off_xy = scale * pair.value;
        step->state.v = step->state.off_v = scale * pair.difference;
        const T on = diagonal * slope_diagonal - rest * second, off = share * pair.slope + rest * pair.value;
        step->transfer = {0.0, -(x * off), 0.0, x * (on + off)};
        step->state.o = step->transfer.od * z.d;
        step->state.d = step->transfer.dd * z.d;
        if (block.trained) {
            train(step, {pair.slope + spread * pair.value, pair.slope_difference + spread * pair.difference});
        }
        return;
    }

    const auto at_g = moments(block, block.has_eps() ? sqrt(k) * gamma : gamma);
    const bool published = settings.theory == Theory::wei2019;
    const auto slopes = published && block.has_eps() ? moments(block, gamma) : at_g;
    step->status = at_g.status != Status::ok ? at_g.status : slopes.status;
    step->state.xy = step->state.off_xy = at_g.mean * at_g.mean;
    step->state.v = step->state.off_v = at_g.variance;

    const T mean2 = slopes.slope_mean * slopes.slope_mean, u2 = slopes.u_slope * slopes.u_slope;
    if (settings.theory == Theory::exact) {
        const T off = c * rest * (mean2 + k * (T(2.0) - k) * u2);
        step->transfer = {0.0, -off, 0.0, c * slopes.slope_second + off};
        step->state.o = step->transfer.od * z.d;
        step->state.d = step->transfer.dd * z.d;
        const T back = k * gamma2 * mean2 * rest; // g^2 (E phi')^2/(n - 1)
        step->state.off_xy = step->state.xy - back;
        step->state.off_v = step->state.v + back;
    } else {
        const T factor = published ? gamma2 / (z.xy + z.v + eps) : c;
        step->transfer = {factor * mean2, 0.0, factor * slopes.slope_variance, factor * slopes.slope_second};
        step->state.o = step->transfer.oo * z.o;
        step->state.d = step->transfer.d_o * z.o + step->transfer.dd * z.d;
    }
    if (block.trained) {
        train(step, {mean2 + k * u2, slopes.slope_variance + k * (slopes.u2_slope2 - u2)});
    }
}

// What follows an affine layer. The last one without a BatchNorm ends with its affine part; its step is then empty.
template <class B, class S, class T>
FISHERFIELD_HD FISHERFIELD_INLINE void behind(const B& block, const Preactivation<T>& z, const S& settings, bool last,
                                              Step<T>* step) {
    if (block.batch_norm) {
        batch_norm_phi(block, z, settings, last, step);
    } else if (!last) {
        phi(block, z, step);
    } else {
        step->state.o = z.o;
        step->state.d = z.d;
    }
}

template <class T>
struct Outcome {
    Status status = Status::ok;
    int layer = 0;    // counted from 1: where the status arose
    Source<T> kernel; // (o, d) of the output
};

// Layers first .. count - 1, each given by layer(l), from the state h that feeds layer `first`; visit(l, h, z, step)
// sees every layer.
template <class Layers, class S, class T, class Visit>
FISHERFIELD_HD FISHERFIELD_INLINE Outcome<T> forward(const Layers& layer, int first, int count, ActivationState<T> h,
                                                     const S& settings, Visit&& visit) {
    for (int l = first; l < count; ++l) {
        const auto& block = layer(l);
        const Preactivation<T> z = affine(block, h, settings.biases);
        Step<T> step;
        behind(block, z, settings, l + 1 == count, &step);
        visit(l, h, z, step);
        if (step.status != Status::ok) {
            return {step.status, l + 1, {}};
        }
        h = step.state;
    }
    return {Status::ok, 0, {h.o, h.d}};
}

// One affine layer: what feeds it (q_hat^{l-1}) and what leaves it; means over positions for a convolution.
struct Row {
    double fan_in;
    Scaled h_xy, h_v;
    Preactivation<Scaled> z;
};

// One network: the integrals of gaussian.hpp, of which B::held says how many.

template <class B>
FISHERFIELD_HD inline Covariance covariance(const B& block, const Preactivation<Scaled>& z) {
    const Scaled q = z.xy + z.v;
    const Correlation correlation = is_zero(q) ? Correlation{1.0, 0.0} : Correlation{(z.xy / q).value(), z.v / q};
    return covariance<B::held>(block.activation, q, q, correlation);
}

template <class B>
FISHERFIELD_HD inline Moments moments(const B& block, Scaled g) {
    return moments<B::held>(block.activation, g, block.beta);
}

// Of two of n samples behind a BatchNorm: variances 1 - 1/n, correlation -1/(n - 1).
template <class B>
FISHERFIELD_HD inline bool finite_batch(const B& block, const Settings& settings, bool last, Covariance* pair) {
    Rays rays{};
    const double n = settings.samples, rest = settings.one_over_n_minus_1();
    if (settings.theory != Theory::exact || last || n < 4.0 || block.gamma == 0.0 || block.beta != 0.0 ||
        block.eps != 0.0 || !homogeneous(block.activation, &rays)) {
        return false;
    }
    *pair = closed_form::rays(rays, 1.0 - 1.0 / n, {-rest, 1.0 + rest});
    return true;
}

} // namespace fisherfield
