// SPDX-License-Identifier: BSD-3-Clause
// What the bindings share; one function a concept, listed in module.cpp.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <memory>

#include "fisherfield/activations.hpp"

namespace fisherfield {

namespace py = pybind11;

// An activation as Python holds it; a callable one owns the caller's functions.
struct ActivationHandle {
    Activation activation;
    std::shared_ptr<const Callable> owner;
};

void bind_activations(py::module_& module);
void bind_gaussian(py::module_& module);
void bind_table(py::module_& module);
void bind_network(py::module_& module);
void bind_fisher(py::module_& module);
void bind_scan(py::module_& module);
void bind_sampled(py::module_& module);
void bind_threads(py::module_& module);

} // namespace fisherfield
