// SPDX-License-Identifier: BSD-3-Clause
// Gaussian integrals of polynomials, monomials and Hermite polynomials: finite sums, for every degree, shift and
// variance.
//
// With B_k = E phi^(k)(b + sqrt(q) z), the mean of the k-th derivative, Price's theorem and Taylor's give
//
//     E phi(u) phi(w) = sum_k p^k/k! B_k B'_k,    E phi'(u) phi'(w) = sum_k p^(k-1)/(k-1)! B_k B'_k,   p = c sqrt(q1
//     q2).
//
// With the normalised Hermite polynomials h_k = He_k/sqrt(k!), E h_j(z) h_k(z') = delta_jk c^k (Mehler), it is
//
//     phi(b + sqrt(q) z) = sum_k a_k h_k(z),   a_k = q^(k/2)/sqrt(k!) B_k,   E phi(u) phi(w) = sum_k c^k a_k a'_k,
//
// so at c = 1 all is a sum of squares (A. Daniely, R. Frostig and Y. Singer, Toward deeper understanding of neural
// networks, NIPS 2016). Coefficients of a polynomial may cancel like those of He_32, and for c < 0 the signs alternate
// even where phi(u) phi(w) > 0: B_k and these sums are carried with 106 bits, in units in which all are close to 1.
#pragma once

#include <cmath>

#include "fisherfield/activations.hpp"
#include "fisherfield/closed_form.hpp"
#include "fisherfield/scaled.hpp"

namespace fisherfield::polynomials {

// A power multiplies the exponent of its argument: ten layers of x^8 make 2^30 of 1. Integrals of powers are formed of
// deviations within 2^(-512 kMostExponent) .. 2^(512 kMostExponent), five million decimal digits; beyond, the sums of
// exponents of kMaxDegree factors would not fit into an int.
inline constexpr int kMostExponent = 1 << 15;

// A sum of two float64 numbers, about 106 bits.
struct Double2 {
    double high = 0.0, low = 0.0;
};

// What a few hundred operations leave of 2^-106.
inline constexpr double kEps2 = 0x1p-96;

// D. E. Knuth's sum of two numbers with its error, and T. J. Dekker's product with it.
FISHERFIELD_HD inline Double2 exact_sum(double x, double y) {
    const double sum = x + y, part = sum - x;
    return {sum, (x - (sum - part)) + (y - part)};
}

FISHERFIELD_HD inline Double2 exact_product(double x, double y) {
    const double product = x * y;
    return {product, std::fma(x, y, -product)};
}

FISHERFIELD_HD inline Double2 operator+(Double2 x, Double2 y) {
    const Double2 sum = exact_sum(x.high, y.high), rest = exact_sum(x.low, y.low);
    const Double2 part = exact_sum(sum.high, sum.low + rest.high);
    return exact_sum(part.high, part.low + rest.low);
}

FISHERFIELD_HD inline Double2 operator*(Double2 x, Double2 y) {
    const Double2 product = exact_product(x.high, y.high);
    return exact_sum(product.high, product.low + (x.high * y.low + x.low * y.high));
}

FISHERFIELD_HD inline Double2 operator*(Double2 x, double y) { return x * Double2{y, 0.0}; }

FISHERFIELD_HD inline Double2 operator/(Double2 x, double y) {
    const double first = x.high / y;
    const Double2 rest = x + exact_product(-first, y);
    return exact_sum(first, rest.high / y);
}

FISHERFIELD_HD inline Double2 square_root(Double2 x) {
    const double root = std::sqrt(x.high);
    return root == 0.0 ? Double2{} : exact_sum(root, 0.5 * (x + exact_product(-root, root)).high / root);
}

// The means of all derivatives of phi, in units: lengths of 2^unit, values of 2^common.
struct Expansion {
    int degree = 0, unit = 0, common = 0;
    int below = 0;                      // B_1 and all that follow are in values of 2^(common - below)
    double q = 0.0;                     // in these units; 0 where it is nothing beside the shift
    Scaled deviation;                   // its root, whatever it is
    Double2 derivative[kMaxDegree + 1]; // B_k
    double size[kMaxDegree + 1] = {};   // what its roundings are relative to
    Scaled a[kMaxDegree + 1], error[kMaxDegree + 1];

