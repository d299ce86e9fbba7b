// SPDX-License-Identifier: BSD-3-Clause
// What a layer of a real finite network does to a batch of activations: a map, its derivative in both directions, and
// the part that its parameters have in J J^T. All that the pass over the layers knows of one stands here.
//
// Activations are matrices of (samples x positions) rows and one column a channel, so that a dense layer is a
// convolution on one position, and flattening an image is nothing but another way to read it.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "buffer.hpp"
#include "image.hpp"
#include "noise.hpp"

namespace fisherfield::finite_network {

// A forward pass. Work space for convolutions stays below `workspace` bytes (or one sample's worth). With `keep`, what
// the operators need is kept. With `noise`, random errors of that many times the rounding errors are added to every
// layer's results: what they change shows what rounding costs.
struct Pass {
    long samples = 0;
    std::size_t workspace = 0;
    bool keep = false;
    double noise = 0.0;
    std::uint64_t seed = 0;

    Noise random() const { return Noise(seed); }
    template <class T>
    double noise_unit() const {
        return noise * static_cast<double>(std::numeric_limits<T>::epsilon());
    }
};

// Over what the means of a layer's inputs may be taken off without a change of what the network gives: over the
// samples, a mean for each unit, or over the positions of a channel, too.
enum class Means { none, units, channels };

// Rows are samples times positions. `code` is what J^T leaves of the layer's own parameters, in the layer's order; for
// products (`direct` false) whatever leads to its part of J J^T.
template <class T>
class Map {
public:
    const Image in, out;
    long samples = 0; // of the last forward pass

    Map(const Image& in, const Image& out) : in(in), out(out) {}
    virtual ~Map() = default;

    virtual Buffer<T> forward(Buffer<T> activations, const Pass& pass) = 0;
    // Deltas at the output to deltas at the input, unless nothing before has parameters (null).
    virtual void pull(const T* out, T* in, T* code, bool direct) = 0;
    // Changes at the input, none if null, and of the parameters to changes at the output.
    virtual void push(const T* in, T* out, const T* code, bool direct) = 0;

    virtual long parameters() const { return 0; }
    virtual long code_size(bool /*direct*/) const { return parameters(); }
    virtual void to_pytorch(const T* code, T* v) const { std::copy_n(code, parameters(), v); }
    virtual void from_pytorch(const T* v, T* code) const { std::copy_n(v, parameters(), code); }
    virtual void prepare(double /*products*/, std::size_t* /*bytes*/) {}
    // gram += the layer's part: `count` stacked deltas, each of `samples` samples; lower triangle.
    virtual void add_gram(const T* /*deltas*/, int /*count*/, T* /*gram*/) {}

    virtual bool has_weights() const { return false; } // that mix units
    // Where samples' results should be equal, rounding may tell them apart: they are sums over units.
    virtual bool rounds() const { return has_weights(); }
    virtual bool in_place() const { return false; } // works where its input stands
    virtual bool coupled() const { return false; }  // a sample's results depend on other samples

    // Offsets that are the same in all rows. A layer behind this one, which alone reads it, takes them off; gradients
    // flow through what it takes off, or do not.
    virtual void loses_means(bool /*gradients*/) {}
    // Where a forward pass has taken means off its results beforehand: what was taken off, a column each.
    virtual const std::vector<double>* offsets() const { return nullptr; }
    // It stands behind another layer, which it alone reads; `first`: at most one layer that rounds stands before it.
    virtual void stands_behind(Map& /*before*/, bool /*first*/) {}
    // What may be taken off its inputs, given what may be taken off its results.
    virtual Means removable(Means /*behind*/) const { return Means::none; }
    // Its results are the same, whether what may be taken off its inputs was.
    virtual bool absorbs_means() const { return false; }
    // Inputs to keep in place of those that means were taken off of, where these have to count.
    virtual bool keeps_whole_inputs() const { return false; }
    virtual void keep_inputs(Buffer<T> /*activations*/) {}

    virtual double kept(double /*n*/) const { return 0.0; } // numbers, of n samples

    // Operations (multiplications and additions) of products of matrices.
    virtual double forward_flops(double /*n*/) const { return 0.0; }
    virtual double carry_flops(double /*n*/) const { return 0.0; } // once backwards or forwards
    virtual double own_flops(double /*n*/) const { return 0.0; }
    virtual double gram_flops(double /*n*/, double /*count*/) const { return 0.0; }

protected:
    long rows_in() const { return samples * in.positions(); }
    long rows_out() const { return samples * out.positions(); }
};

} // namespace fisherfield::finite_network
