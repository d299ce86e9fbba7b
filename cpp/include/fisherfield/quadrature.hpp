// SPDX-License-Identifier: BSD-3-Clause
// Quadrature of activations that have no closed form: composite Gauss-Legendre on graded panels.
//
// The line [-10, 10] carries the standard normal weight (what lies outside is 2e-23), and more of it, up to 38.5, where
// an activation turns farther out. A panel is at most 2.4 wide and e^20 of the weight: its sixteen points leave 1e-17.
// Around a centre (a kink, or the place where an activation turns) panels grow from `base` threefold, so that the
// nearest singularity stays 2 half-widths or more from a panel's centre: (2 + sqrt 3)^-32 = 5e-19. docs/theory.md,
// section 3.
#pragma once

#include <cmath>

#include "fisherfield/closed_form.hpp"

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

namespace quadrature {

inline constexpr double kTurn =
    2.0; // panels beside the place where tanh, mish, ... turn: poles lie i pi/2 away or more
// Bounds on errors, as multiples of E|integrand| (seen: 25 ulps), where z deviations out an integrand counts for more:
// its density has lost z^2 ulps. Of two integrals: where u = sqrt(q1) (a s + b d) is small for two large terms it has
// lost their digits.
inline constexpr double kErrorUlps = 100.0 * 0x1p-52;
// Of sums over nodes, each term of which may be rounded by half the least float64.
inline constexpr double kErrorLeast = 2048.0 * 0x1p-1074;
FISHERFIELD_HD inline double lost(double z2) { return 1.0 + z2 / 32.0; }
FISHERFIELD_HD inline double lost_twice(double z2) { return 1.0 + z2 / 32.0 + z2 * z2 / 2000.0; }
FISHERFIELD_HD inline double nested_error(double r) { return 2.0 * kErrorUlps * (1.0 + 0.02 * r); }

// Half the width of a strip about the real axis in which phi is analytic and grows no faster than |x|; 0 where it has
// none. Poles lie at i pi/2 (tanh), i pi, 0.35 + 2.36 i (mish). gelu_tanh has its first at 0.63 + 2.75 i, but i y off
// the axis it is e^(0.2 |x| y^2) larger.
FISHERFIELD_HD inline double strip(const Activation& activation) {
    switch (activation.kind) {
    case Kind::tanh:
    case Kind::gelu_tanh:
        return 1.5;
    case Kind::sigmoid:
    case Kind::silu:
    case Kind::softplus:
        return 3.0;
    case Kind::mish:
        return 2.25;
    default:
        return 0.0;
    }
}

FISHERFIELD_HD inline double scale_of(const Activation& activation) {
    switch (activation.kind) {
    case Kind::hardtanh:
    case Kind::relu6:
    case Kind::hardsigmoid:
        return 0.0;
    case Kind::celu:
        return kTurn * std::fmin(1.0, std::fabs(activation.parameter));
    case Kind::erf: // no poles, but e^(y^2) and e^(y^2/2) off the axis
    case Kind::gelu:
        return 1.2;
    case Kind::sigmoid:
    case Kind::silu:
    case Kind::softplus:
        return 2.0 * kTurn;
    case Kind::mish:
        return 1.5 * kTurn;
    default:
        return kTurn;
    }
}

// Threefold, but e^(-x^2/2) is nothing only beyond 9; gelu_tanh's poles follow the rays of 30 degrees, and on the left
// it falls like e^(-0.07 |x|^3), seen up to 20; x^n e^(-x) has its peak at n.
FISHERFIELD_HD inline Growth growth_of(const Activation& activation) {
    switch (activation.kind) {
    case Kind::gelu_tanh:
        return {10, 1.8};
    case Kind::erf:
    case Kind::gelu:
        return {8, kGrowth};
    case Kind::rectified_monomial:
        return {6, kGrowth};
    default:
        return {1, kGrowth};
    }
}

// Where an activation turns: its kinks, else the origin; and on which scale, where it is more than straight lines.
struct Turns {
    const double* at;
    int count;
    double scale;
    Growth growth;
    double origin = 0.0;

