// SPDX-License-Identifier: BSD-3-Clause
// E phi(x) and E phi'(x) of x ~ N(m, s^2) where they are elementary: straight pieces (relu, abs, step, hardtanh, ...),
// hardswish, elu and its kin, erf and gelu. Tails of the normal law, read off docs/theory.md, section 3; each form is
// chosen so that like signs add, or differences are integrated where they would cancel.
#pragma once

#include <cmath>

#include "fisherfield/closed_form.hpp"
#include "fisherfield/quadrature.hpp"

namespace fisherfield {

namespace conditional {

// x ~ N(m, s^2)
struct Mean {
    double value;                    // E phi(x)
    double slope;                    // E phi'(x)
    double z_slope;                  // E z phi'(x), z = (x - m)/s
    double size;                     // E|phi(x)|,
    double slope_size;               // E|phi'(x)|, or a little more
    double rise2 = 0.0, bend2 = 0.0; // E [phi(x) - phi(u)]^2, the same of phi', where they are formed
};

// The normal law above and below t = m/s:  P(x > 0), E max(x, 0)/s  and the same of -x.
struct Sides {
    double pdf, above, below, ramp_above, ramp_below;

    FISHERFIELD_HD explicit Sides(double t) {
        const closed_form::Tail far = closed_form::tail(std::fabs(t));
        const bool right = t > 0.0;
        pdf = far.pdf;
        above = right ? 1.0 - far.i0 : far.i0;
        below = right ? far.i0 : 1.0 - far.i0;
        ramp_above = right ? t + far.i1 : far.i1;
        ramp_below = right ? far.i1 : far.i1 - t;
    }
    FISHERFIELD_HD double tail() const { return std::fmin(ramp_above, ramp_below); }
};

// P(x > t)/pdf(t) = int_0^oo e^(-t y - y^2/2) dy, and minus its derivative, for t > -2.5.
struct Mills {
    double ratio, descent;

    FISHERFIELD_HD explicit Mills(double t) {
        if (t < 3.0) {
            ratio = formulas::normal_cdf(-t) / formulas::normal_pdf(t);
            descent = 1.0 - t * ratio;
        } else {
            const closed_form::TailRatios tail(t);
            ratio = tail.r0;
            descent = tail.r0 * tail.r1;
        }
    }
};

// int f over [low, low + width] by eight points, for what varies on a scale of four times the width.
template <class F>
FISHERFIELD_HD double eight_points(double low, double width, F&& f) {
    constexpr double node[4] = {0.18343464249564980494, 0.52553240991632898582, 0.79666647741362673959,
                                0.96028985649753623168};
    constexpr double weight[4] = {0.36268378337836198297, 0.31370664587788728734, 0.22238103445337447054,
                                  0.10122853629037625915};
    const double half = 0.5 * width, centre = low + half;
    double sum = 0.0;
    for (int i = 0; i < 4; ++i) {
        sum += weight[i] * (f(centre - half * node[i]) + f(centre + half * node[i]));
    }
    return half * sum;
}

// The mean m of x, a sum of two: next to a kink m itself has lost the digits of m - kink.
struct Place {
    double along, shift;

    FISHERFIELD_HD double value() const { return along + shift; }
    FISHERFIELD_HD double above(double kink) const { return along + (shift - kink); }
};

// E of 1, x, z, z x and x^2 where low < x < high, z = (x - m)/s; of a narrow one int P(x > y) dy over low < y < high.
struct Window {
    bool narrow;
    double above_low, above_high; // m - low, m - high
    double one, x, z, z_x, x2, ramp = 0.0;
    Sides at_low, at_high; // of x - low, x - high

