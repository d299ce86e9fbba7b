# SPDX-License-Identifier: BSD-3-Clause
"""The forward pass through all layers: lengths, overlaps and the tangent kernel, layer by layer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any, cast

import numpy as np

from ..network import Activation, Network
from ..network.layer import Step
from . import wei2019
from .arguments import Settings, moments_of, refuse_large_images, settings_of, units_of
from .layers import KINDS
from .layers.affine import fan_in
from .layers.flatten import over_positions
from .layers.phi import LINEAR, activation
from .state import Place, State, inputs
from .units import walk as units_walk

__all__ = ["OrderParameters", "Pass", "forward", "order_parameters", "sampled_passes"]


@dataclass(frozen=True)
class OrderParameters:
    """One entry per affine layer l = 1 .. L; for convolutions means over positions."""

    fan_in: np.ndarray  # N_{l-1}; of a convolution channels times taps
    q_hat: np.ndarray  # q_hat^{l-1}: length of what feeds layer l
    q_hat_xy: np.ndarray  # its overlap
    v_hat: np.ndarray  # q_hat - q_hat_xy
    q: np.ndarray  # length of the pre-activation z^l
    q_xy: np.ndarray
    v: np.ndarray  # q - q_xy
    theta: np.ndarray  # D, the tangent kernel's diagonal after layer l
    theta_xy: np.ndarray  # o, its off-diagonal
    d: np.ndarray  # D - o


@dataclass(frozen=True)
class Pass:
    """What the forward pass leaves: the rows, and the output's D, o, d by the affine layer they come from."""

    rows: OrderParameters
    D: np.ndarray
    o: np.ndarray
    d: np.ndarray


def order_parameters(
    net: Network,
    theory: str = "exact",
    overlap: float = 0.0,
    length: float = 1.0,
    *,
    samples: int | None = None,
    biases: bool | None = None,
    units: Any = "auto",
    seed: int = 0,
    memory: float | None = None,
    inputs: Any = None,
) -> OrderParameters:
    """Lengths q, overlaps q_xy and tangent kernel (D, o) of every affine layer; of units their means."""
    overlap, length, inputs = moments_of(net, inputs, overlap, length)
    settings = settings_of(net, theory, samples, overlap, length, biases, units is not None)
    how = units_walk.drawing(net, settings, *units_of(units, seed, memory), inputs)
    if how is None:
        return forward(net, settings).rows
    rows = [passed.rows for passed in sampled_passes(net, settings, how)]
    names = (field.name for field in fields(OrderParameters))
    return OrderParameters(**{name: np.mean([getattr(row, name) for row in rows], axis=0) for name in names})


Change = Callable[[int, State, State], State]


def forward(net: Network, settings: Settings, change: Change | None = None) -> Pass:
    """One pass through the layers (docs/theory.md, section 4, "The definition"; images: section 5).

    change(number, fed, state) has a step's state, and what fed it, and gives what goes on in its place; of the exact
    and the frozen theory.
    """
    walk = wei2019.walk if settings.theory == "wei2019" else partial(_walk, change=change)
    return _passed(lambda add: walk(net, settings, add))


def sampled_passes(net: Network, settings: Settings, how: units_walk.Drawing) -> list[Pass]:
    """One pass for each group of units (section 12)."""
    homogeneous = _homogeneous(net.steps)

    def passed(group: int) -> Pass:
        return _passed(lambda add: units_walk.walk(net, settings, how, group, homogeneous, add))

    return [passed(group) for group in range(units_walk.GROUPS)]


def _passed(walk: Callable[[Callable[[int, State, State], None]], State]) -> Pass:
    rows: list[tuple[Any, ...]] = []

    def add(fan: int, fed: State, z: State) -> None:
        sums = (float(np.sum(part)) for part in (z.D, z.o, z.d))
        rows.append((fan, fed.q, fed.xy, fed.v, z.q, z.xy, z.v, *sums))

    end = walk(add)
    return Pass(OrderParameters(*(np.array(column) for column in zip(*rows, strict=True))), end.D, end.o, end.d)


def outputs_of(net: Network, settings: Settings) -> State:
    """The outputs' state, without their mean."""
    last: list[State] = []

    def add(fan: int, fed: State, z: State) -> None:
        last.append(z)

    def change(number: int, fed: State, state: State) -> State:
        last.append(over_positions(state))
        return state

    if settings.theory == "wei2019":
        wei2019.walk(net, settings, add)
    else:
        _walk(net, settings, add, change)
    return last[-1]


# Of which units, or channels, by number, a state is; each is in one. None: of all of them.
Units = list[tuple[Any, State]]


