# SPDX-License-Identifier: BSD-3-Clause
"""What a user describes: layers, activations, and the networks that they make."""

from .activation import Activation, activation_names
from .network import AvgPool2d, BatchNorm, Conv2d, Dense, Flatten, GlobalAvgPool2d, Layer, Network, convnet, load, mlp

__all__ = [
    "Activation",
    "AvgPool2d",
    "BatchNorm",
    "Conv2d",
    "Dense",
    "Flatten",
    "GlobalAvgPool2d",
    "Layer",
    "Network",
    "activation_names",
    "convnet",
    "load",
    "mlp",
]
