// SPDX-License-Identifier: BSD-3-Clause
// Large arrays of numbers that nobody has set yet. A forward pass writes a hundred megabytes for the first time: in
// pages of 4 kB that takes as long as a third of its products of matrices.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <memory>
#include <new>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace fisherfield {

struct Release {
    void operator()(void* memory) const { std::free(memory); }
};

template <class T>
using Buffer = std::unique_ptr<T[], Release>;

template <class T>
Buffer<T> numbers(std::size_t count) {
    constexpr std::size_t kPage = std::size_t{1} << 21; // a huge one
    const std::size_t bytes = count * sizeof(T);
    void* memory = nullptr;
#if defined(__linux__)
    if (bytes >= 2 * kPage) {
        memory = std::aligned_alloc(kPage, (bytes + kPage - 1) / kPage * kPage);
        if (memory) {
            madvise(memory, bytes, MADV_HUGEPAGE); // a wish: small pages do as well
        }
    } else
#endif
    {
        memory = std::malloc(bytes > 0 ? bytes : 1);
    }
    if (!memory) {
        throw std::bad_alloc();
    }
    return Buffer<T>(static_cast<T*>(memory));
}

} // namespace fisherfield
