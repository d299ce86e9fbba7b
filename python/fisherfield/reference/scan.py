# SPDX-License-Identifier: BSD-3-Clause
"""A scan as it is defined: a network for every point of the grid, and the reference's functions of it."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..network import Network, Residual
from .arguments import settings_of
from .edge import undecided
from .fisher import Fisher, fisher
from .learning_rate import max_learning_rate
from .order_parameters import OrderParameters, order_parameters

__all__ = ["scan"]

_SETTINGS = ("samples", "overlap", "length", "momentum")
_ROWS = tuple(field.name for field in dataclasses.fields(OrderParameters))
_REGIMES = {"bulk": 0, "outlier": 1, "sample": 2}
_NUMBERS = tuple(field.name for field in dataclasses.fields(Fisher))


def scan(
    net: Network,
    axes: Mapping[Any, Any],
    quantities: Any = ("lambda_max", "max_learning_rate"),
    theory: str = "exact",
    samples: int | None = None,
    overlap: float = 0.0,
    length: float = 1.0,
    biases: bool | None = None,
    loss: str = "sum",
    momentum: float = 0.0,
    nesterov: bool = False,
    weight_decay: float = 0.0,
    *,
    edge: bool = False,
    units: int | None = None,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """Every quantity and the status at every point, the product of all axes; NaN where a point is refused.

    Per-layer quantities are filled with NaN up to the deepest network's L. Without `edge` the status is 8 where it may
    rule what is asked for.
    """
    parts = {"contributions": ("part_a", "part_b")}
    asked = (quantities,) if isinstance(quantities, str) else tuple(quantities)
    names = [name for quantity in asked for name in parts.get(quantity, (quantity,))]
    sides = [_side(key, values) for key, values in axes.items()]
    points = [{name: value for part in chosen for name, value in part.items()} for chosen in itertools.product(*sides)]
    settings = {"samples": samples, "overlap": overlap, "length": length, "momentum": momentum}
    of_rates = {"loss": loss, "nesterov": nesterov, "weight_decay": weight_decay}
    by = {"edge": edge, "units": units, "seed": seed} if units is not None else {"edge": edge, "units": None}
    results = [_point(net, point, names, theory, settings, biases, of_rates, by) for point in points]
    layers = max(_changed(net, point).depth for point in points)
    shape = tuple(len(side) for side in sides)
    out: dict[str, np.ndarray] = {"status": np.array([status for status, _ in results], np.int8).reshape(shape)}
    for name in names:
        if name in _ROWS or name in ("c", "part_a", "part_b"):
            table = np.full((len(points), layers), math.nan)
            for row, (_, values) in zip(table, results, strict=True):
                row[: np.size(values.get(name, ()))] = values.get(name, ())
            out[name] = table.reshape((*shape, layers))
        else:
            failed = -1 if name == "regime" else math.nan
            out[name] = np.array([values.get(name, failed) for _, values in results]).reshape(shape)
    return out


def _side(key: Any, values: Any) -> list[dict[str, Any]]:
    """The points along one dimension: names and values."""
    if isinstance(key, tuple):
        return [dict(zip(key, row, strict=True)) for row in values]
    return [{key: value} for value in values]


def _point(
    net: Network,
    point: dict[str, Any],
    names: list[str],
    theory: str,
    settings: dict[str, Any],
    biases: bool | None,
    of_rates: dict[str, Any],
    by: dict[str, Any],
) -> tuple[int, dict[str, Any]]:
    """Status and values of one point."""
    data = {**settings, **{name: value for name, value in point.items() if name in _SETTINGS}}
    momentum = data.pop("momentum")
    if data["samples"] == math.inf:
        data["samples"] = None
    network = _changed(net, point)
    try:
        with np.errstate(over="ignore"):
            spectrum = fisher(network, theory, biases=biases, **by, **data)
            drawn = {name: value for name, value in by.items() if name != "edge"}
            rows = order_parameters(network, theory, biases=biases, **drawn, **data)
            rate = max_learning_rate(network, momentum, theory, biases=biases, **by, **of_rates, **data)
    except ValueError as refusal:
        return _status(str(refusal)), {}
    values: dict[str, Any] = {name: getattr(spectrum, name) for name in _NUMBERS}
    values |= {name: getattr(rows, name) for name in _ROWS}
    values |= {"max_learning_rate": rate, "regime": _REGIMES[spectrum.regime], "c": rows.q_xy / rows.q}
    values |= {"part_a": spectrum.layers.a, "part_b": spectrum.layers.b}
    # a learning rate of inf is what no curvature at all means
    flat = spectrum.lambda_max == 0 and of_rates["weight_decay"] == 0
    wanted = [name for name in names if not (name == "max_learning_rate" and flat)]
    beyond = any(np.isinf(values[name]).any() for name in wanted)
    if beyond:
        return 5, values
    if by["units"] is not None:
        return 0, values
    of_edge = not by["edge"] and any(
        name in ("lambda_max", "max_learning_rate", "multiplicity", "regime") for name in names
    )
    assumed = settings_of(network, theory, biases=biases, **data)
    a, b, largest, outlier = spectrum.a, spectrum.b, spectrum.lambda_max, spectrum.regime == "outlier"
    return 8 if of_edge and undecided(network, assumed, a, b, largest, outlier) else 0, values


def _status(refusal: str) -> int:
    """What a scan says by a number; a refusal that is none of a point's is one of the whole scan's."""
    for word, status in {"eps must": 1, "overlap must": 6, "samples must": 6}.items():
        if word in refusal:
            return status
    raise ValueError(refusal)


def _changed(net: Network, point: dict[str, Any]) -> Network:
    """The network with an axis's value in place of its own; a single layer's counts after all layers'."""
    for name, several in {"depth": _deep, "blocks": _blocks}.items():
        if name in point:
            net = Network(net.input_shape, tuple(several(list(net.layers), int(point[name]))))
    for name, value in sorted(point.items(), key=lambda item: "." in item[0]):
        where, _, field = name.rpartition(".")
        if where:
            net = Network(net.input_shape, _with_one(net.layers, where[len("layers") :], field, value))
        elif name == "width":
            net = net.with_widths([int(value)] * (net.depth - 1))
        elif name not in (*_SETTINGS, "depth", "blocks"):
            net = net.replace(**{name: value})
    return net


