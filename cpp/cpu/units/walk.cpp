// SPDX-License-Identifier: BSD-3-Clause
#include "walk.hpp"

#include <utility>

#include "failure.hpp"
#include "kinds.hpp"
#include "threads.hpp"

namespace fisherfield::sampled_units {

namespace {

// Whether anything that reads a node needs its units.
std::vector<char> kept_units(const Network& network) {
    std::vector<char> kept(network.nodes.size());
    for (std::size_t i = network.nodes.size(); i-- > 0;) {
        const Node& node = network.nodes[i];
        const Kind& kind = kind_of(node);
        if (kind.of_units != nullptr && (kept[i] || kind.of_averages == nullptr)) {
            for (const int input : {node.input, node.other}) {
                if (input >= 0) {
                    kept[input] = 1;
                }
            }
        }
    }
    return kept;
}

// The inputs' positions, with nothing before them.
std::shared_ptr<Averages> data(Room& room) {
    auto out = std::make_shared<Averages>();
    out->size = room.network.input_size;
    const long k = out->positions();
    const auto diagonal = [&](double value) {
        Matrix to = matrix(room, k);
        each(room, k * k, [&](long i) { (*to)[i] = i / k == i % k ? value : 0.0; });
        return to;
    };
    const auto copied = [&](const std::vector<double>& from) {
        Matrix to = matrix(room, k);
        each(room, k * k, [&](long i) { (*to)[i] = from[i]; });
        return to;
    };
    if (!room.how.v.empty()) {
        out->xy = copied(room.how.xy);
        out->v = copied(room.how.v);
        return out;
    }
    out->xy = room.settings.overlap != 0.0 ? diagonal(room.settings.overlap) : nullptr;
    out->v = diagonal(room.settings.length - room.settings.overlap);
    return out;
}

class Walk {
public:
    Walk(const Network& network, const Settings& settings, const Drawing& how, int group, int only, bool rehearsal)
        : room_{network, settings, how, group, only, rehearsal}, kept_(kept_units(network)),
          values_(network.nodes.size() + 1), readers_(network.nodes.size() + 1) {
        for (const Node& node : network.nodes) {
            for (const int input : {node.input, node.other}) {
                if (input != kNone) {
                    ++readers_[input + 1];
                }
            }
        }
        values_[0].averages = data(room_);
    }

    Passed run() {
        Passed out;
        const int count = static_cast<int>(room_.network.nodes.size());
        for (int i = 0; i < count; ++i) {
            values_[i + 1] = map(i, &out.rows);
        }
        const auto end = settled(room_, whole(room_, averaged(room_, values_[count])));
        if (!room_.rehearsal) {
            out.kernel = of_position(room_, {end, nullptr}).kernel;
        }
        return out;
    }

    Needs needs() const { return {room_.meter.peak, room_.meter.products, room_.meter.written}; }

private:
    Value take(int input) { // of the last reader its own
        Value& value = values_[input + 1];
        return --readers_[input + 1] > 0 ? value : std::exchange(value, {});
    }

    Value map(int i, std::vector<Row>* rows) {
        const Node& node = room_.network.nodes[i];
        const Kind& kind = kind_of(node);
        Inputs in{take(node.input), node.other == kNone ? Value{} : take(node.other)};
        if (!row_of(node.kind).normalises) {
            in.first.averages = whole(room_, std::move(in.first.averages));
            in.second.averages = whole(room_, std::move(in.second.averages));
        }
        const bool averages = !in.first.units && kind.of_averages != nullptr;
        if (kind.of_units != nullptr && !averages && (kind.of_averages == nullptr || kept_[i])) {
            const State<Scaled> before = kind.affine ? of_position(room_, activations(in.first)) : State<Scaled>{};
            Value out = kind.of_units(room_, node, std::move(in));
            add_row(kind, node, before, out, rows);
            return out;
        }
        auto read = averaged(room_, in.first);
        in = {};
        read = kind.takes_gaussian ? read : settled(room_, std::move(read));
        const State<Scaled> before = kind.affine ? of_position(room_, {read, nullptr}) : State<Scaled>{};
        Value out{kind.of_averages(room_, node, std::move(read)), nullptr};
        add_row(kind, node, before, out, rows);
        return out;
    }

    // What an affine layer reads, where its units come in as they are.
    Value activations(const Value& in) { return in.averages ? Value{settled(room_, in.averages), nullptr} : in; }

    void add_row(const Kind& kind, const Node& node, const State<Scaled>& before, const Value& out,
                 std::vector<Row>* rows) {
        if (kind.affine && !room_.rehearsal) {
            rows->push_back({node.fan_in, before, of_position(room_, out)});
        }
    }

    Room room_;
    std::vector<char> kept_;
    std::vector<Value> values_; // the data, then of each node
    std::vector<int> readers_;  // that are still to come
};

} // namespace

Needs needs_of_pass(const Network& network, const Settings& settings, const Drawing& how) {
    Walk walk(network, settings, how, 0, -1, true);
    walk.run();
    return walk.needs();
}

std::vector<Passed> passes(const Network& network, const Settings& settings, const Drawing& how, int threads,
                           int only) {
    std::vector<Passed> out(kGroups);
    parallel_for(
        kGroups,
        [&](long group) { out[group] = Walk(network, settings, how, static_cast<int>(group), only, false).run(); },
        threads);
    return out;
}

} // namespace fisherfield::sampled_units
