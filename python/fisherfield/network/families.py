# SPDX-License-Identifier: BSD-3-Clause
"""Builders of the papers' families: residual networks and VGG."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from .. import _numbers
from .activation import as_activation
from .affine import Conv2d, Dense
from .builders import norm_and_phi
from .dropout import Dropout
from .layer import Layer, Shape
from .network import Network
from .pools import AvgPool2d, Flatten, GlobalAvgPool2d, MaxPool2d
from .residual import Residual
from .subsample import Subsample
from .upsample import Upsample

__all__ = ["resnet", "vgg"]

_IMAGENET = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
_BOTTLENECK = (50, 101, 152)
_VGG = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
_POOLS = ("max", "average")


def resnet(
    depth: int,
    input_shape: tuple[int, int, int],
    outputs: int = 1000,
    channels: int | None = None,
    *,
    family: str | None = None,
    preactivation: bool = False,
    skips: str | None = None,
    groups: int = 1,
    width_per_group: int = 64,
    pool: str = "max",
    norm: str | None = "batch",
    activation: Any = "relu",
    gamma: Any = 1.0,
    beta: Any = 0.0,
    eps: Any = 0.0,
    trained: Any = False,
    sigma_w2: Any = 2.0,
    sigma_b2: Any = 0.0,
) -> Network:
    """A residual network of He, Zhang, Ren and Sun (2015), for images like ImageNet's or CIFAR's.

    "imagenet", depths 18, 34, 50, 101 and 152: a convolution of kernel 7 and stride 2, a pooling of kernel 3 and stride
    2, and four stages; blocks of two convolutions, from depth 50 on bottlenecks of three. "cifar", depths 6 n + 2
    (20, 32, 44, 56, 110, ...): a convolution of kernel 3 and three stages of n blocks of two. Both end with
    GlobalAvgPool2d and a dense layer.

        h -> phi(skip(h) + norm(conv(phi(norm(conv(h))))))            post-activation, as published first
        h -> skip(h) + conv(phi(norm(conv(phi(norm(h))))))            `preactivation` (He et al. 2016)

    Parameters
    ----------
    depth : int
    input_shape : (channels, height, width)
    outputs : int
    channels : int, optional
        Of the first stage: by default 64 ("imagenet") or 16 ("cifar"). Every stage has twice as many as the one before.
    family : {"imagenet", "cifar"}, optional
        By default that of the depth, "imagenet" where both have it (50, 152).
    preactivation : bool
    skips : {"projection", "zeros"}, optional
        Where a block changes the shape: a convolution of kernel 1, or every second position and zeros as new channels
        (`Subsample`). By default "projection" ("imagenet", and with `preactivation`) or "zeros" ("cifar").
    groups, width_per_group : int
        Of the bottlenecks' inner convolutions, as in torchvision: Wide ResNets have width_per_group=128, ResNeXt
        groups=32 and width_per_group=4. For a first stage of other than 64 channels they are in proportion.
    pool : {"max", "average"}
        The pooling behind the first convolution of "imagenet"; a closed recursion has "average" alone.
    norm : {"batch", "layer", "rms"} or None
    activation, gamma, beta, eps, trained, sigma_w2, sigma_b2
        One for all layers; `Network.replace` changes them layer by layer. Convolutions have no biases; sigma_b2 is that
        of the dense layer. He's variances, with biases 0, are the default.

    Raises
    ------
    ValueError, TypeError
        In one sentence.

    Examples
    --------
    >>> ff.resnet(18, (3, 224, 224))
    >>> ff.resnet(110, (3, 32, 32), 10, trained=True, eps=1e-5)
    >>> ff.resnet(50, (3, 224, 224), groups=32, width_per_group=4)
    """
    family, stages = _family(depth, family)
    preactivation = _numbers.boolean("preactivation", preactivation)
    numbers = {"gamma": gamma, "beta": beta, "eps": eps, "trained": trained}
    makers = _Layers(norm, activation, numbers, sigma_w2)
    if skips is None:
        skips = "zeros" if family == "cifar" and not preactivation else "projection"
    _numbers.choice("skips", skips, ("projection", "zeros"))
    if channels is None:
        channels = 64 if family == "imagenet" else 16
    channels = _numbers.integer("channels", channels, 1)
    shape = _image(input_shape)
    layers: list[Layer] = []
    if family == "imagenet":
        layers += [makers.convolution(channels, 7, 2), *(() if preactivation else makers.between())]
        layers.append(_pool(pool, 3, 2, 1))
    else:
        layers += [makers.convolution(channels, 3), *(() if preactivation else makers.between())]
    bottleneck = family == "imagenet" and depth in _BOTTLENECK
    if not bottleneck and (groups, width_per_group) != (1, 64):
        raise ValueError(
            f"groups and width_per_group must be 1 and 64 in networks without bottlenecks, as of depth {depth}"
        )
    blocks = _Blocks(makers, preactivation, skips, bottleneck, *_inner(groups, width_per_group))
    before = channels
    for stage, count in enumerate(stages):
        for block in range(count):
            width = channels * 2**stage
            layers += blocks.block(before, width, 2 if stage and not block else 1)
            before = blocks.out(width)
    if preactivation:
        layers += makers.between()
    return Network(shape, (*layers, GlobalAvgPool2d(), Flatten(), Dense(outputs, sigma_w2, sigma_b2)))


def vgg(
    depth: int,
    input_shape: tuple[int, int, int],
    outputs: int = 1000,
    channels: int = 64,
    *,
    batch_norm: bool = False,
    hidden: Sequence[int] = (4096, 4096),
    grid: int = 7,
    dropout: float = 0.5,
    pool: str = "max",
    activation: Any = "relu",
    gamma: Any = 1.0,
    beta: Any = 0.0,
    eps: Any = 0.0,
    trained: Any = False,
    sigma_w2: Any = 2.0,
    sigma_b2: Any = 0.0,
) -> Network:
    """A VGG of Simonyan and Zisserman (2014), depth 11, 13, 16 or 19.

    Five stages of convolutions of kernel 3, each with an activation and, where asked for, a BatchNorm before it; a
    pooling of kernel 2 behind every stage. Then the image is brought to `grid` x `grid` positions, as torchvision's
    AdaptiveAvgPool2d does, and dense layers of `hidden` units follow, each with an activation and Dropout.

    Parameters
    ----------
    depth : int
    input_shape : (channels, height, width)
    outputs : int
    channels : int
        Of the first stage; twice, four, eight and eight times as many in the others.
    batch_norm : bool
    hidden : sequence of int
        Units of the dense layers before the outputs; () for none.
    grid : int
        Height and width before these. Windows are averaged where they come out evenly, positions are repeated where
        there are fewer: an image of 32 x 32 is 1 x 1 then, and 7 x 7 repetitions of it.
    dropout : float
        Its rate behind the hidden dense layers; 0 for none.
    pool : {"max", "average"}
        A closed recursion has "average" alone.
    activation, gamma, beta, eps, trained, sigma_w2, sigma_b2
        One for all layers; `Network.replace` changes them layer by layer. He's variances, with biases 0, are the
        default.

    Raises
    ------
    ValueError, TypeError
        In one sentence.

    Examples
    --------
    >>> ff.vgg(16, (3, 224, 224), batch_norm=True)
    >>> ff.vgg(11, (3, 32, 32), 10, hidden=(), grid=1)
    """
    depth = _depth(depth, _VGG)
    norm = "batch" if _numbers.boolean("batch_norm", batch_norm) else None
    numbers = {"gamma": gamma, "beta": beta, "eps": eps, "trained": trained}
    makers = _Layers(norm, activation, numbers, sigma_w2, bias=True, sigma_b2=sigma_b2)
    channels = _numbers.integer("channels", channels, 1)
    shape = _image(input_shape)
    layers: list[Layer] = []
    for stage, count in enumerate(_VGG[depth]):
        for _ in range(count):
            layers += [makers.convolution(channels * min(2**stage, 8), 3), *makers.between()]
        layers.append(_pool(pool, 2, 2, 0))
    end = shape
    for layer in layers:
        try:
            end = layer.shape_of(end)
        except ValueError:
            raise ValueError(f"input_shape must be at least 32 x 32 for five poolings, got {shape}") from None
    layers += _to_grid(end, _numbers.integer("grid", grid, 1))
    layers.append(Flatten())
    phi, rate = as_activation(activation), Dropout(dropout)
    for units in _numbers.entries("hidden", hidden):
        layers += [Dense(units, sigma_w2, sigma_b2), phi, *([rate] if rate.rate else [])]
    return Network(shape, (*layers, Dense(outputs, sigma_w2, sigma_b2)))


# ---------------------------------------------------------------------------------------------------------- their parts


@dataclass(frozen=True)
class _Layers:
    """Convolutions, and what stands behind them."""

    norm: str | None
    activation: Any
    numbers: dict[str, Any]
    sigma_w2: Any
    bias: bool = False
    sigma_b2: Any = 0.0

    def convolution(self, channels: int, kernel: int, stride: int = 1, groups: int = 1) -> Conv2d:
        """Of the same size, but for the stride."""
        sizes = (channels, kernel, stride, kernel // 2, self.sigma_w2, self.sigma_b2)
        return Conv2d(*sizes, groups=groups, bias=self.bias)

    def between(self, activation: bool = True) -> list[Layer]:
        """The norm, if there is one, and phi."""
        layers = norm_and_phi(1, self.activation, self.norm, True, **self.numbers)[0]
        return layers if activation else layers[:-1]


@dataclass(frozen=True)
class _Blocks:
    makers: _Layers
    preactivation: bool
    skips: str
    bottleneck: bool
    groups: int
    width_per_group: int

    def out(self, width: int) -> int:
        return 4 * width if self.bottleneck else width

    def block(self, before: int, width: int, stride: int) -> list[Layer]:
        """A sum of branches, and what stands before it or behind it."""
        make, out = self.makers, self.out(width)
        if self.bottleneck:
            inner = width * self.width_per_group // 64 * self.groups
            convolutions = [
                make.convolution(inner, 1),
                make.convolution(inner, 3, stride, self.groups),
                make.convolution(out, 1),
            ]
        else:
            convolutions = [make.convolution(width, 3, stride), make.convolution(width, 3)]
        changes = stride != 1 or before != out
        if self.preactivation:
            branch = [layer for one in convolutions for layer in (*make.between(), one)]
            shared = branch[: len(make.between())] if changes and self.skips == "projection" else []
            skip: tuple[Layer, ...] = (
                (make.convolution(out, 1, stride),) if shared else self._zeros(changes, out, stride)
            )
            return [*shared, Residual(tuple(branch[len(shared) :]), skip)]
        branch = [layer for one in convolutions[:-1] for layer in (one, *make.between())]
        branch += [convolutions[-1], *make.between(activation=False)]
        skip = self._zeros(changes, out, stride)
        if changes and self.skips == "projection":
            skip = (make.convolution(out, 1, stride), *make.between(activation=False))
        return [Residual(tuple(branch), skip), *make.between()[-1:]]

    @staticmethod
    def _zeros(changes: bool, out: int, stride: int) -> tuple[Layer, ...]:
        return (Subsample(out, stride),) if changes else ()


def _inner(groups: Any, width_per_group: Any) -> tuple[int, int]:
    return _numbers.integer("groups", groups, 1), _numbers.integer("width_per_group", width_per_group, 1)


def _depth(depth: Any, known: Any) -> int:
    number = _numbers.integer("depth", depth, 1)
    if number not in known:
        raise ValueError(f"depth must be one of {', '.join(map(str, known))}, got {number}")
    return number


def _family(depth: Any, family: str | None) -> tuple[str, tuple[int, ...]]:
    """The family, and how many blocks each stage has."""
    number = _numbers.integer("depth", depth, 1)
    if family is None:
        family = "imagenet" if number in _IMAGENET else "cifar"
        if family == "cifar" and (number < 8 or number % 6 != 2):
            words = ", ".join(map(str, _IMAGENET))
            raise ValueError(f"depth must be one of {words}, or 6 n + 2 (20, 32, 44, 56, 110, ...), got {number}")
    _numbers.choice("family", family, ("imagenet", "cifar"))
    if family == "imagenet":
        return family, _IMAGENET[_depth(number, _IMAGENET)]
    if number < 8 or number % 6 != 2:
        raise ValueError(f"depth must be 6 n + 2 (20, 32, 44, 56, 110, ...) of family 'cifar', got {number}")
    return family, (number // 6,) * 3


def _image(input_shape: Any) -> Shape:
    sizes = _numbers.entries("input_shape", input_shape) if _numbers.is_sequence(input_shape) else (input_shape,)
    if len(sizes) != 3:
        raise ValueError(f"input_shape must be (channels, height, width), got {_numbers.shown(input_shape)}")
    return tuple(_numbers.integer("input_shape", size, 1) for size in sizes)


def _pool(pool: Any, kernel: int, stride: int, padding: int) -> Layer:
    _numbers.choice("pool", pool, _POOLS)
    return (MaxPool2d if pool == "max" else AvgPool2d)(kernel, stride, padding)


def _to_grid(shape: Shape, grid: int) -> Iterator[Layer]:
    """As AdaptiveAvgPool2d, where its windows are of one size."""
    sizes = shape[1:]
    if sizes == (grid, grid):
        return
    if grid == 1:
        yield GlobalAvgPool2d()
    elif not any(size % grid for size in sizes):
        yield AvgPool2d((sizes[0] // grid, sizes[1] // grid))
    elif not any(grid % size for size in sizes):
        yield Upsample((grid // sizes[0], grid // sizes[1]))
    else:
        raise ValueError(
            f"grid must divide the image's size {sizes} behind the stages, or be a multiple of it, got {grid}"
        )
