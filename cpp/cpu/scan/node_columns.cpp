// SPDX-License-Identifier: BSD-3-Clause
// Columns of networks that are no chain of affine layers with what follows each, and of BatchNorms in any.
#include <algorithm>
#include <cmath>
#include <limits>

#include "columns.hpp"
#include "fisherfield/closed_form.hpp"
#include "fisherfield/gaussian.hpp"
#include "fisherfield/layers/layers.hpp"

namespace fisherfield {

namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

bool zero(double x) { return x == 0.0; }

Fields either(const Fields& x, const Fields& y) { return {x.xy || y.xy, x.off || y.off, x.mean || y.mean, x.u || y.u}; }

// Whether its law is one of those that work on vectors without a line of their own.
bool common(const Node& node) {
    return with_common(node, node.numbers,
                       [](const auto& layer) { return !std::is_same_v<std::decay_t<decltype(layer)>, Identity>; });
}

} // namespace

// Whether the law of a closed batch holds behind a BatchNorm. Where it does at some points alone, those are set apart.
bool ScanColumns::closed(int node) {
    const Node& norm = request_.network.nodes[node];
    const Number gamma = of_node(node, 0), beta = of_node(node, 1), eps = of_node(node, 2);
    const Number samples = of_point(PointNumber::samples, request_.settings.samples);
    if (request_.settings.theory != Theory::exact || !norm.homogeneous ||
        !any(samples, [](double n) { return n >= 4.0; })) {
        return false;
    }
    if (!all(beta, zero) || !all(eps, zero) || all(gamma, zero)) {
        mark({samples, gamma, beta, eps}, [&](const double* in) {
            Settings settings = request_.settings;
            settings.samples = in[0];
            return BatchNorm<>{in[1], in[2], in[3], false, norm.homogeneous}.closed(settings);
        });
        return false;
    }
    mark({samples}, [](const double* in) { return in[0] < 4.0; });
    mark({gamma}, [](const double* in) { return in[0] == 0.0; });
    return true;
}

// phi of rays behind such a BatchNorm.
void ScanColumns::close(const Rays& rays, PhiColumns* phi) {
    const Number samples = of_point(PointNumber::samples, request_.settings.samples);
    const std::vector<ColumnOrValue> pair = derived({samples}, 4, [&](const double* in, double* out) {
        const double r = 1.0 / (in[0] - 1.0);
        const Covariance unit = closed_form::rays(rays, 1.0, {-r, 1.0 + r});
        out[0] = unit.value.value();
        out[1] = unit.difference.value();
        out[2] = unit.slope.value();
        out[3] = unit.slope_difference.value();
    });
    phi->closed = true;
    phi->value = pair[0];
    phi->difference = pair[1];
    phi->slope = pair[2];
    phi->slope_difference = pair[3];
}

// phi behind a BatchNorm without eps.
void ScanColumns::integrate(const Activation& activation, const Number& gamma, const Number& beta, PhiColumns* phi) {
    const std::vector<ColumnOrValue> integrals = derived({gamma, beta}, 7, [&](const double* in, double* out) {
        const Moments m = moments(activation, std::fabs(in[0]), in[1]);
        const Scaled each[] = {m.mean,           m.variance, m.slope_mean, m.slope_second,
                               m.slope_variance, m.u_slope,  m.u2_slope2};
        for (int k = 0; k < 7; ++k) {
            out[k] = m.status == Status::ok ? each[k].value() : kNaN;
        }
    });
    phi->integrated = true;
    phi->mean = integrals[0];
    phi->variance = integrals[1];
    phi->slope_mean = integrals[2];
    phi->slope_second = integrals[3];
    phi->slope_variance = integrals[4];
    phi->u_slope = integrals[5];
    phi->u2_slope2 = integrals[6];
}

ColumnOrValue ScanColumns::fan_in(const Node& affine) {
    const Number width = of_point(PointNumber::width, 0.0);
    return width.plane == nullptr || affine.taps == 0.0
               ? ColumnOrValue{affine.fan_in, -1}
               : derived({width}, 1, [&](const double* in, double* out) { out[0] = affine.taps * in[0]; })[0];
}

