// SPDX-License-Identifier: BSD-3-Clause
// h = factor z: a branch's share of a sum.
#include <cmath>

#include "makers.hpp"
#include "rows.hpp"

namespace fisherfield::finite_network {

namespace {

template <class T>
class Scale final : public Map<T> {
    using Map<T>::out, Map<T>::rows_out;

public:
    Scale(const Image& image, double factor) : Map<T>(image, image), factor_(static_cast<T>(factor)) {}

    Buffer<T> forward(Buffer<T> z, const Pass& pass) override {
        scaled(z.get(), z.get());
        const Noise random = pass.random();
        const double unit = pass.noise_unit<T>();
        const std::uint64_t all = static_cast<std::uint64_t>(rows_out()) * out.channels;
        for (std::uint64_t i = 0; unit > 0.0 && i < all; ++i) {
            z[i] += static_cast<T>(unit * z[i] * random(5 * all + i)); // other places than those of other layers
        }
        return z;
    }
    void pull(const T* deltas, T* result, T* /*code*/, bool /*direct*/) override { scaled(deltas, result); }
    void push(const T* changes, T* result, const T* /*code*/, bool /*direct*/) override { scaled(changes, result); }

    bool in_place() const override { return true; }
    Means removable(Means behind) const override { return behind; } // what is the same in all rows stays the same

private:
    void scaled(const T* x, T* result) const {
        RowBlocks{rows_out()}([&](long, long first, long last) {
            for (long i = first * out.channels; i < last * out.channels; ++i) {
                result[i] = factor_ * x[i];
            }
        });
    }

    T factor_;
};

template <class T>
std::unique_ptr<Map<T>> make(const Image& shape, const Numbers& numbers, const Arrays<T>&, bool) {
    require(std::isfinite(numbers[0]), "scale", "factor", "finite", numbers[0]);
    return std::make_unique<Scale<T>>(shape, numbers[0]);
}

const Entered scale({"scale", {"factor"}, {}, nullptr, make<float>, make<double>});

} // namespace

} // namespace fisherfield::finite_network
