# SPDX-License-Identifier: BSD-3-Clause
"""What a scan takes: its settings, axes, quantities and tables; converted, and refused in a sentence."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import islice
from typing import Any

import numpy as np

from .._memory import beyond_memory
from .._numbers import (
    MANY,
    POSITIVE,
    REAL,
    Range,
    biases_of,
    entries,
    float_array,
    float_of,
    integer,
    is_sequence,
    magnitude,
    momentum_of,
    network_of,
    real,
    samples_of,
    theory_of,
)
from .._words import did_you_mean, shown
from ..network.activation import as_activation
from ..theory.settings import Descent, Settings


def settings_of(
    net: Any,
    axes: Iterable[str],
    theory: Any,
    samples: Any,
    overlap: Any,
    length: Any,
    biases: Any,
    loss: Any,
    momentum: Any,
    nesterov: Any,
    weight_decay: Any,
    by_units: bool = False,
) -> tuple[Settings, Descent]:
    """A scan's settings, converted; one that an axis gives is left at its default, and refused otherwise."""
    defaults = {
        "samples": (samples, None),
        "overlap": (overlap, 0.0),
        "length": (length, 1.0),
        "momentum": (momentum, 0.0),
    }
    taken = [name for name in defaults if name in axes]
    for name in taken:
        value, default = defaults[name]
        if value is not default and not (default is not None and float_of(name, value, "a number") == default):
            raise ValueError(f"{name} must be either an axis or an argument, got both, the argument {shown(value)}")
    theory = theory_of(network_of(net), theory, by_units)
    length = magnitude("length", length, positive=True)
    samples = samples_of(samples)
    if {"samples", "overlap", "length"}.isdisjoint(taken):
        settings = Settings.of(net, theory, samples, overlap, length, biases, by_units)
    elif samples == 1 and net.batch_norms:
        raise ValueError("samples must be at least 2 under BatchNorm, whose variance over one sample is 0, got 1")
    else:
        settings = Settings(theory, samples, real("overlap", overlap), length, biases_of(biases, theory))
    return settings, Descent.of(net, loss, momentum, nesterov, weight_decay)


def _wholes(numbers: np.ndarray, low: int, high: int) -> np.ndarray:
    return np.asarray((numbers >= low) & (numbers <= high) & (numbers == np.floor(numbers)))


# What a scan can vary beside the fields of layers, which say their own ranges.
_AXES = {
    "width": Range(lambda numbers: _wholes(numbers, 1, MANY), lambda name, value: integer(name, value, 1)),
    "depth": Range(lambda numbers: _wholes(numbers, 2, MANY), lambda name, value: integer(name, value, 2)),
    "blocks": Range(lambda numbers: _wholes(numbers, 1, MANY), lambda name, value: integer(name, value, 1)),
    "activation": Range(lambda numbers: numbers >= 0, lambda name, value: value),
    "momentum": Range(lambda numbers: (numbers >= 0) & (numbers < 1), lambda name, value: momentum_of(value, name)),
    "samples": Range(
        lambda numbers: _wholes(numbers, 1, 2**53) | (numbers == math.inf),
        lambda name, value: integer(name, value, 1, 2**53),
    ),
    "length": POSITIVE,
    "overlap": REAL,
}

WHOLE = ("samples", "width", "depth", "blocks")


def axis_words() -> tuple[str, ...]:
    """What a scan can vary beside the fields of layers."""
    return tuple(_AXES)


def _of_objects(value: Any) -> bool:
    return bool(getattr(value, "dtype", np.dtype(object)).kind == "O")


