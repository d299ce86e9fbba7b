# SPDX-License-Identifier: BSD-3-Clause
"""The Fisher information's spectrum at initialisation: its largest eigenvalue and what is known of the rest."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import _core, _numbers
from ..network import Network

__all__ = ["Fisher", "Layers", "fisher"]


@dataclass(frozen=True, eq=False)
class Layers:
    """Each affine layer's part of a and of b: what its own gradients add to the output's tangent kernel.

    The parts sum to a and b. A trained BatchNorm's gamma and beta count to the affine layer before it.
    """

    a: NDArray[np.float64]
    b: NDArray[np.float64]

    def __repr__(self) -> str:
        rows = [f"{row + 1:5} {a:>14.6g} {b:>14.6g}" for row, (a, b) in enumerate(zip(self.a, self.b, strict=True))]
        return "\n".join([f"layer {'part of a':>14} {'part of b':>14}", *rows])


@dataclass(frozen=True, repr=False)
class Fisher:
    """The spectrum of the Fisher information matrix F of one network, as a theory predicts it.

    Attributes
    ----------
    lambda_max : float
        The largest eigenvalue, for the loss 1/2 sum over outputs, mean over samples.
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
    regime : {"outlier", "bulk"}
        Whether lambda_max is the outlier, (a + (n-1) b)/n, or else the larger of (a - b)/n and the mean.
    theory : {"exact", "frozen", "wei2019"}
    holds : bool
        False where lambda_max is known not to be what a sampled network shows; `reason` says why.
    reason : str
        Why it does not hold, or what was left out; empty if there is nothing to say.
    bound : {"=", ">=", "~"}
        ">=" where all sampled networks had their largest eigenvalue above lambda_max, "~" where some lay below.
    network, samples, overlap, length, biases
        What it was computed for.
    layers : Layers
        Each layer's part of a and of b, computed when first asked for.
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

    @cached_property
    def layers(self) -> Layers:
        """Each affine layer's part of a and of b; for convolutions one more forward pass each."""
        _numbers.refuse_large_images(self.network, self.theory)
        out = _core.contributions(
            self.network._compiled,
            _numbers.THEORIES.index(self.theory),
            float(self.samples or 0),
            self.overlap,
            self.length,
            self.biases,
        )
        return Layers(out[0], out[1])

    def __repr__(self) -> str:
        data = "infinite data" if self.samples is None else f"{self.samples} samples"
        rows = [
            ("lambda_max", f"{self.bound} {self.lambda_max:.6g}", f"{self.regime}, {self.multiplicity} times"),
            ("bulk", f"  {self.bulk:.6g}", "mean of the other non-zero eigenvalues"),
            ("mean", f"  {self.mean:.6g}", f"of all {self.parameters} eigenvalues"),
            ("second moment", f"  {self.second_moment:.6g}", "of all"),
        ]
        title = (
            f"Fisher information, theory {self.theory}, {data}, {'with' if self.biases else 'without'} biases, loss sum"
        )
        lines = [title, *(f"  {name:<14}{value:<18}{words}" for name, value, words in rows)]
        if self.reason:
            lines.append(f"  {'note' if self.holds else 'does not hold'}: {self.reason}")
        return "\n".join(lines)


def fisher(
    net: Network,
    theory: str = "exact",
    samples: int | None = None,
    overlap: float = 0.0,
    length: float = 1.0,
    biases: bool | None = None,
) -> Fisher:
    """lambda_max = max{(a + (n-1) b)/n, (a - b)/n, mean} of F = (1/n) sum_ik grad f_k(x_i) grad f_k(x_i)^T, and more.

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

    Returns
    -------
    Fisher

    Raises
    ------
    ValueError, TypeError
        For an argument out of range, zero variance before a BatchNorm with eps = 0, or an integral that cannot be
        formed.

    Notes
    -----
    Accuracy of the recursion itself: a few ulp a layer for closed-form activations, 1e-12 of the integrals by
    quadrature (exceptions in docs/theory.md, section 3). How far the theory holds for sampled networks: sections 4
    and 9.
    """
    settings = _numbers.settings_of(net, theory, samples, overlap, length, biases)
    theory, samples, overlap, length, biases = settings
    parameters = net.parameters(biases)
    numbers = _core.fisher(
        net._compiled,
        float(parameters),
        _numbers.THEORIES.index(theory),
        float(samples or 0),
        overlap,
        length,
        biases,
    )
    return result_of(net, settings, numbers)


