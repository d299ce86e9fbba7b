# SPDX-License-Identifier: BSD-3-Clause
"""Figures of the density of the theory's eigenvalues."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .. import _numbers
from .._optional import optional
from .._words import data_in_words

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ..theory.density import BulkDensity


def plot(density: BulkDensity, ax: Any) -> Figure:
    """See `BulkDensity.plot`."""
    optional("matplotlib", "plot needs matplotlib", "fisherfield[plot]")
    from .drawing import drawing

    _numbers.axes_of(ax)
    figure: Figure = drawing(7, 5) if ax is None else ax.figure
    axes = figure.subplots() if ax is None else ax
    axes.plot(density.x, density.density, color="#D55E00", label="bulk")
    axes.axvline(density.edge, color="#D55E00", linestyle="--", label=f"edge, {density.edge:.4g}")
    axes.axvline(density.outlier, color="#0072B2", label=f"outlier, {density.outlier:.4g}")
    axes.set_xscale("log")
    axes.set_xlabel("eigenvalue of F")
    axes.set_ylabel("density")
    axes.set_title(f"theory {density.theory}, {data_in_words(density.samples)}")
    axes.legend()
    return figure
