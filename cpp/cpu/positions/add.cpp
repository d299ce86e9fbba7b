// SPDX-License-Identifier: BSD-3-Clause
// The sum of two branches of an image, position by position (layers/add.hpp).
#include <utility>

#include "fisherfield/gaussian.hpp"
#include "positions.hpp"

namespace fisherfield {

// A trained gamma's gradient u_hat u_hat' is one of one unit among its N weights': by its mean, what it shares with the
// sum's slopes is left out.
void settle(ImageState* z) {
    const double one = z->trained_gamma ? 1.0 : 0.0;
    if (z->trained_gamma && z->of_positions) {
        const long k = z->positions();
        for (auto [kernel, value] : {std::pair{&z->o, &z->xy}, {&z->d, &z->v}}) {
            Matrix diagonal{std::vector<double>(k * k), value->exponent};
            for (long a = 0; a < k; ++a) {
                diagonal.entries[a * (k + 1)] = value->entries[a * (k + 1)];
            }
            combine({{1.0, kernel}, {1.0, &diagonal}}, 0.0, kernel);
        }
    } else if (z->trained_gamma) {
        combine({{1.0, &z->o}, {one, &z->xy}}, 0.0, &z->o);
        combine({{1.0, &z->d}, {one, &z->v}}, 0.0, &z->d);
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
    skip.mean += alpha * branch.mean;
    return combined(Scaled(alpha) * Scaled(alpha), branch, 1.0, std::move(skip));
}

ImageState mean(const Node& node, ImageState h, ImageState others) {
    const double share = node.numbers[0];
    for (std::size_t a = 0; a < h.means.size(); ++a) {
        others.means[a] = share * h.means[a] + (1.0 - share) * others.means[a];
    }
    return combined(share, h, 1.0 - share, std::move(others));
}

} // namespace fisherfield
