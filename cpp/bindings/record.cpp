// SPDX-License-Identifier: BSD-3-Clause
#include <vector>

#include "bindings.hpp"

namespace fisherfield {

Record::Record(py::module_& module, const char* name, std::initializer_list<const char*> fields) {
    std::vector<PyStructSequence_Field> described;
    for (const char* const field : fields) {
        described.push_back({field, nullptr});
    }
    described.push_back({nullptr, nullptr});
    const std::string full = "fisherfield._core." + std::string(name);
    PyStructSequence_Desc desc{full.c_str(), nullptr, described.data(), static_cast<int>(fields.size())};
    type_ = PyStructSequence_NewType(&desc);
    if (type_ == nullptr) {
        throw py::error_already_set();
    }
    module.attr(name) = py::reinterpret_borrow<py::object>(reinterpret_cast<PyObject*>(type_));
}

} // namespace fisherfield
