# SPDX-License-Identifier: BSD-3-Clause
"""How large a learning rate a wide network can stand, and what BatchNorm does to it, by mean-field theory.

>>> import fisherfield as ff
>>> net = ff.mlp([784, 1000, 1000, 1000, 10], gamma=1.0)
>>> ff.max_learning_rate(net, momentum=0.9)
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import data, experiments, figures, gaussian, reference, torch
    from .network import (
        Activation,
        AvgPool2d,
        BatchNorm,
        Conv1d,
        Conv2d,
        Dense,
        Dropout,
        Flatten,
        GlobalAvgPool2d,
        GroupNorm,
        LayerNorm,
        MaxPool2d,
        Network,
        Residual,
        RMSNorm,
        Subsample,
        Upsample,
        activation_names,
        convnet,
        load,
        mlp,
        resnet,
        vgg,
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
    )
    from .sampled.verify import verify
    from .scan import Scan, random_points
    from .scan.scan import scan
    from .theory import BulkDensity, Fisher, Layers, LearningRate, OrderParameters, max_learning_rate, spectral_density
    from .theory.fisher import fisher
    from .theory.order_parameters import order_parameters
    from .threads import num_threads, set_num_threads

    __all__ = [
        "Activation",
        "AvgPool2d",
        "BatchNorm",
        "BulkDensity",
        "Conv1d",
        "Conv2d",
        "Dense",
        "Dropout",
        "Fisher",
        "FisherMoments",
        "FisherOperator",
        "FisherSpectrum",
        "Flatten",
        "GlobalAvgPool2d",
        "GroupNorm",
        "LayerNorm",
        "Layers",
        "LearningRate",
        "MaxPool2d",
        "Network",
        "OrderParameters",
        "RMSNorm",
        "Residual",
        "SampledNetwork",
        "Scan",
        "SpectralDensity",
        "Subsample",
        "Upsample",
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
        "resnet",
        "sample",
        "sampled_density",
        "sampled_fisher",
        "sampled_moments",
        "scan",
        "set_num_threads",
        "spectral_density",
        "torch",
        "verify",
        "vgg",
    ]

__version__ = "0.1.0"

# Names are imported when first used: the reference works without the core, and SciPy and matplotlib take a while.
# Beside them every kind of layer is public, wherever in `network` it stands. Type checkers know the list above alone,
# and so tell a name that is none.
_MODULES = {
    "network": "Network activation_names convnet load mlp resnet vgg",
    "sampled": (
        "FisherMoments FisherOperator FisherSpectrum SampledNetwork SpectralDensity Verification "
        "sample sampled_density sampled_fisher sampled_moments"
    ),
    "sampled.verify": "verify",
    "scan": "Scan random_points",
    "scan.scan": "scan",
    "theory": "BulkDensity Fisher Layers LearningRate OrderParameters max_learning_rate spectral_density",
    "theory.fisher": "fisher",
    "theory.order_parameters": "order_parameters",
    "threads": "num_threads set_num_threads",
    **dict.fromkeys(("data", "experiments", "figures", "gaussian", "reference", "torch"), ""),
}
_HOME = {name: module for module, names in _MODULES.items() for name in names.split()}


def _lazily(name: str) -> Any:
    if name == "_core":
        core = import_module(f"{__name__}._core")
        for module in ("threads", "gaussian.ufuncs"):  # each sets up the core as an environment variable says
            import_module(f"{__name__}.{module}")
        return core
    if name in _HOME:
        value = globals()[name] = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
        return value
    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    if name == "__all__":
        return sorted({*_HOME, *(module for module, names in _MODULES.items() if not names), *_kinds()})
    if name[:1].isupper() and name in _kinds():
        value = globals()[name] = _kinds()[name]
        return value
    shown = import_module(f"{__name__}._words").shown
    raise AttributeError(f"module {__name__!r} has no attribute {shown(name)}")


if not TYPE_CHECKING:
    __getattr__ = _lazily


def __dir__() -> list[str]:
    return sorted({*(name for name in globals() if name.startswith("__")), *_lazily("__all__")})


def _kinds() -> Mapping[str, Any]:
    kinds: Mapping[str, Any] = import_module(f"{__name__}.network").kinds()
    return kinds


class _Package(ModuleType):
    """The import of a room binds it here; where a function has the room's name, the function is meant."""

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, ModuleType) and name in _HOME:
            value = getattr(value, name)
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
