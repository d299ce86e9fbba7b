// SPDX-License-Identifier: BSD-3-Clause
// How a table of Gaussian integrals lies in memory (table.hpp), for the kernels that read it.
//
// The plane is cut into patches; on each an integral is a polynomial of degree kAcross - 1 in x = log q and kAlong - 1
// in y, which depends on q and on e = 1 - |c|. An activation that turns on a scale of 1 makes of the covariance a
// function of c whose singularities lie at |c| = 1 + O(1/q). With kappa = 1 + alpha q,
//
//     y = log[(1 + kappa e)/(1 + kappa (2 - e)) (1 + 2 kappa)],     0 at e = 0,  log(1 + 2 kappa) at e = 1,
//
// sends both of them to infinity, and patches of one height converge alike (activations with kinks have powers of
// sqrt e as well: then the roots of kappa e and kappa (2 - e) stand in place of these). Half of the c are enough where
// phi is odd or even; an odd integral is stored divided by c, so that small ones are right relative to themselves.
#pragma once

#include <cstddef>

#include "fisherfield/elementary.hpp"
#include "kernels.hpp"

namespace fisherfield {

// Coefficients of a patch in x and in y. Eight of x are one AVX-512 vector or one line of cache; ten of y balance the
// reads of a value (ten lines) against the number of patches.
inline constexpr int kAcross = 8, kAlong = 10, kPatch = kAcross * kAlong;
inline constexpr std::size_t kLine = 64; // bytes of a line of cache, where rows of patches begin

// exp(y) of the formula above
template <class V>
FISHERFIELD_INLINE V stretched(V kappa, V e, bool rooted) {
    using elementary::root;
    V near = kappa * e, far = kappa * (2.0 - e), whole = 2.0 * kappa;
    if (rooted) {
        near = root(near);
        far = root(far);
        whole = root(whole);
    }
    return (1.0 + near) * (1.0 + whole) / (1.0 + far);
}

// Where integrals of q are: column floor((log q - origin) rate), at most floor(end).
struct Columns {
    double low, high, origin, rate, end;
};

enum class Parity { none, even, odd };

// An integral of q: kAcross coefficients a column.
struct Curve {
    Columns columns;
    const double* coefficients;
};

// An integral of q and c: patch floor(y rate) of those that begin at `first` of the column. Without parity, that of c <
// 0 begins `below` coefficients after that of c > 0.
struct Surface {
    Columns columns;
    const std::ptrdiff_t* first; // a number of coefficients
    const double* coefficients;
    std::ptrdiff_t below;
    double rate, alpha;
    bool rooted;
    Parity parity;
};

// `count` values out of kBlock, by whole vectors as in kernels.hpp; false where some q lies outside of the columns, or
// some c or 1 - c outside of its range.
struct TableKernels {
    bool (*curve)(const Curve&, const double* q, int count, double* out);
    bool (*surface)(const Surface&, const double* q, const double* c, bool one_minus_c, int count, double* out);
};
TableKernels table_kernels(); // by the path in use

} // namespace fisherfield
