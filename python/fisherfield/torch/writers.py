# SPDX-License-Identifier: BSD-3-Clause
"""Layers as PyTorch modules, each kind by a function that its row in the table names (layers.py)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from .._words import cut
from ..network import (
    Activation,
    AvgPool2d,
    BatchNorm,
    Conv1d,
    Conv2d,
    Dense,
    GroupNorm,
    Layer,
    LayerNorm,
    MaxPool2d,
    Residual,
    Upsample,
)
from ..network.layer import Parts, Shape, Step, two
from ..network.rms_norm import RMSNorm
from . import activations
from . import residual as modules
from .variances import as_seen

__all__ = ["Writing"]


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


def dense(layer: Dense, at: Writing) -> nn.Module:
    return _affine(nn.Linear, (at.before[0], layer.units), at)


def convolution(layer: Conv2d | Conv1d, at: Writing) -> nn.Module:
    kind = nn.Conv1d if at.line else nn.Conv2d
    return _affine(kind, (at.before[0], layer.channels, *at.sizes(layer), layer.groups), at)


def batch_norm(layer: BatchNorm, at: Writing) -> nn.Module:
    kind = nn.BatchNorm2d if len(at.before) == 3 else nn.BatchNorm1d
    made = kind(at.before[0], eps=layer.eps or torch.finfo(at.dtype).tiny, dtype=at.dtype)
    return _norm(made, layer, at)


def _norm(made: Any, layer: Any, at: Writing) -> nn.Module:
    filled: nn.Module = _filled(made, at.parts).requires_grad_(layer.trained)
    return filled


def layer_norm(layer: LayerNorm, at: Writing) -> nn.Module:
    return _norm(nn.LayerNorm(at.before, eps=layer.eps, dtype=at.dtype), layer, at)


def group_norm(layer: GroupNorm, at: Writing) -> nn.Module:
    return _norm(nn.GroupNorm(layer.groups, at.before[0], eps=layer.eps, dtype=at.dtype), layer, at)


def rms_norm(layer: RMSNorm, at: Writing) -> nn.Module:
    return _norm(nn.RMSNorm(at.before, eps=layer.eps, dtype=at.dtype), layer, at)


def average_pool(layer: AvgPool2d, at: Writing) -> nn.Module:
    kernel, stride, padding, _ = at.sizes(layer)
    return (nn.AvgPool1d if at.line else nn.AvgPool2d)(kernel, stride, padding)


def max_pool(layer: MaxPool2d, at: Writing) -> nn.Module:
    kernel, stride, padding, _ = at.sizes(layer)
    return (nn.MaxPool1d if at.line else nn.MaxPool2d)(kernel, stride, padding)


def upsample(layer: Upsample, at: Writing) -> nn.Module:
    factor = two(layer.factor)
    return nn.Upsample(scale_factor=float(factor[1]) if at.line else tuple(map(float, factor)))


def activation(layer: Activation, at: Writing) -> nn.Module:
    if not isinstance(layer.function, str):
        raise ValueError(
            f"{at.step.where}: activation must be a named one for PyTorch to take its gradient, got {cut(str(layer))}"
        )
    return activations.MODULES[layer.function](layer)


def residual(layer: Residual, at: Writing) -> nn.Module:
    branch, skip = at.inside
    return modules.Residual(branch, skip if layer.skip else None, layer.scale)
