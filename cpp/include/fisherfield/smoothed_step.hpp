// SPDX-License-Identifier: BSD-3-Clause
// Gaussian integrals of steps and ramps smoothed by noise: erf, gelu, tanh, sigmoid, softplus, silu, in closed form.
//
// With independent noise n ~ N(0, v),  E step(x + n) = Phi(x/sqrt v).  The logistic law is a mixture of normals whose
// variances are v = 4 K^2, K of Kolmogorov's law (D. F. Andrews and C. L. Mallows, J. R. Stat. Soc. B 36 (1974) 99;
// L. A. Stefanski, Stat. Probab. Lett. 11 (1991) 69), so that
//
//     sigmoid(x) = E step(x + n)     tanh(x) = E sign(x + n/2)     softplus(x) = E relu(x + n)     silu(x) = x E step(x
//     + n)
//
// and erf, gelu are the same with one variance, 1/2 and 1. Noise only adds to the variances: for each pair a, b of
// variances the integrals are those of step and relu (Cho and Saul 2009) at q1 + a, q2 + b and covariance p, and those
// of x Phi follow by E u f = q1 E f_u + p E f_w. With A = q1 + a, B = q2 + b, D = A B - p^2 and the angle phi whose
// tangent is sqrt D/p:
//
//     E step step = (pi - phi)/(2 pi)        E relu relu = [sqrt D + p (pi - phi)]/(2 pi)
//     E u w Phi(u/sqrt a) Phi(w/sqrt b) = [p (pi - phi) + N/sqrt D]/(2 pi),   N = q1 q2 + p^2 (a/A + b/B - 1)
//
// The 16-point Gauss rule in log K serves for Kolmogorov's law: for variances of 0 to 1e8 it leaves 2e-17 of second
// moments (mpmath). Sums are written so that like signs add; a few ulp are lost.
#pragma once

#include <cmath>

#include "fisherfield/closed_form.hpp"

namespace fisherfield {

namespace smoothed_step {

struct Noise {
    double variance, weight;
};

inline constexpr int kLogisticNodes = 16;

// Variance 4 K^2 and weight: the Gauss rule in log K of Kolmogorov's law (mpmath, 50 digits).
FISHERFIELD_HD constexpr Noise logistic(int i) {
    constexpr Noise rule[kLogisticNodes] = {
        {0.23478233344591330278, 5.6717623606019646121e-8},  {0.32773035051596028218, 0.000011750853675536821172},
        {0.44930031731714175169, 0.00041894460510032567266}, {0.61711355066873809686, 0.0051738547094386479},
        {0.85568703476880863964, 0.029738539231379229302},   {1.2018216786523583199, 0.094123257837537241106},
        {1.7107394222127547834, 0.18350968799971927326},     {2.4628696803934031787, 0.23878398298103588237},
        {3.5686441135311236311, 0.21857929451814699494},     {5.1672863856583545861, 0.14302791883567359042},
        {7.4235701251510464998, 0.064688960522914722831},    {10.536874215927796485, 0.018656565414027282234},
        {14.767330101121417526, 0.0030446579707806579525},   {20.493283189297068181, 0.0002360582897120890082},
        {28.372382511150767842, 6.4389223829675441405e-6},   {39.987344018604568371, 3.0590851952616987086e-8}};
    return rule[i];
}

enum class Form { sign, step, ramp, gate }; // E sign(x + n), E step(x + n), E relu(x + n), x E step(x + n)

struct Family {
    Form form;
    int count;
    double variance; // of the one noise, or the factor on the logistic ones

