// SPDX-License-Identifier: BSD-3-Clause
// Scaled: float64 numbers with an exponent of their own, for products over thousands of layers.
//
//     x = m 2^(512 e),   m = 0 or 2^-256 <= |m| < 2^256
//
// A product of two mantissas lies in (2^-512, 2^512), so it never over- or underflows before it is brought back, and
// the rounding is that of float64: wherever plain float64 neither over- nor underflows, both give the same bits.
// Source: the idea is that of T. Fukushima, Numerical computation of spherical harmonics of arbitrary degree and order
// by extending exponent of floating point numbers, J. Geodesy 86 (2012) 271-285.
#pragma once

#include <cmath>

#include "fisherfield/conversion.hpp"
#include "fisherfield/host_device.hpp"

namespace fisherfield {

struct Scaled {
    double m = 0.0;
    int e = 0;

    Scaled() = default;
    FISHERFIELD_HD Scaled(double value) : Scaled(value, 0) {}

    FISHERFIELD_HD Scaled(double mantissa, int exponent) : m(mantissa), e(exponent) {
        const double size = std::fabs(m);
        if (!(size >= kLower && size < kUpper)) {
            if (m == 0.0) {
                e = 0;
            } else {
                *this = normalised(*this);
            }
        }
    }

    // Rare, and kept out of the constructor so that the check alone is inlined everywhere; by value, for a number whose
    // address is taken is kept in memory.
    FISHERFIELD_HD_APART static Scaled normalised(Scaled x) {
        if (!x.finite()) {
            x.e = 0;
            return x;
        }
        for (; std::fabs(x.m) >= kUpper; ++x.e) {
            x.m *= kDown;
        }
        for (; std::fabs(x.m) < kLower; --x.e) {
            x.m *= kUp;
        }
        return x;
    }

    // An overflow before the number came here stays one; integrals report it as Status::overflow.
    FISHERFIELD_HD bool finite() const { return std::fabs(m) < HUGE_VAL; }

    // The nearest float64: 0 below its range, infinity above.
    FISHERFIELD_HD double value() const {
        if (e == 0) {
            return m;
        }
        if (e > 2) {
            return m > 0 ? HUGE_VAL : -HUGE_VAL;
        }
        return e < -2 ? 0.0 : std::ldexp(m, 512 * e);
    }

    FISHERFIELD_HD bool fits() const { return m == 0.0 || (value() != 0.0 && std::isfinite(value())); }
    FISHERFIELD_HD double log2() const { return std::log2(std::fabs(m)) + 512.0 * e; }

    static constexpr double kUpper = 0x1p256, kLower = 0x1p-256, kUp = 0x1p512, kDown = 0x1p-512;
};

FISHERFIELD_HD inline Scaled operator-(Scaled x) {
    x.m = -x.m;
    return x;
}

FISHERFIELD_HD inline Scaled operator+(Scaled x, Scaled y) {
    if (x.e == y.e) {
        return {x.m + y.m, x.e};
    }
    if (x.m == 0.0) {
        return y;
    }
    if (y.m == 0.0) {
        return x;
    }
    if (x.e < y.e) {
        const Scaled swap = x;
        x = y;
        y = swap;
    }
    // Two exponents apart the smaller one is below 2^-512 of the larger: nothing of it is left.
    return x.e - y.e > 1 ? x : Scaled(x.m + y.m * Scaled::kDown, x.e);
}

FISHERFIELD_HD inline Scaled operator-(Scaled x, Scaled y) { return x + (-y); }
FISHERFIELD_HD inline Scaled operator*(Scaled x, Scaled y) { return {x.m * y.m, x.e + y.e}; }
FISHERFIELD_HD inline Scaled operator/(Scaled x, Scaled y) { return {x.m / y.m, x.e - y.e}; }
FISHERFIELD_HD inline bool operator<(Scaled x, Scaled y) { return (x - y).m < 0.0; }
FISHERFIELD_HD inline bool operator>(Scaled x, Scaled y) { return y < x; }
FISHERFIELD_HD inline bool operator<=(Scaled x, Scaled y) { return !(y < x); }
FISHERFIELD_HD inline bool operator>=(Scaled x, Scaled y) { return !(x < y); }
FISHERFIELD_HD inline bool is_zero(Scaled x) { return x.m == 0.0; }
FISHERFIELD_HD inline Scaled larger(Scaled x, Scaled y) { return x < y ? y : x; }
FISHERFIELD_HD inline Scaled smaller(Scaled x, Scaled y) { return y < x ? y : x; }
FISHERFIELD_HD inline Scaled pick(bool condition, Scaled yes, Scaled no) { return condition ? yes : no; }

FISHERFIELD_HD inline Scaled sqrt(Scaled x) {
    const bool odd = x.e % 2 != 0;
    return odd ? Scaled(std::sqrt(x.m * Scaled::kUp), (x.e - 1) / 2) : Scaled(std::sqrt(x.m), x.e / 2);
}

FISHERFIELD_HD inline Scaled abs(Scaled x) {
    x.m = std::fabs(x.m);
    return x;
}

// x^n, n >= 0, to n half ulp.
FISHERFIELD_HD_APART inline Scaled power(Scaled x, int n) {
    Scaled out(1.0);
    for (; n > 0; n /= 2) {
        out = n % 2 == 1 ? out * x : out;
        x = n > 1 ? x * x : x;
    }
    return out;
}

FISHERFIELD_HD inline Scaled power_of_two(int n) {
    const int e = n >= 0 ? n / 512 : -((511 - n) / 512);
    return {std::ldexp(1.0, n - 512 * e), e};
}

// e^x far beyond float64's range; its error is |x| eps/2, that of x itself. Infinite for x > 1e11.
FISHERFIELD_HD_APART inline Scaled scaled_exp(double x) {
    if (std::fabs(x) < 700.0) {
        return std::exp(x);
    }
    if (std::fabs(x) > 1e11) {
        return x > 0.0 ? HUGE_VAL : 0.0;
    }
    // 512 log 2 in two parts, the first with 33 bits, so that its small multiples are exact
    constexpr double high = 0x1.62e42feep+8, low = 0x1.a39ef35793c76p-24;
    const double n = std::nearbyint(x / high);
    return {std::exp((x - n * high) - n * low), saturated<int>(n)}; // |n| < 3e8
}

} // namespace fisherfield
