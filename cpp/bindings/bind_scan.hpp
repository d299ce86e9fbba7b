// SPDX-License-Identifier: BSD-3-Clause
// A scan's arguments as Python gives them, and its results as Python gets them, whoever does the work.
#pragma once

#include <algorithm>
#include <functional>
#include <string>
#include <tuple>
#include <vector>

#include "bind_network.hpp"
#include "scan.hpp"

namespace fisherfield {

// samples, overlap, length, momentum, nesterov, weight_decay
using PointSettings = std::tuple<double, double, double, double, bool, double>;
using Varied = std::tuple<std::string, int, AlignedArray<double>>; // field, layer, values
using ScanFunction = std::function<void(const ScanRequest& request, const std::vector<double*>& out,
                                        std::int8_t* status, const std::function<void(long)>& pause)>;

template <class Name, std::size_t count>
Name named(const char* const (&names)[count], const std::string& name) {
    const auto at = std::find(std::begin(names), std::end(names), name);
    if (at == std::end(names)) {
        throw py::key_error(name);
    }
    return static_cast<Name>(at - std::begin(names));
}

inline Slot slot_of(const Varied& given, std::size_t dimensions) {
    const auto& [field, layer, values] = given;
    if (static_cast<std::size_t>(values.ndim()) != dimensions) {
        throw py::value_error("a slot has as many dimensions as the box");
    }
    Slot slot{named<Field>(kFieldNames, field), layer, values.data(), {}};
    for (std::size_t axis = 0; axis < dimensions; ++axis) {
        const auto place = static_cast<py::ssize_t>(axis);
        slot.strides.push_back(values.shape(place) == 1 ? 0
                                                        : values.strides(place) / static_cast<long>(sizeof(double)));
    }
    return slot;
}

// ({quantity: array}, status) for every point of a box of parameters.
inline py::tuple scanned(const ScanFunction& scan, const NetworkHandle& handle, int theory, bool biases, int loss,
                         const PointSettings& settings, const std::vector<long>& shape,
                         const std::vector<Varied>& slots, const std::vector<std::string>& quantities, int threads,
                         const py::object& pause, std::vector<std::shared_ptr<const Table>> tables = {}) {
    const auto [samples, overlap, length, momentum, nesterov, weight_decay] = settings;
    ScanRequest request{handle.network,
                        {static_cast<Theory>(theory), samples, overlap, length, biases},
                        {momentum, nesterov, weight_decay},
                        static_cast<Loss>(loss),
                        shape,
                        {},
                        {},
                        threads,
                        std::move(tables)};
    for (const auto& slot : slots) {
        request.slots.push_back(slot_of(slot, shape.size()));
    }
    py::dict results;
    std::vector<double*> out;
    for (const std::string& name : quantities) {
        request.quantities.push_back(named<Quantity>(kQuantityNames, name));
        std::vector<long> extents = shape;
        if (of_layers(request.quantities.back())) {
            extents.push_back(static_cast<long>(handle.network.blocks.size()));
        }
        py::array_t<double> array(extents);
        out.push_back(array.mutable_data());
        results[py::str(name)] = array;
    }
    py::array_t<std::int8_t> status(shape);
    std::int8_t* const said = status.mutable_data();
    {
        const py::gil_scoped_release release;
        scan(request, out, said, [&](long done) {
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
