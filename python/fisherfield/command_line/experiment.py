# SPDX-License-Identifier: BSD-3-Clause
"""`fisherfield experiment`: what it does with the options that `command_line` has read."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager, nullcontext
from importlib.util import find_spec
from multiprocessing.context import SpawnContext, SpawnProcess
from pathlib import Path
from typing import Any

import numpy as np
from rich.text import Text

from .._numbers import choice, integer
from ..scan.files import replacing
from ..scan.scan import bar
from ..threads import num_threads
from .scan import FORMATS
from .terminal import Stopped, console, noting, refusing, terminating

__all__ = ["run_figure2"]

_QUANTITIES = ("test_loss", "train_loss", "test_accuracy", "train_accuracy", "exploded")


def run_figure2(
    out: str, redraw: str | None, quantity: str | None, workers: int | None, force: bool, gammas: int, **arguments: Any
) -> None:
    """Train, write the picture and the numbers behind it, and print the ratios; or draw what was written before."""
    from ..training import experiments

    said = console()
    path = Path(out)
    kept = path.with_suffix(".json")
    try:
        with terminating(), refusing(), noting(said):
            if path.suffix.lower() not in FORMATS:
                raise ValueError(f"--out must end in {', '.join(FORMATS)}, got {out!r}")
            if not path.parent.is_dir():
                raise ValueError(f"--out must lie in an existing folder, got {out!r}")
            if find_spec("matplotlib") is None:  # asked for before hours of training, not after
                raise ImportError("figure2 needs matplotlib: pip install 'fisherfield[plot]'")
            if quantity is not None:
                choice("--quantity", quantity, _QUANTITIES)
            if redraw is not None:
                found = experiments.Figure2.open(redraw)
            else:
                values = np.geomspace(0.25, 4.0, integer("gammas", gammas, 1))
                if kept.exists() and not force:
                    raise ValueError(
                        f"--out must be a new file where there is no --force, got {out!r}, whose numbers are there: "
                        f"draw them with --redraw {kept}"
                    )
                with _pool(workers) as client, bar(said, "cells") if said.is_terminal else nullcontext(False) as heard:
                    found = experiments.figure2(gammas=values, client=client, threads=1, progress=heard, **arguments)
                with replacing(kept) as partial:
                    found.save(partial)
            with replacing(path) as partial:
                found.plot(quantity).savefig(partial, dpi=150, format=path.suffix[1:].lower())
    except KeyboardInterrupt:
        store = arguments.get("store")
        rest = f": the same command goes on from {store}" if store else ": with --store the same command would go on"
        raise Stopped(f"stopped before all was trained{rest}") from None
    said.print(Text(repr(found)), soft_wrap=True)
    said.print()
    written = f"{path} written" if redraw is not None else f"{path} and {kept} written"
    said.print(Text(written), soft_wrap=True)


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
