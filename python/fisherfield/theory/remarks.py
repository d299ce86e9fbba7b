# SPDX-License-Identifier: BSD-3-Clause
"""Where lambda_max is known not to be what sampled networks show, and what else is to be said of it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from ..network import Network
from .normed import of_frozen
from .settings import Settings

if TYPE_CHECKING:
    from .._core import Spectrum
    from .edge import Rule

# Where infinite width stops: the bias falls as 1/N, +3.5 % at N = 125 (docs/theory.md, section 9), so 2 % at about 200.
_NARROW = 200
_LEAST_DECADES = -1e6  # powers of numbers below 1e-5000000 are not formed (gaussian.hpp)
# The sampled convolutional networks of section 9 had 30 channels or more; below, networks lie on either side.
_FEW_CHANNELS = 30
# Channels of a group that convolutions and GroupNorms of sampled networks had, which were within half a percent; at 16
# channels of a GroupNorm behind GELU 40 networks lay 25 +- 4 % above, and what so few channels as the last of these are
# normalised by differs from sample to sample.
_READ_CHANNELS, _NORMED_CHANNELS, _FEW_NORMED = 12, 24, 4
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
# By sampled units: where the bulk's mean is so much of lambda_max, sampled networks lay up to 4 % above, or merged.
_NEAR, _MERGED = 0.2, 0.4
# The relative sampling error of a - b: 0.04 at the most in bench/layers.py, but for one network whose last activations
# are on for one unit in some hundred: 0.44, and sampled ones of 40 channels had 30 where lambda_max is 1.0.
_RARE = 0.15
# With fewer channels than these under exact BatchNorm earlier: from 0.05 on up to 6 % above, from 0.1 on 5 % (median of
# 22 settings of bench/layers.py), 25 % with three poolings of overlapping windows.
_CHANNELS, _NEAR_OF_FEW, _MERGED_OF_FEW = 64, 0.05, 0.1
# Frozen, a unit divides by its own variance, and E 1/s^2 is 1 + 2/fan_in of 1/E s^2 and more: measured 1.077 at 27
# weights, 1.060 at 64 of a 1 x 1 convolution, and 1.004 to 1.02 elsewhere. ResNets of 32 and 64 channels lay 5 to 7 %
# above (three sets of 60 to 200 networks); with 16 channels that come in, or 128 channels, within 2 +- 2 %.
_OWN_VARIANCE = (128, 50)
_OF_FEW_WEIGHTS = 0.02  # what they add to lambda_max, where it is known
# In convolutions under exact BatchNorm the closed recursion was too large by 3 % where the bulk's mean was less of
# lambda_max; by 5.8, 7.0, 10.6 and 18.5 % where it was 0.06, 0.08, 0.14 and 0.27.
_SMALL_BULK = 0.05
_FEWEST_SAMPLES = 20
# Under exact BatchNorm sampled networks of C channels lay 3.7, 2.0, 1.3 and 0.9 % above, at C = 32, 64, 128 and 256.
_TILT, _TILT_MOST = 1.2, 0.03
# Frozen, each unit divides by its own statistics; the sampled networks of section 13 followed what shift has of it, and
# were 12 % below lambda_max for ELU at n = 128. From here on lambda_max alone does not hold.
_OWN = 0.05
# Infinite data hide a bulk that rules at every n below (a - b)/b; said where that is more than a small batch.
_HIDDEN = 100


def remarks(
    net: Network, settings: Settings, spectrum: Spectrum, loss: str = "sum", rule: Rule | None = None
) -> tuple[list[str], list[str], list[str]]:
    """Why lambda_max is too low, why else it does not hold, and what else to say (docs/theory.md, section 4).

    Under cross-entropy the outputs' eigenvalues are apart by themselves. With a rule it is known where the bulk ends.

    A reason stands in the first list only where every sampled network lay above.
    """
    below: list[str] = []
    other: list[str] = []
    notes: list[str] = []
    one_sided = (other, below)  # by whether all lay above
    a, b, lambda_max, outlier, log2, fit = (
        spectrum.a,
        spectrum.b,
        spectrum.lambda_max,
        spectrum.outlier,
        spectrum.log2,
        spectrum.fit,
    )
    theory, samples, facts, outputs = settings.theory, settings.samples, net._facts, net.outputs
    width, dimensions = facts.narrowest, facts.fewest_inputs
    # Under exact BatchNorm the outlier is the last layer's alone and differs by 0.1 % from network to network; without,
    # or with statistics frozen, single networks lie 10 % and more from it, on either side.
    steady = theory == "exact" and facts.last_normed and not facts.convolutional
    higher = steady and (rule is None or rule.regime == "outlier")  # edges and samples lie on either side
    if lambda_max == 0.0 and log2 == -math.inf:
        below.append("lambda_max = 0: no gradient reaches any parameter")
    # (a - b) (1/sqrt(n) + 1/sqrt(N))^2: the edge of n independent rows in N dimensions, and its order at infinite data
    edge = (a - b) * ((0.0 if samples is None else samples**-0.5) + dimensions**-0.5) ** 2
    passed = edge * (_EDGE_OVER_ORDER if samples is None else 1.0) > lambda_max
    if rule is not None:
        if rule.edge + rule.sample > 0.0 and (words := _beside(rule, lambda_max if outlier else 0.0, steady)):
            one_sided[steady and rule.regime == "outlier"].append(words)
        if rule.regime != "outlier" and facts.relu_normed:
            notes.append(_FADING)
        if rule.log_variance == math.inf:
            other.append(_SINGLE_UNKNOWN)
        elif rule.regime == "sample" and rule.log_variance > _WIDE:
            other.append(_SINGLE_WIDE.format(rule.log_variance))
        elif rule.regime == "sample" and not facts.relu_normed:
            notes.append(_SINGLE)
    elif not outlier:
        one_sided[samples is None or samples >= _BULK_SAMPLES].append(_bulk(net, samples))
    elif passed:
        many = samples is None or samples >= _EDGE_SAMPLES
        one_sided[(steady and many) or edge > _CLEARLY * lambda_max].append(_edge(edge, samples, dimensions))
    if theory == "frozen" and outlier and (rule is None or rule.regime == "outlier") and fit:
        other.extend(_own_statistics(net, settings, a, b))
    if samples is not None:
        if facts.batch_norm and samples < _FEW_SAMPLES and not (theory == "exact" and facts.closed and samples >= 4):
            other.append(f"below {_FEW_SAMPLES} samples BatchNorm's terms of higher order in 1/n are missing")
        if width is not None and samples > width / 2 and rule is None:
            one_sided[steady].append(
                f"more samples than half the narrowest layer ({width}): the bulk broadens and may pass the outlier"
            )
    if (
        loss != "cross_entropy"
        and outputs > 1
        and facts.last_width is not None
        and (theory != "exact" or not facts.last_normed)
    ):
        clear, words = _outputs(outputs, facts, ", as shift says")
        one_sided[clear].append(words)
    if width is not None and width < _NARROW:
        differ = (
            "sampled eigenvalues lie higher by more than 2 %" if higher else "networks differ widely from each other"
        )
        one_sided[higher].append(f"the narrowest hidden layer has {width} units, where {differ}")
    _channels(facts, other)
    if facts.convolutional and facts.fewest_normed and not (theory == "exact" and facts.last_normed):
        notes.append(_SCATTER)
    if facts.fewest_read or facts.fewest_normed:
        _groups(facts, other, notes)
    if width is not None and facts.depth > _DEPTH_PER_WIDTH * width:
        one_sided[higher].append(
            f"depth {facts.depth} is comparable with width {width}: networks differ widely from each other"
        )
    if theory == "wei2019" and (facts.batch_norm or facts.convolutional):
        other.append("the recursion as published, which sampled networks do not follow: 0.59 to 1.15 of it was seen")
    if math.isfinite(log2) and not (2.0**-1022 <= lambda_max < math.inf):
        other.append(f"lambda_max {_beyond(log2)} beyond the range of float64")
    elif not fit:
        other.append("numbers beside lambda_max lie beyond the range of float64 and are given as 0 or inf")
    if samples is None and outlier and (rule is not None or not passed) and b > 0.0 and a - b > _HIDDEN * b:
        notes.append(
            f"the outlier stands out of the bulk only from about n = (a - b)/b = {(a - b) / b:.0f} samples on, "
            "and below it the bulk rules: give samples"
        )
    if theory == "exact" and facts.batch_norm and facts.sums and not facts.last_normed:
        notes.append("the outlier passes the sums by their skips: BatchNorm behind the last sum would take it away")
    if theory == "exact" and facts.padded_norm:
        seen, kind = ("with AvgPool2d 2 to 34", other) if facts.pooled_norm else ("2 to 5", notes)
        kind.append(_PADDED.format(seen))
    if theory == "exact" and facts.image_norm and samples is not None:
        share = (a - b) / samples / lambda_max if lambda_max > 0.0 else 0.0
        words = "in convolutions BatchNorm's O(1/n) terms other than (a - b)/n are left out"
        if share > _SMALL_BULK:
            words += f": lambda_max may be too large by up to the bulk's share, {share:.2f} of it; units=1024 has them"
        (other if share > _SMALL_BULK else notes).append(words)
    return below, other, notes


def of_units(
    net: Network, settings: Settings, spectrum: Spectrum, of_bulk: float, own: float | None = None
) -> tuple[list[str], list[str], list[str]]:
    """The same of a number that sampled units gave (section 12), as sampled networks of convolutions showed it;
    `of_bulk` is the relative sampling error of a - b, `own` what units' own frozen variances add, where it is known."""
    below: list[str] = []
    other: list[str] = []
    notes: list[str] = []
    facts, lambda_max, outputs = net._facts, spectrum.lambda_max, net.outputs
    channels = facts.last_channels
    exact = settings.theory == "exact" and facts.batch_norm and facts.last_width is not None
    if lambda_max == 0.0:
        below.append("lambda_max = 0: no gradient reaches any parameter")
        return below, other, notes
    if of_bulk > _RARE:
        other.append(
            f"a - b scatters by {of_bulk:.0%} with the units drawn: a few rare ones make it, as where hardly any "
            "activation is ever on, and networks of few channels are no mean over them"
        )
    if settings.samples is not None:
        share = (spectrum.a - spectrum.b) / settings.samples / lambda_max
        if share > _MERGED:
            other.append(f"the bulk's mean is {share:.2f} of lambda_max, and its edge merges with the outlier")
        elif exact and channels < _CHANNELS and share > _MERGED_OF_FEW:
            other.append(
                f"the bulk's mean is {share:.2f} of lambda_max and the last hidden layer has {channels} channels: "
                "sampled networks lie 5 to 25 % higher"
            )
        elif share > _NEAR:
            notes.append(f"the bulk's mean is {share:.2f} of lambda_max: sampled networks lie up to 4 % higher")
        elif exact and channels < _CHANNELS and share > _NEAR_OF_FEW:
            notes.append(
                f"the bulk's mean is {share:.2f} of lambda_max and the last hidden layer has {channels} channels: "
                "sampled networks lie up to 6 % higher"
            )
        if settings.samples < _FEWEST_SAMPLES:
            other.append(f"below {_FEWEST_SAMPLES} samples the bulk's edge is not that of its mean")
    if exact and channels * _TILT_MOST < _TILT:
        words = f"sampled networks lie {_TILT / channels:.1%} higher"
        if any(step.layer.affine and step.needs_units for step in net.steps):
            words = "with depthwise convolutions sampled ones of 64 to 256 channels lay 0.6 to 2.1 % lower"
        other.append(f"the last hidden layer has {channels} channels: {words}")
    _channels(facts, other)
    if own is not None and own > _OF_FEW_WEIGHTS:
        other.append(
            f"frozen statistics of units with few weights are their own: sampled networks lie {own:.1%} higher, as "
            "shift says"
        )
    if settings.theory == "frozen" and own is None:
        for least, enough, what in zip(facts.fewest_of_norms, _OWN_VARIANCE, ("units", "taps"), strict=True):
            if least is not None and least < enough and facts.convolutional:
                other.append(
                    f"frozen statistics of units with {least} weights (sums over {what}) are their own, and lambda_max "
                    "is 3 to 7 % too low where there are few"
                )
    # of a post-activation ResNet's stream the stem's norm is enough: sampled ones scattered by 0.6 to 3 %
    if facts.convolutional and not (exact and (facts.last_normed or facts.first_normed)):
        notes.append(_SCATTER)
    if outputs > 1 and facts.last_width is not None and (settings.theory != "exact" or not facts.last_normed):
        clear, words = _outputs(outputs, facts, "")
        (below if clear else other).append(words)
    if facts.fewest_read or facts.fewest_normed:
        _groups(facts, other, notes)
    return below, other, notes


