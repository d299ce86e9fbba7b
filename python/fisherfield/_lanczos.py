# SPDX-License-Identifier: BSD-3-Clause
"""Lanczos' method: the largest eigenvalues of a symmetric operator in few products, with bounds.

A Krylov space is grown a vector at a time; the operator's projection H on its orthonormal basis V gives Ritz values
theta and vectors V s. With the last residual beta v_next, every Ritz pair has the residual r = beta |s_last|, and some
eigenvalue lies within r of theta (B. N. Parlett, The Symmetric Eigenvalue Problem, 4.5). It lies within r^2/gap, too,
gap being the distance from theta to the rest of the spectrum (11.7), for which the other Ritz values stand in: that is
the error which is asked to be small. Full reorthogonalisation, twice (Parlett, 6.9), costs nothing beside products of
networks; a full basis is restarted from its best Ritz vectors (K. Wu, H. Simon, Thick-restart Lanczos, 2000).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Eigenpairs", "krylov", "largest_eigenpairs"]

Vectors = NDArray[np.float64]


@dataclass(frozen=True)
class Eigenpairs:
    """The largest first."""

    values: Vectors
    errors: Vectors  # estimated, of each value
    residuals: Vectors  # norms, of each pair
    vectors: Vectors  # a row each
    products: int


def _orthogonal(w: Vectors, basis: Vectors) -> tuple[Vectors, Vectors]:
    """w without its part in the span of the rows of `basis`, and the coefficients of that part."""
    coefficients = basis @ w
    w = w - coefficients @ basis
    again = basis @ w
    return w - again @ basis, coefficients + again


def krylov(product: Callable[[Vectors], Vectors], start: Vectors, steps: int) -> tuple[Vectors, Vectors, Vectors]:
    """Ritz values after `steps` products, their weights |s_first|^2, and norms of their residuals."""
    basis = np.empty((steps, start.size))
    projection = np.zeros((steps, steps))
    v, beta, step = start / np.linalg.norm(start), 0.0, 0
    for step in range(steps):
        basis[step] = v
        w, row = _orthogonal(product(v), basis[: step + 1])
        projection[step, : step + 1] = projection[: step + 1, step] = row
        beta = float(np.linalg.norm(w))
        if beta <= np.finfo(np.float64).eps * np.abs(row).max():
            break
        v = w / beta
    values, vectors = np.linalg.eigh(projection[: step + 1, : step + 1])
    return values, vectors[0] ** 2, beta * np.abs(vectors[-1])


def largest_eigenpairs(
    product: Callable[[Vectors], Vectors],
    start: Vectors,
    k: int,
    tolerance: float,
    most: int,
    random: np.random.Generator,
    told: Callable[[int, float], Any] | None = None,
) -> Eigenpairs:
    """The k largest eigenvalues, each to `tolerance` times the largest in size, in at most `most` products.

    Where the Krylov space of `start` ends before there are k, it goes on from a random vector. What is not reached
    after `most` products shows in `errors`.
    """
    size = start.size
    width = min(size, max(2 * k + 20, 60))  # of the basis
    basis = np.empty((width, size))
    projection = np.zeros((width, width))
    held = products = 0
    v = start / np.linalg.norm(start)
    while True:
        basis[held] = v
        w, row = _orthogonal(product(v), basis[: held + 1])
        products += 1
        projection[held, : held + 1] = projection[: held + 1, held] = row
        held += 1
        beta = float(np.linalg.norm(w))
        values, vectors = np.linalg.eigh(projection[:held, :held])
        values, vectors = values[::-1], vectors[:, ::-1]
        largest = float(np.abs(values).max())
        ended = beta <= 4 * np.finfo(np.float64).eps * largest
        residuals = np.zeros(held) if ended else beta * np.abs(vectors[-1])
        errors = _errors(values, residuals)[:k]
        if told is not None:
            told(products, float(values[0]))
        enough = held >= k and bool(np.all(errors <= tolerance * largest))
        if (enough and not (ended and held < size and k > 1)) or products >= most or held == size:
            found = slice(min(k, held))
            return Eigenpairs(
                values[found].copy(), errors[found], residuals[found], vectors[:, found].T @ basis[:held], products
            )
        if held == width:
            held = k + (width - k) // 2
            basis[:held] = vectors[:, :held].T @ basis
            projection[:] = 0.0
            projection[range(held), range(held)] = values[:held]
        if ended:
            w, _ = _orthogonal(random.standard_normal(size), basis[:held])
            beta = float(np.linalg.norm(w))
        v = w / beta


def _errors(values: Vectors, residuals: Vectors) -> Vectors:
    """min(r, r^2/gap), where the gap is that to the nearer neighbour, less r."""
    if values.size < 2:
        return residuals.copy()
    gaps = np.abs(np.diff(values))
    gap = np.minimum(np.append(gaps, np.inf), np.insert(gaps, 0, np.inf)) - residuals
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return np.where(gap > residuals, np.minimum(residuals, residuals**2 / gap), residuals)