def result_of(net: Network, settings: tuple[str, int | None, float, float, bool], numbers: tuple[Any, ...]) -> Fisher:
    """The core's numbers as a Fisher, with what is to be said about them."""
    if len(numbers) == 2:
        raise _numbers.failure(*numbers, net)
    theory, samples, overlap, length, biases = settings
    a, b, lambda_max, bulk, mean, second_moment, multiplicity, outlier, log2, fit = numbers
    below, other, notes = _remarks(net, theory, samples, a, b, lambda_max, outlier, log2, fit)
    return Fisher(
        lambda_max=lambda_max,
        bulk=bulk,
        mean=mean,
        second_moment=second_moment,
        multiplicity=int(multiplicity),
        parameters=net.parameters(biases),
        a=a,
        b=b,
        regime="outlier" if outlier else "bulk",
        theory=theory,
        holds=not (below or other),
        reason="; ".join((*below, *other, *notes)),
        bound=">=" if below and not other else "~" if below or other else "=",
        network=net,
        samples=samples,
        overlap=overlap,
        length=length,
        biases=biases,
    )


# Where infinite width stops: the bias falls as 1/N, +3.5 % at N = 125 (docs/theory.md, section 9), so 2 % at about 200.
_NARROW = 200
_LEAST_DECADES = -1e6  # powers of numbers below 1e-5000000 are not formed (gaussian.hpp)
# The sampled convolutional networks of section 9 had 30 channels or more; below, networks lie on either side.
_FEW_CHANNELS = 30
# The variance of a kernel's logarithm grows as depth/width, by about 5 for ReLU: at a tenth networks differ by half.
_DEPTH_PER_WIDTH = 0.1
# Below, terms of higher order in 1/n count: 397 for 506 at n = 8.
_FEW_SAMPLES = 50
# From here on every sampled network had its largest eigenvalue above the bulk's mean, or above an outlier that the edge
# passes; single ones had less before.
_BULK_SAMPLES = 64
_EDGE_SAMPLES = 8
# Edges of sampled networks at n far above N lay up to so many times above (a - b)/N.
_EDGE_OVER_ORDER = 2.0
# Networks whose outlier scatters were all above it where the edge, or the C outputs' spread, passes it so many times.
_CLEARLY = 1.5


# Infinite data hide a bulk that rules at every n below (a - b)/b; said where that is more than a small batch.
_HIDDEN = 100


