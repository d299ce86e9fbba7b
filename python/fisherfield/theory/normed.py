# SPDX-License-Identifier: BSD-3-Clause
"""Finite width and few samples under BatchNorm: units are normalised each by its own statistics; theory.md, section 13.

nu    the variance over samples of |z|^2/N about its mean: 2/N_0, then k/N_l + he^2 nu
tau   the mean square of the correlation of two samples: 1/N_0, then 1/N_l + (g^2 (E phi')^2/Var phi)^2 tau
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from ..network import Activation, Network
from . import calls
from .scatter import Hermite, Row, hermite
from .settings import Settings

if TYPE_CHECKING:
    from .fisher import Fisher

_LINEAR = Activation("linear")
# With statistics frozen sampled networks of fewer samples or units spread by up to 2.5 times as much.
_FEW_FROZEN, _NARROW_FROZEN = 200, 300
# What sampled networks under exact BatchNorm spread by beyond their last layer's own scatter, over the tilt, is so many
# times the root of the bulk's edge over lambda_max: an estimate by ReLU networks of ten shapes, whose edge lay at 0.07
# to 0.39, and which had 0.28 to 0.35. Held to seven of other activations it left 0.74 (gelu) to 1.12 of the spread.
# Where the edge is not known it is taken to be at 0.1.
_OF_TILT, _EDGE_OF_TILT = 0.31, 0.1


class Normed(NamedTuple):
    """A hidden layer behind its BatchNorm: its units, the variance that its activation reads, and its moments."""

    units: float
    q: float
    at: Hermite


class Own(NamedTuple):
    """What units' own statistics add to lambda_max, over it, and how much of that n samples alone at any width."""

    total: float
    of_samples: float


def of_batch_norm(fisher: Fisher, rows: Sequence[Row], tilt: float, edge: float) -> tuple[Own, float, list[str]]:
    """What is added to the shift and to the spread's square, and what is to be said of them.

    `edge` is the bulk's over the outlier, NaN where it is not known.
    """
    exact, n = fisher.theory == "exact", fisher.samples
    layers = [Normed(row.units, row.xy + row.v, moments(row.activation, row.xy + row.v, row.mean)) for row in rows]
    before = _before(layers, fisher.network.input_shape[0])
    if exact:
        added, squared = _exact(rows[-1], layers[-1].at, *before[-1], n)
        squared += _OF_TILT**2 * (_EDGE_OF_TILT if math.isnan(edge) else edge) * tilt**2
        return Own(added, _exact(rows[-1], layers[-1].at, 0.0, 0.0, n)[0]), squared, []
    few = [f"below {_FEW_FROZEN} samples"] if n is not None and n < _FEW_FROZEN else []
    narrow = [f"below {_NARROW_FROZEN} units"] if min(row.units for row in rows) < _NARROW_FROZEN else []
    words = " and ".join(few + narrow)
    notes = [f"{words} networks with frozen statistics spread by up to 2.5 times as much"] if words else []
    settings = Settings(fisher.theory, n, fisher.overlap, fisher.length, fisher.biases)
    variances = calls.order_parameters(fisher.network, settings).v.tolist()
    return _frozen(fisher.network, settings, layers, variances, (fisher.a, fisher.b)), 0.0, notes


def of_frozen(net: Network, settings: Settings, a: float, b: float) -> Own:
    """Of a chain of dense layers with frozen statistics behind all hidden ones, before its shift is asked for."""
    variances, steps, layers = calls.order_parameters(net, settings).v.tolist(), net.steps, []
    norms = [at for at, step in enumerate(steps) if step.layer.over_batch]
    for at, v in zip(norms, variances, strict=False):  # the output's v is nobody's
        norm: Any = steps[at].layer  # of units that have all the same gamma and beta
        behind = steps[at + 1].layer
        share = 1.0 if norm.eps == 0.0 else v / (v + norm.eps)  # v may leave float64
        q = norm.gamma * norm.gamma * share
        activation = cast("Activation", behind) if behind.pointwise else _LINEAR
        layers.append(Normed(steps[at].before[0], q, moments(activation, q, norm.beta)))
    return _frozen(net, settings, layers, variances, (a, b))


@lru_cache(maxsize=512)
def moments(activation: Activation, q: float, mean: float) -> Hermite:
    """Of an activation behind a BatchNorm; all layers of a network mostly have the same."""
    return hermite(activation._compiled, q, mean)


