// SPDX-License-Identifier: BSD-3-Clause
// What runs between the layers: averages over units, |K| x |K| matrices of two inputs and of what one has beyond that;
// or M units, each with R samples, K positions and a tangent kernel of its own,
//
//     k(x, y)[a, a'] = sum_terms sum_t,t' A_t(x)[a] A_t'(y)[a'] (o + delta_xy d)[reads_t a, reads_t' a']
//                    + sum_lows factor (P(x)[a] Q(y)[a'] + Q(x)[a] P(y)[a']).
//
// docs/theory.md, section 12; the specification is reference/units/state.py.
#pragma once

#include <memory>
#include <vector>

#include "fisherfield/scaled.hpp"
#include "fisherfield/state.hpp"
#include "room.hpp"

namespace fisherfield::sampled_units {

using Matrix = std::shared_ptr<Array<double>>;         // K x K, row by row; null: zeros
using Floats = std::shared_ptr<Array<float>>;          // M x R x K
using Reads = std::shared_ptr<const std::vector<int>>; // of each position the one that is read; -1: padding

// As State of fisherfield/state.hpp, for every pair of positions.
struct Averages {
    bool gaussian = false;
    Pair size{1, 1};
    Matrix xy, v, o, d, ou, du;
    std::vector<double> mean; // of each position; empty: 0
    // What every entry of xy has beyond it, of an affine layer: a BatchNorm takes it out, whatever its size.
    double bias = 0.0;

    long positions() const { return static_cast<long>(size[0]) * size[1]; }
};

struct Tap {
    Floats slopes; // A
    Reads reads;
};

struct Term {
    std::vector<Tap> taps;
    Matrix o, d;
    long positions; // of o and d
};

struct Low {
    Floats P, Q; // may be one
    float factor;
};

struct Units {
    Pair size{1, 1};
    long count = 0, reads = 0; // M, R
    Floats h;
    std::vector<Term> terms;
    std::vector<Low> lows;

    long positions() const { return static_cast<long>(size[0]) * size[1]; }
    long rows() const { return count * reads; }
    std::size_t numbers() const { return static_cast<std::size_t>(rows()) * positions(); }
};

// Either.
struct Value {
    std::shared_ptr<Averages> averages;
    std::shared_ptr<Units> units;
};

inline Matrix matrix(Room& room, long positions) {
    return std::make_shared<Array<double>>(room, static_cast<std::size_t>(positions) * positions);
}
inline Floats floats(Room& room, std::size_t size) { return std::make_shared<Array<float>>(room, size); }

// To be written: itself where nobody else holds it, else a copy, of its numbers or of none.
Floats writable(Room& room, Floats array, bool with_numbers = true);

// body(unit) for every unit; nothing in a rehearsal.
template <class Body>
void each(const Room& room, long count, Body&& body) {
    for (long i = 0; !room.rehearsal && i < count; ++i) {
        body(i);
    }
}

// ------------------------------------------------------------------------------------------------- draw.cpp,
// average.cpp

// alpha (M, K) and z = alpha + b, (M, R, K), of a Gaussian state, without its mean; and the mean of b over so many
// other samples, (M, K), where there are any. `which` tells two draws of one node apart.
struct Drawn {
    long count;
    Floats alpha, z, others;
};
Drawn draw(Room& room, const Averages& state, int place, int which, double others = 0.0);

// Normal numbers of each first one of a pair, every quantile once, in an order and with signs by the key.
std::vector<float> quantiles(std::uint64_t key, long half);

// Units of a Gaussian state as they are; units as they are.
std::shared_ptr<Units> as_units(Room& room, Value value, int place, int which = 0);

// What an affine layer reads.
std::shared_ptr<Averages> averaged(Room& room, const Value& value);

// The same at one position with itself, averaged over positions; nothing in a rehearsal.
State<Scaled> of_position(const Room& room, const Value& value);

// k x/(n K) of every unit, (M, R, K).
Floats applied(Room& room, const Units& units, const Floats& x);

// Values and slopes: A, P and Q times factor, in place where nobody else reads them.
void multiply_slopes(Room& room, Units* units, const float* factor);

} // namespace fisherfield::sampled_units
