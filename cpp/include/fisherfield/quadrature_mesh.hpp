// SPDX-License-Identifier: BSD-3-Clause
// Meshes of graded panels on the normal law's line, and their sums.
#pragma once

#include <cmath>

#include "fisherfield/activations.hpp"
#include "fisherfield/host_device.hpp"

namespace fisherfield {

inline constexpr int kNodes = 16;
inline constexpr double kRange = 10.0;    // standard deviations
inline constexpr double kFarthest = 38.5; // beyond, there is no float64 of the normal law left
inline constexpr double kPanel = 2.4;     // widest panel
inline constexpr double kDecay = 20.0;    // the weight falls at most by e^-20 over one panel
inline constexpr double kGrowth = 3.0;    // of panels away from a centre
inline constexpr double kFinest = 1e-20;  // what happens within this is nothing to the integral
inline constexpr int kBatch = 32 * kNodes;
inline constexpr int kMaxBreakpoints = 1536;

// Abscissas and weights on [-1, 1]; mpmath, 40 digits.
FISHERFIELD_HD inline double gauss_legendre_node(int i) {
    constexpr double half[kNodes / 2] = {0.095012509837637440185, 0.28160355077925891323, 0.45801677765722738634,
                                         0.61787624440264374845,  0.7554044083550030339,  0.86563120238783174388,
                                         0.94457502307323257608,  0.9894009349916499326};
    return i < kNodes / 2 ? -half[kNodes / 2 - 1 - i] : half[i - kNodes / 2];
}

FISHERFIELD_HD inline double gauss_legendre_weight(int i) {
    constexpr double half[kNodes / 2] = {0.18945061045506849629,  0.18260341504492358887, 0.16915651939500253819,
                                         0.14959598881657673208,  0.12462897125553387205, 0.09515851168249278481,
                                         0.062253523938647892863, 0.027152459411754094852};
    return i < kNodes / 2 ? half[kNodes / 2 - 1 - i] : half[i - kNodes / 2];
}

struct Breakpoint {
    double at;
    int kink; // which kink of the activation, -1 where it is none
};

// Of panels away from a centre: so many equal ones, then each `factor` times as far as the last.
struct Growth {
    int equal;
    double factor;

    // The end of the panel after the k-th one, that ends at `end`; the first one ends at `first`.
    FISHERFIELD_HD double next(int k, double first, double end) const {
        return k < equal ? (k + 1) * first : factor * end;
    }
};

// Breakpoints in order.
class Mesh {
public:
    // [-range, range], or [0, range] for an even integrand.
    FISHERFIELD_HD Mesh(double range, double panel, Growth growth, bool even = false)
        : low_(even ? 0.0 : -range), high_(range), panel_(panel), growth_(growth) {
        add(low_, -1);
        add(high_, -1);
    }

    // To [-range, range], before anything is added.
    FISHERFIELD_HD void extend(double range) {
        low_ = points_[0].at = -range;
        high_ = points_[1].at = range;
    }

    // The trapezoidal rule with this step in place of panels: e^(-2 pi y/step) is left where the integrand is analytic
    // up to +-i y, the weight's own e^(-2 (pi/step)^2) apart.
    FISHERFIELD_HD void trapezoidal(double step) { step_ = step; }

    FISHERFIELD_HD void add(double at, int which) {
        if (at >= low_ && at <= high_) {
            if (count_ == kMaxBreakpoints) {
                full_ = true;
                return;
            }
            int place = count_++;
            for (; place > 0 && points_[place - 1].at > at; --place) {
                points_[place] = points_[place - 1];
            }
            points_[place] = {at, which};
        }
    }

    // A kink at `at`, with panels that grow from `base` on both sides; base 0: nothing to resolve but the kink itself.
    FISHERFIELD_HD void kink(double at, double base, int which = -1) {
        add(at, which);
        shells(at, base);
    }

    // A smooth turn: wide ones need no panels of their own.
    FISHERFIELD_HD void turn(double at, double base) {
        if (base > 0.0 && base < panel_) {
            kink(at, base);
        }
    }

    // More breakpoints were asked for than fit: the caller must not trust the sum.
    FISHERFIELD_HD bool full() const { return full_; }

    // f(x, weight) for each abscissa, its weight that of the normal density too. Two breakpoints of the same kink bound
    // a strip whose width is `strip` exactly: their difference has lost its digits when the strip is narrow.
    template <class F>
    FISHERFIELD_HD void each(double strip, F&& f) const {
        const auto take = [&](double at, double share) { f(at, share * formulas::normal_pdf(at)); };
        // No more than a few hundred: abscissas lie within kFarthest, steps and panels are no narrower than 1/50.
        const int steps = step_ > 0.0 ? static_cast<int>(high_ / step_) : -1;
        for (int i = low_ < 0.0 ? -steps : 0; i <= steps; ++i) {
            take(i * step_, low_ == 0.0 && i == 0 ? 0.5 * step_ : step_);
        }
        for (int i = 0; i + 1 < count_ && steps < 0; ++i) {
            const bool narrow = points_[i].kink >= 0 && points_[i].kink == points_[i + 1].kink;
            const double width = narrow ? strip : points_[i + 1].at - points_[i].at;
            if (!(width > 0.0)) {
                continue;
            }
            const double farther = std::fmax(std::fabs(points_[i].at), std::fabs(points_[i + 1].at));
            const int pieces = static_cast<int>(std::ceil(width / std::fmin(panel_, kDecay / farther)));
            const double half = 0.5 * width / pieces;
            for (int piece = 0; piece < pieces; ++piece) {
                const double centre = narrow && pieces == 1 ? 0.5 * (points_[i].at + points_[i + 1].at)
                                                            : points_[i].at + (2 * piece + 1) * half;
                for (int node = 0; node < kNodes; ++node) {
                    take(centre + half * gauss_legendre_node(node), half * gauss_legendre_weight(node));
                }
            }
        }
    }

    // The same in batches: f(x, weight, n), n at most kBatch.
    template <class F>
    FISHERFIELD_HD void integrate(double strip, F&& f) const {
        double x[kBatch], weight[kBatch];
        int filled = 0;
        each(strip, [&](double at, double share) {
            x[filled] = at;
            weight[filled] = share;
            if (++filled == kBatch) {
                f(x, weight, filled);
                filled = 0;
            }
        });
        if (filled > 0) {
            f(x, weight, filled);
        }
    }

private:
    FISHERFIELD_HD void shells(double centre, double base) {
        const double first = base > 0.0 ? std::fmax(base, kFinest) : 0.0;
        double width = first;
        for (int k = 1; width > 0.0 && (k < growth_.equal ? first : width) < panel_ && width < high_ - low_; ++k) {
            add(centre - width, -1);
            add(centre + width, -1);
            width = growth_.next(k, first, width);
        }
    }

    Breakpoint points_[kMaxBreakpoints];
    int count_ = 0;
    double low_, high_, panel_;
    Growth growth_;
    double step_ = 0.0;
    bool full_ = false;
};

} // namespace fisherfield
