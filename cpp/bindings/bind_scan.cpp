// SPDX-License-Identifier: BSD-3-Clause
#include "bind_scan.hpp"

namespace fisherfield {

void bind_scan(py::module_& module) {
    module.def(
        "scan",
        [](const NetworkHandle& network, const py::handle& settings, const py::handle& descent,
           const std::vector<long>& shape, const std::vector<Varied>& slots, const std::vector<std::string>& quantities,
           int threads, const py::object& pause, const std::vector<std::shared_ptr<Table>>& tables,
           std::optional<double> edges, bool sharp) {
            return scanned(&scan, network, settings, descent, shape, slots, quantities, threads, pause,
                           {tables.begin(), tables.end()}, edges, sharp);
        },
        py::arg("network"), py::arg("settings"), py::arg("descent"), py::arg("shape"), py::arg("slots"),
        py::arg("quantities"), py::arg("threads"), py::arg("pause"),
        py::arg("tables") = std::vector<std::shared_ptr<Table>>(), py::arg("edges") = py::none(),
        py::arg("sharp") = false, "({quantity: array}, status) for every point of a box of parameters");
}

} // namespace fisherfield
