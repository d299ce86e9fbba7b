# SPDX-License-Identifier: BSD-3-Clause
"""What is measured of a module: the largest eigenvalues of its Fisher information, or of the Hessian of its loss."""

from __future__ import annotations

import math
from dataclasses import dataclass

from .. import _numbers
from .._words import plural
from ..sampled import FisherSpectrum
from ..theory.calls import step_limit
from ..theory.settings import Descent

__all__ = ["ModuleSpectrum"]


@dataclass(frozen=True, repr=False)
class ModuleSpectrum(FisherSpectrum):
    """The largest eigenvalues of a PyTorch module's Fisher information or Hessian, as measured at a batch.

    Attributes
    ----------
    eigenvalues : ndarray, (k,)
        The largest first.
    errors : ndarray, (k,)
        How far each may be off, an estimate: min(r, 4 r^2/gap) of its residual r and its distance from its neighbours,
        four times that for k > 1; or the tolerance, where the last rises of a single one tell that. Not less than 4 r,
        up to the tolerance, for eigenvalues nearer to each other than r are seen as one; and `rounding`.
    residuals : ndarray, (k,)
        |A v - lambda v|; some eigenvalue of A lies within this of each, a bound.
    rounding : float
        How far two ways to the same number were apart at the most: |J^T S v|^2 by reverse mode and v.F* v by both
        modes; v.H w and w.H v.
    eigenvectors : ndarray, (k, n, C) or (k, P), optional
        Of F* in the space of outputs, or of the matrix itself; where they were asked for.
    matrix : {"fisher", "hessian"}
    name : str
        Of the module's class.
    train : bool
        Whether it was in train mode, in which gradients flow through the batch's statistics.
    random : bool
        Whether it drew random numbers: the same ones in every product.
    seed : int
        Of these.
    chunk : int or None
        Samples at a time; None: all at once.
    products : int
        How many vectors the matrix was applied to.
    samples, outputs, parameters, loss, dtype, method, reason
        What it was measured of, and how.
    """

    matrix: str
    name: str
    train: bool
    random: bool
    seed: int
    chunk: int | None

    def max_learning_rate(self, momentum: float = 0.0, nesterov: bool = False, weight_decay: float = 0.0) -> float:
        """2 (1 + momentum)/lambda_max; infinity for lambda_max <= 0. The rest as in `ff.max_learning_rate`."""
        momentum, nesterov = _numbers.momentum_of(momentum), _numbers.boolean("nesterov", nesterov)
        descent = Descent("sum", momentum, nesterov, _numbers.magnitude("weight_decay", weight_decay))
        top = self.lambda_max + descent.weight_decay
        return float(step_limit(descent) / top) if top > 0.0 else math.inf

    def _title(self, what: str) -> list[str]:
        what = what if self.matrix == "fisher" else "Hessian of the loss"
        mode = "train mode" if self.train else "eval mode"
        drawn = f", random numbers of seed {self.seed} in every product" if self.random else ""
        parts = "" if self.chunk is None else f", {self.chunk} at a time"
        return [
            f"{what} of {self.name}, a module of {self.parameters:,} parameters in {mode}{drawn}",
            f"  {plural(self.samples, 'sample')}{parts}, {plural(self.outputs, 'output')}, loss {self.loss}, "
            f"{self.dtype}",
        ]

    def _cancellation(self, largest: float, least: float = 0.0) -> str | None:
        return None  # what the two ways differ by is in the errors
