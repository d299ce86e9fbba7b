# SPDX-License-Identifier: BSD-3-Clause
"""PyTorch modules read: layer by layer to a description, or refused with what to do instead."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import nn

from .. import _numbers
from ..network import Activation, Layer, Network
from ..sampled import SampledNetwork
from .layers import READERS, row_of
from .variances import Note, Origin, Reading, as_numpy

__all__ = ["read", "taken"]

_POOL = "use AvgPool2d, or a convolution with a stride"
_NORM = "use BatchNorm1d or BatchNorm2d, or leave it out"
_RANDOM = (
    "it draws random numbers in train mode: set the Dropout layers alone to eval mode, and what is described is the "
    "network without them"
)
_REFUSED = {
    "MaxPool": f"the theory has no maxima over positions: {_POOL}",
    "LPPool": f"the theory has no norms over positions: {_POOL}",
    "GroupNorm": f"the theory has no normalisation within one sample: {_NORM}",
    "LayerNorm": f"the theory has no normalisation within one sample: {_NORM}",
    "RMSNorm": f"the theory has no normalisation within one sample: {_NORM}",
    "InstanceNorm": f"the theory has no normalisation within one sample: {_NORM}",
    "LocalResponseNorm": f"the theory has no normalisation within one sample: {_NORM}",
    "SyncBatchNorm": "use BatchNorm1d or BatchNorm2d, which it equals on one device",
    "BatchNorm3d": "the theory has images of two dimensions: use Conv2d and BatchNorm2d",
    "ZeroPad2d": "the theory has padding within convolutions alone: use padding= of Conv2d",
    "ModuleList": "it has no forward: use Sequential",
    "ModuleDict": "it has no forward: use Sequential",
    "ConvTranspose": "the theory has no transposed convolutions: use Conv2d",
    "Conv1d": "the theory has images of two dimensions: use Conv2d with a kernel of (1, width)",
    "Conv3d": "the theory has images of two dimensions: use Conv2d",
    "PReLU": "its slope is trained: use LeakyReLU, or describe the network at the slope that it has now",
    "RReLU": "its slope is random: use LeakyReLU",
    "Embedding": "the theory takes numbers as inputs: begin with Linear or Conv2d",
    "Bilinear": "the theory has layers of one input: use Linear",
    "Attention": "the theory has no products of activations",
    "Transformer": "the theory has no products of activations, and no residual sums",
    "GLU": "the theory has no products of activations: use an activation of each coordinate",
    "Softmax": "it is no activation of each coordinate: leave it to the loss, as CrossEntropyLoss does",
    "Softmin": "it is no activation of each coordinate: leave it to the loss",
    "LSTM": "the theory has no recurrent layers",
    "RNN": "the theory has no recurrent layers",
    "GRU": "the theory has no recurrent layers",
}
_DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)


def read(module: Any, input_shape: Any, initial: bool) -> tuple[Network, list[str]]:
    """The network of a module, and notes on what it says otherwise."""
    net, reading = _reading(module, input_shape, initial)
    object.__setattr__(net, "_of_module", True)
    return net, [note.text for note in reading.notes]


def taken(module: Any, input_shape: Any, dtype: Any) -> tuple[SampledNetwork, list[str]]:
    """The sampled network of a module's own numbers, and notes on what it says otherwise."""
    net, reading = _reading(module, input_shape, initial=False)
    object.__setattr__(net, "_of_module", True)
    tensors = [part for parts in reading.tensors for part in parts if part is not None]
    if dtype is None:  # whatever holds all of them
        dtype = "float64" if any(tensor.dtype == torch.float64 for tensor in tensors) else "float32"
    arrays: dict[str, list[Any]] = {"weights": [], "biases": [], "gammas": [], "betas": []}
    trained_biases = []
    for step, parts in zip(net.steps, reading.tensors, strict=True):
        for array, tensor in zip(step.layer.arrays(step.before, step.after), parts, strict=True):
            arrays[array.name].append(np.full(array.shape, array.mean) if tensor is None else as_numpy(tensor))
            if array.name == "biases":
                trained_biases.append(tensor is not None)
    sampled = SampledNetwork(net, 0, dtype, **arrays, trained_biases=trained_biases)
    return sampled, [note.text for note in reading.notes if note.always]


