# SPDX-License-Identifier: BSD-3-Clause
"""What a scan came to, as `fisherfield scan` prints it."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from .._words import descent_in_words, hours_in_words, plural, short
from ..scan import Scan
from ..scan.labels import KEPT, REGIMES, meaning, status_in_words
from ..scan.table import range_in_words
from .printing import headed, lines

_READ = 2**28  # points of a store that are read once more for the table at the end, some seconds


def print_scan(output: Console, scan: Scan, path: Path, network: str, computed: int) -> None:
    output.print(headed(_description(scan, network)))
    output.print()
    output.print(_axes_table(scan))
    output.print()
    if set(scan.arrays) != {"regime"}:
        output.print(_quantities_table(scan))
        output.print()
    failures = scan.failures()
    closing = Table.grid(padding=(0, 2))
    good = scan.points - sum(failures.values())
    closing.add_row(Text("ok", style="bold"), Text(f"{good:,} of {scan.points:,} points"))
    for place, (status, count) in enumerate(failures.items()):
        kept = " (kept)" if status in KEPT else ""
        words = f"{count:,} point{'s' * (count != 1)}{kept}: {status_in_words(status, scan.settings)}"
        closing.add_row(Text("" if place else "not ok", style="bold yellow"), Text(words))
    if "regime" in scan.arrays:
        counts = {word: _count(scan, "regime", code) for code, word in REGIMES.items()}
        regimes = ", ".join(f"{word} {count:,}" for word, count in counts.items() if count)
        closing.add_row(Text("regime", style="bold"), Text(regimes))
    if computed and scan.seconds > 0:
        speed = f"{computed:,} points in {hours_in_words(scan.seconds)}, {short(computed / scan.seconds)} points/s"
        closing.add_row(Text("time", style="bold"), Text(speed))
    for name, words in _whereabouts(path).items():
        closing.add_row(Text(name, style="bold"), Text(words, overflow="fold"))
    output.print(closing)


def _description(scan: Scan, network: str) -> dict[str, str]:
    settings = scan.settings
    size = f"{scan.points:,} point{'s' * (scan.points != 1)}"
    if len(scan.shape) > 1:
        size = f"{' x '.join(map(str, scan.shape))} = {size}"
    data = [f"{name} {settings[name]:g}" for name in ("length", "overlap") if name not in scan.axes]
    if "samples" not in scan.axes:
        many = settings["samples"]
        data.insert(0, "infinitely many samples" if many is None else plural(many, "sample"))
    words = {
        "network": network,
        "scan": size,
        "theory": f"{settings['theory']}, gradients of the biases {'counted' if settings['biases'] else 'left out'}"
        + (", with the bulk's edge" if settings.get("edge") else ""),
        "data": ", ".join(data) or "as varied",
    }
    if "max_learning_rate" in scan.arrays:
        descent = descent_in_words(settings, "momentum" not in scan.axes)
        words["learning rate"] = ", ".join([f"loss {settings['loss']}", *descent])
    return words


def _table(*columns: str) -> Table:
    table = lines(*columns, right=("values", "from", "to", "least", "greatest"))
    for column in table.columns:
        column.overflow = "fold"
    return table


def _axes_table(scan: Scan) -> Table:
    table = _table("axis", "values", "from", "to", "meaning")
    for dimension, names in scan.dimensions.items():
        for name in names:
            values = scan.axes[name]
            paired = "" if names == (dimension,) else f", along {dimension}"
            words = values.dtype.kind == "U"
            ends = (range_in_words(values), "") if words else (f"{values.min():.6g}", f"{values.max():.6g}")
            table.add_row(name, str(values.size), *ends, f"{meaning(name)}{paired}")
    return table


def _quantities_table(scan: Scan) -> Table:
    table = _table("quantity", "least", "at", "greatest", "at")
    for name in scan.arrays:
        if scan.store is not None and scan.points > _READ:
            table.add_row(name, "", "not looked for: too many points", "", "")
            continue
        if name == "regime":
            continue
        extremes = _extremes(scan, name)
        if extremes is None:
            table.add_row(name, "NaN", "everywhere", "", "")
            continue
        (low, lowest), (high, highest) = extremes
        if low == high:
            table.add_row(name, f"{low:.6g}", "everywhere", "", "")
        else:
            table.add_row(name, f"{low:.6g}", _place(scan, lowest), f"{high:.6g}", _place(scan, highest))
    return table


def _count(scan: Scan, name: str, code: int) -> int:
    return sum(int(np.count_nonzero(np.asarray(scan[name][part]) == code)) for part in scan.boxes())


def _extremes(scan: Scan, name: str) -> tuple[tuple[float, tuple[int, ...]], ...] | None:
    """The least and the greatest value, and the places of both; looked for part by part."""
    least: tuple[float, tuple[int, ...]] = (math.inf, ())
    greatest: tuple[float, tuple[int, ...]] = (-math.inf, ())
    for part in scan.boxes():
        values = np.asarray(scan[name][part])
        kept = ~np.isnan(values)
        if not kept.any():
            continue
        offsets = [side.start for side in part] if isinstance(part, tuple) else []
        for fill, find in ((math.inf, np.argmin), (-math.inf, np.argmax)):
            at = np.unravel_index(find(np.where(kept, values, fill)), values.shape)
            value = float(values[at])
            place = tuple(int(index) + (offsets[side] if side < len(offsets) else 0) for side, index in enumerate(at))
            if fill > 0 and (value < least[0] or not least[1]):
                least = (value, place)
            if fill < 0 and (value > greatest[0] or not greatest[1]):
                greatest = (value, place)
    return None if not least[1] and least[0] == math.inf else (least, greatest)


def _place(scan: Scan, place: tuple[int, ...]) -> str:
    """E.g. "gamma=5, sigma_b2=0"."""
    words = [
        f"{name}={_value(scan.axes[name][index].item())}"
        for names, index in zip(scan.dimensions.values(), place, strict=False)
        for name in names
    ]
    words += [f"layer={index + 1}" for index in place[len(scan.shape) :]]
    return ", ".join(words)


def _value(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.4g}"


def _whereabouts(path: Path) -> dict[str, str]:
    """Where it lies and how it is opened."""
    python = {
        ".zarr": f"fisherfield.Scan.open({str(path)!r}), xarray.open_zarr({str(path)!r})",
        ".nc": f"fisherfield.Scan.open({str(path)!r}), xarray.open_dataset({str(path)!r})",
        ".csv": f"pandas.read_csv({str(path)!r})",
        ".parquet": f"pandas.read_parquet({str(path)!r})",
    }[path.suffix.lower()]
    words = {"written to": str(path), "in Python": python}
    if path.suffix.lower() in (".zarr", ".nc"):
        words["figure"] = f"fisherfield plot {path}"
    return words
