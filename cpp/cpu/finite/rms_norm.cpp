// SPDX-License-Identifier: BSD-3-Clause
// h = gamma z/sqrt(mean z^2 + eps) with the mean over all units of a sample (B. Zhang, R. Sennrich, arXiv 1910.07467),
// a gamma a unit: torch.nn.RMSNorm over a sample's whole shape.
#include <cmath>

#include "makers.hpp"
#include "sample_norm.hpp"

namespace fisherfield::finite_network {

namespace {

template <class T>
std::unique_ptr<Map<T>> make(const Image& shape, const Numbers& numbers, const Arrays<T>& arrays, bool trained) {
    const double eps = numbers[0];
    require(std::isfinite(eps) && eps >= 0.0, "rms_norm", "eps", "finite and >= 0", eps);
    const std::span<const T> no_betas;
    return std::make_unique<SampleNorm<T>>(shape, SampleStatistics{1, false, eps}, arrays[0], no_betas, trained);
}

long size(const Image& shape, long /*given*/) { return shape.units(); }

const Entered rms_norm({"rms_norm", {"eps"}, {"gammas"}, size, make<float>, make<double>});

} // namespace

} // namespace fisherfield::finite_network