    FISHERFIELD_HD Window(double low, double high, Place at, double s)
        : narrow(high - low < 0.25 * s), above_low(at.above(low)), above_high(at.above(high)), at_low(above_low / s),
          at_high(above_high / s) {
        const double m = at.value();
        if (narrow) {
            const auto density = [&](double y) { return formulas::normal_pdf((y - m) / s) / s; };
            one = eight_points(low, high - low, density);
            x = eight_points(low, high - low, [&](double y) { return y * density(y); });
            z = eight_points(low, high - low, [&](double y) { return (y - m) / s * density(y); });
            z_x = eight_points(low, high - low, [&](double y) { return (y - m) / s * y * density(y); });
            x2 = eight_points(low, high - low, [&](double y) { return y * y * density(y); });
            ramp = eight_points(low, high - low, [&](double y) { return formulas::normal_cdf((m - y) / s); });
            return;
        }
        one = m > 0.5 * (low + high) ? at_high.below - at_low.below : at_low.above - at_high.above;
        z = at_low.pdf - at_high.pdf;
        x = m * one + s * z;
        z_x = s * one + low * at_low.pdf - high * at_high.pdf;
        x2 = m * x + s * z_x;
    }
};

// phi = `low_value` below `low`, rising at the rate `gain` up to `high`: hardtanh, relu6, hardsigmoid. Away from phi(m)
// each kink takes the tail beyond it.
FISHERFIELD_HD inline Mean clipped(double low, double high, double low_value, double gain, Place at, double s) {
    const Window window(low, high, at, s);
    const double inside = low_value == 0.0 ? window.above_low : at.value(); // phi/gain; hardtanh is x
    const double phi_m = window.above_low <= 0.0    ? low_value
                         : window.above_high >= 0.0 ? low_value + gain * (high - low)
                                                    : gain * inside;
    const double value = window.narrow ? low_value + gain * window.ramp
                                       : phi_m + gain * s * (window.at_low.tail() - window.at_high.tail());
    const double size = low_value < 0.0 ? std::fmin(1.0, std::fabs(phi_m) + s) : value;
    return {value, gain * window.one, gain * window.z, size, gain * window.one};
}

// phi = plus x for x > 0 and a (e^(x rate) - 1) for x < 0.
//     E e^y 1(y < 0) = pdf(t) M(t + s) = e^(m + s^2/2) P(z > t + s),   y ~ N(m, s^2), t = m/s, M(t) = P(z > t)/pdf(t)
FISHERFIELD_HD inline Mean exponential(double plus, double a, double rate, double m, double s) {
    const double y = m * rate, width = s * rate, t = m / s, end = t + width;
    const Sides sides(t);
    const double area = end > -1.0 ? sides.pdf * Mills(end).ratio
                                   : std::exp(y + 0.5 * width * width) * formulas::normal_cdf(-end); // E e^y 1(y < 0)
    double below = area - sides.below; // E (e^y - 1) 1(y < 0)
    if (width < 0.5) {                 // M(t) - M(t + s), or the other side's share of E e^y - 1
        const double from = t > -2.0 ? t : -end;
        const double drop = sides.pdf * eight_points(from, width, [](double x) { return Mills(x).descent; });
        below = t > -2.0 ? -drop : std::expm1(y + 0.5 * width * width) - drop;
    }
    const double ray = plus * s * sides.ramp_above, slope = plus * sides.above + a * rate * area;
    return {ray + a * below, slope, plus * sides.pdf + a * rate * (width * area - sides.pdf),
            ray + std::fabs(a * below), plus * sides.above + std::fabs(a * rate * area)};
}

FISHERFIELD_HD inline bool has_mean(const Activation& activation) {
    switch (activation.kind) {
    case Kind::relu:
    case Kind::leaky_relu:
    case Kind::abs:
    case Kind::step:
    case Kind::sign:
    case Kind::hardtanh:
    case Kind::relu6:
    case Kind::hardsigmoid:
    case Kind::hardswish:
    case Kind::elu:
    case Kind::selu:
    case Kind::erf:
    case Kind::gelu:
        return true;
    case Kind::celu:
        return activation.parameter > 0.0;
    default:
        return false;
    }
}

inline constexpr double kPoint = 1e-140; // a deviation that nothing else is as small as

FISHERFIELD_HD inline Mean mean(const Activation& activation, Place at, double s) {
    const double m = at.value();
    if (s < kPoint) {
        double value, slope;
        evaluate(activation, &m, &value, &slope, 1);
        return {value, slope, 0.0, std::fabs(value), std::fabs(slope)};
    }
    Rays rays{};
    if (homogeneous(activation, &rays)) {
        const Sides sides(m / s);
        const double minus = std::fabs(rays.minus), plus = std::fabs(rays.plus);
        return {s * (rays.plus * sides.ramp_above - rays.minus * sides.ramp_below),
                rays.plus * sides.above + rays.minus * sides.below, (rays.plus - rays.minus) * sides.pdf,
                s * (plus * sides.ramp_above + minus * sides.ramp_below), plus * sides.above + minus * sides.below};
    }
    switch (activation.kind) {
    case Kind::step:
        return {formulas::normal_cdf(m / s), 0.0, 0.0, formulas::normal_cdf(m / s), 0.0};
    case Kind::sign:
        return {std::erf(m / s / formulas::kSqrt2), 0.0, 0.0, 1.0, 0.0};
    case Kind::hardtanh:
        return clipped(-1.0, 1.0, -1.0, 1.0, at, s);
    case Kind::relu6:
        return clipped(0.0, 6.0, 0.0, 1.0, at, s);
    case Kind::hardsigmoid:
        return clipped(-3.0, 3.0, 0.0, 1.0 / 6.0, at, s);
    case Kind::hardswish: {
        const Window window(-3.0, 3.0, at, s);
        const double beyond = s * window.at_high.ramp_above + 3.0 * window.at_high.above; // E x 1(x > 3)
        return {(window.x2 + 3.0 * window.x) / 6.0 + beyond,
                (2.0 * window.x + 3.0 * window.one) / 6.0 + window.at_high.above,
                (2.0 * window.z_x + 3.0 * window.z) / 6.0 + window.at_high.pdf,
                std::fmin(0.4, std::fabs(value_of(activation, m)) + 0.5 * s) * window.at_low.above + beyond,
                window.at_low.above};
    }
    case Kind::elu:
        return exponential(1.0, activation.parameter, 1.0, m, s);
    case Kind::selu:
        return exponential(formulas::kSeluScale, formulas::kSeluScale * formulas::kSeluAlpha, 1.0, m, s);
    case Kind::celu:
        return exponential(1.0, activation.parameter, 1.0 / activation.parameter, m, s);
    case Kind::erf: {
        const double scale = 1.0 + 2.0 * s * s, root = std::sqrt(scale);
        const double slope = formulas::kTwoOverSqrtPi / root * std::exp(-m * m / scale);
        return {std::erf(m / root), slope, -2.0 * s * m / scale * slope, std::fmin(1.0, 1.2 * (std::fabs(m) + s)),
                slope};
    }
    case Kind::gelu: { // the density of x times pdf(x) is that of N(mu, s^2/(1 + s^2)), mu = m/(1 + s^2)
        const double scale = 1.0 + s * s, root = std::sqrt(scale), mu = m / scale;
        const Sides sides(m / root);
        const double density = sides.pdf / root;
        const double value = m < 0.0 && s > 1.0 ? root * sides.ramp_above - density : m * sides.above + s * s * density;
        return {value, sides.above + mu * density, s * density * (1.0 + 1.0 / scale - mu * mu),
                std::fabs(m) * sides.above + s * s * density, sides.above + std::fabs(mu) * density};
    }
    default:
        return {NAN, NAN, NAN, NAN, NAN};
    }
}

// phi = max(x, 0)^n, n >= 2. X_k = E max(x, 0)^k obeys X_k = m X_{k-1} + (k - 1) s^2 X_{k-2}, which adds like signs for
// m > 0. For m < 0 it cancels, and
//
//     X_k = s^k pdf(t) int_0^oo y^k e^(-t y - y^2/2) dy,   t = -m/s,
//
// is summed by panels that serve for every t.
class RectifiedMonomial {
public:
    FISHERFIELD_HD RectifiedMonomial(int degree, double s) : n_(degree), s_(s), low_(std::pow(s, degree - 2)) {
        const double end = 9.0 + std::sqrt(static_cast<double>(degree));
        double from = 0.0, to = 0.3; // e^(-t y) falls by e^-38 over 1 at most
        while (from < end) {
            const double half = 0.5 * (to - from);
            for (int i = 0; i < kNodes; ++i, ++count_) {
                const double y = from + half * (1.0 + gauss_legendre_node(i));
                y_[count_] = y;
                weight_[count_] = half * gauss_legendre_weight(i) * std::pow(y, degree - 2) * std::exp(-0.5 * y * y);
            }
            from = to;
            to = std::fmin(kGrowth * to, to + kPanel);
        }
    }

