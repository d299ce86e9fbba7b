// SPDX-License-Identifier: BSD-3-Clause
// Every stride-th position of the channels that come in, and zeros as the channels behind them: a skip without
// parameters (K. He et al., arXiv 1512.03385, option A).
#include <algorithm>
#include <cmath>

#include "makers.hpp"
#include "rows.hpp"

namespace fisherfield::finite_network {

namespace {

template <class T>
class Subsample final : public Map<T> {
    using Map<T>::in, Map<T>::out, Map<T>::samples, Map<T>::rows_in, Map<T>::rows_out;

public:
    Subsample(const Image& in, int channels, const Windows& windows)
        : Map<T>(in, slid(in, windows, channels)), windows_(windows) {}

    Buffer<T> forward(Buffer<T> activations, const Pass& /*pass*/) override {
        Buffer<T> result = numbers<T>(rows_out() * out.channels);
        push(activations.get(), result.get(), nullptr, true);
        return result;
    }
    void pull(const T* deltas, T* result, T* /*code*/, bool /*direct*/) override {
        fill_rows<T>(result, rows_in(), in.channels, nullptr);
        each([&](long from, long to) { std::copy_n(deltas + to, in.channels, result + from); });
    }
    void push(const T* changes, T* result, const T* /*code*/, bool /*direct*/) override {
        fill_rows<T>(result, rows_out(), out.channels, nullptr);
        each([&](long from, long to) { std::copy_n(changes + from, in.channels, result + to); });
    }

    // What is the same at all positions of a channel stays the same.
    Means removable(Means behind) const override { return behind; }

private:
    // body(place of a position's channels in the input, place in the result)
    template <class Body>
    void each(const Body& body) const {
        parallel_for(samples, [&](long sample) {
            taps(in, out, windows_, [&](long row, int, long position) {
                body(sample * in.units() + position * in.channels, sample * out.units() + row * out.channels);
            });
        });
    }

    Windows windows_;
};

template <class T>
std::unique_ptr<Map<T>> make(const Image& shape, const Numbers& numbers, const Arrays<T>&, bool) {
    for (const double number : numbers) {
        require(number >= 1.0 && number < 0x1p31 && number == std::floor(number), "subsample", "sizes",
                "whole numbers >= 1", number);
    }
    require(numbers[0] >= shape.channels, "subsample", "channels", "at least those that come in", numbers[0]);
    const Pair stride{static_cast<int>(numbers[1]), static_cast<int>(numbers[2])};
    return std::make_unique<Subsample<T>>(shape, static_cast<int>(numbers[0]), Windows{{1, 1}, stride});
}

const Entered subsample({"subsample", {"channels", "stride", "stride"}, {}, nullptr, make<float>, make<double>});

} // namespace

} // namespace fisherfield::finite_network
