# SPDX-License-Identifier: BSD-3-Clause
"""The mean-field theory: order parameters, the Fisher information and the largest stable learning rate."""

from .density import BulkDensity, spectral_density
from .fisher import Fisher, Layers, fisher
from .learning_rate import LearningRate, max_learning_rate
from .order_parameters import OrderParameters, order_parameters

__all__ = [
    "BulkDensity",
    "Fisher",
    "Layers",
    "LearningRate",
    "OrderParameters",
    "fisher",
    "max_learning_rate",
    "order_parameters",
    "spectral_density",
]
