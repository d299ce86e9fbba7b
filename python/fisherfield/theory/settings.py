# SPDX-License-Identifier: BSD-3-Clause
"""What the theory assumes of data and parameters, and of the descent that trains; converted and refused once."""

from __future__ import annotations

from typing import Any, NamedTuple

from .. import _numbers
from .._memory import refuse_large_images
from .._numbers import Loss
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
        cls,
        net: Network,
        theory: Any,
        samples: Any = None,
        overlap: Any = 0.0,
        length: Any = 1.0,
        biases: Any = None,
        by_units: bool = False,
    ) -> Settings:
        """As they were given; refused in a sentence. `by_units`: units may be drawn where there is no recursion."""
        _numbers.network_of(net)
        theory = _numbers.theory_of(net, theory, by_units)
        refuse_large_images(net, theory)
        length = _numbers.magnitude("length", length, positive=True)
        samples = _numbers.samples_of(samples)
        if samples == 1 and net.batch_norms:
            raise ValueError("samples must be at least 2 under BatchNorm, whose variance over one sample is 0, got 1")
        overlap = _numbers.overlap_of(overlap, length, samples)
        return cls(theory, samples, overlap, length, _numbers.biases_of(biases, theory))


class Descent(NamedTuple):
    """loss, momentum, nesterov and weight_decay, as in `max_learning_rate`."""

    loss: Loss = "sum"
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
