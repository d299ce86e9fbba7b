# SPDX-License-Identifier: BSD-3-Clause
"""The Fisher information's spectrum at initialisation: its largest eigenvalue and what is known of the rest."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import zip_longest
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .. import _numbers
from .._html import InNotebooks
from .._memory import refuse_large_images
from .._numbers import Loss, Theory
from .._words import data_in_words
from ..network import Network
from . import calls
from . import units as sampled_units
from .cross_entropy import law as softmax_law
from .edge import Rule, edge_of, rule_of
from .inputs import inputs_of, remark
from .order_parameters import where_of
from .own_variance import shift_of as own_shift_of
from .remarks import of_units, remarks
from .settings import Settings
from .uncertainty import Uncertainty, uncertainty_of

if TYPE_CHECKING:
    from .._core import Spectrum
    from ..data import Statistics


_DEEP = 50  # layers: more are not asked for their scatter, some ms each, where a result is printed


@dataclass(frozen=True, eq=False)
class Layers(InNotebooks):
    """Each affine layer's part of a and of b: what its own gradients add to the output's tangent kernel.

    The parts sum to a and b. A trained norm's gamma and beta count to the affine layer before it; `where` says where
    the layers stand, in networks with sums of branches.
    """

    a: NDArray[np.float64]
    b: NDArray[np.float64]
    where: tuple[str, ...] = ()

    def __repr__(self) -> str:
        rows = zip_longest(self.a, self.b, (f"  {where}" for where in self.where), fillvalue="")
        lines = [f"{row + 1:5} {a:>14.6g} {b:>14.6g}{where}" for row, (a, b, where) in enumerate(rows)]
        return "\n".join([f"layer {'part of a':>14} {'part of b':>14}", *lines])


@dataclass(frozen=True, repr=False)
class Fisher(InNotebooks):
    """The spectrum of the Fisher information matrix F of one network, as a theory predicts it.

    Attributes
    ----------
    lambda_max : float
        The largest eigenvalue, in the convention of the loss; under cross-entropy its mean over networks at infinite
        width.
    bulk : float
        The mean of the other non-zero eigenvalues: (a - b)/n, and C (n-1)(a - b)/(n (P - C)) where n C > P.
    mean, second_moment : float
        Of all P eigenvalues: tr F/P and tr F^2/P.
    multiplicity : int
        How many eigenvalues lie at lambda_max.
    parameters : int
        P.
    a, b : float
        The tangent kernel of one output, on the diagonal and off it.
    regime : {"outlier", "bulk", "sample"}
        Whether lambda_max is the outlier, (a + (n-1) b)/n, the bulk's edge, or the eigenvalue of a single sample, in
        dense networks with BatchNorm (docs/theory.md, section 14, has how far it is right). Where the edge is not
        known, "bulk" is the larger of (a - b)/n and the mean.
    theory : {"exact", "frozen", "wei2019"}
    holds : bool
        False where lambda_max is known not to be what a sampled network shows; `reason` says why.
    reason : str
        Why it does not hold, or what was left out; empty if there is nothing to say.
    bound : {"=", ">=", "~"}
        ">=" where all sampled networks had their largest eigenvalue above lambda_max, "~" where some lay below.
    error : float
        The sampling error of lambda_max, of sampled units or under cross-entropy; 0 by a closed recursion.
    network, samples, overlap, length, biases, loss
        What it was computed for.
    softmax_spread : float
        Under cross-entropy the standard deviation from network to network at infinite width, over lambda_max.
    layers : Layers
        Each layer's part of a and of b, computed when first asked for.
    shift, spread : float or None
        How far networks of these widths lie above lambda_max on average, and the standard deviation between them, both
        over lambda_max (docs/theory.md, section 13); None where no formula is known. Computed when first asked for.
        Under BatchNorm shift also has the terms of order 1/n that the recursion leaves out
        (`uncertainty.of_samples`): with frozen statistics these are all of them.
        Of convolutions with frozen statistics by sampled units the shift is that of units' own variances alone, and
        the spread is not known.
    uncertainty : Uncertainty
        Both, and what is known to fail of them.
    own_shift : float or None
        Of convolutions with frozen statistics by sampled units: the shift by units' own variances; else None.
    edge : float or None
        Where the bulk ends (docs/theory.md, section 14), computed when first asked for if lambda_max did not need it:
        the classical position of its largest eigenvalue or, at infinite data under exact BatchNorm, the edge. None
        where no equations are known: other networks than chains of Dense layers, "wei2019", and cross-entropy.
    outlier : float
        (a + (n-1) b)/n.
    """

    lambda_max: float
    bulk: float
    mean: float
    second_moment: float
    multiplicity: int
    parameters: int
    a: float
    b: float
    regime: str
    theory: str
    holds: bool
    reason: str
    bound: str
    network: Network = field(repr=False)
    samples: int | None
    overlap: float
    length: float
    biases: bool
    error: float = 0.0
    drawing: sampled_units.Drawing | None = field(default=None, repr=False)  # how units were drawn, if they were
    loss: str = "sum"
    softmax_spread: float = 0.0
    own_shift: float | None = field(default=None, repr=False)  # by units' own frozen variances, where units were drawn

    @cached_property
    def layers(self) -> Layers:
        """Each affine layer's part of a and of b; for convolutions one more forward pass each."""
        refuse_large_images(self.network, self.theory)
        settings = Settings(self.theory, self.samples, self.overlap, self.length, self.biases)
        if self.drawing is not None:
            return Layers(*sampled_units.contributions(self.network, settings, self.drawing), where_of(self.network))
        parts = calls.contributions(self.network, settings)
        return Layers(parts.a, parts.b, where_of(self.network))

    @cached_property
    def uncertainty(self) -> Uncertainty:
        """How far networks of these widths lie from lambda_max, computed when first asked for (section 13)."""
        return uncertainty_of(self)

    @property
    def shift(self) -> float | None:
        """How far the mean over networks of these widths lies above lambda_max, over lambda_max; None if not known."""
        return self.uncertainty.shift

    @property
    def spread(self) -> float | None:
        """The standard deviation from network to network, over lambda_max; None where it is not known."""
        return self.uncertainty.spread

    def interval(self, level: float = 0.9) -> tuple[float, float]:
        """lambda_max (1 + shift) exp(+- spread z): where a share `level` of networks of these widths is expected.

        `error`, of sampled units or of the softmax's law, joins the spread: sqrt(spread^2 + (error/lambda_max)^2).

        Raises ValueError for a level outside (0, 1), and where no formula is known.
        """
        return self.uncertainty.interval(self.lambda_max, level, self._relative_error)

    @property
    def _relative_error(self) -> float:
        return self.error / self.lambda_max if self.error > 0 and self.lambda_max > 0 else 0.0

    @cached_property
    def edge(self) -> float | None:
        """Where the bulk ends, at these widths."""
        factor = self._factor
        if self.drawing is not None or factor is None:
            return None
        settings = Settings(self.theory, self.samples, self.overlap, self.length, self.biases)
        edge = edge_of(self.network, settings, self.a - self.b)
        return None if math.isnan(edge) else factor * edge

    @property
    def outlier(self) -> float:
        """(a + (n-1) b)/n."""
        if self._factor is None:
            return self.lambda_max if self.regime == "outlier" else self.b / self.network.outputs
        return self._factor * (self.b if self.samples is None else self.b + (self.a - self.b) / self.samples)

    @property
    def _factor(self) -> float | None:
        """The loss's convention: what a squared one multiplies the summed one's curvature by."""
        outputs = self.network.outputs
        return {"sum": 1.0, "mean": 1 / outputs, "mse": 2 / outputs}.get(self.loss)

    def __repr__(self) -> str:
        rows = [
            (
                "lambda_max",
                f"{self.bound} {self.lambda_max:.6g}",
                f"{self.regime}, {self.multiplicity} times{f', +- {self.error:.2g}' if self.error else ''}",
            ),
            ("bulk", f"  {self.bulk:.6g}", "mean of the other non-zero eigenvalues"),
            ("mean", f"  {self.mean:.6g}", f"of all {self.parameters} eigenvalues"),
            ("second moment", f"  {self.second_moment:.6g}", "of all"),
        ]
        if vars(self).get("edge") is not None:
            rows.insert(2, ("edge", f"  {self.edge:.6g}", "where the others end"))
        if self.regime != "outlier" and self.outlier > 0.0:
            rows.insert(1, ("outlier", f"  {self.outlier:.6g}", "of the data's common direction"))
        biases = "with biases" if self.biases else "without biases"
        if self.network.depth > _DEEP and "uncertainty" not in vars(self):
            rows.insert(1, ("networks", f"  of {self.network.depth} layers: interval() computes where they lie", ""))
        elif scatter := self.uncertainty.in_words(self.lambda_max, error=self._relative_error):
            rows.insert(1, ("networks", f"  {scatter}", ""))
        by_units = ", by sampled units" if self.drawing else ""
        title = f"Fisher information, theory {self.theory}{by_units}, {data_in_words(self.samples)}, {biases}"
        title += f", loss {self.loss}"
        lines = [title, *(f"  {name:<14}{value:<18}{words}".rstrip() for name, value, words in rows)]
        if self.reason:
            lines.append(f"  {'note' if self.holds else 'does not hold'}: {self.reason}")
        return "\n".join(lines)


