# SPDX-License-Identifier: BSD-3-Clause
"""The theory over a grid, as it is computed chunk by chunk."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import _core
from ..gaussian import Table
from ..network import Network
from ..theory import calls
from ..theory.settings import Descent, Settings
from .chunks import Arrays, Pause, Status, Work
from .grid import Slot
from .labels import LAYERED, core_names
from .structure import STRUCTURES, by_network


@dataclass(frozen=True, kw_only=True)
class Job(Work):
    """The theory over a grid: with a box's slots it says all that is to be computed."""

    theory: Settings
    descent: Descent
    backend: str
    threads: int
    tables: tuple[Table, ...] = ()

    @property
    def settings(self) -> dict[str, Any]:
        tables = ", ".join(f"{table.activation} at q {table.q[0]:g} to {table.q[1]:g}" for table in self.tables)
        return {**self.theory._asdict(), **self.descent._asdict(), "backend": self.backend, "tables": tables}

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
        box = (
            *(network, self.theory, self.descent, shape),
            *([(slot.axis.field, slot.axis.layer, slot.broadcast(len(shape))) for slot in slots], names),
        )
        if self.backend == "cuda":
            return calls.scan(*box, cuda().scan, pause)
        return calls.scan(*box, _core.scan, self.threads, pause, self._tables(network))

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


def cuda() -> Any:
    """The module of the CUDA build; refused in a sentence where there is none."""
    from importlib import import_module

    try:
        return import_module(".._cuda", __package__)
    except ImportError:
        raise RuntimeError(
            "backend='cuda' needs a build with CUDA: pip install fisherfield -C cmake.define.FISHERFIELD_CUDA=ON"
        ) from None
