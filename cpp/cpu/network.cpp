// SPDX-License-Identifier: BSD-3-Clause
#include "fisherfield/network.hpp"

#include <algorithm>
#include <iterator>
#include <stdexcept>

#include "fisherfield/layers/layers.hpp"

namespace fisherfield {

Network::Network(const std::vector<int>& input_shape) : image(input_shape.size() == 3) {
    at.channels = input_shape[0];
    if (image) {
        input_size = at.size = {input_shape[1], input_shape[2]};
    }
}

// Behind what stands at the spot, and from then on the spot itself.
Node& Network::add(LayerKind kind) {
    Node node;
    node.kind = kind;
    node.input = at.node;
    node.gaussian = at.gaussian;
    node.layer = std::max(layers - 1, 0);
    node.units = at.channels;
    node.place = described_;
    at.node = static_cast<int>(nodes.size());
    nodes.push_back(node);
    return nodes.back();
}

void Network::affine(int units, const Windows& windows, int groups, bool biases, double sigma_w2, double sigma_b2) {
    close();
    ++layers;
    Node& node = add(LayerKind::affine);
    node.windows = windows;
    node.fan_in = at.channels / groups * windows.kernel[0] * windows.kernel[1];
    node.taps = at.units > 0.0 ? node.fan_in / at.units : 0.0;
    node.trained = biases;
    node.vectors = biases ? 1.0 : 0.0;
    node.fixed = biases ? 0 : 1 << row_of(LayerKind::affine).place_of("sigma_b2");
    node.numbers[0] = sigma_w2;
    node.numbers[1] = sigma_b2;
    node.units = at.channels = at.units = units;
    at.size = windows.on(at.size);
    at.gaussian = true;
    ++described_;
}

void Network::layer(const std::string& kind, const std::vector<double>& numbers, bool trained) {
    const auto row = std::find_if(std::begin(kLayerRows), std::end(kLayerRows),
                                  [&](const LayerRow& each) { return kind == each.name; });
    if (row == std::end(kLayerRows) || static_cast<int>(numbers.size()) != row->count()) {
        throw std::invalid_argument("no layer is a " + kind + " of " + std::to_string(numbers.size()) + " numbers");
    }
    if (row->asks_for_mean && !at.gaussian && at.node != kData) {
        for (int i = at.node; i >= 0; i = nodes[i].kind == LayerKind::phi ? kData : nodes[i].input) {
            nodes[i].mean = true;
        }
    }
    Node& node = add(static_cast<LayerKind>(row - std::begin(kLayerRows)));
    std::copy(numbers.begin(), numbers.end(), node.numbers);
    node.trained = trained;
    const double positions = static_cast<double>(at.size[0]) * at.size[1];
    node.vectors = trained ? row->vectors * (row->of_positions ? positions : 1.0) : 0.0;
    ++described_;
}

void Network::activation(const Activation& activation) {
    phi(place_of(activation));
    ++described_;
}

void Network::phi(int activation) {
    add(LayerKind::phi).activation = activation;
    at.gaussian = false;
}

void Network::average_pool(const Windows& windows) {
    close();
    add(LayerKind::average_pool).windows = windows;
    at.size = windows.on(at.size);
    ++described_;
}

void Network::flatten() {
    close();
    at.channels *= static_cast<double>(at.size[0]) * at.size[1];
    at.size = {1, 1};
    add(LayerKind::flatten);
    ++described_;
}

void Network::add(const Spot& branch, const Spot& skip, double scale) {
    at = branch;
    Node& node = add(LayerKind::add);
    node.other = skip.node;
    node.numbers[0] = scale;
    ++described_;
}

void Network::close() {
    if (at.gaussian) {
        phi(0);
    }
}

// The outputs are linear: a kernel that goes with the units' own values is averaged over them.
void Network::finish() {
    const int inner = static_cast<int>(nodes.size());
    if (at.gaussian && !nodes.empty() && nodes.back().kind != LayerKind::affine) {
        phi(0);
    }
    // Backwards: whether all that read a node, through sums, are positively homogeneous; not what the output reads.
    std::vector<char> all(nodes.size(), 1), read(nodes.size(), 0);
    for (int i = static_cast<int>(nodes.size()); i-- > 0;) {
        Node& node = nodes[i];
        Rays rays{};
        const bool here = node.kind == LayerKind::phi   ? i < inner && homogeneous(activations[node.activation], &rays)
                          : node.kind == LayerKind::add ? all[i] && read[i]
                                                        : false;
        node.homogeneous = row_of(node.kind).normalises && all[i] && read[i];
        for (const int input : {node.input, node.other}) {
            if (input >= 0) {
                all[input] = all[input] && here;
                read[input] = 1;
            }
        }
    }
    assign_slots();
}

// Of the slots whose states are not read any more, the first; a node does not write where it reads.
void Network::assign_slots() {
    const int count = static_cast<int>(nodes.size());
    std::vector<int> last(count, count), busy; // who reads a node, and a slot, last
    for (int i = 0; i < count; ++i) {
        for (const int input : {nodes[i].input, nodes[i].other}) {
            if (input >= 0) {
                last[input] = i;
            }
        }
    }
    for (int i = 0; i < count; ++i) {
        const auto free = std::find_if(busy.begin(), busy.end(), [&](int reader) { return reader < i; });
        nodes[i].slot = static_cast<int>(free - busy.begin());
        busy.resize(std::max<std::size_t>(busy.size(), nodes[i].slot + 1));
        busy[nodes[i].slot] = last[i];
    }
    slots = static_cast<int>(busy.size());
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

double Network::outputs() const { return nodes.empty() ? at.channels : nodes.back().units; }

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
        last.windows = {};
    }
    out.assign_slots();
    return out;
}

} // namespace fisherfield
