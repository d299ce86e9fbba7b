// SPDX-License-Identifier: BSD-3-Clause
// Dropout: a mask for every unit, sample and position; of averages what one input with itself has beyond two grows.
#include "kinds.hpp"
#include "normals.hpp"

namespace fisherfield::sampled_units {

namespace {

Value of_units(Room& room, const Node& node, Inputs in) {
    auto units = as_units(room, std::move(in.first), node.place);
    if (units.use_count() > 1) {
        units = std::make_shared<Units>(*units);
    }
    const double rate = node.numbers[0];
    const auto factor = static_cast<float>(1.0 / (1.0 - rate));
    const std::uint64_t key = key_of(room.how.seed, room.group, node.place, 5);
    Array<float> mask(room, units->numbers());
    units->h = writable(room, std::move(units->h));
    const long size = units->reads * units->positions();
    each(room, units->count, [&](long i) {
        for (long j = 0; j < size; ++j) {
            const float here = uniform(bits(unit_key(key, i), j)) >= rate ? factor : 0.0F;
            mask[i * size + j] = here;
            (*units->h)[i * size + j] *= here;
        }
    });
    multiply_slopes(room, units.get(), mask.data());
    return {nullptr, units};
}

std::shared_ptr<Averages> of_averages(Room& room, const Node& node, std::shared_ptr<Averages> in) {
    auto out = own(room, std::move(in));
    const long k = out->positions();
    const double more = node.numbers[0] / (1.0 - node.numbers[0]);
    each(room, k, [&](long a) {
        const auto grow = [&](const Matrix& shared, const Matrix& beyond) {
            if (beyond) {
                double& to = (*beyond)[a * k + a];
                to += more * (to + (shared ? (*shared)[a * k + a] : 0.0));
            }
        };
        grow(out->xy, out->v);
        grow(out->o, out->d);
    });
    return out;
}

const Entered entered({.kind = LayerKind::dropout, .of_averages = of_averages, .of_units = of_units});

} // namespace

} // namespace fisherfield::sampled_units
