# SPDX-License-Identifier: BSD-3-Clause
"""Points by sampled units: a network for each, with the same seed, so that curves are smooth."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import _core, _numbers
from ..network import Network
from ..theory import units as sampled_units
from ..theory.fisher import result_of
from ..theory.settings import Settings
from .chunks import Arrays, Pause, Status
from .labels import BEYOND_RANGE, INADMISSIBLE, LAYERED, OUT_OF_RANGE, REGIMES
from .one_by_one import Points, distinct, in_turn

_REGIMES = {word: code for code, word in REGIMES.items()}


def units_of(units: Any, backend: str, edge: bool, tables: Any) -> int | None:
    """As `scan` was given them, refused in a sentence beside what goes without units; None: the closed recursion."""
    if units is None:
        return None
    count = _numbers.integer("units", units, 64, 2**20)
    for name, value, alone in (("backend", backend, "cpu"), ("edge", edge, False), ("tables", tables, False)):
        if value != alone:
            allowed = _numbers.shown(alone)
            raise ValueError(f"{name} must be {allowed} where units are drawn, got {_numbers.shown(value)}")
    return count


def announce(
    net: Network, values: Mapping[str, Any], settings: Settings, units: int, seed: int, passes: int, threads: int | None
) -> None:
    """What units of all points take, before any are drawn; refused where they cannot be, for the fewest samples or the
    most."""
    if "overlap" in values:
        settings = settings._replace(overlap=0.0)
    numbers = [float(number) for name, axis in values.items() if name == "samples" for number in axis]
    ends = {min(numbers), max(numbers)} if numbers else {math.inf if settings.samples is None else settings.samples}
    for end in ends:
        at = settings._replace(samples=None if end == math.inf else int(end))
        how = sampled_units.drawing(net, at, units, seed, None)
        assert how is not None  # of a number of units
        sampled_units.announce(net, at, how, passes, threads)


@dataclass(frozen=True)
class ByUnits(Points):
    """How many units, and their seed."""

    units: int
    seed: int

    def evaluate(self, names: list[str], shape: tuple[int, ...], pause: Pause) -> tuple[Arrays, Status]:
        """Each quantity at every point; NaN and a status where there is none."""
        points = distinct(self.slots, np.arange(math.prod(shape)), shape)
        rows = points.rows[points.first, 1:].tolist()

        def work(number: int) -> tuple[int, dict[str, Any]]:
            return self._point(rows[number], names)

        # one after the other: the groups of units of each are the threads' work
        answers = in_turn(work, len(rows), 1, lambda done: pause(math.prod(shape) - len(rows) + done))
        arrays: Arrays = {}
        for name in names:
            depth = (self.network.depth,) if name in LAYERED else ()
            none = np.full(depth, np.nan)
            if name == "max_learning_rate":
                tops = [answers[point][1].get("lambda_max", math.nan) for point in points.which]
                column = np.array(self.rates(tops, points.speeds(self.descent)))
            else:
                column = np.array([values.get(name, none) for _, values in answers], float)[points.which]
            arrays[name] = column.reshape((*shape, *depth))
        status = np.array([status for status, _ in answers], np.int8)[points.which].reshape(shape)
        return arrays, status

    def _point(self, row: Sequence[float], names: list[str]) -> tuple[int, dict[str, Any]]:
        """The status and values of one network."""
        net, settings = self.at(row)
        one_sample = settings.samples == 1 and bool(net.batch_norms)
        if one_sample or not 0.0 <= settings.overlap <= settings.length:
            return INADMISSIBLE, {}
        how = sampled_units.drawing(net, settings, self.units, self.seed, None)
        assert how is not None  # of a number of units
        try:
            passed = sampled_units.passed(net, settings, how, threads=self.threads)
        except _core.Failure as failure:
            return failure.status.value, {}
        except sampled_units.OutOfRange:
            return OUT_OF_RANGE, {}
        spectrum, error, of_bulk = sampled_units.spectrum_of(net, settings, passed)
        values: dict[str, Any] = {name: column.mean(axis=0) for name, column in passed.rows.items()}
        if {"part_a", "part_b"} & set(names):
            values["part_a"], values["part_b"] = sampled_units.contributions(net, settings, how, self.threads)
        with np.errstate(divide="ignore", invalid="ignore"):
            values["c"] = np.where(values["q"] == 0, 1.0, values["q_xy"] / values["q"])
        result = result_of(net, settings, spectrum, error, of_bulk, how, own="shift" in names)
        fields = ("lambda_max", "bulk", "mean", "second_moment", "multiplicity", "parameters", "a", "b")
        values |= {name: float(getattr(result, name)) for name in fields} | {"outlier": _REGIMES[result.regime]}
        for name in ("shift", "spread"):
            if name in names:
                values[name] = math.nan if getattr(result, name) is None else getattr(result, name)
        beyond = any(np.isinf(values[name]).any() for name in names if name in values)
        return BEYOND_RANGE if beyond else 0, values
