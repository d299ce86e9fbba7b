# SPDX-License-Identifier: BSD-3-Clause
"""What the theory assumes of data and parameters, and of the descent that trains; converted and refused once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .. import _numbers
from ..network import Network


@dataclass(frozen=True)
class Settings:
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
        return cls(*_numbers.settings_of(net, theory, samples, overlap, length, biases))


@dataclass(frozen=True)
class Descent:
    """loss, momentum, nesterov and weight_decay, as in `max_learning_rate`."""

    loss: str = "sum"
    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0

    @classmethod
    def of(cls, net: Network, loss: Any, momentum: Any, nesterov: Any = False, weight_decay: Any = 0.0) -> Descent:
        """As they were given; refused in a sentence."""
        return cls(
            momentum=_numbers.momentum_of(momentum),
            loss=_numbers.loss_of(loss, net.outputs),
            nesterov=_numbers.boolean("nesterov", nesterov),
            weight_decay=_numbers.magnitude("weight_decay", weight_decay),
        )
