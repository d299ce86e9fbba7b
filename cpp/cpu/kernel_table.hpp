// SPDX-License-Identifier: BSD-3-Clause
// What each compilation of kernels.cpp, table_kernels.cpp and scan/kernels.cpp offers.
#pragma once

#include <cstddef>

#include "kernels.hpp"
#include "patches.hpp"
#include "scan/kernels.hpp"

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
namespace kernels::scalar { KernelTable kernel_table(); TableKernels table_kernels(); ScanKernels scan_kernels(); }
namespace kernels::avx2 { KernelTable kernel_table(); TableKernels table_kernels(); ScanKernels scan_kernels(); }
namespace kernels::avx512 { KernelTable kernel_table(); TableKernels table_kernels(); ScanKernels scan_kernels(); }
// clang-format on

} // namespace fisherfield
