// SPDX-License-Identifier: BSD-3-Clause
// Standard normal numbers, each by a counter of its own: the same whoever draws it, and in any order.
//
// SplitMix64's finaliser (Steele, Lea, Flood 2014) of a key and a counter; Phi^-1 by Wichura's AS 241 (PPND16), right
// to 1e-16. The specification is `normals` of reference/units/state.py.
#pragma once

#include <cmath>
#include <cstdint>

namespace fisherfield::sampled_units {

inline constexpr std::uint64_t kGolden = 0x9E3779B97F4A7C15ULL;

inline std::uint64_t mixed(std::uint64_t x) {
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ULL;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBULL;
    return x ^ (x >> 31);
}

// The key of one draw: of a seed, a group of units, a layer, and which of its draws.
inline std::uint64_t key_of(std::uint64_t seed, std::uint64_t group, std::uint64_t place, std::uint64_t which) {
    std::uint64_t key = 0;
    for (const std::uint64_t word : {seed, group, place, which}) {
        key = mixed(key + word + kGolden);
    }
    return key;
}

// Number j = 0, 1, ... of unit i.
inline std::uint64_t unit_key(std::uint64_t key, std::uint64_t unit) { return mixed(key + unit * kGolden); }
inline std::uint64_t bits(std::uint64_t unit_key, std::uint64_t j) { return mixed(unit_key + (j + 1) * kGolden); }
inline double uniform(std::uint64_t bits) { return (static_cast<double>(bits >> 11) + 0.5) * 0x1p-53; }

namespace as241 {

inline double ratio(const double (&a)[8], const double (&b)[7], double r) {
    double top = a[7], bottom = b[6];
    for (int i = 6; i >= 0; --i) {
        top = top * r + a[i];
    }
    for (int i = 5; i >= 0; --i) {
        bottom = bottom * r + b[i];
    }
    return top / (bottom * r + 1.0);
}

inline constexpr double kA[8] = {3.3871328727963666080e0,  1.3314166789178437745e+2, 1.9715909503065514427e+3,
                                 1.3731693765509461125e+4, 4.5921953931549871457e+4, 6.7265770927008700853e+4,
                                 3.3430575583588128105e+4, 2.5090809287301226727e+3};
inline constexpr double kB[7] = {4.2313330701600911252e+1, 6.8718700749205790830e+2, 5.3941960214247511077e+3,
                                 2.1213794301586595867e+4, 3.9307895800092710610e+4, 2.8729085735721942674e+4,
                                 5.2264952788528545610e+3};
inline constexpr double kC[8] = {1.42343711074968357734e0,  4.63033784615654529590e0, 5.76949722146069140550e0,
                                 3.64784832476320460504e0,  1.27045825245236838258e0, 2.41780725177450611770e-1,
                                 2.27238449892691845833e-2, 7.74545014278341407640e-4};
inline constexpr double kD[7] = {2.05319162663775882187e0,  1.67638483018380384940e0,  6.89767334985100004550e-1,
                                 1.48103976427480074590e-1, 1.51986665636164571966e-2, 5.47593808499534494600e-4,
                                 1.05075007164441684324e-9};
inline constexpr double kE[8] = {6.65790464350110377720e0,  5.46378491116411436990e0,  1.78482653991729133580e0,
                                 2.96560571828504891230e-1, 2.65321895265761230930e-2, 1.24266094738807843860e-3,
                                 2.71155556874348757815e-5, 2.01033439929228813265e-7};
inline constexpr double kF[7] = {5.99832206555887937690e-1, 1.36929880922735805310e-1, 1.48753612908506148525e-2,
                                 7.86869131145613259100e-4, 1.84631831751005468180e-5, 1.42151175831644588870e-7,
                                 2.04426310338993978564e-15};

} // namespace as241

inline double normal_quantile(double p) {
    const double q = p - 0.5;
    if (std::fabs(q) <= 0.425) {
        return q * as241::ratio(as241::kA, as241::kB, 0.180625 - q * q);
    }
    const double r = std::sqrt(-std::log(q < 0 ? p : 1.0 - p));
    const double x =
        r <= 5.0 ? as241::ratio(as241::kC, as241::kD, r - 1.6) : as241::ratio(as241::kE, as241::kF, r - 5.0);
    return q < 0 ? -x : x;
}

} // namespace fisherfield::sampled_units