def _walk(
    net: Network, settings: Settings, add: Callable[[int, State, State], None], change: Change | None = None
) -> State:
    """The exact and the frozen theory: every layer maps the states that it reads. Where no phi stands it is the
    identity."""
    refuse_large_images(net)
    states: dict[int, Units] = {-1: [(None, inputs(net, settings.length, settings.overlap))]}  # still to be read
    last_reader = {read: number for number, step in enumerate(net.steps) for read in step.reads}
    homogeneous = _homogeneous(net.steps)
    source = -1
    for number, step in enumerate(net.steps):
        kind = KINDS[type(step.layer)]
        fed = [states[read] for read in step.reads]
        if not kind.without_bias:
            fed = [[(some, state.whole) for some, state in units] for units in fed]
        if not kind.takes_gaussian:
            fed = [_mapped(units, lambda _, *state: _activated(*state)) for units in fed]
        source += step.layer.affine
        n, biases = settings.samples, settings.biases
        at = Place(settings.theory, n, biases, step.before, max(source, 0), homogeneous[number])
        after = _of_step(step, fed, lambda layer, *state: kind.state(layer, *state, at))  # noqa: B023
        if change is not None:
            after = [(units, change(number, fed[0][0][1], state.whole)) for units, state in after]
        if step.layer.affine:
            add(
                fan_in(cast("Any", step.layer), step.before),
                over_positions(fed[0][0][1]),
                over_positions(after[0][1].whole),
            )
        states[number] = after
        for read in set(step.reads):
            if last_reader[read] == number:
                del states[read]
    (_, end), *_ = _mapped(after, lambda _, state: _activated(state.whole))
    return over_positions(end)


def _activated(state: State) -> State:
    return activation(LINEAR, state) if state.gaussian else state


def _of_step(step: Step, fed: list[Units], of: Callable[..., State]) -> Units:
    """Units that have gammas and betas of their own are mapped by theirs; branches of a sum meet unit by unit."""
    layer: Any = step.layer
    units = fed[0]
    if len(fed) > 1:
        pairs = [(_common(one, other), first, second) for one, first in fed[0] for other, second in fed[1]]
        return [(some, of(layer, first, second)) for some, first, second in pairs if some is None or some.size]
    if not getattr(layer, "of_each", False):
        return _mapped(units, of, layer)
    numbers = {name: np.broadcast_to(getattr(layer, name), step.before[0]) for name in layer.own.values()}
    _, owners = np.unique(np.stack(list(numbers.values())), axis=1, return_inverse=True)
    out = []
    for one in range(owners.max() + 1):
        same = np.flatnonzero(owners == one)
        equal = replace(layer, **{name: float(values[same[0]]) for name, values in numbers.items()})
        out += [(_common(some, same), of(equal, state)) for some, state in units if _common(some, same).size]
    return _averaged(out)


def _common(one: Any, other: Any) -> Any:
    return other if one is None else one if other is None else np.intersect1d(one, other)


def _mapped(units: Units, of: Callable[..., State], layer: Any = None) -> Units:
    return _averaged([(some, of(layer, state)) for some, state in units])


def _averaged(units: Units) -> Units:
    """Whatever reads activations reads all of them: every number is its mean over units."""
    if units[0][1].gaussian:
        return units
    if len(units) == 1:
        return [(None, units[0][1])]
    count = sum(some.size for some, _ in units)
    shares = [some.size / count for some, _ in units]

    def mean(name: str) -> Any:
        return sum(share * getattr(state, name) for share, (_, state) in zip(shares, units, strict=True))

    names = ("mean", *units[0][1].scaled)
    merged = replace(units[0][1], **{name: mean(name) for name in names})
    if merged.common is not None:
        apart = sum(share * (state.mean - merged.mean) ** 2 for share, (_, state) in zip(shares, units, strict=True))
        merged = replace(merged, common=merged.common + apart)
    return [(None, merged)]


def _homogeneous(steps: tuple[Step, ...]) -> list[bool]:
    """Of each step, whether every phi that reads it, or a sum that it is a part of, is positively homogeneous; not of
    the last one, which nothing reads."""
    readers: list[list[int]] = [[] for _ in steps]
    for number, step in enumerate(steps):
        for read in set(step.reads) - {-1}:
            readers[read].append(number)
    of_step = [False] * len(steps)

    def is_homogeneous(reader: int) -> bool:
        layer = steps[reader].layer
        if layer.pointwise:
            return bool(cast("Activation", layer).homogeneous)
        if len(steps[reader].reads) > 1:
            return of_step[reader]
        return not KINDS[type(layer)].takes_gaussian  # the identity stands before it

    for number in reversed(range(len(steps))):
        of_step[number] = bool(readers[number]) and all(map(is_homogeneous, readers[number]))
    return of_step
