# SPDX-License-Identifier: BSD-3-Clause
"""Descriptions of networks: frozen, comparable, hashable, picklable; saved as TOML."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

from .. import _numbers
from .._words import did_you_mean, one_of, shown
from .facts import Facts
from .layer import Layer, Seen, Shape, Spot, Step, Stream, kinds

if TYPE_CHECKING:
    from os import PathLike

    from .. import _core
    from .activation import Activation
    from .affine import Affine
    from .norms import BatchNorm

__all__ = ["Network", "per_layer"]


def _assign(net: Network, **values: Any) -> None:
    for name, value in values.items():
        object.__setattr__(net, name, value)


@dataclass(frozen=True)
class Network:
    """A feed-forward network: the shape of one input and the layers in order.

    Parameters
    ----------
    input_shape : int or (int,) or (int, int, int)
        The number of inputs, or (channels, height, width).
    layers : sequence of layers
        Dense, Conv2d, BatchNorm, LayerNorm, Activation, Residual, Flatten, AvgPool2d, MaxPool2d, ... Where no
        activation stands, phi is the identity. The last affine layer is the output: it may have a BatchNorm and average
        pooling, but no activation, and ends with one position.

    Attributes
    ----------
    needs_units : str
        Which step comes first that no closed recursion has, or none that is exact, and why, in one sentence; empty
        where all have one.
    without_recursion : str
        The same of a step that has none at all: theory refuses the network with it where no units may be drawn.

    Raises
    ------
    ValueError, TypeError
        In one sentence that names the layer, what it needs and what it got.
    """

    input_shape: tuple[int, ...]
    layers: tuple[Layer, ...]
    _steps: tuple[Step, ...] = field(init=False, repr=False, compare=False)
    _shapes: tuple[Shape, ...] = field(init=False, repr=False, compare=False)  # behind each of the layers
    # A PyTorch module's description, which leaves its weights behind; of this object alone, not of copies.
    _of_module: bool = field(init=False, repr=False, compare=False, default=False)

    def __post_init__(self) -> None:
        shape = self.input_shape
        dimensions = _numbers.entries("input_shape", shape) if _numbers.is_sequence(shape) else (shape,)
        if len(dimensions) not in (1, 3):
            raise ValueError(f"input_shape must be (units,) or (channels, height, width), got {_numbers.shown(shape)}")
        dimensions = tuple(_numbers.integer("input_shape", size, 1) for size in dimensions)
        if not _numbers.is_sequence(self.layers):
            raise TypeError(f"layers must be a sequence of layers, got {shown(self.layers)}")
        layers = _numbers.entries("layers", self.layers)
        steps = tuple(_steps_of(dimensions, layers))
        behind = {step.place: step.after for step in steps}
        _assign(self, input_shape=dimensions, layers=layers, _steps=steps, _shapes=tuple(behind.values()))

    def __getstate__(self) -> dict[str, Any]:
        return {"input_shape": self.input_shape, "layers": self.layers}

    def __setstate__(self, state: dict[str, Any]) -> None:
        _assign(self, **state)
        self.__post_init__()

    @cached_property
    def _kept(self) -> dict[str, float]:
        """`most_of_variance` by theory, which a call of `fisher` is too short for."""
        return {}

    @cached_property
    def _facts(self) -> Facts:
        return Facts.of(self.steps)

    @cached_property
    def _counts(self) -> tuple[int, ...]:
        """P without and with biases."""
        return tuple(
            sum(step.layer.count(step.before, step.after, biases) for step in self.steps) for biases in (False, True)
        )

    @cached_property
    def _compiled(self) -> _core.Network:
        """The core's network, made at first use."""
        return self._compiled_with(for_units=False)

    @cached_property
    def _of_units(self) -> _core.Network:
        """The same as sampled units take it."""
        return self._compiled_with(for_units=True)

    def _compiled_with(self, for_units: bool) -> _core.Network:
        from .. import _core

        compiled = _core.Network(list(self.input_shape), for_units)
        for layer, before in zip(self.layers, self.shapes, strict=False):
            layer.compile_into(compiled, before)
        compiled.finish()
        return compiled

    @cached_property
    def _image_bytes(self) -> int:
        """What a pass through the convolutions, position by position, holds at once: that of one layer at a time."""
        seen, most = Seen([1, 1], [1, 1]), 0
        for step in self.steps:
            if len(step.before) == 1:
                break
            if window := step.layer.window(step.before):
                seen.through(window)
            most = max(most, step.layer.image_bytes(step, seen))
        return most

    @property
    def outputs(self) -> int:
        """C, the number of outputs."""
        return self._shapes[-1][0]

    @property
    def depth(self) -> int:
        """L, the number of affine layers."""
        return self._facts.depth

    @property
    def steps(self) -> tuple[Step, ...]:
        """Each layer where it stands, with the shapes before and behind it, in the order of a forward pass."""
        return self._steps

    @cached_property
    def needs_units(self) -> str:
        """Which step comes first that no closed recursion has, or none that is exact, and why, in one sentence."""
        first = next((step for step in self.steps if step.needs_units), None)
        if self.without_recursion or first is None:
            return self.without_recursion
        return f"{first.where}: {type(first.layer).__name__} has no closed recursion that is exact: {first.needs_units}"

    @cached_property
    def without_recursion(self) -> str:
        """Which step comes first that no closed recursion has, and why, in one sentence; empty where there is none."""
        first = next((step for step in self.steps if step.needs_units and not step.closed_nearly), None)
        return (
            f"{first.where}: {type(first.layer).__name__} has no closed recursion: {first.needs_units}" if first else ""
        )

    @cached_property
    def without_units(self) -> str:
        """Which step sampled units do not have, in one sentence; empty where they have all."""
        for number, step in enumerate(self.steps):
            what = type(step.layer).__name__
            if step.layer.unsampled:
                return f"{step.where}: sampled units have no {what} {step.layer.unsampled}"
            if step.needs_units and self._flattened(number):
                return f"{step.where}: sampled units have no {what} behind Flatten of Gaussian units or in a sum"
        return ""

    def _flattened(self, number: int) -> bool:
        """Whether a step reads positions that have become units, through no weights: Gaussian ones, which were averaged
        before that, or in a sum, whose summands must be as many."""
        step = self.steps[number]
        for read in (read for read in step.reads if read >= 0 and not self.steps[read].layer.affine):
            if len(self.steps[read].before) > len(self.steps[read].after):
                if len(step.reads) > 1 or not self._drawn(self.steps[read].reads[0]):
                    return True
            elif self._flattened(read) or (len(step.reads) > 1 and self._behind_flatten(read)):
                return True
        return False

    def _behind_flatten(self, number: int) -> bool:
        """Whether a step gives positions that have become units, through no weights."""
        step = self.steps[number]
        if number < 0 or step.layer.affine:
            return False
        return len(step.before) > len(step.after) or any(self._behind_flatten(read) for read in step.reads)

    def _drawn(self, number: int) -> bool:
        """Whether units are drawn at a step or before it, behind the last weights."""
        step = self.steps[number]
        if number < 0 or step.layer.affine:
            return False
        own = step.layer.over_batch or bool(step.needs_units) or getattr(step.layer, "function", "linear") != "linear"
        return own or any(self._drawn(read) for read in step.reads)

    @property
    def affine_steps(self) -> tuple[Step, ...]:
        """Where the affine layers l = 1 .. L stand; all but the last are hidden layers."""
        return tuple(step for step in self.steps if step.layer.affine)

    @property
    def affine_layers(self) -> tuple[Affine, ...]:
        """The layers with weights, l = 1 .. L: Dense and convolutions."""
        return tuple(cast("Affine", step.layer) for step in self.affine_steps)

    @property
    def batch_norms(self) -> tuple[BatchNorm, ...]:
        """The BatchNorm layers in order; empty for a vanilla network."""
        return tuple(cast("BatchNorm", step.layer) for step in self.steps if step.layer.over_batch)

    @property
    def activations(self) -> tuple[Activation, ...]:
        """The activations in order."""
        return tuple(cast("Activation", step.layer) for step in self.steps if step.layer.pointwise)

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """The shape of the input and then of each layer's output, without the batch."""
        return (self.input_shape, *self._shapes)

    def parameters(self, biases: bool = True) -> int:
        """P: weights, biases (unless left out), and gamma and beta of trained BatchNorms (one per unit or channel)."""
        return self._counts[_numbers.boolean("biases", biases)]

    def replace(self, **changes: Any) -> Network:
        """A copy with gamma, beta, eps, trained, sigma_w2, sigma_b2 or activation changed in every layer that has it.

        A sequence gives one value a layer. ``batch_norm=False`` takes every BatchNorm out.

        >>> ff.mlp([784, 1000, 10]).replace(gamma=2.0, sigma_w2=[1.0, 2.0])
        """
        layers = self.layers
        for name, value in changes.items():
            if name == "batch_norm":
                if _numbers.boolean("batch_norm", value):
                    raise ValueError(
                        "batch_norm can only be taken out (False) here, got True; to put it in, use mlp or convnet"
                    )
                layers = _mapped(layers, lambda leaf: None if leaf.over_batch else leaf)
            else:
                layers = _replaced(layers, name, value)
        return Network(self.input_shape, layers)

    def with_widths(self, widths: Sequence[int]) -> Network:
        """A copy whose hidden affine layers have so many units or channels."""
        hidden = self.depth - 1
        if not _numbers.is_sequence(widths) or len(sizes := _numbers.entries("widths", widths)) != hidden:
            raise ValueError(f"widths must be {hidden} whole numbers, one a hidden layer, got {shown(widths)}")
        return Network(self.input_shape, _widened(self, (*sizes, self.outputs)))

    def save(self, path: str | PathLike[str]) -> None:
        """Write the network as TOML; `load` reads it back equal.

        Raises ValueError for an activation that is a Python callable: it has no name to write.
        """
        path, text = _numbers.path_of("path", path), self._to_toml()
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)

    def _to_toml(self) -> str:
        import tomli_w

        entries = [_plain(f"layers[{place}]", layer) for place, layer in enumerate(self.layers)]
        shape = self.input_shape[0] if len(self.input_shape) == 1 else list(self.input_shape)
        return tomli_w.dumps({"input_shape": shape, "layers": entries})

    def __repr__(self) -> str:
        shape = self.input_shape[0] if len(self.input_shape) == 1 else self.input_shape
        shapes = {step.where: step.after for step in self.steps}
        lines = (
            line for place, layer in enumerate(self.layers) for line in layer.lines(f"layers[{place}]", shapes, "    ")
        )
        return "\n".join([f"Network({shape}, [", *lines, "])"])


