// SPDX-License-Identifier: BSD-3-Clause
// Where and on which scale an activation turns, how far out its integrals reach, and how large their errors are.
#pragma once

#include <cmath>

#include "fisherfield/activations.hpp"
#include "fisherfield/gaussian_integrals.hpp"
#include "fisherfield/host_device.hpp"
#include "fisherfield/quadrature_mesh.hpp"

namespace fisherfield {

namespace quadrature {

inline constexpr double kTurn =
    2.0; // panels beside the place where tanh, mish, ... turn: poles lie i pi/2 away or more
// Bounds on errors, as multiples of E|integrand| (seen: 25 ulps), where z deviations out an integrand counts for more:
// its density has lost z^2 ulps. Of two integrals: where u = sqrt(q1) (a s + b d) is small for two large terms it has
// lost their digits.
inline constexpr double kErrorUlps = 100.0 * 0x1p-52;
// Of sums over nodes, each term of which may be rounded by half the least float64.
inline constexpr double kErrorLeast = 2048.0 * 0x1p-1074;
FISHERFIELD_HD inline double lost(double z2) { return 1.0 + z2 / 32.0; }
FISHERFIELD_HD inline double lost_twice(double z2) { return 1.0 + z2 / 32.0 + z2 * z2 / 2000.0; }
FISHERFIELD_HD inline double nested_error(double r) { return 2.0 * kErrorUlps * (1.0 + 0.02 * r); }

// Half the width of a strip about the real axis in which phi is analytic and grows no faster than |x|; 0 where it has
// none. Poles lie at i pi/2 (tanh), i pi, 0.35 + 2.36 i (mish). gelu_tanh has its first at 0.63 + 2.75 i, but i y off
// the axis it is e^(0.2 |x| y^2) larger.
FISHERFIELD_HD inline double strip(const Activation& activation) {
    switch (activation.kind) {
    case Kind::tanh:
    case Kind::gelu_tanh:
        return 1.5;
    case Kind::sigmoid:
    case Kind::silu:
    case Kind::softplus:
        return 3.0;
    case Kind::mish:
        return 2.25;
    default:
        return 0.0;
    }
}

FISHERFIELD_HD inline double scale_of(const Activation& activation) {
    switch (activation.kind) {
    case Kind::hardtanh:
    case Kind::relu6:
    case Kind::hardsigmoid:
        return 0.0;
    case Kind::celu:
        return kTurn * std::fmin(1.0, std::fabs(activation.parameter));
    case Kind::erf: // no poles, but e^(y^2) and e^(y^2/2) off the axis
    case Kind::gelu:
        return 1.2;
    case Kind::sigmoid:
    case Kind::silu:
    case Kind::softplus:
        return 2.0 * kTurn;
    case Kind::mish:
        return 1.5 * kTurn;
    default:
        return kTurn;
    }
}

// Threefold, but e^(-x^2/2) is nothing only beyond 9; gelu_tanh's poles follow the rays of 30 degrees, and on the left
// it falls like e^(-0.07 |x|^3), seen up to 20; x^n e^(-x) has its peak at n.
FISHERFIELD_HD inline Growth growth_of(const Activation& activation) {
    switch (activation.kind) {
    case Kind::gelu_tanh:
        return {10, 1.8};
    case Kind::erf:
    case Kind::gelu:
        return {8, kGrowth};
    case Kind::rectified_monomial:
        return {6, kGrowth};
    default:
        return {1, kGrowth};
    }
}

// Where an activation turns: its kinks, else the origin; and on which scale, where it is more than straight lines.
struct Turns {
    const double* at;
    int count;
    double scale;
    Growth growth;
    double origin = 0.0;

    FISHERFIELD_HD explicit Turns(const Activation& activation)
        : at(activation.kink_count > 0 ? activation.kinks : &origin),
          count(activation.kink_count > 0 ? activation.kink_count : 1), scale(scale_of(activation)),
          growth(growth_of(activation)) {}
    Turns(const Turns&) = delete;
    Turns& operator=(const Turns&) = delete;
};

// The step of the trapezoidal rule, in deviations, where poles lie y deviations away or more and the weight is
// e^(y^2/2): e^-48 is 1e-16 even of a fourth-order pole's residue.
FISHERFIELD_HD inline double trapezoidal_step(double poles) {
    const double y = std::fmin(poles, 9.8);
    return 2.0 * kPi * y / (48.0 + 0.5 * y * y);
}

// An activation that moves by `sigma` a deviation: the trapezoidal rule, where it has fewer points than panels have.
FISHERFIELD_HD inline void coarsest(const Activation& activation, double sigma, double finer, Mesh* mesh) {
    const double step = trapezoidal_step(strip(activation) / sigma);
    if (step > 0.14) {
        mesh->trapezoidal(step * finer);
    }
}

// How far to integrate. An activation that turns t deviations g out, at a distance x, may be there, and only there. The
// product of two that decay like e^y is largest 4 g deviations out at most; of two like e^(-y^2/2) or, gelu_tanh,
// e^(-0.07 y^3), at g times their rate here. y^n p(y) is largest at sqrt n. softsign does not vanish anywhere.
FISHERFIELD_HD inline double range_of(const Activation& activation, double x, double t, double g) {
    const bool exponential = strip(activation) > 0.0 && activation.kind != Kind::gelu_tanh;
    const double rate = exponential ? 4.0 : 4.0 + 0.5 * x * x, power = std::sqrt(2.0 * activation.degree);
    const bool smooth = activation.kink_count == 0;
    double out = smooth ? std::fmin(t, rate * g) : t < kFarthest ? t : 0.0;
    switch (activation.kind) {
    case Kind::softsign:
        out = 0.0;
        break;
    case Kind::elu:
    case Kind::selu:
        out = std::fmin(t, std::fmax(out, 4.0 * g));
        break;
    case Kind::celu:
        out = std::fmin(t, std::fmax(out, 4.0 * g / std::fabs(activation.parameter)));
        break;
    default:
        break;
    }
    return std::fmin(kRange + out, kFarthest - power) + power;
}

// Of a caller's function nothing is known: how far |integrand(z)| pdf(z) must be followed until it is nothing beside
// its largest value. Infinity: there is no such place. integrand(z, n, size): n sizes at a time, each call is dear.
template <class Integrand>
FISHERFIELD_HD double reach(Integrand&& integrand) {
    constexpr double ranges[] = {kRange, 14.0, 19.0, 25.0, 31.0, kFarthest}, step = 0.25;
    constexpr int most = 2 * static_cast<int>(kRange / step + 1);
    double largest = 0.0, from = 0.0;
    for (double range : ranges) {
        double z[most], size[most];
        int n = 0;
        for (double x = from; x <= range; x += step) { // the last one is the range itself
            z[n++] = x;
            z[n++] = -x;
        }
        integrand(z, n, size);
        for (int i = 0; i + 2 < n; ++i) {
            largest = std::fmax(largest, size[i] * formulas::normal_pdf(z[i]));
        }
        const double end = std::fmax(size[n - 1], size[n - 2]) * formulas::normal_pdf(range);
        if (largest < HUGE_VAL && end <= 1e-17 * largest) {
            return range;
        }
        from = range;
    }
    return HUGE_VAL;
}

} // namespace quadrature

} // namespace fisherfield
