// SPDX-License-Identifier: BSD-3-Clause
#include <string>
#include <vector>

#include "table.hpp"
#include "ufuncs.hpp"

namespace fisherfield {

namespace {

py::array_t<double> array(const Rows& x) { return py::array_t<double>(static_cast<py::ssize_t>(x.size()), x.data()); }

Rows rows(const py::handle& x) {
    const auto numbers = x.cast<DenseArray<double>>();
    return Rows(numbers.data(), numbers.data() + numbers.size());
}

py::tuple contents(const Table& table) {
    const Table::Contents& x = table.contents();
    return py::make_tuple(x.low, x.high, x.columns, x.rate, x.alpha, x.error, x.rooted, static_cast<int>(x.parity),
                          array(x.curves), array(x.patches[0]), array(x.patches[1]));
}

std::shared_ptr<Table> restored(const py::tuple& x) {
    return std::make_shared<Table>(Table::Contents{x[0].cast<double>(),
                                                   x[1].cast<double>(),
                                                   x[2].cast<long>(),
                                                   x[3].cast<double>(),
                                                   x[4].cast<double>(),
                                                   x[5].cast<double>(),
                                                   x[6].cast<bool>(),
                                                   static_cast<Parity>(x[7].cast<int>()),
                                                   rows(x[8]),
                                                   {rows(x[9]), rows(x[10])}});
}

// A table, where its integrals are ok and it is not too large.
struct Tabulated {
    std::shared_ptr<Table> table;
    Status status;
    bool too_large;
};

// `hear` is called while columns are made, on the thread of the caller.
Tabulated tabulated(const ActivationHandle& phi, double low, double high, double error, double bytes,
                    const py::function& hear) {
    TableResult out;
    {
        const py::gil_scoped_release release;
        out = tabulate({phi.activation, low, high, error, bytes}, [&hear] {
            const py::gil_scoped_acquire gil;
            if (PyErr_CheckSignals() != 0) {
                throw py::error_already_set();
            }
            hear();
        });
    }
    const bool made = out.status == Status::ok && !out.too_large;
    return {made ? std::make_shared<Table>(std::move(out.contents)) : nullptr, out.status, out.too_large};
}

py::object table_ufunc(const std::shared_ptr<Table>& table, const std::string& which, bool one_minus_c,
                       const std::string& name, const std::string& doc, py::object refuse) {
    Task task;
    task.which = integral_named(which);
    task.one_minus_c = one_minus_c;
    task.table = table;
    return make_ufunc(task, nullptr, name, doc, std::move(refuse));
}

} // namespace

void bind_table(py::module_& module) {
    py::class_<Table, std::shared_ptr<Table>>(module, "Table")
        .def_property_readonly("bytes", &Table::bytes)
        .def_property_readonly("error", [](const Table& table) { return table.contents().error; })
        .def(py::pickle(&contents, &restored));
    py::class_<Tabulated>(module, "Tabulated")
        .def_readonly("table", &Tabulated::table)
        .def_readonly("status", &Tabulated::status)
        .def_readonly("too_large", &Tabulated::too_large);
    module.def("tabulate", &tabulated, py::arg("activation"), py::arg("low"), py::arg("high"), py::arg("error"),
               py::arg("bytes"), py::arg("hear"),
               "a Tabulated; without a table where it would be larger, or an integral has no number");
    module.def("table_ufunc", &table_ufunc, py::arg("table"), py::arg("which"), py::arg("one_minus_c"), py::arg("name"),
               py::arg("doc"), py::arg("refuse"), "a numpy.ufunc of q, or of q and c or 1 - c, that reads a table");
}

} // namespace fisherfield
