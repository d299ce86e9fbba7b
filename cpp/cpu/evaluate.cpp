// SPDX-License-Identifier: BSD-3-Clause
#include "evaluate.hpp"

#include <algorithm>
#include <utility>

#include "positions/positions.hpp"
#include "worth.hpp"

namespace fisherfield {

namespace {

constexpr int kAll = -1;

struct ImagePart {
    Status status = Status::ok;
    int node = 0;
    State<Scaled> h; // means over positions
};

// Nodes that are treated position by position; with `only` >= 0, gradients by that layer's parameters alone enter the
// tangent kernel.
ImagePart positions(const Network& network, const Settings& settings, int only, std::vector<Row>* rows) {
    const int count = network.positional();
    std::vector<int> readers(count + 1); // of the data, then of each node, that are still to come
    for (int i = 0; i < count; ++i) {
        for (const int input : {network.nodes[i].input, network.nodes[i].other}) {
            if (input != kNone) {
                ++readers[input + 1];
            }
        }
    }
    std::vector<ImageState> live(network.slots + 1); // the data, then what the slots keep
    live[0] = image_input(network.input_size, settings);
    const auto take = [&](int input) { // a copy where others read it, too
        ImageState& state = live[input < 0 ? 0 : network.nodes[input].slot + 1];
        return --readers[input + 1] > 0 ? state : std::move(state);
    };
    const auto whole = [&](int input) {
        ImageState state = take(input);
        add_bias(&state);
        return state;
    };
    for (int i = 0; i < count; ++i) {
        const Node& node = network.nodes[i];
        const bool own = only == kAll || only == node.layer;
        ImageState state = take(node.input);
        if (!row_of(node.kind).normalises) {
            add_bias(&state);
        }
        Status status = Status::ok;
        switch (node.kind) {
        case LayerKind::affine: {
            const State<Scaled> before = state.diagonal();
            state = convolve(node, std::move(state), settings.biases && node.trained, own);
            if (rows != nullptr) {
                rows->push_back({node.fan_in, before, state.diagonal()});
            }
            break;
        }
        case LayerKind::batch_norm:
            status = normalise(node, settings.theory, own, &state);
            break;
        case LayerKind::phi:
            status = activate(network.activations[node.activation], node.mean, &state);
            break;
        case LayerKind::average_pool:
            state = average_pool(node.windows, std::move(state));
            break;
        case LayerKind::upsample:
            state = upsample(node.windows.stride, std::move(state));
            break;
        case LayerKind::flatten: // what follows sees means over positions
            break;
        case LayerKind::add:
            state = sum(node, std::move(state), whole(node.other));
            break;
        case LayerKind::mean:
            state = mean(node, std::move(state), whole(node.other));
            break;
        default:
            status = scale(node, settings, own, &state);
            break;
        }
        if (status != Status::ok) {
            return {status, i, {}};
        }
        live[node.slot + 1] = std::move(state);
    }
    ImagePart image{Status::ok, count, live[network.nodes[count - 1].slot + 1].diagonal()};
    Scaled& d = image.h.kernel.d; // no variance is negative; one below the rounding of what it was taken from is 0
    d = d < Scaled(0.0) && -d <= Scaled(kRounding) * abs(image.h.kernel.o) ? Scaled(0.0) : d;
    return image;
}

// What evaluate() of fisherfield/evaluate.hpp asks of a network, with the states that are still to be read.
struct Nodes {
    const Network& network;
    State<Scaled> data;     // what the network reads
    const KeptStates* kept; // of all nodes, where they were computed before
    std::vector<State<Scaled>> live;

    Nodes(const Network& network, const Settings& settings, const KeptStates* kept = nullptr)
        : network(network), data(input_state<Scaled>(settings.overlap, settings.length)), kept(kept),
          live(network.slots) {}

