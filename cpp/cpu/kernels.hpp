// SPDX-License-Identifier: BSD-3-Clause
// Gaussian integrals of the activations with a closed form, or a sum of some, many values at a time, without shift.
//
// kernels.cpp is compiled once for each instruction set ("path"); which one is used is chosen when the program runs.
#pragma once

#include <string>
#include <vector>

#include "fisherfield/activations.hpp"

namespace fisherfield {

enum class Integral { mean, second_moment, slope_mean, slope_second_moment, covariance, slope_covariance };

inline constexpr const char* kIntegralNames[] = {"mean",       "second_moment",   "slope_mean", "slope_second_moment",
                                                 "covariance", "slope_covariance"};

inline constexpr int kIntegrals = 6;

inline bool of_two(Integral which) { return which >= Integral::covariance; }

inline constexpr int kBlock = 128; // values that a kernel takes; a multiple of every vector's width

// Where kernels hold: variances up to kLargest, q or q1 q2 from kLeast, |c| in [kLeastCorrelation, 1] or 0, 1 - c in
// [0, 2]. There no product of theirs under- or overflows. All else is left to moments() and covariance() of
// gaussian.hpp.
inline constexpr double kLeast = 1e-140, kLargest = 1e100, kLeastCorrelation = 1e-70;

// What integrates `count` values out of kBlock: from q, or from q1, q2 and c or 1 - c; then leaky_relu's slope. Vectors
// are whole: values beyond `count` are read and written up to the width of one. False where some of them lie outside of
// what holds, or some result overflows: those are then to be formed otherwise.
using Kernel = bool (*)(const double* const* operands, int count, double* out);

// The fastest path is taken at first, or the one that FISHERFIELD_SIMD names. set_path returns false, and changes
// nothing, where there is no such path or this machine lacks it.
std::vector<std::string> paths();
std::string path();
bool set_path(const std::string& name);

// The kernel of an integral by the path in use, or null. one_minus_c: it is given 1 - c.
Kernel kernel_of(Kind kind, Integral which, bool one_minus_c);

} // namespace fisherfield
