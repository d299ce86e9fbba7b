# SPDX-License-Identifier: BSD-3-Clause
"""Dropout in train mode."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _numbers
from .layer import DATA, Layer, Parts, Shape, Stream, kind, setting

if TYPE_CHECKING:
    from .. import _core

__all__ = ["Dropout"]


def _rate(name: str, value: Any) -> float:
    number = _numbers.float_of(name, value, "in [0, 1)")
    if not 0.0 <= number < 1.0:
        raise ValueError(f"{name} must be in [0, 1), got {_numbers.shown(value)}")
    return number


_RATE = _numbers.Range(lambda numbers: np.asarray((numbers >= 0.0) & (numbers < 1.0)), _rate)


@kind
@dataclass(frozen=True)
class Dropout(Layer):
    """m h/(1 - rate), m = 0 with probability `rate`, else 1: drawn for each sample and unit, fixed for the gradient.

    It stands behind an activation, a pooling or a normalisation of these, or at the input; in eval mode a network is
    the same without it. Raises ValueError or TypeError for a rate outside [0, 1).
    """

    random = True
    takes = (*DATA, Stream.ACTIVATIONS)
    needs = "Dropout must stand behind an activation or a pooling, or at the input, for what it leaves is not Gaussian"

    rate: float = field(metadata=setting(_RATE, "Dropout's share of units that are 0", r"$p_0$"))

    @property
    def unpublished(self) -> str:
        return "Dropout"

    @property
    def unscattered(self) -> str:
        return "Dropout"

    def compile_into(self, core: _core.Network, before: Shape) -> None:
        core.layer("dropout", [self.rate])

    def _linearize(self, core: Any, parts: Parts, before: Shape) -> None:
        core.layer("dropout", [self.rate, core.seed, core.nodes], [], False)
