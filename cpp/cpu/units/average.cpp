// SPDX-License-Identifier: BSD-3-Clause
// Averages over units, and what every unit's kernel makes of a vector.
#include <algorithm>

#include "products.hpp"
#include "units.hpp"

namespace fisherfield::sampled_units {

namespace {

// The entry of a shared matrix that two taps read.
double entry(const Matrix& matrix, long positions, int row, int column) {
    return matrix && row >= 0 && column >= 0 ? (*matrix)[static_cast<std::size_t>(row) * positions + column] : 0.0;
}

Matrix zeros(Room& room, long k) {
    Matrix out = matrix(room, k);
    if (!room.rehearsal) {
        std::fill_n(out->data(), out->size(), 0.0);
    }
    return out;
}

// Pairs of positions a <= b, those of a tile together: what lies across the diagonal is at hand, too.
template <class Body>
void upper(long k, const Body& body) {
    constexpr long kTile = 32;
    for (long top = 0; top < k; top += kTile) {
        for (long left = top; left < k; left += kTile) {
            for (long a = top; a < std::min(top + kTile, k); ++a) {
                for (long b = std::max(a, left); b < std::min(left + kTile, k); ++b) {
                    body(a, b);
                }
            }
        }
    }
}

// Sums over units, some at a time, of products of what was centred: of rests, v, and of means, xy.
class Sums {
public:
    Sums(Room& room, const Units& units)
        : k_(units.positions()), rest_(room, static_cast<std::size_t>(k_) * k_),
          means_(room, static_cast<std::size_t>(k_) * k_), share_(units.count, units.reads) {}

    // body(place, v, xy) for a <= b, of A B^T of each place: both are one.
    template <class Body>
    void square(const Centred& A, const Body& body) {
        A.multiply(A, rest_.data(), means_.data());
        for (long a = 0; a < k_; ++a) {
            for (long at = a * k_ + a; at < (a + 1) * k_; ++at) {
                const double v = rest_[at] * share_.of_v;
                body(at, v, means_[at] * share_.of_xy - v * share_.less);
            }
        }
    }

    // The same for a <= b of A B^T + B A^T.
    template <class Body>
    void both(const Centred& A, const Centred& B, const Body& body) {
        A.multiply(B, rest_.data(), means_.data());
        upper(k_, [&](long a, long b) {
            const long at = a * k_ + b, across = b * k_ + a;
            const double v = (static_cast<double>(rest_[at]) + rest_[across]) * share_.of_v;
            body(at, v, (static_cast<double>(means_[at]) + means_[across]) * share_.of_xy - v * share_.less);
        });
    }

