// SPDX-License-Identifier: BSD-3-Clause
// Affine layers read averages (layers/affine.hpp, positions/windows.cpp), and give Gaussian units.
#include "kinds.hpp"
#include "windows.hpp"

namespace fisherfield::sampled_units {

namespace {

// Positions that a tap reads one after the other, `step` apart.
struct Run {
    long to, from, count, step;
};

std::vector<Run> runs_of(const std::vector<int>& reads, long width, long step) {
    std::vector<Run> out;
    for (long first = 0; first < static_cast<long>(reads.size()); first += width) {
        long begin = first, end = first + width;
        while (begin < end && reads[begin] < 0) {
            ++begin;
        }
        while (end > begin && reads[end - 1] < 0) {
            --end;
        }
        if (end > begin) {
            out.push_back({begin, reads[begin], end - begin, step});
        }
    }
    return out;
}

// (1/|F|) sum_t M[s a + t, s a' + t]; null of zeros.
Matrix mean_over_taps(Room& room, const Matrix& from, long before, const std::vector<std::vector<int>>& taps,
                      const std::vector<std::vector<Run>>& runs) {
    if (!from) {
        return nullptr;
    }
    const long k = static_cast<long>(taps[0].size());
    Matrix out = matrix(room, k);
    const double share = 1.0 / static_cast<double>(taps.size());
    each(room, k, [&](long a) {
        double* const row = out->data() + a * k;
        std::fill_n(row, k, 0.0);
        for (std::size_t tap = 0; tap < taps.size(); ++tap) {
            if (taps[tap][a] < 0) {
                continue;
            }
            const double* const read = from->data() + static_cast<long>(taps[tap][a]) * before;
            for (const Run& run : runs[tap]) {
                double* const to = row + run.to;
                const double* const own = read + run.from;
                if (run.step == 1) {
                    for (long b = 0; b < run.count; ++b) {
                        to[b] += own[b];
                    }
                } else {
                    for (long b = 0; b < run.count; ++b) {
                        to[b] += own[b * run.step];
                    }
                }
            }
        }
        for (long b = 0; b < k; ++b) {
            row[b] *= share;
        }
    });
    return out;
}

std::shared_ptr<Averages> affine(Room& room, const Node& node, std::shared_ptr<Averages> in) {
    const long before = in->positions();
    const double w2 = node.numbers[0];
    const double bias = room.settings.biases && node.trained ? 1.0 : 0.0;
    const auto taps = taps_of(in->size, node.windows);
    auto out = std::make_shared<Averages>();
    out->gaussian = true;
    out->size = node.windows.on(in->size);
    const long k = out->positions();
    std::vector<std::vector<Run>> runs;
    for (const std::vector<int>& tap : taps) {
        runs.push_back(runs_of(tap, out->size[1], node.windows.stride[1]));
    }
    const auto mean = [&](const Matrix& from) { return mean_over_taps(room, from, before, taps, runs); };
    const auto there = [&](Matrix* of) {
        if (!*of) {
            *of = matrix(room, k);
            each(room, k * k, [&](long i) { (**of)[i] = 0.0; });
        }
    };
    out->xy = mean(in->xy);
    out->v = mean(in->v);
    out->o = mean(in->o);
    out->d = mean(in->d);
    for (Matrix* const each_one : {&out->xy, &out->o, &out->d}) {
        there(each_one);
    }
    const double fan = room.owns(node) ? node.fan_in : 0.0, one = room.owns(node) ? bias : 0.0;
    each(room, k * k, [&](long i) {
        double &xy = (*out->xy)[i], &v = (*out->v)[i], &o = (*out->o)[i], &d = (*out->d)[i];
        o = fan * xy + one + w2 * o;
        d = fan * v + w2 * d;
        xy *= w2;
        v *= w2;
    });
    out->bias = node.numbers[1];
    return out;
}

const Entered entered({.kind = LayerKind::affine, .of_averages = affine, .affine = true});

} // namespace

} // namespace fisherfield::sampled_units
