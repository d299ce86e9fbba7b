// SPDX-License-Identifier: BSD-3-Clause
// A network: nodes in topological order, the same record on host and device.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "fisherfield/activations.hpp"

namespace fisherfield {

using Pair = std::array<int, 2>; // height, width

// Windows of `kernel` positions, every `stride`, on an image with `padding` zeros around it.
struct Windows {
    Pair kernel{1, 1}, stride{1, 1}, padding{0, 0};

    // How many there are; the padded image may have more positions than an int counts.
    Pair on(const Pair& image) const {
        Pair out{};
        for (int side = 0; side < 2; ++side) {
            const std::int64_t last = image[side] + 2 * std::int64_t{padding[side]} - kernel[side];
            out[side] = static_cast<int>(last / stride[side] + 1);
        }
        return out;
    }
};

enum class LayerKind : std::int8_t { affine, phi, batch_norm, wei2019, average_pool, flatten };

inline constexpr int kLayerNumbers = 3;
inline constexpr int kData = -1; // the input of a node that reads the network's

// One layer. What its numbers mean stands in layers/layers.hpp.
struct Node {
    LayerKind kind = LayerKind::phi;
    bool trained = false;     // its gamma and beta are parameters
    bool homogeneous = false; // a normalisation: phi behind it is positively homogeneous, and it is not the output
    int input = kData;        // the node that feeds it
    int slot = 0;             // where its state is kept for those that read it; never one that it reads itself
    int place = 0;            // of the described layer, counting all that were added
    int layer = 0;            // the affine layer that it is, or that it follows, from 0
    int activation = 0;       // of Network::activations
    double units = 1.0;       // that it gives; channels of an image
    double fan_in = 0.0;      // that each unit reads: channels times taps of a convolution
    double taps = 0.0;        // fan_in for each unit of the affine layer before; 0 for the first
    double numbers[kLayerNumbers] = {};
    Windows windows; // of positions
};

// P: weights, biases, and gamma and beta of trained normalisations; fan_in is 0 where there are no weights.
template <class Nodes>
FISHERFIELD_HD inline double parameters(const Nodes& node, int count, bool biases) {
    double sum = 0.0;
    for (int i = 0; i < count; ++i) {
        const Node& at = node(i);
        if (at.fan_in > 0.0) {
            sum += at.units * (at.fan_in + (biases ? 1.0 : 0.0));
        } else if (at.trained) {
            sum += at.units * 2.0;
        }
    }
    return sum;
}

// As the host holds it, built layer by layer. A phi follows every normalisation, and every affine layer but the last;
// where none was asked for it is the identity.
struct Network {
    std::vector<Node> nodes;
    std::vector<Activation> activations{Activation{}}; // each one once; the first is the identity
    double channels = 1.0;                             // of the last node; its units, where there is no image
    Pair input_size{1, 1}, size{1, 1};                 // of the image that goes in, and behind the last node
    bool image = false;
    int layers = 0; // affine
    int slots = 2;  // states that are kept at a time

    explicit Network(const std::vector<int>& input_shape);

    void affine(int units, const Windows& windows, double sigma_w2, double sigma_b2);
    void batch_norm(double gamma, double beta, double eps, bool trained);
    void activation(const Activation& activation);
    void average_pool(const Windows& windows);
    void flatten();

    // Units of every hidden layer; fan_in keeps its number of taps, and of positions where an image is flattened.
    void widen(double width);
    Network widened(double width) const;

    double outputs() const;
    bool normalised() const;
    // Nodes that are treated position by position: those before a flattening, or all of an image without one.
    int positional() const;

    // The published rule's view (wei2019): a convolution is a dense layer of its fan_in, pooling and flattening are
    // nothing, and a BatchNorm with phi is one layer.
    Network published() const;

private:
    int described_ = 0; // layers so far

    Node& add(LayerKind kind);
    int place_of(const Activation& activation);
    void close(); // whatever follows reads activations
};

} // namespace fisherfield
