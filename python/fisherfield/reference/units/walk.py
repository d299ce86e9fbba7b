# SPDX-License-Identifier: BSD-3-Clause
"""The pass through a network's layers with sampled units from some step on; docs/theory.md, section 12."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple, cast

from ...network import Network
from ...network.layer import Step
from ..arguments import Settings, refuse_large_images
from ..kind import Kind
from ..layers import KINDS
from ..layers.affine import fan_in
from ..layers.depthwise import DEPTHWISE
from ..layers.flatten import over_positions
from ..layers.phi import LINEAR, activation
from ..state import Place, State, inputs
from .state import GROUPS, Sampling, Units, averaged

__all__ = ["GROUPS", "Drawing", "drawing", "walk"]

_BATCH = 32  # samples, up to which a unit's samples are the batch itself
_BATCH_NORMS = 2**12  # the same where a BatchNorm stands on units
_READS = 16  # of a unit, where they are not
_AT_HOME, _CENTRED = 2**16, 2**15  # units times positions of a group; where exact norms centre what units share
_POSITIONS = 2**10  # up to which units are drawn where the closed recursion is nearly exact


class Drawing(NamedTuple):
    """How many units are drawn in each group, and their samples."""

    units: int
    largest: int  # positions of the largest image among them
    of_batch: bool
    reads: int
    seed: int
    inputs: Any = None  # measured second moments of images
    gains: tuple[float, ...] = ()  # of each step, what a frozen BatchNorm's 1/s^2 is multiplied by; none: 1


def drawing(net: Network, settings: Settings, units: Any, seed: int, inputs: Any = None) -> Drawing | None:
    """`units`: "auto", None or how many there are in all; None where the closed recursion does it alone."""
    if units is None or settings.theory == "wei2019":
        return None
    places = [math.prod((step.before if step.layer.affine else step.after)[1:]) for step in net.steps if _drawn(step)]
    largest, n = max(places, default=1), settings.samples
    if units == "auto" and not net.without_recursion and inputs is None:
        nearly = settings.theory == "exact" and bool(net.needs_units)
        if not nearly or net.without_units or largest > _POSITIONS or settings.overlap < 0:
            return None
    if settings.overlap < 0:
        raise ValueError(f"overlap must be >= 0 where units are drawn, got {settings.overlap}")
    on_units = any(
        step.layer.over_batch and step.needs_units and not step.closed_nearly and step.reads != (-1,)
        for step in net.steps
    )
    of_batch = n is not None and n <= (_BATCH_NORMS if on_units else _BATCH) and bool(net.batch_norms)
    if on_units and not of_batch:
        raise ValueError(f"samples must be a number up to {_BATCH_NORMS} where a BatchNorm stands on units, got {n}")
    reads = n if of_batch and n is not None else _READS
    centred = bool(net.batch_norms) and settings.theory == "exact"
    count = _count(units, largest, reads, *((3, _CENTRED) if centred else (5, _AT_HOME)))
    return Drawing(count, largest, of_batch, reads, seed, inputs)


def _count(units: Any, largest: int, reads: int, least: int, numbers: int) -> int:
    """M of a group, even; at home as many as make so many numbers for each sample, and 2^20 for all of them, but
    2^least at least."""
    if units != "auto":
        return max(2, 2 * round(int(units) / (2 * GROUPS)))
    most = min(numbers // largest, 2**20 // (largest * reads))
    return int(2 ** min(max(math.floor(math.log2(max(most, 1))), least), 13))


def _drawn(step: Step) -> bool:
    """Whether units may be drawn of what it gives, or of what it reads where it has weights of single units."""
    return not step.layer.affine or bool(step.needs_units)


def walk(
    net: Network,
    settings: Settings,
    how: Drawing,
    group: int,
    homogeneous: list[bool],
    add: Callable[[int, State, State], None],
) -> State:
    """Every layer maps the states, or units, that it reads. Units become averages where nothing that reads them needs
    more."""
    if net.without_units:
        raise ValueError(net.without_units)
    refuse_large_images(net)
    states: dict[int, State | Units] = {-1: inputs(net, settings.length, settings.overlap, how.inputs)}
    kept = _kept(net.steps)
    source = -1
    for number, step in enumerate(net.steps):
        kind, layer = _kind(step), cast("Any", step.layer)
        source += layer.affine
        at = Place(settings.theory, settings.samples, settings.biases, step.before, max(source, 0), homogeneous[number])
        fed = [states[read] for read in step.reads]
        fed = fed if kind.without_bias else [_whole(each) for each in fed]
        closed = all(isinstance(each, State) for each in fed) and kind.of_averages
        if kind.units is None or closed or (kind.of_averages and not kept[number]):
            read = [averaged(each) for each in fed]
            read = read if kind.takes_gaussian else [_activated(each) for each in read]
            after: State | Units = kind.state(layer, *read, at)
            if layer.affine:
                add(fan_in(layer, step.before), over_positions(read[0]), over_positions(_whole(after)))
        else:
            gain = how.gains[number] if how.gains else 1.0
            sampling = Sampling(
                how.seed, group, number, how.units, how.largest, settings.samples, how.of_batch, how.reads, gain
            )
            after = kind.units(layer, *fed, at, sampling)
            if layer.affine:
                before, behind = _activated(averaged(fed[0])), averaged(after)
                add(fan_in(layer, step.before), over_positions(before), over_positions(behind))
        states[number] = after
    return over_positions(_activated(averaged(_whole(states[len(net.steps) - 1]))))


def _whole(state: Any) -> Any:
    """With the bias in xy; units have it in themselves."""
    return state.whole if isinstance(state, State) else state


def _kind(step: Step) -> Kind:
    return DEPTHWISE if step.layer.affine and step.needs_units else KINDS[type(step.layer)]


def _kept(steps: tuple[Step, ...]) -> list[bool]:
    """Whether anything that reads a step needs its units."""
    kept = [False] * len(steps)
    for number in reversed(range(len(steps))):
        kind = _kind(steps[number])
        if kind.units is not None and (kept[number] or not kind.of_averages):
            for read in steps[number].reads:
                if read >= 0:
                    kept[read] = True
    return kept


def _activated(state: State) -> State:
    return activation(LINEAR, state) if state.gaussian else state
