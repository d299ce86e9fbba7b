// SPDX-License-Identifier: BSD-3-Clause
// A real finite network on a batch of n inputs, linearised at its parameters: the Jacobian J of its n C outputs by its
// P parameters, as an operator.
//
//     pull       w -> J^T w           reverse mode
//     push       v -> J v             forward mode
//     product    w -> J J^T w         both, without forming J^T w where there is a shorter way
//     gram       J J^T, entry by entry; where nothing couples the samples
//
// One forward pass is kept, and each layer carries deltas backwards and changes forwards by hand. Activations are
// matrices of (samples x positions) rows and one column a channel, so that a dense layer is a convolution on one
// position, and flattening an image is nothing but another way to read it.
//
// J J^T is a sum over the layers that have parameters. For an affine layer with inputs H and deltas Delta at its
// outputs its term is (H H^T + 1) Delta, then carried forwards: by way of the gradient H^T Delta it takes 4 n N N'
// operations, by way of the n x n matrix H H^T, made once, 2 n^2 N'.
//
// BatchNorm over all R rows of a channel, u = (z - mean)/s, s^2 = var + eps (S. Ioffe, C. Szegedy, arXiv 1502.03167):
//
//     du = (dz - mean(dz) - u mean(u dz))/s
//
// symmetric in the rows, so that deltas and changes go through the same matrix. Where the mean or the variance is held
// constant its term is left out.
//
// What is the same in all rows before such a layer cancels in u, and is taken off before it costs digits.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <vector>

#include "buffer.hpp"
#include "described_network.hpp"

namespace fisherfield {

// What of BatchNorm's statistics the gradient flows through.
struct Statistics {
    bool mean = true, variance = true;
};

// A unit has variance 0 over the batch before a BatchNorm without eps.
struct ZeroVariance : std::domain_error {
    ZeroVariance(int norm, int unit) : std::domain_error("zero variance"), norm(norm), unit(unit) {}
    int norm, unit; // counted from 0
};

template <class T>
class Linearization {
public:
    struct Layer; // of the implementation

    // The inputs have `shape` (channels, height, width); parameters of affine layers are biases as well, if wanted.
    Linearization(int channels, Pair size, Statistics statistics, bool biases);
    ~Linearization();
    Linearization(Linearization&&) noexcept;

    // Layers in order, with weights and vectors as PyTorch has them; all are copied.
    // Biases that are not trained are no parameters.
    void dense(int units, const T* weights, const T* biases, bool trains_biases);
    void conv2d(int channels, const Windows& windows, const T* weights, const T* biases, bool trains_biases);
    void batch_norm(const T* gamma, const T* beta, double eps, bool trained);
    void activation(const Activation& activation);
    void average_pool(const Windows& windows); // flattening needs no word: a dense layer reads whatever there is

    // The forward pass of x (samples, channels, height, width); outputs (samples, C). Work space for convolutions stays
    // below `workspace` bytes (or one sample's worth). With `keep`, what the operators need is kept. Inputs may be of
    // a higher precision than the network. With `noise`, random errors of that many times the rounding errors are added
    // to every layer's results: what they change shows what rounding costs.
    template <class X>
    void forward(const X* x, long samples, std::size_t workspace, bool keep, T* outputs, double noise = 0.0,
                 std::uint64_t seed = 0);

    long samples() const { return samples_; }
    int outputs() const;
    long parameters() const;
    bool coupled() const; // rows of J belong to several samples at once

    // Before products: the matrices H H^T that about `products` of them make worth while, in at most `bytes`.
    void prepare(double products, std::size_t bytes);

    void pull(const T* w, T* v);
    void push(const T* v, T* w);
    void product(const T* w, T* result);
    void product_of_last(const T* w, T* result); // J by the last affine layer's parameters alone

    // (C n) x (C n), output by output: row k n + i belongs to output k of sample i. Not where samples are coupled.
    void gram(T* result);

    // Operations (multiplications and additions) of the products of matrices.
    double forward_flops() const;
    double product_flops() const;
    double gram_flops() const;
    // Bytes that a forward pass of so many samples keeps for operators, and that they work in.
    double bytes(long samples) const;

private:
    // Over what the inputs' means may be taken off without a change, by the first affine layer and its BatchNorm.
    enum class Centred { none, units, channels };

    template <class X>
    Buffer<T> inputs(const X* x, bool centred) const;
    void reserve();
    void backwards(const T* w, bool direct);
    void forwards(T* result, bool direct);

    Statistics statistics_;
    bool biases_;
    int channels_; // behind the last layer
    Pair size_;
    int input_channels_;
    Pair input_size_;
    int norms_ = 0;
    Activation* phi_ = nullptr; // of a BatchNorm that just came
    Centred centred_ = Centred::none;
    std::vector<std::unique_ptr<Layer>> layers_;
    std::size_t first_ = 0, last_ = 0; // affine layers
    long samples_ = 0;
    // What the layers' own parameters leave on the way back for the way forth, and two activations' worth of room.
    std::vector<std::vector<T>> codes_;
    Buffer<T> work_[2];
    std::size_t work_size_ = 0;
};

} // namespace fisherfield