# What comes from the outlier and what from the bulk mix where they are of like size: sampled eigenvalues lay up to 20 %
# above the larger (frozen, 8 and 12 layers). Under exact BatchNorm, whose outlier is one vector's, up to 6 %.
_LIKE, _LIKE_STEADY = 0.75, 0.9
_FADING = (
    "lambda_max belongs to modes of the first layers, which fade in the first steps in deep networks: training of ReLU "
    "networks of 5 to 10 hidden layers followed the outlier (LearningRate.outlier_limit)"
)


# Up to here log-variances of samples' kernels were 0.6 to 1.2 of the formula's; at 3.7 they were 7.2, and lambda_max a
# third.
_WIDE = 1.3
_SINGLE = (
    "lambda_max is a single sample's eigenvalue, whose formula lay between 0.7 and 1.4 of the mean of sampled networks "
    "(ReLU: 0.8 to 1.2)"
)
_SINGLE_WIDE = (
    "lambda_max is a single sample's eigenvalue, and the logarithms of samples' kernels have a variance of {:.1f}, "
    "where the formula is not right: sampled networks had from a third of it to far more"
)


_SINGLE_UNKNOWN = (
    "a single sample may rule, and its eigenvalue is not known: the logarithms of samples' kernels have a variance "
    "beyond float64, as where hardly any sample turns a unit on"
)


