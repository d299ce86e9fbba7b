// SPDX-License-Identifier: BSD-3-Clause
// A described network, built layer by layer; it keeps its activations alive.
#pragma once

#include <vector>

#include "bindings.hpp"
#include "described_network.hpp"

namespace fisherfield {

struct NetworkHandle {
    DescribedNetwork network;
    std::vector<std::shared_ptr<const Callable>> owners;
    double channels; // of the last layer; its units, where there is no image
    Pair size{1, 1};

    explicit NetworkHandle(const std::vector<int>& shape) : channels(shape[0]) {
        network.channels = shape[0];
        network.image = shape.size() == 3;
        if (network.image) {
            network.size = size = {shape[1], shape[2]};
        }
    }

    Block& block() { return network.blocks.back(); }

    void affine(Stage stage, double units, double fan_in, double sigma_w2, double sigma_b2) {
        network.stages.push_back(stage);
        network.blocks.emplace_back();
        block().fan_in = fan_in;
        block().units = units;
        block().sigma_w2 = sigma_w2;
        block().sigma_b2 = sigma_b2;
        network.outputs = channels = units;
    }

    void dense(int units, double sigma_w2, double sigma_b2) {
        affine({Stage::Kind::dense, {}}, units, channels, sigma_w2, sigma_b2);
    }

    void conv2d(int units, const Pair& kernel, const Pair& stride, const Pair& padding, double sigma_w2,
                double sigma_b2) {
        const Windows windows{kernel, stride, padding};
        affine({Stage::Kind::conv2d, windows}, units, channels * kernel[0] * kernel[1], sigma_w2, sigma_b2);
        size = windows.on(size);
    }

    void batch_norm(double gamma, double beta, double eps, bool trained) {
        Block& last = block();
        last.batch_norm = true;
        last.gamma = gamma;
        last.beta = beta;
        last.eps = eps;
        last.trained = trained;
    }

    void activation(const ActivationHandle& activation) {
        block().activation = activation.activation;
        if (activation.owner) {
            owners.push_back(activation.owner);
        }
    }

    void average_pool(const Pair& kernel, const Pair& stride) {
        const Windows windows{kernel, stride, {0, 0}};
        network.stages.push_back({Stage::Kind::average_pool, windows});
        size = windows.on(size);
    }

    void flatten() {
        network.stages.push_back({Stage::Kind::flatten, {}});
        channels *= static_cast<double>(size[0]) * size[1];
        size = {1, 1};
    }
};

} // namespace fisherfield
