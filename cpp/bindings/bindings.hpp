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

// Arrays as the core reads them: of this type, each number where one of its type may lie, and one after the other in C
// order unless strides are read. NumPy copies what is not so: a field of packed records, a part of a message (Dask,
// MPI).
inline constexpr int kAligned = py::detail::npy_api::NPY_ARRAY_ALIGNED_;
template <class T>
using AlignedArray = py::array_t<T, py::array::forcecast | kAligned>;
template <class T>
using DenseArray = py::array_t<T, py::array::forcecast | kAligned | py::array::c_style>;

// An activation as Python holds it; a callable one owns the caller's functions.
struct ActivationHandle {
    Activation activation;
    std::shared_ptr<const Callable> owner;
};

void bind_failure(py::module_& module);
void bind_activations(py::module_& module);
void bind_gaussian(py::module_& module);
void bind_table(py::module_& module);
void bind_network(py::module_& module);
void bind_fisher(py::module_& module);
void bind_scan(py::module_& module);
void bind_sampled(py::module_& module);
void bind_threads(py::module_& module);

} // namespace fisherfield
