// SPDX-License-Identifier: BSD-3-Clause
// The only file that knows CUDA exists: every function of these headers runs on host and device.
#pragma once

#if defined(__CUDACC__)
#define FISHERFIELD_HD __host__ __device__
#else
#define FISHERFIELD_HD
#endif
