// SPDX-License-Identifier: BSD-3-Clause
// phi of units: h <- phi(h), and slopes times phi'(h).
#include <algorithm>

#include "kinds.hpp"

namespace fisherfield::sampled_units {

namespace {

constexpr long kChunk = 1024; // numbers at a time

void apply(const Activation& phi, float* h, float* slope, long count) {
    if (phi.kind == fisherfield::Kind::relu) {
        for (long i = 0; i < count; ++i) {
            slope[i] = h[i] > 0.0F ? 1.0F : 0.0F;
            h[i] = std::max(h[i], 0.0F);
        }
        return;
    }
    double x[kChunk], values[kChunk], slopes[kChunk];
    for (long first = 0; first < count; first += kChunk) {
        const long here = std::min(kChunk, count - first);
        std::copy_n(h + first, here, x);
        evaluate(phi, x, values, slopes, static_cast<int>(here));
        for (long i = 0; i < here; ++i) {
            h[first + i] = static_cast<float>(values[i]);
            slope[first + i] = static_cast<float>(slopes[i]);
        }
    }
}

Value phi(Room& room, const Node& node, Inputs in) {
    const Activation& activation = room.network.activations[node.activation];
    if (activation.kind == fisherfield::Kind::linear) {
        return in.first.units ? std::move(in.first) : Value{settled(room, std::move(in.first.averages)), nullptr};
    }
    auto units = as_units(room, std::move(in.first), node.place);
    if (units.use_count() > 1) {
        units = std::make_shared<Units>(*units);
    }
    units->h = writable(room, std::move(units->h));
    Array<float> slope(room, units->numbers());
    if (!room.rehearsal) {
        apply(activation, units->h->data(), slope.data(), static_cast<long>(units->numbers()));
    }
    multiply_slopes(room, units.get(), slope.data());
    return {nullptr, units};
}

const Entered entered({.kind = LayerKind::phi, .takes_gaussian = true, .of_units = phi});

} // namespace

} // namespace fisherfield::sampled_units
