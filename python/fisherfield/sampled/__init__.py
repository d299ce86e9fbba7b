# SPDX-License-Identifier: BSD-3-Clause
"""Networks of finite width with sampled weights, their Fisher information, and the theory beside it."""

from .fisher import (
    FisherMoments,
    FisherOperator,
    FisherSpectrum,
    SpectralDensity,
    sampled_density,
    sampled_fisher,
    sampled_moments,
)
from .network import SampledNetwork, sample
from .verify import Verification, verify

__all__ = [
    "FisherMoments",
    "FisherOperator",
    "FisherSpectrum",
    "SampledNetwork",
    "SpectralDensity",
    "Verification",
    "sample",
    "sampled_density",
    "sampled_fisher",
    "sampled_moments",
    "verify",
]
