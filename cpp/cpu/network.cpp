// SPDX-License-Identifier: BSD-3-Clause
#include "fisherfield/network.hpp"

#include <algorithm>

#include "fisherfield/layers/layers.hpp"

namespace fisherfield {

Network::Network(const std::vector<int>& input_shape) : channels(input_shape[0]), image(input_shape.size() == 3) {
    if (image) {
        input_size = size = {input_shape[1], input_shape[2]};
    }
}

Node& Network::add(LayerKind kind) {
    Node node;
    node.kind = kind;
    node.input = static_cast<int>(nodes.size()) - 1;
    node.slot = static_cast<int>(nodes.size()) % slots;
    node.layer = std::max(layers - 1, 0);
    node.units = channels;
    node.place = described_;
    nodes.push_back(node);
    return nodes.back();
}

void Network::affine(int units, const Windows& windows, double sigma_w2, double sigma_b2) {
    close();
    // The last layer's normalisation was the output's until now.
    const Node* phi = nullptr;
    double before = 1.0; // its units
    for (auto node = nodes.rbegin(); node != nodes.rend() && node->layer == layers - 1; ++node) {
        phi = node->kind == LayerKind::phi ? &*node : phi;
        before = node->kind == LayerKind::affine ? node->units : before;
        Rays rays{};
        if (row_of(node->kind).normalises) {
            node->homogeneous = homogeneous(activations[phi->activation], &rays);
        }
    }
    const double fan_in = channels * windows.kernel[0] * windows.kernel[1];
    channels = units;
    ++layers;
    Node& node = add(LayerKind::affine);
    node.windows = windows;
    node.fan_in = fan_in;
    node.taps = layers > 1 ? fan_in / before : 0.0;
    node.numbers[0] = sigma_w2;
    node.numbers[1] = sigma_b2;
    size = windows.on(size);
    ++described_;
}

void Network::batch_norm(double gamma, double beta, double eps, bool trained) {
    Node& node = add(LayerKind::batch_norm);
    node.trained = trained;
    node.numbers[0] = gamma;
    node.numbers[1] = beta;
    node.numbers[2] = eps;
    add(LayerKind::phi);
    ++described_;
}

void Network::activation(const Activation& activation) {
    Node& node = nodes.back().kind == LayerKind::phi ? nodes.back() : add(LayerKind::phi);
    node.activation = place_of(activation);
    node.place = described_++;
}

void Network::average_pool(const Windows& windows) {
    close();
    add(LayerKind::average_pool).windows = windows;
    size = windows.on(size);
    ++described_;
}

void Network::flatten() {
    close();
    channels *= static_cast<double>(size[0]) * size[1];
    size = {1, 1};
    add(LayerKind::flatten);
    ++described_;
}

void Network::close() {
    if (!nodes.empty() && nodes.back().kind == LayerKind::affine) {
        add(LayerKind::phi);
    }
}

int Network::place_of(const Activation& activation) {
    const auto same = [&](const Activation& one) {
        return one.kind == activation.kind && one.parameter == activation.parameter &&
               one.degree == activation.degree && one.callable == activation.callable &&
               std::equal(one.coefficients, one.coefficients + kMaxDegree + 1, activation.coefficients) &&
               std::equal(one.kinks, one.kinks + kMaxKinks, activation.kinks);
    };
    const auto at = std::find_if(activations.begin(), activations.end(), same);
    const int place = static_cast<int>(at - activations.begin());
    if (at == activations.end()) {
        activations.push_back(activation);
    }
    return place;
}

void Network::widen(double width) {
    for (Node& node : nodes) {
        node.fan_in = node.taps > 0.0 ? node.taps * width : node.fan_in;
        node.units = node.layer + 1 < layers ? width : node.units; // an image's, flattened, count no parameters
    }
}

Network Network::widened(double width) const {
    Network out = *this;
    out.widen(width);
    return out;
}

double Network::outputs() const { return nodes.empty() ? channels : nodes.back().units; }

bool Network::normalised() const {
    return std::any_of(nodes.begin(), nodes.end(), [](const Node& node) { return row_of(node.kind).normalises; });
}

int Network::positional() const {
    const auto first =
        std::find_if(nodes.begin(), nodes.end(), [](const Node& node) { return node.kind == LayerKind::flatten; });
    const int before = static_cast<int>(first - nodes.begin());
    return !image || before == 0 ? 0 : first == nodes.end() ? before : before + 1;
}

Network Network::published() const {
    Network out = *this;
    out.image = false;
    out.nodes.clear();
    for (const Node& node : nodes) {
        switch (node.kind) {
        case LayerKind::average_pool:
        case LayerKind::flatten:
            continue;
        case LayerKind::phi:
            if (!out.nodes.empty() && out.nodes.back().kind == LayerKind::wei2019) {
                out.nodes.back().activation = node.activation;
                continue;
            }
            break;
        default:
            break;
        }
        out.nodes.push_back(node);
        Node& last = out.nodes.back();
        last.kind = node.kind == LayerKind::batch_norm ? LayerKind::wei2019 : node.kind;
        last.input = static_cast<int>(out.nodes.size()) - 2;
        last.slot = (last.input + 1) % out.slots;
        last.windows = {};
    }
    return out;
}

} // namespace fisherfield
