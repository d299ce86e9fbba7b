// SPDX-License-Identifier: BSD-3-Clause
// Why there are no numbers: the core's status, and Failure as Python's exception with what it says as attributes.
#include <exception>

#include "bindings.hpp"
#include "failure.hpp"

namespace fisherfield {

void bind_failure(py::module_& module) {
    static const py::object type = py::exception<Failure>(module, "Failure");
    py::enum_<Status>(module, "Status")
        .value("ok", Status::ok)
        .value("zero_variance", Status::zero_variance)
        .value("out_of_range", Status::out_of_range)
        .value("not_converged", Status::not_converged)
        .value("overflow", Status::overflow)
        .value("beyond_range", Status::beyond_range)
        .value("inadmissible", Status::inadmissible)
        .value("edge_not_computed", Status::edge_not_computed);
    py::register_exception_translator([](std::exception_ptr thrown) {
        try {
            std::rethrow_exception(thrown);
        } catch (const Failure& failure) {
            const py::object error = type(failure.what());
            error.attr("status") = failure.status;
            error.attr("node") = failure.node;
            error.attr("unit") = failure.unit;
            PyErr_SetObject(type.ptr(), error.ptr());
        }
    });
}

} // namespace fisherfield
