# SPDX-License-Identifier: BSD-3-Clause
"""Layers that put positions together: AvgPool2d, GlobalAvgPool2d, MaxPool2d, Flatten."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _numbers
from .layer import GAUSSIAN, Layer, Pair, Parts, Seen, Shape, Spot, Step, Stream, Window, kind, matrices, setting, two

if TYPE_CHECKING:
    from .. import _core

__all__ = ["AvgPool2d", "Flatten", "GlobalAvgPool2d", "MaxPool2d"]


class _Pool(Layer):
    """One number of each window and channel; of the whole image, where a kind does not say otherwise."""

    image = True
    in_place = False

    @property
    def unpublished(self) -> str:
        return "pooling"

    def flat(self) -> Layer | None:
        return None

    def window(self, before: Shape) -> Window:
        return Window((before[1], before[2]), (1, 1))

    def shape_of(self, before: Shape) -> Shape:
        window = self.window(before)
        for size, width, pad in zip(before[1:], window.kernel, window.padding, strict=True):
            if width > size + 2 * pad:
                raise ValueError(f"kernel must be at most the image's size {size + 2 * pad}, got {width}")
        return (before[0], *window.over(before))

    def image_bytes(self, step: Step, seen: Seen) -> int:
        return matrices(math.prod(step.before[1:]) ** 2, math.prod(step.after[1:]) ** 2)


class _Average(_Pool):
    """Means over windows."""

    def of_normals(self, before: Shape) -> tuple[float, float]:
        return 0.0, 1.0

    def compile_into(self, core: _core.Network, before: Shape) -> None:
        window = self.window(before)
        core.average_pool(window.kernel, window.stride, window.padding)

    def _linearize(self, core: Any, parts: Parts, before: Shape) -> None:
        window = self.window(before)
        core.average_pool(window.kernel, window.stride, window.padding)


def _stride(name: str, value: Any) -> Pair | None:
    return None if value is None else _numbers.pair(name, value, 1)


_KERNEL = setting(lambda name, value: _numbers.pair(name, value, 1))
_STRIDE = setting(_stride)
_PADDING = setting(lambda name, value: _numbers.pair(name, value, 0), rare=True)


class _Windows(_Pool):
    """Windows of `kernel`, every `stride` (default: `kernel`) positions; the padding is at most half of the kernel."""

    if TYPE_CHECKING:
        kernel: Pair
        stride: Pair | None
        padding: Pair

    def __post_init__(self) -> None:
        super().__post_init__()
        for width, pad in zip(two(self.kernel), two(self.padding), strict=True):
            if 2 * pad > width:
                raise ValueError(f"padding must be at most half of the kernel {self.kernel}, got {self.padding}")
        if self.stride is None:
            object.__setattr__(self, "stride", self.kernel)

    @property
    def padded(self) -> bool:
        return any(two(self.padding))

    def window(self, before: Shape) -> Window:
        return Window(two(self.kernel), two(self.stride or self.kernel), two(self.padding))


@kind
@dataclass(frozen=True)
class AvgPool2d(_Windows, _Average):
    """The mean over windows of `kernel`, every `stride` (default: `kernel`) positions.

    The zeros of the `padding` count (PyTorch's count_include_pad=True); it is at most half of the kernel.
    """

    averages = True

    kernel: Pair = field(metadata=_KERNEL)
    stride: Pair | None = field(default=None, metadata=_STRIDE)
    padding: Pair = field(default=0, metadata=_PADDING)


@kind
@dataclass(frozen=True)
class MaxPool2d(_Windows):
    """The largest of every window of `kernel`, every `stride` (default: `kernel`) positions; of equals the first.

    The `padding` is never the largest; it is at most half of the kernel. It stands behind a Dense or a convolution,
    whatever stands between, and not behind the last of them, for the output must be linear. No closed recursion has
    it.

    Raises ValueError or TypeError for sizes that are not whole numbers in their ranges; in a network, for a kernel
    beyond the padded image.
    """

    behind_output = False
    takes = (*GAUSSIAN, Stream.ACTIVATIONS)
    needs = "MaxPool2d must stand behind a Dense or a convolution, for data are described by second moments alone"

    kernel: Pair = field(metadata=_KERNEL)
    stride: Pair | None = field(default=None, metadata=_STRIDE)
    padding: Pair = field(default=0, metadata=_PADDING)

    def needs_units(self, spot: Spot) -> str:
        return "the largest of several positions is not a matter of their second moments alone"

    def of_normals(self, before: Shape) -> tuple[float, float]:
        taps = math.prod(self.window(before).kernel)
        z = np.linspace(-10.0, 10.0, 2001)  # the trapezium of a smooth integrand: 1e-15 at this step
        below = 0.5 + 0.5 * np.array([math.erf(x / math.sqrt(2.0)) for x in z])
        density = taps * np.exp(-0.5 * z * z) / math.sqrt(2 * math.pi) * below ** (taps - 1) * 0.01
        mean = float(density @ z)
        return mean, taps * float(density @ (z - mean) ** 2)

    def compile_into(self, core: _core.Network, before: Shape) -> None:
        core.max_pool(*self.window(before)[:3])

    def _linearize(self, core: Any, parts: Parts, before: Shape) -> None:
        window = self.window(before)
        core.layer("max_pool", [*window.kernel, *window.stride, *window.padding], [], False)


@kind
@dataclass(frozen=True)
class GlobalAvgPool2d(_Average):
    """The mean over all positions: (channels, height, width) to (channels, 1, 1)."""


@kind
@dataclass(frozen=True)
class Flatten(Layer):
    """(channels, height, width) to channels * height * width units."""

    image = True

    def flat(self) -> Layer | None:
        return None

    def shape_of(self, before: Shape) -> Shape:
        return (math.prod(before),)

    def outline(self, after: Shape) -> str:
        return type(self).__name__

    def compile_into(self, core: _core.Network, before: Shape) -> None:
        core.flatten()

    def _linearize(self, core: Any, parts: Parts, before: Shape) -> None:
        """A finite network's rows are flat already."""
