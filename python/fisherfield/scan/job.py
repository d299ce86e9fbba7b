# SPDX-License-Identifier: BSD-3-Clause
"""The theory over a grid, as it is computed chunk by chunk."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import _core
from ..gaussian import Table
from ..network import Network
from ..theory import calls
from ..theory.one_sample import most_of_variance
from ..theory.settings import Descent, Settings
from ..threads import num_threads
from .by_units import ByUnits
from .chunks import Arrays, Pause, Status, Work
from .grid import Axis, Grid, Slot
from .labels import LAYERED, SCATTER, core_names
from .one_by_one import OneByOne, network_at
from .structure import STRUCTURES, by_network

_MOST_NORMS = 256  # networks whose bound is asked for
_BY_EDGE = {"lambda_max", "max_learning_rate", "outlier", "multiplicity", *SCATTER}


@dataclass(frozen=True, kw_only=True)
class Job(Work):
    """The theory over a grid: with a box's slots it says all that is to be computed."""

    theory: Settings
    descent: Descent
    backend: str
    threads: int
    tables: tuple[Table, ...] = ()
    edge: bool = False
    units: int | None = None
    seed: int = 0
    norms: tuple[
        tuple[Axis, tuple[float, ...]], ...
    ] = ()  # some values of each axis of gamma or beta, where they count

    @property
    def settings(self) -> dict[str, Any]:
        tables = ", ".join(f"{table.activation} at q {table.q[0]:g} to {table.q[1]:g}" for table in self.tables)
        ways = {"backend": self.backend, "tables": tables, "edge": self.edge, "units": self.units, "seed": self.seed}
        return {**self.theory._asdict(), **self.descent._asdict(), **ways}

    def evaluate(self, slots: tuple[Slot, ...], shape: tuple[int, ...], pause: Pause) -> tuple[Arrays, Status]:
        """All quantities at all points of one box."""
        names = list(core_names(self.quantities))
        arrays, status = self._networks(self.network, names, slots, shape, pause)
        if "outlier" not in arrays:
            return arrays, status
        regime = np.where(np.isnan(arrays["outlier"]), -1.0, arrays["outlier"]).astype(np.int8)
        return {
            {"outlier": "regime"}.get(name, name): regime if name == "outlier" else array
            for name, array in arrays.items()
        }, status

    def _core(
        self, network: Network, names: list[str], slots: tuple[Slot, ...], shape: tuple[int, ...], pause: Pause
    ) -> tuple[Arrays, Status]:
        if self.units is not None:
            threads = self.threads or num_threads()
            way = ByUnits(network, self.theory, self.descent, slots, threads, self.units, self.seed)
            return way.evaluate(names, shape, pause)
        scatter = any(name in SCATTER for name in names)
        of_core = [name for name in names if name not in SCATTER] or ["lambda_max"]
        box = (
            *(network, self.theory, self.descent, shape),
            *([(slot.axis.field, slot.axis.layer, slot.broadcast(len(shape))) for slot in slots], of_core),
        )
        edges = self._edges(network, names)
        further = self.edge or scatter
        hear = (lambda _: None) if further else pause  # points are done where they have all their numbers
        if self.backend == "cuda":
            arrays, status = calls.scan(*box, cuda().scan, hear, edges)
        else:
            arrays, status = calls.scan(*box, _core.scan, self.threads, hear, self._tables(network), edges, self.edge)
        if not further:
            return arrays, status
        arrays |= {name: np.full(shape, np.nan) for name in names if name in SCATTER}
        threads = self.threads or num_threads()
        whole = OneByOne(network, self.theory, self.descent, slots, threads, self.edge, scatter)
        whole.fill(arrays, status, pause)
        return {name: arrays[name] for name in names}, status

    def _edges(self, network: Network, names: list[str]) -> float | None:
        """kappa of `most_of_variance`, the most of all gamma and beta; None where no edge is known or asked for."""
        if network._facts.roots is None or self.theory.theory == "wei2019" or not _BY_EDGE.intersection(names):
            return None
        if not _finite(self.grid, self.theory):  # no sample has an eigenvalue of its own
            return 0.0
        if not _by_norms(network, self.grid):
            return most_of_variance(network, self.theory.theory)
        axes = [axis for axis, _ in self.norms]
        if math.prod(len(values) for _, values in self.norms) > _MOST_NORMS:
            return math.inf  # the bound is then that of a sample that has all of a
        points = itertools.product(*(values for _, values in self.norms)) if network._facts.batch_norm else ()
        return max(
            (most_of_variance(network_at(network, axes, point), self.theory.theory) for point in points), default=0.0
        )

    def _tables(self, network: Network) -> list[Any]:
        """Of each affine layer the table of its activation, where no BatchNorm stands between."""
        tables: list[Any] = []
        for step in network.steps if self.tables else ():
            if step.layer.affine:
                tables.append(None)
            elif step.layer.pointwise:
                made = [table._core for table in self.tables if table.activation == step.layer]
                tables[-1] = made[0] if made else None
        return tables

    def _networks(
        self, net: Network, names: list[str], slots: tuple[Slot, ...], shape: tuple[int, ...], pause: Pause
    ) -> tuple[Arrays, Status]:
        """A network for each activation, depth or number of blocks in the box; rows behind the last layer are NaN."""
        if not any(slot.axis.field in STRUCTURES for slot in slots):
            return self._core(net, names, slots, shape, pause)
        layered = [name in LAYERED for name in names]
        arrays = {
            name: np.full((*shape, self.layers) if rows else shape, np.nan)
            for name, rows in zip(names, layered, strict=True)
        }
        status = np.empty(shape, np.int8)
        done = 0

        def within(now: int) -> None:
            pause(done + now)

        for network, dimension, places, rest in by_network(net, slots, self.grid.activations):
            part = tuple(len(places) if place == dimension else extent for place, extent in enumerate(shape))
            part_arrays, state = self._networks(network, names, rest, part, within)
            at: tuple[Any, ...] = (*[slice(None)] * dimension, places)
            for name, rows in zip(names, layered, strict=True):
                if rows:
                    arrays[name][..., : part_arrays[name].shape[-1]][at] = part_arrays[name]
                else:
                    arrays[name][at] = part_arrays[name]
            status[at] = state
            done += state.size
        return arrays, status


