# SPDX-License-Identifier: BSD-3-Clause
"""Where the bulk of the Fisher information's spectrum ends, for dense networks of finite width: bulk.py's equations."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..network import BatchNorm, Network
from . import quadrature
from .arguments import Settings, settings_of
from .bulk import GRADIENTS, MEANS, Bulk, Neurons, moments
from .one_sample import most_of_variance, one_sample
from .wei2019 import following

__all__ = ["bulk_end", "bulk_of", "edge", "one_sample", "spectral_density", "undecided"]

_DEEPEST = 32  # affine layers: of more the equations take minutes here


@dataclass(frozen=True)
class Hidden:
    """phi(u + shift) of a hidden layer, u of variance q_xy over samples that share it and v within a sample."""

    function: Any
    q_xy: float
    v: float
    shift: float
    scale: float  # what BatchNorm multiplies the variance by
    slopes: float  # E phi' phi' of two samples
    difference: float  # E phi'^2 less that
    trained: float  # what gamma and beta add to Theta's diagonal

    @property
    def hat(self) -> tuple[float, float]:
        """q_hat_xy and q_hat - q_hat_xy behind phi."""
        rest = self.v / (self.q_xy + self.v)
        spread = float(quadrature.spread(self.function, self.q_xy + self.v, rest, self.shift))
        return pair(self.function, self.q_xy, self.v, self.shift), spread


def bulk_of(net: Network, settings: Settings) -> Bulk | None:
    """The equations of a chain of Dense layers, all of its hidden ones with BatchNorm or none; None for any other."""
    if not described(net, settings):
        return None
    affine, widths = net.affine_layers, [float(step.before[0]) for step in net.affine_steps]
    forward = _forward(net, settings)
    if forward is None:
        return None
    seen, hats = forward
    tilde = [(1.0, 0.0)]  # q_tilde_xy and q_tilde - q_tilde_xy, from behind
    for layer, reader in zip(reversed(seen), reversed(affine), strict=False):
        back = reader.sigma_w2 * layer.scale
        xy, rest = tilde[0]
        both = layer.slopes + layer.difference
        tilde.insert(0, (back * layer.slopes * xy, back * (both * rest + layer.difference * xy)))
    bias = [float(settings.biases and layer.bias) for layer in affine]
    own = [width * xy + one for width, (xy, _), one in zip(widths, hats, bias, strict=True)]
    outlier = settings.theory == "frozen" or not net.batch_norms
    layers = [
        _neurons(layer, affine[at].sigma_w2, affine[at + 1].sigma_w2, widths[at : at + 2], tilde[at + 1], outlier)
        for at, layer in enumerate(seen)
    ]
    r = sum(width * v * rest for width, (_, v), (_, rest) in zip(widths, hats, tilde, strict=True))
    trained = sum(layer.trained * sum(tilde[at + 1]) for at, layer in enumerate(seen))
    d = r + trained + sum(w * v * xy for w, (_, v), (xy, _) in zip(widths, hats, tilde, strict=True))
    d += float(outlier) * sum(one * rest for one, (_, rest) in zip(own, tilde, strict=True))
    return Bulk(
        layers=tuple(layers),
        inputs=widths[0],
        v0=settings.length - settings.overlap,
        alpha=np.array([xy for xy, _ in tilde]),
        beta=np.array(own[:-1]) * float(outlier),
        r=r + trained,
        d=d,
        share=0.0 if settings.samples is None else 1 / settings.samples,
        widths=tuple(widths),
    )


def described(net: Network, settings: Settings) -> bool:
    """Whether it is a chain of Dense layers, all of its hidden ones with BatchNorm or none."""
    steps = net.steps
    normed = [step for step in steps if isinstance(step.layer, BatchNorm)]
    chain = all(len(step.reads) == 1 and len(step.before) == 1 and not step.layer.unpublished for step in steps)
    outward = steps[-1] is not net.affine_steps[-1]
    deep = len(net.affine_steps) > _DEEPEST
    if deep or not chain or outward or len(normed) not in (0, len(net.affine_steps) - 1):
        return False
    own = any(np.ndim(norm.gamma) or np.ndim(norm.beta) for norm in net.batch_norms)
    return not own and settings.samples != 1 and settings.theory != "wei2019"


def _forward(net: Network, settings: Settings) -> tuple[list[Hidden], list[tuple[float, float]]] | None:
    """The hidden layers, and q_hat_xy and q_hat - q_hat_xy before every affine one; None where nothing varies."""
    affine, place = net.affine_layers, 0
    hats = [(settings.overlap, settings.length - settings.overlap)]
    seen: list[Hidden] = []
    for layer, after in itertools.pairwise(affine):
        norm, function, place = following(net.layers, place)
        xy, spread = hats[-1]
        q_xy, v = layer.sigma_b2 + layer.sigma_w2 * xy, layer.sigma_w2 * spread
        scale, shift = 1.0, 0.0
        if norm is not None:
            if v + norm.eps == 0:
                return None
            q_xy, shift, scale = 0.0, norm.beta, norm.gamma**2 / (v + norm.eps)
            v = scale * v
        if v == 0:
            return None
        rest = v / (q_xy + v)
        slopes = float(quadrature.slope_covariance(function, q_xy + v, q_xy + v, one_minus_c=rest, shift=shift))
        difference = float(quadrature.slope_spread(function, q_xy + v, rest, shift))
        trained = 0.0
        if norm is not None and norm.trained:  # of Theta on the diagonal alone, and no more than 1 in N of it
            ones = (
                quadrature.second_slope_moment(function, v, shift)
                - quadrature.first_slope_moment(function, v, shift) ** 2
            )
            trained = after.sigma_w2 * (difference + v / norm.gamma**2 * float(ones))
        seen.append(Hidden(function, q_xy, v, shift, scale, slopes, difference, trained))
        hats.append(seen[-1].hat)
    return seen, hats


def _neurons(
    layer: Hidden, before: float, after: float, widths: list[float], tilde: tuple[float, float], outlier: bool
) -> Neurons:
    """A hidden layer's units by their mean over samples and their gradients; before, after: sigma_w^2 beside it."""
    (xy, rest), after = tilde, after * layer.scale
    means, mean_weights = MEANS if layer.q_xy > 0 else (np.zeros(1), np.ones(1))
    gradients, weights = GRADIENTS if outlier and xy > 0 else (np.zeros(1), np.ones(1))
    weights, mean_weights = weights / weights.sum(), mean_weights / mean_weights.sum()
    g = gradients * math.sqrt(after * xy / widths[1])
    deviation = math.sqrt(max(layer.q_xy, 0.0))  # of odd functions rounding may leave less than 0
    rows = [moments(layer.function, layer.shift + deviation * m, layer.v) for m in means]
    of = {name: np.array([row[name] for row in rows])[:, None] for name in rows[0]}
    # Only the D ask for g, and where there are none it is 0.
    fresh = (of["slope_variance"] * after * rest / widths[1]) + 0 * g
    grid = np.ones((len(means), len(g)))
    return Neurons(
        weight=(widths[1] * np.outer(mean_weights, weights)).ravel(),
        b=(of["b"] * grid).ravel(),
        s=(of["s"] * grid).ravel(),
        bg=(of["bend"] * g * grid).ravel(),
        c=(of["c"] * grid).ravel(),
        cx=(of["cx"] * g * grid).ravel(),
        cd=((of["cd"] * g * g + fresh) * grid).ravel(),
        forward=before * layer.scale / widths[0],
        backward=after / widths[1],
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
    end = bulk_end(net, settings_of(net, theory, samples, overlap, length, biases), False)
    return math.nan if end is None else end


def bulk_end(net: Network, settings: Settings, known_below: bool) -> float | None:
    """The same; None where there is none, and 0 where it needs not be solved."""
    bulk = bulk_of(net, settings)
    if bulk is None:
        return None
    if known_below or not bulk.d > 0:
        return 0.0
    if not bulk.layers and bulk.share == 0:  # all N_0 eigenvalues are one
        return float(bulk.alpha[0] * bulk.v0)
    sharp = bulk.share == 0 and settings.theory == "exact" and bool(net.batch_norms)
    return bulk.end() if sharp else bulk.position()


def undecided(net: Network, settings: Settings, a: float, b: float, largest: float, outlier: bool) -> bool:
    """Whether the edge, or one sample's eigenvalue, may be the largest: closed bounds lie above what is without them.

    The edge is below (a - b) (1/sqrt(n) + sum_l 1/sqrt(N_l))^2; one sample below a and (1 + 2.4/n) a/n e^(s sqrt(2 log
    n)) with s^2 = sum_l kappa/N_l, kappa of `most_of_variance`. Both are known from 50 samples, inputs and units on, as
    in `fisher`.
    """
    widths, n = [step.before[0] for step in net.affine_steps], settings.samples
    if min(widths) < 50 or (n is not None and n < 50):
        return False
    ceiling = (a - b) * ((0.0 if n is None else n**-0.5) + sum(width**-0.5 for width in widths)) ** 2
    sample = 0.0
    if not described(net, settings):
        return False
    if n is not None and net.batch_norms and (kappa := most_of_variance(net, settings)):
        tail = math.sqrt(2 * math.log(n) * sum(kappa / width for width in widths))
        sample = (1 + 2.4 / n) * a * math.exp(min(0.0, tail - math.log(n)))
    return not outlier or max(ceiling, sample) > largest


def spectral_density(
    net: Network,
    samples: int,
    theory: str = "exact",
    overlap: float = 0.0,
    length: float = 1.0,
    biases: bool | None = None,
    points: int = 200,
) -> dict[str, np.ndarray]:
    """The bulk's density on a grid to 1.15 of its edge, as the squares of even steps, and the numbers above."""
    settings = settings_of(net, theory, samples, overlap, length, biases)
    bulk = bulk_of(net, settings)
    if bulk is None:
        raise ValueError("net must be a chain of Dense layers, of whose hidden ones all have a BatchNorm or none")
    x = 1.15 * bulk.position() * (np.arange(1, points + 1) / points) ** 2
    density, above = np.zeros(points), np.full(points, float(samples))
    for place in np.flatnonzero(x > bulk.share * bulk.r):
        density[place], above[place] = bulk.density(x[place]), bulk.above(x[place])
    return {"x": x, "density": density, "above": above}
