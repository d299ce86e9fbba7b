# SPDX-License-Identifier: BSD-3-Clause
"""Layers that put positions together: AvgPool2d, GlobalAvgPool2d, Flatten."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .. import _numbers
from .layer import Layer, Pair, Parts, Seen, Shape, Step, Window, kind, matrices, setting, two

if TYPE_CHECKING:
    from .. import _core

__all__ = ["AvgPool2d", "Flatten", "GlobalAvgPool2d"]


class _Average(Layer):
    """Means over windows without padding; of the whole image, where a kind does not say otherwise."""

    image = True
    in_place = False
    unpublished = "pooling"

    def window(self, before: Shape) -> Window:
        return Window((before[1], before[2]), (1, 1))

    def shape_of(self, before: Shape) -> Shape:
        window = self.window(before)
        for size, width in zip(before[1:], window.kernel, strict=True):
            if width > size:
                raise ValueError(f"kernel must be at most the image's size {size}, got {width}")
        return (before[0], *window.over(before))

    def compile_into(self, core: _core.Network, before: Shape) -> None:
        window = self.window(before)
        core.average_pool(window.kernel, window.stride)

    def _linearize(self, core: Any, parts: Parts, before: Shape) -> None:
        window = self.window(before)
        core.average_pool(window.kernel, window.stride)

    def image_bytes(self, step: Step, seen: Seen) -> int:
        return matrices(math.prod(step.before[1:]) ** 2, math.prod(step.after[1:]) ** 2)


def _stride(name: str, value: Any) -> Pair | None:
    return None if value is None else _numbers.pair(name, value, 1)


@kind
@dataclass(frozen=True)
class AvgPool2d(_Average):
    """The mean over windows of `kernel`, every `stride` (default: `kernel`) positions, without padding."""

    averages = True

    kernel: Pair = field(metadata=setting(lambda name, value: _numbers.pair(name, value, 1)))
    stride: Pair | None = field(default=None, metadata=setting(_stride))

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.stride is None:
            object.__setattr__(self, "stride", self.kernel)

    def window(self, before: Shape) -> Window:
        return Window(two(self.kernel), two(self.stride or self.kernel))


@kind
@dataclass(frozen=True)
class GlobalAvgPool2d(_Average):
    """The mean over all positions: (channels, height, width) to (channels, 1, 1)."""


@kind
@dataclass(frozen=True)
class Flatten(Layer):
    """(channels, height, width) to channels * height * width units."""

    image = True

    def shape_of(self, before: Shape) -> Shape:
        return (math.prod(before),)

    def outline(self, after: Shape) -> str:
        return type(self).__name__

    def compile_into(self, core: _core.Network, before: Shape) -> None:
        core.flatten()

    def _linearize(self, core: Any, parts: Parts, before: Shape) -> None:
        """A finite network's rows are flat already."""