    // a_k from B_k
    FISHERFIELD_HD void normalise() {
        Scaled front = power_of_two(common);
        for (int k = 0; k <= degree; ++k) {
            a[k] = front * derivative[k].high;
            error[k] = closed_form::rounding(2.0 + k, a[k]) + front * (kEps2 * size[k]);
            front = front * deviation / Scaled(std::sqrt(k + 1.0));
            front = k == 0 ? front * power_of_two(-below) : front;
        }
    }
};

// The least power of two that is at least sqrt(x) and |b|, as its exponent: at most 2^24 in size (kMostExponent), so
// that all sums of exponents below fit into an int.
FISHERFIELD_HD inline int unit_of(Scaled x, double b) {
    const double of_x = 0.5 * x.log2(), of_b = b != 0.0 ? std::log2(std::fabs(b)) : of_x;
    return static_cast<int>(std::ceil(std::fmax(of_x, of_b)));
}

FISHERFIELD_HD inline double in_units(Scaled x, int exponent) { return (x * power_of_two(-exponent)).value(); }

// From here on a polynomial's variable terms, relative to its constant, have an exponent of their own: squares of what
// is larger stay within float64.
inline constexpr int kFarBelow = 300;

// The moments M_j = E (b + sqrt(q) z)^j obey M_{j+1} = b M_j + j q M_{j-1}, all of one sign, and
//     B_k = sum_j c_j j!/(j - k)! M_{j-k}.
// In units that are powers of two, b, q and c_j stay exact.
FISHERFIELD_HD_APART inline Expansion of_powers(const double* coefficients, int degree, Scaled q, double shift) {
    Expansion out;
    out.degree = degree;
    out.unit = unit_of(q, shift);
    out.q = in_units(q, 2 * out.unit);
    out.deviation = sqrt(q) * power_of_two(-out.unit);
    const double b = in_units(shift, out.unit);
    Double2 moment[kMaxDegree + 1];
    moment[0] = {1.0, 0.0};
    for (int j = 0; j < degree; ++j) {
        moment[j + 1] = moment[j] * b;
        if (j > 0) {
            moment[j + 1] = moment[j + 1] + moment[j - 1] * out.q * static_cast<double>(j);
        }
    }
    Scaled largest = abs(Scaled(coefficients[0])), varying(0.0);
    for (int j = 1; j <= degree; ++j) {
        const Scaled size = abs(Scaled(coefficients[j]) * power_of_two(j * out.unit));
        varying = size > varying ? size : varying;
    }
    largest = varying > largest ? varying : largest;
    out.common = is_zero(largest) ? 0 : static_cast<int>(std::floor(largest.log2())); // |it| < 2^30
    if (!is_zero(varying)) { // beside a constant their squares would leave float64
        const int below = out.common - static_cast<int>(std::floor(varying.log2()));
        out.below = below > kFarBelow ? below : 0;
    }
    Double2 c[kMaxDegree + 1]; // c_j j!/(j - k)!
    for (int j = 0; j <= degree; ++j) {
        c[j] = {in_units(coefficients[j], out.common - (j > 0 ? out.below : 0) - j * out.unit), 0.0};
    }
    for (int k = 0; k <= degree; ++k) {
        for (int j = k; j <= degree; ++j) {
            if (c[j].high != 0.0) {
                const Double2 term = (k == 0 && j > 0 ? c[j] * std::ldexp(1.0, -out.below) : c[j]) * moment[j - k];
                out.derivative[k] = out.derivative[k] + term;
                out.size[k] += std::fabs(term.high);
                c[j] = c[j] * static_cast<double>(j - k);
            }
        }
    }
    out.normalise();
    return out;
}

// phi = He_n/sqrt(n!): phi^(k) = n!/(n-k)! He_{n-k}/sqrt(n!), and H_m = E He_m(b + sqrt(q) z) is a Hermite polynomial
// of variance 1 - q:
//     H_{m+1} = b H_m - m (1 - q) H_{m-1}.
// Nothing cancels at q = 1, where H_m = b^m.
FISHERFIELD_HD_APART inline Expansion of_hermite(int n, Scaled q, double shift) {
    Expansion out;
    out.degree = n;
    out.unit = unit_of(q > Scaled(1.0) ? q : Scaled(1.0), shift);
    out.q = in_units(q, 2 * out.unit);
    out.deviation = sqrt(q) * power_of_two(-out.unit);
    const double b = in_units(shift, out.unit), one = in_units(1.0, 2 * out.unit);
    const Double2 rest = exact_sum(one, -out.q);
    Double2 h[kMaxDegree + 1];
    double size[kMaxDegree + 1] = {1.0};
    h[0] = {1.0, 0.0};
    for (int m = 0; m < n; ++m) {
        const Double2 before = m > 0 ? h[m - 1] * rest * static_cast<double>(-m) : Double2{};
        h[m + 1] = h[m] * b + before;
        // Close to a zero of H_m the neighbours are not: together they are the amplitude that errors have.
        size[m + 1] = std::fabs(h[m].high * b) + std::fabs(before.high);
    }
    const Scaled norm = Scaled(1.0 / std::sqrt(std::tgamma(n + 1.0))) * power_of_two(n * out.unit);
    out.common = static_cast<int>(std::floor(norm.log2())); // |it| < 2^30
    const double front = in_units(norm, out.common);
    Double2 falling{front, 0.0}; // n!/(n - k)!
    for (int k = 0; k <= n; ++k) {
        out.derivative[k] = falling * h[n - k];
        out.size[k] = falling.high * size[n - k];
        falling = falling * static_cast<double>(n - k);
    }
    out.normalise();
    return out;
}

FISHERFIELD_HD inline bool is_polynomial(const Activation& activation) {
    return activation.kind == Kind::monomial || activation.kind == Kind::hermite || activation.kind == Kind::polynomial;
}

FISHERFIELD_HD inline Expansion expansion(const Activation& activation, Scaled q, double shift) {
    if (activation.kind == Kind::hermite) {
        return of_hermite(activation.degree, q, shift);
    }
    if (activation.kind == Kind::monomial) {
        double coefficients[kMaxDegree + 1] = {};
        coefficients[activation.degree] = 1.0;
        return of_powers(coefficients, activation.degree, q, shift);
    }
    return of_powers(activation.coefficients, activation.degree, q, shift);
}

// z phi'(b + sqrt(q) z) sqrt(q) = sum_k e_k h_k, by z h_k = sqrt(k+1) h_{k+1} + sqrt(k) h_{k-1}.
FISHERFIELD_HD inline Scaled tilted(const Expansion& of, int k) {
    const Scaled above = k + 2 <= of.degree ? of.a[k + 2] * std::sqrt((k + 1.0) * (k + 2.0)) : Scaled(0.0);
    return of.a[k] * static_cast<double>(k) + above;
}

FISHERFIELD_HD_APART inline Moments moments(const Activation& activation, Scaled g, double shift) {
    const Scaled q = g * g;
    const Expansion of = expansion(activation, q, shift);
    Moments out;
    Scaled slope_first(0.0), slope_rest(0.0), pair(0.0), errors[kMaxDegree + 1];
    for (int k = 0; k <= of.degree; ++k) {
        const Scaled square = of.a[k] * of.a[k], tilt = tilted(of, k);
        // d a_k/d log q is half of `tilt`, and g^2 is an ulp off the variance
        errors[k] = of.error[k] + closed_form::rounding(1, tilt);
        const Scaled error = closed_form::rounding(4, square) + abs(of.a[k]) * errors[k] * 2.0;
        (k == 0 ? out.second : out.variance) = (k == 0 ? out.second : out.variance) + square;
        (k == 1 ? slope_first : slope_rest) = (k == 1 ? slope_first : slope_rest) + square * k;
        out.second_error = out.second_error + error;
        out.slope_second_error = out.slope_second_error + error * (2.0 * k) / q;
        pair = pair + tilt * tilt;
    }
    out.mean = of.a[0];
    out.mean_error = errors[0];
    out.second = out.second + out.variance;
    out.slope_variance = slope_rest / q;
    out.slope_second = (slope_first + slope_rest) / q;
    out.u2_slope2 = pair / q;
    if (of.degree > 0) {
        out.slope_mean = of.a[1] / g;
        out.slope_mean_error = (errors[1] + closed_form::rounding(4, of.a[1])) / g;
    }
    if (of.degree > 1) {
        out.u_slope = of.a[2] * formulas::kSqrt2 / g;
    }
    return out;
}

// Differences of value and slope, and E u w phi'(u) phi'(w), by a_k.
FISHERFIELD_HD inline void differences(const Expansion& one, const Expansion& two, const Correlation& correlation,
                                       Scaled r, Covariance* out) {
    const double c = correlation.c;
    const Scaled rest = c >= 0.0 ? correlation.one_minus_c : Scaled(1.0 + c); // 1 - |c|
    Scaled power(1.0), even(0.0), before(0.0); // c^k, 1 - |c|^k as a sum of positive terms, 1 - c^(k-1)
    for (int k = 0; k <= one.degree; ++k) {
        const Scaled product = one.a[k] * two.a[k];
        const Scaled fall = c >= 0.0 || k % 2 == 0 ? even : Scaled(1.0) + abs(power);
        out->difference = out->difference + fall * product;
        out->slope_difference = out->slope_difference + before * product * k / r;
        out->slope_pair = out->slope_pair + power * tilted(one, k) * tilted(two, k);
        before = fall;
        even = even + abs(power) * rest;
        power = power * c;
    }
}

// The sums over k as they stand.
FISHERFIELD_HD inline Covariance of_series(const Expansion& one, const Expansion& two, const Correlation& correlation,
                                           Scaled r) {
    Covariance out;
    Scaled power(1.0), before(0.0);
    for (int k = 0; k <= one.degree; ++k) {
        const Scaled product = one.a[k] * two.a[k];
        const Scaled error = closed_form::rounding(4.0 + k, product) + abs(one.a[k]) * two.error[k] +
                             abs(two.a[k]) * one.error[k] + one.error[k] * two.error[k];
        out.value = out.value + power * product;
        out.value_error = out.value_error + abs(power) * error;
        if (k > 0 && !is_zero(r)) {
            out.slope = out.slope + before * product * k / r;
            out.slope_error = out.slope_error + abs(before) * error * k / r;
        }
        before = power;
        power = power * correlation.c;
    }
    differences(one, two, correlation, r, &out);
    return out;
}

// sum_k 2^(step k) power_k product_k, counted from the first term there is: p^k may leave float64 where that one is 0.
struct Series {
    int step, first = -1;
    Double2 sum;
    double size = 0.0;

