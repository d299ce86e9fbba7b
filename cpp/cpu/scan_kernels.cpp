// SPDX-License-Identifier: BSD-3-Clause
// The recursion of order_parameters.hpp on vectors of points, for one instruction set, named by FISHERFIELD_PATH
// (CMakeLists.txt). Nothing that other files share is called from this one.
#include "scan_kernels.hpp"

#include "fisherfield/scan.hpp"
#include "kernel_table.hpp"
#include "lanes.hpp"

namespace fisherfield {

inline namespace FISHERFIELD_PATH {

// What order_parameters.hpp asks of a number.
FISHERFIELD_INLINE Lanes sqrt(Lanes x) { return root(x); }
FISHERFIELD_INLINE Lanes abs(Lanes x) { return size(x); }
FISHERFIELD_INLINE bool is_zero(Lanes) { return false; } // what is divided by zero is found at the end

// What a vector of points has of a column.
struct Entry {
    const Column& column;
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
    Entry samples;

    FISHERFIELD_INLINE LaneSettings(const PointColumns& all, const double* first)
        : points(all), at(first), samples{all.samples, first} {}
    FISHERFIELD_INLINE Lanes one_over_n() const { return Entry{points.one_over_n, at}; }
    FISHERFIELD_INLINE Lanes one_over_n_minus_1() const { return Entry{points.one_over_n_minus_1, at}; }
    FISHERFIELD_INLINE bool one_sample() const { return false; } // scan_columns.cpp keeps it away
};

// What follows an affine layer: relu, or relu where the layer before it has one too, so that q_xy >= 0; nothing or phi
// of other rays; or a BatchNorm and phi, whose integrals are those of rays (without eps or with), are given, or are
// those of a finite batch. Or phi alone, by a table.
enum class Form { relu, relu_again, no_batch_norm, rays, rays_and_eps, integrated, finite_batch, tabulated };

template <Form form>
struct LaneBlock {
    static constexpr bool batch_norm =
        form == Form::rays || form == Form::rays_and_eps || form == Form::integrated || form == Form::finite_batch;
    const LayerColumns& layer;
    const double* at;
    Entry fan_in, sigma_w2, sigma_b2, gamma, eps;
    bool trained;

    FISHERFIELD_INLINE LaneBlock(const LayerColumns& all, const double* first)
        : layer(all), at(first), fan_in{all.fan_in, first}, sigma_w2{all.sigma_w2, first},
          sigma_b2{all.sigma_b2, first}, gamma{all.gamma, first}, eps{all.eps, first}, trained(all.trained) {}
    static FISHERFIELD_INLINE bool has_eps() { return form == Form::rays_and_eps; }
    FISHERFIELD_INLINE Lanes entry(const Column& column) const { return Entry{column, at}; }
};

struct LaneCovariance {
    Lanes value, difference, slope, slope_difference;
    Status status = Status::ok;
};

struct LaneMoments {
    Lanes mean, variance, slope_mean, slope_second, slope_variance, u_slope, u2_slope2;
    Status status = Status::ok;
};

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
constexpr double kShift = 4.75;
struct InSteps {
    double low[2], high[2];
    double a1, b1, a2, b2;
};
constexpr InSteps kAngle = {{0x1.024b14f639034p+5, 0x1.11bca3f674503p+2},
                            {0x1.454d300cf62fdp-4, -0x1.b58cbec47a6f0p-13},
                            0x1.c9fa2aef16db9p+1,
                            0x1.3d134465a4e2ep+7,
                            -0x1.338e67f6ce8aep+0,
                            0x1.7e3bd7722ac9fp+9};
constexpr InSteps kBent = {{0x1.5fa2304d5ba74p+4, 0x1.a1956e821f5ddp+1},
                           {0x1.16e86da66dd68p-4, -0x1.748c424ef0717p-13},
                           0x1.0df2935fc11c7p+2,
                           0x1.da3d89772b0f0p+6,
                           -0x1.32e028649e326p+1,
                           0x1.87c696e9e0717p+9};
constexpr InSteps kBelow = {{0x1.13923bef089b6p+7, 0x1.9e3b0b182e91bp+4},
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
template <Form form>
FISHERFIELD_INLINE LaneCovariance covariance(const LaneBlock<form>& block, const Preactivation<Lanes>& z) {
    const double a = block.layer.a, b = block.layer.b, minus_plus = a * a - b * b, jump2 = 4.0 * (b * b);
    const Lanes q = z.xy + z.v, gap = form == Form::relu_again ? z.v : smaller(z.v, q + z.xy); // gap = q x
    const Lanes x = gap / q, y = 1.0 - x, steps = rounded(y * (y + kShift)); // or z + a would be multiplications again
    const Lanes u = root(x) / in_steps<kBelow>(y, steps);
    const Lanes bent = gap * (u * in_steps<kBent>(y, steps)), turn = u * in_steps<kAngle>(y, steps); // q B, t/(2 pi)
    if constexpr (form == Form::relu_again) {
        return {bent + 0.5 * z.xy, 0.5 * z.v - bent, 0.5 - turn, turn};
    }
    const Mask obtuse = z.xy < 0.0;
    LaneCovariance out;
    if constexpr (form == Form::relu) { // an eighth of all operations less
        out.value = bent + 0.5 * larger(z.xy, 0.0);
        out.difference = 0.25 * (z.v + gap) - bent;
        out.slope = pick(obtuse, turn, 0.5 - turn);
        out.slope_difference = pick(obtuse, 0.5 - turn, turn);
        return out;
    }
    out.value = minus_plus * z.xy + jump2 * (bent + 0.5 * larger(z.xy, 0.0));
    out.difference = (a * a) * z.v + (b * b) * (gap - 4.0 * bent);
    out.slope = minus_plus + jump2 * pick(obtuse, turn, 0.5 - turn);
    out.slope_difference = jump2 * pick(obtuse, 0.5 - turn, turn);
    return out;
}

// moments(): closed_form::rays() at g, or what was integrated before.
template <Form form>
FISHERFIELD_INLINE LaneMoments moments(const LaneBlock<form>& block, Lanes g) {
    const LayerColumns& x = block.layer;
    if constexpr (form == Form::integrated) {
        return {block.entry(x.mean),         block.entry(x.variance),       block.entry(x.slope_mean),
                block.entry(x.slope_second), block.entry(x.slope_variance), block.entry(x.u_slope),
                block.entry(x.u2_slope2)};
    }
    const double whole = x.a * x.a + x.b * x.b, density = x.b * 0.79788456080286535588; // b sqrt(2/pi)
    const double variance = x.a * x.a + x.b * x.b * (1.0 - 2.0 / kPi);
    return {g * density, g * g * variance, x.a, whole, x.b * x.b, density, whole};
}

template <Form form, class S>
FISHERFIELD_INLINE bool finite_batch(const LaneBlock<form>& block, const S&, bool, LaneCovariance* pair) {
    if constexpr (form == Form::finite_batch) {
        const LayerColumns& x = block.layer;
        *pair = {block.entry(x.value), block.entry(x.difference), block.entry(x.slope),
                 block.entry(x.slope_difference)};
    }
    return form == Form::finite_batch;
}

// The states of a block's points, layer by layer: vectors of points do not wait for each other, layers do.
template <bool batch_norms, bool diagonal>
struct States {
    alignas(64) double xy[kScanBlock], v[kScanBlock], o[kScanBlock], d[diagonal ? kScanBlock : 1];
    alignas(64) double off_xy[batch_norms ? kScanBlock : 1], off_v[batch_norms ? kScanBlock : 1];

    // What feeds layer l: for the first, the input.
    FISHERFIELD_INLINE ActivationState<Lanes> load(const PointColumns& points, int l, const double* columns,
                                                   int i) const {
        if (l == 0) {
            const Lanes overlap = Entry{points.overlap, columns + i}, length = Entry{points.length, columns + i};
            return input_state(overlap, length);
        }
        ActivationState<Lanes> h;
        h.xy = h.off_xy = Lanes(xy + i);
        h.v = h.off_v = Lanes(v + i);
        h.o = Lanes(o + i);
        if constexpr (diagonal) {
            h.d = Lanes(d + i);
        }
        if constexpr (batch_norms) {
            h.off_xy = Lanes(off_xy + i);
            h.off_v = Lanes(off_v + i);
        }
        return h;
    }

    FISHERFIELD_INLINE void store(int i, const ActivationState<Lanes>& h) {
        h.xy.store(xy + i);
        h.v.store(v + i);
        h.o.store(o + i);
        if constexpr (diagonal) {
            h.d.store(d + i);
        }
        if constexpr (batch_norms) {
            h.off_xy.store(off_xy + i);
            h.off_v.store(off_v + i);
        }
    }
};

// z of layer l, whose v joins the least of the layers so far.
template <Form form, class States>
FISHERFIELD_INLINE Preactivation<Lanes> before(const PointColumns& points, const LayerColumns& layer, int l,
                                               const double* columns, int i, const States& states, double* least) {
    const LaneBlock<form> block(layer, columns + i);
    const Preactivation<Lanes> z = affine(block, states.load(points, l, columns, i), points.biases);
    (l == 0 ? z.v : smaller(z.v, Lanes(least + i))).store(least + i);
    return z;
}

// One layer for all points.
template <Form form, Theory theory, class States>
void pass_layer(const PointColumns& points, int l, const double* columns, int count, States* states, double* least) {
    const LayerColumns layer = points.layers[l]; // a copy, which no store can change
    for (int i = 0; i < count; i += kLanes) {
        const Preactivation<Lanes> z = before<form>(points, layer, l, columns, i, *states, least);
        Step<Lanes> step;
        behind(LaneBlock<form>(layer, columns + i), z, LaneSettings<theory>(points, columns + i), l + 1 == points.count,
               &step);
        states->store(i, step.state);
    }
}

// phi, where E phi^2, E phi phi, E phi'^2 and E phi' phi' are known to 1e-11 of the squares: at small 1 - c the
// differences are what is lost, and there E phi^2 - E phi phi = v (S(c) + S(1))/2 to (1 - c)^2, with Price's theorem
// for S = E phi' phi'.
struct Tabled {
    const double* found; // at the vector's first point
};

FISHERFIELD_INLINE LaneCovariance covariance(const Tabled& block, const Preactivation<Lanes>& z) {
    const Lanes second(block.found), value(block.found + kScanBlock);
    const Lanes slope_second(block.found + 2 * kScanBlock), slope(block.found + 3 * kScanBlock);
    const Lanes q = z.xy + z.v;
    const Mask close = z.v * (1.0 + q) < 3e-4 * q;
    LaneCovariance out;
    out.difference = pick(close, z.v * (0.5 * (slope + slope_second)), second - value);
    out.value = second - out.difference;
    out.slope = slope;
    out.slope_difference = larger(slope_second - slope, 0.0);
    return out;
}

template <class States>
void pass_table(const PointColumns& points, int l, const double* columns, int count, States* states, double* least) {
    const LayerColumns layer = points.layers[l];
    alignas(64) double q[kScanBlock] = {}, one_minus_c[kScanBlock] = {}, found[4 * kScanBlock];
    for (int i = 0; i < count; i += kLanes) {
        const Preactivation<Lanes> z = before<Form::tabulated>(points, layer, l, columns, i, *states, least);
        const Lanes all = z.xy + z.v;
        all.store(q + i);
        (z.v / all).store(one_minus_c + i);
    }
    layer.table->block(q, one_minus_c, count, found);
    for (int i = 0; i < count; i += kLanes) {
        const Preactivation<Lanes> z = before<Form::tabulated>(points, layer, l, columns, i, *states, least);
        Step<Lanes> step;
        phi(Tabled{found + i}, z, &step);
        states->store(i, step.state);
    }
}

inline bool is_relu(const LayerColumns& layer) {
    return layer.table == nullptr && !layer.batch_norm && layer.a == 0.5 && layer.b == 0.5;
}

template <Theory theory, bool batch_norms, bool diagonal>
void pass_layers(const PointColumns& points, int layers, const double* columns, int count,
                 States<batch_norms, diagonal>* states, double* least) {
    for (int l = 0; l < layers; ++l) {
        const LayerColumns& layer = points.layers[l];
        const auto pass = [&](auto form) {
            pass_layer<decltype(form)::value, theory>(points, l, columns, count, states, least);
        };
        if (layer.table != nullptr) {
            pass_table(points, l, columns, count, states, least);
        } else if constexpr (batch_norms) {
            if (layer.finite_batch) {
                pass(std::integral_constant<Form, Form::finite_batch>());
            } else if (layer.integrated) {
                pass(std::integral_constant<Form, Form::integrated>());
            } else if (layer.has_eps) {
                pass(std::integral_constant<Form, Form::rays_and_eps>());
            } else if (layer.batch_norm) {
                pass(std::integral_constant<Form, Form::rays>());
            } else {
                pass(std::integral_constant<Form, Form::no_batch_norm>());
            }
        } else if (is_relu(layer) && l > 0 && is_relu(points.layers[l - 1])) {
            pass(std::integral_constant<Form, Form::relu_again>());
        } else if (is_relu(layer)) {
            pass(std::integral_constant<Form, Form::relu>());
        } else {
            pass(std::integral_constant<Form, Form::no_batch_norm>());
        }
    }
}

// What follows from the output's kernel; and where it is to be done otherwise: beyond the range in which it and its
// square, and v on the way, keep their digits.
template <bool diagonal>
FISHERFIELD_INLINE Mask ending(const PointColumns& points, const double* columns, int i, const Source<Lanes>& kernel,
                               Lanes least, double* const* out) {
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
    for (int k = 0; k < points.odds; ++k) {
        right = right & (Lanes(Entry{points.odd[k], columns + i}) < 0.5);
    }
    if (diagonal && points.least_share > 0.0) {
        right = right & (size(kernel.d) > points.least_share * sum);
    }
    return ~right;
}

template <Theory theory, bool batch_norms, bool diagonal>
bool scan_block(const PointColumns& points, const double* columns, int count, double* const* out, double* left) {
    States<batch_norms, diagonal> states;
    const int last = points.count - 1;
    const bool normed = batch_norms && points.layers[last].batch_norm; // else the last layer ends with its affine part
    pass_layers<theory>(points, normed ? points.count : last, columns, count, &states, left);
    const LayerColumns layer = points.layers[last];
    Mask all = every_lane(0);
    for (int i = 0; i < count; i += kLanes) {
        Source<Lanes> kernel;
        if (normed) {
            const ActivationState<Lanes> h = states.load(points, points.count, columns, i);
            kernel = {h.o, h.d};
        } else {
            const Preactivation<Lanes> z = before<Form::no_batch_norm>(points, layer, last, columns, i, states, left);
            kernel = {z.o, z.d};
        }
        const Mask wrong = ending<diagonal>(points, columns, i, kernel, Lanes(left + i), out);
        lanes(wrong).store(left + i);
        all = all | wrong;
    }
    return any_negative(all);
}

template <bool diagonal>
bool end_block(const PointColumns& points, const double* columns, int count, double* const* out, double* left) {
    Mask all = every_lane(0);
    for (int i = 0; i < count; i += kLanes) {
        const Lanes o = Entry{points.o, columns + i}, d = Entry{points.d, columns + i};
        const Mask wrong = ending<diagonal>(points, columns, i, {o, d}, 1.0, out);
        lanes(wrong).store(left + i);
        all = all | wrong;
    }
    return any_negative(all);
}

} // namespace FISHERFIELD_PATH

ScanKernels kernels::FISHERFIELD_PATH::scan_kernels() {
    using enum Theory;
    return {{&scan_block<exact, false, false>, &scan_block<exact, false, true>},
            {&scan_block<exact, true, true>, &scan_block<frozen, true, true>, &scan_block<wei2019, true, true>},
            {&end_block<false>, &end_block<true>}};
}

} // namespace fisherfield
