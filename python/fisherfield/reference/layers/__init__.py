# SPDX-License-Identifier: BSD-3-Clause
"""The kinds of layers, one file each: a map of states (infinite width), and the two passes of a finite network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from ...network import Activation, AvgPool2d, BatchNorm, Conv2d, Dense, Flatten, GlobalAvgPool2d
from ..state import Place, State
from . import affine, batch_norm, flatten, phi, pools

__all__ = ["KINDS", "Kind"]


class Kind(NamedTuple):
    """What a layer is to the reference."""

    state: Callable[[Any, State, Place], State]  # (layer, state, place) -> state
    forward: Callable[..., Any]  # (layer, arrays, batch, flow) -> batch, what the reverse pass needs
    back: Callable[..., Any]  # (layer, arrays, that, delta, flow) -> delta before the layer, gradients of the arrays
    takes_gaussian: bool = False  # a pre-activation; before all others phi is the identity
    arrays: tuple[str, ...] = ()  # of a sampled network, in the order of the parameters


_AFFINE, _NORM = ("weights", "biases"), ("gammas", "betas")
_POOL = Kind(pools.average_pool, pools.forward, pools.back)

KINDS: dict[type, Kind] = {
    Dense: Kind(affine.dense, affine.forward, affine.back, arrays=_AFFINE),
    Conv2d: Kind(affine.convolution, affine.forward, affine.back, arrays=_AFFINE),
    BatchNorm: Kind(batch_norm.batch_norm, batch_norm.forward, batch_norm.back, takes_gaussian=True, arrays=_NORM),
    Activation: Kind(phi.activation, phi.forward, phi.back, takes_gaussian=True),
    Flatten: Kind(flatten.flatten, flatten.forward, flatten.back),
    AvgPool2d: _POOL,
    GlobalAvgPool2d: _POOL,
}
