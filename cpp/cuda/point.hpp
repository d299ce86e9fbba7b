// SPDX-License-Identifier: BSD-3-Clause
// One point of a scan from arrays that a device can read: evaluate() of scan.hpp, with the point's parameters put into
// the layers as they are asked for. Host and device compile it alike.
#pragma once

#include <cstdint>

#include "fisherfield/scan.hpp"

namespace fisherfield::cuda {

// Of a column's box: the index along one axis is (place / inner) % extent, and `stride` numbers lie between two of it.
struct Digit {
    std::int64_t inner, extent, stride;
};

// The values of one parameter over the box, each once; or, without digits, over the points at hand.
struct Column {
    const double* data;
    const Digit* digits;
    int count;

    FISHERFIELD_HD double at(std::int64_t place, std::int64_t i) const {
        std::int64_t from = count == 0 ? i : 0;
        for (int k = 0; k < count; ++k) {
            from += place / digits[k].inner % digits[k].extent * digits[k].stride;
        }
        return data[from];
    }
};

// A parameter: one number, or the one of a column.
struct Parameter {
    double value = 0.0;
    int column = -1;
};

struct Layer {
    Parameter sigma_w2, sigma_b2, gamma, beta, eps;
    double fan_in = 1.0, units = 1.0;
    double taps = 0.0;   // fan_in for each unit of the layer before, where a width varies; 0 for the first
    bool hidden = false; // its units are the width
    bool batch_norm = false, trained = false;
    int activation = 0; // which one
};

// Everything that points share, and where their results go.
struct Job {
    const Layer* layers = nullptr;
    const Activation* activations = nullptr;
    int count = 0; // layers
    bool batch_norm = false;

    Parameter width, samples, overlap, length, momentum;
    Point point; // theory, biases, loss, outputs, and parameters where no width varies

    const Column* columns = nullptr;
    int varying = 0; // columns
    const Quantity* asked = nullptr;
    const std::int64_t* offsets = nullptr; // of each quantity's first number in `out`
    int many = 0;                          // quantities

    std::int64_t first = 0, points = 0; // of the points at hand
    std::int64_t capacity = 0;          // how many there may be
    double* values = nullptr;           // their parameters, a column after the other
    double* out = nullptr;
    std::int8_t* status = nullptr;
};

// A layer at a point: what order_parameters.hpp asks of one.
template <Integrals which>
struct PointLayer {
    static constexpr Integrals held = which;
    double fan_in, units, sigma_w2, sigma_b2, gamma, beta, eps;
    bool batch_norm, trained;
    const Activation& activation;

    FISHERFIELD_HD bool has_eps() const { return eps != 0.0; }
};

// The i-th of the points at hand.
template <Integrals held>
FISHERFIELD_HD inline void compute(const Job& job, std::int64_t i) {
    for (int k = 0; k < job.varying; ++k) {
        job.values[k * job.capacity + i] = job.columns[k].at(job.first + i, i);
    }
    const auto value = [&](const Parameter& parameter) {
        return parameter.column < 0 ? parameter.value : job.values[parameter.column * job.capacity + i];
    };
    const bool widened = job.width.column >= 0;
    const double width = widened ? value(job.width) : 0.0;
    const auto layer = [&](int l) -> PointLayer<held> {
        const Layer& at = job.layers[l];
        return {widened && l > 0 ? at.taps * width : at.fan_in,
                widened && at.hidden ? width : at.units,
                value(at.sigma_w2),
                value(at.sigma_b2),
                value(at.gamma),
                value(at.beta),
                value(at.eps),
                at.batch_norm,
                at.trained,
                job.activations[at.activation]};
    };
    Point point = job.point;
    point.settings.samples = value(job.samples);
    point.settings.overlap = value(job.overlap);
    point.settings.length = value(job.length);
    point.descent.momentum = value(job.momentum);
    if (widened) {
        point.parameters = parameters(layer, job.count, point.settings.biases);
    }
    const auto write = [&](int which, int l, double number) {
        const std::int64_t at = of_layers(job.asked[which]) ? i * job.count + l : i;
        job.out[job.offsets[which] + at] = number;
    };
    job.status[i] =
        static_cast<std::int8_t>(evaluate(layer, job.count, job.batch_norm, point, job.asked, job.many, write));
}

} // namespace fisherfield::cuda
