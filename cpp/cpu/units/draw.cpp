// SPDX-License-Identifier: BSD-3-Clause
// Units of a Gaussian state, z(x) = alpha + b(x): what different inputs share is drawn once for each unit, the rest
// anew for each sample. Units come in pairs (z, -z), of which the second half of the units are the second.
#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>

#include "blas.hpp"
#include "normals.hpp"
#include "products.hpp"
#include "units.hpp"

namespace fisherfield::sampled_units {

namespace {

constexpr double kJitter = 1e-6; // of the mean variance, so that positions that see the same have a Cholesky factor
constexpr long kUnits = 64;      // drawn at a time
constexpr long kWhole = 128;     // positions, up to which all eigenvectors are found
constexpr long kLeading = 32;
constexpr double kLeft = 1e-3;
constexpr long kEnough = 256;   // pairs, from which on the bias of matched products is far below the error
constexpr double kEqual = 1e-6; // eigenvalues, of the largest

// What a Gaussian vector g has to go through: L, or the eigenvectors, scaled in between.
struct Root {
    std::unique_ptr<Factor> first; // eigenvectors, by ascending eigenvalues
    std::vector<float> scale;      // the eigenvalues' roots
    Array<double> lower;           // L
    long count() const { return static_cast<long>(scale.size()); }
};

// What to take off eigenvalues, ascending, so that those above it keep the sum of all: noise leaves some below 0, and
// where these are cut the others hold as much too much. `below`: the sum of those that are not among them, at most 0.
double cut_of(const std::vector<double>& values, double below) {
    double left = 0.0; // the sum of those that are cut, and their share of each one above
    for (std::size_t i = 0; i < values.size(); ++i) {
        left = -below / static_cast<double>(values.size() - i);
        if (values[i] > left) {
            break;
        }
        below += values[i];
    }
    return std::max(left, 0.0);
}

// Which of a pair of opposite eigenvectors the leading one is.
void turn(double* leading, long k) {
    if (std::accumulate(leading, leading + k, 0.0) < 0.0) {
        std::transform(leading, leading + k, leading, [](double x) { return -x; });
    }
}

Root root_of(Room& room, const std::vector<double>& values, double below, const Array<double>& vectors, long count,
             long k) {
    Root root;
    const double cut = cut_of(values, below);
    root.first = std::make_unique<Factor>(room, vectors.data(), count, k);
    for (const double value : values) {
        root.scale.push_back(static_cast<float>(std::sqrt(std::max(value - cut, 0.0))));
    }
    return root;
}

Root symmetric_root(Room& room, const Matrix& covariance, long k) {
    room.meter.products += 20.0 * static_cast<double>(k * k * k); // of one number at a time, some
    Array<double> vectors(room, static_cast<std::size_t>(k) * k);
    std::vector<double> values(k);
    if (!room.rehearsal) {
        for (long a = 0; a < k; ++a) {
            for (long b = 0; b < k; ++b) {
                vectors[a * k + b] = ((*covariance)[a * k + b] + (*covariance)[b * k + a]) / 2;
            }
        }
        eigen(&values, vectors.data(), k);
        turn(vectors.data() + (k - 1) * k, k);
    }
    return root_of(room, values, 0.0, vectors, k, k);
}

double trace_of(const Matrix& matrix, long k) {
    double sum = 0.0;
    for (long a = 0; a < k; ++a) {
        sum += (*matrix)[a * k + a];
    }
    return sum;
}

// What different inputs share are few patterns over a large image, the mean and the borders': by kLeading vectors that
// the matrix was applied to twice. Nothing where they leave more of it than kLeft of z's variance.
std::optional<Root> leading_root(Room& room, const Averages& state, long k, std::uint64_t key) {
    const auto size = static_cast<std::size_t>(kLeading) * k;
    Array<double> rows(room, size), mapped(room, size);
    std::vector<double> values(kLeading);
    double below = 0.0; // what noise leaves beyond these
    if (!room.rehearsal) {
        for (long i = 0; i < kLeading; ++i) {
            const std::uint64_t own = unit_key(key, i);
            for (long a = 0; a < k; ++a) {
                mapped[i * k + a] = i == 0 ? 1.0 : normal_quantile(uniform(bits(own, a)));
            }
        }
        std::vector<double> within(static_cast<std::size_t>(kLeading) * kLeading);
        for (int time = 0; time < 3; ++time) {
            std::copy_n(mapped.data(), size, rows.data());
            if (time > 0) {
                orthonormalise(rows.data(), kLeading, k);
            }
            blas::multiply(false, false, kLeading, k, k, rows.data(), k, state.xy->data(), k, 0.0, mapped.data(), k);
        }
        blas::multiply(false, true, kLeading, kLeading, k, rows.data(), k, mapped.data(), k, 0.0, within.data(),
                       kLeading);
        eigen(&values, within.data(), kLeading);
        blas::multiply(false, false, kLeading, k, kLeading, within.data(), kLeading, rows.data(), k, 0.0, mapped.data(),
                       k);
        const double there = trace_of(state.xy, k);
        double held = 0.0;
        for (const double value : values) {
            held += std::max(value, 0.0);
        }
        below = std::min(there - std::accumulate(values.begin(), values.end(), 0.0), 0.0);
        if (there - held > kLeft * (there + trace_of(state.v, k))) {
            return std::nullopt;
        }
        turn(mapped.data() + (kLeading - 1) * k, k);
    }
    return root_of(room, values, below, mapped, kLeading, k);
}

// Of what different inputs share, which noise may leave with eigenvalues below 0: they are cut.
Root shared_root(Room& room, const Averages& state, long k, std::uint64_t key) {
    if (k > kWhole) {
        if (std::optional<Root> root = leading_root(room, state, k, key)) {
            return std::move(*root);
        }
    }
    return symmetric_root(room, state.xy, k);
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
    root.lower = std::move(factor);
    return root;
}

void fill(std::uint64_t key, long unit, long count, float* out) {
    const std::uint64_t own = unit_key(key, unit);
    for (long j = 0; j < count; ++j) {
        out[j] = static_cast<float>(normal_quantile(uniform(bits(own, j))));
    }
}

// Of coordinates along eigenvectors the leading ones' products, averaged over rows, become those of a unit matrix, by
// the symmetric root, which depends on no choice among eigenvectors. How many these are: a quarter of the rows at the
// most, and of equal eigenvalues all or none.
long match_leading(Room& room, const Root& root, float* q, long rows) {
    const long count = root.count();
    const auto value = [&](long i) { return static_cast<double>(root.scale[i]) * root.scale[i]; };
    long some = rows >= kEnough ? std::min(count, rows / 4) : 0;
    while (some > 0 && some < count && value(count - some) - value(count - some - 1) <= kEqual * value(count - 1)) {
        --some;
    }
    const auto size = static_cast<std::size_t>(some) * some;
    std::vector<double> products(size, 0.0), values;
    for (long i = 0; i < rows; ++i) {
        const float* const own = q + (i + 1) * count - some;
        for (long e = 0; e < some; ++e) {
            for (long f = 0; f < some; ++f) {
                products[e * some + f] += static_cast<double>(own[e]) * own[f];
            }
        }
    }
    if (some == 0) {
        return 0;
    }
    eigen(&values, products.data(), some);
    if (values[0] <= 0.0) {
        return 0;
    }
    std::vector<double> inverse(size, 0.0);
    for (long v = 0; v < some; ++v) {
        const double by = std::sqrt(static_cast<double>(rows) / values[v]);
        for (long e = 0; e < some; ++e) {
            for (long f = 0; f < some; ++f) {
                inverse[e * some + f] += by * products[v * some + e] * products[v * some + f];
            }
        }
    }
    const Factor factor(room, inverse.data(), some, some);
    std::vector<float> own(static_cast<std::size_t>(rows) * some), matched(own.size());
    for (long i = 0; i < rows; ++i) {
        std::copy_n(q + (i + 1) * count - some, some, own.data() + i * some);
    }
    factor.multiply(own.data(), rows, matched.data());
    for (long i = 0; i < rows; ++i) {
        std::copy_n(matched.data() + i * some, some, q + (i + 1) * count - some);
    }
    return some;
}

// L C^-1 for the products C C^T of g over rows, as many times `over`: g through it has exactly those of L L^T. L where
// the rows have no such products.
void match(Array<double>* lower, const std::vector<double>& products, double over, long k) {
    std::vector<double> factor(products);
    std::transform(factor.begin(), factor.end(), factor.begin(), [over](double x) { return over * x; });
    if (!cholesky(factor.data(), k)) {
        return;
    }
    for (long a = 0; a < k; ++a) { // x C = row of L, from its last number on
        double* const x = lower->data() + a * k;
        for (long b = k - 1; b >= 0; --b) {
            x[b] /= factor[b * k + b];
            for (long c = 0; c < b; ++c) {
                x[c] -= x[b] * factor[b * k + c];
            }
        }
    }
}

// Products of rows, averaged over none: sums of some in float32.
std::vector<double> products_of(Room& room, const float* x, long rows, long k) {
    std::vector<double> out(static_cast<std::size_t>(k) * k, 0.0);
    Array<float> sum(room, out.size());
    constexpr long kRows = 4096;
    for (long first = 0; first < rows; first += kRows) {
        square(x + first * k, std::min(kRows, rows - first), k, sum.data());
        for (long a = 0; a < k; ++a) {
            for (long b = a; b < k; ++b) {
                out[a * k + b] += sum[a * k + b];
            }
        }
    }
    for (long a = 0; a < k; ++a) {
        for (long b = 0; b < a; ++b) {
            out[a * k + b] = out[b * k + a];
        }
    }
    return out;
}

Array<double> copied(Room& room, const Array<double>& from) {
    Array<double> out(room, from.size());
    if (!room.rehearsal) {
        std::copy_n(from.data(), from.size(), out.data());
    }
    return out;
}

} // namespace

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

namespace {

// Rows of g through a root, in their place: L, or what stands for it, or eigenvectors.
void through(const Root& root, const Factor& lower, float* g, long rows, float* between, long k) {
    if (!root.first) {
        lower.multiply(g, rows, between);
        std::copy_n(between, rows * k, g);
        return;
    }
    root.first->multiply(g, rows, between);
    for (long i = 0; i < rows * k; ++i) {
        between[i] *= root.scale[i % k];
    }
    root.first->multiply_transposed(between, rows, g);
}

// alpha of the first ones of pairs; its coordinates along eigenvectors, of which so many are matched.
struct Alpha {
    Array<float> q;
    long matched = 0;
};

Alpha draw_alpha(Room& room, Root& root, std::uint64_t key, std::uint64_t key_quantile, long half, long k, float* out) {
    const long some = std::min(kUnits, half), count = root.count();
    Alpha alpha{Array<float>(room, half * count)};
    Array<float> g(room, some * k), scaled(room, some * count);
    if (room.rehearsal) {
        return alpha;
    }
    float* const q = alpha.q.data();
    for (long first = 0; first < half; first += some) {
        const long here = std::min(some, half - first);
        for (long i = 0; i < here; ++i) {
            fill(key, first + i, k, g.data() + i * k);
        }
        root.first->multiply(g.data(), here, q + first * count);
    }
    const std::vector<float> quantile = quantiles(key_quantile, half);
    for (long i = 0; i < half; ++i) {
        q[(i + 1) * count - 1] = quantile[i];
    }
    alpha.matched = match_leading(room, root, q, half);
    for (long first = 0; first < half; first += some) {
        const long here = std::min(some, half - first);
        for (long i = 0; i < here * count; ++i) {
            scaled[i] = q[first * count + i] * root.scale[i % count];
        }
        root.first->multiply_transposed(scaled.data(), here, out + first * k);
    }
    return alpha;
}

// b of the first ones of pairs, from numbers that stand there, g. Where the units are many enough, g's means over
// samples know nothing of alpha, and they and what each sample has beyond them have exactly the products that they have
// in the mean: what is quadratic in b has no noise.
void draw_b(Room& room, const Root& root, const Alpha& alpha, long half, long k, float* g) {
    const long reads = room.how.reads, matched = alpha.matched, some = std::min(kUnits, half);
    const bool match_all = reads > 1 && !root.first && half >= kEnough && k + matched <= half / 8 * 7;
    Array<float> means(room, match_all ? half * k : 0), of_means(room, match_all ? half * k : 0);
    Array<float> between(room, some * reads * k);
    Array<double> of_rest = copied(room, root.lower), of_mean = copied(room, root.lower);
    if (match_all && !room.rehearsal) {
        const double over = 1.0 / static_cast<double>(reads), of_half = 1.0 / static_cast<double>(half);
        std::vector<double> mean(k);
        for (long i = 0; i < half; ++i) {
            std::fill(mean.begin(), mean.end(), 0.0);
            for (long at = 0; at < reads * k; at += k) {
                for (long a = 0; a < k; ++a) {
                    mean[a] += g[i * reads * k + at + a];
                }
            }
            for (long a = 0; a < k; ++a) {
                means[i * k + a] = static_cast<float>(over * mean[a]);
            }
            for (long at = 0; at < reads * k; at += k) {
                for (long a = 0; a < k; ++a) {
                    g[i * reads * k + at + a] -= means[i * k + a];
                }
            }
        }
        if (matched > 0) {
            const long count = static_cast<long>(alpha.q.size()) / half, first = count - matched;
            Array<float> shared(room, matched * k);
            blas::multiply(true, false, matched, k, half, alpha.q.data() + first, count, means.data(), k, 0.0F,
                           shared.data(), k);
            for (std::size_t i = 0; i < shared.size(); ++i) {
                shared[i] *= static_cast<float>(-of_half);
            }
            blas::multiply(false, false, half, k, matched, alpha.q.data() + first, count, shared.data(), k, 1.0F,
                           means.data(), k);
        }
        match(&of_rest, products_of(room, g, half * reads, k), of_half / static_cast<double>(reads - 1), k);
        match(&of_mean, products_of(room, means.data(), half, k), of_half * static_cast<double>(reads), k);
        Factor(room, of_mean.data(), k, k).multiply(means.data(), half, of_means.data());
    }
    const Factor lower(room, of_rest.data(), root.first ? 0 : k, k);
    for (long first = 0; !room.rehearsal && first < half; first += some) {
        const long rows = std::min(some, half - first) * reads;
        float* const own = g + first * reads * k;
        through(root, lower, own, rows, between.data(), k);
        for (long row = 0; match_all && row < rows; ++row) {
            for (long a = 0; a < k; ++a) {
                own[row * k + a] += of_means[(first + row / reads) * k + a];
            }
        }
    }
}

} // namespace

Drawn draw(Room& room, const Averages& state, int place, int which, double others) {
    const long k = state.positions(), reads = room.how.reads, count = unit_count(room.how, k), half = count / 2;
    Drawn out{count, floats(room, count * k), floats(room, static_cast<std::size_t>(count) * reads * k),
              others > 0.0 ? floats(room, count * k) : nullptr};
    const auto key = [&](int number) { return key_of(room.how.seed, room.group, place, 2 * which + number); };
    float* const alpha = out.alpha->data();
    float* const z = out.z->data();
    Alpha of_alpha;
    if (state.xy) {
        Root root = shared_root(room, state, k, key(10));
        of_alpha = draw_alpha(room, root, key(0), key(6), half, k, alpha);
    } else if (!room.rehearsal) {
        std::fill_n(alpha, half * k, 0.0F);
    }
    const Root root = cholesky_root(room, state.v, k);
    room.meter.products += static_cast<double>((half * reads + k / 3) * k * k);
    each(room, half, [&](long i) { fill(key(1), i, reads * k, z + i * reads * k); });
    draw_b(room, root, of_alpha, half, k, z);
    if (out.others) {
        Array<float> between(room, half * k);
        const Factor lower(room, root.lower.data(), root.first ? 0 : k, k);
        float* const rest = out.others->data();
        each(room, half, [&](long i) { fill(key(5), i, k, rest + i * k); });
        if (!room.rehearsal) {
            through(root, lower, rest, half, between.data(), k);
            std::transform(rest, rest + half * k, rest,
                           [by = static_cast<float>(1.0 / std::sqrt(others))](float x) { return by * x; });
            std::transform(rest, rest + half * k, rest + half * k, [](float x) { return -x; });
        }
    }
    each(room, half * reads, [&](long row) {
        for (long a = 0; a < k; ++a) {
            z[row * k + a] += alpha[row / reads * k + a];
        }
    });
    if (!room.rehearsal) {
        std::transform(alpha, alpha + half * k, alpha + half * k, [](float x) { return -x; });
        std::transform(z, z + half * reads * k, z + half * reads * k, [](float x) { return -x; });
    }
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
    if (state.o || state.d) { // of the data there is none
        add(state.o, state.d, [](long, long) { return 1.0F; });
    }
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
