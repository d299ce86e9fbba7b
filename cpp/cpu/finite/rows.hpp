// SPDX-License-Identifier: BSD-3-Clause
// Loops over the rows of a matrix, and sums over them, that do not depend on the number of threads.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

#include "threads.hpp"

namespace fisherfield::finite_network {

// Rows in blocks that the matrix alone decides on, so that sums over rows do not depend on the number of threads.
class RowBlocks {
public:
    explicit RowBlocks(long rows) : rows_(rows), size_(std::max(16L, (rows + 255) / 256)) {}
    long count() const { return (rows_ + size_ - 1) / size_; }

    // body(block, first, last)
    template <class Body>
    void operator()(const Body& body) const {
        parallel_for(count(), [&](long block) { body(block, block * size_, std::min(rows_, (block + 1) * size_)); });
    }

private:
    long rows_, size_;
};

// body(first, last, sums) adds its rows to `count` sums; their total over all rows, in a fixed order.
template <class Body>
std::vector<double> row_sums(long rows, std::size_t count, const Body& body) {
    const RowBlocks blocks(rows);
    std::vector<double> parts(blocks.count() * count);
    blocks([&](long block, long first, long last) { body(first, last, parts.data() + block * count); });
    std::vector<double> total(parts.begin(), parts.begin() + static_cast<long>(count));
    for (long block = 1; block < blocks.count(); ++block) {
        for (std::size_t i = 0; i < count; ++i) {
            total[i] += parts[block * count + i];
        }
    }
    return total;
}

template <class T>
std::vector<double> column_sums(const T* matrix, long rows, int columns) {
    return row_sums(rows, columns, [&](long first, long last, double* sums) {
        for (long row = first; row < last; ++row) {
            for (int c = 0; c < columns; ++c) {
                sums[c] += matrix[row * columns + c];
            }
        }
    });
}

template <class T>
void fill_rows(T* matrix, long rows, int columns, const T* row) {
    RowBlocks{rows}([&](long, long first, long last) {
        for (long r = first; r < last; ++r) {
            if (row) {
                std::copy_n(row, columns, matrix + r * columns);
            } else {
                std::fill_n(matrix + r * columns, columns, T(0));
            }
        }
    });
}

template <class T>
void copy_rows(const T* from, long rows, int columns, T* to) {
    RowBlocks{rows}([&](long, long first, long last) {
        std::copy(from + first * columns, from + last * columns, to + first * columns);
    });
}

// (a x b) matrices to (b x a) ones, `count` of them.
template <class X, class T>
void transpose(const X* from, long count, int a, int b, T* to) {
    parallel_for(count, [&](long item) {
        const X* in = from + item * a * b;
        T* out = to + item * a * b;
        if (a == 1 || b == 1) {
            std::copy_n(in, static_cast<long>(a) * b, out);
            return;
        }
        for (int i = 0; i < a; ++i) {
            for (int j = 0; j < b; ++j) {
                out[static_cast<long>(j) * a + i] = in[static_cast<long>(i) * b + j];
            }
        }
    });
}

// The lower triangle over the diagonal, by square tiles that stay in the cache.
template <class T>
void mirror(T* matrix, long n) {
    constexpr long kTile = 64;
    parallel_for((n + kTile - 1) / kTile, [&](long tile) {
        const long first = tile * kTile, last = std::min(n, first + kTile);
        for (long left = 0; left < last; left += kTile) {
            for (long i = first; i < last; ++i) {
                for (long j = left; j < std::min(i, left + kTile); ++j) {
                    matrix[j * n + i] = matrix[i * n + j];
                }
            }
        }
    });
}
template <class T>
double norm_of(const T* x, long count) {
    double sum = 0.0;
    for (long i = 0; i < count; ++i) {
        sum += static_cast<double>(x[i]) * x[i];
    }
    return std::sqrt(sum);
}

} // namespace fisherfield::finite_network
