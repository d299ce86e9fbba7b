// SPDX-License-Identifier: BSD-3-Clause
// Layers of finite networks that numbers and arrays alone make, by name. A kind's own file enters it by a static
// object: adding one changes no other file.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "map.hpp"

namespace fisherfield::finite_network {

using Numbers = std::vector<double>;
template <class T>
using Arrays = std::vector<std::span<const T>>; // in PyTorch's order
// The map on activations of this shape. Counts and sizes are right; a number out of its range is refused
// (std::invalid_argument).
template <class T>
using Maker = std::unique_ptr<Map<T>> (*)(const Image& shape, const Numbers& numbers, const Arrays<T>& arrays,
                                          bool trained);

struct MapKind {
    const char* name;
    std::vector<const char*> numbers, arrays; // what it takes, in order
    // Of each of its arrays, where the first has `given` numbers; null where it has none.
    long (*size)(const Image& shape, long given);
    Maker<float> single_precision;
    Maker<double> double_precision;
};

struct Entered {
    explicit Entered(MapKind kind);
};

// Throws std::invalid_argument for an unknown name, and for numbers and arrays that are too many, too few or of a wrong
// size.
template <class T>
std::unique_ptr<Map<T>> made(const std::string& name, const Image& shape, const Numbers& numbers,
                             const Arrays<T>& arrays, bool trained);

// Throws std::invalid_argument with "<kind>: <name> must be <range>, got <value>" unless it is `valid`.
void require(bool valid, const char* kind, const char* name, const char* range, double value);

} // namespace fisherfield::finite_network
