# SPDX-License-Identifier: BSD-3-Clause
"""Sums of branches: Residual."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .. import _numbers
from .layer import DATA, GAUSSIAN, Layer, Marks, Parts, Seen, Shape, Spot, Step, Stream, kind, matrices, setting

if TYPE_CHECKING:
    from .. import _core

__all__ = ["Residual"]


def _layers(name: str, value: Any) -> tuple[Layer, ...]:
    if not _numbers.is_sequence(value):
        raise TypeError(f"{name} must be a sequence of layers, got {_numbers.shown(value)}")
    layers = _numbers.entries(name, value)
    for place, layer in enumerate(layers):
        if not isinstance(layer, Layer):
            raise TypeError(
                f"{name}[{place}] must be a layer of fisherfield (Dense, Conv2d, ...), got {_numbers.shown(layer)}"
            )
    return layers


def _through_weights(layers: tuple[Layer, ...], shape: Shape) -> bool:
    for layer in layers:
        if layer.through_weights(shape):
            return True
        shape = layer.shape_of(shape)
    return False


@kind
@dataclass(frozen=True)
class Residual(Layer):
    """h -> skip(h) + scale * branch(h); without layers the skip is h itself.

    A closed recursion has sums of Gaussian units: the stream of a pre-activation net (v2), whose skip is the identity,
    or two branches that end with Dense, a convolution or a normalisation of one, as the projection skips of a
    post-activation net (v1). Other sums are not Gaussian: that of an identity skip behind an activation, of what a
    pooling gives, and of `Subsample`, the skip without parameters that changes the shape.

    Parameters
    ----------
    branch : sequence of layers
        At least one of them Dense or a convolution.
    skip : sequence of layers
        Empty: the identity.
    scale : float

    Raises
    ------
    ValueError, TypeError
        For what is no layer and for a scale that is not finite or beyond 1e100; in a network, where the shapes of both
        branches differ, both hold what comes in as it is, or the skip is the data.

    Examples
    --------
    >>> block = ff.Residual([ff.BatchNorm(), ff.Activation("relu"), ff.Dense(1000)])
    >>> ff.Network(784, [ff.Dense(1000), block, block, ff.Activation("relu"), ff.Dense(10)])

    The blocks of a post-activation ResNet without parameters in its skips:

    >>> relu, norm = ff.Activation("relu"), ff.BatchNorm()
    >>> block = ff.Residual([ff.Conv2d(16, 3, 1, 1), norm, relu, ff.Conv2d(16, 3, 1, 1), norm])
    >>> down = ff.Residual([ff.Conv2d(32, 3, 2, 1), norm, relu, ff.Conv2d(32, 3, 1, 1), norm], [ff.Subsample(32)])
    >>> stem, end = [ff.Conv2d(16, 3, 1, 1), norm, relu], [ff.GlobalAvgPool2d(), ff.Flatten(), ff.Dense(10)]
    >>> net = ff.Network((3, 32, 32), [*stem, block, relu, down, relu, *end])
    """

    reads_units = True
    in_place = False

    branch: tuple[Layer, ...] = field(metadata=setting(_layers))
    skip: tuple[Layer, ...] = field(default=(), metadata=setting(_layers, rare=True))
    scale: float = field(default=1.0, metadata=setting(_numbers.SIGNED, "a branch's factor in its sum", r"$\alpha$"))

    def gives(self, before: Stream, shape: Shape) -> Stream:
        for layers in (self.branch, self.skip):
            inner, stream = shape, before
            for layer in layers:
                inner, stream = layer.shape_of(inner), layer.gives(stream, inner)
            if stream not in GAUSSIAN:
                return Stream.ACTIVATIONS
        return Stream.UNITS

    def through_weights(self, before: Shape) -> bool:
        return _through_weights(self.branch, before) and _through_weights(self.skip, before)

    @property
    def unpublished(self) -> str:
        return "sums of branches"

    def marks(self, spot: Spot, after: Shape) -> Marks:
        ends = []
        for layers in (self.branch, self.skip):
            inner = spot
            for layer in layers:
                inner = inner.behind(layer, layer.shape_of(inner.shape), 0)
            ends.append(inner.marks)
        return Marks.of_sum(ends)

    def shape_of(self, before: Shape) -> Shape:
        for layer in self.branch:
            before = layer.shape_of(before)
        return before

    def leaves(self) -> Iterator[Layer]:
        for layer in (*self.branch, *self.skip):
            yield from layer.leaves()
        yield self

    def mapped(self, change: Callable[[Layer], Layer | None]) -> Layer | None:
        branches = (
            tuple(new for layer in layers if (new := layer.mapped(change)) is not None)
            for layers in (self.branch, self.skip)
        )
        return change(dataclasses.replace(self, branch=next(branches), skip=next(branches)))

    def steps(self, spot: Spot) -> Iterator[Step]:
        if not any(leaf.affine for layer in self.branch for leaf in layer.leaves()):
            raise ValueError(
                f"{spot.where}: branch must hold at least one Dense or convolution, whose weights are its own"
            )
        branch = yield from self._within(spot, "branch", self.branch)
        start = spot._replace(number=branch.number)
        skip = yield from self._within(start, "skip", self.skip)
        if not (_through_weights(self.branch, spot.shape) or _through_weights(self.skip, spot.shape)):
            raise ValueError(
                f"{spot.where}: what comes in must go through a Dense or a convolution that mixes channels on all ways "
                "of the branch, or of the skip; where both hold it as it is, they are not independent"
            )
        if branch.stream is Stream.PADDED:
            raise ValueError(
                f"{spot.where}: {type(branch.previous).__name__} must end the skip, and it ends the branch"
            )
        if skip.stream in DATA:
            raise ValueError(
                f"{spot.where}: a skip must hold units behind a Dense or a convolution, and this one holds the data"
            )
        if len(branch.shape) != len(spot.shape):
            raise ValueError(f"{spot.where}: Flatten must stand before the sum or behind it, not in a branch")
        if branch.shape != skip.shape:
            raise ValueError(
                f"{spot.where}: branch and skip must end with one shape, got {branch.shape} and {skip.shape}"
            )
        needs = {end.stream for end in (branch, skip)} - set(GAUSSIAN)
        yield Step(
            self,
            spot.where,
            spot.place,
            spot.shape,
            branch.shape,
            spot.previous,
            (branch.source, skip.source),
            "a sum with units that are not Gaussian is not Gaussian" if needs else "",
        )

    def _within(self, spot: Spot, name: str, layers: tuple[Layer, ...]) -> Any:
        """The steps of one branch; returns where it ends."""
        where = spot.where
        for place, layer in enumerate(layers):
            number = spot.number
            for step in layer.steps(spot._replace(where=f"{where}.{name}[{place}]")):
                yield step
                number += 1
            spot = spot.behind(layer, step.after, number)
        return spot._replace(where=where)

    def outline(self, after: Shape) -> str:
        return f"Residual {' x '.join(map(str, after))}"

    @property
    def remark(self) -> str:
        return "branch + skip" if self.scale == 1.0 else f"{self.scale:g} branch + skip"

    def compile_into(self, core: _core.Network, before: Shape) -> None:
        start, ends = core.spot(), []
        for layers in (self.branch, self.skip):
            core.stand(start)
            shape = before
            for layer in layers:
                layer.compile_into(core, shape)
                shape = layer.shape_of(shape)
            ends.append(core.spot())
        core.add(ends[0], ends[1], self.scale)

    def linearize_into(self, core: Any, parts: Iterator[Parts], before: Shape) -> None:
        ends: list[int] = []
        start = core.last
        for layers in (self.branch, self.skip):
            core.last = start
            shape = before
            for layer in layers:
                layer.linearize_into(core, parts, shape)
                shape = layer.shape_of(shape)
            if not ends and self.scale != 1.0:
                core.layer("scale", [self.scale], [], False)
            ends.append(core.last)
        next(parts)  # the sum has none
        core.add(ends)

    def image_bytes(self, step: Step, seen: Seen) -> int:
        # of both branches; where a norm is trained, what goes with its units' own values and what that is made of
        more = 7 if any(getattr(leaf, "trained", False) for leaf in self.leaves()) else 0
        return 2 * matrices(0, math.prod(step.after[1:]) ** 2) + more * 8 * math.prod(step.after[1:]) ** 2