def fisher(
    net: Network,
    theory: Theory = "exact",
    samples: int | None = None,
    overlap: float = 0.0,
    length: float = 1.0,
    biases: bool | None = None,
    *,
    loss: Loss = "sum",
    edge: bool = True,
    units: int | str | None = "auto",
    seed: int = 0,
    memory: float | None = None,
    inputs: Statistics | None = None,
) -> Fisher:
    """lambda_max = max{(a + (n-1) b)/n, edge} of F = (1/n) sum_ik grad f_k(x_i) grad f_k(x_i)^T, and more.

    Parameters
    ----------
    net : Network
    theory : {"exact", "frozen", "wei2019"}
        BatchNorm's gradient: through mean and variance as in training ("exact"), with both held constant ("frozen"), or
        the recursion of Wei, Stokes and Schwab as published ("wei2019", eqs. 23-25, 44). Without BatchNorm they
        coincide, but for biases, and for convolutions under "wei2019".
    samples : int, optional
        n >= 1, at least 2 under BatchNorm; None is infinite data.
    overlap, length : float
        q_hat_xy^0 and q_hat^0: E x.y/N_0 of two inputs, E x.x/N_0 of one; 0 and 1 for standardised independent inputs.
    biases : bool, optional
        Whether the biases are among the parameters; None: in all theories but "wei2019", which was published without.
    loss : {"sum", "mean", "mse", "cross_entropy"}
        Half the squared error summed over outputs or averaged over them, torch.nn.MSELoss, or cross-entropy: then F is
        (1/n) J^T H J with H = diag(p) - p p^T at the softmax p of the outputs as they are drawn, for two outputs or
        more. Its lambda_max is a mean over 200 networks' logits (fewer for many outputs, 8 at least) with a fixed seed:
        a third of a second for ten outputs, some ten for a thousand (docs/theory.md, section 13).
    edge : bool
        Whether to solve for the bulk's edge where it may pass the outlier, in 0.1 to 20 ms at four layers; without, and
        where its equations are not known, or units are drawn, the mean of the bulk stands for it.
    units : "auto", None or int
        Sampled units (docs/theory.md, section 12): "auto" draws them where there is no closed recursion, and where it
        leaves something out (`Network.needs_units`): exact BatchNorm behind padding, of images of up to 1,024 positions
        that fit into memory. None takes the closed recursion, and refuses networks that have none
        (`Network.without_recursion`); a number from 64 to 2^20 draws so many of any network, in four groups, where
        images are largest, and more where they are smaller. Products are float32: 1e-6 of lambda_max.
    seed : int
        Of the units: the number is the same for a seed, with any number of threads.
    memory : float, optional
        Bytes that units may take; None: what there is.
    inputs : Statistics, optional
        Measured second moments, `fisherfield.data.statistics(x)`, in place of overlap and length. Of images their
        covariances within and between enter, by sampled units, where overlap and length alone take positions as
        independent. What moments of higher order do is left out (docs/theory.md, section 12).

    Returns
    -------
    Fisher

    Raises
    ------
    ValueError, TypeError
        For an argument out of range, zero variance before a normalisation with eps = 0, or an integral that
        cannot be formed.

    Notes
    -----
    Accuracy of the recursion itself: a few ulp a layer for closed-form activations, 1e-12 of the integrals by
    quadrature (exceptions in docs/theory.md, section 3). How far the theory holds for sampled networks: sections 4
    and 9.
    """
    covariances = None
    if inputs is not None:
        overlap, length, covariances = inputs_of(net, inputs, overlap, length)
    settings = Settings.of(net, theory, samples, overlap, length, biases, units is not None)
    how = sampled_units.drawing(net, settings, units, seed, memory, covariances)
    loss, ends = _numbers.loss_of(loss, net.outputs), _numbers.boolean("edge", edge)
    drawn = None if how is None else sampled_units.attempted(sampled_units.spectrum, net, settings, how, units)
    if drawn is not None:
        result = result_of(net, settings, *drawn, how)
    else:
        spectrum = calls.spectrum(net, settings)
        rule = rule_of(net, settings, spectrum) if ends else None
        result = result_of(net, settings, spectrum, loss=loss, rule=rule)
    return result if loss == "sum" else in_loss(result, settings, loss)


