// SPDX-License-Identifier: BSD-3-Clause
// E phi(x) and E phi'(x) of x ~ N(m, s^2) for many m and one s, phi analytic in a strip |Im x| < d: tanh and its kin,
// mish, gelu_tanh. phi is evaluated once, on nodes that serve for every m; each mean then is a sum of their densities.
//
//     grid      equal steps h (trapezoidal rule): the densities e^(-(y + j h)^2/2 s^2), y the distance to the node next
//               to m, are e^(-y^2/2 s^2) B^j G_j with B = e^(-y h/s^2), G_j = e^(-(j h)^2/2 s^2)
//     panels    s too large for a grid: relu, step or sign in closed form, and what is left of phi without it, which
//               falls exponentially, by panels that grow away from 0; softsign as it is
//     points    s too small: equal steps about each m
#pragma once

#include <cmath>

#include "fisherfield/conditional_mean.hpp"
#include "fisherfield/quadrature.hpp"

namespace fisherfield {

namespace conditional {

class Sampled {
public:
    FISHERFIELD_HD static bool serves(const Activation& activation) {
        return quadrature::strip(activation) > 0.0 || activation.kind == Kind::softsign;
    }

    // m within `span` of `centre`; with the means of differences from u, or without
    FISHERFIELD_HD Sampled(const Activation& activation, double centre, double span, double s, bool differences)
        : activation_(activation), centre_(centre), s_(s),
          step_(quadrature::trapezoidal_step(quadrature::strip(activation) / s) * s) {
        const double out = deviations(std::fabs(centre) + span) * s;
        const double grid = 2.0 * (span + out) / step_, half = out / step_; // steps: far beyond any int, if s is large
        if (grid < kMost - 4) {
            rule_ = Rule::grid;
            origin_ = -span - out - step_;
            count_ = static_cast<int>(grid) + 4;
            for (int j = 0; j < count_; ++j) {
                node_[j] = centre + (origin_ + j * step_);
            }
        } else if (activation.kind == Kind::softsign) {
            rule_ = panels(std::fabs(centre) + span + out) ? Rule::panels : Rule::none;
        } else if (s >= 0.5 && panels(2.0 * std::fabs(centre) + tail())) {
            rule_ = Rule::panels;
        } else if (half < kMost / 2) {
            rule_ = Rule::points;
            count_ = static_cast<int>(half) + 1;
        }
        if (rule_ == Rule::none) {
            return;
        }
        if (rule_ != Rule::panels) { // densities at the distances j h
            for (int j = 0; j < kMost; ++j) {
                const double z = j * step_ / s;
                falls_[j] = step_ / s * formulas::normal_pdf(z);
                if (z > kFarthest) {
                    break;
                }
            }
        }
        differences_ = differences && rule_ != Rule::panels;
        if (differences_) {
            level_ = Level(activation, centre);
        }
        if (rule_ == Rule::points) {
            return;
        }
        level_.evaluate(activation, node_, value_, slope_, count_);
        if (differences_ && 2.0 * (span + out) < quadrature::kSmallDifference) {
            relative_ = true;
            for (int j = 0; j < count_; ++j) {
                value_[j] = quadrature::small_difference(activation_, centre_, origin_ + j * step_);
                slope_[j] = quadrature::small_bend(activation_, centre_, origin_ + j * step_);
            }
        }
        if (rule_ == Rule::panels) {
            for (int j = 0; j < count_; ++j) {
                value_[j] -= ray_value(node_[j]);
                slope_[j] -= ray_slope(node_[j]);
            }
        }
    }

    // Whether there is a rule at all; whether it gives differences.
    FISHERFIELD_HD bool usable() const { return rule_ != Rule::none; }
    FISHERFIELD_HD bool differences() const { return differences_; }

    // What phi and phi' are measured from, where differences are asked for.
    FISHERFIELD_HD const Level& level() const { return level_; }

    // m = centre + along, given u = m + apart, of which phi and phi' above the level are known.
    FISHERFIELD_HD Mean operator()(double along, double apart, double phi_u, double slope_u) {
        if (!differences_) {
            return mean<false>(along, apart, phi_u, slope_u);
        }
        if (relative_) {
            const double rise = quadrature::small_difference(activation_, centre_, along + apart);
            const double bend = quadrature::small_bend(activation_, centre_, along + apart);
            return on_top(mean<true>(along, apart, rise, bend), level_.phi, level_.phi_slope);
        }
        return on_top(mean<true>(along, apart, phi_u, slope_u), level_.value, level_.slope);
    }

private:
    enum class Rule { grid, panels, points, none };
    static constexpr int kMost = 1024;
    static constexpr double kReach = 9.0; // deviations: beyond, 2e-19 of the density

