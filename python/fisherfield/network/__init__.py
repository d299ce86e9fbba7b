# SPDX-License-Identifier: BSD-3-Clause
"""What a user describes: layers, activations, and the networks that they make."""

from .activation import Activation, activation_names
from .affine import Conv1d, Conv2d, Dense
from .builders import convnet, mlp
from .dropout import Dropout
from .layer import Layer
from .network import Network
from .norms import BatchNorm, GroupNorm, LayerNorm
from .pools import AvgPool2d, Flatten, GlobalAvgPool2d
from .residual import Residual
from .rms_norm import RMSNorm
from .toml import load

__all__ = [
    "Activation",
    "AvgPool2d",
    "BatchNorm",
    "Conv1d",
    "Conv2d",
    "Dense",
    "Dropout",
    "Flatten",
    "GlobalAvgPool2d",
    "GroupNorm",
    "Layer",
    "LayerNorm",
    "Network",
    "RMSNorm",
    "Residual",
    "activation_names",
    "convnet",
    "load",
    "mlp",
]