def in_loss(squared: Fisher, settings: Settings, loss: str) -> Fisher:
    """A result of the summed squared loss in the convention of another one."""
    if loss == "cross_entropy":
        return under_cross_entropy(squared, settings)
    outputs = squared.network.outputs
    factor = {"mean": 1 / outputs, "mse": 2 / outputs}[loss]
    numbers = {name: factor * getattr(squared, name) for name in ("lambda_max", "bulk", "mean", "error")}
    return replace(squared, second_moment=factor * factor * squared.second_moment, loss=loss, **numbers)


def under_cross_entropy(squared: Fisher, settings: Settings) -> Fisher:
    """The same network's under cross-entropy, by the law of its outputs' softmax."""
    net, outputs = squared.network, squared.network.outputs
    o, d, n = squared.b, squared.a - squared.b, squared.samples
    eps = 0.0 if n is None else d / n
    spread = error = 0.0
    how = squared.drawing
    by_units = how is not None and (bool(net.without_recursion) or how.inputs is not None)
    if not by_units and squared.regime == "outlier" and 0.0 < o < math.inf and math.isfinite(squared.a):
        xy, v = calls.output_state(net, settings)
        law = softmax_law(outputs, n, xy, v, eps / o)
        top, heads = o * law.mean, law.trace
        spread = law.spread / law.mean if law.mean > 0 else 0.0
        error = math.hypot(o * law.spread / law.networks**0.5, squared.error * law.mean)
        # tr F* F* = (1/n^2) sum_xy Theta_xy^2 tr H_x H_y
        one_over_n = 0.0 if n is None else 1 / n
        square = squared.a**2 * law.square * one_over_n + o**2 * law.cross * (1 - one_over_n)
        heavy = eps / 2 > _HEAVY_SAMPLE * top
        words = [_AT_ONE_SAMPLE] if heavy else []
    else:
        top, heads, words = squared.lambda_max / outputs, 1 - 1 / outputs, [_SMALL_LOGITS]
        square, heavy = squared.second_moment * squared.parameters / outputs * (outputs - 1) / outputs**2, True
    mean = squared.a * heads / squared.parameters
    return replace(
        squared,
        lambda_max=max(top, mean),
        bulk=min(eps * heads / (outputs - 1), top),
        mean=mean,
        second_moment=square / squared.parameters,
        multiplicity=1,
        holds=squared.holds and not heavy,
        reason="; ".join((*words, *([squared.reason] if squared.reason else []))),
        bound="~",
        loss="cross_entropy",
        error=error,
        softmax_spread=spread,
    )