def _beside(rule: Rule, top: float, steady: bool) -> str:
    """Whether the two largest candidates are of like size; `top` is the outlier, or 0."""
    names = {"the outlier": top, "the bulk's edge": rule.edge, "a single sample's eigenvalue": rule.sample}
    (first, largest), (second, next_one) = sorted(names.items(), key=lambda one: -one[1])[:2]
    if next_one < (_LIKE_STEADY if steady else _LIKE) * largest:
        return ""
    return (
        f"{first} ({largest:.4g}) and {second} ({next_one:.4g}) are of like size, where they mix and the largest rises"
    )


_PADDED = (
    "behind padding a part of what BatchNorm takes from the gradient is left out: lambda_max may be too large, "
    "by up to the share of the layers before the last (Fisher.layers), and {} % were seen; units=1024 has it"
)


# Where no formula has it (docs/theory.md, section 13), networks scattered by 22 % with GroupNorm at three layers of 48
# channels, by 20 % at one of 32, by 8.5 % with max pooling at three of 48, and frozen and vanilla ones of 64 to 96 by
# 15 to 25 %.
_SCATTER = "no formula has the scatter from network to network: single ones lay 10 to 25 % off at 32 to 96 channels"


def _channels(facts: Any, other: list[str]) -> None:
    if facts.fewest_channels is not None and facts.fewest_channels < _FEW_CHANNELS:
        other.append(f"the narrowest convolution has {facts.fewest_channels} channels: networks differ widely")


