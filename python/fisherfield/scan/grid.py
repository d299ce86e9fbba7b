# SPDX-License-Identifier: BSD-3-Clause
"""Axes to grid points: names to layers, a product of dimensions, boxes of at most so many points.

No array has as many entries as the grid: coordinates stay one-dimensional, and a slot, which brings one of them into a
box of points, has extent 1 along all dimensions but its own.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import _numbers
from .._words import cut, did_you_mean, one_of, shown
from ..network import Network
from ..network.layer import Step, kinds
from ..network.layer import axes as layer_axes
from .arguments import activations_of, axis_values, axis_words
from .structure import ACTIVATION, COUNTS, STRUCTURES, alike, refuse_other

Box = tuple[slice, ...]
Values = NDArray[np.float64]

_PER_LAYER = re.compile(r"(?P<where>layers\[\d+\](\.\w+\[\d+\])*)\.(?P<field>\w+)")
_MOST = 60  # dimensions; NumPy takes 64


@dataclass(frozen=True)
class Axis:
    """What varies along a dimension: a field of every layer (-1), or of one, by its number in `Network.steps`."""

    name: str
    field: str
    layer: int
    dimension: int


@dataclass(frozen=True)
class Slot:
    """The values of one axis in a box of points."""

    axis: Axis
    values: Values

    def broadcast(self, ndim: int) -> Values:
        """With extent 1 along every dimension but its own."""
        return self.values.reshape([-1 if place == self.axis.dimension else 1 for place in range(ndim)])

    def at(self, dimension: int, places: NDArray[np.intp]) -> Slot:
        """Its part at some places along a dimension."""
        return Slot(self.axis, self.values[places]) if dimension == self.axis.dimension else self


@dataclass(frozen=True)
class Grid:
    """The dimensions with their extents, and the axes along them; their values are kept elsewhere."""

    dimensions: tuple[str, ...]
    shape: tuple[int, ...]
    axes: tuple[Axis, ...]
    activations: tuple[str, ...] = ()  # what the values of axes of activations count

    @property
    def points(self) -> int:
        return math.prod(self.shape)

    def chunk(self, points: int) -> tuple[int, ...]:
        """The shape of boxes of at most `points`: the last dimensions whole, one split, the first ones 1."""
        extents: list[int] = []
        for extent in reversed(self.shape):
            extents.append(min(extent, points))
            points = max(points // extent, 1)
        return tuple(reversed(extents))

    def boxes(self, chunk: tuple[int, ...]) -> int:
        """How many boxes of shape `chunk` cover the grid."""
        return math.prod(self._counts(chunk))

    def box(self, chunk: tuple[int, ...], number: int) -> Box:
        """Box `number`, counted in C order."""
        sides = []
        for size, extent in zip(reversed(chunk), reversed(self.shape), strict=True):
            number, at = divmod(number, -(-extent // size))
            sides.append(slice(at * size, min((at + 1) * size, extent)))
        return tuple(reversed(sides))

    def slots(self, box: Box, values: Callable[[str, slice], Values]) -> tuple[Slot, ...]:
        """The axes' values in a box; `values` gives a part of one by its name. Those of single layers come last."""
        slots = []
        for axis in sorted(self.axes, key=lambda axis: axis.layer >= 0):
            part = np.ascontiguousarray(values(axis.name, box[axis.dimension]), dtype=np.float64)
            if axis.field == "samples":
                part = np.where(np.isinf(part), 0.0, part)  # the core's word for infinitely many
            slots.append(Slot(axis, part))
        return tuple(slots)

    def _counts(self, chunk: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(-(-extent // size) for extent, size in zip(self.shape, chunk, strict=True))


def product_of(axes: Mapping[str, Values]) -> Grid:
    """A product of all axes."""
    sizes = tuple(values.size for values in axes.values())
    return Grid(tuple(axes), sizes, tuple(Axis(name, name, -1, place) for place, name in enumerate(axes)))


def grid_of(net: Network, axes: Any) -> tuple[Grid, dict[str, Values]]:
    """A mapping of axes as a grid and the values by name; refused in a sentence."""
    if not isinstance(axes, Mapping):
        raise TypeError(f"axes must be a mapping from names to values, got {shown(axes)}")
    dimensions: list[str] = []
    shape: list[int] = []
    placed: list[Axis] = []
    values: dict[str, Values] = {}
    activations: tuple[str, ...] = ()
    fields = layer_axes()
    for key, coordinates in axes.items():
        paired = isinstance(key, tuple)
        names = key if paired else (key,)
        owned = [field_of(net, name) for name in names]
        columns = _columns(names, coordinates) if paired else (coordinates,)
        for name, (field, layer), column in zip(names, owned, columns, strict=True):
            if name in values:
                raise ValueError(f"axis {name} must be given once, got it twice")
            allowed = fields[field].range if field in fields else None
            if field == ACTIVATION:
                each = activations_of(name, column)
                activations = tuple(dict.fromkeys((*activations, *each)))
                column = [activations.index(phi) for phi in each]
            values[name] = axis_values(name, field, column, allowed)
            placed.append(Axis(name, field, layer, len(dimensions)))
        points = sum(name.startswith("point") for name in dimensions)
        dimensions.append(names[0] if not paired else "point" if not points else f"point_{points + 1}")
        shape.append(values[names[0]].size)
    structure = next((name for name in values if name in COUNTS), "")
    if structure and (per_layer := [name for name in values if "." in name]):
        raise ValueError(f"axis {structure} must stand without axes of single layers, got {per_layer[0]}")
    if "width" in values:
        _refuse_widths(net, values["width"])
    if len(dimensions) > _MOST:
        raise ValueError(f"axes must make at most {_MOST} dimensions, got {len(dimensions)}")
    return Grid(tuple(dimensions), tuple(shape), tuple(placed), activations), values


def _columns(names: tuple[Any, ...], points: Any) -> tuple[Any, ...]:
    """The columns of paired points: of an array (points, names), or of a sequence of tuples."""
    label = ", ".join(map(str, names))
    if not names:
        raise ValueError("axes must have names, got an empty tuple")
    if isinstance(points, np.ndarray):
        if points.ndim != 2 or points.shape[1] != len(names) or not points.size:
            raise ValueError(f"axes ({label}) must be points of {len(names)} values each, got shape {points.shape}")
        return tuple(points.T)
    if not _numbers.is_sequence(points):
        raise TypeError(f"axes ({label}) must be points of {len(names)} values each, got {shown(points)}")
    rows = _numbers.entries(f"axes ({label})", points, most=10**7)
    for row in rows:
        if not _numbers.is_sequence(row) or len(row) != len(names):
            raise ValueError(f"axes ({label}) must be points of {len(names)} values each, got {shown(row)}")
    if not rows:
        raise ValueError(f"axes ({label}) must be points of {len(names)} values each, got none")
    return tuple(zip(*rows, strict=True))


def field_of(net: Network, name: Any) -> tuple[str, int]:
    """The core's field of a name, and the step that has it or -1, where the network has it."""
    of_layers = layer_axes()
    if not (isinstance(name, str) and name in of_layers) and name not in (words := (*of_layers, *axis_words())):
        if isinstance(name, str) and (single := _PER_LAYER.fullmatch(name)):
            return _of_one_layer(net, name, single["where"], single["field"])
        hint = did_you_mean(name, words)
        raise ValueError(f'axes must be named {", ".join(words)} or as "layers[0].sigma_w2", got {shown(name)}{hint}')
    if name in of_layers:
        owners = [step for step in net.steps if name in step.layer.axes()]
        if not owners:
            names = one_of(kind for kind, cls in kinds().items() if name in cls.axes())
            raise ValueError(f"axis {name} needs a {names}, and the network has none")
        if not any(step.layer.has(name) for step in owners):
            raise ValueError(f"axis {name} needs a layer that has {name}, got {shown(owners[0].layer)}")
        for step in owners:
            _refuse_own(name, name, step)
    if name == "width":
        alike(net, name, net.affine_steps[:-1], lambda layer: (type(layer), layer.width))
    if name in STRUCTURES:
        refuse_other(net, name)
    return name, -1


def _of_one_layer(net: Network, name: str, where: str, field: str) -> tuple[str, int]:
    name, where_cut = cut(name), cut(where)
    if field not in (words := (*layer_axes(), ACTIVATION)):
        raise ValueError(f"axis {name} must name one of {', '.join(words)}, got {shown(field)}")
    steps = {step.where: number for number, step in enumerate(net.steps)}
    if where not in steps:
        if "." in where:
            hint = did_you_mean(where, steps)
            raise ValueError(f"axis {name} must name a layer that the network has, got {where_cut}{hint}")
        raise ValueError(f"axis {name} must name a layer from 0 to {len(net.layers) - 1}, got {cut(where[7:-1])}")
    layer = net.steps[steps[where]].layer
    if field not in (*layer.axes(), ACTIVATION) or not layer.has(field):
        inside = [step.where for step in net.steps if step.where.startswith(f"{where}.") and step.layer.has(field)]
        hint = f"; it holds {inside[0]}.{field}" if inside else ""
        raise ValueError(f"axis {name} must name a layer that has {field}, got {shown(layer)}{hint}")
    _refuse_own(name, field, net.steps[steps[where]])
    return field, steps[where]


def _refuse_own(name: str, field: str, step: Step) -> None:
    """Numbers that a layer's units have each for itself."""
    if not step.layer.shares(field):
        hint = f" (or vary {field}_scale)" if f"{field}_scale" in layer_axes() else ""
        raise ValueError(
            f"axis {name} needs one number for all units of a layer{hint}, got {step.where} = {shown(step.layer)}"
        )


def _refuse_widths(net: Network, widths: Values) -> None:
    """Widths that the network's groups of channels do not divide, or leave too few channels each."""
    groups = math.lcm(*(step.layer.channel_groups for step in net.steps))
    if (wrong := widths % groups != 0).any():
        raise ValueError(f"axis width must be a multiple of {groups}, for groups of channels, got {widths[wrong][0]:g}")
    for width in (widths.min(), widths.max()):
        try:
            net.with_widths([int(width)] * (net.depth - 1))
        except ValueError as error:
            raise ValueError(f"axis width must fit every layer, got {width:g}: {error}") from None
