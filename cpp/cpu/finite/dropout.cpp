// SPDX-License-Identifier: BSD-3-Clause
// h = m z/p with m = 1 with probability p = 1 - rate, else 0 (N. Srivastava et al., JMLR 15, 1929, 2014): independent
// for each sample, position and channel, and fixed by (seed, layer), so that all passes through a network see the same
// mask.
#include <cmath>

#include "makers.hpp"
#include "rows.hpp"

namespace fisherfield::finite_network {

namespace {

template <class T>
class Dropout final : public Map<T> {
    using Map<T>::out, Map<T>::samples;

public:
    Dropout(const Image& image, double rate, std::uint64_t seed, std::uint64_t layer)
        : Map<T>(image, image), keep_(1.0 - rate), random_(seed + layer * 0xd1342543de82ef95ULL) {}

    Buffer<T> forward(Buffer<T> z, const Pass& pass) override {
        masked(z.get(), z.get());
        const Noise random = pass.random();
        const double unit = pass.noise_unit<T>();
        const std::uint64_t all = static_cast<std::uint64_t>(samples) * out.units();
        for (std::uint64_t i = 0; unit > 0.0 && i < all; ++i) {
            z[i] += static_cast<T>(unit * z[i] * random(4 * all + i)); // other places than phi's and a norm's
        }
        return z;
    }
    void pull(const T* deltas, T* result, T* /*code*/, bool /*direct*/) override { masked(deltas, result); }
    void push(const T* changes, T* result, const T* /*code*/, bool /*direct*/) override { masked(changes, result); }

    bool in_place() const override { return true; }

private:
    void masked(const T* x, T* result) const {
        const T scale = static_cast<T>(1.0 / keep_);
        RowBlocks{samples}([&](long, long first, long last) {
            for (long i = first * out.units(); i < last * out.units(); ++i) {
                result[i] = random_.uniform(i) < keep_ ? scale * x[i] : T(0);
            }
        });
    }

    double keep_;
    Noise random_;
};

template <class T>
std::unique_ptr<Map<T>> make(const Image& shape, const Numbers& numbers, const Arrays<T>&, bool) {
    const double rate = numbers[0], seed = numbers[1], layer = numbers[2];
    const auto counts = [](double number) { return number >= 0.0 && number < 0x1p53 && number == std::floor(number); };
    require(rate >= 0.0 && rate < 1.0, "dropout", "rate", "in [0, 1)", rate);
    require(counts(seed), "dropout", "seed", "a whole number from 0 to 2^53 - 1", seed);
    require(counts(layer), "dropout", "layer", "a whole number from 0 to 2^53 - 1", layer);
    return std::make_unique<Dropout<T>>(shape, rate, static_cast<std::uint64_t>(seed),
                                        static_cast<std::uint64_t>(layer));
}

const Entered dropout({"dropout", {"rate", "seed", "layer"}, {}, nullptr, make<float>, make<double>});

} // namespace

} // namespace fisherfield::finite_network
