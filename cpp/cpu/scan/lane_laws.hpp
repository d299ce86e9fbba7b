// SPDX-License-Identifier: BSD-3-Clause
// What the kernels of scans share: numbers of a vector of points, phi's integrals there, and what follows from the
// output's kernel. For one instruction set, named by FISHERFIELD_PATH.
#pragma once

#include <type_traits>

#include "fisherfield/integrals.hpp"
#include "fisherfield/quantities.hpp"
#include "kernels.hpp"
#include "lanes.hpp"

namespace fisherfield {

inline namespace FISHERFIELD_PATH {

// What a law asks of a number.
FISHERFIELD_INLINE bool is_zero(Lanes) { return false; } // what is divided by zero is found at the end
FISHERFIELD_INLINE Lanes sqrt(Lanes x) { return root(x); }

// What a vector of points has of a column.
struct Entry {
    const ColumnOrValue& column;
    const double* at; // the vector's first point in place 0

    FISHERFIELD_INLINE operator Lanes() const {
        return column.place >= 0 ? Lanes(at + column.place * kScanBlock) : Lanes(column.value);
    }
};

template <Theory of>
struct LaneSettings {
    static constexpr Theory theory = of;
    const PointColumns& points;
    const double* at;
    bool biases;

    FISHERFIELD_INLINE LaneSettings(const PointColumns& all, const double* first)
        : points(all), at(first), biases(all.biases) {}
    FISHERFIELD_INLINE Lanes samples() const { return Entry{points.samples, at}; }
    FISHERFIELD_INLINE Lanes one_over_n() const { return Entry{points.one_over_n, at}; }
    FISHERFIELD_INLINE Lanes one_over_n_minus_1() const { return Entry{points.one_over_n_minus_1, at}; }
    FISHERFIELD_INLINE bool one_sample() const { return false; } // columns.cpp keeps it away
};

// What follows an affine layer: relu, or relu where the layer before it has one too, so that q_xy >= 0; nothing or phi
// of other rays; or a BatchNorm and phi, whose integrals are those of rays (without eps or with), are given, or are
// those of a closed finite batch.
enum class Form { relu, relu_again, no_batch_norm, rays, rays_and_eps, integrated, closed };

constexpr bool normed(Form form) {
    return form == Form::rays || form == Form::rays_and_eps || form == Form::integrated || form == Form::closed;
}

struct LaneMoments {
    Lanes mean, variance, slope_mean, slope_second, slope_variance, u_slope, u2_slope2, mean2;
    Status status = Status::ok;
};

FISHERFIELD_INLINE Lanes mean_squared(const LaneMoments& m) { return m.mean2; }

// Of the acute one, t, of an angle and its supplement, with x = 1 - cos t and y = cos t, analytic up to x = 2:
//
//     t = 2 pi sqrt(x) A(y)/D(y)        sin t - t cos t = 2 pi x^(3/2) B(y)/D(y)
//
// of degrees 7, 7 and 6, fitted together at 50 digits to 1.3e-17 relative. Where an addition goes beside a
// multiplication (Zen 4), those are what counts. With z = y (y + 4.75), some z + a divide a polynomial up to a constant
// (Knuth, The Art of Computer Programming 2, 4.6.4):
//
//     p(y) = ((l + h z) (z + a1) + b1) (z + a2) + b2        l, h linear in y; h = 1 for D
//
// 13 multiplications for the three in place of 20. Rounding is 1e-16 in the root mean square, Horner's, near 4.75
// alone: with z = y^2 it is 1e-14, for the sums cancel.
inline constexpr double kShift = 4.75;
struct InSteps {
    double low[2], high[2];
    double a1, b1, a2, b2;
};
inline constexpr InSteps kAngle = {{0x1.024b14f639034p+5, 0x1.11bca3f674503p+2},
                                   {0x1.454d300cf62fdp-4, -0x1.b58cbec47a6f0p-13},
                                   0x1.c9fa2aef16db9p+1,
                                   0x1.3d134465a4e2ep+7,
                                   -0x1.338e67f6ce8aep+0,
                                   0x1.7e3bd7722ac9fp+9};
inline constexpr InSteps kBent = {{0x1.5fa2304d5ba74p+4, 0x1.a1956e821f5ddp+1},
                                  {0x1.16e86da66dd68p-4, -0x1.748c424ef0717p-13},
                                  0x1.0df2935fc11c7p+2,
                                  0x1.da3d89772b0f0p+6,
                                  -0x1.32e028649e326p+1,
                                  0x1.87c696e9e0717p+9};
inline constexpr InSteps kBelow = {{0x1.13923bef089b6p+7, 0x1.9e3b0b182e91bp+4},
                                   {1.0, 0.0},
                                   0x1.2b08e3093154ep+2,
                                   0x1.1929bf0592d1bp+9,
                                   -0x1.6168a1c9907d4p+0,
                                   0x1.a9bd5ab7731b2p+11};

template <const InSteps& p>
FISHERFIELD_INLINE Lanes in_steps(Lanes y, Lanes z) {
    const Lanes low = p.low[0] + p.low[1] * y;
    const Lanes start = p.high[1] == 0.0 ? low + z : low + (p.high[0] + p.high[1] * y) * z;
    return (start * (z + p.a1) + p.b1) * (z + p.a2) + p.b2;
}

// closed_form::rays() at equal variances, in q_xy and v = q - q_xy instead of c. With the acute angle t of above,
// B = (sin t - t cos t)/(2 pi), jump = plus - minus = 2 b, plus + minus = 2 a, and for minus plus >= 0:
//
//     E phi phi           = minus plus q_xy + jump^2 [q B + max(q_xy, 0)/2]
//     E phi^2 - E phi phi = a^2 v + b^2 q (x - 4 B)
//     E phi' phi'         = minus plus + jump^2 (pi - t)/(2 pi),  t in place of pi - t where q_xy < 0
// phi's integrals for a vector of points, as layers/phi.hpp asks for them.
template <Form form>
struct LaneIntegrals {
    const PhiColumns& layer;
    const double* at;

    template <class Z>
    FISHERFIELD_INLINE Joint<Lanes> pair(const Z& z) const {
        if constexpr (form == Form::closed) { // u phi'(u) = phi(u); of gamma = 1
            const Lanes q = z.xy + z.v, value = entry(layer.value), difference = entry(layer.difference);
            return {q * value, q * difference, entry(layer.slope), entry(layer.slope_difference),
                    value,     difference,     Status::ok};
        }
        const double a = layer.a, b = layer.b, minus_plus = a * a - b * b, jump2 = 4.0 * (b * b);
        const Lanes q = z.xy + z.v, gap = form == Form::relu_again ? z.v : smaller(z.v, q + z.xy); // gap = q x
        const Lanes x = gap / q, y = 1.0 - x,
                    steps = rounded(y * (y + kShift)); // or z + a would be multiplications again
        const Lanes u = root(x) / in_steps<kBelow>(y, steps);
        const Lanes bent = gap * (u * in_steps<kBent>(y, steps)),
                    turn = u * in_steps<kAngle>(y, steps); // q B, t/(2 pi)
        if constexpr (form == Form::relu_again) {
            return {bent + 0.5 * z.xy, 0.5 * z.v - bent, 0.5 - turn, turn, 0.0, 0.0};
        }
        const Mask obtuse = z.xy < 0.0;
        Joint<Lanes> out;
        const auto of_u = [&] { // u phi'(u) = phi(u)
            if constexpr (!std::is_same_v<std::decay_t<decltype(z.kernel.ou)>, Zero>) {
                out.u_slope = out.value / q;
                out.u_difference = out.difference / q;
            } else {
                out.u_slope = out.u_difference = 0.0;
            }
        };
        if constexpr (form == Form::relu) { // an eighth of all operations less
            out.value = bent + 0.5 * larger(z.xy, 0.0);
            out.difference = 0.25 * (z.v + gap) - bent;
            out.slope = pick(obtuse, turn, 0.5 - turn);
            out.slope_difference = pick(obtuse, 0.5 - turn, turn);
            of_u();
            return out;
        }
        out.value = minus_plus * z.xy + jump2 * (bent + 0.5 * larger(z.xy, 0.0));
        out.difference = (a * a) * z.v + (b * b) * (gap - 4.0 * bent);
        out.slope = minus_plus + jump2 * pick(obtuse, turn, 0.5 - turn);
        out.slope_difference = jump2 * pick(obtuse, 0.5 - turn, turn);
        of_u();
        return out;
    }

    // closed_form::rays() at g = sqrt(v), or what was integrated before.
    template <class Mean>
    FISHERFIELD_INLINE LaneMoments independent(Lanes v, Mean) const {
        if constexpr (form == Form::integrated) {
            const Lanes mean = entry(layer.mean);
            return {mean,
                    entry(layer.variance),
                    entry(layer.slope_mean),
                    entry(layer.slope_second),
                    entry(layer.slope_variance),
                    entry(layer.u_slope),
                    entry(layer.u2_slope2),
                    mean * mean};
        }
        const double a = layer.a, b = layer.b;
        const double whole = a * a + b * b, density = b * 0.79788456080286535588; // b sqrt(2/pi)
        const double variance = a * a + b * b * (1.0 - 2.0 / kPi);
        return {root(v) * density, v * variance, a, whole, b * b, density, whole, v * (density * density)};
    }

    FISHERFIELD_INLINE Lanes entry(const ColumnOrValue& column) const { return Entry{column, at}; }
};

// phi, where E phi^2, E phi phi, E phi'^2 and E phi' phi' are known to 1e-11 of the squares: at small 1 - c the
// differences are what is lost, and there E phi^2 - E phi phi = v (S(c) + S(1))/2 to (1 - c)^2, with Price's theorem
// for S = E phi' phi'.
struct TableIntegrals {
    const double* at; // the vector's first point

    template <class Z>
    FISHERFIELD_INLINE Joint<Lanes> pair(const Z& z) const {
        const Lanes second(at), value(at + kScanBlock);
        const Lanes slope_second(at + 2 * kScanBlock), slope(at + 3 * kScanBlock);
        const Lanes q = z.xy + z.v;
        const Mask close = z.v * (1.0 + q) < 3e-4 * q;
        const Lanes difference = pick(close, z.v * (0.5 * (slope + slope_second)), second - value);
        return {second - difference, difference, slope, larger(slope_second - slope, 0.0), 0.0, 0.0};
    }

    template <class Mean>
    FISHERFIELD_INLINE LaneMoments independent(Lanes, Mean) const {
        return {}; // nobody asks a table for means
    }
};

// Where another than the outlier may rule (edge_bound.hpp); known of b alone by a column.
template <bool diagonal>
FISHERFIELD_INLINE Mask undecided(const PointColumns& points, const double* at,
                                  const TangentKernel<Lanes, Lanes, Zero>& kernel) {
    const Lanes from = Entry{points.outlier_from, at};
    if constexpr (diagonal) {
        return kernel.o < from * kernel.d;
    } else {
        return from > 0.0;
    }
}

// What follows from the output's kernel, and `marks` of points: see ScanKernel. To be done otherwise is what lies
// beyond the range in which the kernel and its square, and v on the way, keep their digits.
template <bool diagonal>
FISHERFIELD_INLINE Mask ending(const PointColumns& points, const double* columns, int i,
                               const TangentKernel<Lanes, Lanes, Zero>& kernel, Lanes least, double* const* out,
                               double* marks) {
    const auto to = [&](Quantity which, Lanes x) {
        if (double* at = out[static_cast<int>(which)]; at != nullptr) {
            x.store(at + i);
        }
    };
    Spectrum<Lanes> s;
    if constexpr (diagonal) {
        s = spectrum(kernel, LaneSettings<Theory::exact>(points, columns + i),
                     Shares<Lanes>{Entry{points.share, columns + i}, Entry{points.share_of_others, columns + i}});
    } else { // b alone, where it rules (ScanColumns::outlier_rules)
        s.lambda_max = kernel.o;
        s.outlier = every_lane(-1);
    }
    to(Quantity::lambda_max, s.lambda_max);
    if (out[static_cast<int>(Quantity::max_learning_rate)] != nullptr) { // a division that others need not wait for
        const Lanes momentum = Entry{points.momentum, columns + i};
        to(Quantity::max_learning_rate,
           step_limit(momentum, points.nesterov) / (s.lambda_max * points.curvature_factor + points.weight_decay));
    }
    to(Quantity::b, kernel.o);
    to(Quantity::parameters, Entry{points.parameters, columns + i});
    to(Quantity::outlier, pick(s.outlier, 1.0, 0.0));
    if constexpr (diagonal) {
        to(Quantity::a, kernel.o + kernel.d);
        to(Quantity::bulk, s.bulk);
        to(Quantity::mean, s.mean);
        to(Quantity::second_moment, s.second_moment);
        to(Quantity::d, kernel.d);
    }
    const Lanes sum = size(kernel.o) + (diagonal ? size(kernel.d) : 0.0);
    Mask right = (least > 1e-250) & (sum > 1e-140) & (sum < 1e140);
    for (int k = 0; k < points.aparts; ++k) {
        right = right & (Lanes(Entry{points.apart[k], columns + i}) < 0.5);
    }
    if (diagonal && points.least_share > 0.0) {
        right = right & (size(kernel.d) > points.least_share * sum);
    }
    const Mask wrong = ~right;
    if (!points.edges) {
        lanes(wrong).store(marks);
        return wrong;
    }
    const Mask open = undecided<diagonal>(points, columns + i, kernel);
    lanes(wrong | (open & bits(1.0))).store(marks);
    return wrong | open;
}

// graph_kernel.cpp
bool graph_block(const PointColumns& points, const double* columns, int count, double* const* out, double* outside);

} // namespace FISHERFIELD_PATH

} // namespace fisherfield