def _groups(facts: Any, other: list[str], notes: list[str]) -> None:
    """What theory takes for many in layers that take channels in groups."""
    if facts.fewest_read is not None and facts.fewest_read < _READ_CHANNELS:
        notes.append(
            f"a convolution in groups reads {facts.fewest_read} channels a group, which are taken for many: sampled "
            f"networks had {_READ_CHANNELS} or more"
        )
    if facts.fewest_normed is not None and facts.fewest_normed < _NORMED_CHANNELS:
        few = facts.fewest_normed <= _FEW_NORMED
        other.append(
            f"a normalisation takes statistics of {facts.fewest_normed} channels, which are taken for many: "
            + ("they differ from sample to sample" if few else "sampled networks lay up to 25 % above at 16 channels")
        )


def _bulk(net: Network, samples: int | None) -> str:
    if samples is None or samples * net.outputs > net.parameters():
        return "no eigenvalue stands out of the mean of all, which lambda_max is, while the bulk's edge lies higher"
    return "the bulk rules and lambda_max is its mean, while its edge lies higher (3 times at n = N/2)"


def _edge(edge: float, samples: int | None, dimensions: int) -> str:
    words = f"of order (a - b)/N = {edge:.3g} at any number of samples"
    if samples is not None:
        words = f"at about (1 + sqrt(n/N))^2 = {(1 + (samples / dimensions) ** 0.5) ** 2:.2f} times its mean"
    return f"the bulk's edge, {words} for the narrowest layer's N, may pass the outlier"


def _own_statistics(net: Network, settings: Settings, a: float, b: float) -> list[str]:
    """How far frozen networks lie from lambda_max because each unit has its own statistics, where it is much."""
    if not net._facts.batch_norm or net._facts.roots is None:  # a chain of dense layers, all normed
        return []
    try:
        with np.errstate(all="ignore"):  # what leaves the range of float64 is seen below
            own, of_samples = of_frozen(net, settings, a, b)
    except (ArithmeticError, ValueError):  # numbers beyond float64, or of an integral that is none
        own = of_samples = math.nan
    if not math.isfinite(own) or not abs(own) < 1.0:
        return [
            "what each unit's own statistics add is not known: terms of order 1/N and 1/n are as large as lambda_max"
        ]
    if not abs(own) > _OWN:
        return []
    words = "above" if own > 0 else "below"
    alone = f", {of_samples:+.0%} by {settings.samples} samples alone" if abs(of_samples) > _OWN / 2 else ""
    return [f"each unit divides by its own statistics: networks lie {abs(own):.0%} {words}, as shift says{alone}"]


def _outputs(outputs: int, facts: Any, more: str) -> tuple[bool, str]:
    """Whether all lay above, and the sentence."""
    factor = (1.0 + math.sqrt(outputs / facts.last_width)) ** 2
    clear = (facts.last_normed and not facts.convolutional) or factor > _CLEARLY
    words = f"the largest of the {outputs} outputs' eigenvalues lies above this one{more}"
    return clear, words if clear else f"{words}, but networks differ by as much"


def _beyond(log2: float) -> str:
    decades = log2 * math.log10(2.0)
    if decades <= _LEAST_DECADES:
        return "lies below 1e-1000000,"
    return f"= {10 ** (decades - math.floor(decades)):.4f}e{math.floor(decades):+d} lies"
