# SPDX-License-Identifier: BSD-3-Clause
"""PyTorch modules that are no layers of the theory, in words: by name, with what to do instead."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from .layers import READERS, Reader

__all__ = [
    "changed",
    "held_as",
    "named_inside",
    "opaque",
    "own_forward",
    "place_of",
    "reader_of",
    "reason_against",
    "refusal",
    "why_named",
]

_POOL = "use AvgPool2d, or a convolution with a stride"
_REFUSED = {
    "MaxPool": "the theory has maxima over windows of one size alone: use MaxPool2d",
    "MaxUnpool": "the theory has no such layers of images: use Conv2d",
    "LPPool": f"the theory has no norms over positions: {_POOL}",
    "InstanceNorm": (
        "mean and variance of one channel of one sample are random at any width: use BatchNorm, LayerNorm or GroupNorm"
    ),
    "LocalResponseNorm": "the theory has no normalisation over neighbouring channels: use BatchNorm2d or LayerNorm",
    "SyncBatchNorm": "use BatchNorm1d or BatchNorm2d, which it equals on one device",
    "BatchNorm3d": "the theory has images of two dimensions: use Conv2d and BatchNorm2d",
    "ZeroPad2d": "the theory has padding within convolutions alone: use padding= of Conv2d",
    "ModuleList": "it has no forward: use Sequential",
    "ModuleDict": "it has no forward: use Sequential",
    "ConvTranspose": "the theory has no transposed convolutions: use Conv2d",
    "Conv3d": "the theory has images of two dimensions: use Conv2d",
    "PReLU": "its slope is trained: use LeakyReLU, or describe the network at the slope that it has now",
    "RReLU": "its slope is random: use LeakyReLU",
    "Embedding": "the theory takes numbers as inputs: begin with Linear or Conv2d",
    "Bilinear": "the theory has layers of one input: use Linear",
    **dict.fromkeys(
        ("Attention", "Transformer"),
        "the theory has no products of activations: describe the Sequentials of Linear layers in it, one by one",
    ),
    "GLU": "the theory has no products of activations: use an activation of each coordinate",
    "Softmax": "it is no activation of each coordinate: leave it to the loss, as CrossEntropyLoss does",
    "Softmin": "it is no activation of each coordinate: leave it to the loss",
    **dict.fromkeys(("LSTM", "RNN", "GRU"), "the theory has no recurrent layers: use Linear or Conv1d"),
    "Unflatten": (
        "the theory has images from the input on or not at all: leave it out, and give input_shape as (channels, "
        "height, width)"
    ),
    **dict.fromkeys(("PixelShuffle", "Fold", "ChannelShuffle"), "the theory has no such layers of images: use Conv2d"),
}


def why_named(name: str) -> str | None:
    """Why the theory has no module or function of this name, where it is known by name."""
    plain = name.replace("_", "").lower()
    return next((reason for part, reason in _REFUSED.items() if part.lower() in plain), None)


def refusal(where: str, name: str, why: object, measured: bool = True) -> ValueError:
    """The sentence, which ends with the call that gives the number all the same, where one does."""
    end = "; ff.torch.measure(module, x) measures the model as it is" if measured else ""
    return ValueError(f"{where}: {name} cannot be described: {why}{end}")


def reader_of(layer: Any) -> Reader | None:
    """What reads a module: that of the one of PyTorch's classes that it is, with its forward."""

    def same(kind: Any, method: str) -> bool:
        return getattr(type(layer), method, None) is getattr(kind, method, None)

    computes = ("forward", "_conv_forward")
    fitting = (kind for kind in READERS if isinstance(layer, kind) and all(same(kind, it) for it in computes))
    return READERS.get(next(fitting, type(None)))


def changed(layer: Any) -> bool:
    """Whether hooks, parametrisations or other methods may change what a layer computes, or its gradient."""
    hooks = (layer._forward_hooks, layer._forward_pre_hooks, layer._backward_hooks, layer._backward_pre_hooks)
    replaced = "forward" in vars(layer) or type(layer).__call__ is not nn.Module.__call__
    return any(hooks) or replaced or hasattr(layer, "parametrizations")


def held_as(layer: Any) -> str | None:
    """Under what name torch.compile and the parallel wrappers hold the module."""
    if "_orig_mod" in getattr(layer, "_modules", ()):
        return "_orig_mod"
    return "module" if isinstance(layer, (nn.DataParallel, nn.parallel.DistributedDataParallel)) else None


def reason_against(layer: Any, where: str) -> str | None:
    """Why a module that is not traced cannot be read, whatever stands around it; None where it can."""
    if opaque(layer):
        return _why_not(layer, where)
    if any(isinstance(tensor, nn.parameter.UninitializedTensorMixin) for tensor in layer.parameters(recurse=False)):
        return "its sizes are not known yet: call the module on a batch once"
    if changed(layer) and not held_as(layer):
        return (
            "hooks, parametrisations (weight_norm, spectral_norm) and a forward or __call__ in place of its own may "
            "change what it computes: take them off"
        )
    return _why_not(layer, where) if reader_of(layer) is None else None


def opaque(layer: Any) -> bool:
    """Whether a module is what PyTorch's compilers have made of another one."""
    made = isinstance(layer, (torch.jit.ScriptModule, torch.fx.GraphModule))
    return made or ".quantized" in type(layer).__module__


def own_forward(layer: Any) -> bool:
    """Whether a module computes by Python code of a user's, which can be followed."""
    if opaque(layer) or changed(layer) or held_as(layer) or reader_of(layer) is not None:
        return False
    if str(type(layer).__module__).startswith("torch.nn"):
        return False
    forward = str(getattr(type(layer).forward, "__module__", ""))
    return not (forward.startswith("torch.nn.modules") and any(map(why_named, _of_pytorch(layer))))


def _of_pytorch(layer: Any) -> list[str]:
    """The names of PyTorch's classes that a module is one of, and that are not read."""
    kinds = (kind for kind in type(layer).__mro__ if kind.__module__.startswith("torch.nn") and kind not in READERS)
    return [kind.__name__ for kind in kinds]


def named_inside(layer: Any, where: str) -> ValueError | None:
    """The refusal of the first module in it that is known by name to be no layer of the theory, if any is."""
    for place, inner in layer.named_modules():
        own = type(inner).__module__.startswith("torch.nn") and not isinstance(inner, (nn.ModuleList, nn.ModuleDict))
        if own and reader_of(inner) is None and (reason := why_named(type(inner).__name__)):
            return refusal(place_of(where, place), type(inner).__name__, reason)
    return None


def place_of(where: str, path: str) -> str:
    """PyTorch's path of a part in Python's words: layer1.0.conv is layer1[0].conv."""
    return where + "".join(f"[{part}]" if part.isdigit() else f".{part}" for part in path.split(".") if part)


def _why_not(layer: Any, where: str) -> str:
    if held := held_as(layer):
        return f"it wraps another module: describe {where}.{held}"
    if opaque(layer):
        return "its layers cannot be seen any more: describe the module that it was scripted, traced or quantised from"
    reasons = filter(None, map(why_named, _of_pytorch(layer)))
    return next(reasons, "the theory has no such layer; of activations it has those of fisherfield.activation_names()")
