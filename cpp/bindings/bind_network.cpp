// SPDX-License-Identifier: BSD-3-Clause
#include "bind_network.hpp"

namespace fisherfield {

void bind_network(py::module_& module) {
    py::class_<NetworkHandle>(module, "Network")
        .def(py::init<const std::vector<int>&>(), py::arg("input_shape"))
        .def("dense", &NetworkHandle::dense, py::arg("units"), py::arg("sigma_w2"), py::arg("sigma_b2"))
        .def("conv2d", &NetworkHandle::conv2d, py::arg("channels"), py::arg("kernel"), py::arg("stride"),
             py::arg("padding"), py::arg("sigma_w2"), py::arg("sigma_b2"))
        .def("batch_norm", &NetworkHandle::batch_norm, py::arg("gamma"), py::arg("beta"), py::arg("eps"),
             py::arg("trained"))
        .def("activation", &NetworkHandle::activation, py::arg("activation"))
        .def("average_pool", &NetworkHandle::average_pool, py::arg("kernel"), py::arg("stride"))
        .def("flatten", &NetworkHandle::flatten);
}

} // namespace fisherfield