    FISHERFIELD_HD explicit Turns(const Activation& activation)
        : at(activation.kink_count > 0 ? activation.kinks : &origin),
          count(activation.kink_count > 0 ? activation.kink_count : 1), scale(scale_of(activation)),
          growth(growth_of(activation)) {}
    Turns(const Turns&) = delete;
    Turns& operator=(const Turns&) = delete;
};

// The step of the trapezoidal rule, in deviations, where poles lie y deviations away or more and the weight is
// e^(y^2/2): e^-48 is 1e-16 even of a fourth-order pole's residue.
FISHERFIELD_HD inline double trapezoidal_step(double poles) {
    const double y = std::fmin(poles, 9.8);
    return 2.0 * kPi * y / (48.0 + 0.5 * y * y);
}

// An activation that moves by `sigma` a deviation: the trapezoidal rule, where it has fewer points than panels have.
FISHERFIELD_HD inline void coarsest(const Activation& activation, double sigma, double finer, Mesh* mesh) {
    const double step = trapezoidal_step(strip(activation) / sigma);
    if (step > 0.14) {
        mesh->trapezoidal(step * finer);
    }
}

// How far to integrate. An activation that turns t deviations g out, at a distance x, may be there, and only there. The
// product of two that decay like e^y is largest 4 g deviations out at most; of two like e^(-y^2/2) or, gelu_tanh,
// e^(-0.07 y^3), at g times their rate here. y^n p(y) is largest at sqrt n. softsign does not vanish anywhere.
FISHERFIELD_HD inline double range_of(const Activation& activation, double x, double t, double g) {
    const bool exponential = strip(activation) > 0.0 && activation.kind != Kind::gelu_tanh;
    const double rate = exponential ? 4.0 : 4.0 + 0.5 * x * x, power = std::sqrt(2.0 * activation.degree);
    const bool smooth = activation.kink_count == 0;
    double out = smooth ? std::fmin(t, rate * g) : t < kFarthest ? t : 0.0;
    switch (activation.kind) {
    case Kind::softsign:
        out = 0.0;
        break;
    case Kind::elu:
    case Kind::selu:
        out = std::fmin(t, std::fmax(out, 4.0 * g));
        break;
    case Kind::celu:
        out = std::fmin(t, std::fmax(out, 4.0 * g / std::fabs(activation.parameter)));
        break;
    default:
        break;
    }
    return std::fmin(kRange + out, kFarthest - power) + power;
}

// Of a caller's function nothing is known: how far |integrand(z)| pdf(z) must be followed until it is nothing beside
// its largest value. Infinity: there is no such place. integrand(z, n, size): n sizes at a time, each call is dear.
template <class Integrand>
FISHERFIELD_HD double reach(Integrand&& integrand) {
    constexpr double ranges[] = {kRange, 14.0, 19.0, 25.0, 31.0, kFarthest}, step = 0.25;
    constexpr int most = 2 * static_cast<int>(kRange / step + 1);
    double largest = 0.0, from = 0.0;
    for (double range : ranges) {
        double z[most], size[most];
        int n = 0;
        for (double x = from; x <= range; x += step) { // the last one is the range itself
            z[n++] = x;
            z[n++] = -x;
        }
        integrand(z, n, size);
        for (int i = 0; i + 2 < n; ++i) {
            largest = std::fmax(largest, size[i] * formulas::normal_pdf(z[i]));
        }
        const double end = std::fmax(size[n - 1], size[n - 2]) * formulas::normal_pdf(range);
        if (largest < HUGE_VAL && end <= 1e-17 * largest) {
            return range;
        }
        from = range;
    }
    return HUGE_VAL;
}

// x, on the side of each kink that `low` .. `high` is on: a sum of shift and deviations may round across one.
FISHERFIELD_HD inline double between(double x, double low, double high) {
    return x <= low ? std::nextafter(low, high) : x >= high ? std::nextafter(high, low) : x;
}

// The integral of f over [from, from + h], by five points between kinks; at(kink) is added for each one passed. Places
// are counted from `from`, so that h may be less than an ulp of it, and each stays on its side of the kinks.
template <class F, class At>
FISHERFIELD_HD double between_kinks(const Activation& activation, double from, double h, F&& f, At&& at) {
    constexpr double node[2] = {0.53846931010568309104, 0.90617984593866399280};
    constexpr double weight[3] = {0.56888888888888888889, 0.47862867049936646804, 0.23692688505618908751};
    const double end = std::fmax(h, 0.0);
    double sum = 0.0, left = std::fmin(h, 0.0), below = -HUGE_VAL;
    for (int kink = 0; kink <= activation.kink_count; ++kink) {
        const double above = kink < activation.kink_count ? activation.kinks[kink] : HUGE_VAL;
        const double right = std::fmin(above - from, end);
        if (right > left) {
            const double half = 0.5 * (right - left), centre = 0.5 * (left + right);
            const auto value = [&](double place) { return f(between(from + place, below, above)); };
            double part = weight[0] * value(centre);
            for (int i = 0; i < 2; ++i) {
                part += weight[i + 1] * (value(centre - node[i] * half) + value(centre + node[i] * half));
            }
            sum += half * part + (right < end ? at(above) : 0.0);
            left = right;
        }
        below = above;
    }
    return h > 0 ? sum : -sum;
}

// g z + beta, on the side of each kink that z says: it may round across one.
FISHERFIELD_HD inline double moved(const Activation& activation, double g, double z, double beta) {
    double x = g * z + beta;
    for (int i = 0; i < activation.kink_count; ++i) {
        const double kink = activation.kinks[i];
        if (std::fabs(x - kink) <= 0x1p-50 * std::fabs(beta)) {
            const double away = g * z - (kink - beta);
            x = away > 0.0   ? std::fmax(x, std::nextafter(kink, HUGE_VAL))
                : away < 0.0 ? std::fmin(x, std::nextafter(kink, -HUGE_VAL))
                             : x;
        }
    }
    return x;
}

// What an ulp of x = g z + beta, far = |g z| + |beta|, changes, as a part of kErrorUlps; of phi' also one of its terms
// where it `crosses` 0. phi''/phi' is at most 1 or, in tails, phi'/phi; far out on a ramp it is 0.
FISHERFIELD_HD inline double lost_of_value(double far, double slope) { return 0.005 * std::fabs(far * slope); }
FISHERFIELD_HD inline double lost_of_slope(bool crosses, double far, double x, double value, double slope) {
    const double size = std::fabs(value), rise = std::fabs(slope);
    const double term = crosses && x > -4.0 && x < 0.0 ? 0.01 * size : 0.0;
    if (rise <= size) {
        return term + (x > 40.0 && rise > 0.5 ? 0.0 : 0.005 * far * rise);
    }
    const double most = 1.0 + std::fabs(x) * (1.0 + 0.25 * std::fabs(x));
    return term + 0.005 * far * rise * (rise < most * size ? rise / size : most);
}

// phi' is a sum of two terms that cancel somewhere below 0.
FISHERFIELD_HD inline bool crosses_zero(Kind kind) {
    return kind == Kind::silu || kind == Kind::gelu || kind == Kind::gelu_tanh || kind == Kind::mish ||
           kind == Kind::hardswish;
}

// phi(from + h) - phi(from) where h is small, by the integral of phi'. Five points leave h^10/1e8 where phi turns on
// the scale of 1.
FISHERFIELD_HD inline double small_difference(const Activation& activation, double from, double h) {
    return between_kinks(
        activation, from, h, [&](double x) { return slope_of(activation, x); }, [](double) { return 0.0; });
}

inline constexpr double kSmallDifference = 0.02;

// The same of phi', by the integral of phi'' and by what it jumps at kinks; one at `from` has a value of its own.
FISHERFIELD_HD_APART inline double small_bend(const Activation& activation, double from, double h) {
    const auto slope_next_to = [&](double x, double side) {
        return slope_of(activation, std::nextafter(x, std::copysign(HUGE_VAL, side)));
    };
    double start = 0.0;
    for (int kink = 0; kink < activation.kink_count; ++kink) {
        start += activation.kinks[kink] == from ? slope_next_to(from, h) - slope_of(activation, from) : 0.0;
    }
    return start + between_kinks(
                       activation, from, h, [&](double x) { return bend_of(activation, x); },
                       [&](double kink) { return slope_next_to(kink, 1.0) - slope_next_to(kink, -1.0); });
}

// x^n - y^n for x, y > 0, h = x - y: a sum of n terms of one sign.
FISHERFIELD_HD inline double power_difference(double x, double y, double h, int n) {
    double sum = 0.0, power = 1.0;
    for (int k = 0; k < n; ++k) {
        sum = sum * x + power;
        power *= y;
    }
    return h * sum;
}

// How fast phi and phi' change next to x, relative to what they are there and to a scale of 1.
FISHERFIELD_HD inline double rate_of(const Activation& activation, double x) {
    switch (activation.kind) {
    case Kind::erf:
    case Kind::gelu:
        return 1.0 + 2.0 * std::fabs(x);
    case Kind::gelu_tanh:
        return 1.0 + 0.25 * x * x;
    default:
        return 1.0;
    }
}

inline constexpr double kSmallRise = 0.2;   // of rises(), where phi turns on the scale of 1
inline constexpr double kSameAsMean = 0.94; // (E f)^2/E f^2: their difference loses four bits

// phi(x) - phi(beta) and phi'(x) - phi'(beta), x = beta + g z, where g is so small that they would cancel.
FISHERFIELD_HD_APART inline void rises(const Activation& activation, double beta, double g, const double* z,
                                       const double* x, double* value, double* slope, int n) {
    const int degree = activation.degree;
    for (int i = 0; i < n; ++i) {
        const double h = g * z[i];
        if (activation.kind == Kind::rectified_monomial) {
            value[i] = power_difference(x[i], beta, h, degree);
            slope[i] = degree * power_difference(x[i], beta, h, degree - 1);
        } else {
            value[i] = small_difference(activation, beta, h);
            slope[i] = small_bend(activation, beta, h);
        }
    }
}

struct MomentSums {
    double rise = 0, rise2 = 0, turn = 0, turn2 = 0, u_slope = 0, u2_slope2 = 0;
    double size = 0, size2 = 0, slope_size = 0, slope_size2 = 0;

