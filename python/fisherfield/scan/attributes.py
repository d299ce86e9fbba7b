# SPDX-License-Identifier: BSD-3-Clause
"""What a file says of a scan: its attributes, and the dimensions and meaning of each of its arrays."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..network import Network
from .grid import Grid
from .labels import LAYERED, REGIMES, STATUSES, kind_of, meaning
from .store import UNWRITTEN, VERSION, Described
from .structure import names_activations


def dimensions_of(grid: Grid) -> dict[str, tuple[str, ...]]:
    return {
        dimension: tuple(axis.name for axis in grid.axes if axis.dimension == place)
        for place, dimension in enumerate(grid.dimensions)
    }


def attributes_of(
    net: Network, settings: dict[str, Any], dimensions: dict[str, tuple[str, ...]], quantities: tuple[str, ...]
) -> dict[str, Any]:
    """What was computed, in words and numbers that any file format holds."""
    from .. import __version__

    axes = [name for names in dimensions.values() for name in names]
    attributes = {name: "axis" if name in axes else value for name, value in settings.items()}
    kind = kind_of(settings)
    for name, value in attributes.items():
        if value is None:
            attributes[name] = kind.none.get(name, "none")
        elif isinstance(value, bool):
            attributes[name] = str(value)
    try:
        network = net._to_toml()
    except ValueError:  # a callable has no name
        network = repr(net)
    return {
        "title": f"{', '.join(quantities)} over {', '.join(axes) or 'one point'}: {kind.what} of wide networks",
        VERSION: __version__,
        "network": network,
        **attributes,
        "quantities": " ".join(quantities),
        "dimensions": json.dumps(dimensions),
        **({"note": note} if (note := note_of(net, settings)) else {}),
    }


def note_of(net: Network, settings: Mapping[str, Any]) -> str:
    """What is to be said of a scan's closed recursion, where `fisher` draws sampled units instead; or nothing."""
    if settings.get("theory") != "exact" or not net.needs_units or settings.get("units") is not None:
        return ""
    return f"by the closed recursion, where fisher draws sampled units: {net.needs_units}"


def settings_from(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that a file's attributes hold; what an axis gives is at its default."""
    attributes = {**UNWRITTEN, **attributes}
    default = {"samples": None, "overlap": 0.0, "length": 1.0, "momentum": 0.0}
    kind, settings = kind_of(attributes), {}
    words = {*kind.none.values(), "none"}
    for name in kind.settings:
        value = attributes[name].item() if hasattr(attributes[name], "item") else attributes[name]
        if isinstance(value, str):
            value = default.get(name) if value == "axis" else None if value in words else value
            value = {"True": True, "False": False}.get(value, value) if isinstance(value, str) else value
        settings[name] = value
    return settings


def variables_of(
    dimensions: tuple[str, ...], arrays: Iterable[str]
) -> dict[str, tuple[tuple[str, ...], dict[str, Any]]]:
    """Dimensions and attributes of every array, the status too."""
    described: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {}
    for name in arrays:
        layer = ("layer",) if name in LAYERED else ()
        described[name] = ((*dimensions, *layer), {"long_name": meaning(name), "units": "1"})
    if "regime" in described:
        described["regime"] = (dimensions, {"long_name": meaning("regime"), **_flags(REGIMES)})
    described["status"] = (dimensions, {"long_name": "whether the numbers are there", **_flags(STATUSES)})
    return described


def _flags(words: dict[int, str]) -> dict[str, Any]:
    meanings = [re.sub(r"\W+", "_", text) for text in words.values()]  # CF: letters, digits and underscores
    return {"flag_values": list(words), "flag_meanings": " ".join(meanings)}


def named(axes: Mapping[str, NDArray[Any]], activations: Sequence[str]) -> dict[str, NDArray[Any]]:
    """The axes with the activations' names in place of their numbers."""
    words = np.asarray(activations, dtype=np.str_)
    coded = [name for name in axes if names_activations(name) and axes[name].dtype.kind in "iuf"]
    return {**axes, **{name: words[axes[name].astype(np.intp)] for name in coded}}


def coordinates_of(
    dimensions: dict[str, tuple[str, ...]], axes: dict[str, NDArray[np.float64]], layers: int
) -> dict[str, Described]:
    """Every axis, and the layers' numbers where there are any."""
    described: dict[str, Described] = {
        name: ((dimension,), axes[name], {"long_name": meaning(name), "units": "1"})
        for dimension, names in dimensions.items()
        for name in names
    }
    if layers:
        described["layer"] = (("layer",), np.arange(1, layers + 1), {"long_name": "affine layer", "units": "1"})
    return described
