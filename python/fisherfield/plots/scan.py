# SPDX-License-Identifier: BSD-3-Clause
"""Figures of scans: one axis as lines, two as a map, paired points as dots."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from textwrap import fill
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from .._numbers import axes_of, choice
from .._optional import optional
from .._words import data_in_words, descent_in_words, shown
from ..scan.arguments import activations_of, selection_of
from ..scan.labels import REGIMES, STATUSES, meaning, symbol

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ..scan import Scan

Values = NDArray[Any]

_FAILED = "0.85"  # grey where a point has no value
_FAMILY = 6  # lines that are told apart in one figure
_WIDE = 1500  # values along a side of a map, more than a figure has dots for
_LONG = 20000  # values along a line
_SHOWN = 20  # characters of a tick that is a word


@dataclass(frozen=True)
class _Side:
    """An axis that is drawn."""

    name: str
    values: Values
    words: tuple[str, ...] = ()  # what the values count, of an axis of words

    @staticmethod
    def of(name: str, values: Values) -> _Side:
        words = tuple(values.tolist()) if values.dtype.kind == "U" else ()
        return _Side(name, np.arange(float(len(words))) if words else values, words)

    def value(self, place: int) -> str:
        """In words."""
        return self.words[place] if self.words else f"{symbol(self.name)} = {_value(self.values[place])}"

    @property
    def label(self) -> str:
        if self.words:
            return meaning(self.name)
        infinite = ", infinitely many not drawn" if np.isinf(self.values).any() else ""
        return f"{meaning(self.name)}, {symbol(self.name)}{infinite}"

    @property
    def logarithmic(self) -> bool:
        """Whether the values are spaced more evenly in their logarithm."""
        kept = np.sort(self.values[np.isfinite(self.values)])
        if self.words or kept.size < 3 or kept[0] <= 0 or kept[-1] < 4 * kept[0]:
            return False
        middle = float(np.median(kept))
        return bool(abs(np.log(middle**2 / (kept[0] * kept[-1]))) < abs(np.log(2 * middle / (kept[0] + kept[-1]))))

    def cells(self) -> tuple[NDArray[np.intp], Values]:
        """The order of its finite values, for infinitely many samples have no place, and the borders between them."""
        order = np.argsort(self.values, kind="stable")[: np.isfinite(self.values).sum()]
        places = self.values[order]
        places = np.log(places) if self.logarithmic else places
        if places.size == 1:
            borders = np.array([places[0] - 0.5, places[0] + 0.5])
        else:
            middle = (places[1:] + places[:-1]) / 2
            borders = np.array([2 * places[0] - middle[0], *middle, 2 * places[-1] - middle[-1]])
        return order, np.exp(borders) if self.logarithmic else borders


@dataclass(frozen=True)
class _Drawn:
    """What one scan has drawn onto axes, and what its lines were called where it is alone."""

    lines: list[Any]
    own: list[str]
    words: list[str]
    quantity: str
    label: str | None


def plot(scan: Scan, quantity: str | None, ax: Any, select: Mapping[str, Any], label: str | None) -> Figure:
    """See `Scan.plot`."""
    matplotlib = optional("matplotlib", "plot needs matplotlib", "fisherfield[plot]")
    from .drawing import drawing

    axes_of(ax)
    name = next(iter(scan.arrays)) if quantity is None else quantity
    if name not in (*scan.arrays, "status"):
        raise ValueError(f"quantity must be one of {', '.join((*scan.arrays, 'status'))}, got {shown(quantity)}")
    if label is not None and not isinstance(label, str):
        raise TypeError(f"label must be a string, got {shown(label)}")
    chosen, at = selected(scan, name, select)
    drawn = [dimension for dimension, place in at.items() if not isinstance(place, int)]
    layered = "layer" in drawn
    grid = [dimension for dimension in drawn if dimension != "layer"]
    names = [axis for dimension in grid for axis in scan.dimensions[dimension]]
    paired = grid != names
    dots = paired and len(grid) == 1
    _refuse(scan, name, names, layered, dots)
    most = _WIDE if len(grid) == 2 else _LONG
    steps = {dimension: -(-scan.axes[scan.dimensions[dimension][0]].size // most) for dimension in grid}
    at |= {dimension: slice(None, None, step) for dimension, step in steps.items()}
    sides = [
        _Side.of(axis, np.asarray(scan.axes[axis])[at[along]]) for along in grid for axis in scan.dimensions[along]
    ]
    values = np.asarray(scan[name][tuple(at.values()) or ...])
    panels = dots and len(names) > 2
    if panels and ax is not None:
        raise ValueError(f"ax must be None where {len(sides)} paired axes have a panel each, got {shown(ax)}")
    down, across = (-(-len(names) // 3), 3) if panels else (1, 1)
    figure = drawing(*((4.2 * across, 3.6 * down + 0.6) if panels else (7.5, 5))) if ax is None else ax.figure
    words = _words(scan, name, chosen, steps)
    with matplotlib.rc_context({"font.size": 12}):
        if panels:
            _panels(figure.subplots(down, across, sharey=True, squeeze=False), name, sides, values)
            figure.suptitle(_title(words), fontsize=11)
        else:
            ax = figure.subplots() if ax is None else ax
            before = len(ax.lines)
            if len(sides) == 1:
                _lines(ax, name, sides[0], values, dots)
            elif not paired and not layered and (family := _family(name, sides)) is not None:
                _lines(ax, name, sides[1 - family], values if family else values.T, False, sides[family])
            else:
                _map(ax, name, sides[0], sides[1], values, paired)
            common = _told_apart(ax, ax.lines[before:], words, name if name == "status" else meaning(name), label)
            ax.set_title(_title(common), fontsize=11)
    result: Figure = figure
    return result


def selected(scan: Scan, name: str, select: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What is chosen by name, and where it stands along each dimension of a quantity; the others are whole.

    A dimension of one value is chosen by itself where there is another one to draw.
    """
    if not isinstance(select, Mapping):
        raise TypeError(f"select must be a mapping from names to values, got {shown(select)}")
    dimensions = dict(zip(scan.dimensions, scan.shape, strict=True))
    if scan[name].ndim > len(scan.shape):
        dimensions["layer"] = scan[name].shape[-1]
    at: dict[str, Any] = {dimension: slice(None) for dimension in dimensions}
    chosen: dict[str, Any] = {}
    for key, value in select.items():
        if key not in dimensions:
            along = next((dimension for dimension, names in scan.dimensions.items() if key in names), None)
            hint = "" if along is None else f", one of the paired axes along {along}"
            allowed = ", ".join(dimensions) or "no dimension"
            raise ValueError(f"select must name one of {allowed}, got {shown(key)}{hint}")
        coordinates = _coordinates(scan, key, dimensions[key])
        if coordinates.dtype.kind == "U":
            chosen[key] = choice(f"select {key}", activations_of(key, [value])[0], tuple(coordinates.tolist()))
            at[key] = coordinates.tolist().index(chosen[key])
            continue
        number = selection_of(key, value)
        at[key] = int(np.argmax(coordinates) if number == math.inf else np.argmin(np.abs(coordinates - number)))
        chosen[key] = float(coordinates[at[key]])
    for dimension, extent in dimensions.items():
        open_dimensions = [other for other, place in at.items() if not isinstance(place, int)]
        if extent == 1 and dimension in open_dimensions and len(open_dimensions) > 1:
            at[dimension] = 0
            if dimension in scan.axes:
                chosen[dimension] = np.asarray(scan.axes[dimension])[0].item()
    return chosen, at


