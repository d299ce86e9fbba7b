# SPDX-License-Identifier: BSD-3-Clause
"""PyTorch modules read: layer by layer to a description, or refused with what to do instead."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import nn

from .. import _numbers, _ways
from ..network import Layer, Network
from ..network.layer import Shape, Spot, Stream
from ..sampled import SampledNetwork
from .layers import IDLE, LINES, READERS, ROWS, Reader, row_of
from .variances import Origin, Reading, as_numpy

__all__ = ["read", "taken"]

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
    **dict.fromkeys(
        ("Upsample", "PixelShuffle", "Fold", "ChannelShuffle"), "the theory has no such layers of images: use Conv2d"
    ),
}


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
            arrays[array.name].append(
                np.full(array.shape, array.mean) if tensor is None else as_numpy(tensor).reshape(array.shape)
            )
            if array.name == "biases":
                trained_biases.append(tensor is not None)
    sampled = SampledNetwork(net, 0, dtype, **arrays, trained_biases=trained_biases)
    return sampled, [note.text for note in reading.notes if note.always]


def _reading(module: Any, input_shape: Any, initial: bool) -> tuple[Network, Reading]:
    if not isinstance(module, nn.Module):
        way = _ways.to_module(module)
        raise TypeError(f"module must be a torch.nn.Module, got {_numbers.shown(module)}{way}")
    leaves = list(_leaves(module, "module"))
    shape, line = _input(module, _input_shape(module, leaves, input_shape))
    reading = Reading(Spot("module", 0, shape, None, Stream.INPUT, True), initial, line)
    last = _through(reading, leaves, _last_affine(leaves))
    origin = getattr(last, "_fisherfield", None)
    if isinstance(origin, Origin) and origin.layer is None:
        reading.layers.pop()  # the Flatten that no description has
        reading.tensors.pop()
    try:
        return Network(shape, tuple(reading.layers)), reading
    except ValueError as error:
        names = ", ".join(type(layer).__name__ for layer in reading.layers) or "none"
        raise ValueError(f"module cannot be described as the layers {names}: {error}") from None


def _last_affine(leaves: list[tuple[str, Any]]) -> int:
    """The place of the last leaf that holds weights; beyond all of them where none does."""

    def affine(layer: Any) -> bool:
        return any((reader := _reader(part)) is not None and reader.affine for part in layer.modules())

    return max((place for place, (_, layer) in enumerate(leaves) if affine(layer)), default=len(leaves))


def _through(reading: Reading, leaves: list[tuple[str, Any]], output: int) -> Any:
    """Reads one layer after the other; those behind the output's place may be no activations. Returns the last one."""
    last = None
    for place, (where, layer) in enumerate(leaves):
        reading.spot = reading.spot._replace(where=where, hidden=reading.spot.hidden and place <= output)
        reader = _reader(layer)
        inside = [_branch(reading, layer, name) for name in (reader.holds if reader else ())]
        try:
            described = _read(reading, reader, layer, inside)
            if described is not None:
                _append(reading, described, layer)
                last = layer
        except (ValueError, TypeError) as error:
            raise _refusal(where, layer, str(error).removeprefix(f"{where}: ")) from None
    return last


def _branch(reading: Reading, layer: Any, name: str) -> tuple[Layer, ...]:
    """The layers of what a layer holds under this name; none where there is nothing."""
    held, where = getattr(layer, name), f"{reading.spot.where}.{name}"
    if held is None:
        return ()
    branch, leaves = reading.branch(where), list(_leaves(held, where))
    _through(branch, leaves, len(leaves))
    return tuple(branch.layers)


def _append(reading: Reading, described: Layer, layer: Any) -> None:
    """One layer more, where it may stand, with the tensors that are its arrays."""
    spot, row = reading.spot, row_of(described)
    if not (spot.hidden or described.behind_output):
        raise ValueError(f"the output must be linear: leave {type(layer).__name__} to {row.leave_to(layer)}")
    if spot.stream not in described.takes:
        before = spot.previous
        after = "the input" if before is None else row_of(before).word(before)
        advice = row.advice.get(None if before is None else type(before), row.otherwise)
        raise ValueError(f"{described.needs}; it stands after {after}{advice and ': '}{advice}")
    steps = tuple(described.steps(spot))
    arrays = described.arrays(spot.shape, steps[-1].after)
    reading.layers.append(described)
    reading.tensors.append(tuple(getattr(layer, name) for name, _ in zip(("weight", "bias"), arrays, strict=False)))
    reading.spot = spot.behind(described, steps[-1].after, spot.number + len(steps))