def _finite(grid: Grid, theory: Settings) -> bool:
    """Whether some points have finitely many samples."""
    return theory.samples is not None or any(axis.field == "samples" for axis in grid.axes)


def _by_norms(network: Network, grid: Grid) -> bool:
    """Whether points may differ in kappa."""
    return not network._facts.no_scale or any(axis.field == "beta" for axis in grid.axes)


def norms_of(
    networks: Iterable[Network], theory: Settings, grid: Grid, values: Mapping[str, np.ndarray]
) -> tuple[tuple[Axis, tuple[float, ...]], ...]:
    """The axes of gamma and beta, those of single layers last, with some of their values: the ends and 30 between.

    None where kappa is the same for all of them.
    """
    if not _finite(grid, theory) or not any(_by_norms(network, grid) for network in networks):
        return ()
    axes = [axis for axis in sorted(grid.axes, key=lambda axis: axis.layer >= 0) if axis.field in ("gamma", "beta")]
    some = {1: 32, 2: 16, 3: 6}.get(len(axes), 3)
    return tuple((axis, tuple(_some(np.unique(values[axis.name]), some))) for axis in axes)


def _some(values: np.ndarray, count: int) -> list[float]:
    places = np.linspace(0, len(values) - 1, min(count, len(values))).round().astype(int)
    chosen: list[float] = values[places].tolist()
    return chosen


def cuda() -> Any:
    """The module of the CUDA build; refused in a sentence where there is none."""
    from importlib import import_module

    try:
        return import_module(".._cuda", __package__)
    except ImportError:
        raise RuntimeError(
            "backend='cuda' needs a build with CUDA: pip install fisherfield -C cmake.define.FISHERFIELD_CUDA=ON"
        ) from None