def _coordinates(scan: Scan, dimension: str, extent: int) -> Values:
    """Where a selection is looked for."""
    if dimension == "layer":
        return np.arange(1, extent + 1)
    return np.asarray(scan.axes[dimension]) if dimension in scan.axes else np.arange(extent)


def _refuse(scan: Scan, name: str, names: list[str], layered: bool, dots: bool) -> None:
    if not names or (len(names) > 2 and not dots):
        dimensions = [dimension for dimension, extent in zip(scan.dimensions, scan.shape, strict=True) if extent > 1]
        hint = ""
        if names:
            last = [dimension for dimension in dimensions if set(scan.dimensions[dimension]) & set(names)][-1]
            values = scan.axes.get(last, np.arange(1))
            hint = f": select a value of the others, as {last}={_value(values[values.size // 2].item())}"
        raise ValueError(f"plot draws one axis or two, got {', '.join(names) or 'none'}{hint}")
    if layered and len(names) >= 2:
        raise ValueError(
            f"plot draws {name} of all layers over one axis, got {', '.join(names)}: "
            "select a layer or a value of one of them, as layer=1"
        )


def _family(name: str, sides: list[_Side]) -> int | None:
    """Which of two axes gives a line for each of its few values; None where a map shows more."""
    sizes = [side.values.size for side in sides]
    if name in ("regime", "status") or min(sizes) > _FAMILY or max(sizes) <= _FAMILY:
        return None
    return sizes.index(min(sizes))