    FISHERFIELD_HD Noise noise(int i) const {
        if (count == 1) {
            return {variance, 1.0};
        }
        const Noise node = logistic(i);
        return {variance * node.variance, node.weight};
    }
};

FISHERFIELD_HD inline bool family(Kind kind, Family* out) {
    switch (kind) {
    case Kind::erf:
        *out = {Form::sign, 1, 0.5};
        return true;
    case Kind::gelu:
        *out = {Form::gate, 1, 1.0};
        return true;
    case Kind::tanh:
        *out = {Form::sign, kLogisticNodes, 0.25};
        return true;
    case Kind::sigmoid:
        *out = {Form::step, kLogisticNodes, 1.0};
        return true;
    case Kind::softplus:
        *out = {Form::ramp, kLogisticNodes, 1.0};
        return true;
    case Kind::silu:
        *out = {Form::gate, kLogisticNodes, 1.0};
        return true;
    default:
        return false;
    }
}

// y - x atan(y/x) for x > 0: y^3/(3 x^2) and so on where y is small.
FISHERFIELD_HD inline double bend(double y, double x) {
    const double t = y / x, t2 = t * t;
    if (t > 0.5) {
        return y - x * std::atan(t);
    }
    double sum = 0.0, power = -1.0;
    for (int k = 3; k < 53; k += 2) { // 0.25^25 = 1e-15 of the first term, 1e-17 with its denominator
        power *= -t2;
        sum += power / k;
    }
    return y * sum;
}

// One pair of noises.
struct Pair {
    double a, b, q1, q2, p, c, one_minus_c, rest; // rest = (1 - c)(1 + c)
    double A, B, e, D1, D, root;                  // e = q1 q2 - p^2; D1 is D at c = 1 for q1 = q2

    FISHERFIELD_HD Pair(double a, double b, double q1, double q2, double r, double c, double one_minus_c)
        : a(a), b(b), q1(q1), q2(q2), p(c * r), c(c), one_minus_c(one_minus_c), rest(one_minus_c * (1.0 + c)),
          A(q1 + a), B(q2 + b), e(q1 * q2 * rest), D1(a * q2 + b * q1 + a * b), D(e + D1), root(std::sqrt(D)) {}

    FISHERFIELD_HD double supplement() const { return std::atan2(root, -p); } // pi - phi
    FISHERFIELD_HD double noise_share() const { return a / A + b / B; }
    FISHERFIELD_HD double density() const { return 1.0 / (2.0 * kPi * root); } // E of both noises' densities

    // sqrt D + p (pi - phi)
    FISHERFIELD_HD double ramp() const { return p < 0.0 ? bend(root, -p) : root + p * supplement(); }

    // p (pi - phi) + N/sqrt D, N = e + p^2 (a/A + b/B), = a b/sqrt D - (a/A + b/B) sqrt D + [sqrt D + p (pi - phi)]:
    // whichever has smaller terms
    FISHERFIELD_HD double gate(double* size) const {
        const double head = p * supplement(), tail = (e + p * p * noise_share()) / root;
        *size = std::fabs(head) + tail;
        if (p < 0.0) {
            const double one = a * b / root, two = root * noise_share(), three = bend(root, -p);
            if (one + two + three < *size) {
                *size = one + two + three;
                return one - two + three;
            }
        }
        return head + tail;
    }

