// SPDX-License-Identifier: BSD-3-Clause
// What the theory assumes, and the descent, as Python holds them: one object each, read by the names of its attributes.
#pragma once

#include "bindings.hpp"
#include "fisherfield/learning_rate.hpp"
#include "fisherfield/settings.hpp"

namespace fisherfield {

template <class T>
T attribute(const py::handle& object, const char* name) {
    return object.attr(name).cast<T>();
}

// theory, samples (None: infinitely many), overlap, length, biases
inline Settings settings_of(const py::handle& given) {
    const py::object samples = given.attr("samples");
    return {enumerator<Theory>(kTheoryNames, attribute<std::string>(given, "theory")),
            samples.is_none() ? 0.0 : samples.cast<double>(), attribute<double>(given, "overlap"),
            attribute<double>(given, "length"), attribute<bool>(given, "biases")};
}

// momentum, nesterov, weight_decay
inline Descent descent_of(const py::handle& given) {
    return {attribute<double>(given, "momentum"), attribute<bool>(given, "nesterov"),
            attribute<double>(given, "weight_decay")};
}

inline Loss loss_of(const py::handle& descent) {
    return enumerator<Loss>(kLossNames, attribute<std::string>(descent, "loss"));
}

} // namespace fisherfield
