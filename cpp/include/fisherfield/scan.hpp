// SPDX-License-Identifier: BSD-3-Clause
// What a scan may vary and what it gives back, one point at a time: the whole chain from parameters to learning rate.
#pragma once

#include "fisherfield/fisher.hpp"
#include "fisherfield/learning_rate.hpp"

namespace fisherfield {

// Of every layer that has it, or of one.
enum class Field { sigma_w2, sigma_b2, gamma, beta, eps, width, samples, overlap, length, momentum };
inline constexpr const char* kFieldNames[] = {"sigma_w2", "sigma_b2", "gamma",   "beta",   "eps",
                                              "width",    "samples",  "overlap", "length", "momentum"};
inline constexpr int kFields = 10;

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

// Beside the statuses of integrals.
inline constexpr int kBeyondRange = 5;  // a number that was asked for stands as 0 or inf
inline constexpr int kInadmissible = 6; // parameters that do not go together at this point

// n inputs of one length have overlaps of -length/(n - 1) at least; one sample has no variance for a BatchNorm.
FISHERFIELD_HD inline bool admissible(const Settings& settings, bool batch_norm) {
    const double n = settings.samples, least = !settings.finite()      ? 0.0
                                               : settings.one_sample() ? -settings.length
                                                                       : -settings.length / (n - 1.0);
    return settings.overlap >= least && settings.overlap <= settings.length && !(batch_norm && settings.one_sample());
}

// P: weights, biases, and gamma and beta of trained BatchNorms. Layers are given by layer(l).
template <class Layers>
FISHERFIELD_HD inline double parameters(const Layers& layer, int count, bool biases) {
    double sum = 0.0;
    for (int l = 0; l < count; ++l) {
        const auto& block = layer(l);
        const bool trained = block.batch_norm && block.trained;
        sum += block.units * (block.fan_in + (biases ? 1.0 : 0.0) + (trained ? 2.0 : 0.0));
    }
    return sum;
}

// What a layer's parameters are changed by; the slot's value stands for N_l of every hidden layer where it is a width.
FISHERFIELD_HD inline void assign(Field field, double value, Block* block) {
    switch (field) {
    case Field::sigma_w2:
        block->sigma_w2 = value;
        break;
    case Field::sigma_b2:
        block->sigma_b2 = value;
        break;
    case Field::gamma:
        block->gamma = value;
        break;
    case Field::beta:
        block->beta = value;
        break;
    case Field::eps:
        block->eps = value;
        break;
    default:
        break;
    }
}

// Units of every hidden layer; fan_in keeps its number of taps, and of positions where an image is flattened.
FISHERFIELD_HD inline void widen(double width, Block* blocks, int count) {
    for (int l = 0; l + 1 < count; ++l) {
        blocks[l + 1].fan_in = blocks[l + 1].fan_in / blocks[l].units * width;
        blocks[l].units = width;
    }
}

FISHERFIELD_HD inline void assign(Field field, double value, Settings* settings, double* momentum) {
    switch (field) {
    case Field::samples:
        settings->samples = value;
        break;
    case Field::overlap:
        settings->overlap = value;
        break;
    case Field::length:
        settings->length = value;
        break;
    case Field::momentum:
        *momentum = value;
        break;
    default:
        break;
    }
}

// What a point has besides its layers.
struct Point {
    Settings settings;
    Descent descent;
    Loss loss = Loss::sum;
    double outputs = 1.0, parameters = 0.0; // C and P
};

// A quantity of a point from the output's kernel.
FISHERFIELD_HD inline Scaled quantity(Quantity which, const Source<Scaled>& kernel, const Point& point) {
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

// A quantity of one of its layers; parts need the pass back (cpp/cpu/fisher.hpp).
FISHERFIELD_HD inline Scaled quantity(Quantity which, const Row& row) {
    const Preactivation<Scaled>& z = row.z;
    switch (which) {
    case Quantity::fan_in:
        return row.fan_in;
    case Quantity::q_hat:
        return row.h_xy + row.h_v;
    case Quantity::q_hat_xy:
        return row.h_xy;
    case Quantity::v_hat:
        return row.h_v;
    case Quantity::q:
        return z.xy + z.v;
    case Quantity::q_xy:
        return z.xy;
    case Quantity::v:
        return z.v;
    case Quantity::theta:
        return z.o + z.d;
    case Quantity::theta_xy:
        return z.o;
    case Quantity::d:
        return z.d;
    default:
        return is_zero(z.xy + z.v) ? Scaled(1.0) : z.xy / (z.xy + z.v);
    }
}

// Whether a number that was asked for has left float64's range. eta_star = inf is what no curvature at all means.
FISHERFIELD_HD inline bool beyond_range(Quantity which, Scaled value, const Source<Scaled>& kernel,
                                        const Point& point) {
    return !value.fits() && !(which == Quantity::max_learning_rate && point.descent.weight_decay == 0.0 &&
                              is_zero(quantity(Quantity::lambda_max, kernel, point)));
}

// The whole chain for one point, nothing of it taken from another: write(i, l, number) sees the i-th quantity asked
// for, of layer l, or of the point itself with l = 0; NaN where the point has none. What is returned is its status.
template <class Layers, class Write>
FISHERFIELD_HD inline int evaluate(const Layers& layer, int count, bool batch_norm, const Point& point,
                                   const Quantity* asked, int many, Write&& write) {
    const Settings& settings = point.settings;
    int said = kInadmissible;
    if (admissible(settings, batch_norm)) {
        bool fits = true;
        const auto outcome =
            forward(layer, 0, count, input_state<Scaled>(settings.overlap, settings.length), settings,
                    [&](int l, const ActivationState<Scaled>& h, const Preactivation<Scaled>& z, const Step<Scaled>&) {
                        for (int i = 0; i < many; ++i) {
                            if (of_layers(asked[i])) {
                                const Scaled value = quantity(asked[i], Row{layer(l).fan_in, h.xy, h.v, z});
                                fits = fits && value.fits();
                                write(i, l, value.value());
                            }
                        }
                    });
        for (int i = 0; i < many && outcome.status == Status::ok; ++i) {
            if (!of_layers(asked[i])) {
                const Scaled value = quantity(asked[i], outcome.kernel, point);
                fits = fits && !beyond_range(asked[i], value, outcome.kernel, point);
                write(i, 0, value.value());
            }
        }
        said = outcome.status == Status::ok && !fits ? kBeyondRange : static_cast<int>(outcome.status);
    }
    for (int i = 0; i < many && said != 0 && said != kBeyondRange; ++i) {
        for (int l = 0; l < (of_layers(asked[i]) ? count : 1); ++l) {
            write(i, l, NAN);
        }
    }
    return said;
}

} // namespace fisherfield
