# SPDX-License-Identifier: BSD-3-Clause
"""The largest eigenvalues of the Fisher information of sampled networks, by Lanczos or of all of F*."""

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
from .._words import bytes_in_words
from ..network import Network
from ..theory.calls import step_limit
from ..theory.settings import Descent
from .lanczos import Eigenpairs, largest_eigenpairs
from .linearization import blas_threads
from .measured import Measured
from .network import SampledNetwork
from .operator import FisherOperator

Array = NDArray[Any]

_MOST_PRODUCTS = 1000  # of Lanczos
_BLOCK = 32  # outputs that Lanczos starts from at the most


@dataclass(frozen=True, repr=False)
class FisherSpectrum(Measured):
    """The largest eigenvalues of the Fisher information matrix of a sampled network, as measured on n samples.

    Attributes
    ----------
    eigenvalues : ndarray, (k,)
        The largest first.
    errors : ndarray, (k,)
        How far each may be off: an estimate min(r, 4 r^2/gap) of its residual r and its distance from its
        neighbours for "lanczos", nC eps lambda_max for "dense"; and `rounding`. Eigenvalues nearer to each other than
        `tolerance` times the largest may be taken for one by "lanczos", which is off by so much then.
    rounding : float
        How far rounding in the passes through the network may move an eigenvalue: four times what errors of a
        few times their size change in v.F* v, for the eigenvectors v that were found, or in |F*| where all of it was
        formed. An estimate. It is large where values are large beside their differences over the batch, as a common
        offset of the inputs or a large beta makes them, unless a BatchNorm takes it away exactly (docs/theory.md, 11).
    residuals : ndarray, (k,)
        |F* v - lambda v|; some eigenvalue lies within this of each.
    eigenvectors : ndarray, (k, n, C), optional
        Of F*, of length 1; where they were asked for.
    products : int
        How many vectors F* was applied to; 0 where all of F* was formed.
    method : {"lanczos", "dense"}
    reason : str
        Why this method was taken.
    samples, outputs, parameters, statistics, loss, biases, dtype
        What it was measured of.
    """

    eigenvalues: Array
    errors: Array
    residuals: Array
    eigenvectors: Array | None
    reason: str

    @property
    def lambda_max(self) -> float:
        """The largest eigenvalue, in the convention of the loss."""
        return float(self.eigenvalues[0])

    def max_learning_rate(self, momentum: float = 0.0, nesterov: bool = False, weight_decay: float = 0.0) -> float:
        """2 (1 + momentum)/lambda_max; infinity for lambda_max = 0. The rest as in `ff.max_learning_rate`."""
        momentum, nesterov = _numbers.momentum_of(momentum), _numbers.boolean("nesterov", nesterov)
        descent = Descent(self.loss, momentum, nesterov, _numbers.magnitude("weight_decay", weight_decay))
        top = self.lambda_max + descent.weight_decay
        return float(step_limit(descent) / top) if top > 0.0 else math.inf

    def __repr__(self) -> str:
        lines = self._title("Fisher information")
        shown = 8
        for place, (value, error) in enumerate(zip(self.eigenvalues[:shown], self.errors, strict=False)):
            name = "lambda_max" if place == 0 else f"eigenvalue {place + 1}"
            lines.append(f"  {name:<14}{value:<14.8g}+- {error:.1g}")
        if len(self.eigenvalues) > shown:
            lines.append(f"  {len(self.eigenvalues) - shown} more, down to {self.eigenvalues[-1]:.8g}")
        if words := self._cancellation(self.lambda_max):
            lines.append(f"  {words}")
        return "\n".join([*lines, f"{self._method()}: {self.reason}"])


