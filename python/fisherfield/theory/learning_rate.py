# SPDX-License-Identifier: BSD-3-Clause
"""The largest stable learning rate of gradient descent with momentum."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from .. import _numbers
from .._html import InNotebooks
from .._numbers import Loss, Theory
from .._words import data_in_words, descent_in_words
from ..network import Network
from . import calls
from . import units as sampled_units
from .edge import rule_of
from .fisher import _DEEP, Fisher, in_loss, result_of
from .inputs import inputs_of
from .settings import Descent, Settings
from .uncertainty import Uncertainty

if TYPE_CHECKING:
    from ..data import Statistics


class LearningRate(float, InNotebooks):
    """A learning rate: a float that knows how it came about.

    Attributes
    ----------
    fisher : Fisher
        The spectrum it was read off.
    momentum : float
    loss : str
    nesterov : bool
    weight_decay : float
    holds : bool
        False where lambda_max, or the loss's curvature, is known not to be this; `reason` says why.
    reason : str
        The Fisher's, and what training is known to add to it.
    shift, spread : float or None
        Of the rate, as the Fisher's are of lambda_max: those of networks of these widths.
    outlier_limit : float
        The rate by the outlier alone: the same, unless the bulk's edge or one sample rules lambda_max.
    bound : {"=", "<=", "~"}
        "<=" where lambda_max is a lower bound, "~" where it may err on either side, as under cross-entropy.
    """

    fisher: Fisher
    momentum: float
    loss: str
    nesterov: bool
    weight_decay: float
    holds: bool
    reason: str
    bound: str

    def __new__(
        cls, value: float, fisher: Fisher, momentum: float, loss: str, nesterov: bool = False, weight_decay: float = 0.0
    ) -> LearningRate:
        self = super().__new__(cls, value)
        remarks = _remarks(fisher, loss)
        self.fisher = fisher
        self.momentum = momentum
        self.loss = loss
        self.nesterov = nesterov
        self.weight_decay = weight_decay
        self.holds = fisher.holds and loss != "cross_entropy"
        self.reason = "; ".join(([fisher.reason] if fisher.reason else []) + remarks)
        bounds = {"=": "=", ">=": "<="} if loss != "cross_entropy" else {}  # an approximation has no side
        self.bound = bounds.get(fisher.bound, "~")
        return self

    @property
    def outlier_limit(self) -> float:
        """The rate by the outlier alone, (a + (n-1) b)/n, where the bulk's edge or one sample rules lambda_max."""
        if self.fisher.regime == "outlier":
            return float(self)
        descent = Descent(self.loss, self.momentum, self.nesterov, self.weight_decay)  # type: ignore[arg-type]
        a, b, n = self.fisher.a, self.fisher.b, self.fisher.samples
        return calls.rate_of(max(b if n is None else b + (a - b) / n, 0.0), self.fisher.network, descent)

    def __reduce__(self) -> tuple[Any, ...]:
        return (LearningRate, (float(self), self.fisher, self.momentum, self.loss, self.nesterov, self.weight_decay))

    @property
    def _decay(self) -> float:
        """Weight decay's share of the curvature."""
        limit = calls.step_limit(Descent("sum", self.momentum, self.nesterov))
        return self.weight_decay * float(self) / limit if self.weight_decay > 0 else 0.0

    def _at(self, factor: float) -> float:
        """The rate where lambda_max is so many times as large; weight decay stays."""
        return float(self) / ((1 - self._decay) * factor + self._decay)

    @property
    def shift(self) -> float | None:
        """How far the rate of the mean lambda_max of networks of these widths lies above this one, over it."""
        shift = self.fisher.shift
        return None if shift is None else self._at(1 + shift) / float(self) - 1

    @property
    def spread(self) -> float | None:
        """The standard deviation of the rate from network to network, over it, to first order."""
        shift, spread = self.fisher.shift, self.fisher.spread
        if shift is None or spread is None:
            return None
        return spread * (1 - self._decay * self._at(1 + shift) / float(self))

    def interval(self, level: float = 0.9) -> tuple[float, float]:
        """Where the rates of a share `level` of networks of these widths are expected: those of lambda_max's interval.

        Raises ValueError for a level outside (0, 1), and where no formula is known.
        """
        low, high = self.fisher.uncertainty.interval(1.0, level, self.fisher._relative_error)
        return self._at(high), self._at(low)

    def __repr__(self) -> str:
        descent = ", ".join(descent_in_words(vars(self)))
        lines = [
            f"learning rate {self.bound} {float(self):.6g}"
            f"  (theory {self.fisher.theory}, {descent}, loss {self.loss}, {data_in_words(self.fisher.samples)})"
        ]
        if scatter := self._in_words():
            lines.append(f"  networks: {scatter}")
        if self.reason:
            lines.append(f"  {'note' if self.holds else 'does not hold'}: {self.reason}")
        return "\n".join(lines)

    def _in_words(self) -> str:
        deep = self.fisher.network.depth > _DEEP and "uncertainty" not in vars(self.fisher)
        if deep or self.shift is None or self.spread is None or not 0.0 < float(self) < math.inf:
            return ""
        low, high = self.interval()
        scatter = Uncertainty(self.shift, self.spread, self.fisher.uncertainty.reason)
        return scatter.in_words(float(self), (low, high), self.fisher._relative_error)

    __str__ = float.__repr__


