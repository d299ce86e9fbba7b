// SPDX-License-Identifier: BSD-3-Clause
// BatchNorm of units: one mean and variance for each, over samples and positions. Derivation: reference/units/
// batch_norm.py. Of units that were just drawn, with o_c, o less the row and column means of o + d/n,
//
//     v_x = [d u_x/n + o_c ubar]/K,    w = [mean_x u_x d u_x/n + ubar o_c ubar]/K^2,
//
// where nothing has to be taken off any more; of units with kernels of their own the general rule.
#include <algorithm>
#include <cmath>

#include "failure.hpp"
#include "kinds.hpp"
#include "normals.hpp"
#include "products.hpp"

namespace fisherfield::sampled_units {

namespace {

constexpr long kUnits = 64; // at a time

struct Norm {
    double gamma, beta, eps;
    bool exact, trained; // the gradient flows through the statistics; gamma and beta are parameters that count here
    int place;
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
    if (norm.gamma != 1.0 || norm.beta != 0.0) {
        u = writable(room, std::move(u));
        const auto gamma = static_cast<float>(norm.gamma), beta = static_cast<float>(norm.beta);
        each(room, static_cast<long>(units->numbers()), [&](long at) { (*u)[at] = gamma * (*u)[at] + beta; });
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

// Of units that were just drawn. `ubar` (M, K) is the batch's mean of u, `part` 1/n. Where the samples are not the
// batch themselves, mean_x u_x d u_x is the population's, ubar d ubar + sum of d v/s^2.
Low pair_of(Room& room, const Units& units, const Floats& u, const Floats& ubar, const std::vector<double>& s,
            double gamma, const Matrix& o_c, const Matrix& d, double part, const Matrix& v) {
    const long k = units.positions(), size = units.reads * k, some = std::min(kUnits, units.count);
    Low out{floats(room, units.numbers()), floats(room, units.numbers()), 1.0F};
    const Factor by_o(room, o_c->data(), k), by_d(room, d->data(), k);
    Array<float> of_d(room, some * size), of_o(room, some * k), of_mean(room, some * k);
    if (room.rehearsal) {
        return out;
    }
    double of_v = 0.0; // sum of d v
    for (long i = 0; i < k * k; ++i) {
        of_v += (*d)[i] * (*v)[i];
    }
    const double over = 1.0 / static_cast<double>(k);
    const auto dot = [](const float* x, const float* y, long count) {
        double sum = 0.0;
        for (long i = 0; i < count; ++i) {
            sum += static_cast<double>(x[i]) * y[i];
        }
        return sum;
    };
    for (long first = 0; first < units.count; first += some) {
        const long here = std::min(some, units.count - first);
        const float* const means = ubar->data() + first * k;
        by_d.multiply(u->data() + first * size, here * units.reads, of_d.data());
        by_o.multiply(means, here, of_o.data());
        by_d.multiply(means, here, of_mean.data());
        for (long i = 0; i < here; ++i) {
            const float* const own = u->data() + (first + i) * size;
            const float* const mean = means + i * k;
            const double s2 = s[first + i] * s[first + i], c = gamma / s[first + i];
            const double of_samples = room.how.of_batch
                                          ? dot(own, of_d.data() + i * size, size) / static_cast<double>(units.reads)
                                          : dot(mean, of_mean.data() + i * k, k) + of_v / s2;
            const double w = over * over * (part * of_samples + dot(mean, of_o.data() + i * k, k));
            float* const P = out.P->data() + (first + i) * size;
            float* const Q = out.Q->data() + (first + i) * size;
            for (long at = 0; at < size; ++at) {
                const double value = over * (part * of_d[i * size + at] + of_o[i * k + at % k]);
                P[at] = static_cast<float>(-c * own[at]);
                Q[at] = static_cast<float>(c * (value - w * own[at] / 2));
            }
        }
    }
    return out;
}

std::shared_ptr<Units> drawn_units(Room& room, const Averages& state, const Drawn& drawn) {
    auto units = std::make_shared<Units>();
    units->size = state.size;
    units->count = drawn.count;
    units->reads = room.how.reads;
    return units;
}

// Kernels of units that were just drawn, normalised to u by s.
void put_kernels(Room& room, const Norm& norm, const Averages& state, const Floats& u, const Floats& ubar,
                 const std::vector<double>& s, Units* units) {
    const long k = state.positions();
    const double n = room.settings.samples, part = n > 0.0 ? 1.0 / n : 0.0;
    std::vector<double> c(s.size());
    std::transform(s.begin(), s.end(), c.begin(), [&](double deviation) { return norm.gamma / deviation; });
    const Matrix o = norm.exact ? centred(room, state, part, k) : state.o;
    units->terms.push_back({{{times(room, *units, nullptr, c), all_positions(k)}}, o, state.d, k});
    if (norm.exact) {
        units->lows.push_back(pair_of(room, *units, u, ubar, s, norm.gamma, o, state.d, part, state.v));
    }
}

std::shared_ptr<Units> of_batch(Room& room, const Norm& norm, const Averages& state, Drawn drawn) {
    auto units = drawn_units(room, state, drawn);
    const long k = state.positions(), reads = units->reads;
    const std::vector<double> s = normalise(room, norm, *units, drawn.z->data());
    const Floats ubar = std::move(drawn.alpha);
    each(room, units->count, [&](long i) {
        for (long a = 0; a < k; ++a) {
            double sum = 0.0;
            for (long r = 0; r < reads; ++r) {
                sum += (*drawn.z)[(i * reads + r) * k + a];
            }
            (*ubar)[i * k + a] = static_cast<float>(sum / static_cast<double>(reads));
        }
    });
    put_kernels(room, norm, state, drawn.z, ubar, s, units.get());
    finish(room, norm, std::move(drawn.z), units.get());
    return units;
}

// R samples out of n: z = alpha + b with the population's mean and variance.
std::shared_ptr<Units> of_population(Room& room, const Norm& norm, const Averages& state, Drawn drawn) {
    auto units = drawn_units(room, state, drawn);
    const long k = state.positions(), reads = units->reads, half = units->count / 2;
    const double n = room.settings.samples, part = n > 0.0 ? 1.0 / n : 0.0;
    double diagonal = 0.0, all = 0.0;
    each(room, k, [&](long a) {
        diagonal += (*state.v)[a * k + a] / static_cast<double>(k);
        for (long b = 0; b < k; ++b) {
            all += (*state.v)[a * k + b] / static_cast<double>(k * k);
        }
    });
    const double others =
        n > 0.0 ? std::sqrt(std::max(n - static_cast<double>(reads), 0.0) * std::max(all, 0.0)) / n : 0.0;
    const std::uint64_t key = key_of(room.how.seed, room.group, norm.place, 4);
    std::vector<double> s(units->count, 1.0);
    each(room, units->count, [&](long i) {
        float* const alpha = drawn.alpha->data() + i * k;
        float* const z = drawn.z->data() + i * reads * k;
        double sum = 0.0, squares = 0.0, of_all = 0.0;
        for (long a = 0; a < k; ++a) {
            sum += alpha[a];
        }
        const double mean = sum / static_cast<double>(k);
        for (long a = 0; a < k; ++a) {
            squares += (alpha[a] - mean) * (alpha[a] - mean) / static_cast<double>(k);
        }
        for (long at = 0; at < reads * k; ++at) {
            of_all += z[at];
        }
        const double of_b = of_all - static_cast<double>(reads) * sum; // of the R samples
        const double rest = normal_quantile(uniform(bits(unit_key(key, i % half), 0))) * (i < half ? 1.0 : -1.0);
        const double batch = mean + (n > 0.0 ? of_b / static_cast<double>(k) / n + others * rest : 0.0);
        s[i] = deviation(norm, squares + diagonal - part * all);
        for (long at = 0; at < reads * k; ++at) {
            z[at] = static_cast<float>((z[at] - batch) / s[i]);
        }
        for (long a = 0; a < k; ++a) {
            alpha[a] = static_cast<float>((alpha[a] - mean) / s[i]);
        }
    });
    put_kernels(room, norm, state, drawn.z, drawn.alpha, s, units.get());
    drawn.alpha.reset();
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
    each(room, units->count,
         [&](long i) { std::fill_n(factor.data() + i * size, size, static_cast<float>(norm.gamma / s[i])); });
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

Value batch_norm(Room& room, const Node& node, Inputs in) {
    const Norm norm{node.numbers[0],
                    node.numbers[1],
                    node.numbers[2],
                    room.settings.theory == Theory::exact,
                    node.trained && room.owns(node),
                    node.place};
    if (in.first.averages && !in.first.averages->ou && !in.first.averages->du) {
        Averages state = *in.first.averages;
        for (Matrix* const kernel : {&state.o, &state.d}) { // of the data there is none
            if (!*kernel) {
                const long k = state.positions();
                *kernel = matrix(room, k);
                each(room, k * k, [&](long i) { (**kernel)[i] = 0.0; });
            }
        }
        Drawn drawn = draw(room, state, node.place, 0);
        return {nullptr, room.how.of_batch ? of_batch(room, norm, state, std::move(drawn))
                                           : of_population(room, norm, state, std::move(drawn))};
    }
    return {nullptr, of_units(room, norm, as_units(room, std::move(in.first), node.place))};
}

const Entered entered({.kind = LayerKind::batch_norm, .takes_gaussian = true, .of_units = batch_norm});

} // namespace

} // namespace fisherfield::sampled_units
