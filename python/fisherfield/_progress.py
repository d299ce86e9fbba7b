# SPDX-License-Identifier: BSD-3-Clause
"""How far a long call is: `progress=True` shows it, a function is called with it, False is silent."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from ._numbers import boolean
from ._words import short

Hear = Callable[[int, int], object]  # (done, in all)


def progress_of(progress: Any) -> Any:
    """True, False or a function of (points done, points in all)."""
    return progress if callable(progress) else boolean("progress", progress)


def listener(progress: Any, noun: str) -> AbstractContextManager[Hear]:
    """The callback of (done, in all): a bar, the caller's, or none."""
    hear = progress_of(progress)
    return bar(noun=noun) if hear is True else nullcontext(hear or (lambda done, total: None))


@contextmanager
def bar(console: Any = None, noun: str = "points") -> Iterator[Hear]:
    """The bar of `progress=True`, on standard output or a console of rich's."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (BarColumn(), TextColumn("{task.description}"), TimeRemainingColumn(), TextColumn("left"))
    with Progress(*columns, console=console) as progress:
        yield _Bar(progress, noun)


class _Bar:
    """How many are done, how many a second, and the time that is left."""

    def __init__(self, progress: Any, noun: str) -> None:
        self.progress, self.noun, self.task, self.start, self.before = progress, noun, None, 0.0, 0

    def __call__(self, done: int, total: int) -> None:
        if self.task is None:
            self.start, self.before = time.perf_counter(), done
            self.task = self.progress.add_task("", total=total, completed=done)
        rate = (done - self.before) / max(time.perf_counter() - self.start, 1e-9)
        words = f"{short(done)} of {short(total)} {self.noun}, {short(rate)} {self.noun}/s,"
        self.progress.update(self.task, completed=done, description=words)


class Counter:
    """Counts points of chunks for a listener."""

    def __init__(self, total: int, hear: Hear) -> None:
        self.total, self.hear, self.before, self.done = total, hear, 0, 0

    def begin(self, done: int) -> None:
        """So many were done before."""
        self.before = self.done = done
        self.hear(done, self.total)

    def within(self, points: int) -> None:
        """So many are done of the chunk at work."""
        self.hear(self.done + points, self.total)

    def add(self, points: int) -> None:
        """A chunk is done."""
        self.done += points
        self.hear(self.done, self.total)


@contextmanager
def product_listener(progress: Any) -> Iterator[Callable[[int, float], Any] | None]:
    """The callback of (products, lambda_max so far): a line on standard output, the caller's, or none."""
    progress = progress_of(progress)
    if progress is not True:
        yield progress or None
        return
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    with Progress(SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()) as line:
        task = line.add_task("forward pass")

        def show(count: int, value: float) -> None:
            words = f", lambda_max at least {value:.8g}" if math.isfinite(value) else ""
            line.update(task, description=f"{count} products{words}")

        yield show
