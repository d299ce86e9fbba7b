# SPDX-License-Identifier: BSD-3-Clause
"""PyTorch modules read: layer by layer to a description, or refused with what to do instead."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from .. import _numbers, _ways
from ..network import Layer, Network, Residual
from ..network.layer import Shape, Spot, Stream
from ..sampled import SampledNetwork
from .folding import Item, Sum, folded, has_weights
from .layers import IDLE, LINES, ROWS, Reader, row_of
from .refused import (
    changed,
    held_as,
    named_inside,
    opaque,
    own_forward,
    place_of,
    reader_of,
    reason_against,
    refusal,
)
from .shapes import fits
from .tracing import Leaf, followed
from .variances import Note, Origin, Reading, Unclear, as_numpy

__all__ = ["read", "taken"]


def read(module: Any, input_shape: Any, initial: bool) -> tuple[Network, list[str]]:
    """The network of a module, and notes on what it says otherwise."""
    net, reading = _reading(module, input_shape, initial)
    object.__setattr__(net, "_of_module", True)
    return net, [note.text for note in reading.notes]


def taken(module: Any, input_shape: Any, dtype: Any) -> tuple[SampledNetwork, list[str]]:
    """The sampled network of a module's own numbers, and notes on what it says otherwise."""
    net, reading = _reading(module, input_shape, initial=False)
    if reading.described_alone:
        raise ValueError(f"{reading.described_alone[0]}, and a sampled network has them behind: pad behind them")
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
    module, where = _unwrapped(module, "module")
    sizes = _input_shape(module, where, input_shape)
    shape, line = _input(module, sizes)
    reading = Reading(Spot(where, 0, shape, None, Stream.INPUT, True), initial, line)
    items = _items(module, where, reading.seen)
    last = _through(reading, items, _last_affine(items))
    origin = getattr(last, "_fisherfield", None)
    if isinstance(origin, Origin) and origin.layer is None:
        reading.layers.pop()  # the Flatten that no description has
        reading.tensors.pop()
    _note_unread(reading, module, where)
    try:
        return Network(shape, tuple(reading.layers)), reading
    except ValueError as error:
        names = ", ".join(type(layer).__name__ for layer in reading.layers) or "none"
        raise ValueError(f"module cannot be described as the layers {names}: {error}") from None


def _items(module: Any, where: str, shape: Shape) -> Sequence[Item]:
    """The layers of nested Sequentials as they are; whatever has a forward of its own is followed."""
    leaves = list(_leaves(module, where))
    if any(own_forward(part) for leaf in leaves for part in _parts(leaf.module)):
        return folded(followed(module, where, shape))
    return leaves


def _parts(module: Any) -> Iterator[Any]:
    """A leaf, and those of what it holds."""
    yield module
    if reader := reader_of(module):
        for name in reader.holds:
            for leaf in _leaves(getattr(module, name) or nn.Identity(), ""):
                yield from _parts(leaf.module)


def _note_unread(reading: Reading, module: Any, where: str) -> None:
    """Names the parameters that no output depends on."""
    unread = [
        place_of(where, name)
        for name, tensor in module.named_parameters()
        if tensor.requires_grad and tensor.data_ptr() not in reading.owners
    ]
    if unread:
        others = f" and {len(unread) - 1} more" if len(unread) > 1 else ""
        reading.notes.append(Note(f"{unread[0]}{others}: no output depends on such a parameter, and it is left out"))


def _last_affine(items: Sequence[Item]) -> int:
    """The place of the last item that holds weights; beyond all of them where none does."""
    return max((place for place, item in enumerate(items) if has_weights(item)), default=len(items))


def _through(reading: Reading, items: Sequence[Item], output: int) -> Any:
    """Reads one layer after the other; those behind the output's place may be no activations. Returns the last one."""
    last = None
    for place, item in enumerate(items):
        reading.spot = reading.spot._replace(where=item.where, hidden=reading.spot.hidden and place <= output)
        if isinstance(item, Sum):
            _add(reading, item)
            last = None
        else:
            last = _call(reading, item) or last
    return last


def _add(reading: Reading, item: Sum) -> None:
    """A sum of branches that a forward makes."""
    branch, skip = (_branch(reading, items) for items in (item.branch, item.skip))
    try:
        _append(reading, Residual(branch, skip, item.scale), None)
    except (ValueError, TypeError) as error:
        raise refusal(item.where, "the sum", str(error).removeprefix(f"{item.where}: ")) from None


