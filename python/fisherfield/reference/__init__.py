# SPDX-License-Identifier: BSD-3-Clause
"""The specification: the theory in plain NumPy, slow on purpose; the compiled core is held to it."""

from . import gaussian
from .edge import edge, spectral_density
from .fisher import backward_sums, fisher
from .learning_rate import max_learning_rate
from .literal import wei2019_literal
from .order_parameters import order_parameters
from .sampled import sampled_density, sampled_fisher, sampled_moments
from .scan import scan
from .verify import verify

__all__ = [
    "backward_sums",
    "edge",
    "fisher",
    "gaussian",
    "max_learning_rate",
    "order_parameters",
    "sampled_density",
    "sampled_fisher",
    "sampled_moments",
    "scan",
    "spectral_density",
    "verify",
    "wei2019_literal",
]