def _remarks(fisher: Fisher, loss: str) -> list[str]:
    """What the data change, and what training showed of ReLU networks (docs/theory.md, section 10)."""
    remarks = []
    facts = fisher.network._facts
    if fisher.overlap == 0.0 and fisher.length == 1.0 and not (facts.batch_norm and facts.first_normed):
        remarks.append(
            "overlap 0 is that of independent inputs: images share more (digits 0.48 of the length, Fashion-MNIST "
            "0.30), and their stable rate is smaller than this, by 1.2 to 1.7 times for ReLU networks on digits: "
            "ff.data.overlap_and_length(x) measures yours"
        )
    kind = "trained" if facts.trained else "fixed" if facts.batch_norm else "vanilla"
    if loss == "cross_entropy":
        remarks.append("cross-entropy: the limit of the first step's stability, and none of training")
    if facts.chain:  # no others were trained
        remarks += [_CROSS_ENTROPY[kind]] if loss == "cross_entropy" else [_SQUARED[kind]] if kind != "fixed" else []
    return remarks


# Where training of ReLU networks blew up, over the exact theory's rate for their data and batch: the extremes of the
# numbers behind docs/experiments.md, which a test holds these to.
_SQUARED = {
    "trained": "with trained gamma and beta ReLU networks on digits and Fashion-MNIST blew up at 0.7 to 2.6 times the "
    "exact theory's rate with momentum 0.9, on digits at 3.8 to 4.6 times without momentum",
    "vanilla": "without BatchNorm ReLU networks on digits blew up at 1.3 to 2.8 times the rate for their data with "
    "momentum 0.9, at 3.5 to 4.7 times without momentum",
}
_CROSS_ENTROPY = {
    "trained": "with trained gamma and beta ReLU networks on digits blew up at 0.7 to 76 times the rate "
    "at small logits, or at no rate",
    "fixed": "with gamma and beta fixed ReLU networks on digits and Fashion-MNIST blew up at no rate tried",
    "vanilla": "without BatchNorm ReLU networks on digits blew up at 0.1 to 22 times the rate at small logits for "
    "their data",
}


def seen_in_training(loss: str, kind: str) -> str:
    """Where training of "trained" or "fixed" BatchNorm, or of "vanilla" networks, blew up."""
    return (_CROSS_ENTROPY if loss == "cross_entropy" else _SQUARED)[kind]