def _call(reading: Reading, item: Leaf) -> Any:
    """A module that is one layer or none; returned where it is one."""
    layer, reader, seen = item.module, reader_of(item.module), reading.seen
    number = next(reading.numbers)
    inside = [_held(reading, layer, name) for name in (reader.holds if reader else ())]
    try:
        described = _read(reading, reader, layer, number, inside)
        if described is not None:
            _append(reading, described, layer)
        if item.shape not in (None, reading.seen):
            raise ValueError(f"it gives shape {item.shape}, and the layer that it is read as {reading.seen}")
    except (ValueError, TypeError) as error:
        measured = not isinstance(error, Unclear) and fits(layer, seen)
        raise refusal(item.where, item.name, str(error).removeprefix(f"{item.where}: "), measured) from None
    return layer if described is not None else None


def _held(reading: Reading, layer: Any, name: str) -> tuple[Layer, ...]:
    """The layers of what a layer holds under this name; none where there is nothing."""
    held, where = getattr(layer, name), f"{reading.spot.where}.{name}"
    return () if held is None else _branch(reading, list(_leaves(held, where)), where)


def _branch(reading: Reading, items: Sequence[Item], where: str = "") -> tuple[Layer, ...]:
    branch = reading.branch(where or reading.spot.where)
    _through(branch, items, len(items))
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


def _leaves(module: Any, where: str) -> Iterator[Leaf]:
    """The layers of nested Sequentials in order, each with its place."""
    module, where = _unwrapped(module, where)
    if isinstance(module, nn.Sequential) and type(module).forward is nn.Sequential.forward and not changed(module):
        for place, child in enumerate(module):
            yield from _leaves(child, f"{where}[{place}]")
    else:
        yield Leaf(where, module, type(module).__name__)


def _unwrapped(module: Any, where: str) -> tuple[Any, str]:
    """What torch.compile has wrapped."""
    while held_as(module) == "_orig_mod":
        module, where = module._orig_mod, f"{where}._orig_mod"
    return module, where


def _input_shape(module: Any, where: str, shape: Any) -> tuple[int, ...]:
    if shape is None:
        origin = getattr(module, "_fisherfield", None)
        return origin.input_shape if isinstance(origin, Network) else _first_s_inputs(module, where)
    sizes = _numbers.entries("input_shape", shape, most=32) if _numbers.is_sequence(shape) else (shape,)
    if len(sizes) not in (1, 2, 3):
        raise ValueError(
            "input_shape must be (units,), (channels, length) or (channels, height, width), without the batch, got "
            f"{_numbers.shown(shape)}"
        )
    return tuple(_numbers.integer("input_shape", size, 1) for size in sizes)


def _first_s_inputs(module: Any, where: str) -> tuple[int, ...]:
    """The shape that the first layer takes, where it tells."""
    name = "Linear"
    for leaf in _leaves(module, where):
        layer, reader = leaf.module, reader_of(leaf.module)
        if reader is None and not own_forward(layer):
            raise refusal(leaf.where, leaf.name, reason_against(layer, leaf.where))
        if reader is None and (error := named_inside(layer, leaf.where)):
            raise error
        if not isinstance(layer, tuple(IDLE)):
            if reader and (inputs := reader.inputs(layer)):
                return inputs
            if reader and reader.kind is not None and Stream.INPUT not in reader.kind.takes:
                advice = ROWS[reader.kind].advice.get(None, ROWS[reader.kind].otherwise)
                why = f"{reader.kind.needs}; it stands after the input"
                raise refusal(leaf.where, leaf.name, f"{why}: {advice}" if advice else why)
            name = f"Linear but {leaf.name}"
            break
    raise ValueError(
        f"input_shape must be given where the first layer is not {name}: (units,), (channels, length) or "
        "(channels, height, width), got None"
    )


def _input(module: Any, sizes: tuple[int, ...]) -> tuple[Shape, bool]:
    """The description's input shape, and whether the module's is (channels, length)."""
    if len(sizes) == 2:
        return (sizes[0], 1, sizes[1]), True
    return sizes, len(sizes) == 3 and sizes[1] == 1 and any(isinstance(part, LINES) for part in module.modules())


def _read(
    reading: Reading, reader: Reader | None, layer: Any, number: int, inside: list[tuple[Layer, ...]]
) -> Layer | None:
    """A layer's description; None where it does nothing. What cannot be described is refused with what to do."""
    where = reading.spot.where
    reason = reason_against(layer, where)
    if reason is None or reader is None:
        for name, tensor in () if opaque(layer) or changed(layer) else layer.named_parameters(recurse=False):
            _check(reading, tensor, name, where, number)
    if reason or reader is None:
        raise ValueError(reason)
    return reader.read(reading, layer, where, *inside)


def _check(reading: Reading, tensor: Any, name: str, where: str, number: int) -> None:
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
        owner, first = reading.owners.setdefault(tensor.data_ptr(), (f"{where}.{name}", number))
        if owner == f"{where}.{name}" and first != number:
            raise ValueError(
                f"it is called twice, and the theory has independent weights: give each call its own {name}"
            )
        if first != number:
            raise ValueError(f"its {name} is {owner} too, and the theory has independent ones: give it its own")
