# SPDX-License-Identifier: BSD-3-Clause
"""sigma_w2 and sigma_b2 of a PyTorch layer: measured, or those of the initialiser that its numbers fit."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

import numpy as np
import torch

from ..network import Layer
from ..network.layer import Shape, Spot

__all__ = ["Note", "Origin", "Reading", "Unclear", "as_numpy", "as_seen", "made_of", "moments", "variances"]

_ERRORS = 6.0  # standard errors that a mean square may be off by chance
_ODDS = math.log(1e4)  # by which the likeliest initialiser must be likelier than others
_SAME = 1e-6  # relative; what a change of dtype leaves of a mean square, and no training does


@dataclass(frozen=True)
class Origin:
    """What a layer was made of, if of any, and the moments that its weights and biases had then."""

    layer: Layer | None
    moments: tuple[tuple[float, float], ...]


class Unclear(ValueError):
    """Weights of no known initialiser, or too few to tell which; measured variances are the way out."""


@dataclass(frozen=True)
class Note:
    """What a description says otherwise than the module; `always`: a sampled network of its numbers as well."""

    text: str
    always: bool = False


@dataclass
class Reading:
    """Where the next layer stands, the layers read so far, and what is to be noted of them."""

    spot: Spot
    initial: bool
    line: bool  # images of the module are (channels, length), those of the description (channels, 1, length)
    layers: list[Layer] = field(default_factory=list)
    tensors: list[tuple[Any, ...]] = field(default_factory=list)  # of each step, None: it has none
    described_alone: list[str] = field(default_factory=list)  # why a sampled network would have other outputs
    notes: list[Note] = field(default_factory=list)
    owners: dict[int, tuple[str, int]] = field(default_factory=dict)  # of tensors by address, and the call's number
    numbers: Iterator[int] = field(default_factory=count)  # of calls

    @property
    def shape(self) -> Shape:
        """Of what comes in at the next layer, as the description has it."""
        return self.spot.shape

    @property
    def seen(self) -> Shape:
        """The same as the module has it."""
        return as_seen(self.shape, self.line)

    def branch(self, where: str) -> Reading:
        """A reading from here on, of layers of its own; tensors, notes and owners are those of the whole module."""
        return replace(self, spot=self.spot._replace(where=where), layers=[])


def as_seen(shape: Shape, line: bool) -> Shape:
    """A description's shape as a module of lines, (channels, length), has it."""
    return (shape[0], shape[2]) if line and len(shape) == 3 else shape


def made_of(layer: Any) -> Layer | None:
    """The layer that `ff.torch.module` made it of, if any."""
    origin = getattr(layer, "_fisherfield", None)
    return origin.layer if isinstance(origin, Origin) else None


def as_numpy(tensor: torch.Tensor) -> Any:
    return tensor.detach().cpu().double().numpy()


def moments(layer: Any) -> tuple[tuple[float, float], ...]:
    """Mean and mean square of weights and of biases."""
    parts = [np.zeros(1) if part is None else as_numpy(part) for part in (layer.weight, layer.bias)]
    return tuple((float(np.mean(part)), float(np.mean(part**2))) for part in parts)


def _unchanged(now: tuple[float, float], then: tuple[float, float]) -> bool:
    """Whether mean and mean square are what they were, but for a change of dtype."""
    same_mean = math.isclose(now[0], then[0], rel_tol=0.0, abs_tol=_SAME * math.sqrt(then[1]))
    return same_mean and math.isclose(now[1], then[1], rel_tol=_SAME)


def variances(reading: Reading, layer: Any, where: str) -> tuple[float, float]:
    """sigma_w2 and sigma_b2."""
    for tensor in (layer.weight, layer.bias):
        if tensor is None:
            continue
        if not tensor.requires_grad:
            raise ValueError("the theory has every weight and bias trained, and some of its do not require gradients")
        if not bool(torch.isfinite(tensor).all()):
            raise ValueError("its weights and biases must be finite")
    weight, now = as_numpy(layer.weight), moments(layer)
    (mean, square), (_, bias_square) = now
    made: Any = made_of(layer)
    if made is not None and all(map(_unchanged, now, layer._fisherfield.moments)):
        return made.sigma_w2, made.sigma_b2
    fan_in = weight[0].size
    if reading.initial:
        return _known(square * fan_in, weight), _known_bias(bias_square, layer.bias, fan_in)
    if mean**2 * weight.size > _ERRORS**2 * square and mean**2 > 1e-2 * square:
        reading.notes.append(
            Note(
                f"{where}: the weights have mean {mean:.3g} beside a root mean square of {math.sqrt(square):.3g}, and "
                "the theory takes their mean to be 0"
            )
        )
    return square * fan_in, bias_square


def _known(measured: float, weight: Any) -> float:
    """sigma_w2 of the known initialiser that is likelier than any other by 1e4, and 0 of weights that are all 0.

    The law that weights were drawn from loses by such odds at most once in 1e4 times, whatever the other is.
    """
    if measured == 0.0:
        return 0.0
    m, fan_in, fan_out = weight.size, weight[0].size, weight[:, 0].size
    known = {
        "LeCun's": 1.0,
        "kaiming with the gain of ReLU": 2.0,
        "kaiming with the gain of ReLU and fan_out": 2 * fan_in / fan_out,
        "xavier": 2 * fan_in / (fan_in + fan_out),
    }
    largest = float(np.abs(weight).max()) * math.sqrt(fan_in)
    laws = [("PyTorch's own", 1 / 3, True)] + [(*law, uniform) for law in known.items() for uniform in (True, False)]
    fits: list[tuple[float, float, str]] = []
    for name, value, uniform in laws:
        if not _likely(measured, largest, value, m, uniform):
            continue
        odds = -math.log(12 * value) if uniform else -math.log(2 * math.pi * value) - measured / value
        fits.append((m / 2 * odds, value, name))
    if not fits:
        words = ", ".join(f"{name} {value:.4g}" for name, value in {"PyTorch's own": 1 / 3, **known}.items())
        raise Unclear(
            f"its weights have fan_in times mean square {measured:.4g}, of no known initialiser ({words}): "
            "use variances='measured'"
        )
    best, likeliest, name = max(fits)
    for odds, value, other in fits:
        if odds > best - _ODDS and not math.isclose(value, likeliest):
            raise Unclear(
                f"its {m} weights are too few to tell {name} (sigma_w2 {likeliest:.4g}) from {other} ({value:.4g}): "
                "use variances='measured'"
            )
    return likeliest


def _likely(measured: float, largest: float, variance: float, m: int, uniform: bool) -> bool:
    """Whether the mean square of m numbers is within its error, and none is beyond the bound of a uniform law."""
    error = math.sqrt((0.8 if uniform else 2.0) / m)  # of mean(w^2)/E w^2, from E w^4 = 9/5 or 3 times (E w^2)^2
    within = abs(measured / variance - 1) <= _ERRORS * error
    return within and not (uniform and largest > math.sqrt(3 * variance) * (1 + _SAME))


def _known_bias(measured: float, bias: Any, fan_in: int) -> float:
    if measured == 0.0:
        return 0.0
    known = 1 / (3 * fan_in)
    if not _likely(measured, float(bias.detach().abs().max()), known, bias.numel(), True):
        raise Unclear(
            f"its biases have mean square {measured:.4g}, of no known initialiser (0, PyTorch's own {known:.4g}): "
            "use variances='measured'"
        )
    return known