def _remarks(
    net: Network,
    theory: str,
    samples: int | None,
    a: float,
    b: float,
    lambda_max: float,
    outlier: bool,
    log2: float,
    fit: bool,
) -> tuple[list[str], list[str], list[str]]:
    """Why lambda_max is too low, why else it does not hold, and what else to say (docs/theory.md, section 4).

    A reason stands in the first list only where every sampled network lay above.
    """
    below: list[str] = []
    other: list[str] = []
    notes: list[str] = []
    facts = net._facts
    width, outputs = facts.narrowest, net.outputs
    # Under exact BatchNorm the outlier is the last layer's alone and differs by 0.1 % from network to network; without,
    # or with statistics frozen, single networks lie 10 % and more from it, on either side.
    steady = theory == "exact" and facts.last_normed and not facts.convolutional

    def one_sided(holds: bool) -> list[str]:
        return below if holds else other

    if lambda_max == 0.0 and log2 == -math.inf:
        below.append("lambda_max = 0: no gradient reaches any parameter")
    # (a - b) (1/sqrt(n) + 1/sqrt(N))^2: the edge of n independent rows in N dimensions, and its order at infinite data
    dimensions = facts.fewest_inputs
    edge = (a - b) * ((0.0 if samples is None else samples**-0.5) + dimensions**-0.5) ** 2
    passed = edge * (_EDGE_OVER_ORDER if samples is None else 1.0) > lambda_max
    if not outlier:
        if samples is None or samples * outputs > net.parameters():
            words = (
                "no eigenvalue stands out of the mean of all, which lambda_max is, while the bulk's edge lies higher"
            )
        else:
            words = "the bulk rules and lambda_max is its mean, while its edge lies higher (3 times at n = N/2)"
        one_sided(samples is None or samples >= _BULK_SAMPLES).append(words)
    elif passed:
        words = f"of order (a - b)/N = {edge:.3g} at any number of samples"
        if samples is not None:
            words = f"at about (1 + sqrt(n/N))^2 = {(1 + (samples / dimensions) ** 0.5) ** 2:.2f} times its mean"
        many = samples is None or samples >= _EDGE_SAMPLES
        one_sided((steady and many) or edge > _CLEARLY * lambda_max).append(
            f"the bulk's edge, {words} for the narrowest layer's N, may pass the outlier"
        )
    if facts.batch_norm and samples is not None and samples < _FEW_SAMPLES:
        closed = theory == "exact" and facts.closed and samples >= 4
        if not closed:
            other.append(f"below {_FEW_SAMPLES} samples BatchNorm's terms of higher order in 1/n are missing")
    if samples is not None and width is not None and samples > width / 2:
        one_sided(steady).append(
            f"more samples than half the narrowest layer ({width}): the bulk broadens and may pass the outlier"
        )
    if outputs > 1 and facts.last_width is not None and (theory != "exact" or not facts.last_normed):
        factor = (1.0 + math.sqrt(outputs / facts.last_width)) ** 2
        normed = facts.last_normed and not facts.convolutional
        one_sided(normed or factor > _CLEARLY).append(
            f"the largest of the {outputs} outputs' eigenvalues lies above this one, by up to {factor:.2f} times"
            + ("" if normed or factor > _CLEARLY else ", but networks differ by as much")
        )
    if width is not None and width < _NARROW:
        one_sided(steady).append(
            f"the narrowest hidden layer has {width} units, where sampled eigenvalues lie higher by more than 2 %"
            if steady
            else f"the narrowest hidden layer has {width} units, where networks differ widely from each other"
        )
    if facts.fewest_channels is not None and facts.fewest_channels < _FEW_CHANNELS:
        other.append(f"the narrowest convolution has {facts.fewest_channels} channels: networks differ widely")
    if width is not None and facts.depth > _DEPTH_PER_WIDTH * width:
        one_sided(steady).append(
            f"depth {facts.depth} is comparable with width {width}: networks differ widely from each other"
        )
    if theory == "wei2019" and (facts.batch_norm or facts.convolutional):
        other.append("the recursion as published, which sampled networks do not follow: 0.59 to 1.15 of it was seen")
    if math.isfinite(log2) and not (2.0**-1022 <= lambda_max < math.inf):
        decades = log2 * math.log10(2.0)
        digits = 10 ** (decades - math.floor(decades))
        number = (
            f"= {digits:.4f}e{math.floor(decades):+d} lies" if decades > _LEAST_DECADES else "lies below 1e-1000000,"
        )
        other.append(f"lambda_max {number} beyond the range of float64")
    elif not fit:
        other.append("numbers beside lambda_max lie beyond the range of float64 and are given as 0 or inf")
    if samples is None and outlier and not passed and b > 0.0 and a - b > _HIDDEN * b:
        notes.append(
            f"the outlier stands out of the bulk only from about n = (a - b)/b = {(a - b) / b:.0f} samples on, "
            "and below it the bulk rules: give samples"
        )
    if theory == "exact" and facts.padded_norm:
        words = (
            "behind padding a part of what BatchNorm takes from the gradient is left out: lambda_max may be too large, "
            "by up to the share of the layers before the last (Fisher.layers)"
        )
        if facts.pooled_norm:
            other.append(f"{words}, and with AvgPool2d 2 to 34 % were seen")
        else:
            notes.append(f"{words}, and 2 to 5 % were seen")
    if theory == "exact" and facts.image_norm and samples is not None:
        notes.append("in convolutions BatchNorm's O(1/n) terms other than (a - b)/n are left out")
    return below, other, notes
