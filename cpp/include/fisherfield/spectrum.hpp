// SPDX-License-Identifier: BSD-3-Clause
// The spectrum of the Fisher information matrix from the output's tangent kernel Theta_ii = a, Theta_ij = b.
//
//     lambda_max = max{ (a + (n-1) b)/n, (a - b)/n, mean },   bulk = C (n-1) (a - b)/n / min(C (n-1), P - C),
//     mean = C a/P,   second moment = (C/P) (a^2 + (n-1) b^2)/n        (KAA; docs/theory.md, section 2: also n C > P)
#pragma once

#include <cmath>

#include "fisherfield/scaled.hpp"
#include "fisherfield/settings.hpp"
#include "fisherfield/state.hpp"

namespace fisherfield {

// For C outputs and P parameters: C/P, and C/(P - C), a number beyond all others where no parameter is left.
template <class T>
struct Shares {
    T all, others;
};

FISHERFIELD_HD inline Shares<double> shares(double outputs, double parameters) {
    return {outputs / parameters, parameters > outputs ? outputs / (parameters - outputs) : 1e100};
}

template <class T>
struct Spectrum {
    T lambda_max = 0.0, bulk = 0.0, mean = 0.0, second_moment = 0.0;
    decltype(T() < T()) outlier{}; // whether the outlier rules
};

// o = b and d = a - b of the output.
template <class T, class O, class U, class DU, class S>
FISHERFIELD_HD FISHERFIELD_INLINE Spectrum<T> spectrum(const TangentKernel<T, O, U, DU>& kernel, const S& settings,
                                                       const Shares<T>& share) {
    const T a = kernel.o + kernel.d, b = kernel.o, d_over_n = T(settings.one_over_n()) * kernel.d;
    Spectrum<T> out;
    out.mean = share.all * a;
    // With b and d: (a^2 + (n-1) b^2)/n = b^2 + (2 b d + d^2)/n
    out.second_moment = share.all * (b * b + d_over_n * (T(2.0) * b + kernel.d));
    if (settings.one_sample()) {
        out.lambda_max = a;
        out.outlier = T(0.0) < T(1.0);
        return out;
    }
    const T top = b + d_over_n;
    out.lambda_max = larger(larger(b, T(0.0)) + d_over_n, out.mean);
    out.outlier = (T(0.0) <= b) & (out.mean <= top);
    out.bulk = d_over_n;
    // n C > P: F has P eigenvalues for the trace of n C. Where C outliers stand out, the other P - C share the rest.
    const auto crowded = share.all > T(settings.one_over_n());
    const T rest = kernel.d - d_over_n; // of one output's trace
    out.bulk = pick(crowded, smaller(share.others * rest, out.lambda_max), d_over_n);
    const T atoms = pick(out.outlier, share.all * (top * top + rest * out.bulk), out.mean * out.mean);
    out.second_moment = pick(crowded, larger(out.second_moment, atoms), out.second_moment);
    return out;
}

// Of lambda_max: how many eigenvalues lie there; no more than P do.
FISHERFIELD_HD inline double multiplicity(bool outlier, const Settings& settings, double outputs, double parameters) {
    const double most = outlier ? outputs : settings.finite() ? outputs * (settings.samples - 1.0) : parameters;
    return std::fmin(most, parameters);
}

} // namespace fisherfield
