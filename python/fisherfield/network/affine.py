# SPDX-License-Identifier: BSD-3-Clause
"""Layers with weights and biases: Dense, Conv2d and Conv1d."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from .. import _numbers
from .layer import Array, Layer, Pair, Parts, Seen, Shape, Spot, Step, Stream, Window, kind, matrices, setting, two

if TYPE_CHECKING:
    from .. import _core

__all__ = ["Affine", "Conv1d", "Conv2d", "Dense"]

_SIZE = setting(lambda name, value: _numbers.integer(name, value, 1))
_SIGMA_W2 = setting(_numbers.MAGNITUDE, "variance of weights times fan_in", r"$\sigma_w^2$")
_SIGMA_B2_DEFAULT = 0.5
_BIAS = setting(_numbers.boolean, rare=True)
_SIGMA_B2 = setting(_numbers.MAGNITUDE, "variance of biases", r"$\sigma_b^2$")


class Affine(Layer):
    """What they have in common: W ~ N(0, sigma_w2/fan_in) and b ~ N(0, sigma_b2), or no biases."""

    affine = True
    in_place = False
    width_field: ClassVar[str]  # that counts its units or channels

    if TYPE_CHECKING:
        sigma_w2: float
        sigma_b2: float
        bias: bool

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.bias:
            if self.sigma_b2 not in (0.0, _SIGMA_B2_DEFAULT):
                raise ValueError(f"sigma_b2 must be 0, or left out, where bias=False, got {self.sigma_b2}")
            object.__setattr__(self, "sigma_b2", 0.0)

    def has(self, name: str) -> bool:
        return super().has(name) and (self.bias or name != "sigma_b2")

    def gives(self, before: Stream, shape: Shape) -> Stream:
        return Stream.UNITS

    @property
    def width(self) -> int:
        """Units or channels."""
        return int(getattr(self, self.width_field))

    def widened(self, width: int, channels: int, before: Shape) -> Affine:
        return dataclasses.replace(self, **{self.width_field: width})

    def arrays(self, before: Shape, after: Shape) -> tuple[Array, ...]:
        window = self.window(before)
        sizes = (before[0] // self.channel_groups, *(window.kernel if window else ()))
        deviation = math.sqrt(self.sigma_w2 / math.prod(sizes))
        return (
            Array("weights", (after[0], *sizes), 0.0, deviation),
            Array("biases", (after[0],), 0.0, math.sqrt(self.sigma_b2) if self.bias else None, self.bias),
        )

    def compile_into(self, core: _core.Network, before: Shape) -> None:
        window = self.window(before) or Window((1, 1), (1, 1))
        numbers = (self.bias, self.sigma_w2, self.sigma_b2)
        core.affine(self.width, *window, self.channel_groups, *numbers)


@kind
@dataclass(frozen=True)
class Dense(Affine):
    """z = W h + b with W_ij ~ N(0, sigma_w2 / fan_in) and b_i ~ N(0, sigma_b2), all independent; no b if not `bias`.

    Raises ValueError or TypeError for units < 1 or a variance that is negative, not finite or beyond 1e100, and for a
    sigma_b2 without biases.
    """

    image = False
    width_field = "units"

    units: int = field(metadata=_SIZE)
    sigma_w2: float = field(default=2.0, metadata=_SIGMA_W2)
    sigma_b2: float = field(default=_SIGMA_B2_DEFAULT, metadata=_SIGMA_B2)
    bias: bool = field(default=True, metadata=_BIAS)

    def shape_of(self, before: Shape) -> Shape:
        return (self.units,)

    def _linearize(self, core: Any, parts: Parts, before: Shape) -> None:
        (weights, _), (biases, trained) = parts
        core.affine(weights, biases, trained)


class _Convolution(Affine):
    """What convolutions have in common: their windows, groups of channels, and sizes."""

    image = True
    width_field = "channels"

    if TYPE_CHECKING:
        channels: int
        kernel: Pair
        padding: Pair
        groups: int

    def window(self, before: Shape) -> Window:
        raise NotImplementedError

    @property
    def channel_groups(self) -> int:
        return self.groups

    @property
    def unscattered(self) -> str:
        return "convolutions in groups" if self.groups > 1 else ""

    def flat(self) -> Layer | None:
        return Dense(self.channels, self.sigma_w2, self.sigma_b2, self.bias)

    @property
    def padded(self) -> bool:
        return any(two(self.padding))

    def widened(self, width: int, channels: int, before: Shape) -> Affine:
        groups = channels if self.depthwise(before) else self.groups
        return dataclasses.replace(self, channels=width, groups=groups)

    def depthwise(self, before: Shape) -> bool:
        """Whether each of its channels is made of one channel alone."""
        return 1 < self.groups == before[0]

    def gives(self, before: Stream, shape: Shape) -> Stream:
        return Stream.ACTIVATIONS if self.depthwise(shape) else Stream.UNITS

    def needs_units(self, spot: Spot) -> str:
        return "a sum over the taps of one channel is not Gaussian" if self.depthwise(spot.shape) else ""

    def through_weights(self, before: Shape) -> bool:
        return not self.depthwise(before)

    def shape_of(self, before: Shape) -> Shape:
        window = self.window(before)
        for size, width, pad in zip(before[1:], window.width, window.padding, strict=True):
            if width > size + 2 * pad:
                apart = "" if set(window.dilation) == {1} else f" with dilation {window.dilation}"
                raise ValueError(f"kernel must be at most the padded size {size + 2 * pad}, got {self.kernel}{apart}")
        self._check_groups(before[0])
        after = window.over(before)
        if max(after) > _numbers.MANY:
            raise ValueError(f"the output must have at most {_numbers.MANY} positions along a side, got {max(after)}")
        return (self.channels, *after)

    def _check_groups(self, channels: int) -> None:
        for name, count in (("channels that come in", channels), ("channels", self.channels)):
            if count % self.groups:
                raise ValueError(f"groups must divide the {count} {name}, got {self.groups}")

    def _linearize(self, core: Any, parts: Parts, before: Shape) -> None:
        (weights, _), (biases, trained) = parts
        window = self.window(before)
        core.affine(weights, biases, trained, window.stride, window.padding, window.dilation)

    def image_bytes(self, step: Step, seen: Seen) -> int:
        positions = math.prod(step.before[1:])  # the input's matrices are diagonal
        return matrices(positions if step.previous is None else positions**2, math.prod(step.after[1:]) ** 2)


def _pair(least: int, rare: bool = False) -> dict[str, Any]:
    return setting(lambda name, value: _numbers.pair(name, value, least), rare=rare)


def _one(least: int, rare: bool = False) -> dict[str, Any]:
    return setting(lambda name, value: _numbers.integer(name, value, least), rare=rare)


@kind
@dataclass(frozen=True)
class Conv2d(_Convolution):
    """A convolution with W ~ N(0, sigma_w2 / fan_in) and zero padding; sizes as in `torch.nn.Conv2d`.

    `kernel`, `stride`, `padding` and `dilation` are one whole number, or two for height and width. fan_in is
    (channels_in / groups) kernel^2; theory takes channels_in / groups for large, but where it is 1 (depthwise):
    these few weights are drawn with sampled units. `bias` says whether there are biases.

    Raises ValueError or TypeError for sizes that are none, or a variance that is negative, not finite or beyond 1e100;
    in a network for groups that do not divide the channels.
    """

    channels: int = field(metadata=_SIZE)
    kernel: Pair = field(default=3, metadata=_pair(1))
    stride: Pair = field(default=1, metadata=_pair(1))
    padding: Pair = field(default=0, metadata=_pair(0))
    sigma_w2: float = field(default=2.0, metadata=_SIGMA_W2)
    sigma_b2: float = field(default=_SIGMA_B2_DEFAULT, metadata=_SIGMA_B2)
    groups: int = field(default=1, metadata=_one(1, rare=True))
    dilation: Pair = field(default=1, metadata=_pair(1, rare=True))
    bias: bool = field(default=True, metadata=_BIAS)

    def window(self, before: Shape) -> Window:
        return Window(two(self.kernel), two(self.stride), two(self.padding), two(self.dilation))


@kind
@dataclass(frozen=True)
class Conv1d(_Convolution):
    """A convolution along the width of images of height 1, (channels, 1, length); sizes as in `torch.nn.Conv1d`.

    The same as `Conv2d(channels, (1, kernel), (1, stride), (0, padding), dilation=(1, dilation))`, and as that in all
    else.
    """

    channels: int = field(metadata=_SIZE)
    kernel: int = field(default=3, metadata=_one(1))
    stride: int = field(default=1, metadata=_one(1))
    padding: int = field(default=0, metadata=_one(0))
    sigma_w2: float = field(default=2.0, metadata=_SIGMA_W2)
    sigma_b2: float = field(default=_SIGMA_B2_DEFAULT, metadata=_SIGMA_B2)
    groups: int = field(default=1, metadata=_one(1, rare=True))
    dilation: int = field(default=1, metadata=_one(1, rare=True))
    bias: bool = field(default=True, metadata=_BIAS)

    def window(self, before: Shape) -> Window:
        return Window((1, self.kernel), (1, self.stride), (0, self.padding), (1, self.dilation))

    def shape_of(self, before: Shape) -> Shape:
        if before[1] != 1:
            raise ValueError(f"Conv1d needs images of height 1, (channels, 1, length), got shape {before}")
        return super().shape_of(before)
