// SPDX-License-Identifier: BSD-3-Clause
#include "phi.hpp"

#include <algorithm>

#include "rows.hpp"

namespace fisherfield::finite_network {

namespace {

// phi and phi' in place of x; slopes may be left out.
template <class T>
void activate(const Activation& phi, T* x, T* slope, long count) {
    if (phi.kind == Kind::relu) {
        for (long i = 0; i < count; ++i) {
            const bool on = x[i] > 0;
            x[i] = on ? x[i] : T(0);
            if (slope) {
                slope[i] = on ? T(1) : T(0);
            }
        }
        return;
    }
    constexpr long kPoints = 512;
    double point[kPoints], value[kPoints], derivative[kPoints];
    for (long first = 0; first < count; first += kPoints) {
        const int some = static_cast<int>(std::min(kPoints, count - first));
        std::copy_n(x + first, some, point);
        evaluate(phi, point, value, slope ? derivative : nullptr, some);
        std::copy_n(value, some, x + first);
        if (slope) {
            std::copy_n(derivative, some, slope + first);
        }
    }
}

} // namespace

template <class T>
Buffer<T> Phi<T>::forward(Buffer<T> z, const Pass& pass) {
    const long rows = rows_out();
    const int columns = out.channels;
    slope_.reset(); // of inputs that were
    if (linear()) {
        return z;
    }
    if (pass.keep) {
        slope_ = numbers<T>(rows * columns);
    }
    const Noise random = pass.random();
    const double unit = pass.noise_unit<T>();
    RowBlocks{rows}([&](long, long first, long last) {
        for (long row = first; row < last; ++row) { // all of a row while it is in the cache
            const long at = row * columns;
            T* h = z.get() + at;
            T* slope = slope_ ? slope_.get() + at : nullptr;
            activate(phi_, h, slope, columns);
            for (int c = 0; unit > 0.0 && c < columns; ++c) {
                h[c] += static_cast<T>(unit * h[c] * random(rows * columns + at + c));
                if (slope) {
                    slope[c] += static_cast<T>(unit * slope[c] * random(2 * rows * columns + at + c));
                }
            }
        }
    });
    return z;
}

template <class T>
void Phi<T>::pull(const T* deltas, T* result, T* /*code*/, bool /*direct*/) {
    if (linear()) {
        copy_rows(deltas, rows_out(), out.channels, result);
        return;
    }
    const long columns = out.channels;
    const T* slope = slope_.get();
    RowBlocks{rows_out()}([&](long, long first, long last) {
        for (long i = first * columns; i < last * columns; ++i) {
            result[i] = slope[i] * deltas[i];
        }
    });
}

template <class T>
void Phi<T>::push(const T* changes, T* result, const T* /*code*/, bool direct) {
    pull(changes, result, nullptr, direct); // diagonal, and so its own transpose
}

template class Phi<float>;
template class Phi<double>;

} // namespace fisherfield::finite_network