def _before(layers: Sequence[Normed], inputs: int) -> list[tuple[float, float]]:
    """(nu, tau) of what each activation reads."""
    nu, tau, out = 2 / inputs, 1 / inputs, []
    for units, q, at in layers:
        out.append((nu, tau))
        share = q * at.slope[0] ** 2 / at.variance if at.variance > 0 else 0.0
        nu = at.fourth / units + at.squared**2 * nu
        tau = 1 / units + share**2 * tau
    return out


def _exact(row: Row, at: Hermite, nu: float, tau: float, n: int | None) -> tuple[float, float]:
    """The last activation's: its mean over the data, of which each unit has another, gives lambda_max."""
    one_over_n = 0.0 if n is None else 1 / n
    m, _, second, _, fourth = at.phi
    shift = row.samples[1] * (m * fourth / 4 * (nu - 2 * tau) - (second**2 + m * fourth) * one_over_n / 2)
    # Var over units of m_i: (1/n) sum_k>2 E_k^2/k!, and the fourth's part of what correlated samples have
    rest = max(at.variance - at.phi[1] ** 2 - second**2 / 2, 0.0)
    of_unit = rest * one_over_n + fourth**2 / 24 * 3 * tau**2
    return float(shift), float((2 * m * row.samples[1]) ** 2 * of_unit / row.units)


def _overlap(values: Sequence[float], one_over_n: float) -> float:
    """(E F)^2 of two samples of n, normalised together."""
    rest = 0.0 if one_over_n == 1 else one_over_n / (1 - one_over_n)
    return values[0] ** 2 - values[1] ** 2 * rest - (values[2] ** 2 + values[0] * values[4]) * one_over_n / 2


def _frozen(
    net: Network, settings: Settings, layers: Sequence[Normed], variances: list[float], of: tuple[float, float]
) -> Own:
    """lambda_max with every unit's own statistics, over that of (a, b), with the mean of them, less 1."""
    one_over_n = 0.0 if settings.samples is None else 1 / settings.samples
    parts = calls.contributions(net, settings)
    biases = [float(settings.biases and layer.bias) for layer in net.affine_layers]
    kept = [
        _Kept(*each)
        for each in zip(
            *(layers, variances, parts.a.tolist()[1:], parts.b.tolist()[1:], biases[1:]),
            (norm.eps for norm in net.batch_norms),
            strict=False,
        )
    ]
    first = float(parts.a[0]), float(parts.b[0])
    plain = of[1] + (of[0] - of[1]) * one_over_n

    def less_one(before: Sequence[tuple[float, float]]) -> float:
        try:
            total = _with_own(first, kept, before, one_over_n)
        except (OverflowError, ZeroDivisionError):
            return math.nan
        return total / plain - 1 if math.isfinite(total) and plain > 0 else math.nan

    of_samples = less_one([(0.0, 0.0)] * len(kept)) if one_over_n > 0 else 0.0
    return Own(less_one(_before(layers, net.input_shape[0])), of_samples)


class _Kept(NamedTuple):
    """A hidden layer, the variance before its BatchNorm, the next layer's parts of a and b, its bias, and eps."""

    layer: Normed
    v: float
    a: float
    b: float
    bias: float
    eps: float


def _with_own(
    first: tuple[float, float], kept: Sequence[_Kept], before: Sequence[tuple[float, float]], one_over_n: float
) -> float:
    """lambda_max of the affine layers' parts of a and b, with what each BatchNorm's own statistics make of them."""
    (a, b), wider = first, 1.0
    for ((units, _, at), v, next_a, next_b, bias, eps), (nu, tau) in zip(kept, before, strict=True):
        m = at.phi[0]
        gain = (v + eps) / (v * (1 - one_over_n) * wider + eps) * (1 + 2 * (one_over_n + tau))
        slope = at.slope[0] ** 2
        off = _overlap(at.phi, one_over_n)
        wider = (at.variance + m * m - off) / at.variance if at.variance > 0 else 1.0
        own, plain = units * (off + m * at.phi[4] / 4 * (nu - 2 * tau)) + bias, units * m * m + bias
        a = a * gain + next_a
        b = b * gain * (_overlap(at.slope, one_over_n) / slope if slope > 0 else 1.0)
        b += next_b * own / plain if plain > 0 else next_b
    return b + (a - b) * one_over_n
