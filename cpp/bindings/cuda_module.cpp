// SPDX-License-Identifier: BSD-3-Clause
#include "bind_scan.hpp"
#include "device_scan.hpp"

namespace fisherfield {

namespace {

void def_scan(py::module_& module, const char* name, ScanFunction work, const char* doc) {
    module.def(
        name,
        [work = std::move(work)](const NetworkHandle& network, const py::handle& settings, const py::handle& descent,
                                 const std::vector<long>& shape, const std::vector<Varied>& slots,
                                 const std::vector<std::string>& quantities, const py::object& pause,
                                 std::optional<double> edges) {
            return scanned(work, network, settings, descent, shape, slots, quantities, 1, pause, {}, edges, true);
        },
        py::arg("network"), py::arg("settings"), py::arg("descent"), py::arg("shape"), py::arg("slots"),
        py::arg("quantities"), py::arg("pause"), py::arg("edges") = py::none(), doc);
}

py::list devices() {
    py::list out;
    for (const cuda::Device& device : cuda::devices()) {
        py::dict entry;
        entry["name"] = device.name;
        entry["capability"] = py::make_tuple(device.major, device.minor);
        entry["processors"] = device.processors;
        entry["clock"] = device.clock;
        entry["memory"] = device.memory;
        entry["bandwidth"] = device.bandwidth;
        entry["single_to_double"] = device.single_to_double;
        out.append(entry);
    }
    return out;
}

} // namespace

} // namespace fisherfield

PYBIND11_MODULE(_cuda, module) {
    using namespace fisherfield;
    module.doc() = "Scans on a CUDA device; networks are those of fisherfield._core.";
    // Both modules look into one register of types, if one compiler made them.
    py::module_::import("fisherfield._core");
    if (py::detail::get_type_info(typeid(NetworkHandle)) == nullptr) {
        throw py::import_error("fisherfield._cuda and fisherfield._core were built apart: build fisherfield again");
    }
    def_scan(module, "scan", &cuda::scan, "({quantity: array}, status) for every point of a box of parameters");
    def_scan(module, "rehearse", &cuda::rehearse, "The same by the host, from the arrays that a device would get");
    module.def("devices", &devices, "What devices there are, with the figures that limit them");
}
