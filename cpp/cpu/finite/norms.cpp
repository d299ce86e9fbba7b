// SPDX-License-Identifier: BSD-3-Clause
#include "norms.hpp"

#include <algorithm>
#include <cmath>

#include "blas.hpp"
#include "rows.hpp"

namespace fisherfield::finite_network {

template <class T>
Buffer<T> BatchNorm<T>::forward(Buffer<T> z, const Pass& pass) {
    const long rows = rows_out();
    const int columns = out.channels;
    const std::vector<double> mean = statistics_of(z.get());
    u_.reset(); // of inputs that were
    if (pass.keep && (flows() || trained_)) {
        u_ = numbers<T>(rows * columns);
    }
    const Noise random = pass.random();
    const double unit = pass.noise_unit<T>();
    RowBlocks{rows}([&](long, long first, long last) {
        for (long row = first; row < last; ++row) { // all of a row while it is in the cache
            const long at = row * columns;
            T* h = z.get() + at;
            for (int c = 0; c < columns; ++c) {
                h[c] = static_cast<T>((h[c] - mean[c]) * inverse_[c]);
            }
            if (u_) {
                std::copy_n(h, columns, u_.get() + at);
            }
            for (int c = 0; c < columns; ++c) {
                h[c] = static_cast<T>(gamma_[c]) * h[c] + static_cast<T>(beta_[c]);
            }
            for (int c = 0; unit > 0.0 && c < columns; ++c) {
                h[c] += static_cast<T>(unit * (std::fabs(h[c] - beta_[c]) + std::fabs(beta_[c])) * random(at + c));
            }
        }
    });
    return z;
}

template <class T>
void BatchNorm<T>::pull(const T* deltas, T* result, T* code, bool /*direct*/) {
    Sums sums;
    if (flows() || code) {
        sums = this->sums(deltas);
    }
    if (code) {
        std::copy(sums.begin() + out.channels, sums.end(), code);                  // d f/d gamma
        std::copy(sums.begin(), sums.begin() + out.channels, code + out.channels); // d f/d beta
    }
    if (result) {
        apply(coefficients(sums), deltas, result);
    }
}

template <class T>
void BatchNorm<T>::push(const T* changes, T* result, const T* code, bool /*direct*/) {
    if (!changes) {
        fill_rows<T>(result, rows_out(), out.channels, nullptr);
        changes = result;
    }
    Coefficients k = coefficients(flows() ? sums(changes) : Sums{});
    for (int c = 0; code && c < out.channels; ++c) {
        k.tilt[c] -= code[c];
        k.shift[c] -= code[out.channels + c];
    }
    apply(k, changes, result);
}

// By the gradients of gamma and beta of every sample and output.
template <class T>
void BatchNorm<T>::add_gram(const T* deltas, int count, T* gram) {
    if (!trained_) {
        return;
    }
    const long all = samples * count, positions = out.positions(), channels = out.channels;
    const Buffer<T> gradients = numbers<T>(all * 2 * channels);
    parallel_for(all, [&](long item) {
        T* to = gradients.get() + item * 2 * channels;
        std::fill_n(to, 2 * channels, T(0));
        for (long p = 0; p < positions; ++p) {
            const long at = (item * positions + p) * channels, here = (item % samples * positions + p) * channels;
            for (long c = 0; c < channels; ++c) {
                const T delta = deltas[at + c];
                to[c] += delta * u_[here + c];
                to[channels + c] += delta;
            }
        }
    });
    blas::multiply_by_transpose(all, 2 * channels, gradients.get(), T(1), gram);
}

// It takes off whatever is the same in all rows of a channel.
template <class T>
void BatchNorm<T>::stands_behind(Map<T>& before, bool first) {
    before.loses_means(statistics_.mean);
    offsets_ = before.offsets();
    inputs_are_exact_ = first;
}

// The means; 1/s is kept.
template <class T>
std::vector<double> BatchNorm<T>::statistics_of(const T* z) {
    const long rows = rows_out();
    const int columns = out.channels;
    std::vector<double> mean = column_sums(z, rows, columns);
    for (double& m : mean) {
        m /= static_cast<double>(rows);
    }
    const std::vector<double> squares = row_sums(rows, columns, [&](long first, long last, double* sums) {
        for (long row = first; row < last; ++row) {
            for (int c = 0; c < columns; ++c) {
                const double centred = z[row * columns + c] - mean[c];
                sums[c] += centred * centred;
            }
        }
    });
    inverse_.resize(columns);
    for (int c = 0; c < columns; ++c) {
        const double variance = squares[c] / static_cast<double>(rows);
        // What rounding leaves of equal numbers: those in hand, and what was taken off unless that was exact.
        const double off = inputs_are_exact_ || !offsets_ ? 0.0 : std::fabs((*offsets_)[c]);
        const double least = (sizeof(T) == 8 ? 1e-12 : 1e-5) * (std::fabs(mean[c]) + off);
        if (eps_ == 0.0 && variance <= least * least) {
            throw ZeroVariance(c);
        }
        inverse_[c] = 1.0 / std::sqrt(variance + eps_);
    }
    return mean;
}

template <class T>
typename BatchNorm<T>::Sums BatchNorm<T>::sums(const T* x) const {
    const int columns = out.channels;
    return row_sums(rows_out(), 2 * columns, [&](long first, long last, double* sums) {
        for (long row = first; row < last; ++row) {
            const long at = row * columns;
            for (int c = 0; c < columns; ++c) {
                const T term = x[at + c];
                sums[c] += term;
                sums[columns + c] += term * u_[at + c];
            }
        }
    });
}

template <class T>
typename BatchNorm<T>::Coefficients BatchNorm<T>::coefficients(const Sums& sums) const {
    const int columns = out.channels;
    Coefficients k{std::vector<T>(columns), std::vector<T>(columns), std::vector<T>(columns)};
    for (int c = 0; c < columns; ++c) {
        const double scale = gamma_[c] * inverse_[c], rows = static_cast<double>(rows_out());
        k.scale[c] = static_cast<T>(scale);
        k.shift[c] = static_cast<T>(statistics_.mean ? scale * sums[c] / rows : 0.0);
        k.tilt[c] = static_cast<T>(statistics_.variance ? scale * sums[columns + c] / rows : 0.0);
    }
    return k;
}

// result = scale x - shift - tilt u
template <class T>
void BatchNorm<T>::apply(const Coefficients& k, const T* x, T* result) const {
    const int columns = out.channels;
    const T* u = u_.get();
    RowBlocks{rows_out()}([&](long, long first, long last) {
        for (long row = first; row < last; ++row) {
            const long at = row * columns;
            for (int c = 0; c < columns; ++c) {
                result[at + c] = k.scale[c] * x[at + c] - k.shift[c] - k.tilt[c] * (u ? u[at + c] : T(0));
            }
        }
    });
}

template class BatchNorm<float>;
template class BatchNorm<double>;

} // namespace fisherfield::finite_network
