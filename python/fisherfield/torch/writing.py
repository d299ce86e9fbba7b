# SPDX-License-Identifier: BSD-3-Clause
"""Sampled networks written as PyTorch modules, layer by layer as the table of kinds says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from ..network import Layer
from ..sampled import SampledNetwork
from .layers import Writing, row_of
from .variances import Origin, moments

__all__ = ["numpy_dtype", "remembering", "written"]

_DTYPES = {torch.float64: "float64", torch.float32: "float32"}


def numpy_dtype(dtype: Any) -> Any:
    """A torch.dtype in NumPy's words; anything else as it is."""
    return _DTYPES.get(dtype, str(dtype)) if isinstance(dtype, torch.dtype) else dtype


def written(sampled: SampledNetwork) -> nn.Sequential:
    """The Sequential of a sampled network; it takes images (n, channels, height, width), of height 1 too."""
    return _Writer(sampled, line=False).whole()


def remembering(sampled: SampledNetwork) -> nn.Sequential:
    """As `written`, with what is needed to read that very network again; of lines where its convolutions are."""
    image = len(sampled.net.input_shape) == 3 and sampled.net.input_shape[1] == 1
    lines = {row_of(step.layer).line(step.layer) for step in sampled.net.steps}
    writer = _Writer(sampled, image and True in lines and False not in lines)
    whole = writer.whole()
    for made, layer in writer.pairs:
        made._fisherfield = Origin(layer, moments(made) if layer is not None and layer.affine else ())
    whole._fisherfield = sampled.net
    return whole


class _Writer:
    """Writes layers in the order of the network's steps."""

    def __init__(self, sampled: SampledNetwork, line: bool) -> None:
        self.net, self.dtype, self.line = sampled.net, getattr(torch, str(sampled.dtype)), line
        self.steps = zip(sampled.net.steps, sampled.parts, strict=True)
        self.pairs: list[tuple[Any, Layer | None]] = []  # what was made of each layer

    def whole(self) -> nn.Sequential:
        built = list(self.each(self.net.layers))
        if len(self.net.shapes[-1]) == 3:
            built.append(nn.Flatten())  # (n, outputs, 1, 1) to (n, outputs)
            self.pairs.append((built[-1], None))
        return nn.Sequential(*built)

    def each(self, layers: tuple[Layer, ...]) -> Iterator[nn.Module]:
        """The modules of layers, those within a layer first."""
        for layer in layers:
            row = row_of(layer)
            inside = tuple(nn.Sequential(*self.each(getattr(layer, name))) for name in row.holds)
            step, parts = next(self.steps)
            made = row.write(layer, Writing(step, parts, self.dtype, self.line, inside))
            self.pairs.append((made, layer))
            yield made