def _with_one(layers: tuple[Any, ...], where: str, field: str, value: Any) -> tuple[Any, ...]:
    """Layers with a field changed in the one at "[2]", or in what that holds, at "[2].branch[0]"."""
    place, _, inside = where[1:].partition("]")
    holder, _, rest = inside[1:].partition("[")
    layer = layers[int(place)]
    if holder:
        new = dataclasses.replace(layer, **{holder: _with_one(getattr(layer, holder), f"[{rest}", field, value)})
    else:
        new = layer.replaced(field, value)
    return (*layers[: int(place)], new, *layers[int(place) + 1 :])


def _deep(layers: list[Any], depth: int) -> list[Any]:
    """depth - 1 hidden layers like the first one: affine layer, normalisation, activation."""
    affine = [place for place, layer in enumerate(layers) if layer.affine]
    first = end = affine[0]
    while layers[end + 1].of_units:
        end += 1
    behind = affine[-2] + end - first + 1
    return [*layers[:first], *layers[first : end + 1] * (depth - 1), *layers[behind:]]


def _blocks(layers: list[Any], count: int) -> list[Any]:
    """So many sums of branches like the first one, with what stands between two of them."""
    places = [place for place, layer in enumerate(layers) if isinstance(layer, Residual)]
    part = layers[places[0] : places[1]] if len(places) > 1 else [layers[places[0]]]
    return [*layers[: places[0]], *part * (count - 1), *layers[places[-1] :]]
