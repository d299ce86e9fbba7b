// SPDX-License-Identifier: BSD-3-Clause
// The spectrum of the Fisher information matrix from the output's tangent kernel Theta_ii = a, Theta_ij = b.
//
//     lambda_max = max{ (a + (n-1) b)/n, (a - b)/n },   bulk = (a - b)/n,   mean = C a/P,
//     second moment = (C/P) (a^2 + (n-1) b^2)/n                              (KAA; docs/theory.md, section 2)
#pragma once

#include "fisherfield/order_parameters.hpp"

namespace fisherfield {

template <class T>
struct Spectrum {
    T lambda_max = 0.0, bulk = 0.0, mean = 0.0, second_moment = 0.0;
};

// o = b and d = a - b of the output; share = C/P.
template <class S, class T>
FISHERFIELD_HD FISHERFIELD_INLINE Spectrum<T> spectrum(const Source<T>& kernel, const S& settings, T share) {
    const T a = kernel.o + kernel.d, b = kernel.o, d_over_n = T(settings.one_over_n()) * kernel.d;
    Spectrum<T> out;
    out.mean = share * a;
    // With b and d: (a^2 + (n-1) b^2)/n = b^2 + (2 b d + d^2)/n
    out.second_moment = share * (b * b + d_over_n * (T(2.0) * b + kernel.d));
    if (settings.one_sample()) {
        out.lambda_max = a;
        return out;
    }
    out.lambda_max = larger(b, T(0.0)) + d_over_n;
    out.bulk = d_over_n;
    return out;
}

// Whether the outlier rules, not the bulk.
FISHERFIELD_HD inline bool outlier(const Source<Scaled>& kernel, const Settings& settings) {
    return settings.one_sample() || kernel.o >= Scaled(0.0);
}

// Of lambda_max, for C outputs and P parameters; eigenvalues beyond P do not exist.
FISHERFIELD_HD inline double multiplicity(bool outlier, const Settings& settings, double outputs, double parameters) {
    return outlier ? std::fmin(outputs, parameters)
                   : std::fmin(outputs * (settings.samples - 1.0), std::fmax(parameters - outputs, 0.0));
}

// Row (wo, wd): what a unit of o or of d at one layer is worth at the output.
struct Worth {
    Scaled o, d;
};

// worth before phi from worth behind it: the transposed transfer.
FISHERFIELD_HD inline Worth backward(const Transfer<Scaled>& t, const Worth& w) {
    return {t.oo * w.o + t.d_o * w.d, t.od * w.o + t.dd * w.d};
}

} // namespace fisherfield
