// SPDX-License-Identifier: BSD-3-Clause
#include <algorithm>
#include <atomic>
#include <string>

#include "bindings.hpp"
#include "fisherfield/gaussian.hpp"
#include "threads.hpp"

namespace fisherfield {

namespace {

using Array = py::array_t<double, py::array::c_style | py::array::forcecast>;

// Results beside the worst status among them, as its number.
py::tuple finish(py::array_t<double> out, Status status) {
    return py::make_tuple(std::move(out), static_cast<int>(status));
}

constexpr long kBlock = 16; // values a thread takes at a time: each may cost a quadrature

template <class Integral>
py::tuple integrate(const Array& like, Integral&& integral) {
    py::array_t<double> out(like.size());
    double* result = out.mutable_data();
    const long count = like.size();
    std::atomic<Status> worst{Status::ok};
    {
        const py::gil_scoped_release release;
        parallel_for((count + kBlock - 1) / kBlock, [&](long block) {
            for (long i = block * kBlock; i < std::min(count, (block + 1) * kBlock); ++i) {
                Status status = Status::ok;
                result[i] = integral(i, &status).value();
                raise(&worst, status);
            }
        });
    }
    return finish(std::move(out), worst);
}

Scaled pick(const Moments& moments, const std::string& which) {
    return which == "mean"            ? moments.mean
           : which == "second_moment" ? moments.second
           : which == "slope_mean"    ? moments.slope_mean
                                      : moments.slope_second;
}

py::tuple moment(const ActivationHandle& phi, const std::string& which, const Array& q, const Array& shift) {
    return integrate(q, [&, q = q.data(), shift = shift.data()](long i, Status* status) {
        const Moments out = moments(phi.activation, sqrt(Scaled(q[i])), shift[i]);
        *status = out.status;
        return pick(out, which);
    });
}

py::tuple pair_covariance(const ActivationHandle& phi, const std::string& which, const Array& q1, const Array& q2,
                          const Array& c, const Array& one_minus_c, const Array& shift) {
    return integrate(q1, [&, q1 = q1.data(), q2 = q2.data(), c = c.data(), rest = one_minus_c.data(),
                          shift = shift.data()](long i, Status* status) {
        const Covariance out = covariance(phi.activation, q1[i], q2[i], {c[i], rest[i]}, shift[i]);
        *status = out.status;
        return which == "covariance" ? out.value : out.slope;
    });
}

} // namespace

void bind_gaussian(py::module_& module) {
    module.def("moment", &moment, py::arg("activation"), py::arg("which"), py::arg("q"), py::arg("shift"),
               "one of mean, second_moment, slope_mean, slope_second_moment on flat arrays of equal length");
    module.def("covariance", &pair_covariance, py::arg("activation"), py::arg("which"), py::arg("q1"), py::arg("q2"),
               py::arg("c"), py::arg("one_minus_c"), py::arg("shift"),
               "covariance or slope_covariance on flat arrays of equal length");
}

} // namespace fisherfield
