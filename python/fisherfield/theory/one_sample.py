# SPDX-License-Identifier: BSD-3-Clause
"""The eigenvalue of the sample with the largest Theta_ii behind BatchNorm (docs/theory.md, section 14).

reference/one_sample.py has the derivation; the Gaussian integrals are the core's (cpp/cpu/one_sample.hpp).
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from .. import _core
from ..network import Activation, Network
from . import calls
from .settings import Settings

__all__ = [
    "MOST_OF_A",
    "log_variance",
    "mean_of_largest",
    "most_of_variance",
    "one_sample",
    "sample_of",
]

Array = NDArray[np.float64]

# Of exact BatchNorm, from how far ReLU networks' largest eigenvalue lies above the largest diagonal entry: 1.8 to 2.8
# over n, and 1.5 to 4 for GELU and SiLU.
_BATCH = 2.4
# Of E max of n lognormals; beyond 12 deviations no sample lies.
_NODES, _FARTHEST = 400, 12.0
_NEAR = 3.0  # deviations up to which one grid about 0 holds all of (z - s)^2/2 but 1e-18
# A slope is that of a chord: the three points of Gauss's rule stand so many deviations apart, no farther than e^+-2.
_APART, _FARTHEST_LENGTH = math.sqrt(3), 2.0
# One sample has no more than 1 + 2.4/n of a: the largest of n numbers is no more than their sum.
MOST_OF_A = _BATCH


class Moments(NamedTuple):
    """SampleMoments of the core, of y = scale u + shift: F = (phi - mean)^2, Q = phi^2, D = phi'^2."""

    mean: float
    variance: float
    square: float
    slope: float
    mean_slope: float
    forward: float
    read: float
    backward: float
    of_variance: float
    of_square: float
    of_slope: float
    variance_square: float
    variance_slope: float
    square_slope: float

    @property
    def differ(self) -> bool:
        """Whether samples have lengths and gradients of their own, in numbers of float64."""
        return all(map(math.isfinite, self)) and min(self.variance, self.square, self.slope) > 0.0

    def noise(self, common: float) -> Array:
        """N times the covariance of log E F, E Q and E D g^2 over N units, less what is common to all samples."""
        f, q, d = self.of_variance, self.of_square, self.of_slope - common
        fq, fd, qd = self.variance_square, self.variance_slope, self.square_slope
        return np.array([[f, fq, fd], [fq, q, qd], [fd, qd, d]])


class Unit(NamedTuple):
    """phi(scale h + shift) of a hidden layer; h has the variance 1 over the data."""

    activation: Activation
    scale: float
    shift: float

    @property
    def moments(self) -> Moments:
        return _moments(*self)

    def slopes(self, deviation: float, share: float) -> Array:
        """Of log E F, E Q and E D in a sample's log length, which has this deviation; `share`: 1/n."""
        at, mean, phi = min(_APART * deviation, _FARTHEST_LENGTH), self.moments.mean, self.activation._compiled
        low, high = (
            _core.sample_lengths(phi, self.scale, self.shift, mean, math.exp(side), share) for side in (-at, at)
        )
        if not min(low) > 0.0 or not max(high) < math.inf:
            return np.full(3, math.nan)
        return (np.log(high) - np.log(low)) / (2 * at)


@lru_cache(maxsize=4096)
def _moments(activation: Activation, scale: float, shift: float) -> Moments:
    return Moments(*_core.sample_moments(activation._compiled, scale, shift))


def units_of(net: Network, settings: Settings | None) -> tuple[Unit, ...]:
    """Of the hidden layers; none where samples do not differ. Without settings as if there was no eps."""
    functions = [cast("Activation", step.layer) for step in net.steps if step.layer.pointwise]
    norms = net.batch_norms
    if not len(functions) == len(norms) == net.depth - 1:  # phi is the identity where none stands
        return ()
    v = np.full(net.depth, math.inf) if settings is None else calls.order_parameters(net, settings).v
    units = []
    for function, norm, own in zip(functions, norms, v.tolist(), strict=False):
        share = 1.0 if own == math.inf or norm.eps == 0.0 else own / (own + norm.eps)
        unit = Unit(function, cast("float", norm.gamma) * math.sqrt(share), cast("float", norm.beta))
        if unit.scale == 0.0 or not math.isfinite(unit.scale) or not unit.moments.differ:
            return ()
        units.append(unit)
    return tuple(units)


def _responses(slopes: list[Array], exact: bool) -> Array:
    """d log(part i of Theta_ii), i = 1 .. L, by the noise of r_0 and of F, Q and D g^2 in each hidden layer."""
    depth = len(slopes) + 1
    x, read, y = (np.zeros((depth, 3 * depth - 2)) for _ in range(3))
    x[0, 0] = read[0, 0] = 1.0
    for k, of_layer in enumerate(slopes, 1):
        for place, (part, slope) in enumerate(zip((x, read, y), of_layer, strict=True)):
            part[k] = slope * x[k - 1]
            part[k, 3 * k - 2 + place] += 1.0
    behind = np.cumsum(y[::-1], axis=0)[::-1]
    lengths: Array = x if exact else read
    lengths[:-1] += behind[1:]
    return lengths


