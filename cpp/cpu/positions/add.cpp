// SPDX-License-Identifier: BSD-3-Clause
// The sum of two branches of an image, position by position (layers/add.hpp).
#include <tuple>
#include <utility>

#include "fisherfield/gaussian.hpp"
#include "positions.hpp"

namespace fisherfield {

namespace {

void join(const Matrix& part, Matrix* of_value) {
    if (of_value->entries.empty()) {
        *of_value = part;
    } else {
        combine({{1.0, of_value}, {1.0, &part}}, 0.0, of_value);
    }
}

} // namespace

// gamma's gradient is u_hat u_hat' = z z'/gamma^2; where gamma is 0, units are constant, and what they knew of it is
// its mean.
void settle(ImageState* z) {
    const long k = z->positions();
    const bool each = z->of_positions;
    const auto over_pairs = [&](const auto& entry, int exponent) {
        Matrix out{std::vector<double>(k * k), exponent};
        for (long a = 0; a < k; ++a) {
            for (long b = each ? a : 0; b < (each ? a + 1 : k); ++b) {
                out.entries[a * k + b] = entry(a * k + b);
            }
        }
        return out;
    };
    if (z->trained_gamma && is_zero(z->gamma2)) {
        for (auto [kernel, value] : {std::pair{&z->o, &z->xy}, {&z->d, &z->v}}) {
            const Matrix part = over_pairs([&](long at) { return value->entries[at]; }, value->exponent);
            combine({{1.0, kernel}, {1.0, &part}}, 0.0, kernel);
        }
    } else if (z->trained_gamma) {
        const Scaled one = Scaled(1.0) / z->gamma2;
        const Matrix part = over_pairs([&](long) { return one.m; }, one.e);
        join(part, &z->of_value);
    }
    z->trained_gamma = z->of_positions = false;
    if (equal(z->gamma2, 1.0)) {
        return;
    }
    for (Matrix* matrix : {&z->xy, &z->v, &z->apart}) {
        combine({{z->gamma2, matrix}}, 0.0, matrix);
    }
    z->gamma2 = 1.0;
}

void add_bias(ImageState* z) {
    if (!is_zero(z->bias)) {
        combine({{1.0, &z->xy}}, std::exchange(z->bias, 0.0), &z->xy);
    }
}

void carry(const Matrix& of_value, const std::vector<double>& share, const Matrix& xy, const Matrix& v,
           ImageState* to) {
    if (of_value.entries.empty()) {
        return;
    }
    const long k = to->positions();
    Matrix known = of_value;
    for (long a = 0; a < k; ++a) {
        for (long b = 0; b < k; ++b) {
            known.entries[a * k + b] *= share[a] * share[b];
        }
    }
    for (auto [kernel, before, after] : {std::tuple{&to->o, &xy, &to->xy}, {&to->d, &v, &to->v}}) {
        const auto rest = [&, before = before, after = after](long at) {
            return of_value.at(at) * before->at(at) - known.at(at) * after->at(at);
        };
        CommonExponent common;
        for (long at = 0; at < k * k; ++at) {
            common.include(rest(at));
        }
        Matrix part{std::vector<double>(k * k), common.value()};
        for (long at = 0; at < k * k; ++at) {
            part.entries[at] = rescaled(rest(at), part.exponent);
        }
        combine({{1.0, kernel}, {1.0, &part}}, 0.0, kernel);
    }
    join(known, &to->of_value);
}

namespace {

// a x + b y, entry by entry.
ImageState combined(Scaled a, const ImageState& x, Scaled b, ImageState y) {
    for (Matrix ImageState::* matrix :
         {&ImageState::xy, &ImageState::v, &ImageState::o, &ImageState::d, &ImageState::apart}) {
        combine({{b, &(y.*matrix)}, {a, &(x.*matrix)}}, 0.0, &(y.*matrix));
    }
    return y;
}

} // namespace

ImageState sum(const Node& node, ImageState branch, ImageState skip) {
    settle(&branch);
    settle(&skip);
    const double alpha = node.numbers[0];
    const Scaled alpha2 = Scaled(alpha) * Scaled(alpha);
    for (Matrix* matrix : {&branch.xy, &branch.v, &branch.o, &branch.d, &branch.apart}) {
        combine({{alpha2, matrix}}, 0.0, matrix);
    }
    struct Own {
        Matrix of_value, xy, v;
    };
    std::vector<Own> own; // what goes with a branch's own values
    for (ImageState* each : {&branch, &skip}) {
        if (!each->of_value.entries.empty()) {
            own.push_back({std::exchange(each->of_value, {}), each->xy, each->v});
        }
    }
    ImageState z = combined(1.0, branch, 1.0, std::move(skip));
    z.mean += alpha * branch.mean;
    const long k = z.positions();
    for (const Own& each : own) {
        std::vector<double> share(k);
        for (long a = 0; a < k; ++a) {
            const size_t at = a * (k + 1);
            const Scaled q = z.xy.at(at) + z.v.at(at);
            share[a] = q > Scaled(0.0) ? ((each.xy.at(at) + each.v.at(at)) / q).value() : 0.0;
        }
        carry(each.of_value, share, each.xy, each.v, &z);
    }
    return z;
}

ImageState mean(const Node& node, ImageState h, ImageState others) {
    const double share = node.numbers[0];
    for (std::size_t a = 0; a < h.means.size(); ++a) {
        others.means[a] = share * h.means[a] + (1.0 - share) * others.means[a];
    }
    return combined(share, h, 1.0 - share, std::move(others));
}

} // namespace fisherfield
