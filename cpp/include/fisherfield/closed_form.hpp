// SPDX-License-Identifier: BSD-3-Clause
// Gaussian integrals that have a closed form, one function a family.
#pragma once

#include "fisherfield/closed_form_rays.hpp"
#include "fisherfield/closed_form_rectified.hpp"
#include "fisherfield/closed_form_waves.hpp"
#include "fisherfield/gaussian_integrals.hpp"
#include "fisherfield/status.hpp"
