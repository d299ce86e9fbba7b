// SPDX-License-Identifier: BSD-3-Clause
// Gauss-Legendre quadrature on graded panels, for integrands that are analytic between known points.
//
// The line [-10, 10] carries the standard normal weight (what lies outside is 2e-23), and more of it where an
// activation turns farther out. A panel is at most 2 wide, where the weight's twelve-point error is 1e-18. Around a
// centre (a kink, or the place where an activation turns) panels shrink geometrically to `base`, so that the nearest
// singularity stays 3 half-widths or more away: 12 points then leave 3.4^-24 = 2e-13 of the integrand, 1e-16 at most
// places.
#pragma once

#include <cmath>

#include "fisherfield/host_device.hpp"

namespace fisherfield {

inline constexpr int kNodes = 12;
inline constexpr double kRange = 10.0;    // standard deviations
inline constexpr double kFarthest = 38.0; // beyond, the normal density is no float64
inline constexpr double kPanel = 2.0;     // widest panel
inline constexpr double kGrowth = 2.5;    // of panels away from a centre
inline constexpr int kBatch = 32 * kNodes;
inline constexpr int kMaxBreakpoints = 1536;

// Abscissas and weights on [-1, 1]; mpmath, 40 digits.
FISHERFIELD_HD inline double gauss_legendre_node(int i) {
    constexpr double half[6] = {0.12523340851146891547, 0.36783149899818019375, 0.5873179542866174473,
                                0.76990267419430468704, 0.90411725637047485668, 0.98156063424671925069};
    return i < 6 ? -half[5 - i] : half[i - 6];
}

FISHERFIELD_HD inline double gauss_legendre_weight(int i) {
    constexpr double half[6] = {0.249147045813402785,   0.23349253653835480876, 0.20316742672306592175,
                                0.16007832854334622633, 0.10693932599531843096, 0.047175336386511827195};
    return i < 6 ? half[5 - i] : half[i - 6];
}

struct Breakpoint {
    double at = 0.0;
    int kink = -1; // which kink of the activation, where it is one
};

// Breakpoints in order.
class Mesh {
public:
    // [-range, range], or [0, range] for an even integrand.
    FISHERFIELD_HD Mesh(double range, double panel, bool even = false)
        : low_(even ? 0.0 : -range), high_(range), panel_(panel) {
        add(low_, -1);
        add(high_, -1);
    }

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

    // Sum of f over all panels: f(x, w, n) receives at most kBatch abscissas and weights (of the normal density too).
    // Two breakpoints of the same kink bound a strip whose width is `strip` exactly: their difference has lost its
    // digits when the strip is narrow.
    template <class F>
    FISHERFIELD_HD void integrate(double strip, F&& f) const {
        double x[kBatch], weight[kBatch];
        int filled = 0;
        for (int i = 0; i + 1 < count_; ++i) {
            const bool narrow = points_[i].kink >= 0 && points_[i].kink == points_[i + 1].kink;
            const double width = narrow ? strip : points_[i + 1].at - points_[i].at;
            if (!(width > 0.0)) {
                continue;
            }
            const int pieces = static_cast<int>(std::ceil(width / panel_));
            const double half = 0.5 * width / pieces;
            for (int piece = 0; piece < pieces; ++piece) {
                const double centre = narrow && pieces == 1 ? 0.5 * (points_[i].at + points_[i + 1].at)
                                                            : points_[i].at + (2 * piece + 1) * half;
                for (int node = 0; node < kNodes; ++node) {
                    x[filled] = centre + half * gauss_legendre_node(node);
                    weight[filled] = half * gauss_legendre_weight(node) * 0.39894228040143267794 *
                                     std::exp(-0.5 * x[filled] * x[filled]);
                    ++filled;
                }
                if (filled == kBatch) {
                    f(x, weight, filled);
                    filled = 0;
                }
            }
        }
        if (filled > 0) {
            f(x, weight, filled);
        }
    }

private:
    FISHERFIELD_HD void shells(double centre, double base) {
        for (double width = base; width > 0.0 && width < panel_; width *= kGrowth) {
            add(centre - width, -1);
            add(centre + width, -1);
        }
    }

    Breakpoint points_[kMaxBreakpoints];
    int count_ = 0;
    double low_, high_, panel_;
    bool full_ = false;
};

} // namespace fisherfield
