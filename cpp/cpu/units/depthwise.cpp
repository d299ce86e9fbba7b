// SPDX-License-Identifier: BSD-3-Clause
// Depthwise convolutions: a unit stays itself, and meets few weights of its own, which are drawn. The specification is
// reference/layers/depthwise.py.
#include <algorithm>
#include <cmath>

#include "kinds.hpp"
#include "normals.hpp"
#include "pooled.hpp"
#include "products.hpp"

namespace fisherfield::sampled_units {

namespace {

enum Draw : std::uint64_t { kWeights = 20, kBiases = 21 }; // of a step's draws

// (count x taps), normal of variance sigma_w2/taps. As many units as there are taps have weights that are orthogonal to
// each other, and all together have the mean square of the law.
std::vector<float> weights_of(const Room& room, const Node& node, long count, long taps) {
    const std::uint64_t key = key_of(room.how.seed, room.group, node.place, kWeights);
    std::vector<double> w(static_cast<std::size_t>(count) * taps), length(count);
    double squares = 0.0;
    for (long i = 0; i < count; ++i) {
        double own = 0.0;
        for (long t = 0; t < taps; ++t) {
            double& number = w[i * taps + t];
            number = normal_quantile(uniform(bits(unit_key(key, i), t)));
            own += number * number;
        }
        length[i] = std::sqrt(own);
        squares += own;
    }
    for (long first = 0; first < count; first += taps) {
        orthonormalise(w.data() + first * taps, std::min(taps, count - first), taps);
    }
    const double scale = std::sqrt(node.numbers[0] * static_cast<double>(count) / squares);
    std::vector<float> out(w.size());
    for (std::size_t at = 0; at < w.size(); ++at) {
        out[at] = static_cast<float>(scale * length[at / taps] * w[at]);
    }
    return out;
}

// Of each unit; of a pair the second has the first one's with the other sign.
std::vector<float> biases_of(const Room& room, const Node& node, long half) {
    std::vector<float> out = quantiles(key_of(room.how.seed, room.group, node.place, kBiases), half);
    const auto root = static_cast<float>(std::sqrt(node.numbers[1]));
    std::transform(out.begin(), out.end(), out.begin(), [root](float x) { return root * x; });
    out.resize(2 * half);
    std::transform(out.begin(), out.begin() + half, out.begin() + half, [](float x) { return -x; });
    return out;
}

// What each tap reads.
Floats seen(Room& room, const Floats& h, long rows, long before, const std::vector<int>& tap) {
    const long k = static_cast<long>(tap.size());
    Floats out = floats(room, static_cast<std::size_t>(rows) * k);
    each(room, rows, [&](long row) {
        for (long a = 0; a < k; ++a) {
            (*out)[row * k + a] = tap[a] < 0 ? 0.0F : (*h)[row * before + tap[a]];
        }
    });
    return out;
}

Value depthwise(Room& room, const Node& node, Inputs in) {
    const auto before = as_units(room, std::move(in.first), node.place);
    const Taps taps = taps_of(before->size, node.windows);
    const long count = static_cast<long>(taps.size());
    std::vector<float> w, b;
    if (!room.rehearsal) {
        w = weights_of(room, node, before->count, count);
    }
    auto out = shared(room, *before, node.windows.on(before->size), taps, [&](long row, std::size_t tap) {
        return w[row / before->reads * count + static_cast<long>(tap)];
    });
    if (node.numbers[1] > 0.0 && !room.rehearsal) {
        b = biases_of(room, node, before->count / 2);
        const long size = out->reads * out->positions();
        for (long at = 0; at < static_cast<long>(out->numbers()); ++at) {
            (*out->h)[at] += b[at / size];
        }
    }
    if (room.owns(node)) {
        for (const std::vector<int>& tap : taps) {
            const Floats h = seen(room, before->h, before->rows(), before->positions(), tap);
            out->lows.push_back({h, h, 0.5F});
        }
        if (room.settings.biases && node.trained) {
            const Floats one = floats(room, out->numbers());
            each(room, static_cast<long>(one->size()), [&](long at) { (*one)[at] = 1.0F; });
            out->lows.push_back({one, one, 0.5F});
        }
    }
    return {nullptr, out};
}

const Entered entered({.kind = LayerKind::depthwise, .takes_gaussian = true, .of_units = depthwise, .affine = true});

} // namespace

} // namespace fisherfield::sampled_units
