// SPDX-License-Identifier: BSD-3-Clause
#include <vector>

#include "bind_network.hpp"
#include "bind_settings.hpp"
#include "failure.hpp"
#include "sensitivity.hpp"

namespace fisherfield {

namespace {

template <class Number>
py::array_t<double> column(const std::vector<Sensitivity>& rows, Number&& number) {
    py::array_t<double> out(static_cast<py::ssize_t>(rows.size()));
    for (size_t i = 0; i < rows.size(); ++i) {
        out.mutable_data()[i] = Scaled(number(rows[i])).value();
    }
    return out;
}

// q, xy, mean, t, divisor and centre, a row each.
py::array_t<double> rates(const std::vector<Sensitivity>& rows, Rates Sensitivity::* which) {
    py::array_t<double> out({py::ssize_t{6}, static_cast<py::ssize_t>(rows.size())});
    for (size_t i = 0; i < rows.size(); ++i) {
        const Rates& at = rows[i].*which;
        const Scaled numbers[]{at.q, at.xy, at.mean, at.t, at.divisor, at.centre};
        for (py::ssize_t k = 0; k < 6; ++k) {
            out.mutable_at(k, static_cast<py::ssize_t>(i)) = numbers[k].value();
        }
    }
    return out;
}

py::object sensitivities(const Record& record, const NetworkHandle& handle, const Settings& settings) {
    const Network& network = handle.seen_by(settings.theory);
    Sensitivities found;
    {
        const py::gil_scoped_release release;
        found = fisherfield::sensitivities(network, settings);
        if (found.status != Status::ok) {
            throw Failure(found.status, network.nodes[found.node].place, 0);
        }
    }
    const std::vector<Sensitivity>& rows = found.rows;
    const auto node = [&](const Sensitivity& row) -> const Node& { return network.nodes[row.node]; };
    return record(column(rows, [&](const auto& row) { return row.node < 0 ? -1.0 : node(row).place; }),
                  column(rows, [&](const auto& row) { return row.node < 0 ? -1.0 : node(row).layer; }),
                  column(rows, [&](const auto& row) { return row.node < 0 ? 0.0 : node(row).units; }),
                  column(rows, [](const auto& row) { return row.normed ? 1.0 : 0.0; }),
                  column(rows, [](const auto& row) { return row.in.xy; }),
                  column(rows, [](const auto& row) { return row.in.v; }),
                  column(rows, [](const auto& row) { return row.in.mean; }),
                  column(rows, [](const auto& row) { return row.in.kernel.o; }), rates(rows, &Sensitivity::lambda),
                  rates(rows, &Sensitivity::sample), column(rows, [](const auto& row) { return row.worth; }),
                  column(rows, [](const auto& row) { return row.worth_d; }));
}

} // namespace

void bind_sensitivity(py::module_& module) {
    // A row for the data, then for each phi, a linear one where none was asked for. step: of Network.steps, -1 for the
    // data; lambda_rates, sample_rates: six rows, by the numbers of Rates
    const Record record{module,
                        "Sensitivities",
                        {"step", "layer", "units", "normed", "xy", "v", "mean", "o", "lambda_rates", "sample_rates",
                         "worth", "worth_d"}};
    module.def(
        "sensitivities",
        [record](const NetworkHandle& network, const py::handle& settings) {
            return sensitivities(record, network, settings_of(settings));
        },
        py::arg("network"), py::arg("settings"));
    module.def(
        "output_state",
        [](const NetworkHandle& handle, const py::handle& settings) {
            const Settings given = settings_of(settings);
            const Network& network = handle.seen_by(given.theory);
            OutputState output;
            {
                const py::gil_scoped_release release;
                output = output_state(network, given);
                if (output.status != Status::ok) {
                    throw Failure(output.status, network.nodes[output.node].place, 0);
                }
            }
            return py::make_tuple(output.z.xy.value(), output.z.v.value());
        },
        py::arg("network"), py::arg("settings"), "xy and v of the outputs, without their mean");
}

} // namespace fisherfield
