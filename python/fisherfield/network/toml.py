# SPDX-License-Identifier: BSD-3-Clause
"""Networks read from TOML; `Network.save` writes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .. import _numbers
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
        content = tomllib.loads(text.decode())
    except (ValueError, RecursionError) as error:  # TOML, UTF-8, a number of thousands of digits, brackets as many
        raise ValueError(f"{path}: not TOML: {error}") from None
    try:
        _keys("the file", content, required=("input_shape", "layers"), allowed=("input_shape", "layers"))
        if not isinstance(content["layers"], list):
            raise ValueError(f"layers must be [[layers]] tables, got {content['layers']!r}")
        return Network(content["input_shape"], _layers("layers", content["layers"]))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from None


def _layers(where: str, entries: list[Any]) -> tuple[Layer, ...]:
    return tuple(_layer(f"{where}[{place}]", entry) for place, entry in enumerate(entries))


def _layer(where: str, entry: Any) -> Layer:
    """The layer that a table describes, and those that it holds."""
    if not isinstance(entry, dict):
        raise ValueError(f"{where} must be a table with a type, got {entry!r}")
    name, table = entry.get("type"), kinds()
    if not isinstance(name, str) or name not in table:
        raise ValueError(f"{where}: type must be one of {', '.join(table)}, got {name!r}")
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


def _keys(where: str, table: dict[str, Any], required: Sequence[str], allowed: Sequence[str]) -> None:
    for key in table:
        if key not in allowed:
            from difflib import get_close_matches

            near = get_close_matches(key, allowed, n=1)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            raise ValueError(f"{where}: keys must be among {', '.join(allowed)}, got {key!r}{hint}")
    for key in required:
        if key not in table:
            raise ValueError(f"{where}: {key} is missing")
