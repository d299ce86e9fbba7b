// SPDX-License-Identifier: BSD-3-Clause
// What the recursions need to know of a network: its affine layers in order, each with what follows it.
#pragma once

#include "fisherfield/gaussian.hpp"
#include "fisherfield/host_device.hpp"

namespace fisherfield {

enum class Theory { exact, frozen, wei2019 };

// One affine layer, its BatchNorm (if any) and the activation behind it (linear if none).
struct Block {
    static constexpr Integrals held = Integrals::all;

    double fan_in = 1.0; // N_{l-1}; channels times taps for a convolution
    double units = 1.0;  // N_l; channels of a convolution
    double sigma_w2 = 0.0, sigma_b2 = 0.0;
    bool batch_norm = false;
    double gamma = 1.0, beta = 0.0, eps = 0.0;
    bool trained = false;
    Activation activation;

    FISHERFIELD_HD bool has_eps() const { return eps != 0.0; }
};

// What is assumed of the data and of the parameters that count.
struct Settings {
    Theory theory = Theory::exact;
    double samples = 0.0; // n; 0: infinitely many
    double overlap = 0.0; // q_hat_xy^0
    double length = 1.0;  // q_hat^0
    bool biases = true;

    FISHERFIELD_HD bool finite() const { return samples > 0.0; }
    FISHERFIELD_HD bool one_sample() const { return samples == 1.0; }
    FISHERFIELD_HD double one_over_n() const { return finite() ? 1.0 / samples : 0.0; }
    FISHERFIELD_HD double one_over_n_minus_1() const { return finite() ? 1.0 / (samples - 1.0) : 0.0; }
};

} // namespace fisherfield