def _steps_of(shape: Shape, layers: tuple[Layer, ...]) -> Iterator[Step]:
    """Each layer where it stands; refuses what cannot stand where it stands."""
    affine = [place for place, layer in enumerate(layers) if any(leaf.affine for leaf in _leaves(layer))]
    if not affine:
        raise ValueError(f"layers must hold at least one Dense or Conv2d, got {shown(list(layers))}")
    if not getattr(layers[affine[-1]], "affine", False):
        raise ValueError(
            f"layers[{affine[-1]}]: the last Dense or Conv2d must stand behind the sum of branches, for the output is "
            "one layer's"
        )
    spot, output = Spot("", 0, shape, None, Stream.INPUT, True), shape
    for place, layer in enumerate(layers):
        where = f"layers[{place}]"
        if not isinstance(layer, Layer):
            raise TypeError(f"{where} must be a layer of fisherfield (Dense, Conv2d, ...), got {_numbers.shown(layer)}")
        number = spot.number
        for step in layer.steps(spot._replace(where=where, place=place, hidden=place <= affine[-1])):
            yield step
            shape, number = step.after, number + 1
        if place == affine[-1]:
            output = shape
        spot = spot.behind(layer, shape, number)
    if len(shape) == 3 and shape[1:] != (1, 1):
        raise ValueError(
            f"layers must end with one position, got an output of shape {shape}; "
            "end with Flatten() and Dense, or with GlobalAvgPool2d()"
        )
    if shape[0] != output[0]:
        raise ValueError(
            "layers must end with one position: Flatten after the last Conv2d makes every position an output"
        )


