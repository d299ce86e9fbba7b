// SPDX-License-Identifier: BSD-3-Clause
#include <cmath>

#include "bind_network.hpp"
#include "bind_settings.hpp"
#include "evaluate.hpp"
#include "failure.hpp"

namespace fisherfield {

namespace {

struct Records {
    Record spectrum, rate, order_parameters, contributions;
};

// Runs `body` without the GIL; throws Failure with the described layer where it has no result.
template <class Body>
auto without_gil(const Network& network, Body&& body) {
    const py::gil_scoped_release release;
    const Output output = body();
    if (output.status != Status::ok) {
        throw Failure(output.status, network.nodes[output.node].place, 0);
    }
    return output.kernel;
}

struct Numbers {
    TangentKernel<Scaled> kernel;
    Spectrum<Scaled> spectrum;
    double outputs, multiplicity;
};

Numbers numbers_of(const TangentKernel<Scaled>& kernel, double outputs, double parameters, const Settings& settings) {
    Numbers out{};
    out.kernel = kernel;
    out.outputs = outputs;
    const Shares<double> share = shares(out.outputs, parameters);
    out.spectrum = spectrum(out.kernel, settings, Shares<Scaled>{share.all, share.others});
    out.multiplicity = multiplicity(out.spectrum.outlier, settings, out.outputs, parameters);
    return out;
}

Numbers numbers_of(const NetworkHandle& handle, double parameters, const Settings& settings) {
    const Network& network = handle.seen_by(settings.theory);
    const auto kernel = without_gil(network, [&] { return evaluate(network, settings); });
    return numbers_of(kernel, network.outputs(), parameters, settings);
}

py::object record_of(const Record& record, const Numbers& numbers) {
    const TangentKernel<Scaled>& kernel = numbers.kernel;
    const Spectrum<Scaled>& s = numbers.spectrum;
    bool fit = true;
    for (const Scaled& x : {kernel.o + kernel.d, kernel.o, s.lambda_max, s.bulk, s.mean, s.second_moment}) {
        fit = fit && x.fits();
    }
    return record((kernel.o + kernel.d).value(), kernel.o.value(), s.lambda_max.value(), s.bulk.value(), s.mean.value(),
                  s.second_moment.value(), numbers.multiplicity, s.outlier,
                  is_zero(s.lambda_max) ? -HUGE_VAL : s.lambda_max.log2(), fit);
}

py::array_t<double> column(const std::vector<Row>& rows, Quantity which) {
    py::array_t<double> out(static_cast<py::ssize_t>(rows.size()));
    for (size_t l = 0; l < rows.size(); ++l) {
        out.mutable_data()[l] = quantity(which, rows[l]).value();
    }
    return out;
}

// The first layer with a number beyond float64's range, from 1; 0 if there is none.
int beyond_range(const std::vector<Row>& rows) {
    for (size_t l = 0; l < rows.size(); ++l) {
        const Row& r = rows[l];
        for (const Scaled& x : {r.h.xy, r.h.v, r.z.xy, r.z.v, r.z.kernel.o, r.z.kernel.d}) {
            if (!x.fits()) {
                return static_cast<int>(l) + 1;
            }
        }
    }
    return 0;
}

py::object order_parameters(const Record& record, const NetworkHandle& handle, const Settings& settings) {
    const Network& network = handle.seen_by(settings.theory);
    std::vector<Row> rows;
    without_gil(network, [&] { return evaluate(network, settings, &rows); });
    return record(column(rows, Quantity::fan_in), column(rows, Quantity::q_hat), column(rows, Quantity::q_hat_xy),
                  column(rows, Quantity::v_hat), column(rows, Quantity::q), column(rows, Quantity::q_xy),
                  column(rows, Quantity::v), column(rows, Quantity::theta), column(rows, Quantity::theta_xy),
                  column(rows, Quantity::d), beyond_range(rows));
}

py::object contributions(const Record& record, const NetworkHandle& handle, const Settings& settings) {
    const Network& network = handle.seen_by(settings.theory);
    std::vector<TangentKernel<Scaled>> parts;
    without_gil(network, [&] {
        KeptStates kept;
        const Output output = evaluate(network, settings, nullptr, &kept);
        if (output.status == Status::ok) {
            parts = fisherfield::contributions(network, settings, kept);
        }
        return output;
    });
    const auto count = static_cast<py::ssize_t>(parts.size());
    py::array_t<double> a(count), b(count);
    for (py::ssize_t l = 0; l < count; ++l) {
        a.mutable_data()[l] = (parts[l].o + parts[l].d).value();
        b.mutable_data()[l] = parts[l].o.value();
    }
    return record(a, b);
}

} // namespace

void bind_fisher(py::module_& module) {
    // log2: of lambda_max; fit: whether all others are within float64's range
    const Records records{
        {module,
         "Spectrum",
         {"a", "b", "lambda_max", "bulk", "mean", "second_moment", "multiplicity", "outlier", "log2", "fit"}},
        {module, "LearningRate", {"max_learning_rate", "spectrum"}},
        // of every affine layer; beyond_range: the first one, from 1, with numbers that stand as 0 or inf
        {module,
         "OrderParameters",
         {"fan_in", "q_hat", "q_hat_xy", "v_hat", "q", "q_xy", "v", "theta", "theta_xy", "d", "beyond_range"}},
        {module, "Contributions", {"a", "b"}}}; // each affine layer's part of a and of b
    module.def(
        "fisher",
        [records](const NetworkHandle& network, double parameters, const py::handle& settings) {
            return record_of(records.spectrum, numbers_of(network, parameters, settings_of(settings)));
        },
        py::arg("network"), py::arg("parameters"), py::arg("settings"));
    module.def(
        "spectrum",
        [records](double o, double d, double outputs, double parameters, const py::handle& settings) {
            const TangentKernel<Scaled> kernel{o, d, 0.0, 0.0};
            return record_of(records.spectrum, numbers_of(kernel, outputs, parameters, settings_of(settings)));
        },
        py::arg("o"), py::arg("d"), py::arg("outputs"), py::arg("parameters"), py::arg("settings"));
    module.def(
        "rate_of",
        [](double lambda_max, double outputs, const py::handle& descent) {
            return max_learning_rate(Scaled(lambda_max), descent_of(descent), loss_of(descent), outputs);
        },
        py::arg("lambda_max"), py::arg("outputs"), py::arg("descent"));
    module.def(
        "max_learning_rate",
        [records](const NetworkHandle& network, double parameters, const py::handle& settings,
                  const py::handle& descent) {
            const Numbers numbers = numbers_of(network, parameters, settings_of(settings));
            const double eta =
                max_learning_rate(numbers.spectrum.lambda_max, descent_of(descent), loss_of(descent), numbers.outputs);
            return records.rate(eta, record_of(records.spectrum, numbers));
        },
        py::arg("network"), py::arg("parameters"), py::arg("settings"), py::arg("descent"));
    module.def("step_limit", &step_limit<double>, py::arg("momentum"), py::arg("nesterov"));
    module.def(
        "order_parameters",
        [records](const NetworkHandle& network, const py::handle& settings) {
            return order_parameters(records.order_parameters, network, settings_of(settings));
        },
        py::arg("network"), py::arg("settings"));
    module.def(
        "contributions",
        [records](const NetworkHandle& network, const py::handle& settings) {
            return contributions(records.contributions, network, settings_of(settings));
        },
        py::arg("network"), py::arg("settings"));
}

} // namespace fisherfield
