# SPDX-License-Identifier: BSD-3-Clause
"""The table of kinds: each layer as a PyTorch module, and what PyTorch's modules are as layers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn

from .. import _numbers
from .._words import cut
from ..network import (
    Activation,
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
from ..network.layer import Parts, Shape, Step
from ..network.rms_norm import RMSNorm
from . import activations, residual
from .variances import Note, Reading, as_numpy, as_seen, made_of, variances

__all__ = ["IDLE", "LINES", "READERS", "ROWS", "Reader", "Row", "Writing", "row_of"]

_RANDOM = (
    "it draws random numbers in train mode: set the Dropout layers alone to eval mode, and what is described is the "
    "network without them"
)


def _two(value: Any, line: bool = False, height: int = 1) -> tuple[int, int]:
    """Height and width of what is given for both or for each; of a line, (channels, length), the width alone is."""
    values = tuple(value) if isinstance(value, (tuple, list)) else (value,) * (2 - line)
    return (height, values[0]) if line else (values[0], values[1])


# ------------------------------------------------------------------------------------------------ description to module


@dataclass(frozen=True)
class Writing:
    """A layer to be written: where it stands, its arrays, and the modules of the layers that it holds, if any."""

    step: Step
    parts: Parts
    dtype: torch.dtype
    line: bool  # images are (channels, length)
    inside: tuple[nn.Sequential, ...]

    @property
    def before(self) -> Shape:
        """The shape that comes in, as the module sees it."""
        return as_seen(self.step.before, self.line)

    def sizes(self, layer: Layer) -> list[tuple[int, ...]]:
        """A window's kernel, stride, padding and dilation, along a line or along height and width."""
        return [side[1:] if self.line else side for side in layer.window(self.step.before) or ()]


def _filled(made: Any, parts: Parts) -> Any:
    """With weights and biases; PyTorch's own initialisation is skipped, which would draw from its generator."""
    with torch.no_grad():
        for name, (values, _) in zip(("weight", "bias"), parts, strict=False):
            if (tensor := getattr(made, name)) is not None:
                tensor.copy_(torch.from_numpy(values).reshape(tensor.shape))
    return made


def _affine(kind: Any, sizes: tuple[Any, ...], at: Writing) -> nn.Module:
    _, (bias, trained) = at.parts
    has_bias = trained or bool(bias.any())
    made: nn.Module = _filled(nn.utils.skip_init(kind, *sizes, bias=has_bias, dtype=at.dtype), at.parts)
    if has_bias:
        made.bias.requires_grad_(trained)
    return made


def _write_dense(layer: Dense, at: Writing) -> nn.Module:
    return _affine(nn.Linear, (at.before[0], layer.units), at)


def _write_convolution(layer: Conv2d | Conv1d, at: Writing) -> nn.Module:
    kind = nn.Conv1d if at.line else nn.Conv2d
    return _affine(kind, (at.before[0], layer.channels, *at.sizes(layer), layer.groups), at)


def _write_batch_norm(layer: BatchNorm, at: Writing) -> nn.Module:
    kind = nn.BatchNorm2d if len(at.before) == 3 else nn.BatchNorm1d
    made = kind(at.before[0], eps=layer.eps or torch.finfo(at.dtype).tiny, dtype=at.dtype)
    return _norm(made, layer, at)


def _norm(made: Any, layer: Any, at: Writing) -> nn.Module:
    filled: nn.Module = _filled(made, at.parts).requires_grad_(layer.trained)
    return filled


def _write_layer_norm(layer: LayerNorm, at: Writing) -> nn.Module:
    return _norm(nn.LayerNorm(at.before, eps=layer.eps, dtype=at.dtype), layer, at)


def _write_group_norm(layer: GroupNorm, at: Writing) -> nn.Module:
    return _norm(nn.GroupNorm(layer.groups, at.before[0], eps=layer.eps, dtype=at.dtype), layer, at)


def _write_rms_norm(layer: RMSNorm, at: Writing) -> nn.Module:
    return _norm(nn.RMSNorm(at.before, eps=layer.eps, dtype=at.dtype), layer, at)


def _write_average_pool(layer: AvgPool2d, at: Writing) -> nn.Module:
    kernel, stride, padding, _ = at.sizes(layer)
    return (nn.AvgPool1d if at.line else nn.AvgPool2d)(kernel, stride, padding)


def _write_max_pool(layer: MaxPool2d, at: Writing) -> nn.Module:
    kernel, stride, padding, _ = at.sizes(layer)
    return (nn.MaxPool1d if at.line else nn.MaxPool2d)(kernel, stride, padding)


