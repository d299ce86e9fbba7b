// SPDX-License-Identifier: BSD-3-Clause
#include "kinds.hpp"

#include <algorithm>
#include <map>
#include <stdexcept>
#include <string>
#include <utility>

namespace fisherfield::sampled_units {

namespace {

std::map<LayerKind, Kind>& kinds() { // there before the first static object asks for it
    static std::map<LayerKind, Kind> table;
    return table;
}

} // namespace

Entered::Entered(Kind kind) { kinds().emplace(kind.kind, kind); }

const Kind& kind_of(const Node& node) {
    const auto entry = kinds().find(node.kind);
    if (entry == kinds().end()) {
        throw std::invalid_argument(std::string("units have no map of a ") + row_of(node.kind).name);
    }
    return entry->second;
}

std::shared_ptr<Averages> own(Room& room, std::shared_ptr<Averages> state) {
    auto out = state.use_count() == 1 ? state : std::make_shared<Averages>(*state);
    state.reset();
    for (Matrix* const matrix : {&out->xy, &out->v, &out->o, &out->d, &out->ou, &out->du}) {
        if (*matrix && matrix->use_count() > 1) {
            auto copy = std::make_shared<Array<double>>(room, (*matrix)->size());
            if (!room.rehearsal) {
                std::copy_n((*matrix)->data(), (*matrix)->size(), copy->data());
            }
            *matrix = copy;
        }
    }
    return out;
}

std::shared_ptr<Averages> whole(Room& room, std::shared_ptr<Averages> state) {
    if (!state || state->bias == 0.0) {
        return state;
    }
    auto out = own(room, std::move(state));
    const long k = out->positions();
    each(room, k * k, [&](long i) { (*out->xy)[i] += out->bias; });
    out->bias = 0.0;
    return out;
}

std::shared_ptr<Averages> settled(Room& room, std::shared_ptr<Averages> state) {
    if (!state->gaussian) {
        return state;
    }
    auto out = own(room, std::move(state));
    const long k = out->positions();
    out->gaussian = false;
    if (out->ou || out->du) { // E u(x)[a] u(y)[a'] is the correlation
        std::vector<double> root(k);
        const auto at = [&](const Matrix& matrix, long i) { return matrix ? (*matrix)[i] : 0.0; };
        each(room, k, [&](long a) {
            const double q = at(out->xy, a * k + a) + at(out->v, a * k + a);
            root[a] = q > 0.0 ? std::sqrt(q) : 1.0;
        });
        for (Matrix* const matrix : {&out->o, &out->d}) {
            if (!*matrix) {
                *matrix = sampled_units::matrix(room, k);
                if (!room.rehearsal) {
                    std::fill_n((*matrix)->data(), k * k, 0.0);
                }
            }
        }
        each(room, k * k, [&](long i) {
            const double r = root[i / k] * root[i % k], xy = at(out->xy, i) / r, v = at(out->v, i) / r;
            (*out->o)[i] += xy * at(out->ou, i);
            (*out->d)[i] += v * at(out->ou, i) + (xy + v) * at(out->du, i);
        });
        out->ou.reset();
        out->du.reset();
    }
    if (!out->mean.empty()) {
        if (!out->xy) {
            out->xy = matrix(room, k);
            if (!room.rehearsal) {
                std::fill_n(out->xy->data(), k * k, 0.0);
            }
        }
        each(room, k * k, [&](long i) { (*out->xy)[i] += out->mean[i / k] * out->mean[i % k]; });
    }
    return out;
}

} // namespace fisherfield::sampled_units
