// SPDX-License-Identifier: BSD-3-Clause
// The layers' laws on vectors of points, for one instruction set, named by FISHERFIELD_PATH (CMakeLists.txt). Nothing
// that other files share is called from this one.
#include "kernels.hpp"

#include "fisherfield/quantities.hpp"
#include "kernel_table.hpp"
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
// those of a closed finite batch. Or phi alone, by a table.
enum class Form { relu, relu_again, no_batch_norm, rays, rays_and_eps, integrated, closed, tabulated };

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
// phi's integrals for a vector of points, as layers/phi.hpp asks for them.
template <Form form>
struct LaneIntegrals {
    const LayerColumns& layer;
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

using Preactivation = State<Lanes, Lanes, Zero, Zero, Lanes, Zero>;

// What a sum will read: Gaussian units behind an affine layer or a sum.
template <bool sums>
struct Held {
    alignas(64) double xy[kScanBlock], v[kScanBlock], o[kScanBlock], d[kScanBlock];

    FISHERFIELD_INLINE Preactivation held(int i) const {
        return {Lanes(xy + i), Lanes(v + i), {}, {}, {Lanes(o + i), Lanes(d + i), {}, {}}};
    }
    FISHERFIELD_INLINE void hold(int i, const Preactivation& z) {
        z.xy.store(xy + i);
        z.v.store(v + i);
        z.kernel.o.store(o + i);
        z.kernel.d.store(d + i);
    }
};
template <>
struct Held<false> {};

// The states of a block's points, layer by layer: vectors of points do not wait for each other, layers do.
template <bool batch_norms, bool diagonal, bool with_sums>
struct States : Held<with_sums> {
    static constexpr bool sums = with_sums;
    alignas(64) double xy[kScanBlock], v[kScanBlock], o[kScanBlock], d[diagonal ? kScanBlock : 1];
    alignas(64) double off[batch_norms ? kScanBlock : 1];

    // What feeds layer l: for the first, the input.
    FISHERFIELD_INLINE State<Lanes> load(const PointColumns& points, int l, const double* columns, int i) const {
        if (l == 0) {
            const Lanes overlap = Entry{points.overlap, columns + i}, length = Entry{points.length, columns + i};
            return input_state(overlap, length);
        }
        State<Lanes> h;
        h.xy = Lanes(xy + i);
        h.v = Lanes(v + i);
        h.off = batch_norms ? Lanes(off + (batch_norms ? i : 0)) : Lanes(0.0);
        h.kernel.o = Lanes(o + i);
        h.kernel.d = diagonal ? Lanes(d + (diagonal ? i : 0)) : Lanes(0.0);
        return h;
    }

