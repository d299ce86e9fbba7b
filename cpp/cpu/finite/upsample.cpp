// SPDX-License-Identifier: BSD-3-Clause
// Every position of an image several times, side by side (torch.nn.Upsample, "nearest").
#include <cmath>

#include "makers.hpp"
#include "rows.hpp"

namespace fisherfield::finite_network {

namespace {

template <class T>
class Upsample final : public Map<T> {
    using Map<T>::in, Map<T>::out, Map<T>::samples, Map<T>::rows_in, Map<T>::rows_out;

public:
    Upsample(const Image& in, const Pair& times)
        : Map<T>(in, {in.channels, {in.size[0] * times[0], in.size[1] * times[1]}}), times_(times) {}

    Buffer<T> forward(Buffer<T> activations, const Pass& /*pass*/) override {
        Buffer<T> result = numbers<T>(rows_out() * out.channels);
        push(activations.get(), result.get(), nullptr, true);
        return result;
    }
    void pull(const T* deltas, T* result, T* /*code*/, bool /*direct*/) override {
        fill_rows<T>(result, rows_in(), in.channels, nullptr);
        each([&](long from, long to) {
            for (int c = 0; c < in.channels; ++c) {
                result[from + c] += deltas[to + c];
            }
        });
    }
    void push(const T* changes, T* result, const T* /*code*/, bool /*direct*/) override {
        each([&](long from, long to) { std::copy_n(changes + from, in.channels, result + to); });
    }

    // What is the same in all rows stays the same, and so do the means over positions.
    Means removable(Means behind) const override { return behind; }

private:
    // body(place of a position's channels in the input, place in the result)
    template <class Body>
    void each(const Body& body) const {
        parallel_for(samples, [&](long sample) {
            for (long row = 0; row < out.positions(); ++row) {
                const long y = row / out.size[1] / times_[0], x = row % out.size[1] / times_[1];
                const long position = y * in.size[1] + x;
                body(sample * in.units() + position * in.channels, sample * out.units() + row * out.channels);
            }
        });
    }

    Pair times_;
};

template <class T>
std::unique_ptr<Map<T>> make(const Image& shape, const Numbers& numbers, const Arrays<T>&, bool) {
    for (int side = 0; side < 2; ++side) {
        const double positions = numbers[side] * shape.size[side];
        const bool valid = numbers[side] >= 1.0 && positions < 0x1p31 && numbers[side] == std::floor(numbers[side]);
        require(valid, "upsample", "factor", "a whole number >= 1", numbers[side]);
    }
    return std::make_unique<Upsample<T>>(shape, Pair{static_cast<int>(numbers[0]), static_cast<int>(numbers[1])});
}

const Entered upsample({"upsample", {"rows", "columns"}, {}, nullptr, make<float>, make<double>});

} // namespace

} // namespace fisherfield::finite_network
