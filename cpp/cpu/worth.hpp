// SPDX-License-Identifier: BSD-3-Clause
// What kernels of a node are worth at the output: the laws of docs/theory.md, section 4, transposed.
#pragma once

#include "fisherfield/state.hpp"

namespace fisherfield {

// What a kernel is worth: `worth` is by (o, d, ou, ou + du), for behind a BatchNorm ou + du is 0 to the last bit, where
// what ou and du are worth by themselves may be 1e10 times their difference.
template <class Kernel>
inline Scaled product(const TangentKernel<Scaled>& worth, const Kernel& x) {
    return worth.o * x.o + worth.d * x.d + worth.ou * x.ou + worth.du * (x.ou + x.du);
}

// Two worths go back together: of what reaches the output's o, and of what reaches its d.
struct Worth {
    TangentKernel<Scaled> o{}, d{};
};

// Adds what kernels before a layer are worth, from those behind it: its law transposed, column by column; those of
// (ou, du) only where there can be some.
template <class Law>
void add_transposed(const Law& law, const Worth& behind, bool of_u, Worth* before) {
    const auto column = [&](const auto& unit, Scaled TangentKernel<Scaled>::* field) {
        const auto image = law.kernel(unit);
        before->o.*field = before->o.*field + product(behind.o, image);
        before->d.*field = before->d.*field + product(behind.d, image);
    };
    using Kernel = TangentKernel<Scaled>;
    const Scaled one(1.0);
    const Zero zero;
    column(TangentKernel{one, zero, zero, zero}, &Kernel::o);
    column(TangentKernel{zero, one, zero, zero}, &Kernel::d);
    if (of_u) {
        column(TangentKernel{zero, zero, one, -one}, &Kernel::ou);
        column(TangentKernel{zero, zero, zero, one}, &Kernel::du);
    }
}

} // namespace fisherfield
