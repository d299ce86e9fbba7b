# SPDX-License-Identifier: BSD-3-Clause
"""The density of a sampled network's eigenvalues, by stochastic Lanczos quadrature."""

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
from .lanczos import krylov
from .measured import Measured
from .network import SampledNetwork
from .operator import FisherOperator

Array = NDArray[Any]


@dataclass(frozen=True, repr=False)
class SpectralDensity(Measured):
    """How the eigenvalues of F* of a sampled network are distributed: nodes and weights of each random vector.

    Attributes
    ----------
    nodes, weights : ndarray, (vectors, steps)
        Lanczos' Ritz values and weights; those of a vector sum to 1.
    products : int
    method : {"lanczos"}
    rounding : float
        How far rounding in the passes through the network may move an eigenvalue, as in `FisherMoments`.
    samples, outputs, parameters, statistics, loss, biases, dtype
        What it was measured of.
    """

    nodes: Array
    weights: Array

    def cumulative(self, at: ArrayLike) -> tuple[Array, Array]:
        """The share of the nC eigenvalues at most `at`, and its standard error over the random vectors."""
        points = np.asarray(at, np.float64)
        below = self.nodes[..., None] <= points.reshape(-1)
        return self._mean(np.einsum("vs,vsp->vp", self.weights, below), points.shape)

    def density(self, at: ArrayLike, width: float) -> tuple[Array, Array]:
        """The density smoothed by a normal distribution of standard deviation `width`, and its standard error.

        It integrates to 1 over all eigenvalues of F*; F has P - nC zeros besides.
        """
        width = _numbers.magnitude("width", width, positive=True)
        points = np.asarray(at, np.float64)
        distance = (points.reshape(-1) - self.nodes[..., None]) / width
        bumps = np.exp(-(distance**2) / 2) / (width * math.sqrt(2 * math.pi))
        return self._mean(np.einsum("vs,vsp->vp", self.weights, bumps), points.shape)

    @staticmethod
    def _mean(values: Array, shape: tuple[int, ...]) -> tuple[Array, Array]:
        error = values.std(axis=0, ddof=1) / math.sqrt(len(values))
        return values.mean(axis=0).reshape(shape), error.reshape(shape)

    def __repr__(self) -> str:
        vectors, steps = self.nodes.shape
        lines = self._title("Spectral density of F*")
        values = np.sort(self.nodes.reshape(-1))
        weight = self.weights.reshape(-1)[np.argsort(self.nodes.reshape(-1), kind="stable")].cumsum() / vectors
        for share in (0.05, 0.25, 0.5, 0.75, 0.95):
            lines.append(f"  {share:4.0%} of the eigenvalues at most {values[np.searchsorted(weight, share)]:.6g}")
        lines.append(f"  the largest {values[-1]:.6g}")
        return "\n".join([*lines, f"  {vectors} random vectors, {steps} Lanczos steps each"])


def sampled_density(
    net: Network | SampledNetwork,
    x: ArrayLike,
    seed: int = 0,
    statistics: Statistics = "exact",
    *,
    loss: Loss = "sum",
    biases: bool = True,
    dtype: DTypeLike | None = None,
    vectors: int = 8,
    steps: int = 40,
    memory: float | None = None,
    progress: bool | Callable[[int, float], Any] = False,
) -> SpectralDensity:
    """The density of the eigenvalues of F* by stochastic Lanczos quadrature, without forming F*.

    Each vector of random signs gives, by `steps` products, the nodes and weights of a Gauss quadrature for the density
    as that vector sees it, exact for polynomials of degree 2 steps - 1; their mean over vectors is the density (L. Lin,
    Y. Saad, C. Yang, arXiv 1308.5467, section 3.2.3; B. Ghorbani et al., arXiv 1901.10159).

    Parameters
    ----------
    net, x, seed, statistics, loss, biases, dtype, memory
        As `FisherOperator` takes them.
    vectors, steps : int
        At least 2 each; vectors times steps products.
    progress
        As in `sampled_fisher`.

    Returns
    -------
    SpectralDensity

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
    vectors = _numbers.integer("vectors", vectors, 2)
    steps = min(_numbers.integer("steps", steps, 2), operator.shape[0])
    random = stream(operator.network.seed, "vectors")
    operator.prepare(vectors * steps)
    nodes, weights = np.zeros((2, vectors, steps))
    with product_listener(progress) as hear:

        def product(w: Array) -> Array:
            result = np.asarray(operator @ w, np.float64)
            if hear is not None:
                hear(operator.products, float(nodes.max()))
            return result

        for vector in range(vectors):
            values, shares = krylov(product, random.choice([-1.0, 1.0], operator.shape[0]), steps)
            nodes[vector], weights[vector] = values[-1], 0.0  # where the space ended early
            nodes[vector, : len(values)], weights[vector, : len(values)] = values, shares
    density = SpectralDensity(
        **Measured.of(operator),
        nodes=nodes,
        weights=weights,
        products=operator.products,
        method="lanczos",
        rounding=operator._rounding(random),
    )
    density._warn(float(nodes.max()))
    return density
