// SPDX-License-Identifier: BSD-3-Clause
// Along the real axis of the bulk's equations: where the bulk ends, its density, and how many eigenvalues lie above.
#include "bulk.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "bulk_equations.hpp"

namespace fisherfield {

namespace {

constexpr double kHalf = 0.62996052494743658; // (1/2)^(2/3)

// From solution to solution in z, by steps along the tangent that are halved where Newton's method fails.
class Path {
public:
    explicit Path(Equations* of) : equations(of) {}

    bool begin(Complex at) {
        equations->start(at, &u);
        return jump(at);
    }

    // From the unknowns as they are.
    bool jump(Complex at) {
        z = at;
        if (!equations->solve(at, &u)) {
            return false;
        }
        slope = equations->tangent(&tangent);
        return true;
    }

    // By one step along the tangent; nothing changes where it fails.
    bool step(Complex target) {
        Path next = *this;
        for (std::size_t i = 0; i < u.size(); ++i) {
            next.u[i] += tangent[i] * (target - z);
        }
        if (!next.jump(target)) {
            return false;
        }
        *this = std::move(next);
        return true;
    }

    bool to(Complex target) {
        double share = 1.0;
        for (int tries = 0; tries < 80 && share > 1e-4; ++tries) {
            const bool last = share == 1.0;
            if (step(last ? target : z + (target - z) * share)) {
                if (last) {
                    return true;
                }
                share = 1.0;
            } else {
                share *= 0.5;
            }
        }
        return false;
    }

    // How far S is from being what lies outside the bulk: Im S over its first term in the height, 1 - 0.
    double outside() const { return z.im * slope.re / equations->s().im; }

    Equations* equations;
    std::vector<Complex> u, tangent;
    Complex z{}, slope{};
};

// All eigenvalues lie above r: heights, and the walk's steps, are relative to what lies between.
constexpr double kWalk = 0.85;
constexpr int kMostSteps = 400;
constexpr double kHeight = 0.05;                          // where the walk is
constexpr double kDown[] = {0.01, 1e-3, 1e-4, 1e-6, 0.0}; // and from there to the axis

bool descend(Path* path, double x, double least) {
    return std::all_of(std::begin(kDown), std::end(kDown),
                       [&](double height) { return path->to(Complex(x, height * (x - least))); });
}

// Half an eigenvalue above: from inside, by Newton's method on above^(2/3), which is straight beside the edge.
double position(const Bulk& bulk) {
    Equations equations(bulk);
    Path walk(&equations);
    const double least = bulk.share * bulk.r;
    double over = bulk.ceiling(), x = least + over;
    if (!walk.begin(Complex(x, over)) || !walk.to(Complex(x, kHeight * over))) {
        return NAN;
    }
    Path inside = walk;
    double above = 0.0;
    for (int k = 0; above < 0.5; ++k) {
        over *= kWalk;
        x = least + over;
        if (k == kMostSteps || !walk.to(Complex(x, kHeight * over))) {
            return NAN;
        }
        if (walk.outside() < 0.5) {
            inside = walk;
            if (!descend(&inside, x, least)) {
                return NAN;
            }
            above = equations.inside(inside.u) ? equations.above(x, inside.u) : 0.0;
        }
    }
    for (int k = 0; k < 60; ++k) {
        const double value = std::pow(above, 2.0 / 3.0);
        const double full = (kHalf - value) / (2.0 / 3.0 * value / above * equations.above_slope(x, inside.u));
        double step = std::fmin(full, 0.2 * (x - least));
        for (int halvings = 0;; ++halvings) {
            Path next = inside;
            const double number =
                next.step(Complex(x + step)) && equations.inside(next.u) ? equations.above(x + step, next.u) : 0.0;
            if (number > 0.0) {
                inside = std::move(next);
                above = number;
                break;
            }
            if (halvings == 30) {
                return NAN;
            }
            step *= 0.5;
        }
        x += step;
        if (std::fabs(full) <= 1e-10 * x) { // the error behind a step of Newton's method is its square
            return x;
        }
    }
    return NAN;
}

// Where the real solution that comes from above ends: 1/S'^2 is 0 there and convex above, so that secants come down. At
// kNear of x from it 1 - update' is singular to 1e-3 only, and the last two secants are off by 1e-11 of x.
constexpr double kFar = 0.1, kCloser = 0.03, kNear = 1e-6;

double end_of(const Bulk& bulk) {
    Equations equations(bulk);
    Path path(&equations);
    double x = 2.0 * bulk.ceiling(), step = kFar * x;
    if (!path.begin(Complex(x))) {
        return NAN;
    }
    for (int k = 0; k < 1000; ++k) {
        Path next = path;
        if (!next.step(Complex(x - step)) || !(equations.sign() > 0.0)) {
            step *= 0.5;
            continue;
        }
        const double f = 1.0 / (path.slope.re * path.slope.re), below = 1.0 / (next.slope.re * next.slope.re);
        const double rest = below * step / (f - below); // down to the edge
        x -= step;
        path = std::move(next);
        if (!(f > below)) {
            return NAN;
        }
        if (rest < kNear * x) {
            return x - rest;
        }
        step = std::fmin((1.0 - kCloser) * rest, kFar * x);
    }
    return NAN;
}

} // namespace

double Bulk::ceiling() const {
    const double sum = std::sqrt(share) + widths;
    return d * sum * sum;
}

double Bulk::edge() const {
    if (!(d > 0.0)) {
        return d == 0.0 ? 0.0 : NAN;
    }
    if (layers.empty() && share == 0.0) { // all N_0 eigenvalues are one
        return alpha[0] * v0;
    }
    const bool sharp = share == 0.0 && !outlier;
    return sharp ? end_of(*this) : position(*this);
}

void Bulk::spectrum(const double* x, int count, double* density, double* above) const {
    std::vector<int> order(count);
    for (int i = 0; i < count; ++i) {
        order[i] = i;
        density[i] = above[i] = NAN;
    }
    std::sort(order.begin(), order.end(), [&](int i, int j) { return x[i] > x[j]; });
    const double least = share * r, top = std::fmax(ceiling(), count > 0 ? x[order[0]] - least : 0.0);
    Equations equations(*this);
    Path walk(&equations);
    bool there = walk.begin(Complex(least + top, top)) && walk.to(Complex(least + top, kHeight * top));
    double over = top;
    for (const int i : order) {
        if (!(x[i] > least)) {
            density[i] = 0.0;
            above[i] = 1.0 / share;
            continue;
        }
        while (there && (over > x[i] - least)) {
            over = std::fmax(kWalk * over, x[i] - least);
            there = walk.to(Complex(least + over, kHeight * over));
        }
        Path down = walk;
        if (there && descend(&down, x[i], least)) {
            density[i] = std::fmax(down.u[0].im, 0.0) / kPi;
            above[i] = std::fmax(equations.above(x[i], down.u), 0.0);
        }
    }
}

} // namespace fisherfield
