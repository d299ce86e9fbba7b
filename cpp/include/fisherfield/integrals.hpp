// SPDX-License-Identifier: BSD-3-Clause
// Who integrates is an argument of a layer's law: here gaussian.hpp's integrals, exact to 1e-12, of which `held` says
// how many. A scan has others: those of rays on vectors of points, numbers made before, tables (cpp/cpu/scan).
#pragma once

#include "fisherfield/gaussian.hpp"
#include "fisherfield/state.hpp"

namespace fisherfield {

// Of z at two inputs, with u = z/sqrt(q): E phi phi, E phi^2 - that; the same of phi', and of u phi'.
template <class T>
struct Joint {
    T value, difference, slope, slope_difference, u_slope, u_difference;
    Status status = Status::ok;
};

FISHERFIELD_HD inline Scaled mean_squared(const Moments& m) { return m.mean * m.mean; }

template <Integrals held = Integrals::all>
struct Exact {
    const Activation& activation;

    FISHERFIELD_HD_APART Moments independent(Scaled v, Scaled mean) const {
        return moments<held>(activation, sqrt(v), mean.value());
    }

    FISHERFIELD_HD Joint<Scaled> pair(const State<Scaled>& z) const {
        const Scaled q = z.xy + z.v;
        const double shift = z.mean.value();
        const Correlation correlation = is_zero(q) ? Correlation{1.0, 0.0} : Correlation{(z.xy / q).value(), z.v / q};
        Rays rays{};
        const bool straight = homogeneous(activation, &rays) && shift == 0.0;
        const Covariance all =
            straight ? closed_form::rays(rays, q, correlation) : covariance<held>(activation, q, q, correlation, shift);
        Joint<Scaled> out{all.value, all.difference, all.slope, all.slope_difference, 0.0, 0.0, all.status};
        if (is_zero(q) || (is_zero(z.kernel.ou) && is_zero(z.kernel.du))) {
            return out;
        }
        out.u_slope = all.slope_pair / q;
        if (straight) { // u phi'(u) = phi(u)
            out.u_difference = all.difference / q;
        } else {
            const Moments one = independent(q, z.mean);
            out.u_difference = one.u2_slope2 - out.u_slope;
            out.status = out.status != Status::ok ? out.status : one.status;
        }
        return out;
    }
};

} // namespace fisherfield
