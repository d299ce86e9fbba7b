// SPDX-License-Identifier: BSD-3-Clause
#include "integrals.hpp"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <limits>
#include <mutex>
#include <thread>

#include "threads.hpp"

namespace fisherfield {

namespace {

using Clock = std::chrono::steady_clock;

constexpr double kEps = std::numeric_limits<double>::epsilon();

// How many values a thread takes at a time. By kernels, what takes as long as starting a thread; else few,
// since each may cost a quadrature. And the least work for which threads are started.
constexpr std::ptrdiff_t kByKernel = 128 * kBlock, kByQuadrature = 4;
constexpr std::ptrdiff_t kWorthThreads = 8 * kByKernel;
constexpr std::chrono::microseconds kWorthTime{200};

double read(const StridedColumn& column, std::ptrdiff_t i) {
    const char* at = column.data + i * column.stride;
    if (column.single) {
        float x;
        std::memcpy(&x, at, sizeof x);
        return x;
    }
    double x;
    std::memcpy(&x, at, sizeof x);
    return x;
}

bool write(const StridedColumn& column, std::ptrdiff_t i, double value) {
    char* at = column.data + i * column.stride;
    if (column.single) {
        const float x = static_cast<float>(value);
        std::memcpy(at, &x, sizeof x);
        return std::isinf(x);
    }
    std::memcpy(at, &value, sizeof value);
    return std::isinf(value);
}

bool contiguous(const StridedColumn& column) { return !column.single && column.stride == sizeof(double); }

// A block as float64 without gaps; beyond `count` the last one over and over. The loops over whole blocks are those
// that a compiler makes vectors of.
void gather(const StridedColumn& column, std::ptrdiff_t first, int count, double* out) {
    if (column.stride == 0) {
        std::fill(out, out + kBlock, read(column, 0));
    } else if (count == kBlock && column.single && column.stride == sizeof(float)) {
        const float* from = reinterpret_cast<const float*>(column.data) + first;
        for (int i = 0; i < kBlock; ++i) {
            out[i] = from[i];
        }
    } else {
        for (int i = 0; i < count; ++i) {
            out[i] = read(column, first + i);
        }
        std::fill(out + count, out + kBlock, out[count - 1]);
    }
}

// Returns whether one of them is infinite, in float32 too.
bool scatter(const StridedColumn& column, std::ptrdiff_t first, int count, const double* values) {
    bool overflow = false;
    if (count == kBlock && column.single && column.stride == sizeof(float)) {
        float* to = reinterpret_cast<float*>(column.data) + first;
        float largest = 0.0F;
        for (int i = 0; i < kBlock; ++i) {
            to[i] = static_cast<float>(values[i]);
        }
        for (int i = 0; i < kBlock; ++i) {
            const float size = std::fabs(to[i]);
            largest = size > largest ? size : largest;
        }
        return std::isinf(largest);
    }
    for (int i = 0; i < count; ++i) {
        overflow |= write(column, first + i, values[i]);
    }
    return overflow;
}

struct Range {
    double low, high;
};

Range range_of(const Task& task, int operand) {
    if (operand < task.variances()) {
        return task.table ? Range{task.table->low(), task.table->high()} : Range{0.0, kLargest};
    }
    if (operand == task.variances() && of_two(task.which)) {
        return task.one_minus_c ? Range{0.0, 2.0} : Range{-1.0 - 4.0 * kEps, 1.0 + 4.0 * kEps};
    }
    return {-kLargest, kLargest};
}

// Whether a kernel's result holds for an element (kernels.hpp).
bool kernel_holds(const Task& task, const double* x) {
    if (task.takes_shift && x[task.shift_place()] != 0.0) {
        return false;
    }
    if (!of_two(task.which)) {
        return x[0] >= kLeast;
    }
    const double size = std::fabs(x[2]);
    return x[0] * x[1] >= kLeast && (task.one_minus_c || size == 0.0 || (size >= kLeastCorrelation && size <= 1.0));
}

struct Result {
    double value, error;
};

// An integral that overflows is infinite, never NaN.
double infinite(double value) { return std::isnan(value) ? HUGE_VAL : value; }

// One element by gaussian.hpp.
Result exact(const Task& task, const double* x, Status* status) {
    const double shift = task.takes_shift ? x[task.shift_place()] : 0.0;
    const Activation activation =
        task.takes_slope ? make_activation(Kind::leaky_relu, x + task.slope_place(), 1) : task.activation;
    Scaled value, error;
    if (of_two(task.which)) {
        const double c = std::clamp(x[2], -1.0, 1.0);
        const Correlation correlation = task.one_minus_c ? Correlation{1.0 - x[2], x[2]} : Correlation{c, 1.0 - c};
        const Covariance out = covariance(activation, x[0], x[1], correlation, shift, false);
        const bool slope = task.which == Integral::slope_covariance;
        value = slope ? out.slope : out.value;
        error = slope ? out.slope_error : out.value_error;
        *status = out.status;
    } else {
        const Moments out = moments(activation, sqrt(Scaled(x[0])), shift);
        value = task.which == Integral::mean            ? out.mean
                : task.which == Integral::second_moment ? out.second
                : task.which == Integral::slope_mean    ? out.slope_mean
                                                        : out.slope_second;
        error = task.which == Integral::mean            ? out.mean_error
                : task.which == Integral::second_moment ? out.second_error
                : task.which == Integral::slope_mean    ? out.slope_mean_error
                                                        : out.slope_second_error;
        *status = out.status;
    }
    if (*status == Status::ok && value.finite() && !error.finite()) {
        *status = Status::not_converged;
    }
    // What is less than the smallest float64 is 0 or that.
    return {infinite(value.value()), infinite(error.value()) + std::numeric_limits<double>::denorm_min()};
}

// What the terms of a kernel's sum exceed the sum by in size: 0 where they have one sign.
double cancelled(const Task& task, const double* x, double slope) {
    if (!of_two(task.which)) {
        return 0.0;
    }
    const double a = x[0] * x[1], r = std::sqrt(a), c = task.one_minus_c ? 1.0 - x[2] : x[2];
    const double plus = task.one_minus_c ? 2.0 - x[2] : 1.0 + x[2], minus = task.one_minus_c ? x[2] : 1.0 - x[2];
    if (task.activation.kind == Kind::leaky_relu) {
        const double odd = 0.5 + 0.5 * slope;
        return task.which == Integral::covariance ? 2.0 * r * std::fabs(slope * c)
               : slope < 0.0                      ? 2.0 * odd * odd
                                                  : 0.0;
    }
    if (task.activation.kind == Kind::gelu && c < 0.0) {
        // the terms of the formulas in kernels.cpp, over 2 pi
        const double p2 = a * c * c, d = a * minus * plus + 1.0 + (x[0] + x[1]), e = d + p2;
        const double h = (2.0 + (x[0] + x[1])) / e, s = std::atan2(std::sqrt(d), std::sqrt(p2));
        if (task.which == Integral::slope_covariance) {
            const double sine = std::sin(s), cosine = std::cos(s), w = a * minus * plus;
            return (p2 <= d ? s : sine * sine * s + (sine * cosine * (w + 1.0) + cosine / sine) / d) / kPi;
        }
        return (p2 <= d ? r * std::fabs(c) * s : (1.0 + d * h) / std::sqrt(d)) / kPi;
    }
    return 0.0;
}

// Whether the kernel sums over pairs of noises, a fraction of a microsecond a value; others take nanoseconds.
bool sums_over_noises(Kind kind) {
    smoothed_step::Family family{};
    return smoothed_step::family(kind, &family) && family.count > 1;
}

// A bound on a kernel's error: kUlps units in the last place of what it adds up; e^-x has x more. Twice the greatest
// error seen against mpmath over the whole domain (tests/test_ufuncs.py).
double kernel_error(const Task& task, const double* x, double slope, double value) {
    constexpr double ulps = 8.0, least = std::numeric_limits<double>::denorm_min();
    if (std::isinf(value)) {
        return value;
    }
    double size = std::fabs(value);
    switch (task.activation.kind) {
    case Kind::sin:
    case Kind::cos:
    case Kind::exp:
    case Kind::rbf:
        size *= size > 0.0 ? 1.0 + std::fabs(std::log(size)) : 1.0; // what is 0 may have been too small
        break;
    default:
        size += cancelled(task, x, slope);
        if (size == 0.0) {
            return 0.0;
        }
        break;
    }
    return ulps * kEps * size + 4.0 * least;
}

// What the threads of one call share.
class Loop {
public:
    Loop(const Task& task, const StridedColumn* inputs, const StridedColumn* outputs,
         const std::function<void()>& pause)
        : task_(task), inputs_(inputs), outputs_(outputs), pause_(pause),
          kernel_(kernel_of(task.activation.kind, task.which, task.one_minus_c)),
          sums_(sums_over_noises(task.activation.kind)) {}

