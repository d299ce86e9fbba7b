// SPDX-License-Identifier: BSD-3-Clause
#include "products.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <stdexcept>

#include "blas.hpp"

namespace fisherfield::sampled_units {

namespace {

constexpr long kRows = 4096;       // of a sum in float32; longer ones are float64
constexpr long kNumbers = 1 << 18; // of rows that are read again and again

} // namespace

void square(const float* x, long rows, long k, float* out) {
    char lower = 'L', as_it_is = 'N'; // of the transposes
    int size_of_out = blas::size(k), inner = blas::size(rows);
    float one = 1.0F, zero = 0.0F;
    Blas<float>::in_use().syrk(&lower, &as_it_is, &size_of_out, &inner, &one, const_cast<float*>(x), &size_of_out,
                               &zero, out, &size_of_out);
}

Factor::Factor(Room& room, const double* matrix, long count, long positions)
    : entries_(room, static_cast<std::size_t>(count) * positions), count_(count), positions_(positions) {
    for (std::size_t i = 0; !room.rehearsal && i < entries_.size(); ++i) {
        entries_[i] = static_cast<float>(matrix[i]);
    }
}

void Factor::multiply(const float* x, long rows, float* out) const {
    const long k = positions_;
    if (entries_.data() != nullptr) {
        blas::multiply(false, true, rows, count_, k, x, k, entries_.data(), k, 0.0F, out, count_);
    }
}

void Factor::multiply_transposed(const float* x, long rows, float* out) const {
    const long k = positions_;
    if (entries_.data() != nullptr) {
        blas::multiply(false, false, rows, k, count_, x, count_, entries_.data(), k, 0.0F, out, k);
    }
}

long units_at_a_time(long reads, long positions) {
    return std::max(1L, std::clamp(kNumbers / positions, kRows / 4, kRows) / reads);
}

Centred::Centred(Room& room, long units, long reads, long positions)
    : means_(room, static_cast<std::size_t>(units) * positions),
      rest_(room, static_cast<std::size_t>(units) * reads * positions), reads_(reads), positions_(positions) {}

void Centred::take(const float* x, long first, long count) {
    const long k = positions_;
    std::vector<double> mean(k);
    const double over = 1.0 / static_cast<double>(reads_);
    count_ = count;
    for (long i = 0; i < count; ++i) {
        const float* const own = x + (first + i) * reads_ * k;
        float* const means = means_.data() + i * k;
        float* const rest = rest_.data() + i * reads_ * k;
        std::fill(mean.begin(), mean.end(), 0.0);
        for (long r = 0; r < reads_; ++r) {
            for (long a = 0; a < k; ++a) {
                mean[a] += own[r * k + a];
            }
        }
        for (long a = 0; a < k; ++a) {
            means[a] = static_cast<float>(over * mean[a]);
        }
        for (long r = 0; r < reads_; ++r) {
            for (long a = 0; a < k; ++a) {
                rest[r * k + a] = own[r * k + a] - means[a];
            }
        }
    }
}

void Centred::multiply(const Centred& other, float* of_rest, float* of_means) const {
    const auto of = [&](const Array<float>& left, const Array<float>& right, long rows, float* out) {
        if (this == &other) {
            square(left.data(), rows, positions_, out);
        } else {
            blas::multiply(true, false, positions_, positions_, rows, left.data(), positions_, right.data(), positions_,
                           0.0F, out, positions_);
        }
    };
    of(rest_, other.rest_, count_ * reads_, of_rest);
    of(means_, other.means_, count_, of_means);
}

void eigen(std::vector<double>* values, double* matrix, long positions) {
    if (!std::all_of(matrix, matrix + positions * positions, [](double entry) { return std::isfinite(entry); })) {
        throw std::overflow_error("a covariance over positions leaves the range of numbers");
    }
    char vectors = 'V', upper = 'U';
    int n = blas::size(positions), info = 0, size = -1, whole_size = -1, whole = 0;
    double best = 0.0;
    values->resize(positions);
    const auto call = [&](double* work, int* whole_work) {
        Lapack::in_use().eigen(&vectors, &upper, &n, matrix, &n, values->data(), work, &size, whole_work, &whole_size,
                               &info);
        if (info != 0) {
            throw std::runtime_error("the eigenvalues of a covariance over positions do not converge");
        }
    };
    call(&best, &whole);
    size = static_cast<int>(best);
    whole_size = whole;
    std::vector<double> work(size);
    std::vector<int> whole_work(whole_size);
    call(work.data(), whole_work.data());
}

void orthonormalise(double* rows, long count, long k) {
    constexpr double kNothing = 1e-10; // of the longest
    const auto dot = [k](const double* x, const double* y) {
        double lanes[8] = {}, sum = 0.0;
        long a = 0;
        for (; a + 8 <= k; a += 8) {
            for (int lane = 0; lane < 8; ++lane) {
                lanes[lane] += x[a + lane] * y[a + lane];
            }
        }
        for (; a < k; ++a) {
            sum += x[a] * y[a];
        }
        return std::accumulate(lanes, lanes + 8, sum);
    };
    double longest = 0.0;
    for (long i = 0; i < count; ++i) {
        longest = std::max(longest, dot(rows + i * k, rows + i * k));
    }
    for (long i = 0; i < count; ++i) {
        double* const own = rows + i * k;
        for (int time = 0; time < 2; ++time) { // twice is enough (Kahan)
            for (long j = 0; j < i; ++j) {
                const double part = dot(rows + j * k, own);
                for (long a = 0; a < k; ++a) {
                    own[a] -= part * rows[j * k + a];
                }
            }
        }
        const double square = dot(own, own);
        const double by = square > kNothing * kNothing * longest ? 1.0 / std::sqrt(square) : 0.0;
        std::transform(own, own + k, own, [by](double x) { return by * x; });
    }
}

bool cholesky(double* matrix, long positions) {
    char upper = 'U'; // of the transpose
    int n = blas::size(positions), info = 0;
    Lapack::in_use().cholesky(&upper, &n, matrix, &n, &info);
    for (long a = 0; a < positions; ++a) {
        std::fill_n(matrix + a * positions + a + 1, positions - a - 1, 0.0);
    }
    return info == 0;
}

} // namespace fisherfield::sampled_units
