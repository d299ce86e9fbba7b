// SPDX-License-Identifier: BSD-3-Clause
#include "threads.hpp"

#include <algorithm>
#include <atomic>
#include <exception>
#include <system_error>
#include <thread>
#include <vector>

namespace fisherfield {

namespace {

std::atomic<int>& threads_in_use() {
    static std::atomic<int> threads{std::max(1, static_cast<int>(std::thread::hardware_concurrency()))};
    return threads;
}

} // namespace

void set_num_threads(int threads) { threads_in_use() = threads; }
int num_threads() { return threads_in_use(); }

void parallel_for(long rows, const std::function<void(long)>& body, int threads) {
    const int workers = static_cast<int>(std::min<long>(threads > 0 ? threads : num_threads(), rows));
    std::atomic<long> next{0};
    std::atomic<bool> failed{false};
    std::exception_ptr failure;
    const auto work = [&] {
        try {
            for (long row = next++; row < rows && !failed; row = next++) {
                body(row);
            }
        } catch (...) {
            if (!failed.exchange(true)) {
                failure = std::current_exception();
            }
        }
    };
    std::vector<std::thread> others;
    for (int worker = 1; worker < workers; ++worker) {
        try {
            others.emplace_back(work);
        } catch (const std::system_error&) {
            break; // the system has no more threads: those that started do the work
        }
    }
    work();
    for (std::thread& other : others) {
        other.join();
    }
    if (failure) {
        std::rethrow_exception(failure);
    }
}

} // namespace fisherfield
