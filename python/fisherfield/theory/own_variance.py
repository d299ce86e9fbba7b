# SPDX-License-Identifier: BSD-3-Clause
"""Frozen BatchNorm behind few weights: every unit divides by its own variance; docs/theory.md, section 13.

The variance of a unit over the data is a form of its few weights, and E 1/s^2 = (1 + 2 tau)/E s^2, tau the mean square
of the covariance of z(x)[a] and z(y)[a'], x != y, about its mean at infinite width, over the variance's. What the
covariance of C channels has beyond that mean is followed through the layers as a field over pairs of positions, of
which pairs that lie equally far apart, by the same lag in both images, know of each other. The image's border is left
out, and units behind a sum or a pooling are taken for Gaussian.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..network import Network
from ..network.layer import Window
from . import units
from .scatter import hermite
from .settings import Settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ..network.layer import Step

    Array = NDArray[np.float64]


_UNITS = 64  # of a group: the quotient of two passes of the same units scatters by 1e-4 with half as many


def shift_of(net: Network, settings: Settings, how: units.Drawing) -> float | None:
    """lambda_max with every unit's own variance, over that with the mean of them, less 1; None where it is not known,
    and where statistics are not frozen ones of convolutions."""
    if (
        settings.theory != "frozen"
        or not (net._facts.convolutional and net._facts.batch_norm)
        or how.inputs is not None
    ):
        return None
    of_layers = gains(net, settings)
    if of_layers is None or not math.isfinite(sum(of_layers)):
        return None
    few = how._replace(units=min(how.units, _UNITS))
    try:
        own, plain = (units.spectrum(net, settings, each)[0] for each in (few._replace(gains=of_layers), few))
    except units.OutOfRange:
        return None
    shift = own.lambda_max / plain.lambda_max - 1 if plain.lambda_max > 0 else math.nan
    return shift if math.isfinite(shift) else None


class Lags(NamedTuple):
    """Of one channel, by the lag between two positions, (2 height - 1, 2 width - 1), lag 0 in the middle."""

    pairs: Array  # E of what the channels' mean covariance of two inputs has beyond its mean, squared
    within: Array  # the covariance within one input, beyond what all have in common
    mean: float
    channels: int
    normed: bool  # different inputs have nothing in common but the mean

    @property
    def variance(self) -> float:
        return float(self.within[_middle(self.within)])

    def times(self, factor: float) -> tuple[Array, Array]:
        """Of units multiplied so."""
        return factor**4 * self.pairs, factor**2 * self.within


def gains(net: Network, settings: Settings) -> tuple[float, ...] | None:
    """1 + 2 tau of every step that is a BatchNorm, 1 of all others; None where a layer is not treated."""
    channels, *sides = net.input_shape
    height, width = sides or (1, 1)
    point = np.zeros((2 * height - 1, 2 * width - 1))
    point[_middle(point)] = 1.0
    variance = settings.length - settings.overlap
    states: list[Lags | None] = []
    data = Lags(variance**2 / channels * point, variance * point, 0.0, channels, False)
    out = []
    for step in net.steps:
        fed = [data if read < 0 else states[read] for read in step.reads]
        known = [each for each in fed if each is not None]
        states.append(_mapped(step, known) if len(known) == len(fed) else None)
        gain = 1.0
        if step.layer.over_batch:
            if len(known) < len(fed):
                return None
            z, eps = known[0], float(getattr(step.layer, "eps", 0.0))
            gain += 2 * float(z.pairs[_middle(z.pairs)]) / (z.variance + eps) ** 2 if z.variance > 0 else 0.0
        out.append(gain)
    return tuple(out)


def _mapped(step: Step, fed: Sequence[Lags]) -> Lags | None:
    """Behind a step; None where it is not treated."""
    layer, first = step.layer, fed[0]
    if layer.unscattered or len(fed) > 2:
        return None
    if layer.affine:
        return _affine(step, first)
    if layer.over_batch:
        gamma, beta, eps = (getattr(layer, name) for name in ("gamma", "beta", "eps"))
        variance = first.variance + eps
        pairs, within = first.times(gamma / math.sqrt(variance) if variance > 0 else 0.0)
        return Lags(pairs, within, beta, first.channels, True)
    if layer.variance_over:
        return None
    if layer.pointwise:
        return _phi(layer, first) if first.normed else None
    if len(fed) == 2:
        branch, skip = fed
        pairs, within = branch.times(scale := float(getattr(layer, "scale", 1.0)))
        mean = skip.mean + scale * branch.mean
        return Lags(skip.pairs + pairs, skip.within + within, mean, skip.channels, branch.normed and skip.normed)
    if of_normals := layer.of_normals(step.before):
        return _pooled(step, first, *of_normals)
    return first if math.prod(step.before) == math.prod(step.after) and len(step.after) == 1 else None


def _affine(step: Step, fed: Lags) -> Lags:
    """Means over the window's taps, which all have weights of their own; of a flat input all positions are taps."""
    layer, sides = step.layer, _sides(fed.pairs)
    window = layer.window(step.before) or Window(sides, (1, 1))
    after = step.after[1:] or (1, 1)
    w2 = float(getattr(layer, "sigma_w2", 0.0))
    one = Window((1, 1), window.stride)
    return Lags(
        w2**2 * _over_taps(fed.pairs, window, after), w2 * _over_taps(fed.within, one, after), 0.0, step.after[0], False
    )


