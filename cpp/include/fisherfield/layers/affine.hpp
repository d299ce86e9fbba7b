// SPDX-License-Identifier: BSD-3-Clause
// z = W h + b, W_ij ~ N(0, sigma_w2/N), b_i ~ N(0, sigma_b2): a dense layer, or a convolution seen at one position.
//
//     q_xy = sigma_b2 + sigma_w2 q_hat_xy        v = sigma_w2 v_hat
//     o = N (q_hat_xy + off) + 1 + sigma_w2 o    d = N (v_hat - off) + sigma_w2 d        (KAA; docs/theory.md, section
//     4)
//
// N q_hat + 1 are the layer's own gradients, by its weights and by its biases where they count.
#pragma once

#include "fisherfield/state.hpp"
#include "fisherfield/status.hpp"

namespace fisherfield {

template <class T, class W>
struct AffineLaw {
    T xy, v;
    W sigma_w2;
    TangentKernel<T, T, Zero> own; // gradients by the layer's parameters
    Zero off{}, mean{};

    FISHERFIELD_HD FISHERFIELD_INLINE auto kernel(const auto& k) const {
        return TangentKernel{sigma_w2 * k.o, sigma_w2 * k.d, Zero(), Zero()};
    }
};

template <class N = double>
struct Affine {
    N fan_in, sigma_w2, sigma_b2;
    bool biases = true; // it has some

    template <class H, class S>
    FISHERFIELD_HD FISHERFIELD_INLINE auto law(const H& h, const S& settings) const {
        using T = decltype(h.v);
        const T xy = overlap(h), n(fan_in), w(sigma_w2), bias(settings.biases && biases ? 1.0 : 0.0);
        return AffineLaw<T, T>{T(sigma_b2) + w * xy, w * h.v, w, {n * (xy + h.off) + bias, n * (h.v - h.off), {}, {}}};
    }

    template <class H, class S, class I, class Visit>
    FISHERFIELD_HD FISHERFIELD_INLINE Status pass(const H& h, const S& settings, const I&, Visit&& visit) const {
        visit(law(h, settings));
        return Status::ok;
    }
};

} // namespace fisherfield