def _leaves(layer: Any) -> Iterator[Layer]:
    """A layer and those that it holds; none of what is no layer."""
    return layer.leaves() if isinstance(layer, Layer) else iter(())


def _plain(where: str, value: Any) -> Any:
    """A layer, or what one holds, in TOML's types."""
    if isinstance(value, tuple):
        return [_plain(f"{where}[{place}]", item) for place, item in enumerate(value)]
    if not isinstance(value, Layer):
        return value
    try:
        fields = value.entry()
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
    return {"type": type(value).__name__, **{key: _plain(f"{where}.{key}", item) for key, item in fields.items()}}


def _mapped(layers: tuple[Layer, ...], change: Any) -> tuple[Layer, ...]:
    """With every leaf changed; those are left out whose change is None."""
    changed = (layer.mapped(change) for layer in layers)
    return tuple(layer for layer in changed if layer is not None)


def _widened(net: Network, widths: Sequence[int]) -> tuple[Layer, ...]:
    """With so many units or channels of every affine layer, and what goes by the channels around it."""
    each, leaves = iter(widths), []
    channels = {-1: net.input_shape[0]}
    for number, step in enumerate(net.steps):
        came, layer = channels[step.reads[0]], step.layer
        channels[number] = came * step.after[0] // step.before[0] if len(step.after) < len(step.before) else came
        if layer.affine or layer.as_wide_as_branch:
            beside = next((other.reads[0] for other in net.steps if number in other.reads[1:]), number)
            channels[number] = next(each) if layer.affine else channels[beside]
            layer = layer.widened(channels[number], came, step.before)
        leaves.append(layer)
    new = iter(leaves)

    def changed(leaf: Layer) -> Layer:
        taken = next(new)
        return leaf if leaf.held() else taken

    return _mapped(net.layers, changed)