def sampled_fisher(
    net: Network | SampledNetwork,
    x: ArrayLike,
    seed: int = 0,
    statistics: Statistics = "exact",
    k: int | str = 1,
    *,
    loss: Loss = "sum",
    biases: bool = True,
    dtype: DTypeLike | None = None,
    method: str = "auto",
    tolerance: float = 1e-6,
    eigenvectors: bool = False,
    memory: float | None = None,
    progress: bool | Callable[[int, float], Any] = False,
) -> FisherSpectrum:
    """The k largest eigenvalues of F = (1/n) sum_i sum_kk' grad f_k(x_i) H_kk' grad f_k'(x_i)^T of a sampled network.

    Parameters
    ----------
    net, x, seed, statistics, loss, biases, dtype, memory
        As `FisherOperator` takes them.
    k : int or "all"
        How many; "all" are nC, beside which F has only zeros.
    method : {"auto", "lanczos", "dense"}
        Products of F* with vectors, or all of F* entry by entry; "auto" counts which takes fewer operations within the
        memory, and says so.
    tolerance : float
        Lanczos ends when every eigenvalue of F* as it was computed is right to this, times lambda_max, by its estimated
        error. In [1e-14, 0.1], at least 1e-6 in float32.
    eigenvectors : bool
        Give those of F*, too.
    progress : bool or callable
        True draws the count of products on standard output; a callable gets (products, lambda_max so far).

    Returns
    -------
    FisherSpectrum

    Raises
    ------
    ValueError, TypeError
        For arguments out of range, and for more memory than there is.
    RuntimeError
        Where 1000 products were not enough.

    Warns
    -----
    UserWarning
        Where rounding costs more than the tolerance and more than 1e-8 of lambda_max, 1e-2 in float32; `errors` and
        `rounding` say how much.

    Notes
    -----
    The C outputs make a cluster of C near-equal eigenvalues. Lanczos starts from a block near their space, and the
    error of a value is estimated by the gap behind the cluster as well as by its own.

    Examples
    --------
    >>> net = ff.mlp([784, 1000, 1000, 1000, 1])
    >>> ff.sampled_fisher(net, ff.data.gaussian(784, samples=500)).lambda_max
    161.5...
    """
    operator = FisherOperator(net, x, seed, statistics, loss=loss, biases=biases, dtype=dtype, memory=memory)
    spectrum = spectrum_of(operator, k, method, tolerance, eigenvectors, progress)
    spectrum._warn(spectrum.lambda_max, tolerance)
    return spectrum


def spectrum_of(
    operator: FisherOperator,
    k: int | str = 1,
    method: str = "auto",
    tolerance: float = 1e-6,
    eigenvectors: bool = False,
    progress: bool | Callable[[int, float], Any] = False,
) -> FisherSpectrum:
    """`sampled_fisher` of an operator that stands already."""
    size = operator.shape[0]
    count = size if isinstance(k, str) and k == "all" else _numbers.integer("k", k, 1, size)
    _numbers.choice("method", method, ("auto", "lanczos", "dense"))
    tolerance = _tolerance_of(tolerance, operator.dtype)
    eigenvectors = _numbers.boolean("eigenvectors", eigenvectors)
    chosen, reason = _choice(operator, count) if method == "auto" else (method, "as asked")
    with product_listener(progress) as hear:
        if chosen == "lanczos":
            eigenpairs, rounding = _by_lanczos(operator, count, tolerance, hear)
        else:
            eigenpairs, rounding = _by_all_entries(operator, count, eigenvectors, hear)
    vectors = eigenpairs.vectors.reshape(count, *operator.outputs.shape) if eigenvectors else None
    products = eigenpairs.products if chosen == "lanczos" else 0
    return FisherSpectrum(
        **Measured.of(operator),
        eigenvalues=eigenpairs.values,
        errors=eigenpairs.errors + rounding,
        rounding=rounding,
        residuals=eigenpairs.residuals,
        eigenvectors=vectors,
        products=products,
        method=chosen,
        reason=reason,
    )


def _tolerance_of(value: Any, dtype: np.dtype[Any]) -> float:
    least = 1e-14 if dtype == np.float64 else 1e-6
    number = _numbers.float_of("tolerance", value, f"in [{least:g}, 0.1]")
    if not least <= number <= 0.1:
        raise ValueError(f"tolerance must be in [{least:g}, 0.1], got {_numbers.shown(value)}")
    return number


def _choice(operator: FisherOperator, count: int) -> tuple[str, str]:
    """The method of fewer operations, and both counts in words."""
    size, flops = operator.shape[0], operator.flops
    products = _products(operator, count)
    lanczos = flops["product"] * products
    dense = flops["gram"] + (2.0 * size**2 * 10 * products if count < size / 20 else 4 / 3 * size**3)
    words = f"{_flops(dense)} for all of F* against {_flops(lanczos)} for about {products} products"
    if not operator.fits:
        return "lanczos", f"all of F* would take {bytes_in_words(size**2 * operator.dtype.itemsize)}"
    return ("dense" if dense <= lanczos or count > size / 4 else "lanczos"), words


