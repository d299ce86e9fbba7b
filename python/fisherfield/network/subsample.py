# SPDX-License-Identifier: BSD-3-Clause
"""Subsample: the skip without parameters of the CIFAR ResNets, where a block changes the shape."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .. import _numbers
from .layer import GAUSSIAN, Layer, Pair, Parts, Seen, Shape, Spot, Step, Stream, Window, kind, matrices, setting, two

if TYPE_CHECKING:
    from .. import _core

__all__ = ["Subsample"]


@kind
@dataclass(frozen=True)
class Subsample(Layer):
    """Every `stride`-th position of the channels that come in, and zeros as channels behind them, `channels` in all.

    It is the last layer of a skip, `Residual(branch, skip=[Subsample(channels)])`: the skip without parameters of He,
    Zhang, Ren and Sun (2015, option A), which halves the image and doubles the channels. No closed recursion has it.

    Raises ValueError or TypeError for sizes that are not whole numbers >= 1; in a network, for fewer channels than come
    in, and where it does not end a skip.
    """

    image = True
    in_place = False
    as_wide_as_branch = True
    takes = (*GAUSSIAN, Stream.ACTIVATIONS)
    needs = "Subsample must stand behind a Dense or a convolution"

    channels: int = field(metadata=setting(lambda name, value: _numbers.integer(name, value, 1)))
    stride: Pair = field(default=2, metadata=setting(lambda name, value: _numbers.pair(name, value, 1)))

    @property
    def unpublished(self) -> str:
        return "sums of branches"

    def gives(self, before: Stream, shape: Shape) -> Stream:
        return Stream.PADDED

    def needs_units(self, spot: Spot) -> str:
        return "zeros stand in place of some units"

    def steps(self, spot: Spot) -> Any:
        if not spot.hidden:
            raise ValueError(
                f"{spot.where}: Subsample must be the last layer of a skip, and it stands behind the output"
            )
        yield from super().steps(spot)

    def widened(self, width: int, channels: int, before: Shape) -> Subsample:
        return dataclasses.replace(self, channels=width)

    def window(self, before: Shape) -> Window:
        return Window((1, 1), two(self.stride))

    def shape_of(self, before: Shape) -> Shape:
        if self.channels < before[0]:
            raise ValueError(f"channels must be at least the {before[0]} that come in, got {self.channels}")
        return (self.channels, *self.window(before).over(before))

    def compile_into(self, core: _core.Network, before: Shape) -> None:
        core.subsample(self.channels, two(self.stride))

    def _linearize(self, core: Any, parts: Parts, before: Shape) -> None:
        core.layer("subsample", [self.channels, *two(self.stride)], [], False)

    def image_bytes(self, step: Step, seen: Seen) -> int:
        return matrices(math.prod(step.before[1:]) ** 2, math.prod(step.after[1:]) ** 2)
