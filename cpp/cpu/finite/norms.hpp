// SPDX-License-Identifier: BSD-3-Clause
// Normalisations by the batch's own statistics.
//
// BatchNorm over all R rows of a channel, u = (z - mean)/s, s^2 = var + eps, h = gamma u + beta (S. Ioffe, C. Szegedy,
// arXiv 1502.03167):
//
//     du = (dz - mean(dz) - u mean(u dz))/s
//
// symmetric in the rows, so that deltas and changes go through the same matrix. Where the mean or the variance is held
// constant its term is left out.
#pragma once

#include <stdexcept>
#include <vector>

#include "map.hpp"

namespace fisherfield::finite_network {

// What of BatchNorm's statistics the gradient flows through.
struct Statistics {
    bool mean = true, variance = true;
};

// Before a norm without eps a unit has variance 0 over the batch, or a sample over its units.
struct ZeroVariance : std::domain_error {
    explicit ZeroVariance(int unit) : std::domain_error("zero variance"), unit(unit) {}
    int unit; // a channel or a sample, counted from 0
};

template <class T>
class BatchNorm final : public Map<T> {
    using Map<T>::out, Map<T>::samples, Map<T>::rows_out;

public:
    BatchNorm(const Image& image, const T* gamma, const T* beta, double eps, bool trained, Statistics statistics)
        : Map<T>(image, image), statistics_(statistics), gamma_(gamma, gamma + image.channels),
          beta_(beta, beta + image.channels), eps_(eps), trained_(trained) {}

    Buffer<T> forward(Buffer<T> z, const Pass& pass) override;
    void pull(const T* deltas, T* result, T* code, bool direct) override;
    void push(const T* changes, T* result, const T* code, bool direct) override;
    void add_gram(const T* deltas, int count, T* gram) override;

    long parameters() const override { return trained_ ? 2L * out.channels : 0; }
    bool in_place() const override { return true; }
    bool coupled() const override { return flows(); }
    void stands_behind(Map<T>& before, bool first) override;
    Means removable(Means /*behind*/) const override { return Means::channels; }
    bool absorbs_means() const override { return true; }

    double kept(double n) const override { return flows() || trained_ ? n * out.units() : 0.0; }
    double gram_flops(double n, double count) const override { return n * count * n * count * parameters(); }

private:
    using Sums = std::vector<double>; // of what goes through, and of that times u

    // Of scale x - shift - tilt u, a column each.
    struct Coefficients {
        std::vector<T> scale, shift, tilt;
    };

    bool flows() const { return statistics_.mean || statistics_.variance; }
    std::vector<double> statistics_of(const T* z);
    Sums sums(const T* x) const;
    Coefficients coefficients(const Sums& sums) const;
    void apply(const Coefficients& k, const T* x, T* result) const;

    Statistics statistics_;
    std::vector<double> gamma_, beta_;
    double eps_;
    bool trained_;
    const std::vector<double>* offsets_ = nullptr; // of z, which the layer before took off; null: none
    bool inputs_are_exact_ = false;                // what came before that layer was not rounded
    std::vector<double> inverse_;                  // 1/s
    Buffer<T> u_;
};

} // namespace fisherfield::finite_network
