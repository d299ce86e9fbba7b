// SPDX-License-Identifier: BSD-3-Clause
// Elementary functions without branches, for a double or for a vector of them: asin, sin t - t cos t, exp - 1, log.
//
// V is double or a type with the same operators and with root, pick, integer, power_of_two and mantissa
// (cpp/cpu/lanes.hpp). Every polynomial is a minimax one: Remez exchange at 60 digits in mpmath on the interval given,
// weighted so that the error named is that of the function's value, relative; then rounded to double. The accuracy of
// the whole function, rounding included, is that of its tests.
//
// A program may hold these functions several times over, compiled for several instruction sets; FISHERFIELD_PATH keeps
// the copies apart, so that the linker never takes one for the other.
#pragma once

#include <cmath>

#include "fisherfield/conversion.hpp"
#include "fisherfield/host_device.hpp"

#if !defined(FISHERFIELD_PATH)
#define FISHERFIELD_PATH plain
#endif

namespace fisherfield::elementary {

inline namespace FISHERFIELD_PATH {

FISHERFIELD_HD FISHERFIELD_INLINE double root(double x) { return std::sqrt(x); }
FISHERFIELD_HD FISHERFIELD_INLINE double root_of_fraction(double x) { return std::sqrt(x); }
FISHERFIELD_HD FISHERFIELD_INLINE double pick(bool condition, double yes, double no) { return condition ? yes : no; }
FISHERFIELD_HD FISHERFIELD_INLINE double integer(double x) { return std::rint(x); }
FISHERFIELD_HD FISHERFIELD_INLINE double power_of_two(double n) { return std::ldexp(1.0, saturated<int>(n)); }
// x/2^n in [sqrt(1/2), sqrt 2), for normal x > 0
FISHERFIELD_HD FISHERFIELD_INLINE double mantissa(double x, double* n) {
    int exponent;
    const double m = std::frexp(x, &exponent);
    const bool low = m < 0.70710678118654752440;
    *n = exponent - low;
    return low ? 2.0 * m : m;
}

// k[I] + k[I + 2] y + k[I + 4] y^2 + ...
template <int I, int N, class V>
FISHERFIELD_HD FISHERFIELD_INLINE V every_other(const double (&k)[N], V y) {
    if constexpr (I + 2 < N) {
        return every_other<I + 2>(k, y) * y + k[I];
    } else {
        return k[I];
    }
}

// sum of k[i] x^i, in two chains of x^2: half the latency of one
template <int N, class V>
FISHERFIELD_HD FISHERFIELD_INLINE V polynomial(const double (&k)[N], V x) {
    const V x2 = x * x;
    return every_other<1>(k, x2) * x + every_other<0>(k, x2);
}

// (asin(v)/v - 1)/v^2 in u = v^2 on [0, 1/2]: 1.0e-16
inline constexpr double kAsin[] = {
    0x1.55555555560b6p-3, 0x1.33333331c8810p-4, 0x1.6db6dc6ba4828p-5, 0x1.f1c6c212ecc95p-6, 0x1.6e9540908689cp-6,
    0x1.1ba33bbfdd5dfp-6, 0x1.da2a82c4e8cf8p-7, 0x1.cea922f0d7881p-8, 0x1.40987a29eba3dp-5, -0x1.14469fc4f9a75p-3,
    0x1.1027c7edee7dap-1, -0x1.6d72568310a6bp0, 0x1.7338f414892cbp1,  -0x1.0c2e376a01455p2, 0x1.09cdb3d331afap2,
    -0x1.428b16fc6921ep1, 0x1.75224306c4a5cp-1};

// (sin t - t cos t)/(2 pi x^(3/2)) in x = 1 - cos t on [0, 1], analytic up to x = 2: 3.9e-17
inline constexpr double kBend[] = {0x1.334ed7129996cp-3,   0x1.ebb1581dc1a1bp-8,   0x1.3c169414757edp-10,
                                   0x1.24ac9b4dbba73p-12,  0x1.45ef007733e53p-14,  0x1.961ea64188d39p-16,
                                   0x1.11b0329c9c555p-17,  0x1.75b4b392b23f8p-19,  0x1.8a6fc7feb9591p-20,
                                   -0x1.7d02ee7c4fdf7p-21, 0x1.4ae73d1663ab7p-19,  -0x1.cdec8ff276f8ap-19,
                                   0x1.071e3f4753f0dp-18,  -0x1.9c367aa0a7115p-19, 0x1.bd5b2d6ae3d61p-20,
                                   -0x1.238bd86a6b51bp-21, 0x1.70c182d33f471p-24};

// (e^r - 1 - r)/r^2 on |r| <= log(2)/2: 1.8e-17 of e^r - 1
inline constexpr double kExp[] = {
    0x1.0000000000005p-1,  0x1.555555555553ap-3,  0x1.55555555522b0p-5,  0x1.1111111118f2cp-7,  0x1.6c16c17edd427p-10,
    0x1.a01a01753f37dp-13, 0x1.a019a76b16145p-16, 0x1.71de87ace8d9dp-19, 0x1.28a1e3cab186ap-22, 0x1.ae6c2d8180d9dp-26};

// (atanh(z)/z - 1)/z^2 in z^2 on [0, (3 - sqrt 8)^2]: 1.2e-18 of atanh z
inline constexpr double kAtanh[] = {0x1.5555555555592p-2, 0x1.999999997fee6p-3, 0x1.24924941e0da3p-3,
                                    0x1.c71c5216410efp-4, 0x1.74663c54f0e61p-4, 0x1.39a1fb842beddp-4,
                                    0x1.2f02e667bc677p-4};

// asin(v) for u = v^2 <= 1/2
template <class V>
FISHERFIELD_HD FISHERFIELD_INLINE V asin_small(V v, V u) {
    return v + v * (u * polynomial(kAsin, u));
}

// (sin t - t cos t)/(2 pi) from x = 1 - cos t in [0, 1]; relative also where t -> 0
template <class V>
FISHERFIELD_HD FISHERFIELD_INLINE V bend(V x) {
    return x * root_of_fraction(x) * polynomial(kBend, x);
}

// e^x = 2^n (1 + rise), |rise| < 0.42, as two factors 2^(n/2) that neither over- nor underflow for |x| <= 760
template <class V>
struct Power {
    V rise, first, second;
};

template <class V>
FISHERFIELD_HD FISHERFIELD_INLINE Power<V> power(V x) {
    // log 2 in two parts; 11 bits of n times the first are exact
    constexpr double log2e = 1.44269504088896340736, high = 0x1.62e42fee00000p-1, low = 0x1.a39ef35793c76p-33;
    const V n = integer(x * log2e), half = integer(n * 0.5);
    const V r = (x - n * high) - n * low;
    return {r + r * r * polynomial(kExp, r), power_of_two(half), power_of_two(n - half)};
}

// e^x; 0 far below, infinity above
template <class V>
FISHERFIELD_HD FISHERFIELD_INLINE V exp(V x) {
    const V above = pick(x < V(-760.0), V(-760.0), x);
    const Power<V> p = power(pick(above > V(760.0), V(760.0), above));
    return (p.first + p.first * p.rise) * p.second;
}

// 1 - e^-x for x >= 0, relative also where x -> 0
template <class V>
FISHERFIELD_HD FISHERFIELD_INLINE V one_minus_exp(V x) {
    const Power<V> p = power(pick(x > V(760.0), V(-760.0), -x));
    const V scale = p.first * p.second;
    return (1.0 - scale) - scale * p.rise;
}

// log x for normal x > 0:  log m = 2 atanh((m - 1)/(m + 1))
template <class V>
FISHERFIELD_HD FISHERFIELD_INLINE V log(V x) {
    constexpr double high = 0x1.62e42fee00000p-1, low = 0x1.a39ef35793c76p-33; // as in power()
    V n = 0.0;
    const V m = mantissa(x, &n), z = (m - 1.0) / (m + 1.0), z2 = z * z;
    return n * high + (n * low + 2.0 * (z + z * (z2 * polynomial(kAtanh, z2))));
}

} // namespace FISHERFIELD_PATH

} // namespace fisherfield::elementary
