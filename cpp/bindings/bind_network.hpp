// SPDX-License-Identifier: BSD-3-Clause
// A described network, built layer by layer; it keeps its activations alive.
#pragma once

#include <memory>
#include <mutex>
#include <vector>

#include "bindings.hpp"
#include "fisherfield/network.hpp"
#include "fisherfield/settings.hpp"

namespace fisherfield {

class NetworkHandle {
public:
    NetworkHandle(const std::vector<int>& input_shape, bool for_units) : network_(input_shape, for_units) {}

    Network& network() { return network_; }

    void activation(const ActivationHandle& activation) {
        network_.activation(activation.activation);
        if (activation.owner) {
            owners_.push_back(activation.owner);
        }
    }

    // As a theory sees it; nothing is added from the first time on.
    const Network& seen_by(Theory theory) const {
        if (theory != Theory::wei2019) {
            return network_;
        }
        std::call_once(once_, [this] { published_ = std::make_unique<const Network>(network_.published()); });
        return *published_;
    }

private:
    Network network_;
    std::vector<std::shared_ptr<const Callable>> owners_;
    mutable std::once_flag once_;
    mutable std::unique_ptr<const Network> published_;
};

} // namespace fisherfield
