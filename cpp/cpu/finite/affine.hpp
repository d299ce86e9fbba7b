// SPDX-License-Identifier: BSD-3-Clause
// z = W h + b at every position; a dense layer is one position and one tap, whose channels are all units.
//
// The term of J J^T with inputs H and deltas Delta at the outputs is (H H^T + 1) Delta, then carried forwards: by way
// of the gradient H^T Delta it takes 4 n N N' operations, by way of the n x n matrix H H^T, made once, 2 n^2 N'.
//
// In a grouped convolution each group of channels is made of its own group of the inputs' channels alone: patches stand
// group by group (of it tap by tap), and every product is one for each group.
//
// A BatchNorm directly behind it takes the mean of z over all rows away, and with it whatever is the same in all rows
// of the patches. A common offset of 1e8 would cost 8 digits of z, and as many of the gradient: it is taken off the
// patches, column by column, before they meet the weights. Deltas that come back through the mean sum to 0, so that
// their products with the patches do not change either; where the mean is held constant they do, and the patches that
// are kept are as they were.
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "map.hpp"

namespace fisherfield::finite_network {

// An affine layer's weights, of a unit (channels, taps), and biases as PyTorch has them. Biases that are not trained
// are no parameters.
template <class T>
struct AffineParameters {
    const T* weights;
    const T* biases;
    bool trains_biases;
};

template <class T>
class Affine final : public Map<T> {
    using Map<T>::in, Map<T>::out, Map<T>::samples, Map<T>::rows_in, Map<T>::rows_out;

public:
    // Of all units of an image: after a flattening, a unit's weights are (channels, positions).
    static std::unique_ptr<Affine> dense(const Image& image, int units, const AffineParameters<T>& parameters);
    // Weights are (channels, image.channels/groups, taps); `groups` divides both numbers of channels.
    static std::unique_ptr<Affine> conv2d(const Image& image, int channels, int groups, const Windows& windows,
                                          const AffineParameters<T>& parameters);

    Buffer<T> forward(Buffer<T> activations, const Pass& pass) override;
    void pull(const T* deltas, T* result, T* code, bool direct) override;
    void push(const T* changes, T* result, const T* code, bool direct) override;
    void prepare(double products, std::size_t* bytes) override;
    void add_gram(const T* deltas, int count, T* gram) override;

    long parameters() const override { return weight_count() + (trains_biases_ ? out.channels : 0); }
    long code_size(bool direct) const override { return !direct && kernel_ ? samples * out.channels : parameters(); }
    void to_pytorch(const T* code, T* v) const override;
    void from_pytorch(const T* v, T* code) const override;

    bool has_weights() const override { return true; }
    void loses_means(bool gradients) override { normed_ = true, flows_ = gradients; }
    const std::vector<double>* offsets() const override { return &offsets_; }
    Means removable(Means behind) const override;
    bool keeps_whole_inputs() const override { return normed_ && !flows_; }
    void keep_inputs(Buffer<T> activations) override { inputs_ = std::move(activations); }

    double kept(double n) const override { return n * in.units(); }
    double forward_flops(double n) const override { return 2.0 * n * out.positions() * out.channels * fan_in(); }
    double carry_flops(double n) const override { return forward_flops(n); }
    double own_flops(double n) const override { return kernel_ ? 2.0 * n * n * out.channels : 2.0 * forward_flops(n); }
    double gram_flops(double n, double count) const override;

private:
    // Weights of a unit are (channels, taps) in PyTorch, (taps, channels) here, `channels` of each group. `plain`:
    // patches are the inputs as they are.
    Affine(const Image& in, const Image& out, const Windows& windows, bool plain, int groups, int channels, int taps,
           const AffineParameters<T>& parameters);

    long fan_in() const { return static_cast<long>(channels_) * taps_; }
    long patch() const { return groups_ * fan_in(); }
    long weight_count() const { return out.channels * fan_in(); }
    int group_size() const { return out.channels / groups_; } // channels made of one group
    // a sample has one, its input, which all units see
    bool one_patch() const { return plain_ && out.positions() == 1 && groups_ == 1; }
    const T* centres() const { return centres_.empty() ? nullptr : centres_.data(); }

    void centre(T* activations);
    void restore(T* activations);
    void shift(T* activations, T sign);
    void disturb(const T* activations, T* z, const Pass& pass);

    void back_to_patches(const T* deltas, long rows, T* patches) const;
    template <class Body>
    void runs(const Body& body) const;
    template <class Body>
    void each_chunk(const T* activations, const Body& body, const T* centres);
    void gather(const T* activations, long sample, T* patches, long place, const T* centres) const;
    void apply(const T* activations, const T* weights, T* result, const T* centres);
    void gradient(const T* deltas, T* code);
    void add_products_of_gradients(const T* deltas, int count, T* gram);

    Windows windows_;
    bool plain_;
    int groups_, channels_, taps_;
    bool trains_biases_;
    Buffer<T> weights_;
    std::vector<T> biases_;
    bool normed_ = false;         // a layer directly behind it takes the means of z off
    bool flows_ = true;           // and gradients go through them
    std::vector<double> offsets_; // what was taken off the mean of z
    std::vector<T> centres_;      // of patches to be gathered; empty: none
    long chunk_ = 1;
    Buffer<T> inputs_, patches_, kernel_;
};

} // namespace fisherfield::finite_network
