// SPDX-License-Identifier: BSD-3-Clause
// Layers that act on all positions alike: normalisations over the channels and positions of one sample
// (layers/layer_norm.hpp), and noise (layers/noise.hpp).
#include <algorithm>
#include <cmath>
#include <utility>

#include "fisherfield/layers/layers.hpp"
#include "positions.hpp"

namespace fisherfield {

namespace {

// Adds f(a, b) to every entry, or to those of the diagonal.
template <class F>
void add_entries(Matrix* matrix, long positions, bool diagonal, const F& f) {
    for (long a = 0; a < positions; ++a) {
        for (long b = diagonal ? a : 0; b < (diagonal ? a + 1 : positions); ++b) {
            matrix->entries[a * positions + b] += rescaled(f(a, b), matrix->exponent);
        }
    }
}

// The input's positions share nothing, and only diagonals are held: here the matrices of all pairs. Two positions
// differ by half of both lengths.
void fill(ImageState* z) {
    const long k = z->positions();
    Matrix apart{std::vector<double>(k * k), std::max(z->xy.exponent, z->v.exponent)};
    const auto length = [&](long a) { return rescaled(z->xy.at(a) + z->v.at(a), apart.exponent); };
    for (long a = 0; a < k; ++a) {
        for (long b = 0; b < k; ++b) {
            apart.entries[a * k + b] = a == b ? 0.0 : 0.5 * (length(a) + length(b));
        }
    }
    for (Matrix* matrix : {&z->xy, &z->v, &z->o, &z->d}) {
        Matrix full{std::vector<double>(k * k), matrix->exponent};
        for (long a = 0; a < k; ++a) {
            full.entries[a * (k + 1)] = matrix->entries[a];
        }
        *matrix = std::move(full);
    }
    z->apart = std::move(apart);
}

// With s = 1/(f + eps), f the mean over positions:
//
//     Gaussian units   Z <- s Z, then gamma and beta as behind a BatchNorm; T <- gamma^2 s T
//     activations      H <- gamma^2 s (H[a, a'] - m e_a - m e_a' + m^2) + gamma beta sqrt(s) (e_a + e_a' - 2 m) +
//     beta^2
//
// e_a = E phi at a position and m its mean, which RMSNorm leaves in: m = 0.
template <class Law>
void apply(const Law& law, const Node& node, bool own, ImageState* z) {
    const long k = z->positions();
    const bool each = row_of(node.kind).of_positions, trained = node.trained && own;
    const Scaled share = law.share, gamma = node.numbers[0], factor = gamma * gamma * share;
    if (node.gaussian) {
        for (Matrix* matrix : {&z->xy, &z->v, &z->apart}) {
            combine({{share, matrix}}, 0.0, matrix);
        }
        combine({{factor, &z->o}}, trained && !each ? law.own.o : Scaled(0.0), &z->o);
        combine({{factor, &z->d}}, 0.0, &z->d);
        if (trained && each) {
            const Matrix before = z->o;
            Matrix ones{std::vector<double>(k * k)};
            add_entries(&ones, k, true, [&](long, long) { return law.own.o; }); // of beta, or of gamma with the mean
            combine({{1.0, &before}, {1.0, &ones}}, 0.0, &z->o);
        }
        z->gamma2 = gamma * gamma;
        z->mean = law.mean.value();
        z->trained_gamma = trained;
        z->of_positions = trained && each;
        return;
    }
    if (z->xy.diagonal) {
        fill(z);
    }
    const Scaled m = law.centre, beta = law.shift;
    std::vector<double> means = z->means;
    means.resize(k, 0.0);
    Matrix centred = z->xy;
    if (!is_zero(m)) {
        add_entries(&centred, k, false, [&](long a, long b) { return m * (m - Scaled(means[a]) - Scaled(means[b])); });
    }
    if (trained) {
        for (auto [kernel, value] : {std::pair{&z->o, &centred}, {&z->d, &z->v}}) {
            Matrix part{std::vector<double>(k * k), value->exponent};
            const Scaled one = kernel == &z->o ? law.of_beta : Scaled(0.0);
            add_entries(&part, k, each, [&](long a, long b) { return share * value->at(a * k + b); });
            Matrix ones{std::vector<double>(k * k)};
            add_entries(&ones, k, each, [&](long, long) { return one; });
            combine({{factor, kernel}, {1.0, &part}, {1.0, &ones}}, 0.0, kernel);
        }
    } else {
        combine({{factor, &z->o}}, 0.0, &z->o);
        combine({{factor, &z->d}}, 0.0, &z->d);
    }
    combine({{factor, &z->v}}, 0.0, &z->v);
    combine({{factor, &z->apart}}, 0.0, &z->apart);
    combine({{factor, &centred}}, beta * beta, &z->xy);
    if (!is_zero(beta)) {
        const Scaled tilt = gamma * beta * sqrt(share);
        add_entries(&z->xy, k, false,
                    [&](long a, long b) { return tilt * (Scaled(means[a]) + Scaled(means[b]) - m - m); });
    }
    const double root = (gamma * sqrt(share)).value();
    for (double& mean : means) {
        mean = root * (mean - m.value()) + law.shift.value();
    }
    z->means = std::move(means); // what a layer behind asks for, whether a phi stands before this one or not
}

// What one input has at one position grows; apart is half the mean square of what two positions differ by.
void add_noise(Scaled noise, ImageState* z) {
    const long k = z->positions();
    const auto grow = [&](Matrix* differences, const Matrix& overlaps) {
        const long step = differences->diagonal ? 1 : k + 1;
        CommonExponent common;
        common.include(Scaled(largest(differences->entries), differences->exponent));
        common.include(noise * Scaled(largest(overlaps.entries), overlaps.exponent));
        std::vector<Scaled> grown;
        for (long a = 0; a < k; ++a) {
            const Scaled own = differences->at(a * step) + overlaps.at(a * step);
            grown.push_back(noise * own);
        }
        const int exponent = std::max(differences->exponent, common.value());
        for (double& entry : differences->entries) {
            entry = rescaled({entry, differences->exponent}, exponent);
        }
        differences->exponent = exponent;
        for (long a = 0; a < k; ++a) {
            differences->entries[a * step] += rescaled(grown[a], exponent);
        }
        return grown;
    };
    const std::vector<Scaled> grown = grow(&z->v, z->xy);
    grow(&z->d, z->o);
    if (!z->apart.diagonal) {
        for (long a = 0; a < k; ++a) {
            for (long b = 0; b < k; ++b) {
                const Scaled half = a == b ? Scaled(0.0) : Scaled(0.5) * (grown[a] + grown[b]);
                z->apart.entries[a * k + b] += rescaled(half, z->apart.exponent);
            }
        }
    }
}

} // namespace

Status scale(const Node& node, const Settings& settings, bool own, ImageState* z) {
    settle(z);
    const State<Scaled> mean = z->diagonal();
    return with_common(node, node.numbers, [&](const auto& layer) {
        return layer.pass(mean, settings, Exact<>{Activation{}}, [&](const auto& law) {
            if constexpr (requires { law.share; }) {
                apply(law, node, own, z);
            } else if constexpr (requires { law.noise; }) {
                add_noise(law.noise, z);
            }
        });
    });
}

} // namespace fisherfield
