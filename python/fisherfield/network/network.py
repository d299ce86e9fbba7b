# SPDX-License-Identifier: BSD-3-Clause
"""Descriptions of networks: frozen, comparable, hashable, picklable; saved as TOML."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Union

from .. import _numbers
from .activation import PARAMETER_NAMES, Activation, as_activation

if TYPE_CHECKING:
    from os import PathLike

    from .. import _core

__all__ = [
    "Activation",
    "AvgPool2d",
    "BatchNorm",
    "Conv2d",
    "Dense",
    "Flatten",
    "GlobalAvgPool2d",
    "Layer",
    "Network",
    "convnet",
    "load",
    "mlp",
]

Pair = Union[int, tuple[int, int]]


def _assign(layer: Any, **values: Any) -> None:
    for name, value in values.items():
        object.__setattr__(layer, name, value)


@dataclass(frozen=True)
class Dense:
    """z = W h + b with W_ij ~ N(0, sigma_w2 / fan_in) and b_i ~ N(0, sigma_b2), all independent.

    Raises ValueError or TypeError for units < 1 or a variance that is negative, not finite or beyond 1e100.
    """

    units: int
    sigma_w2: float = 2.0
    sigma_b2: float = 0.5

    def __post_init__(self) -> None:
        _assign(
            self,
            units=_numbers.integer("units", self.units, 1),
            sigma_w2=_numbers.magnitude("sigma_w2", self.sigma_w2),
            sigma_b2=_numbers.magnitude("sigma_b2", self.sigma_b2),
        )


@dataclass(frozen=True)
class Conv2d:
    """A convolution with W ~ N(0, sigma_w2 / (channels_in kernel^2)) and zero padding; sizes as in `torch.nn.Conv2d`.

    `kernel`, `stride` and `padding` are one whole number, or two for height and width.

    Raises ValueError or TypeError for sizes that are none, or a variance that is negative, not finite or beyond 1e100.
    """

    channels: int
    kernel: Pair = 3
    stride: Pair = 1
    padding: Pair = 0
    sigma_w2: float = 2.0
    sigma_b2: float = 0.5

    def __post_init__(self) -> None:
        _assign(
            self,
            channels=_numbers.integer("channels", self.channels, 1),
            kernel=_numbers.pair("kernel", self.kernel, 1),
            stride=_numbers.pair("stride", self.stride, 1),
            padding=_numbers.pair("padding", self.padding, 0),
            sigma_w2=_numbers.magnitude("sigma_w2", self.sigma_w2),
            sigma_b2=_numbers.magnitude("sigma_b2", self.sigma_b2),
        )


@dataclass(frozen=True)
class BatchNorm:
    """gamma (z - mean)/sqrt(var + eps) + beta, mean and variance over the data (and over positions in images).

    It stands directly after a Dense or Conv2d, the last one too. `trained` says that gamma and beta are parameters of
    the network: their gradients then belong to the Fisher information.

    Raises ValueError or TypeError for a number that is not finite or beyond 1e100, and for eps < 0.
    """

    gamma: float = 1.0
    beta: float = 0.0
    eps: float = 0.0
    trained: bool = False

    def __post_init__(self) -> None:
        _assign(
            self,
            gamma=_numbers.magnitude("gamma", self.gamma, signed=True),
            beta=_numbers.real("beta", self.beta),
            eps=_numbers.magnitude("eps", self.eps),
            trained=_numbers.boolean("trained", self.trained),
        )


@dataclass(frozen=True)
class Flatten:
    """(channels, height, width) to channels * height * width units."""


@dataclass(frozen=True)
class AvgPool2d:
    """The mean over windows of `kernel`, every `stride` (default: `kernel`) positions, without padding."""

    kernel: Pair
    stride: Pair | None = None

    def __post_init__(self) -> None:
        kernel = _numbers.pair("kernel", self.kernel, 1)
        stride = kernel if self.stride is None else _numbers.pair("stride", self.stride, 1)
        _assign(self, kernel=kernel, stride=stride)


@dataclass(frozen=True)
class GlobalAvgPool2d:
    """The mean over all positions: (channels, height, width) to (channels, 1, 1)."""


Layer = Union[Dense, Conv2d, BatchNorm, Activation, Flatten, AvgPool2d, GlobalAvgPool2d]
_AFFINE = (Dense, Conv2d)
_CHANGEABLE: dict[str, tuple[type, ...]] = {
    "gamma": (BatchNorm,),
    "beta": (BatchNorm,),
    "eps": (BatchNorm,),
    "trained": (BatchNorm,),
    "sigma_w2": _AFFINE,
    "sigma_b2": _AFFINE,
    "activation": (Activation,),
}


def _two(value: Pair) -> tuple[int, int]:
    return value if isinstance(value, tuple) else (value, value)


@dataclass(frozen=True)
class Network:
    """A feed-forward network: the shape of one input and the layers in order.

    Parameters
    ----------
    input_shape : int or (int,) or (int, int, int)
        The number of inputs, or (channels, height, width).
    layers : sequence of layers
        Dense, Conv2d, BatchNorm, Activation, Flatten, AvgPool2d, GlobalAvgPool2d. An activation follows an affine
        layer (Dense, Conv2d) or its BatchNorm; where none stands, phi is the identity. The last affine layer is the
        output: it may have a BatchNorm and pooling, but no activation, and ends with one position.

    Raises
    ------
    ValueError, TypeError
        In one sentence that names the layer, what it needs and what it got.
    """

    input_shape: tuple[int, ...]
    layers: tuple[Layer, ...]
    _shapes: tuple[tuple[int, ...], ...] = field(init=False, repr=False, compare=False)
    _counts: tuple[int, int] = field(init=False, repr=False, compare=False)  # P without and with biases
    _facts: _Facts = field(init=False, repr=False, compare=False)
    # A PyTorch module's description, which leaves its weights behind; of this object alone, not of copies.
    _of_module: bool = field(init=False, repr=False, compare=False, default=False)

    def __post_init__(self) -> None:
        shape = self.input_shape
        dimensions = _numbers.entries("input_shape", shape) if _numbers.is_sequence(shape) else (shape,)
        if len(dimensions) not in (1, 3):
            raise ValueError(f"input_shape must be (units,) or (channels, height, width), got {_numbers.shown(shape)}")
        dimensions = tuple(_numbers.integer("input_shape", size, 1) for size in dimensions)
        if not _numbers.is_sequence(self.layers):
            raise TypeError(f"layers must be a sequence of layers, got {_numbers.shown(self.layers)}")
        layers = _numbers.entries("layers", self.layers)
        _assign(self, input_shape=dimensions, layers=layers)
        _assign(self, _shapes=_shapes_of(dimensions, layers))
        _assign(self, _counts=(self._count(biases=False), self._count(biases=True)), _facts=_Facts.of(self))

    def __getstate__(self) -> dict[str, Any]:
        return {"input_shape": self.input_shape, "layers": self.layers}

    def __setstate__(self, state: dict[str, Any]) -> None:
        _assign(self, **state)
        self.__post_init__()

    @cached_property
    def _compiled(self) -> _core.Network:
        """The core's network, made at first use."""
        return _compile(self)

    @cached_property
    def _image_bytes(self) -> int:
        """What a pass through the convolutions, position by position, holds at once."""
        return _image_bytes(self)

    @property
    def outputs(self) -> int:
        """C, the number of outputs."""
        return self._shapes[-1][0]

    @property
    def depth(self) -> int:
        """L, the number of affine layers."""
        return self._facts.depth

    @property
    def affine_layers(self) -> tuple[Dense | Conv2d, ...]:
        """The Dense and Conv2d layers l = 1 .. L."""
        return tuple(layer for layer in self.layers if isinstance(layer, _AFFINE))

    @property
    def batch_norms(self) -> tuple[BatchNorm, ...]:
        """The BatchNorm layers in order; empty for a vanilla network."""
        return tuple(layer for layer in self.layers if isinstance(layer, BatchNorm))

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """The shape of the input and then of each layer's output, without the batch."""
        return (self.input_shape, *self._shapes)

    def parameters(self, biases: bool = True) -> int:
        """P: weights, biases (unless left out), and gamma and beta of trained BatchNorms (one per unit or channel)."""
        return self._counts[_numbers.boolean("biases", biases)]

    def _count(self, biases: bool) -> int:
        count = 0
        for before, layer, after in zip(self.shapes, self.layers, self.shapes[1:], strict=False):
            if isinstance(layer, Dense):
                count += before[0] * layer.units + biases * layer.units
            elif isinstance(layer, Conv2d):
                height, width = _two(layer.kernel)
                count += before[0] * height * width * layer.channels + biases * layer.channels
            elif isinstance(layer, BatchNorm) and layer.trained:
                count += 2 * after[0]
        return count

    def replace(self, **changes: Any) -> Network:
        """A copy with gamma, beta, eps, trained, sigma_w2, sigma_b2 or activation changed in every layer that has it.

        A sequence gives one value a layer. ``batch_norm=False`` takes every BatchNorm out.

        >>> ff.mlp([784, 1000, 10]).replace(gamma=2.0, sigma_w2=[1.0, 2.0])
        """
        layers = list(self.layers)
        for name, value in changes.items():
            if name == "batch_norm":
                if _numbers.boolean("batch_norm", value):
                    raise ValueError(
                        "batch_norm can only be taken out (False) here, got True; to put it in, use mlp or convnet"
                    )
                layers = [layer for layer in layers if not isinstance(layer, BatchNorm)]
                continue
            if name not in _CHANGEABLE:
                raise TypeError(f"replace takes {', '.join((*_CHANGEABLE, 'batch_norm'))}, got {name!r}")
            places = [place for place, layer in enumerate(layers) if isinstance(layer, _CHANGEABLE[name])]
            if not places:
                raise ValueError(f"{name} cannot be replaced: the network has no {_CHANGEABLE[name][0].__name__}")
            for place, item in zip(places, _per_layer(name, value, len(places)), strict=True):
                layer: Any = layers[place]
                layers[place] = as_activation(item) if name == "activation" else replace(layer, **{name: item})
        return Network(self.input_shape, tuple(layers))

    def save(self, path: str | PathLike[str]) -> None:
        """Write the network as TOML; `load` reads it back equal.

        Raises ValueError for an activation that is a Python callable: it has no name to write.
        """
        path, text = _numbers.path_of("path", path), self._to_toml()
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)

    def _to_toml(self) -> str:
        import tomli_w

        entries = [_to_entry(place, layer) for place, layer in enumerate(self.layers)]
        shape = self.input_shape[0] if len(self.input_shape) == 1 else list(self.input_shape)
        return tomli_w.dumps({"input_shape": shape, "layers": entries})

    def __repr__(self) -> str:
        shape = self.input_shape[0] if len(self.input_shape) == 1 else self.input_shape
        lines = [f"Network({shape}, ["]
        for layer, after in zip(self.layers, self.shapes[1:], strict=True):
            lines.append(f"    {repr(layer) + ',':<76} # {' x '.join(map(str, after))}")
        return "\n".join([*lines, "])"])


