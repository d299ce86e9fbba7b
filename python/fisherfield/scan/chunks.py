# SPDX-License-Identifier: BSD-3-Clause
"""Work over a grid, chunk by chunk: here, in the processes of an executor, or on the workers of a cluster."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..network import Network
from .grid import Box, Grid, Slot
from .store import Store
from .tasks import elsewhere, refuse_other_version

Arrays = dict[str, NDArray[Any]]
Status = NDArray[np.int8]
Pause = Callable[[int], object]


@dataclass(frozen=True, kw_only=True)
class Work:
    """What is the same for all chunks; picklable, for workers have it sent with each."""

    network: Network
    grid: Grid
    chunk: tuple[int, ...]
    quantities: tuple[str, ...]
    version: str
    layers: int = 0  # L, the greatest where the depth varies

    @property
    def settings(self) -> dict[str, Any]:
        """What was computed, as the scan's settings say it."""
        raise NotImplementedError

    def box(self, number: int) -> Box:
        return self.grid.box(self.chunk, number)

    def evaluate(self, slots: tuple[Slot, ...], shape: tuple[int, ...], pause: Pause) -> tuple[Arrays, Status]:
        """All quantities at all points of one box."""
        raise NotImplementedError


def _shape(box: Box) -> tuple[int, ...]:
    return tuple(side.stop - side.start for side in box)


def _work(
    job: Work, number: int, slots: tuple[Slot, ...] | None, path: str | None
) -> tuple[Arrays | None, Status | None]:
    """One chunk on a worker; its arrays come back where there is no store for them."""
    refuse_other_version(job.version)
    box = job.box(number)
    store = None if path is None else Store(path)
    if store is not None:
        if not os.path.isdir(store.path):
            raise FileNotFoundError(f"store must be a folder that workers see by the same path, got {store.path!r}")
        slots = job.grid.slots(box, store.values)
    # A function to call even though nobody listens: Ctrl-C is seen there.
    arrays, status = job.evaluate(slots or (), _shape(box), lambda _: None)
    if store is None:
        return arrays, status
    store.write(box, arrays, status)
    return None, None


def chunks(
    job: Work,
    numbers: list[int],
    values: dict[str, NDArray[np.float64]],
    store: Store | None,
    client: Any,
    pause: Pause,
) -> Iterator[tuple[int, Arrays | None, Status | None]]:
    """Computes the chunks `numbers`, and gives each back when it is done, with its arrays where there is no store.

    `pause` hears within a chunk how many of its points are done, where that can be known.
    """
    if client is None:
        return _here(job, numbers, values, store, pause)
    return _elsewhere(job, numbers, values, store, client)


def _here(
    job: Work, numbers: list[int], values: dict[str, NDArray[np.float64]], store: Store | None, pause: Pause
) -> Iterator[tuple[int, Arrays | None, Status | None]]:
    for number in numbers:
        box = job.box(number)
        slots = job.grid.slots(box, lambda name, part: values[name][part])
        arrays, status = job.evaluate(slots, _shape(box), pause)
        if store is None:
            yield number, arrays, status
        else:
            store.write(box, arrays, status)
            yield number, None, None


def _elsewhere(
    job: Work, numbers: list[int], values: dict[str, NDArray[np.float64]], store: Store | None, client: Any
) -> Iterator[tuple[int, Arrays | None, Status | None]]:
    """On workers, which write to the store themselves or get their part of the axes sent."""
    path = None if store is None else os.path.abspath(store.path)

    def tasks() -> Iterator[tuple[int, tuple[Any, ...]]]:
        for number in numbers:
            slots = None
            if store is None:
                slots = job.grid.slots(job.box(number), lambda name, part: values[name][part])
            yield number, (job, number, slots, path)

    with closing(elsewhere(client, _work, tasks(), 2 if store is None else 64)) as results:
        for number, (arrays, status) in results:
            yield number, arrays, status
