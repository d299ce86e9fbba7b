# SPDX-License-Identifier: BSD-3-Clause
"""Lanczos' method with a block to start from: the largest eigenvalues of a symmetric operator in few products.

On an orthonormal basis V the operator A has Ritz values theta and vectors y = V s, of V A V^T s = theta s, and
residuals r = A y - theta y. The basis grows by one residual at a time, that of the first pair asked for which is not
right yet: from a single vector that is Lanczos' method itself, every residual being a multiple of its next vector.
From a block it spends on the block once, and afterwards on what is asked for alone. Networks with C outputs have C
near-equal largest eigenvalues, and a block near their space makes one problem of the cluster, which one vector would
have to take apart.

Some eigenvalue lies within |r| of theta (B. N. Parlett, The Symmetric Eigenvalue Problem, 4.5). A group of g Ritz
values with residuals R lies within |R|^2/gap of as many eigenvalues, where gap is its distance from the rest of the
spectrum (11.7), for which a quarter of the distance to the next Ritz value stands in, that as far off as its own
residual allows: what was not seen yet may lie above it. The least of these over all groups is the error, an estimate:
what is orthogonal to all that was seen can never be bounded, and a cluster narrower than the residual is seen as one
eigenvalue, some residuals below the cluster's largest. From a single vector theta rises by |r|^2/gap a product, with
the same gap from one product to the next: by d rho/(1 - rho) altogether after a rise d, where |r|^2 fell to rho of
it, which needs no gap to be seen. The start has a random part. Full reorthogonalisation, twice (6.9), costs nothing
beside products of networks; a full basis is restarted from its best Ritz vectors (K. Wu, H. Simon, Thick-restart
Lanczos, 2000).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float64]
Product = Callable[[Vectors], Vectors]
_EPS = float(np.finfo(np.float64).eps)
# With 304 spectra of sampled networks, 1e-3 and two products to confirm it, Lanczos ended too early for 1 with the
# series as it did without, and for 3 with 1 in place of 4: half a product sooner on average, two where many are near.
_SERIES = 4.0
# Of 1032 runs to 0.1, 0.01, 0.001 and 1e-5, with spectra of small modules, the estimates alone were too small for 146,
# 98, 40 and 5, and not less than this many residuals for 45, 33, 12 and 1.
_RESIDUALS = 4.0
_ROUNDINGS = 10.0  # that a residual is left with


@dataclass(frozen=True)
class Eigenpairs:
    """The largest first."""

    values: Vectors
    errors: Vectors  # estimates, of each value
    residuals: Vectors  # norms, of each pair
    vectors: Vectors  # a row each
    images: Vectors  # what the operator makes of them
    products: int
    target: float = 0.0  # that the errors were to be within


def _orthogonal(w: Vectors, basis: Vectors) -> tuple[Vectors, Vectors]:
    """w without its part in the span of the rows of `basis`, and the coefficients of that part."""
    coefficients = basis @ w
    w = w - coefficients @ basis
    again = basis @ w
    return w - again @ basis, coefficients + again


def krylov(product: Product, start: Vectors, steps: int) -> tuple[Vectors, Vectors]:
    """Ritz values of `steps` products from one vector, and their weights |s_first|^2: a Gauss quadrature."""
    basis = np.empty((steps, start.size))
    projection = np.zeros((steps, steps))
    v = start / np.linalg.norm(start)
    for step in range(steps):
        basis[step] = v
        w, row = _orthogonal(product(v), basis[: step + 1])
        projection[step, : step + 1] = projection[: step + 1, step] = row
        beta = float(np.linalg.norm(w))
        if beta <= 4 * _EPS * np.abs(row).max() or step + 1 == steps:
            break
        v = w / beta
    values, vectors = np.linalg.eigh(projection[: step + 1, : step + 1])
    return values, vectors[0] ** 2


def basis_of(k: int, block: int) -> int:
    """How many vectors a basis holds where there is room; at least two more than `least_kept`."""
    return 4 * max(k, block) + 20


def least_kept(k: int, block: int) -> int:
    """How many of them a full basis is restarted from."""
    return 2 * max(k, block) + 5


def largest_eigenpairs(
    product: Product,
    start: Vectors,
    k: int,
    tolerance: float,
    most: int,
    random: np.random.Generator,
    hear: Callable[[int, float], Any] | None = None,
    eps: float = _EPS,
    confirm: int = 0,
    margin: float = 1.0,
    width: int | None = None,
    series: bool = False,
) -> Eigenpairs:
    """The k largest eigenvalues, each to `tolerance` times the largest of them in size, in at most `most` products.

    Where negative eigenvalues are larger in size than these by more than 1/tolerance, they are to its square of those.

    `start` holds a row for every vector of the block, in the dtype that vectors are kept in; `eps` is the rounding
    error of a product. What was not reached after `most` products shows in `errors`. A start that knows nothing of a
    cluster's space must see `confirm` products more agree: the next Ritz value may not be the cluster's next. Its
    errors are `margin` times the estimates, and not less than _RESIDUALS residuals, up to the tolerance. `width` is how
    many vectors the basis may hold, `basis_of` of them without it. With `series` a single eigenvalue from a single
    vector is right, too, where _SERIES times what its rises add up to is within the tolerance, which is then its error.
    """
    size = start.shape[1]
    width = min(size, basis_of(k, len(start)) if width is None else width)
    basis, images = np.empty((2, width, size), start.dtype)
    held = products = agreeing = 0
    series, before = series and k == len(start) == 1, (math.nan, math.nan)
    queue: list[Vectors] = list(start)
    while True:
        w = queue.pop(0)
        length = np.linalg.norm(w)
        w, _ = _orthogonal(w, basis[:held])
        if np.linalg.norm(w) <= 4 * _EPS * length:  # nothing new in it
            w, _ = _orthogonal(random.standard_normal((size,)), basis[:held])
        basis[held] = w / np.linalg.norm(w)
        images[held] = product(basis[held])
        products, held = products + 1, held + 1
        if queue and products < most and held < size:
            continue
        projection = (basis[:held] @ images[:held].T).astype(np.float64)
        values, vectors = np.linalg.eigh((projection + projection.T) / 2)
        values, rotation = values[::-1], vectors.T[::-1].astype(start.dtype)
        pairs = rotation @ basis[:held]
        rests = rotation @ images[:held]
        for rest, value, pair in zip(rests, values, pairs, strict=True):  # row by row: they may be long
            rest -= value * pair
        residuals = np.linalg.norm(rests, axis=1)
        rounding = eps * np.abs(values).max()
        errors = np.maximum(_with_margin(_errors(values, residuals), margin, rounding), rounding)[:k]
        if hear is not None:
            hear(products, float(values[0]))
        target = _target(values, k, max(tolerance, eps), eps)
        if series:
            now = float(values[0]), float(residuals[0])
            if _SERIES * _rest_of_series(before, now, rounding) <= target:
                errors = np.minimum(errors, target)
            before = now
        wrong = np.flatnonzero(errors > target)
        agreeing = 0 if wrong.size or held < k else agreeing + 1
        # A few dozen dimensions are searched whole: there a vector may still be missing that lies beside the first.
        if held == size or products >= most or (agreeing > confirm and size > width):
            first = slice(min(k, held))
            if confirm and held < size:
                errors = np.maximum(errors, np.minimum(_RESIDUALS * residuals[first].astype(np.float64), target))
            if held < size:  # values that the tolerance does not tell from 0 are not told from each other
                below = np.abs(values[: errors.size]) <= target
                errors[below] = np.maximum(errors[below], target)
            of = rotation[first] @ images[:held]
            return Eigenpairs(values[first].copy(), errors, residuals[first], pairs[first].copy(), of, products, target)
        next_ = rests[wrong[0] if wrong.size else int(np.argmax(errors))]
        if not (wrong.size or confirm):
            next_ = random.standard_normal((size,))
        if held == width:
            held = least_kept(k, len(start))
            basis[:held], images[:held] = pairs[:held], (rotation @ images)[:held]
        queue = [next_]


def _target(values: Vectors, k: int, tolerance: float, eps: float) -> float:
    """`tolerance` of the largest in size of the k asked for; in no case less than rounding, or its square of any."""
    size = float(np.abs(values).max())
    return max(tolerance * max(float(np.abs(values[:k]).max()), tolerance * size), eps * size)


def _rest_of_series(before: tuple[float, float], now: tuple[float, float], least: float) -> float:
    """What a Ritz value will still rise by, of it and its residual at the last product and at this one."""
    rise, share = max(now[0] - before[0], least), (now[1] / before[1]) ** 2 if before[1] > 0 else math.inf
    return rise * share / (1 - share) if share < 1 else math.inf  # NaN at the first one


def _with_margin(errors: Vectors, margin: float, rounding: float) -> Vectors:
    """`margin` times these, but for what rounding leaves of them: no product more makes that smaller."""
    more: Vectors = errors + (margin - 1) * np.maximum(errors - _ROUNDINGS * rounding, 0.0)
    return more


def _errors(values: Vectors, residuals: Vectors) -> Vectors:
    """min(|R|, 4 |R|^2/gap) over the groups 1 .. g that a value may be counted to; values fall.

    The gap is that to the values seen so far, and no bound where one is missing. Of 3000 sampled networks, compared
    with all eigenvalues, none of more than a few dozen dimensions needed more than 2.1 |R|^2/gap.
    """
    together = np.sqrt(np.cumsum(residuals**2))
    below = np.where(values[:-1] > 0, np.maximum(values[1:], 0.0), values[1:])  # there may be some at 0, not seen yet
    gaps = np.append(values[:-1] - below - residuals[1:], 0.0) / 4
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        of_group = np.where(gaps > together, together**2 / gaps, np.inf)
    best: Vectors = np.minimum(residuals, np.minimum.accumulate(of_group[::-1])[::-1])
    return best
