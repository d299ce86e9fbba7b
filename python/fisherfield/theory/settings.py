# SPDX-License-Identifier: BSD-3-Clause
"""What the theory assumes of data and parameters, and of the descent that trains; converted and refused once."""

from __future__ import annotations

from typing import Any, NamedTuple

from .. import _numbers
from ..network import Network


class Settings(NamedTuple):
    """theory, samples (None: infinitely many), overlap, length and biases, as in `fisher`."""

    theory: str
    samples: int | None
    overlap: float
    length: float
    biases: bool

    @classmethod
    def of(
        cls, net: Network, theory: Any, samples: Any = None, overlap: Any = 0.0, length: Any = 1.0, biases: Any = None
    ) -> Settings:
        """As they were given; refused in a sentence."""
        return cls._make(_numbers.settings_of(net, theory, samples, overlap, length, biases))


class Descent(NamedTuple):
    """loss, momentum, nesterov and weight_decay, as in `max_learning_rate`."""

    loss: str = "sum"
    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0

    @classmethod
    def of(cls, net: Network, loss: Any, momentum: Any, nesterov: Any = False, weight_decay: Any = 0.0) -> Descent:
        """As they were given; refused in a sentence."""
        return cls(
            _numbers.loss_of(loss, net.outputs),
            _numbers.momentum_of(momentum),
            _numbers.boolean("nesterov", nesterov),
            _numbers.magnitude("weight_decay", weight_decay),
        )
