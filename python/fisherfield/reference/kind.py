# SPDX-License-Identifier: BSD-3-Clause
"""What a kind of layer is to the reference: a map of states (infinite width), and the two passes of a finite network.

A module of `layers` enters its kinds into the table by its own `KINDS`, a dictionary {class: Kind}.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from .state import State

__all__ = ["Kind", "without_recursion"]


class Kind(NamedTuple):
    """A sum of branches takes several states, or batches, where others take one."""

    state: Callable[..., State]  # (layer, state, place) -> state
    forward: Callable[..., Any]  # (layer, arrays, batch, flow) -> batch, what the reverse pass needs
    back: Callable[..., Any]  # (layer, arrays, that, delta, flow) -> delta before the layer, gradients of the arrays
    takes_gaussian: bool = False  # a pre-activation; before all others phi is the identity
    without_bias: bool = False  # takes the mean over the data away, and the bias before it
    arrays: tuple[str, ...] = ()  # of a sampled network, in the order of the parameters
    # (layer, units or state, place, sampling) -> units or state; None: of averages over units, by `state`
    units: Callable[..., Any] | None = None
    of_averages: bool = False  # by `state`, too, unless what reads it needs the units themselves


def without_recursion(layer: Any, *states: Any) -> State:
    """The map of states of a kind that has none: a description says so before anybody asks for it."""
    raise ValueError(f"{type(layer).__name__} has no closed recursion")
