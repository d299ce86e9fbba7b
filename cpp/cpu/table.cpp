// SPDX-License-Identifier: BSD-3-Clause
#include "table.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <mutex>
#include <stdexcept>
#include <thread>

#include "threads.hpp"

namespace fisherfield {

namespace {

// --- what is interpolated ------------------------------------------------------------------------------------------

constexpr int kFields = 2; // the covariance and the slope's

// phi(-x) = -phi(x), or phi(x), at places without any pattern.
Parity parity_of(const Activation& activation) {
    bool odd = true, even = true;
    for (int i = 1; i <= 64; ++i) {
        const double at = 0.11803398874989485 * i, x[2] = {at, -at};
        double value[2], slope[2];
        evaluate(activation, x, value, slope, 2);
        odd = odd && value[1] == -value[0] && slope[1] == slope[0];
        even = even && value[1] == value[0] && slope[1] == -slope[0];
    }
    return odd ? Parity::odd : even ? Parity::even : Parity::none;
}

Parity parity_of_field(Parity phi, int field) {
    return phi == Parity::none ? phi : (phi == Parity::odd) == (field == 0) ? Parity::odd : Parity::even;
}

using Values = std::array<double, kFields>;

// Joins a status to the worst one met; what float64 cannot hold is an overflow.
template <class Numbers>
Numbers finite(const Numbers& x, Status of_x, Status* worst) {
    for (const double one : x) {
        of_x = of_x == Status::ok && !std::isfinite(one) ? Status::overflow : of_x;
    }
    *worst = std::max(*worst, of_x);
    return x;
}

struct Problem {
    Activation activation;
    Parity parity;
    double alpha;
    bool rooted;

    double kappa(double q) const { return 1.0 + alpha * q; }
    double y(double q, double e) const { return std::log(stretched(kappa(q), e, rooted)); }
    double height(double q) const { return y(q, 1.0); }
    // Patches of a column up to q, at most 40 kFinestMesh for q <= 1e12; one more where rounding could reach it.
    int patches(double q, double rate) const { return 1 + static_cast<int>(height(q) * rate + 1e-9); }

    // e at y
    double e(double q, double y) const {
        const double w = std::exp(y), k = kappa(q);
        if (!rooted) {
            return (w - 1.0) * (1.0 + 2.0 * k) / (k * (w + 1.0 + 2.0 * k));
        }
        double low = 0.0, high = 0.5 * kPi; // e = 2 sin^2 of an angle
        while (low < 0.5 * (low + high) && 0.5 * (low + high) < high) {
            const double middle = 0.5 * (low + high), s = std::sin(middle);
            (stretched(k, 2.0 * s * s, true) < w ? low : high) = middle;
        }
        return 2.0 * std::sin(low) * std::sin(low);
    }

    // Next to e, what 1 + c is for some c of float64: functions of sqrt(1 + c) tell them apart.
    static double representable(double e, bool below) { return below ? 1.0 + (e - 1.0) : e; }

    // The integrals at c = 1 - e, or at e - 1.
    Values values(double q, double e, bool below, Status* status) const {
        const double c = 1.0 - e;
        const Correlation at = below ? Correlation{-c, 2.0 - e} : Correlation{c, e};
        const Covariance out = covariance(activation, q, q, at, 0.0, false);
        return finite<Values>({out.value.value(), out.slope.value()}, out.status, status);
    }

    // What a patch holds of them: an odd one over c. Nodes at c = 0 are moved off it by what changes nothing.
    Values stored(double q, double e, bool below, Status* status) const {
        if (std::fabs(1.0 - e) < 1e-9) {
            e = 1.0 - 1e-9;
        }
        Values out = values(q, e, below, status);
        for (int field = 0; field < kFields; ++field) {
            out[field] /= parity_of_field(parity, field) == Parity::odd ? 1.0 - e : 1.0;
        }
        return out;
    }
};

// E phi, E phi^2, E phi', E phi'^2
std::array<double, 4> curves_at(const Problem& problem, double q, Status* status) {
    const Moments out = moments(problem.activation, sqrt(Scaled(q)), 0.0);
    return finite<std::array<double, 4>>(
        {out.mean.value(), out.second.value(), out.slope_mean.value(), out.slope_second.value()}, out.status, status);
}

// --- polynomials in one variable -----------------------------------------------------------------------------------

template <int N>
struct Chebyshev {
    double nodes[N];
    double series[N][N]; // [k][i]: coefficient of T_k from the value at node i
    double powers[N][N]; // [j][k]: coefficient of x^j of T_k
    double slopes[N][N]; // [j][i]: derivative at node j from the value at node i

