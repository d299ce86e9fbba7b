// SPDX-License-Identifier: BSD-3-Clause
// What a pass of sampled units takes: how units are drawn, and its memory. A rehearsal makes the same arrays without
// numbers, so that what a pass will need is known before it begins.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "buffer.hpp"
#include "fisherfield/network.hpp"
#include "fisherfield/settings.hpp"

namespace fisherfield::sampled_units {

// How units are drawn.
struct Drawing {
    long units = 0;        // M of a group, where images are largest
    long largest = 1;      // the positions of these
    bool of_batch = false; // the samples of a unit are the batch: statistics are their own
    long reads = 0;        // R, samples of a unit
    std::uint64_t seed = 0;
    // Of the inputs' positions, K x K: between two inputs, and what one's have beyond that; empty where positions are
    // independent.
    std::vector<double> xy{}, v{};
    // Of each described layer, what a frozen BatchNorm's 1/s^2 is multiplied by in tangent kernels; empty: 1.
    std::vector<double> gains{};

    double gain(int place) const { return gains.empty() ? 1.0 : gains.at(place); }
};

inline constexpr int kGroups = 4;           // of units, a pass each
inline constexpr long kMostUnits = 1 << 13; // of a group

// Small images make most of the noise and cost nothing: they get more units, by a power of two.
inline long unit_count(const Drawing& how, long positions) {
    long more = 1;
    while (2 * more * positions <= how.largest && 2 * more * how.units <= kMostUnits) {
        more *= 2;
    }
    return how.units * more;
}

// Bytes that arrays hold now, and held at most. What arrays have given back is kept for those of the same size, since
// fresh pages cost as much as what is done with them; with it never more is held than the peak.
class Meter {
public:
    double now = 0.0, peak = 0.0;
    double written = 0.0;  // bytes of all arrays
    double products = 0.0; // of numbers in products of matrices, as a rehearsal counts them

    Buffer<char> take(std::size_t bytes, bool rehearsal) {
        now += static_cast<double>(bytes);
        peak = std::max(now, peak);
        written += static_cast<double>(bytes);
        if (rehearsal) {
            return nullptr;
        }
        if (const auto found = kept_.find(bytes); found != kept_.end()) {
            Buffer<char> out = std::move(found->second);
            kept_.erase(found);
            held_ -= static_cast<double>(bytes);
            return out;
        }
        while (!kept_.empty() && now + held_ > peak) {
            held_ -= static_cast<double>(kept_.begin()->first);
            kept_.erase(kept_.begin());
        }
        return numbers<char>(bytes);
    }

    void give(Buffer<char> memory, std::size_t bytes) {
        now -= static_cast<double>(bytes);
        if (memory) {
            held_ += static_cast<double>(bytes);
            kept_.emplace(bytes, std::move(memory));
        }
    }

private:
    std::multimap<std::size_t, Buffer<char>> kept_;
    double held_ = 0.0;
};

struct Room {
    const Network& network;
    const Settings& settings;
    const Drawing& how;
    int group = 0;
    int only = -1; // gradients by this affine layer's parameters alone; -1: by all
    bool rehearsal = false;
    Meter meter{};

    bool owns(const Node& node) const { return only < 0 || only == node.layer; }
};

// An array, counted; without numbers in a rehearsal.
template <class T>
class Array {
public:
    Array() = default;
    Array(Room& room, std::size_t size)
        : size_(size), meter_(&room.meter), memory_(meter_->take(size * sizeof(T), room.rehearsal)) {}
    Array(Array&& other) noexcept { swap(other); }
    Array& operator=(Array&& other) noexcept {
        swap(other);
        return *this;
    }
    ~Array() {
        if (meter_ != nullptr) {
            meter_->give(std::move(memory_), size_ * sizeof(T));
        }
    }

    T* data() { return reinterpret_cast<T*>(memory_.get()); }
    const T* data() const { return reinterpret_cast<const T*>(memory_.get()); }
    T& operator[](std::size_t i) { return data()[i]; }
    const T& operator[](std::size_t i) const { return data()[i]; }
    std::size_t size() const { return size_; }
    bool empty() const { return size_ == 0; }

private:
    void swap(Array& other) noexcept {
        std::swap(size_, other.size_);
        std::swap(meter_, other.meter_);
        std::swap(memory_, other.memory_);
    }

    std::size_t size_ = 0;
    Meter* meter_ = nullptr;
    Buffer<char> memory_;
};

} // namespace fisherfield::sampled_units
