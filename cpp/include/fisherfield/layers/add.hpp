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

// Of one branch of the sum, whose kernel goes with its units' values.
template <class T>
struct BranchLaw {
    T scale2;        // alpha^2
    T share;         // W
    T rest_xy, rest; // c_b - W c, and what is left of 1 - c_b

    template <class K>
    FISHERFIELD_HD FISHERFIELD_INLINE TangentKernel<T> kernel(const K& k) const {
        const T o = scale2 * k.o, d = scale2 * k.d;
        if (is_zero(k.ou) && is_zero(k.du)) {
            return {o, d, 0.0, 0.0};
        }
        const T ou = scale2 * k.ou, du = scale2 * k.du;
        return {o + ou * rest_xy, d + du * (T(1.0) - share) + ou * rest, share * ou, share * du};
    }
};

// The same without such a kernel.
template <class T>
struct PlainBranchLaw {
    T scale2;

    template <class K>
    FISHERFIELD_HD FISHERFIELD_INLINE TangentKernel<T, T, Zero> kernel(const K& k) const {
        return {scale2 * k.o, scale2 * k.d, {}, {}};
    }
};

template <class T, class Off, class Mean, class Branch, class Skip, class Own>
struct AddLaw {
    T xy, v;
    Off off;
    Mean mean;
    Branch branch;
    Skip skip;
    Own own; // what comes by the skip

    template <class K>
    FISHERFIELD_HD FISHERFIELD_INLINE auto kernel(const K& k) const {
        return branch.kernel(k);
    }
};

template <class T, class Off, class Mean, class Branch, class Skip, class Own>
AddLaw(T, T, Off, Mean, Branch, Skip, Own) -> AddLaw<T, Off, Mean, Branch, Skip, Own>;

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
            if constexpr (std::is_same_v<std::decay_t<decltype(state.kernel.ou)>, Zero>) {
                return PlainBranchLaw<T>{scale2};
            } else {
                const T own = state.xy + state.v;
                if (is_zero(q) || is_zero(own)) {
                    return BranchLaw<T>{scale2, T(0.0), T(0.0), T(1.0)}; // constant units, of which nothing is known
                }
                const T share = scale2 * own / q;
                return BranchLaw<T>{scale2, share, state.xy / own - share * (xy / q), state.v / own - share * (v / q)};
            }
        };
        const auto of_branch = law(branch, alpha2);
        const auto of_skip = law(skip, T(1.0));
        visit(AddLaw{xy, v, skip.off + alpha2 * branch.off, skip.mean + alpha * branch.mean, of_branch, of_skip,
                     of_skip.kernel(skip.kernel)});
        return Status::ok;
    }
};

} // namespace fisherfield
