// SPDX-License-Identifier: BSD-3-Clause
// Lanes: a vector of doubles as wide as the instruction set this file is compiled for; one double where the compiler
// (MSVC) has no vector types.
#pragma once

#include <cmath>
#include <cstdint>
#include <type_traits>
#include <utility>

#if defined(__GNUC__) && defined(__SSE2__)
#include <immintrin.h>
#elif defined(__GNUC__) && defined(__aarch64__)
#include <arm_neon.h>
#endif

#include "fisherfield/elementary.hpp"

namespace fisherfield {

inline namespace FISHERFIELD_PATH {

#if defined(__GNUC__)
#if defined(__AVX512F__)
inline constexpr int kLanes = 8;
#elif defined(__AVX2__)
inline constexpr int kLanes = 4;
#else
inline constexpr int kLanes = 2;
#endif
typedef double Doubles __attribute__((vector_size(8 * kLanes)));
typedef std::int64_t Integers __attribute__((vector_size(8 * kLanes)));
typedef double Stored __attribute__((vector_size(8 * kLanes), aligned(8), may_alias)); // as arrays of double lie
#else
inline constexpr int kLanes = 1;
using Doubles = double;
using Integers = std::int64_t;
using Stored = double;
#endif

struct Lanes {
    Doubles v;

    Lanes() = default;
    FISHERFIELD_INLINE Lanes(double x) : v(x - Doubles{}) {}
#if defined(__GNUC__)
    FISHERFIELD_INLINE Lanes(Doubles x) : v(x) {}
#endif
    FISHERFIELD_INLINE explicit Lanes(const double* from) : v(*reinterpret_cast<const Stored*>(from)) {}
    FISHERFIELD_INLINE void store(double* to) const { *reinterpret_cast<Stored*>(to) = v; }
};

// The bits of a Lanes, or a condition: all ones where it holds.
struct Mask {
    Integers v;
};

FISHERFIELD_INLINE Lanes operator+(Lanes x, Lanes y) { return x.v + y.v; }
FISHERFIELD_INLINE Lanes operator-(Lanes x, Lanes y) { return x.v - y.v; }
FISHERFIELD_INLINE Lanes operator*(Lanes x, Lanes y) { return x.v * y.v; }
FISHERFIELD_INLINE Lanes operator/(Lanes x, Lanes y) { return x.v / y.v; }
FISHERFIELD_INLINE Lanes operator-(Lanes x) { return -x.v; }

FISHERFIELD_INLINE Mask bits(Lanes x) { return {__builtin_bit_cast(Integers, x.v)}; }
FISHERFIELD_INLINE Lanes lanes(Mask x) { return __builtin_bit_cast(Doubles, x.v); }
FISHERFIELD_INLINE Mask operator&(Mask x, Mask y) { return {x.v & y.v}; }
FISHERFIELD_INLINE Mask operator|(Mask x, Mask y) { return {x.v | y.v}; }
FISHERFIELD_INLINE Mask operator^(Mask x, Mask y) { return {x.v ^ y.v}; }
FISHERFIELD_INLINE Mask operator~(Mask x) { return {~x.v}; }

#if defined(__GNUC__)
FISHERFIELD_INLINE Mask operator<(Lanes x, Lanes y) { return {x.v < y.v}; }
FISHERFIELD_INLINE Mask operator<=(Lanes x, Lanes y) { return {x.v <= y.v}; }
FISHERFIELD_INLINE Lanes pick(Mask mask, Lanes yes, Lanes no) { return mask.v ? yes.v : no.v; }
#else
FISHERFIELD_INLINE Mask operator<(Lanes x, Lanes y) { return {x.v < y.v ? -1 : 0}; }
FISHERFIELD_INLINE Mask operator<=(Lanes x, Lanes y) { return {x.v <= y.v ? -1 : 0}; }
FISHERFIELD_INLINE Lanes pick(Mask mask, Lanes yes, Lanes no) { return mask.v != 0 ? yes : no; }
#endif
FISHERFIELD_INLINE Mask operator>(Lanes x, Lanes y) { return y < x; }

FISHERFIELD_INLINE Lanes smaller(Lanes x, Lanes y) { return pick(x < y, x, y); }
FISHERFIELD_INLINE Lanes larger(Lanes x, Lanes y) { return pick(x > y, x, y); }

FISHERFIELD_INLINE Lanes root(Lanes x) {
#if defined(__GNUC__) && defined(__AVX512F__)
    return Doubles(_mm512_maskz_sqrt_pd(255, x.v));
#elif defined(__GNUC__) && defined(__AVX2__)
    return Doubles(_mm256_sqrt_pd(x.v));
#elif defined(__GNUC__) && defined(__SSE2__)
    return Doubles(_mm_sqrt_pd(x.v));
#elif defined(__GNUC__) && defined(__aarch64__)
    return Doubles(vsqrtq_f64(x.v));
#else
    return std::sqrt(x.v);
#endif
}

// The same for 0 <= x <= 1 and about as fast again, to 1 ulp: beside another root it leaves the divider alone. From an
// estimate y of 1/sqrt x good to 2^-14, e = 1 - x y^2:  sqrt x = x y (1 - e)^(-1/2), whose series ends at 2^-53.
FISHERFIELD_INLINE Lanes root_of_fraction(Lanes x) {
#if defined(__GNUC__) && defined(__AVX512F__)
    const Lanes y = Doubles(_mm512_maskz_rsqrt14_pd(255, (x + 0x1p-1000).v)), estimate = x * y;
    const Lanes e = 1.0 - estimate * y;
    return estimate + (estimate * e) * (0.5 + e * (0.375 + e * 0.3125));
#else
    return root(x);
#endif
}

// Whether any lane's sign bit is set.
FISHERFIELD_INLINE bool any_negative(Mask x) {
#if defined(__GNUC__) && defined(__AVX512F__)
    return _mm512_movepi64_mask(__builtin_bit_cast(__m512i, x.v)) != 0;
#elif defined(__GNUC__) && defined(__AVX2__)
    return _mm256_movemask_pd(__builtin_bit_cast(__m256d, x.v)) != 0;
#elif defined(__GNUC__)
    return (x.v[0] | x.v[1]) < 0;
#else
    return x.v < 0;
#endif
}

FISHERFIELD_INLINE Mask every_lane(std::int64_t x) { return {Integers{} + x}; }
FISHERFIELD_INLINE Mask sign_of(Lanes x) { return bits(x) & every_lane(INT64_MIN); }
FISHERFIELD_INLINE Lanes size(Lanes x) { return lanes(bits(x) & every_lane(INT64_MAX)); }
FISHERFIELD_INLINE Lanes with_sign(Lanes x, Lanes sign) { return lanes(bits(x) ^ sign_of(sign)); }

// The nearest whole number for |x| < 2^51: adding 1.5 2^52 leaves no bits for a fraction. And 2^n of one, |n| < 1023.
inline constexpr double kWhole = 0x1.8p52;
FISHERFIELD_INLINE Lanes integer(Lanes x) { return (x + kWhole) - kWhole; }
FISHERFIELD_INLINE Lanes power_of_two(Lanes n) { return lanes({(bits(n + kWhole).v + 1023) << 52}); }

// x/2^n in [sqrt(1/2), sqrt 2), for normal x > 0
FISHERFIELD_INLINE Lanes mantissa(Lanes x, Lanes* n) {
    constexpr std::int64_t root_half = 0x3fe6a09e667f3bcd, bias = 1024;
    const Integers biased = (bits(x).v - root_half + (bias << 52)) >> 52; // n + 1024 > 0
    *n = lanes({bits(kWhole).v + biased}) - (kWhole + bias);
    return lanes({bits(x).v - ((biased - bias) << 52)});
}

// body(0), ..., body(count - 1), each argument a constant: what has to stay in registers takes no loop.
template <int count, int i = 0, class Body>
FISHERFIELD_INLINE void unrolled(Body&& body) {
    if constexpr (i < count) {
        body(std::integral_constant<int, i>{});
        unrolled<count, i + 1>(body);
    }
}

// rows[i] lane j <-> rows[j] lane i
#if defined(__GNUC__)
template <int first, int... lane>
FISHERFIELD_INLINE Doubles interleaved(Doubles x, Doubles y, std::integer_sequence<int, lane...>) {
    return __builtin_shufflevector(x, y, (first + lane / 2 + (lane % 2) * kLanes)...);
}
// Each round moves the lowest bit of the row's number into the lane's, and the highest of the lane's into the row's.
template <int rounds = kLanes>
FISHERFIELD_INLINE void transpose(Lanes (&rows)[kLanes]) {
    if constexpr (rounds > 1) {
        constexpr int half = kLanes / 2;
        constexpr std::make_integer_sequence<int, kLanes> every;
        Lanes out[kLanes];
        unrolled<half>([&](auto i) {
            out[2 * i] = interleaved<0>(rows[i].v, rows[i + half].v, every);
            out[2 * i + 1] = interleaved<half>(rows[i].v, rows[i + half].v, every);
        });
        transpose<rounds / 2>(out);
        unrolled<kLanes>([&](auto i) { rows[i] = out[i]; });
    }
}
#else
FISHERFIELD_INLINE void transpose(Lanes (&)[kLanes]) {}
#endif

} // namespace FISHERFIELD_PATH

} // namespace fisherfield
