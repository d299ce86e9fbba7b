// SPDX-License-Identifier: BSD-3-Clause
// Quadrature of activations that have no closed form: composite Gauss-Legendre on graded panels.
//
// The line [-10, 10] carries the standard normal weight (what lies outside is 2e-23), and more of it, up to 38.5, where
// an activation turns farther out. A panel is at most 2.4 wide and e^20 of the weight: its sixteen points leave 1e-17.
// Around a centre (a kink, or the place where an activation turns) panels grow from `base` threefold, so that the
// nearest singularity stays 2 half-widths or more from a panel's centre: (2 + sqrt 3)^-32 = 5e-19. docs/theory.md,
// section 3.
#pragma once

#include "fisherfield/quadrature_covariance.hpp"
#include "fisherfield/quadrature_differences.hpp"
#include "fisherfield/quadrature_mesh.hpp"
#include "fisherfield/quadrature_moments.hpp"
#include "fisherfield/quadrature_scales.hpp"
