// SPDX-License-Identifier: BSD-3-Clause
// Normalisations by a sample's own statistics, over each group of its units, neighbours in PyTorch's order: channels at
// all positions, but where an image has been flattened.
//
//     u = (z - mean)/s,   s^2 = mean (z - mean)^2 + eps,   h = gamma u + beta
//     du = (dz - mean(dz) - u mean(u dz))/s =: P dz
//
// P is symmetric: changes go through gamma P, deltas through P gamma. Where units are not centred, means are left out.
#pragma once

#include <span>
#include <vector>

#include "map.hpp"

namespace fisherfield::finite_network {

struct SampleStatistics {
    int groups;   // of as many units each
    bool centred; // the mean is taken off
    double eps;
};

// Gamma and beta in PyTorch's order, for each channel or for each unit of a sample; no betas: none, and no parameters.
template <class T>
class SampleNorm final : public Map<T> {
    using Map<T>::out, Map<T>::samples, Map<T>::rows_out;

public:
    SampleNorm(const Image& image, const SampleStatistics& statistics, std::span<const T> gammas,
               std::span<const T> betas, bool trained);

    Buffer<T> forward(Buffer<T> z, const Pass& pass) override;
    void pull(const T* deltas, T* result, T* code, bool direct) override;
    void push(const T* changes, T* result, const T* code, bool direct) override;
    void add_gram(const T* deltas, int count, T* gram) override;

    long parameters() const override { return trained_ ? (shifts_ ? 2 : 1) * size_ : 0; }
    void to_pytorch(const T* code, T* v) const override;
    void from_pytorch(const T* v, T* code) const override;

    bool in_place() const override { return true; }
    bool rounds() const override { return true; }
    double kept(double n) const override { return n * (out.units() + 2.0 * statistics_.groups); }
    double gram_flops(double n, double count) const override { return n * count * n * count * parameters(); }

private:
    template <class Run>
    void runs(int group, const Run& run) const;
    template <class Term>
    double mean(int group, const Term& term) const;
    bool normalise(T* z, double* inverse) const;
    template <class X>
    void project(long sample, const X& x, T* result) const;

    SampleStatistics statistics_;
    long size_;                   // of gammas: unit i has the parameter i % size_
    bool shifts_, trained_;       // there are betas; both are parameters
    std::vector<T> gamma_, beta_; // of a sample's units
    std::vector<double> inverse_; // 1/s of each sample's groups
    Buffer<T> u_;
};

} // namespace fisherfield::finite_network
