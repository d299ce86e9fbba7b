// SPDX-License-Identifier: BSD-3-Clause
// Maps that move windows over an image: a convolution's and average pooling's.
#include <algorithm>
#include <utility>

#include "positions.hpp"
#include "threads.hpp"

namespace fisherfield {

namespace {

// Where the windows' taps lie.
struct Taps {
    Windows windows;
    Pair image, size;
    long count, places; // taps of a window; windows

    Taps(Pair image, const Windows& w) : windows(w), image(image), size(w.on(image)) {
        places = static_cast<long>(size[0]) * size[1];
        count = static_cast<long>(w.kernel[0]) * w.kernel[1];
    }

    // From the first position of a window's stride to that of a tap, along one side.
    long offset(int side, long tap) const { return tap * windows.dilation[side] - windows.padding[side]; }

    // The position that a tap of window `place` reads; -1 in the padding.
    long source(long tap, long place) const {
        const long row = place / size[1] * windows.stride[0] + offset(0, tap / windows.kernel[1]);
        const long column = place % size[1] * windows.stride[1] + offset(1, tap % windows.kernel[1]);
        const bool inside = row >= 0 && row < image[0] && column >= 0 && column < image[1];
        return inside ? row * image[1] + column : -1;
    }

    // out[place] += share from[source(tap, place)] for every window, a row of windows at a time.
    void add(long tap, double share, const double* from, double* out) const {
        const long step = windows.stride[1], shift = offset(1, tap % windows.kernel[1]);
        const long first = shift < 0 ? (-shift + step - 1) / step : 0;
        const long last = std::min<long>(size[1], image[1] > shift ? (image[1] - shift + step - 1) / step : 0);
        for (long i = 0; i < size[0]; ++i) {
            const long row = i * windows.stride[0] + offset(0, tap / windows.kernel[1]);
            if (row >= 0 && row < image[0] && last > first) {
                add_multiple(out + i * size[1] + first, share, from + row * image[1] + shift + first * step, step,
                             last - first);
            }
        }
    }
};

// P[a, a'] = (1/|F|) sum_t H[s a + t, s a' + t]: both windows move together.
Matrix gather(const Taps& taps, const Matrix& h, long positions) {
    Matrix out{std::vector<double>(taps.places * taps.places), h.exponent};
    const double share = 1.0 / static_cast<double>(taps.count);
    parallel_for(taps.places, [&](long a) {
        double* row = out.entries.data() + a * taps.places;
        for (long tap = 0; tap < taps.count; ++tap) {
            const long source = taps.source(tap, a);
            if (source < 0) {
                continue;
            }
            if (h.diagonal) { // the same tap of two windows is one position only if the windows are one
                row[a] += share * h.entries[source];
            } else {
                taps.add(tap, share, h.entries.data() + source * positions, row);
            }
        }
    });
    return out;
}

// `apart` of windows: a sum over the taps of what their positions differ by, with a length where one lies in the
// padding and 0 where both do. Nothing is subtracted, and windows that see the same differ by 0. The input's positions,
// which share nothing, differ by half of both lengths.
Matrix gather_apart(const Taps& taps, const Matrix& apart, const Matrix& xy, const Matrix& v) {
    const long positions = static_cast<long>(taps.image[0]) * taps.image[1], step = xy.diagonal ? 1 : positions + 1;
    std::vector<std::vector<long>> outside(taps.count); // windows whose tap lies in the padding
    bool padded = false;
    for (long tap = 0; tap < taps.count; ++tap) {
        for (long place = 0; place < taps.places; ++place) {
            if (taps.source(tap, place) < 0) {
                outside[tap].push_back(place);
                padded = true;
            }
        }
    }
    Matrix out{std::vector<double>(taps.places * taps.places), apart.exponent};
    if (padded || apart.diagonal) {
        out.exponent = std::max({apart.exponent, xy.exponent, v.exponent});
    }
    std::vector<double> halves(positions);
    for (long a = 0; a < positions; ++a) {
        halves[a] = 0.5 * rescaled(std::max(xy.at(a * step) + v.at(a * step), Scaled(0.0)), out.exponent);
    }
    const double share = 1.0 / static_cast<double>(taps.count);
    const double scaled = share * rescaled({1.0, apart.exponent}, out.exponent);
    parallel_for(taps.places, [&](long a) {
        double* row = out.entries.data() + a * taps.places;
        for (long tap = 0; tap < taps.count; ++tap) {
            const long source = taps.source(tap, a);
            if (source < 0) {
                taps.add(tap, share, halves.data(), row);
                continue;
            }
            if (apart.diagonal) {
                taps.add(tap, share, halves.data(), row);
                for (long b = 0; b < taps.places; ++b) {
                    row[b] += share * halves[source];
                }
                continue;
            }
            taps.add(tap, scaled, apart.entries.data() + source * positions, row);
            for (const long b : outside[tap]) {
                row[b] += share * halves[source];
            }
        }
        row[a] = 0.0;
    });
    return out;
}

// A H A^T with A the matrix of window means.
Matrix pool(const Taps& taps, const Matrix& h, long positions) {
    if (h.diagonal) {
        Matrix full{std::vector<double>(positions * positions), h.exponent};
        for (long a = 0; a < positions; ++a) {
            full.entries[a * positions + a] = h.entries[a];
        }
        return pool(taps, full, positions);
    }
    const double share = 1.0 / static_cast<double>(taps.count), rounding = kRounding * 1e-2 * largest(h.entries);
    Matrix out{std::vector<double>(taps.places * taps.places), h.exponent};
    parallel_for(taps.places, [&](long a) {
        std::vector<double> mean(positions); // row a of A H
        for (long tap = 0; tap < taps.count; ++tap) {
            if (const long source = taps.source(tap, a); source >= 0) {
                add_multiple(mean.data(), share, h.entries.data() + source * positions, 1, positions);
            }
        }
        double* row = out.entries.data() + a * taps.places;
        for (long tap = 0; tap < taps.count; ++tap) {
            taps.add(tap, share, mean.data(), row);
        }
        for (long b = 0; b < taps.places; ++b) {
            row[b] =
                std::fabs(row[b]) <= rounding ? 0.0 : row[b]; // a mean that is taken out before is 0, not its rounding
        }
    });
    return out;
}

// What positions differ by, with the padding as one more, the last: 0 for every input, half a length from every other.
struct Framed {
    const Matrix& apart;
    const std::vector<double>& lengths;

