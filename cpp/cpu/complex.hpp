// SPDX-License-Identifier: BSD-3-Clause
// Complex numbers whose products are four multiplications: std::complex looks for infinities after each.
#pragma once

#include <cmath>

namespace fisherfield {

struct Complex {
    double re = 0.0, im = 0.0;

    constexpr Complex() = default;
    constexpr Complex(double real, double imaginary = 0.0) : re(real), im(imaginary) {}

    Complex& operator+=(Complex x) { return *this = {re + x.re, im + x.im}; }
    Complex& operator-=(Complex x) { return *this = {re - x.re, im - x.im}; }
};

constexpr Complex operator+(Complex x, Complex y) { return {x.re + y.re, x.im + y.im}; }
constexpr Complex operator-(Complex x, Complex y) { return {x.re - y.re, x.im - y.im}; }
constexpr Complex operator-(Complex x) { return {-x.re, -x.im}; }
constexpr Complex operator*(Complex x, Complex y) { return {x.re * y.re - x.im * y.im, x.re * y.im + x.im * y.re}; }
constexpr Complex operator*(Complex x, double y) { return {x.re * y, x.im * y}; }
constexpr Complex reciprocal(Complex x) {
    const double scale = 1.0 / (x.re * x.re + x.im * x.im);
    return {x.re * scale, -x.im * scale};
}
constexpr Complex operator/(Complex x, Complex y) { return x * reciprocal(y); }
inline double size_of(Complex x) { return std::fabs(x.re) + std::fabs(x.im); }
inline double argument(Complex x) { return std::atan2(x.im, x.re); }

} // namespace fisherfield
