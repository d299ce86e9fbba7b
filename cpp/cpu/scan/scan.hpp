// SPDX-License-Identifier: BSD-3-Clause
// The whole network for every point of a box of parameters.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "box.hpp"
#include "fisherfield/quantities.hpp"
#include "table.hpp"

namespace fisherfield {

// What a scan may vary besides the numbers of layers.
enum class PointNumber { none, width, samples, overlap, length, momentum };
inline constexpr const char* kPointNumbers[] = {"", "width", "samples", "overlap", "length", "momentum"};

// A number of a node; or what it is multiplied with.
struct Place {
    int node, number;
    bool factor = false;
};

// A parameter that varies over the box: numbers of a point, or of all layers that have one of this name.
struct Slot {
    PointNumber point = PointNumber::none;
    std::vector<Place> places;
    Plane plane;

    bool holds(int node, int number) const;
    bool scales() const; // numbers that the network has, whatever they are
};

// By name, in one described layer (Node::place), or in all of them (-1). Throws std::invalid_argument for a name that
// there is not.
Slot slot_of(const Network& network, const std::string& name, int place, Plane plane);

// The slot that holds for a number: of several the last one. Null if there is none.
const Slot* slot_of(const std::vector<Slot>& slots, PointNumber point);
const Slot* slot_of(const std::vector<Slot>& slots, int node, int number);

struct ScanRequest {
    const Network& network;
    Settings settings;
    Descent descent;
    Loss loss;
    std::vector<long> shape; // of the box, C order
    std::vector<Slot> slots;
    std::vector<Quantity> quantities;
    int threads;
    std::vector<std::shared_ptr<const Table>> tables; // of each affine layer's activation, or none
    // Points where the bulk's edge may rule lambda_max have the status edge_not_computed. Unless it is sharp, the bound
    // may be a coarser one where it would cost time.
    Edges edges = {};
    bool sharp = false;
};

// `out`: an array for each quantity, of a point or of a point's layers; `status`: one of each point. `pause(done)` is
// called now and then by the calling thread; what it throws ends the work.
void scan(const ScanRequest& request, const std::vector<double*>& out, std::int8_t* status,
          const std::function<void(long)>& pause);

} // namespace fisherfield
