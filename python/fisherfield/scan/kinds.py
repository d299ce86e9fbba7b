# SPDX-License-Identifier: BSD-3-Clause
"""What can be computed over a grid: the theory here; what else there is adds itself."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from .._words import data_in_words, descent_in_words
from .labels import AXES, LAYERED, POINTS

__all__ = ["THEORY", "Kind", "add", "kind_of", "meaning", "symbol"]


@dataclass(frozen=True)
class Kind:
    """How the tables of one kind name what they hold.

    Attributes
    ----------
    what : str
        What was computed, for titles.
    mark : str
        The setting that tells it from other kinds.
    settings : tuple of str
        The names of all, in order.
    words : function of (settings, names of the axes, names of the arrays)
        The settings in words.
    labels : mapping
        Of every axis and result the meaning and a symbol in TeX.
    """

    what: str
    mark: str
    settings: tuple[str, ...]
    words: Callable[[Mapping[str, Any], Container[str], Container[str]], list[str]]
    labels: Mapping[str, tuple[str, str]]


def _words(settings: Mapping[str, Any], axes: Container[str], arrays: Container[str]) -> list[str]:
    words = [f"theory {settings['theory']}"]
    if "samples" not in axes:
        words.append(data_in_words(settings["samples"]))
    words += [f"{name} {settings[name]:g}" for name in ("overlap", "length") if name not in axes]
    words.append("with biases" if settings["biases"] else "without biases")
    if "max_learning_rate" in arrays:
        words.append(f"loss {settings['loss']}")
        words += descent_in_words(settings, "momentum" not in axes)
    return words


THEORY = Kind(
    what="mean-field theory",
    mark="theory",
    settings=(
        *("theory", "samples", "overlap", "length", "biases", "loss", "momentum", "nesterov", "weight_decay"),
        *("backend", "tables"),
    ),
    words=_words,
    labels={**AXES, **POINTS, **LAYERED},
)
_kinds = [THEORY]


def add(*kinds: Kind) -> None:
    """Makes kinds known; the first whose mark a table has is its own."""
    _kinds.extend(kinds)


def kind_of(settings: Mapping[str, Any]) -> Kind:
    """Whose settings, or a file's attributes, these are."""
    return _first(lambda kind: kind.mark in settings, THEORY.mark)


def meaning(name: str) -> str:
    """Of an axis or a result, in words."""
    layer, words, _ = _label(name)
    return f"{words}, of {layer} alone" if layer else words


def symbol(name: str) -> str:
    """Of an axis or a result, in TeX."""
    layer, _, tex = _label(name)
    return f"{tex} of {layer}" if layer else tex


def _label(name: str) -> tuple[str, str, str]:
    layer, _, field = name.rpartition(".")
    return layer, *_first(lambda kind: field in kind.labels, field).labels[field]


def _first(fits: Callable[[Kind], bool], name: str) -> Kind:
    """Of all kinds; those of training come when they are asked for."""
    if not any(map(fits, _kinds)):
        import_module("fisherfield.training")
    for kind in filter(fits, _kinds):
        return kind
    raise KeyError(name)
