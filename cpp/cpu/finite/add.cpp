// SPDX-License-Identifier: BSD-3-Clause
#include "add.hpp"

#include "rows.hpp"

namespace fisherfield::finite_network {

template <class T>
Buffer<T> Add<T>::forward(Buffer<T> sum, const Pass& pass) {
    const Noise random = pass.random();
    const double unit = pass.noise_unit<T>();
    for (long i = 0; unit > 0.0 && i < rows_out() * out.channels; ++i) {
        sum[i] += static_cast<T>(unit * sum[i] * random(i));
    }
    return sum;
}

template <class T>
void Add<T>::pull(const T* deltas, T* result, T* /*code*/, bool /*direct*/) {
    copy_rows(deltas, rows_out(), out.channels, result);
}

template <class T>
void Add<T>::push(const T* changes, T* result, const T* /*code*/, bool /*direct*/) {
    copy_rows(changes, rows_out(), out.channels, result);
}

template class Add<float>;
template class Add<double>;

} // namespace fisherfield::finite_network
