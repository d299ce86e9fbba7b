// SPDX-License-Identifier: BSD-3-Clause
// Routines of BLAS and LAPACK as SciPy hands them to compiled code: capsules whose names are the C signatures.
#pragma once

#include <cstring>
#include <stdexcept>
#include <string>

#include "bindings.hpp"

namespace fisherfield {

template <class Routine>
void take_routine(const char* library, const char* name, Routine* routine) {
    const std::string module = std::string("scipy.linalg.") + library;
    const py::object capsule = py::module_::import(module.c_str()).attr("__pyx_capi__")[name];
    const char* signature = PyCapsule_GetName(capsule.ptr());
    if (signature == nullptr || std::strstr(signature, "int *") == nullptr) {
        throw std::runtime_error("SciPy's " + std::string(library) + " has no " + name + " with 32-bit integers");
    }
    *routine = reinterpret_cast<Routine>(PyCapsule_GetPointer(capsule.ptr(), signature));
}

} // namespace fisherfield