def _write_upsample(layer: Upsample, at: Writing) -> nn.Module:
    factor = _two(layer.factor)
    return nn.Upsample(scale_factor=float(factor[1]) if at.line else tuple(map(float, factor)))


def _write_activation(layer: Activation, at: Writing) -> nn.Module:
    if not isinstance(layer.function, str):
        raise ValueError(
            f"{at.step.where}: activation must be a named one for PyTorch to take its gradient, got {cut(str(layer))}"
        )
    return activations.MODULES[layer.function](layer)


def _write_residual(layer: Residual, at: Writing) -> nn.Module:
    branch, skip = at.inside
    return residual.Residual(branch, skip if layer.skip else None, layer.scale)


# ------------------------------------------------------------------------------------------------ module to description


def _linear(reading: Reading, layer: Any, where: str) -> Dense:
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


def _convolution(reading: Reading, layer: Any, where: str) -> Conv2d | Conv1d:
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


def _batch_norm(reading: Reading, layer: Any, where: str) -> BatchNorm:
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


def _layer_norm(reading: Reading, layer: Any, where: str) -> LayerNorm:
    _of_whole_sample(reading, layer, f", or GroupNorm(1, {reading.shape[0]})" if len(reading.seen) > 1 else "")
    return LayerNorm(eps=_eps(layer.eps), **_scale(reading, layer, where, ("gamma", "beta")))


def _group_norm(reading: Reading, layer: Any, where: str) -> GroupNorm:
    if layer.num_channels != reading.shape[0]:
        raise ValueError(f"it takes {layer.num_channels} channels and gets {reading.shape[0]}")
    return GroupNorm(layer.num_groups, eps=_eps(layer.eps), **_scale(reading, layer, where, ("gamma", "beta")))


def _rms_norm(reading: Reading, layer: Any, where: str) -> RMSNorm:
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


def _flatten(reading: Reading, layer: Any, where: str) -> Flatten | None:
    if layer.start_dim != 1 or layer.end_dim not in (-1, len(reading.seen)):
        raise ValueError("it must flatten all of a sample: use Flatten() with start_dim=1 and end_dim=-1")
    return None if len(reading.shape) == 1 else Flatten()


def _average_pool(reading: Reading, layer: Any, where: str) -> AvgPool2d:
    line = isinstance(layer, nn.AvgPool1d)
    _image(reading, line)
    kernel, stride = _two(layer.kernel_size, line), _two(layer.stride, line)
    padding = _two(layer.padding, line, height=0)
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


def _max_pool(reading: Reading, layer: Any, where: str) -> MaxPool2d:
    line = isinstance(layer, nn.MaxPool1d)
    _image(reading, line)
    if set(_two(layer.dilation)) != {1}:
        raise ValueError(f"its windows have gaps, dilation={layer.dilation}: use dilation=1")
    _without_places(layer)
    kernel, stride = _two(layer.kernel_size, line), _two(layer.stride, line)
    padding = _two(layer.padding, line, height=0)
    _whole_windows(reading, layer, kernel, stride, padding)
    return MaxPool2d(kernel, stride, padding)


def _subsample(reading: Reading, layer: Any, where: str) -> Subsample:
    _image(reading, line=False)
    if getattr(layer, "zeros_before", 0):
        reading.described_alone.append(f"{where}: its zeros stand before the channels that come in")
    return Subsample(layer.channels, layer.stride)


