# SPDX-License-Identifier: BSD-3-Clause
"""What sampled networks show of the quantities that the theory predicts, from all eigenvalues of each."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..network import Network
from .sampled import sampled_fisher, stream

__all__ = ["verify"]


def verify(
    net: Any,
    widths: Any = None,
    seeds: Any = 10,
    samples: int | None = None,
    x: Any = None,
    statistics: str = "exact",
    biases: bool | None = None,
) -> dict[str, np.ndarray]:
    """Every quantity of every network, (widths, seeds); docs/theory.md, section 2.

    With the nC eigenvalues of F*, the largest first, and P parameters:

        lambda_max      the largest
        outlier         the mean of the C largest
        bulk            the mean of the others that are not 0, min(n C, P) - C
        mean            tr F/P, their sum over P
        second_moment   tr F^2/P, the sum of their squares over P
    """
    names = ("lambda_max", "outlier", "bulk", "mean", "second_moment")
    counts = biases is not False
    chosen = range(seeds) if isinstance(seeds, int) else tuple(seeds)
    networks = [net] if widths is None else [_scaled(net, int(width)) for width in np.atleast_1d(widths)]
    runs = {name: np.empty((len(networks), len(chosen))) for name in names}
    for row, each in enumerate(networks):
        C, P = each.outputs, each.parameters(counts)
        for column, seed in enumerate(chosen):
            inputs = x
            if x is None:
                inputs = stream(seed, "inputs").standard_normal((samples or 500, *each.input_shape))
            values = sampled_fisher(each, inputs, seed, statistics, "all", biases=counts)
            bulk = values[C:].sum() / max(min(len(values), P) - C, 1)
            measured = values[0], values[:C].mean(), bulk, values.sum() / P, np.sum(values**2) / P
            for name, value in zip(names, measured, strict=True):
                runs[name][row, column] = value
    return runs


def _scaled(net: Network, width: int) -> Network:
    """Hidden layers times width / (units of the widest), rounded."""
    units = [step.after[0] for step in net.affine_steps[:-1]]
    return net.with_widths([max(1, round(count * width / max(units))) for count in units])
