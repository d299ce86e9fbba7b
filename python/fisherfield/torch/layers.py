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
from ..network import Activation, AvgPool2d, BatchNorm, Conv2d, Dense, Flatten, GlobalAvgPool2d, Layer, Network
from ..network.layer import Parts, Step
from ..sampled import SampledNetwork
from . import activations
from .variances import Note, Origin, Reading, as_numpy, moments, variances

__all__ = ["READERS", "ROWS", "Row", "numpy_dtype", "remembering", "row_of", "two", "written"]

_DTYPES = {torch.float64: "float64", torch.float32: "float32"}


def numpy_dtype(dtype: Any) -> Any:
    """A torch.dtype in NumPy's words; anything else as it is."""
    return _DTYPES.get(dtype, str(dtype)) if isinstance(dtype, torch.dtype) else dtype


def two(value: Any) -> tuple[int, int]:
    return (value[0], value[1]) if isinstance(value, (tuple, list)) else (value, value)


# ------------------------------------------------------------------------------------------------ description to module


def written(sampled: SampledNetwork) -> nn.Sequential:
    """The Sequential of a sampled network."""
    net, dtype = sampled.net, getattr(torch, str(sampled.dtype))
    steps = zip(net.steps, sampled.parts, strict=True)
    built = [row_of(step.layer).write(step.layer, step, parts, dtype) for step, parts in steps]
    if len(net.shapes[-1]) == 3:
        built.append(nn.Flatten())  # (n, outputs, 1, 1) to (n, outputs)
    return nn.Sequential(*built)


def remembering(built: Any, net: Network) -> Any:
    """The Sequential of a network with what `read` needs to find that very network again."""
    for made, layer in zip(built, (*net.layers, None), strict=False):
        made._fisherfield = Origin(layer, moments(made) if layer is not None and layer.affine else ())
    built._fisherfield = net
    return built


def _filled(made: Any, parts: Parts) -> Any:
    """With weights and biases; PyTorch's own initialisation is skipped, which would draw from its generator."""
    (weight, _), (bias, _) = parts
    with torch.no_grad():
        made.weight.copy_(torch.from_numpy(weight))
        if made.bias is not None:
            made.bias.copy_(torch.from_numpy(bias))
    return made


def _affine(kind: Any, sizes: tuple[Any, ...], parts: Parts, dtype: torch.dtype) -> Any:
    _, (bias, trained) = parts
    made = _filled(nn.utils.skip_init(kind, *sizes, bias=trained or bool(bias.any()), dtype=dtype), parts)
    if made.bias is not None:
        made.bias.requires_grad_(trained)
    return made


def _write_dense(layer: Dense, step: Step, parts: Parts, dtype: torch.dtype) -> nn.Module:
    made: nn.Module = _affine(nn.Linear, (step.before[0], layer.units), parts, dtype)
    return made


def _write_conv2d(layer: Conv2d, step: Step, parts: Parts, dtype: torch.dtype) -> nn.Module:
    sizes = (step.before[0], layer.channels, layer.kernel, layer.stride, layer.padding)
    made: nn.Module = _affine(nn.Conv2d, sizes, parts, dtype)
    return made


def _write_batch_norm(layer: BatchNorm, step: Step, parts: Parts, dtype: torch.dtype) -> nn.Module:
    kind = nn.BatchNorm2d if step.image else nn.BatchNorm1d
    made = kind(step.before[0], eps=layer.eps or torch.finfo(dtype).tiny, dtype=dtype)
    written: nn.Module = _filled(made, parts).requires_grad_(layer.trained)
    return written


def _write_activation(layer: Activation, step: Step, parts: Parts, dtype: torch.dtype) -> nn.Module:
    if not isinstance(layer.function, str):
        raise ValueError(f"{step.where}: activation must be a named one for PyTorch to take its gradient, got {layer}")
    return activations.MODULES[layer.function](layer)


# ------------------------------------------------------------------------------------------------ module to description


def _linear(reading: Reading, layer: Any, where: str) -> Dense:
    if len(reading.shape) == 3:
        raise ValueError(f"it would be applied to rows of an image of shape {reading.shape}: put Flatten before it")
    if reading.shape != (layer.in_features,):
        raise ValueError(f"it takes {layer.in_features} inputs and gets {reading.shape[0]}")
    return Dense(layer.out_features, *variances(reading, layer, where))


