// SPDX-License-Identifier: BSD-3-Clause
#include "bind_network.hpp"

namespace fisherfield {

void bind_network(py::module_& module) {
    py::class_<Network::Spot>(module, "Spot");
    py::class_<NetworkHandle>(module, "Network")
        .def(py::init<const std::vector<int>&, bool>(), py::arg("input_shape"), py::arg("for_units") = false)
        .def(
            "affine",
            [](NetworkHandle& handle, int units, const Pair& kernel, const Pair& stride, const Pair& padding,
               const Pair& dilation, int groups, bool biases, double sigma_w2, double sigma_b2) {
                handle.network().affine(units, {kernel, stride, padding, dilation}, groups, biases, sigma_w2, sigma_b2);
            },
            py::arg("units"), py::arg("kernel"), py::arg("stride"), py::arg("padding"), py::arg("dilation"),
            py::arg("groups"), py::arg("biases"), py::arg("sigma_w2"), py::arg("sigma_b2"),
            "a dense layer is a convolution of kernel (1, 1)")
        .def("activation", &NetworkHandle::activation, py::arg("activation"))
        .def(
            "average_pool",
            [](NetworkHandle& handle, const Pair& kernel, const Pair& stride, const Pair& padding) {
                handle.network().average_pool({kernel, stride, padding});
            },
            py::arg("kernel"), py::arg("stride"), py::arg("padding"))
        .def(
            "upsample", [](NetworkHandle& handle, const Pair& times) { handle.network().upsample(times); },
            py::arg("times"), "every position so many times, side by side")
        .def(
            "max_pool",
            [](NetworkHandle& handle, const Pair& kernel, const Pair& stride, const Pair& padding) {
                handle.network().max_pool({kernel, stride, padding});
            },
            py::arg("kernel"), py::arg("stride"), py::arg("padding"))
        .def(
            "subsample",
            [](NetworkHandle& handle, int channels, const Pair& stride) {
                handle.network().subsample(channels, stride);
            },
            py::arg("channels"), py::arg("stride"))
        .def("flatten", [](NetworkHandle& handle) { handle.network().flatten(); })
        .def(
            "layer",
            [](NetworkHandle& handle, const std::string& kind, const std::vector<double>& numbers, bool trained,
               const Network::Units& units) { handle.network().layer(kind, numbers, trained, units); },
            py::arg("kind"), py::arg("numbers"), py::arg("trained") = false, py::arg("units") = Network::Units{},
            "a layer that is nothing but its numbers, the first of which each unit may have for itself")
        .def(
            "spot", [](NetworkHandle& handle) { return handle.network().at; }, "where the next layer comes to stand")
        .def(
            "stand", [](NetworkHandle& handle, const Network::Spot& spot) { handle.network().at = spot; },
            py::arg("spot"))
        .def(
            "add",
            [](NetworkHandle& handle, const Network::Spot& branch, const Network::Spot& skip, double scale) {
                handle.network().add(branch, skip, scale);
            },
            py::arg("branch"), py::arg("skip"), py::arg("scale"),
            "skip + scale branch, of what two spots were left with")
        .def("finish", [](NetworkHandle& handle) { handle.network().finish(); });
}

} // namespace fisherfield
