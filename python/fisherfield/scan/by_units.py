# SPDX-License-Identifier: BSD-3-Clause
"""Points by sampled units: a network for each, with the same seed, so that curves are smooth."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import _core
from ..network import Network
from ..theory import calls
from ..theory import units as sampled_units
from ..theory.fisher import result_of
from ..theory.settings import Descent, Settings
from .chunks import Arrays, Pause, Status
from .grid import Slot
from .labels import LAYERED, REGIMES
from .one_by_one import distinct, in_turn, network_at, settings_at

_REGIMES = {word: code for code, word in REGIMES.items()}
_INADMISSIBLE = 6  # the status of an overlap that goes with no data
_OUT_OF_RANGE = 2
_BEYOND = 5


@dataclass(frozen=True)
class ByUnits:
    """Of one box of points."""

    network: Network
    theory: Settings
    descent: Descent
    slots: tuple[Slot, ...]
    units: int
    seed: int
    threads: int

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
                both = zip(tops, points.speeds(self.descent), strict=True)
                column = np.array([math.nan if math.isnan(top) else self._rate(top, speed) for top, speed in both])
            else:
                column = np.array([values.get(name, none) for _, values in answers], float)[points.which]
            arrays[name] = column.reshape((*shape, *depth))
        status = np.array([status for status, _ in answers], np.int8)[points.which].reshape(shape)
        return arrays, status

    def _rate(self, top: float, momentum: float) -> float:
        return calls.rate_of(top, self.network, self.descent._replace(momentum=momentum))

    def _point(self, row: Sequence[float], names: list[str]) -> tuple[int, dict[str, Any]]:
        """The status and values of one network."""
        axes = [slot.axis for slot in self.slots]
        net, settings = network_at(self.network, axes, row), settings_at(self.theory, axes, row)
        one_sample = settings.samples == 1 and bool(net.batch_norms)
        if one_sample or not 0.0 <= settings.overlap <= settings.length:
            return _INADMISSIBLE, {}
        how = sampled_units.drawing(net, settings, self.units, self.seed, None)
        assert how is not None  # of a number of units
        try:
            passed = sampled_units.passed(net, settings, how, threads=self.threads)
        except _core.Failure as failure:
            return failure.status.value, {}
        except sampled_units.OutOfRange:
            return _OUT_OF_RANGE, {}
        spectrum, error, of_bulk = sampled_units.spectrum_of(net, settings, passed)
        values: dict[str, Any] = {name: column.mean(axis=0) for name, column in passed.rows.items()}
        if {"part_a", "part_b"} & set(names):
            values["part_a"], values["part_b"] = sampled_units.contributions(net, settings, how, self.threads)
        with np.errstate(divide="ignore", invalid="ignore"):
            values["c"] = np.where(values["q"] == 0, 1.0, values["q_xy"] / values["q"])
        result = result_of(net, settings, spectrum, error, of_bulk, how)
        fields = ("lambda_max", "bulk", "mean", "second_moment", "multiplicity", "parameters", "a", "b")
        values |= {name: float(getattr(result, name)) for name in fields} | {"outlier": _REGIMES[result.regime]}
        for name in ("shift", "spread"):
            if name in names:
                values[name] = math.nan if getattr(result, name) is None else getattr(result, name)
        beyond = any(np.isinf(values[name]).any() for name in names if name in values)
        return _BEYOND if beyond else 0, values
