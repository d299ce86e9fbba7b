// SPDX-License-Identifier: BSD-3-Clause
#include <algorithm>
#include <stdexcept>
#include <string>
#include <vector>

#include "bindings.hpp"
#include "positions/positions.hpp"

namespace fisherfield {

namespace {

using Array = DenseArray<double>;

// A Python function of an array and its derivative. Worker threads call it: each call takes the GIL.
class PythonFunction final : public Callable {
public:
    PythonFunction(py::object function, py::object slope) : function_(std::move(function)), slope_(std::move(slope)) {}
    PythonFunction(const PythonFunction&) = delete;
    PythonFunction& operator=(const PythonFunction&) = delete;
    ~PythonFunction() override {
        const py::gil_scoped_acquire gil;
        function_ = {};
        slope_ = {};
    }

    void evaluate(const double* x, double* value, double* slope, int n) const override {
        const py::gil_scoped_acquire gil;
        const py::array_t<double> points(n, x);
        call(function_, "activation", points, value, n);
        if (slope != nullptr) {
            call(slope_, "slope", points, slope, n);
        }
    }

private:
    static void call(const py::object& function, const char* name, const py::array_t<double>& x, double* out, int n) {
        const Array result = Array::ensure(function(x));
        if (!result) {
            throw py::type_error(std::string(name) + " must map an array to an array of numbers");
        }
        if (result.ndim() != 1 || result.size() != n) {
            throw py::value_error(std::string(name) + " must map an array to an array of the same shape, got " +
                                  std::to_string(result.size()) + " values for " + std::to_string(n));
        }
        for (int i = 0; i < n; ++i) {
            if (!std::isfinite(result.data()[i])) {
                throw py::value_error(std::string(name) + " must be finite where it is integrated, got " +
                                      std::string(py::str(py::float_(result.data()[i]))) +
                                      " at x = " + std::string(py::str(py::float_(x.data()[i]))));
            }
        }
        std::copy_n(result.data(), n, out);
    }

    py::object function_, slope_;
};

ActivationHandle named(const std::string& name, const std::vector<double>& parameters) {
    const auto* const end = std::end(kActivationNames);
    const auto* const entry = std::find(std::begin(kActivationNames), end, name);
    if (entry == end) {
        throw py::value_error("unknown activation " + name);
    }
    if (parameters.size() > kMaxDegree + 1) {
        throw py::value_error(name + " takes at most " + std::to_string(kMaxDegree + 1) + " parameters, got " +
                              std::to_string(parameters.size()));
    }
    const Kind kind = static_cast<Kind>(entry - std::begin(kActivationNames));
    const Activation activation = make_activation(kind, parameters.data(), static_cast<int>(parameters.size()));
    if (activation.degree < 0 || activation.degree > kMaxDegree) {
        throw py::value_error("the degree of " + name + " must be between 0 and " + std::to_string(kMaxDegree) +
                              ", got " + std::to_string(activation.degree));
    }
    return {activation, nullptr};
}

ActivationHandle callable(py::object function, py::object slope, const std::vector<double>& kinks) {
    if (kinks.size() > kMaxKinks) {
        throw py::value_error("kinks must be at most " + std::to_string(kMaxKinks) + " points, got " +
                              std::to_string(kinks.size()));
    }
    ActivationHandle handle;
    handle.owner = std::make_shared<PythonFunction>(std::move(function), std::move(slope));
    handle.activation.kind = Kind::callable;
    handle.activation.callable = handle.owner.get();
    handle.activation.kink_count = static_cast<int>(kinks.size());
    std::copy(kinks.begin(), kinks.end(), handle.activation.kinks);
    return handle;
}

py::tuple evaluated(const ActivationHandle& handle, const Array& x) {
    const std::vector<py::ssize_t> shape(x.shape(), x.shape() + x.ndim());
    py::array_t<double> value(shape), slope(shape);
    evaluate(handle.activation, x.data(), value.mutable_data(), slope.mutable_data(), static_cast<int>(x.size()));
    return py::make_tuple(value, slope);
}

bool is_homogeneous(const ActivationHandle& handle) {
    Rays rays{};
    return homogeneous(handle.activation, &rays);
}

} // namespace

void bind_activations(py::module_& module) {
    py::class_<ActivationHandle>(module, "Activation")
        .def(py::init(&named), py::arg("name"), py::arg("parameters") = std::vector<double>())
        .def("evaluate", &evaluated, py::arg("x"), "phi(x) and phi'(x)")
        .def_property_readonly(
            "kinks",
            [](const ActivationHandle& handle) {
                const Activation& phi = handle.activation;
                return std::vector<double>(phi.kinks, phi.kinks + phi.kink_count);
            },
            "where phi or phi' jumps")
        .def_property_readonly("homogeneous", &is_homogeneous, "phi(t x) = t phi(x) for t > 0")
        .def(
            "cheap", [](const ActivationHandle& handle, double shift) { return cheap(handle.activation, shift); },
            py::arg("shift"), "whether convolutions keep none of its integrals");
    module.def("CallableActivation", &callable, py::arg("function"), py::arg("slope"), py::arg("kinks"),
               "a Python function, its derivative and its kinks");
    module.def(
        "activation_names",
        [] { return std::vector<std::string>(std::begin(kActivationNames), std::end(kActivationNames)); },
        "the named activations");
    module.attr("MAX_DEGREE") = kMaxDegree;
}

} // namespace fisherfield