def _blocks(noise: list[Array]) -> list[tuple[slice, Array]]:
    """With their places; r_0 first, of Gaussian inputs."""
    parts = [slice(3 * k - 2, 3 * k + 1) for k in range(1, len(noise) + 1)]
    return [(slice(0, 1), np.array([[2.0]])), *zip(parts, noise, strict=True)]


@lru_cache(maxsize=1024)
def _most(units: tuple[Unit, ...], exact: bool) -> float:
    slopes = [np.array([unit.moments.forward, unit.moments.read, unit.moments.backward]) for unit in units]
    change = _responses(slopes, exact)
    blocks = _blocks([unit.moments.noise(0.0) for unit in units])
    return 2 * max(float(np.max(np.sum(change[:, at] @ block * change[:, at], axis=1))) for at, block in blocks)


def most_of_variance(net: Network, theory: str) -> float:
    """kappa, by which s^2 <= kappa sum_l 1/N_l; 0 where no sample is known to have an eigenvalue of its own.

    Twice the most that the noise of a layer does to a part of Theta_ii, for slopes at infinite data and eps = 0.
    """
    known = net._kept.get(theory)
    if known is None:
        with np.errstate(all="ignore"):  # a bound beyond float64 is none
            units = units_of(net, None)
            known = _most(units, theory == "exact") if units else 0.0
        known = net._kept[theory] = math.inf if math.isnan(known) else known
    return known


def log_variance(net: Network, settings: Settings, shares: Array) -> float:
    """s^2 of the diagonal's shares by layers; NaN where samples do not differ, inf where it is not known."""
    units, widths = units_of(net, settings._replace(samples=None)), [step.before[0] for step in net.affine_steps]
    if not units:
        return math.nan
    assert settings.samples is not None
    overlaps = np.cumprod([1.0, *(unit.moments.mean_slope**2 / unit.moments.slope for unit in units[:0:-1])])[::-1]
    noise = [unit.moments.noise(2 * float(c) ** 2) for unit, c in zip(units, overlaps, strict=True)]
    blocks = [(at, block / width) for (at, block), width in zip(_blocks(noise), widths, strict=True)]
    variance, slopes = float(blocks[0][1][0, 0]), list[Array]()
    for unit, (_, block) in zip(units, blocks[1:], strict=True):
        slopes.append(unit.slopes(math.sqrt(variance), 1 / settings.samples))
        variance = float(slopes[-1][0] ** 2 * variance + block[0, 0])  # of log r
    change = shares @ _responses(slopes, settings.theory == "exact")
    total = float(sum(change[at] @ block @ change[at] for at, block in blocks))
    return total if math.isfinite(total) else math.inf


def one_sample(net: Network, settings: Settings) -> float:
    """The eigenvalue; 0 where it is not known."""
    return sample_of(net, settings)[0]


def sample_of(net: Network, settings: Settings) -> tuple[float, float]:
    """(1 + 2.4/n [exact only]) (a/n) e^(-s^2/2) E max_{i <= n} e^(s z_i): samples' Theta_ii are lognormal, independent.

    And s^2; both are 0 where they are not known.
    """
    n = settings.samples
    assert n is not None
    exact = settings.theory == "exact"
    # a and the shares are those of infinite data, for which 2.4/n was found.
    endless = settings._replace(samples=None, overlap=max(settings.overlap, 0.0))
    parts = calls.contributions(net, endless)
    of_layers = parts.a - parts.b if exact else parts.a
    total = float(of_layers.sum())
    if not 0.0 < total < math.inf:
        return 0.0, 0.0
    with np.errstate(all="ignore"):  # of numbers beyond float64 nothing is known
        variance = log_variance(net, endless._replace(samples=n), of_layers / total)
    if not math.isfinite(variance):
        return 0.0, 0.0 if math.isnan(variance) else math.inf
    largest = mean_of_largest(variance**0.5, n)
    return float((1 + _BATCH / n * exact) * parts.a.sum() / n * largest), variance


def mean_of_largest(deviation: float, count: int) -> float:
    """E max of e^(s z - s^2/2) over so many, which have the mean 1: the trapezoidal rule on n p(z - s) P(z)^(n-1)."""
    z, below = _grid(0.0 if deviation < _NEAR else deviation)
    terms = np.exp(-((z - deviation) ** 2) / 2 + (count - 1) * below)
    return float(np.sum(terms) * (2 * _FARTHEST / _NODES) * count / math.sqrt(2 * math.pi))


@lru_cache(maxsize=8)
def _grid(centre: float) -> tuple[Array, Array]:
    """z, and log P(z)."""
    z = centre + np.linspace(-_FARTHEST, _FARTHEST, _NODES + 1)
    above = [0.5 * math.erfc(each / math.sqrt(2)) for each in z.tolist()]
    return z, np.array([math.log1p(-each) if each < 1 else -math.inf for each in above])
