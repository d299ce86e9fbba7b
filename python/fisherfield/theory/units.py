# SPDX-License-Identifier: BSD-3-Clause
"""Sampled units, where a closed recursion is not exact: how many are drawn, and what their passes give."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np

from .. import _core, _numbers
from .._memory import available_memory
from .._warn import warn
from .._words import bytes_in_words, hours_in_words, shown
from ..network import Network
from ..network.layer import Step
from ..threads import num_threads, one_blas_thread
from . import calls
from .inputs import Covariances
from .settings import Settings

if TYPE_CHECKING:
    from .._core import Spectrum

GROUPS = 4  # each a pass by itself: how they differ is the sampling error
_BATCH = 32  # samples, up to which those of a unit are the batch itself
_BATCH_NORMS = 2**12  # the same where a BatchNorm stands on units, whose statistics are their own
_READS = 16  # of a unit, where they are not
_WORK, _EXACT, _NUMBERS = 2**16, 2**15, 2**20  # of a group: units times positions, and these times a unit's samples
_PRODUCTS, _WRITTEN = 6e10, 2e9  # a second on one core, as measured on one machine
_PATIENCE = 60.0  # seconds, beyond which a call says how long it will take
_FEWEST, _MOST = 2**5, 2**13  # units of a group
_POSITIONS = 2**10  # of the largest image, up to which units are drawn where a closed recursion is nearly exact


Answer = TypeVar("Answer")


class OutOfRange(ValueError):
    """Numbers that float32 does not hold, in which units are drawn."""


class Drawing(NamedTuple):
    """How units are drawn, for each group: how many where images are largest, and their samples."""

    units: int
    largest: int  # positions
    of_batch: bool  # the samples are the batch, whose statistics BatchNorm takes
    reads: int
    seed: int
    memory: float | None = None  # bytes that may be taken
    inputs: Covariances | None = None  # of the inputs' positions; None: they are independent
    gains: tuple[float, ...] = ()  # of each step, what a frozen BatchNorm's 1/s^2 is multiplied by; none: 1


def drawing(
    net: Network, settings: Settings, units: Any, seed: Any, memory: Any, inputs: Covariances | None = None
) -> Drawing | None:
    """As `fisher` was given them; None where the closed recursion has the number. Refused in a sentence."""
    seed = _numbers.seed_of(seed)
    if inputs is None and memory is None and not net.needs_units and isinstance(units, str) and units == "auto":
        return None
    memory = None if memory is None else _numbers.positive("memory", memory)
    if inputs is not None and (units is None or settings.theory == "wei2019"):
        raise ValueError(
            "inputs must be left out for the closed recursion (units=None, wei2019), whose images have independent "
            "positions: give their overlap and length alone"
        )
    if units is None:
        return None
    nearly = False  # exact, the closed recursion is, and units need not be drawn at any cost
    if isinstance(units, str):
        if units != "auto":
            raise ValueError(f"units must be 'auto', None or a whole number, got {shown(units)}")
        nearly = not net.without_recursion and inputs is None
        closed = not net.needs_units or (nearly and settings.theory != "exact")
        if settings.theory == "wei2019" or (inputs is None and closed):
            return None
        count = None
    else:
        count = _numbers.integer("units", units, 64, 2**20)
        if settings.theory == "wei2019":
            raise ValueError("units must be 'auto' or None for the theory wei2019, which is a published recursion")
    if net.without_units and not nearly:
        raise ValueError(net.without_units)
    largest = max(map(_positions, net.steps))
    n = settings.samples
    if nearly and (net.without_units or largest > _POSITIONS or settings.overlap < 0):
        return None
    if settings.overlap < 0:
        raise ValueError(
            f"overlap must be >= 0 where units are drawn, whose common part has it for a variance, got "
            f"{shown(settings.overlap)}"
        )
    on_units = next(
        (step for step in net.steps if step.layer.over_batch and step.needs_units and not step.closed_nearly), None
    )
    most = _BATCH if on_units is None else _BATCH_NORMS
    of_batch = n is not None and n <= most and bool(net.batch_norms)
    if on_units is not None and not of_batch and on_units.reads != (-1,):
        raise ValueError(
            f"samples must be a number up to {most} where a BatchNorm stands on units that are not Gaussian, as in "
            f"{on_units.where}, got {n}"
        )
    reads = n if of_batch and n is not None else _READS
    if count is not None:
        of_group = max(2, 2 * round(count / (2 * GROUPS)))
    else:
        # exact norms centre what units share, and frozen ones or none do not: they need more units
        centred = bool(net.batch_norms) and settings.theory == "exact"
        many = max(min((_EXACT if centred else _WORK) // largest, _NUMBERS // (largest * reads)), 1)
        fewest = _FEWEST // 4 if centred else _FEWEST
        of_group = min(max(2 ** int(math.log2(many)), fewest), _MOST)
    how = Drawing(of_group, largest, of_batch, reads, seed, memory, inputs)
    return None if nearly and not _fits(net, settings, how)[0] else how


def _positions(step: Step) -> int:
    """Of the image that units may be drawn of at a step: what it gives, or reads where units keep their own weights."""
    if step.layer.affine:
        return math.prod(step.before[1:]) if step.needs_units else 1
    return math.prod(step.after[1:])


def seconds_of(needs: _core.UnitNeeds) -> float:
    """About how long one group's pass takes on one core: off by a factor of 2 from one machine to another."""
    return needs.products / _PRODUCTS + needs.written / _WRITTEN


