// SPDX-License-Identifier: BSD-3-Clause
// From double to integer. A plain cast of a number that the integer cannot hold is undefined: on x86-64 it is the most
// negative one, on arm64 the nearest. Where a cast stands by itself, a comment or a comparison beside it says why the
// number fits.
#pragma once

#include <limits>

#include "fisherfield/host_device.hpp"

namespace fisherfield {

// As constants, which a device may read where it may not call numeric_limits. As a double, the largest may round up to
// a power of two, which lies beyond it; the least is 0 or such a power itself.
template <class Integer>
struct IntegerLimits {
    static constexpr Integer least = std::numeric_limits<Integer>::min(), most = std::numeric_limits<Integer>::max();
    static constexpr double low = static_cast<double>(least), high = static_cast<double>(most);
};

// x without its fraction; the nearest Integer where x lies beyond them all, 0 where it is no number.
template <class Integer>
FISHERFIELD_HD inline Integer saturated(double x) {
    using To = IntegerLimits<Integer>;
    return x >= To::high ? To::most : x <= To::low ? To::least : x == x ? static_cast<Integer>(x) : Integer{0};
}

} // namespace fisherfield