    bool only_kernel() const { return by_block() && !task_.takes_shift; }
    bool cheap() const { return only_kernel() && !sums_; }
    // How many values a thread takes at a time.
    std::ptrdiff_t grain() const { return cheap() ? kByKernel : only_kernel() ? kBlock : kByQuadrature; }

    // Whether element i lies in all ranges; else it is noted.
    bool check(std::ptrdiff_t i, const double* x) {
        for (int operand = 0; operand < task_.inputs(); ++operand) {
            const Range range = range_of(task_, operand);
            if (!(x[operand] >= range.low && x[operand] <= range.high)) {
                const std::lock_guard<std::mutex> lock(noting_);
                if (report_.place < 0 || i < report_.place) {
                    report_.place = i;
                    report_.operand = operand;
                    report_.received = x[operand];
                }
                return false;
            }
        }
        return true;
    }

    bool check_all(std::ptrdiff_t count) {
        for (std::ptrdiff_t i = 0; i < count; ++i) {
            double x[kMaxOperands];
            for (int k = 0; k < task_.inputs(); ++k) {
                x[k] = read(inputs_[k], i);
            }
            if (!check(i, x)) {
                return false;
            }
        }
        return true;
    }

    // Elements first .. last - 1.
    void run(std::ptrdiff_t first, std::ptrdiff_t last) {
        for (std::ptrdiff_t i = first; i < last; i += kBlock) {
            block(i, static_cast<int>(std::min<std::ptrdiff_t>(kBlock, last - i)));
        }
        if (std::this_thread::get_id() == caller_) {
            const auto now = Clock::now();
            if (now - paused_ > std::chrono::milliseconds(100)) {
                paused_ = now;
                pause_();
            }
        }
    }