    // phi and phi', what roundings of x change of them, and how far they are from what they are measured from.
    FISHERFIELD_HD void add(double z, double weight, double phi, double slope, double off, double slope_off, double r,
                            double s) {
        rise += weight * r;
        rise2 += weight * r * r;
        const double heavy = weight * lost(z * z);
        size += heavy * (std::fabs(phi) + off);
        size2 += heavy * std::fabs(phi) * (std::fabs(phi) + 2.0 * off);
        slope_size += heavy * (std::fabs(slope) + slope_off);
        slope_size2 += heavy * std::fabs(slope) * (std::fabs(slope) + 2.0 * slope_off);
        turn += weight * s;
        turn2 += weight * s * s;
        u_slope += weight * z * s;
        u2_slope2 += weight * z * z * slope * slope;
    }
};

// E f(g u + beta).
FISHERFIELD_HD inline Moments moments(const Activation& activation, double g, double beta, int level = 0) {
    const double finer = std::ldexp(1.0, -level);
    const Turns turns(activation);
    double range = kRange, range2 = kRange; // of phi, of its square
    if (activation.kind == Kind::callable) {
        const auto size = [&](const double* z, int n, double* out) {
            double x[kBatch] = {}, value[kBatch], slope[kBatch];
            for (int i = 0; i < n; ++i) {
                x[i] = g * z[i] + beta;
            }
            evaluate(activation, x, value, slope, n);
            for (int i = 0; i < n; ++i) {
                out[i] = std::fmax(std::fabs(value[i]), std::fabs(slope[i]));
            }
        };
        range2 = reach([&](const double* z, int n, double* out) {
            size(z, n, out);
            for (int i = 0; i < n; ++i) {
                out[i] *= out[i];
            }
        });
        range = range2 < HUGE_VAL ? range2 : reach(size);
    }
    for (int i = 0; i < turns.count && activation.kind != Kind::callable; ++i) {
        const double distance = std::fabs(turns.at[i] - beta);
        range = std::fmax(range, range_of(activation, distance, distance / g, g));
    }
    Moments out;
    if (!(range < HUGE_VAL)) {
        out.status = Status::not_converged;
        return out;
    }
    Mesh mesh(range, kPanel * finer, turns.growth);
    for (int i = 0; i < turns.count; ++i) {
        const double base = turns.scale * finer / g;
        if (activation.kink_count > 0) {
            mesh.kink((turns.at[i] - beta) / g, base);
        } else {
            mesh.turn((turns.at[i] - beta) / g, base);
        }
    }
    coarsest(activation, g, finer, &mesh);
    // phi and phi' are measured from what they tend to next to beta, or from 0, then from their values at beta (phi'
    // where g is small), and last from their own means: nothing that is the same for every u is squared.
    const bool monomial = activation.kind == Kind::rectified_monomial;
    const double near = std::fmax(1.0, monomial ? beta : 0.5 * turns.scale); // g, so that phi is like phi(beta)
    const Level level_of = g < near || std::fabs(beta) > g ? Level(activation, beta) : Level();
    const double scale = turns.scale > 0.0 ? std::fmin(turns.scale, kTurn) / kTurn : 1.0;
    const bool by_rise =
        continuous(activation) && !monomial && range * g * rate_of(activation, beta) < kSmallRise * scale;
    const bool by_power = monomial && range * g < beta, crosses = crosses_zero(activation.kind);
    const double slope_base = by_rise || g < near ? level_of.slope_above : 0.0;
    const auto sum_about = [&](double centre, double slope_centre) {
        MomentSums sum;
        mesh.integrate(0.0, [&](const double* z, const double* weight, int n) {
            double x[kBatch] = {}, value[kBatch], slope[kBatch];
            for (int i = 0; i < n; ++i) {
                x[i] = moved(activation, g, z[i], beta);
            }
            if (by_rise || by_power) {
                rises(activation, beta, g, z, x, value, slope, n);
            } else {
                level_of.evaluate(activation, x, value, slope, n);
                for (int i = 0; i < n; ++i) { // of u = g z, x has lost digits
                    value[i] = (value[i] - level_of.above) + (slope[i] + level_of.slope) * (g * z[i] - (x[i] - beta));
                    slope[i] -= slope_base;
                }
            }
            const double phi = level_of.value + level_of.above, phi_slope = level_of.slope + slope_base;
            // Beside a kink roundings of x are many and average out; rises do not round x there.
            const double share = activation.kink_count == 0 ? 1.0 : by_rise || by_power ? 0.0 : 0.1;
            for (int i = 0; i < n; ++i) {
                const double far = std::fabs(g * z[i]) + std::fabs(beta), y = phi + value[i],
                             y_slope = phi_slope + slope[i];
                sum.add(z[i], weight[i], y, y_slope, share * lost_of_value(far, y_slope),
                        lost_of_slope(crosses, far, x[i], y, y_slope), value[i] - centre, slope[i] - slope_centre);
            }
        });
        return sum;
    };
    double centre = 0.0, slope_centre = 0.0;
    MomentSums sum = sum_about(centre, slope_centre);
    if (sum.rise * sum.rise > kSameAsMean * sum.rise2 || sum.turn * sum.turn > kSameAsMean * sum.turn2) {
        centre = sum.rise;
        slope_centre = sum.turn;
        sum = sum_about(centre, slope_centre);
    }
    out.mean = level_of.phi + (centre + sum.rise);
    out.variance = sum.rise2 - sum.rise * sum.rise;
    out.second = out.variance + out.mean * out.mean;
    out.slope_mean = level_of.slope + slope_base + (slope_centre + sum.turn);
    out.slope_variance = sum.turn2 - sum.turn * sum.turn;
    out.slope_second = out.slope_variance + out.slope_mean * out.slope_mean;
    out.u_slope = sum.u_slope;
    out.u2_slope2 = sum.u2_slope2;
    out.mean_error = kErrorUlps * sum.size + kErrorLeast;
    out.second_error = range2 < HUGE_VAL ? Scaled(kErrorUlps * sum.size2 + kErrorLeast) : Scaled(HUGE_VAL);
    out.slope_mean_error = kErrorUlps * sum.slope_size + kErrorLeast;
    out.slope_second_error = range2 < HUGE_VAL ? Scaled(kErrorUlps * sum.slope_size2 + kErrorLeast) : Scaled(HUGE_VAL);
    out.status = mesh.full() ? Status::not_converged : Status::ok;
    return out;
}

// u = sqrt(q1) (a s + b d), w = sqrt(q2) (a s - b d) with s, d ~ N(0, 1) independent, a^2 = (1 + c)/2, b^2 = (1 - c)/2.
// For fixed d both move along s alone: kinks and turns are points on that line. Where equal variances let two lines of
// one kink bound a strip, phi' jumps inside it and nowhere else. As d varies, the inner integral is analytic but where
// two kinks meet.
FISHERFIELD_HD inline Covariance covariance(const Activation& activation, double q1, double q2, double c,
                                            double one_minus_c, double shift, int level = 0) {
    const double finer = std::ldexp(1.0, -level);
    const double r1 = std::sqrt(q1), r2 = std::sqrt(q2);
    const double a = std::sqrt(0.5 * (1.0 + c)), b = std::sqrt(0.5 * one_minus_c);
    const bool equal = q1 == q2, kinked = activation.kink_count > 0;
    const Turns turns(activation);
    const double turn = turns.scale * finer;
    double range = kRange, range_s = kRange, range_d = kRange;
    if (activation.kind == Kind::callable) {
        // along the lines u = r1 (along z), w = r2 (+-along z)
        const auto product = [&](double along, double sign) {
            return reach([=, &activation](const double* z, int n, double* out) {
                double x[kBatch] = {}, value[kBatch], slope[kBatch];
                for (int i = 0; i < n; ++i) {
                    x[i] = r1 * (along * z[i]) + shift;
                    x[n + i] = r2 * (sign * along * z[i]) + shift;
                }
                evaluate(activation, x, value, slope, 2 * n);
                for (int i = 0; i < n; ++i) {
                    out[i] = std::fmax(std::fabs(value[i] * value[n + i]), std::fabs(slope[i] * slope[n + i]));
                }
            });
        };
        range_s = product(a, 1.0);
        range_d = product(b, -1.0);
        if (!(range_s < HUGE_VAL && range_d < HUGE_VAL)) {
            Covariance out;
            out.status = Status::not_converged;
            return out;
        }
    }
    for (int i = 0; i < turns.count && activation.kind != Kind::callable; ++i) {
        const double u = (turns.at[i] - shift) / r1, distance = std::fabs(turns.at[i] - shift);
        range = std::fmax(range, range_of(activation, distance, distance / std::fmin(r1, r2), std::fmax(r1, r2)));
        // What lies beyond two kinks at once may be all there is.
        for (int j = 0; j < turns.count && kinked; ++j) {
            const double w = (turns.at[j] - shift) / r2;
            range_s = std::fmax(range_s, range_of(activation, 0.0, std::fabs(0.5 * (u + w)) / a, 0.0));
            range_d = std::fmax(range_d, range_of(activation, 0.0, std::fabs(0.5 * (u - w)) / b, 0.0));
        }
    }
    range_s = std::fmax(range, range_s);
    range_d = std::fmax(range, range_d);

    Mesh outer(range_d, kPanel * finer, turns.growth, equal); // d -> -d swaps u and w
    if (b > 0.0) {
        // Two turns that pass each other do so on their own scale; a kink is smoothed by the kernel of width a.
        const double smooth1 = turn / (r1 * b), smooth2 = turn / (r2 * b), sharp = kinked ? a / b : 0.0;
        const auto finest = [](double x, double y) { return x > 0.0 && y > 0.0 ? std::fmin(x, y) : std::fmax(x, y); };
        for (int i = 0; i < turns.count; ++i) {
            const double u = (turns.at[i] - shift) / r1, w = (turns.at[i] - shift) / r2;
            outer.kink(u / b, finest(smooth1, sharp));
            outer.kink(-w / b, finest(smooth2, sharp));
            for (int j = 0; j < turns.count; ++j) {
                const double meeting = 0.5 * (u - (turns.at[j] - shift) / r2) / b;
                outer.kink(meeting, finest(std::fmin(smooth1, smooth2), sharp));
            }
        }
    }

    coarsest(activation, std::fmax(r1, r2) * b, finer, &outer);
    // The points of all lines in batches: a caller's function is asked seldom.
    bool full = outer.full();
    double sum[7] = {}, s[kBatch], d[kBatch], weight[kBatch], x[2 * kBatch], phi[2 * kBatch], slopes[2 * kBatch];
    int filled = 0;
    const Level level_of(activation, shift);
    const auto flush = [&] {
        for (int i = 0; i < filled; ++i) {
            x[i] = r1 * (a * s[i] + b * d[i]) + shift;
            x[filled + i] = r2 * (a * s[i] - b * d[i]) + shift;
        }
        level_of.evaluate(activation, x, phi, slopes, 2 * filled);
        const double *w = x + filled, *phi_w = phi + filled, *slope_w = slopes + filled;
        double part[7] = {};
        for (int i = 0; i < filled; ++i) {
            const double shift_d = b * d[i], gap = 2.0 * r1 * b * d[i]; // gap = u - w for equal variances
            const bool by_slope = equal && continuous(activation) && gap < kSmallDifference;
            const double rise = by_slope ? small_difference(activation, w[i], gap) : phi[i] - phi_w[i];
            const double bend = slopes[i] - slope_w[i];
            const double value = weight[i] * (phi[i] + level_of.value) * (phi_w[i] + level_of.value);
            const double slope = weight[i] * (slopes[i] + level_of.slope) * (slope_w[i] + level_of.slope);
            const double heavy = lost_twice(s[i] * s[i]) * lost_twice(d[i] * d[i]);
            part[0] += value;
            part[1] += weight[i] * rise * rise;
            part[2] += slope;
            part[3] += weight[i] * bend * bend;
            part[4] += r1 * (a * s[i] + shift_d) * r2 * (a * s[i] - shift_d) * slope;
            part[5] += heavy * std::fabs(value);
            part[6] += heavy * std::fabs(slope);
        }
        for (int i = 0; i < 7; ++i) {
            sum[i] += part[i];
        }
        filled = 0;
    };
    outer.each(0.0, [&](double line, double line_weight) {
        const double shift_d = b * line;
        Mesh inner(range_s, kPanel * finer, turns.growth);
        double strip = 0.0;
        if (a > 0.0) {
            strip = 2.0 * shift_d / a;
            for (int i = 0; i < turns.count; ++i) {
                const double u = ((turns.at[i] - shift) / r1 - shift_d) / a,
                             w = ((turns.at[i] - shift) / r2 + shift_d) / a;
                if (kinked) {
                    inner.kink(u, turn / (r1 * a), equal ? i : -1);
                    inner.kink(w, turn / (r2 * a), equal ? i : -1);
                } else {
                    inner.turn(u, turn / (r1 * a));
                    inner.turn(w, turn / (r2 * a));
                }
            }
        }
        coarsest(activation, std::fmax(r1, r2) * a, finer, &inner);
        full = full || inner.full();
        inner.each(strip, [&](double along, double share) {
            s[filled] = along;
            d[filled] = line;
            weight[filled] = line_weight * share;
            if (++filled == kBatch) {
                flush();
            }
        });
    });
    if (filled > 0) {
        flush();
    }
    const double sides = equal ? 2.0 : 1.0;
    Covariance out;
    out.value = sides * sum[0];
    out.difference = 0.5 * sides * sum[1];
    out.slope = sides * sum[2];
    out.slope_difference = 0.5 * sides * sum[3];
    out.slope_pair = sides * sum[4];
    out.value_error = nested_error(std::fmax(r1, r2)) * sides * sum[5] + kErrorLeast;
    out.slope_error = nested_error(std::fmax(r1, r2)) * sides * sum[6] + kErrorLeast;
    out.status = full ? Status::not_converged : Status::ok;
    return out;
}

} // namespace quadrature

} // namespace fisherfield
