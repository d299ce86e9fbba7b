# SPDX-License-Identifier: BSD-3-Clause
"""Cross-entropy at initialisation: the largest eigenvalue of F = (1/n) J^T H J by the law of the outputs' softmax.

F* = S^T (Theta x 1_C) S/n with S_x S_x^T = H_x = diag(p) - p p^T and Theta = o 11^T + d 1 in the samples
(docs/theory.md, section 13). An eigenvector's part y_x at sample x, and Y = sum_x S_x y_x, fulfil

    l y_x = (1/n) S_x^T (o Y + d S_x y_x),    S_x y_x = (l - (d/n) H_x)^-1 H_x (o/n) Y,

so that Y = o G(l) Y, G(l) = (1/n) sum_x H_x (l - (d/n) H_x)^-1: the largest l at which G's largest eigenvalue is 1/o.
Beyond the largest pole that falls with l.

Logits are sqrt(q_xy) a_k + sqrt(v) b_k(x), a_k the same for all samples. Means are over networks that are drawn, with
NumPy's generator of seed 0: first a of all networks, then b of all networks, samples and outputs.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

__all__ = ["Law", "law", "root", "size_of_draw"]


class Law(NamedTuple):
    """Of lambda for o = 1: mean and standard deviation over networks; of p: means of tr H_x, tr H_x^2, tr H_x H_y."""

    mean: float
    spread: float
    trace: float
    square: float
    cross: float


def size_of_draw(outputs: int, samples: int | None) -> tuple[int, int]:
    """Networks and samples: 200 of 512 at most, 6e5 numbers in all where 8 networks of 128 samples do not have more."""
    most = 512 if samples is None else min(samples, 512)
    drawn = max(min(most, 128), min(most, int(6e5 / (outputs * 8))))
    return max(8, min(200, int(6e5 / (outputs * drawn)))), drawn


def law(outputs: int, samples: int | None, xy: float, v: float, eps: float) -> Law:
    """For eps = d/(n o); of no more than some outputs and samples, as every sample's matrix is inverted."""
    networks, drawn = size_of_draw(outputs, samples)
    random = np.random.default_rng(0)
    a = random.standard_normal((networks, outputs))
    b = random.standard_normal((networks, drawn, outputs))
    roots, traces, squares, crosses = [], [], [], []
    shared, own = (xy, v) if xy >= 0 else (0.0, xy + v)
    for network in range(networks):
        logits = math.sqrt(shared) * a[network] + math.sqrt(own) * b[network]
        p = np.exp(logits - np.max(logits, axis=1, keepdims=True))
        p /= np.sum(p, axis=1, keepdims=True)
        H = np.array([np.diag(row) - np.outer(row, row) for row in p])
        roots.append(root(H, eps))
        traces.append(np.mean(np.trace(H, axis1=1, axis2=2)))
        gram = np.einsum("xij,yji->xy", H, H)
        squares.append(np.trace(gram) / drawn)
        apart = np.sum(gram) - np.trace(gram)
        crosses.append(apart / (drawn * (drawn - 1)) if drawn > 1 else gram[0, 0])
    spread = float(np.std(roots, ddof=1))
    return Law(float(np.mean(roots)), spread, *(float(np.mean(x)) for x in (traces, squares, crosses)))


def root(H: np.ndarray, eps: float) -> float:
    """The largest l with lambda_max{(1/n) sum_x H_x (l - eps H_x)^-1} = 1, by bisection from the pole to 1 + eps."""
    if eps == 0:
        return float(np.linalg.eigvalsh(np.mean(H, axis=0))[-1])
    low, high = eps * float(np.max(np.linalg.eigvalsh(H))), 1 + eps
    unit = np.eye(H.shape[1])
    for _ in range(60):
        middle = (low + high) / 2
        G = np.mean(H @ np.linalg.inv(middle * unit - eps * H), axis=0)
        if np.linalg.eigvalsh((G + G.T) / 2)[-1] > 1:
            low = middle
        else:
            high = middle
    return (low + high) / 2
