// SPDX-License-Identifier: BSD-3-Clause
// Random numbers, each by its place: those that stand for rounding errors, and masks.
#pragma once

#include <cstdint>

namespace fisherfield::finite_network {

// Numbers of mean 0 and variance 1, the same wherever and in whatever order they are asked for.
class Noise {
public:
    explicit Noise(std::uint64_t seed) : key_(mixed(seed + 0x9e3779b97f4a7c15ULL)) {}
    double operator()(std::uint64_t place) const { return 3.4641016151377544 * (uniform(place) - 0.5); }
    double uniform(std::uint64_t place) const { // in [0, 1)
        return static_cast<double>(mixed(key_ + place * 0x9e3779b97f4a7c15ULL) >> 11) * 0x1p-53;
    }

private:
    static std::uint64_t mixed(std::uint64_t z) { // G. Steele et al., SplitMix
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
        return z ^ (z >> 31);
    }
    std::uint64_t key_;
};

} // namespace fisherfield::finite_network
