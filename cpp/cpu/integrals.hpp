// SPDX-License-Identifier: BSD-3-Clause
// Gaussian integrals over arrays of any stride: by kernels where there is one and it holds, else by gaussian.hpp, value
// by value; or by a table. A result does not depend on its neighbours, its place or the number of threads.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>

#include "fisherfield/gaussian.hpp"
#include "kernels.hpp"
#include "table.hpp"

namespace fisherfield {

// What is integrated, and from which operands: q, or q1, q2 and c or 1 - c; then leaky_relu's slope and the shift,
// where these are operands. From a table: q, or q and c or 1 - c.
struct Task {
    Activation activation;
    Integral which = Integral::mean;
    bool one_minus_c = false, takes_slope = false, takes_shift = false;
    bool value = true, bound = false; // the outputs: the integral, a bound on its error
    std::shared_ptr<const Table> table;

    int variances() const { return of_two(which) && !table ? 2 : 1; }
    int slope_place() const { return variances() + of_two(which); }
    int shift_place() const { return slope_place() + takes_slope; }
    int inputs() const { return shift_place() + takes_shift; }
    int outputs() const { return value + bound; }
};

inline constexpr int kMaxOperands = 5;

const char* operand_name(const Task& task, int operand);

// A column of float64 or float32; the stride is in bytes.
struct StridedColumn {
    char* data;
    std::ptrdiff_t stride;
    bool single;
};

struct Report {
    // the first operand that lies outside of its range: its place, which one, its value
    std::ptrdiff_t place = -1;
    int operand = 0;
    double received = 0.0;
    Status status = Status::ok; // out_of_range or not_converged
    bool overflow = false;      // some result is infinite
};

// `pause` is called every tenth of a second or so by the calling thread; what it throws ends the loop.
Report integrate(const Task& task, const StridedColumn* inputs, const StridedColumn* outputs, std::ptrdiff_t count,
                 const std::function<void()>& pause);

} // namespace fisherfield