def _reading(module: Any, input_shape: Any, initial: bool) -> tuple[Network, Reading]:
    if not isinstance(module, nn.Module):
        raise TypeError(f"module must be a torch.nn.Module, got {_numbers.shown(module)}")
    leaves = list(_leaves(module, "module"))
    shape = _input_shape(module, leaves, input_shape)
    reading, last = Reading(shape, initial), None
    final = max((place for place, (_, layer) in enumerate(leaves) if _is_affine(layer)), default=len(leaves))
    for place, (where, layer) in enumerate(leaves):
        try:
            described = _read(reading, layer, where)
            if described is not None:
                _standing(reading, described, type(layer).__name__, place > final)
                last = layer
                _append(reading, described, layer)
        except (ValueError, TypeError) as error:
            raise _refusal(where, layer, error) from None
    origin = getattr(last, "_fisherfield", None)
    if isinstance(origin, Origin) and origin.layer is None:
        reading.layers.pop()  # the Flatten that no description has
        reading.tensors.pop()
    reading.notes.extend(map(Note, _missing_biases(reading)))
    try:
        return Network(shape, tuple(reading.layers)), reading
    except ValueError as error:
        names = ", ".join(type(layer).__name__ for layer in reading.layers) or "none"
        raise ValueError(f"module cannot be described as the layers {names}: {error}") from None


def _append(reading: Reading, described: Layer, layer: Any) -> None:
    """One layer more, with the tensors that are its arrays."""
    before, after = reading.shape, _after(reading, described)
    count = len(described.arrays(before, after))
    reading.layers.append(described)
    reading.tensors.append(tuple(getattr(layer, name) for name in ("weight", "bias")[:count]))
    reading.shape, reading.stream = after, described.gives(reading.stream)


def _refusal(where: str, layer: Any, why: object) -> ValueError:
    return ValueError(f"{where}: {type(layer).__name__} cannot be described: {why}")


def _is_affine(layer: Any) -> bool:
    return isinstance(layer, (nn.Linear, nn.Conv2d))


def _standing(reading: Reading, described: Layer, name: str, behind: bool) -> None:
    """Refuses a layer where the theory has none; `behind` is behind the last affine layer."""
    if behind and not described.behind_output:
        to = "the loss, as BCEWithLogitsLoss does" if name == "Sigmoid" else "what uses the outputs"
        raise ValueError(f"the output must be linear: leave {name} to {to}")
    if reading.stream not in described.takes:
        before, row = (reading.layers[-1] if reading.layers else None), row_of(described)
        after = "the input" if before is None else row_of(before).word(before)
        advice = row.advice.get(None if before is None else type(before), row.otherwise)
        raise ValueError(f"it must stand directly after {row.stands}, and it stands after {after}: {advice}")


def _missing_biases(reading: Reading) -> Iterator[str]:
    """What biases that are not there change: none directly before a BatchNorm, which takes their gradient away."""
    following = itertools.zip_longest(reading.layers, reading.layers[1:])
    normed = [layer is not None and layer.over_batch for before, layer in following if before.affine]
    missing = [where for where, biases in reading.affine if not biases]
    felt = {biases for (_, biases), none in zip(reading.affine, normed, strict=True) if not none}
    problem = f"{', '.join(missing)}: there are no biases, and the theory counts the gradients of biases in every layer"
    if len(missing) == len(reading.affine):
        yield f"{problem}: ask it with biases=False"
    elif felt == {False}:
        remedy = "ask it with biases=False, where BatchNorm takes the gradients of the others away (theory exact)"
        yield f"{problem}: {remedy}"
    elif False in felt:
        yield f"{problem}, or with biases=False in none: neither is exact"


def _leaves(module: Any, where: str) -> Iterator[tuple[str, Any]]:
    """The layers of nested Sequentials in order, each with its place."""
    if isinstance(module, nn.Sequential) and type(module).forward is nn.Sequential.forward and not _changed(module):
        for place, child in enumerate(module):
            yield from _leaves(child, f"{where}[{place}]")
    else:
        yield where, module


def _changed(layer: Any) -> bool:
    """Whether hooks, parametrisations or other methods may change what a layer computes, or its gradient."""
    hooks = (layer._forward_hooks, layer._forward_pre_hooks, layer._backward_hooks, layer._backward_pre_hooks)
    replaced = "forward" in vars(layer) or type(layer).__call__ is not nn.Module.__call__
    return any(hooks) or replaced or hasattr(layer, "parametrizations")


