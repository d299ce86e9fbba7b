// SPDX-License-Identifier: BSD-3-Clause
// Gaussian integrals of an activation and its slope: everything that mean-field recursions ask of phi.
//
//     moments     one Gaussian u ~ N(0, 1):              E phi(g u + beta), its variance, the same of phi', ...
//     covariance  two, (u, w) of variances q1, q2 and correlation c:   E phi(u + beta) phi(w + beta), of phi', ...
//
// Differences are integrated, not subtracted: with q1 = q2,
//
//     E phi(u)^2 - E phi(u) phi(w) = E [phi(u) - phi(w)]^2 / 2,
//
// which keeps all its digits when c -> 1. Closed forms: closed_form.hpp, polynomial.hpp and smoothed_step.hpp; all
// others by one integral (conditional.hpp) or two (quadrature.hpp). Values and slopes are right to 1e-12, or to 8 eps
// E|integrand| where that changes sign, for variances in [1e-8, 1e8] and every c; each carries a bound on its error.
// Outside [2^-100, 2^100] an activation is replaced by the two rays it tends to, exact to 2^-50. docs/theory.md,
// section 3.
#pragma once

#include "fisherfield/gaussian_covariance.hpp"
#include "fisherfield/gaussian_germs.hpp"
#include "fisherfield/gaussian_moments.hpp"
#include "fisherfield/gaussian_ranges.hpp"
#include "fisherfield/gaussian_refined.hpp"
