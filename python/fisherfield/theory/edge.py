# SPDX-License-Identifier: BSD-3-Clause
"""Which of three rules lambda_max: the outlier, the bulk's edge, or one sample (docs/theory.md, section 14)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from ..network import Network
from . import calls
from .one_sample import MOST_OF_A, most_of_variance, sample_of
from .settings import Settings

if TYPE_CHECKING:
    from .._core import Spectrum

__all__ = ["Rule", "edge_of", "rule_of"]


class Rule(NamedTuple):
    """The largest eigenvalue and what it comes from; edge and sample are 0 where they were not needed."""

    lambda_max: float
    regime: str
    edge: float
    sample: float
    log_variance: float = 0.0  # of samples' Theta_ii, where sample was needed


# Networks were sampled at so many samples, inputs and units, and more.
_FEWEST = 50
_BELOW = Rule(0.0, "outlier", 0.0, 0.0)


def rule_of(net: Network, settings: Settings, spectrum: Spectrum) -> Rule | None:
    """None where the edge is not known. A closed bound decides first: below the outlier nothing is solved.

    The edge lies below (a - b) (1/sqrt(n) + sum_l 1/sqrt(N_l))^2, as if all of a - b were in the longest product of
    Gaussian matrices. One sample's eigenvalue lies below (1 + 2.4/n) a and (1 + 2.4/n) a/n e^(s sqrt(2 log n)), s^2 its
    log-variance, which is below kappa sum_l 1/N_l.
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
    sample = variance = 0.0
    if facts.batch_norm and n is not None and (most := (1 + MOST_OF_A / n) * spectrum.a) > top:
        kappa = most_of_variance(net, settings.theory)
        farthest = math.sqrt(2 * math.log(n) * kappa * facts.inverse_widths) - math.log(n)
        if kappa and (top <= 0.0 or farthest > math.log(top) - math.log(most)):
            sample, variance = sample_of(net, settings)
    edge = 0.0
    if not spectrum.outlier or difference * ((0.0 if n is None else n**-0.5) + facts.roots) ** 2 > top:
        edge = edge_of(net, settings, difference)
        if math.isnan(edge):
            return None
    elif sample <= top:
        return _BELOW._replace(log_variance=variance) if variance == math.inf else _BELOW
    largest = max(top, edge, sample)
    regime = "outlier" if spectrum.outlier and top >= largest else "bulk" if edge >= sample else "sample"
    return Rule(largest, regime, edge, sample, variance)


def edge_of(net: Network, settings: Settings, difference: float) -> float:
    """Where the bulk ends, no less than its mean; NaN where the equations are not known, or were not solved."""
    if net._facts.roots is None or settings.samples == 1 or settings.theory == "wei2019":
        return math.nan
    edge = calls.edge(net, settings)
    return edge if math.isnan(edge) or settings.samples is None else max(edge, difference / settings.samples)
