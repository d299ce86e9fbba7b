# SPDX-License-Identifier: BSD-3-Clause
"""The largest eigenvalues of a symmetric matrix by Lanczos' method, and when it ends, as they are defined.

The basis grows by the residual of the first Ritz pair that is not right yet, a full one is restarted from its best Ritz
vectors. Some eigenvalue lies within |r| of a Ritz value (B. N. Parlett, The Symmetric Eigenvalue Problem, 4.5). What is
said of the error besides is an estimate, for it takes the distance to the next Ritz value for that to the next
eigenvalue (11.7), and a quarter of it, or what the last rise tells of all further ones.
"""

from __future__ import annotations

import math

import numpy as np

__all__ = ["error_of", "largest_eigenvalues"]

EPS = float(np.finfo(np.float64).eps)
QUARTER, SERIES = 4.0, 4.0  # what the estimates are multiplied by
RESIDUALS = 4.0  # that an error is not less than, where nothing is known of the start
ROUNDINGS = 10.0  # that a residual is left with, and that no margin multiplies


def largest_eigenvalues(
    matrix: np.ndarray,
    start: np.ndarray,
    k: int,
    tolerance: float,
    most: int,
    random: np.random.Generator,
    confirm: int = 0,
    margin: float = 1.0,
    series: bool = False,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """The k largest, the errors stated, the norms of their residuals, and how many products that took."""
    size, block = len(matrix), len(start)
    width, kept = min(size, 4 * max(k, block) + 20), 2 * max(k, block) + 5
    basis: list[np.ndarray] = []
    waiting, products, agreeing = list(start), 0, 0
    before: tuple[float, float] | None = None
    while True:
        basis.append(_next(waiting.pop(0), basis, random))
        products += 1
        if waiting and products < most and len(basis) < size:
            continue
        pairs = _ritz(matrix, basis)
        values = [value for value, _ in pairs]
        residuals = [float(np.linalg.norm(matrix @ y - value * y)) for value, y in pairs]
        largest = max(map(abs, values))
        target = max(max(tolerance, EPS) * max(max(map(abs, values[:k])), max(tolerance, EPS) * largest), EPS * largest)
        errors = []
        for i in range(min(k, len(values))):
            error = error_of(i, values, residuals)
            error += (margin - 1) * max(error - ROUNDINGS * EPS * largest, 0.0)
            errors.append(max(error, EPS * largest))
        if series and k == block == 1:
            if before and SERIES * _rest(before, (values[0], residuals[0]), EPS * largest) <= target:
                errors[0] = min(errors[0], target)
            before = values[0], residuals[0]
        wrong = [i for i, error in enumerate(errors) if error > target]
        agreeing = agreeing + 1 if not wrong and len(basis) >= k else 0
        # a few dozen dimensions are searched whole, for a vector may be missing that lies beside the first
        if len(basis) == size or products >= most or (agreeing > confirm and size > width):
            if confirm and len(basis) < size:
                errors = [max(e, min(RESIDUALS * r, target)) for e, r in zip(errors, residuals, strict=False)]
            if len(basis) < size:  # values that the tolerance does not tell from 0 are not told from each other
                errors = [
                    max(e, target) if abs(value) <= target else e for e, value in zip(errors, values, strict=False)
                ]
            return np.array(values[:k]), np.array(errors), np.array(residuals[:k]), products
        if wrong or confirm:
            value, y = pairs[wrong[0] if wrong else int(np.argmax(errors))]
            waiting = [matrix @ y - value * y]
        else:
            waiting = [random.standard_normal(size)]
        if len(basis) == width:
            basis = [y for _, y in pairs[:kept]]


def error_of(i: int, values: list[float], residuals: list[float]) -> float:
    """min(|r_i|, 4 |R|^2/gap) over the groups of the first 1 .. g values that hold value i, the largest first.

    The next eigenvalue may lie above the next Ritz value by that one's residual; below a positive value there may be
    zeros that were not seen.
    """
    best = residuals[i]
    for g in range(i + 1, len(values)):
        last, after = values[g - 1], values[g]
        gap = (last - (max(after, 0.0) if last > 0 else after) - residuals[g]) / QUARTER
        together = math.sqrt(sum(r * r for r in residuals[:g]))
        if gap > together:
            best = min(best, together**2 / gap)
    return best


def _rest(before: tuple[float, float], now: tuple[float, float], least: float) -> float:
    """What a value will still rise by, if every rise is the same share of the one before: that of |r|^2."""
    if before[1] == 0:
        return math.inf
    rise, share = max(now[0] - before[0], least), (now[1] / before[1]) ** 2
    return rise * share / (1 - share) if share < 1 else math.inf


def _next(w: np.ndarray, basis: list[np.ndarray], random: np.random.Generator) -> np.ndarray:
    """w without its part in the span of the basis; a random vector where nothing is left. Of length 1."""
    rest = _without(w, basis)
    if np.linalg.norm(rest) <= 4 * EPS * np.linalg.norm(w):
        rest = _without(random.standard_normal(len(w)), basis)
    return np.asarray(rest / np.linalg.norm(rest))


def _without(w: np.ndarray, basis: list[np.ndarray]) -> np.ndarray:
    for _ in range(2):  # twice is enough (Parlett 6.9)
        w = w - sum(((v @ w) * v for v in basis), np.zeros_like(w))
    return w


def _ritz(matrix: np.ndarray, basis: list[np.ndarray]) -> list[tuple[float, np.ndarray]]:
    v = np.array(basis)
    projection = v @ matrix @ v.T
    values, vectors = np.linalg.eigh((projection + projection.T) / 2)
    return [(float(values[i]), vectors[:, i] @ v) for i in reversed(range(len(values)))]
