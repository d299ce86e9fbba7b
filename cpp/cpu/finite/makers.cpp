// SPDX-License-Identifier: BSD-3-Clause
#include "makers.hpp"

#include <cstddef>
#include <map>
#include <sstream>
#include <stdexcept>
#include <type_traits>
#include <utility>

namespace fisherfield::finite_network {

namespace {

std::map<std::string, MapKind>& kinds() { // there before the first static object asks for it
    static std::map<std::string, MapKind> table;
    return table;
}

// "2 numbers (groups, eps)"
std::string counted(const std::vector<const char*>& names, const char* what) {
    std::string words = std::to_string(names.size()) + " " + what + (names.size() == 1 ? "" : "s");
    for (std::size_t i = 0; i < names.size(); ++i) {
        words += (i == 0 ? " (" : ", ") + std::string(names[i]) + (i + 1 == names.size() ? ")" : "");
    }
    return words;
}

void require_count(const MapKind& kind, const std::vector<const char*>& names, const char* what, std::size_t count) {
    if (count != names.size()) {
        throw std::invalid_argument(std::string(kind.name) + " takes " + counted(names, what) + ", got " +
                                    std::to_string(count));
    }
}

} // namespace

Entered::Entered(MapKind kind) {
    const std::string name = kind.name;
    kinds().emplace(name, std::move(kind));
}

void require(bool valid, const char* kind, const char* name, const char* range, double value) {
    if (!valid) {
        std::ostringstream words;
        words << kind << ": " << name << " must be " << range << ", got " << value;
        throw std::invalid_argument(words.str());
    }
}

template <class T>
std::unique_ptr<Map<T>> made(const std::string& name, const Image& shape, const Numbers& numbers,
                             const Arrays<T>& arrays, bool trained) {
    const auto entry = kinds().find(name);
    if (entry == kinds().end()) {
        std::string names;
        for (const auto& [known, kind] : kinds()) {
            names += (names.empty() ? "" : ", ") + known;
        }
        throw std::invalid_argument("kind must be one of " + names + ", got '" + name + "'");
    }
    const MapKind& kind = entry->second;
    require_count(kind, kind.numbers, "number", numbers.size());
    require_count(kind, kind.arrays, "array", arrays.size());
    for (std::size_t i = 0; i < arrays.size(); ++i) {
        const long size = kind.size(shape, static_cast<long>(arrays[0].size()));
        if (static_cast<long>(arrays[i].size()) != size) {
            throw std::invalid_argument(name + ": " + kind.arrays[i] + " must be " + std::to_string(size) +
                                        " numbers, got " + std::to_string(arrays[i].size()));
        }
    }
    if constexpr (std::is_same_v<T, float>) {
        return kind.single_precision(shape, numbers, arrays, trained);
    } else {
        return kind.double_precision(shape, numbers, arrays, trained);
    }
}

template std::unique_ptr<Map<float>> made(const std::string&, const Image&, const Numbers&, const Arrays<float>&, bool);
template std::unique_ptr<Map<double>> made(const std::string&, const Image&, const Numbers&, const Arrays<double>&,
                                           bool);

} // namespace fisherfield::finite_network