@dataclass(frozen=True)
class _Facts:
    """What decides whether a theory's number holds for this network; gathered once."""

    depth: int
    batch_norm: bool  # it has one at all
    trained: bool  # one with trained gamma and beta
    image_norm: bool  # behind a convolution
    padded_norm: bool  # behind a padded convolution of hidden activations, whose border has another mean
    pooled_norm: bool  # the same, and AvgPool2d somewhere before it
    last_normed: bool  # the last hidden affine layer has one
    closed: bool  # every BatchNorm has its exact finite-batch form
    convolutional: bool
    narrowest: int | None  # units of the narrowest hidden layer, positions counted; None if there is none
    fewest_channels: int | None  # of a hidden convolution
    last_width: int | None  # N_{L-1}
    fewest_inputs: int  # of an affine layer, positions counted

    @classmethod
    def of(cls, net: Network) -> _Facts:
        affine = [place for place, layer in enumerate(net.layers) if isinstance(layer, _AFFINE)]
        norms = [place for place, layer in enumerate(net.layers) if isinstance(layer, BatchNorm)]
        hidden = affine[:-1]
        units = [math.prod(net.shapes[place + 1]) for place in hidden]
        channels = [net.shapes[place + 1][0] for place in hidden if isinstance(net.layers[place], Conv2d)]

        def closed(place: int) -> bool:
            norm, phi = net.layers[place], net.layers[place + 1] if place + 1 < len(net.layers) else None
            if not isinstance(norm, BatchNorm) or isinstance(net.layers[place - 1], Conv2d) or place > affine[-1]:
                return False
            homogeneous = not isinstance(phi, Activation) or phi.homogeneous
            return homogeneous and norm.beta == 0.0 and norm.eps == 0.0 and norm.gamma != 0.0

        def padded(place: int) -> bool:
            layer = net.layers[place]
            return isinstance(layer, Conv2d) and place != affine[0] and any(_two(layer.padding))

        behind_padding = [place for place in norms if padded(place - 1)]

        return cls(
            depth=len(affine),
            batch_norm=bool(norms),
            trained=any(norm.trained for norm in net.batch_norms),
            image_norm=any(isinstance(net.layers[place - 1], Conv2d) for place in norms),
            padded_norm=bool(behind_padding),
            pooled_norm=any(isinstance(layer, AvgPool2d) for place in behind_padding for layer in net.layers[:place]),
            last_normed=not hidden or hidden[-1] + 1 in norms,
            closed=all(closed(place) for place in norms),
            convolutional=any(isinstance(layer, Conv2d) for layer in net.layers),
            narrowest=min(units, default=None),
            fewest_channels=min(channels, default=None),
            last_width=units[-1] if units else None,
            fewest_inputs=min(math.prod(net.shapes[place]) for place in affine),
        )


