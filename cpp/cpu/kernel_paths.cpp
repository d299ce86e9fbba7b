// SPDX-License-Identifier: BSD-3-Clause
// Which compilation of the kernels runs: chosen by what the processor and the system offer.
#include <atomic>
#include <cstdlib>

#include "kernel_table.hpp"

#if defined(_MSC_VER) && defined(_M_X64)
#include <immintrin.h>
#include <intrin.h>
#endif

namespace fisherfield {

namespace {

#if defined(FISHERFIELD_X86) && defined(_MSC_VER)
bool machine_has(bool wide) {
    int leaf[4];
    __cpuid(leaf, 1);
    constexpr int fma = 1 << 12, xsave = 1 << 27, avx = 1 << 28;
    if ((leaf[2] & (fma | xsave | avx)) != (fma | xsave | avx)) {
        return false;
    }
    const unsigned long long saved = _xgetbv(0); // the registers that the system keeps
    __cpuidex(leaf, 7, 0);
    constexpr int avx2 = 1 << 5, f = 1 << 16, dq = 1 << 17, bw = 1 << 30;
    constexpr unsigned vl = 1u << 31;
    const bool has_avx2 = (leaf[1] & avx2) != 0 && (saved & 0x6) == 0x6;
    const bool has_avx512 = (leaf[1] & (f | dq | bw)) == (f | dq | bw) && (static_cast<unsigned>(leaf[1]) & vl) != 0 &&
                            (saved & 0xe6) == 0xe6;
    return has_avx2 && (!wide || has_avx512);
}
#elif defined(FISHERFIELD_X86)
bool machine_has(bool wide) {
    __builtin_cpu_init();
    const bool has_avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    return has_avx2 && (!wide || (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                                  __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl")));
}
#endif

struct Path {
    const char* name;
    KernelTable table;
    TableKernels table_kernels;
    ScanKernels scan_kernels;
};

// slowest first
const std::vector<Path>& offered() {
    static const std::vector<Path> all = [] {
        std::vector<Path> out{{"scalar", kernels::scalar::kernel_table(), kernels::scalar::table_kernels(),
                               kernels::scalar::scan_kernels()}};
#if defined(FISHERFIELD_X86)
        if (machine_has(false)) {
            out.push_back(
                {"avx2", kernels::avx2::kernel_table(), kernels::avx2::table_kernels(), kernels::avx2::scan_kernels()});
        }
        if (machine_has(true)) {
            out.push_back({"avx512", kernels::avx512::kernel_table(), kernels::avx512::table_kernels(),
                           kernels::avx512::scan_kernels()});
        }
#endif
        return out;
    }();
    return all;
}

std::atomic<std::size_t>& in_use() {
    static std::atomic<std::size_t> index{offered().size() - 1};
    return index;
}

} // namespace

std::vector<std::string> paths() {
    std::vector<std::string> out;
    for (const Path& each : offered()) {
        out.emplace_back(each.name);
    }
    return out;
}

std::string path() { return offered()[in_use()].name; }

bool set_path(const std::string& name) {
    for (std::size_t i = 0; i < offered().size(); ++i) {
        if (name == offered()[i].name) {
            in_use() = i;
            return true;
        }
    }
    return false;
}

ScanKernels scan_kernels() { return offered()[in_use()].scan_kernels; }

TableKernels table_kernels() { return offered()[in_use()].table_kernels; }

Kernel kernel_of(Kind kind, Integral which, bool one_minus_c) {
    const KernelTable& table = offered()[in_use()].table;
    for (std::size_t i = 0; i < table.count; ++i) {
        if (table.rows[i].kind == kind) {
            const int place = static_cast<int>(which), first = static_cast<int>(Integral::covariance);
            return one_minus_c && of_two(which) ? table.rows[i].by_one_minus_c[place - first]
                                                : table.rows[i].by_c[place];
        }
    }
    return nullptr;
}

} // namespace fisherfield
