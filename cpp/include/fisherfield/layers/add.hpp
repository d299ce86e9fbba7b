// SPDX-License-Identifier: BSD-3-Clause
// The sum of two branches, z = z_s + alpha z_b: of Gaussian units, all of whose weights but those of one branch were
// drawn for it alone, so that different branches are independent.
//
// xy, v, off, mean, o and d add, the branch's (mean apart) times alpha^2. A kernel that goes with the units' own value,
// ou u_b(x) u_b(y), goes on with the sum's as far as u_b is known from it: with W = q_b/q and c the correlations xy/q,
//
//     ou = W ou_b      o = o_b + ou_b (c_b - W c)
//     du = W du_b      d = d_b + du_b (1 - W) + ou_b ((1 - c_b) - W (1 - c))
//
// so that the mean of Theta(x, y) over units stays what it was, and that of Theta(x, x). (docs/theory.md, section 4)
#pragma once

#include "fisherfield/state.hpp"
#include "fisherfield/status.hpp"

namespace fisherfield {

// Of one branch of the sum.
template <class T>
struct BranchLaw {
    T scale2;        // alpha^2
    T share;         // W
    T rest_xy, rest; // c_b - W c, and what is left of 1 - c_b

    template <class K>
    FISHERFIELD_HD FISHERFIELD_INLINE auto kernel(const K& k) const {
        if (is_zero(k.ou) && is_zero(k.du)) {
            return TangentKernel<T>{scale2 * k.o, scale2 * k.d, 0.0, 0.0};
        }
        const T ou = scale2 * k.ou, du = scale2 * k.du;
        return TangentKernel<T>{scale2 * k.o + ou * rest_xy, scale2 * k.d + du * (T(1.0) - share) + ou * rest,
                                share * ou, share * du};
    }
};

template <class T>
struct AddLaw {
    T xy, v, off, mean;
    BranchLaw<T> branch, skip;
    TangentKernel<T> own; // what comes by the skip

    template <class K>
    FISHERFIELD_HD FISHERFIELD_INLINE auto kernel(const K& k) const {
        return branch.kernel(k);
    }
};

template <class N = double>
struct Add {
    static constexpr bool of_two = true; // pass() takes the states of two nodes

    N scale;

    template <class B, class Z, class Visit>
    FISHERFIELD_HD FISHERFIELD_INLINE Status pass(const B& branch, const Z& skip, Visit&& visit) const {
        using T = decltype(branch.v);
        const T alpha(scale), alpha2 = alpha * alpha;
        const T xy = skip.xy + alpha2 * branch.xy, v = skip.v + alpha2 * branch.v, q = xy + v;
        const auto law = [&](const auto& state, T scale2) {
            const T own = state.xy + state.v;
            if (is_zero(q) || is_zero(own)) {
                return BranchLaw<T>{scale2, T(1.0), T(0.0), T(0.0)};
            }
            const T share = scale2 * own / q;
            return BranchLaw<T>{scale2, share, state.xy / own - share * (xy / q), state.v / own - share * (v / q)};
        };
        AddLaw<T> out{xy,
                      v,
                      skip.off + alpha2 * branch.off,
                      skip.mean + alpha * branch.mean,
                      law(branch, alpha2),
                      law(skip, T(1.0)),
                      {}};
        out.own = out.skip.kernel(skip.kernel);
        visit(out);
        return Status::ok;
    }
};

} // namespace fisherfield
