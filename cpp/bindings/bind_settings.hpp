// SPDX-License-Identifier: BSD-3-Clause
// What the theory assumes, and the descent, as Python holds them: one object each, read by the names of its attributes.
#pragma once

#include "bindings.hpp"
#include "fisherfield/learning_rate.hpp"
#include "fisherfield/settings.hpp"

namespace fisherfield {

// An attribute's name as Python keeps it: made once, for a call of the theory takes a microsecond.
class Attribute {
public:
    explicit Attribute(const char* name) : name_(PyUnicode_InternFromString(name)) {}

    py::object of(const py::handle& object) const {
        PyObject* const value = PyObject_GetAttr(object.ptr(), name_);
        if (value == nullptr) {
            throw py::error_already_set();
        }
        return py::reinterpret_steal<py::object>(value);
    }

    template <class T>
    T as(const py::handle& object) const {
        return of(object).cast<T>();
    }

private:
    PyObject* name_; // lives as long as the process
};

// theory, samples (None: infinitely many), overlap, length, biases
inline Settings settings_of(const py::handle& settings) {
    static const Attribute theory("theory"), samples("samples"), overlap("overlap"), length("length"), biases("biases");
    const py::object n = samples.of(settings);
    return {enumerator<Theory>(kTheoryNames, theory.as<std::string>(settings)), n.is_none() ? 0.0 : n.cast<double>(),
            overlap.as<double>(settings), length.as<double>(settings), biases.as<bool>(settings)};
}

// momentum, nesterov, weight_decay
inline Descent descent_of(const py::handle& descent) {
    static const Attribute momentum("momentum"), nesterov("nesterov"), weight_decay("weight_decay");
    return {momentum.as<double>(descent), nesterov.as<bool>(descent), weight_decay.as<double>(descent)};
}

inline Loss loss_of(const py::handle& descent) {
    static const Attribute loss("loss");
    return enumerator<Loss>(kLossNames, loss.as<std::string>(descent));
}

} // namespace fisherfield
