// SPDX-License-Identifier: BSD-3-Clause
// What each compilation of kernels.cpp offers.
#pragma once

#include <cstddef>

#include "kernels.hpp"

namespace fisherfield {

struct KernelRow {
    Kind kind;
    Kernel by_c[kIntegrals];
    Kernel by_one_minus_c[2]; // covariance, slope_covariance
};

struct KernelTable {
    const KernelRow* rows;
    std::size_t count;
};

// clang-format off
namespace kernels::scalar { KernelTable kernel_table(); }
namespace kernels::avx2 { KernelTable kernel_table(); }
namespace kernels::avx512 { KernelTable kernel_table(); }
// clang-format on

} // namespace fisherfield
