// SPDX-License-Identifier: BSD-3-Clause
// The mean over classes of units that have not the same gamma and beta: what reads activations reads all of them, and
// every number of a state is a mean over units.
//
//     share x + (1 - share) x'        for each of xy, v, off, mean, o, d
//     share (1 - share) (mean - mean')^2 joins xy, which has no mean's square in it
#pragma once

#include "fisherfield/layers/add.hpp"

namespace fisherfield {

template <class N = double>
struct Mean {
    static constexpr bool of_two = true; // pass() takes the states of two nodes

    N share;

    template <class H, class Visit>
    FISHERFIELD_HD FISHERFIELD_INLINE Status pass(const H& h, const H& others, Visit&& visit) const {
        using T = decltype(h.v);
        const T w(share), rest = T(1.0) - w;
        const PlainBranchLaw<T> here{w}, there{rest};
        const T apart = h.mean - others.mean;
        visit(AddLaw{w * h.xy + rest * others.xy + w * rest * (apart * apart), w * h.v + rest * others.v,
                     w * h.off + rest * others.off, w * h.mean + rest * others.mean, here, there,
                     there.kernel(others.kernel)});
        return Status::ok;
    }
};

} // namespace fisherfield