    template <class H>
    FISHERFIELD_INLINE void store(int i, const H& h) {
        Lanes(h.xy).store(xy + i);
        h.v.store(v + i);
        Lanes(h.kernel.o).store(o + i);
        if constexpr (diagonal) {
            h.kernel.d.store(d + i);
        }
        if constexpr (batch_norms) {
            Lanes(h.off).store(off + i);
        }
    }
};

// z of layer l, whose v joins the least of the layers so far.
template <class States>
FISHERFIELD_INLINE Preactivation before(const PointColumns& points, const LayerColumns& layer, int l,
                                        const double* columns, int i, const States& states, double* least) {
    const double* at = columns + i;
    const Affine<Entry> affine{{layer.fan_in, at}, {layer.sigma_w2, at}, {layer.sigma_b2, at}, layer.biases};
    const State<Lanes> h = states.load(points, l, columns, i);
    const Preactivation z = apply(affine.law(h, points), h);
    (l == 0 ? z.v : smaller(z.v, Lanes(least + i))).store(least + i);
    return z;
}

// The sum with the stream that is held, and what is held from then on.
template <class States>
FISHERFIELD_INLINE Preactivation summed(const LayerColumns& layer, const Preactivation& z, const double* at, int i,
                                        States* states) {
    Preactivation out = z;
    if (layer.sums) {
        const Preactivation skip = states->held(i);
        Add<Entry>{{layer.scale, at}}.pass(z, skip, [&](const auto& law) { out = apply(law, z); });
    }
    if (layer.holds) {
        states->hold(i, out);
    }
    return out;
}

// visit(state) with what a normalisation over units makes of a state; whose kernel has no u where it is not trained.
template <class Z, class Visit>
FISHERFIELD_INLINE void scaled(const ScaleColumns& scaling, const Z& z, const double* at, Visit&& visit) {
    const Entry numbers[] = {{scaling.numbers[0], at}, {scaling.numbers[1], at}, {scaling.numbers[2], at}};
    with_common(*scaling.node, numbers, [&](const auto& layer) {
        return layer.pass(z, Zero(), Zero(), [&](const auto& law) { visit(apply(law, z)); });
    });
}

// phi of what a law makes of z, into the states at i.
template <class Y, class S, class I, class States>
FISHERFIELD_INLINE void store_phi(const LayerColumns& layer, const double* at, const Y& y, const S& settings,
                                  const I& integrals, int i, States* states) {
    if constexpr (States::sums) {
        if (layer.behind.node != nullptr) {
            Phi{true}.pass(y, settings, integrals, [&](const auto& law) {
                scaled(layer.behind, apply(law, y), at, [&](const auto& h) { states->store(i, h); });
            });
            return;
        }
    }
    Phi{}.pass(y, settings, integrals, [&](const auto& law) { states->store(i, apply(law, y)); });
}

// What follows layer l.
template <Form form, Theory theory, class States>
FISHERFIELD_INLINE void behind(const LayerColumns& layer, const Preactivation& z, const LaneSettings<theory>& settings,
                               int i, States* states) {
    const double* at = settings.at;
    const LaneIntegrals<form> integrals{layer, at};
    const Entry gamma{layer.gamma, at}, eps{layer.eps, at};
    if constexpr (!normed(form)) {
        const auto store = [&](const auto& y) { store_phi(layer, at, y, settings, integrals, i, states); };
        if constexpr (States::sums) {
            if (layer.before.node != nullptr) {
                scaled(layer.before, z, at, [&](const auto& y) {
                    if (layer.before.node->trained) {
                        store(y);
                    } else {
                        store(Preactivation{y.xy, y.v, {}, {}, {y.kernel.o, y.kernel.d, {}, {}}});
                    }
                });
                return;
            }
        }
        store(z);
    } else {
        const auto with = [&](auto some_eps) {
            const Lanes r = settings.one_over_n_minus_1();
            using Eps = decltype(some_eps);
            if constexpr (theory == Theory::wei2019) {
                PublishedBatchNorm<Entry, Zero, Eps>{gamma, {}, some_eps, layer.trained}.pass(
                    z, settings, integrals, [&](const auto& law) { states->store(i, apply(law, z)); });
            } else {
                const BatchNorm<Entry, Zero, Eps> norm{gamma, {}, some_eps, layer.trained};
                if constexpr (form == Form::closed) {
                    store_phi(layer, at, apply(norm.closed(z, settings.samples(), settings.one_over_n(), r), z),
                              settings, integrals, i, states);
                } else if constexpr (theory == Theory::exact) {
                    store_phi(layer, at, apply(norm.exact(z, r), z), settings, integrals, i, states);
                } else {
                    store_phi(layer, at, apply(norm.frozen(z), z), settings, integrals, i, states);
                }
            }
        };
        if constexpr (form == Form::rays_and_eps) {
            with(eps);
        } else {
            with(Zero());
        }
    }
}

// One layer for all points.
template <Form form, Theory theory, class States>
void pass_layer(const PointColumns& points, int l, const double* columns, int count, States* states, double* least) {
    const LayerColumns layer = points.layers[l]; // a copy, which no store can change
    for (int i = 0; i < count; i += kLanes) {
        Preactivation z = before(points, layer, l, columns, i, *states, least);
        if constexpr (States::sums) {
            z = summed(layer, z, columns + i, i, states);
        }
        behind<form>(layer, z, LaneSettings<theory>(points, columns + i), i, states);
    }
}

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

template <class States>
void pass_table(const PointColumns& points, int l, const double* columns, int count, States* states, double* least) {
    const LayerColumns layer = points.layers[l];
    alignas(64) double q[kScanBlock] = {}, one_minus_c[kScanBlock] = {}, integrals[4 * kScanBlock];
    Held<true> z;
    for (int i = 0; i < count; i += kLanes) {
        Preactivation y = before(points, layer, l, columns, i, *states, least);
        if constexpr (States::sums) {
            y = summed(layer, y, columns + i, i, states);
            if (layer.before.node != nullptr) {
                scaled(layer.before, y, columns + i,
                       [&](const auto& x) { y = {x.xy, x.v, {}, {}, {x.kernel.o, x.kernel.d, {}, {}}}; });
            }
        }
        z.hold(i, y);
        const Lanes all = y.xy + y.v;
        all.store(q + i);
        (y.v / all).store(one_minus_c + i);
    }
    layer.table->block(q, one_minus_c, count, integrals);
    for (int i = 0; i < count; i += kLanes) {
        store_phi(layer, columns + i, z.held(i), points, TableIntegrals{integrals + i}, i, states);
    }
}

inline bool is_relu(const LayerColumns& layer) {
    return layer.table == nullptr && !layer.batch_norm && layer.a == 0.5 && layer.b == 0.5;
}

template <Theory theory, bool batch_norms, bool diagonal, bool sums>
void pass_layers(const PointColumns& points, int layers, const double* columns, int count,
                 States<batch_norms, diagonal, sums>* states, double* least) {
    for (int l = 0; l < layers; ++l) {
        const LayerColumns& layer = points.layers[l];
        const auto pass = [&](auto form) {
            pass_layer<decltype(form)::value, theory>(points, l, columns, count, states, least);
        };
        if (layer.table != nullptr) {
            pass_table(points, l, columns, count, states, least);
        } else if constexpr (batch_norms) {
            if (layer.closed) {
                pass(std::integral_constant<Form, Form::closed>());
            } else if (layer.integrated) {
                pass(std::integral_constant<Form, Form::integrated>());
            } else if (layer.has_eps) {
                pass(std::integral_constant<Form, Form::rays_and_eps>());
            } else if (layer.batch_norm) {
                pass(std::integral_constant<Form, Form::rays>());
            } else {
                pass(std::integral_constant<Form, Form::no_batch_norm>());
            }
        } else if (!sums && is_relu(layer) && l > 0 && is_relu(points.layers[l - 1])) {
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
FISHERFIELD_INLINE Mask ending(const PointColumns& points, const double* columns, int i,
                               const TangentKernel<Lanes, Lanes, Zero>& kernel, Lanes least, double* const* out) {
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
    return ~right;
}

template <Theory theory, bool batch_norms, bool diagonal, bool sums = false>
bool scan_block(const PointColumns& points, const double* columns, int count, double* const* out, double* outside) {
    States<batch_norms, diagonal, sums> states;
    const int last = points.count - 1;
    const bool normed = batch_norms && points.layers[last].batch_norm; // else the last layer ends with its affine part
    pass_layers<theory>(points, normed ? points.count : last, columns, count, &states, outside);
    const LayerColumns layer = points.layers[last];
    Mask all = every_lane(0);
    for (int i = 0; i < count; i += kLanes) {
        TangentKernel<Lanes, Lanes, Zero> kernel;
        if (normed) {
            const State<Lanes> h = states.load(points, points.count, columns, i);
            kernel = {h.kernel.o, h.kernel.d, {}, {}};
        } else {
            kernel = before(points, layer, last, columns, i, states, outside).kernel;
        }
        const Mask wrong = ending<diagonal>(points, columns, i, kernel, Lanes(outside + i), out);
        lanes(wrong).store(outside + i);
        all = all | wrong;
    }
    return any_negative(all);
}

template <bool diagonal>
bool end_block(const PointColumns& points, const double* columns, int count, double* const* out, double* outside) {
    Mask all = every_lane(0);
    for (int i = 0; i < count; i += kLanes) {
        const Lanes o = Entry{points.o, columns + i}, d = Entry{points.d, columns + i};
        const Mask wrong = ending<diagonal>(points, columns, i, {o, d, {}, {}}, 1.0, out);
        lanes(wrong).store(outside + i);
        all = all | wrong;
    }
    return any_negative(all);
}

} // namespace FISHERFIELD_PATH

ScanKernels kernels::FISHERFIELD_PATH::scan_kernels() {
    using enum Theory;
    return {{&scan_block<exact, false, false>, &scan_block<exact, false, true>},
            {&scan_block<exact, true, true>, &scan_block<frozen, true, true>, &scan_block<wei2019, true, true>},
            {&end_block<false>, &end_block<true>},
            {&scan_block<exact, false, true, true>, &scan_block<exact, true, true, true>,
             &scan_block<frozen, true, true, true>}};
}

} // namespace fisherfield
