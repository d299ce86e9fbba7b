// SPDX-License-Identifier: BSD-3-Clause
#include "convolution.hpp"

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <unordered_map>
#include <utility>

#include "simd.hpp"
#include "threads.hpp"

namespace fisherfield {

namespace {

constexpr size_t kBlock = 1 << 14;  // entries a thread takes at a time
constexpr double kRounding = 1e-13; // what is left of a variance that is zero, relative to what it is a difference of

// body(begin, end) over blocks of `count` entries.
template <class Body>
void blocks(size_t count, Body&& body) {
    parallel_for(static_cast<long>((count + kBlock - 1) / kBlock),
                 [&](long block) { body(block * kBlock, std::min(count, (block + 1) * kBlock)); });
}

double largest(const std::vector<double>& entries) {
    std::vector<double> sizes((entries.size() + kBlock - 1) / kBlock);
    blocks(entries.size(), [&](size_t begin, size_t end) {
        double size = 0.0;
        for (size_t i = begin; i < end; ++i) {
            size = std::max(size, std::fabs(entries[i]));
        }
        sizes[begin / kBlock] = size;
    });
    return sizes.empty() ? 0.0 : *std::max_element(sizes.begin(), sizes.end());
}

// sum[i] += factor from[i step]
FISHERFIELD_SIMD void add_multiple(double* sum, double factor, const double* from, long step, long count) {
    if (step == 1) {
        for (long i = 0; i < count; ++i) {
            sum[i] += factor * from[i];
        }
    } else {
        for (long i = 0; i < count; ++i) {
            sum[i] += factor * from[i * step];
        }
    }
}

// The greatest exponent among numbers that are not 0.
class CommonExponent {
public:
    void include(Scaled x) {
        if (!is_zero(x)) {
            exponent_ = any_ ? std::max(exponent_, x.e) : x.e;
            any_ = true;
        }
    }
    int value() const { return exponent_; }

private:
    int exponent_ = 0;
    bool any_ = false;
};

// x as a multiple of 2^(512 exponent)
double rescaled(Scaled x, int exponent) { return x.e == exponent ? x.m : Scaled(x.m, x.e - exponent).value(); }

struct Term {
    Scaled coefficient;
    const Matrix* matrix;
};

// constant + sum of coefficient x matrix, entry by entry; `out` may be one of the matrices.
void combine(std::initializer_list<Term> terms, Scaled constant, Matrix* out) {
    CommonExponent common;
    common.include(constant);
    std::vector<Term> present; // a matrix of zeros has no size to choose an exponent by
    for (const Term& term : terms) {
        const Scaled size = term.coefficient * Scaled(largest(term.matrix->entries), term.matrix->exponent);
        common.include(size);
        if (!is_zero(size)) {
            present.push_back(term);
        }
    }
    const int exponent = common.value();
    const double add = rescaled(constant, exponent);
    out->entries.resize(terms.begin()->matrix->entries.size());
    blocks(out->entries.size(), [&](size_t begin, size_t end) {
        std::vector<double> sum(end - begin, add);
        for (const Term& term : present) {
            const Scaled& c = term.coefficient;
            add_multiple(sum.data(), rescaled({c.m, c.e + term.matrix->exponent}, exponent),
                         term.matrix->entries.data() + begin, 1, static_cast<long>(sum.size()));
        }
        std::copy(sum.begin(), sum.end(), out->entries.begin() + static_cast<std::ptrdiff_t>(begin));
    });
    out->exponent = exponent;
}

Scaled diagonal_mean(const Matrix& matrix, long positions) {
    const long step = matrix.diagonal ? 1 : positions + 1;
    double sum = 0.0;
    for (long a = 0; a < positions; ++a) {
        sum += matrix.entries[a * step];
    }
    return Scaled(sum / static_cast<double>(positions), matrix.exponent);
}

// Where the windows' taps lie.
struct Taps {
    Windows windows;
    Pair image, size;
    long count, places; // taps of a window; windows

