// SPDX-License-Identifier: BSD-3-Clause
// Normalisations over the units of one sample: mean and variance are those of many units, the same for every sample,
// and everything is multiplied by gamma/s (layers/layer_norm.hpp, layers/rms_norm.hpp).
#include <algorithm>
#include <cmath>
#include <numeric>

#include "failure.hpp"
#include "kinds.hpp"

namespace fisherfield::sampled_units {

namespace {

struct Norm {
    double gamma, beta, eps;
    bool centred;       // the mean goes out
    bool each;          // every position has a gamma and a beta of its own
    bool gammas, betas; // which are parameters that count here
};

double at(const Matrix& matrix, long i) { return matrix ? (*matrix)[i] : 0.0; }

Matrix& there(Room& room, Matrix* of, long k) {
    if (!*of) {
        *of = matrix(room, k);
        each(room, k * k, [&](long i) { (**of)[i] = 0.0; });
    }
    return *of;
}

double squared(const Norm& norm, double variance, int place) {
    if (!(variance > 0.0) && norm.eps == 0.0) {
        throw Failure(Status::zero_variance, place, 0);
    }
    return std::max(variance, 0.0) + norm.eps;
}

std::shared_ptr<Averages> normalised(Room& room, const Norm& norm, const Node& node, std::shared_ptr<Averages> in) {
    auto out = own(room, std::move(in));
    const long k = out->positions();
    std::vector<double> e = out->mean.empty() ? std::vector<double>(k, 0.0) : out->mean;
    const double m = norm.centred ? std::accumulate(e.begin(), e.end(), 0.0) / static_cast<double>(k) : 0.0;
    there(room, &out->xy, k);
    // E (h - m)(h' - m); of a Gaussian state xy is without its mean, which RMSNorm keeps
    const double squares = std::accumulate(e.begin(), e.end(), 0.0, [](double sum, double x) { return sum + x * x; });
    double f = out->gaussian && !norm.centred ? squares / static_cast<double>(k) : 0.0;
    each(room, k, [&](long a) {
        if (!out->gaussian) {
            for (long b = 0; b < k; ++b) {
                (*out->xy)[a * k + b] -= m * (e[a] + e[b] - m);
            }
        }
    });
    each(room, k, [&](long a) { f += (at(out->xy, a * k + a) + at(out->v, a * k + a)) / static_cast<double>(k); });
    const double s2 = room.rehearsal ? 1.0 : squared(norm, f, node.place), c = norm.gamma * norm.gamma / s2;
    for (Matrix* const matrix : {&out->o, &out->d, &out->ou, &out->du}) {
        each(room, *matrix ? k * k : 0, [&](long i) { (**matrix)[i] *= c; });
    }
    const auto pairs = [&](auto&& body) {
        each(room, k, [&](long a) {
            for (long b = norm.each ? a : 0; b < (norm.each ? a + 1 : k); ++b) {
                body(a * k + b);
            }
        });
    };
    if (norm.betas) {
        Matrix& o = there(room, &out->o, k);
        pairs([&](long i) { (*o)[i] += 1.0; });
    }
    if (norm.gammas) {
        Matrix& o = there(room, &out->o, k);
        if (out->gaussian) { // u goes with the units' own values, times the root of its variance
            Matrix& ou = there(room, &out->ou, k);
            pairs([&](long i) {
                const auto q = [&](long a) { return at(out->xy, a * k + a) + at(out->v, a * k + a); };
                (*ou)[i] += std::sqrt(std::max(q(i / k), 0.0) * std::max(q(i % k), 0.0)) / s2;
                (*o)[i] += norm.centred ? 0.0 : e[i / k] * e[i % k] / s2;
            });
        } else {
            Matrix& d = there(room, &out->d, k);
            pairs([&](long i) {
                (*o)[i] += at(out->xy, i) / s2;
                (*d)[i] += at(out->v, i) / s2;
            });
        }
    }
    for (Matrix* const matrix : {&out->xy, &out->v}) {
        each(room, *matrix ? k * k : 0, [&](long i) { (**matrix)[i] *= c; });
    }
    std::vector<double> mean(k);
    for (long a = 0; a < k; ++a) {
        const double left = !norm.centred ? e[a] : out->gaussian ? 0.0 : e[a] - m;
        mean[a] = norm.gamma * left / std::sqrt(s2);
    }
    if (!out->gaussian && norm.centred) {
        each(room, k * k,
             [&](long i) { (*out->xy)[i] += norm.beta * (mean[i / k] + mean[i % k]) + norm.beta * norm.beta; });
    }
    std::transform(mean.begin(), mean.end(), mean.begin(),
                   [&](double x) { return x + (norm.centred ? norm.beta : 0.0); });
    out->mean = mean;
    return out;
}

Norm norm_of(const Room& room, const Node& node) {
    const bool rms = node.kind == LayerKind::rms_norm, own = node.trained && room.owns(node);
    const double* const x = node.numbers;
    return {x[0], rms ? 0.0 : x[1], rms ? x[1] : x[2], !rms, row_of(node.kind).of_positions, own, own && !rms};
}

std::shared_ptr<Averages> of_averages(Room& room, const Node& node, std::shared_ptr<Averages> in) {
    return normalised(room, norm_of(room, node), node, std::move(in));
}

// The same factor and shift for all units.
Value of_units(Room& room, const Node& node, Inputs in) {
    const Norm norm = norm_of(room, node);
    if (in.first.averages) {
        return {normalised(room, norm, node, std::move(in.first.averages)), nullptr};
    }
    auto units = std::move(in.first.units);
    if (units.use_count() > 1) {
        units = std::make_shared<Units>(*units);
    }
    const long count = static_cast<long>(units->numbers()), k = units->positions();
    double sum = 0.0, squares = 0.0;
    each(room, count, [&](long i) { sum += (*units->h)[i]; });
    const double m = norm.centred ? sum / static_cast<double>(count) : 0.0;
    each(room, count, [&](long i) { squares += ((*units->h)[i] - m) * ((*units->h)[i] - m); });
    const double s2 = room.rehearsal ? 1.0 : squared(norm, squares / static_cast<double>(count), node.place);
    const double s = std::sqrt(s2), c = norm.gamma / s;
    Array<float> factor(room, units->numbers());
    Floats u = writable(room, std::move(units->h));
    each(room, count, [&](long i) {
        factor[i] = static_cast<float>(c);
        (*u)[i] = static_cast<float>(((*u)[i] - m) / s);
    });
    multiply_slopes(room, units.get(), factor.data());
    auto reads = std::make_shared<std::vector<int>>(k);
    std::iota(reads->begin(), reads->end(), 0);
    Matrix shares = matrix(room, k); // of a parameter by two positions
    each(room, k * k, [&](long i) { (*shares)[i] = !norm.each || i / k == i % k ? 1.0 : 0.0; });
    if (norm.betas) {
        Floats one = floats(room, units->numbers());
        each(room, count, [&](long i) { (*one)[i] = 1.0F; });
        units->terms.push_back({{{one, reads}}, shares, nullptr, k});
    }
    if (norm.gammas) {
        units->terms.push_back({{{u, reads}}, shares, nullptr, k});
    }
    units->h = writable(room, std::move(u));
    each(room, count, [&](long i) {
        (*units->h)[i] = static_cast<float>(norm.gamma * (*units->h)[i] + (norm.centred ? norm.beta : 0.0));
    });
    return {nullptr, units};
}

const Entered entered_layer(
    {.kind = LayerKind::layer_norm, .of_averages = of_averages, .takes_gaussian = true, .of_units = of_units});
const Entered entered_group(
    {.kind = LayerKind::group_norm, .of_averages = of_averages, .takes_gaussian = true, .of_units = of_units});
const Entered entered_rms(
    {.kind = LayerKind::rms_norm, .of_averages = of_averages, .takes_gaussian = true, .of_units = of_units});

} // namespace

} // namespace fisherfield::sampled_units