def _lines(ax: Any, name: str, side: _Side, values: Values, dots: bool, each: _Side | None = None) -> None:
    """Over one axis: a line, or one for each layer, or for each value of a second axis."""
    along = side.values
    rows = values.reshape(along.size, -1)
    many = rows.shape[1] > 1
    colours = [None] * rows.shape[1]
    if many:
        import matplotlib

        colours = list(matplotlib.colormaps["viridis"](np.linspace(0.0, 0.9, rows.shape[1])))
    order = np.argsort(along, kind="stable")
    for place, row in enumerate(rows.T):
        label = f"layer {place + 1}" if many else None
        if each is not None:
            label = each.value(place)
        # a line between values that are all there is; dots where there is only a handful of them, or no order
        alone = dots or bool(side.words)
        style = {"marker": "o", "markersize": 3, "linestyle": "none"} if alone else {"linewidth": 1.8}
        if side.words or (not dots and along.size <= 12):
            style |= {"marker": "o", "markersize": 4}
        if each is not None:
            style["linewidth"] = 4.2 - 2.8 * place / (rows.shape[1] - 1)  # lines that coincide are all seen
        ax.plot(along[order], row[order], label=label, color=colours[place], **style)
    _scale(ax, "x", side)
    if many and rows.shape[1] <= 12:
        ax.legend(fontsize=10)
    elif many:
        _layers(ax, rows.shape[1])
    ax.set_ylabel(_label(name))
    if name == "regime" or name == "status":
        words = REGIMES if name == "regime" else STATUSES
        present = [int(value) for value in np.unique(values)]
        ax.set_yticks(present, [fill(words[value], _SHOWN) for value in present])
    elif _spread(values):
        ax.set_yscale("log")
    if np.isnan(values).any() and (each is not None or not many):
        ax.set_xlabel(f"{ax.get_xlabel()}\ngaps: no value, see status", linespacing=1.5)
    ax.grid(True, color="0.9", linewidth=0.8)
    ax.set_axisbelow(True)


def _layers(ax: Any, count: int) -> None:
    """A bar of colours for more layers than a legend can name."""
    import matplotlib
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LinearSegmentedColormap, Normalize

    colours = matplotlib.colormaps["viridis"](np.linspace(0.0, 0.9, 256))
    drawn = ScalarMappable(Normalize(1, count), LinearSegmentedColormap.from_list("layers", colours))
    ax.figure.colorbar(drawn, ax=ax, label="layer")


def _map(ax: Any, name: str, first: _Side, second: _Side, values: Values, paired: bool) -> None:
    from matplotlib.colors import BoundaryNorm, LogNorm

    words = {"regime": REGIMES, "status": STATUSES}.get(name)
    norm: Any = None
    drawn_values = np.ma.masked_invalid(values.astype(np.float64))
    present = [int(value) for value in np.unique(values)] if words else []
    if words:
        # one colour for each word that occurs
        norm = BoundaryNorm(np.arange(len(present) + 1) - 0.5, 256)
        drawn_values = np.ma.array(np.searchsorted(present, values).astype(np.float64))
    elif _spread(values):
        norm = LogNorm()
    failed = np.ma.getmaskarray(drawn_values)
    if paired:
        ax.scatter(first.values[failed], second.values[failed], marker="x", color="0.6", s=14)
        drawn = ax.scatter(first.values, second.values, c=drawn_values, norm=norm, s=14, cmap="viridis")
    else:
        ax.set_facecolor(_FAILED)
        x, across = first.cells()
        y, up = second.cells()
        drawn = ax.pcolormesh(across, up, drawn_values[np.ix_(x, y)].T, norm=norm, cmap="viridis", rasterized=True)
    _scale(ax, "x", first)
    _scale(ax, "y", second)
    bar = ax.figure.colorbar(drawn, ax=ax, label=_label(name))
    if words:
        bar.set_ticks(range(len(present)), labels=[fill(words[value], _SHOWN) for value in present])
    elif failed.any():
        ax.set_xlabel(f"{ax.get_xlabel()}\ngrey: no value, see status", linespacing=1.5)


