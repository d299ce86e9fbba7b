// SPDX-License-Identifier: BSD-3-Clause
// Where the taps of windows lie.
#pragma once

#include <vector>

#include "fisherfield/network.hpp"

namespace fisherfield::sampled_units {

// For every tap of a window the position of the image that it reads, of each window; -1 in the padding.
inline std::vector<std::vector<int>> taps_of(const Pair& image, const Windows& windows) {
    const Pair size = windows.on(image);
    std::vector<std::vector<int>> taps;
    for (int i = 0; i < windows.kernel[0]; ++i) {
        for (int j = 0; j < windows.kernel[1]; ++j) {
            std::vector<int>& reads = taps.emplace_back();
            for (int y = 0; y < size[0]; ++y) {
                for (int x = 0; x < size[1]; ++x) {
                    const int row = y * windows.stride[0] + i * windows.dilation[0] - windows.padding[0];
                    const int column = x * windows.stride[1] + j * windows.dilation[1] - windows.padding[1];
                    const bool inside = row >= 0 && row < image[0] && column >= 0 && column < image[1];
                    reads.push_back(inside ? row * image[1] + column : -1);
                }
            }
        }
    }
    return taps;
}

} // namespace fisherfield::sampled_units
