# SPDX-License-Identifier: BSD-3-Clause
"""Figures of scans: one axis as lines, two as a map, paired points as dots."""

from __future__ import annotations

from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from . import _labels

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from .scan import Scan

__all__ = ["plot"]

Values = NDArray[Any]

_FAILED = "0.85"  # grey where a point has no value


def plot(scan: Scan, quantity: str | None, ax: Any) -> Figure:
    """See `Scan.plot`."""
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError("plot needs matplotlib: pip install 'fisherfield[plot]'") from None
    name = next(iter(scan.arrays)) if quantity is None else quantity
    if name not in (*scan.arrays, "status"):
        raise ValueError(f"quantity must be one of {', '.join((*scan.arrays, 'status'))}, got {quantity!r}")
    names = [axis for axes in scan.dimensions.values() for axis in axes]
    if not 1 <= len(names) <= 2:
        raise ValueError(
            f"plot draws one axis or two, got {', '.join(names) or 'none'}: "
            f"select from to_xarray(), as to_xarray().{name}.isel({names[0] if names else 'layer'}=0).plot()"
        )
    values = np.asarray(scan[name])
    layered = values.ndim > len(scan.shape)
    if layered and len(names) == 2:
        raise ValueError(
            f"plot draws {name} of all layers over one axis, got {', '.join(names)}: "
            f"select from to_xarray(), as to_xarray().{name}.sel(layer=1).plot()"
        )
    with matplotlib.rc_context({"font.size": 12}):
        if ax is None:
            ax = Figure(figsize=(7.5, 5), dpi=100, layout="constrained").subplots()
        paired = tuple(scan.dimensions) != tuple(names)
        coordinates = [scan.axes[axis] for axis in names]
        for side, axis, along in zip("xy", names, coordinates, strict=False):
            getattr(ax, f"set_{side}label")(_label(axis, along))
            if _logarithmic(along):
                getattr(ax, f"set_{side}scale")("log")
        if len(names) == 1:
            _lines(ax, name, coordinates[0], values, paired)
        else:
            _map(ax, name, coordinates[0], coordinates[1], values, paired)
        ax.set_title(_title(scan, name), fontsize=11)
    figure: Figure = ax.figure
    return figure


def _lines(ax: Any, name: str, along: Values, values: Values, paired: bool) -> None:
    rows = values.reshape(along.size, -1)
    many = rows.shape[1] > 1
    colours = [None] * rows.shape[1]
    if many:
        import matplotlib

        colours = list(matplotlib.colormaps["viridis"](np.linspace(0.0, 0.9, rows.shape[1])))
    for place, row in enumerate(rows.T):
        label = f"layer {place + 1}" if many else None
        order = np.argsort(along, kind="stable")
        # a line between values that are all there is; dots where there is only a handful of them, or no order
        style = {"marker": "o", "markersize": 3, "linestyle": "none"} if paired else {"linewidth": 1.8}
        if not paired and along.size <= 12:
            style |= {"marker": "o", "markersize": 4}
        ax.plot(along[order], row[order], label=label, color=colours[place], **style)
    if many and rows.shape[1] <= 12:
        ax.legend(fontsize=10)
    ax.set_ylabel(_label(name))
    if name == "regime" or name == "status":
        words = _labels.REGIMES if name == "regime" else _labels.STATUSES
        found = [int(value) for value in np.unique(values)]
        ax.set_yticks(found, [fill(words[value], 24) for value in found])
    elif _spread(values):
        ax.set_yscale("log")
    ax.grid(True, color="0.9", linewidth=0.8)
    ax.set_axisbelow(True)


def _map(ax: Any, name: str, first: Values, second: Values, values: Values, paired: bool) -> None:
    from matplotlib.colors import BoundaryNorm, LogNorm

    words = {"regime": _labels.REGIMES, "status": _labels.STATUSES}.get(name)
    norm: Any = None
    shown = np.ma.masked_invalid(values.astype(np.float64))
    found = [int(value) for value in np.unique(values)] if words else []
    if words:
        # one colour for each word that occurs
        norm = BoundaryNorm(np.arange(len(found) + 1) - 0.5, 256)
        shown = np.ma.array(np.searchsorted(found, values).astype(np.float64))
    elif _spread(values):
        norm = LogNorm()
    failed = np.ma.getmaskarray(shown)
    if paired:
        ax.scatter(first[failed], second[failed], marker="x", color="0.6", s=14)
        drawn = ax.scatter(first, second, c=shown, norm=norm, s=14, cmap="viridis")
    else:
        ax.set_facecolor(_FAILED)
        x, y = (np.argsort(along, kind="stable") for along in (first, second))
        drawn = ax.pcolormesh(
            first[x], second[y], shown[np.ix_(x, y)].T, norm=norm, cmap="viridis", shading="nearest", rasterized=True
        )
    bar = ax.figure.colorbar(drawn, ax=ax, label=_label(name))
    if words:
        bar.set_ticks(range(len(found)), labels=[fill(words[value], 24) for value in found])
    elif failed.any():
        ax.set_xlabel(f"{ax.get_xlabel()}\ngrey: no value, see status", linespacing=1.5)


def _label(name: str, along: Values | None = None) -> str:
    words = "status" if name == "status" else f"{_labels.meaning(name)} {_labels.symbol(name)}"
    if name == "regime":
        words = "what rules"
    return words + (", infinitely many not drawn" if along is not None and np.isinf(along).any() else "")


def _title(scan: Scan, name: str) -> str:
    given = scan.settings
    said = [f"theory {given['theory']}"]
    if "samples" not in scan.axes:
        said.append("infinite data" if given["samples"] is None else f"{given['samples']} samples")
    if name == "max_learning_rate":
        said.append(f"loss {given['loss']}")
        said += [] if "momentum" in scan.axes else [f"momentum {given['momentum']:g}"]
    return ", ".join(said)


def _logarithmic(along: Values) -> bool:
    """Whether the values of an axis are spaced more evenly in their logarithm."""
    kept = np.sort(along[np.isfinite(along)])
    if kept.size < 3 or kept[0] <= 0 or kept[-1] < 4 * kept[0]:
        return False
    middle = float(np.median(kept))
    return bool(abs(np.log(middle**2 / (kept[0] * kept[-1]))) < abs(np.log(2 * middle / (kept[0] + kept[-1]))))


def _spread(values: Values) -> bool:
    """Whether values range over more than a decade and a half."""
    kept = values[np.isfinite(values)]
    return bool(kept.size and kept.min() > 0 and kept.max() > 30 * kept.min())
