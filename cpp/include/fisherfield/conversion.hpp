// SPDX-License-Identifier: BSD-3-Clause
// From double to integer. A plain cast of a number that the integer cannot hold is undefined: on x86-64 it is the most
// negative one, on arm64 the nearest. Where a cast stands by itself, a comment or a comparison beside it says why the
// number fits.
#pragma once

#include <limits>

#include "fisherfield/host_device.hpp"

namespace fisherfield {

// x without its fraction; the nearest Integer where x lies beyond them all, 0 where it is no number.
template <class Integer>
FISHERFIELD_HD inline Integer saturated(double x) {
    // The largest one may round up to a power of two, which is beyond it; the least is 0 or such a power itself.
    constexpr Integer least = std::numeric_limits<Integer>::min(), most = std::numeric_limits<Integer>::max();
    return x >= static_cast<double>(most)    ? most
           : x <= static_cast<double>(least) ? least
           : x == x                          ? static_cast<Integer>(x)
                                             : Integer{0};
}

} // namespace fisherfield