    Chebyshev() : powers{}, slopes{} {
        for (int i = 0; i < N; ++i) {
            nodes[i] = std::cos(kPi * (i + 0.5) / N);
            for (int k = 0; k < N; ++k) {
                series[k][i] = (k == 0 ? 1.0 : 2.0) / N * std::cos(kPi * k * (i + 0.5) / N);
            }
        }
        // of Lagrange's polynomials: (w_i/w_j)/(x_j - x_i), w_i = (-1)^i sin of node i's angle
        for (int j = 0; j < N; ++j) {
            for (int i = 0; i < N; ++i) {
                if (i != j) {
                    const double ratio = std::sin(kPi * (i + 0.5) / N) / std::sin(kPi * (j + 0.5) / N);
                    slopes[j][i] = ((i + j) % 2 == 0 ? ratio : -ratio) / (nodes[j] - nodes[i]);
                    slopes[j][j] -= slopes[j][i];
                }
            }
        }
        powers[0][0] = powers[1][1] = 1.0;
        for (int k = 2; k < N; ++k) { // T_k = 2 x T_(k-1) - T_(k-2)
            for (int j = 0; j < N; ++j) {
                powers[j][k] = (j > 0 ? 2.0 * powers[j - 1][k - 1] : 0.0) - powers[j][k - 2];
            }
        }
    }

    // Values at places a little beyond the nodes, `stride` apart, become those at the nodes.
    void move_back(double* x, int stride, const double* beyond) const {
        double moved[N];
        for (int j = 0; j < N; ++j) {
            double slope = 0.0;
            for (int i = 0; i < N; ++i) {
                slope += slopes[j][i] * x[i * stride];
            }
            moved[j] = x[j * stride] - beyond[j] * slope;
        }
        for (int j = 0; j < N; ++j) {
            x[j * stride] = moved[j];
        }
    }

    // The values at the nodes, `stride` apart, become coefficients of powers; returns the size of the last T.
    double transform(double* x, int stride) const {
        double t[N];
        for (int k = 0; k < N; ++k) {
            t[k] = 0.0;
            for (int i = 0; i < N; ++i) {
                t[k] += series[k][i] * x[i * stride];
            }
        }
        for (int j = 0; j < N; ++j) {
            double sum = 0.0;
            for (int k = N - 1; k >= j; --k) {
                sum += powers[j][k] * t[k];
            }
            x[j * stride] = sum;
        }
        return std::fabs(t[N - 1]);
    }
};

const Chebyshev<kAcross>& across() {
    static const Chebyshev<kAcross> out;
    return out;
}
const Chebyshev<kAlong>& along() {
    static const Chebyshev<kAlong> out;
    return out;
}

double polynomial_at(const double* k, double x) {
    double sum = 0.0;
    for (int i = kAcross - 1; i >= 0; --i) {
        sum = sum * x + k[i];
    }
    return sum;
}

double patch_at(const double* patch, double x, double y) {
    double sum = 0.0;
    for (int j = kAlong - 1; j >= 0; --j) {
        sum = sum * y + polynomial_at(patch + j * kAcross, x);
    }
    return sum;
}

// --- one column ----------------------------------------------------------------------------------------------------

struct PatchColumn {
    int count = 0;
    std::array<double, 4 * kAcross> curves{};
    Rows patches[kFields][2]; // of c > 0 and c < 0
    double tail_across = 0.0, tail_along = 0.0, error = 0.0;
    Status status = Status::ok;
};

class ColumnWork {
public:
    ColumnWork(const Problem& problem, double left, double right, double rate)
        : problem_(problem), left_(left), right_(right), rate_(rate) {
        const int count = problem.patches(std::exp(right), rate);
        out_.count = count;
        moments();
        for (int below = 0; below < (problem.parity == Parity::none ? 2 : 1); ++below) {
            for (int row = 0; row < count && out_.status == Status::ok; ++row) {
                patch(below != 0, row);
            }
        }
    }

