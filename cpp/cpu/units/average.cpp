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

// <A_t, A_t'> (o + delta_xy d)[reads_t, reads_t'], and its transpose where the taps differ.
void add_taps(Room& room, const Units& units, const Term& term, std::size_t one, std::size_t other, Averages* to) {
    const long k = units.positions();
    const Tap &first = term.taps[one], &second = term.taps[other];
    const Pairs mean =
        pairs(room, first.slopes->data(), second.slopes->data(), units.count, units.reads, units.positions());
    each(room, k, [&](long a) {
        for (long b = 0; b < k; ++b) {
            const int row = (*first.reads)[a], column = (*second.reads)[b];
            const double o = entry(term.o, term.positions, row, column);
            const double xy = mean.xy[a * k + b], v = mean.v[a * k + b];
            const double of_two = xy * o, more = v * o + (xy + v) * entry(term.d, term.positions, row, column);
            (*to->o)[a * k + b] += of_two;
            (*to->d)[a * k + b] += more;
            if (one != other) {
                (*to->o)[b * k + a] += of_two;
                (*to->d)[b * k + a] += more;
            }
        }
    });
}

void add_low(Room& room, const Units& units, const Low& low, Averages* to) {
    const long k = units.positions();
    const Pairs mean = pairs(room, low.P->data(), low.Q->data(), units.count, units.reads, k);
    each(room, k, [&](long a) {
        for (long b = 0; b < k; ++b) {
            (*to->o)[a * k + b] += low.factor * (mean.xy[a * k + b] + mean.xy[b * k + a]);
            (*to->d)[a * k + b] += low.factor * (mean.v[a * k + b] + mean.v[b * k + a]);
        }
    });
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
    Pairs lengths = pairs(room, units.h->data(), units.h->data(), units.count, units.reads, k);
    out->xy = std::make_shared<Array<double>>(std::move(lengths.xy));
    out->v = std::make_shared<Array<double>>(std::move(lengths.v));
    out->o = zeros(room, k);
    out->d = zeros(room, k);
    for (const Term& term : units.terms) {
        if (!term.o && !term.d) {
            continue;
        }
        for (std::size_t one = 0; one < term.taps.size(); ++one) {
            for (std::size_t other = one; other < term.taps.size(); ++other) {
                add_taps(room, units, term, one, other, out.get());
            }
        }
    }
    for (const Low& low : units.lows) {
        add_low(room, units, low, out.get());
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
        const auto times = [&](const Matrix& matrix, const Array<float>& from, long rows, Array<float>* to) {
            if (matrix) {
                Factor(room, matrix->data(), before).multiply(from.data(), rows, to->data());
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
