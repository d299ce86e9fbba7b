# SPDX-License-Identifier: BSD-3-Clause
"""Where the bulk of the Fisher information's spectrum ends, for dense networks of finite width: bulk.py's equations."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..network import BatchNorm, Network
from . import quadrature
from .arguments import Settings, settings_of
from .bulk import GRADIENTS, MEANS, Bulk, Neurons, moments
from .wei2019 import following

__all__ = ["bulk_of", "edge"]


def bulk_of(net: Network, settings: Settings) -> Bulk | None:
    """The equations of a chain of Dense layers, all of its hidden ones with BatchNorm or none; None for any other."""
    steps = net.steps
    hidden = net.affine_steps[:-1]
    normed = [step.previous for step in steps if isinstance(step.layer, BatchNorm)]
    chain = all(len(step.reads) == 1 and len(step.before) == 1 and not step.layer.unpublished for step in steps)
    outward = [step for step in steps if steps.index(net.affine_steps[-1]) < steps.index(step)]
    if not chain or outward or len(normed) not in (0, len(hidden)) or settings.theory == "wei2019":
        return None
    if settings.samples == 1 or any(np.ndim(norm.gamma) or np.ndim(norm.beta) for norm in net.batch_norms):
        return None
    share = 0.0 if settings.samples is None else 1 / settings.samples
    affine, place = net.affine_layers, 0
    widths = [float(step.before[0]) for step in net.affine_steps]
    hats = [(settings.overlap, settings.length - settings.overlap)]  # q_hat_xy and q_hat - q_hat_xy
    seen = []
    for at in range(len(hidden)):
        norm, function, place = following(net.layers, place)
        xy, spread = hats[-1]
        q_xy, v = affine[at].sigma_b2 + affine[at].sigma_w2 * xy, affine[at].sigma_w2 * spread
        scale, shift = 1.0, 0.0
        if norm is not None:
            if v + norm.eps == 0:
                return None
            q_xy, shift, scale = 0.0, norm.beta, norm.gamma**2 / (v + norm.eps)
            v = scale * v
        if v == 0:
            return None
        rest = v / (q_xy + v)
        hats.append((pair(function, q_xy, v, shift), float(quadrature.spread(function, q_xy + v, rest, shift))))
        slopes = float(quadrature.slope_covariance(function, q_xy + v, q_xy + v, one_minus_c=rest, shift=shift))
        difference = float(quadrature.slope_spread(function, q_xy + v, rest, shift))
        extra = 0.0
        if norm is not None and norm.trained:  # of Theta on the diagonal alone, and no more than 1 in N of it
            ones = (
                quadrature.second_slope_moment(function, v, shift)
                - quadrature.first_slope_moment(function, v, shift) ** 2
            )
            extra = affine[at + 1].sigma_w2 * (difference + v / norm.gamma**2 * float(ones))
        seen.append((function, q_xy, v, shift, scale, slopes, difference, extra))
    tilde = [(1.0, 0.0)]  # q_tilde_xy and q_tilde - q_tilde_xy, from behind
    for at in reversed(range(len(hidden))):
        *_, scale, slopes, difference, _ = seen[at]
        back = affine[at + 1].sigma_w2 * scale
        xy, rest = tilde[0]
        tilde.insert(0, (back * slopes * xy, back * ((slopes + difference) * rest + difference * xy)))
    bias = [float(settings.biases and layer.bias) for layer in affine]
    alpha = np.array([xy for xy, _ in tilde])
    own = [width * xy + one for width, (xy, _), one in zip(widths, hats, bias, strict=True)]
    outlier = settings.theory == "frozen" or not net.batch_norms
    layers = []
    for at, (function, q_xy, v, shift, scale, *_) in enumerate(seen):
        after = affine[at + 1].sigma_w2 * scale
        xy, rest = tilde[at + 1]
        means, mean_weights = MEANS if q_xy > 0 else (np.zeros(1), np.ones(1))
        gradients, weights = GRADIENTS if outlier and xy > 0 else (np.zeros(1), np.ones(1))
        weights, mean_weights = weights / weights.sum(), mean_weights / mean_weights.sum()
        g = gradients * math.sqrt(after * xy / widths[at + 1])
        rows = [moments(function, shift + math.sqrt(q_xy) * m, v) for m in means]
        of = {name: np.array([row[name] for row in rows])[:, None] for name in rows[0]}
        # Only the D ask for g, and where there are none it is 0.
        fresh = (of["slope_variance"] * after * rest / widths[at + 1]) + 0 * g
        grid = np.ones((len(means), len(g)))
        layers.append(
            Neurons(
                weight=(widths[at + 1] * np.outer(mean_weights, weights)).ravel(),
                b=(of["b"] * grid).ravel(),
                s=(of["s"] * grid).ravel(),
                bg=(of["bend"] * g * grid).ravel(),
                c=(of["c"] * grid).ravel(),
                cx=(of["cx"] * g * grid).ravel(),
                cd=((of["cd"] * g * g + fresh) * grid).ravel(),
                forward=affine[at].sigma_w2 * scale / widths[at],
                backward=after / widths[at + 1],
            )
        )
    r = sum(width * v * rest for width, (_, v), (_, rest) in zip(widths, hats, tilde, strict=True))
    trained = sum(seen[at][-1] * sum(tilde[at + 1]) for at in range(len(hidden)))
    d = r + trained + sum(w * v * xy for w, (_, v), (xy, _) in zip(widths, hats, tilde, strict=True))
    d += float(outlier) * sum(one * rest for one, (_, rest) in zip(own, tilde, strict=True))
    return Bulk(
        layers=tuple(layers),
        inputs=widths[0],
        v0=settings.length - settings.overlap,
        alpha=alpha,
        beta=np.array(own[:-1]) * float(outlier),
        r=r + trained,
        d=d,
        share=share,
        widths=tuple(widths),
    )


def pair(function: Any, q_xy: float, v: float, shift: float) -> float:
    """E phi(x) phi(y) at overlap q_xy."""
    q = q_xy + v
    return float(quadrature.covariance(function, q, q, one_minus_c=v / q, shift=shift))


def edge(
    net: Network,
    theory: str = "exact",
    samples: int | None = None,
    overlap: float = 0.0,
    length: float = 1.0,
    biases: bool | None = None,
) -> float:
    """Where the bulk ends: x_1, or at infinite data behind exact BatchNorm the edge; NaN where `bulk_of` has none."""
    bulk = bulk_of(net, settings_of(net, theory, samples, overlap, length, biases))
    if bulk is None:
        return math.nan
    if not bulk.d > 0:
        return 0.0
    if not bulk.layers and bulk.share == 0:  # all N_0 eigenvalues are one
        return float(bulk.alpha[0] * bulk.v0)
    sharp = bulk.share == 0 and not np.any(bulk.beta)
    return bulk.end() if sharp else bulk.position()
