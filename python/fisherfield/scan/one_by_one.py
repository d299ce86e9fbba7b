# SPDX-License-Identifier: BSD-3-Clause
"""Points that go network by network: where the bulk's edge may rule, and what networks of a point's widths scatter by.

A point's network is made as `Network.replace` makes it, and asked as `fisher` asks it, so that the numbers are its.
"""

from __future__ import annotations

import itertools
import math
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent import futures  # its pools are imported where they are used
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..network import Network
from ..network.layer import Layer
from ..theory import calls
from ..theory.edge import rule_of
from ..theory.fisher import result_of
from ..theory.settings import Descent, Settings
from .chunks import Arrays, Pause, Status
from .grid import Axis, Slot
from .labels import EDGE_OPEN, REGIMES, SCATTER

_REGIMES = {word: code for code, word in REGIMES.items()}
_NUMBERS = ("lambda_max", "outlier", "multiplicity", *SCATTER, "status")


@dataclass(frozen=True)
class Points:
    """A box of points, each a network and its data."""

    network: Network
    theory: Settings
    descent: Descent
    slots: tuple[Slot, ...]
    threads: int

    def at(self, values: Sequence[float]) -> tuple[Network, Settings]:
        """Those of the point with these values of the axes."""
        axes = [slot.axis for slot in self.slots]
        return network_at(self.network, axes, values), settings_at(self.theory, axes, values)

    def rates(self, tops: Iterable[float], speeds: Iterable[float]) -> list[float]:
        """The largest stable rate for each lambda_max and momentum; NaN for NaN."""
        both = zip(tops, speeds, strict=True)
        return [
            math.nan if math.isnan(top) else calls.rate_of(top, self.network, self.descent._replace(momentum=speed))
            for top, speed in both
        ]


@dataclass(frozen=True)
class OneByOne(Points):
    """Whether edges are solved for, and shift and spread are asked for."""

    edge: bool
    scatter: bool

    def fill(self, arrays: Arrays, status: Status, pause: Pause) -> None:
        """Replaces the numbers of points where another rule than the outlier may hold, and adds what is asked for."""
        states = status.reshape(-1)
        flat = {name: array.reshape(-1) for name, array in arrays.items() if name in (*_NUMBERS, "max_learning_rate")}
        wanted = (states == 0) | (states == EDGE_OPEN) if self.scatter else (states == EDGE_OPEN) & self.edge
        places = np.flatnonzero(wanted)
        if not places.size:
            return
        points = distinct(self.slots, places, status.shape)
        is_open = states[places] == EDGE_OPEN
        count = len(points.first)
        before = status.size - count

        def work(number: int) -> tuple[float, ...]:
            row = int(points.first[number])
            return self._numbers(points.rows[row, 1:].tolist(), bool(is_open[row]))

        answers = np.array(in_turn(work, count, self.threads, lambda done: pause(before + done)))[points.which]
        numbers = dict(zip(_NUMBERS, answers.T, strict=True))
        for name in SCATTER:
            if name in flat:
                flat[name][places] = numbers[name]
        states[places[is_open]] = numbers["status"][is_open]
        changed = ~np.isnan(numbers["lambda_max"])
        for name in ("lambda_max", "outlier", "multiplicity"):
            if name in flat:
                flat[name][places[changed]] = numbers[name][changed]
        if "max_learning_rate" in flat:
            speeds = np.array(points.speeds(self.descent))
            rates = self.rates(numbers["lambda_max"][changed].tolist(), speeds[changed].tolist())
            flat["max_learning_rate"][places[changed]] = rates

    def _numbers(self, values: Sequence[float], is_open: bool) -> tuple[float, ...]:
        """lambda_max, the regime and the multiplicity where another rule holds, else NaN; shift, spread; the status."""
        net, settings = self.at(values)
        spectrum = calls.spectrum(net, settings)
        rule = rule_of(net, settings, spectrum) if self.edge else None
        top = regime = multiplicity = shift = spread = math.nan
        if rule is not None and rule.lambda_max > 0.0 and rule.lambda_max != spectrum.lambda_max:
            top, regime = rule.lambda_max, _REGIMES[rule.regime]
            multiplicity = min(net.outputs, net._counts[settings.biases])
        if self.scatter:
            result = result_of(net, settings, spectrum, rule=rule)
            shift = math.nan if result.shift is None else result.shift
            spread = math.nan if result.spread is None else result.spread
        return top, regime, multiplicity, shift, spread, EDGE_OPEN if is_open and rule is None else 0


