// SPDX-License-Identifier: BSD-3-Clause
// What can be asked of a point of parameters, by name: numbers of the output's kernel, and of each affine layer.
#pragma once

#include "fisherfield/edge_bound.hpp"
#include "fisherfield/evaluate.hpp"
#include "fisherfield/learning_rate.hpp"
#include "fisherfield/spectrum.hpp"

namespace fisherfield {

// Of a point, then of each of its layers.
enum class Quantity {
    lambda_max,
    bulk,
    mean,
    second_moment,
    max_learning_rate,
    multiplicity,
    parameters,
    outlier,
    a,
    b,
    fan_in,
    q_hat,
    q_hat_xy,
    v_hat,
    q,
    q_xy,
    v,
    theta,
    theta_xy,
    d,
    c,
    part_a,
    part_b
};
inline constexpr const char* kQuantityNames[] = {"lambda_max",
                                                 "bulk",
                                                 "mean",
                                                 "second_moment",
                                                 "max_learning_rate",
                                                 "multiplicity",
                                                 "parameters",
                                                 "outlier",
                                                 "a",
                                                 "b",
                                                 "fan_in",
                                                 "q_hat",
                                                 "q_hat_xy",
                                                 "v_hat",
                                                 "q",
                                                 "q_xy",
                                                 "v",
                                                 "theta",
                                                 "theta_xy",
                                                 "d",
                                                 "c",
                                                 "part_a",
                                                 "part_b"};
inline constexpr int kQuantities = 23;

FISHERFIELD_HD inline bool of_layers(Quantity which) { return which >= Quantity::fan_in; }

// What a point has besides its layers.
struct Point {
    Settings settings;
    Descent descent;
    Loss loss = Loss::sum;
    double outputs = 1.0, parameters = 0.0; // C and P
    double outlier_from = -HUGE_VAL;        // of b/(a - b): edge_bound.hpp
};

// A quantity of a point from the output's kernel.
FISHERFIELD_HD inline Scaled quantity(Quantity which, const TangentKernel<Scaled>& kernel, const Point& point) {
    const Settings& settings = point.settings;
    const Shares<double> share = shares(point.outputs, point.parameters);
    const Spectrum<Scaled> s = spectrum(kernel, settings, Shares<Scaled>{share.all, share.others});
    switch (which) {
    case Quantity::lambda_max:
        return s.lambda_max;
    case Quantity::bulk:
        return s.bulk;
    case Quantity::mean:
        return s.mean;
    case Quantity::second_moment:
        return s.second_moment;
    case Quantity::max_learning_rate:
        return max_learning_rate(s.lambda_max, point.descent, point.loss, point.outputs);
    case Quantity::multiplicity:
        return multiplicity(s.outlier, settings, point.outputs, point.parameters);
    case Quantity::parameters:
        return point.parameters;
    case Quantity::outlier:
        return s.outlier ? 1.0 : 0.0;
    case Quantity::a:
        return kernel.o + kernel.d;
    case Quantity::b:
        return kernel.o;
    default:
        return 0.0;
    }
}

// One affine layer: what feeds it and what leaves it; means over positions for a convolution.
struct Row {
    double fan_in;
    State<Scaled> h, z;
};

// A quantity of one of its layers; parts need the pass back (cpp/cpu/evaluate.hpp).
FISHERFIELD_HD inline Scaled quantity(Quantity which, const Row& row) {
    const State<Scaled>& z = row.z;
    switch (which) {
    case Quantity::fan_in:
        return row.fan_in;
    case Quantity::q_hat:
        return overlap(row.h) + row.h.v;
    case Quantity::q_hat_xy:
        return overlap(row.h);
    case Quantity::v_hat:
        return row.h.v;
    case Quantity::q:
        return z.xy + z.v;
    case Quantity::q_xy:
        return z.xy;
    case Quantity::v:
        return z.v;
    case Quantity::theta:
        return z.kernel.o + z.kernel.d;
    case Quantity::theta_xy:
        return z.kernel.o;
    case Quantity::d:
        return z.kernel.d;
    default:
        return is_zero(z.xy + z.v) ? Scaled(1.0) : z.xy / (z.xy + z.v);
    }
}

// Whether a number that was asked for has left float64's range. eta_star = inf is what no curvature at all means.
FISHERFIELD_HD inline bool beyond_range(Quantity which, Scaled value, const TangentKernel<Scaled>& kernel,
                                        const Point& point) {
    return !value.fits() && !(which == Quantity::max_learning_rate && point.descent.weight_decay == 0.0 &&
                              is_zero(quantity(Quantity::lambda_max, kernel, point)));
}

// The whole network for one point, nothing of it taken from another: write(i, l, number) sees the i-th quantity asked
// for, of layer l, or of the point itself with l = 0; NaN where the point has none. What is returned is its status.
template <class Network, class Write>
FISHERFIELD_HD inline Status evaluate(Network& network, int count, int layers, bool batch_norm, const Point& point,
                                      const Quantity* asked, int many, Write&& write) {
    Status status = Status::inadmissible;
    if (point.settings.admissible(batch_norm)) {
        bool fits = true;
        TangentKernel<Scaled> kernel;
        status = evaluate(network, 0, count, point.settings,
                          [&](int, const Node& node, const State<Scaled>& in, const State<Scaled>& out) {
                              kernel = out.kernel;
                              for (int i = 0; i < many && node.kind == LayerKind::affine; ++i) {
                                  if (of_layers(asked[i])) {
                                      const Scaled value = quantity(asked[i], Row{node.fan_in, in, out});
                                      fits = fits && value.fits();
                                      write(i, node.layer, value.value());
                                  }
                              }
                          })
                     .status;
        for (int i = 0; i < many && status == Status::ok; ++i) {
            if (!of_layers(asked[i])) {
                const Scaled value = quantity(asked[i], kernel, point);
                fits = fits && !beyond_range(asked[i], value, kernel, point);
                write(i, 0, value.value());
            }
        }
        status = status == Status::ok && !fits ? Status::beyond_range : status;
        status = status == Status::ok && undecided(kernel, point.outlier_from) ? Status::edge_not_computed : status;
    }
    const bool written = status == Status::ok || status == Status::beyond_range || status == Status::edge_not_computed;
    for (int i = 0; i < many && !written; ++i) {
        for (int l = 0; l < (of_layers(asked[i]) ? layers : 1); ++l) {
            write(i, l, NAN);
        }
    }
    return status;
}

} // namespace fisherfield