    // E of u^2 w Phi(w/sqrt b) at u's noise density
    FISHERFIELD_HD double half_gate() const {
        const double v = (e + q2 * a) / A, u = q1 * a / A, cross = p * a / A;
        return density() * (v * u + cross * cross * (1.0 + b * A / D));
    }
    FISHERFIELD_HD Pair swapped() const {
        Pair other = *this;
        other.a = b, other.b = a, other.q1 = q2, other.q2 = q1, other.A = B, other.B = A;
        return other;
    }
    FISHERFIELD_HD double double_gate() const {
        const double uu = a * (e + q1 * b) / D, ww = b * (e + q2 * a) / D, uw = a * b * p / D;
        return density() * (uu * ww + 2.0 * uw * uw);
    }
};

// E phi phi and its companions for one pair of noises; differences (from c = 1, q1 = q2) if `equal`.
struct Terms {
    double value, size, slope, slope_size, pair, difference = 0.0, slope_difference = 0.0; // sizes: of the terms
};

FISHERFIELD_HD_APART inline Terms terms(Form form, const Pair& at, bool equal) {
    const double tau = 1.0 / (2.0 * kPi);
    const double flat = at.a * at.b / at.D;
    Terms out{};
    switch (form) {
    case Form::sign:
        out.value = 4.0 * tau * std::atan2(at.p, at.root);
        out.slope = 4.0 * at.density();
        out.pair = out.slope * at.p * flat;
        break;
    case Form::step:
        out.value = tau * at.supplement();
        out.slope = at.density();
        out.pair = out.slope * at.p * flat;
        break;
    case Form::ramp:
        out.value = tau * at.ramp();
        out.slope = tau * at.supplement();
        out.pair = tau * at.gate(&out.size);
        break;
    case Form::gate: {
        const double angle = tau * at.supplement(), turn = at.density() * at.p * (at.noise_share() + flat);
        out.value = tau * at.gate(&out.size);
        out.slope = angle + turn;
        out.slope_size = angle + std::fabs(turn);
        out.pair = out.value + at.half_gate() + at.swapped().half_gate() + at.double_gate();
        break;
    }
    }
    out.size = form == Form::gate ? tau * out.size : std::fabs(out.value);
    out.slope_size = form == Form::gate ? out.slope_size : std::fabs(out.slope);
    if (!equal) {
        return out;
    }

    // The angle phi - phi_1, phi_1 that of c = 1, from its sine and cosine; q^2 D - p^2 D1 = e A B. With gap = q - p,
    //
    //     [sqrt D1 + q (pi - phi_1)] - [sqrt D + p (pi - phi)] = gap (pi - phi_1) - (sqrt D - sqrt D1) + p (phi -
    //     phi_1)
    //
    // whose last two terms are -gap sine sqrt D1/(cosine sum) - p (tan - id)(phi - phi_1).
    const double q = at.q1, one = at.D1, root1 = std::sqrt(one), sum = at.root + root1;
    const double cosine = at.p * q + at.root * root1, supplement1 = std::atan2(root1, -q);
    const bool near = at.c >= 0.0;
    const double sine = near ? q * at.rest * (at.A * at.B) / (at.root + at.c * root1) : q * at.root - at.p * root1;
    const double turn = sine == 0.0 ? 0.0 : std::atan2(sine, cosine);
    const double inverse = at.e / (at.root * root1 * sum); // 1/root1 - 1/root
    const double gap = q * at.one_minus_c;
    const double ramp =
        gap * supplement1 -
        (near ? gap * sine * root1 / (cosine * sum) + at.p * bend(sine, cosine) / cosine : at.e / sum - at.p * turn);
    switch (form) {
    case Form::sign:
        out.difference = 4.0 * tau * turn;
        out.slope_difference = 4.0 * tau * inverse;
        break;
    case Form::step:
        out.difference = tau * turn;
        out.slope_difference = tau * inverse;
        break;
    case Form::ramp:
        out.difference = tau * ramp;
        out.slope_difference = tau * turn;
        break;
    case Form::gate: {
        const double share = at.noise_share();
        out.difference = tau * (ramp + share * at.e / sum + at.a * at.b * inverse);
        // p/root and p/root^3, each less than at c = 1 by a sum of like signs
        const double cubes = gap / (one * root1) + at.p * inverse * (1.0 / one + 1.0 / (root1 * at.root) + 1.0 / at.D);
        out.slope_difference = tau * (turn + share * (gap / root1 + at.p * inverse) + at.a * at.b * cubes);
        break;
    }
    }
    return out;
}

inline constexpr double kErrorUlps = 24.0 * 0x1p-52; // seen: 6 eps of the terms' sizes

FISHERFIELD_HD_APART inline Covariance covariance(const Family& phi, double q1, double q2, double c,
                                                  double one_minus_c) {
    const bool equal = q1 == q2;
    const double r = equal ? q1 : std::sqrt(q1 * q2);
    double value = 0, size = 0, slope = 0, pair = 0, difference = 0, slope_difference = 0, slope_size = 0;
    for (int i = 0; i < phi.count; ++i) {
        const Noise one = phi.noise(i);
        for (int j = 0; j < (equal ? i + 1 : phi.count); ++j) {
            const Noise two = phi.noise(j);
            const double weight = one.weight * two.weight * (equal && j < i ? 2.0 : 1.0);
            const Terms t = terms(phi.form, Pair(one.variance, two.variance, q1, q2, r, c, one_minus_c), equal);
            value += weight * t.value;
            size += weight * t.size;
            slope += weight * t.slope;
            slope_size += weight * t.slope_size;
            pair += weight * t.pair;
            difference += weight * t.difference;
            slope_difference += weight * t.slope_difference;
        }
    }
    Covariance out;
    out.value = value;
    out.difference = difference;
    out.slope = slope;
    out.slope_difference = slope_difference;
    out.slope_pair = pair;
    out.value_error = kErrorUlps * size;
    out.slope_error = kErrorUlps * slope_size;
    return out;
}

FISHERFIELD_HD_APART inline Moments moments(const Family& phi, double g) {
    const double q = g * g, tau = 1.0 / (2.0 * kPi), root_tau = formulas::kInvSqrt2Pi;
    double mean = 0, variance = 0, slope_mean = 0, slope_variance = 0, u_slope = 0, u2_slope2 = 0;
    for (int i = 0; i < phi.count; ++i) {
        const Noise one = phi.noise(i);
        const double a = one.variance, A = q + a, rate = root_tau * one.weight / std::sqrt(A);
        switch (phi.form) {
        case Form::sign:
            slope_mean += 2.0 * rate;
            break;
        case Form::step:
            slope_mean += rate;
            break;
        case Form::ramp:
            mean += A * rate;
            u_slope += g * rate;
            break;
        case Form::gate:
            mean += q * rate;
            u_slope += g * rate * (1.0 + a / A);
            break;
        }
        for (int j = 0; j <= i; ++j) {
            const Noise two = phi.noise(j);
            const double b = two.variance, B = q + b, weight = one.weight * two.weight * (j < i ? 2.0 : 1.0) * tau;
            const double D = q * (a + b) + a * b, root = std::sqrt(D), whole = std::sqrt(A * B);
            const double sine = std::atan2(q, root), share = a / A + b / B, flat = a * b / D;
            switch (phi.form) {
            case Form::sign:
            case Form::step:
                variance += weight * sine;
                slope_variance += weight * (q / root) * (q / whole) / (root + whole);
                u2_slope2 += weight * flat / root;
                break;
            case Form::ramp:
                variance += weight * q * (0.5 * kPi + sine - q / (root + whole));
                slope_variance += weight * sine;
                u2_slope2 += weight * (0.5 * kPi + sine + q * share / root);
                break;
            case Form::gate:
                variance += weight * q * (0.5 * kPi + sine + q * (share / root - 1.0 / whole));
                slope_variance += weight * (sine + q * (share + flat) / root);
                u2_slope2 += weight * (0.5 * kPi + sine +
                                       q / root *
                                           (share + (a / A) * (a / A) * (2.0 + b * A / D) +
                                            (b / B) * (b / B) * (2.0 + a * B / D) + 3.0 * flat * flat));
                break;
            }
        }
    }
    const double scale = phi.form == Form::sign ? 4.0 : 1.0;
    Moments out;
    out.mean = phi.form == Form::step ? 0.5 : mean;
    out.variance = scale * variance;
    out.second = out.variance + out.mean * out.mean;
    out.slope_mean = phi.form == Form::ramp || phi.form == Form::gate ? 0.5 : slope_mean;
    out.slope_variance = scale * slope_variance;
    out.slope_second = out.slope_variance + out.slope_mean * out.slope_mean;
    out.u_slope = u_slope;
    out.u2_slope2 = scale * u2_slope2;
    out.mean_error = Scaled(kErrorUlps) * out.mean;
    out.second_error = Scaled(kErrorUlps) * out.second;
    out.slope_mean_error = Scaled(kErrorUlps) * out.slope_mean;
    out.slope_second_error = Scaled(kErrorUlps) * out.slope_second;
    return out;
}

} // namespace smoothed_step

} // namespace fisherfield
