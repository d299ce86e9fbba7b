# SPDX-License-Identifier: BSD-3-Clause
"""All chunks of some work over a grid: in memory, or in a store that goes on where it was stopped."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._numbers import path_of
from .._progress import Counter, listener
from .attributes import attributes_of, coordinates_of, dimensions_of, named, variables_of
from .chunks import Arrays, Status, Work, chunks
from .grid import Box
from .labels import LAYERED, core_names
from .layout import ACTIVATIONS
from .store import Store
from .table import Scan, from_store
from .tasks import lost


def carried_out(job: Work, values: dict[str, NDArray[np.float64]], store: Any, client: Any, progress: Any) -> Scan:
    """All chunks of a job, here or by a client, in memory or in a store that goes on where it was stopped."""
    grid = job.grid
    count = grid.boxes(job.chunk)
    kept = None if store is None else Store(path_of("store", store))
    result, remaining = _Result(job), dict.fromkeys(range(count))
    try:
        if kept is not None:
            _prepare(kept, job, values)
        begin = time.perf_counter()
        with _in_a_sentence(kept, lambda: (count - len(remaining), count)), listener(progress, "points") as hear:
            counter = Counter(grid.points, hear)
            if kept is not None:
                remaining = dict.fromkeys(kept.unfinished(remaining, job.box))
                if remaining and kept.hold():  # somebody else may have written until now
                    remaining = dict.fromkeys(kept.unfinished(remaining, job.box))
                kept.clear(remaining, job.box)
            counter.begin(grid.points - sum(_points(job, number) for number in remaining))
            for number, arrays, status in chunks(job, list(remaining), values, kept, client, counter.within):
                if arrays is not None and status is not None:
                    result.take(job.box(number), arrays, status)
                del remaining[number]
                counter.add(_points(job, number))
            if kept is not None:
                kept.sweep()
    finally:
        if kept is not None:
            kept.release()
    seconds = time.perf_counter() - begin if counter.done > counter.before else 0.0
    if kept is not None:
        return from_store(kept.path, seconds)
    axes = named(values, grid.activations)
    return Scan(job.network, job.settings, dimensions_of(grid), axes, result.arrays, result.status, seconds)


def _points(job: Work, number: int) -> int:
    return math.prod(side.stop - side.start for side in job.box(number))


class _Result:
    """Arrays in memory: those of the only chunk, or places for all of them."""

    def __init__(self, job: Work) -> None:
        self.shape = job.grid.shape
        self.arrays: dict[str, NDArray[Any]] = {}
        self.status: Any = None

    def take(self, box: Box, arrays: Arrays, status: Status) -> None:
        if status.shape == self.shape:
            self.arrays, self.status = arrays, status
            return
        if self.status is None:
            self.status = np.empty(self.shape, status.dtype)
            for name, array in arrays.items():
                self.arrays[name] = np.empty((*self.shape, *array.shape[len(self.shape) :]), array.dtype)
        for name, array in arrays.items():
            self.arrays[name][box] = array
        self.status[box] = status


def _prepare(store: Store, job: Work, values: dict[str, NDArray[np.float64]]) -> None:
    """The store is made, or found to be this scan's."""
    job.network._to_toml()  # refuses callables: a store must know whose it is
    arrays = tuple(name if name != "outlier" else "regime" for name in core_names(job.quantities))
    dimensions = dimensions_of(job.grid)
    variables = variables_of(tuple(dimensions), arrays)
    layered = any(name in LAYERED for name in arrays)
    coordinates = coordinates_of(dimensions, values, job.layers if layered else 0)
    attributes = attributes_of(job.network, job.settings, dimensions, arrays)
    attributes["chunk"] = list(job.chunk)
    if job.grid.activations:  # a store has numbers alone
        attributes[ACTIVATIONS] = list(job.grid.activations)
    if paired := [name for name, (along, _, _) in coordinates.items() if along != (name,)]:
        attributes["coordinates"] = " ".join(paired)
    empty: dict[str, NDArray[Any]] = {
        name: np.full(job.layers, np.nan) if name in LAYERED else np.array(np.nan) for name in arrays
    }
    empty |= {name: np.array(-1, np.int8) for name in ("regime", "status") if name in variables}
    with _in_a_sentence(store, None):
        store.prepare(
            attributes,
            coordinates,
            {name: (along, empty[name], own) for name, (along, own) in variables.items()},
            job.grid.shape,
            job.chunk,
        )


@contextmanager
def _in_a_sentence(store: Store | None, state: Callable[[], tuple[int, int]] | None) -> Iterator[None]:
    """Turns what goes wrong on disks and with workers into one sentence that says what is left of the scan."""

    def rest() -> str:
        if state is None:
            return "and no scan was begun"
        finished = "{} of {} chunks finished".format(*state())
        if store is None:
            return f"with {finished}: a scan that is to go on later needs a store"
        return f"with {finished}, which stay: the same call goes on from there"

    try:
        yield
    except KeyboardInterrupt:
        if state is None:
            raise
        # Not a class of its own: Python dies of SIGINT, as shells expect, by KeyboardInterrupt itself alone.
        raise KeyboardInterrupt(f"scan stopped {rest()}") from None
    except OSError as error:
        if store is None or error.errno is None:
            raise
        message = f"store {store.path!r} cannot be written ({error.strerror}), {rest()}"
        raise OSError(error.errno, message) from error
    except Exception as error:
        if not lost(error):
            raise
        message = f"a worker process ended abruptly, killed or out of memory, {rest()}"
        raise BrokenExecutor(message) from error
