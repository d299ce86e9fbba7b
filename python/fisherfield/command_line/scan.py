# SPDX-License-Identifier: BSD-3-Clause
"""`fisherfield scan` and `fisherfield plot`: what they do with the options that `command_line` has read."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

import fisherfield as ff

from .. import _labels
from .._memory import available_memory, bytes_in_words
from .._numbers import quantities_of
from ..plots.scan import selected
from ..scan import Scan
from ..scan.axis_words import axes_of, selections_of
from ..scan.files import destination, replacing, write
from ..scan.grid import grid_of
from ..scan.scan import bar, result_bytes, short
from .terminal import Stopped, console, noting, refusing, terminating

__all__ = ["FORMATS", "picture", "run_plot", "run_scan"]

FORMATS = (".png", ".pdf", ".svg")
_READ = 2**28  # points of a store that are read once more for the table at the end, some seconds


def run_scan(
    file: str,
    *,
    axes: list[str],
    points: str | None,
    random: int | None,
    seed: int,
    out: str,
    force: bool,
    describe: Callable[[str, ff.Network], str],
    **arguments: Any,
) -> None:
    """Scan a network, write what comes out, and print what it was; `arguments` are those of `ff.scan`."""
    said = console()
    watch = _Watch(said)
    try:
        with terminating(), refusing(), noting(said):
            net = ff.load(file)
            path = watch.path = destination(out or f"{Path(file).stem}.zarr", force)
            given = axes_of(net, axes, points, random, seed)
            stored = path.suffix.lower() == ".zarr"
            if not stored:
                _refuse_large(net, given, arguments["quantities"], path)
            with watch:
                scan = ff.scan(net, given, **arguments, store=path if stored else None, progress=watch)
            if not stored:
                with said.status(f"writing {path}") if said.is_terminal else nullcontext():
                    write(scan, path)
            watch.written = True
            _print_scan(said, scan, path, describe(file, net), watch.total - watch.before)
    except KeyboardInterrupt as error:
        raise Stopped(_stopped(error, watch)) from None


def _refuse_large(net: ff.Network, axes: Mapping[Any, Any], quantities: Any, path: Path) -> None:
    """A grid that would take more than half of the memory that is there."""
    grid, values = grid_of(net, axes)
    layers = int(values["depth"].max()) if "depth" in values else net.depth
    needed = result_bytes(grid.points, quantities_of(quantities, _labels.QUANTITIES), layers)
    there = available_memory()
    if there is not None and needed > there / 2:
        raise ValueError(
            f"--out {path} needs {bytes_in_words(needed)} of memory for {grid.points:,} points, more than half of "
            f"the {bytes_in_words(there)} there are: give --out {path.with_suffix('.zarr')}, written as the scan goes"
        )


def _stopped(error: KeyboardInterrupt, watch: _Watch) -> str:
    path = watch.path
    if watch.written:
        return f"stopped; all of the scan is in {path}"
    if watch.total == 0:
        return "stopped before the scan began"
    counted, found, _ = str(error).removeprefix("scan ").partition(" finished")
    if not found:
        return f"stopped while {path} was written, which is not there"
    finished = counted + found
    if path.suffix.lower() == ".zarr":
        return f"{finished}, which stay in {path}: the same command goes on from there"
    return f"{finished}, {path} was not written: --out {path.with_suffix('.zarr')} would keep them, and go on"


class _Watch:
    """Hears how far a scan is: says so where it goes on, and shows the bar on a terminal."""

    def __init__(self, said: Console) -> None:
        self.said, self.path, self.before, self.total, self.written = said, Path(), 0, 0, False
        self.stack = ExitStack()
        self.show: Callable[[int, int], object] | None = None

    def __enter__(self) -> _Watch:
        return self

    def __exit__(self, *error: Any) -> None:
        self.stack.close()

    def __call__(self, done: int, total: int) -> None:
        if self.total == 0:
            self.before, self.total = done, total
            if done == total:
                self.said.print(Text(f"{self.path} has all {total:,} points already"), soft_wrap=True)
            elif done:
                self.said.print(Text(f"{self.path} has {done:,} of {total:,} points: the scan goes on"), soft_wrap=True)
            if self.said.is_terminal and done < total:
                self.show = self.stack.enter_context(bar(self.said))
        if self.show is not None:
            self.show(done, total)


# ------------------------------------------------------------------------------------------------------- what came out


def _print_scan(said: Console, scan: Scan, path: Path, network: str, computed: int) -> None:
    heading = Table.grid(padding=(0, 2))
    for name, words in _description(scan, network).items():
        heading.add_row(Text(name, style="bold"), Text(words))
    said.print(heading)
    said.print()
    said.print(_axes_table(scan))
    said.print()
    if set(scan.arrays) != {"regime"}:
        said.print(_quantities_table(scan))
        said.print()
    failures = scan.failures()
    closing = Table.grid(padding=(0, 2))
    good = scan.points - sum(failures.values())
    closing.add_row(Text("ok", style="bold"), Text(f"{good:,} of {scan.points:,} points"))
    for place, (status, count) in enumerate(failures.items()):
        kept = " (kept)" if status == 5 else ""
        words = f"{count:,} point{'s' * (count != 1)}{kept}: {_labels.STATUSES[status]}"
        closing.add_row(Text("" if place else "not ok", style="bold yellow"), Text(words))
    if "regime" in scan.arrays:
        counts = {word: _count(scan, "regime", code) for code, word in _labels.REGIMES.items()}
        told = ", ".join(f"{word} {count:,}" for word, count in counts.items() if count)
        closing.add_row(Text("regime", style="bold"), Text(told))
    if computed and scan.seconds > 0:
        speed = f"{computed:,} points in {_seconds(scan.seconds)}, {short(computed / scan.seconds)} points/s"
        closing.add_row(Text("time", style="bold"), Text(speed))
    for name, words in _whereabouts(path).items():
        closing.add_row(Text(name, style="bold"), Text(words, overflow="fold"))
    said.print(closing)


def _description(scan: Scan, network: str) -> dict[str, str]:
    given = scan.settings
    size = f"{scan.points:,} point{'s' * (scan.points != 1)}"
    if len(scan.shape) > 1:
        size = f"{' x '.join(map(str, scan.shape))} = {size}"
    data = [f"{name} {given[name]:g}" for name in ("length", "overlap") if name not in scan.axes]
    if "samples" not in scan.axes:
        many = given["samples"]
        data.insert(0, "infinitely many samples" if many is None else f"{many} sample{'s' * (many != 1)}")
    words = {
        "network": network,
        "scan": size,
        "theory": f"{given['theory']}, gradients of the biases {'counted' if given['biases'] else 'left out'}",
        "data": ", ".join(data) or "as varied",
    }
    if "max_learning_rate" in scan.arrays:
        descent = _labels.descent(given, "momentum" not in scan.axes)
        words["learning rate"] = ", ".join([f"loss {given['loss']}", *descent])
    return words


def _table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 2, 0, 0))
    for place, column in enumerate(columns):
        table.add_column(column, justify="right" if column in ("values", "from", "to", "least", "greatest") else "left")
        table.columns[place].overflow = "fold"
    return table


def _axes_table(scan: Scan) -> Table:
    table = _table("axis", "values", "from", "to", "meaning")
    for dimension, names in scan.dimensions.items():
        for name in names:
            values = scan.axes[name]
            paired = "" if names == (dimension,) else f", along {dimension}"
            table.add_row(
                name, str(values.size), f"{values.min():.6g}", f"{values.max():.6g}", f"{_labels.meaning(name)}{paired}"
            )
    return table


def _quantities_table(scan: Scan) -> Table:
    table = _table("quantity", "least", "at", "greatest", "at")
    for name in scan.arrays:
        if scan.store is not None and scan.points > _READ:
            table.add_row(name, "", "not looked for: too many points", "", "")
            continue
        if name == "regime":
            continue
        found = _extremes(scan, name)
        if found is None:
            table.add_row(name, "NaN", "everywhere", "", "")
            continue
        (low, lowest), (high, highest) = found
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
        f"{name}={scan.axes[name][index]:.4g}"
        for names, index in zip(scan.dimensions.values(), place, strict=False)
        for name in names
    ]
    words += [f"layer={index + 1}" for index in place[len(scan.shape) :]]
    return ", ".join(words)


def _seconds(seconds: float) -> str:
    if seconds < 1:
        return f"{1000 * seconds:.3g} ms"
    if seconds < 120:
        return f"{seconds:.3g} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


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


# ---------------------------------------------------------------------------------------------------------------- plot


def picture(out: str | Path) -> Path:
    """Where a figure is to be written."""
    path = Path(out)
    if path.suffix.lower() not in FORMATS:
        raise ValueError(f"--out must end in {', '.join(FORMATS)}, got {str(path)!r}")
    if not path.parent.is_dir():
        raise ValueError(f"--out must lie in an existing folder, got {str(path)!r}")
    return path


def run_plot(file: str, quantity: str | None, select: list[str], out: str) -> None:
    """Draw a scan that was written, and say what was taken of it."""
    with refusing():
        source = Path(file)
        if source.suffix.lower() in (".csv", ".parquet"):
            raise ValueError(f"a scan must be a .zarr store or an .nc file to be drawn, got {file!r}")
        path = picture(out or source.with_suffix(".png"))
        scan = Scan.open(file)
        chosen = selections_of(select)
        drawn = scan.plot(quantity, select=chosen)
        taken, _ = selected(scan, quantity or next(iter(scan.arrays)), chosen)
        with replacing(path) as partial:
            drawn.savefig(partial, dpi=150, format=path.suffix[1:].lower())
    said = console()
    for name, value in taken.items():
        if name in chosen and value != chosen[name]:
            said.print(Text(f"{name} = {value:g} is the nearest to {chosen[name]:g}"))
    missing = scan.failures().get(-1, 0)
    if missing:
        said.print(Text(f"{missing:,} of {scan.points:,} points are not computed yet"))
    said.print(Text(f"{path} written"), soft_wrap=True)
