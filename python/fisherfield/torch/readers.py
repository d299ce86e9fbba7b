# SPDX-License-Identifier: BSD-3-Clause
"""PyTorch modules as layers, each by a function that the table names (layers.py); refused with what to do instead."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from .. import _numbers
from ..network import (
    AvgPool2d,
    BatchNorm,
    Conv1d,
    Conv2d,
    Dense,
    Flatten,
    GlobalAvgPool2d,
    GroupNorm,
    Layer,
    LayerNorm,
    MaxPool2d,
    Residual,
    Subsample,
    Upsample,
)
from ..network.dropout import Dropout
from ..network.rms_norm import RMSNorm
from .variances import Note, Reading, as_numpy, made_of, variances

__all__ = ["DROPOUTS"]

# What does nothing in eval mode.
DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)
_RANDOM = (
    "it draws random numbers in train mode: set the Dropout layers alone to eval mode, and what is described is the "
    "network without them"
)


def two_sides(value: Any, line: bool = False, height: int = 1) -> tuple[int, int]:
    """Height and width of what is given for both or for each; of a line, (channels, length), the width alone is."""
    values = tuple(value) if isinstance(value, (tuple, list)) else (value,) * (2 - line)
    return (height, values[0]) if line else (values[0], values[1])


def linear(reading: Reading, layer: Any, where: str) -> Dense:
    if len(reading.shape) == 3:
        raise ValueError(f"it would be applied to rows of an image of shape {reading.shape}: put Flatten before it")
    if reading.shape != (layer.in_features,):
        raise ValueError(f"it takes {layer.in_features} inputs and gets {reading.shape[0]}")
    return Dense(layer.out_features, *variances(reading, layer, where), bias=layer.bias is not None)


def _image(reading: Reading, line: bool) -> None:
    if len(reading.shape) != 3 or reading.line is not line:
        words = "(channels, length)" if line else "an image (channels, height, width)"
        way = ": give it as input_shape, without the batch" if reading.spot.previous is None else ""
        raise ValueError(f"it takes {words} and gets shape {reading.seen}{way}")


def convolution(reading: Reading, layer: Any, where: str) -> Conv2d | Conv1d:
    line = len(layer.kernel_size) == 1
    _image(reading, line)
    if layer.padding_mode != "zeros":
        raise ValueError(
            f"the theory has zero padding alone, and it has {_numbers.shown(layer.padding_mode)}: use 'zeros'"
        )
    if reading.shape[0] != layer.in_channels:
        raise ValueError(f"it takes {layer.in_channels} channels and gets {reading.shape[0]}")
    sizes = [*(layer.kernel_size, layer.stride, _padding(layer)), layer.dilation]
    made = made_of(layer)
    if not line and type(made) is Conv1d:  # it is written as one of images where another layer is
        sizes, line = [side[1:] for side in sizes], True
    *sizes, dilation = [side[0] for side in sizes] if line else sizes
    numbers = (*sizes, *variances(reading, layer, where), layer.groups, dilation, layer.bias is not None)
    return (Conv1d if line else Conv2d)(layer.out_channels, *numbers)


def _padding(layer: Any) -> Any:
    """A convolution's padding in numbers."""
    if isinstance(layer.padding, tuple):
        return layer.padding
    widths = [(tap - 1) * apart for tap, apart in zip(layer.kernel_size, layer.dilation, strict=True)]
    if layer.padding == "valid":
        return (0,) * len(widths)
    if any(width % 2 for width in widths):
        raise ValueError("padding='same' is not the same on both sides of an even kernel: use an odd one")
    return tuple(width // 2 for width in widths)


def batch_norm(reading: Reading, layer: Any, where: str) -> BatchNorm:
    if layer.num_features != reading.shape[0]:
        raise ValueError(f"it takes {layer.num_features} features and gets {reading.shape[0]}")
    if isinstance(layer, nn.BatchNorm2d) != (len(reading.seen) == 3):
        raise ValueError(f"it does not take inputs of shape {reading.seen}")
    if not layer.training and layer.track_running_stats:
        text = f"{where}: BatchNorm is in eval mode, and described as in train mode, with the batch's mean and variance"
        reading.notes.append(Note(text, always=True))
    return BatchNorm(eps=_eps(layer.eps), **_scale(reading, layer, where, ("gamma", "beta")))


def _of_whole_sample(reading: Reading, layer: Any, otherwise: str = "") -> None:
    if tuple(layer.normalized_shape) != reading.seen:
        raise ValueError(
            f"it normalises over shape {tuple(layer.normalized_shape)} and gets {reading.seen}, and the theory does "
            f"over a whole sample: use {type(layer).__name__}({list(reading.seen)}){otherwise}"
        )


def layer_norm(reading: Reading, layer: Any, where: str) -> LayerNorm:
    _of_whole_sample(reading, layer, f", or GroupNorm(1, {reading.shape[0]})" if len(reading.seen) > 1 else "")
    return LayerNorm(eps=_eps(layer.eps), **_scale(reading, layer, where, ("gamma", "beta")))


def group_norm(reading: Reading, layer: Any, where: str) -> GroupNorm:
    if layer.num_channels != reading.shape[0]:
        raise ValueError(f"it takes {layer.num_channels} channels and gets {reading.shape[0]}")
    return GroupNorm(layer.num_groups, eps=_eps(layer.eps), **_scale(reading, layer, where, ("gamma", "beta")))


def rms_norm(reading: Reading, layer: Any, where: str) -> RMSNorm:
    _of_whole_sample(reading, layer)
    eps = layer.eps
    if eps is None:  # that of its input's dtype, which is its weight's, or the last one's before it
        tensors = (tensor for parts in ((layer.weight,), *reversed(reading.tensors)) for tensor in parts)
        dtypes = (tensor.dtype for tensor in tensors if tensor is not None)
        eps = torch.finfo(next(dtypes, torch.get_default_dtype())).eps
    return RMSNorm(eps=_eps(eps), **_scale(reading, layer, where, ("gamma",)))


def _eps(eps: float) -> float:
    """What PyTorch adds to the variance; 0 where that changes no digit."""
    return 0.0 if 0 <= eps < _numbers.SMALLEST or eps in _TINY else float(eps)


_TINY = (float(np.finfo(np.float32).tiny), float(np.finfo(np.float64).tiny))


def _scale(reading: Reading, layer: Any, where: str, words: tuple[str, ...]) -> dict[str, Any]:
    """gamma (and beta) of a normalisation, and whether they are trained; nothing of one without them."""
    if layer.weight is None:
        return {}
    tensors = {word: getattr(layer, name) for word, name in zip(words, ("weight", "bias"), strict=False)}
    trained = {tensor is not None and tensor.requires_grad for tensor in tensors.values()}
    if len(trained) != 1 and any(tensor is None for tensor in tensors.values()):
        raise ValueError("the theory trains gamma and beta together, and it has no bias: leave bias=False out")
    if len(trained) != 1:
        raise ValueError("the theory has gamma and beta both trained or both fixed, and one of its requires gradients")
    numbers: dict[str, Any] = {"trained": trained.pop()}
    for word, tensor in tensors.items():
        described = getattr(made_of(layer), word, None)
        if tensor is None:
            numbers[word] = 0.0
        elif described is not None and bool((tensor == torch.tensor(described, dtype=tensor.dtype)).all()):
            numbers[word] = described
        else:
            numbers[word] = _own_numbers(reading, as_numpy(tensor), word, where)
    return numbers


def _own_numbers(reading: Reading, values: Any, word: str, where: str) -> float | tuple[float, ...]:
    """One number, or one for each unit or channel.

    The outputs are described as alike, and so are the positions of an image: there gamma enters by its root mean
    square, beta by its mean.
    """
    if values.min() == values.max():
        return float(values.flat[0])
    if values.ndim == 1 and reading.spot.hidden:
        return tuple(values.tolist())
    number = float(np.sqrt(np.mean(values**2)) if word == "gamma" else np.mean(values))
    how = "root mean square" if word == "gamma" else "mean"
    reading.notes.append(
        Note(
            f"{where}: {word} is not the same in all {'outputs' if values.ndim == 1 else 'units'} "
            f"({values.min():.3g} to {values.max():.3g}) and enters by its {how}, {number:.6g}"
        )
    )
    return number


def flatten(reading: Reading, layer: Any, where: str) -> Flatten | None:
    if layer.start_dim != 1 or layer.end_dim not in (-1, len(reading.seen)):
        raise ValueError("it must flatten all of a sample: use Flatten() with start_dim=1 and end_dim=-1")
    return None if len(reading.shape) == 1 else Flatten()


def average_pool(reading: Reading, layer: Any, where: str) -> AvgPool2d:
    line = isinstance(layer, nn.AvgPool1d)
    _image(reading, line)
    kernel, stride = two_sides(layer.kernel_size, line), two_sides(layer.stride, line)
    padding = two_sides(layer.padding, line, height=0)
    if any(padding) and not layer.count_include_pad:
        raise ValueError("its means do not count the padding: use count_include_pad=True, or padding=0")
    if getattr(layer, "divisor_override", None):
        raise ValueError("the theory pools by means: leave divisor_override out")
    _whole_windows(reading, layer, kernel, stride, padding)
    return AvgPool2d(kernel, stride, padding)


def _whole_windows(reading: Reading, layer: Any, *windows: tuple[int, int]) -> None:
    sides = zip(reading.shape[1:], *windows, strict=True)
    if layer.ceil_mode and any((size + 2 * pad - tap) % step for size, tap, step, pad in sides):
        raise ValueError("the theory pools over whole windows: use ceil_mode=False")


def max_pool(reading: Reading, layer: Any, where: str) -> MaxPool2d:
    line = isinstance(layer, nn.MaxPool1d)
    _image(reading, line)
    if set(two_sides(layer.dilation)) != {1}:
        raise ValueError(f"its windows have gaps, dilation={layer.dilation}: use dilation=1")
    _without_places(layer)
    kernel, stride = two_sides(layer.kernel_size, line), two_sides(layer.stride, line)
    padding = two_sides(layer.padding, line, height=0)
    _whole_windows(reading, layer, kernel, stride, padding)
    return MaxPool2d(kernel, stride, padding)


def subsample(reading: Reading, layer: Any, where: str) -> Subsample:
    _image(reading, line=False)
    if getattr(layer, "zeros_before", 0):
        reading.described_alone.append(f"{where}: its zeros stand before the channels that come in")
    return Subsample(layer.channels, layer.stride)


def _adaptive_sizes(reading: Reading, layer: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Height and width that come in, and those that are wanted."""
    line = isinstance(layer, (nn.AdaptiveAvgPool1d, nn.AdaptiveMaxPool1d))
    _image(reading, line)
    sizes, aims = reading.shape[1:], two_sides(layer.output_size, line)
    return sizes, tuple(size if aim is None else aim for aim, size in zip(aims, sizes, strict=True))


def _whole_window(sizes: tuple[int, ...], wanted: tuple[int, ...], kind: type[Layer]) -> tuple[int, int]:
    if any(size % aim for size, aim in zip(sizes, wanted, strict=True)):
        raise ValueError(f"its windows are not all of one size, from {sizes} to {wanted}: use {kind.__name__}")
    return sizes[0] // wanted[0], sizes[1] // wanted[1]


def adaptive_pool(reading: Reading, layer: Any, where: str) -> Layer | None:
    sizes, wanted = _adaptive_sizes(reading, layer)
    if wanted == (1, 1):
        return GlobalAvgPool2d()
    if wanted == sizes:
        return None
    if not any(aim % size for size, aim in zip(sizes, wanted, strict=True)):
        return Upsample((wanted[0] // sizes[0], wanted[1] // sizes[1]))
    return AvgPool2d(_whole_window(sizes, wanted, AvgPool2d))


def adaptive_max_pool(reading: Reading, layer: Any, where: str) -> Layer | None:
    _without_places(layer)
    sizes, wanted = _adaptive_sizes(reading, layer)
    return None if wanted == sizes else MaxPool2d(_whole_window(sizes, wanted, MaxPool2d))


def _without_places(layer: Any) -> None:
    if layer.return_indices:
        raise ValueError("it gives places besides values: use return_indices=False")


def upsample(reading: Reading, layer: Any, where: str) -> Upsample:
    line = reading.line
    _image(reading, line)
    if layer.mode != "nearest":
        raise ValueError(f"the theory repeats positions: use mode='nearest', got {_numbers.shown(layer.mode)}")
    factors: tuple[float, ...] = ()
    if layer.size is None:
        factors = two_sides(layer.scale_factor, line)
    else:
        factors = tuple(aim / size for aim, size in zip(two_sides(layer.size, line), reading.shape[1:], strict=True))
    if any(factor != int(factor) for factor in factors):
        raise ValueError(f"the theory repeats positions a whole number of times, and it does {factors} times")
    return Upsample((int(factors[0]), int(factors[1])))


def residual(reading: Reading, layer: Any, where: str, branch: tuple[Layer, ...], skip: tuple[Layer, ...]) -> Residual:
    for name in ("branch", "skip"):
        parts = (part for part in (getattr(layer, name) or nn.Identity()).modules() if not list(part.children()))
        first = next((part for part in parts if not isinstance(part, (nn.Flatten, nn.Identity, *DROPOUTS))), None)
        if getattr(first, "inplace", False):
            raise ValueError(
                f"{type(first).__name__} at the start of its {name} changes what both branches read: use inplace=False"
            )
    if not isinstance(layer.scale, float):
        raise ValueError(
            f"its scale must be a float, for the theory does not train it, got {_numbers.shown(layer.scale)}"
        )
    return Residual(branch, skip, layer.scale)


def identity(reading: Reading, layer: Any, where: str) -> Layer | None:
    """Nothing, or the linear activation that it was made of."""
    made = made_of(layer)
    return made if made is not None and made.pointwise else None


def dropout(reading: Reading, layer: Any, where: str) -> None:
    if layer.training and layer.p > 0:
        raise ValueError(_RANDOM)


def dropout_of_units(reading: Reading, layer: Any, where: str) -> Dropout | None:
    """Nothing in eval mode, and at p = 0 where nobody has described it."""
    return Dropout(layer.p) if layer.training and (layer.p > 0 or made_of(layer) is not None) else None
