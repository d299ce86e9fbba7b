# SPDX-License-Identifier: BSD-3-Clause
"""Normalisations with gamma and beta: BatchNorm over the data, LayerNorm and GroupNorm over the units of a sample."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Union

import numpy as np

from .. import _numbers
from .layer import DATA, GAUSSIAN, Array, Axis, Layer, Parts, Shape, Spot, Step, Stream, kind, setting

if TYPE_CHECKING:
    from .. import _core

__all__ = ["BatchNorm", "GroupNorm", "LayerNorm", "Norm", "OverUnits"]

GAMMA = setting(_numbers.SIGNED, "a normalisation's scale", r"$\gamma$", each=True)
BETA = setting(_numbers.REAL, "a normalisation's shift", r"$\beta$", each=True)
EPS = setting(_numbers.MAGNITUDE, "a normalisation's addition to the variance", r"$\epsilon$")
_GAMMA_SCALE = Axis(
    _numbers.SIGNED, "a factor of a normalisation's scale, or of those of all its units", r"$\gamma/\gamma_0$"
)
TRAINED = setting(_numbers.boolean, replaced=True)
Each = Union[float, tuple[float, ...]]  # one number, or one for each unit


class Norm(Layer):
    """What normalisations have in common: gamma and beta, of all units or of each for itself, eps; trained or not."""

    reads_units = True
    core_kind: ClassVar[str]
    own: ClassVar[Mapping[str, str]] = {"gammas": "gamma", "betas": "beta"}  # arrays, and the fields that they start at
    word: ClassVar[str] = ""  # for it in builders; none where they would have to be told more

    if TYPE_CHECKING:
        eps: float
        trained: bool

    @classmethod
    def axes(cls) -> Mapping[str, Axis]:
        return {**super().axes(), "gamma_scale": _GAMMA_SCALE}

    @classmethod
    def replaceable(cls) -> tuple[str, ...]:
        return (*super().replaceable(), "gamma_scale")

    def replaced(self, name: str, value: Any) -> Layer:
        if name == "gamma_scale":
            factor, (gamma, *_) = _numbers.SIGNED.convert(name, value), self.values
            name, value = (
                "gamma",
                tuple(factor * each for each in gamma) if isinstance(gamma, tuple) else factor * gamma,
            )
        return super().replaced(name, value)

    def gives(self, before: Stream, shape: Shape) -> Stream:
        return Stream.NORMED if before in GAUSSIAN else super().gives(before, shape)

    def unequal(self, spot: Spot) -> bool:
        return spot.stream in GAUSSIAN and (spot.unequal or self.of_each)

    @property
    def values(self) -> tuple[Each, ...]:
        """gamma and beta."""
        return tuple(getattr(self, field) for field in self.own.values())

    @property
    def of_each(self) -> bool:
        """Whether units have numbers of their own."""
        return any(isinstance(value, tuple) for value in self.values)

    def shares(self, name: str) -> bool:
        return not (self.of_each and name in self.own.values())

    @property
    def shift(self) -> float:
        return float(max(np.atleast_1d(getattr(self, "beta", 0.0)), key=abs))

    @property
    def unpublished(self) -> str:
        return "gamma and beta that differ from unit to unit" if self.of_each else ""

    @property
    def unscattered(self) -> str:
        return self.unpublished if self.of_each else ""

    def sizes(self, before: Shape) -> Shape:
        """The shape of its gammas."""
        return (before[0],)

    def shape_of(self, before: Shape) -> Shape:
        sizes = self.sizes(before)
        for name, value in zip(self.own.values(), self.values, strict=True):
            if isinstance(value, tuple) and sizes != (len(value),):
                count = f"{sizes[0]} (one each)" if len(sizes) == 1 else "of units without positions"
                raise ValueError(f"{name} must be one number or {count}, got {len(value)} numbers")
        return before

    def steps(self, spot: Spot) -> Iterator[Step]:
        if self.of_each and not spot.hidden:
            raise ValueError(f"{spot.where}: gamma and beta of the outputs must be one number, got one for each")
        yield from super().steps(spot)

    def arrays(self, before: Shape, after: Shape) -> tuple[Array, ...]:
        shape = self.sizes(before)
        return tuple(Array(name, shape, getattr(self, field), None, self.trained) for name, field in self.own.items())

    def outline(self, after: Shape) -> str:
        return ""

    def compile_into(self, core: _core.Network, before: Shape) -> None:
        rows: list[Any] = []
        if self.of_each:
            rows = np.column_stack(np.broadcast_arrays(*map(np.atleast_1d, self.values))).tolist()
        numbers = [0.0 if isinstance(value, tuple) else value for value in self.values]
        core.layer(self.core_kind, [*numbers, self.eps], self.trained, rows)


@kind
@dataclass(frozen=True)
class BatchNorm(Norm):
    """gamma (z - mean)/sqrt(var + eps) + beta, mean and variance over the data (and over positions in images).

    It stands anywhere but directly behind another normalisation. A closed recursion has it directly after a Dense, a
    convolution or a sum of Gaussian units; behind an activation, a pooling or any other sum, and at the input, mean and
    variance over the data differ from unit to unit. `trained` says that gamma and beta are parameters of the network:
    their gradients then belong to the Fisher information. gamma and beta are one number for all units or channels, or
    a sequence with one for each, which is kept as a tuple.

    Raises ValueError or TypeError for a number that is not finite or beyond 1e100, and for eps < 0.
    """

    core_kind = "batch_norm"
    word = "batch"
    over_batch = True
    variance_over = "the data"
    of_units = True
    takes = (*DATA, Stream.UNITS, Stream.ACTIVATIONS)
    needs = "BatchNorm must not stand directly behind another normalisation, or where units are 0"

    gamma: Each = field(default=1.0, metadata=GAMMA)
    beta: Each = field(default=0.0, metadata=BETA)
    eps: float = field(default=0.0, metadata=EPS)
    trained: bool = field(default=False, metadata=TRAINED)

    def gives(self, before: Stream, shape: Shape) -> Stream:
        return before if before in DATA else super().gives(before, shape)

    def needs_units(self, spot: Spot) -> str:
        if spot.stream is not Stream.UNITS:
            return "mean and variance over the data differ from unit to unit where units are no Gaussian sums"
        if spot.uneven:
            return "behind padding a unit's own mean differs between positions, and its variance from unit to unit"
        return ""

    def closed_nearly(self, spot: Spot) -> bool:
        return spot.stream is Stream.UNITS

    def _linearize(self, core: Any, parts: Parts, before: Shape) -> None:
        (gammas, trained), (betas, _) = parts
        core.batch_norm(gammas, betas, self.eps, trained)


class OverUnits(Norm):
    """A normalisation over the units of one sample."""

    variance_over = "the units of a sample"
    takes = (Stream.PASSED, Stream.UNITS, Stream.ACTIVATIONS)
    needs = (
        "a normalisation over units must stand after a Dense, a convolution or a sum of branches, or behind an "
        "activation; of units that are normalised already it has no theory"
    )

    @property
    def unpublished(self) -> str:
        return "normalisation over the units of a sample"

    @property
    def unsampled(self) -> str:
        return "whose gamma and beta differ from unit to unit" if self.of_each else ""

    def steps(self, spot: Spot) -> Iterator[Step]:
        if spot.unequal:
            raise ValueError(
                f"{spot.where}: {type(self).__name__} must stand where all units have the same gamma and beta, and "
                "those of a BatchNorm before it differ from unit to unit"
            )
        yield from super().steps(spot)


@kind
@dataclass(frozen=True)
class LayerNorm(OverUnits):
    """gamma (h - m)/sqrt(f + eps) + beta, m and f mean and variance over all units of one sample (of all channels and
    positions of an image).

    It stands after a Dense, a convolution or a sum of branches, or behind an activation or a pooling. `trained` says
    that gamma and beta, one each for every unit, are parameters of the network.

    Raises ValueError or TypeError for a number that is not finite or beyond 1e100, and for eps < 0.
    """

    core_kind = "layer_norm"
    word = "layer"

    gamma: Each = field(default=1.0, metadata=GAMMA)
    beta: Each = field(default=0.0, metadata=BETA)
    eps: float = field(default=0.0, metadata=EPS)
    trained: bool = field(default=False, metadata=TRAINED)

    def sizes(self, before: Shape) -> Shape:
        return before

    def _linearize(self, core: Any, parts: Parts, before: Shape) -> None:
        (gammas, trained), (betas, _) = parts
        core.layer("layer_norm", [self.eps], [gammas, betas], trained)


@kind
@dataclass(frozen=True)
class GroupNorm(OverUnits):
    """As LayerNorm, over `groups` groups of channels with all their positions; gamma and beta are one a channel.

    Theory takes the channels of a group for many. A group of one channel (InstanceNorm) is refused: its mean and
    variance differ from sample to sample at any width.

    Raises ValueError or TypeError for groups that are not a whole number >= 1 or do not divide the channels, for a
    number that is not finite or beyond 1e100, and for eps < 0.
    """

    core_kind = "group_norm"

    groups: int = field(metadata=setting(lambda name, value: _numbers.integer(name, value, 1)))
    gamma: Each = field(default=1.0, metadata=GAMMA)
    beta: Each = field(default=0.0, metadata=BETA)
    eps: float = field(default=0.0, metadata=EPS)
    trained: bool = field(default=False, metadata=TRAINED)

    @property
    def channel_groups(self) -> int:
        return self.groups

    @property
    def unscattered(self) -> str:
        return "GroupNorm"

    def shape_of(self, before: Shape) -> Shape:
        super().shape_of(before)
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