def _phi(layer: object, fed: Lags) -> Lags:
    """What two inputs' covariance has is multiplied by (E phi')^2; that of C units scatters by itself as 1/C."""
    at = hermite(layer._compiled, fed.variance, fed.mean)  # type: ignore[attr-defined]
    slope = at.slope[0] ** 2
    within = slope * fed.within
    within[_middle(within)] = at.variance
    return Lags(slope**2 * fed.pairs + within**2 / fed.channels, within, float(at.phi[0]), fed.channels, True)


def _pooled(step: Step, fed: Lags, mean: float, ratio: float) -> Lags:
    """The mean over a window, or any one of its positions, at random: `ratio` of the mean's variance."""
    window, after = step.layer.window(step.before), step.after[1:]
    assert window is not None
    pairs, within = _over_taps(fed.pairs, window, after, squared=True), ratio * _over_taps(fed.within, window, after)
    return Lags(pairs, within, fed.mean + mean * math.sqrt(fed.variance), fed.channels, fed.normed)


def _over_taps(lags: Array, window: Window, after: Sequence[int], squared: bool = False) -> Array:
    """sum over lags e between two taps of (1 - |e|/k)/k, on both sides, times what is at stride times a lag plus e.

    `squared`: of means over taps in both images apart, whose pairs of taps must lie equally far apart.
    """
    (rows, columns), (height, width) = _middle(lags), after
    out = np.zeros((2 * height - 1, 2 * width - 1))
    at = [step * np.arange(1 - side, side) for step, side in zip(window.stride, after, strict=True)]
    for down in range(1 - window.kernel[0], window.kernel[0]):
        for right in range(1 - window.kernel[1], window.kernel[1]):
            share = math.prod((k - abs(e)) / k**2 for k, e in zip(window.kernel, (down, right), strict=True))
            i, j = at[0] + down * window.dilation[0] + rows, at[1] + right * window.dilation[1] + columns
            own, other = (i >= 0) & (i < lags.shape[0]), (j >= 0) & (j < lags.shape[1])
            out[np.ix_(own, other)] += (share**2 if squared else share) * lags[np.ix_(i[own], j[other])]
    return out


def _middle(lags: Array) -> tuple[int, int]:
    return (lags.shape[0] - 1) // 2, (lags.shape[1] - 1) // 2


def _sides(lags: Array) -> tuple[int, int]:
    return (lags.shape[0] + 1) // 2, (lags.shape[1] + 1) // 2
