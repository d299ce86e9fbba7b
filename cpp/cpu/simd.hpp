// SPDX-License-Identifier: BSD-3-Clause
// FISHERFIELD_SIMD before a function has the compiler make one version for each width of vectors and choose at run
// time. The versions round alike: no fused multiply-add (CMakeLists.txt), and sums run over one vector's lanes, never
// across.
#pragma once

#include <cstdlib> // defines __GLIBC__ where there is one

// Needs ifunc: gcc or clang on x86-64 with glibc. Elsewhere (arm64, macOS, Windows, musl) the plain build has the
// vectors that every such machine has.
#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__)
#if defined(__clang__)
#define FISHERFIELD_SIMD __attribute__((target_clones("default", "arch=x86-64-v3", "arch=x86-64-v4")))
#else
#define FISHERFIELD_SIMD                                                                                               \
    __attribute__((target_clones("default", "arch=x86-64-v3", "arch=x86-64-v4"), optimize("tree-vectorize")))
#endif
#else
#define FISHERFIELD_SIMD
#endif
