# SPDX-License-Identifier: BSD-3-Clause
"""Functions and methods of tensors as the modules that they equal, which the table of kinds reads; the rest refused."""

from __future__ import annotations

import builtins
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from .. import _numbers
from .._ways import of_torch
from ..network import Activation
from . import residual
from .activations import Elementwise
from .refused import why_named

__all__ = ["EQUALS", "FACTORS", "KNOWN", "RESHAPES", "SAME", "SUBSAMPLES", "SUMS", "name_of", "plain", "why_not"]


def _holding(made: nn.Module, weight: Any, bias: Any = None) -> nn.Module:
    """A module with these very tensors."""
    for name, tensor in (("weight", weight), ("bias", bias)):
        fits = tensor is None or isinstance(tensor, nn.Parameter)
        setattr(made, name, tensor if fits else nn.Parameter(tensor, requires_grad=False))
    return made


def _linear(x: Any, weight: Any, bias: Any = None) -> nn.Module:
    return _holding(nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta"), weight, bias)


def _convolution(kind: Any) -> Callable[..., nn.Module]:
    def made(
        x: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1
    ) -> nn.Module:
        sizes = (weight.shape[1] * groups, weight.shape[0], tuple(weight.shape[2:]), stride, padding, dilation, groups)
        return _holding(kind(*sizes, bias=False, device="meta"), weight, bias)

    return made


def _batch_norm(
    x: Any,
    running_mean: Any,
    running_var: Any,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> nn.Module:
    kind = nn.BatchNorm2d if x.dim() == 4 else nn.BatchNorm1d
    tracked = running_mean is not None
    made = kind(x.shape[1], eps, affine=weight is not None, track_running_stats=tracked, device="meta")
    return _holding(made, weight, bias).train(training)


def _layer_norm(x: Any, normalized_shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> nn.Module:
    made = nn.LayerNorm(tuple(normalized_shape), eps, elementwise_affine=weight is not None, device="meta")
    return _holding(made, weight, bias)


def _rms_norm(x: Any, normalized_shape: Any, weight: Any = None, eps: float | None = None) -> nn.Module:
    made = nn.RMSNorm(tuple(normalized_shape), eps, elementwise_affine=weight is not None, device="meta")
    return _holding(made, weight)


def _group_norm(x: Any, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> nn.Module:
    made = nn.GroupNorm(num_groups, x.shape[1], eps, affine=weight is not None, device="meta")
    return _holding(made, weight, bias)


def _dropout(kind: Any, rate: float = 0.5) -> Callable[..., nn.Module]:
    def made(x: Any, p: float = rate, training: bool = True, inplace: bool = False) -> nn.Module:
        return kind(p).train(training)

    return made


def _interpolate(x: Any, size: Any = None, scale_factor: Any = None, mode: str = "nearest", **more: Any) -> nn.Module:
    return nn.Upsample(size, scale_factor, mode)


def _sliced(x: Any, index: Any) -> nn.Module:
    """x[:, :, ::2, ::2], every second position."""
    parts = index if isinstance(index, tuple) else (index,)
    whole = all(isinstance(part, slice) and part.start in (None, 0) and part.stop is None for part in parts)
    steps = [part.step or 1 for part in parts] if whole else []
    if x.dim() != 4 or len(steps) != 4 or steps[:2] != [1, 1]:
        raise ValueError(why_not("getitem"))
    return residual.Subsample(x.shape[1], (steps[2], steps[3]))


def _more_channels(x: Any, pad: Any, mode: str = "constant", value: Any = None) -> nn.Module:
    """Zeros as more channels, before and behind those that there are."""
    pad = tuple(pad)
    if x.dim() != 4 or len(pad) != 6 or any(pad[:4]) or min(pad) < 0 or mode != "constant" or value not in (None, 0):
        raise ValueError(why_not("pad"))
    made = residual.Subsample(x.shape[1] + pad[4] + pad[5], 1)
    made.zeros_before = pad[4]
    return made


def _mean(x: Any, dim: Any = None, keepdim: bool = False) -> nn.Module:
    dims = {place % x.dim() for place in (dim if isinstance(dim, (tuple, list)) else (dim,)) if place is not None}
    if x.dim() not in (3, 4) or dims != set(range(2, x.dim())):
        raise ValueError("the theory has means over all positions of an image: give their dimensions, (2, 3)")
    pool = nn.AdaptiveAvgPool1d(1) if x.dim() == 3 else nn.AdaptiveAvgPool2d(1)
    return pool if keepdim else nn.Sequential(pool, nn.Flatten())


def _clamp(x: Any, min: Any = None, max: Any = None) -> nn.Module:
    if max is None and min == 0:
        return nn.ReLU()
    return nn.Hardtanh(-math.inf if min is None else min, math.inf if max is None else max)


def _elementwise(name: str) -> Callable[..., nn.Module]:
    return lambda x: Elementwise(Activation(name))


def _same_arguments(kind: Any) -> Callable[..., nn.Module]:
    """A module that takes its function's arguments, in their order."""
    return lambda x, *args, **kwargs: kind(*args, **kwargs)


def _max_pool(kind: Any) -> Callable[..., nn.Module]:
    def made(
        x: Any,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        ceil_mode: bool = False,
        return_indices: bool = False,
    ) -> nn.Module:
        made: nn.Module = kind(kernel_size, stride or kernel_size, padding, dilation, return_indices, ceil_mode)
        return made

    return made


_ACTIVATIONS = {
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "leaky_relu": nn.LeakyReLU,
    "hardtanh": nn.Hardtanh,
    "hardsigmoid": nn.Hardsigmoid,
    "hardswish": nn.Hardswish,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "softsign": nn.Softsign,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "softplus": nn.Softplus,
    "mish": nn.Mish,
    "elu": nn.ELU,
    "selu": nn.SELU,
    "celu": nn.CELU,
}
_POOLS = {
    "avg_pool1d": nn.AvgPool1d,
    "avg_pool2d": nn.AvgPool2d,
    "adaptive_avg_pool1d": nn.AdaptiveAvgPool1d,
    "adaptive_avg_pool2d": nn.AdaptiveAvgPool2d,
}
# By the names that torch, torch.nn.functional and tensors have for them, without the underscore of those in place.
EQUALS: dict[str, Callable[..., nn.Module]] = {
    "linear": _linear,
    "conv1d": _convolution(nn.Conv1d),
    "conv2d": _convolution(nn.Conv2d),
    "batch_norm": _batch_norm,
    "layer_norm": _layer_norm,
    "rms_norm": _rms_norm,
    "group_norm": _group_norm,
    "interpolate": _interpolate,
    "mean": _mean,
    "clamp": _clamp,
    "clip": _clamp,
    "clamp_min": _clamp,
    "dropout": _dropout(nn.Dropout),
    "dropout1d": _dropout(nn.Dropout1d),
    "dropout2d": _dropout(nn.Dropout2d),
    "alpha_dropout": _dropout(nn.AlphaDropout),
    "feature_alpha_dropout": _dropout(nn.FeatureAlphaDropout),
    "max_pool1d": _max_pool(nn.MaxPool1d),
    "max_pool2d": _max_pool(nn.MaxPool2d),
    **{name: _same_arguments(kind) for name, kind in (_ACTIVATIONS | _POOLS).items()},
    **{name: _elementwise(name) for name in ("abs", "sin", "cos", "exp", "erf", "sign")},
}
RESHAPES = ("flatten", "view", "reshape", "squeeze")  # to one row a sample, or to what it was
SAME = ("contiguous", "clone", "to", "float", "double", "type_as", "requires_grad_")  # where the dtype stays
SUMS = ("add", "iadd", "sub", "isub", "subtract", "__add__", "__radd__", "__iadd__")
FACTORS = ("mul", "imul", "multiply", "truediv", "itruediv", "div", "divide", "true_divide", "neg", "negative")
SUBSAMPLES: dict[str, Callable[..., nn.Module]] = {"getitem": _sliced, "pad": _more_channels}
ASKED = ("stride", "is_contiguous", "element_size", "nelement", "get_device", "storage_offset")  # of a shape
KNOWN = {*EQUALS, *RESHAPES, *SUBSAMPLES, *SAME, *SUMS, *FACTORS, *ASKED}

_PARTS = "the theory takes all units of a layer together: it has no parts of them"
_PRODUCTS = "the theory has no products of activations"
_REFUSED = {
    **dict.fromkeys(("cat", "concat", "stack", "hstack", "vstack"), "the theory has no concatenation: use a sum"),
    **dict.fromkeys(FACTORS, _PRODUCTS),
    **dict.fromkeys(("matmul", "bmm", "mm", "einsum", "baddbmm", "addmm", "dot"), f"{_PRODUCTS}, attention among them"),
    **dict.fromkeys(
        ("chunk", "split", "getitem", "unbind", "narrow", "select", "index_select", "tensor_split"), _PARTS
    ),
    **dict.fromkeys(
        ("permute", "transpose", "movedim", "swapaxes", "t", "T", "mT"),
        "the theory keeps channels before positions, as they are",
    ),
    "unsqueeze": "the theory has images from the input on or not at all: give input_shape as the layers take it",
    "pad": "the theory has padding within convolutions alone: use padding= of Conv2d",
    "detach": "no gradient flows through it, and the theory's flows through all",
    **dict.fromkeys(("max", "amax", "topk", "maximum", "minimum"), "the theory has no maxima over units or positions"),
    **dict.fromkeys(("sum", "amin", "median"), "of positions the theory has means: use mean, or AdaptiveAvgPool2d"),
    **dict.fromkeys(("normalize", "norm", "var", "std"), "of normalisations the theory has layers: use LayerNorm"),
    **dict.fromkeys(("bernoulli", "rand_like", "randn_like"), "the theory draws no random numbers but Dropout's"),
    **dict.fromkeys(
        ("pow", "ipow", "square", "sqrt", "rsqrt"), "the theory has no such function outside of an activation"
    ),
}


def name_of(target: Any) -> str:
    """By which a function of PyTorch's, an operator or a method is known; those of others have a name of their own."""
    if isinstance(target, str):
        return target
    name = str(getattr(target, "__name__", target))
    own = of_torch(target) or getattr(target, "__module__", "") in ("_operator", "operator", "math", builtins.__name__)
    if target is torch.batch_norm or not own:  # its arguments come in another order
        return f"{getattr(target, '__module__', None) or 'torch'}.{name}"
    return name


def plain(name: str) -> str:
    """Without the underscore of what is done in place."""
    return name if name.startswith("__") else name.rstrip("_")


def why_not(name: str) -> str:
    """Why a function is none of the theory's."""
    reason = _REFUSED.get(plain(name)) or why_named(name)
    return reason or f"the theory has no function {_numbers.shown(name)}"
