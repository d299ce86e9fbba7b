// SPDX-License-Identifier: BSD-3-Clause
// A network: nodes in topological order, the same record on host and device.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "fisherfield/activations.hpp"

namespace fisherfield {

using Pair = std::array<int, 2>; // height, width

// Windows of `kernel` positions that lie `dilation` apart, every `stride`, on an image with `padding` zeros around it.
struct Windows {
    Pair kernel{1, 1}, stride{1, 1}, padding{0, 0}, dilation{1, 1};

    // How many there are; the padded image may have more positions than an int counts.
    Pair on(const Pair& image) const {
        Pair out{};
        for (int side = 0; side < 2; ++side) {
            const std::int64_t width = std::int64_t{dilation[side]} * (kernel[side] - 1) + 1;
            const std::int64_t last = image[side] + 2 * std::int64_t{padding[side]} - width;
            out[side] = static_cast<int>(last / stride[side] + 1);
        }
        return out;
    }
};

enum class LayerKind : std::int8_t; // layers/layers.hpp lists them

inline constexpr int kLayerNumbers = 3;
inline constexpr int kData = -1; // the input of a node that reads the network's
inline constexpr int kNone = -2; // of a node that reads one input

// One layer. What its numbers mean stands in layers/layers.hpp.
struct Node {
    LayerKind kind{};
    bool trained = false;     // its own numbers for each unit are parameters: gamma and beta, or biases
    bool homogeneous = false; // a normalisation: phi behind it, or behind the sum that it is a part of, is positively
                              // homogeneous, and it is not the output
    bool gaussian = false;    // it reads Gaussian units
    bool mean = false;        // phi: a layer behind it asks for E phi
    int input = kData;        // the node that feeds it
    int other = kNone;        // of a sum: the node that feeds it besides
    int slot = 0;             // where its state is kept for those that read it; never one that it reads itself
    int place = 0;            // of the described layer, counting all that were added
    int layer = 0;            // the affine layer that it is, or that it follows, from 0
    int activation = 0;       // of Network::activations
    int fixed = 0;            // which of its numbers no scan varies, a bit each
    int own = kNone;          // of Network::own, where units of one node have numbers of their own
    double units = 1.0;       // that it gives; channels of an image
    double fan_in = 0.0;      // that each unit reads: channels of a group times taps of a convolution
    double taps = 0.0;        // fan_in for each unit of the affine layer before; 0 for those that read the data
    double vectors = 0.0;     // trained numbers of each unit beside weights: biases, or gamma and beta
    double numbers[kLayerNumbers] = {};
    Windows windows; // of positions
};

// P: weights, biases, and gamma and beta of trained normalisations; fan_in is 0 where there are no weights.
template <class Nodes>
FISHERFIELD_HD inline double parameters(const Nodes& node, int count, bool biases) {
    double sum = 0.0;
    for (int i = 0; i < count; ++i) {
        const Node& at = node(i);
        sum += at.units * (at.fan_in + (biases || at.fan_in == 0.0 ? at.vectors : 0.0));
    }
    return sum;
}

// As the host holds it, built layer by layer, then closed by finish(). A phi stands between a normalisation or an
// affine layer and what reads activations; where none was asked for it is the identity.
struct Network {
    // Where the next layer comes to stand: behind a node, with the shape of what it gives. Gaussian units that do not
    // have the same gamma and beta are of several classes, a node each.
    struct Spot {
        std::vector<int> nodes{kData};
        std::vector<int> classes; // of each unit; empty where there is one
        double channels = 1.0;    // units, where there is no image
        double units = 0.0;       // of the affine layer before, or 0
        Pair size{1, 1};          // of the image
        bool gaussian = false;    // Gaussian units come in, not activations
    };

    std::vector<Node> nodes;
    std::vector<Activation> activations{Activation{}}; // each one once; the first is the identity
    Spot at;
    Pair input_size{1, 1}; // of the image that goes in
    bool image = false;
    int layers = 0; // affine
    int slots = 2;  // states that are kept at a time

    using Units = std::vector<std::vector<double>>; // a row a unit

    // The recursion maps units with numbers of their own by classes of equal ones, a node each, and takes a convolution
    // whose channels each read one for any other. For sampled units they are one node with all rows, and a kind apart.
    bool for_units;
    std::vector<Units> own;

    explicit Network(const std::vector<int>& input_shape, bool for_units = false);

    // An affine layer reads all channels, or those of its group.
    void affine(int units, const Windows& windows, int groups, bool biases, double sigma_w2, double sigma_b2);
    void activation(const Activation& activation);
    void average_pool(const Windows& windows);
    void upsample(const Pair& times); // every position so many times, side by side
    // These two take any units, and what they give is not Gaussian: sampled units alone have them.
    void max_pool(const Windows& windows);
    // Every stride-th position, and zeros as further channels.
    void subsample(int channels, const Pair& stride);
    void flatten();
    // Any kind that is nothing but its numbers; the first of them are those of each unit in `units`, if there are any.
    // Throws std::invalid_argument for what it does not know.
    void layer(const std::string& kind, const std::vector<double>& numbers, bool trained, const Units& units = {});
    // skip + scale branch, of what was left at two spots.
    void add(const Spot& branch, const Spot& skip, double scale);
    void finish();

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

    Node& push(LayerKind kind, int input);
    template <class Set>
    void append(LayerKind kind, const Set& set);
    void append(LayerKind kind);
    void merge(); // classes of units into their mean
    void ask_for_means(int node);
    int place_of(const Activation& activation);
    void close();             // whatever follows reads activations
    void phi(int activation); // of Gaussian units
    void put_in_order();
    void assign_slots();
};

} // namespace fisherfield
