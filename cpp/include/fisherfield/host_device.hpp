// SPDX-License-Identifier: BSD-3-Clause
// The only file that knows CUDA exists: every function of these headers runs on host and device.
#pragma once

#if defined(__CUDACC__)
#define FISHERFIELD_HD __host__ __device__
#else
#define FISHERFIELD_HD
#endif

// For what is long or rarely reached: a function of its own. Inlined, it makes all that calls it larger and slower; on
// a device a compiler left alone takes a quarter of an hour and gigabytes for one kernel.
#if defined(__CUDACC__)
#define FISHERFIELD_HD_APART FISHERFIELD_HD __noinline__
#elif defined(_MSC_VER)
#define FISHERFIELD_HD_APART __declspec(noinline)
#else
#define FISHERFIELD_HD_APART __attribute__((noinline))
#endif

// For what is short and called for every point: left alone, a compiler stops to inline it once it is called from many
// places, and every loop over it pays.
#if defined(_MSC_VER)
#define FISHERFIELD_INLINE __forceinline
#else
#define FISHERFIELD_INLINE inline __attribute__((always_inline))
#endif
