// SPDX-License-Identifier: BSD-3-Clause
// The only file that knows CUDA exists: every function of these headers runs on host and device.
#pragma once

#if defined(__CUDACC__)
#define FISHERFIELD_HD __host__ __device__
#else
#define FISHERFIELD_HD
#endif

// For what is long or rarely reached: a function of its own on a device, where a compiler left alone inlines everything
// and takes a quarter of an hour and gigabytes for one kernel.
#if defined(__CUDA_ARCH__)
#define FISHERFIELD_HD_APART __host__ __device__ __noinline__
#else
#define FISHERFIELD_HD_APART FISHERFIELD_HD
#endif

// For what is short and called for every point: left alone, a compiler stops to inline it once it is called from many
// places, and every loop over it pays.
#if defined(_MSC_VER)
#define FISHERFIELD_INLINE __forceinline
#else
#define FISHERFIELD_INLINE inline __attribute__((always_inline))
#endif