    Taps(Pair image, const Windows& w) : windows(w), image(image), size(w.on(image)) {
        places = static_cast<long>(size[0]) * size[1];
        count = static_cast<long>(w.kernel[0]) * w.kernel[1];
    }

    // The position that a tap of window `place` reads; -1 in the padding.
    long source(long tap, long place) const {
        const long row = place / size[1] * windows.stride[0] + tap / windows.kernel[1] - windows.padding[0];
        const long column = place % size[1] * windows.stride[1] + tap % windows.kernel[1] - windows.padding[1];
        const bool inside = row >= 0 && row < image[0] && column >= 0 && column < image[1];
        return inside ? row * image[1] + column : -1;
    }

    // out[place] += share from[source(tap, place)] for every window, a row of windows at a time.
    void add(long tap, double share, const double* from, double* out) const {
        const long step = windows.stride[1], offset = tap % windows.kernel[1] - windows.padding[1];
        const long first = offset < 0 ? (-offset + step - 1) / step : 0;
        const long last = std::min<long>(size[1], image[1] > offset ? (image[1] - offset + step - 1) / step : 0);
        for (long i = 0; i < size[0]; ++i) {
            const long row = i * windows.stride[0] + tap / windows.kernel[1] - windows.padding[0];
            if (row >= 0 && row < image[0]) {
                add_multiple(out + i * size[1] + first, share, from + row * image[1] + offset + first * step, step,
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
            add_multiple(mean.data(), share, h.entries.data() + taps.source(tap, a) * positions, 1, positions);
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

// `apart` of window means, by what is left of it within windows: with w = A_a - A_b, whose sum is 0, w H w^T = -w G
// w^T.
void pool_apart(const Taps& taps, const Matrix& xy, const Matrix& v, Matrix* apart) {
    const long positions = static_cast<long>(taps.image[0]) * taps.image[1];
    if (apart->diagonal) {
        Matrix full{std::vector<double>(positions * positions), std::max(xy.exponent, v.exponent)};
        for (long a = 0; a < positions; ++a) {
            for (long b = 0; b < positions; ++b) {
                const Scaled sum = a == b ? Scaled(0.0) : xy.at(a) + v.at(a) + (xy.at(b) + v.at(b));
                full.entries[a * positions + b] = 0.5 * rescaled(sum, full.exponent);
            }
        }
        *apart = std::move(full);
    }
    *apart = pool(taps, *apart, positions);
    std::vector<double> within(taps.places);
    for (long a = 0; a < taps.places; ++a) {
        within[a] = apart->entries[a * (taps.places + 1)];
    }
    for (long a = 0; a < taps.places; ++a) {
        for (long b = 0; b < taps.places; ++b) {
            double& entry = apart->entries[a * taps.places + b];
            entry = std::max(entry - 0.5 * (within[a] + within[b]), 0.0);
        }
    }
}

// Row means of a symmetric matrix, and their mean.
std::pair<std::vector<double>, double> row_means(const Matrix& matrix, long positions) {
    std::vector<double> means(positions);
    double mean = 0.0;
    for (long a = 0; a < positions; ++a) {
        for (long b = 0; b < positions; ++b) {
            means[a] += matrix.entries[a * positions + b];
        }
        means[a] /= static_cast<double>(positions);
        mean += means[a];
    }
    return {std::move(means), mean / static_cast<double>(positions)};
}

// M - r_a - r_a' + m: what is left when the mean over positions is taken out on both sides.
void centre(Matrix* matrix, const std::vector<double>& means, double mean) {
    const long positions = static_cast<long>(means.size());
    for (long a = 0; a < positions; ++a) {
        for (long b = 0; b < positions; ++b) {
            matrix->entries[a * positions + b] -= means[a] + means[b] - mean;
        }
    }
}

// One entry's Gaussian: two variances and a correlation.
struct Argument {
    Scaled q1, q2, r; // r = sqrt(q1 q2)
    Correlation correlation;

    bool operator==(const Argument& other) const {
        return equal(q1, other.q1) && equal(q2, other.q2) && correlation.c == other.correlation.c &&
               equal(correlation.one_minus_c, other.correlation.one_minus_c);
    }
};

struct ArgumentHash {
    size_t operator()(const Argument& x) const {
        const std::hash<double> hash;
        size_t out = 0;
        for (double part : {x.q1.m, x.q2.m, x.correlation.c, x.correlation.one_minus_c.m}) {
            out = out * 1000003u + hash(part);
        }
        return out;
    }
};

// The Gaussians behind the entries of an image's matrices, and their integrals.
class Gaussians {
public:
    // u = gamma u_hat; the state holds the covariances of u_hat.
    Gaussians(const ImageState& z, const Activation& activation, Scaled gamma2, double shift)
        : z_(z), activation_(activation), gamma2_(gamma2), shift_(shift), positions_(z.positions()),
          homogeneous_(homogeneous(activation, &rays_) && shift == 0.0), jumps_(jumps(activation)) {
        for (long a = 0; a < positions_; ++a) {
            // below zero: the rounding of a variance that is zero
            const Scaled q = std::max(z.xy.at(index(a, a)) + z.v.at(index(a, a)), Scaled(0.0));
            lengths_.push_back({q, sqrt(q)});
        }
        if (!cheap(activation, shift)) {
            integrate();
        }
    }

    // Windows that see the same: one Gaussian, to the last bit.
    bool twins(long a, long b) const {
        return a == b || (is_zero(z_.apart.at(index(a, b))) && equal(lengths_[a].q, lengths_[b].q));
    }

    // Entry (a, b) for two inputs, that differ by v more than one; of twins 1 - c = v/q.
    Argument two_inputs(long a, long b) const {
        const Scaled q = lengths_[a].q;
        if (twins(a, b) && !is_zero(q)) {
            const Scaled v = std::max(z_.v.at(index(a, a)), Scaled(0.0)), u = gamma2_ * q;
            return {u, u, u, {(z_.xy.at(index(a, a)) / q).value(), v / q}};
        }
        return argument(lengths_[a], lengths_[b], z_.xy.at(index(a, b)),
                        z_.apart.at(index(a, b)) + z_.v.at(index(a, b)));
    }

    // Entry (a, b) for one input.
    Argument one_input(long a, long b) const {
        const Scaled q = gamma2_ * lengths_[a].q;
        return twins(a, b) ? Argument{q, q, q, {1.0, 0.0}}
                           : argument(lengths_[a], lengths_[b], z_.xy.at(index(a, b)) + z_.v.at(index(a, b)),
                                      z_.apart.at(index(a, b)));
    }

    // E [phi(u) - phi(w)]^2/2 from half the mean square of what u and w differ by (of u_hat), with E phi^2 and E phi'^2
    // of both. Where no integral has it, a mean slope's for small differences; else it is what is left of a
    // subtraction.
    Scaled apart(const Covariance& pair, const Argument& x, Scaled before, const Covariance& a,
                 const Covariance& b) const {
        before = gamma2_ * before;
        if (activation_.kind == Kind::linear) {
            return before;
        }
        if (equal(x.q1, x.q2)) {
            return pair.difference;
        }
        const bool same_size = (activation_.kind == Kind::step || activation_.kind == Kind::sign) && shift_ == 0.0;
        if (homogeneous_ || (same_size && !is_zero(x.r))) {
            const Scaled gap = same_size ? Scaled(0.0) : sqrt(a.value) - sqrt(b.value);
            return pair.difference + Scaled(0.5) * gap * gap;
        }
        // A slope's mean is right to the share of differences in all there is, its root where slopes jump; a
        // subtraction to eps over it.
        const Scaled least = Scaled(jumps_.slope ? 1e-11 : 1e-8) * std::min(x.q1, x.q2);
        if (!jumps_.value && before < least) {
            return before * Scaled(0.25) * (a.slope + b.slope + Scaled(2.0) * pair.slope);
        }
        return std::max((a.value - pair.value) + (b.value - pair.value), Scaled(0.0)) * Scaled(0.5);
    }

    Covariance operator()(const Argument& x) const {
        if (homogeneous_ && !is_zero(x.r)) {
            return closed_form::rays(rays_, x.r, x.correlation);
        }
        return known_.empty() ? covariance(activation_, x.q1, x.q2, x.correlation, shift_) : results_[known_.at(x)];
    }

    // gamma's gradient, E u_hat u_hat' phi' phi'; at gamma = 0 the slopes are those at the shift.
    Scaled trained_gamma(const Covariance& pair, const Argument& x, long a, long b) const {
        if (!is_zero(gamma2_)) {
            return pair.slope_pair / gamma2_;
        }
        return pair.slope * lengths_[a].root * lengths_[b].root * Scaled(x.correlation.c);
    }

private:
    // Length and its root, which every entry of a row needs.
    struct Length {
        Scaled q, root;
    };

    size_t index(long a, long b) const { return static_cast<size_t>(a * positions_ + b); }

    // apart = (q1 + q2)/2 - overlap
    Argument argument(const Length& x, const Length& y, Scaled overlap, Scaled apart) const {
        const Scaled r = x.root * y.root;
        Correlation correlation{1.0, 0.0};
        if (!is_zero(r)) {
            const Scaled gap = x.root - y.root, twice = apart + apart - gap * gap; // 2 r (1 - c)
            correlation.c = std::clamp((overlap / r).value(), -1.0, 1.0);
            correlation.one_minus_c = std::clamp(twice / (Scaled(2.0) * r), Scaled(0.0), Scaled(2.0));
        }
        // In one order, so that the matrix is symmetric to the last bit.
        const bool ordered = !(y.q < x.q);
        return {gamma2_ * (ordered ? x.q : y.q), gamma2_ * (ordered ? y.q : x.q), gamma2_ * r, correlation};
    }

    // Far positions share nothing and inner ones look alike: few Gaussians differ, and each costs a quadrature.
    void integrate() {
        std::vector<Argument> distinct;
        const auto remember = [&](const Argument& x) {
            if (known_.emplace(x, distinct.size()).second) {
                distinct.push_back(x);
            }
        };
        for (long a = 0; a < positions_; ++a) {
            for (long b = a; b < positions_; ++b) {
                remember(two_inputs(a, b));
                remember(one_input(a, b));
            }
        }
        results_.resize(distinct.size());
        parallel_for(static_cast<long>(distinct.size()), [&](long i) {
            const Argument& x = distinct[i];
            results_[i] = covariance(activation_, x.q1, x.q2, x.correlation, shift_);
        });
    }

    const ImageState& z_;
    const Activation& activation_;
    Scaled gamma2_;
    double shift_;
    long positions_;
    Rays rays_{};
    bool homogeneous_;
    Jumps jumps_;
    std::vector<Length> lengths_;
    std::unordered_map<Argument, size_t, ArgumentHash> known_;
    std::vector<Covariance> results_;
};

// One mean and variance per channel, over data and positions:
//     Z <- (Z[a, a'] - r_a - r_a' + m)/s2,   r_a the row means of Z_xy and m their mean
//     s2 = mean_a Z_xx[a, a] - m + eps
//     T <- (gamma^2/s2) T,   exact: first T - t_a - t_a' + t, with the row means of T_xy
Status normalise(const Block& block, Theory theory, ImageState* z) {
    const long k = z->positions();
    // The variance over the data is v's mean; what positions add to it is a difference, and 0 below its own rounding.
    const auto [means, mean] = row_means(z->xy, k);
    const Scaled length = diagonal_mean(z->xy, k), between = length - Scaled(mean, z->xy.exponent);
    const bool rounding = std::max(between, -between) <= Scaled(kRounding) * std::max(length, -length);
    const Scaled s2 = diagonal_mean(z->v, k) + (rounding ? Scaled(0.0) : between) + Scaled(block.eps);
    if (s2 <= Scaled(0.0)) {
        return Status::zero_variance;
    }
    std::vector<long> constant; // positions whose mean over the data is that over all positions
    for (long a = 0; a < k; ++a) {
        const double own = z->xy.entries[a * k + a],
                     size = std::fabs(own) + 2.0 * std::fabs(means[a]) + std::fabs(mean);
        if (std::fabs(own - 2.0 * means[a] + mean) <= kRounding * size) {
            constant.push_back(a);
        }
    }
    centre(&z->xy, means, mean);
    for (long a : constant) {
        for (long b = 0; b < k; ++b) {
            z->xy.entries[a * k + b] = z->xy.entries[b * k + a] = 0.0;
        }
    }
    if (theory == Theory::exact) {
        const auto [tangent_means, tangent_mean] = row_means(z->o, k);
        centre(&z->o, tangent_means, tangent_mean);
    }
    const Scaled share = Scaled(1.0) / s2, slope2 = Scaled(block.gamma) * Scaled(block.gamma) / s2;
    combine({{share, &z->xy}}, 0.0, &z->xy);
    combine({{share, &z->v}}, 0.0, &z->v);
    combine({{share, &z->apart}}, 0.0, &z->apart); // a mean that all positions lose changes no difference
    combine({{slope2, &z->o}}, 0.0, &z->o);
    combine({{slope2, &z->d}}, 0.0, &z->d);
    return Status::ok;
}

} // namespace

bool cheap(const Activation& activation, double shift) {
    Rays phi{};
    smoothed_step::Family smoothed{};
    if (smoothed_step::family(activation.kind, &smoothed)) {
        return smoothed.count == 1 && shift == 0.0;
    }
    switch (activation.kind) {
    case Kind::step:
    case Kind::sign:
        return shift == 0.0;
    default:
        return closed_covariance(activation.kind, shift) ||
               (homogeneous(activation, &phi) && (shift == 0.0 || activation.kind == Kind::linear));
    }
}

Preactivation<Scaled> ImageState::diagonal() const {
    const long k = positions();
    return {diagonal_mean(xy, k), diagonal_mean(v, k), diagonal_mean(o, k), diagonal_mean(d, k)};
}

ImageState image_input(Pair size, const Settings& settings) {
    ImageState h;
    h.size = size;
    const long k = h.positions();
    const auto diagonal = [k](double entry) { return Matrix{std::vector<double>(k, entry), 0, true}; };
    h.xy = diagonal(settings.overlap);
    h.v = diagonal(settings.length - settings.overlap);
    h.o = h.d = h.apart = diagonal(0.0);
    return h;
}

// Z = sigma_b2 + sigma_w2 P,   T <- C |F| P + 1 + (sigma_w2/|F|) sum_t T
ImageState convolve(const Block& block, const Windows& windows, ImageState h, bool biases, bool own) {
    const Taps taps(h.size, windows);
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
    const Scaled w(block.sigma_w2), fan_in(own ? block.fan_in : 0.0);
    combine({{fan_in, &z.xy}, {w, &z.o}}, own && biases ? 1.0 : 0.0, &z.o);
    combine({{fan_in, &z.v}, {w, &z.d}}, 0.0, &z.d);
    combine({{w, &z.xy}}, block.sigma_b2, &z.xy);
    combine({{w, &z.v}}, 0.0, &z.v);
    combine({{w, &z.apart}}, 0.0, &z.apart);
    return z;
}

// H = E phi phi,   T <- T E phi' phi',   entry by entry
Status activate(const Block& block, ImageState* z, const Settings& settings, bool own) {
    const long k = z->positions();
    const bool trained = block.batch_norm && block.trained && own;
    Scaled gamma2(1.0);
    if (block.batch_norm) {
        const Status status = normalise(block, settings.theory, z);
        if (status != Status::ok) {
            return status;
        }
        gamma2 = Scaled(block.gamma) * Scaled(block.gamma);
    }
    const Gaussians gaussians(*z, block.activation, gamma2, block.batch_norm ? block.beta : 0.0);
    std::atomic<Status> status{Status::ok};

    struct Entry {
        Scaled parts[5]; // of xy, v, o, d, apart
    };
    std::vector<Covariance> alone(k); // of every position with itself
    const auto entry = [&](long a, long b) {
        const size_t at = a * k + b;
        const bool equal = is_zero(z->v.at(at)); // positions that share nothing of the input
        const bool twins = gaussians.twins(a, b);
        const Argument two = gaussians.two_inputs(a, b), one = equal ? two : gaussians.one_input(a, b);
        const Covariance apart = gaussians(two), same = equal ? apart : gaussians(one);
        raise(&status, apart.status);
        raise(&status, same.status);
        // What one input's two values differ by, and what two inputs' do beyond that: of twins, an integral of its own.
        const Scaled before = z->apart.at(at);
        const Scaled after = twins ? Scaled(0.0) : gaussians.apart(same, one, before, alone[a], alone[b]);
        const Scaled rise = twins   ? apart.difference
                            : equal ? Scaled(0.0)
                                    : gaussians.apart(apart, two, before + z->v.at(at), alone[a], alone[b]) - after;
        const Scaled bend = twins ? apart.slope_difference : same.slope - apart.slope;
        const Scaled o = z->o.at(at), d = z->d.at(at);
        Entry out{{apart.value, rise, apart.slope * o, (apart.slope + bend) * d + bend * o, after}};
        if (trained) {
            const Scaled of_gamma = gaussians.trained_gamma(apart, two, a, b);
            out.parts[2] = out.parts[2] + apart.slope + of_gamma;
            out.parts[3] = out.parts[3] + bend + (gaussians.trained_gamma(same, one, a, b) - of_gamma);
        }
        return out;
    };

    // The diagonal first: its entries are the largest and choose the new exponents.
    std::vector<Entry> diagonal(k);
    parallel_for(k, [&](long a) {
        diagonal[a] = entry(a, a);
        alone[a] = gaussians(gaussians.one_input(a, a));
    });
    Matrix* matrices[5] = {&z->xy, &z->v, &z->o, &z->d, &z->apart};
    int exponents[5];
    for (int i = 0; i < 4; ++i) {
        CommonExponent common;
        for (const Entry& x : diagonal) {
            common.include(x.parts[i]);
        }
        exponents[i] = common.value();
    }
    exponents[4] = std::max(exponents[0], exponents[1]);
    const auto store = [&](long a, long b, const Entry& x) {
        for (int i = 0; i < 5; ++i) {
            matrices[i]->entries[a * k + b] = rescaled(x.parts[i], exponents[i]);
        }
    };
    // Row a computes (a, b) for b > a and then writes both halves; nobody else reads or writes these entries.
    parallel_for(k, [&](long a) {
        for (long b = a + 1; b < k; ++b) {
            const Entry x = entry(a, b);
            store(a, b, x);
            store(b, a, x);
        }
    });
    for (long a = 0; a < k; ++a) {
        store(a, a, diagonal[a]);
    }
    for (int i = 0; i < 5; ++i) {
        matrices[i]->exponent = exponents[i];
    }
    return status;
}

ImageState average_pool(const Windows& windows, ImageState h) {
    const Taps taps(h.size, windows);
    const long k = h.positions();
    pool_apart(taps, h.xy, h.v, &h.apart);
    for (Matrix* matrix : {&h.xy, &h.v, &h.o, &h.d}) {
        *matrix = pool(taps, *matrix, k);
    }
    h.size = taps.size;
    return h;
}

} // namespace fisherfield
