// SPDX-License-Identifier: BSD-3-Clause
// The layers' laws on vectors of points, for one instruction set, named by FISHERFIELD_PATH (CMakeLists.txt). Nothing
// that other files share is called from this one.
#include "kernels.hpp"

#include "kernel_table.hpp"
#include "lane_laws.hpp"

namespace fisherfield {

inline namespace FISHERFIELD_PATH {

using Preactivation = State<Lanes, Lanes, Zero, Zero, Lanes, Zero>;

// The states of a block's points, layer by layer: vectors of points do not wait for each other, layers do.
template <bool batch_norms, bool diagonal>
struct States {
    alignas(64) double xy[kScanBlock], v[kScanBlock], o[kScanBlock], d[diagonal ? kScanBlock : 1];
    alignas(64) double off[batch_norms ? kScanBlock : 1];

    // Without BatchNorm off is nothing and not 0.0, whose addition would stay: -0.0 + 0.0 is another number.
    using Activations = State<Lanes, Lanes, std::conditional_t<batch_norms, Lanes, Zero>, Zero>;

    // What feeds layer l: for the first, the input.
    FISHERFIELD_INLINE Activations load(const PointColumns& points, int l, const double* columns, int i) const {
        Activations h{};
        if constexpr (batch_norms) {
            h.off = l == 0 ? Lanes(0.0) : Lanes(off + i);
        }
        if (l == 0) {
            const Lanes overlap = Entry{points.overlap, columns + i}, length = Entry{points.length, columns + i};
            h.xy = overlap;
            h.v = length - overlap;
            h.kernel = {0.0, 0.0, 0.0, 0.0};
            return h;
        }
        h.xy = Lanes(xy + i);
        h.v = Lanes(v + i);
        h.kernel.o = Lanes(o + i);
        h.kernel.d = diagonal ? Lanes(d + (diagonal ? i : 0)) : Lanes(0.0);
        return h;
    }

    // Gaussian units that were stored.
    FISHERFIELD_INLINE Preactivation units(int i) const {
        return {Lanes(xy + i),
                Lanes(v + i),
                {},
                {},
                {Lanes(o + i), diagonal ? Lanes(d + (diagonal ? i : 0)) : 0.0, {}, {}}};
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
    const auto h = states.load(points, l, columns, i);
    const Preactivation z = apply(affine.law(h, points), h);
    (l == 0 ? z.v : smaller(z.v, Lanes(least + i))).store(least + i);
    return z;
}

// What follows layer l.
template <Form form, Theory theory, class States>
FISHERFIELD_INLINE void behind(const LayerColumns& layer, const Preactivation& z, const LaneSettings<theory>& settings,
                               int i, States* states) {
    const double* at = settings.at;
    const LaneIntegrals<form> integrals{layer, at};
    const Entry gamma{layer.gamma, at}, eps{layer.eps, at};
    const auto store = [&](const auto& y) {
        Phi{}.pass(y, settings, integrals, [&](const auto& law) { states->store(i, apply(law, y)); });
    };
    if constexpr (!normed(form)) {
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
                    store(apply(norm.closed(z, settings.samples(), settings.one_over_n(), r), z));
                } else if constexpr (theory == Theory::exact) {
                    store(apply(norm.exact(z, r), z));
                } else {
                    store(apply(norm.frozen(z), z));
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
        const Preactivation z = before(points, layer, l, columns, i, *states, least);
        behind<form>(layer, z, LaneSettings<theory>(points, columns + i), i, states);
    }
}

template <class States>
void pass_table(const PointColumns& points, int l, const double* columns, int count, States* states, double* least) {
    const LayerColumns layer = points.layers[l];
    alignas(64) double q[kScanBlock] = {}, one_minus_c[kScanBlock] = {}, integrals[4 * kScanBlock];
    for (int i = 0; i < count; i += kLanes) {
        const Preactivation z = before(points, layer, l, columns, i, *states, least);
        const Lanes all = z.xy + z.v;
        all.store(q + i);
        (z.v / all).store(one_minus_c + i);
        states->store(i, z);
    }
    layer.table->block(q, one_minus_c, count, integrals);
    for (int i = 0; i < count; i += kLanes) {
        const Preactivation z = states->units(i);
        Phi{}.pass(z, points, TableIntegrals{integrals + i}, [&](const auto& law) { states->store(i, apply(law, z)); });
    }
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
        } else if (layer.is_relu() && l > 0 && points.layers[l - 1].is_relu()) {
            pass(std::integral_constant<Form, Form::relu_again>());
        } else if (layer.is_relu()) {
            pass(std::integral_constant<Form, Form::relu>());
        } else {
            pass(std::integral_constant<Form, Form::no_batch_norm>());
        }
    }
}

template <Theory theory, bool batch_norms, bool diagonal>
bool scan_block(const PointColumns& points, const double* columns, int count, double* const* out, double* outside) {
    States<batch_norms, diagonal> states;
    const int last = points.count - 1;
    const bool normed = batch_norms && points.layers[last].batch_norm; // else the last layer ends with its affine part
    pass_layers<theory>(points, normed ? points.count : last, columns, count, &states, outside);
    const LayerColumns layer = points.layers[last];
    Mask all = every_lane(0);
    for (int i = 0; i < count; i += kLanes) {
        TangentKernel<Lanes, Lanes, Zero> kernel;
        if (normed) {
            const auto h = states.load(points, points.count, columns, i);
            kernel = {h.kernel.o, h.kernel.d, {}, {}};
        } else {
            kernel = before(points, layer, last, columns, i, states, outside).kernel;
        }
        all = all | ending<diagonal>(points, columns, i, kernel, Lanes(outside + i), out, outside + i);
    }
    return any_negative(all);
}

template <bool diagonal>
bool end_block(const PointColumns& points, const double* columns, int count, double* const* out, double* outside) {
    Mask all = every_lane(0);
    for (int i = 0; i < count; i += kLanes) {
        const Lanes o = Entry{points.o, columns + i}, d = Entry{points.d, columns + i};
        all = all | ending<diagonal>(points, columns, i, {o, d, {}, {}}, 1.0, out, outside + i);
    }
    return any_negative(all);
}

} // namespace FISHERFIELD_PATH

ScanKernels kernels::FISHERFIELD_PATH::scan_kernels() {
    using enum Theory;
    return {{&scan_block<exact, false, false>, &scan_block<exact, false, true>},
            {&scan_block<exact, true, true>, &scan_block<frozen, true, true>, &scan_block<wei2019, true, true>},
            {&end_block<false>, &end_block<true>},
            &graph_block};
}

} // namespace fisherfield
