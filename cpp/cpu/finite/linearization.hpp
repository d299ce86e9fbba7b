// SPDX-License-Identifier: BSD-3-Clause
// A real finite network on a batch of n inputs, linearised at its parameters: the Jacobian J of its n C outputs by its
// P parameters, as an operator.
//
//     pull       w -> J^T w           reverse mode
//     push       v -> J v             forward mode
//     product    w -> J J^T w         both, without forming J^T w where there is a shorter way
//     gram       J J^T, entry by entry; where nothing couples the samples
//
// Layers are nodes in topological order; each reads the sum of what its inputs give. One forward pass is kept, and each
// layer carries deltas backwards and changes forwards by hand. J J^T is a sum over the layers that have parameters.
//
// What is the same in all rows before a layer that takes means away is taken off before it costs digits.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "buffer.hpp"
#include "map.hpp"
#include "room.hpp"

namespace fisherfield::finite_network {

template <class T>
class Linearization {
public:
    static constexpr int kInput = -1; // in the place of a node: the network's input

    explicit Linearization(const Image& input) : input_(input) {}

    // A node that reads the sum of what `inputs` give. The last node added gives the network's outputs, and all before
    // it are read.
    void add(std::unique_ptr<Map<T>> map, std::vector<int> inputs);
    const Image& shape(int node) const { return node == kInput ? input_ : nodes_[node].map->out; }
    const Image& shape() const { return shape(size() - 1); } // of what the last one gives
    int size() const { return static_cast<int>(nodes_.size()); }

    // The forward pass of x (samples, channels, height, width); outputs (samples, C). Inputs may be of a higher
    // precision than the network.
    template <class X>
    void forward(const X* x, const Pass& pass, T* outputs);

    long samples() const { return samples_; }
    int outputs() const { return shape().channels; }
    long parameters() const;
    bool coupled() const; // rows of J belong to several samples at once

    // Before products: the matrices H H^T that about `products` of them make worth while, in at most `bytes`.
    void prepare(double products, std::size_t bytes);

    void pull(const T* w, T* v);
    void push(const T* v, T* w);
    void product(const T* w, T* result);
    void product_of_last(const T* w, T* result); // J by the parameters from the last affine layer on

    // (C n) x (C n), output by output: row k n + i belongs to output k of sample i. Not where samples are coupled.
    void gram(T* result);

    // Operations (multiplications and additions) of the products of matrices.
    double forward_flops() const;
    double product_flops() const;
    double gram_flops() const;
    // Bytes that a forward pass of so many samples keeps for operators, and that they work in.
    double bytes(long samples) const;

private:
    struct Node {
        std::unique_ptr<Map<T>> map;
        std::vector<int> inputs;
        bool shares;  // its input's noise and code: it works in place behind a layer that does, and shares nothing
        int stream;   // of noise
        int rounding; // layers that round on the way to what it gives, itself among them
    };
    using Reached = std::vector<char>; // by changes of the parameters: the network's input, then each node

    void settle();
    bool alone(const Node& node) const;
    template <class X>
    Buffer<T> inputs(const X* x, bool centred) const;
    Buffer<T> sum_of_inputs(const Node& node, std::vector<Buffer<T>>& values, std::vector<int>& readers) const;
    Buffer<T> run(Buffer<T> inputs, int count, Pass pass);

    Reached reached(int first) const;
    bool reads(const Node& node, const Reached& reached) const;
    template <class Pull>
    void carry_back(const T* deltas, long copies, const Reached& reached, Room<T>& room, const Pull& pull) const;
    void backwards(const T* w, bool direct, const Reached& reached);
    T* sum_of_changes(const Node& node, const std::vector<T*>& changes, const Reached& reached);
    void forwards(T* result, bool direct, const Reached& reached);

    Image input_;
    std::vector<Node> nodes_;
    int streams_ = 0;
    std::vector<int> readers_;      // of the network's input, then of what each node gives
    int first_ = 0, last_ = 0;      // the first node with parameters, the last one with weights
    Means removable_ = Means::none; // of the input
    bool absorbed_ = false;         // before the first node with parameters
    long samples_ = 0;
    std::vector<std::vector<T>> codes_; // what the layers' own parameters leave on the way back for the way forth
    Room<T> room_;
};

} // namespace fisherfield::finite_network
