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
inline Settings settings_of(const py::handle& settings) {
    const py::object samples = settings.attr("samples");
    return {enumerator<Theory>(kTheoryNames, attribute<std::string>(settings, "theory")),
            samples.is_none() ? 0.0 : samples.cast<double>(), attribute<double>(settings, "overlap"),
            attribute<double>(settings, "length"), attribute<bool>(settings, "biases")};
}

// momentum, nesterov, weight_decay
inline Descent descent_of(const py::handle& descent) {
    return {attribute<double>(descent, "momentum"), attribute<bool>(descent, "nesterov"),
            attribute<double>(descent, "weight_decay")};
}

inline Loss loss_of(const py::handle& descent) {
    return enumerator<Loss>(kLossNames, attribute<std::string>(descent, "loss"));
}

} // namespace fisherfield
