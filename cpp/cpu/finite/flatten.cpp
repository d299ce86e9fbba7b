// SPDX-License-Identifier: BSD-3-Clause
#include "flatten.hpp"

#include "rows.hpp"

namespace fisherfield::finite_network {

template <class T>
Buffer<T> Flatten<T>::forward(Buffer<T> activations, const Pass& /*pass*/) {
    Buffer<T> result = numbers<T>(samples * in.units());
    push(activations.get(), result.get(), nullptr, true);
    return result;
}

template <class T>
void Flatten<T>::pull(const T* deltas, T* result, T* /*code*/, bool /*direct*/) {
    transpose(deltas, samples, in.channels, static_cast<int>(in.positions()), result);
}

template <class T>
void Flatten<T>::push(const T* changes, T* result, const T* /*code*/, bool /*direct*/) {
    transpose(changes, samples, static_cast<int>(in.positions()), in.channels, result);
}

template class Flatten<float>;
template class Flatten<double>;

} // namespace fisherfield::finite_network