    FISHERFIELD_HD Mean operator()(Place at) const {
        const double m = at.value();
        const double t = -m / s_;
        double low, middle, high; // X_{n-2}, X_{n-1}, X_n
        if (t < 0.0) {
            low = formulas::normal_cdf(-t);
            middle = m * low + s_ * formulas::normal_pdf(t);
            high = m * middle + s_ * s_ * low;
            for (int k = 3; k <= n_; ++k) {
                low = middle;
                middle = high;
                high = m * middle + (k - 1) * s_ * s_ * low;
            }
        } else {
            double sum[3] = {};
            for (int i = 0; i < count_; ++i) {
                const double term = weight_[i] * std::exp(-t * y_[i]);
                sum[0] += term;
                sum[1] += y_[i] * term;
                sum[2] += y_[i] * y_[i] * term;
            }
            const double scale = low_ * formulas::normal_pdf(t);
            low = scale * sum[0];
            middle = scale * s_ * sum[1];
            high = scale * s_ * s_ * sum[2];
        }
        return {high, n_ * middle, n_ * (n_ - 1) * s_ * low, high, n_ * middle}; // E z f(x) = s E f'(x)
    }

private:
    static constexpr int kMost = 10 * kNodes; // up to 0.3, 0.9, 2.7, 5.1, ..., 16.2
    int n_, count_ = 0;
    double s_, low_; // low: s^(n - 2)
    double y_[kMost], weight_[kMost];
};

// By panels about the kinks, for each m anew: softsign.
class Integrated {
public:
    FISHERFIELD_HD Integrated(const Activation& activation, double s) : activation_(activation), s_(s) {}

    FISHERFIELD_HD Mean operator()(Place at) const {
        const double m = at.value();
        const quadrature::Turns turns(activation_);
        Mesh mesh(kRange, kPanel, turns.growth);
        for (int i = 0; i < turns.count; ++i) {
            mesh.kink(-at.above(turns.at[i]) / s_, turns.scale / s_);
        }
        Mean out{};
        mesh.integrate(0.0, [&](const double* z, const double* weight, int n) {
            double x[kBatch] = {}, phi[kBatch], slope[kBatch];
            for (int i = 0; i < n; ++i) {
                x[i] = m + s_ * z[i];
            }
            evaluate(activation_, x, phi, slope, n);
            for (int i = 0; i < n; ++i) {
                const double value = weight[i] * phi[i], rise = weight[i] * slope[i];
                out.value += value;
                out.slope += rise;
                out.z_slope += z[i] * rise;
                out.size += std::fabs(value);
                out.slope_size += std::fabs(rise);
            }
        });
        return out;
    }

private:
    const Activation& activation_;
    double s_;
};

} // namespace conditional

} // namespace fisherfield
