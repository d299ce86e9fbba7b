# SPDX-License-Identifier: BSD-3-Clause
"""The largest learning rate at which an optimiser's own next update does not raise the loss of a batch."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

import torch

from .._html import InNotebooks
from .._numbers import shown
from .calls import Calls, module_of
from .losses import Loss, curvature_of, loss_of, name_of, targets_of
from .steps import Steps

__all__ = ["FirstStep", "first_step"]

_MOST = 25  # forward passes in all
_NEAR = 1.01  # between a rate that does not raise the loss and one that does


class FirstStep(float, InNotebooks):
    """The critical learning rate of an update.

    0: the update goes uphill. inf: no rate that was tried raises the loss.

    Attributes
    ----------
    evaluations : int
        Forward passes, those of the gradient and of the derivative along the update among them.
    low, high : float
        Rates that do not raise the loss, and that do; within 1 %.
    estimate : float
        By that derivative and the curvature of the loss in the outputs: what the search began at.
    before : float
        The loss of the batch.
    optimizer, loss : str
    """

    evaluations: int
    low: float
    high: float
    estimate: float
    before: float
    optimizer: str
    loss: str

    def __new__(cls, value: float, **attributes: Any) -> FirstStep:
        made = super().__new__(cls, value)
        vars(made).update(attributes)
        return made

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (float(self), vars(self))

    def __repr__(self) -> str:
        ends = {0.0: "every rate raises it, for the update goes uphill"}
        ends[math.inf] = f"up to {self.low:.3g} no rate raises it"
        words = ends.get(float(self), f"{self.low:.4g} does not raise it, {self.high:.4g} does")
        return (
            f"{float(self):.4g}, the critical learning rate of the next update by {self.optimizer}\n"
            f"  loss {self.loss} of {self.before:.5g} at the batch: {words}\n"
            f"  {self.evaluations} forward passes"
        )


def _again(value: float, attributes: dict[str, Any]) -> FirstStep:
    return FirstStep(value, **attributes)


def first_step(
    module: torch.nn.Module,
    x: Any,
    targets: Any,
    loss: Any,
    optimizer: torch.optim.Optimizer,
    *,
    seed: int = 0,
) -> FirstStep:
    """The largest learning rate at which the optimiser's next update does not raise the loss on this batch.

    The update is the optimiser's own, taken by its `step` at every rate that is tried: momentum, Adam's moments, weight
    decay, whatever it does with what it remembers. The rate is doubled until the loss rises, or halved until it does
    not, and then bisected to 1 %, in at most 25 forward passes.

    Parameters
    ----------
    module, x, targets, loss, seed
        As in `measure`; the module in train mode for what training does.
    optimizer : torch.optim.Optimizer
        Of the module's parameters. Where groups have several rates they keep their ratios, and the first one's is told.

    Returns
    -------
    FirstStep
        A float, with `.evaluations`.

    Raises
    ------
    ValueError, TypeError
        In one sentence, as `measure`; for optimisers that need a closure (LBFGS), and those of other parameters.

    Notes
    -----
    Along a straight update theta + eta d the search begins at eta = -2 g.d/(Jd . H Jd), by one derivative Jd of the
    outputs in forward mode: the rate at which the generalised Gauss-Newton quadratic comes back to where it began. For
    plain descent on a quadratic the first step's rate is 2 g.g/(g.F g), at least 2/lambda_max; training's limit is
    lower with every step that turns towards the sharpest direction. 2 over it is the critical sharpness (D. S. Kalra
    et al., 2026).

    It is the first crossing that the doubling meets; at larger rates the loss may fall again. Parameters, gradients,
    buffers, the optimiser's memory and all generators are put back bit for bit.

    Examples
    --------
    >>> optimizer = torch.optim.Adam(model.parameters())
    >>> ff.torch.first_step(model, x, y, "cross_entropy", optimizer)
    """
    steps = Steps(module_of(module), optimizer_of(optimizer))
    calls = Calls(steps.module, x, seed)
    function = loss_of(loss)
    with calls.open(), steps.open():
        calls.whole()
        y = targets_of(loss, targets, calls.outputs)
        before = _value(function, calls.outputs, y)
        if not math.isfinite(before):
            raise ValueError(f"loss must be finite at the start, got {before}")
        steps.gradients = calls.split(calls.pull(_gradient(function, calls.outputs, y)))
        calls.forget()
        estimate, uphill = _estimate(calls, steps, function, y)
        count = 2  # the pass at the start, and the derivative's

        def raises(rate: float) -> bool:
            nonlocal count
            count += 1
            try:
                after = _value(function, calls.evaluate(steps.updated(rate)), y)
            except ValueError:  # outputs that are not finite
                return True
            return not after <= before

        value = low = high = 0.0
        if not uphill:
            value, low, high = _crossing(raises, estimate if 0 < estimate < math.inf else steps.rate, _MOST - count)
    return FirstStep(
        value,
        evaluations=count,
        low=low,
        high=high,
        estimate=estimate,
        before=before,
        optimizer=type(optimizer).__name__,
        loss=name_of(loss),
    )


def optimizer_of(value: Any) -> torch.optim.Optimizer:
    """One that takes its step without a closure."""
    if not isinstance(value, torch.optim.Optimizer):
        way = ": it is a class, make an object of it" if isinstance(value, type) else ""
        raise TypeError(f"optimizer must be a torch.optim.Optimizer, got {shown(value)}{way}")
    closure = inspect.signature(type(value).step).parameters.get("closure")
    if closure is not None and closure.default is inspect.Parameter.empty:
        raise ValueError(f"optimizer must take its step without a closure, and {type(value).__name__} needs one")
    return value


def _value(loss: Loss, outputs: torch.Tensor, targets: Any) -> float:
    with torch.no_grad():
        return float(loss(outputs, targets))


def _gradient(loss: Loss, outputs: torch.Tensor, targets: Any) -> torch.Tensor:
    f = outputs.detach().requires_grad_()
    return torch.autograd.grad(loss(f, targets), f)[0]


def _estimate(calls: Calls, steps: Steps, loss: Loss, targets: Any) -> tuple[float, bool]:
    """-2 g.d/(Jd . H Jd) of the update d at rate 1, as that at the optimiser's own rate; infinity where it is flat.
    And whether g.d > 0."""
    moved = steps.updated(steps.rate)
    direction = calls.flat(moved) - calls.flat(calls.leaves)
    along = calls.push(direction)
    curvature = float((along * curvature_of(loss, calls.outputs, targets)(along)).double().sum())
    slope = float(torch.dot(calls.flat(steps.gradients).double(), direction.double()))
    return (-2 * slope / curvature * steps.rate if curvature > 0 else math.inf), slope > 0


def _crossing(raises: Callable[[float], bool], start: float, most: int) -> tuple[float, float, float]:
    """(the rate, one that does not raise the loss, one that does), in at most so many tries."""
    low, high, rate = 0.0, math.inf, start
    for _ in range(most):
        if raises(rate):
            high = rate
        else:
            low = rate
        if low == 0.0:
            rate = high / 2 if high > start / 64 else high / 64
        elif high == math.inf:
            rate = low * 2 if low < 64 * start else low * 64
        elif high <= low * _NEAR:
            break
        else:
            rate = math.sqrt(low * high)
    if low == 0.0 or high == math.inf:
        return (0.0 if low == 0.0 else math.inf), low, high
    return low, low, high
