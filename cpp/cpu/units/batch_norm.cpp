// SPDX-License-Identifier: BSD-3-Clause
// BatchNorm of units: one mean and variance for each, over samples and positions. Derivation: reference/units/
// batch_norm.py. Of units that were just drawn, with o_c, o less the row and column means of o + d/n,
//
//     v_x = [d u_x/n + o_c ubar]/K,    w = [mean_x u_x d u_x/n + ubar o_c ubar]/K^2,
//
// where nothing has to be taken off any more; of units with kernels of their own the general rule.
#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>

#include "failure.hpp"
#include "kinds.hpp"
#include "normals.hpp"
#include "products.hpp"

namespace fisherfield::sampled_units {

namespace {

constexpr long kUnits = 64; // at a time

struct Norm {
    std::vector<double> gamma, beta; // of each unit
    double eps;
    bool exact, trained; // the gradient flows through the statistics; gamma and beta are parameters that count here
    int place;
    double gain; // of 1/s^2 in kernels, where frozen
};

double deviation(const Norm& norm, double variance) {
    if (!(variance > 0.0) && norm.eps == 0.0) {
        throw Failure(Status::zero_variance, norm.place, 0);
    }
    return std::sqrt(std::max(variance, 0.0) + norm.eps);
}

// z <- u = (z - mean)/s by each unit's own batch; s of each.
std::vector<double> normalise(Room& room, const Norm& norm, const Units& units, float* z) {
    const long size = units.reads * units.positions();
    std::vector<double> s(units.count, 1.0);
    each(room, units.count, [&](long i) {
        float* const own = z + i * size;
        double sum = 0.0, squares = 0.0;
        for (long at = 0; at < size; ++at) {
            sum += own[at];
        }
        const double mean = sum / static_cast<double>(size);
        for (long at = 0; at < size; ++at) {
            const double centred = own[at] - mean;
            squares += centred * centred;
        }
        s[i] = deviation(norm, squares / static_cast<double>(size));
        for (long at = 0; at < size; ++at) {
            own[at] = static_cast<float>((own[at] - mean) / s[i]);
        }
    });
    return s;
}

// Each unit's numbers times its own.
Floats times(Room& room, const Units& units, const Floats& from, const std::vector<double>& factor) {
    Floats out = floats(room, units.numbers());
    const long size = units.reads * units.positions();
    each(room, units.count, [&](long i) {
        const auto by = static_cast<float>(factor[i]);
        for (long at = i * size; at < (i + 1) * size; ++at) {
            (*out)[at] = by * (from ? (*from)[at] : 1.0F);
        }
    });
    return out;
}

// gamma u + beta in place of u, and what gamma and beta themselves add to the kernel.
void finish(Room& room, const Norm& norm, Floats u, Units* units) {
    if (norm.trained) {
        const Floats one = times(room, *units, nullptr, std::vector<double>(units->count, 1.0));
        units->lows.push_back({one, one, 0.5F});
        units->lows.push_back({u, u, 0.5F});
    }
    const auto all = [](const std::vector<double>& numbers, double value) {
        return std::all_of(numbers.begin(), numbers.end(), [value](double number) { return number == value; });
    };
    if (!all(norm.gamma, 1.0) || !all(norm.beta, 0.0)) {
        u = writable(room, std::move(u));
        const long size = units->reads * units->positions();
        each(room, units->count, [&](long i) {
            const auto gamma = static_cast<float>(norm.gamma[i]), beta = static_cast<float>(norm.beta[i]);
            for (long at = i * size; at < (i + 1) * size; ++at) {
                (*u)[at] = gamma * (*u)[at] + beta;
            }
        });
    }
    units->h = std::move(u);
}

std::shared_ptr<std::vector<int>> all_positions(long k) {
    auto reads = std::make_shared<std::vector<int>>(k);
    for (long a = 0; a < k; ++a) {
        (*reads)[a] = static_cast<int>(a);
    }
    return reads;
}

// o less the row and column means of o + d/n.
Matrix centred(Room& room, const Averages& state, double part, long k) {
    Matrix out = matrix(room, k);
    std::vector<double> row(k);
    double mean = 0.0;
    each(room, k, [&](long a) {
        double sum = 0.0;
        for (long b = 0; b < k; ++b) {
            sum += (*state.o)[a * k + b] + part * (*state.d)[a * k + b];
        }
        row[a] = sum / static_cast<double>(k);
        mean += row[a] / static_cast<double>(k);
    });
    each(room, k * k, [&](long i) { (*out)[i] = (*state.o)[i] - (row[i / k] + row[i % k] - mean); });
    return out;
}

double dot(const float* x, const float* y, long count) {
    double sum = 0.0;
    for (long i = 0; i < count; ++i) {
        sum += static_cast<double>(x[i]) * y[i];
    }
    return sum;
}

// What a batch's statistics have from samples that were not drawn: their mean of u, (M, K), and of each unit how far
// they scatter about it, sum_x |u_x - their mean|^2 over the trace of v.
struct Others {
    double count = 0.0; // n - R
    Floats u;
    std::vector<double> scatter;
};

// Of units that were just drawn. `ubar` (M, K) is the batch's mean of u, `part` 1/n.
Low pair_of(Room& room, const Units& units, const Floats& u, const Floats& ubar, const Others& others,
            const std::vector<double>& c_of, const Matrix& o_c, const Matrix& d, double part, const Matrix& v) {
    const long k = units.positions(), size = units.reads * k, some = std::min(kUnits, units.count);
    Low out{floats(room, units.numbers()), floats(room, units.numbers()), 1.0F};
    const Factor by_o(room, o_c->data(), k, k), by_d(room, d->data(), k, k);
    Array<float> of_d(room, some * size), of_o(room, some * k), of_others(room, others.u ? some * k : 0);
    room.meter.products += static_cast<double>(units.rows() * k * k);
    if (room.rehearsal) {
        return out;
    }
    double of_v = 0.0; // sum of d v
    for (long i = 0; others.u && i < k * k; ++i) {
        of_v += (*d)[i] * (*v)[i];
    }
    const double over = 1.0 / static_cast<double>(k);
    for (long first = 0; first < units.count; first += some) {
        const long here = std::min(some, units.count - first);
        const float* const means = ubar->data() + first * k;
        by_o.multiply(means, here, of_o.data());
        if (part > 0.0) {
            by_d.multiply(u->data() + first * size, here * units.reads, of_d.data());
        } else {
            std::fill_n(of_d.data(), here * size, 0.0F);
        }
        if (others.u) {
            by_d.multiply(others.u->data() + first * k, here, of_others.data());
        }
        for (long i = 0; i < here; ++i) {
            const float* const own = u->data() + (first + i) * size;
            const double c = c_of[first + i];
            double of_samples = part > 0.0 ? dot(own, of_d.data() + i * size, size) : 0.0;
            if (others.u) {
                of_samples += others.count * dot(others.u->data() + (first + i) * k, of_others.data() + i * k, k) +
                              of_v * others.scatter[first + i];
            }
            const double w = over * over * (part * part * of_samples + dot(means + i * k, of_o.data() + i * k, k));
            float* const P = out.P->data() + (first + i) * size;
            float* const Q = out.Q->data() + (first + i) * size;
            const auto minus = static_cast<float>(-c), of_u = static_cast<float>(-c * w / 2),
                       of_each = static_cast<float>(c * over * part), of_all = static_cast<float>(c * over);
            for (long r = 0; r < units.reads; ++r) {
                for (long a = 0; a < k; ++a) {
                    const long at = r * k + a;
                    P[at] = minus * own[at];
                    Q[at] = of_each * of_d[i * size + at] + of_all * of_o[i * k + a] + of_u * own[at];
                }
            }
        }
    }
    return out;
}

// Kernels of units that were just drawn, normalised to u by s.
void put_kernels(Room& room, const Norm& norm, const Averages& state, const Floats& u, const Floats& ubar,
                 const Others& others, const std::vector<double>& s, Units* units) {
    const long k = state.positions();
    const double n = room.settings.samples, part = n > 0.0 ? 1.0 / n : 0.0;
    std::vector<double> c(s.size());
    std::transform(norm.gamma.begin(), norm.gamma.end(), s.begin(), c.begin(),
                   [root = std::sqrt(norm.gain)](double gamma, double deviation) { return root * gamma / deviation; });
    const Matrix o = norm.exact ? centred(room, state, part, k) : state.o;
    units->terms.push_back({{{times(room, *units, nullptr, c), all_positions(k)}}, o, state.d, k});
    if (norm.exact) {
        units->lows.push_back(pair_of(room, *units, u, ubar, others, c, o, state.d, part, state.v));
    }
}

// The trace of what N samples of b scatter about their mean, of each unit: sum_x |b(x) - mean b|^2 of N - 1 degrees of
// freedom, by a gamma variable of its mean and variance (Wilson and Hilferty's cube: both to 1e-3 from shape 2 on). The
// two of a pair have the same, and each quantile is taken once.
std::vector<double> scatter_of(const Room& room, const Averages& state, int place, double count, long units) {
    const long k = state.positions(), half = units / 2;
    double trace = 0.0, squares = 0.0;
    each(room, k * k, [&](long i) {
        trace += i / k == i % k ? (*state.v)[i] : 0.0;
        squares += (*state.v)[i] * (*state.v)[i];
    });
    std::vector<double> out(units, 0.0);
    if (count <= 1.0 || trace <= 0.0 || room.rehearsal) {
        return out;
    }
    const double mean = (count - 1.0) * trace, over = 2.0 * squares / ((count - 1.0) * trace * trace);
    const std::vector<float> normal = quantiles(key_of(room.how.seed, room.group, place, 4), half);
    for (long i = 0; i < units; ++i) {
        const double root = 1.0 - over / 9.0 + normal[i % half] * std::sqrt(over) / 3.0;
        out[i] = mean * std::max(root * root * root, 0.0);
    }
    return out;
}

// Units that were just drawn, by the statistics of a batch of n: R samples of each are there, and of the others their
// mean of b and their scatter about it, which are independent of each other and all that mean and variance ask for.
std::shared_ptr<Units> of_drawn(Room& room, const Norm& norm, const Averages& state) {
    const long k = state.positions(), reads = room.how.reads;
    const double n = room.settings.samples, part = n > 0.0 ? 1.0 / n : 0.0;
    const double rest = n > 0.0 ? std::max(n - static_cast<double>(reads), 0.0) : 0.0;
    Drawn drawn = draw(room, state, norm.place, 0, rest);
    auto units = std::make_shared<Units>();
    units->size = state.size;
    units->count = drawn.count;
    units->reads = reads;
    Others others{rest, std::move(drawn.others), {}};
    if (others.u) {
        others.scatter = scatter_of(room, state, norm.place, rest, units->count);
    }
    double diagonal = 0.0;
    each(room, k, [&](long a) { diagonal += (*state.v)[a * k + a]; });
    std::vector<double> s(units->count, 1.0), mean(k);
    const double over = 1.0 / static_cast<double>(k);
    each(room, units->count, [&](long i) {
        float* const alpha = drawn.alpha->data() + i * k;
        float* const z = drawn.z->data() + i * reads * k;
        float* const other = others.u ? others.u->data() + i * k : nullptr; // their mean of z from here on
        std::fill(mean.begin(), mean.end(), 0.0);
        for (long r = 0; n > 0.0 && r < reads; ++r) {
            for (long a = 0; a < k; ++a) {
                mean[a] += part * z[r * k + a];
            }
        }
        for (long a = 0; a < k; ++a) {
            if (other != nullptr) {
                other[a] += alpha[a];
                mean[a] += part * rest * other[a];
            }
            mean[a] = n > 0.0 ? mean[a] : static_cast<double>(alpha[a]);
        }
        const double m = over * std::accumulate(mean.begin(), mean.end(), 0.0);
        const auto squares = [&](const float* x, long count) {
            double sum = 0.0;
            for (long at = 0; at < count; ++at) {
                sum += (x[at] - m) * (x[at] - m);
            }
            return sum;
        };
        double variance = n > 0.0 ? part * squares(z, reads * k) : squares(alpha, k) + diagonal;
        variance += other != nullptr ? part * (rest * squares(other, k) + others.scatter[i]) : 0.0;
        s[i] = deviation(norm, over * variance);
        const auto centre = static_cast<float>(m), by = static_cast<float>(1.0 / s[i]);
        for (long at = 0; at < reads * k; ++at) {
            z[at] = (z[at] - centre) * by;
        }
        for (long a = 0; a < k; ++a) {
            alpha[a] = static_cast<float>((mean[a] - m) / s[i]); // the batch's mean of u
            if (other != nullptr) {
                other[a] = (other[a] - centre) * by;
            }
        }
        if (other != nullptr && diagonal > 0.0) {
            others.scatter[i] /= diagonal * s[i] * s[i];
        }
    });
    put_kernels(room, norm, state, drawn.z, drawn.alpha, others, s, units.get());
    drawn.alpha.reset();
    others.u.reset();
    finish(room, norm, std::move(drawn.z), units.get());
    return units;
}

// Units of any kernel: their samples are the batch.
std::shared_ptr<Units> of_units(Room& room, const Norm& norm, std::shared_ptr<Units> units) {
    if (units.use_count() > 1) {
        units = std::make_shared<Units>(*units);
    }
    Floats u = writable(room, std::move(units->h));
    const std::vector<double> s = normalise(room, norm, *units, u->data());
    const long size = units->reads * units->positions();
    Array<float> factor(room, units->numbers());
    const double root = std::sqrt(norm.gain);
    each(room, units->count,
         [&](long i) { std::fill_n(factor.data() + i * size, size, static_cast<float>(root * norm.gamma[i] / s[i])); });
    multiply_slopes(room, units.get(), factor.data());
    if (norm.exact) {
        const Floats one = times(room, *units, nullptr, std::vector<double>(units->count, 1.0));
        Floats r = applied(room, *units, one), v = applied(room, *units, u);
        each(room, units->count, [&](long i) {
            double of_r = 0.0, of_v = 0.0, w = 0.0;
            for (long at = i * size; at < (i + 1) * size; ++at) {
                of_r += (*r)[at];
                of_v += (*v)[at];
            }
            of_r /= static_cast<double>(size);
            of_v /= static_cast<double>(size);
            for (long at = i * size; at < (i + 1) * size; ++at) {
                w += ((*v)[at] - of_v) * (*u)[at];
            }
            w /= static_cast<double>(size);
            for (long at = i * size; at < (i + 1) * size; ++at) {
                (*r)[at] = static_cast<float>(of_r / 2 - (*r)[at]);
                (*v)[at] = static_cast<float>(w * (*u)[at] / 2 - ((*v)[at] - of_v));
            }
        });
        units->lows.push_back({one, std::move(r), 1.0F});
        units->lows.push_back({times(room, *units, u, std::vector<double>(units->count, 1.0)), std::move(v), 1.0F});
    }
    finish(room, norm, std::move(u), units.get());
    return units;
}

// Unit i of M carries one of C channels, which keep their order: each M/C times where that is a whole number, and what
// groups take is spread evenly over all. The two of a pair are of one channel.
Norm norm_of(const Room& room, const Node& node, long count) {
    Norm out{std::vector<double>(count, node.numbers[0]),
             std::vector<double>(count, node.numbers[1]),
             node.numbers[2],
             room.settings.theory == Theory::exact,
             node.trained && room.owns(node),
             node.place,
             room.settings.theory == Theory::exact ? 1.0 : room.how.gain(node.place)};
    if (node.own != kNone) {
        const Network::Units& own = room.network.own[node.own];
        const long half = count / 2, channels = static_cast<long>(own.size());
        for (long i = 0; i < count; ++i) {
            const long place = 2 * kGroups * (i % half) + 2 * room.group + 1; // of 2 kGroups half
            const std::vector<double>& numbers = own[place * channels / (2 * kGroups * half)];
            out.gamma[i] = numbers[0];
            out.beta[i] = numbers[1];
        }
    }
    return out;
}

Value batch_norm(Room& room, const Node& node, Inputs in) {
    if (in.first.averages && !in.first.averages->ou && !in.first.averages->du) {
        Averages state = *in.first.averages;
        for (Matrix* const kernel : {&state.o, &state.d}) { // of the data there is none
            if (!*kernel) {
                const long k = state.positions();
                *kernel = matrix(room, k);
                each(room, k * k, [&](long i) { (**kernel)[i] = 0.0; });
            }
        }
        return {nullptr, of_drawn(room, norm_of(room, node, unit_count(room.how, state.positions())), state)};
    }
    auto units = as_units(room, std::move(in.first), node.place);
    const Norm norm = norm_of(room, node, units->count);
    return {nullptr, of_units(room, norm, std::move(units))};
}

const Entered entered({.kind = LayerKind::batch_norm, .takes_gaussian = true, .of_units = batch_norm});

} // namespace

} // namespace fisherfield::sampled_units
