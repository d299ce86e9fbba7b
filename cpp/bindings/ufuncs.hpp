// SPDX-License-Identifier: BSD-3-Clause
// Gaussian integrals as NumPy ufuncs.
#pragma once

#include <string>

#include "bindings.hpp"
#include "integrals.hpp"

namespace fisherfield {

Integral integral_named(const std::string& name);

// Why an element of a ufunc's operands has no result.
struct Refusal {
    Status status;       // of an integral; ok where an operand lies outside of its range
    std::string operand; // its name
    double received;     // and its value
    bool tabulated;      // the range is that of a table, low .. high
    double low, high;
};

// A numpy.ufunc of task.inputs() operands; `owner` is kept alive with it. refuse(Refusal) raises.
py::object make_ufunc(const Task& task, std::shared_ptr<const Callable> owner, const std::string& name,
                      const std::string& doc, py::object refuse);

} // namespace fisherfield
