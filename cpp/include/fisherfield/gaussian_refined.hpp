// SPDX-License-Identifier: BSD-3-Clause
// Whether an integral is a number, and meshes refined until two of them agree.
#pragma once

#include "fisherfield/activations.hpp"
#include "fisherfield/gaussian_integrals.hpp"
#include "fisherfield/host_device.hpp"
#include "fisherfield/quadrature_scales.hpp"
#include "fisherfield/scaled.hpp"

namespace fisherfield {

inline constexpr double kAgreement = 1e-13; // of E|integrand|, between a mesh and one half as wide

// |coarse - fine| joins the bound on the error; whether it is small enough.
FISHERFIELD_HD inline bool settled(Scaled coarse, Scaled fine, Scaled* error) {
    const Scaled apart = abs(coarse - fine), size = *error / Scaled(quadrature::kErrorUlps);
    *error = *error + apart;
    return apart <= Scaled(kAgreement) * size;
}

FISHERFIELD_HD inline bool settled(const Moments& coarse, Moments* fine) {
    const bool values =
        settled(coarse.mean, fine->mean, &fine->mean_error) & settled(coarse.second, fine->second, &fine->second_error);
    const bool slopes = settled(coarse.slope_mean, fine->slope_mean, &fine->slope_mean_error) &
                        settled(coarse.slope_second, fine->slope_second, &fine->slope_second_error);
    return values && slopes;
}

FISHERFIELD_HD inline bool settled(const Covariance& coarse, Covariance* fine) {
    const bool values = settled(coarse.value, fine->value, &fine->value_error);
    return settled(coarse.slope, fine->slope, &fine->slope_error) && values;
}

FISHERFIELD_HD inline bool finite(const Moments& x) {
    return x.second.finite() && x.slope_second.finite() && x.u2_slope2.finite();
}

FISHERFIELD_HD inline bool finite(const Covariance& x) {
    return x.value.finite() && x.difference.finite() && x.slope.finite() && x.slope_difference.finite();
}

// A caller's function has no known scale: `integral(level)` is refined until two meshes agree.
template <class Integral>
FISHERFIELD_HD auto refined(const Activation& activation, int levels, Integral&& integral) {
    auto out = integral(0);
    for (int level = 1; activation.kind == Kind::callable && out.status == Status::ok && finite(out); ++level) {
        if (level > levels) {
            out.status = Status::not_converged;
            break;
        }
        auto finer = integral(level);
        const bool done = settled(out, &finer);
        out = finer;
        if (done) {
            break;
        }
    }
    return out;
}

} // namespace fisherfield
