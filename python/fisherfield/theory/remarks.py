# SPDX-License-Identifier: BSD-3-Clause
"""Where lambda_max is known not to be what sampled networks show, and what else is to be said of it."""

from __future__ import annotations

import math

from ..network import Network
from .calls import Spectrum
from .settings import Settings

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


class Remarks:
    """Why lambda_max is too low, why else it does not hold, and what else to say (docs/theory.md, section 4).

    A reason stands in `below` only where every sampled network lay above.
    """

    def __init__(self, net: Network, settings: Settings, spectrum: Spectrum) -> None:
        self.net, self.settings, self.spectrum, self.facts = net, settings, spectrum, net._facts
        self.below: list[str] = []
        self.other: list[str] = []
        self.notes: list[str] = []
        # Under exact BatchNorm the outlier is the last layer's alone and differs by 0.1 % from network to network;
        # without, or with statistics frozen, single networks lie 10 % and more from it, on either side.
        self.steady = settings.theory == "exact" and self.facts.last_normed and not self.facts.convolutional
        self._of_edge()
        self._of_samples()
        self._of_outputs()
        self._of_widths()
        self._of_range()
        self._of_images()

    @property
    def bound(self) -> str:
        return "=" if not (self.below or self.other) else "~" if self.other else ">="

    def _one_sided(self, holds: bool) -> list[str]:
        return self.below if holds else self.other

    def _of_edge(self) -> None:
        """Where the bulk rules, or its edge may pass the outlier; and infinite data, which hide such a bulk."""
        a, b, lambda_max, samples = self.spectrum.a, self.spectrum.b, self.spectrum.lambda_max, self.settings.samples
        if lambda_max == 0.0 and self.spectrum.log2 == -math.inf:
            self.below.append("lambda_max = 0: no gradient reaches any parameter")
        # (a - b) (1/sqrt(n) + 1/sqrt(N))^2: the edge of n independent rows in N dimensions, and its order at infinite
        # data
        dimensions = self.facts.fewest_inputs
        edge = (a - b) * ((0.0 if samples is None else samples**-0.5) + dimensions**-0.5) ** 2
        passed = edge * (_EDGE_OVER_ORDER if samples is None else 1.0) > lambda_max
        if not self.spectrum.outlier:
            if samples is None or samples * self.net.outputs > self.net.parameters():
                words = (
                    "no eigenvalue stands out of the mean of all, which lambda_max is, while the bulk's edge lies "
                    "higher"
                )
            else:
                words = "the bulk rules and lambda_max is its mean, while its edge lies higher (3 times at n = N/2)"
            self._one_sided(samples is None or samples >= _BULK_SAMPLES).append(words)
        elif passed:
            words = f"of order (a - b)/N = {edge:.3g} at any number of samples"
            if samples is not None:
                words = f"at about (1 + sqrt(n/N))^2 = {(1 + (samples / dimensions) ** 0.5) ** 2:.2f} times its mean"
            many = samples is None or samples >= _EDGE_SAMPLES
            self._one_sided((self.steady and many) or edge > _CLEARLY * lambda_max).append(
                f"the bulk's edge, {words} for the narrowest layer's N, may pass the outlier"
            )
        if samples is None and self.spectrum.outlier and not passed and b > 0.0 and a - b > _HIDDEN * b:
            self.notes.append(
                f"the outlier stands out of the bulk only from about n = (a - b)/b = {(a - b) / b:.0f} samples on, "
                "and below it the bulk rules: give samples"
            )

    def _of_samples(self) -> None:
        samples, width = self.settings.samples, self.facts.narrowest
        if samples is None:
            return
        if self.facts.batch_norm and samples < _FEW_SAMPLES:
            closed = self.settings.theory == "exact" and self.facts.closed and samples >= 4
            if not closed:
                self.other.append(f"below {_FEW_SAMPLES} samples BatchNorm's terms of higher order in 1/n are missing")
        if width is not None and samples > width / 2:
            self._one_sided(self.steady).append(
                f"more samples than half the narrowest layer ({width}): the bulk broadens and may pass the outlier"
            )

    def _of_outputs(self) -> None:
        facts, outputs = self.facts, self.net.outputs
        if outputs == 1 or facts.last_width is None or (self.settings.theory == "exact" and facts.last_normed):
            return
        factor = (1.0 + math.sqrt(outputs / facts.last_width)) ** 2
        normed = facts.last_normed and not facts.convolutional
        self._one_sided(normed or factor > _CLEARLY).append(
            f"the largest of the {outputs} outputs' eigenvalues lies above this one, by up to {factor:.2f} times"
            + ("" if normed or factor > _CLEARLY else ", but networks differ by as much")
        )

    def _of_widths(self) -> None:
        facts, width = self.facts, self.facts.narrowest
        if width is not None and width < _NARROW:
            self._one_sided(self.steady).append(
                f"the narrowest hidden layer has {width} units, where sampled eigenvalues lie higher by more than 2 %"
                if self.steady
                else f"the narrowest hidden layer has {width} units, where networks differ widely from each other"
            )
        if facts.fewest_channels is not None and facts.fewest_channels < _FEW_CHANNELS:
            self.other.append(f"the narrowest convolution has {facts.fewest_channels} channels: networks differ widely")
        if width is not None and facts.depth > _DEPTH_PER_WIDTH * width:
            self._one_sided(self.steady).append(
                f"depth {facts.depth} is comparable with width {width}: networks differ widely from each other"
            )
        if self.settings.theory == "wei2019" and (facts.batch_norm or facts.convolutional):
            self.other.append(
                "the recursion as published, which sampled networks do not follow: 0.59 to 1.15 of it was seen"
            )

    def _of_range(self) -> None:
        log2 = self.spectrum.log2
        if math.isfinite(log2) and not (2.0**-1022 <= self.spectrum.lambda_max < math.inf):
            decades = log2 * math.log10(2.0)
            digits = 10 ** (decades - math.floor(decades))
            number = (
                f"= {digits:.4f}e{math.floor(decades):+d} lies"
                if decades > _LEAST_DECADES
                else "lies below 1e-1000000,"
            )
            self.other.append(f"lambda_max {number} beyond the range of float64")
        elif not self.spectrum.fit:
            self.other.append("numbers beside lambda_max lie beyond the range of float64 and are given as 0 or inf")

    def _of_images(self) -> None:
        if self.settings.theory != "exact":
            return
        if self.facts.padded_norm:
            words = (
                "behind padding a part of what BatchNorm takes from the gradient is left out: lambda_max may be too "
                "large, by up to the share of the layers before the last (Fisher.layers)"
            )
            if self.facts.pooled_norm:
                self.other.append(f"{words}, and with AvgPool2d 2 to 34 % were seen")
            else:
                self.notes.append(f"{words}, and 2 to 5 % were seen")
        if self.facts.image_norm and self.settings.samples is not None:
            self.notes.append("in convolutions BatchNorm's O(1/n) terms other than (a - b)/n are left out")
