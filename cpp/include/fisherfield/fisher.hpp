// SPDX-License-Identifier: BSD-3-Clause
// The spectrum of the Fisher information matrix from the output's tangent kernel Theta_ii = a, Theta_ij = b.
//
//     lambda_max = max{ (a + (n-1) b)/n, (a - b)/n },   bulk = (a - b)/n,   mean = C a/P,
//     second moment = (C/P) (a^2 + (n-1) b^2)/n                              (KAA; docs/theory.md, section 2)
#pragma once

#include "fisherfield/order_parameters.hpp"

namespace fisherfield {

struct Spectrum {
    Scaled lambda_max, bulk, mean, second_moment;
    double multiplicity = 0.0; // of lambda_max
    bool outlier = true;
};

// o and d = a - b of the output; C outputs, P parameters.
FISHERFIELD_HD inline Spectrum spectrum(const Source& kernel, const Settings& settings, double outputs,
                                        double parameters) {
    const double one_over_n = settings.one_over_n();
    const Scaled a = kernel.o + kernel.d, b = kernel.o, share(outputs / parameters);
    Spectrum out;
    out.mean = share * a;
    // With b and d: (a^2 + (n-1) b^2)/n = b^2 + (2 b d + d^2)/n
    out.second_moment = share * (b * b + Scaled(one_over_n) * kernel.d * (Scaled(2.0) * b + kernel.d));
    if (settings.samples == 1.0) {
        out.lambda_max = a;
        out.multiplicity = std::fmin(outputs, parameters);
        return out;
    }
    const Scaled top = b + Scaled(one_over_n) * kernel.d;
    out.bulk = Scaled(one_over_n) * kernel.d;
    out.outlier = b >= Scaled(0.0);
    out.lambda_max = out.outlier ? top : out.bulk;
    // Eigenvalues beyond P do not exist.
    out.multiplicity = out.outlier
                           ? std::fmin(outputs, parameters)
                           : std::fmin(outputs * (settings.samples - 1.0), std::fmax(parameters - outputs, 0.0));
    return out;
}

// Row (wo, wd): what a unit of o or of d at one layer is worth at the output.
struct Worth {
    Scaled o, d;
};

// worth before phi from worth behind it: the transposed transfer.
FISHERFIELD_HD inline Worth backward(const Transfer& t, const Worth& w) {
    return {t.oo * w.o + t.d_o * w.d, t.od * w.o + t.dd * w.d};
}

} // namespace fisherfield
