// SPDX-License-Identifier: BSD-3-Clause
// A pass over the nodes of a network, from any node on: every state follows from the one that feeds it, by its layer's
// law (layers/layers.hpp). And back: what a unit of every node's kernel is worth at the output.
#pragma once

#include "fisherfield/integrals.hpp"
#include "fisherfield/layers/layers.hpp"

namespace fisherfield {

struct Outcome {
    Status status = Status::ok;
    int node = 0; // where the status arose, or the last one
};

// visit(law) with what a node makes of the states that feed it: `network` gives integrals(node) and input(i), the state
// that node i left, or the data.
template <class Network, class S, class Visit>
FISHERFIELD_HD FISHERFIELD_INLINE Status with_law(Network& network, const Node& node, const S& settings,
                                                  Visit&& visit) {
    const State<Scaled>& in = network.input(node.input);
    return with_layer(node, [&](const auto& layer) {
        if constexpr (requires { layer.of_two; }) {
            return layer.pass(in, network.input(node.other), visit);
        } else {
            return layer.pass(in, settings, network.integrals(node), visit);
        }
    });
}

// Nodes first .. count - 1. `network` gives node(i) besides, and output(node), where its state is to be put;
// visit(i, node, in, out) sees every node.
template <class Network, class S, class Visit>
FISHERFIELD_HD FISHERFIELD_INLINE Outcome evaluate(Network& network, int first, int count, const S& settings,
                                                   Visit&& visit) {
    for (int i = first; i < count; ++i) {
        const Node& node = network.node(i);
        const State<Scaled>& in = network.input(node.input);
        State<Scaled>& out = network.output(node);
        const Status status = with_law(network, node, settings, [&](const auto& law) { out = apply(law, in); });
        if (status != Status::ok) {
            return {status, i};
        }
        visit(i, node, in, out);
    }
    return {Status::ok, count - 1};
}

} // namespace fisherfield
