# SPDX-License-Identifier: BSD-3-Clause
"""The density of F's eigenvalues at finite width: the bulk by its equations, and the outlier as an atom."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .. import _numbers
from .._html import InNotebooks
from .._numbers import Theory
from .._words import data_in_words
from ..network import Network
from . import calls
from .settings import Settings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["BulkDensity", "spectral_density"]

_BEYOND = 1.15  # of the edge: where the grid ends


@dataclass(frozen=True, eq=False, repr=False)
class BulkDensity(InNotebooks):
    """How the n non-zero eigenvalues of one output are distributed, as the theory predicts it.

    Attributes
    ----------
    x, density : ndarray
        A grid from just above the least eigenvalue to beyond the edge, closer below, and the density there: n times its
        integral is the number of the bulk's eigenvalues.
    above : ndarray
        How many of the n eigenvalues of the bulk lie above each x.
    edge : float
        The classical position of the bulk's largest eigenvalue: half of one lies above.
    outlier : float
        (a + (n-1) b)/n, an atom of one eigenvalue.
    network, theory, samples, overlap, length, biases
        What it was computed for.
    """

    x: NDArray[np.float64]
    density: NDArray[np.float64]
    above: NDArray[np.float64]
    edge: float
    outlier: float
    network: Network = field(repr=False)
    theory: str
    samples: int
    overlap: float
    length: float
    biases: bool

    def plot(self, ax: Any = None) -> Figure:
        """The density over the eigenvalue, its edge, and the outlier as a line; needs matplotlib."""
        from ..plots.density import plot

        return plot(self, ax)

    def __repr__(self) -> str:
        lines = [f"Density of one output's eigenvalues, theory {self.theory}, {data_in_words(self.samples)}"]
        for share in (0.95, 0.75, 0.5, 0.25, 0.05):
            place = int(np.searchsorted(-self.above, -share * self.samples))
            if place < len(self.x):
                lines.append(f"  {1 - share:4.0%} of the bulk below {self.x[place]:.4g}")
        return "\n".join([*lines, f"  edge at {self.edge:.6g}, outlier at {self.outlier:.6g}"])


def spectral_density(
    net: Network,
    samples: int,
    theory: Theory = "exact",
    overlap: float = 0.0,
    length: float = 1.0,
    biases: bool | None = None,
    points: int = 200,
) -> BulkDensity:
    """The density of the eigenvalues of F of one output over `samples` data, at the network's own widths.

    The bulk is the fixed point of docs/theory.md, section 14, for chains of Dense layers, all hidden ones with
    BatchNorm or none; the outlier stands beside it. Several outputs have a spectrum each.

    Parameters
    ----------
    net : Network
    samples : int
        n, at least 2.
    theory : {"exact", "frozen"}
    overlap, length, biases
        As in `fisher`.
    points : int
        Of the grid, at least 2; 0.1 to 5 ms each at four layers.

    Returns
    -------
    BulkDensity

    Raises
    ------
    ValueError, TypeError
        For arguments out of range, as `fisher`, and for networks whose bulk has no equations.
    """
    samples = _numbers.integer("samples", samples, 2)
    settings = Settings.of(net, theory, samples, overlap, length, biases)
    points = _numbers.integer("points", points, 2)
    spectrum = calls.spectrum(net, settings)
    edge = calls.edge(net, settings)
    if math.isnan(edge):
        raise ValueError(
            "net must be a chain of at most 32 Dense layers, of whose hidden ones all have a BatchNorm or none, "
            "under theory 'exact' or 'frozen': no equations are known for the bulk of another"
        )
    t = np.arange(1, points + 1) / points
    x = _BEYOND * edge * t**2
    density, above = calls.bulk_spectrum(net, settings, x)
    return BulkDensity(
        x=x,
        density=density,
        above=above,
        edge=edge,
        outlier=spectrum.b + (spectrum.a - spectrum.b) / samples,
        network=net,
        theory=settings.theory,
        samples=samples,
        overlap=settings.overlap,
        length=settings.length,
        biases=settings.biases,
    )
