// SPDX-License-Identifier: BSD-3-Clause
#include "bindings.hpp"

PYBIND11_MODULE(_core, module) {
    using namespace fisherfield;
    module.doc() = "The C++ core of fisherfield; its arguments have been checked by the Python modules.";
    bind_failure(module);     // Failure, Status
    bind_activations(module); // Activation, CallableActivation, activation_names
    bind_gaussian(module);    // moments, covariance
    bind_table(module);       // Table, tabulate
    bind_network(module);     // Network
    bind_fisher(module);      // order_parameters, fisher, contributions, max_learning_rate
    bind_edge(module);        // edge, bulk_spectrum
    bind_sensitivity(module); // sensitivities, output_state
    bind_scan(module);
    bind_sampled(module); // Linearization64, Linearization32
    bind_units(module);
    bind_threads(module); // set_num_threads, num_threads
}