def _adaptive_sizes(reading: Reading, layer: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Height and width that come in, and those that are wanted."""
    line = isinstance(layer, (nn.AdaptiveAvgPool1d, nn.AdaptiveMaxPool1d))
    _image(reading, line)
    sizes, aims = reading.shape[1:], _two(layer.output_size, line)
    return sizes, tuple(size if aim is None else aim for aim, size in zip(aims, sizes, strict=True))


def _whole_window(sizes: tuple[int, ...], wanted: tuple[int, ...], kind: type[Layer]) -> tuple[int, int]:
    if any(size % aim for size, aim in zip(sizes, wanted, strict=True)):
        raise ValueError(f"its windows are not all of one size, from {sizes} to {wanted}: use {kind.__name__}")
    return sizes[0] // wanted[0], sizes[1] // wanted[1]


def _adaptive_pool(reading: Reading, layer: Any, where: str) -> Layer | None:
    sizes, wanted = _adaptive_sizes(reading, layer)
    if wanted == (1, 1):
        return GlobalAvgPool2d()
    if wanted == sizes:
        return None
    if not any(aim % size for size, aim in zip(sizes, wanted, strict=True)):
        return Upsample((wanted[0] // sizes[0], wanted[1] // sizes[1]))
    return AvgPool2d(_whole_window(sizes, wanted, AvgPool2d))


def _adaptive_max_pool(reading: Reading, layer: Any, where: str) -> Layer | None:
    _without_places(layer)
    sizes, wanted = _adaptive_sizes(reading, layer)
    return None if wanted == sizes else MaxPool2d(_whole_window(sizes, wanted, MaxPool2d))


def _without_places(layer: Any) -> None:
    if layer.return_indices:
        raise ValueError("it gives places besides values: use return_indices=False")


def _upsample(reading: Reading, layer: Any, where: str) -> Upsample:
    line = reading.line
    _image(reading, line)
    if layer.mode != "nearest":
        raise ValueError(f"the theory repeats positions: use mode='nearest', got {_numbers.shown(layer.mode)}")
    factors: tuple[float, ...] = ()
    if layer.size is None:
        factors = _two(layer.scale_factor, line)
    else:
        factors = tuple(aim / size for aim, size in zip(_two(layer.size, line), reading.shape[1:], strict=True))
    if any(factor != int(factor) for factor in factors):
        raise ValueError(f"the theory repeats positions a whole number of times, and it does {factors} times")
    return Upsample((int(factors[0]), int(factors[1])))


def _residual(reading: Reading, layer: Any, where: str, branch: tuple[Layer, ...], skip: tuple[Layer, ...]) -> Residual:
    for name in ("branch", "skip"):
        parts = (part for part in (getattr(layer, name) or nn.Identity()).modules() if not list(part.children()))
        first = next((part for part in parts if not isinstance(part, (nn.Flatten, *IDLE))), None)
        if getattr(first, "inplace", False):
            raise ValueError(
                f"{type(first).__name__} at the start of its {name} changes what both branches read: use inplace=False"
            )
    if not isinstance(layer.scale, float):
        raise ValueError(
            f"its scale must be a float, for the theory does not train it, got {_numbers.shown(layer.scale)}"
        )
    return Residual(branch, skip, layer.scale)


def _identity(reading: Reading, layer: Any, where: str) -> Layer | None:
    """Nothing, or the linear activation that it was made of."""
    made = made_of(layer)
    return made if made is not None and made.pointwise else None


def _dropout(reading: Reading, layer: Any, where: str) -> None:
    if layer.training and layer.p > 0:
        raise ValueError(_RANDOM)


def _dropout_of_units(reading: Reading, layer: Any, where: str) -> Dropout | None:
    """Nothing in eval mode, and at p = 0 where nobody has described it."""
    return Dropout(layer.p) if layer.training and (layer.p > 0 or made_of(layer) is not None) else None


# ------------------------------------------------------------------------------------------------------------ the table


@dataclass(frozen=True)
class Row:
    """A kind of layer: how it is written, the modules that are read as one, and PyTorch's words for it.

    Refusals of a place are the layer's own (`Layer.needs`); a row adds what to do where the layer before it is of some
    kind (None: the input), or of any `otherwise`, and whom to `leave_to` what may not stand behind the output.
    """

    write: Callable[[Any, Writing], nn.Module]
    read: dict[type[Any], Callable[..., Layer | None]]  # of (reading, module, where, layers of what it holds ...)
    holds: tuple[str, ...] = ()  # the attributes, of the layer and of the module, that hold layers
    word: Callable[[Any], str] = lambda layer: type(layer).__name__
    line: Callable[[Any], bool | None] = lambda layer: None  # whether it is one of (channels, length); None: of either
    lines: tuple[type[Any], ...] = ()  # the modules that take (channels, length) and nothing else
    advice: dict[type[Layer] | None, str] = field(default_factory=dict)
    otherwise: str = ""
    leave_to: Callable[[Any], str] = lambda module: "what uses the outputs"
    inputs: Callable[[Any], tuple[int, ...] | None] = lambda module: None  # the shape that a module takes, if it tells


@dataclass(frozen=True)
class Reader:
    """What reads a module of PyTorch's, the kind of layer that it is, whether it has weights, what it takes, and the
    attributes that hold modules."""

    read: Callable[..., Layer | None]
    kind: type[Layer] | None = None
    affine: bool = False
    inputs: Callable[[Any], tuple[int, ...] | None] = lambda module: None
    holds: tuple[str, ...] = ()


def _an_activation(read: Callable[[Any], Activation]) -> Callable[[Reading, Any, str], Layer]:
    return lambda reading, layer, where: read(layer)


ROWS: dict[type[Layer], Row] = {
    Dense: Row(
        _write_dense, {nn.Linear: _linear}, word=lambda layer: "Linear", inputs=lambda module: (module.in_features,)
    ),
    Conv2d: Row(_write_convolution, {nn.Conv2d: _convolution}, line=lambda layer: False),
    Conv1d: Row(_write_convolution, {nn.Conv1d: _convolution}, line=lambda layer: True, lines=(nn.Conv1d,)),
    BatchNorm: Row(
        _write_batch_norm,
        dict.fromkeys((nn.BatchNorm1d, nn.BatchNorm2d), _batch_norm),
        otherwise="leave one out",
    ),
    LayerNorm: Row(
        _write_layer_norm,
        {nn.LayerNorm: _layer_norm},
        advice={None: "standardize the data before", LayerNorm: "leave one out"},
    ),
    GroupNorm: Row(
        _write_group_norm,
        {nn.GroupNorm: _group_norm},
        advice={None: "standardize the data before", GroupNorm: "leave one out"},
    ),
    RMSNorm: Row(
        _write_rms_norm,
        {nn.RMSNorm: _rms_norm},
        advice={None: "standardize the data before", RMSNorm: "leave one out"},
    ),
    Activation: Row(
        _write_activation,
        {module: _an_activation(read) for module, read in activations.READERS.items()},
        word=str,
        otherwise="begin with Linear or Conv2d",
        leave_to=lambda module: (
            "the loss, as BCEWithLogitsLoss does" if isinstance(module, nn.Sigmoid) else "what uses the outputs"
        ),
    ),
    Dropout: Row(lambda layer, at: nn.Dropout(layer.rate), {nn.Dropout: _dropout_of_units}),
    Residual: Row(_write_residual, {residual.Residual: _residual}, holds=("branch", "skip")),
    Flatten: Row(lambda layer, at: nn.Flatten(), {nn.Flatten: _flatten}),
    AvgPool2d: Row(
        _write_average_pool,
        dict.fromkeys((nn.AvgPool2d, nn.AvgPool1d), _average_pool),
        line=lambda layer: None if next(zip(*layer.window(()), strict=True))[:3] == (1, 1, 0) else False,
        lines=(nn.AvgPool1d,),
    ),
    MaxPool2d: Row(
        _write_max_pool,
        {
            **dict.fromkeys((nn.MaxPool2d, nn.MaxPool1d), _max_pool),
            **dict.fromkeys((nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool1d), _adaptive_max_pool),
        },
        line=lambda layer: None if next(zip(*layer.window(()), strict=True))[:3] == (1, 1, 0) else False,
        lines=(nn.MaxPool1d, nn.AdaptiveMaxPool1d),
        otherwise="begin with Conv2d",
    ),
    Subsample: Row(
        lambda layer, at: residual.Subsample(layer.channels, layer.stride),
        {residual.Subsample: _subsample},
        line=lambda layer: False,
        otherwise="begin with Conv2d",
    ),
    Upsample: Row(
        _write_upsample,
        {nn.Upsample: _upsample},
        line=lambda layer: None if _two(layer.factor)[0] == 1 else False,
    ),
    GlobalAvgPool2d: Row(
        lambda layer, at: (nn.AdaptiveAvgPool1d if at.line else nn.AdaptiveAvgPool2d)(1),
        dict.fromkeys((nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool1d), _adaptive_pool),
        lines=(nn.AdaptiveAvgPool1d,),
        word=lambda layer: "AdaptiveAvgPool2d",
    ),
}
# What does nothing, in eval mode at least; a row may read one of these as a layer.
_DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)
IDLE: dict[type[Any], Reader] = {nn.Identity: Reader(_identity), **dict.fromkeys(_DROPOUTS, Reader(_dropout))}
READERS: dict[type[Any], Reader] = IDLE | {
    module: Reader(read, layer, layer.affine, row.inputs, row.holds)
    for layer, row in ROWS.items()
    for module, read in row.read.items()
}
LINES = tuple(module for row in ROWS.values() for module in row.lines)


def row_of(layer: Layer) -> Row:
    """The row of a layer's kind."""
    return next(ROWS[cls] for cls in type(layer).__mro__ if cls in ROWS)
