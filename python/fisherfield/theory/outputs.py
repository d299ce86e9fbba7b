# SPDX-License-Identifier: BSD-3-Clause
"""Several outputs: the largest of the C eigenvalues that infinite width has at one place; docs/theory.md, section 13.

The C x C block of the outlier is K = sum_l p_l X_l, with p_l the part of b that layer l has, X_L = 1 and

    X_l = R^T (1/N_l) G S_l^2 G^T R / E s^2,     R^T R = X_{l+1},     G of C x N_l standard normal numbers.

Of sums of g g^T s^2 over N units the means of squares are kappa/N, kappa = E s^4/(E s^2)^2, and 2 kappa/N of the
diagonal, where (kappa - 1)/N is common to all outputs: Wishart's with N/kappa degrees of freedom, times a number.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .scatter import Row

    Array = NDArray[np.float64]

_DRAWS = 400
_OPERATIONS = 5e7  # for more outputs fewer draws, but so many at least
_LEAST_DRAWS = 8
_OTHERS = [0, 1, 2, 4, 5]  # than t


class Outputs(NamedTuple):
    """Relative to one output's: the top eigenvalue's shift, what is added to the tilt, and the spread with both."""

    shift: float = 0.0
    tilt: float = 0.0
    spread: float | None = None  # None: that of one output


def outputs_of(rows: Sequence[Row], parts: Array, share: float, count: int) -> Outputs:
    """`parts` are those of b by layer, over b; `share` is that of b in lambda_max. A fixed seed, 400 draws or fewer.

    Two and more draws err: the mean by the spread over the root of their number, but for what a single output has of
    it, which is taken off; so about 0.2 % of lambda_max at 400.
    """
    draws = int(np.clip(_OPERATIONS / (count**3 * max(len(rows), 1)), _LEAST_DRAWS, _DRAWS))
    random = np.random.default_rng(0)
    above = np.broadcast_to(np.eye(count), (draws, count, count))  # R of the layer above
    block, others = parts[-1] * above, np.zeros(draws)
    for row, part in zip(reversed(rows), parts[-2::-1], strict=True):
        root = _root(row.scatter.nets, row.scatter.fourth, row.scatter.t) / np.sqrt(row.units)
        noise = random.standard_normal((draws, 6)) @ root.T
        others += noise[:, _OTHERS] @ row.nets[_OTHERS]
        freedom = row.units * row.scatter.t**2 / row.scatter.fourth if row.scatter.t > 0 else row.units
        above = _wishart_roots(random, draws, above.shape[1], freedom) @ above
        above = above * np.sqrt(np.maximum(1 + noise[:, 3], 0.0))[:, None, None]
        block = block + part * (np.swapaxes(above, 1, 2) @ above)
    tops, means = np.linalg.eigvalsh(block)[:, -1], np.trace(block, axis1=1, axis2=2) / count
    spread = np.std(share * tops + others, ddof=1)
    tilt = (count - 1) * sum(_tilt(row) for row in rows)
    return Outputs(float(share * np.mean(tops - means)), float(tilt), float(spread))


def _root(nets: Array, fourth: float, t: float) -> Array:
    """A root of the covariance of one unit's (w, m^2, m, s^2/E s^2, z^2/q, z/sqrt q)."""
    covariance = nets.copy()
    covariance[3, 3] = fourth - t * t
    scale = 1 / t if t > 0 else 0.0
    covariance[3] *= scale
    covariance[:, 3] *= scale
    values, vectors = np.linalg.eigh(covariance)
    return np.asarray(vectors * np.sqrt(np.maximum(values, 0.0)))


def _wishart_roots(random: np.random.Generator, draws: int, count: int, freedom: float) -> Array:
    """A with A^T A of Wishart's law over its degrees of freedom (Bartlett); fewer than `count` are rounded."""
    if freedom < count:
        rows = max(round(freedom), 1)
        return np.asarray(random.standard_normal((draws, rows, count)) / np.sqrt(rows))
    roots = np.triu(random.standard_normal((draws, count, count)), 1)
    diagonal = np.arange(count)
    roots[:, diagonal, diagonal] = np.sqrt(random.chisquare(freedom - diagonal, (draws, count)))
    return np.asarray(roots / np.sqrt(freedom))


def _tilt(row: Row) -> float:
    """What one more output adds: the gradient's share that goes to it."""
    rate = row.samples[3]
    return float((rate * row.o * row.worth_d * row.scatter.slopes - rate * rate * row.scatter.fourth) / row.units)
