// SPDX-License-Identifier: BSD-3-Clause
// The kernels of patches.hpp for one instruction set, named by FISHERFIELD_PATH (CMakeLists.txt).
//
// A patch's polynomial is formed point by point in y, eight coefficients of x at a time as they lie in memory, and then
// in x for as many points as there are lanes. Reading the patch (640 bytes) is most of the work.
#include "kernel_table.hpp"
#include "lanes.hpp"

namespace fisherfield {

namespace {

using namespace elementary;

constexpr double kBeyond = 4.0 * 0x1p-52; // |c| up to here beyond 1 counts as 1

// floor(x) from 0 on, and the place above it from -1 to 1
FISHERFIELD_INLINE Lanes floor_of(Lanes x, Lanes* inside) {
    const Lanes below = larger(integer(x - 0.5), 0.0);
    *inside = 2.0 * (x - below) - 1.0;
    return below;
}

// Variances; those outside of the columns, and what is no number, are noted, and replaced by an end.
FISHERFIELD_INLINE Lanes variances(const Columns& columns, const double* q, Mask* wrong) {
    const Lanes variance(q), low = columns.low, high = columns.high;
    *wrong = *wrong | ~((low <= variance) & (variance <= high));
    return smaller(larger(variance, low), high);
}

FISHERFIELD_INLINE Lanes column_of(const Columns& columns, Lanes q, Lanes* inside) {
    // rounded, the last end may be in a column of its own
    return floor_of(smaller((elementary::log(q) - columns.origin) * columns.rate, columns.end), inside);
}

FISHERFIELD_INLINE Doubles stored(const double* from) { return *reinterpret_cast<const Stored*>(from); }

// sum of k[j] y^j, row <= j < rows, for one vector of a patch's coefficients of x
template <int rows, int row = 0>
FISHERFIELD_INLINE Doubles along(const double* k, Doubles y) {
    if constexpr (row + 1 < rows) {
        return along<rows, row + 1>(k, y) * y + stored(k + row * kAcross);
    } else {
        return stored(k + row * kAcross);
    }
}

// sum of k[j][i] x^i y^j, i < kAcross, j < rows, at every point
template <int rows>
FISHERFIELD_INLINE void polynomials(const double* const* patch, const double* x, const double* y, int count,
                                    double* out) {
    for (int first = 0; first < count; first += kWidth) {
        Doubles k[kAcross / kWidth][kWidth]; // of each point; then of each power of x
        unrolled<kWidth>([&](auto point) {
            const Doubles at = every(y[first + point]);
            unrolled<kAcross / kWidth>(
                [&](auto part) { k[part][point] = along<rows>(patch[first + point] + part * kWidth, at); });
        });
        unrolled<kAcross / kWidth>([&](auto part) { transpose(k[part]); });
        const Doubles at = stored(x + first);
        Doubles value{};
        unrolled<kAcross>([&](auto i) {
            constexpr int power = kAcross - 1 - i;
            value = value * at + k[power / kWidth][power % kWidth];
        });
        *reinterpret_cast<Stored*>(out + first) = value;
    }
}

bool curve(const Curve& of, const double* q, int count, double* out) {
    alignas(kLine) double column[kBlock], x[kBlock];
    const double* patch[kBlock];
    Mask wrong{};
    for (int i = 0; i < count; i += kLanes) {
        Lanes inside;
        column_of(of.columns, variances(of.columns, q + i, &wrong), &inside).store(column + i);
        inside.store(x + i);
    }
    const int whole = (count + kWidth - 1) / kWidth * kWidth;
    for (int i = 0; i < whole; ++i) {
        patch[i] = of.coefficients + static_cast<int>(column[i]) * kAcross;
    }
    polynomials<1>(patch, x, x, whole, out);
    return !any_negative(wrong);
}

bool surface(const Surface& of, const double* q, const double* c, bool one_minus_c, int count, double* out) {
    alignas(kLine) double column[kBlock], above[kBlock], x[kBlock], y[kBlock], correlation[kBlock];
    const double* patch[kBlock];
    const double below = of.parity == Parity::none ? static_cast<double>(of.below) : 0.0;
    Mask wrong{};
    for (int i = 0; i < count; i += kLanes) {
        const Lanes value(c + i), variance = variances(of.columns, q + i, &wrong);
        const Lanes signed_c = one_minus_c ? 1.0 - value : value;
        const Lanes e = one_minus_c ? smaller(value, 2.0 - value) : 1.0 - size(value);
        wrong = wrong | ~(Lanes(one_minus_c ? 0.0 : -kBeyond) <= e);
        const Lanes height = elementary::log(stretched<Lanes>(1.0 + of.alpha * variance, larger(e, 0.0), of.rooted));
        Lanes inside;
        column_of(of.columns, variance, &inside).store(column + i);
        inside.store(x + i);
        const Lanes patches = floor_of(height * of.rate, &inside);
        inside.store(y + i);
        (patches * kPatch + pick(signed_c < 0.0, below, 0.0)).store(above + i);
        signed_c.store(correlation + i);
    }
    const int whole = (count + kWidth - 1) / kWidth * kWidth;
    for (int i = 0; i < whole; ++i) {
        patch[i] = of.coefficients + of.first[static_cast<int>(column[i])] + static_cast<std::ptrdiff_t>(above[i]);
    }
    polynomials<kAlong>(patch, x, y, whole, out);
    if (of.parity == Parity::odd) {
        for (int i = 0; i < count; i += kLanes) {
            (Lanes(out + i) * Lanes(correlation + i)).store(out + i);
        }
    }
    return !any_negative(wrong);
}

} // namespace

TableKernels kernels::FISHERFIELD_PATH::table_kernels() { return {&curve, &surface}; }

} // namespace fisherfield
