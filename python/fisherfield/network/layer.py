# SPDX-License-Identifier: BSD-3-Clause
"""What a layer says of itself: a kind of layer is one class, and nobody else asks which kind a layer is.

A kind is a frozen dataclass with the decorator `kind`. Its fields carry their ranges, and which of them a scan may vary
(`setting`); its attributes and methods say what it takes and gives, its shapes and parameters, its words, and how it is
put into the core's networks. Whoever works on a network loops over `Network.steps` and asks these.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, TypeVar, Union

from .. import _numbers
from .._words import cut

if TYPE_CHECKING:
    from .. import _core

__all__ = [
    "DATA",
    "GAUSSIAN",
    "Array",
    "Axis",
    "Layer",
    "Marks",
    "Pair",
    "Parts",
    "Seen",
    "Shape",
    "Spot",
    "Step",
    "Stream",
    "Window",
    "axes",
    "kind",
    "kinds",
    "matrices",
    "setting",
    "two",
]

Pair = Union[int, tuple[int, int]]
Shape = tuple[int, ...]
Parts = Sequence[tuple[Any, bool]]  # a layer's arrays in a finite network, and whether each is trained


def two(value: Pair) -> tuple[int, int]:
    """Height and width of what may be one number for both."""
    return value if isinstance(value, tuple) else (value, value)


class Stream(Enum):
    """What runs between two layers."""

    INPUT = "the data"
    PASSED = "the data, pooled, flattened or with units left out"
    UNITS = "Gaussian units, sums of an affine layer"
    NORMED = "Gaussian units, normalised"
    ACTIVATIONS = "units of any other law"
    PADDED = "units with zeros as more of them"


DATA = (Stream.INPUT, Stream.PASSED)
GAUSSIAN = (Stream.UNITS, Stream.NORMED)


class Axis(NamedTuple):
    """A field that a scan may vary: its range, what it means, and its symbol in TeX."""

    range: _numbers.Range
    words: str
    symbol: str


class Array(NamedTuple):
    """Numbers of a layer in a finite network: drawn from N(mean, deviation^2), or all `mean` where nothing is drawn."""

    name: str  # weights, biases, gammas or betas
    shape: Shape
    mean: float | tuple[float, ...]
    deviation: float | None
    trained: bool = True


class Window(NamedTuple):
    """The positions that one position of an image is made of."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)

    @property
    def width(self) -> tuple[int, ...]:
        """How many positions lie between its ends, both counted."""
        return tuple((taps - 1) * apart + 1 for taps, apart in zip(self.kernel, self.dilation, strict=True))

    def over(self, image: Shape) -> tuple[int, ...]:
        """Height and width of what it makes of (channels, height, width); less than 1 where it does not fit."""
        sides = zip(image[1:], self.width, self.stride, self.padding, strict=True)
        return tuple((size + 2 * pad - width) // step + 1 for size, width, step, pad in sides)


@dataclass
class Seen:
    """What a position sees of the image, and how far the next one lies, on both sides."""

    fields: list[int]
    jumps: list[int]

    def through(self, window: Window) -> None:
        for side, (width, step) in enumerate(zip(window.width, window.stride, strict=True)):
            self.fields[side] += (width - 1) * self.jumps[side]
            self.jumps[side] *= step


@dataclass(frozen=True)
class Step:
    """A layer where it stands: its place among the network's layers, the shapes around it, the layer before it."""

    layer: Layer
    where: str  # "layers[3]"
    place: int  # in `Network.layers`, of itself or of the layer that holds it
    before: Shape
    after: Shape
    previous: Layer | None
    reads: tuple[int, ...]  # the steps that feed it, by number; -1: the data
    needs_units: str = ""  # why no closed recursion has it where it stands, or none that is exact; empty: one has
    closed_nearly: bool = False  # of these: there is one, which leaves something out where statistics are exact

    @property
    def image(self) -> bool:
        """Whether it gives images."""
        return len(self.after) == 3


class Marks(NamedTuple):
    """What is to be known of the units between two layers."""

    unequal: bool = False  # they are Gaussian, and have not all the same gamma and beta
    padded: bool = False  # zeros of a padding made some of the image's positions differ from others
    uneven: bool = False  # and with them what two inputs have in common there

    @classmethod
    def of_sum(cls, ends: Sequence[Marks]) -> Marks:
        return cls(*(any(marks) for marks in zip(*ends, strict=True)))


class Spot(NamedTuple):
    """Where the next layer comes to stand, and what comes in there."""

    where: str
    place: int
    shape: Shape
    previous: Layer | None
    stream: Stream
    hidden: bool  # before the last affine layer, or that one
    number: int = 0  # of steps before it
    source: int = -1  # the step that feeds it; -1: the data
    marks: Marks = Marks()

    def behind(self, layer: Layer, after: Shape, number: int) -> Spot:
        """Where the layer behind one stands that stood here."""
        return self._replace(
            shape=after,
            previous=layer,
            stream=layer.gives(self.stream, self.shape),
            number=number,
            source=number - 1,
            marks=layer.marks(self, after),
        )

    @property
    def unequal(self) -> bool:
        """Whether Gaussian units come in that have not all the same gamma and beta."""
        return self.marks.unequal

    @property
    def uneven(self) -> bool:
        """Whether what two inputs have in common differs between positions."""
        return self.marks.uneven


def setting(
    check: _numbers.Range | Callable[[str, Any], Any],
    words: str = "",
    symbol: str = "",
    replaced: bool = False,
    rare: bool = False,
    each: bool = False,
) -> dict[str, Any]:
    """Metadata of a field: its range or what converts it; with a symbol a scan may vary it, and `replace` may.

    A rare one is neither printed nor written where it has its default. `each`: every unit may have its own number; a
    sequence is taken, too, and kept as a tuple.
    """
    if isinstance(check, _numbers.Range):
        axis = Axis(check, words, symbol) if symbol else None
        convert = _of_each(check.convert) if each else check.convert
        return {"check": convert, "axis": axis, "replaced": True, "rare": rare}
    return {"check": check, "axis": None, "replaced": replaced, "rare": rare}


def _of_each(convert: Callable[[str, Any], Any]) -> Callable[[str, Any], Any]:
    def converted(name: str, value: Any) -> Any:
        if not _numbers.is_sequence(value):
            return convert(name, value)
        if getattr(value, "ndim", 1) != 1:
            raise ValueError(f"{name} must be one number, or one for each unit, got shape {value.shape}")
        return tuple(convert(f"{name}[{place}]", each) for place, each in enumerate(_numbers.entries(name, value)))

    return converted


def _metadata(cls: Any, key: str) -> dict[str, Any]:
    """What the metadata of a class's fields say under a key, where they do."""
    return {field.name: field.metadata[key] for field in dataclasses.fields(cls) if field.metadata[key]}


_of_fields: Callable[[Any, str], dict[str, Any]] = functools.cache(_metadata)


class Layer:
    """The base of all layers, with what most of them say."""

    __slots__ = ()

    affine: ClassVar[bool] = False  # it has weights and biases, and is a row of what the theory gives layer by layer
    pointwise: ClassVar[bool] = False  # it applies a function phi to each unit
    over_batch: ClassVar[bool] = False  # it takes mean and variance over the batch
    variance_over: ClassVar[str] = ""  # what a variance that it divides by is taken over
    random: ClassVar[bool] = False  # it draws numbers anew for every input, in train mode
    averages: ClassVar[bool] = False  # it takes means over windows of positions
    reads_units: ClassVar[bool] = False  # Gaussian units as they are; before all others phi is the identity
    in_place: ClassVar[bool] = True  # a pass through a finite network needs no second array for it

    takes: ClassVar[tuple[Stream, ...]] = tuple(stream for stream in Stream if stream is not Stream.PADDED)
    # The refusal where something else comes: what must stand before it, and why.
    needs: ClassVar[str] = "zeros in place of units may be added to other units alone, at the end of a skip"
    of_units: ClassVar[bool] = False  # it makes one block with the affine layer before it
    image: ClassVar[bool | None] = None  # whether it takes an image or a flat input; None: either
    behind_output: ClassVar[bool] = True  # whether it may stand behind the last affine layer
    as_wide_as_branch: ClassVar[bool] = False  # at the end of a skip it gives as many channels as the branch

    if TYPE_CHECKING:
        __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[Any]]]

    def __post_init__(self) -> None:
        """Converts every field, and refuses what is out of its range."""
        for name, check in _of_fields(type(self), "check").items():
            object.__setattr__(self, name, check(name, getattr(self, name)))

    # ------------------------------------------------------------------------------------------------ what stands where

    def gives(self, before: Stream, shape: Shape) -> Stream:
        """What runs behind it, of what comes in with this shape."""
        return Stream.PASSED if before in DATA else Stream.ACTIVATIONS

    def needs_units(self, spot: Spot) -> str:
        """Why it has no closed recursion where it stands; empty where it has one."""
        return ""

    def closed_nearly(self, spot: Spot) -> bool:
        """Whether, where it needs units, a closed recursion leaves something out of exact statistics alone."""
        return False

    def unequal(self, spot: Spot) -> bool:
        """Whether Gaussian units behind it, where it stands, have not all the same gamma and beta."""
        return False

    def marks(self, spot: Spot, after: Shape) -> Marks:
        """What is to be known of the units behind it."""
        padded = (spot.marks.padded or self.padded) and math.prod(after[1:]) > 1
        # of data the biases alone are what two inputs have in common
        return Marks(self.unequal(spot), padded, padded and spot.stream not in DATA)

    def shape_of(self, before: Shape) -> Shape:
        """The shape behind it; ValueError where its sizes do not fit."""
        return before

    def window(self, before: Shape) -> Window | None:
        """The window that it takes positions together in, if it does."""
        return None

    def of_normals(self, before: Shape) -> tuple[float, float] | None:
        """The mean of what it makes of a window of independent standard normal numbers, and the variance over that of
        their mean; None where it makes nothing of windows."""
        return None

    def held(self) -> dict[str, tuple[Layer, ...]]:
        """The layers that it holds, by the names of its fields."""
        fields = {name: getattr(self, name) for name in getattr(self, "__dataclass_fields__", ())}
        return {
            name: value
            for name, value in fields.items()
            if value and isinstance(value, tuple) and all(isinstance(item, Layer) for item in value)
        }

    def leaves(self) -> Iterator[Layer]:
        """The layers that it holds, if any, and itself, in the order of its steps."""
        yield self

    def mapped(self, change: Callable[[Layer], Layer | None]) -> Layer | None:
        """With every one of its leaves changed, or taken out where the change is None."""
        return change(self)

    def steps(self, spot: Spot) -> Iterator[Step]:
        """Itself where it stands, behind the layers that it holds, if any; refused where it cannot stand there."""
        where, place, before, previous, stream, hidden, source = (*spot[:6], spot.source)
        name = type(self).__name__
        if self.image and len(before) != 3:
            raise ValueError(f"{where}: {name} needs an image (channels, height, width), got shape {before}")
        if self.image is False and len(before) == 3:
            raise ValueError(f"{where}: {name} needs a flat input, got shape {before}; put Flatten() before it")
        if stream not in self.takes:
            behind = "the input" if previous is None else type(previous).__name__
            raise ValueError(f"{where}: {self.needs}; it stands after {behind}")
        if not hidden and not self.behind_output:
            raise ValueError(f"{where}: the output must be linear, got {cut(str(self))} after the last Dense or Conv2d")
        try:
            after = self.shape_of(before)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None
        needs, nearly = self.needs_units(spot), self.closed_nearly(spot)
        yield Step(self, where, place, before, after, previous, (source,), needs, bool(needs) and nearly)

    # ------------------------------------------------------------------------------------------------------- parameters

    def arrays(self, before: Shape, after: Shape) -> tuple[Array, ...]:
        """Its numbers in a finite network."""
        return ()

    def count(self, before: Shape, after: Shape, biases: bool) -> int:
        """How many parameters it has."""
        arrays = self.arrays(before, after)
        return sum(math.prod(array.shape) for array in arrays if array.trained and (biases or array.name != "biases"))

    def through_weights(self, before: Shape) -> bool:
        """Whether all that it gives went through weights of its own, which mix units."""
        return self.affine

    @property
    def shift(self) -> float:
        """What it adds to units whose mean is 0, the largest of all."""
        return 0.0

    @property
    def unpublished(self) -> str:
        """What of it the recursion of Wei, Stokes and Schwab does not treat."""
        return ""

    @property
    def unsampled(self) -> str:
        """What of it sampled units do not have (docs/theory.md, section 12), as it follows its name."""
        return ""

    @property
    def unscattered(self) -> str:
        """What of it the theory of networks of finite width does not treat (docs/theory.md, section 13)."""
        return ""

    def flat(self) -> Layer | None:
        """Its like in a network without positions, with channels for units; None where nothing is left of it."""
        return self

    @property
    def channel_groups(self) -> int:
        """Into how many groups it takes channels, which must divide them."""
        return 1

    @property
    def padded(self) -> bool:
        """Whether its image has a border of zeros."""
        return False

    # ------------------------------------------------------------------------------------------------------------ words

    @classmethod
    def axes(cls) -> Mapping[str, Axis]:
        """The fields that a scan may vary."""
        return _of_fields(cls, "axis")

    @classmethod
    def replaceable(cls) -> tuple[str, ...]:
        """What `Network.replace` may change of it."""
        return tuple(_of_fields(cls, "replaced"))

    def has(self, name: str) -> bool:
        """Whether `replace`, or a scan, may change this of it."""
        return name in self.replaceable()

    def shares(self, name: str) -> bool:
        """Whether all of its units share this number, which a scan may then vary."""
        return True

    def replaced(self, name: str, value: Any) -> Layer:
        """With one of `replaceable` changed."""
        return dataclasses.replace(self, **{name: value})

    def widened(self, width: int, channels: int, before: Shape) -> Layer:
        """Where it has a width with this one, of so many channels that come in in place of those of `before`."""
        return self

    def outline(self, after: Shape) -> str:
        """Its part of a network's outline; empty where it goes without saying."""
        return f"{type(self).__name__} {' x '.join(map(str, after))}"

    @property
    def remark(self) -> str:
        """What is printed beside its name and arrays."""
        return ""

    @classmethod
    def keys(cls) -> tuple[Sequence[str], Sequence[str]]:
        """The keys that its table in a file must have, and those that it may have."""
        fields = dataclasses.fields(cls)
        required = [field.name for field in fields if field.default is dataclasses.MISSING]
        return required, [field.name for field in fields]

    def entry(self) -> dict[str, Any]:
        """Its table in a file, without the type, layers that it holds as they are; ValueError where there is none."""
        rare = _of_fields(type(self), "rare")
        items = ((field, getattr(self, field.name)) for field in dataclasses.fields(self))
        return {field.name: value for field, value in items if field.name not in rare or value != field.default}

    def _shown(self) -> str:
        entry = Layer.entry(self)
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in entry.items())})"

    def lines(self, where: str, shapes: Mapping[str, Shape], indent: str = "") -> Iterator[str]:
        """Its repr with the shape behind it, layers that it holds one a line; `shapes` are those of all steps."""
        held, line = self.held(), f"{self!r},"
        if held:
            entry = ((name, value) for name, value in Layer.entry(self).items() if name not in held)
            line = f"{type(self).__name__}({''.join(f'{name}={value!r}, ' for name, value in entry)}"
            for name, layers in held.items():
                yield f"{indent}{line}{name}=["
                for place, layer in enumerate(layers):
                    yield from layer.lines(f"{where}.{name}[{place}]", shapes, indent + "    ")
                line = "], "
            line = "]),"
        yield f"{indent + line:<80} # {' x '.join(map(str, shapes[where]))}"

    # ------------------------------------------------------------------------------------------------- the core's calls

    def compile_into(self, core: _core.Network, before: Shape) -> None:
        """Puts it at the end of the core's description."""
        raise NotImplementedError

    def linearize_into(self, core: Any, parts: Iterator[Parts], before: Shape) -> None:
        """Puts it at the end of the core's finite network; `parts` are those of each step from its first on."""
        self._linearize(core, next(parts), before)

    def _linearize(self, core: Any, parts: Parts, before: Shape) -> None:
        """Its own call, with its arrays."""
        raise NotImplementedError

    def image_bytes(self, step: Step, seen: Seen) -> int:
        """What the theory's pass over pairs of positions holds at once for it (cpp/cpu/positions)."""
        return 0


def matrices(before: int, after: int) -> int:
    """Bytes of five matrices over pairs of positions before a layer and five behind it, all but one at a time."""
    return 8 * max(5 * before + after, before + 5 * after)


# -------------------------------------------------------------------------------------------------- the table of kinds

_KINDS: dict[str, type[Layer]] = {}
_Kind = TypeVar("_Kind", bound=type[Layer])


def kind(cls: _Kind) -> _Kind:
    """Enters a class into the table of kinds."""
    _KINDS[cls.__name__] = cls
    if dataclasses.is_dataclass(cls):
        type.__setattr__(cls, "__repr__", Layer._shown)
    kinds.cache_clear()
    axes.cache_clear()
    return cls


@functools.cache
def kinds() -> Mapping[str, type[Layer]]:
    """All kinds of layers by name, in alphabetical order."""
    return MappingProxyType(dict(sorted(_KINDS.items())))


@functools.cache
def axes() -> Mapping[str, Axis]:
    """The fields of all kinds that a scan may vary."""
    return MappingProxyType({name: axis for cls in kinds().values() for name, axis in cls.axes().items()})
