# SPDX-License-Identifier: BSD-3-Clause
"""WSS's convolutional lambda_max read literally, to show by how much that misses sampled networks.

WSS eq. (45) for layer l, with N_{l-1} = C_{l-1} |F_l| and |K_l| the number of its output positions,

    f_l = N_{l-1} [(|K_l| - 1) q_tilde_ab^l + q_tilde_xy^l] [(|K_l| - 1) q_hat_ab^{l-1} + q_hat_xy^{l-1}],

where ab, xy stands for two inputs at two different positions. By (34)-(43) the overlaps at equal and at different
positions obey the same recursion. Read literally, they also have the same start, 0 for q_hat at the inputs and 1 for
q_tilde at the output, and then f_l = N_{l-1} |K_l|^2 q_tilde_xy^l q_hat_xy^{l-1}. |K_L| = 1 and N_{L-1} = C |K_{L-1}|
for the dense layer at the end.

What this forgets (docs/theory.md, section 5): in the flattened dense layer every position has its own weights. So its
gradients at different positions are independent, q_tilde_ab = 0, and each position has 1/|K| of the whole, q_tilde_xy
= sigma_w2 (...)/|K|. Back through a convolution with stride |K_{l+1}| positions' gradients fall on |K_l|, a factor
|K_{l+1}|/|K_l|. With both, f_l = N_{l-1} (q_tilde/|K_l|) |K_l| q_hat_xy, q_tilde as in a dense net: all |K_l| drop
out, and that is the theory "wei2019" here: the dense recursion with fan_in = C_{l-1} |F_l|, and C |K| after Flatten.
"""

from __future__ import annotations

import math
from typing import Any

from ..network import AvgPool2d, Flatten, GlobalAvgPool2d, Network
from . import quadrature
from .layers.affine import fan_in
from .order_parameters import order_parameters
from .wei2019 import following

__all__ = ["wei2019_literal"]


def wei2019_literal(net: Network, overlap: float = 0.0, length: float = 1.0) -> float:
    """sum_l f_l without biases; for dense networks this is lambda_max of "wei2019"."""
    rows = order_parameters(net, "wei2019", overlap, length)
    factors, positions, number, place = [], [], 0, 0
    while place < len(net.layers):
        layer: Any = net.layers[place]
        if isinstance(layer, (AvgPool2d, GlobalAvgPool2d)):
            raise ValueError(f"layers[{place}]: wei2019_literal takes networks without pooling, got {layer!r}")
        if isinstance(layer, Flatten):
            place += 1
            continue
        assert rows.fan_in[number] == fan_in(layer, net.shapes[place])
        positions.append(math.prod(net.shapes[place + 1][1:]))
        q, v = float(rows.q[number]), float(rows.v[number])
        norm, phi, place = following(net.layers, place)
        if norm is None:
            slopes = float(quadrature.slope_covariance(phi, q, q, one_minus_c=v / q if q > 0 else 0.0))
        else:
            c = norm.gamma**2 / (q + norm.eps)
            slopes = c * float(quadrature.slope_mean(phi, norm.gamma**2, norm.beta)) ** 2
        factors.append((layer.sigma_w2, slopes))
        number += 1
    total, after = 0.0, 1.0
    for number in reversed(range(net.depth)):
        sigma_w2, slopes = factors[number]
        q_tilde_xy = slopes * after
        total += float(rows.fan_in[number]) * positions[number] ** 2 * q_tilde_xy * float(rows.q_hat_xy[number])
        after = sigma_w2 * q_tilde_xy
    return total
