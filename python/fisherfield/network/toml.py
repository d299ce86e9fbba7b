# SPDX-License-Identifier: BSD-3-Clause
"""Networks read from TOML; `Network.save` writes them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from .. import _numbers
from .._words import cut, did_you_mean, shown
from .activation import named_like
from .layer import Layer, kinds
from .network import Network

if TYPE_CHECKING:
    from os import PathLike

__all__ = ["from_toml", "load"]


def load(path: str | PathLike[str]) -> Network:
    """Read a network from TOML: `input_shape`, then `[[layers]]` with `type` and the layer's own arguments.

    Raises
    ------
    FileNotFoundError
        Where there is no such file.
    ValueError
        For anything in it that does not fit, with file, place, range and value.
    """
    path = _numbers.path_of("path", path)
    with open(path, "rb") as file:
        content = file.read()
    return from_toml(path, content)


def from_toml(path: object, text: bytes) -> Network:
    """The network that a file's text describes; `path` heads what is said against it."""
    import tomllib

    try:
        content = tomllib.loads(text.decode("utf-8-sig"))  # some editors begin with a byte-order mark
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not TOML, which is UTF-8: {cut(str(error), 200)}") from None
    except (ValueError, RecursionError) as error:  # TOML, a number of thousands of digits, brackets as many
        raise ValueError(f"{path}: not TOML: {cut(str(error), 200)}") from None
    try:
        _keys("the file", content, required=("input_shape", "layers"), allowed=("input_shape", "layers"))
        if not isinstance(content["layers"], list):
            raise ValueError(f"layers must be [[layers]] tables, got {shown(content['layers'])}")
        return Network(content["input_shape"], _layers("layers", content["layers"]))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from None


def _layers(where: str, entries: list[Any]) -> tuple[Layer, ...]:
    return tuple(_layer(f"{where}[{place}]", entry) for place, entry in enumerate(entries))


def _layer(where: str, entry: Any) -> Layer:
    """The layer that a table describes, and those that it holds."""
    if not isinstance(entry, dict):
        raise ValueError(f"{where} must be a table with a type, got {shown(entry)}")
    name, table = entry.get("type"), kinds()
    if not isinstance(name, str) or name not in table:
        raise ValueError(f"{where}: type must be one of {', '.join(table)}, got {shown(name)}{_meant(name, table)}")
    required, allowed = table[name].keys()
    _keys(where, entry, ("type", *required), ("type", *allowed))
    fields = {key: value for key, value in entry.items() if key != "type"}
    for key, value in fields.items():
        if isinstance(value, list) and any(isinstance(item, dict) for item in value):
            fields[key] = _layers(f"{where}.{key}", value)
    try:
        return table[name](**fields)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where}: {error}") from None


# Layers as PyTorch calls them.
_ELSEWHERE = {"Linear": "Dense", "BatchNorm1d": "BatchNorm", "BatchNorm2d": "BatchNorm", "Dropout1d": "Dropout"}


def _meant(name: Any, table: Iterable[str]) -> str:
    """The way to what may have been meant by the type of a layer."""
    if not isinstance(name, str):
        return ""
    if name in _ELSEWHERE:
        return f" (did you mean {_ELSEWHERE[name]!r}?)"
    if function := named_like(name):
        return f': write type = "Activation", function = "{function}"'
    return did_you_mean(name, table)


def _keys(where: str, table: dict[str, Any], required: Sequence[str], allowed: Sequence[str]) -> None:
    for key in table:
        if key not in allowed:
            hint = did_you_mean(key, allowed)
            raise ValueError(f"{where}: keys must be among {', '.join(allowed)}, got {shown(key)}{hint}")
    for key in required:
        if key not in table:
            raise ValueError(f"{where}: {key} is missing")