    const Node& node(int i) const { return network.nodes[i]; }
    Exact<> integrals(const Node& at) const { return {network.activations[at.activation]}; }
    const State<Scaled>& input(int at) const {
        return at < 0 ? data : kept != nullptr ? kept->states[at] : live[network.nodes[at].slot];
    }
    State<Scaled>& output(const Node& at) { return live[at.slot]; }
};

} // namespace

Output evaluate(const Network& network, const Settings& settings, std::vector<Row>* rows, KeptStates* kept) {
    const int count = static_cast<int>(network.nodes.size()), positional = network.positional();
    const bool again = kept != nullptr && kept->first > 0 && kept->first >= positional;
    const int first = again ? kept->first : positional;
    if (rows != nullptr) {
        const auto affine = [](const Node& node) { return node.kind == LayerKind::affine; };
        rows->resize(again ? std::count_if(network.nodes.begin(), network.nodes.begin() + first, affine) : 0);
    }
    Nodes nodes(network, settings);
    if (kept != nullptr) {
        kept->states.resize(count);
    }
    if (again) {
        std::vector<bool> there(network.slots); // of each slot the last state
        for (int i = first, missing = network.slots; i-- > 0 && missing > 0;) {
            const Node& node = network.nodes[i];
            if (!there[node.slot]) {
                nodes.output(node) = kept->states[i];
                there[node.slot] = true;
                --missing;
            }
        }
    } else if (positional > 0) {
        const ImagePart image = positions(network, settings, kAll, rows);
        if (image.status != Status::ok) {
            return {image.status, image.node, {}};
        }
        nodes.output(network.nodes[positional - 1]) = image.h;
        if (kept != nullptr) {
            kept->states[positional - 1] = image.h;
        }
    }
    const Outcome outcome = evaluate(nodes, first, count, settings,
                                     [&](int i, const Node& node, const State<Scaled>& in, const State<Scaled>& out) {
                                         if (rows != nullptr && node.kind == LayerKind::affine) {
                                             rows->push_back({node.fan_in, in, out});
                                         }
                                         if (kept != nullptr) {
                                             kept->states[i] = out;
                                         }
                                     });
    if (outcome.status != Status::ok) {
        return {outcome.status, outcome.node, {}};
    }
    return {Status::ok, 0, nodes.live[network.nodes.back().slot].kernel};
}

std::vector<TangentKernel<Scaled>> contributions(const Network& network, const Settings& settings,
                                                 const KeptStates& kept) {
    const int count = static_cast<int>(network.nodes.size()), positional = network.positional();
    std::vector<TangentKernel<Scaled>> parts(network.layers, {0.0, 0.0, 0.0, 0.0});
    std::vector<Worth> worth(count);
    worth.back() = {{1.0, 0.0, 0.0, 0.0}, {0.0, 1.0, 0.0, 0.0}};
    const auto add = [&](int node, const auto& own, int layer) {
        parts[layer].o = parts[layer].o + product(worth[node].o, own);
        parts[layer].d = parts[layer].d + product(worth[node].d, own);
    };
    Nodes nodes(network, settings, &kept);
    for (int i = count - 1; i >= positional; --i) {
        const Node& node = network.nodes[i];
        with_law(nodes, node, settings, [&](const auto& law) {
            const auto back = [&](const auto& from, int input) {
                const TangentKernel<Scaled>& kernel = nodes.input(input).kernel;
                if (input >= 0) {
                    add_transposed(from, worth[i], !is_zero(kernel.ou) || !is_zero(kernel.du), &worth[input]);
                }
            };
            back(law, node.input);
            if constexpr (requires { law.skip; }) {
                back(law.skip, node.other);
            } else {
                add(i, law.own, node.layer);
            }
        });
    }
    // Positions: one pass for each layer, so that no more than a few matrices are ever held.
    for (int l = 0; positional > 0 && l <= network.nodes[positional - 1].layer; ++l) {
        add(positional - 1, positions(network, settings, l, nullptr).h.kernel, l);
    }
    return parts;
}

} // namespace fisherfield