    Report report() const {
        Report out = report_;
        out.status = status_;
        out.overflow = overflow_;
        return out;
    }

private:
    void block(std::ptrdiff_t first, int count) {
        double buffer[kMaxOperands][kBlock], results[kBlock], errors[kBlock];
        const double* operands[kMaxOperands + 1] = {}; // one more, for a slope that is none
        for (int k = 0; k < task_.inputs(); ++k) {
            if (count == kBlock && contiguous(inputs_[k])) {
                operands[k] = reinterpret_cast<const double*>(inputs_[k].data) + first;
            } else {
                gather(inputs_[k], first, count, buffer[k]);
                operands[k] = buffer[k];
            }
        }
        // Straight to where they belong, unless an operand that may be asked for once more stands there.
        double* values = results;
        if (task_.value && count == kBlock && contiguous(outputs_[0])) {
            double* const out = reinterpret_cast<double*>(outputs_[0].data) + first;
            values = std::find(operands, operands + task_.inputs(), out) == operands + task_.inputs() ? out : results;
        }
        const bool done = by_block() && some_without_shift(operands, count) && by_kernel(operands, count, values) &&
                          !task_.takes_shift && !task_.bound;
        for (int i = 0; i < count && !done; ++i) {
            double x[kMaxOperands];
            for (int k = 0; k < task_.inputs(); ++k) {
                x[k] = operands[k][i];
            }
            element(first + i, x, &values[i], &errors[i]);
        }
        if (done && values != results) { // and all finite
            return;
        }
        const bool overflow = task_.value && scatter(outputs_[0], first, count, values);
        if (task_.bound) {
            scatter(outputs_[task_.value], first, count, errors);
        }
        if (overflow) {
            overflow_ = true;
        }
    }

    bool by_block() const { return task_.table || kernel_ != nullptr; }

    bool some_without_shift(const double* const* operands, int count) const {
        const double* shifts = operands[task_.shift_place()];
        return !task_.takes_shift || std::find(shifts, shifts + count, 0.0) != shifts + count;
    }

    bool by_kernel(const double* const* operands, int count, double* values) const {
        if (task_.table) {
            return task_.table->block(task_.which, task_.one_minus_c, operands, count, values);
        }
        double slopes[kBlock];
        const double* slope = operands[task_.slope_place()];
        if (task_.activation.kind == Kind::leaky_relu && !task_.takes_slope) {
            std::fill(slopes, slopes + kBlock, task_.activation.parameter);
            slope = slopes;
        }
        const double* const two[] = {operands[0], operands[1], operands[2], slope};
        const double* const single[] = {operands[0], slope};
        return kernel_(of_two(task_.which) ? two : single, count, values);
    }

