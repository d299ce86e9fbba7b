// SPDX-License-Identifier: BSD-3-Clause
// Units whose positions are made of windows: every tap of a kernel becomes one for each tap of the window.
#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>
#include <vector>

#include "units.hpp"
#include "windows.hpp"

namespace fisherfield::sampled_units {

using Taps = std::vector<std::vector<int>>;

// What a pooling makes of a row of numbers: of all taps, and of one.
template <class All, class One>
struct Pooling {
    All all; // (row, from, to)
    One one; // (row, from, tap, to)
};

template <class All, class One>
std::shared_ptr<Units> pooled(Room& room, const Units& units, const Pair& size, const Taps& taps,
                              const Pooling<All, One>& pooling) {
    const long k = static_cast<long>(size[0]) * size[1], before = units.positions();
    auto out = std::make_shared<Units>();
    out->size = size;
    out->count = units.count;
    out->reads = units.reads;
    const auto of = [&](const Floats& from, const auto& rule) {
        Floats to = floats(room, static_cast<std::size_t>(units.rows()) * k);
        each(room, units.rows(), [&](long row) { rule(row, from->data() + row * before, to->data() + row * k); });
        return to;
    };
    out->h = of(units.h, pooling.all);
    for (const Term& term : units.terms) {
        Term& new_term = out->terms.emplace_back(Term{{}, term.o, term.d, term.positions});
        for (const Tap& inner : term.taps) {
            for (const std::vector<int>& tap : taps) {
                auto reads = std::make_shared<std::vector<int>>(k, -1);
                for (long a = 0; a < k; ++a) {
                    (*reads)[a] = tap[a] < 0 ? -1 : (*inner.reads)[tap[a]];
                }
                new_term.taps.push_back(
                    {of(inner.slopes, [&](long row, const float* from, float* to) { pooling.one(row, from, tap, to); }),
                     reads});
            }
        }
    }
    for (const Low& low : units.lows) {
        const Floats P = of(low.P, pooling.all);
        out->lows.push_back({P, low.P == low.Q ? P : of(low.Q, pooling.all), low.factor});
    }
    return out;
}

// Each tap of a window with its share of a row, share(row, tap).
template <class Share>
std::shared_ptr<Units> shared(Room& room, const Units& units, const Pair& size, const Taps& taps, const Share& share) {
    const auto add = [](const std::vector<int>& tap, float part, const float* from, float* to) {
        for (std::size_t a = 0; a < tap.size(); ++a) {
            to[a] += tap[a] >= 0 ? part * from[tap[a]] : 0.0F;
        }
    };
    const auto one = [&](long row, const float* from, const std::vector<int>& tap, float* to) {
        std::fill_n(to, tap.size(), 0.0F);
        add(tap, share(row, static_cast<std::size_t>(&tap - taps.data())), from, to);
    };
    const auto all = [&](long row, const float* from, float* to) {
        std::fill_n(to, taps[0].size(), 0.0F);
        for (std::size_t tap = 0; tap < taps.size(); ++tap) {
            add(taps[tap], share(row, tap), from, to);
        }
    };
    return pooled(room, units, size, taps, Pooling<decltype(all), decltype(one)>{all, one});
}

} // namespace fisherfield::sampled_units
