# SPDX-License-Identifier: BSD-3-Clause
"""eta_star = 2 (1 + momentum)/lambda_max, the largest stable learning rate of heavy-ball descent (WSS eq. 7)."""

from __future__ import annotations

import math

from .. import _arguments
from ..network import Network
from .fisher import fisher

__all__ = ["max_learning_rate"]


def max_learning_rate(
    net: Network,
    momentum: float = 0.0,
    theory: str = "exact",
    samples: int | None = None,
    overlap: float = 0.0,
    length: float = 1.0,
    biases: bool | None = None,
    loss: str = "sum",
) -> float:
    """2 (1 + momentum)/lambda, lambda the largest eigenvalue of the loss's Hessian at a minimum.

    Along an eigenvector theta_{t+1} = (1 + mu - eta lambda) theta_t - mu theta_{t-1}. The roots of
    x^2 - (1 + mu - eta lambda) x + mu have the product mu < 1; they leave the unit circle at x = -1, where
    1 + (1 + mu - eta lambda) + mu = 0.

    "sum": 1/2, summed over outputs, mean over samples: lambda_max of F. "mean": also the mean over the C outputs, /C.
    "mse": without the 1/2, 2/C. "cross_entropy": F = (1/n) J^T H J, H = diag(p) - p p^T, at p = 1/C has the
    eigenvalues 1/C and 0, hence about 1/C (C >= 2).
    """
    outputs = _arguments.network_of(net).outputs
    momentum, loss = _arguments.momentum_of(momentum), _arguments.loss_of(loss, outputs)
    factor = {"sum": 1.0, "mean": 1 / outputs, "mse": 2 / outputs, "cross_entropy": 1 / outputs}[loss]
    top = factor * fisher(net, theory, samples, overlap, length, biases).lambda_max
    return 2 * (1 + momentum) / top if top > 0 else math.inf
