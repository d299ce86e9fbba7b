// SPDX-License-Identifier: BSD-3-Clause
// A scan's arguments as Python gives them, and its results as Python gets them, whoever does the work.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "bind_network.hpp"
#include "bind_settings.hpp"
#include "scan/scan.hpp"

namespace fisherfield {

using Varied = std::tuple<std::string, int, AlignedArray<double>>; // field, layer or -1, values
using ScanFunction = std::function<void(const ScanRequest& request, const std::vector<double*>& out,
                                        std::int8_t* status, const std::function<void(long)>& pause)>;

inline Slot slot_of(const Network& network, const Varied& varied, std::size_t dimensions) {
    const auto& [name, place, values] = varied;
    if (static_cast<std::size_t>(values.ndim()) != dimensions) {
        throw py::value_error("a slot has as many dimensions as the box");
    }
    Plane plane{values.data(), {}};
    for (std::size_t axis = 0; axis < dimensions; ++axis) {
        const auto side = static_cast<py::ssize_t>(axis);
        plane.strides.push_back(values.shape(side) == 1 ? 0 : values.strides(side) / static_cast<long>(sizeof(double)));
    }
    return fisherfield::slot_of(network, name, place, std::move(plane));
}

// ({quantity: array}, status) for every point of a box of parameters.
inline py::tuple scanned(const ScanFunction& scan, const NetworkHandle& handle, const py::handle& settings,
                         const py::handle& descent, const std::vector<long>& shape, const std::vector<Varied>& slots,
                         const std::vector<std::string>& quantities, int threads, const py::object& pause,
                         std::vector<std::shared_ptr<const Table>> tables, std::optional<double> edges, bool sharp) {
    const Settings assumed = settings_of(settings);
    const Network& network = handle.seen_by(assumed.theory);
    ScanRequest request{network,
                        assumed,
                        descent_of(descent),
                        loss_of(descent),
                        shape,
                        {},
                        {},
                        threads,
                        std::move(tables),
                        {edges.has_value(), edges.value_or(0.0)},
                        sharp};
    for (const auto& slot : slots) {
        request.slots.push_back(slot_of(network, slot, shape.size()));
    }
    py::dict results;
    std::vector<double*> out;
    for (const std::string& name : quantities) {
        request.quantities.push_back(enumerator<Quantity>(kQuantityNames, name));
        std::vector<long> extents = shape;
        if (of_layers(request.quantities.back())) {
            extents.push_back(network.layers);
        }
        py::array_t<double> array(extents);
        out.push_back(array.mutable_data());
        results[py::str(name)] = array;
    }
    py::array_t<std::int8_t> status(shape);
    std::int8_t* const to = status.mutable_data();
    {
        const py::gil_scoped_release release;
        scan(request, out, to, [&](long done) {
            const py::gil_scoped_acquire gil;
            if (PyErr_CheckSignals() != 0) {
                throw py::error_already_set();
            }
            if (!pause.is_none()) {
                pause(done);
            }
        });
    }
    return py::make_tuple(results, status);
}

} // namespace fisherfield
