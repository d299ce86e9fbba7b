// SPDX-License-Identifier: BSD-3-Clause
// The bulk at finite width: where it ends, and its density.
#include <cmath>

#include "bind_network.hpp"
#include "bind_settings.hpp"
#include "bulk.hpp"

namespace fisherfield {

void bind_edge(py::module_& module) {
    module.def(
        "edge",
        [](const NetworkHandle& handle, const py::handle& settings) {
            const Settings at = settings_of(settings);
            const Network& network = handle.seen_by(at.theory);
            const py::gil_scoped_release release;
            const std::optional<Bulk> bulk = bulk_of(network, at);
            return bulk ? bulk->edge() : NAN;
        },
        py::arg("network"), py::arg("settings"), "NaN of networks that the equations do not describe");
    module.def(
        "bulk_spectrum",
        [](const NetworkHandle& handle, const py::handle& settings, const DenseArray<double>& x) {
            const Settings at = settings_of(settings);
            const Network& network = handle.seen_by(at.theory);
            const auto count = static_cast<py::ssize_t>(x.size());
            py::array_t<double> density(count), above(count);
            double *const rho = density.mutable_data(), *const number = above.mutable_data();
            const double* const points = x.data();
            {
                const py::gil_scoped_release release;
                const std::optional<Bulk> bulk = bulk_of(network, at);
                if (bulk) {
                    bulk->spectrum(points, static_cast<int>(count), rho, number); // no more than fit into an array
                } else {
                    std::fill(rho, rho + count, NAN);
                    std::fill(number, number + count, NAN);
                }
            }
            return py::make_tuple(density, above);
        },
        py::arg("network"), py::arg("settings"), py::arg("x"), "the density at each x, and how many lie above");
}

} // namespace fisherfield
