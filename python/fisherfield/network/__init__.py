# SPDX-License-Identifier: BSD-3-Clause
"""What a user describes: layers, activations, and the networks that they make."""

from importlib import import_module
from pkgutil import iter_modules

from .activation import Activation, activation_names
from .affine import Conv1d, Conv2d, Dense
from .builders import convnet, mlp
from .dropout import Dropout
from .families import resnet, vgg
from .layer import Layer, kinds
from .network import Network
from .norms import BatchNorm, GroupNorm, LayerNorm
from .pools import AvgPool2d, Flatten, GlobalAvgPool2d, MaxPool2d
from .residual import Residual
from .rms_norm import RMSNorm
from .subsample import Subsample
from .toml import load
from .upsample import Upsample

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
    "MaxPool2d",
    "Network",
    "RMSNorm",
    "Residual",
    "Subsample",
    "Upsample",
    "activation_names",
    "convnet",
    "load",
    "mlp",
    "resnet",
    "vgg",
]

# All modules of the room are imported, and the kinds in them are public: one that is not listed above is Any to type
# checkers, and works.
for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")
globals().update(kinds())
__all__ += [_kind for _kind in kinds() if _kind not in __all__]
