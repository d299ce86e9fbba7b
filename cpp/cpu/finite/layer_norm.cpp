// SPDX-License-Identifier: BSD-3-Clause
// h = gamma (z - mean)/sqrt(var + eps) + beta with mean and biased variance over all units of a sample (J. L. Ba et
// al., arXiv 1607.06450), a gamma and a beta a unit: torch.nn.LayerNorm over a sample's whole shape.
#include <cmath>

#include "makers.hpp"
#include "sample_norm.hpp"

namespace fisherfield::finite_network {

namespace {

template <class T>
std::unique_ptr<Map<T>> make(const Image& shape, const Numbers& numbers, const Arrays<T>& arrays, bool trained) {
    const double eps = numbers[0];
    require(std::isfinite(eps) && eps >= 0.0, "layer_norm", "eps", "finite and >= 0", eps);
    return std::make_unique<SampleNorm<T>>(shape, SampleStatistics{1, true, eps}, arrays[0], arrays[1], trained);
}

long size(const Image& shape, long /*given*/) { return shape.units(); }

const Entered layer_norm({"layer_norm", {"eps"}, {"gammas", "betas"}, size, make<float>, make<double>});

} // namespace

} // namespace fisherfield::finite_network