    long padding() const { return static_cast<long>(lengths.size()); }
    double at(long a, long b) const { // b < a
        return a == padding() ? 0.5 * lengths[b] : apart.entries[a * padding() + b];
    }
};

// A tap is read by the first position that sees the same as its own.
std::vector<long> first_alike(const Framed& apart) {
    std::vector<long> first(apart.padding() + 1);
    for (long a = 0; a <= apart.padding(); ++a) {
        long b = 0;
        while (b < a && (first[b] != b || apart.at(a, b) != 0.0)) {
            ++b;
        }
        first[a] = b;
    }
    return first;
}

// Two windows w = n_a - n_b apart, n the taps that read each position: -w G w^T/2, an entry of A H A^T for n/|F|. What
// they share has been taken out as whole numbers, so that windows with the same content differ by 0.
double windows_apart(const std::vector<long>& a, const std::vector<long>& b, const Framed& apart) {
    std::vector<std::pair<long, double>> w;
    for (size_t i = 0, j = 0; i < a.size() || j < b.size();) {
        const long at = j == b.size() || (i < a.size() && a[i] < b[j]) ? a[i] : b[j];
        long count = 0;
        for (; i < a.size() && a[i] == at; ++i) {
            ++count;
        }
        for (; j < b.size() && b[j] == at; ++j) {
            --count;
        }
        if (count != 0) {
            w.emplace_back(at, static_cast<double>(count));
        }
    }
    double sum = 0.0;
    for (size_t i = 1; i < w.size(); ++i) {
        for (size_t j = 0; j < i; ++j) {
            sum -= w[i].second * w[j].second * apart.at(w[i].first, w[j].first);
        }
    }
    return std::max(sum, 0.0);
}

// Below this share of what it is a difference of, `apart` is summed again without what two windows share.
constexpr double kShared = 1e-4;

// `apart` of window means, with w = A_a - A_b whose sum, padding and all, is 0: w H w^T = -w G w^T, by what is left of
// it within windows.
void pool_apart(const Taps& taps, const Matrix& xy, const Matrix& v, Matrix* apart) {
    const long positions = static_cast<long>(taps.image[0]) * taps.image[1], step = xy.diagonal ? 1 : positions + 1;
    const int exponent = apart->diagonal ? std::max(xy.exponent, v.exponent) : apart->exponent;
    std::vector<double> length(positions);
    for (long a = 0; a < positions; ++a) {
        length[a] = rescaled(std::max(xy.at(a * step) + v.at(a * step), Scaled(0.0)), exponent);
    }
    if (apart->diagonal) {
        Matrix full{std::vector<double>(positions * positions), exponent};
        for (long a = 0; a < positions; ++a) {
            for (long b = 0; b < positions; ++b) {
                full.entries[a * positions + b] = a == b ? 0.0 : 0.5 * (length[a] + length[b]);
            }
        }
        *apart = std::move(full);
    }
    const Matrix within_image = std::move(*apart);
    const Framed before{within_image, length};
    *apart = pool(taps, within_image, positions);
    const std::vector<long> first = first_alike(before);
    std::vector<std::vector<long>> reads(taps.places); // sorted
    std::vector<double> within(taps.places), outside(taps.places), lengths(taps.places);
    const double share = 1.0 / static_cast<double>(taps.count);
    for (long a = 0; a < taps.places; ++a) {
        for (long tap = 0; tap < taps.count; ++tap) {
            const long source = taps.source(tap, a);
            reads[a].push_back(first[source < 0 ? positions : source]);
            (source < 0 ? outside : lengths)[a] += source < 0 ? share : share * length[source];
        }
        within[a] = 0.5 * (apart->entries[a * (taps.places + 1)] + outside[a] * lengths[a]);
        std::sort(reads[a].begin(), reads[a].end());
    }
    parallel_for(taps.places, [&](long a) {
        double* row = apart->entries.data() + a * taps.places;
        for (long b = 0; b < taps.places; ++b) {
            const double all = row[b] + 0.5 * (outside[a] * lengths[b] + outside[b] * lengths[a]);
            const double left = all - (within[a] + within[b]);
            row[b] = left > kShared * all ? left : share * share * windows_apart(reads[a], reads[b], before);
        }
    });
}

} // namespace

// Z = sigma_b2 + sigma_w2 P,   T <- C |F| P + 1 + (sigma_w2/|F|) sum_t T
ImageState convolve(const Node& node, ImageState h, bool biases, bool own) {
    const Taps taps(h.size, node.windows);
    const long k = h.positions();
    ImageState z;
    z.size = taps.size;
    const auto gathered = [&](Matrix* from) {
        Matrix out = gather(taps, *from, k);
        *from = {}; // at most six matrices live at a time
        return out;
    };
    z.apart = gather_apart(taps, h.apart, h.xy, h.v);
    h.apart = {};
    z.xy = gathered(&h.xy);
    z.v = gathered(&h.v);
    z.o = gathered(&h.o);
    z.d = gathered(&h.d);
    const Scaled w(node.numbers[0]), fan_in(own ? node.fan_in : 0.0);
    combine({{fan_in, &z.xy}, {w, &z.o}}, own && biases ? 1.0 : 0.0, &z.o);
    combine({{fan_in, &z.v}, {w, &z.d}}, 0.0, &z.d);
    combine({{w, &z.xy}}, 0.0, &z.xy);
    z.bias = node.numbers[1];
    combine({{w, &z.v}}, 0.0, &z.v);
    combine({{w, &z.apart}}, 0.0, &z.apart);
    return z;
}

ImageState average_pool(const Windows& windows, ImageState h) {
    const Taps taps(h.size, windows);
    const long k = h.positions();
    pool_apart(taps, h.xy, h.v, &h.apart);
    for (Matrix* matrix : {&h.xy, &h.v, &h.o, &h.d}) {
        *matrix = pool(taps, *matrix, k);
    }
    if (!h.means.empty()) {
        std::vector<double> means(taps.places);
        for (long tap = 0; tap < taps.count; ++tap) {
            taps.add(tap, 1.0 / static_cast<double>(taps.count), h.means.data(), means.data());
        }
        h.means = std::move(means);
    }
    h.size = taps.size;
    return h;
}

} // namespace fisherfield