# Single samples' own eigenvalues go up to d/(2 n); where that is so large a part of lambda_max sampled networks had 5
# to 11 % more.
_HEAVY_SAMPLE = 1 / 3
_AT_ONE_SAMPLE = "single samples count as much as their common part, and the softmax's law is 5 to 11 % too low"
_SMALL_LOGITS = (
    "cross-entropy at small logits, a squared loss's over the number of outputs: no outlier has a closed form"
)


def result_of(
    net: Network,
    settings: Settings,
    spectrum: Spectrum,
    error: float = 0.0,
    of_bulk: float = 0.0,
    how: sampled_units.Drawing | None = None,
    loss: str = "sum",
    rule: Rule | None = None,
    own: bool = True,
) -> Fisher:
    """The core's numbers as a Fisher, with what is to be said about them; `rule` where edges are solved for.

    Without `own` nothing is said of units' own frozen variances, which takes two small passes of units.
    """
    own_shift = own_shift_of(net, settings, how) if own and how is not None else None
    below, other, notes = (
        remarks(net, settings, spectrum, loss, rule)
        if how is None
        else of_units(net, settings, spectrum, of_bulk, own_shift)
    )
    if how is not None and how.inputs is not None and (words := remark(how.inputs, spectrum, settings.samples)):
        other.append(words)
    fields = {
        "lambda_max": spectrum.lambda_max,
        "bulk": spectrum.bulk,
        "mean": spectrum.mean,
        "second_moment": spectrum.second_moment,
        "multiplicity": int(spectrum.multiplicity),
        "parameters": net._counts[settings.biases],
        "a": spectrum.a,
        "b": spectrum.b,
        "regime": "outlier" if spectrum.outlier else "bulk",
        "theory": settings.theory,
        "holds": not (below or other),
        "reason": "; ".join((*below, *other, *notes)),
        "bound": ">=" if below and not other else "~" if below or other else "=",
        "network": net,
        "samples": settings.samples,
        "overlap": settings.overlap,
        "length": settings.length,
        "biases": settings.biases,
        "error": error,
        "drawing": how,
        "loss": "sum",
        "softmax_spread": 0.0,
        "own_shift": own_shift,
    }
    if rule is not None and rule.lambda_max > 0.0:
        fields |= {"lambda_max": rule.lambda_max, "regime": rule.regime}
        if rule.edge > 0.0:
            fields["edge"] = rule.edge
        if rule.regime != "outlier":
            fields["multiplicity"] = min(net.outputs, net._counts[settings.biases])
    # all at once: __init__ of a frozen dataclass sets one after the other, which takes a third of the whole call
    result = object.__new__(Fisher)
    result.__dict__.update(fields)
    return result
