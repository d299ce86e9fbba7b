// SPDX-License-Identifier: BSD-3-Clause
// A network of any order on vectors of points, node by node, for one instruction set, named by FISHERFIELD_PATH
// (CMakeLists.txt). Nothing that other files share is called from this one.
#include <memory>

#include "kernels.hpp"

#include "fisherfield/layers/layers.hpp"
#include "lane_laws.hpp"

namespace fisherfield {

inline namespace FISHERFIELD_PATH {

namespace {

constexpr int kPart = 128; // points that go through all nodes together, so that their states stay in a near cache

struct alignas(64) Kept {
    double xy[kPart], v[kPart], off[kPart], mean[kPart], o[kPart], d[kPart], ou[kPart], du[kPart];
};

template <bool some>
using Field = std::conditional_t<some, Lanes, Zero>;

template <bool xy, bool u>
FISHERFIELD_INLINE auto load(const Kept& from, const Fields& fields, int i) {
    const auto some = [&](bool is, const double* at) { return is ? Lanes(at + i) : Lanes(0.0); };
    State<Lanes, Field<xy>, Lanes, Lanes, Lanes, Field<u>> out;
    out.v = Lanes(from.v + i);
    out.off = some(fields.off, from.off);
    out.mean = some(fields.mean, from.mean);
    out.kernel.o = Lanes(from.o + i);
    out.kernel.d = Lanes(from.d + i);
    if constexpr (xy) {
        out.xy = some(fields.xy, from.xy);
    }
    if constexpr (u) {
        out.kernel.ou = some(fields.u, from.ou);
        out.kernel.du = some(fields.u, from.du);
    }
    return out;
}

FISHERFIELD_INLINE void keep(const State<Lanes>& x, const Fields& fields, int i, Kept* to) {
    const auto some = [&](bool is, const Lanes& number, double* at) {
        if (is) {
            number.store(at + i);
        }
    };
    x.v.store(to->v + i);
    x.kernel.o.store(to->o + i);
    x.kernel.d.store(to->d + i);
    some(fields.xy, x.xy, to->xy);
    some(fields.off, x.off, to->off);
    some(fields.mean, x.mean, to->mean);
    some(fields.u, x.kernel.ou, to->ou);
    some(fields.u, x.kernel.du, to->du);
}

template <class Visit>
FISHERFIELD_INLINE void with_choice(bool yes, Visit&& visit) {
    if (yes) {
        visit(std::true_type());
    } else {
        visit(std::false_type());
    }
}

// Points on their way through the nodes.
struct Part {
    const PointColumns& points;
    const double* columns; // of the first point
    int count;
    Kept* kept;
    double* least; // v of the affine layers so far
};

// body(node, state, at, i, keep) for every vector: what feeds the node, and keep(state) for what it makes of that.
template <bool xy, bool u, class Body>
void each(const Part& part, const NodeColumns& shared, const Body& body) {
    const NodeColumns node = shared; // a copy, which no store can change
    const Kept& from = part.kept[node.from];
    Kept* const to = part.kept + node.to;
    for (int i = 0; i < part.count; i += kLanes) {
        body(node, load<xy, u>(from, node.in, i), part.columns + i, i,
             [&](const State<Lanes>& x) { keep(x, node.fields, i, to); });
    }
}

void affine(const Part& part, const NodeColumns& node) {
    each<true, false>(part, node, [&](const auto& node, const auto& h, const double* at, int i, const auto& keep) {
        const Affine<Entry> layer{{node.fan_in, at}, {node.numbers[0], at}, {node.numbers[1], at}, node.node->trained};
        const auto z = apply(layer.law(h, part.points), h);
        smaller(z.v, Lanes(part.least + i)).store(part.least + i);
        keep(z);
    });
}

template <Form form, bool xy>
void phi(const Part& part, const NodeColumns& node) {
    with_choice(node.in.u, [&](auto u) {
        each<xy, u>(part, node, [&](const auto& node, const auto& z, const double* at, int, const auto& keep) {
            const LaneIntegrals<form> integrals{node.phi, at};
            Phi{node.node->mean}.pass(z, part.points, integrals, [&](const auto& law) { keep(apply(law, z)); });
        });
    });
}

void tabulated(const Part& part, const NodeColumns& node) {
    alignas(64) double q[kPart] = {}, one_minus_c[kPart] = {}, integrals[4 * kScanBlock];
    each<true, false>(part, node, [&](const auto&, const auto& z, const double*, int i, const auto&) {
        const Lanes all = z.xy + z.v;
        all.store(q + i);
        (z.v / all).store(one_minus_c + i);
    });
    node.phi.table->block(q, one_minus_c, part.count, integrals);
    each<true, false>(part, node, [&](const auto&, const auto& z, const double*, int i, const auto& keep) {
        Phi{}.pass(z, part.points, TableIntegrals{integrals + i}, [&](const auto& law) { keep(apply(law, z)); });
    });
}

void phi(const Part& part, const NodeColumns& node) {
    if (node.phi.table != nullptr) {
        tabulated(part, node);
    } else if (node.phi.closed) {
        phi<Form::closed, true>(part, node);
    } else if (node.phi.integrated) {
        phi<Form::integrated, false>(part, node);
    } else if (!node.in.xy) {
        phi<Form::rays, false>(part, node);
    } else if (node.phi.is_relu()) {
        phi<Form::relu, true>(part, node);
    } else {
        phi<Form::no_batch_norm, true>(part, node);
    }
}

template <bool u, class Eps>
void batch_norm(const Part& part, const NodeColumns& node) {
    each<true, u>(part, node, [&](const auto& node, const auto& z, const double* at, int, const auto& keep) {
        const LaneSettings<Theory::exact> settings(part.points, at);
        const auto eps = [&] {
            if constexpr (std::is_same_v<Eps, Zero>) {
                return Zero();
            } else {
                return Entry{node.numbers[2], at};
            }
        };
        const BatchNorm<Entry, Entry, Eps> norm{
            {node.numbers[0], at}, {node.numbers[1], at}, eps(), node.node->trained};
        const Lanes r = settings.one_over_n_minus_1();
        if (node.frozen) {
            keep(apply(norm.frozen(z), z));
        } else if (node.phi.closed) {
            keep(apply(norm.closed(z, settings.samples(), settings.one_over_n(), r), z));
        } else {
            keep(apply(norm.exact(z, r), z));
        }
    });
}

void batch_norm(const Part& part, const NodeColumns& node) {
    with_choice(node.in.u, [&](auto u) {
        if (node.has_eps) {
            batch_norm<u, Entry>(part, node);
        } else {
            batch_norm<u, Zero>(part, node);
        }
    });
}

// Of two states.
template <class Layer>
void joined(const Part& part, const NodeColumns& node) {
    with_choice(node.in.u || node.other.u, [&](auto u) {
        const Kept& beside = part.kept[node.beside];
        each<true, u>(part, node, [&](const auto& node, const auto& x, const double* at, int i, const auto& keep) {
            const auto y = load<true, u>(beside, node.other, i);
            Layer{{node.numbers[0], at}}.pass(x, y, [&](const auto& law) { keep(apply(law, x)); });
        });
    });
}

// What is common to units or positions.
void common(const Part& part, const NodeColumns& node) {
    with_choice(node.in.u, [&](auto u) {
        each<true, u>(part, node, [&](const auto& node, const auto& z, const double* at, int, const auto& keep) {
            const Entry numbers[] = {{node.numbers[0], at}, {node.numbers[1], at}, {node.numbers[2], at}};
            with_common(*node.node, numbers, [&](const auto& layer) {
                return layer.pass(z, Zero(), Zero(), [&](const auto& law) { keep(apply(law, z)); });
            });
        });
    });
}

void pass(const Part& part, const NodeColumns& node) {
    switch (node.node->kind) {
    case LayerKind::affine:
        return affine(part, node);
    case LayerKind::phi:
        return phi(part, node);
    case LayerKind::batch_norm:
        return batch_norm(part, node);
    case LayerKind::add:
        return joined<Add<Entry>>(part, node);
    case LayerKind::mean:
        return joined<Mean<Entry>>(part, node);
    default:
        return common(part, node);
    }
}

void read(const Part& part) {
    for (int i = 0; i < part.count; i += kLanes) {
        const Lanes overlap = Entry{part.points.overlap, part.columns + i};
        const Lanes length = Entry{part.points.length, part.columns + i};
        keep(input_state(overlap, length), {.xy = true}, i, part.kept);
        Lanes(1.0).store(part.least + i);
    }
}

} // namespace

bool graph_block(const PointColumns& points, const double* columns, int count, double* const* out, double* outside) {
    const auto kept = std::make_unique_for_overwrite<Kept[]>(points.slots);
    const NodeColumns& last = points.nodes[points.count - 1];
    Mask all = every_lane(0);
    for (int first = 0; first < count; first += kPart) {
        const Part part{points, columns + first, count - first < kPart ? count - first : kPart, kept.get(),
                        outside + first};
        read(part);
        for (int n = 0; n < points.count; ++n) {
            pass(part, points.nodes[n]);
        }
        for (int i = 0; i < part.count; i += kLanes) {
            const auto& end = load<true, false>(kept[last.to], last.fields, i).kernel;
            double* const marks = part.least + i;
            all = all | ending<true>(points, columns, first + i, end, Lanes(marks), out, marks);
        }
    }
    return any_negative(all);
}

} // namespace FISHERFIELD_PATH

} // namespace fisherfield
