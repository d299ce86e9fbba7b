# SPDX-License-Identifier: BSD-3-Clause
"""Upsample: every position of an image several times, side by side."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .. import _numbers
from .layer import Layer, Pair, Parts, Seen, Shape, Step, kind, matrices, setting, two

if TYPE_CHECKING:
    from .. import _core

__all__ = ["Upsample"]


@kind
@dataclass(frozen=True)
class Upsample(Layer):
    """Every position `factor` times along each side: (channels, height, width) to (channels, factor height, ...).

    `torch.nn.Upsample` with mode="nearest", and AdaptiveAvgPool2d where its output is a multiple of its input, as in a
    VGG at 32 x 32. `factor` is one whole number, or two for height and width.

    Raises ValueError or TypeError for a factor that is none.
    """

    image = True
    in_place = False

    factor: Pair = field(metadata=setting(lambda name, value: _numbers.pair(name, value, 1)))

    @property
    def unpublished(self) -> str:
        return "pooling"

    def shape_of(self, before: Shape) -> Shape:
        after = tuple(size * times for size, times in zip(before[1:], two(self.factor), strict=True))
        if max(after) > _numbers.MANY:
            raise ValueError(f"the output must have at most {_numbers.MANY} positions along a side, got {max(after)}")
        return (before[0], *after)

    def compile_into(self, core: _core.Network, before: Shape) -> None:
        core.upsample(two(self.factor))

    def _linearize(self, core: Any, parts: Parts, before: Shape) -> None:
        core.layer("upsample", list(map(float, two(self.factor))), [], False)

    def image_bytes(self, step: Step, seen: Seen) -> int:
        return matrices(math.prod(step.before[1:]) ** 2, math.prod(step.after[1:]) ** 2)
