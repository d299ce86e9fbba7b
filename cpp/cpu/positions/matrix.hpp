// SPDX-License-Identifier: BSD-3-Clause
// Matrices over pairs of positions, with an exponent of their own.
#pragma once

#include <algorithm>
#include <cstddef>
#include <initializer_list>
#include <vector>

#include "fisherfield/scaled.hpp"

namespace fisherfield {

// What is left of a variance that is zero, relative to what it is a difference of.
inline constexpr double kRounding = 1e-13;

// entries 2^(512 exponent), as Scaled. The input's positions are independent: of its matrices only diagonals are held.
struct Matrix {
    std::vector<double> entries;
    int exponent = 0;
    bool diagonal = false;

    Scaled at(std::size_t index) const { return {entries[index], exponent}; }
};

// The greatest exponent among numbers that are not 0.
class CommonExponent {
public:
    void include(Scaled x) {
        if (!is_zero(x)) {
            exponent_ = any_ ? std::max(exponent_, x.e) : x.e;
            any_ = true;
        }
    }
    int value() const { return exponent_; }

private:
    int exponent_ = 0;
    bool any_ = false;
};

// x as a multiple of 2^(512 exponent)
inline double rescaled(Scaled x, int exponent) { return x.e == exponent ? x.m : Scaled(x.m, x.e - exponent).value(); }

double largest(const std::vector<double>& entries);

// sum[i] += factor from[i step]
void add_multiple(double* sum, double factor, const double* from, long step, long count);

struct Term {
    Scaled coefficient;
    const Matrix* matrix;
};

// constant + sum of coefficient x matrix, entry by entry; `out` may be one of the matrices.
void combine(std::initializer_list<Term> terms, Scaled constant, Matrix* out);

Scaled diagonal_mean(const Matrix& matrix, long positions);

} // namespace fisherfield
