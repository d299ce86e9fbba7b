// SPDX-License-Identifier: BSD-3-Clause
// A dense layer's part of J J^T, entry by entry.
#pragma once

#include <algorithm>
#include <cstddef>

#include "blas.hpp"
#include "buffer.hpp"
#include "rows.hpp"

namespace fisherfield::finite_network {

// Entry (k i, k' j) of `gram` += (h_i . h_j + bias) (delta_ki . delta_k'j), with `samples` rows h of `inputs` numbers
// and `count` times as many rows delta of `width`. By square blocks, so that the products stand in little memory and
// only half of a symmetric one is formed.
template <class T>
void add_products_of_kernels(const T* activations, long inputs, T bias, const T* deltas, long width, long samples,
                             int count, T* gram) {
    constexpr long kSide = 512;
    const long n = samples, all = n * count;
    const long side = std::min(kSide, n);
    const Buffer<T> kernel = numbers<T>(side * side), product = numbers<T>(side * side);
    const auto block_product = [&](const T* a, long rows, const T* b, long columns, long inner, T* c) {
        if (a == b) {
            blas::multiply_by_transpose(rows, inner, a, T(0), c);
        } else {
            blas::multiply(false, true, rows, columns, inner, a, inner, b, inner, T(0), c, columns);
        }
    };
    for (long top = 0; top < n; top += side) {
        const long rows = std::min(side, n - top);
        for (long left = 0; left <= top; left += side) {
            const long columns = std::min(side, n - left);
            const bool diagonal = top == left;
            block_product(activations + top * inputs, rows, activations + left * inputs, columns, inputs, kernel.get());
            if (diagonal && count > 1) {
                mirror(kernel.get(), rows);
            }
            for (int k = 0; k < count; ++k) {
                for (int other = 0; other <= k; ++other) {
                    const T* a = deltas + k * n * width;
                    const T* b = deltas + other * n * width;
                    block_product(a + top * width, rows, b + left * width, columns, width, product.get());
                    parallel_for(rows, [&](long i) {
                        T* entry = gram + (k * n + top + i) * all + other * n + left;
                        const long last = diagonal && k == other ? i + 1 : columns;
                        for (long j = 0; j < last; ++j) {
                            entry[j] += (kernel[i * columns + j] + bias) * product[i * columns + j];
                        }
                    });
                    if (diagonal || k == other) {
                        continue;
                    }
                    block_product(a + left * width, columns, b + top * width, rows, width, product.get());
                    parallel_for(columns, [&](long j) {
                        T* entry = gram + (k * n + left + j) * all + other * n + top;
                        for (long i = 0; i < rows; ++i) {
                            entry[i] += (kernel[i * columns + j] + bias) * product[j * rows + i];
                        }
                    });
                }
            }
        }
    }
}

} // namespace fisherfield::finite_network
