// SPDX-License-Identifier: BSD-3-Clause
#include "bind_network.hpp"
#include "fisher.hpp"
#include "fisherfield/learning_rate.hpp"

namespace fisherfield {

namespace {

Settings settings_of(int theory, double samples, double overlap, double length, bool biases) {
    return {static_cast<Theory>(theory), samples, overlap, length, biases};
}

py::tuple failure(const Outcome<Scaled>& outcome) {
    return py::make_tuple(static_cast<int>(outcome.status), outcome.layer);
}

struct Result {
    Outcome<Scaled> outcome;
    Spectrum<Scaled> spectrum;
    double multiplicity = 0.0;
};

Result compute(const NetworkHandle& handle, const Settings& settings, double parameters) {
    const py::gil_scoped_release release;
    Result result;
    result.outcome = output_kernel(handle.network, settings);
    if (result.outcome.status == Status::ok) {
        const double outputs = handle.network.outputs;
        const Shares<double> share = shares(outputs, parameters);
        result.spectrum = spectrum(result.outcome.kernel, settings, Shares<Scaled>{share.all, share.others});
        result.multiplicity = multiplicity(result.spectrum.outlier, settings, outputs, parameters);
    }
    return result;
}

// (a, b, lambda_max, bulk, mean, second_moment, multiplicity, outlier, log2 of lambda_max, whether all fit float64)
py::tuple numbers(const Result& result) {
    const Source<Scaled>& kernel = result.outcome.kernel;
    const Spectrum<Scaled>& s = result.spectrum;
    bool fit = true;
    for (const Scaled& x : {kernel.o + kernel.d, kernel.o, s.lambda_max, s.bulk, s.mean, s.second_moment}) {
        fit = fit && x.fits();
    }
    return py::make_tuple((kernel.o + kernel.d).value(), kernel.o.value(), s.lambda_max.value(), s.bulk.value(),
                          s.mean.value(), s.second_moment.value(), result.multiplicity, s.outlier,
                          is_zero(s.lambda_max) ? -HUGE_VAL : s.lambda_max.log2(), fit);
}

py::tuple fisher(const NetworkHandle& handle, double parameters, int theory, double samples, double overlap,
                 double length, bool biases) {
    const Result result = compute(handle, settings_of(theory, samples, overlap, length, biases), parameters);
    return result.outcome.status == Status::ok ? numbers(result) : failure(result.outcome);
}

py::tuple learning_rate(const NetworkHandle& handle, double parameters, int theory, double samples, double overlap,
                        double length, bool biases, double momentum, int loss, bool nesterov, double weight_decay) {
    const Result result = compute(handle, settings_of(theory, samples, overlap, length, biases), parameters);
    if (result.outcome.status != Status::ok) {
        return failure(result.outcome);
    }
    const double eta = max_learning_rate(result.spectrum.lambda_max, {momentum, nesterov, weight_decay},
                                         static_cast<Loss>(loss), handle.network.outputs);
    return py::make_tuple(eta, numbers(result), 0);
}

py::array_t<double> column(const std::vector<Row>& rows, Scaled (*pick)(const Row&)) {
    py::array_t<double> out(static_cast<py::ssize_t>(rows.size()));
    for (size_t l = 0; l < rows.size(); ++l) {
        out.mutable_data()[l] = pick(rows[l]).value();
    }
    return out;
}

// The first layer with a number beyond float64's range, from 1; 0 if there is none.
int beyond_range(const std::vector<Row>& rows) {
    for (size_t l = 0; l < rows.size(); ++l) {
        const Row& r = rows[l];
        for (const Scaled& x : {r.h_xy, r.h_v, r.z.xy, r.z.v, r.z.o, r.z.d}) {
            if (!x.fits()) {
                return static_cast<int>(l) + 1;
            }
        }
    }
    return 0;
}

// fan_in, then what feeds each layer and what leaves it
py::tuple order_parameters(const NetworkHandle& handle, int theory, double samples, double overlap, double length,
                           bool biases) {
    std::vector<Row> rows;
    Outcome<Scaled> outcome;
    {
        const py::gil_scoped_release release;
        outcome = output_kernel(handle.network, settings_of(theory, samples, overlap, length, biases), &rows);
    }
    if (outcome.status != Status::ok) {
        return failure(outcome);
    }
    return py::make_tuple(
        column(rows, [](const Row& r) { return Scaled(r.fan_in); }),
        column(rows, [](const Row& r) { return r.h_xy + r.h_v; }), column(rows, [](const Row& r) { return r.h_xy; }),
        column(rows, [](const Row& r) { return r.h_v; }), column(rows, [](const Row& r) { return r.z.xy + r.z.v; }),
        column(rows, [](const Row& r) { return r.z.xy; }), column(rows, [](const Row& r) { return r.z.v; }),
        column(rows, [](const Row& r) { return r.z.o + r.z.d; }), column(rows, [](const Row& r) { return r.z.o; }),
        column(rows, [](const Row& r) { return r.z.d; }), beyond_range(rows));
}

// each affine layer's part of a and of b
py::tuple parts(const NetworkHandle& handle, int theory, double samples, double overlap, double length, bool biases) {
    std::vector<Source<Scaled>> sources;
    Outcome<Scaled> outcome;
    {
        const py::gil_scoped_release release;
        outcome = contributions(handle.network, settings_of(theory, samples, overlap, length, biases), &sources);
    }
    if (outcome.status != Status::ok) {
        return failure(outcome);
    }
    const auto count = static_cast<py::ssize_t>(sources.size());
    py::array_t<double> a(count), b(count);
    for (py::ssize_t l = 0; l < count; ++l) {
        a.mutable_data()[l] = (sources[l].o + sources[l].d).value();
        b.mutable_data()[l] = sources[l].o.value();
    }
    return py::make_tuple(a, b, 0);
}

} // namespace

// A tuple of two integers (status, layer) stands for a failure; the Python side puts it into words.
void bind_fisher(py::module_& module) {
    module.def("fisher", &fisher);
    module.def("max_learning_rate", &learning_rate);
    module.def("step_limit", &step_limit<double>);
    module.def("order_parameters", &order_parameters);
    module.def("contributions", &parts);
}

} // namespace fisherfield
