// SPDX-License-Identifier: BSD-3-Clause
// h = gamma (z - mean)/sqrt(var + eps) + beta with mean and biased variance over a sample's units in each of `groups`
// groups of neighbouring channels (Y. Wu, K. He, arXiv 1803.08494), a gamma and a beta a channel: torch.nn.GroupNorm.
#include <cmath>

#include "makers.hpp"
#include "sample_norm.hpp"

namespace fisherfield::finite_network {

namespace {

template <class T>
std::unique_ptr<Map<T>> make(const Image& shape, const Numbers& numbers, const Arrays<T>& arrays, bool trained) {
    const double groups = numbers[0], eps = numbers[1];
    require(groups >= 1.0 && groups == std::floor(groups) && std::fmod(shape.channels, groups) == 0.0, "group_norm",
            "groups", "a whole number that divides the channels", groups);
    require(std::isfinite(eps) && eps >= 0.0, "group_norm", "eps", "finite and >= 0", eps);
    return std::make_unique<SampleNorm<T>>(shape, SampleStatistics{static_cast<int>(groups), true, eps}, arrays[0],
                                           arrays[1], trained);
}

long size(const Image& shape) { return shape.channels; }

const Entered group_norm({"group_norm", {"groups", "eps"}, {"gammas", "betas"}, size, make<float>, make<double>});

} // namespace

} // namespace fisherfield::finite_network