@dataclass(frozen=True)
class Distinct:
    """Points whose networks and data differ: momentum makes no other ones."""

    rows: np.ndarray  # every place's values, behind a 0
    first: np.ndarray  # of each distinct one the first place
    which: np.ndarray  # each place's distinct one
    momentum: int  # its column; 0 where it is no axis

    def speeds(self, descent: Descent) -> list[float]:
        """Every place's momentum."""
        return [float(row[self.momentum]) if self.momentum else descent.momentum for row in self.rows]


def distinct(slots: Sequence[Slot], places: np.ndarray, shape: tuple[int, ...]) -> Distinct:
    """Those at these places of a box, by their number in it."""
    index = np.unravel_index(places, shape) if shape else ()
    columns = [slot.values[index[slot.axis.dimension]] for slot in slots]
    rows = np.stack([np.zeros(places.size), *columns], axis=1)
    momentum = [column for column, slot in enumerate(slots, 1) if slot.axis.field == "momentum"]
    single, which = np.unique(np.delete(rows, momentum, axis=1), axis=0, return_inverse=True)
    first = np.full(len(single), len(rows))
    np.minimum.at(first, which.ravel(), np.arange(len(rows)))
    return Distinct(rows, first, which.ravel(), momentum[-1] if momentum else 0)


def network_at(net: Network, axes: Sequence[Axis], values: Sequence[float]) -> Network:
    """The network of one point."""
    for axis, value in zip(axes, values, strict=True):
        if axis.field == "width":
            net = net.with_widths([int(value)] * (net.depth - 1))
        elif axis.field not in ("momentum", *Settings._fields):
            net = Network(net.input_shape, _with(net.layers, axis, value))
    return net


def _with(layers: tuple[Layer, ...], axis: Axis, value: float) -> tuple[Layer, ...]:
    """With the field of every layer that has it, or of one by its number."""
    numbers = itertools.count()

    def changed(leaf: Layer) -> Layer:
        here = next(numbers)
        return leaf.replaced(axis.field, value) if axis.layer in (-1, here) and leaf.has(axis.field) else leaf

    return tuple(new for layer in layers if (new := layer.mapped(changed)) is not None)


def settings_at(theory: Settings, axes: Sequence[Axis], values: Sequence[float]) -> Settings:
    """What is assumed of the data at one point; 0 samples are infinitely many."""
    varied: dict[str, Any] = {
        axis.field: value for axis, value in zip(axes, values, strict=True) if axis.field in Settings._fields
    }
    if "samples" in varied:
        varied["samples"] = int(varied["samples"]) or None
    return theory._replace(**varied)


def in_turn(work: Callable[[int], Any], count: int, threads: int, hear: Callable[[int], object]) -> list[Any]:
    """[work(0), .., work(count - 1)], by so many threads; `hear(done)` is called by this one, which Ctrl-C ends."""
    results: list[Any] = [None] * count
    numbers, done = iter(range(count)), itertools.count(1)
    lock, stop = threading.Lock(), threading.Event()
    finished = [0]

    def taken() -> Iterator[int]:
        while not stop.is_set():
            with lock:
                number = next(numbers, None)
            if number is None:
                return
            yield number

    def run(tell: Callable[[int], object]) -> None:
        for number in taken():
            results[number] = work(number)
            with lock:
                finished[0] = next(done)
            tell(finished[0])

    if min(threads, count) < 2:
        run(hear)
        return results
    with futures.ThreadPoolExecutor(min(threads, count)) as pool:
        runs = [pool.submit(run, lambda _: None) for _ in range(min(threads, count))]
        try:
            while futures.wait(runs, timeout=0.1, return_when=futures.FIRST_EXCEPTION).not_done:
                hear(finished[0])
                for future in runs:
                    if future.done():
                        future.result()
        finally:
            stop.set()
        for future in runs:
            future.result()
    return results