    FISHERFIELD_HD explicit Series(int step_of_two) : step(step_of_two) {}

    FISHERFIELD_HD void add(int k, Double2 power, Double2 product, double error) {
        first = first < 0 && error > 0.0 ? k : first;
        const double unit = first < 0 ? 1.0 : std::ldexp(1.0, step * (k - first));
        sum = sum + power * product * unit;
        size += std::fabs(power.high) * error * unit;
    }
    FISHERFIELD_HD Scaled scale() const { return power_of_two(first < 0 ? 0 : step * first); }
};

FISHERFIELD_HD_APART inline Covariance covariance(const Activation& activation, Scaled q1, Scaled q2,
                                                  const Correlation& correlation, double shift) {
    const Expansion one = expansion(activation, q1, shift), two = expansion(activation, q2, shift);
    // Close to 1, c is what 1 - c says.
    const Double2 c =
        correlation.c > 0.5 ? exact_sum(1.0, -correlation.one_minus_c.value()) : Double2{correlation.c, 0.0};
    const Double2 p = c * square_root(exact_product(one.q, two.q));
    if (std::fabs(p.high) < 0x1p-400) { // nothing of its powers cancels
        return of_series(one, two, correlation, sqrt(q1 * q2));
    }
    const int step = std::ilogb(p.high); // not above 1, and not below -400
    const Double2 mantissa = p * std::ldexp(1.0, -step);
    Series value(step), slope(step);
    Double2 power{1.0, 0.0}, before; // (p/2^step)^k/k!
    for (int k = 0; k <= one.degree; ++k) {
        const Double2 product = one.derivative[k] * two.derivative[k];
        const double error =
            std::fabs(one.derivative[k].high) * two.size[k] + one.size[k] * std::fabs(two.derivative[k].high);
        const double beside = k > 0 ? std::ldexp(1.0, -(one.below + two.below)) : 1.0;
        value.add(k, power, product * beside, error * beside);
        if (k > 0) {
            slope.add(k - 1, before, product, error);
        }
        before = power;
        power = power * mantissa / (k + 1.0);
    }
    const Scaled scale = power_of_two(one.common + two.common) * value.scale();
    const Scaled slope_scale =
        power_of_two(one.common - one.below - one.unit + two.common - two.below - two.unit) * slope.scale();
    Covariance out;
    out.value = scale * value.sum.high;
    out.slope = slope_scale * slope.sum.high;
    out.value_error = closed_form::rounding(16, out.value) + scale * (kEps2 * value.size);
    out.slope_error = closed_form::rounding(16, out.slope) + slope_scale * (kEps2 * slope.size);
    differences(one, two, correlation, sqrt(q1 * q2), &out);
    return out;
}

} // namespace fisherfield::polynomials
