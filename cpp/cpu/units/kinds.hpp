// SPDX-License-Identifier: BSD-3-Clause
// What a kind of layer is to sampled units. A kind's own file enters it by a static object: adding one changes no other
// file.
#pragma once

#include "fisherfield/layers/layers.hpp"
#include "units.hpp"

namespace fisherfield::sampled_units {

// The averages or units that feed a node, and a second one where it reads two; taken over where nobody else reads them.
struct Inputs {
    Value first, second;
};

struct Kind {
    LayerKind kind;
    // Of averages; null: it has no such map. A Gaussian state comes in as it is where it takes one, else as
    // activations.
    std::shared_ptr<Averages> (*of_averages)(Room& room, const Node& node, std::shared_ptr<Averages> in) = nullptr;
    bool takes_gaussian = false;
    // Of units; null: what it reads is averaged first. Where it has both, averages are enough unless a layer behind it
    // reads units.
    Value (*of_units)(Room& room, const Node& node, Inputs in) = nullptr;
    bool affine = false; // it has weights, and is a row of what is said layer by layer
};

struct Entered {
    explicit Entered(Kind kind);
};

// Throws std::invalid_argument for a kind that has no map of units.
const Kind& kind_of(const Node& node);

// phi = identity of a Gaussian state: its mean joins lengths, and a kernel that goes with its units' values is
// averaged.
std::shared_ptr<Averages> settled(Room& room, std::shared_ptr<Averages> state);

// Of Flatten, whose positions become units; flatten.cpp.
Value flatten_units(Room& room, const Node& node, Inputs in);

// A state of one's own: matrices that others read are copied.
std::shared_ptr<Averages> own(Room& room, std::shared_ptr<Averages> state);

// With the bias in xy.
std::shared_ptr<Averages> whole(Room& room, std::shared_ptr<Averages> state);

} // namespace fisherfield::sampled_units
