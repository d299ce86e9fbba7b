// SPDX-License-Identifier: BSD-3-Clause
// Gaussian integrals as NumPy ufuncs.
#pragma once

#include <string>

#include "bindings.hpp"
#include "integrals.hpp"

namespace fisherfield {

Integral integral_named(const std::string& name);

// A numpy.ufunc of task.inputs() operands; `owner` is kept alive with it.
py::object make_ufunc(const Task& task, std::shared_ptr<const Callable> owner, const std::string& name,
                      const std::string& doc, const std::string& activation);

} // namespace fisherfield
