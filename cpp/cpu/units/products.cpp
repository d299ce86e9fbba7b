// SPDX-License-Identifier: BSD-3-Clause
#include "products.hpp"

#include <algorithm>
#include <stdexcept>

#include "blas.hpp"

namespace fisherfield::sampled_units {

namespace {

constexpr long kRows = 4096; // of a sum in float32; longer ones are float64

} // namespace

Factor::Factor(Room& room, const double* matrix, long positions)
    : entries_(room, static_cast<std::size_t>(positions) * positions), positions_(positions) {
    for (std::size_t i = 0; !room.rehearsal && i < entries_.size(); ++i) {
        entries_[i] = static_cast<float>(matrix[i]);
    }
}

void Factor::multiply(const float* x, long rows, float* out, float beta) const {
    const long k = positions_;
    if (entries_.data() != nullptr) {
        blas::multiply(false, true, rows, k, k, x, k, entries_.data(), k, beta, out, k);
    }
}

void Factor::multiply_transposed(const float* x, long rows, float* out) const {
    const long k = positions_;
    if (entries_.data() != nullptr) {
        blas::multiply(false, false, rows, k, k, x, k, entries_.data(), k, 0.0F, out, k);
    }
}

Pairs pairs(Room& room, const float* A, const float* B, long count, long reads, long positions) {
    const long k = positions, some = std::max(1L, kRows / reads); // units at a time
    const auto size = static_cast<std::size_t>(k) * k;
    Pairs out{Array<double>(room, size), Array<double>(room, size)};
    const bool same = A == B;
    const auto rows = static_cast<std::size_t>(std::min(some, count));
    Array<float> rest_A(room, rows * reads * k), rest_B(room, same ? 0 : rows * reads * k);
    Array<float> mean_A(room, rows * k), mean_B(room, same ? 0 : rows * k), sum(room, size);
    if (room.rehearsal) {
        return out;
    }
    std::fill_n(out.xy.data(), size, 0.0);
    std::fill_n(out.v.data(), size, 0.0);
    std::vector<double> mean(k);
    const auto centre = [&](const float* x, long unit, float* means, float* rest) {
        std::fill(mean.begin(), mean.end(), 0.0);
        for (long r = 0; r < reads; ++r) {
            for (long a = 0; a < k; ++a) {
                mean[a] += x[(unit * reads + r) * k + a];
            }
        }
        for (long a = 0; a < k; ++a) {
            means[a] = static_cast<float>(mean[a] / reads);
        }
        for (long r = 0; r < reads; ++r) {
            for (long a = 0; a < k; ++a) {
                rest[r * k + a] = x[(unit * reads + r) * k + a] - means[a];
            }
        }
    };
    const auto add = [&](const float* left, const float* right, long rows_of, Array<double>* to) {
        blas::multiply(true, false, k, k, rows_of, left, k, right, k, 0.0F, sum.data(), k);
        for (std::size_t i = 0; i < size; ++i) {
            (*to)[i] += sum[i];
        }
    };
    for (long first = 0; first < count; first += some) {
        const long here = std::min(some, count - first);
        for (long i = 0; i < here; ++i) {
            centre(A, first + i, mean_A.data() + i * k, rest_A.data() + i * reads * k);
            if (!same) {
                centre(B, first + i, mean_B.data() + i * k, rest_B.data() + i * reads * k);
            }
        }
        add(rest_A.data(), same ? rest_A.data() : rest_B.data(), here * reads, &out.v);
        add(mean_A.data(), same ? mean_A.data() : mean_B.data(), here, &out.xy);
    }
    const double of_v = 1.0 / (static_cast<double>(count) * static_cast<double>(std::max(reads - 1, 1L)));
    for (std::size_t i = 0; i < size; ++i) {
        out.v[i] *= of_v;
        out.xy[i] = out.xy[i] / static_cast<double>(count) - out.v[i] / static_cast<double>(reads);
    }
    return out;
}

void eigen(std::vector<double>* values, double* matrix, long positions) {
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