def max_learning_rate(
    net: Network,
    momentum: float = 0.0,
    theory: Theory = "exact",
    samples: int | None = None,
    overlap: float = 0.0,
    length: float = 1.0,
    biases: bool | None = None,
    loss: Loss = "sum",
    nesterov: bool = False,
    weight_decay: float = 0.0,
    *,
    edge: bool = True,
    units: int | str | None = "auto",
    seed: int = 0,
    memory: float | None = None,
    inputs: Statistics | None = None,
) -> LearningRate:
    """eta_star = 2 (1 + momentum)/lambda_max, lambda_max in the convention of the loss (Wei, Stokes and Schwab, eq. 7).

    With Nesterov's momentum 2 (1 + momentum)/((1 + 2 momentum) lambda_max): 0.357 times as much at 0.9. Weight decay
    adds to lambda_max (docs/theory.md, section 2; for what else changes the rate see docs/learning_rate.md).

    Parameters
    ----------
    net : Network
    momentum : float
        mu in [0, 1) of theta_{t+1} = theta_t - eta grad L + mu (theta_t - theta_{t-1}): the heavy ball, which is what
        `torch.optim.SGD` does by default.
    theory, samples, overlap, length, biases, units, seed, memory, inputs
        As in `fisher`.
    loss : {"sum", "mean", "mse", "cross_entropy"}
        1/2 the squared error summed over outputs ("sum") or averaged over them ("mean"), each averaged over samples;
        `torch.nn.MSELoss` ("mse", no 1/2); cross-entropy, for two outputs or more, by the softmax of the outputs as
        they are drawn (see `fisher`): the limit of the first step, and none of training.
    nesterov : bool
        Nesterov's momentum, as `torch.optim.SGD` has it with ``nesterov=True``; with momentum 0 both are plain descent.
    weight_decay : float
        0, or from 1e-100 to 1e100: weight_decay theta is added to the gradient, as in `torch.optim.SGD`. It is taken as
        it is, whatever the loss.
    edge : bool
        As in `fisher`.

    Returns
    -------
    LearningRate
        A float, inf where lambda_max and weight_decay are 0; `holds`, `reason` and `bound` say what to make of it.

    Raises
    ------
    ValueError, TypeError
        As `fisher`, and for a momentum outside [0, 1), a weight decay out of range, or cross-entropy with one output.

    Notes
    -----
    The largest stable rate of these optimisers on a quadratic, not of Adam nor of AdamW. Under BatchNorm and with
    mini-batches `samples` is the size of a batch, whose statistics BatchNorm takes.
    """
    covariances = None
    if inputs is not None:
        overlap, length, covariances = inputs_of(net, inputs, overlap, length)
    settings = Settings.of(net, theory, samples, overlap, length, biases, units is not None)
    descent = Descent.of(net, loss, momentum, nesterov, weight_decay)
    how = sampled_units.drawing(net, settings, units, seed, memory, covariances)
    ends = _numbers.boolean("edge", edge)
    drawn = None if how is None else sampled_units.attempted(sampled_units.spectrum, net, settings, how, units)
    if drawn is None:
        limit = calls.max_learning_rate(net, settings, descent)
        rate = limit.max_learning_rate
        rule = rule_of(net, settings, limit.spectrum) if ends else None
        fisher = result_of(net, settings, limit.spectrum, loss=descent.loss, rule=rule)
        if fisher.lambda_max != limit.spectrum.lambda_max:
            rate = calls.rate_of(fisher.lambda_max, net, descent)
    else:
        fisher = result_of(net, settings, *drawn, how)
        rate = calls.rate_of(fisher.lambda_max, net, descent)
    if descent.loss == "cross_entropy":
        fisher = in_loss(fisher, settings, descent.loss)
        top = fisher.lambda_max + descent.weight_decay
        rate = calls.step_limit(descent) / top if top > 0 else math.inf
    return LearningRate(
        rate,
        fisher,
        descent.momentum,
        descent.loss,
        descent.nesterov,
        descent.weight_decay,
    )