    // body(place, a, b, v, xy) for every a and b, of A B^T alone; place is that of the pair above the diagonal.
    template <class Body>
    void each_order(const Centred& A, const Centred& B, const Body& body) {
        A.multiply(B, rest_.data(), means_.data());
        const auto of = [&](long place, long a, long b) {
            const double v = rest_[a * k_ + b] * share_.of_v;
            body(place, a, b, v, means_[a * k_ + b] * share_.of_xy - v * share_.less);
        };
        upper(k_, [&](long a, long b) {
            of(a * k_ + b, a, b);
            of(a * k_ + b, b, a);
        });
    }

private:
    long k_;
    Array<float> rest_, means_;
    Shares share_;
};

bool in_place(const Term& term, long k) {
    const std::vector<int>& reads = *term.taps[0].reads;
    for (long a = 0; a < k; ++a) {
        if (reads[a] != a) {
            return false;
        }
    }
    return term.taps.size() == 1 && term.positions == k;
}

// Of each pair of taps <A_t, A_t'> (o + delta_xy d)[reads_t, reads_t'], and its transpose; above the diagonal.
void add_term(Room& room, const Units& units, const Term& term, Averages* to) {
    const long k = units.positions(), some = std::min(units.count, units_at_a_time(units.reads, k));
    std::vector<Centred> taps;
    for (std::size_t tap = 0; tap < term.taps.size(); ++tap) {
        taps.emplace_back(room, some, units.reads, k);
    }
    Sums sums(room, units);
    const auto count = static_cast<double>(taps.size());
    room.meter.products += count * count / 2.0 * static_cast<double>(units.rows() * k * k);
    const bool plain = in_place(term, k) && term.o && term.d;
    const double* const own_o = term.o ? term.o->data() : nullptr;
    const double* const own_d = term.d ? term.d->data() : nullptr;
    double* const o = to->o->data();
    double* const d = to->d->data();
    const auto add_one = [&](long place, double of_o, double of_d, double v, double xy) {
        o[place] += xy * of_o;
        d[place] += v * of_o + (xy + v) * of_d;
    };
    const auto add = [&](std::size_t one, std::size_t other) {
        const std::vector<int>&rows = *term.taps[one].reads, &columns = *term.taps[other].reads;
        const auto read = [&](long place, long a, long b, double v, double xy) {
            add_one(place, entry(term.o, term.positions, rows[a], columns[b]),
                    entry(term.d, term.positions, rows[a], columns[b]), v, xy);
        };
        if (plain) {
            sums.square(taps[0], [&](long at, double v, double xy) { add_one(at, own_o[at], own_d[at], v, xy); });
        } else if (one == other) {
            sums.square(taps[one], [&](long at, double v, double xy) { read(at, at / k, at % k, v, xy); });
        } else {
            sums.each_order(taps[one], taps[other], read);
        }
    };
    for (long first = 0; !room.rehearsal && first < units.count; first += some) {
        for (std::size_t tap = 0; tap < taps.size(); ++tap) {
            taps[tap].take(term.taps[tap].slopes->data(), first, std::min(some, units.count - first));
        }
        for (std::size_t one = 0; one < taps.size(); ++one) {
            for (std::size_t other = one; other < taps.size(); ++other) {
                add(one, other);
            }
        }
    }
}

// factor (<P, Q> + <Q, P>), above the diagonal.
void add_low(Room& room, const Units& units, const Low& low, double factor, double* xy, double* v) {
    const long k = units.positions(), some = std::min(units.count, units_at_a_time(units.reads, k));
    const bool one = low.P == low.Q;
    Centred P(room, some, units.reads, k), Q(room, one ? 0 : some, units.reads, k);
    Sums sums(room, units);
    room.meter.products += (one ? 0.5 : 1.0) * static_cast<double>(units.rows() * k * k);
    for (long first = 0; !room.rehearsal && first < units.count; first += some) {
        const long here = std::min(some, units.count - first);
        P.take(low.P->data(), first, here);
        if (one) {
            sums.square(P, [&](long at, double more, double of_two) {
                xy[at] += 2.0 * factor * of_two;
                v[at] += 2.0 * factor * more;
            });
            continue;
        }
        Q.take(low.Q->data(), first, here);
        sums.both(P, Q, [&](long at, double more, double of_two) {
            xy[at] += factor * of_two;
            v[at] += factor * more;
        });
    }
}

} // namespace

std::shared_ptr<Averages> averaged(Room& room, const Value& value) {
    if (value.averages) {
        return value.averages;
    }
    const Units& units = *value.units;
    const long k = units.positions();
    auto out = std::make_shared<Averages>();
    out->size = units.size;
    for (Matrix* const each_one : {&out->xy, &out->v, &out->o, &out->d}) {
        *each_one = zeros(room, k);
    }
    add_low(room, units, {units.h, units.h, 0.5F}, 0.5, out->xy->data(), out->v->data());
    for (const Term& term : units.terms) {
        if (!term.o && !term.d) {
            continue;
        }
        add_term(room, units, term, out.get());
    }
    for (const Low& low : units.lows) {
        add_low(room, units, low, low.factor, out->o->data(), out->d->data());
    }
    for (const Matrix& full : {out->xy, out->v, out->o, out->d}) {
        if (!room.rehearsal) {
            upper(k, [to = full->data(), k](long a, long b) { to[b * k + a] = to[a * k + b]; });
        }
    }
    out->mean.assign(k, 0.0);
    each(room, units.rows(), [&](long row) {
        for (long a = 0; a < k; ++a) {
            out->mean[a] += (*units.h)[row * k + a];
        }
    });
    std::transform(out->mean.begin(), out->mean.end(), out->mean.begin(),
                   [&](double sum) { return sum / static_cast<double>(units.rows()); });
    return out;
}

namespace {

// Means over units and positions of A(x) B(y), and of A(x) B(x) less that.
struct Products {
    double xy = 0.0, v = 0.0;
};

// body(a, products, share) for every position of every unit.
template <class Body>
void each_product(const Units& units, const float* A, const float* B, Body&& body) {
    const long k = units.positions(), reads = units.reads;
    const Shares share(units.count * k, reads);
    for (long i = 0; i < units.count; ++i) {
        for (long a = 0; a < k; ++a) {
            const long first = i * reads * k + a, end = first + reads * k;
            double of_A = 0.0, of_B = 0.0, rest = 0.0;
            for (long at = first; at < end; at += k) {
                of_A += A[at];
                of_B += B[at];
            }
            of_A /= static_cast<double>(reads);
            of_B /= static_cast<double>(reads);
            for (long at = first; at < end; at += k) {
                rest += (A[at] - of_A) * (B[at] - of_B);
            }
            const double v = rest * share.of_v;
            body(a, Products{of_A * of_B * share.of_xy - v * share.less, v});
        }
    }
}

State<Scaled> of_units(const Units& units) {
    Products h;
    double o = 0.0, d = 0.0;
    each_product(units, units.h->data(), units.h->data(), [&](long, const Products& here) {
        h.xy += here.xy;
        h.v += here.v;
    });
    for (const Term& term : units.terms) {
        for (const Tap& one : term.taps) {
            for (const Tap& other : term.taps) {
                each_product(units, one.slopes->data(), other.slopes->data(), [&](long a, const Products& here) {
                    const int row = (*one.reads)[a], column = (*other.reads)[a];
                    const double of_o = entry(term.o, term.positions, row, column);
                    o += here.xy * of_o;
                    d += here.v * of_o + (here.xy + here.v) * entry(term.d, term.positions, row, column);
                });
            }
        }
    }
    for (const Low& low : units.lows) {
        each_product(units, low.P->data(), low.Q->data(), [&](long, const Products& here) {
            o += 2.0 * low.factor * here.xy;
            d += 2.0 * low.factor * here.v;
        });
    }
    return {Scaled(h.xy), Scaled(h.v), 0.0, 0.0, {Scaled(o), Scaled(d), 0.0, 0.0}};
}

} // namespace

State<Scaled> of_position(const Room& room, const Value& value) {
    if (room.rehearsal) {
        return {};
    }
    if (value.units) {
        return of_units(*value.units);
    }
    const Averages& state = *value.averages;
    const long k = state.positions();
    const auto mean = [&](const Matrix& matrix) {
        double sum = 0.0;
        for (long a = 0; matrix && a < k; ++a) {
            sum += (*matrix)[a * k + a];
        }
        return Scaled(sum / static_cast<double>(k));
    };
    return {mean(state.xy) + Scaled(state.bias), mean(state.v), 0.0, 0.0, {mean(state.o), mean(state.d), 0.0, 0.0}};
}

Floats applied(Room& room, const Units& units, const Floats& x) {
    const long k = units.positions(), reads = units.reads;
    Floats out = floats(room, units.numbers());
    if (!room.rehearsal) {
        std::fill_n(out->data(), out->size(), 0.0F);
    }
    const float over = 1.0F / static_cast<float>(reads * k);
    for (const Term& term : units.terms) {
        const long before = term.positions;
        if (!term.o && !term.d) {
            continue;
        }
        Array<float> seen(room, units.rows() * before), of_each(room, units.rows() * before);
        Array<float> sums(room, units.count * before), of_all(room, units.count * before);
        each(room, units.rows(), [&](long row) {
            float* const to = seen.data() + row * before;
            std::fill_n(to, before, 0.0F);
            for (const Tap& tap : term.taps) {
                for (long a = 0; a < k; ++a) {
                    if (const int at = (*tap.reads)[a]; at >= 0) {
                        to[at] += (*tap.slopes)[row * k + a] * (*x)[row * k + a];
                    }
                }
            }
        });
        each(room, units.count, [&](long i) {
            std::fill_n(sums.data() + i * before, before, 0.0F);
            for (long row = i * reads; row < (i + 1) * reads; ++row) {
                for (long q = 0; q < before; ++q) {
                    sums[i * before + q] += seen[row * before + q];
                }
            }
        });
        room.meter.products += static_cast<double>(units.rows() * before * before);
        const auto times = [&](const Matrix& matrix, const Array<float>& from, long rows, Array<float>* to) {
            if (matrix) {
                Factor(room, matrix->data(), before, before).multiply(from.data(), rows, to->data());
            } else if (!room.rehearsal) {
                std::fill_n(to->data(), to->size(), 0.0F);
            }
        };
        times(term.o, sums, units.count, &of_all);
        times(term.d, seen, units.rows(), &of_each);
        each(room, units.rows(), [&](long row) {
            for (const Tap& tap : term.taps) {
                for (long a = 0; a < k; ++a) {
                    if (const int at = (*tap.reads)[a]; at >= 0) {
                        (*out)[row * k + a] += over * (*tap.slopes)[row * k + a] *
                                               (of_all[row / reads * before + at] + of_each[row * before + at]);
                    }
                }
            }
        });
    }
    for (const Low& low : units.lows) {
        each(room, units.count, [&](long i) {
            const long begin = i * reads * k, end = (i + 1) * reads * k;
            double of_P = 0.0, of_Q = 0.0;
            for (long at = begin; at < end; ++at) {
                of_P += static_cast<double>((*low.P)[at]) * (*x)[at];
                of_Q += static_cast<double>((*low.Q)[at]) * (*x)[at];
            }
            const auto p = static_cast<float>(low.factor * of_P) * over,
                       q = static_cast<float>(low.factor * of_Q) * over;
            for (long at = begin; at < end; ++at) {
                (*out)[at] += (*low.Q)[at] * p + (*low.P)[at] * q;
            }
        });
    }
    return out;
}

void multiply_slopes(Room& room, Units* units, const float* factor) {
    const auto multiply = [&](Floats& array) {
        array = writable(room, std::move(array));
        each(room, units->rows(), [&, k = units->positions()](long row) {
            float* const to = array->data() + row * k;
            const float* const by = factor + row * k;
            for (long a = 0; a < k; ++a) {
                to[a] *= by[a];
            }
        });
    };
    for (Term& term : units->terms) {
        for (Tap& tap : term.taps) {
            multiply(tap.slopes);
        }
    }
    for (Low& low : units->lows) {
        const bool one = low.P == low.Q;
        if (one) {
            low.Q.reset();
        }
        multiply(low.P);
        if (one) {
            low.Q = low.P;
        } else {
            multiply(low.Q);
        }
    }
}

} // namespace fisherfield::sampled_units
