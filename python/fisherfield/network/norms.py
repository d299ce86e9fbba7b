# SPDX-License-Identifier: BSD-3-Clause
"""Normalisations: BatchNorm."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .. import _numbers
from .layer import Array, Layer, Parts, Shape, Stream, kind, setting

if TYPE_CHECKING:
    from .. import _core

__all__ = ["BatchNorm"]


@kind
@dataclass(frozen=True)
class BatchNorm(Layer):
    """gamma (z - mean)/sqrt(var + eps) + beta, mean and variance over the data (and over positions in images).

    It stands directly after a Dense or Conv2d, the last one too. `trained` says that gamma and beta are parameters of
    the network: their gradients then belong to the Fisher information.

    Raises ValueError or TypeError for a number that is not finite or beyond 1e100, and for eps < 0.
    """

    over_batch = True
    takes = (Stream.UNITS,)
    needs = (
        "BatchNorm must stand directly after a Dense or Conv2d, where mean and variance over the data are those of a "
        "Gaussian"
    )

    gamma: float = field(default=1.0, metadata=setting(_numbers.SIGNED, "BatchNorm's scale", r"$\gamma$"))
    beta: float = field(default=0.0, metadata=setting(_numbers.REAL, "BatchNorm's shift", r"$\beta$"))
    eps: float = field(
        default=0.0, metadata=setting(_numbers.MAGNITUDE, "BatchNorm's addition to the variance", r"$\epsilon$")
    )
    trained: bool = field(default=False, metadata=setting(_numbers.boolean, replaced=True))

    def gives(self, before: Stream) -> Stream:
        return Stream.NORMED

    def arrays(self, before: Shape, after: Shape) -> tuple[Array, ...]:
        numbers = {"gammas": self.gamma, "betas": self.beta}
        return tuple(Array(name, (after[0],), number, None, self.trained) for name, number in numbers.items())

    @property
    def shift(self) -> float:
        return self.beta

    def outline(self, after: Shape) -> str:
        return ""

    def compile_into(self, core: _core.Network, before: Shape) -> None:
        core.batch_norm(self.gamma, self.beta, self.eps, self.trained)

    def _linearize(self, core: Any, parts: Parts, before: Shape) -> None:
        (gammas, trained), (betas, _) = parts
        core.batch_norm(gammas, betas, self.eps, trained)
