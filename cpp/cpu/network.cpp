// SPDX-License-Identifier: BSD-3-Clause
#include "fisherfield/network.hpp"

#include <algorithm>
#include <iterator>
#include <map>
#include <stdexcept>
#include <utility>

#include "fisherfield/layers/layers.hpp"

namespace fisherfield {

Network::Network(const std::vector<int>& input_shape, bool for_units)
    : image(input_shape.size() == 3), for_units(for_units) {
    at.channels = input_shape[0];
    if (image) {
        input_size = at.size = {input_shape[1], input_shape[2]};
    }
}

namespace {

// Units of one class have the same key; classes in the order of their first units, with their keys.
template <class Key>
std::vector<Key> classify(const std::vector<Key>& keys, std::vector<int>* classes) {
    std::map<Key, int> known;
    std::vector<Key> distinct;
    classes->clear();
    for (const Key& key : keys) {
        const auto [at, is_new] = known.try_emplace(key, static_cast<int>(distinct.size()));
        if (is_new) {
            distinct.push_back(key);
        }
        classes->push_back(at->second);
    }
    return distinct;
}

int class_of(const Network::Spot& spot, std::size_t unit) { return spot.classes.empty() ? 0 : spot.classes[unit]; }

} // namespace

Node& Network::push(LayerKind kind, int input) {
    Node node;
    node.kind = kind;
    node.input = input;
    node.gaussian = at.gaussian;
    node.layer = std::max(layers - 1, 0);
    node.units = at.channels;
    node.place = described_;
    nodes.push_back(node);
    return nodes.back();
}

// Behind what stands at the spot, and from then on the spot itself; set(node, class) for every class of units.
template <class Set>
void Network::append(LayerKind kind, const Set& set) {
    for (std::size_t c = 0; c < at.nodes.size(); ++c) {
        set(push(kind, at.nodes[c]), c);
        at.nodes[c] = static_cast<int>(nodes.size()) - 1;
    }
}

void Network::append(LayerKind kind) {
    append(kind, [](Node&, std::size_t) {});
}

void Network::merge() {
    std::vector<double> counts(at.nodes.size(), at.classes.empty() ? 1.0 : 0.0);
    for (const int each : at.classes) {
        counts[each] += 1.0;
    }
    double all = counts[0];
    int sum = at.nodes[0];
    for (std::size_t c = 1; c < at.nodes.size(); ++c) {
        all += counts[c];
        Node& node = push(LayerKind::mean, at.nodes[c]);
        node.other = sum;
        node.numbers[0] = counts[c] / all;
        sum = static_cast<int>(nodes.size()) - 1;
    }
    at.nodes = {sum};
    at.classes.clear();
}

void Network::affine(int units, const Windows& windows, int groups, bool biases, double sigma_w2, double sigma_b2) {
    const bool depthwise = for_units && groups > 1 && at.channels == groups;
    if (!depthwise) {
        close();
    }
    ++layers;
    append(depthwise ? LayerKind::depthwise : LayerKind::affine, [&](Node& node, std::size_t) {
        node.windows = windows;
        node.fan_in = at.channels / groups * windows.kernel[0] * windows.kernel[1];
        node.taps = at.units > 0.0 ? node.fan_in / at.units : 0.0;
        node.trained = biases;
        node.vectors = biases ? 1.0 : 0.0;
        node.fixed = biases ? 0 : 1 << row_of(node.kind).place_of("sigma_b2");
        node.numbers[0] = sigma_w2;
        node.numbers[1] = sigma_b2;
        node.units = units;
    });
    at.channels = at.units = units;
    at.size = windows.on(at.size);
    at.gaussian = !depthwise;
    ++described_;
}

void Network::layer(const std::string& kind, const std::vector<double>& numbers, bool trained, const Units& units) {
    const auto row = std::find_if(std::begin(kLayerRows), std::end(kLayerRows),
                                  [&](const LayerRow& each) { return kind == each.name; });
    if (row == std::end(kLayerRows) || static_cast<int>(numbers.size()) != row->count()) {
        throw std::invalid_argument("no layer is a " + kind + " of " + std::to_string(numbers.size()) + " numbers");
    }
    if (row->asks_for_mean && !at.gaussian) {
        ask_for_means(at.nodes[0]);
    }
    std::vector<std::vector<double>> of_class(at.nodes.size());
    if (!units.empty() && for_units) {
        own.push_back(units);
    } else if (!units.empty()) {
        using Key = std::pair<int, std::vector<double>>;
        std::vector<Key> keys;
        for (std::size_t unit = 0; unit < units.size(); ++unit) {
            keys.emplace_back(class_of(at, unit), units[unit]);
        }
        std::vector<int> before;
        of_class.clear();
        for (const Key& key : classify(keys, &at.classes)) {
            before.push_back(at.nodes[key.first]);
            of_class.push_back(key.second);
        }
        at.nodes = before;
    }
    const double positions = static_cast<double>(at.size[0]) * at.size[1];
    append(static_cast<LayerKind>(row - std::begin(kLayerRows)), [&](Node& node, std::size_t c) {
        std::copy(numbers.begin(), numbers.end(), node.numbers);
        std::copy(of_class[c].begin(), of_class[c].end(), node.numbers);
        node.trained = trained;
        node.fixed = (1 << of_class[c].size()) - 1;
        node.own = units.empty() || !for_units ? kNone : static_cast<int>(own.size()) - 1;
        node.vectors = trained && c == 0 ? row->vectors * (row->of_positions ? positions : 1.0) : 0.0;
    });
    if (!at.gaussian) {
        merge();
    }
    ++described_;
}

void Network::ask_for_means(int node) {
    if (node >= 0) {
        nodes[node].mean = true;
        if (nodes[node].kind != LayerKind::phi) {
            ask_for_means(nodes[node].input);
            ask_for_means(nodes[node].other);
        }
    }
}

void Network::activation(const Activation& activation) {
    phi(place_of(activation));
    ++described_;
}

void Network::phi(int activation) {
    append(LayerKind::phi, [&](Node& node, std::size_t) { node.activation = activation; });
    at.gaussian = false;
    merge();
}

void Network::average_pool(const Windows& windows) {
    close();
    append(LayerKind::average_pool, [&](Node& node, std::size_t) { node.windows = windows; });
    at.size = windows.on(at.size);
    ++described_;
}

void Network::upsample(const Pair& times) {
    close();
    append(LayerKind::upsample, [&](Node& node, std::size_t) { node.windows.stride = times; });
    at.size = {at.size[0] * times[0], at.size[1] * times[1]};
    ++described_;
}

void Network::max_pool(const Windows& windows) {
    append(LayerKind::max_pool, [&](Node& node, std::size_t) { node.windows = windows; });
    at.size = windows.on(at.size);
    at.gaussian = false;
    ++described_;
}

void Network::subsample(int channels, const Pair& stride) {
    Windows windows;
    windows.stride = stride;
    append(LayerKind::subsample, [&](Node& node, std::size_t) {
        node.windows = windows;
        node.numbers[0] = at.channels;
        node.numbers[1] = channels;
    });
    at.size = windows.on(at.size);
    at.channels = channels;
    at.gaussian = false;
    ++described_;
}

void Network::flatten() {
    close();
    at.channels *= static_cast<double>(at.size[0]) * at.size[1];
    at.size = {1, 1};
    append(LayerKind::flatten);
    ++described_;
}

void Network::add(const Spot& branch, const Spot& skip, double scale) {
    at = branch;
    std::vector<int> others = skip.nodes; // of each class
    if (!branch.classes.empty() || !skip.classes.empty()) {
        std::vector<std::pair<int, int>> keys;
        for (std::size_t unit = 0; unit < std::max(branch.classes.size(), skip.classes.size()); ++unit) {
            keys.emplace_back(class_of(branch, unit), class_of(skip, unit));
        }
        at.nodes.clear();
        others.clear();
        for (const auto& [of_branch, of_skip] : classify(keys, &at.classes)) {
            at.nodes.push_back(branch.nodes[of_branch]);
            others.push_back(skip.nodes[of_skip]);
        }
    }
    append(LayerKind::add, [&](Node& node, std::size_t c) {
        node.other = others[c];
        node.numbers[0] = scale;
    });
    at.gaussian = branch.gaussian && skip.gaussian;
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
    if (at.gaussian && nodes.back().kind != LayerKind::affine) {
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
    put_in_order();
    assign_slots();
}

// Depth first: of units that have their own gamma and beta one class after another comes to its part of the mean, so
// that few states are kept at a time.
void Network::put_in_order() {
    if (nodes.empty()) {
        return;
    }
    std::vector<int> place(nodes.size(), kNone), open{static_cast<int>(nodes.size()) - 1};
    std::vector<Node> ordered;
    while (!open.empty()) {
        const int i = open.back();
        std::array<int, 2> inputs{nodes[i].input, nodes[i].other};
        if (nodes[i].kind == LayerKind::mean) { // what it adds to, first
            std::swap(inputs[0], inputs[1]);
        }
        const auto missing =
            std::find_if(inputs.begin(), inputs.end(), [&](int input) { return input >= 0 && place[input] == kNone; });
        if (missing != inputs.end()) {
            open.push_back(*missing);
            continue;
        }
        open.pop_back();
        place[i] = static_cast<int>(ordered.size());
        ordered.push_back(nodes[i]);
        for (int* const input : {&ordered.back().input, &ordered.back().other}) {
            *input = *input < 0 ? *input : place[*input];
        }
    }
    nodes = std::move(ordered);
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
        case LayerKind::upsample:
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
