// SPDX-License-Identifier: BSD-3-Clause
// Positions that become units, where a layer behind reads these themselves: a unit goes on as several, each with one
// position and its own place in the kernel. The specification is reference/units/flatten.py.
#include <algorithm>
#include <cmath>
#include <utility>

#include "kinds.hpp"

namespace fisherfield::sampled_units {

namespace {

class Flattened {
public:
    Flattened(Room& room, const Units& from) : room_(room), from_(from), reads_(from.reads), k_(from.positions()) {
        while (2 * share_ <= k_ && 2 * share_ * from.count <= kMostUnits) {
            share_ *= 2;
        }
    }

    std::shared_ptr<Units> units() {
        auto out = std::make_shared<Units>();
        out->count = from_.count * share_;
        out->reads = reads_;
        out->h = picked(from_.h);
        for (const Term& term : from_.terms) {
            put(term, out.get());
        }
        for (const Low& low : from_.lows) {
            Floats P = picked(low.P);
            out->lows.push_back({P, low.P == low.Q ? P : picked(low.Q), low.factor});
        }
        return out;
    }

private:
    // As many of a unit's positions as it becomes units, in turn, so that all have their part; of a pair the same.
    long position(long unit) const { return (unit / share_ % (from_.count / 2) * share_ + unit % share_) % k_; }

    // body(unit, its position, place of its sample in what it comes from, place of its sample) for all of them.
    template <class Body>
    void each_sample(Body&& body) const {
        each(room_, from_.count * share_, [&](long unit) {
            const long a = position(unit);
            for (long r = 0; r < reads_; ++r) {
                body(a, (unit / share_ * reads_ + r) * k_ + a, unit * reads_ + r);
            }
        });
    }

    Floats empty() const { return floats(room_, static_cast<std::size_t>(from_.count) * share_ * reads_); }

    Floats picked(const Floats& from) const {
        Floats out = empty();
        each_sample([&](long, long at, long to) { (*out)[to] = (*from)[at]; });
        return out;
    }

    // sum over taps t' of A_t' matrix[reads_t, reads_t'], of tap t
    double through(const Term& term, const Matrix& matrix, const Tap& tap, long a, long at) const {
        double sum = 0.0;
        for (const Tap& other : term.taps) {
            const int row = (*tap.reads)[a], column = (*other.reads)[a];
            if (row >= 0 && column >= 0) {
                sum += (*matrix)[static_cast<std::size_t>(row) * term.positions + column] * (*other.slopes)[at];
            }
        }
        return sum;
    }

    // o is a number for each unit: sum_t A_t(x) q_t(y), q = o A, half of it from either side. d is of one sample alone,
    // and its root is a slope.
    void put(const Term& term, Units* to) const {
        for (const Tap& tap : term.taps) {
            if (term.o) {
                Floats Q = empty();
                each_sample([&](long a, long at, long i) {
                    (*Q)[i] = static_cast<float>(through(term, term.o, tap, a, at) / 2);
                });
                to->lows.push_back({picked(tap.slopes), std::move(Q), 1.0F});
            }
        }
        if (term.d) {
            Floats slope = empty();
            each_sample([&](long a, long at, long i) {
                double sum = 0.0;
                for (const Tap& tap : term.taps) {
                    sum += (*tap.slopes)[at] * through(term, term.d, tap, a, at);
                }
                (*slope)[i] = static_cast<float>(std::sqrt(std::max(sum, 0.0)));
            });
            Matrix one = matrix(room_, 1);
            each(room_, 1, [&](long) { (*one)[0] = 1.0; });
            to->terms.push_back({{{std::move(slope), std::make_shared<std::vector<int>>(1, 0)}}, nullptr, one, 1});
        }
    }

    Room& room_;
    const Units& from_;
    long reads_, k_, share_ = 1; // share_: into how many each unit goes
};

} // namespace

Value flatten_units(Room& room, const Node&, Inputs in) { return {nullptr, Flattened(room, *in.first.units).units()}; }

} // namespace fisherfield::sampled_units
