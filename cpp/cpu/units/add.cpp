// SPDX-License-Identifier: BSD-3-Clause
// Sums of branches. The branch's units were drawn for it alone: kernels stand side by side. Two Gaussian states without
// kernels that go with their units' values stay one (layers/add.hpp).
#include <algorithm>

#include "kinds.hpp"

namespace fisherfield::sampled_units {

namespace {

// A sum of matrices, each null where it is 0.
Matrix sum(Room& room, const Matrix& skip, const Matrix& branch, double factor, long k) {
    if (!branch) {
        return skip;
    }
    Matrix out = matrix(room, k);
    each(room, k * k, [&](long i) { (*out)[i] = (skip ? (*skip)[i] : 0.0) + factor * (*branch)[i]; });
    return out;
}

std::shared_ptr<Averages> gaussian_sum(Room& room, const Averages& branch, const Averages& skip, double alpha) {
    const long k = skip.positions();
    auto out = std::make_shared<Averages>();
    out->gaussian = true;
    out->size = skip.size;
    out->xy = sum(room, skip.xy, branch.xy, alpha * alpha, k);
    out->v = sum(room, skip.v, branch.v, alpha * alpha, k);
    out->o = sum(room, skip.o, branch.o, alpha * alpha, k);
    out->d = sum(room, skip.d, branch.d, alpha * alpha, k);
    if (!skip.mean.empty() || !branch.mean.empty()) {
        out->mean.assign(k, 0.0);
        for (long a = 0; a < k; ++a) {
            out->mean[a] =
                (skip.mean.empty() ? 0.0 : skip.mean[a]) + (branch.mean.empty() ? 0.0 : alpha * branch.mean[a]);
        }
    }
    return out;
}

bool plain(const Value& value) {
    return value.averages && value.averages->gaussian && !value.averages->ou && !value.averages->du;
}

// Each unit several times, one after the other: where the other summand has more, with fresh ones of these.
Floats repeated(Room& room, const Floats& from, long times) {
    Floats out = floats(room, from->size() * times);
    each(room, times, [&](long i) { std::copy_n(from->data(), from->size(), out->data() + i * from->size()); });
    return out;
}

void repeat(Room& room, Units* units, long times) {
    if (times == 1) {
        return;
    }
    units->count *= times;
    units->h = repeated(room, units->h, times);
    for (Term& term : units->terms) {
        for (Tap& tap : term.taps) {
            tap.slopes = repeated(room, tap.slopes, times);
        }
    }
    for (Low& low : units->lows) {
        const bool one = low.P == low.Q;
        low.P = repeated(room, low.P, times);
        low.Q = one ? low.P : repeated(room, low.Q, times);
    }
}

void scale(Room& room, Units* units, float alpha) {
    if (alpha == 1.0F) {
        return;
    }
    Array<float> factor(room, units->numbers());
    if (!room.rehearsal) {
        std::fill_n(factor.data(), factor.size(), alpha);
    }
    multiply_slopes(room, units, factor.data());
    units->h = writable(room, std::move(units->h));
    each(room, static_cast<long>(units->numbers()), [&](long i) { (*units->h)[i] *= alpha; });
}

Value add(Room& room, const Node& node, Inputs in) {
    const double alpha = node.numbers[0];
    if (plain(in.first) && plain(in.second)) {
        return {gaussian_sum(room, *in.first.averages, *in.second.averages, alpha), nullptr};
    }
    const auto mine = [](std::shared_ptr<Units> units) {
        return units.use_count() == 1 ? units : std::make_shared<Units>(*units);
    };
    auto skip = mine(as_units(room, std::move(in.second), node.place, 1));
    auto branch = mine(as_units(room, std::move(in.first), node.place, 0));
    scale(room, branch.get(), static_cast<float>(alpha));
    const long most = std::max(skip->count, branch->count);
    repeat(room, skip.get(), most / skip->count);
    repeat(room, branch.get(), most / branch->count);
    branch->h = writable(room, std::move(branch->h));
    each(room, static_cast<long>(branch->numbers()), [&](long i) { (*branch->h)[i] += (*skip->h)[i]; });
    skip->h.reset();
    branch->terms.insert(branch->terms.begin(), skip->terms.begin(), skip->terms.end());
    branch->lows.insert(branch->lows.begin(), skip->lows.begin(), skip->lows.end());
    return {nullptr, branch};
}

const Entered entered({.kind = LayerKind::add, .takes_gaussian = true, .of_units = add});

} // namespace

} // namespace fisherfield::sampled_units
