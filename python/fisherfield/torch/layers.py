# SPDX-License-Identifier: BSD-3-Clause
"""The table of kinds: each layer as a PyTorch module, and what PyTorch's modules are as layers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from torch import nn

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
from ..network.layer import two
from ..network.rms_norm import RMSNorm
from . import activations, readers, residual, writers
from .variances import Reading
from .writers import Writing

__all__ = ["IDLE", "LINES", "READERS", "ROWS", "Reader", "Row", "Writing", "batch_norms", "row_of", "trained"]


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
        writers.dense,
        {nn.Linear: readers.linear},
        word=lambda layer: "Linear",
        inputs=lambda module: (module.in_features,),
    ),
    Conv2d: Row(writers.convolution, {nn.Conv2d: readers.convolution}, line=lambda layer: False),
    Conv1d: Row(writers.convolution, {nn.Conv1d: readers.convolution}, line=lambda layer: True, lines=(nn.Conv1d,)),
    BatchNorm: Row(
        writers.batch_norm,
        dict.fromkeys((nn.BatchNorm1d, nn.BatchNorm2d), readers.batch_norm),
        otherwise="leave one out",
    ),
    LayerNorm: Row(
        writers.layer_norm,
        {nn.LayerNorm: readers.layer_norm},
        advice={None: "standardize the data before", LayerNorm: "leave one out"},
    ),
    GroupNorm: Row(
        writers.group_norm,
        {nn.GroupNorm: readers.group_norm},
        advice={None: "standardize the data before", GroupNorm: "leave one out"},
    ),
    RMSNorm: Row(
        writers.rms_norm,
        {nn.RMSNorm: readers.rms_norm},
        advice={None: "standardize the data before", RMSNorm: "leave one out"},
    ),
    Activation: Row(
        writers.activation,
        {module: _an_activation(read) for module, read in activations.READERS.items()},
        word=str,
        otherwise="begin with Linear or Conv2d",
        leave_to=lambda module: (
            "the loss, as BCEWithLogitsLoss does" if isinstance(module, nn.Sigmoid) else "what uses the outputs"
        ),
    ),
    Dropout: Row(lambda layer, at: nn.Dropout(layer.rate), {nn.Dropout: readers.dropout_of_units}),
    Residual: Row(writers.residual, {residual.Residual: readers.residual}, holds=("branch", "skip")),
    Flatten: Row(lambda layer, at: nn.Flatten(), {nn.Flatten: readers.flatten}),
    AvgPool2d: Row(
        writers.average_pool,
        dict.fromkeys((nn.AvgPool2d, nn.AvgPool1d), readers.average_pool),
        line=lambda layer: None if next(zip(*layer.window(()), strict=True))[:3] == (1, 1, 0) else False,
        lines=(nn.AvgPool1d,),
    ),
    MaxPool2d: Row(
        writers.max_pool,
        {
            **dict.fromkeys((nn.MaxPool2d, nn.MaxPool1d), readers.max_pool),
            **dict.fromkeys((nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool1d), readers.adaptive_max_pool),
        },
        line=lambda layer: None if next(zip(*layer.window(()), strict=True))[:3] == (1, 1, 0) else False,
        lines=(nn.MaxPool1d, nn.AdaptiveMaxPool1d),
        otherwise="begin with Conv2d",
    ),
    Subsample: Row(
        lambda layer, at: residual.Subsample(layer.channels, layer.stride),
        {residual.Subsample: readers.subsample},
        line=lambda layer: False,
        otherwise="begin with Conv2d",
    ),
    Upsample: Row(
        writers.upsample,
        {nn.Upsample: readers.upsample},
        line=lambda layer: None if two(layer.factor)[0] == 1 else False,
    ),
    GlobalAvgPool2d: Row(
        lambda layer, at: (nn.AdaptiveAvgPool1d if at.line else nn.AdaptiveAvgPool2d)(1),
        dict.fromkeys((nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool1d), readers.adaptive_pool),
        lines=(nn.AdaptiveAvgPool1d,),
        word=lambda layer: "AdaptiveAvgPool2d",
    ),
}
# A row may read one of these as a layer.
IDLE: dict[type[Any], Reader] = {
    nn.Identity: Reader(readers.identity),
    **dict.fromkeys(readers.DROPOUTS, Reader(readers.dropout)),
}
READERS: dict[type[Any], Reader] = IDLE | {
    module: Reader(read, layer, layer.affine, row.inputs, row.holds)
    for layer, row in ROWS.items()
    for module, read in row.read.items()
}
LINES = tuple(module for row in ROWS.values() for module in row.lines)


def row_of(layer: Layer) -> Row:
    """The row of a layer's kind."""
    return next(ROWS[cls] for cls in type(layer).__mro__ if cls in ROWS)


def batch_norms(module: nn.Module) -> list[Any]:
    """Every BatchNorm of PyTorch's within a module, those of other dimensions and of several devices among them."""
    return [part for part in module.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)]


def trained(parts: list[Any]) -> bool:
    """Whether any parameter of these modules requires gradients."""
    return any(each.requires_grad for part in parts for each in part.parameters())
