// SPDX-License-Identifier: BSD-3-Clause
// A described network as the host holds it: stages in order, convolutional ones with their geometry.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "fisherfield/network.hpp"

namespace fisherfield {

using Pair = std::array<int, 2>; // height, width

// Windows of `kernel` positions, every `stride`, on an image with `padding` zeros around it.
struct Windows {
    Pair kernel{1, 1}, stride{1, 1}, padding{0, 0};

    // How many there are; the padded image may have more positions than an int counts.
    Pair on(const Pair& image) const {
        Pair out{};
        for (int side = 0; side < 2; ++side) {
            const std::int64_t last = image[side] + 2 * std::int64_t{padding[side]} - kernel[side];
            out[side] = static_cast<int>(last / stride[side] + 1);
        }
        return out;
    }
};

struct Stage {
    enum class Kind { dense, conv2d, average_pool, flatten };
    Kind kind;
    Windows windows; // conv2d, average_pool
};

struct DescribedNetwork {
    int channels = 1; // of the input; its units if it is no image
    Pair size{1, 1};
    bool image = false;
    double outputs = 1.0;
    std::vector<Stage> stages;
    std::vector<Block> blocks; // one for each dense and conv2d stage, in order
};

} // namespace fisherfield
