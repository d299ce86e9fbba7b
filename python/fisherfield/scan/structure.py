# SPDX-License-Identifier: BSD-3-Clause
"""Axes whose every value is a network of its own: depth and blocks, which count alike parts, and the activation."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._words import shown
from ..network import Network
from ..network.layer import Step

if TYPE_CHECKING:
    from .grid import Grid, Slot


class Run(NamedTuple):
    """Where alike parts begin, how many layers one takes, and where what stays begins behind all parts but one."""

    first: int
    size: int
    end: int


def alike(net: Network, name: str, steps: Sequence[Step], view: Callable[[Any], Any] = lambda layer: layer) -> None:
    """Refuses hidden layers that differ, and a network without any."""
    if not steps:
        raise ValueError(f"axis {name} needs a hidden layer, and the network has none")
    for step in steps[1:]:
        if view(step.layer) != view(steps[0].layer):
            raise ValueError(
                f"axis {name} needs hidden layers that are alike, got "
                f"{_difference(steps[0].layer, step.layer, steps[0].where, step.where)}"
            )


def _difference(one: Any, other: Any, where: str, there: str) -> str:
    """Where two layers that are not equal differ, and what stands there; of layers that hold others, in which part."""
    if type(one) is type(other) and (held := {**one.held(), **other.held()}):
        for name in [name for name in one.__dataclass_fields__ if getattr(one, name) != getattr(other, name)]:
            first, second = getattr(one, name), getattr(other, name)
            if name in held and len(first) == len(second):
                at = next(at for at, pair in enumerate(zip(first, second, strict=True)) if pair[0] != pair[1])
                return _difference(first[at], second[at], f"{where}.{name}[{at}]", f"{there}.{name}[{at}]")
            return f"{where}.{name} = {shown(first)} and {there}.{name} = {shown(second)}"
    return f"{where} = {shown(one)} and {there} = {shown(other)}"


def _same(net: Network, words: str, run: Run, end: int) -> None:
    """Refuses parts that differ from the first one, or from each other's shape."""
    for at in range(run.first, end):
        like = run.first + (at - run.first) % run.size
        if net.layers[at] != net.layers[like]:
            difference = _difference(net.layers[like], net.layers[at], f"layers[{like}]", f"layers[{at}]")
            raise ValueError(f"axis {words} that are alike, got {difference}")


def _depth(net: Network) -> Run:
    """Hidden layers with the normalisation and activation behind each, where all are alike; the output stays."""
    steps = net.affine_steps[:-1]
    if any(len(step.reads) > 1 for step in net.steps):
        raise ValueError(
            "axis depth needs hidden layers one behind another, got a network with sums of branches, of which the axis "
            "blocks counts alike ones"
        )
    alike(net, "depth", steps)
    first, size = steps[0].place, 1
    while net.layers[first + size].of_units:
        size += 1
    run = Run(first, size, first + size * len(steps))
    _same(net, "depth needs hidden layers", run, run.end)
    if net.layers[run.end].of_units:
        raise ValueError(
            f"axis depth needs hidden layers that are alike, got layers[{run.end}] = {shown(net.layers[run.end])} "
            "behind the last of them alone"
        )
    for step in steps:
        if step.before[1:] != step.after[1:]:
            raise ValueError(
                f"axis depth needs convolutions that keep the image's size, got {step.where} = {shown(step.layer)} "
                f"from {step.before} to {step.after}"
            )
    return run


def _blocks(net: Network) -> Run:
    """Blocks that hold layers, where all are alike, with what stands between two of them; the last one stays."""
    places = [place for place, layer in enumerate(net.layers) if layer.held()]
    if not places:
        raise ValueError("axis blocks needs a Residual, and the network has none")
    first, end = places[0], places[-1]
    run = Run(first, places[1] - first if len(places) > 1 else 1, end)
    _same(net, "blocks needs blocks", run, end + 1)
    if net.shapes[first] != net.shapes[first + 1]:
        raise ValueError(
            f"axis blocks needs blocks that keep the shape, got layers[{first}] from {net.shapes[first]} to "
            f"{net.shapes[first + 1]}"
        )
    return run


COUNTS: dict[str, Callable[[Network], Run]] = {"depth": _depth, "blocks": _blocks}
ACTIVATION = "activation"
STRUCTURES = (ACTIVATION, *COUNTS)


def names_activations(name: str) -> bool:
    """Whether the values of an axis are activations, of all layers or of one."""
    return name.rpartition(".")[2] == ACTIVATION


def refuse_other(net: Network, name: str) -> None:
    """A network that the axis cannot change."""
    if name in COUNTS:
        COUNTS[name](net)
    elif not net.activations:
        raise ValueError(f"axis {name} needs an Activation, and the network has none")


@functools.lru_cache(maxsize=256)
def with_many(net: Network, name: str, count: int) -> Network:
    """The network with `count` - 1 parts like its own before what stays."""
    first, size, end = COUNTS[name](net)
    return Network(
        net.input_shape, (*net.layers[:first], *net.layers[first : first + size] * (count - 1), *net.layers[end:])
    )


def affine_layers(net: Network, name: str, count: int) -> int:
    """How many affine layers that network has."""
    first, size, end = COUNTS[name](net)
    places = [step.place for step in net.affine_steps]
    part = sum(first <= place < first + size for place in places)
    return sum(not first <= place < end for place in places) + part * (count - 1)


def most_layers(net: Network, values: Any) -> int:
    """Affine layers of the deepest network that axes' values, by their names, ask for."""
    return max(
        (affine_layers(net, name, int(values[name].max())) for name in COUNTS if name in values), default=net.depth
    )


def by_network(
    net: Network, slots: tuple[Slot, ...], activations: tuple[str, ...]
) -> list[tuple[Network, int, NDArray[np.intp], tuple[Slot, ...]]]:
    """(network, dimension, places along it, slots there) for every value that the first of these axes has in a box.

    An axis of activations has their numbers in `activations`. That of a single layer comes behind that of all.
    """
    varied = next(slot for slot in slots if slot.axis.field in STRUCTURES)
    dimension, name = varied.axis.dimension, varied.axis.field
    others = [slot for slot in slots if slot is not varied]
    parts = []
    for value in np.unique(varied.values):
        places = np.flatnonzero(varied.values == value)
        rest = tuple(slot.at(dimension, places) for slot in others)
        if name in COUNTS:
            changed = with_many(net, name, int(value))
        else:
            changed = with_activation(net, activations[int(value)], varied.axis.layer)
        parts.append((changed, dimension, places, rest))
    return parts


@functools.lru_cache(maxsize=256)
def with_activation(net: Network, name: str, layer: int) -> Network:
    """The network with another activation everywhere (-1), or in one layer, by its number in `Network.steps`."""
    if layer < 0:
        return net.replace(activation=name)
    each = [(number, step.layer) for number, step in enumerate(net.steps) if step.layer.has(ACTIVATION)]
    return net.replace(activation=[name if number == layer else own for number, own in each])


def with_activations(net: Network, grid: Grid, values: Mapping[str, NDArray[np.float64]]) -> list[Network]:
    """Networks that have between them every activation where a point has it, and no other."""
    networks = [net]
    for axis in sorted(grid.axes, key=lambda axis: axis.layer):
        if axis.field == ACTIVATION:
            first, *others = (grid.activations[int(number)] for number in np.unique(values[axis.name]))
            networks = [with_activation(one, first, axis.layer) for one in networks]
            networks += [with_activation(networks[0], phi, axis.layer) for phi in others]
    return networks
