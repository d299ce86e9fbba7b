# SPDX-License-Identifier: BSD-3-Clause
"""How large a learning rate a wide network can stand, and what BatchNorm does to it, by mean-field theory.

>>> import fisherfield as ff
>>> net = ff.mlp([784, 1000, 1000, 1000, 10], gamma=1.0)
>>> ff.max_learning_rate(net, momentum=0.9)
"""

from __future__ import annotations

from typing import Any

from . import gaussian
from .network import (
    Activation,
    AvgPool2d,
    BatchNorm,
    Conv2d,
    Dense,
    Flatten,
    GlobalAvgPool2d,
    Network,
    activation_names,
    convnet,
    load,
    mlp,
)
from .sampled import (
    FisherMoments,
    FisherOperator,
    FisherSpectrum,
    SampledNetwork,
    SpectralDensity,
    Verification,
    sample,
    sampled_density,
    sampled_fisher,
    sampled_moments,
    verify,
)
from .scan import Scan, random_points, scan
from .theory import Fisher, Layers, LearningRate, OrderParameters, fisher, max_learning_rate, order_parameters
from .threads import num_threads, set_num_threads

__version__ = "0.1.0"

__all__ = [
    "Activation",
    "AvgPool2d",
    "BatchNorm",
    "Conv2d",
    "Dense",
    "Fisher",
    "FisherMoments",
    "FisherOperator",
    "FisherSpectrum",
    "Flatten",
    "GlobalAvgPool2d",
    "Layers",
    "LearningRate",
    "Network",
    "OrderParameters",
    "SampledNetwork",
    "Scan",
    "SpectralDensity",
    "Verification",
    "activation_names",
    "convnet",
    "data",
    "experiments",
    "figures",
    "fisher",
    "gaussian",
    "load",
    "max_learning_rate",
    "mlp",
    "num_threads",
    "order_parameters",
    "random_points",
    "reference",
    "sample",
    "sampled_density",
    "sampled_fisher",
    "sampled_moments",
    "scan",
    "set_num_threads",
    "torch",
    "verify",
]

_LAZY = (
    "data",
    "experiments",
    "figures",
    "reference",
    "torch",
)  # imported when first used; SciPy and matplotlib take a while


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        from importlib import import_module

        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
