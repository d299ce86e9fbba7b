# SPDX-License-Identifier: BSD-3-Clause
"""tr F and tr F^2 of sampled networks, of all of F* or by random vectors."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from .. import _numbers
from .._numbers import Loss, Statistics
from .._progress import product_listener
from .._random import stream
from ..network import Network
from .measured import Measured
from .network import SampledNetwork
from .operator import FisherOperator
from .spectrum import start

Array = NDArray[Any]


@dataclass(frozen=True, repr=False)
class FisherMoments(Measured):
    """tr F and tr F^2 of a sampled network, and what they make of its P eigenvalues.

    Attributes
    ----------
    trace, square : float
        tr F and tr F^2.
    trace_error, square_error : float
        Standard errors over the random vectors, which are 0 where all of F* was formed, and what `rounding` makes of
        the traces: sqrt(nC) and 2 |F*| times as much, by the Frobenius norm.
    rounding : float
        About the Frobenius norm of what rounding in the passes through the network may change in F*, as in
        `FisherSpectrum`.
    mean, second_moment : float
        tr F/P and tr F^2/P, the moments of all P eigenvalues.
    products : int
        How many vectors F* was applied to.
    method : {"dense", "hutchinson"}
    samples, outputs, parameters, statistics, loss, biases, dtype
        What it was measured of.
    """

    trace: float
    square: float
    trace_error: float
    square_error: float

    @property
    def mean(self) -> float:
        return self.trace / self.parameters

    @property
    def second_moment(self) -> float:
        return self.square / self.parameters

    def __repr__(self) -> str:
        return "\n".join(
            [
                *self._title("Moments of the Fisher information"),
                f"  tr F    {self.trace:<14.8g}+- {self.trace_error:<8.1g} mean eigenvalue {self.mean:.6g}",
                f"  tr F^2  {self.square:<14.8g}+- {self.square_error:<8.1g} second moment   {self.second_moment:.6g}",
                self._method(),
            ]
        )


def sampled_moments(
    net: Network | SampledNetwork,
    x: ArrayLike,
    seed: int = 0,
    statistics: Statistics = "exact",
    *,
    loss: Loss = "sum",
    biases: bool = True,
    dtype: DTypeLike | None = None,
    method: str = "auto",
    vectors: int = 20,
    memory: float | None = None,
    progress: bool | Callable[[int, float], Any] = False,
) -> FisherMoments:
    """tr F = tr F* and tr F^2 = |F*|^2: all entries of F*, or F* applied to random vectors.

    Parameters
    ----------
    net, x, seed, statistics, loss, biases, dtype, memory
        As `FisherOperator` takes them.
    progress
        As in `sampled_fisher`.
    method : {"auto", "dense", "hutchinson"}
        "dense" is exact. "hutchinson" gives g.F*g and |F*g|^2 averaged over vectors g of random signs (M. Hutchinson,
        1989), of what is left of F* when the space of its first `vectors` products has been taken out and counted
        exactly (Hutch++: R. Meyer et al., arXiv 2010.09649). "auto" takes the one of fewer operations that fits.
    vectors : int
        How many random vectors, of the network's seed; three products each. At least 2.

    Returns
    -------
    FisherMoments

    Raises
    ------
    ValueError, TypeError
        For arguments out of range, and for more memory than there is.

    Warns
    -----
    UserWarning
        Where rounding costs more than 1e-8 of F*, 1e-2 in float32.
    """
    operator = FisherOperator(net, x, seed, statistics, loss=loss, biases=biases, dtype=dtype, memory=memory)
    moments = moments_of(operator, method, vectors, progress)
    moments._warn(math.sqrt(max(0.0, moments.square)))
    return moments


def moments_of(
    operator: FisherOperator, method: str = "auto", vectors: int = 20, progress: Any = False
) -> FisherMoments:
    """`sampled_moments` of an operator that stands already."""
    _numbers.choice("method", method, ("auto", "dense", "hutchinson"))
    vectors = min(_numbers.integer("vectors", vectors, 2), operator.shape[0])
    if method == "auto":
        flops = operator.flops
        method = "dense" if operator.fits and flops["gram"] <= 3 * vectors * flops["product"] else "hutchinson"
    if method == "dense":
        with product_listener(progress) as hear:
            matrix = operator.dense(hear)
        trace, square = float(np.trace(matrix, dtype=np.float64)), float(np.vdot(matrix, matrix))
        rounding = operator._rounding(stream(operator.network.seed, "vectors"), matrix)
        sums = _sums(operator.shape[0], rounding, trace, square)
        return FisherMoments(**Measured.of(operator), **sums, products=0, method=method)
    random = stream(operator.network.seed, "vectors")
    size = operator.shape[0]
    operator.prepare(3 * vectors)
    with product_listener(progress) as hear:

        def product(rows: Array) -> Array:
            results = np.empty(rows.shape)
            for place, row in enumerate(rows):
                results[place] = operator @ row
                if hear is not None:
                    hear(place + 1, math.nan)
            return results

        signs = random.choice([-1.0, 1.0], (vectors, size))
        signs[0] = start(operator, random)[0]
        space = np.linalg.qr(product(signs).T)[0].T  # orthonormal rows
        of_space = product(space)
        signs = random.choice([-1.0, 1.0], (vectors, size))
        rest = signs - (signs @ space.T) @ space
        of_rest = product(rest)
    sums = _sums(
        size,
        operator._rounding(random),
        np.sum(rest * of_rest, axis=1),
        np.sum(of_rest**2, axis=1),
        float(np.sum(space * of_space)),
        float(np.sum(of_space**2)),
    )
    return FisherMoments(**Measured.of(operator), **sums, products=3 * vectors, method=method)


def _sums(
    size: int, rounding: float, traces: Any, squares: Any, trace: float = 0.0, square: float = 0.0
) -> dict[str, Any]:
    """The means over vectors with their standard errors, beside what is known exactly; and rounding.

    |tr dF| <= sqrt(nC) |dF|, |tr (F + dF)^2 - tr F^2| <= 2 |F| |dF| + |dF|^2 by Frobenius norms.
    """

    def error(values: Any) -> float:
        return float(np.std(values, ddof=1) / math.sqrt(np.size(values))) if np.size(values) > 1 else 0.0

    total = float(square + np.mean(squares))
    return {
        "trace": float(trace + np.mean(traces)),
        "square": total,
        "trace_error": error(traces) + math.sqrt(size) * rounding,
        "square_error": error(squares) + (2.0 * math.sqrt(max(0.0, total)) + rounding) * rounding,
        "rounding": rounding,
    }
