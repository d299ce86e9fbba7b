// SPDX-License-Identifier: BSD-3-Clause
#include <algorithm>
#include <string>

#include "ufuncs.hpp"

namespace fisherfield {

Integral integral_named(const std::string& name) {
    const auto* const entry = std::find(std::begin(kIntegralNames), std::end(kIntegralNames), name);
    if (entry == std::end(kIntegralNames)) {
        throw py::value_error("unknown integral " + name);
    }
    return static_cast<Integral>(entry - std::begin(kIntegralNames));
}

namespace {

// outputs: "value", "bound" or "both"
py::object gaussian_ufunc(const ActivationHandle& phi, const std::string& which, bool one_minus_c, bool slope,
                          bool shift, const std::string& outputs, const std::string& name, const std::string& doc,
                          py::object refuse) {
    Task task;
    task.activation = phi.activation;
    task.which = integral_named(which);
    task.one_minus_c = one_minus_c;
    task.takes_slope = slope;
    task.takes_shift = shift;
    task.value = outputs != "bound";
    task.bound = outputs != "value";
    return make_ufunc(task, phi.owner, name, doc, std::move(refuse));
}

bool has_kernel(const ActivationHandle& phi) {
    return kernel_of(phi.activation.kind, Integral::mean, false) != nullptr;
}

} // namespace

void bind_gaussian(py::module_& module) {
    py::class_<Refusal>(module, "Refusal")
        .def_readonly("status", &Refusal::status)
        .def_readonly("operand", &Refusal::operand)
        .def_readonly("received", &Refusal::received)
        .def_readonly("tabulated", &Refusal::tabulated)
        .def_readonly("low", &Refusal::low)
        .def_readonly("high", &Refusal::high);
    module.def("gaussian_ufunc", &gaussian_ufunc, py::arg("activation"), py::arg("which"), py::arg("one_minus_c"),
               py::arg("slope"), py::arg("shift"), py::arg("outputs"), py::arg("name"), py::arg("doc"),
               py::arg("refuse"),
               "a numpy.ufunc of q, or of q1, q2 and c or 1 - c; then of leaky_relu's slope and of the shift");
    module.def("has_kernel", &has_kernel, py::arg("activation"), "whether its integrals have SIMD kernels");
    module.def("simd_paths", &paths, "the instruction sets that this machine has kernels for, slowest first");
    module.def("simd_path", &path, "the one in use");
    module.def("set_simd_path", &set_path, py::arg("name"), "use another one; False where there is none of that name");
}

} // namespace fisherfield
