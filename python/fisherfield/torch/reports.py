# SPDX-License-Identifier: BSD-3-Clause
"""Theory, measurement and first step of a module side by side, each with what it was seen to mean."""

from __future__ import annotations

import math
import textwrap
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from .. import _numbers
from .._html import InNotebooks
from .._words import descent_in_words, plural
from ..theory import LearningRate, max_learning_rate
from ..theory.calls import step_limit
from ..theory.learning_rate import seen_in_training
from ..theory.settings import Descent
from .calls import module_of
from .first_steps import FirstStep, first_step, optimizer_of
from .layers import batch_norms, trained
from .losses import loss_of, name_of
from .measuring import measure
from .module import describe
from .spectrum import ModuleSpectrum

__all__ = ["Report", "report"]

_COLUMNS = 100
OPTIMIZERS = ("sgd", "adam", "adamw", "rmsprop")


@dataclass(frozen=True, repr=False)
class Report(InNotebooks):
    """What is known of a module's largest stable learning rate at its start.

    Attributes
    ----------
    theory : LearningRate or None
        Of the module's description, for as many samples as there are, with their overlap and length.
    why_not : str
        Where there is none: why.
    measured : ModuleSpectrum
        The largest eigenvalue of the module's Fisher information on these samples.
    limit : float or None
        2 (1 + momentum)/lambda_max of that; None where the optimiser has no such limit.
    step : FirstStep
        The critical rate of the optimiser's own first update.
    rate : float or None
        The optimiser's present rate.
    optimizer, loss : str
    meaning : dict of str
        What each of "theory", "measured" and "first step" was seen to mean in training.
    notes : tuple of str
        What the description says otherwise than the module, and where the theory does not hold.
    """

    theory: LearningRate | None
    why_not: str
    measured: ModuleSpectrum
    limit: float | None
    step: FirstStep
    rate: float | None
    optimizer: str
    loss: str
    meaning: dict[str, str]
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and words; infinities among them."""
        spectrum, theory = self.measured, self.theory
        return {
            "module": {
                "name": spectrum.name,
                "parameters": spectrum.parameters,
                "train": spectrum.train,
                "random": spectrum.random,
                "dtype": spectrum.dtype,
            },
            "samples": spectrum.samples,
            "outputs": spectrum.outputs,
            "loss": self.loss,
            "optimizer": self.optimizer,
            "rate": self.rate,
            "theory": None
            if theory is None
            else {
                "lambda_max": theory.fisher.lambda_max,
                "max_learning_rate": float(theory) if self.limit is not None else None,
                "bound": theory.bound,
                "holds": theory.holds,
                "reason": theory.reason,
            },
            "why_no_theory": self.why_not or None,
            "measured": {
                "lambda_max": spectrum.lambda_max,
                "error": float(spectrum.errors[0]),
                "max_learning_rate": self.limit,
                "products": spectrum.products,
            },
            "first_step": {
                "learning_rate": float(self.step),
                "evaluations": self.step.evaluations,
                "loss_before": self.step.before,
            },
            "meaning": self.meaning,
            "notes": list(self.notes),
        }

    def __repr__(self) -> str:
        spectrum = self.measured
        mode = "train mode" if spectrum.train else "eval mode"
        lines = [
            f"{spectrum.name}, a module of {spectrum.parameters:,} parameters in {mode}",
            f"  {plural(spectrum.samples, 'sample')}, {plural(spectrum.outputs, 'output')}, loss {self.loss}, "
            f"{self.optimizer}",
            f"  {'':<12}{'lambda_max':>20}   {'learning rate':>14}",
        ]
        if self.theory is not None:
            fisher = self.theory.fisher
            rate = "" if self.limit is None else f"{_signed(self.theory.bound)}{float(self.theory):.4g}"
            value = f"{_signed(fisher.bound)}{fisher.lambda_max:.5g}"
            lines.append(f"  {'theory':<12}{value:>20}   {rate or 'none':>14}")
        value = f"{spectrum.lambda_max:.5g} +- {spectrum.errors[0]:.1g}"
        lines.append(
            f"  {'measured':<12}{value:>20}   {'none' if self.limit is None else format(self.limit, '.4g'):>14}"
        )
        lines.append(f"  {'first step':<12}{'':>20}   {float(self.step):>14.4g}")
        if self.rate is not None:
            shares = [f"{self.rate / self.limit:.2g} of measured"] if self.limit else []
            shares += [f"{self.rate / self.step:.2g} of first step"] if 0 < self.step < math.inf else []
            lines.append(f"  {'yours':<12}{'':>20}   {self.rate:>14.4g}   {', '.join(shares)}".rstrip())
        words = [f"{name}: {text}" for name, text in self.meaning.items()]
        words += [f"no theory: {self.why_not}"] if self.why_not else []
        words += [f"note: {note}" for note in self.notes]
        for text in words:
            lines += textwrap.wrap(text, _COLUMNS, initial_indent="  ", subsequent_indent="    ")
        return "\n".join(lines)


def _signed(bound: str) -> str:
    return "" if bound == "=" else f"{bound} "


def report(
    module: nn.Module,
    x: Any,
    targets: Any,
    *,
    loss: Any = "cross_entropy",
    optimizer: Any = "sgd",
    momentum: float = 0.0,
    nesterov: bool = False,
    weight_decay: float = 0.0,
    tolerance: float = 1e-3,
    chunk: int | None = None,
    seed: int = 0,
    memory: float | None = None,
) -> Report:
    """What a module can stand: theory, measured lambda_max and the optimiser's first step side by side.

    Parameters
    ----------
    module, x, targets
        As in `measure`; x is a batch as training has it, for BatchNorm's statistics are the batch's.
    loss : {"sum", "mean", "mse", "cross_entropy"} or callable
        As in `measure`; PyTorch's `MSELoss` and `CrossEntropyLoss` without options are known by their names.
    optimizer : {"sgd", "adam", "adamw", "rmsprop"} or torch.optim.Optimizer
        The module's own, whose momentum, weight decay and memory count; or a word, for a new one.
    momentum, nesterov, weight_decay
        Of a new one.
    tolerance, chunk, seed, memory
        As in `measure`.

    Returns
    -------
    Report

    Raises
    ------
    ValueError, TypeError, RuntimeError
        As `measure` and `first_step`. What the theory does not cover is no error: the report says why.

    Examples
    --------
    >>> ff.torch.report(model, x, y, loss="cross_entropy", optimizer=torch.optim.SGD(model.parameters(), 0.1, 0.9))
    """
    inner = module_of(module)
    loss = _by_name(loss)
    loss_of(loss)
    made = _optimizer(inner, optimizer, momentum, nesterov, weight_decay)
    descent = _descent(made, name_of(loss))
    spectrum = measure(inner, x, loss=loss, targets=targets, tolerance=tolerance, chunk=chunk, seed=seed, memory=memory)
    theory, why_not, notes = _theory(inner, x, loss, descent)
    words = type(made).__name__
    if descent is not None:
        words = ", ".join([words, *descent_in_words(descent._asdict())])
    top = spectrum.lambda_max + (descent.weight_decay if descent else 0.0)
    return Report(
        theory=theory,
        why_not=why_not,
        measured=spectrum,
        limit=None if descent is None else float(step_limit(descent) / top) if top > 0 else math.inf,
        step=first_step(inner, x, targets, loss, made, seed=seed),
        rate=None if isinstance(optimizer, str) else float(made.param_groups[0]["lr"]),
        optimizer=words,
        loss=name_of(loss),
        meaning=_meaning(inner, loss, descent, type(made).__name__, theory is not None),
        notes=notes,
    )


def _by_name(loss: Any) -> Any:
    """The named loss that a callable of PyTorch's is, or the callable."""
    functions = {nn.functional.cross_entropy: "cross_entropy", nn.functional.mse_loss: "mse"}
    if not isinstance(loss, (str, nn.Module)) and callable(loss):
        return next((name for function, name in functions.items() if function is loss), loss)
    if type(loss) is nn.MSELoss and loss.reduction == "mean":
        return "mse"
    if type(loss) is nn.CrossEntropyLoss:
        plain = nn.CrossEntropyLoss()
        options = ("weight", "ignore_index", "reduction", "label_smoothing")
        return "cross_entropy" if all(getattr(loss, each) == getattr(plain, each) for each in options) else loss
    return loss


