// SPDX-License-Identifier: BSD-3-Clause
// The bulk at finite width: where it ends, and its density.
#include <cmath>

#include "bind_network.hpp"
#include "bind_settings.hpp"
#include "bulk.hpp"
#include "one_sample.hpp"

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
        "sample_moments",
        [](const ActivationHandle& phi, double scale, double shift) {
            const SampleMoments m = sample_moments(phi.activation, scale, shift);
            return py::make_tuple(m.mean, m.variance, m.square, m.slope, m.mean_slope, m.forward, m.read, m.backward,
                                  m.of_variance, m.of_square, m.of_slope, m.variance_square, m.variance_slope,
                                  m.square_slope);
        },
        py::arg("activation"), py::arg("scale"), py::arg("shift"), "what one_sample.hpp lists, in its order");
    module.def(
        "sample_lengths",
        [](const ActivationHandle& phi, double scale, double shift, double mean, double length, double share) {
            const SampleLengths at = sample_lengths(phi.activation, scale, shift, mean, length, share);
            return py::make_tuple(at.variance, at.square, at.slope);
        },
        py::arg("activation"), py::arg("scale"), py::arg("shift"), py::arg("mean"), py::arg("length"), py::arg("share"),
        "mean squares over the units that see a sample of this length");
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
