// SPDX-License-Identifier: BSD-3-Clause
// The largest stable learning rate of descent with momentum: 2 (1 + mu)/lambda_max for the heavy ball (WSS eq. 7)
#pragma once

#include "fisherfield/host_device.hpp"
#include "fisherfield/scaled.hpp"

namespace fisherfield {

// The convention of the loss multiplies lambda_max (docs/theory.md, section 2).
enum class Loss {
    sum,          // 1/2, sum over outputs, mean over samples: 1
    mean,         // 1/2, mean over outputs: 1/C
    mse,          // no 1/2, mean over outputs: 2/C
    cross_entropy // small logits, p = 1/C: 1/C, an approximation
};

inline constexpr const char* kLossNames[] = {"sum", "mean", "mse", "cross_entropy"};

FISHERFIELD_HD inline double curvature_factor(Loss loss, double outputs) {
    switch (loss) {
    case Loss::sum:
        return 1.0;
    case Loss::mse:
        return 2.0 / outputs;
    case Loss::mean:
    case Loss::cross_entropy:
        break;
    }
    return 1.0 / outputs;
}

// The optimiser: torch.optim.SGD's momentum, nesterov and weight_decay.
struct Descent {
    double momentum = 0.0;
    bool nesterov = false;
    double weight_decay = 0.0;
};

// eta times the largest eigenvalue where descent stops being stable (docs/theory.md, section 2).
template <class Number>
FISHERFIELD_HD inline Number step_limit(Number momentum, bool nesterov) {
    const Number heavy_ball = 2.0 * (1.0 + momentum);
    return nesterov ? heavy_ball / (1.0 + 2.0 * momentum) : heavy_ball;
}

// The largest eigenvalue of what is descended: weight decay adds the same to all, whatever the loss's convention.
FISHERFIELD_HD inline Scaled curvature(Scaled lambda_max, const Descent& descent, Loss loss, double outputs) {
    return lambda_max * Scaled(curvature_factor(loss, outputs)) + Scaled(descent.weight_decay);
}

// Infinity where the curvature is 0.
FISHERFIELD_HD inline double max_learning_rate(Scaled lambda_max, const Descent& descent, Loss loss, double outputs) {
    const Scaled top = curvature(lambda_max, descent, loss, outputs);
    return is_zero(top) ? HUGE_VAL : (Scaled(step_limit(descent.momentum, descent.nesterov)) / top).value();
}

} // namespace fisherfield
