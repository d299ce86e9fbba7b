# SPDX-License-Identifier: BSD-3-Clause
"""Normalisations with gamma and beta: BatchNorm over the data, LayerNorm and GroupNorm over the units of a sample."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from .. import _numbers
from .layer import Array, Layer, Parts, Shape, Stream, kind, setting

if TYPE_CHECKING:
    from .. import _core

__all__ = ["BatchNorm", "GroupNorm", "LayerNorm", "Norm"]

GAMMA = setting(_numbers.SIGNED, "a normalisation's scale", r"$\gamma$")
BETA = setting(_numbers.REAL, "a normalisation's shift", r"$\beta$")
EPS = setting(_numbers.MAGNITUDE, "a normalisation's addition to the variance", r"$\epsilon$")
TRAINED = setting(_numbers.boolean, replaced=True)


class Norm(Layer):
    """What normalisations have in common: gamma, beta and eps; trained or not."""

    reads_units = True
    core_kind: ClassVar[str]

    if TYPE_CHECKING:
        gamma: float
        beta: float
        eps: float
        trained: bool

    def gives(self, before: Stream) -> Stream:
        return before if before is Stream.ACTIVATIONS else Stream.NORMED

    def sizes(self, before: Shape) -> Shape:
        """The shape of its gammas."""
        return (before[0],)

    def arrays(self, before: Shape, after: Shape) -> tuple[Array, ...]:
        numbers = {"gammas": self.gamma, "betas": self.beta}
        shape = self.sizes(before)
        return tuple(Array(name, shape, number, None, self.trained) for name, number in numbers.items())

    @property
    def shift(self) -> float:
        return self.beta

    def outline(self, after: Shape) -> str:
        return ""

    def compile_into(self, core: _core.Network, before: Shape) -> None:
        core.layer(self.core_kind, [self.gamma, self.beta, self.eps], self.trained)


@kind
@dataclass(frozen=True)
class BatchNorm(Norm):
    """gamma (z - mean)/sqrt(var + eps) + beta, mean and variance over the data (and over positions in images).

    It stands directly after a Dense, a convolution or a sum of branches, the last one too. `trained` says that gamma
    and beta are parameters of the network: their gradients then belong to the Fisher information.

    Raises ValueError or TypeError for a number that is not finite or beyond 1e100, and for eps < 0.
    """

    core_kind = "batch_norm"
    over_batch = True
    variance_over = "the data"
    takes = (Stream.UNITS,)
    needs = (
        "BatchNorm must stand directly after a Dense, a convolution or a sum of branches, where mean and variance over "
        "the data are those of a Gaussian"
    )

    gamma: float = field(default=1.0, metadata=GAMMA)
    beta: float = field(default=0.0, metadata=BETA)
    eps: float = field(default=0.0, metadata=EPS)
    trained: bool = field(default=False, metadata=TRAINED)

    def _linearize(self, core: Any, parts: Parts, before: Shape) -> None:
        (gammas, trained), (betas, _) = parts
        core.batch_norm(gammas, betas, self.eps, trained)


class _OverUnits(Norm):
    """A normalisation over the units of one sample."""

    variance_over = "the units of a sample"
    takes = (Stream.UNITS, Stream.ACTIVATIONS)
    unpublished = "normalisation over the units of a sample"


@kind
@dataclass(frozen=True)
class LayerNorm(_OverUnits):
    """gamma (h - m)/sqrt(f + eps) + beta, m and f mean and variance over all units of one sample (of all channels and
    positions of an image).

    It stands after a Dense, a convolution or a sum of branches, or behind an activation or a pooling. `trained` says
    that gamma and beta, one each for every unit, are parameters of the network.

    Raises ValueError or TypeError for a number that is not finite or beyond 1e100, and for eps < 0.
    """

    core_kind = "layer_norm"
    needs = (
        "LayerNorm must stand after a Dense, a convolution or a sum of branches, or behind an activation; of units that "
        "BatchNorm or another normalisation has scaled already it has no theory"
    )

    gamma: float = field(default=1.0, metadata=GAMMA)
    beta: float = field(default=0.0, metadata=BETA)
    eps: float = field(default=0.0, metadata=EPS)
    trained: bool = field(default=False, metadata=TRAINED)

    def sizes(self, before: Shape) -> Shape:
        return before

    def _linearize(self, core: Any, parts: Parts, before: Shape) -> None:
        (gammas, trained), (betas, _) = parts
        core.layer("layer_norm", [self.eps], [gammas, betas], trained)


@kind
@dataclass(frozen=True)
class GroupNorm(_OverUnits):
    """As LayerNorm, over `groups` groups of channels with all their positions; gamma and beta are one a channel.

    Theory takes the channels of a group for many. A group of one channel (InstanceNorm) is refused: its mean and
    variance differ from sample to sample at any width.

    Raises ValueError or TypeError for groups that are not a whole number >= 1 or do not divide the channels, for a
    number that is not finite or beyond 1e100, and for eps < 0.
    """

    core_kind = "group_norm"
    needs = (
        "GroupNorm must stand after a Dense, a convolution or a sum of branches, or behind an activation; of units that "
        "BatchNorm or another normalisation has scaled already it has no theory"
    )

    groups: int = field(metadata=setting(lambda name, value: _numbers.integer(name, value, 1)))
    gamma: float = field(default=1.0, metadata=GAMMA)
    beta: float = field(default=0.0, metadata=BETA)
    eps: float = field(default=0.0, metadata=EPS)
    trained: bool = field(default=False, metadata=TRAINED)

    def shape_of(self, before: Shape) -> Shape:
        if before[0] % self.groups:
            raise ValueError(f"groups must divide the {before[0]} channels, got {self.groups}")
        if before[0] == self.groups:
            raise ValueError(
                f"groups must hold two channels or more, got {self.groups} groups of {before[0]} channels: mean and "
                "variance of one channel (InstanceNorm) differ from sample to sample at any width"
            )
        return before

    def _linearize(self, core: Any, parts: Parts, before: Shape) -> None:
        (gammas, trained), (betas, _) = parts
        core.layer("group_norm", [self.groups, self.eps], [gammas, betas], trained)
