# SPDX-License-Identifier: BSD-3-Clause
"""Positions of sampled channels that become units themselves; docs/theory.md, section 12."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..state import Place
from .state import Low, Sampling, Term, Units

__all__ = ["flatten"]

_MOST = 2**13  # units


def flatten(layer: Any, units: Units, at: Place, sampling: Sampling) -> Units:
    """A unit goes on as several, each with one position a of it. Its place in the kernel is its own:

        sum_t,t' A_t(x)[a] A_t'(y)[a] (o + delta_xy d)[reads_t a, reads_t' a]
            = sum_t A_t(x) q_t(y) + delta_xy s(x)^2,      q_t = sum_t' o A_t',    s^2 = sum_t,t' A_t d A_t',

    of which the first is the pair (A_t, q_t/2) for each tap, o being symmetric, and the second a slope s with d = 1.
    There are as many of a unit as keep them below 2^13, a power of two; which positions goes round with the units, so
    that all have their part, and is the same for a pair of them.
    """
    count, _, positions = units.h.shape
    share = 1
    while 2 * share <= positions and 2 * share * count <= _MOST:
        share *= 2
    of_unit = np.repeat(np.arange(count), share)
    place = (of_unit % (count // 2) * share + np.tile(np.arange(share), count)) % positions

    def picked(A: np.ndarray) -> np.ndarray:
        return np.moveaxis(A[..., of_unit, :, place], 0, -2)[..., None]

    terms: list[Term] = []
    lows = [Low(picked(low.P), picked(low.Q)) for low in units.lows]
    for term in units.terms:
        slopes = [(picked(A), reads[place]) for A, reads in term.taps]

        def through(matrix: np.ndarray, reads: np.ndarray, slopes: Any = slopes) -> Any:
            """(layers, M, R, 1)"""
            return sum(matrix[:, reads, others][:, :, None, None] * A for A, others in slopes)

        lows += [Low(A, through(term.o, reads) / 2) for A, reads in slopes]
        square = sum(A * through(term.d, reads) for A, reads in slopes)
        for source, of_layer in enumerate(np.asarray(square)):
            one = np.zeros((len(term.d), 1, 1))
            one[source] = 1.0
            slope = np.sqrt(np.maximum(of_layer, 0.0))
            terms.append(Term(((slope, np.zeros(1, int)),), np.zeros_like(one), one))
    return Units(picked(units.h), tuple(terms), tuple(lows), None)