    // Compares the column with values elsewhere: at opposite corners of patches, and within them.
    void check() {
        constexpr double places[][2] = {{-1.0, -1.0}, {1.0, 1.0}, {-0.33, 0.91}, {0.83, -0.27}};
        for (const double x : {-1.0, -0.2, 0.9, 1.0}) {
            const std::array<double, 4> exact = curves_at(problem_, q_at(x), &out_.status);
            for (int k = 0; k < 4; ++k) {
                const double moment = exact[k | 1], unit = (k & 1) != 0 ? moment : std::sqrt(moment);
                note(polynomial_at(&out_.curves[k * kAcross], x) - exact[k], unit, &out_.error);
            }
        }
        for (int below = 0; below < 2; ++below) {
            for (int row = 0; row < out_.count && !out_.patches[0][below].empty(); ++row) {
                for (const auto& place : places) {
                    compare(below != 0, row, place[0], place[1]);
                }
            }
        }
    }

    PatchColumn take() { return std::move(out_); }
    const PatchColumn& column() const { return out_; }

private:
    double q_at(double x) const { return std::exp(0.5 * (left_ + right_) + 0.5 * (right_ - left_) * x); }
    double y_at(int row, double place) const { return (row + 0.5 + 0.5 * place) / rate_; }
    double place_of(int row, double y) const { return 2.0 * (y * rate_ - row) - 1.0; }

    // |error| in units of `unit`; where that is 0 so is the integral
    static void note(double error, double unit, double* largest) {
        if (error != 0.0) {
            *largest = std::fmax(*largest, std::fabs(error) / unit);
        }
    }

    void moments() {
        double values[4][kAcross];
        for (int i = 0; i < kAcross; ++i) {
            const std::array<double, 4> at = curves_at(problem_, q_at(across().nodes[i]), &out_.status);
            for (int k = 0; k < 4; ++k) {
                values[k][i] = at[k];
            }
        }
        least_[0] = *std::min_element(values[1], values[1] + kAcross);
        least_[1] = *std::min_element(values[3], values[3] + kAcross);
        for (int k = 0; k < 4; ++k) {
            const double moment = least_[k / 2], unit = (k & 1) != 0 ? moment : std::sqrt(moment);
            note(across().transform(values[k], 1), unit, &out_.tail_across);
            std::copy_n(values[k], kAcross, &out_.curves[k * kAcross]);
        }
    }

    void patch(bool below, int row) {
        double k[kFields][kPatch];
        for (int i = 0; i < kAcross; ++i) {
            const double q = q_at(across().nodes[i]);
            double beyond[kAlong];
            for (int j = 0; j < kAlong; ++j) {
                const double wanted = problem_.e(q, y_at(row, along().nodes[j]));
                const double e = Problem::representable(wanted, below);
                beyond[j] = place_of(row, problem_.y(q, e)) - along().nodes[j];
                const Values at = problem_.stored(q, e, below, &out_.status);
                for (int field = 0; field < kFields; ++field) {
                    k[field][j * kAcross + i] = at[field];
                }
            }
            for (double* values : k) {
                along().move_back(values + i, kAcross, beyond);
            }
        }
        for (int field = 0; field < kFields; ++field) {
            for (int i = 0; i < kAcross; ++i) {
                note(along().transform(k[field] + i, kAcross), least_[field], &out_.tail_along);
            }
            for (int j = 0; j < kAlong; ++j) {
                note(across().transform(k[field] + j * kAcross, 1), least_[field], &out_.tail_across);
            }
            Rows& patches = out_.patches[field][below];
            patches.insert(patches.end(), k[field], k[field] + kPatch);
        }
    }

