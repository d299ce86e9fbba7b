# SPDX-License-Identifier: BSD-3-Clause
"""Which of three rules lambda_max: the outlier, the bulk's edge, or one sample (docs/theory.md, section 14)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from ..network import Network
from . import calls
from .settings import Settings

if TYPE_CHECKING:
    from .._core import Spectrum

__all__ = ["Rule", "edge_of", "log_variance", "mean_of_largest", "rule_of"]

# ReLU's: kurtosis of one sample's length and gradient in a layer, their cross term, and what samples have in common.
_FORWARD, _BACKWARD, _CROSS, _COMMON = 4.408, 5.0, 0.533, 2.0
# Of exact BatchNorm, from how far the largest eigenvalue lies above the largest diagonal entry: 1.8 to 2.8 over n.
_BATCH = 2.4
# Of E max of n lognormals; beyond 12 deviations no sample lies.
_NODES, _FARTHEST = 400, 12.0


class Rule(NamedTuple):
    """The largest eigenvalue and what it comes from; edge and sample are 0 where they were not needed."""

    lambda_max: float
    regime: str
    edge: float
    sample: float


# Networks were sampled at so many samples, inputs and units, and more.
_FEWEST = 50
_BELOW = Rule(0.0, "outlier", 0.0, 0.0)


def rule_of(net: Network, settings: Settings, spectrum: Spectrum) -> Rule | None:
    """None where the edge is not known. A closed bound decides first: below the outlier nothing is solved.

    The edge lies below (a - b) (1/sqrt(n) + sum_l 1/sqrt(N_l))^2, as if all of a - b were in the longest product of
    Gaussian matrices. One sample's eigenvalue lies below (1 + 2.4/n) a/n e^(s sqrt(2 log n)), s^2 its log-variance, of
    which sum_l 10/N_l is more than there is.
    """
    facts, n = net._facts, settings.samples
    if (
        facts.roots is None
        or facts.fewest_inputs < _FEWEST
        or (n is not None and n < _FEWEST)
        or settings.theory == "wei2019"
        or not spectrum.fit
    ):
        return None
    top, difference = spectrum.lambda_max, spectrum.a - spectrum.b
    sample = 0.0
    if facts.relu_normed and n is not None:
        most = (1 + _BATCH / n) * spectrum.a / n
        if most * n > top and most * math.exp(math.sqrt(2 * math.log(n) * facts.log_variance)) > top:
            sample = _one_sample(net, settings)
    edge = 0.0
    if not spectrum.outlier or difference * ((0.0 if n is None else n**-0.5) + facts.roots) ** 2 > top:
        edge = edge_of(net, settings, difference)
        if math.isnan(edge):
            return None
    elif sample <= top:
        return _BELOW
    largest = max(top, edge, sample)
    regime = "outlier" if spectrum.outlier and top >= largest else "bulk" if edge >= sample else "sample"
    return Rule(largest, regime, edge, sample)


def edge_of(net: Network, settings: Settings, difference: float) -> float:
    """Where the bulk ends, no less than its mean; NaN where the equations are not known, or were not solved."""
    if net._facts.roots is None or settings.samples == 1 or settings.theory == "wei2019":
        return math.nan
    edge = calls.edge(net, settings)
    return edge if math.isnan(edge) or settings.samples is None else max(edge, difference / settings.samples)


def _one_sample(net: Network, settings: Settings) -> float:
    """(1 + 2.4/n [exact only]) (a/n) e^(-s^2/2) E max_{i <= n} e^(s z_i): samples' Theta_ii are lognormal, independent.

    s^2 = sum_{l,m} p_l p_m V(l, m), p_l = layer l's share of the diagonal and, with sums over hidden layers k,

        V = 2/N_0 + sum_{k < min} 4.408/N_k + sum_{k >= max} (5 - 2 4^-(L-1-k))/N_k + sum_{min <= k < max} .533/N_k.
    """
    n = settings.samples
    assert n is not None
    exact = settings.theory == "exact"
    # a and the shares are those of infinite data, for which 2.4/n was found.
    parts = calls.contributions(net, settings._replace(samples=None, overlap=max(settings.overlap, 0.0)))
    of_layers = parts.a - parts.b if exact else parts.a
    shares = (of_layers / of_layers.sum()).tolist()
    variance = log_variance(shares, [step.before[0] for step in net.affine_steps])
    largest = math.exp(-variance / 2) * mean_of_largest(variance**0.5, n)
    return float((1 + _BATCH / n * exact) * parts.a.sum() / n * largest)


def log_variance(shares: list[float], widths: list[int]) -> float:
    """s^2 of N_0 .. N_{L-1}."""
    depth = len(shares)
    common = [_COMMON * 4.0 ** -(depth - 1 - k) for k in range(depth)]
    forward, backward, cross = [0.0], [0.0], [0.0]  # sums up to a hidden layer
    for k in range(1, depth):
        forward.append(forward[-1] + _FORWARD / widths[k])
        backward.append(backward[-1] + (_BACKWARD - common[k]) / widths[k])
        cross.append(cross[-1] + _CROSS / widths[k])
    total = 0.0
    for i, one in enumerate(shares):  # i: layer i + 1, behind hidden layers 1 .. i
        for j, other in enumerate(shares):
            low, high = min(i, j), max(i, j)
            between = cross[high] - cross[low]
            total += one * other * (2 / widths[0] + forward[low] + backward[-1] - backward[high] + between)
    return total


def mean_of_largest(deviation: float, count: int) -> float:
    """E max of e^(s z) over so many, by the trapezoidal rule on their density n p(z) P(z)^(n-1)."""
    step, total = 2 * _FARTHEST / _NODES, 0.0
    for place in range(_NODES + 1):
        z = -_FARTHEST + place * step
        above = 0.5 * math.erfc(z / math.sqrt(2))
        if above < 1:
            total += math.exp(deviation * z - z * z / 2 + (count - 1) * math.log1p(-above))
    return total * step * count / math.sqrt(2 * math.pi)
