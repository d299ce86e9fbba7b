// SPDX-License-Identifier: BSD-3-Clause
// The maps of states where positions of an image differ: |K| x |K| matrices for one input and for two. docs/theory.md,
// section 5.
#pragma once

#include "fisherfield/network.hpp"
#include "fisherfield/settings.hpp"
#include "fisherfield/state.hpp"
#include "fisherfield/status.hpp"
#include "matrix.hpp"

namespace fisherfield {

// The matrices over pairs of positions: overlaps of two inputs, what one input with itself has beyond that, and the
// same of the tangent kernel; and `apart`, half the mean square of what one input's values at two positions differ by.
// With lengths q, q_a + q_b - 2 (xy + v) is twice that, but by a difference that loses its digits where windows look
// alike.
struct ImageState {
    Pair size{1, 1};
    Matrix xy, v, o, d, apart;
    // Behind a BatchNorm: units are gamma u_hat + mean, xy, v and apart those of u_hat, and a trained gamma's gradient
    // u_hat(x) u_hat(y) belongs to the kernel.
    Scaled gamma2 = 1.0;
    double mean = 0.0;
    // What every entry of xy has beyond it, of an affine layer: a BatchNorm takes it out, whatever its size, and else
    // `add_bias` does.
    Scaled bias = 0.0;
    bool trained_gamma = false, of_positions = false; // a gamma for each channel, or for each of its positions
    std::vector<double> means;                        // E phi at each position, where a layer behind asks for it
    Matrix of_value; // g of a kernel g[a, b] z_a z_b that goes with the units' own values behind a sum; or empty

    long positions() const { return static_cast<long>(size[0]) * size[1]; }
    // Means over positions, i.e. of the diagonals, as one state.
    State<Scaled> diagonal() const;
};

ImageState image_input(Pair size, const Settings& settings);
// Units as they are, gamma2 = 1, and a trained gamma's gradient in `of_value`.
void settle(ImageState* z);
void add_bias(ImageState* z);
// Of `of_value` of units z_a what units z'_a know goes on with them, z_a = share_a z'_a + rest, and the mean of the
// rest joins o and d: g_ab (E z_a z_b - share_a share_b E z'_a z'_b). xy and v are those of z; z' is `to`.
void carry(const Matrix& of_value, const std::vector<double>& share, const Matrix& xy, const Matrix& v, ImageState* to);

// `own` says whether the gradients by this layer's parameters are added to the tangent kernel.
ImageState convolve(const Node& node, ImageState h, bool biases, bool own);
Status normalise(const Node& node, Theory theory, bool own, ImageState* z);
Status activate(const Activation& activation, bool with_means, ImageState* z);
// Statistics over channels and positions of one sample: everything times a factor.
Status scale(const Node& node, const Settings& settings, bool own, ImageState* z);
ImageState sum(const Node& node, ImageState branch, ImageState skip);
ImageState mean(const Node& node, ImageState h, ImageState others);
ImageState average_pool(const Windows& windows, ImageState h);
ImageState upsample(const Pair& times, ImageState h);

// Whether an integral is cheaper than looking up whether it was made before; else all that differ are kept for a while.
bool cheap(const Activation& activation, double shift);

} // namespace fisherfield