def _replaced(layers: tuple[Layer, ...], name: str, value: Any) -> tuple[Layer, ...]:
    """With `name` changed in every layer that has it."""
    owners = {cls.__name__: name in cls.replaceable() for cls in kinds().values()}
    if not any(owners.values()):
        words = dict.fromkeys(word for cls in kinds().values() for word in cls.replaceable())
        raise TypeError(
            f"replace takes {', '.join((*words, 'batch_norm'))}, got {shown(name)}{did_you_mean(name, words)}"
        )
    leaves = [leaf for layer in layers for leaf in layer.leaves()]
    count = sum(leaf.has(name) for leaf in leaves)
    if not count:
        names = one_of(kind for kind, owns in owners.items() if owns)
        raise ValueError(f"{name} cannot be replaced: the network has no {names}")
    values = iter(per_layer(name, value, count))
    return _mapped(layers, lambda leaf: leaf.replaced(name, next(values)) if leaf.has(name) else leaf)


def per_layer(name: str, value: Any, count: int) -> Sequence[Any]:
    """One value for all `count` layers, or one for each."""
    if not _numbers.is_sequence(value):
        return [value] * count
    values = value if hasattr(value, "dtype") else _numbers.entries(name, value)
    if len(values) != count:
        raise ValueError(f"{name} must be one value or {count} (one a layer), got {len(values)} values")
    return values
