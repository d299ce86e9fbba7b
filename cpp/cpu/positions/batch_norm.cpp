// SPDX-License-Identifier: BSD-3-Clause
// BatchNorm of an image: one mean and one variance a channel, over the data and over positions.
#include <cmath>
#include <utility>

#include "positions.hpp"

namespace fisherfield {

namespace {

// Row means of a symmetric matrix, and their mean.
std::pair<std::vector<double>, double> row_means(const Matrix& matrix, long positions) {
    std::vector<double> means(positions);
    double mean = 0.0;
    for (long a = 0; a < positions; ++a) {
        for (long b = 0; b < positions; ++b) {
            means[a] += matrix.entries[a * positions + b];
        }
        means[a] /= static_cast<double>(positions);
        mean += means[a];
    }
    return {std::move(means), mean / static_cast<double>(positions)};
}

// M - r_a - r_a' + m: what is left when the mean over positions is taken out on both sides; 0 below its own rounding.
void centre(Matrix* matrix, const std::vector<double>& means, double mean) {
    const long positions = static_cast<long>(means.size());
    for (long a = 0; a < positions; ++a) {
        for (long b = 0; b < positions; ++b) {
            double& entry = matrix->entries[a * positions + b];
            const double centred = entry - (means[a] + means[b] - mean);
            const double size = std::fabs(entry) + std::fabs(means[a]) + std::fabs(means[b]) + std::fabs(mean);
            entry = std::fabs(centred) <= kRounding * size ? 0.0 : centred;
        }
    }
}

} // namespace

// One mean and variance per channel, over data and positions:
//     Z <- (Z[a, a'] - r_a - r_a' + m)/s2,   r_a the row means of Z_xy and m their mean
//     s2 = mean_a Z_xx[a, a] - m + eps
//     T <- (gamma^2/s2) T,   exact: first T - t_a - t_a' + t, with the row means of T_xy
//     trained: T + 1, and gamma's u_hat u_hat
//
// A bias is in r_a and m alike and leaves nothing: xy is without it, so that it costs no digits.
Status normalise(const Node& node, Theory theory, bool own, ImageState* z) {
    const double gamma = node.numbers[0], beta = node.numbers[1], eps = node.numbers[2];
    const long k = z->positions();
    settle(z);
    z->bias = 0.0;
    const Matrix of_value = std::exchange(z->of_value, {}), xy = of_value.entries.empty() ? Matrix{} : z->xy;
    // The variance over the data is v's mean; what positions add to it is a difference, and 0 below its own rounding.
    const auto [means, mean] = row_means(z->xy, k);
    const Scaled length = diagonal_mean(z->xy, k), between = length - Scaled(mean, z->xy.exponent);
    const bool rounding = std::max(between, -between) <= Scaled(kRounding) * std::max(length, -length);
    const Scaled s2 = diagonal_mean(z->v, k) + (rounding ? Scaled(0.0) : between) + Scaled(eps);
    if (s2 <= Scaled(0.0)) {
        return Status::zero_variance;
    }
    for (long a = 0; a < k; ++a) { // less than nothing, beyond rounding: of many data no overlap is negative
        const size_t at = a * k + a;
        const Scaled own = z->xy.at(at) + z->v.at(at), taken(2.0 * means[a] - mean, z->xy.exponent);
        const Scaled size = abs(own) + Scaled(2.0 * std::fabs(means[a]) + std::fabs(mean), z->xy.exponent);
        if (own - taken < Scaled(-kRounding) * size) {
            return Status::inadmissible;
        }
    }
    std::vector<long> constant; // positions whose mean over the data is that over all positions
    for (long a = 0; a < k; ++a) {
        const double own = z->xy.entries[a * k + a],
                     size = std::fabs(own) + 2.0 * std::fabs(means[a]) + std::fabs(mean);
        if (std::fabs(own - 2.0 * means[a] + mean) <= kRounding * size) {
            constant.push_back(a);
        }
    }
    centre(&z->xy, means, mean);
    for (long a : constant) {
        for (long b = 0; b < k; ++b) {
            z->xy.entries[a * k + b] = z->xy.entries[b * k + a] = 0.0;
        }
    }
    // A kernel that goes with the units' own values loses all of it by the gradient of mean and variance; frozen, units
    // know of it what is left of them without the mean.
    if (theory != Theory::exact && !of_value.entries.empty()) {
        std::vector<double> share(k);
        for (long a = 0; a < k; ++a) {
            const size_t at = a * (k + 1);
            const Scaled q = z->xy.at(at) + z->v.at(at), r = Scaled(means[a], xy.exponent);
            share[a] = q > Scaled(0.0) ? ((xy.at(at) + z->v.at(at) - r) / q).value() : 0.0;
        }
        carry(of_value, share, xy, z->v, z);
    }
    if (theory == Theory::exact) {
        const auto [tangent_means, tangent_mean] = row_means(z->o, k);
        centre(&z->o, tangent_means, tangent_mean);
    }
    const Scaled share = Scaled(1.0) / s2, slope2 = Scaled(gamma) * Scaled(gamma) / s2;
    combine({{share, &z->xy}}, 0.0, &z->xy);
    combine({{share, &z->v}}, 0.0, &z->v);
    combine({{share, &z->apart}}, 0.0, &z->apart); // a mean that all positions lose changes no difference
    z->trained_gamma = node.trained && own;
    combine({{slope2, &z->o}}, z->trained_gamma ? 1.0 : 0.0, &z->o);
    combine({{slope2, &z->d}}, 0.0, &z->d);
    z->gamma2 = Scaled(gamma) * Scaled(gamma);
    z->mean = beta;
    return Status::ok;
}

} // namespace fisherfield
