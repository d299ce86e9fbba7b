// SPDX-License-Identifier: BSD-3-Clause
// Threads for loops over independent rows; a row's result never depends on how many there are.
#pragma once

#include <atomic>
#include <functional>

#include "fisherfield/gaussian.hpp"

namespace fisherfield {

// At least 1; the machine's number of processors until it is set.
void set_num_threads(int threads);
int num_threads();

// body(row) for row = 0 .. rows - 1, in any order, by `threads` threads (0: num_threads()). The first exception is
// thrown again here. Threads live for one call: a pool would have to be made anew after every fork, and starting two
// costs 40 microseconds against rows of milliseconds.
void parallel_for(long rows, const std::function<void(long)>& body, int threads = 0);

// The worst status that any row met, whichever came first.
inline void raise(std::atomic<Status>* worst, Status status) {
    Status seen = *worst;
    while (status > seen && !worst->compare_exchange_weak(seen, status)) {
    }
}

} // namespace fisherfield