    void compare(bool below, int row, double x, double y) {
        const double q = q_at(x), e = Problem::representable(problem_.e(q, y_at(row, y)), below);
        if (e > 1.0) { // the other end's
            return;
        }
        y = place_of(row, problem_.y(q, e));
        const Values exact = problem_.values(q, e, below, &out_.status);
        for (int field = 0; field < kFields; ++field) {
            const double c = below ? e - 1.0 : 1.0 - e;
            const double held = patch_at(&out_.patches[field][below][row * kPatch], x, y) *
                                (parity_of_field(problem_.parity, field) == Parity::odd ? c : 1.0);
            note(held - exact[field], least_[field], &out_.error);
        }
    }

    const Problem& problem_;
    const double left_, right_; // log q
    const double rate_;
    double least_[kFields] = {}; // second moments
    PatchColumn out_;
};

// --- all columns ---------------------------------------------------------------------------------------------------

constexpr double kSafety = 4.0; // between the error seen and the one promised
// The last term of a series is some thirty times what is left of it; half of the error wanted.
constexpr double kTail = 2.0;
constexpr int kPilots = 8; // columns by which a mesh is chosen
// Columns, and patches per unit of y: beyond, a table would have a terabyte, and counts of patches must fit into an
// int.
constexpr double kFinestMesh = 0x1p20;

class Builder {
public:
    Builder(const TableRequest& request, const std::function<void()>& pause)
        : request_(request), pause_(pause), tail_(kTail * request.error),
          problem_{request.activation, parity_of(request.activation), 4.0, false}, left_(std::log(request.low)),
          width_(std::log(request.high) - left_),
          columns_(1 + static_cast<int>(3.0 * width_)), // q^(+-1) <= 1e12: < 170
          rate_(1.25) {
        // What a kink does to covariances is sharper than what any bend of width 1 does.
        if (request.activation.kink_count > 0) {
            problem_.rooted = true;
            problem_.alpha = 16.0;
            rate_ = 2.5;
        }
    }

    TableResult run() {
        TableResult out;
        for (int attempt = 0; attempt < 8 && !failed(); ++attempt) {
            while (!failed() && refined(built(std::min(kPilots, columns_), false))) {
            }
            const std::vector<PatchColumn> all = built(columns_, true);
            double error = 0.0;
            for (const PatchColumn& one : all) {
                error = std::fmax(error, one.error);
            }
            if (!failed() && kSafety * error <= request_.error) {
                out.contents = assembled(all, kSafety * error);
                return out;
            }
            if (!refined(all)) {
                tail_ *= 0.3;
            }
        }
        out.status = status_;
        out.too_large = status_ == Status::ok;
        return out;
    }

private:
    bool failed() const { return status_ != Status::ok || too_large_; }

    // `count` of the columns, from the first to the last of them.
    std::vector<PatchColumn> built(int count, bool check) {
        too_large_ = columns_ > kFinestMesh || rate_ > kFinestMesh || bytes() > request_.bytes;
        std::vector<PatchColumn> out(count);
        const std::thread::id caller = std::this_thread::get_id();
        parallel_for(count, [&](long k) {
            if (!failed()) {
                const int place = count == 1 ? 0 : static_cast<int>(k * (columns_ - 1) / (count - 1));
                ColumnWork work(problem_, edge(place), edge(place + 1), rate_);
                if (check && work.column().status == Status::ok) {
                    work.check();
                }
                out[k] = work.take();
                raise(&status_, out[k].status);
            }
            if (std::this_thread::get_id() == caller) {
                pause_();
            }
        });
        return out;
    }

    // A finer mesh where the series of some column fall too slowly.
    bool refined(const std::vector<PatchColumn>& some) {
        double across = 0.0, along = 0.0;
        for (const PatchColumn& one : some) {
            across = std::fmax(across, one.tail_across);
            along = std::fmax(along, one.tail_along);
        }
        // at most 2 kFinestMesh, beyond which nothing is built
        columns_ = across > tail_ ? static_cast<int>(std::ceil(columns_ * growth(across, kAcross))) : columns_;
        rate_ *= along > tail_ ? growth(along, kAlong) : 1.0;
        return across > tail_ || along > tail_;
    }

