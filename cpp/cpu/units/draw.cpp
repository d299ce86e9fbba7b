// SPDX-License-Identifier: BSD-3-Clause
// Units of a Gaussian state, z(x) = alpha + b(x): what different inputs share is drawn once for each unit, the rest
// anew for each sample. Units come in pairs (z, -z), of which the second half of the units are the second.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "normals.hpp"
#include "products.hpp"
#include "units.hpp"

namespace fisherfield::sampled_units {

namespace {

constexpr double kJitter = 1e-6; // of the mean variance, so that positions that see the same have a Cholesky factor
constexpr long kUnits = 64;      // drawn at a time

// What a Gaussian vector g has to go through: L, or the eigenvectors, scaled in between.
struct Root {
    std::unique_ptr<Factor> first, second; // the second alone is L
    std::vector<float> scale;
};

// What to take off eigenvalues, ascending, so that those above it keep the sum of all: noise leaves some below 0, and
// where these are cut the others hold as much too much.
double cut_of(const std::vector<double>& values) {
    double below = 0.0, left = 0.0; // the sum of those that are cut, and their share of each one above
    for (std::size_t i = 0; i < values.size(); ++i) {
        left = -below / static_cast<double>(values.size() - i);
        if (values[i] > left) {
            break;
        }
        below += values[i];
    }
    return std::max(left, 0.0);
}

Root symmetric_root(Room& room, const Matrix& covariance, long k) {
    Array<double> vectors(room, static_cast<std::size_t>(k) * k);
    std::vector<double> values(k);
    if (!room.rehearsal) {
        for (long a = 0; a < k; ++a) {
            for (long b = 0; b < k; ++b) {
                vectors[a * k + b] = ((*covariance)[a * k + b] + (*covariance)[b * k + a]) / 2;
            }
        }
        eigen(&values, vectors.data(), k);
        const double* leading = vectors.data() + (k - 1) * k;
        if (std::accumulate(leading, leading + k, 0.0) < 0.0) {
            std::transform(leading, leading + k, vectors.data() + (k - 1) * k, [](double x) { return -x; });
        }
    }
    Root root;
    root.first = std::make_unique<Factor>(room, vectors.data(), k);
    const double cut = cut_of(values);
    for (const double value : values) {
        root.scale.push_back(static_cast<float>(std::sqrt(std::max(value - cut, 0.0))));
    }
    return root;
}

Root cholesky_root(Room& room, const Matrix& covariance, long k) {
    Array<double> factor(room, static_cast<std::size_t>(k) * k);
    Root root;
    if (!room.rehearsal) {
        std::copy_n(covariance->data(), factor.size(), factor.data());
        double mean = 0.0;
        for (long a = 0; a < k; ++a) {
            mean += factor[a * k + a] / static_cast<double>(k);
        }
        for (long a = 0; a < k; ++a) {
            factor[a * k + a] += kJitter * mean;
        }
        if (mean <= 0.0) {
            std::fill_n(factor.data(), factor.size(), 0.0);
        } else if (!cholesky(factor.data(), k)) {
            return symmetric_root(room, covariance, k);
        }
    }
    root.second = std::make_unique<Factor>(room, factor.data(), k);
    return root;
}

// The quantile of each first one of a pair: by the order of a draw's first bits, whose last says which sign comes
// first, so that units of different draws, side by side in a sum, know nothing of each other. They are roots of mean
// squares within equal shares: values in the middles miss the tails (their mean square is 0.990 of 128).
std::vector<float> quantiles(std::uint64_t key, long half) {
    std::vector<std::uint64_t> first(half);
    for (long i = 0; i < half; ++i) {
        first[i] = bits(unit_key(key, i), 0);
    }
    std::vector<long> order(half);
    std::iota(order.begin(), order.end(), 0L);
    std::stable_sort(order.begin(), order.end(), [&](long i, long j) { return first[i] < first[j]; });
    std::vector<float> out(half);
    const double count = 2.0 * static_cast<double>(half), density = 0.3989422804014327;
    double before = 0.0; // z density(z) where a share begins: the integral of z^2 is P(z) less that
    for (long place = 0; place < half; ++place) {
        const double z = normal_quantile(static_cast<double>(place + 1) / count);
        const double there = z * density * std::exp(-0.5 * z * z);
        const auto root = static_cast<float>(std::sqrt(std::max(1.0 - count * (there - before), 0.0)));
        out[order[place]] = (first[order[place]] & 1) != 0 ? -root : root;
        before = there;
    }
    return out;
}

void fill(std::uint64_t key, long unit, long count, float* out) {
    const std::uint64_t own = unit_key(key, unit);
    for (long j = 0; j < count; ++j) {
        out[j] = static_cast<float>(normal_quantile(uniform(bits(own, j))));
    }
}

// rows of g through the root; along the leading eigenvector `quantile`, if there are any.
void through(const Root& root, float* g, long rows, long k, const float* quantile, float* between, float* out) {
    if (!root.first) {
        root.second->multiply(g, rows, out);
        return;
    }
    root.first->multiply(g, rows, between);
    for (long i = 0; i < rows; ++i) {
        if (quantile != nullptr) {
            between[i * k + k - 1] = quantile[i];
        }
        for (long e = 0; e < k; ++e) {
            between[i * k + e] *= root.scale[e];
        }
    }
    root.first->multiply_transposed(between, rows, out);
}

} // namespace

Floats writable(Room& room, Floats array, bool with_numbers) {
    if (array.use_count() == 1) {
        return array;
    }
    Floats copy = floats(room, array->size());
    if (with_numbers && !room.rehearsal) {
        std::copy_n(array->data(), array->size(), copy->data());
    }
    return copy;
}

Drawn draw(Room& room, const Averages& state, int place, int which) {
    const long k = state.positions(), reads = room.how.reads, count = unit_count(room.how, k), half = count / 2;
    Drawn out{count, floats(room, count * k), floats(room, static_cast<std::size_t>(count) * reads * k)};
    const Root of_alpha = state.xy ? symmetric_root(room, state.xy, k) : Root{};
    const Root of_b = cholesky_root(room, state.v, k);
    const long some = std::min(kUnits, half);
    Array<float> g(room, some * reads * k), between(room, some * reads * k);
    if (room.rehearsal) {
        return out;
    }
    const auto draw_of = [&](int number) { return key_of(room.how.seed, room.group, place, number); };
    const std::uint64_t key_alpha = draw_of(2 * which), key_b = draw_of(2 * which + 1);
    const std::vector<float> quantile = quantiles(draw_of(2 * which + 6), half);
    float* const alpha = out.alpha->data();
    float* const z = out.z->data();
    for (long first = 0; first < half; first += some) {
        const long here = std::min(some, half - first);
        float* const own = alpha + first * k;
        if (of_alpha.first) {
            for (long i = 0; i < here; ++i) {
                fill(key_alpha, first + i, k, g.data() + i * k);
            }
            through(of_alpha, g.data(), here, k, quantile.data() + first, between.data(), own);
        } else {
            std::fill_n(own, here * k, 0.0F);
        }
        for (long i = 0; i < here; ++i) {
            fill(key_b, first + i, reads * k, g.data() + i * reads * k);
        }
        through(of_b, g.data(), here * reads, k, nullptr, between.data(), z + first * reads * k);
        for (long row = first * reads; row < (first + here) * reads; ++row) {
            for (long a = 0; a < k; ++a) {
                z[row * k + a] += alpha[row / reads * k + a];
            }
        }
    }
    std::transform(alpha, alpha + half * k, alpha + half * k, [](float x) { return -x; });
    std::transform(z, z + half * reads * k, z + half * reads * k, [](float x) { return -x; });
    return out;
}

std::shared_ptr<Units> as_units(Room& room, Value value, int place, int which) {
    if (value.units) {
        return std::move(value.units);
    }
    const Averages& state = *value.averages;
    const long k = state.positions();
    Drawn drawn = draw(room, state, place, which);
    auto units = std::make_shared<Units>();
    units->size = state.size;
    units->count = drawn.count;
    units->reads = room.how.reads;
    units->h = std::move(drawn.z);
    auto reads = std::make_shared<std::vector<int>>(k);
    std::iota(reads->begin(), reads->end(), 0);
    const auto add = [&](const Matrix& o, const Matrix& d, const auto& slope) {
        Floats slopes = floats(room, units->numbers());
        each(room, units->rows(), [&](long row) {
            for (long a = 0; a < k; ++a) {
                (*slopes)[row * k + a] = slope(row * k + a, a);
            }
        });
        units->terms.push_back({{{slopes, reads}}, o, d, k});
    };
    add(state.o, state.d, [](long, long) { return 1.0F; });
    if (state.ou || state.du) { // what goes with the units' own values, u = z/sqrt(q)
        add(state.ou, state.du, [&](long at, long a) {
            const double q = (state.xy ? (*state.xy)[a * k + a] : 0.0) + (*state.v)[a * k + a];
            return (*units->h)[at] / static_cast<float>(std::sqrt(q > 0.0 ? q : 1.0));
        });
    }
    if (!state.mean.empty()) {
        each(room, units->rows(), [&](long row) {
            for (long a = 0; a < k; ++a) {
                (*units->h)[row * k + a] += static_cast<float>(state.mean[a]);
            }
        });
    }
    return units;
}

} // namespace fisherfield::sampled_units