def _optimizer(module: nn.Module, value: Any, momentum: Any, nesterov: Any, weight_decay: Any) -> Any:
    """The one given, or a new one of the module's trained parameters."""
    own = {"momentum": momentum, "nesterov": nesterov, "weight_decay": weight_decay}
    if not isinstance(value, str):
        if set_ := [name for name, each in own.items() if each]:
            raise ValueError(f"{set_[0]} must be left out where an optimizer is given, which has its own")
        return optimizer_of(value)
    word = _numbers.choice("optimizer", value, OPTIMIZERS)
    momentum, nesterov = _numbers.momentum_of(momentum), _numbers.boolean("nesterov", nesterov)
    decay = _numbers.magnitude("weight_decay", weight_decay)
    trained = [each for each in module.parameters() if each.requires_grad]
    if word == "sgd":
        return torch.optim.SGD(trained, 1.0, momentum, nesterov=nesterov and momentum > 0, weight_decay=decay)
    if momentum or nesterov:
        raise ValueError(f"momentum must be left out for {word}, which has its own")
    kinds = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "rmsprop": torch.optim.RMSprop}
    return kinds[word](trained, 1e-3, weight_decay=decay)


def _descent(optimizer: Any, loss: str) -> Descent | None:
    """SGD's settings; None for what has no limit by lambda_max alone."""
    group = optimizer.param_groups[0]
    if not isinstance(optimizer, torch.optim.SGD) or group["dampening"] or group["maximize"]:
        return None
    known = loss if loss in _numbers.LOSSES else "sum"
    return Descent(known, group["momentum"], group["nesterov"], group["weight_decay"])  # type: ignore[arg-type, unused-ignore]


