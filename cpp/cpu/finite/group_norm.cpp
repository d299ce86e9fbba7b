// SPDX-License-Identifier: BSD-3-Clause
// h = gamma (z - mean)/sqrt(var + eps) + beta with mean and biased variance over a sample's units in each of `groups`
// groups of neighbouring channels (Y. Wu, K. He, arXiv 1803.08494), a gamma and a beta a channel: torch.nn.GroupNorm.
// Where an image has been flattened, of neighbouring units in PyTorch's order, a gamma and a beta a unit.
#include <cmath>

#include "makers.hpp"
#include "sample_norm.hpp"

namespace fisherfield::finite_network {

namespace {

template <class T>
std::unique_ptr<Map<T>> make(const Image& shape, const Numbers& numbers, const Arrays<T>& arrays, bool trained) {
    const double groups = numbers[0], eps = numbers[1];
    const auto count = static_cast<double>(arrays[0].size());
    require(groups >= 1.0 && groups == std::floor(groups) && std::fmod(count, groups) == 0.0, "group_norm", "groups",
            "a whole number that divides the channels", groups);
    require(std::isfinite(eps) && eps >= 0.0, "group_norm", "eps", "finite and >= 0", eps);
    return std::make_unique<SampleNorm<T>>(shape, SampleStatistics{static_cast<int>(groups), true, eps}, arrays[0],
                                           arrays[1], trained);
}

// A channel each, or a unit each of a flattened image.
long size(const Image& shape, long given) { return given == shape.units() ? given : shape.channels; }

const Entered group_norm({"group_norm", {"groups", "eps"}, {"gammas", "betas"}, size, make<float>, make<double>});

} // namespace

} // namespace fisherfield::finite_network
