// SPDX-License-Identifier: BSD-3-Clause
// The shape of activations, and the windows that slide over them.
#pragma once

#include <cstdint>

#include "fisherfield/network.hpp"

namespace fisherfield::finite_network {

struct Image {
    int channels;
    Pair size;
    long positions() const { return static_cast<long>(size[0]) * size[1]; }
    long units() const { return positions() * channels; }
};

inline Image slid(const Image& image, const Windows& w, int channels) { return {channels, w.on(image.size)}; }

// body(row of the output, tap, position of the input) for every tap that lies on the image; outside is zero.
template <class Body>
void taps(const Image& in, const Image& out, const Windows& w, const Body& body) {
    for (int y = 0; y < out.size[0]; ++y) {
        for (int x = 0; x < out.size[1]; ++x) {
            for (int dy = 0; dy < w.kernel[0]; ++dy) {
                const std::int64_t from_y =
                    std::int64_t{y} * w.stride[0] + std::int64_t{dy} * w.dilation[0] - w.padding[0];
                const bool on_rows = from_y >= 0 && from_y < in.size[0];
                for (int dx = 0; dx < w.kernel[1]; ++dx) {
                    const std::int64_t from_x =
                        std::int64_t{x} * w.stride[1] + std::int64_t{dx} * w.dilation[1] - w.padding[1];
                    const bool inside = on_rows && from_x >= 0 && from_x < in.size[1];
                    body(static_cast<long>(y) * out.size[1] + x, dy * w.kernel[1] + dx,
                         inside ? static_cast<long>(from_y * in.size[1] + from_x) : -1L);
                }
            }
        }
    }
}

} // namespace fisherfield::finite_network
