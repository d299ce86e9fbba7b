// SPDX-License-Identifier: BSD-3-Clause
// What the bindings share; one function a concept, listed in module.cpp.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <initializer_list>
#include <iterator>
#include <memory>
#include <string>
#include <type_traits>

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

// The enumerator of this name.
template <class Name, std::size_t count>
Name enumerator(const char* const (&names)[count], const std::string& name) {
    const auto at = std::find(std::begin(names), std::end(names), name);
    if (at == std::end(names)) {
        throw py::key_error(name);
    }
    return static_cast<Name>(at - std::begin(names));
}

// Results with named fields: a struct sequence (as os.stat_result), made and read without a search by name.
class Record {
public:
    Record(py::module_& module, const char* name, std::initializer_list<const char*> fields);

    template <class... Fields>
    py::object operator()(const Fields&... fields) const {
        py::object out = py::reinterpret_steal<py::object>(PyStructSequence_New(type_));
        Py_ssize_t place = 0;
        (PyStructSequence_SetItem(out.ptr(), place++, object_of(fields).release().ptr()), ...);
        return out;
    }

private:
    template <class T>
    static py::object object_of(const T& field) {
        if constexpr (std::is_base_of_v<py::object, T>) {
            return field;
        } else {
            return py::cast(field);
        }
    }

    PyTypeObject* type_; // lives as long as the process
};

void bind_failure(py::module_& module);
void bind_activations(py::module_& module);
void bind_gaussian(py::module_& module);
void bind_table(py::module_& module);
void bind_network(py::module_& module);
void bind_edge(py::module_& module);
void bind_fisher(py::module_& module);
void bind_sensitivity(py::module_& module);
void bind_scan(py::module_& module);
void bind_sampled(py::module_& module);
void bind_units(py::module_& module);
void bind_threads(py::module_& module);

} // namespace fisherfield
