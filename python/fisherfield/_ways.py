# SPDX-License-Identifier: BSD-3-Clause
"""What may have been meant by a value that is refused, and what to do instead: the end of a sentence, or nothing.

Values of PyTorch's are known by the names of their classes, for PyTorch need not be there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from os import PathLike
from typing import Any

from ._words import did_you_mean

MODULE = "torch.nn.modules.module.Module"
_SCRIPT = "torch.jit._script.ScriptModule"
_LOADER = "torch.utils.data.dataloader.DataLoader"
_DATASET = "torch.utils.data.dataset.Dataset"
_TENSOR = "torch.Tensor"
_LAYER = "fisherfield.network.layer.Layer"

# Names of losses elsewhere, without case and signs.
_LOSSES = {
    "mse": ("mseloss", "l2", "l2loss", "meansquarederror", "squarederror"),
    "cross_entropy": ("ce", "celoss", "crossentropyloss", "xent", "nll", "logloss", "softmax"),
    "sum": ("sse", "sumofsquares"),
}


_OTHER_LOSSES = ("mae", "l1", "bce", "hinge", "huber", "smoothl1", "kl", "kldiv", "focal", "poisson")


def is_a(value: Any, *names: str) -> bool:
    """Whether a value, or a class, is one of the classes of these names."""
    cls = value if isinstance(value, type) else type(value)
    return any(f"{base.__module__}.{base.__qualname__}" in names for base in cls.__mro__)


def to_network(value: Any) -> str:
    """From what is no Network."""
    if isinstance(value, type):
        return ": it is a class, make an object of it"
    if is_a(value, _SCRIPT):
        return ": fisherfield.torch.describe makes one of the module that was scripted"
    if is_a(value, MODULE):
        return ": fisherfield.torch.describe makes one of a module"
    if hasattr(value, "weights") and hasattr(value, "net"):
        return ": its description is its net"
    if isinstance(value, (str, PathLike)):
        return ": fisherfield.load reads one from a file"
    if is_a(value, _LAYER) or is_a(_first(value), _LAYER):
        return ": fisherfield.Network(input_shape, layers) makes one"
    if type(_first(value)) is int:
        return ": fisherfield.mlp(widths) makes one"
    return _no_layers(value)


def to_module(value: Any) -> str:
    """From what is no torch.nn.Module."""
    if isinstance(value, type):
        return ": it is a class, make an object of it"
    if hasattr(value, "layers") and hasattr(value, "steps"):
        return ": it is a description already"
    if isinstance(value, (str, PathLike)):
        return ": torch.load reads one from a file"
    if is_a(_first(value), MODULE):
        return ": torch.nn.Sequential(*modules) makes one"
    return _no_layers(value) or (": the layers of a function cannot be seen" if callable(value) else "")


def _no_layers(value: Any) -> str:
    """Of what belongs to a network, but has no layers."""
    if isinstance(value, Mapping) and is_a(next(iter(value.values()), None), _TENSOR):
        return ": a state_dict has no layers, load it into its module and give that to fisherfield.torch.describe"
    arrays = hasattr(value, "shape") or (isinstance(value, (tuple, list)) and hasattr(_first(value), "shape"))
    if arrays or is_a(value, _LOADER, _DATASET, "fisherfield.data.sources.Data"):
        return ": it has samples and no layers"
    return ""


def to_array(value: Any) -> str:
    """From what is no array of numbers."""
    if is_a(value, _TENSOR):
        return ": use .detach().cpu().double().numpy()"
    if is_a(value, _LOADER):
        return ": take a batch of it, x, y = next(iter(loader))"
    if is_a(value, _DATASET):
        return ": take its samples, x, y = next(iter(DataLoader(dataset, batch_size=len(dataset))))"
    if is_a(value, "fisherfield.data.sources.Data"):
        return ": give its x"
    if isinstance(value, (str, PathLike)):
        return ": fisherfield.data.load reads data sets"
    if isinstance(value, Mapping):
        return ": give one of its values"
    if isinstance(value, (tuple, list)) and len(value) == 2 and all(hasattr(part, "shape") for part in value):
        return ": of a pair give x alone, but to fisherfield.data.load the tuple (x, y)"
    return ": use torch.stack(x).detach().cpu().double().numpy()" if is_a(_first(value), _TENSOR) else ""


def to_sequence(value: Any) -> str:
    """From what holds several values, but not one after the other."""
    return ": it has no order, use a tuple" if isinstance(value, (set, frozenset, Mapping)) else ""


def to_loss(value: Any, losses: Iterable[str]) -> str:
    """From what is no name of a loss."""
    name = value if isinstance(value, str) else _name_of_torch(value)
    plain = "".join(letter for letter in name.lower() if letter.isalnum())
    meant = next((loss for loss, names in _LOSSES.items() if plain in (loss.replace("_", ""), *names)), None)
    if isinstance(value, str):
        if plain.removesuffix("loss") in _OTHER_LOSSES:
            return ": there is no other loss"
        return f" (did you mean {meant!r}?)" if meant else did_you_mean(value, losses)
    if meant is None:
        return ": there is no other loss" if name else ""
    if getattr(value, "reduction", "mean") != "mean":
        return f": losses are means over samples, that with reduction='mean' is {meant!r}"
    if getattr(value, "weight", None) is not None or getattr(value, "label_smoothing", None):
        return f": without weights and label smoothing it is {meant!r}"
    return f": it is {meant!r}"


def to_activation(value: Any, names: Iterable[str]) -> str:
    """From a function or module of PyTorch's, which takes no arrays of NumPy's."""
    return did_you_mean(_name_of_torch(value), names)


def of_torch(value: Any) -> bool:
    """Whether a function, a class or an object is PyTorch's own."""
    bound = getattr(value, "__self__", None)
    owners = (value, type(value), bound, type(bound))
    return any(str(getattr(owner, "__module__", "")).partition(".")[0] == "torch" for owner in owners)


def _name_of_torch(value: Any) -> str:
    return str(getattr(value, "__name__", type(value).__name__)) if of_torch(value) else ""


def _first(value: Any) -> Any:
    return value[0] if isinstance(value, (list, tuple)) and value else None
