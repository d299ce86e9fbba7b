# SPDX-License-Identifier: BSD-3-Clause
"""Networks of finite width with sampled weights, their Fisher information, and the theory beside it."""

from .density import SpectralDensity, sampled_density
from .moments import FisherMoments, sampled_moments
from .network import SampledNetwork, sample
from .operator import FisherOperator
from .spectrum import FisherSpectrum, sampled_fisher
from .verification import Verification
from .verify import verify

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