    // of x >= 0
    FISHERFIELD_HD static int least(double x, int n) { return x < n ? static_cast<int>(x) : n; }

    template <bool Differences>
    struct Sums {
        double phi_u, slope_u;
        Mean mean{};

        FISHERFIELD_HD void add(double weight, double z, double phi, double slope) {
            if constexpr (Differences) {
                const double rise = phi_u - phi;
                mean.rise2 += weight * rise * rise;
                add_bend(weight, slope);
            }
            add_product(weight, z, phi, slope);
        }
        // The same where phi(u) - phi is known better.
        FISHERFIELD_HD void add(double weight, double z, double phi, double slope, double rise) {
            mean.rise2 += weight * rise * rise;
            add_bend(weight, slope);
            add_product(weight, z, phi, slope);
        }
        FISHERFIELD_HD void add_bend(double weight, double slope) {
            mean.bend2 += weight * (slope_u - slope) * (slope_u - slope);
        }
        FISHERFIELD_HD void add_product(double weight, double z, double phi, double slope) {
            phi *= weight;
            slope *= weight;
            mean.value += phi;
            mean.slope += slope;
            mean.z_slope += z * slope;
            mean.size += std::fabs(phi);
            mean.slope_size += std::fabs(slope);
        }
        FISHERFIELD_HD void join(const Sums& other) {
            mean.value += other.mean.value;
            mean.slope += other.mean.slope;
            mean.z_slope += other.mean.z_slope;
            mean.size += other.mean.size;
            mean.slope_size += other.mean.slope_size;
            mean.rise2 += other.mean.rise2;
            mean.bend2 += other.mean.bend2;
        }
    };

    template <bool Differences>
    FISHERFIELD_HD Mean mean(double along, double apart, double phi_u, double slope_u) {
        Sums<Differences> sums{phi_u, slope_u}, other{phi_u, slope_u};
        const double m = centre_ + along;
        // Toward 0, where phi may be larger, farther than away from it.
        const double toward = deviations(m) * s_, away = kReach * s_;
        const double above = m < 0.0 ? toward : away, below = m < 0.0 ? away : toward;
        switch (rule_) {
        case Rule::grid: {
            const int at = static_cast<int>(std::rint((along - origin_) / step_)); // |along| <= span: a place in node_
            const double y = origin_ + at * step_ - along, rate = y / (s_ * s_), up = std::exp(-rate * step_),
                         down = 1.0 / up;
            const int last = least(above / step_, count_ - 1 - at);
            const int first = least(below / step_, at), both = last < first ? last : first;
            double rise = std::exp(-0.5 * rate * y), fall = rise;
            sums.add(falls_[0] * rise, 0.0, value_[at], slope_[at]);
            int j = 1;
            for (; j <= both; ++j) {
                rise *= up;
                fall *= down;
                sums.add(falls_[j] * rise, j, value_[at + j], slope_[at + j]);
                other.add(falls_[j] * fall, -j, value_[at - j], slope_[at - j]);
            }
            for (int k = j; k <= last; ++k) {
                rise *= up;
                sums.add(falls_[k] * rise, k, value_[at + k], slope_[at + k]);
            }
            for (int k = j; k <= first; ++k) {
                fall *= down;
                other.add(falls_[k] * fall, -k, value_[at - k], slope_[at - k]);
            }
            sums.join(other);
            sums.mean.z_slope = (y * sums.mean.slope + step_ * sums.mean.z_slope) / s_;
            break;
        }
        case Rule::panels: {
            for (int j = 0; j < count_ && std::fabs(m) - toward < end_; ++j) {
                const double y = node_[j] - m;
                if (y < above && -y < below) {
                    sums.add_product(weight_[j] * std::exp(-0.5 * (y / s_) * (y / s_)), y / s_, value_[j], slope_[j]);
                }
            }
            add_ray(m, &sums.mean);
            break;
        }
        default: {
            const int last = least(above / step_, count_ - 1);
            const int first = least(below / step_, count_ - 1);
            for (int j = -first; j <= last; ++j) {
                node_[first + j] = m + j * step_;
            }
            level_.evaluate(activation_, node_, value_, slope_, first + last + 1);
            for (int j = -first; j <= last; ++j) {
                const double w = node_[first + j], z = j * step_ / s_, phi = value_[first + j];
                const double weight = falls_[j < 0 ? -j : j], gap = apart - j * step_;
                if (Differences && std::fabs(gap) < quadrature::kSmallDifference) {
                    const double rise = quadrature::small_difference(activation_, w, gap);
                    sums.add(weight, z, phi, slope_[first + j], rise);
                } else {
                    sums.add(weight, z, phi, slope_[first + j]);
                }
            }
            break;
        }
        }
        return sums.mean;
    }

