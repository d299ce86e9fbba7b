# SPDX-License-Identifier: BSD-3-Clause
"""What the reference takes: numbers and choices, converted and refused in plain Python."""

from __future__ import annotations

import math
from dataclasses import dataclass
from reprlib import repr as shown
from typing import Any

import numpy as np

from ..network import Network

__all__ = [
    "LARGEST",
    "Settings",
    "array",
    "boolean",
    "choice",
    "correlation_of",
    "inputs_of",
    "loss_of",
    "network_of",
    "number",
    "refuse_large_images",
    "settings_of",
    "units_of",
    "whole",
]

LARGEST = 1e100
THEORIES = ("exact", "frozen", "wei2019")
LOSSES = ("sum", "mean", "mse", "cross_entropy")
_MEMORY = 4e9  # bytes


@dataclass(frozen=True)
class Settings:
    """What is assumed of the data, and what is computed: `samples` n, None for infinitely many."""

    theory: str
    samples: int | None
    overlap: float
    length: float
    biases: bool


def settings_of(
    net: Any, theory: Any, samples: Any, overlap: Any, length: Any, biases: Any, by_units: bool = False
) -> Settings:
    """All five; |overlap| is bounded as a Gram matrix of n inputs has no negative eigenvalue."""
    network_of(net)
    choice("theory", theory, THEORIES)
    untreated = next((step.layer.unpublished for step in net.steps if step.layer.unpublished), None)
    if theory == "wei2019" and untreated:
        raise ValueError(
            f"theory must be 'exact' or 'frozen' for a network with {untreated}, which wei2019 does not treat"
        )
    if net.without_recursion and not by_units:
        raise ValueError(net.without_recursion)
    length = number("length", length, 1 / LARGEST)
    samples = None if samples is None else whole("samples", samples, 1, 2**53)
    if samples == 1 and net.batch_norms:
        raise ValueError("samples must be at least 2 under BatchNorm, whose variance over one sample is 0, got 1")
    lowest = 0.0 if samples is None else -length / max(samples - 1, 1)
    biases = theory != "wei2019" if biases is None else boolean("biases", biases)
    return Settings(theory, samples, number("overlap", overlap, lowest, length), length, biases)


def moments_of(net: Network, inputs: Any, overlap: Any, length: Any) -> tuple[Any, Any, Any]:
    """overlap, length and, of images, `inputs` itself: measured second moments stand for the two.

    Of centred data the overlap is -length/(n-1), which is 0 within its own error.
    """
    if inputs is None:
        return overlap, length, None
    images = len(net.input_shape) > 1 and inputs.within is not None
    return max(inputs.overlap, 0.0), inputs.length, inputs if images else None


def units_of(units: Any, seed: Any, memory: Any) -> tuple[Any, int]:
    """Units, "auto", None, or how many there are in all, and their seed. The memory is the core's to count."""
    if memory is not None:
        number("memory", memory, 1 / LARGEST)
    if not (units is None or (isinstance(units, str) and units == "auto")):
        units = whole("units", units, 64, 2**20)
    return units, whole("seed", seed, 0, 2**63)


def network_of(net: Any) -> Network:
    if not isinstance(net, Network):
        raise TypeError(f"net must be a fisherfield Network, got {shown(net)}")
    return net


def _plain(value: Any) -> Any:
    """A NumPy number or an array of no dimension as Python's."""
    return value.item() if getattr(value, "ndim", None) == 0 else value


def number(name: str, value: Any, low: float = -LARGEST, high: float = LARGEST) -> float:
    """A number from `low` to `high`."""
    value = _plain(value)
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise TypeError(f"{name} must be a number from {low:g} to {high:g}, got {shown(value)}")
    if not low <= value <= high:
        raise ValueError(f"{name} must be from {low:g} to {high:g}, got {shown(value)}")
    return float(value)


def whole(name: str, value: Any, low: int, high: int) -> int:
    """A whole number from `low` to `high`; a float that is whole counts."""
    value = _plain(value)
    if not isinstance(value, (int, float)) or isinstance(value, bool) or value != value // 1:
        raise TypeError(f"{name} must be a whole number from {low} to {high}, got {shown(value)}")
    if not low <= value <= high:
        raise ValueError(f"{name} must be a whole number from {low} to {high}, got {shown(value)}")
    return int(value)


def boolean(name: str, value: Any) -> bool:
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be True or False, got {shown(value)}")
    return bool(value)


def choice(name: str, value: Any, allowed: tuple[str, ...]) -> str:
    if not isinstance(value, str) or value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {shown(value)}")
    return value


def loss_of(value: Any, outputs: int) -> str:
    loss = choice("loss", value, LOSSES)
    if loss == "cross_entropy" and outputs < 2:
        raise ValueError(f"loss must be sum, mean or mse for a network with one output, got {shown(value)}")
    return loss


def array(name: str, value: Any, low: float = -LARGEST, high: float = LARGEST) -> np.ndarray:
    """A float64 array with every entry in [low, high]."""
    numbers = np.asarray(value)
    if numbers.dtype.kind not in "fiu":
        raise TypeError(f"{name} must be a number or an array of numbers, got {shown(value)}")
    numbers = numbers.astype(np.float64)
    if not np.all((numbers >= low) & (numbers <= high)):
        raise ValueError(f"{name} must be from {low:g} to {high:g}, got {shown(value)}")
    return numbers


def correlation_of(c: Any, one_minus_c: Any) -> tuple[np.ndarray, np.ndarray]:
    """c and 1 - c from whichever of the two is given; |c| up to 4 eps beyond 1 counts as 1."""
    if (c is None) == (one_minus_c is None):
        raise ValueError(f"exactly one of c and one_minus_c must be given, got {shown(c)} and {shown(one_minus_c)}")
    if c is None:
        rest = array("one_minus_c", one_minus_c, 0.0, 2.0)
        return 1.0 - rest, rest
    most = 1.0 + 4 * np.finfo(np.float64).eps
    correlation = np.clip(array("c", c, -most, most), -1.0, 1.0)
    return correlation, 1.0 - correlation


def inputs_of(net: Network, x: Any) -> np.ndarray:
    """Samples (n, *input_shape) in float64: one at least, and two numbers under every BatchNorm."""
    samples, shape = array("x", x, -math.inf, math.inf), net.input_shape
    if samples.ndim == 0 or samples.shape[1:] != shape or not np.isfinite(samples).all():
        raise ValueError(f"x must have shape (n, {', '.join(map(str, shape))}), got {samples.shape}, and be finite")
    least = 1
    for step in net.steps:
        if step.layer.over_batch and math.prod(step.after[1:]) == 1:
            least = 2
    if len(samples) < least:
        raise ValueError(f"x must hold at least {least} samples for this network, got {len(samples)}")
    return samples


def refuse_large_images(net: Network) -> None:
    """Per pair of positions, the reference holds an array for each layer's part and some for every step of a closed
    form (measured)."""
    shapes = (net.input_shape, *(step.after for step in net.steps))
    most = max((math.prod(shape[1:]) for shape in shapes if len(shape) == 3), default=1)
    needed = 8 * (60 + 12 * net.depth) * most**2
    if needed > _MEMORY:
        raise ValueError(
            f"net must fit into memory: the matrices over all pairs of its {most:,} positions take up to "
            f"{needed / 1e9:.3g} GB, and the reference takes {_MEMORY / 1e9:g} GB"
        )