def _theory(
    module: nn.Module, x: Any, loss: Any, descent: Descent | None
) -> tuple[LearningRate | None, str, tuple[str, ...]]:
    """The theory's rate for this batch, or why there is none; and what it notes."""
    if not isinstance(loss, str):
        return None, f"it has the losses {', '.join(_numbers.LOSSES)}, and not {name_of(loss)}", ()
    if isinstance(x, tuple):
        return None, "it has networks of one input", ()
    inputs = _numbers.as_array("x", getattr(x, "x", x).detach().cpu() if isinstance(x, torch.Tensor) else x)
    settings = (descent or Descent(loss))._asdict() | {"loss": loss}  # type: ignore[arg-type, unused-ignore]
    try:
        from ..data import overlap_and_length

        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            net = describe(module, tuple(inputs.shape[1:]))
        overlap, length = overlap_and_length(np.asarray(inputs, np.float64))
        rate = max_learning_rate(net, samples=len(inputs), overlap=overlap, length=length, **settings)
    except (ValueError, TypeError, RuntimeError) as error:
        return None, str(error), ()
    notes = [str(each.message) for each in caught if issubclass(each.category, UserWarning)]
    return rate, "", (*notes, *([f"theory: {rate.fisher.reason}"] if rate.fisher.reason else []))


# ------------------------------------------------------------------------------------------------- what it was seen to


def _meaning(module: nn.Module, loss: Any, descent: Descent | None, optimizer: str, theory: bool) -> dict[str, str]:
    norms = [norm for norm in batch_norms(module) if norm.training]
    kind = "trained" if trained(norms) else "fixed" if norms else "vanilla"
    words: dict[str, str] = {}
    if theory:
        words["theory"] = "that of wide networks with weights of these variances, without looking at the weights"
    if descent is None:
        limit = f"2 (1 + momentum)/lambda_max is no limit of {optimizer}, whose own curvature is another"
    elif loss == "cross_entropy":
        limit = f"under cross-entropy of the first steps and no limit of training; {_CROSS_ENTROPY[kind]}"
    elif isinstance(loss, str):
        limit = _SQUARED[kind]
    else:
        limit = "a limit of the first steps where the loss is curved; no other losses than the named ones were trained"
    words["measured"] = f"{limit}; {_BATCHES}" if norms else limit
    words["first step"] = (
        f"the largest rate at which the next update by {optimizer} does not raise the loss of this batch; training "
        "stands less, where its later steps turn towards the sharpest direction, or more, where it comes back"
    )
    return words


_SQUARED = {
    "fixed": (
        "training with gamma and beta fixed blew up at 0.9 to 1.1 times this rate in dense networks, at 1.0 to 1.35 "
        "times with convolutions"
    ),
    "trained": seen_in_training("sum", "trained"),
    "vanilla": (
        f"training may leap over it and come back: {seen_in_training('sum', 'vanilla')}; published for plain descent: "
        "the loss first rises at 2.0 to 3.3, and diverges at 10 to 15, in units of 1/lambda_max"
    ),
}
_CROSS_ENTROPY = {
    kind: f"{seen_in_training('cross_entropy', kind)}; a published network with LayerNorm trained best at 4 and failed "
    "at 64 in units of 1/lambda_max"
    for kind in ("fixed", "trained", "vanilla")
}
_BATCHES = (
    "BatchNorm's statistics are the batch's: give as many samples as a training step has, of which 32 and more were "
    "good to 10 %"
)
