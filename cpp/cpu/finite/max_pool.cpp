// SPDX-License-Identifier: BSD-3-Clause
// The largest of every window and channel: of equals the first, as in PyTorch, and never the padding. Which position it
// was is kept; changes come from there, and deltas go there.
#include <cmath>
#include <cstdint>
#include <vector>

#include "makers.hpp"
#include "rows.hpp"

namespace fisherfield::finite_network {

namespace {

template <class T>
class MaxPool final : public Map<T> {
    using Map<T>::in, Map<T>::out, Map<T>::samples, Map<T>::rows_in, Map<T>::rows_out;

public:
    MaxPool(const Image& in, const Windows& windows) : Map<T>(in, slid(in, windows, in.channels)), windows_(windows) {}

    Buffer<T> forward(Buffer<T> activations, const Pass& pass) override {
        Buffer<T> result = numbers<T>(rows_out() * out.channels);
        picked_.clear(); // of inputs that were
        picked_.resize(pass.keep ? rows_out() * out.channels : 0);
        parallel_for(samples, [&](long sample) {
            const T* from = activations.get() + sample * in.units();
            T* to = result.get() + sample * out.units();
            std::int32_t* pick = pass.keep ? picked_.data() + sample * out.units() : nullptr;
            long begun = -1; // the last result that has a number
            taps(in, out, windows_, [&](long row, int, long position) {
                if (position < 0) {
                    return;
                }
                const bool first = row != begun;
                begun = row;
                for (int c = 0; c < in.channels; ++c) {
                    const long at = row * out.channels + c;
                    const T value = from[position * in.channels + c];
                    if (first || value > to[at] || std::isnan(value)) {
                        to[at] = value;
                        if (pick) {
                            pick[at] = static_cast<std::int32_t>(position);
                        }
                    }
                }
            });
        });
        return result;
    }

    void pull(const T* deltas, T* result, T* /*code*/, bool /*direct*/) override {
        fill_rows<T>(result, rows_in(), in.channels, nullptr);
        each([&](long from, long to) { result[from] += deltas[to]; });
    }
    void push(const T* changes, T* result, const T* /*code*/, bool /*direct*/) override {
        each([&](long from, long to) { result[to] = changes[from]; });
    }

    // What is the same at all positions of a channel stays the same, and changes no maximum.
    Means removable(Means behind) const override { return behind == Means::channels ? behind : Means::none; }
    double kept(double n) const override { return n * out.units() * sizeof(std::int32_t) / sizeof(T); }

private:
    // body(place of the largest, place of the result)
    template <class Body>
    void each(const Body& body) const {
        parallel_for(samples, [&](long sample) {
            const long first = sample * out.units();
            for (long at = first; at < first + out.units(); ++at) {
                const long position = picked_[at];
                body(sample * in.units() + position * in.channels + at % out.channels, at);
            }
        });
    }

    Windows windows_;
    std::vector<std::int32_t> picked_; // the position of the largest, in the order of the results
};

template <class T>
std::unique_ptr<Map<T>> make(const Image& shape, const Numbers& numbers, const Arrays<T>&, bool) {
    static constexpr const char* kNames[] = {"kernel", "stride", "padding"};
    Pair sizes[3];
    for (int i = 0; i < 6; ++i) {
        const double least = i < 4 ? 1.0 : 0.0, number = numbers[i];
        require(number >= least && number < 0x1p31 && number == std::floor(number), "max_pool", kNames[i / 2],
                i < 4 ? "whole numbers >= 1" : "whole numbers >= 0", number);
        sizes[i / 2][i % 2] = static_cast<int>(number);
    }
    const auto& [kernel, stride, padding] = sizes;
    for (int side = 0; side < 2; ++side) {
        require(2.0 * padding[side] <= kernel[side], "max_pool", "padding", "at most half of the kernel",
                padding[side]);
        require(kernel[side] <= shape.size[side] + 2.0 * padding[side], "max_pool", "kernel",
                "at most the padded image's size", kernel[side]);
    }
    return std::make_unique<MaxPool<T>>(shape, Windows{kernel, stride, padding});
}

const Entered max_pool({"max_pool",
                        {"kernel", "kernel", "stride", "stride", "padding", "padding"},
                        {},
                        nullptr,
                        make<float>,
                        make<double>});

} // namespace

} // namespace fisherfield::finite_network
