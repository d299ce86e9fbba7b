// SPDX-License-Identifier: BSD-3-Clause
// What is assumed of the theory, of the data and of the parameters that count.
#pragma once

#include "fisherfield/host_device.hpp"

namespace fisherfield {

enum class Theory { exact, frozen, wei2019 };
inline constexpr const char* kTheoryNames[] = {"exact", "frozen", "wei2019"};

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

    // n inputs of one length have overlaps of -length/(n - 1) at least; one sample has no variance for a BatchNorm.
    FISHERFIELD_HD bool admissible(bool batch_norm) const {
        const double least = !finite() ? 0.0 : one_sample() ? -length : -length / (samples - 1.0);
        return overlap >= least && overlap <= length && !(batch_norm && one_sample());
    }
};

} // namespace fisherfield
