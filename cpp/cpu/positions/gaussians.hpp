// SPDX-License-Identifier: BSD-3-Clause
// The Gaussians behind the entries of an image's matrices, and their integrals.
#pragma once

#include <algorithm>
#include <cmath>
#include <functional>
#include <unordered_map>
#include <vector>

#include "fisherfield/gaussian.hpp"
#include "positions.hpp"
#include "threads.hpp"

namespace fisherfield {

// One entry's Gaussian: two variances and a correlation.
struct Argument {
    Scaled q1, q2, r; // r = sqrt(q1 q2)
    Correlation correlation;

    bool operator==(const Argument& other) const {
        return equal(q1, other.q1) && equal(q2, other.q2) && correlation.c == other.correlation.c &&
               equal(correlation.one_minus_c, other.correlation.one_minus_c);
    }
};

struct ArgumentHash {
    size_t operator()(const Argument& x) const {
        const std::hash<double> hash;
        size_t out = 0;
        for (double part : {x.q1.m, x.q2.m, x.correlation.c, x.correlation.one_minus_c.m}) {
            out = out * 1000003u + hash(part);
        }
        return out;
    }
};

// Of windows that are multiples of one another, what 2 A - (sqrt(q_a) - sqrt(q_a'))^2 leaves of A and of the roots, and
// of opposite ones what 1 + c leaves of c.
inline constexpr double kRoundings = 32 * 0x1p-52;

// The Gaussians behind the entries of an image's matrices, and their integrals.
class Gaussians {
public:
    Gaussians(const ImageState& z, const Activation& activation)
        : z_(z), activation_(activation), gamma2_(z.gamma2), shift_(z.mean), positions_(z.positions()),
          homogeneous_(homogeneous(activation, &rays_) && z.mean == 0.0), jumps_(jumps(activation)) {
        for (long a = 0; a < positions_; ++a) {
            // below zero: the rounding of a variance that is zero
            const Scaled q = std::max(z.xy.at(index(a, a)) + z.v.at(index(a, a)), Scaled(0.0));
            lengths_.push_back({q, sqrt(q)});
        }
        if (!cheap(activation, z.mean)) {
            integrate();
        }
    }

    // Windows that see the same: one Gaussian, whose lengths differ by their rounding alone.
    bool twins(long a, long b) const {
        const Scaled q = lengths_[a].q, gap = q - lengths_[b].q;
        return a == b ||
               (is_zero(z_.apart.at(index(a, b))) && std::max(gap, Scaled(0.0) - gap) <= Scaled(kRounding) * q);
    }

    // Entry (a, b) for two inputs, that differ by v more than one; of twins 1 - c = v/q.
    Argument two_inputs(long a, long b) const {
        const Scaled q = lengths_[a].q;
        if (twins(a, b) && !is_zero(q)) {
            const Scaled v = std::max(z_.v.at(index(a, a)), Scaled(0.0)), u = gamma2_ * q;
            return {u, u, u, {(z_.xy.at(index(a, a)) / q).value(), v / q}};
        }
        return argument(lengths_[a], lengths_[b], z_.xy.at(index(a, b)),
                        z_.apart.at(index(a, b)) + z_.v.at(index(a, b)));
    }

    // Entry (a, b) for one input.
    Argument one_input(long a, long b) const {
        const Scaled q = gamma2_ * lengths_[a].q;
        return twins(a, b) ? Argument{q, q, q, {1.0, 0.0}}
                           : argument(lengths_[a], lengths_[b], z_.xy.at(index(a, b)) + z_.v.at(index(a, b)),
                                      z_.apart.at(index(a, b)));
    }

