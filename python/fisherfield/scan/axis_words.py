# SPDX-License-Identifier: BSD-3-Clause
"""Axes of a scan as they are typed: `gamma=0.1:5:200`, `samples=16,64,256`, or a file of points."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._numbers import integer
from .._optional import optional
from .._words import cut, shown
from ..network import Network
from .arguments import WHOLE
from .grid import field_of
from .scan import random_points
from .structure import names_activations

_GRAMMAR = "NAME=START:STOP:COUNT, NAME=START:STOP:COUNT:log or NAME=VALUE,VALUE,..."
_MOST = 2**27  # values of one axis: a gigabyte

Values = NDArray[np.float64]


@dataclass(frozen=True)
class _Range:
    """START:STOP or START:STOP:log, without a COUNT: what random points are drawn from."""

    start: float
    stop: float
    logarithmic: bool

    @property
    def bounds(self) -> tuple[Any, ...]:
        return (self.start, self.stop, "log") if self.logarithmic else (self.start, self.stop)


def axes_of(net: Network, texts: Sequence[str], points: str | None, random: int | None, seed: int) -> dict[Any, Any]:
    """The axes of `ff.scan` from what the options say: paired points first, then a dimension for each text."""
    axes: dict[Any, Any] = {}
    if points is not None:
        axes.update(_points(points))
    ranges: dict[str, _Range] = {}
    rest: dict[str, Values | list[str]] = {}
    for text in texts:
        name, values = _axis(text)
        if name in rest or name in ranges:
            raise ValueError(f"axis {name} must be given once, got it twice")
        if not isinstance(values, _Range):
            rest[name] = values
        elif random is None:
            raise ValueError(
                f"axis {name} must have a COUNT where no --random says how many points are drawn, got {shown(text)}: "
                f"write {name}=START:STOP:COUNT"
            )
        else:
            field_of(net, name)
            ranges[name] = values
    if random is not None:
        if not ranges:
            raise ValueError("--random needs an axis without COUNT to draw from, as --axis gamma=0.1:5")
        count = integer("--random", random, 1, _MOST)
        drawn = random_points(count, seed, **{name: between.bounds for name, between in ranges.items()})
        if tuple(ranges) in axes:
            raise ValueError(f"axis {next(iter(ranges))} must be given once, got it twice")
        axes.update(drawn)
    axes.update(rest)
    if not axes:
        raise ValueError(f"--axis must be given at least once, as {_GRAMMAR}, or --points")
    return axes


def _axis(text: str) -> tuple[str, Values | list[str] | _Range]:
    """One --axis: its name, and its values or the range to draw them from."""
    name, _, value = (word.strip() for word in text.partition("="))
    name, words = cut(name, 200), [word.strip() for word in value.split(":")]
    logarithmic = len(words) > 2 and words[-1] == "log"
    words = words[:-1] if logarithmic else words
    try:
        if not name or len(words) > 3:
            raise ValueError
        if names_activations(name):
            return name, re.split(r",\s*(?![^()]*\))", value)  # commas within parentheses belong to a name
        if len(words) == 1:
            return name, np.array([float(word) for word in value.split(",")])
        start, stop = (float(word) for word in words[:2])
        if not (math.isfinite(start) and math.isfinite(stop)):
            raise ValueError
        if len(words) == 2:
            return name, _Range(start, stop, logarithmic)
        count = float(words[2])
        count = int(count) if count.is_integer() else count
    except ValueError:
        raise ValueError(f"--axis must be {_GRAMMAR}, got {shown(text)}") from None
    count = integer(f"COUNT of axis {name}", count, 2, _MOST)
    if logarithmic and not (start > 0 and stop > 0):
        raise ValueError(f"axis {name} must have START and STOP > 0 where it is spaced in logarithm, got {shown(text)}")
    values = np.geomspace(start, stop, count) if logarithmic else np.linspace(start, stop, count)
    if name in WHOLE:
        # the ends are as they were typed, for ff.scan to judge; equal neighbours count once
        values[1:-1] = np.rint(values[1:-1])
        values = values[np.append(True, np.diff(values) != 0)]
    return name, values


def _points(file: str) -> dict[tuple[str, ...], Values]:
    """Paired points from a table whose columns are named like axes."""
    path = Path(file)
    readers = {".csv": _csv, ".parquet": _parquet}
    if path.suffix.lower() not in readers:
        raise ValueError(f"--points must end in .csv or .parquet, got {shown(file)}")
    allowed = "a table whose columns have the names of axes, with a row of numbers for each point"
    try:
        names, values = readers[path.suffix.lower()](path)
    except (ValueError, TypeError) as error:
        raise ValueError(f"--points must be {allowed}, got {shown(file)}: {_first_clause(error)}") from None
    if not names or not values.size:
        raise ValueError(f"--points must be {allowed}, got {shown(file)}, which has none")
    if len(set(names)) < len(names):
        raise ValueError(f"--points must have each column once, got {', '.join(names)} in {shown(file)}")
    return {names: values}


def _first_clause(error: Exception) -> str:
    return str(error).partition("\n")[0].partition(";")[0]


def _csv(path: Path) -> tuple[tuple[str, ...], Values]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        names = tuple(name.strip() for name in next(csv.reader(file, skipinitialspace=True), ()))
        lines = (line for line in file if line.strip())
        first = next(lines, None)
        if first is None:
            return names, np.empty((0, len(names)))

        def rows() -> Any:
            yield first
            yield from lines

        return names, np.loadtxt(rows(), delimiter=",", comments=None, quotechar='"', ndmin=2)


def _parquet(path: Path) -> tuple[tuple[str, ...], Values]:
    pandas, _ = (
        optional(part, "Parquet needs pandas and pyarrow", "fisherfield[scan]") for part in ("pandas", "pyarrow")
    )
    if not path.exists():
        raise FileNotFoundError(2, "No such file or directory", str(path))
    frame = pandas.read_parquet(path)
    if any(frame.index.names):
        frame = frame.reset_index()
    return tuple(map(str, frame.columns)), frame.to_numpy(dtype=np.float64)


def selections_of(texts: Sequence[str]) -> dict[str, float | str]:
    """What --select says: names and values."""
    chosen: dict[str, float | str] = {}
    for text in texts:
        name, _, number = (word.strip() for word in text.partition("="))
        try:
            value = number if names_activations(name) else float(number)
        except ValueError:
            raise ValueError(f"--select must be NAME=VALUE, got {shown(text)}") from None
        if name in chosen:
            raise ValueError(f"--select must name {cut(name)} once, got it twice")
        chosen[name] = value
    return chosen