def _input_shape(module: Any, leaves: list[tuple[str, Any]], shape: Any) -> tuple[int, ...]:
    if shape is None:
        origin = getattr(module, "_fisherfield", None)
        if isinstance(origin, Network):
            return origin.input_shape
        kinds = (*_DROPOUTS, nn.Identity)
        where, first = next(((where, layer) for where, layer in leaves if not isinstance(layer, kinds)), ("", None))
        if isinstance(first, nn.Linear):
            return (first.in_features,)
        if first is not None and not _kind(first, READERS):
            raise _refusal(where, first, _why_not(first, where))
        raise ValueError("input_shape must be given where the first layer is not Linear, got None")
    sizes = tuple(shape) if _numbers.is_sequence(shape) else (shape,)
    if len(sizes) not in (1, 3):
        raise ValueError(
            f"input_shape must be (units,) or (channels, height, width), without the batch, got {_numbers.shown(shape)}"
        )
    return tuple(_numbers.integer("input_shape", size, 1) for size in sizes)


def _kind(layer: Any, kinds: Any) -> Any:
    """The one of PyTorch's classes that a layer is, with its forward."""

    def same(kind: Any, method: str) -> bool:
        return getattr(type(layer), method, None) is getattr(kind, method, None)

    computes = ("forward", "_conv_forward")
    return next((kind for kind in kinds if isinstance(layer, kind) and all(same(kind, it) for it in computes)), None)


def _after(reading: Reading, layer: Layer) -> tuple[int, ...]:
    """The shape behind a layer."""
    window = layer.window(reading.shape)
    if window and min(window.over(reading.shape)) < 1:
        raise ValueError(f"its kernel is larger than its input, of shape {reading.shape}")
    return layer.shape_of(reading.shape)


def _read(reading: Reading, layer: Any, where: str) -> Layer | None:
    """A layer's description; None where it does nothing. What cannot be described is refused with what to do."""
    if any(isinstance(tensor, nn.parameter.UninitializedTensorMixin) for tensor in layer.parameters(recurse=False)):
        raise ValueError("its sizes are not known yet: call the module on a batch once")
    if _changed(layer) and not _wrapped(layer):
        raise ValueError(
            "hooks, parametrisations (weight_norm, spectral_norm) and a forward or __call__ in place of its own may "
            "change what it computes: take them off"
        )
    origin = getattr(layer, "_fisherfield", None)
    made = origin.layer if isinstance(origin, Origin) else None
    for name, tensor in layer.named_parameters(recurse=False):
        _check(reading, tensor, name, where)
    if (kind := _kind(layer, READERS)) is not None:
        return READERS[kind](reading, layer, where)
    if _kind(layer, (nn.Identity,)):
        return made if isinstance(made, Activation) else None
    if _kind(layer, _DROPOUTS):
        if layer.training and layer.p > 0:
            raise ValueError(_RANDOM)
        return None
    raise ValueError(_why_not(layer, where))


def _check(reading: Reading, tensor: Any, name: str, where: str) -> None:
    """Refuses numbers that are not there, not real, or not a layer's own."""
    if tensor.numel() == 0:
        raise ValueError(f"it must have at least one input and one output, got a {name} of shape {tuple(tensor.shape)}")
    if tensor.is_meta:
        raise ValueError(f"its {name} is on the meta device, which holds no numbers: make it on the CPU or a GPU")
    if tensor.is_complex():
        raise ValueError(f"the theory has real weights, and its {name} is complex: use a real dtype")
    if tensor._backward_hooks:
        raise ValueError(f"a hook on its {name} may change the gradient: take it off")
    if tensor.requires_grad:
        own = f"{where}.{name}"
        owner = reading.owners.setdefault(tensor.data_ptr(), own)
        if owner != own:
            raise ValueError(f"its {name} is {owner} too, and the theory has independent ones: give it its own")


def _wrapped(layer: Any) -> str | None:
    """Under what name torch.compile and the parallel wrappers hold the module."""
    if "_orig_mod" in getattr(layer, "_modules", ()):
        return "_orig_mod"
    return "module" if isinstance(layer, (nn.DataParallel, nn.parallel.DistributedDataParallel)) else None


def _why_not(layer: Any, where: str) -> str:
    if held := _wrapped(layer):
        return f"it wraps another module: describe {where}.{held}"
    names = [kind.__name__ for kind in type(layer).__mro__ if kind.__module__.startswith("torch.nn")]
    for part, reason in _REFUSED.items():
        if any(part in name for name in names):
            return reason
    if names and names[0] == type(layer).__name__ != "Module":
        return "the theory has no such layer; of activations it has those of fisherfield.activation_names()"
    inside = [name for name, child in layer.named_children() if isinstance(child, nn.Sequential)]
    advice = f"describe its Sequential, {where}.{inside[0]}, if that is all of it, or " if len(inside) == 1 else ""
    return (
        "it has a forward of its own, whose residual sums, branches and functions cannot be seen from outside: "
        f"{advice}write it as a Sequential of layers, or describe it by hand as an ff.Network"
    )
