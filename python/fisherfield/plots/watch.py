# SPDX-License-Identifier: BSD-3-Clause
"""The figure of sharpness through training."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from .. import _numbers
from .._optional import optional

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot(watch: Any, ax: Any) -> Figure:
    """See `fisherfield.torch.Watch.plot`."""
    optional("matplotlib", "plot needs matplotlib", "fisherfield[plot]")
    from .drawing import drawing

    _numbers.axes_of(ax)
    if not watch.rows:
        raise ValueError("plot must have something to draw, and nothing was measured yet: call the watch")
    if ax is None:
        ax = drawing(7, 5).subplots()
    steps = [row.step for row in watch.rows]
    ax.plot(steps, [row.lambda_max for row in watch.rows], "o-", color="#0072B2", label=r"$\lambda_{\max}$")
    limits = [row.lambda_max / row.stability if row.stability > 0 else math.nan for row in watch.rows]
    if not all(map(math.isnan, limits)):
        ax.plot(steps, limits, "--", color="#D55E00", label=r"$2(1+\mu)/\eta$")
    ax.set(xlabel="step", ylabel=f"largest eigenvalue ({watch.settings['matrix']})")
    ax.legend()
    figure: Figure = ax.figure
    return figure
