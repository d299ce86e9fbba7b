# SPDX-License-Identifier: BSD-3-Clause
"""Sharpness through training: lambda_max every so many steps, and how near the rate is to the edge of stability."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from .. import _numbers
from .._html import InNotebooks
from .._optional import optional
from ..scan.files import replacing
from ..theory.calls import step_limit
from ..theory.settings import Descent
from .calls import Calls, module_of
from .losses import loss_of, name_of
from .measuring import measure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Sharpness", "Watch"]


@dataclass(frozen=True)
class Sharpness:
    """One measurement. NaN: of outputs that are not finite any more."""

    step: int
    lambda_max: float
    error: float
    learning_rate: float  # NaN without an optimizer
    stability: float  # learning rate times lambda_max over 2 (1 + momentum); NaN but for SGD


class Watch(InNotebooks):
    """Measures lambda_max of a training module at the same batch, every so many calls.

    Call it at the beginning of every training step: at the first call, and at every `every`-th from then on, it takes
    the largest eigenvalue of the Hessian or of the Fisher information, and the learning rate over the largest stable
    one. Training is not touched, to the last bit: `measure` puts everything back.

    Parameters
    ----------
    module, x, targets, loss, matrix, tolerance, chunk, seed, memory
        As in `measure`; the mode is that of each call.
    optimizer : torch.optim.Optimizer, optional
        Whose learning rate is told, and, of SGD, how near it is to the edge: eta lambda_max/(2 (1 + mu)).
    every : int
    log : callable, optional
        Is called with each row, such as `print`.

    Attributes
    ----------
    rows : list of Sharpness

    Raises
    ------
    ValueError, TypeError
        In one sentence, for arguments out of range.

    Examples
    --------
    >>> watch = ff.torch.Watch(model, x, y, "cross_entropy", optimizer, every=100)
    >>> for batch in batches:
    ...     watch()
    ...     ...
    >>> watch.plot()
    """

    def __init__(
        self,
        module: nn.Module,
        x: Any,
        targets: Any = None,
        loss: Any = "cross_entropy",
        optimizer: torch.optim.Optimizer | None = None,
        *,
        every: int = 100,
        matrix: str = "hessian",
        tolerance: float = 1e-2,
        chunk: int | None = None,
        seed: int = 0,
        memory: float | None = None,
        log: Callable[[Sharpness], Any] | None = None,
    ) -> None:
        self.module, self.batch, self.optimizer = module_of(module), (x, targets), optimizer
        Calls(self.module, x, seed)  # refuses what is no batch before training begins
        loss_of(loss)
        if not (optimizer is None or isinstance(optimizer, torch.optim.Optimizer)):
            raise TypeError(f"optimizer must be a torch.optim.Optimizer or None, got {_numbers.shown(optimizer)}")
        if log is not None and not callable(log):
            raise TypeError(f"log must be a callable of one row, or None, got {_numbers.shown(log)}")
        self.every, self.log = _numbers.integer("every", every, 1), log
        self.settings = {
            "loss": loss,
            "matrix": _numbers.choice("matrix", matrix, ("fisher", "hessian")),
            "tolerance": tolerance,
            "chunk": chunk,
            "seed": seed,
            "memory": memory,
        }
        self.calls, self.rows = 0, list[Sharpness]()

    def __call__(self) -> Sharpness | None:
        """One more step; the row that was measured, if it is due."""
        step, self.calls = self.calls, self.calls + 1
        return None if step % self.every else self.measure(step)

    def measure(self, step: int | None = None) -> Sharpness:
        """Now, whether it is due or not."""
        value = error = math.nan
        if all(bool(torch.isfinite(each).all()) for each in self.module.parameters()):
            x, targets = self.batch
            spectrum = measure(self.module, x, targets, **self.settings)
            value, error = spectrum.lambda_max, float(spectrum.errors[0])
        rate, limit = _rate_and_limit(self.optimizer)
        row = Sharpness(self.calls if step is None else step, value, error, rate, rate * value / limit)
        self.rows.append(row)
        if self.log is not None:
            self.log(row)
        return row

    def to_pandas(self) -> Any:
        """A table with a row for each measurement."""
        pandas = optional("pandas", "to_pandas needs pandas", "fisherfield[scan]")
        return pandas.DataFrame(self._columns()).set_index("step")

    def save(self, path: Any) -> None:
        """As a file of comma-separated values."""
        columns = self._columns()
        with (
            replacing(Path(_numbers.path_of("path", path))) as partial,
            open(partial, "w", newline="", encoding="utf-8") as file,
        ):
            writer = csv.writer(file)
            writer.writerow(columns)
            writer.writerows(zip(*columns.values(), strict=True))

    def plot(self, ax: Any = None) -> Figure:
        """lambda_max over steps, and the largest one that the learning rate stands; needs matplotlib."""
        from ..plots.watch import plot

        return plot(self, ax)

    def lightning(self) -> Any:
        """A callback of Lightning's, which calls this at the beginning of every batch of training.

        Without an optimizer the trainer's first one is taken.
        """
        try:
            module = optional("lightning.pytorch", "Watch.lightning needs Lightning", "lightning")
        except ImportError:
            module = optional("pytorch_lightning", "Watch.lightning needs Lightning", "lightning")
        watch = self

        class Callback(module.Callback):  # type: ignore[misc, name-defined]
            """Of `fisherfield.torch.Watch`."""

            def on_train_batch_start(self, trainer: Any, *arguments: Any) -> None:
                if watch.optimizer is None:
                    watch.optimizer = trainer.optimizers[0]
                watch()

        return Callback()

    def _columns(self) -> dict[str, list[Any]]:
        names = ("step", "lambda_max", "error", "learning_rate", "stability")
        return {name: [getattr(row, name) for row in self.rows] for name in names}

    def __repr__(self) -> str:
        loss, matrix = name_of(self.settings["loss"]), self.settings["matrix"]
        what = "Hessian" if matrix == "hessian" else "Fisher information"
        lines = [
            f"Sharpness of {type(self.module).__name__}, loss {loss}: lambda_max of the {what} every {self.every} "
            "steps",
            f"  {'step':>8}  {'lambda_max':>12}  {'learning rate':>14}  {'over its limit':>14}",
        ]
        shown = self.rows if len(self.rows) <= 12 else [*self.rows[:6], None, *self.rows[-5:]]
        for row in shown:
            if row is None:
                lines.append(f"  {'...':>8}")
                continue
            values = (f"{row.lambda_max:.5g}", _word(row.learning_rate), _word(row.stability))
            lines.append(f"  {row.step:>8}  {values[0]:>12}  {values[1]:>14}  {values[2]:>14}")
        return "\n".join(lines)


def _word(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.4g}"


def _rate_and_limit(optimizer: Any) -> tuple[float, float]:
    """The learning rate, and the largest stable one times lambda_max; NaN where there is none."""
    if optimizer is None:
        return math.nan, math.nan
    group = optimizer.param_groups[0]
    if not isinstance(optimizer, torch.optim.SGD) or group["dampening"] or group["maximize"]:
        return float(group["lr"]), math.nan
    return float(group["lr"]), float(step_limit(Descent("sum", group["momentum"], group["nesterov"])))
