// SPDX-License-Identifier: BSD-3-Clause
#include "pools.hpp"

#include <cmath>
#include <utility>

#include "rows.hpp"

namespace fisherfield::finite_network {

template <class T>
Buffer<T> AveragePool<T>::forward(Buffer<T> activations, const Pass& pass) {
    Buffer<T> result = numbers<T>(rows_out() * out.channels);
    push(activations.get(), result.get(), nullptr, true);
    if (pass.noise > 0.0) {
        const long units = rows_in() * in.channels;
        for (long i = 0; i < units; ++i) {
            activations[i] = std::fabs(activations[i]);
        }
        Buffer<T> sizes = numbers<T>(rows_out() * out.channels);
        push(activations.get(), sizes.get(), nullptr, true);
        const Noise random = pass.random();
        for (long i = 0; i < rows_out() * out.channels; ++i) {
            result[i] += static_cast<T>(pass.noise_unit<T>() * sizes[i] * random(i));
        }
    }
    return result;
}

template <class T>
void AveragePool<T>::pull(const T* deltas, T* result, T* /*code*/, bool /*direct*/) {
    fill_rows<T>(result, rows_in(), in.channels, nullptr);
    each([&](long row, long position) { return std::pair{deltas + row, result + position}; });
}

template <class T>
void AveragePool<T>::push(const T* changes, T* result, const T* /*code*/, bool /*direct*/) {
    fill_rows<T>(result, rows_out(), out.channels, nullptr);
    each([&](long row, long position) { return std::pair{changes + position, result + row}; });
}

// Adds the mean's share of one pixel to another, as `pixels` (from, to) says of the output's and the input's.
template <class T>
template <class Pixels>
void AveragePool<T>::each(const Pixels& pixels) const {
    const T share = T(1) / static_cast<T>(windows_.kernel[0] * windows_.kernel[1]);
    parallel_for(samples, [&](long sample) {
        taps(in, out, windows_, [&](long row, int, long position) {
            if (position < 0) {
                return;
            }
            const auto [from, to] =
                pixels(sample * out.units() + row * out.channels, sample * in.units() + position * in.channels);
            for (int c = 0; c < in.channels; ++c) {
                to[c] += share * from[c];
            }
        });
    });
}

template class AveragePool<float>;
template class AveragePool<double>;

} // namespace fisherfield::finite_network
