# SPDX-License-Identifier: BSD-3-Clause
"""What an optimiser's next step makes of a module's parameters, at any rate; afterwards both are what they were."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from .._numbers import shown
from .calls import precise_dtype

__all__ = ["Steps"]


class Steps:
    """An optimiser's next step, taken again and again from the same state.

    Attributes
    ----------
    gradients : list of Tensor
        For every trained parameter, in the order of the module's; to be set.
    rate : float
        The first group's own rate, 1 where it is 0.
    """

    def __init__(self, module: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        self.module, self.optimizer = module, optimizer
        self.trained = [each for each in module.parameters() if each.requires_grad]
        groups = optimizer.param_groups
        stepped = {id(each) for group in groups for each in group["params"]}
        if not any(id(each) in stepped for each in self.trained):
            raise ValueError("optimizer must hold parameters of the module that require gradients, and holds none")
        if any("lr" not in group for group in groups):
            raise ValueError(f"optimizer must have a learning rate lr, and {type(optimizer).__name__} has none")
        rates = [float(group["lr"]) for group in groups]
        if not all(math.isfinite(rate) and rate >= 0 for rate in rates) or (rates[0] == 0 and any(rates)):
            raise ValueError(f"optimizer must have rates > 0, or 0 in all groups, got {shown(rates)}")
        self.rate = rates[0] or 1.0
        self.ratios = [rate / rates[0] if rates[0] else 1.0 for rate in rates]
        self.gradients: list[torch.Tensor] = []

    @contextmanager
    def open(self) -> Iterator[Steps]:
        """Within, steps may be taken; afterwards parameters, gradients and the optimiser are what they were."""
        optimizer, parameters = self.optimizer, self._parameters()
        self._values = [(each, each.detach().clone()) for each in parameters]
        grads = [(each, each.grad, None if each.grad is None else each.grad.detach().clone()) for each in parameters]
        attributes, groups = dict(vars(optimizer)), [(group, dict(group)) for group in optimizer.param_groups]
        held = list(optimizer.param_groups)
        self._state = [(key, state, _kept(state)) for key, state in optimizer.state.items()]
        try:
            yield self
        finally:
            self._rewind()
            vars(optimizer).clear()
            vars(optimizer).update(attributes)
            optimizer.param_groups[:] = held
            for group, content in groups:
                group.clear()
                group.update(content)
            for each, grad, numbers in grads:
                each.grad = grad
                if grad is not None:
                    with torch.no_grad():
                        grad.copy_(numbers)

    def updated(self, rate: float) -> list[torch.Tensor]:
        """The trained parameters after a step at this rate, in the dtype that they are measured in."""
        self._rewind()
        for each, gradient in zip(self.trained, self.gradients, strict=True):
            each.grad = gradient.detach().to(each.dtype, copy=True)
        for group, ratio in zip(self.optimizer.param_groups, self.ratios, strict=True):
            value = rate * ratio
            group["lr"] = torch.full_like(group["lr"], value) if isinstance(group["lr"], torch.Tensor) else value
        self.optimizer.step()
        return [each.detach().to(precise_dtype(each.dtype), copy=True) for each in self.trained]

    def _parameters(self) -> list[torch.Tensor]:
        """The module's and the optimiser's, each once."""
        groups = [each for group in self.optimizer.param_groups for each in group["params"]]
        return list({id(each): each for each in (*self.module.parameters(), *groups)}.values())

    def _rewind(self) -> None:
        """Numbers of parameters and of the optimiser's memory as they were."""
        with torch.no_grad():
            for each, numbers in self._values:
                each.copy_(numbers)
        state = self.optimizer.state
        state.clear()
        for key, content, kept in self._state:
            content.clear()
            for name, (value, numbers) in kept.items():
                if isinstance(value, torch.Tensor):
                    with torch.no_grad():
                        value.copy_(numbers)
                content[name] = value if isinstance(value, torch.Tensor) else copy.deepcopy(numbers)
            state[key] = content


def _kept(state: dict[Any, Any]) -> dict[Any, tuple[Any, Any]]:
    """Each value of a parameter's memory, and a copy of it."""
    return {
        name: (value, value.detach().clone() if isinstance(value, torch.Tensor) else copy.deepcopy(value))
        for name, value in state.items()
    }
