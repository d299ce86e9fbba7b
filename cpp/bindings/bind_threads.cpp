// SPDX-License-Identifier: BSD-3-Clause
#include "bindings.hpp"
#include "threads.hpp"

namespace fisherfield {

void bind_threads(py::module_& module) {
    module.def("set_num_threads", &set_num_threads, py::arg("threads"));
    module.def("num_threads", &num_threads);
}

} // namespace fisherfield
