# SPDX-License-Identifier: BSD-3-Clause
"""Work over a grid, chunk by chunk: here, in the processes of an executor, or on the workers of a cluster."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .. import _core, _labels
from .._numbers import LOSSES, THEORIES
from ..gaussian import Table
from ..network import Network
from .grid import Box, Grid, Slot, by_depth, with_depth
from .store import Store
from .tasks import elsewhere, refuse_other_version

__all__ = ["Arrays", "Job", "Pause", "Status", "Work", "chunks", "cuda"]

Arrays = dict[str, NDArray[Any]]
Status = NDArray[np.int8]
Pause = Callable[[int], object]


class Work(Protocol):
    """What is the same for all chunks; picklable, for workers have it sent with each."""

    @property
    def network(self) -> Network: ...
    @property
    def grid(self) -> Grid: ...
    @property
    def chunk(self) -> tuple[int, ...]: ...
    @property
    def settings(self) -> dict[str, Any]: ...
    @property
    def quantities(self) -> tuple[str, ...]: ...
    @property
    def layers(self) -> int: ...
    @property
    def version(self) -> str: ...
    def box(self, number: int) -> Box: ...
    def evaluate(self, slots: tuple[Slot, ...], shape: tuple[int, ...], pause: Pause) -> tuple[Arrays, Status]:
        """All quantities at all points of one box."""
        ...


@dataclass(frozen=True)
class Job:
    """The theory over a grid: with a box's slots it says all that is to be computed."""

    network: Network
    grid: Grid
    chunk: tuple[int, ...]
    settings: dict[str, Any]
    quantities: tuple[str, ...]
    layers: int  # L, the greatest where the depth varies
    threads: int
    version: str
    tables: tuple[Table, ...] = ()

    def box(self, number: int) -> Box:
        return self.grid.box(self.chunk, number)

    def evaluate(self, slots: tuple[Slot, ...], shape: tuple[int, ...], pause: Pause) -> tuple[Arrays, Status]:
        """All quantities at all points of one box."""
        names = list(_labels.core_names(self.quantities))
        found: Arrays
        if any(slot.axis.field == "depth" for slot in slots):
            found, status = self._depths(names, slots, shape, pause)
        else:
            found, status = self._core(self.network, names, slots, shape, pause)
        if "outlier" not in found:
            return found, status
        regime = np.where(np.isnan(found["outlier"]), -1.0, found["outlier"]).astype(np.int8)
        return {
            {"outlier": "regime"}.get(name, name): regime if name == "outlier" else array
            for name, array in found.items()
        }, status

    def _core(
        self, network: Network, names: list[str], slots: tuple[Slot, ...], shape: tuple[int, ...], pause: Pause
    ) -> tuple[Arrays, Status]:
        given = self.settings
        arguments = (
            network._compiled,
            THEORIES.index(given["theory"]),
            given["biases"],
            LOSSES.index(given["loss"]),
            (
                float(given["samples"] or 0),
                *(given[name] for name in ("overlap", "length", "momentum", "nesterov", "weight_decay")),
            ),
            list(shape),
            [(slot.axis.field, slot.axis.layer, slot.broadcast(len(shape))) for slot in slots],
            names,
        )
        if given["backend"] == "cuda":
            arrays, status = cuda().scan(*arguments, pause)
        else:
            arrays, status = _core.scan(*arguments, self.threads, pause, self._tables(network))
        return dict(arrays), status

    def _tables(self, network: Network) -> list[Any]:
        """Of each affine layer the table of its activation, where no BatchNorm stands between."""
        found: list[Any] = []
        for layer in network.layers if self.tables else ():
            if layer.affine:
                found.append(None)
            elif layer.pointwise:
                made = [table._core for table in self.tables if table.activation == layer]
                found[-1] = made[0] if made else None
        return found

    def _depths(
        self, names: list[str], slots: tuple[Slot, ...], shape: tuple[int, ...], pause: Pause
    ) -> tuple[Arrays, Status]:
        """A network for each depth in the box; rows behind the last layer are NaN."""
        layered = [name in _labels.LAYERED for name in names]
        arrays = {
            name: np.full((*shape, self.layers) if rows else shape, np.nan)
            for name, rows in zip(names, layered, strict=True)
        }
        status = np.empty(shape, np.int8)
        done = 0

        def within(now: int) -> None:
            pause(done + now)

        for depth, dimension, places, rest in by_depth(slots):
            part = tuple(len(places) if place == dimension else extent for place, extent in enumerate(shape))
            found, state = self._core(with_depth(self.network, depth), names, rest, part, within)
            at: tuple[Any, ...] = (*[slice(None)] * dimension, places)
            for name, rows in zip(names, layered, strict=True):
                if rows:
                    arrays[name][..., :depth][at] = found[name]
                else:
                    arrays[name][at] = found[name]
            status[at] = state
            done += state.size
        return arrays, status


def cuda() -> Any:
    """The module of the CUDA build; refused in a sentence where there is none."""
    from importlib import import_module

    try:
        return import_module(".._cuda", __package__)
    except ImportError:
        raise RuntimeError(
            "backend='cuda' needs a build with CUDA: pip install fisherfield -C cmake.define.FISHERFIELD_CUDA=ON"
        ) from None


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
