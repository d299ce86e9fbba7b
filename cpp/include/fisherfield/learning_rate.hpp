// SPDX-License-Identifier: BSD-3-Clause
// The largest stable learning rate of heavy-ball descent, eta_star = 2 (1 + mu)/lambda_max          (WSS eq. 7)
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

// Infinity for lambda_max = 0.
FISHERFIELD_HD inline double max_learning_rate(Scaled lambda_max, double momentum, Loss loss, double outputs) {
    if (is_zero(lambda_max)) {
        return HUGE_VAL;
    }
    return (Scaled(2.0 * (1.0 + momentum)) / (lambda_max * Scaled(curvature_factor(loss, outputs)))).value();
}

} // namespace fisherfield
