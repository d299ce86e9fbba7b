// SPDX-License-Identifier: BSD-3-Clause
// An activation, entry by entry of an image's matrices.
#include <atomic>

#include "gaussians.hpp"
#include "threads.hpp"

namespace fisherfield {

namespace {

constexpr double kOfSquares = 8 * 0x1p-52; // of a mean's square and of what it is taken from

} // namespace

bool cheap(const Activation& activation, double shift) {
    Rays phi{};
    smoothed_step::Family smoothed{};
    if (smoothed_step::family(activation.kind, &smoothed)) {
        return smoothed.count == 1 && shift == 0.0;
    }
    switch (activation.kind) {
    case Kind::step:
    case Kind::sign:
        return shift == 0.0;
    default:
        return closed_covariance(activation.kind, shift) ||
               (homogeneous(activation, &phi) && (shift == 0.0 || activation.kind == Kind::linear));
    }
}

State<Scaled> ImageState::diagonal() const {
    const long k = positions();
    double mean_of_means = mean;
    for (const double each : means) {
        mean_of_means += each / static_cast<double>(k);
    }
    State<Scaled> out{diagonal_mean(xy, k) + bias,
                      diagonal_mean(v, k),
                      0.0,
                      mean_of_means,
                      {diagonal_mean(o, k), diagonal_mean(d, k), 0.0, 0.0}};
    if (!means.empty()) { // of activations that are all the same nothing but roundings is left
        const Scaled square = out.mean * out.mean, rest = out.xy - square;
        out.xy = rest + out.v < Scaled(kOfSquares) * square ? -out.v : rest;
    }
    return out;
}

ImageState image_input(Pair size, const Settings& settings) {
    ImageState h;
    h.size = size;
    const long k = h.positions();
    const auto diagonal = [k](double entry) { return Matrix{std::vector<double>(k, entry), 0, true}; };
    h.xy = diagonal(settings.overlap);
    h.v = diagonal(settings.length - settings.overlap);
    h.o = h.d = h.apart = diagonal(0.0);
    return h;
}

// H = E phi phi,   T <- T E phi' phi',   entry by entry
Status activate(const Activation& activation, bool with_means, ImageState* z) {
    const long k = z->positions();
    const Gaussians gaussians(*z, activation);
    std::atomic<Status> status{Status::ok};

    struct Entry {
        Scaled parts[5]; // of xy, v, o, d, apart
    };
    std::vector<Covariance> alone(k); // of every position with itself
    const auto entry = [&](long a, long b) {
        const size_t at = a * k + b;
        const bool equal = is_zero(z->v.at(at)); // positions that share nothing of the input
        const bool twins = gaussians.twins(a, b);
        const Argument two = gaussians.two_inputs(a, b), one = equal ? two : gaussians.one_input(a, b);
        const Covariance apart = gaussians(two), same = equal ? apart : gaussians(one);
        raise(&status, apart.status);
        raise(&status, same.status);
        // What one input's two values differ by, and what two inputs' do beyond that: of twins, an integral of its own.
        const Scaled before = z->apart.at(at);
        const Scaled after = twins ? Scaled(0.0) : gaussians.apart(same, one, before, alone[a], alone[b]);
        const Scaled rise = twins   ? apart.difference
                            : equal ? Scaled(0.0)
                                    : gaussians.apart(apart, two, before + z->v.at(at), alone[a], alone[b]) - after;
        const Scaled bend = twins ? apart.slope_difference : same.slope - apart.slope;
        const Scaled o = z->o.at(at), d = z->d.at(at);
        Entry out{{apart.value, rise, apart.slope * o, (apart.slope + bend) * d + bend * o, after}};
        if (z->trained_gamma && (a == b || !z->of_positions)) {
            const Scaled of_gamma = gaussians.trained_gamma(apart, two, a, b);
            out.parts[2] = out.parts[2] + of_gamma;
            out.parts[3] = out.parts[3] + (gaussians.trained_gamma(same, one, a, b) - of_gamma);
        }
        if (!z->of_value.entries.empty()) {
            const Scaled g = z->of_value.at(at);
            out.parts[2] = out.parts[2] + g * apart.slope_pair;
            out.parts[3] = out.parts[3] + g * (same.slope_pair - apart.slope_pair);
        }
        return out;
    };

    z->means.assign(with_means ? k : 0, 0.0);
    parallel_for(with_means ? k : 0, [&](long a) {
        const Moments m = moments(activation, sqrt(gaussians.one_input(a, a).q1), z->mean);
        raise(&status, m.status);
        z->means[a] = m.mean.value();
    });
    // The diagonal first: its entries are the largest and choose the new exponents.
    std::vector<Entry> diagonal(k);
    parallel_for(k, [&](long a) {
        diagonal[a] = entry(a, a);
        alone[a] = gaussians(gaussians.one_input(a, a));
    });
    Matrix* matrices[5] = {&z->xy, &z->v, &z->o, &z->d, &z->apart};
    int exponents[5];
    for (int i = 0; i < 4; ++i) {
        CommonExponent common;
        for (const Entry& x : diagonal) {
            common.include(x.parts[i]);
            raise(&status, x.parts[i].finite() ? Status::ok : Status::overflow);
        }
        exponents[i] = common.value();
    }
    exponents[4] = std::max(exponents[0], exponents[1]);
    const auto store = [&](long a, long b, const Entry& x) {
        for (int i = 0; i < 5; ++i) {
            matrices[i]->entries[a * k + b] = rescaled(x.parts[i], exponents[i]);
        }
    };
    // Row a computes (a, b) for b > a and then writes both halves; nobody else reads or writes these entries.
    parallel_for(k, [&](long a) {
        for (long b = a + 1; b < k; ++b) {
            const Entry x = entry(a, b);
            store(a, b, x);
            store(b, a, x);
        }
    });
    for (long a = 0; a < k; ++a) {
        store(a, a, diagonal[a]);
    }
    for (int i = 0; i < 5; ++i) {
        matrices[i]->exponent = exponents[i];
    }
    z->gamma2 = 1.0;
    z->mean = 0.0;
    z->trained_gamma = z->of_positions = false;
    z->of_value = {};
    return status;
}

} // namespace fisherfield
