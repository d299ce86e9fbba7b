// SPDX-License-Identifier: BSD-3-Clause
// Tables of Gaussian integrals at equal variances, for recursions that need the same activation at many q and c.
//
//     E phi(u), E phi(u)^2, E phi(u) phi(w)  and the same of phi',   Var u = Var w = q,  correlation c
//
// Polynomials on the patches of patches.hpp through values of gaussian.hpp at Chebyshev's nodes. How many patches there
// are follows from the last coefficients of their Chebyshev series; how far a table may err, from values at other
// points, which every patch is compared with.
#pragma once

#include <functional>
#include <new>
#include <vector>

#include "fisherfield/gaussian.hpp"
#include "patches.hpp"

namespace fisherfield {

// Memory for rows of patches.
template <class T>
struct AtLine {
    using value_type = T;
    AtLine() = default;
    template <class U>
    AtLine(const AtLine<U>&) {}
    T* allocate(std::size_t n) { return static_cast<T*>(::operator new(n * sizeof(T), std::align_val_t{kLine})); }
    void deallocate(T* at, std::size_t) { ::operator delete(at, std::align_val_t{kLine}); }
    template <class U>
    bool operator==(const AtLine<U>&) const {
        return true;
    }
};
using Rows = std::vector<double, AtLine<double>>;

class Table {
public:
    // All that a table is. Columns lie side by side, each with the patches from |c| = 1 to c = 0 in order.
    struct Contents {
        double low = 0.0, high = 0.0; // q
        long columns = 0;
        double rate = 0.0; // patches per unit of y
        double alpha = 0.0, error = 0.0;
        bool rooted = false;
        Parity parity = Parity::none; // of phi
        Rows curves;                  // of the four integrals of q, one after the other
        Rows patches[2];              // of the covariance and the slope's
    };

    explicit Table(Contents contents);
    Table(const Table&) = delete;
    Table& operator=(const Table&) = delete;

    const Contents& contents() const { return contents_; }
    double low() const { return contents_.low; }
    double high() const { return contents_.high; }
    std::size_t bytes() const;

    // `count` values of an integral (patches.hpp) from q, and c or 1 - c; false where some lie outside of the table.
    bool block(Integral which, bool one_minus_c, const double* const* operands, int count, double* out) const;

private:
    Contents contents_;
    Columns columns_;
    std::vector<std::ptrdiff_t> first_;
};

struct TableRequest {
    Activation activation;
    double low, high; // the range of q
    double error;     // wanted: |error| of (slope_)second_moment, of its root for means
    double bytes;     // at most
};

// status ok: `contents` hold. too_large: more than the bytes that it may take, or what the error wanted asks for does
// not shrink. Else an integral's own status.
struct TableResult {
    Table::Contents contents;
    Status status = Status::ok;
    bool too_large = false;
};

// `pause` is called now and then by the calling thread; what it throws ends the work.
TableResult tabulate(const TableRequest& request, const std::function<void()>& pause);

} // namespace fisherfield
