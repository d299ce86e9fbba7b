// SPDX-License-Identifier: BSD-3-Clause
// Sampled units: passes of groups of them, and what one takes.
#include "bind_network.hpp"
#include "bind_settings.hpp"
#include "blas.hpp"
#include "failure.hpp"
#include "scipy_routines.hpp"
#include "units/normals.hpp"
#include "units/products.hpp"
#include "units/walk.hpp"

namespace fisherfield {

namespace {

using sampled_units::Drawing;
using sampled_units::Passed;

std::vector<double> matrix_of(const py::handle& array) {
    const auto numbers = py::array_t<double, py::array::c_style | py::array::forcecast>::ensure(array);
    if (!numbers) {
        throw py::error_already_set();
    }
    return {numbers.data(), numbers.data() + numbers.size()};
}

// units, largest, of_batch, reads, seed, inputs: (xy, v) of the network's positions, or None; gains of layers, or none
Drawing drawing_of(const py::handle& how) {
    static const Attribute units("units"), largest("largest"), of_batch("of_batch"), reads("reads"), seed("seed"),
        inputs("inputs"), gains("gains");
    Drawing out{units.as<long>(how), largest.as<long>(how), of_batch.as<bool>(how), reads.as<long>(how),
                seed.as<std::uint64_t>(how)};
    if (const py::object pair = inputs.of(how); !pair.is_none()) {
        out.xy = matrix_of(pair[py::int_(0)]);
        out.v = matrix_of(pair[py::int_(1)]);
    }
    out.gains = gains.as<std::vector<double>>(how);
    return out;
}

void load_routines() {
    static const bool loaded = [] {
        if (!Blas<float>::in_use().gemm) {
            take_routine("cython_blas", "ssyrk", &Blas<float>::in_use().syrk);
            take_routine("cython_blas", "sgemm", &Blas<float>::in_use().gemm);
        }
        if (!Blas<double>::in_use().gemm) {
            take_routine("cython_blas", "dsyrk", &Blas<double>::in_use().syrk);
            take_routine("cython_blas", "dgemm", &Blas<double>::in_use().gemm);
        }
        take_routine("cython_lapack", "dsyevd", &sampled_units::Lapack::in_use().eigen);
        take_routine("cython_lapack", "dpotrf", &sampled_units::Lapack::in_use().cholesky);
        return true;
    }();
    (void)loaded;
}

// Each group's numbers: (groups,) o and d of the output, and (groups, layers) of every row.
py::object passes(const Record& record, const NetworkHandle& handle, const Settings& settings, const Drawing& how,
                  int threads, int only) {
    load_routines();
    const Network& network = handle.seen_by(settings.theory);
    std::vector<Passed> groups;
    {
        const py::gil_scoped_release release;
        groups = sampled_units::passes(network, settings, how, threads, only);
    }
    const auto count = static_cast<py::ssize_t>(groups.size());
    py::array_t<double> o(count), d(count);
    for (py::ssize_t g = 0; g < count; ++g) {
        o.mutable_data()[g] = groups[g].kernel.o.value();
        d.mutable_data()[g] = groups[g].kernel.d.value();
    }
    py::dict columns;
    for (const Quantity which : {Quantity::fan_in, Quantity::q_hat, Quantity::q_hat_xy, Quantity::v_hat, Quantity::q,
                                 Quantity::q_xy, Quantity::v, Quantity::theta, Quantity::theta_xy, Quantity::d}) {
        py::array_t<double> column({count, static_cast<py::ssize_t>(groups[0].rows.size())});
        for (py::ssize_t g = 0; g < count; ++g) {
            for (std::size_t l = 0; l < groups[g].rows.size(); ++l) {
                column.mutable_at(g, l) = quantity(which, groups[g].rows[l]).value();
            }
        }
        columns[kQuantityNames[static_cast<int>(which)]] = column;
    }
    return record(o, d, columns);
}

} // namespace

void bind_units(py::module_& module) {
    const Record record{module, "UnitPasses", {"o", "d", "rows"}};
    module.def(
        "unit_passes",
        [record](const NetworkHandle& network, const py::handle& settings, const py::handle& drawing, int threads,
                 int only) {
            return passes(record, network, settings_of(settings), drawing_of(drawing), threads, only);
        },
        py::arg("network"), py::arg("settings"), py::arg("drawing"), py::arg("threads") = 0, py::arg("only") = -1,
        "each group's output and rows; BLAS must be kept to one thread");
    const Record needs{module, "UnitNeeds", {"bytes", "products", "written"}};
    module.def(
        "unit_needs",
        [needs](const NetworkHandle& network, const py::handle& settings, const py::handle& drawing) {
            const Settings given = settings_of(settings);
            const sampled_units::Needs of =
                sampled_units::needs_of_pass(network.seen_by(given.theory), given, drawing_of(drawing));
            return needs(of.bytes, of.products, of.written);
        },
        py::arg("network"), py::arg("settings"), py::arg("drawing"),
        "what one group's pass takes: bytes at most, products of numbers in those of matrices, bytes that are written");
    module.def(
        "unit_normals",
        [](std::uint64_t seed, std::uint64_t group, std::uint64_t place, std::uint64_t which, long units, long size) {
            py::array_t<double> out({units, size});
            const std::uint64_t key = sampled_units::key_of(seed, group, place, which);
            for (long i = 0; i < units; ++i) {
                for (long j = 0; j < size; ++j) {
                    const std::uint64_t number = sampled_units::bits(sampled_units::unit_key(key, i), j);
                    out.mutable_at(i, j) = sampled_units::normal_quantile(sampled_units::uniform(number));
                }
            }
            return out;
        },
        py::arg("seed"), py::arg("group"), py::arg("place"), py::arg("which"), py::arg("units"), py::arg("size"),
        "the numbers that units are drawn from");
}

} // namespace fisherfield