    double growth(double tail, int terms) const {
        return std::clamp(1.05 * std::pow(tail / tail_, 1.0 / terms), 1.1, 2.0);
    }

    double edge(int column) const { return left_ + width_ * column / columns_; }

    double bytes() const {
        double patches = 0.0;
        for (int i = 1; i <= columns_; ++i) {
            patches += problem_.patches(std::exp(edge(i)), rate_);
        }
        return 8.0 * kFields * kPatch * (problem_.parity == Parity::none ? 2.0 : 1.0) * patches;
    }

    Table::Contents assembled(const std::vector<PatchColumn>& all, double error) const {
        Table::Contents out{request_.low, request_.high,   columns_,        rate_, problem_.alpha,
                            error,        problem_.rooted, problem_.parity, {},    {}};
        for (int k = 0; k < 4; ++k) {
            for (const PatchColumn& one : all) {
                out.curves.insert(out.curves.end(), &one.curves[k * kAcross], &one.curves[k * kAcross] + kAcross);
            }
        }
        for (int field = 0; field < kFields; ++field) {
            for (int below = 0; below < 2; ++below) {
                for (const PatchColumn& one : all) {
                    const Rows& patches = one.patches[field][below];
                    out.patches[field].insert(out.patches[field].end(), patches.begin(), patches.end());
                }
            }
        }
        return out;
    }

    const TableRequest& request_;
    const std::function<void()>& pause_;
    double tail_;
    Problem problem_;
    const double left_, width_; // of log q
    int columns_;
    double rate_; // patches per unit of y
    std::atomic<bool> too_large_{false};
    std::atomic<Status> status_{Status::ok};
};

} // namespace

Table::Table(Contents contents) : contents_(std::move(contents)) {
    const double origin = std::log(contents_.low), width = std::log(contents_.high) - origin;
    const auto columns = static_cast<double>(contents_.columns);
    // The last place of the last column: short of its end by what rounding q's logarithm may add.
    const double end = columns - std::fmax(0x1p-40, columns * 0x1p-50);
    columns_ = {contents_.low, contents_.high, origin, columns / width, end};
    const Problem problem{{}, contents_.parity, contents_.alpha, contents_.rooted};
    std::ptrdiff_t first = 0;
    for (long i = 0; i < contents_.columns; ++i) {
        first_.push_back(first);
        const double right = origin + width * static_cast<double>(i + 1) / columns;
        first += kPatch * static_cast<std::ptrdiff_t>(problem.patches(std::exp(right), contents_.rate));
    }
    // What was stored elsewhere may come back damaged; kernels trust these counts.
    const auto all = static_cast<std::size_t>(first) * (contents_.parity == Parity::none ? 2 : 1);
    if (contents_.curves.size() != 4 * kAcross * first_.size() || contents_.patches[0].size() != all ||
        contents_.patches[1].size() != all) {
        throw std::invalid_argument("the parts of a table must fit together");
    }
}

std::size_t Table::bytes() const {
    return sizeof(double) * (contents_.curves.size() + contents_.patches[0].size() + contents_.patches[1].size()) +
           sizeof(first_[0]) * first_.size();
}

bool Table::block(Integral which, bool one_minus_c, const double* const* operands, int count, double* out) const {
    const TableKernels kernels = table_kernels();
    if (!of_two(which)) {
        constexpr int places[] = {0, 1, 2, 3}; // in Contents::curves, in the order of Integral
        const double* curves = contents_.curves.data() + places[static_cast<int>(which)] * kAcross * first_.size();
        return kernels.curve({columns_, curves}, operands[0], count, out);
    }
    const int field = which == Integral::slope_covariance;
    const Rows& patches = contents_.patches[field];
    const Surface surface{
        columns_,       first_.data(),   patches.data(),   static_cast<std::ptrdiff_t>(patches.size() / 2),
        contents_.rate, contents_.alpha, contents_.rooted, parity_of_field(contents_.parity, field)};
    return kernels.surface(surface, operands[0], operands[1], one_minus_c, count, out);
}

TableResult tabulate(const TableRequest& request, const std::function<void()>& pause) {
    return Builder(request, pause).run();
}

} // namespace fisherfield
