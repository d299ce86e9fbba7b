// SPDX-License-Identifier: BSD-3-Clause
// The recursion for many points of a scan at once, in plain float64: what columns.cpp and kernels.cpp share.
#pragma once

#include "fisherfield/network.hpp"
#include "fisherfield/settings.hpp"

namespace fisherfield {

// A number that all points have, or the place of a column with one for each.
struct ColumnOrValue {
    double value = 0.0;
    int place = -1;
};

// Integrals by interpolation: E phi^2, E phi(u) phi(w), and the same of phi', `count` <= kScanBlock of each one after
// the other, kScanBlock apart; NaN where q and 1 - c lie outside of the table.
struct Interpolation {
    virtual ~Interpolation() = default;
    virtual void block(const double* q, const double* one_minus_c, int count, double* out) const = 0;
};

// phi: rays, minus x for x < 0 and plus x for x > 0, with a = (plus + minus)/2 and b = (plus - minus)/2; or its
// integrals are made before, or found in a table.
struct PhiColumns {
    double a = 1.0, b = 0.0;
    bool integrated = false;
    // moments() at gamma and beta
    ColumnOrValue mean, variance, slope_mean, slope_second, slope_variance, u_slope, u2_slope2;
    bool closed = false;
    ColumnOrValue value, difference, slope, slope_difference; // of two inputs at gamma = 1, where BatchNorm is closed
    const Interpolation* table = nullptr;

    bool is_relu() const { return table == nullptr && a == 0.5 && b == 0.5; }
};

// One affine layer and what follows it in a chain: a BatchNorm, phi.
struct LayerColumns : PhiColumns {
    ColumnOrValue fan_in, sigma_w2, sigma_b2, gamma, eps;
    bool biases = true; // it has some
    bool batch_norm = false, has_eps = false, trained = false;
};

// Which numbers of a state are not 0 at all points, whatever the points' numbers are; xy, where some are not; v, o and
// d always. u: ou and du.
struct Fields {
    bool xy = false, off = false, mean = false, u = false;
};

// One node of a network that is no chain of such layers.
struct NodeColumns {
    const Node* node = nullptr;
    ColumnOrValue numbers[kLayerNumbers], fan_in;
    int from = 0, beside = 0, to = 0;     // where states are kept: in place 0, what the network reads
    Fields in, other, fields;             // of what it reads, and gives
    bool has_eps = false, frozen = false; // a BatchNorm
    PhiColumns phi;                       // closed: of a BatchNorm, too
};

struct PointColumns {
    bool biases = true;
    double curvature_factor = 1.0, weight_decay = 0.0;
    bool nesterov = false;
    ColumnOrValue overlap, length, samples, one_over_n, one_over_n_minus_1, momentum, parameters;
    ColumnOrValue share, share_of_others; // C/P and C/(P - C)
    ColumnOrValue o, d;                   // of the output, where the recursion has been run before
    const ColumnOrValue* apart = nullptr; // not 0 where a point is to be done otherwise from the start
    int aparts = 0;
    double least_share = 0.0; // of d in a; where it is less, tables have not enough digits for it
    // Whether another than the outlier may rule (edge_bound.hpp), where it is asked for; where b alone is computed, 1
    // where that is not known to be impossible.
    bool edges = false;
    ColumnOrValue outlier_from;
    int count = 0; // layers, or nodes
    const LayerColumns* layers = nullptr;
    const NodeColumns* nodes = nullptr; // or of these
    int slots = 0;                      // states that are kept at a time
};

inline constexpr int kScanBlock = 512; // points that a kernel takes; a multiple of every vector's width

// Quantities of `count` points out of kScanBlock, one array for each or null; place p's column begins at columns + p
// kScanBlock. Vectors are whole: values beyond `count` are read and written up to the width of one. In `outside`, a
// sign bit where a number left the range in which float64 keeps its digits, so that the point is to be done otherwise,
// 1 where the bulk's edge may rule, else 0; returns whether there are others than 0.
using ScanKernel = bool (*)(const PointColumns& points, const double* columns, int count, double* const* out,
                            double* outside);

struct ScanKernels {
    ScanKernel vanilla[2];    // where b alone is asked for, and where a is as well
    ScanKernel batch_norm[3]; // by theory
    ScanKernel ending[2];     // from o, or from o and d, alone
    ScanKernel graph;         // node by node
};

// Of the path in use (kernels.hpp).
ScanKernels scan_kernels();

} // namespace fisherfield