def axis_values(name: str, word: str, value: Any, allowed: Range | None = None) -> np.ndarray:
    """One axis: a float64 array with one dimension, at least one entry, every entry within the range of `word`.

    Of a layer's field the range is `allowed`.
    """
    if is_sequence(value) and not hasattr(value, "__len__"):
        value = entries(f"axis {name}", value, most=10**7)
    if word == "samples" and is_sequence(value) and not isinstance(value, range) and _of_objects(value):
        value = [math.inf if item is None else item for item in value]
    elif word == "samples" and value is None:
        value = math.inf
    numbers = float_array(f"axis {name}", value)
    if numbers.ndim != 1 or numbers.size == 0:
        raise ValueError(f"axis {name} must be one value or more in one dimension, got shape {numbers.shape}")
    fits, convert = allowed or _AXES[word]
    wrong = ~fits(numbers)
    if wrong.any():
        convert(f"axis {name}", float(numbers[wrong][0]))
    return numbers


def activations_of(name: str, value: Any) -> tuple[str, ...]:
    """An axis of activations: the names of one or more, each as `Activation` takes it."""
    phis = entries(f"axis {name}", value) if is_sequence(value) else ()
    if not phis:
        raise ValueError(f"axis {name} must be the names of one activation or more, got {shown(value)}")
    taken = [as_activation(phi) for phi in phis]
    for phi in taken:
        if not isinstance(phi.function, str):
            raise ValueError(f"axis {name} must be names of activations, got {shown(phi.function)}, which has none")
    return tuple(map(str, taken))


def range_of(name: str, value: Any) -> tuple[float, float, bool]:
    """low, high and whether their logarithm is meant: (low, high) or (low, high, "log")."""
    allowed = 'a pair (low, high) or (low, high, "log") with low < high'
    if not is_sequence(value) or len(tuple(islice(value, 4))) not in (2, 3):
        raise TypeError(f"{name} must be {allowed}, got {shown(value)}")
    low, high, *rest = value
    low, high = (float_of(name, number, allowed) for number in (low, high))
    if not (math.isfinite(low) and math.isfinite(high) and low < high) or (rest and rest != ["log"]):
        raise ValueError(f"{name} must be {allowed}, got {shown(value)}")
    if rest and low <= 0:
        raise ValueError(f"{name} must be > 0 where its logarithm is drawn, got {shown(value)}")
    return low, high, bool(rest)


def quantities_of(value: Any, allowed: tuple[str, ...]) -> tuple[str, ...]:
    """Names of what a scan gives, each once; one name may stand alone."""
    names = (value,) if isinstance(value, str) else entries("quantities", value) if is_sequence(value) else ()
    if not names:
        raise ValueError(f"quantities must be one name or more of {', '.join(allowed)}, got {shown(value)}")
    for name in names:
        if not isinstance(name, str) or name not in allowed:
            hint = did_you_mean(name, allowed)
            raise ValueError(f"quantities must be among {', '.join(allowed)}, got {shown(name)}{hint}")
    return tuple(dict.fromkeys(names))


def tables_of(value: Any, backend: str) -> bool | tuple[Any, ...]:
    """Whether to tabulate, or tables that are there."""
    tables = entries("tables", value) if is_sequence(value) else value
    if tables not in (True, False) and not (
        isinstance(tables, tuple) and all(type(table).__name__ == "Table" for table in tables)
    ):
        raise TypeError(f"tables must be True, False or tables made by gaussian.tabulate, got {shown(value)}")
    if tables and backend == "cuda":
        raise ValueError("tables must be False with backend='cuda', which has none")
    return tables if isinstance(tables, tuple) else bool(tables)


def selection_of(name: str, value: Any) -> float:
    """Where a figure of a scan cuts an axis: any number; infinitely many samples are inf or None."""
    number = math.inf if value is None else float_of(f"select {name}", value, "a number")
    if math.isnan(number) or number == -math.inf:
        raise ValueError(f"select {name} must be a number, got {shown(value)}")
    return number


def refuse_large(needed: int, points: int) -> None:
    """Results that would not fit into memory; more points than any scan ends with."""
    if points > 2**53:
        raise ValueError(f"axes must make at most 2^53 points, got {points:.3g}")
    if memory := beyond_memory(needed):
        raise ValueError(
            f"store must be given for {points:,} points, whose results take {memory[0]}, more than the "
            f"{memory[1]} of memory there are"
        )