def _image(reading: Reading) -> None:
    if len(reading.shape) != 3:
        raise ValueError(f"it takes an image (channels, height, width) and gets shape {reading.shape}")


def _conv2d(reading: Reading, layer: Any, where: str) -> Conv2d:
    _image(reading)
    if layer.groups != 1:
        raise ValueError(f"the theory has no groups of channels, and it has {layer.groups}: use groups=1")
    if set(layer.dilation) != {1}:
        raise ValueError(f"the theory has no dilation, and it has {layer.dilation}: use dilation=1")
    if layer.padding_mode != "zeros":
        raise ValueError(f"the theory has zero padding alone, and it has {layer.padding_mode!r}: use 'zeros'")
    if reading.shape[0] != layer.in_channels:
        raise ValueError(f"it takes {layer.in_channels} channels and gets {reading.shape[0]}")
    padding = layer.padding
    if padding == "valid":
        padding = (0, 0)
    elif padding == "same":
        if any(tap % 2 == 0 for tap in layer.kernel_size):
            raise ValueError("padding='same' is not the same on both sides of an even kernel: use an odd one")
        padding = tuple(tap // 2 for tap in layer.kernel_size)
    sizes = (layer.kernel_size, layer.stride, padding)
    return Conv2d(layer.out_channels, *sizes, *variances(reading, layer, where))


def _batch_norm(reading: Reading, layer: Any, where: str) -> BatchNorm:
    if layer.num_features != reading.shape[0]:
        raise ValueError(f"it takes {layer.num_features} features and gets {reading.shape[0]}")
    if isinstance(layer, nn.BatchNorm2d) != (len(reading.shape) == 3):
        raise ValueError(f"it does not take inputs of shape {reading.shape}")
    if not layer.training and layer.track_running_stats:
        text = f"{where}: BatchNorm is in eval mode, and described as in train mode, with the batch's mean and variance"
        reading.notes.append(Note(text, always=True))
    eps = 0.0 if 0 <= layer.eps < _numbers.SMALLEST or layer.eps in _TINY else layer.eps
    if layer.weight is None:
        return BatchNorm(eps=eps)
    tensors = {"gamma": layer.weight, "beta": layer.bias}
    trained = {tensor is not None and tensor.requires_grad for tensor in tensors.values()}
    if len(trained) != 1:
        raise ValueError("the theory has gamma and beta both trained or both fixed, and one of its requires gradients")
    origin = getattr(layer, "_fisherfield", None)
    made = origin.layer if isinstance(origin, Origin) else None
    numbers = dict.fromkeys(tensors, 0.0)
    for word, tensor in tensors.items():
        if tensor is None:
            continue
        described = getattr(made, word, None)
        if described is not None and bool((tensor == torch.tensor(described, dtype=tensor.dtype)).all()):
            numbers[word] = described
        else:
            numbers[word] = _one_number(reading, as_numpy(tensor), word, where)
    return BatchNorm(numbers["gamma"], numbers["beta"], eps, trained.pop())


_TINY = (float(np.finfo(np.float32).tiny), float(np.finfo(np.float64).tiny))


def _one_number(reading: Reading, values: Any, word: str, where: str) -> float:
    """gamma's root mean square, beta's mean."""
    if values.min() == values.max():
        return float(values[0])
    number = float(np.sqrt(np.mean(values**2)) if word == "gamma" else np.mean(values))
    how = "root mean square" if word == "gamma" else "mean"
    reading.notes.append(
        Note(
            f"{where}: {word} is not the same in all channels ({values.min():.3g} to {values.max():.3g}) and enters by "
            f"its {how}, {number:.6g}"
        )
    )
    return number


def _flatten(reading: Reading, layer: Any, where: str) -> Flatten | None:
    if layer.start_dim != 1 or layer.end_dim not in (-1, len(reading.shape)):
        raise ValueError("it must flatten all of a sample: use Flatten() with start_dim=1 and end_dim=-1")
    return None if len(reading.shape) == 1 else Flatten()


def _average_pool(reading: Reading, layer: Any, where: str) -> AvgPool2d:
    _image(reading)
    if any(two(layer.padding)):
        raise ValueError("the theory pools without padding: use padding=0")
    if layer.divisor_override:
        raise ValueError("the theory pools by means: leave divisor_override out")
    kernel, stride = two(layer.kernel_size), two(layer.stride)
    if layer.ceil_mode and any(
        (size - tap) % step for size, tap, step in zip(reading.shape[1:], kernel, stride, strict=False)
    ):
        raise ValueError("the theory pools over whole windows: use ceil_mode=False")
    return AvgPool2d(kernel, stride)


def _adaptive_pool(reading: Reading, layer: Any, where: str) -> Layer | None:
    _image(reading)
    sizes = reading.shape[1:]
    wanted = tuple(size if aim is None else aim for aim, size in zip(two(layer.output_size), sizes, strict=True))
    if wanted == (1, 1):
        return GlobalAvgPool2d()
    if wanted == sizes:
        return None
    if any(size % aim for size, aim in zip(sizes, wanted, strict=True)):
        raise ValueError(f"its windows are not all of one size, from {sizes} to {wanted}: use AvgPool2d")
    return AvgPool2d((sizes[0] // wanted[0], sizes[1] // wanted[1]))


# ------------------------------------------------------------------------------------------------------------ the table


def _no_word(layer: Layer) -> str:
    return type(layer).__name__


@dataclass(frozen=True)
class Row:
    """A kind of layer: how it is written, the modules that are read as one, and PyTorch's words for it.

    Refusals of a place say behind what it `stands`, and what to do where the layer before it is of another kind.
    """

    write: Callable[[Any, Step, Parts, torch.dtype], nn.Module]
    read: dict[type[Any], Callable[[Reading, Any, str], Layer | None]]
    word: Callable[[Any], str] = _no_word
    stands: str = ""
    advice: dict[type[Layer] | None, str] = field(default_factory=dict)
    otherwise: str = ""


def _an_activation(read: Callable[[Any], Activation]) -> Callable[[Reading, Any, str], Layer]:
    return lambda reading, layer, where: read(layer)


ROWS: dict[type[Layer], Row] = {
    Dense: Row(_write_dense, {nn.Linear: _linear}, word=lambda layer: "Linear"),
    Conv2d: Row(_write_conv2d, {nn.Conv2d: _conv2d}),
    BatchNorm: Row(
        _write_batch_norm,
        dict.fromkeys((nn.BatchNorm1d, nn.BatchNorm2d), _batch_norm),
        stands="Linear or Conv2d",
        advice={
            None: "standardize the data before",
            Activation: "put BatchNorm before the activation",
            BatchNorm: "leave one out",
        },
        otherwise="put BatchNorm directly behind Conv2d",
    ),
    Activation: Row(
        _write_activation,
        {module: _an_activation(read) for module, read in activations.READERS.items()},
        word=str,
        stands="Linear, Conv2d or BatchNorm",
        advice={
            None: "begin with Linear or Conv2d",
            Activation: "use one activation, or ff.Activation of a callable",
            Flatten: "swap Flatten and activation, which changes nothing",
        },
        otherwise="swap pooling and activation, which is another network",
    ),
    Flatten: Row(lambda layer, step, parts, dtype: nn.Flatten(), {nn.Flatten: _flatten}),
    AvgPool2d: Row(
        lambda layer, step, parts, dtype: nn.AvgPool2d(layer.kernel, layer.stride), {nn.AvgPool2d: _average_pool}
    ),
    GlobalAvgPool2d: Row(
        lambda layer, step, parts, dtype: nn.AdaptiveAvgPool2d(1),
        {nn.AdaptiveAvgPool2d: _adaptive_pool},
        word=lambda layer: "AdaptiveAvgPool2d",
    ),
}
READERS = {module: read for row in ROWS.values() for module, read in row.read.items()}


def row_of(layer: Layer) -> Row:
    """The row of a layer's kind."""
    return next(ROWS[cls] for cls in type(layer).__mro__ if cls in ROWS)
