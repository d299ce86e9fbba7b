# SPDX-License-Identifier: BSD-3-Clause
"""`fisherfield experiment`: training beside the theory."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager, nullcontext
from multiprocessing.context import SpawnContext, SpawnProcess
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.text import Text

from .._numbers import choice, integer
from .._optional import optional
from .._progress import bar
from .._words import shown
from ..scan.files import replacing
from ..threads import num_threads
from .options import FORMATS, Loss, Momentum, picture, whole
from .terminal import Stopped, console, noting, refusing, terminating

_QUANTITIES = ("test_loss", "train_loss", "test_accuracy", "train_accuracy", "exploded")
_EPILOG = (
    "\b\nExamples:\n  fisherfield experiment figure2 --out figure2.png\n"
    "  fisherfield experiment figure2 --data fashion-mnist --restarts 1 --store runs --out fashion.png\n"
    "  fisherfield experiment figure2 --redraw figure2.json --quantity train_loss --out again.png"
)


experiment = typer.Typer(
    help="Train networks, and compare with the theory. Needs pip install 'fisherfield[torch,plot,data]'.",
    rich_markup_mode=None,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


@experiment.command(epilog=_EPILOG)
def figure2(
    data: Annotated[
        str,
        typer.Option(
            metavar="NAME|PATH",
            help="digits, fashion-mnist, a folder of IDX files or of CIFAR-10's .bin, or a file .npz.",
        ),
    ] = "digits",
    loss: Loss = "sum",
    momentum: Momentum = 0.9,
    batch: Annotated[str, typer.Option(metavar="N", help="Samples a step, or full.")] = "128",
    epochs: Annotated[
        int, typer.Option(parser=whole, metavar="N", help="Passes over the data; with --batch full, steps.")
    ] = 5,
    train_affine: Annotated[
        bool, typer.Option("--train-affine/--fixed-affine", help="Train gamma and beta, or hold them.")
    ] = False,
    standardize: Annotated[str, typer.Option(metavar="HOW", help="global, feature or none.")] = "global",
    samples: Annotated[
        int | None, typer.Option(parser=whole, metavar="N", help="So many of the data's, at random.  [default: all]")
    ] = None,
    seeds: Annotated[
        int, typer.Option(parser=whole, metavar="N", help="Restarts: the boundary is found for each.")
    ] = 2,
    restarts: Annotated[
        int | None, typer.Option(parser=whole, metavar="N", help="So many of them train every cell.  [default: all]")
    ] = None,
    gammas: Annotated[int, typer.Option(parser=whole, metavar="N", help="Values of gamma, from 0.25 to 4.")] = 9,
    rates: Annotated[int, typer.Option(parser=whole, metavar="N", help="Learning rates.")] = 13,
    width: Annotated[
        int, typer.Option(parser=whole, metavar="N", help="Units of the dense network's hidden layers.")
    ] = 256,
    workers: Annotated[
        int | None,
        typer.Option(parser=whole, metavar="N", help="Processes of one thread each.  [default: as many as cores]"),
    ] = None,
    store: Annotated[
        str | None, typer.Option(metavar="DIR", help="Where cells are kept as they are trained, to go on from.")
    ] = None,
    redraw: Annotated[
        str | None, typer.Option(metavar="FILE", help="Draw the .json that an earlier call has written; train nothing.")
    ] = None,
    quantity: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="test_loss, train_loss, test_accuracy, train_accuracy or exploded.  [default: test_loss, or "
            "train_loss where there is no test split]",
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite numbers that are there.")] = False,
    out: Annotated[
        str, typer.Option(metavar="FILE", help=f"The picture ({', '.join(FORMATS)}); numbers go beside it, in .json.")
    ] = "figure2.png",
) -> None:
    """Figure 2 of Wei, Stokes and Schwab: loss after training over gamma and learning rate.

    Cells where a restart exploded are grey, crosses stand where training explodes by bisection, lines are the largest
    stable learning rates of the three theories. On digits, two cores take less than three minutes.
    """
    with refusing():
        try:
            size: int | str = batch if batch == "full" else whole(batch)
        except typer.BadParameter:
            raise ValueError(f"--batch must be a whole number or full, got {shown(batch)}") from None
    run_figure2(
        out,
        redraw,
        quantity,
        workers,
        force,
        data=data,
        loss=loss,
        momentum=momentum,
        batch=size,
        epochs=epochs,
        train_affine=train_affine,
        standardize=None if standardize.lower() == "none" else standardize,
        samples=samples,
        seeds=seeds,
        restarts=restarts,
        gammas=gammas,
        rates=rates,
        width=width,
        store=store,
    )


def run_figure2(
    out: str, redraw: str | None, quantity: str | None, workers: int | None, force: bool, gammas: int, **arguments: Any
) -> None:
    """Train, write the picture and the numbers behind it, and print the ratios; or draw what was written before."""
    from .. import training

    output = console()
    path = Path(out)
    kept = path.with_suffix(".json")
    try:
        with terminating(), refusing(), noting(output):
            picture(out)
            optional("matplotlib", "figure2 needs matplotlib", "fisherfield[plot]")  # before hours of training
            if quantity is not None:
                choice("--quantity", quantity, _QUANTITIES)
            if redraw is not None:
                figure = training.Figure2.open(redraw)
            else:
                values = np.geomspace(0.25, 4.0, integer("gammas", gammas, 1))
                if kept.exists() and not force:
                    raise ValueError(
                        f"--out must be a new file where there is no --force, got {shown(out)}, whose numbers are "
                        f"there: draw them with --redraw {kept}"
                    )
                with (
                    _pool(workers) as client,
                    bar(output, "cells") if output.is_terminal else nullcontext(False) as hear,
                ):
                    figure = training.figure2(gammas=values, client=client, threads=1, progress=hear, **arguments)
                with replacing(kept) as partial:
                    figure.save(partial)
            with replacing(path) as partial:
                figure.plot(quantity).savefig(partial, dpi=150, format=path.suffix[1:].lower())
    except KeyboardInterrupt:
        store = arguments.get("store")
        rest = f": the same command goes on from {store}" if store else ": with --store the same command would go on"
        raise Stopped(f"stopped before all was trained{rest}") from None
    output.print(Text(repr(figure)), soft_wrap=True)
    output.print()
    written = f"{path} written" if redraw is not None else f"{path} and {kept} written"
    output.print(Text(written), soft_wrap=True)


class _Worker(SpawnProcess):
    """A process that Ctrl-C does not reach, which a terminal sends to all: the one that started it ends it."""

    def start(self) -> None:
        if not hasattr(signal, "pthread_sigmask"):
            super().start()
            return
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # inherited
        try:
            super().start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Workers(SpawnContext):
    Process = _Worker


@contextmanager
def _pool(workers: int | None) -> Iterator[Executor | None]:
    """Processes of one thread each, which small networks are trained fastest by; None for a single one, which is this.

    They are started afresh: a fork of a process that PyTorch's threads live in may stand still.
    """
    count = num_threads() if workers is None else integer("workers", workers, 1, 4096)
    if count == 1:
        yield None
        return
    # Locks of workers that are ended are taken away by a process of multiprocessing's, which need not warn of them.
    before = os.environ.get("PYTHONWARNINGS", "")
    os.environ["PYTHONWARNINGS"] = f"{before},ignore:resource_tracker:UserWarning".removeprefix(",")
    pool = ProcessPoolExecutor(count, mp_context=_Workers())
    try:
        yield pool
    except BaseException:
        for process in list(pool._processes.values()):
            process.terminate()  # a boundary takes minutes; what is in a store is safe at any moment
        raise
    finally:
        pool.shutdown(cancel_futures=True)
        os.environ["PYTHONWARNINGS"] = before