    // |c| beyond 1 by a rounding error: again, with 1.
    double at_the_end(double* x) const {
        x[2] = std::copysign(1.0, x[2]);
        double copies[kMaxOperands][kBlock], values[kBlock];
        const double* operands[kMaxOperands + 1] = {};
        for (int k = 0; k < task_.inputs(); ++k) {
            std::fill(copies[k], copies[k] + kBlock, x[k]);
            operands[k] = copies[k];
        }
        by_kernel(operands, 1, values);
        return values[0];
    }

    // silu's sum has terms of both signs, each with terms of both signs
    bool cancels() const { return task_.activation.kind == Kind::silu && of_two(task_.which); }
    // The error of the same by gaussian.hpp, and how far that is away.
    double distance(const double* x, double value) const {
        Status status = Status::ok;
        const Result other = exact(task_, x, &status);
        return std::isinf(value) ? value : other.error + std::fabs(value - other.value);
    }

    void element(std::ptrdiff_t i, double* x, double* value, double* error) {
        if (!check(i, x)) {
            *value = *error = 0.0;
            return;
        }
        if (task_.table) { // by_kernel has formed it
            return;
        }
        if (kernel_ != nullptr && of_two(task_.which) && !task_.one_minus_c && std::fabs(x[2]) > 1.0) {
            *value = at_the_end(x);
        }
        if (kernel_ != nullptr && kernel_holds(task_, x)) {
            const double slope = task_.takes_slope ? x[task_.slope_place()] : task_.activation.parameter;
            *error = !task_.bound ? 0.0 : cancels() ? distance(x, *value) : kernel_error(task_, x, slope, *value);
        } else {
            Status status = Status::ok;
            const Result result = exact(task_, x, &status);
            *value = result.value;
            *error = result.error;
            if (status != Status::overflow) {
                raise(&status_, status);
            }
        }
    }

    const Task& task_;
    const StridedColumn *inputs_, *outputs_;
    const std::function<void()>& pause_;
    const Kernel kernel_;
    const bool sums_;
    const std::thread::id caller_ = std::this_thread::get_id();
    Clock::time_point paused_ = Clock::now();
    std::mutex noting_;
    Report report_;
    std::atomic<Status> status_{Status::ok};
    std::atomic<bool> overflow_{false};
};

void in_parallel(Loop* loop, std::ptrdiff_t first, std::ptrdiff_t count, std::ptrdiff_t grain) {
    parallel_for(static_cast<long>((count - first + grain - 1) / grain), [&](long row) {
        const std::ptrdiff_t from = first + row * grain;
        loop->run(from, std::min(count, from + grain));
    });
}

} // namespace

const char* operand_name(const Task& task, int operand) {
    static constexpr const char* two[] = {"q1", "q2"};
    if (operand >= task.slope_place()) {
        return task.takes_slope && operand == task.slope_place() ? "slope" : "shift";
    }
    if (operand < task.variances()) {
        return task.variances() == 1 ? "q" : two[operand];
    }
    return task.one_minus_c ? "one_minus_c" : "c";
}

Report integrate(const Task& task, const StridedColumn* inputs, const StridedColumn* outputs, std::ptrdiff_t count,
                 const std::function<void()>& pause) {
    Loop loop(task, inputs, outputs, pause);
    if (loop.cheap()) {
        if (count < kWorthThreads) {
            loop.run(0, count);
        } else {
            in_parallel(&loop, 0, count, kByKernel);
        }
        return loop.report();
    }
    // Nothing is integrated before all is known to be right.
    if (!loop.check_all(count)) {
        return loop.report();
    }
    // Threads only for what remains after as long as starting one takes.
    const auto start = Clock::now();
    std::ptrdiff_t done = 0;
    while (done < count && Clock::now() - start < kWorthTime) {
        const std::ptrdiff_t next = std::min(count, done + loop.grain());
        loop.run(done, next);
        done = next;
    }
    if (done < count) {
        in_parallel(&loop, done, count, loop.grain());
    }
    return loop.report();
}

} // namespace fisherfield