def _flops(count: float) -> str:
    return f"{count / 1e9:.3g} Gflop" if count >= 1e8 else f"{count / 1e6:.3g} Mflop"


def _products(operator: FisherOperator, count: int) -> int:
    """About what Lanczos was seen to take: the block, and 3 or 4 more for an eigenvalue apart from the rest."""
    outputs = int(operator.outputs.shape[1])
    return min(outputs, _BLOCK) + 3 + 3 * max(0, count - outputs)


def start(operator: FisherOperator, random: np.random.Generator) -> Array:
    """Near the outlier's eigenvectors, a row each: u at every output, with the last affine layer's eigenvector u.

    That layer's part of F* is the same at every output, (H H^T + 1)/n without a BatchNorm behind it: a few powers of it
    cost next to nothing. In theory u is the same at every sample. A small random part sees whatever else there is.
    """
    samples, outputs = operator.outputs.shape
    # of some random combinations of outputs, where there are many
    mixed = np.eye(outputs) if outputs <= _BLOCK else np.linalg.qr(random.standard_normal((outputs, _BLOCK)))[0].T
    w = 1.0 + 0.01 * random.standard_normal((samples, outputs))
    for _ in range(4):
        turned = operator._last_part(w / np.linalg.norm(w))
        w = turned if turned.any() else w
    u = np.linalg.svd(w, full_matrices=False)[0][:, 0]
    noise = random.standard_normal((len(mixed), samples, outputs)) / math.sqrt(samples * outputs)
    start: Array = (u[:, None] * mixed[:, None, :] + 1e-3 * noise).reshape(len(mixed), -1)
    return start


def _by_lanczos(operator: FisherOperator, count: int, tolerance: float, hear: Any) -> tuple[Eigenpairs, float]:
    random = stream(operator.network.seed, "vectors")
    operator.prepare(_products(operator, count))
    eigenpairs = largest_eigenpairs(
        lambda w: np.asarray(operator @ w, np.float64),
        start(operator, random),
        count,
        tolerance,
        _MOST_PRODUCTS,
        random,
        hear,
        float(np.finfo(operator.dtype).eps),
    )
    largest = np.abs(eigenpairs.values).max()
    rounding = operator._rounding_of(eigenpairs, random)
    if np.any(eigenpairs.errors > tolerance * largest):
        advice = "ask for fewer, or for method='dense'"
        if rounding > tolerance * largest:
            advice = (
                f"rounding in {operator.dtype} may change them by {rounding / largest:.1g} of the largest, which no "
                "method mends: take common offsets off the inputs and betas, or ask for a larger tolerance"
            )
        raise RuntimeError(
            f"{eigenpairs.products} products were not enough for {count} eigenvalues to {tolerance:g}: reached "
            f"{np.max(eigenpairs.errors) / largest:.1g}; {advice}"
        )
    return eigenpairs, rounding


def _by_all_entries(operator: FisherOperator, count: int, eigenvectors: bool, hear: Any) -> tuple[Eigenpairs, float]:
    from scipy.linalg import eigh

    matrix = operator.dense(hear)
    size, eps = len(matrix), float(np.finfo(operator.dtype).eps)
    random = stream(operator.network.seed, "vectors")
    if count <= size // 20:
        with blas_threads():
            pairs = largest_eigenpairs(
                lambda w: np.asarray(matrix @ w.astype(matrix.dtype), np.float64),
                start(operator, random),
                count,
                size * eps,
                _MOST_PRODUCTS,
                random,
                eps=size * eps,
            )
        return pairs, operator._rounding_of(pairs, random)
    rounding = operator._rounding(random, matrix)
    few = None if count == size else (size - count, size - 1)
    with blas_threads():  # the transpose is what LAPACK calls the matrix: nothing is copied
        decomposition = eigh(
            matrix.T, eigvals_only=not eigenvectors, subset_by_index=few, overwrite_a=True, check_finite=False
        )
    values, vectors = decomposition if eigenvectors else (decomposition, np.empty((size, 0)))
    values = np.maximum(np.asarray(values[::-1], np.float64), 0.0)  # no negative zeros from rounding
    error = np.full(count, size * eps * values[0])
    return Eigenpairs(values, error, error, np.asarray(vectors.T[::-1]), np.empty((0, size)), 0), rounding