    // E [phi(u) - phi(w)]^2/2 from half the mean square of what u and w differ by (of u_hat), with E phi^2 and E phi'^2
    // of both. Where no integral has it, a mean slope's for small differences; else it is what is left of a
    // subtraction.
    Scaled apart(const Covariance& pair, const Argument& x, Scaled before, const Covariance& a,
                 const Covariance& b) const {
        before = gamma2_ * before;
        if (activation_.kind == Kind::linear) {
            return before;
        }
        if (equal(x.q1, x.q2)) {
            return pair.difference;
        }
        const bool same_size = (activation_.kind == Kind::step || activation_.kind == Kind::sign) && shift_ == 0.0;
        if (homogeneous_ || (same_size && !is_zero(x.r))) {
            const Scaled gap = same_size ? Scaled(0.0) : sqrt(a.value) - sqrt(b.value);
            return pair.difference + Scaled(0.5) * gap * gap;
        }
        // A slope's mean is right to the share of differences in all there is, its root where slopes jump; a
        // subtraction to eps over it.
        const Scaled least = Scaled(jumps_.slope ? 1e-11 : 1e-8) * std::min(x.q1, x.q2);
        if (!jumps_.value && before < least) {
            return before * Scaled(0.25) * (a.slope + b.slope + Scaled(2.0) * pair.slope);
        }
        return std::max((a.value - pair.value) + (b.value - pair.value), Scaled(0.0)) * Scaled(0.5);
    }

    Covariance operator()(const Argument& x) const {
        if (homogeneous_ && !is_zero(x.r)) {
            return closed_form::rays(rays_, x.r, x.correlation);
        }
        return known_.empty() ? covariance(activation_, x.q1, x.q2, x.correlation, shift_) : results_[known_.at(x)];
    }

    // gamma's gradient, E u_hat u_hat' phi' phi'; at gamma = 0 the slopes are those at the shift.
    Scaled trained_gamma(const Covariance& pair, const Argument& x, long a, long b) const {
        if (!is_zero(gamma2_)) {
            return pair.slope_pair / gamma2_;
        }
        return pair.slope * lengths_[a].root * lengths_[b].root * Scaled(x.correlation.c);
    }

private:
    // Length and its root, which every entry of a row needs.
    struct Length {
        Scaled q, root;
    };

    size_t index(long a, long b) const { return static_cast<size_t>(a * positions_ + b); }

    // apart = (q1 + q2)/2 - overlap
    Argument argument(const Length& x, const Length& y, Scaled overlap, Scaled apart) const {
        const Scaled r = x.root * y.root;
        Correlation correlation{1.0, 0.0};
        if (!is_zero(r)) {
            const Scaled gap = x.root - y.root, size = gap < Scaled(0.0) ? -gap : gap;
            const Scaled twice = apart + apart - gap * gap; // 2 r (1 - c)
            const Scaled rounding = Scaled(kRoundings) * (apart + size * std::max(x.root, y.root));
            correlation.c = std::clamp((overlap / r).value(), -1.0, 1.0);
            correlation.c = correlation.c <= kRoundings - 1.0 ? -1.0 : correlation.c;
            correlation.one_minus_c =
                twice <= rounding ? Scaled(0.0) : std::min(twice / (Scaled(2.0) * r), Scaled(2.0));
            // Where one length is far below the other, `apart` has no digits of 2 r; where little is shared, c has.
            if (std::fabs(correlation.c) < 0.5) {
                correlation.one_minus_c = 1.0 - correlation.c;
            }
        }
        // In one order, so that the matrix is symmetric to the last bit.
        const bool ordered = !(y.q < x.q);
        return {gamma2_ * (ordered ? x.q : y.q), gamma2_ * (ordered ? y.q : x.q), gamma2_ * r, correlation};
    }

    // Far positions share nothing and inner ones look alike: few Gaussians differ, and each costs a quadrature.
    void integrate() {
        std::vector<Argument> distinct;
        const auto remember = [&](const Argument& x) {
            if (known_.emplace(x, distinct.size()).second) {
                distinct.push_back(x);
            }
        };
        for (long a = 0; a < positions_; ++a) {
            for (long b = a; b < positions_; ++b) {
                remember(two_inputs(a, b));
                remember(one_input(a, b));
            }
        }
        results_.resize(distinct.size());
        parallel_for(static_cast<long>(distinct.size()), [&](long i) {
            const Argument& x = distinct[i];
            results_[i] = covariance(activation_, x.q1, x.q2, x.correlation, shift_);
        });
    }

    const ImageState& z_;
    const Activation& activation_;
    Scaled gamma2_;
    double shift_;
    long positions_;
    Rays rays_{};
    bool homogeneous_;
    Jumps jumps_;
    std::vector<Length> lengths_;
    std::unordered_map<Argument, size_t, ArgumentHash> known_;
    std::vector<Covariance> results_;
};

} // namespace fisherfield
