// SPDX-License-Identifier: BSD-3-Clause
// The state of one unit seen at two inputs x and y: what every layer takes and gives. docs/theory.md, section 4.
//
// States carry overlaps and differences: q_xy with v = q - q_xy, and for the tangent kernel o (off the diagonal) with
// d = D - o. Every coefficient that maps them to the next layer's is a sum of like signs, so a thousand layers lose no
// more than a thousand roundings.
//
// T is what a number is: Scaled for one network, a vector of doubles for many points of a scan. A field that a layer
// knows to be 0 has type Zero, and costs nothing.
#pragma once

#include <type_traits>

#include "fisherfield/host_device.hpp"

namespace fisherfield {

// The number 0, known when the program is compiled.
struct Zero {
    template <class T>
    FISHERFIELD_HD FISHERFIELD_INLINE operator T() const {
        return T(0.0);
    }
};

FISHERFIELD_HD FISHERFIELD_INLINE Zero operator-(Zero) { return {}; }
FISHERFIELD_HD FISHERFIELD_INLINE Zero operator+(Zero, Zero) { return {}; }
FISHERFIELD_HD FISHERFIELD_INLINE Zero operator-(Zero, Zero) { return {}; }
FISHERFIELD_HD FISHERFIELD_INLINE Zero operator*(Zero, Zero) { return {}; }
template <class T>
FISHERFIELD_HD FISHERFIELD_INLINE T operator+(Zero, const T& x) {
    return x;
}
template <class T>
FISHERFIELD_HD FISHERFIELD_INLINE T operator+(const T& x, Zero) {
    return x;
}
template <class T>
FISHERFIELD_HD FISHERFIELD_INLINE T operator-(const T& x, Zero) {
    return x;
}
template <class T>
FISHERFIELD_HD FISHERFIELD_INLINE T operator-(Zero, const T& x) {
    return -x;
}
template <class T>
FISHERFIELD_HD FISHERFIELD_INLINE Zero operator*(Zero, const T&) {
    return {};
}
template <class T>
FISHERFIELD_HD FISHERFIELD_INLINE Zero operator*(const T&, Zero) {
    return {};
}
FISHERFIELD_HD FISHERFIELD_INLINE constexpr bool is_zero(Zero) { return true; }

// The tangent kernel of one unit, with u = (z - mean)/sqrt(q) of a Gaussian unit z:
//
//     Theta(x, y) = o + ou u(x) u(y),   Theta(x, x) = (o + d) + (ou + du) u(x)^2
//
// A BatchNorm's variance and a trained gamma put (ou, du) there: they go with the unit's own value. An activation's
// kernel has none.
template <class T, class O = T, class U = T, class DU = U>
struct TangentKernel {
    O o;
    T d;
    U ou;
    DU du;

    // The same with every field a number.
    template <class W>
    FISHERFIELD_HD FISHERFIELD_INLINE operator TangentKernel<W>() const
        requires(!std::is_same_v<TangentKernel, TangentKernel<W>>)
    {
        return {o, d, ou, du};
    }
};

template <class T, class O, class U, class DU>
TangentKernel(O, T, U, DU) -> TangentKernel<T, O, U, DU>;

template <class A, class B>
FISHERFIELD_HD FISHERFIELD_INLINE auto sum(const A& a, const B& b) {
    return TangentKernel{a.o + b.o, a.d + b.d, a.ou + b.ou, a.du + b.du};
}

// number   of a Gaussian unit z, without its mean             of an activation h
// xy, v    q_xy and q - q_xy                                  q_hat_xy and q_hat - q_hat_xy
// off      what the next layer's own gradients see of the     the same, through phi (Price's theorem)
//          overlap beyond xy: BatchNorm's -g^2/(n - 1)
// mean     E z, BatchNorm's beta                              E phi
//
// An activation's mean is 0 where no layer behind asks for it, and its xy contains all; where one does, neither
// contains the mean's square, which may be far larger. The input of a network is an activation state.
template <class T, class Xy = T, class Off = T, class Mean = T, class O = T, class U = T, class DU = U>
struct State {
    Xy xy;
    T v;
    Off off;
    Mean mean;
    TangentKernel<T, O, U, DU> kernel;

    // The same with every field a number.
    template <class W>
    FISHERFIELD_HD FISHERFIELD_INLINE operator State<W>() const
        requires(!std::is_same_v<State, State<W>>)
    {
        return {xy, v, off, mean, kernel};
    }
};

template <class T, class Xy, class Off, class Mean, class O, class U, class DU>
State(Xy, T, Off, Mean, TangentKernel<T, O, U, DU>) -> State<T, Xy, Off, Mean, O, U, DU>;

template <class T>
FISHERFIELD_HD FISHERFIELD_INLINE State<T> input_state(T overlap, T length) {
    return {overlap, length - overlap, 0.0, 0.0, {0.0, 0.0, 0.0, 0.0}};
}

// E h(x) h(y) of an activation.
template <class H>
FISHERFIELD_HD FISHERFIELD_INLINE auto overlap(const H& h) {
    using T = decltype(h.v);
    if constexpr (std::is_same_v<std::decay_t<decltype(h.mean)>, Zero>) {
        return T(h.xy);
    } else {
        return is_zero(h.mean) ? T(h.xy) : h.xy + h.mean * h.mean;
    }
}

// What a layer makes of a state, by its law.
template <class Law, class State>
FISHERFIELD_HD FISHERFIELD_INLINE auto apply(const Law& law, const State& in) {
    return fisherfield::State{law.xy, law.v, law.off, law.mean, sum(law.kernel(in.kernel), law.own)};
}

} // namespace fisherfield
