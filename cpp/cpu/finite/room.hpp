// SPDX-License-Identifier: BSD-3-Clause
// Buffers of one size that are lent and given back.
#pragma once

#include <cstddef>
#include <vector>

#include "buffer.hpp"

namespace fisherfield::finite_network {

template <class T>
class Room {
public:
    void resize(std::size_t size) { // all are given back
        size_ = size;
        buffers_.clear();
        free_.clear();
    }

    T* take() {
        if (free_.empty()) {
            buffers_.push_back(numbers<T>(size_));
            return buffers_.back().get();
        }
        T* buffer = free_.back();
        free_.pop_back();
        return buffer;
    }

    void give(const T* buffer) { // another's stays where it is
        for (const Buffer<T>& own : buffers_) {
            if (own.get() == buffer) {
                free_.push_back(own.get());
            }
        }
    }

private:
    std::size_t size_ = 0;
    std::vector<Buffer<T>> buffers_;
    std::vector<T*> free_;
};

} // namespace fisherfield::finite_network
