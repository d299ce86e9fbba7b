// SPDX-License-Identifier: BSD-3-Clause
// Every position of an image several times, side by side.
#include <utility>

#include "positions.hpp"
#include "threads.hpp"

namespace fisherfield {

namespace {

// What stood at pairs of positions, at pairs of those that repeat them; of positions that share nothing only those that
// repeat the same one share what it had.
Matrix repeated(const Matrix& h, const std::vector<long>& source, long positions) {
    const long places = static_cast<long>(source.size());
    Matrix out{std::vector<double>(places * places), h.exponent};
    parallel_for(places, [&](long a) {
        double* row = out.entries.data() + a * places;
        for (long b = 0; b < places; ++b) {
            const double alone = source[a] == source[b] ? h.entries[source[a]] : 0.0;
            row[b] = h.diagonal ? alone : h.entries[source[a] * positions + source[b]];
        }
    });
    return out;
}

// `apart` of the input's positions, which differ by half of both lengths.
Matrix apart_of_input(const Matrix& xy, const Matrix& v) {
    const long positions = static_cast<long>(xy.entries.size());
    const int exponent = std::max(xy.exponent, v.exponent);
    Matrix full{std::vector<double>(positions * positions), exponent};
    for (long a = 0; a < positions; ++a) {
        for (long b = 0; b < positions; ++b) {
            full.entries[a * positions + b] =
                a == b ? 0.0 : 0.5 * rescaled(xy.at(a) + v.at(a) + xy.at(b) + v.at(b), exponent);
        }
    }
    return full;
}

} // namespace

ImageState upsample(const Pair& times, ImageState h) {
    const Pair size{h.size[0] * times[0], h.size[1] * times[1]};
    const long positions = h.positions();
    std::vector<long> source(static_cast<std::size_t>(size[0]) * size[1]);
    for (std::size_t a = 0; a < source.size(); ++a) {
        const long row = static_cast<long>(a) / size[1], column = static_cast<long>(a) % size[1];
        source[a] = row / times[0] * h.size[1] + column / times[1];
    }
    if (h.apart.diagonal) {
        h.apart = apart_of_input(h.xy, h.v);
    }
    for (Matrix* const matrix : {&h.apart, &h.xy, &h.v, &h.o, &h.d}) {
        *matrix = repeated(*matrix, source, positions);
    }
    if (!h.means.empty()) {
        std::vector<double> means(source.size());
        for (std::size_t a = 0; a < source.size(); ++a) {
            means[a] = h.means[source[a]];
        }
        h.means = std::move(means);
    }
    h.size = size;
    return h;
}

} // namespace fisherfield
