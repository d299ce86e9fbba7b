# SPDX-License-Identifier: BSD-3-Clause
"""`fisherfield scan`: the theory over a grid, into a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

import fisherfield as ff

from .. import _memory
from .._numbers import BACKENDS, THEORIES
from .._progress import bar
from .._words import bytes_in_words
from ..scan.arguments import quantities_of
from ..scan.axis_words import axes_of
from ..scan.files import ENDINGS, destination, write
from ..scan.grid import grid_of
from ..scan.labels import QUANTITIES
from ..scan.scan import result_bytes
from ..scan.structure import most_layers
from .options import Biases, File, Length, Loss, Momentum, Nesterov, Overlap, Samples, Threads, WeightDecay, whole
from .printing import architecture
from .report import print_scan
from .terminal import Stopped, console, noting, refusing, terminating

EPILOG = (
    "\b\nExamples:\n"
    "  fisherfield scan net.toml --axis gamma=0.1:5:200 --axis sigma_w2=0.5:4:100:log\n"
    "  fisherfield scan net.toml --axis gamma=0.1:5:200 --axis samples=16,64,inf\n"
    "  fisherfield scan net.toml --random 1000 --axis gamma=0.1:5 --out scan.csv\n"
    "  fisherfield scan net.toml --points points.csv --quantity q --out scan.nc\n"
    "  fisherfield plot net.zarr"
)


def scan(
    file: File,
    axis: Annotated[
        list[str] | None,
        typer.Option(
            metavar="AXIS", help="What is varied, and by which values (both above); repeated, all combinations."
        ),
    ] = None,
    points: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Paired points: a .csv or .parquet table whose columns have the names of axes, a row for each point.",
        ),
    ] = None,
    random: Annotated[
        int | None,
        typer.Option(
            parser=whole,
            metavar="COUNT",
            help="Random points, 1 or more, from the axes NAME=LOW:HIGH and NAME=LOW:HIGH:log.",
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option(parser=whole, metavar="N", help="The same seed gives the same random points; 0 or more.")
    ] = 0,
    quantity: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help=f"What is computed: {', '.join(QUANTITIES)}; may be repeated.  "
            "[default: lambda_max and max_learning_rate]",
        ),
    ] = None,
    theory: Annotated[str, typer.Option(metavar="NAME", help=f"{', '.join(THEORIES)}.")] = "exact",
    samples: Samples = None,
    overlap: Overlap = 0.0,
    length: Length = 1.0,
    loss: Loss = "sum",
    momentum: Momentum = 0.0,
    nesterov: Nesterov = False,
    weight_decay: WeightDecay = 0.0,
    biases: Biases = None,
    edge: Annotated[
        bool,
        typer.Option(
            "--edge",
            help="Solve for the bulk's edge at the points where a closed bound does not tell that the outlier rules: "
            "0.1 to 20 ms each at four layers.",
        ),
    ] = False,
    units: Annotated[
        int | None,
        typer.Option(
            parser=whole,
            metavar="M",
            help="By so many sampled units at every point, 64 or more, with seed 0: also where there is no closed "
            "recursion.  [default: the closed recursion]",
        ),
    ] = None,
    out: Annotated[
        str,
        typer.Option(
            metavar="FILE",
            help=f"Where to: {', '.join(ENDINGS)}. A .zarr store is written as the scan goes, takes any number of "
            "points, and goes on where it was stopped; the others are written at the end.  [default: NET.zarr]",
        ),
    ] = "",
    force: Annotated[bool, typer.Option("--force", help="Overwrite a file that is there.")] = False,
    threads: Threads = None,
    backend: Annotated[str, typer.Option(metavar="NAME", help=f"{', '.join(BACKENDS)}.")] = "cpu",
    chunk: Annotated[
        int | None,
        typer.Option(
            parser=whole,
            metavar="N",
            help="The most points that are computed and written at a time, 1 or more.  [default: what takes about a "
            "second]",
        ),
    ] = None,
) -> None:
    """Evaluate the theory over a grid of parameters.

    \b
    Names of axes:
      gamma, beta, eps    of every BatchNorm, LayerNorm, ...
      sigma_w2, sigma_b2  variances, of every layer
      scale, rate         of every Residual's branch, of every Dropout
      width, depth        units or channels of hidden layers, and number of
                          layers, where all hidden layers are alike
      blocks              number of Residual blocks that are alike
      samples             whole numbers, inf for infinitely many
      length, overlap     of the data
      momentum            of gradient descent
      'layers[2].gamma'   one of those up to rate in one layer, from 0 on;
                          'layers[1].branch[0].gamma' in a Residual

    \b
    Values of axes:
      gamma=0.1:5:200     200 values from 0.1 to 5, evenly spaced
      gamma=0.1:5:50:log  50 values, evenly spaced in the logarithm
      samples=16,64,inf   these values
      gamma=0.1:5         between 0.1 and 5 for --random; with :log its
                          logarithm is uniform

    Points without a value are NaN, and a status says why. Ctrl-C stops; the same command goes on in a .zarr store.
    """
    run_scan(
        file,
        axes=axis or [],
        points=points,
        random=random,
        seed=seed,
        out=out,
        force=force,
        describe=lambda name, net: f"{name}: {architecture(net)}",
        quantities=tuple(quantity or ("lambda_max", "max_learning_rate")),
        theory=theory,
        samples=samples,
        overlap=overlap,
        length=length,
        biases=biases,
        edge=edge,
        units=units,
        loss=loss,
        momentum=momentum,
        nesterov=nesterov,
        weight_decay=weight_decay,
        threads=threads,
        backend=backend,
        chunk=chunk,
    )


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
    output = console()
    watch = _Watch(output)
    try:
        with terminating(), refusing(), noting(output):
            net = ff.load(file)
            path = watch.path = destination(out or f"{Path(file).stem}.zarr", force)
            axes_by_name = axes_of(net, axes, points, random, seed)
            stored = path.suffix.lower() == ".zarr"
            if not stored:
                _refuse_large(net, axes_by_name, arguments["quantities"], path)
            with watch:
                scan = ff.scan(net, axes_by_name, **arguments, store=path if stored else None, progress=watch)
            if not stored:
                with output.status(f"writing {path}") if output.is_terminal else nullcontext():
                    write(scan, path)
            watch.written = True
            print_scan(output, scan, path, describe(file, net), watch.total - watch.before)
    except KeyboardInterrupt as error:
        raise Stopped(_stopped(error, watch)) from None


def _refuse_large(net: ff.Network, axes: Mapping[Any, Any], quantities: Any, path: Path) -> None:
    """A grid that would take more than half of the memory that is there."""
    grid, values = grid_of(net, axes)
    needed = result_bytes(grid.points, quantities_of(quantities, QUANTITIES), most_layers(net, values))
    there = _memory.available_memory()
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
    counted, chunks, _ = str(error).removeprefix("scan ").partition(" finished")
    if not chunks:
        return f"stopped while {path} was written, which is not there"
    finished = counted + chunks
    if path.suffix.lower() == ".zarr":
        return f"{finished}, which stay in {path}: the same command goes on from there"
    return f"{finished}, {path} was not written: --out {path.with_suffix('.zarr')} would keep them, and go on"


class _Watch:
    """The progress callback of a scan: says where it goes on, and shows the bar on a terminal."""

    def __init__(self, output: Console) -> None:
        self.output, self.path, self.before, self.total, self.written = output, Path(), 0, 0, False
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
                self.output.print(Text(f"{self.path} has all {total:,} points already"), soft_wrap=True)
            elif done:
                self.output.print(
                    Text(f"{self.path} has {done:,} of {total:,} points: the scan goes on"), soft_wrap=True
                )
            if self.output.is_terminal and done < total:
                self.show = self.stack.enter_context(bar(self.output))
        if self.show is not None:
            self.show(done, total)
