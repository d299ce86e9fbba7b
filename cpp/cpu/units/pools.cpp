// SPDX-License-Identifier: BSD-3-Clause
// Pooling, repeating and flattening. Of units every tap becomes one for each tap of the window, with its share; of
// averages average pooling is H <- P H P^T.
#include <algorithm>
#include <cstdint>
#include <numeric>

#include "kinds.hpp"
#include "normals.hpp"
#include "pooled.hpp"

namespace fisherfield::sampled_units {

namespace {

Value average_units(Room& room, const Node& node, Inputs in) {
    const auto units = as_units(room, std::move(in.first), node.place);
    const Taps taps = taps_of(units->size, node.windows);
    const float share = 1.0F / static_cast<float>(taps.size());
    return {nullptr,
            shared(room, *units, node.windows.on(units->size), taps, [&](long, std::size_t) { return share; })};
}

// The largest of every window, of equals the first; never the padding.
Value largest(Room& room, const Node& node, Inputs in) {
    const auto units = as_units(room, std::move(in.first), node.place);
    const Taps taps = taps_of(units->size, node.windows);
    const long k = static_cast<long>(taps[0].size()), before = units->positions();
    Array<int> picked(room, static_cast<std::size_t>(units->rows()) * k); // where it lies
    each(room, units->rows(), [&](long row) {
        const float* const h = units->h->data() + row * before;
        int* const pick = picked.data() + row * k;
        std::fill_n(pick, k, -1);
        for (const std::vector<int>& tap : taps) {
            for (long a = 0; a < k; ++a) {
                if (tap[a] >= 0 && (pick[a] < 0 || h[tap[a]] > h[pick[a]])) {
                    pick[a] = tap[a];
                }
            }
        }
    });
    const auto all = [&](long row, const float* from, float* to) {
        const int* const pick = picked.data() + row * k;
        for (long a = 0; a < k; ++a) {
            to[a] = pick[a] >= 0 ? from[pick[a]] : 0.0F;
        }
    };
    const auto one = [&](long row, const float* from, const std::vector<int>& tap, float* to) {
        const int* const pick = picked.data() + row * k;
        for (long a = 0; a < k; ++a) {
            to[a] = tap[a] >= 0 && pick[a] == tap[a] ? from[pick[a]] : 0.0F;
        }
    };
    return {nullptr,
            pooled(room, *units, node.windows.on(units->size), taps, Pooling<decltype(all), decltype(one)>{all, one})};
}

// Which of the units carry a channel of the narrower layer, 1 or 0: a share from/to, drawn for this layer alone, for of
// the units that one skip carries the next carries the same share. Pairs (z, -z) stay pairs.
std::vector<float> carriers(const Room& room, const Node& node, long half) {
    constexpr std::uint64_t kWhich = 9; // of a step's draws
    const std::uint64_t key = key_of(room.how.seed, room.group, node.place, kWhich);
    std::vector<std::uint64_t> coins(half);
    for (long i = 0; i < half; ++i) {
        coins[i] = bits(unit_key(key, i), 0);
    }
    std::vector<long> order(half);
    std::iota(order.begin(), order.end(), 0L);
    std::stable_sort(order.begin(), order.end(), [&](long i, long j) { return coins[i] < coins[j]; });
    const auto from = static_cast<long>(node.numbers[0]), to = static_cast<long>(node.numbers[1]);
    std::vector<float> out(half, 0.0F);
    for (long place = 0; place < half * from / to; ++place) {
        out[order[place]] = 1.0F;
    }
    return out;
}

// Every stride-th position; of the units as many carry a channel of the narrower layer as it has, the others are 0.
Value subsample(Room& room, const Node& node, Inputs in) {
    const auto units = as_units(room, std::move(in.first), node.place);
    const Taps taps = taps_of(units->size, node.windows);
    const long half = units->count / 2;
    const std::vector<float> carries = carriers(room, node, half);
    return {nullptr, shared(room, *units, node.windows.on(units->size), taps,
                            [&](long row, std::size_t) { return carries[(row / units->reads) % half]; })};
}

// Rows first, then columns: (P H) P^T.
Matrix pooled(Room& room, const Matrix& from, long before, const Taps& taps) {
    if (!from) {
        return nullptr;
    }
    const long k = static_cast<long>(taps[0].size());
    Array<double> rows(room, static_cast<std::size_t>(k) * before);
    Matrix out = matrix(room, k);
    const double share = 1.0 / static_cast<double>(taps.size());
    each(room, k, [&](long a) {
        double* const row = rows.data() + a * before;
        std::fill_n(row, before, 0.0);
        for (const std::vector<int>& tap : taps) {
            for (long b = 0; tap[a] >= 0 && b < before; ++b) {
                row[b] += share * (*from)[static_cast<long>(tap[a]) * before + b];
            }
        }
        for (long b = 0; b < k; ++b) {
            double sum = 0.0;
            for (const std::vector<int>& tap : taps) {
                sum += tap[b] >= 0 ? row[tap[b]] : 0.0;
            }
            (*out)[a * k + b] = share * sum;
        }
    });
    return out;
}

std::shared_ptr<Averages> means(Room& room, const Pair& size, const Taps& taps, std::shared_ptr<Averages> in) {
    auto out = std::make_shared<Averages>();
    out->size = size;
    const long before = in->positions();
    out->xy = pooled(room, in->xy, before, taps);
    out->v = pooled(room, in->v, before, taps);
    out->o = pooled(room, in->o, before, taps);
    out->d = pooled(room, in->d, before, taps);
    if (!in->mean.empty()) {
        out->mean.assign(out->positions(), 0.0);
        for (const std::vector<int>& tap : taps) {
            for (std::size_t a = 0; a < tap.size(); ++a) {
                out->mean[a] += tap[a] < 0 ? 0.0 : in->mean[tap[a]] / static_cast<double>(taps.size());
            }
        }
    }
    return out;
}

std::shared_ptr<Averages> average(Room& room, const Node& node, std::shared_ptr<Averages> in) {
    const Pair size = node.windows.on(in->size);
    const Taps taps = taps_of(in->size, node.windows);
    return means(room, size, taps, std::move(in));
}

Pair repeated(const Pair& size, const Pair& times) { return {size[0] * times[0], size[1] * times[1]}; }

// Every position so many times is a window of one tap.
Taps repetitions(const Pair& image, const Pair& times) {
    const Pair size = repeated(image, times);
    std::vector<int> reads;
    for (int y = 0; y < size[0]; ++y) {
        for (int x = 0; x < size[1]; ++x) {
            reads.push_back(y / times[0] * image[1] + x / times[1]);
        }
    }
    return {reads};
}

Value upsample_units(Room& room, const Node& node, Inputs in) {
    const auto units = as_units(room, std::move(in.first), node.place);
    const Pair &times = node.windows.stride, size = repeated(units->size, times);
    return {nullptr,
            shared(room, *units, size, repetitions(units->size, times), [](long, std::size_t) { return 1.0F; })};
}

std::shared_ptr<Averages> upsample(Room& room, const Node& node, std::shared_ptr<Averages> in) {
    const Pair &times = node.windows.stride, size = repeated(in->size, times);
    const Taps taps = repetitions(in->size, times);
    return means(room, size, taps, std::move(in));
}

// Different positions are different units: means of the diagonals.
std::shared_ptr<Averages> flatten(Room& room, const Node&, std::shared_ptr<Averages> in) {
    const long k = in->positions();
    auto out = std::make_shared<Averages>();
    for (auto [from, to] : {std::pair{&in->xy, &out->xy}, {&in->v, &out->v}, {&in->o, &out->o}, {&in->d, &out->d}}) {
        if (*from) {
            *to = matrix(room, 1);
            each(room, 1, [&](long) {
                double sum = 0.0;
                for (long a = 0; a < k; ++a) {
                    sum += (**from)[a * k + a];
                }
                (**to)[0] = sum / static_cast<double>(k);
            });
        }
    }
    if (!in->mean.empty()) {
        out->mean = {std::accumulate(in->mean.begin(), in->mean.end(), 0.0) / static_cast<double>(k)};
    }
    return out;
}

const Entered entered_average({.kind = LayerKind::average_pool, .of_averages = average, .of_units = average_units});
const Entered entered_upsample({.kind = LayerKind::upsample, .of_averages = upsample, .of_units = upsample_units});
const Entered entered_max({.kind = LayerKind::max_pool, .takes_gaussian = true, .of_units = largest});
const Entered entered_subsample({.kind = LayerKind::subsample, .takes_gaussian = true, .of_units = subsample});
const Entered entered_flatten({.kind = LayerKind::flatten, .of_averages = flatten, .of_units = flatten_units});

} // namespace

} // namespace fisherfield::sampled_units
