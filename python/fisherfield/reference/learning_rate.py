# SPDX-License-Identifier: BSD-3-Clause
"""The largest stable learning rate of descent with momentum: 2 (1 + momentum)/lambda_max (WSS eq. 7) and its kin."""

from __future__ import annotations

import math
from typing import Any

from ..network import Network
from .arguments import LARGEST, boolean, loss_of, network_of, number
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
    nesterov: bool = False,
    weight_decay: float = 0.0,
    *,
    edge: bool = True,
    units: Any = "auto",
    seed: int = 0,
    memory: float | None = None,
    inputs: Any = None,
) -> float:
    """eta at which descent stops being stable along lambda, the largest eigenvalue of the loss's Hessian at a minimum.

    Along an eigenvector theta_{t+1} = (1 + mu - eta lambda) theta_t - mu theta_{t-1}. The roots of
    x^2 - (1 + mu - eta lambda) x + mu have the product mu < 1; they leave the unit circle at x = -1, where
    1 + (1 + mu - eta lambda) + mu = 0: eta = 2 (1 + mu)/lambda.

    Nesterov's momentum, as torch.optim.SGD has it: v_{t+1} = mu v_t + g_t, theta_{t+1} = theta_t - eta (g_t + mu
    v_{t+1}) with g_t = lambda theta_t. Without v, s = 1 - eta lambda:

        theta_{t+1} = (1 + mu) s theta_t - mu s theta_{t-1}.

    The roots of x^2 - (1 + mu) s x + mu s have the product mu s. They lie within the unit circle where mu |s| < 1,
    where 1 - (1 + mu) s + mu s = eta lambda > 0 and where 1 + (1 + mu) s + mu s = 1 + (1 + 2 mu) s > 0. The last is
    eta lambda < 1 + 1/(1 + 2 mu) = 2 (1 + mu)/(1 + 2 mu); the first, eta lambda < 1 + 1/mu, is beyond that for all mu.

    Weight decay adds weight_decay theta to the gradient, so to every eigenvalue; the loss's convention does not scale
    it.

    "sum": 1/2, summed over outputs, mean over samples: lambda_max of F. "mean": also the mean over the C outputs, /C.
    "mse": without the 1/2, 2/C. "cross_entropy": that of F = (1/n) J^T H J, H = diag(p) - p p^T, at the softmax of the
    outputs as they are drawn (C >= 2).
    """
    outputs = network_of(net).outputs
    momentum, loss = number("momentum", momentum, 0.0, math.nextafter(1.0, 0.0)), loss_of(loss, outputs)
    nesterov, decay = boolean("nesterov", nesterov), number("weight_decay", weight_decay, 0.0, LARGEST)
    if 0 < decay < 1 / LARGEST:
        raise ValueError(f"weight_decay must be 0 or at least {1 / LARGEST:g}, got {weight_decay!r}")
    asked = {"loss": loss, "edge": edge, "units": units, "seed": seed, "memory": memory, "inputs": inputs}
    top = fisher(net, theory, samples, overlap, length, biases, **asked).lambda_max + decay
    limit = 2 * (1 + momentum) / (1 + 2 * momentum if nesterov else 1)
    return limit / top if top > 0 else math.inf
