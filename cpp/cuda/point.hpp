// SPDX-License-Identifier: BSD-3-Clause
// One point of a scan from arrays that a device can read: evaluate() of quantities.hpp, with the point's numbers put
// into the nodes as they are asked for. Host and device compile it alike.
#pragma once

#include <cstdint>

#include "fisherfield/quantities.hpp"

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

// A number of a point: one for all, or that of a column.
struct ColumnOrValue {
    double value = 0.0;
    int column = -1;
};

// Everything that points share, and where their results go.
struct Job {
    const Node* nodes = nullptr;
    const Activation* activations = nullptr;
    int count = 0, layers = 0; // nodes; affine layers
    bool normalised = false;
    Edges edges = {};

    const int* varied = nullptr; // of each node's numbers: the column, or -1
    ColumnOrValue width, samples, overlap, length, momentum;
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

inline constexpr int kSlots = 6; // states that a point keeps: a chain takes 2, sums within sums more

// The nodes at one of the points at hand, as evaluate() asks for them.
template <Integrals held>
struct PointNodes {
    const Job& job;
    std::int64_t i;
    double width;
    State<Scaled> data, live[kSlots]{};

    FISHERFIELD_HD double value(const ColumnOrValue& number) const {
        return number.column < 0 ? number.value : job.values[number.column * job.capacity + i];
    }

    FISHERFIELD_HD Node node(int at) const {
        Node out = job.nodes[at];
        for (int k = 0; k < kLayerNumbers; ++k) {
            out.numbers[k] = value({out.numbers[k], job.varied[at * kLayerNumbers + k]});
        }
        if (job.width.column >= 0) {
            out.fan_in = out.taps > 0.0 ? out.taps * width : out.fan_in;
            out.units = out.layer + 1 < job.layers ? width : out.units;
        }
        return out;
    }

    FISHERFIELD_HD Exact<held> integrals(const Node& at) const { return {job.activations[at.activation]}; }
    FISHERFIELD_HD const State<Scaled>& input(int at) const { return at < 0 ? data : live[job.nodes[at].slot]; }
    FISHERFIELD_HD State<Scaled>& output(const Node& at) { return live[at.slot]; }
};

// The i-th of the points at hand.
template <Integrals held>
FISHERFIELD_HD inline void compute(const Job& job, std::int64_t i) {
    for (int k = 0; k < job.varying; ++k) {
        job.values[k * job.capacity + i] = job.columns[k].at(job.first + i, i);
    }
    PointNodes<held> nodes{job, i, 0.0, {}};
    Point point = job.point;
    point.settings.samples = nodes.value(job.samples);
    point.settings.overlap = nodes.value(job.overlap);
    point.settings.length = nodes.value(job.length);
    point.descent.momentum = nodes.value(job.momentum);
    nodes.data = input_state<Scaled>(point.settings.overlap, point.settings.length);
    if (job.width.column >= 0) {
        nodes.width = nodes.value(job.width);
        point.parameters = parameters([&](int at) { return nodes.node(at); }, job.count, point.settings.biases);
    }
    const auto node = [&](int at) { return nodes.node(at); };
    point.outlier_from = outlier_from(node, job.count, point.settings, job.edges, point.outputs, point.parameters);
    const auto write = [&](int which, int l, double number) {
        const std::int64_t at = of_layers(job.asked[which]) ? i * job.layers + l : i;
        job.out[job.offsets[which] + at] = number;
    };
    job.status[i] = static_cast<std::int8_t>(
        evaluate(nodes, job.count, job.layers, job.normalised, point, job.asked, job.many, write));
}

} // namespace fisherfield::cuda
