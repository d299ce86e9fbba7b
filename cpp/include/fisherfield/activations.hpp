// SPDX-License-Identifier: BSD-3-Clause
// Activations phi and their slopes phi' (almost everywhere, as frameworks compute them: 0 at relu's kink, 0 for step).
//
// Every formula is written so that no intermediate overflows and the error is a few ulp of the value and of x on both
// tails (a Gaussian tail turns an ulp of x into x^2 ulp of its own).
// Definitions follow torch.nn.functional where it has the function; gelu is the erf form x Phi(x), and
//
//     erf(x), sin x, cos x, e^x,   gaussian = exp(-x^2/2),   rbf = sqrt(2) sin(sqrt(2) x + pi/4),   step = 1 for x > 0,
//     monomial(n) = x^n,   rectified_monomial(n) = x^n for x > 0, else 0,   hermite(n) = He_n(x)/sqrt(n!),
//     polynomial(c) = c_0 + c_1 x + c_2 x^2 + ...
#pragma once

#include "fisherfield/activation.hpp"
#include "fisherfield/activation_limits.hpp"
#include "fisherfield/activation_shape.hpp"
#include "fisherfield/activation_values.hpp"