    // How far from m the density counts: where phi or phi' decays like e^x, e^2x (tanh'), e^(-0.07 x^3), up to that
    // many deviations times s farther out.
    FISHERFIELD_HD double deviations(double m) const {
        const double rate = activation_.kind == Kind::gelu_tanh ? 2.0 + 0.25 * m * m : 2.0;
        return std::fmin(kReach + std::fmin(std::fabs(m) / s_, rate * s_), kFarthest);
    }

    // A mean of what is above `value` and `slope`, as that of phi and phi'.
    FISHERFIELD_HD static Mean on_top(Mean mean, double value, double slope) {
        mean.value += value;
        mean.size += std::fabs(value);
        mean.slope += slope;
        mean.slope_size += std::fabs(slope);
        return mean;
    }

    FISHERFIELD_HD double ray_value(double x) const {
        switch (activation_.kind) {
        case Kind::tanh:
            return x > 0.0 ? 1.0 : -1.0;
        case Kind::sigmoid:
            return x > 0.0 ? 1.0 : 0.0;
        case Kind::softsign:
            return 0.0;
        default:
            return x > 0.0 ? x : 0.0;
        }
    }
    FISHERFIELD_HD bool ramp() const { return unbounded(activation_); }
    FISHERFIELD_HD double ray_slope(double x) const { return ramp() && x > 0.0 ? 1.0 : 0.0; }

    FISHERFIELD_HD void add_ray(double m, Mean* mean) const {
        const Sides sides(m / s_);
        if (ramp()) {
            mean->value += s_ * sides.ramp_above;
            mean->size += s_ * sides.ramp_above;
            mean->slope += sides.above;
            mean->slope_size += sides.above;
            mean->z_slope += sides.pdf;
        } else if (activation_.kind == Kind::tanh) {
            mean->value += std::erf(m / s_ / formulas::kSqrt2);
            mean->size += 1.0;
        } else if (activation_.kind == Kind::sigmoid) {
            mean->value += sides.above;
            mean->size += sides.above;
        }
    }

    // From where on phi without its ray is e^-40. A Gaussian `centre` away has it smaller there by another e^-|centre|
    // at most, and what is left of a mean by the same.
    FISHERFIELD_HD double tail() const {
        return activation_.kind == Kind::tanh ? 20.0 : activation_.kind == Kind::gelu_tanh ? 9.0 : 40.0;
    }

    // Panels on both sides of 0, up to `end`; whether there is room for them.
    FISHERFIELD_HD bool panels(double end) {
        const Growth growth = quadrature::growth_of(activation_);
        const double first = quadrature::scale_of(activation_);
        double low = 0.0, high = first;
        count_ = 0;
        end_ = end;
        for (int k = 1; low < end; ++k) {
            const double width = std::fmin(high, end) - low, pieces = std::ceil(width / (kPanel * s_));
            if (count_ + 2 * kNodes * pieces > kMost) {
                return false;
            }
            const double half = 0.5 * width / pieces;
            for (int piece = 0; piece < pieces; ++piece) {
                for (int i = 0; i < kNodes; ++i) {
                    const double y = low + half * (2 * piece + 1 + gauss_legendre_node(i));
                    for (int side = -1; side <= 1; side += 2) {
                        node_[count_] = side * y;
                        weight_[count_++] = half * gauss_legendre_weight(i) * formulas::kInvSqrt2Pi / s_;
                    }
                }
            }
            low = high;
            high = growth.next(k, first, high);
        }
        return true;
    }

    const Activation& activation_;
    double centre_, s_, step_, origin_ = 0.0, end_ = 0.0; // origin: of the grid, from the centre
    Level level_;
    Rule rule_ = Rule::none;
    bool differences_ = false, relative_ = false;
    int count_ = 0;
    double node_[kMost], value_[kMost], slope_[kMost], weight_[kMost];
    double* const falls_ = weight_; // grid and points have densities where panels have weights
};

} // namespace conditional

} // namespace fisherfield
