// SPDX-License-Identifier: BSD-3-Clause
// h = phi(z): the activation of Gaussian units, with Gaussian integrals of docs/theory.md, section 3.
//
//     xy = E phi(z_x) phi(z_y)           v = E phi^2 - that         off = E[phi'(z_x) phi'(z_y)] off     (Price)
//     o = o E[phi' phi'] + ou E[u w phi' phi']
//     D = (o + d) E[phi'^2] + (ou + du) E[u^2 phi'^2]               d = D - o, formed as a difference
//
// Where E phi is asked for, its square is no part of xy: that is Var phi - v, or, where it is less, E phi phi - (E
// phi)^2. Units whose values at x and y are independent (xy = 0, behind a BatchNorm) need integrals over one variable
// alone. The integrals are an argument (integrals.hpp): who makes them, and how, is not the layer's business.
#pragma once

#include "fisherfield/integrals.hpp"
#include "fisherfield/state.hpp"

namespace fisherfield {

// What the slopes make of a kernel: E phi' phi', E phi'^2 - that and E phi'^2; and the same of u phi'.
template <class T, class Off>
struct PhiLaw {
    T xy, v;
    Off off;
    T mean;
    T slope, slope_difference, slope_second;
    T u_slope, u_second;
    TangentKernel<Zero> own{};

    template <class K>
    FISHERFIELD_HD FISHERFIELD_INLINE TangentKernel<T, T, Zero> kernel(const K& k) const {
        const T o = slope * k.o, d = slope_difference * k.o + slope_second * k.d;
        if (is_zero(k.ou) && is_zero(k.du)) {
            return {o, d, {}, {}};
        }
        // A BatchNorm has du = -ou: where both are taken together, nothing cancels.
        return {o + u_slope * k.ou, d + (u_second * (k.ou + k.du) - u_slope * k.ou), {}, {}};
    }
};

// Of units that depend on each other: u phi' by its difference, too, which at 1 - c = 1e-12 no subtraction has.
template <class T, class Off>
struct DependentPhiLaw {
    T xy, v;
    Off off;
    T mean; // 0 where nobody asked for it
    T slope, slope_difference;
    T u_slope, u_difference;
    TangentKernel<Zero> own{};

    template <class K>
    FISHERFIELD_HD FISHERFIELD_INLINE TangentKernel<T, T, Zero> kernel(const K& k) const {
        const T o = slope * k.o, d = slope_difference * k.o + (slope + slope_difference) * k.d;
        if (is_zero(k.ou) && is_zero(k.du)) {
            return {o, d, {}, {}};
        }
        return {o + u_slope * k.ou, d + (u_difference * k.ou + (u_slope + u_difference) * k.du), {}, {}};
    }
};

struct Phi {
    bool with_mean = false; // E phi is asked for where it takes an integral of its own

    template <class Z, class S, class I, class Visit>
    FISHERFIELD_HD FISHERFIELD_INLINE Status pass(const Z& z, const S&, const I& integrals, Visit&& visit) const {
        using T = decltype(z.v);
        if (is_zero(z.xy)) {
            const auto m = integrals.independent(z.v, z.mean);
            const T slope2 = m.slope_mean * m.slope_mean;
            const auto off = slope2 * z.off;
            const T xy = with_mean ? T(0.0) : mean_squared(m), mean = with_mean ? m.mean : T(0.0);
            visit(PhiLaw<T, std::decay_t<decltype(off)>>{xy, m.variance, off, mean, slope2, m.slope_variance,
                                                         m.slope_second, m.u_slope * m.u_slope, m.u2_slope2});
            return m.status;
        }
        if constexpr (!std::is_same_v<std::decay_t<decltype(z.xy)>, Zero>) {
            const auto p = integrals.pair(z);
            const auto off = p.slope * z.off;
            T xy = p.value, mean(0.0);
            Status status = p.status;
            if (with_mean) {
                const auto m = integrals.independent(z.xy + z.v, z.mean);
                mean = m.mean;
                const T square = mean * mean;
                const auto small = (p.value + square <= m.variance) & (square - p.value <= m.variance);
                xy = pick(small, p.value - square, m.variance - p.difference);
                status = status != Status::ok ? status : m.status;
            }
            visit(DependentPhiLaw<T, std::decay_t<decltype(off)>>{xy, p.difference, off, mean, p.slope,
                                                                  p.slope_difference, p.u_slope, p.u_difference});
            return status;
        }
    }
};

} // namespace fisherfield