def _panels(panels: Any, name: str, sides: list[_Side], values: Values) -> None:
    """Paired points of more than two axes: dots over each of them."""
    for place, panel in enumerate(panels.flat):
        if place >= len(sides):
            panel.set_axis_off()
            continue
        _lines(panel, name, sides[place], values, True)
        panel.set_ylabel("" if place % panels.shape[1] else fill(_label(name), 30, break_long_words=False))


def _scale(ax: Any, which: str, side: _Side) -> None:
    getattr(ax, f"set_{which}label")(side.label)
    if side.words:
        getattr(ax, f"set_{which}ticks")(side.values, [fill(word, _SHOWN) for word in side.words])
    if not side.logarithmic:
        return
    getattr(ax, f"set_{which}scale")("log")
    kept = side.values[np.isfinite(side.values)]
    if kept.max() < 1000 * kept.min() and kept.min() >= 1e-3 and kept.max() <= 1e5:
        # numbers as one would say them, in place of 6 x 10^-1
        from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

        ticks = getattr(ax, f"{which}axis")
        ticks.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        ticks.set_major_formatter(StrMethodFormatter("{x:g}"))
        ticks.set_minor_formatter(NullFormatter())


def _label(name: str) -> str:
    if name in ("status", "regime"):
        return "status" if name == "status" else "what rules"
    return f"{meaning(name)}, {symbol(name)}" if symbol(name).startswith("$") else meaning(name)


_drawn: WeakKeyDictionary[Any, list[_Drawn]] = WeakKeyDictionary()  # what scans have drawn onto axes


def _told_apart(ax: Any, lines: Sequence[Any], words: list[str], quantity: str, label: str | None) -> list[str]:
    """Labels for the lines of all scans on the same axes: what each scan has of its own. The words of all are left.

    Scans that differ in nothing that is said here, as those of two networks, are numbered.
    """
    scans = [scan for scan in _drawn.get(ax, []) if all(line.axes is ax for line in scan.lines)]
    own = ["" if line.get_label().startswith("_") else line.get_label() for line in lines]
    if lines:
        scans.append(_Drawn(list(lines), own, words, quantity, label))
        _drawn[ax] = scans
    common = [word for word in words if all(word in scan.words for scan in scans)]
    if len(scans) < 2 and label is None:
        return common
    several = len({scan.quantity for scan in scans}) > 1
    for number, scan in enumerate(scans, start=1):
        differing = [scan.quantity] * several + [word for word in scan.words if word not in common]
        sign = scan.label or ", ".join(differing) or (f"scan {number}" if len(scans) > 1 else "")
        for line, name in zip(scan.lines, scan.own, strict=True):
            line.set_label(", ".join(filter(None, (sign, name))))
            if name:  # lines of the same colours
                line.set_linestyle(("-", "--", "-.", ":")[(number - 1) % 4])
    if several:
        ax.set_ylabel("")
    if lines:
        ax.legend(fontsize=10)
    return common


def _title(words: Sequence[str]) -> str:
    return fill(", ".join(words), 78, break_long_words=False)


def _words(scan: Scan, name: str, chosen: Mapping[str, Any], steps: Mapping[str, int]) -> list[str]:
    """What a scan is of, in words."""
    settings = scan.settings
    if "theory" not in settings:
        parts = [f"training on {settings['data']}, loss {settings['loss']}, momentum {settings['momentum']:g}"]
    else:
        parts = [f"theory {settings['theory']}"]
    if "theory" in settings and "samples" not in scan.axes:
        parts.append(data_in_words(settings["samples"]))
    if name == "max_learning_rate":
        parts.append(f"loss {settings['loss']}")
        parts += descent_in_words(settings, "momentum" not in scan.axes)
    for key, value in chosen.items():
        sign = key if key in ("layer", "point") or key.startswith("point_") else symbol(key)
        parts.append(f"{sign} = {_value(value)}")
    parts += [f"one of {step} values of {dimension} drawn" for dimension, step in steps.items() if step > 1]
    return parts


def _value(value: float | str) -> str:
    if isinstance(value, str):
        return value
    return r"$\infty$" if math.isinf(value) else f"{value:.4g}"


def _spread(values: Values) -> bool:
    """Whether values range over more than a decade and a half."""
    kept = values[np.isfinite(values)]
    return bool(kept.size and kept.min() > 0 and kept.max() > 30 * kept.min())