// Every node in its order. False where kernels do not cover one.
bool ScanColumns::build_nodes() {
    const Network& network = request_.network;
    for (int i = 0; i < static_cast<int>(network.nodes.size()); ++i) {
        const Node& node = network.nodes[i];
        NodeColumns out;
        const auto read = [&](int input, int* place, Fields* fields) {
            *place = input < 0 ? 0 : network.nodes[input].slot + 1;
            *fields = input < 0 ? Fields{.xy = true} : nodes_[input].fields;
        };
        read(node.input, &out.from, &out.in);
        if (node.other != kNone) {
            read(node.other, &out.beside, &out.other);
        }
        out.node = &node;
        out.to = node.slot + 1;
        for (int k = 0; k < kLayerNumbers; ++k) {
            out.numbers[k] = column(of_node(i, k));
        }
        if (!moderate(node) || !build(i, &out)) {
            return false;
        }
        nodes_.push_back(out);
    }
    return true;
}

bool ScanColumns::build(int i, NodeColumns* out) {
    const Node& node = request_.network.nodes[i];
    const LayerRow& row = row_of(node.kind);
    const int beta = row.place_of("beta");
    const bool shifted = beta >= 0 && any(of_node(i, beta), [](double x) { return x != 0.0; });
    switch (node.kind) {
    case LayerKind::affine:
        out->fan_in = fan_in(node);
        out->fields = {.xy = true};
        return true;
    case LayerKind::phi:
        out->fields = {.xy = true, .off = out->in.off, .mean = node.mean};
        return build_phi(node, out);
    case LayerKind::batch_norm: {
        const bool exact = request_.settings.theory == Theory::exact;
        const bool finite =
            any(of_point(PointNumber::samples, request_.settings.samples), [](double n) { return n > 0.0; });
        out->has_eps = !all(of_node(i, row.place_of("eps")), zero);
        out->frozen = !exact;
        out->phi.closed = closed(i);
        out->fields = {.xy = out->phi.closed,
                       .off = exact && finite && !out->phi.closed,
                       .mean = shifted,
                       .u = node.trained || (exact ? finite : out->in.u)};
        return true;
    }
    case LayerKind::add:
    case LayerKind::mean:
        out->fields = either(out->in, out->other);
        return true;
    default:
        if (!common(node)) {
            return false;
        }
        out->fields = out->in;
        if (row.of_sample) {
            out->fields.xy = out->in.xy || !node.gaussian;
            out->fields.mean = row.asks_for_mean ? shifted : out->in.mean;
            out->fields.u = out->in.u || (node.gaussian && node.trained);
        }
        return true;
    }
}

// phi of rays has closed forms around 0, behind a BatchNorm without eps any phi is integrated before, and tables have
// no kernel of u.
bool ScanColumns::build_phi(const Node& node, NodeColumns* out) {
    const Activation& phi = request_.network.activations[node.activation];
    Rays rays{1.0, 1.0};
    const bool straight = homogeneous(phi, &rays) && !out->in.mean;
    out->phi.a = 0.5 * (rays.plus + rays.minus);
    out->phi.b = 0.5 * (rays.plus - rays.minus);
    const NodeColumns* const norm =
        node.input >= 0 && row_of(request_.network.nodes[node.input].kind).normalises ? &nodes_[node.input] : nullptr;
    if (norm != nullptr && norm->phi.closed) {
        close(rays, &out->phi);
        return true;
    }
    if (straight && (!out->in.xy || rays.minus * rays.plus >= 0.0)) {
        return true;
    }
    if (norm != nullptr) {
        integrate(phi, of_node(node.input, 0), of_node(node.input, 1), &out->phi);
        return !norm->has_eps;
    }
    const std::size_t layer = node.layer;
    if (!out->in.xy || out->in.mean || out->in.u || node.mean || layer >= request_.tables.size() ||
        request_.tables[layer] == nullptr) {
        return false;
    }
    out->phi.table = lookup(request_.tables[layer]);
    return true;
}

} // namespace fisherfield