# Of an integral that is kept: its argument and result, as key, in a list, and among the results.
_KEPT = 400


def _image_bytes(net: Network) -> int:
    """Five matrices over pairs of positions before a layer and five behind it, all but one of them at a time; and what
    an activation keeps of integrals that differ (convolution.cpp)."""
    if len(net.input_shape) == 1:
        return 0
    positions = [math.prod(shape[1:]) for shape in net.shapes]
    fields, jumps = [1, 1], [1, 1]  # what a position sees of the image, and how far the next one lies, on both sides
    most = 0
    for place, layer in enumerate(net.layers):
        if isinstance(layer, Flatten):
            break
        before, after = positions[place] ** 2, positions[place + 1] ** 2
        if isinstance(layer, (Conv2d, AvgPool2d)):
            for side, (width, step) in enumerate(
                zip(_two(layer.kernel), _two(layer.stride or layer.kernel), strict=True)
            ):
                fields[side] += (width - 1) * jumps[side]
                jumps[side] *= step
        if isinstance(layer, Conv2d):
            before = positions[0] if place == 0 else before  # the input's are diagonal
            most = max(most, 8 * max(5 * before + after, before + 5 * after))
        elif isinstance(layer, (AvgPool2d, GlobalAvgPool2d)):
            most = max(most, 8 * max(5 * before + after, before + 5 * after))
        elif isinstance(layer, Activation):
            norm = net.layers[place - 1]
            if not layer._compiled.cheap(norm.beta if isinstance(norm, BatchNorm) else 0.0):
                kept = 1
                for size, field, jump in zip(net.shapes[place][1:], fields, jumps, strict=True):
                    near = -(-field // jump)  # positions that see a border, or each other
                    kept *= min(size, 2 * near + 1) ** 2 + min(size, 4 * near + 1)
                most = max(most, 8 * 5 * after + _KEPT * min(kept, after))
    return most


def _compile(net: Network) -> _core.Network:
    from .. import _core

    compiled = _core.Network(list(net.input_shape))
    for layer, before in zip(net.layers, net.shapes, strict=False):
        if isinstance(layer, Dense):
            compiled.dense(layer.units, layer.sigma_w2, layer.sigma_b2)
        elif isinstance(layer, Conv2d):
            sizes = (_two(layer.kernel), _two(layer.stride), _two(layer.padding))
            compiled.conv2d(layer.channels, *sizes, layer.sigma_w2, layer.sigma_b2)
        elif isinstance(layer, BatchNorm):
            compiled.batch_norm(layer.gamma, layer.beta, layer.eps, layer.trained)
        elif isinstance(layer, Activation):
            compiled.activation(layer._compiled)
        elif isinstance(layer, Flatten):
            compiled.flatten()
        elif isinstance(layer, AvgPool2d):
            compiled.average_pool(_two(layer.kernel), _two(layer.stride or layer.kernel))
        else:
            compiled.average_pool((before[1], before[2]), (1, 1))
    return compiled


def _shapes_of(shape: tuple[int, ...], layers: tuple[Layer, ...]) -> tuple[tuple[int, ...], ...]:
    """Each layer's output shape; refuses what cannot stand where it stands."""
    shapes: list[tuple[int, ...]] = []
    previous: Layer | None = None
    last_affine = max((place for place, layer in enumerate(layers) if isinstance(layer, _AFFINE)), default=None)
    if last_affine is None:
        raise ValueError(f"layers must hold at least one Dense or Conv2d, got {list(layers)!r}")
    for place, layer in enumerate(layers):
        where = f"layers[{place}]"
        name = type(layer).__name__
        image = len(shape) == 3
        if isinstance(layer, (Conv2d, Flatten, AvgPool2d, GlobalAvgPool2d)) and not image:
            raise ValueError(f"{where}: {name} needs an image (channels, height, width), got shape {shape}")
        if isinstance(layer, Dense):
            if image:
                raise ValueError(f"{where}: Dense needs a flat input, got shape {shape}; put Flatten() before it")
            shape = (layer.units,)
        elif isinstance(layer, Conv2d):
            kernel, stride, padding = _two(layer.kernel), _two(layer.stride), _two(layer.padding)
            for size, width, pad in zip(shape[1:], kernel, padding, strict=True):
                if width > size + 2 * pad:
                    raise ValueError(
                        f"{where}: kernel must be at most the padded size {size + 2 * pad}, got {layer.kernel}"
                    )
            after = [
                (size + 2 * pad - width) // step + 1
                for size, width, step, pad in zip(shape[1:], kernel, stride, padding, strict=True)
            ]
            if max(after) > _numbers.MANY:
                raise ValueError(
                    f"{where}: the output must have at most {_numbers.MANY} positions along a side, got {max(after)}"
                )
            shape = (layer.channels, *after)
        elif isinstance(layer, BatchNorm):
            if not isinstance(previous, _AFFINE):
                raise ValueError(
                    f"{where}: BatchNorm must stand directly after a Dense or Conv2d, where mean and variance over the "
                    f"data are those of a Gaussian; it stands after {_called(previous)}"
                )
        elif isinstance(layer, Activation):
            if not isinstance(previous, (*_AFFINE, BatchNorm)):
                raise ValueError(
                    f"{where}: an activation must stand directly after a Dense, Conv2d or BatchNorm, whose outputs are "
                    f"Gaussian; it stands after {_called(previous)}"
                )
            if place > last_affine:
                raise ValueError(f"{where}: the output must be linear, got {layer} after the last Dense or Conv2d")
        elif isinstance(layer, Flatten):
            shape = (shape[0] * shape[1] * shape[2],)
        elif isinstance(layer, (AvgPool2d, GlobalAvgPool2d)):
            kernel, stride = ((shape[1], shape[2]), (1, 1))
            if isinstance(layer, AvgPool2d):
                kernel, stride = _two(layer.kernel), _two(layer.stride or layer.kernel)
            for size, width in zip(shape[1:], kernel, strict=True):
                if width > size:
                    raise ValueError(f"{where}: kernel must be at most the image's size {size}, got {width}")
            after = [(size - width) // step + 1 for size, width, step in zip(shape[1:], kernel, stride, strict=True)]
            shape = (shape[0], *after)
        else:
            raise TypeError(f"{where} must be a layer of fisherfield (Dense, Conv2d, ...), got {_numbers.shown(layer)}")
        shapes.append(shape)
        previous = layer
    if len(shape) == 3 and shape[1:] != (1, 1):
        raise ValueError(
            f"layers must end with one position, got an output of shape {shape}; "
            "end with Flatten() and Dense, or with GlobalAvgPool2d()"
        )
    flattened = [place for place in range(last_affine, len(layers)) if isinstance(layers[place], Flatten)]
    if any(shapes[place - 1][1:] != (1, 1) for place in flattened):
        raise ValueError(
            "layers must end with one position: Flatten after the last Conv2d makes every position an output"
        )
    return tuple(shapes)


def _called(layer: Layer | None) -> str:
    return "the input" if layer is None else f"{type(layer).__name__}"


def _per_layer(name: str, value: Any, count: int) -> Sequence[Any]:
    """One value for all `count` layers, or one for each."""
    if not _numbers.is_sequence(value):
        return [value] * count
    values = value if hasattr(value, "__len__") else _numbers.entries(name, value)
    if len(values) != count:
        raise ValueError(f"{name} must be one value or {count} (one a layer), got {len(values)} values")
    return values


def mlp(
    widths: Sequence[int],
    activation: Any = "relu",
    batch_norm: bool = True,
    gamma: Any = 1.0,
    beta: Any = 0.0,
    eps: Any = 0.0,
    trained: Any = False,
    sigma_w2: Any = 2.0,
    sigma_b2: Any = 0.5,
) -> Network:
    """A fully connected network of the given widths, input first and outputs last.

    BatchNorm stands after every Dense but the last, then the activation. Every parameter is one value or a sequence:
    one a hidden layer for activation, gamma, beta, eps and trained, one an affine layer for sigma_w2 and sigma_b2.
    Defaults are those of Wei, Stokes and Schwab (2019), section 4. Raises ValueError or TypeError in one sentence.

    >>> ff.mlp([784, 1000, 1000, 1000, 10], gamma=0.25)
    """
    widths = (
        [_numbers.integer("widths", width, 1) for width in _numbers.entries("widths", widths)]
        if _numbers.is_sequence(widths)
        else widths
    )
    if not isinstance(widths, list) or len(widths) < 2:
        raise ValueError(f"widths must hold at least the inputs and the outputs, got {_numbers.shown(widths)}")
    affine = [
        Dense(units, w2, b2)
        for units, w2, b2 in zip(
            widths[1:],
            _per_layer("sigma_w2", sigma_w2, len(widths) - 1),
            _per_layer("sigma_b2", sigma_b2, len(widths) - 1),
            strict=True,
        )
    ]
    return Network((widths[0],), tuple(_stack(affine, [], activation, batch_norm, gamma, beta, eps, trained)))


def convnet(
    input_shape: tuple[int, int, int],
    channels: Sequence[int],
    outputs: int,
    kernel: Any = 3,
    stride: Any = 2,
    padding: Any = 1,
    activation: Any = "relu",
    batch_norm: bool = True,
    gamma: Any = 1.0,
    beta: Any = 0.0,
    eps: Any = 0.0,
    trained: Any = False,
    sigma_w2: Any = 2.0,
    sigma_b2: Any = 0.5,
) -> Network:
    """A convolutional network: one Conv2d for each of `channels`, then Flatten and a Dense layer to the outputs.

    BatchNorm stands after every Conv2d, then the activation. Parameters may be sequences as in `mlp`; kernel, stride
    and padding hold for every convolution. Defaults are those of Wei, Stokes and Schwab (2019), section 4: stride 2 and
    padding 1, where a single Conv2d has PyTorch's 1 and 0. Raises ValueError or TypeError in one sentence.

    >>> ff.convnet((1, 28, 28), channels=[30, 60, 90], outputs=10)
    """
    channels = list(channels) if _numbers.is_sequence(channels) else channels
    if not isinstance(channels, list) or not channels:
        raise ValueError(f"channels must hold at least one number, got {_numbers.shown(channels)}")
    w2 = _per_layer("sigma_w2", sigma_w2, len(channels) + 1)
    b2 = _per_layer("sigma_b2", sigma_b2, len(channels) + 1)
    affine: list[Any] = [
        Conv2d(count, kernel, stride, padding, w, b) for count, w, b in zip(channels, w2, b2, strict=False)
    ]
    affine.append(Dense(_numbers.integer("outputs", outputs, 1), w2[-1], b2[-1]))
    return Network(input_shape, tuple(_stack(affine, [Flatten()], activation, batch_norm, gamma, beta, eps, trained)))


def _stack(
    affine: list[Any],
    before_last: list[Layer],
    activation: Any,
    batch_norm: bool,
    gamma: Any,
    beta: Any,
    eps: Any,
    trained: Any,
) -> Iterable[Layer]:
    """affine, BatchNorm, phi, affine, BatchNorm, phi, ..., (Flatten,) affine."""
    hidden = len(affine) - 1
    columns = (("gamma", gamma), ("beta", beta), ("eps", eps), ("trained", trained))
    norms = [BatchNorm(*row) for row in zip(*(_per_layer(name, value, hidden) for name, value in columns), strict=True)]
    if not _numbers.boolean("batch_norm", batch_norm):
        norms = []
    phis = [as_activation(item) for item in _per_layer("activation", activation, hidden)]
    for place, layer in enumerate(affine[:-1]):
        yield from (layer, *norms[place : place + 1], phis[place])
    yield from (*before_last, affine[-1])


_LAYERS: dict[str, type] = {
    cls.__name__: cls for cls in (Dense, Conv2d, BatchNorm, Activation, Flatten, AvgPool2d, GlobalAvgPool2d)
}


def _to_entry(place: int, layer: Layer) -> dict[str, Any]:
    if isinstance(layer, Activation):
        if not isinstance(layer.function, str):
            raise ValueError(f"layers[{place}]: the callable {layer} cannot be saved; only named activations can")
        fields = {"function": layer.function, **layer.parameters}
    else:
        fields = {field.name: getattr(layer, field.name) for field in dataclasses.fields(layer)}
    return {"type": type(layer).__name__, **{k: list(v) if isinstance(v, tuple) else v for k, v in fields.items()}}


def load(path: str | PathLike[str]) -> Network:
    """Read a network from TOML: `input_shape`, then `[[layers]]` with `type` and the layer's own arguments.

    Raises
    ------
    FileNotFoundError
        Where there is no such file.
    ValueError
        For anything in it that does not fit, with file, place, range and value.
    """
    path = _numbers.path_of("path", path)
    with open(path, "rb") as file:
        content = file.read()
    return from_toml(path, content)


def from_toml(path: object, text: bytes) -> Network:
    """The network that a file's text describes; `path` heads what is said against it."""
    import tomllib

    try:
        content = tomllib.loads(text.decode())
    except (ValueError, RecursionError) as error:  # TOML, UTF-8, a number of thousands of digits, brackets as many
        raise ValueError(f"{path}: not TOML: {error}") from None
    try:
        _keys("the file", content, required=("input_shape", "layers"), allowed=("input_shape", "layers"))
        if not isinstance(content["layers"], list):
            raise ValueError(f"layers must be [[layers]] tables, got {content['layers']!r}")
        return Network(content["input_shape"], tuple(_from_entry(*item) for item in enumerate(content["layers"])))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from None


def _from_entry(place: int, entry: Any) -> Layer:
    where = f"layers[{place}]"
    if not isinstance(entry, dict):
        raise ValueError(f"{where} must be a table with a type, got {entry!r}")
    kind = entry.get("type")
    if not isinstance(kind, str) or kind not in _LAYERS:
        raise ValueError(f"{where}: type must be one of {', '.join(_LAYERS)}, got {kind!r}")
    cls = _LAYERS[kind]
    if cls is Activation:
        _keys(where, entry, ("type", "function"), ("type", "function", *PARAMETER_NAMES))
    else:
        fields = dataclasses.fields(cls)
        required = [field.name for field in fields if field.default is dataclasses.MISSING]
        _keys(where, entry, ("type", *required), ("type", *(field.name for field in fields)))
    arguments = {key: value for key, value in entry.items() if key != "type"}
    try:
        layer: Layer = cls(**arguments)
        return layer
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where}: {error}") from None


def _keys(where: str, table: dict[str, Any], required: Sequence[str], allowed: Sequence[str]) -> None:
    for key in table:
        if key not in allowed:
            from difflib import get_close_matches

            near = get_close_matches(key, allowed, n=1)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            raise ValueError(f"{where}: keys must be among {', '.join(allowed)}, got {key!r}{hint}")
    for key in required:
        if key not in table:
            raise ValueError(f"{where}: {key} is missing")
