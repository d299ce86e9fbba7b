// SPDX-License-Identifier: BSD-3-Clause
#include "bind_network.hpp"

namespace fisherfield {

void bind_network(py::module_& module) {
    py::class_<NetworkHandle>(module, "Network")
        .def(py::init<const std::vector<int>&>(), py::arg("input_shape"))
        .def(
            "affine",
            [](NetworkHandle& handle, int units, const Pair& kernel, const Pair& stride, const Pair& padding,
               double sigma_w2,
               double sigma_b2) { handle.network().affine(units, {kernel, stride, padding}, sigma_w2, sigma_b2); },
            py::arg("units"), py::arg("kernel"), py::arg("stride"), py::arg("padding"), py::arg("sigma_w2"),
            py::arg("sigma_b2"), "a dense layer is a convolution of kernel (1, 1)")
        .def(
            "batch_norm",
            [](NetworkHandle& handle, double gamma, double beta, double eps, bool trained) {
                handle.network().batch_norm(gamma, beta, eps, trained);
            },
            py::arg("gamma"), py::arg("beta"), py::arg("eps"), py::arg("trained"))
        .def("activation", &NetworkHandle::activation, py::arg("activation"))
        .def(
            "average_pool",
            [](NetworkHandle& handle, const Pair& kernel, const Pair& stride) {
                handle.network().average_pool({kernel, stride, {0, 0}});
            },
            py::arg("kernel"), py::arg("stride"))
        .def("flatten", [](NetworkHandle& handle) { handle.network().flatten(); });
}

} // namespace fisherfield
