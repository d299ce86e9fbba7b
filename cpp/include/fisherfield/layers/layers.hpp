// SPDX-License-Identifier: BSD-3-Clause
// The kinds of layers, each one row: its name, the numbers that a scan may vary, and its law of states. Nobody else
// lists them.
#pragma once

#include <algorithm>
#include <string_view>

#include "fisherfield/layers/add.hpp"
#include "fisherfield/layers/affine.hpp"
#include "fisherfield/layers/batch_norm.hpp"
#include "fisherfield/layers/dropout.hpp"
#include "fisherfield/layers/layer_norm.hpp"
#include "fisherfield/layers/mean.hpp"
#include "fisherfield/layers/phi.hpp"
#include "fisherfield/layers/rms_norm.hpp"
#include "fisherfield/layers/wei2019.hpp"
#include "fisherfield/network.hpp"

namespace fisherfield {

enum class LayerKind : std::int8_t {
    affine,
    phi,
    batch_norm,
    wei2019,
    average_pool,
    flatten,
    add,
    mean,
    layer_norm,
    group_norm,
    rms_norm,
    dropout,
    upsample,
    max_pool,
    subsample,
    depthwise
};

struct LayerRow {
    const char* name;
    const char* numbers[kLayerNumbers]{}; // of Node::numbers
    bool on_samples = false;              // whether its exact law depends on n
    bool normalises = false;              // by a variance over the data
    bool of_sample = false;               // over the units of one sample: a ScaleLaw
    bool asks_for_mean = false;           // behind an activation it takes E phi away
    int vectors = 0;                      // gamma and beta, a number for each unit, where they are trained
    bool of_positions = false;            // or for each unit and position

    int count() const;                           // of its numbers
    int place_of(std::string_view wanted) const; // -1: it has no number of this name
};

inline constexpr LayerRow kLayerRows[] = {
    {.name = "affine", .numbers = {"sigma_w2", "sigma_b2"}},
    {.name = "phi"},
    {.name = "batch_norm", .numbers = {"gamma", "beta", "eps"}, .on_samples = true, .normalises = true, .vectors = 2},
    {.name = "wei2019", .numbers = {"gamma", "beta", "eps"}, .normalises = true, .vectors = 2},
    {.name = "average_pool"},
    {.name = "flatten"},
    {.name = "add", .numbers = {"scale"}},
    {.name = "mean"},
    {.name = "layer_norm",
     .numbers = {"gamma", "beta", "eps"},
     .of_sample = true,
     .asks_for_mean = true,
     .vectors = 2,
     .of_positions = true},
    {.name = "group_norm", .numbers = {"gamma", "beta", "eps"}, .of_sample = true, .asks_for_mean = true, .vectors = 2},
    {.name = "rms_norm", .numbers = {"gamma", "eps"}, .of_sample = true, .vectors = 1, .of_positions = true},
    {.name = "dropout", .numbers = {"rate"}},
    {.name = "upsample"},
    // these have no law of states, but one of sampled units (cpp/cpu/units)
    {.name = "max_pool"},
    {.name = "subsample"},
    {.name = "depthwise", .numbers = {"sigma_w2", "sigma_b2"}},
};

inline int LayerRow::count() const {
    return static_cast<int>(std::find(numbers, numbers + kLayerNumbers, nullptr) - numbers);
}

inline int LayerRow::place_of(std::string_view wanted) const {
    for (int place = 0; place < count(); ++place) {
        if (numbers[place] == wanted) {
            return place;
        }
    }
    return -1;
}

inline const LayerRow& row_of(LayerKind kind) { return kLayerRows[static_cast<int>(kind)]; }

// Exchangeable positions are alike: what acts on all of them alike is the identity. Windows of positions are not
// (cpp/cpu/positions).
struct Identity {
    template <class T>
    struct Law {
        T xy, v, off, mean;
        TangentKernel<Zero> own{};

        template <class K>
        FISHERFIELD_HD K kernel(const K& k) const {
            return k;
        }
    };

    template <class Z, class S, class I, class Visit>
    FISHERFIELD_HD Status pass(const Z& in, const S&, const I&, Visit&& visit) const {
        visit(Law<decltype(in.v)>{in.xy, in.v, in.off, in.mean});
        return Status::ok;
    }
};

// visit(layer) with the layer that a node describes, of those whose law is a ScaleLaw or NoiseLaw; its numbers apart.
template <class N, class Visit>
FISHERFIELD_HD FISHERFIELD_INLINE auto with_common(const Node& node, const N* x, Visit&& visit) {
    switch (node.kind) {
    case LayerKind::layer_norm:
    case LayerKind::group_norm:
        return visit(LayerNorm<N>{x[0], x[1], x[2], node.trained, node.gaussian});
    case LayerKind::rms_norm:
        return visit(RmsNorm<N>{x[0], x[1], node.trained, node.gaussian});
    case LayerKind::dropout:
        return visit(Dropout<N>{x[0]});
    default:
        return visit(Identity{});
    }
}

// visit(layer) with the layer that a node describes.
template <class Visit>
FISHERFIELD_HD FISHERFIELD_INLINE auto with_layer(const Node& node, Visit&& visit) {
    const double* const x = node.numbers;
    switch (node.kind) {
    case LayerKind::affine:
        return visit(Affine<>{node.fan_in, x[0], x[1], node.trained});
    case LayerKind::phi:
        return visit(Phi{node.mean});
    case LayerKind::batch_norm:
        return visit(BatchNorm<>{x[0], x[1], x[2], node.trained, node.homogeneous});
    case LayerKind::wei2019:
        return visit(PublishedBatchNorm<>{x[0], x[1], x[2], node.trained});
    case LayerKind::add:
        return visit(Add<>{x[0]});
    case LayerKind::mean:
        return visit(Mean<>{x[0]});
    default:
        return with_common(node, x, visit);
    }
}

} // namespace fisherfield