def _fits(net: Network, settings: Settings, how: Drawing) -> tuple[bool, _core.UnitNeeds, float]:
    """Whether one group's pass fits into memory, what it takes, and the bytes that there are."""
    needs = _core.unit_needs(net._of_units, settings, how)
    there = how.memory if how.memory is not None else available_memory() if needs.bytes > 1e8 else None
    room = math.inf if there is None else float(there)
    return needs.bytes <= room, needs, room


def passes(
    net: Network, settings: Settings, how: Drawing, only: int = -1, times: int = 1, threads: int = 0
) -> _core.UnitPasses:
    """Those of all groups; refused in a sentence."""
    try:
        return passed(net, settings, how, only, times, threads)
    except _core.Failure as failure:
        raise calls.refused(net, failure, settings.overlap) from None


def passed(
    net: Network, settings: Settings, how: Drawing, only: int = -1, times: int = 1, threads: int = 0
) -> _core.UnitPasses:
    """Those of all groups, by as many threads as memory has room for, up to `threads` (0: all there are). What will
    take more than a minute, `times` over, is said before it starts. Raises the core's Failure, and OutOfRange."""
    threads = announce(net, settings, how, times, threads)
    out: _core.UnitPasses | None = None
    with one_blas_thread(), suppress(OverflowError):  # of covariances, and the answer is then none
        out = _core.unit_passes(net._of_units, settings, how, threads, only)
    if out is None or not all(np.isfinite(numbers).all() for numbers in (out.o, out.d, *out.rows.values())):
        way = "" if net.without_recursion or how.inputs is not None else ": units=None takes the closed recursion"
        raise OutOfRange(f"net must keep its numbers within float32's range where units are drawn, and does not{way}")
    return out


def announce(net: Network, settings: Settings, how: Drawing, times: int, threads: int | None = None) -> int:
    """By how many threads passes go; says what takes more than a minute, and refuses what does not fit into memory."""
    fits, needs, there = _fits(net, settings, how)
    needed = needs.bytes
    if not fits:
        side = max(math.prod(step.before[1:]) for step in net.steps) ** 0.5
        raise ValueError(
            f"net must fit into memory: sampled units of {how.largest:,} positions take up to "
            f"{bytes_in_words(needed)}, more than the {bytes_in_words(there)} "
            f"{'of memory=' if how.memory is not None else 'there are'}; "
            f"images of about {int(side * (there / needed) ** 0.25)} positions a side would fit"
        )
    threads = int(min(threads or num_threads(), GROUPS, there // needed))
    wait = times * seconds_of(needs) * math.ceil(GROUPS / threads)
    if wait > _PATIENCE:
        warn(
            f"sampled units of {how.largest:,} positions will take about {hours_in_words(wait)} in "
            f"{threads} thread{'s' * (threads != 1)} of up to {bytes_in_words(needed)} each"
        )
    return threads


def spectrum(net: Network, settings: Settings, how: Drawing) -> tuple[Spectrum, float, float]:
    """The numbers of `fisher` by means over groups, the error of lambda_max, and that of a - b relative to it."""
    return spectrum_of(net, settings, passes(net, settings, how))


def attempted(
    ask: Callable[[Network, Settings, Drawing], Answer], net: Network, settings: Settings, how: Drawing, units: Any
) -> Answer | None:
    """What is asked of units, or None where they are out of range and "auto" may take the closed recursion instead."""
    try:
        return ask(net, settings, how)
    except OutOfRange:
        if isinstance(units, str) and not net.without_recursion and how.inputs is None:
            return None
        raise


def spectrum_of(net: Network, settings: Settings, passed: _core.UnitPasses) -> tuple[Spectrum, float, float]:
    """The same of what was passed."""

    def of(o: float, d: float) -> Spectrum:
        return _core.spectrum(o, d, float(net.outputs), float(net._counts[settings.biases]), settings)

    def error(values: Any) -> float:
        return float(np.std(values, ddof=1) / math.sqrt(GROUPS))

    each = [of(o, d).lambda_max for o, d in zip(passed.o.tolist(), passed.d.tolist(), strict=True)]
    d = float(np.mean(passed.d))
    return of(float(np.mean(passed.o)), d), error(each), error(passed.d) / d if d > 0.0 else 0.0


def contributions(net: Network, settings: Settings, how: Drawing, threads: int = 0) -> tuple[Any, Any]:
    """Each affine layer's part of a and of b; a pass each."""
    parts = [passes(net, settings, how, layer, 1 if layer else net.depth, threads) for layer in range(net.depth)]
    return np.array([np.mean(part.o + part.d) for part in parts]), np.array([np.mean(part.o) for part in parts])