def _refusal(where: str, layer: Any, why: object) -> ValueError:
    return ValueError(f"{where}: {type(layer).__name__} cannot be described: {why}")


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
        name = "Linear"
        for where, layer in leaves:
            reader = _reader(layer)
            if reader is None:
                raise _refusal(where, layer, _why_not(layer, where))
            if not isinstance(layer, tuple(IDLE)):
                if inputs := reader.inputs(layer):
                    return inputs
                if reader.kind is not None and Stream.INPUT not in reader.kind.takes:
                    advice = ROWS[reader.kind].advice.get(None, ROWS[reader.kind].otherwise)
                    why = f"{reader.kind.needs}; it stands after the input"
                    raise _refusal(where, layer, f"{why}: {advice}" if advice else why)
                name = f"Linear but {type(layer).__name__}"
                break
        raise ValueError(
            f"input_shape must be given where the first layer is not {name}: (units,), (channels, length) or "
            "(channels, height, width), got None"
        )
    sizes = _numbers.entries("input_shape", shape, most=32) if _numbers.is_sequence(shape) else (shape,)
    if len(sizes) not in (1, 2, 3):
        raise ValueError(
            "input_shape must be (units,), (channels, length) or (channels, height, width), without the batch, got "
            f"{_numbers.shown(shape)}"
        )
    return tuple(_numbers.integer("input_shape", size, 1) for size in sizes)


def _input(module: Any, sizes: tuple[int, ...]) -> tuple[Shape, bool]:
    """The description's input shape, and whether the module's is (channels, length)."""
    if len(sizes) == 2:
        return (sizes[0], 1, sizes[1]), True
    return sizes, len(sizes) == 3 and sizes[1] == 1 and any(isinstance(part, LINES) for part in module.modules())


def _reader(layer: Any) -> Reader | None:
    """What reads a module: that of the one of PyTorch's classes that it is, with its forward."""

    def same(kind: Any, method: str) -> bool:
        return getattr(type(layer), method, None) is getattr(kind, method, None)

    computes = ("forward", "_conv_forward")
    fitting = (kind for kind in READERS if isinstance(layer, kind) and all(same(kind, it) for it in computes))
    return READERS.get(next(fitting, type(None)))


def _read(reading: Reading, reader: Reader | None, layer: Any, inside: list[tuple[Layer, ...]]) -> Layer | None:
    """A layer's description; None where it does nothing. What cannot be described is refused with what to do."""
    where = reading.spot.where
    if _opaque(layer):
        raise ValueError(_why_not(layer, where))
    if any(isinstance(tensor, nn.parameter.UninitializedTensorMixin) for tensor in layer.parameters(recurse=False)):
        raise ValueError("its sizes are not known yet: call the module on a batch once")
    if _changed(layer) and not _wrapped(layer):
        raise ValueError(
            "hooks, parametrisations (weight_norm, spectral_norm) and a forward or __call__ in place of its own may "
            "change what it computes: take them off"
        )
    for name, tensor in layer.named_parameters(recurse=False):
        _check(reading, tensor, name, where)
    if reader is None:
        raise ValueError(_why_not(layer, where))
    return reader.read(reading, layer, where, *inside)


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


def _opaque(layer: Any) -> bool:
    """Whether a module is what PyTorch's compilers have made of another one."""
    made = isinstance(layer, (torch.jit.ScriptModule, torch.fx.GraphModule))
    return made or ".quantized" in type(layer).__module__


def _why_not(layer: Any, where: str) -> str:
    if held := _wrapped(layer):
        return f"it wraps another module: describe {where}.{held}"
    if _opaque(layer):
        return "its layers cannot be seen any more: describe the module that it was scripted, traced or quantised from"
    kinds = [kind for kind in type(layer).__mro__ if kind.__module__.startswith("torch.nn") and kind not in READERS]
    names = [kind.__name__ for kind in kinds]
    for part, reason in _REFUSED.items():
        if any(part in name for name in names):
            return reason
    for place, inner in layer.named_modules():
        for part, reason in _REFUSED.items():
            if place and part in type(inner).__name__ and _reader(inner) is None and names[:1] == ["Module"]:
                return f"it holds {where}.{place}, {type(inner).__name__}, and {reason}"
    if names and names[0] == type(layer).__name__ != "Module":
        return "the theory has no such layer; of activations it has those of fisherfield.activation_names()"
    inside = [name for name, child in layer.named_children() if isinstance(child, nn.Sequential)]
    advice = f"describe its Sequential, {where}.{inside[0]}, if that is all of it, or " if len(inside) == 1 else ""
    return (
        "it has a forward of its own, whose sums, branches and functions cannot be seen from outside: "
        f"{advice}write it as a Sequential of layers and ff.torch.Residual, or describe it by hand as an ff.Network"
    )
