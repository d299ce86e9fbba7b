# SPDX-License-Identifier: BSD-3-Clause
"""Layers with weights and biases: Dense and Conv2d."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from .. import _numbers
from .layer import Array, Layer, Pair, Parts, Seen, Shape, Step, Stream, Window, kind, matrices, setting, two

if TYPE_CHECKING:
    from .. import _core

__all__ = ["Affine", "Conv2d", "Dense"]

_SIZE = setting(lambda name, value: _numbers.integer(name, value, 1))
_SIGMA_W2 = setting(_numbers.MAGNITUDE, "variance of weights times fan_in", r"$\sigma_w^2$")
_SIGMA_B2 = setting(_numbers.MAGNITUDE, "variance of biases", r"$\sigma_b^2$")


class Affine(Layer):
    """What Dense and Conv2d have in common: W ~ N(0, sigma_w2/fan_in) and b ~ N(0, sigma_b2)."""

    affine = True
    in_place = False
    width_field: ClassVar[str]  # that counts its units or channels

    if TYPE_CHECKING:
        sigma_w2: float
        sigma_b2: float

    def gives(self, before: Stream) -> Stream:
        return Stream.UNITS

    @property
    def width(self) -> int:
        """Units or channels."""
        return int(getattr(self, self.width_field))

    def widened(self, width: int) -> Affine:
        """With so many units or channels."""
        return dataclasses.replace(self, **{self.width_field: width})

    def arrays(self, before: Shape, after: Shape) -> tuple[Array, ...]:
        window = self.window(before)
        taps = window.kernel if window else ()
        deviation = math.sqrt(self.sigma_w2 / math.prod((before[0], *taps)))
        return (
            Array("weights", (after[0], before[0], *taps), 0.0, deviation),
            Array("biases", (after[0],), 0.0, math.sqrt(self.sigma_b2)),
        )


@kind
@dataclass(frozen=True)
class Dense(Affine):
    """z = W h + b with W_ij ~ N(0, sigma_w2 / fan_in) and b_i ~ N(0, sigma_b2), all independent.

    Raises ValueError or TypeError for units < 1 or a variance that is negative, not finite or beyond 1e100.
    """

    image = False
    width_field = "units"

    units: int = field(metadata=_SIZE)
    sigma_w2: float = field(default=2.0, metadata=_SIGMA_W2)
    sigma_b2: float = field(default=0.5, metadata=_SIGMA_B2)

    def shape_of(self, before: Shape) -> Shape:
        return (self.units,)

    def compile_into(self, core: _core.Network, before: Shape) -> None:
        core.affine(self.units, (1, 1), (1, 1), (0, 0), self.sigma_w2, self.sigma_b2)

    def _linearize(self, core: Any, parts: Parts, before: Shape) -> None:
        (weights, _), (biases, trained) = parts
        core.affine(weights, biases, trained)


@kind
@dataclass(frozen=True)
class Conv2d(Affine):
    """A convolution with W ~ N(0, sigma_w2 / (channels_in kernel^2)) and zero padding; sizes as in `torch.nn.Conv2d`.

    `kernel`, `stride` and `padding` are one whole number, or two for height and width.

    Raises ValueError or TypeError for sizes that are none, or a variance that is negative, not finite or beyond 1e100.
    """

    image = True
    width_field = "channels"

    channels: int = field(metadata=_SIZE)
    kernel: Pair = field(default=3, metadata=setting(lambda name, value: _numbers.pair(name, value, 1)))
    stride: Pair = field(default=1, metadata=setting(lambda name, value: _numbers.pair(name, value, 1)))
    padding: Pair = field(default=0, metadata=setting(lambda name, value: _numbers.pair(name, value, 0)))
    sigma_w2: float = field(default=2.0, metadata=_SIGMA_W2)
    sigma_b2: float = field(default=0.5, metadata=_SIGMA_B2)

    def window(self, before: Shape) -> Window:
        return Window(two(self.kernel), two(self.stride), two(self.padding))

    @property
    def padded(self) -> bool:
        return any(two(self.padding))

    def shape_of(self, before: Shape) -> Shape:
        window = self.window(before)
        for size, width, pad in zip(before[1:], window.kernel, window.padding, strict=True):
            if width > size + 2 * pad:
                raise ValueError(f"kernel must be at most the padded size {size + 2 * pad}, got {self.kernel}")
        after = window.over(before)
        if max(after) > _numbers.MANY:
            raise ValueError(f"the output must have at most {_numbers.MANY} positions along a side, got {max(after)}")
        return (self.channels, *after)

    def compile_into(self, core: _core.Network, before: Shape) -> None:
        core.affine(self.channels, *self.window(before), self.sigma_w2, self.sigma_b2)

    def _linearize(self, core: Any, parts: Parts, before: Shape) -> None:
        (weights, _), (biases, trained) = parts
        window = self.window(before)
        core.affine(weights, biases, trained, window.stride, window.padding)

    def image_bytes(self, step: Step, seen: Seen) -> int:
        positions = math.prod(step.before[1:])  # the input's matrices are diagonal
        return matrices(positions if step.previous is None else positions**2, math.prod(step.after[1:]) ** 2)
