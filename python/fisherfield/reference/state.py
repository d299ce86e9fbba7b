# SPDX-License-Identifier: BSD-3-Clause
"""The state of one unit seen at two independent inputs x and y: what every layer maps.

docs/theory.md, section 4. Images (section 5): the same numbers for every pair of positions, |K| x |K| matrices.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..network import Network

__all__ = ["Place", "State", "inputs", "known"]


@dataclass(frozen=True)
class State:
    """Lengths and tangent kernel of a pre-activation z (`gaussian`), or of an activation h.

    Theta(x, y) = <grad f(x), grad f(y)> of one unit is linear in its sources ("N q_hat + 1" of every affine layer), so
    each source l = 1 .. L is carried separately: o, d, ou, du have one entry, or one matrix, per affine layer.

    What BatchNorm's variance and a trained gamma add goes with the unit's own value: with u = (z - mean)/sqrt(q) and w
    the same at y,

        Theta(x, y) = o + ou u w,        Theta(x, x) = (o + d) + (ou + du) u^2.

    v and d are carried, and not formed as q - q_xy and D - o: in deep nets without BatchNorm they become far smaller.
    """

    gaussian: bool
    xy: Any  # E z(x) z(y), of a pre-activation without its mean
    v: Any  # E z(x)^2 - E z(x) z(y)
    off: Any  # what the next layer's own gradients see of the overlap beyond xy
    mean: Any  # over units
    o: np.ndarray
    d: np.ndarray
    ou: np.ndarray
    du: np.ndarray
    positions: tuple[int, int] | None = None  # height, width, numbered row by row; None where there is one
    # half the mean square of what one input's values at two positions differ by: (q_a + q_a')/2 - q_aa', not as that
    apart: Any = None
    # 1 - c of pairs of positions, of one input and of two, where a gamma of 0 leaves nothing of it in xy and v
    one_minus_c: tuple[np.ndarray, np.ndarray] | None = None
    # of activations xy without the mean's square, where it has digits of its own; else None
    common: Any = None
    # what every entry of xy has beyond it, of an affine layer over positions: a BatchNorm takes it out
    bias: float = 0.0

    @property
    def whole(self) -> State:
        """With the bias in xy."""
        return self if self.bias == 0.0 else replace(self, xy=self.xy + self.bias, bias=0.0)

    @property
    def q(self) -> Any:
        """E z(x)^2, without the mean."""
        return self.xy + self.v

    @property
    def scaled(self) -> tuple[str, ...]:
        """The names of what grows by c^2 with units that grow by c."""
        more = ("apart",) if self.positions is not None else ("common",) if self.common is not None else ()
        return ("xy", "v", "off", "o", "d", "ou", "du", *more)

    @property
    def D(self) -> np.ndarray:
        """Theta(x, x) but for (ou + du) u^2."""
        total: np.ndarray = self.o + self.d
        return total


@dataclass(frozen=True)
class Place:
    """What a layer's map takes besides the state."""

    theory: str  # exact or frozen
    samples: int | None
    biases: bool  # their gradients count
    shape: tuple[int, ...]  # of what goes in
    source: int  # the affine layer, from 0, that own gradients are counted to: itself, or the last one before it
    homogeneous: bool  # every phi that reads it, or a sum that it is a part of, is; and something does


def inputs(net: Network, length: float, overlap: float, measured: Any = None) -> State:
    """h^0 = x: independent positions, or those of `measured` second moments; nothing before them has parameters.

    Half the mean square by which two positions differ, `apart`, is what their lengths have and their product has not.
    """
    if len(net.input_shape) == 1:
        none = np.zeros(net.depth)
        return State(False, overlap, length - overlap, 0.0, 0.0, none, none, none, none)
    _, height, width = net.input_shape
    one = np.eye(height * width)
    none = np.zeros((net.depth, *one.shape))
    mean = np.zeros(len(one))
    xy, v, apart, size = overlap * one, (length - overlap) * one, length * (1 - one), (height, width)
    if measured is not None:
        xy = measured.between if measured.overlap >= 0 else 0 * measured.between  # of centred images
        v = measured.within - xy
        own = np.diagonal(measured.within)
        apart = (own[:, None] + own) / 2 - measured.within
    return State(False, xy, v, 0 * one, mean, none, none, none, none, size, apart)


def known(state: State, share: Any, two: Any, one: Any) -> tuple[np.ndarray, ...]:
    """(o, d, ou, du) of units that know of the state's own u what is linear in their own u':

        u = sqrt(share) u' + rest,     E rest u' = 0.

    Hence u(x) u(y) -> share u'(x) u'(y) + its mean, which is taken as it is. `two` is the mean of u(x) u(y) that u' has
    not, c - share c' with both correlations, and `one` that of u(x) u(x), 1 - share: so the means of Theta(x, y) and of
    Theta(x, x) over units stay what they were.
    """
    o = state.o + state.ou * two
    d = state.d + state.du * one + state.ou * (one - two)
    return o, d, share * state.ou, share * state.du
