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

ImageState sum(const Node& node, ImageState branch, ImageState skip) {
    settle(&branch);
    settle(&skip);
    const Scaled alpha2 = Scaled(node.numbers[0]) * Scaled(node.numbers[0]);
    for (Matrix ImageState::* matrix :
         {&ImageState::xy, &ImageState::v, &ImageState::o, &ImageState::d, &ImageState::apart}) {
        combine({{1.0, &(skip.*matrix)}, {alpha2, &(branch.*matrix)}}, 0.0, &(skip.*matrix));
    }
    skip.mean += node.numbers[0] * branch.mean;
    return skip;
}

} // namespace fisherfield
