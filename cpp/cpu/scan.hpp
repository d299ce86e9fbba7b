// SPDX-License-Identifier: BSD-3-Clause
// The whole chain for every point of a box of parameters.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "described_network.hpp"
#include "fisherfield/scan.hpp"
#include "table.hpp"

namespace fisherfield {

// A parameter that varies over the box: value = data[sum of strides[i] index[i]].
struct Slot {
    Field field;
    int layer; // affine, from 0; -1: all that have the field
    const double* data;
    std::vector<long> strides;

    double at(const std::vector<long>& index) const {
        long place = 0;
        for (std::size_t i = 0; i < index.size(); ++i) {
            place += strides[i] * index[i];
        }
        return data[place];
    }
};

struct ScanRequest {
    const DescribedNetwork& network;
    Settings settings;
    Descent descent;
    Loss loss;
    std::vector<long> shape; // of the box, C order
    std::vector<Slot> slots; // of several for one parameter the last one holds
    std::vector<Quantity> quantities;
    int threads;
    std::vector<std::shared_ptr<const Table>> tables; // of each affine layer's activation, or none
};

// `out`: an array for each quantity, of a point or of a point's layers; `status`: one of each point. `pause(done)` is
// called now and then by the calling thread; what it throws ends the work.
void scan(const ScanRequest& request, const std::vector<double*>& out, std::int8_t* status,
          const std::function<void(long)>& pause);

} // namespace fisherfield
