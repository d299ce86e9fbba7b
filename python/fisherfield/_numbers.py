# SPDX-License-Identifier: BSD-3-Clause
"""Every argument is converted and refused here: one sentence with its name, its range and the value received."""

from __future__ import annotations

import math
import operator
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, NoReturn, TypeVar, get_args

import numpy as np

from . import _ways
from ._memory import refuse_large_array
from ._words import cut, did_you_mean
from ._words import shown as shown

if TYPE_CHECKING:
    from . import _core

# What type checkers know of choices; the words are converted and refused below all the same.
Theory = Literal["exact", "frozen", "wei2019"]
Statistics = Literal["exact", "frozen"]
Loss = Literal["sum", "mean", "mse", "cross_entropy"]
Backend = Literal["cpu", "cuda"]
Standardize = Literal["global", "feature"]

THEORIES: tuple[Theory, ...] = get_args(Theory)
STATISTICS: tuple[Statistics, ...] = get_args(Statistics)
LOSSES: tuple[Loss, ...] = get_args(Loss)
BACKENDS: tuple[Backend, ...] = get_args(Backend)
STANDARDS: tuple[Standardize, ...] = get_args(Standardize)
_Word = TypeVar("_Word", bound=str)

# Single parameters stay within 1e-100 .. 1e100 so that a product of any three of them is a float64; what many layers
# make of them is carried with an exponent of its own (scaled.hpp).
SMALLEST, LARGEST = 1e-100, 1e100
MANY = 2**31 - 1  # the core counts units and positions in 32 bits
MAX_DEGREE = 32  # of a polynomial, as in the core
_LONGEST_PATH = 4096  # characters; no system takes more


def _no_number(value: Any) -> bool:
    """Text, truth values (NumPy's among them) and what an array masks: float() would take them."""
    if type(value).__name__ == "MaskedConstant":
        return True
    return isinstance(value, (bool, str, bytes)) or getattr(getattr(value, "dtype", None), "kind", "f") not in "fiu"


def float_of(name: str, value: Any, allowed: str) -> float:
    if type(value) is float:  # looking at all else takes longer than the conversion
        return value
    if _no_number(value) or getattr(value, "ndim", 0) > 0:  # NumPy before 2.4 takes an array of one number for it
        raise TypeError(f"{name} must be {allowed}, got {shown(value)}")
    try:
        return float(value)
    except OverflowError:
        raise ValueError(f"{name} must be {allowed}, got {shown(value)}") from None
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be {allowed}, got {shown(value)}{_ways.to_sequence(value)}") from None


def real(name: str, value: Any) -> float:
    """Any finite number up to 1e100 in size."""
    allowed = f"finite and at most {LARGEST:g} in size"
    number = float_of(name, value, allowed)
    if not abs(number) <= LARGEST:
        raise ValueError(f"{name} must be {allowed}, got {shown(value)}")
    return number


def magnitude(name: str, value: Any, *, positive: bool = False, signed: bool = False) -> float:
    """Zero (unless `positive`) or a number between 1e-100 and 1e100, of either sign if `signed`."""
    sign = "finite" if signed else "finite and > 0" if positive else "finite and >= 0"
    number = float_of(name, value, sign)
    if not math.isfinite(number) or (number < 0 and not signed) or (number == 0 and positive):
        raise ValueError(f"{name} must be {sign}, got {shown(value)}")
    if number != 0 and not SMALLEST <= abs(number) <= LARGEST:
        zero = "" if positive else "0 or "
        raise ValueError(f"{name} must be {zero}between {SMALLEST:g} and {LARGEST:g} in size, got {shown(value)}")
    return number


def positive(name: str, value: Any) -> float:
    """A number from 1e-100 to 1e100."""
    return magnitude(name, value, positive=True)


class Range(NamedTuple):
    """The values that a number may have: which of many are in it, and what converts one or refuses it in a sentence."""

    fits: Callable[[np.ndarray], np.ndarray]
    convert: Callable[[str, Any], Any]


def _magnitudes(numbers: np.ndarray) -> np.ndarray:
    size = np.abs(numbers)
    return np.asarray((numbers == 0) | ((size >= SMALLEST) & (size <= LARGEST)))


REAL = Range(lambda numbers: np.abs(numbers) <= LARGEST, real)
SIGNED = Range(_magnitudes, lambda name, value: magnitude(name, value, signed=True))
MAGNITUDE = Range(lambda numbers: _magnitudes(numbers) & (numbers >= 0), magnitude)
POSITIVE = Range(lambda numbers: _magnitudes(numbers) & (numbers > 0), positive)


def integer(name: str, value: Any, low: int, high: int = MANY) -> int:
    """A whole number from `low` to `high`; a float is taken only where it is whole."""
    if type(value) is int and low <= value <= high:
        return value
    allowed = f"a whole number >= {low}"
    if _no_number(value):
        raise TypeError(f"{name} must be {allowed}, got {shown(value)}")
    plain = value.item() if hasattr(value, "item") and getattr(value, "size", 0) == 1 else value
    try:
        number = int(plain) if isinstance(plain, float) and plain.is_integer() else operator.index(plain)
    except TypeError:
        raise TypeError(f"{name} must be {allowed}, got {shown(value)}{_ways.to_sequence(value)}") from None
    if number > high:
        raise ValueError(f"{name} must be a whole number from {low} to {high}, got {shown(value)}")
    if number < low:
        raise ValueError(f"{name} must be {allowed}, got {shown(value)}")
    return number


# To be iterated over, but no values one after the other: text, and what has no order of its own.
_NO_SEQUENCES = (str, bytes, bytearray, memoryview, set, frozenset, Mapping)


def is_sequence(value: Any) -> bool:
    """Several values in an order rather than one: anything to iterate over but text, sets, mappings and arrays
    without dimensions."""
    return isinstance(value, Iterable) and not isinstance(value, _NO_SEQUENCES) and getattr(value, "ndim", 1) > 0


def entries(name: str, value: Any, most: int = 10**6) -> tuple[Any, ...]:
    """What a sequence holds; more than `most` are refused before all are counted."""
    taken = tuple(islice(value, most + 1))
    if len(taken) > most:
        raise ValueError(f"{name} must hold at most {most} values, got more: {shown(value)}")
    return taken


def degree(name: str, value: Any) -> int:
    """Of a monomial: a whole number from 0 to `MAX_DEGREE`."""
    allowed = f"a whole number from 0 to {MAX_DEGREE}"
    try:
        return integer(name, value, 0, MAX_DEGREE)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{name} must be {allowed}, got {shown(value)}") from None


def coefficients(name: str, value: Any) -> tuple[float, ...]:
    """Of a polynomial of degree `MAX_DEGREE` at most, the one of 1 first."""
    most = MAX_DEGREE + 1
    if not is_sequence(value):
        raise TypeError(f"{name} must be a sequence of 1 to {most} numbers, got {shown(value)}")
    numbers = tuple(real(name, number) for number in entries(name, value))
    if not 1 <= len(numbers) <= most:
        raise ValueError(f"{name} must be 1 to {most} numbers, got {len(numbers)}")
    return numbers


def pair(name: str, value: Any, low: int, high: int = 2**15) -> int | tuple[int, int]:
    """One whole number, or two for height and width; two equal ones are one."""
    if is_sequence(value):
        numbers = tuple(integer(name, item, low, high) for item in entries(name, value))
        if len(numbers) != 2:
            raise ValueError(f"{name} must be one whole number or two (height, width), got {shown(value)}")
        return numbers[0] if numbers[0] == numbers[1] else (numbers[0], numbers[1])
    return integer(name, value, low, high)


def boolean(name: str, value: Any) -> bool:
    if value is True or value is False:
        return value
    # numpy.bool is no subclass of bool
    if type(value).__name__ in ("bool", "bool_"):
        return bool(value)
    raise TypeError(f"{name} must be True or False, got {shown(value)}")


def choice(name: str, value: Any, allowed: tuple[_Word, ...]) -> _Word:
    if not isinstance(value, str) or value not in allowed:
        hint = did_you_mean(value, allowed) if isinstance(value, str) else ""
        raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {shown(value)}{hint}")
    return allowed[allowed.index(value)]  # type: ignore[arg-type, unused-ignore]


def samples_of(value: Any) -> int | None:
    """The number of samples n >= 1, or None for infinitely many."""
    return None if value is None else integer("samples", value, 1, 2**53)


def overlap_of(overlap: Any, length: float, samples: int | None) -> float:
    """The input overlap, in [-length/(n-1), length]: a Gram matrix of n inputs has no negative eigenvalue."""
    number = float_of("overlap", overlap, "a finite number")
    if samples is None:
        low, words = 0.0, "0 (infinite data)"
    elif samples == 1:
        low, words = -length, "-length"
    else:
        low, words = -length / (samples - 1), "-length/(samples - 1)"
    if not low <= number <= length:
        raise ValueError(f"overlap must be from {words} to length = {length:g}, got {shown(overlap)}")
    return number


def network_of(net: Any) -> Any:
    if not hasattr(net, "_facts") or not hasattr(net, "layers"):
        raise TypeError(f"net must be a fisherfield Network, got {shown(net)}{_ways.to_network(net)}")
    return net


def theory_of(net: Any, theory: Any, by_units: bool = False) -> Theory:
    """One of the three theories, where it covers the network."""
    word = choice("theory", theory, THEORIES)
    if word == "wei2019" and (words := net._facts.unpublished):
        raise ValueError(f"theory must be 'exact' or 'frozen' for a network with {words}, which wei2019 does not treat")
    if net.without_recursion and not by_units:
        raise ValueError(net.without_recursion)
    return word


def biases_of(value: Any, theory: str) -> bool:
    """Whether the biases' gradients count: the default keeps them, but for "wei2019", which was published without."""
    return theory != "wei2019" if value is None else boolean("biases", value)


def seed_of(value: Any) -> int:
    """A seed of NumPy's PCG64."""
    return integer("seed", value, 0, 2**63)


def seeds_of(value: Any) -> tuple[int, ...]:
    """So many seeds from 0 on, or these, each once."""
    if not is_sequence(value):
        return tuple(range(integer("seeds", value, 1, 10**6)))
    seeds = tuple(integer("seeds", seed, 0, 2**63 - 1) for seed in entries("seeds", value))
    if not seeds or len(set(seeds)) < len(seeds):
        raise ValueError(f"seeds must be a number of seeds, or at least one of them, each once, got {shown(value)}")
    return seeds


def widths_of(value: Any) -> tuple[int, ...] | None:
    """Widths of the widest hidden layer, each once; None for the network's own."""
    if value is None:
        return None
    widths = tuple(
        integer("widths", width, 1) for width in (entries("widths", value) if is_sequence(value) else (value,))
    )
    if not widths or len(set(widths)) < len(widths):
        raise ValueError(f"widths must be one or more whole numbers >= 1, each once, got {shown(value)}")
    return widths


def threads_of(value: Any) -> int:
    """A number of threads; 0, for None: as many as the process has."""
    return 0 if value is None else integer("threads", value, 1, 4096)


def real_dtype_of(dtype: Any) -> np.dtype:
    """float32 or float64; None is float64."""
    chosen = dtype_of(dtype)
    return np.dtype(np.float64) if chosen is None else chosen


def finite(name: str, values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """The array in `dtype` and C order, every entry finite there; copied only where it has to be."""
    if not (values.flags.c_contiguous and values.dtype == dtype):
        refuse_large_array(name, values.shape, copies=1)
    with np.errstate(over="ignore"):
        numbers = np.ascontiguousarray(values, dtype)
    if not np.isfinite(numbers).all():
        wrong = values[~np.isfinite(numbers)][0]
        raise ValueError(
            f"{name} must be finite{' in float32' if np.isfinite(wrong) else ''}, got {shown(float(wrong))}"
        )
    return numbers


def real_array(name: str, value: Any) -> np.ndarray:
    values = as_array(name, value)
    if values.dtype.kind not in "fiu":
        raise TypeError(f"{name} must be an array of real numbers, got {shown(value)}{_ways.to_array(value)}")
    return values


def as_array(name: str, value: Any) -> np.ndarray:
    """What NumPy makes of a value; of what it can make none of, an array of an object.

    Refuses masked entries, which NumPy would take for numbers, and what would not fit into memory.
    """
    if not hasattr(value, "dtype"):
        refuse_large_array(name, _lengths(value), copies=3 if isinstance(value, (list, tuple)) else 6)
    elif hasattr(value, "mask") and np.ma.is_masked(value):
        raise ValueError(f"{name} must have no masked entries, got {shown(value)}: fill them or leave them out")
    try:
        return np.asarray(value)
    except MemoryError:
        raise ValueError(f"{name} must fit into memory, got {shown(value)}") from None
    except (TypeError, ValueError, RuntimeError):  # ragged, or a tensor that gradients are asked of
        return np.asarray(None)


def _lengths(value: Any) -> tuple[int, ...]:
    """How long a sequence of sequences is along each dimension, going by the first of each."""
    lengths: list[int] = []
    while isinstance(value, Sequence) and not isinstance(value, _NO_SEQUENCES) and len(lengths) < 32:
        try:
            lengths.append(len(value))
        except OverflowError:  # of a range
            lengths.append(2**63)
        value = value[0] if lengths[-1] else None
    return tuple(lengths) or (1,)


def sample_shape_of(shape: Any) -> tuple[int, ...]:
    """One sample's shape: that of a network's input, one whole number or a sequence of them."""
    shape = getattr(shape, "input_shape", shape)
    sizes = entries("shape", shape, most=32) if is_sequence(shape) else (shape,)
    if not sizes:
        raise ValueError(f"shape must be a Network, a whole number or a sequence of them, got {shown(shape)}")
    return tuple(integer("shape", size, 1) for size in sizes)


def samples_array_of(name: str, x: Any) -> np.ndarray:
    """At least one sample of at least one feature, in whatever type of real numbers they are."""
    values = real_array(name, x)
    if values.ndim < 2 or values.size == 0:
        raise ValueError(f"{name} must have shape (n, ...) with a feature and a sample or more, got {values.shape}")
    if values.dtype.kind == "f":
        refuse_large_array(name, values.shape, copies=1)
        fits = np.abs(values) <= np.float64(LARGEST)  # which no float32 is beyond
        if not fits.all():
            raise ValueError(
                f"{name} must be finite and at most {LARGEST:g} in size, got {shown(float(values[~fits][0]))}"
            )
    return values


def labels_of(name: str, y: Any, count: int) -> np.ndarray:
    """int64 labels, one a sample."""
    labels = real_array(name, y)
    if labels.shape != (count,):
        raise ValueError(f"{name} must have shape ({count},), a label for each sample, got {labels.shape}")
    wrong = ~((labels >= 0) & (labels <= MANY) & (labels == np.floor(labels)))
    if wrong.any():
        raise ValueError(f"{name} must be whole numbers >= 0, got {shown(labels[wrong][0].item())}")
    return labels.astype(np.int64)


def sampled_network_of(net: Any, seed: Any, dtype: Any, sample: Callable[..., Any]) -> Any:
    """A SampledNetwork as it is, or one that `sample` draws of a description."""
    if not hasattr(net, "weights"):
        return sample(net, seed, real_dtype_of(dtype))
    if dtype is not None and real_dtype_of(dtype) != net.dtype:
        raise ValueError(f"dtype must be left out or the SampledNetwork's own, {net.dtype}, got {shown(dtype)}")
    return net


def inputs_of(net: Any, x: Any, dtype: np.dtype) -> np.ndarray:
    """Samples (n, *input_shape) in C order, at least two numbers under every BatchNorm.

    Where images have height 1, (n, channels, length) is taken, too.

    In `dtype`, in which they are finite; but in float64 where float32 would round them, for a common offset may yet be
    taken off them.
    """
    inputs, shape = real_array("x", x), network_of(net).input_shape
    if len(shape) == 3 and shape[1] == 1 and inputs.shape[1:] == (shape[0], shape[2]):
        inputs = inputs[:, :, np.newaxis, :]
    if inputs.ndim == 0 or inputs.shape[1:] != shape:
        raise ValueError(f"x must have shape (n, {', '.join(map(str, shape))}), got {inputs.shape}")
    if len(inputs) == 0:
        raise ValueError(f"x must hold at least one sample, got shape {inputs.shape}")
    for step in net.steps:
        if step.layer.over_batch and len(inputs) * math.prod(step.after[1:]) < 2:
            raise ValueError(
                f"x must hold at least 2 samples under the BatchNorm of {step.where}, whose variance over one "
                f"number is 0, got shape {inputs.shape}"
            )
    numbers = finite("x", inputs, dtype)
    if numbers.dtype == np.float64 or inputs.dtype == numbers.dtype:
        return numbers
    exact = np.ascontiguousarray(inputs, np.float64)
    return numbers if np.array_equal(numbers, exact) else exact


def momentum_of(value: Any, name: str = "momentum") -> float:
    number = float_of(name, value, "in [0, 1)")
    if not 0.0 <= number < 1.0:
        raise ValueError(f"{name} must be in [0, 1), got {shown(value)}")
    return number


def loss_name(value: Any) -> Loss:
    if not isinstance(value, str) or value not in LOSSES:
        way = _ways.to_loss(value, LOSSES)
        raise ValueError(f"loss must be one of {', '.join(LOSSES)}, got {shown(value)}{way}")
    return LOSSES[LOSSES.index(value)]  # type: ignore[arg-type, unused-ignore]


def loss_of(value: Any, outputs: int) -> Loss:
    loss = loss_name(value)
    if value == "cross_entropy" and outputs < 2:
        raise ValueError(f"loss must be sum, mean or mse for a network with one output, got {shown(value)}")
    return loss


def axes_of(ax: Any) -> Any:
    """Where to draw: Axes of matplotlib's, or None for a figure of its own."""
    if ax is not None and not _ways.is_a(ax, "matplotlib.axes._axes.Axes"):
        raise TypeError(f"ax must be one matplotlib Axes, as plt.subplots() gives, got {shown(ax)}")
    return ax


def path_of(name: str, value: Any) -> str:
    """A path on a file system; "~" is the user's folder."""
    try:
        path = os.fspath(value)
    except TypeError:
        path = None
    if not isinstance(path, str) or not 0 < len(path) <= _LONGEST_PATH or "\0" in path or "://" in path:
        raise ValueError(f"{name} must be a path on a file system, got {shown(value)}")
    return os.path.expanduser(path)


def client_of(client: Any) -> Any:
    """Anything that takes tasks: a dask.distributed Client, a concurrent.futures.Executor, or None."""
    if client is not None and not callable(getattr(client, "submit", None)):
        raise TypeError(
            f"client must be a dask.distributed Client or a concurrent.futures.Executor, got {shown(client)}"
        )
    return client


def float_array(name: str, value: Any) -> np.ndarray:
    """A float64 array of what is one number or an array of them."""
    values = as_array(name, value)
    if values.dtype.kind not in "fiu":
        raise TypeError(f"{name} must be a number or an array of numbers, got {shown(value)}{_ways.to_sequence(value)}")
    refuse_large_array(name, values.shape)
    if values.dtype.itemsize <= 8:
        return values.astype(np.float64)
    with np.errstate(over="ignore"):
        numbers = values.astype(np.float64)
    beyond = np.isinf(numbers) & ~np.isinf(values)
    if beyond.any():
        raise ValueError(f"{name} must be within the range of float64, got {shown(values[beyond].flat[0])}")
    return numbers


def array(name: str, value: Any, low: float, high: float) -> np.ndarray:
    """A float64 array with every entry in [low, high]."""
    numbers = float_array(name, value)
    wrong = ~((numbers >= low) & (numbers <= high))
    if wrong.any():
        raise ValueError(f"{name} must be from {low:g} to {high:g}, got {shown(float(numbers[wrong].flat[0]))}")
    return numbers


def correlation_of(c: Any, one_minus_c: Any) -> tuple[np.ndarray, np.ndarray]:
    """c and 1 - c from whichever of the two is given; |c| up to 4 eps beyond 1 counts as 1."""
    if (c is None) == (one_minus_c is None):
        raise ValueError(
            f"exactly one of c and one_minus_c must be given, got c={shown(c)}, one_minus_c={shown(one_minus_c)}"
        )
    if c is None:
        rest = array("one_minus_c", one_minus_c, 0.0, 2.0)
        return 1.0 - rest, rest
    slack = 4 * np.finfo(np.float64).eps
    correlation = float_array("c", c)
    beyond = ~(np.abs(correlation) <= 1.0 + slack)
    if beyond.any():
        raise ValueError(f"c must be from -1 to 1, got {shown(float(correlation[beyond].flat[0]))}")
    correlation = np.clip(correlation, -1.0, 1.0)
    return correlation, 1.0 - correlation


def operand(name: str, value: Any) -> Any:
    """What a ufunc takes: numbers, arrays of them, and what stands for such arrays elsewhere (xarray, dask)."""
    values = value
    if not (hasattr(value, "dtype") and hasattr(value, "__array_ufunc__")):
        if type(value) is float:
            return value  # beside these NumPy's promotion leaves float32 what it is
        if type(value) is int:
            return float(value) if abs(value) <= 10**300 else refuse_operand(name, value)
        values = as_array(name, value)
    if getattr(values.dtype, "kind", "O") not in "fiu":
        raise TypeError(f"{name} must be a number or an array of numbers, got {shown(value)}")
    return values


def refuse_operand(name: str, value: int | float) -> NoReturn:
    """Raise for a value outside of an operand's range; the core's loops find them."""
    low, high = {"c": (-1.0, 1.0), "one_minus_c": (0.0, 2.0)}.get(name, (0.0 if name[0] == "q" else -LARGEST, LARGEST))
    raise ValueError(f"{name} must be from {low:g} to {high:g}, got {shown(value)}")


def refuse_tabulated(value: float, low: float, high: float, activation: str) -> NoReturn:
    """Raise for a variance that a table does not reach."""
    raise ValueError(
        f"q must be from {low:g} to {high:g}, the range of this table of {cut(activation)}, got {shown(value)}"
    )


def refuse_integral(activation: str, refusal: Any) -> NoReturn:
    """Raise for what a ufunc of the core's refuses."""
    if refusal.status.name != "ok":
        integral(refusal.status, activation)
    if refusal.tabulated:
        refuse_tabulated(refusal.received, refusal.low, refusal.high, activation)
    refuse_operand(refusal.operand, refusal.received)


def variances(name: str, value: Any) -> tuple[float, float]:
    """A range of variances, within 1e-12 .. 1e12."""
    allowed = "a pair 1e-12 <= low < high <= 1e12"
    if not is_sequence(value) or len(tuple(islice(value, 3))) != 2:
        raise TypeError(f"{name} must be {allowed}, got {shown(value)}")
    low, high = (float_of(name, number, allowed) for number in value)
    if not 1e-12 <= low < high <= 1e12:
        raise ValueError(f"{name} must be {allowed}, got {shown(value)}")
    return low, high


def either_c(c: Any, one_minus_c: Any) -> tuple[bool, Any]:
    """Whether 1 - c is given in place of c, and whichever it is."""
    if (c is None) == (one_minus_c is None):
        raise ValueError(
            f"exactly one of c and one_minus_c must be given, got c={shown(c)}, one_minus_c={shown(one_minus_c)}"
        )
    return (True, operand("one_minus_c", one_minus_c)) if c is None else (False, operand("c", c))


def dtype_of(dtype: Any) -> np.dtype | None:
    """float32, float64 or None for what NumPy's promotion gives."""
    try:
        chosen = None if dtype is None else np.dtype(dtype)
    except (TypeError, ValueError):  # ValueError of names, and of a number that NumPy cannot write into its message
        chosen = np.dtype(object)
    if chosen not in (None, np.float32, np.float64):
        raise TypeError(f"dtype must be float32 or float64, got {shown(dtype)}")
    return chosen


def of_ufunc(out: Any, where: Any, dtype: Any) -> dict[str, Any]:
    """A ufunc's keywords, those left alone left out."""
    keywords = {"out": out, "where": None if where is True else where, "dtype": dtype_of(dtype)}
    return {name: value for name, value in keywords.items() if value is not None}


def integral(status: _core.Status, activation: Any) -> NoReturn:
    """Raise for a status of the core's integrals other than ok."""
    raise ValueError(INTEGRALS[status.name].format(activation=cut(str(activation))))


INTEGRALS = {
    "out_of_range": "the variance must be at most 1e30 for the integrals of the bounded activation {activation}",
    "overflow": "the integrals of {activation} must stay within the range of float64, and overflow",
    "not_converged": (
        "the integrals of {activation} must converge and settle to 1e-13 as the mesh is refined: give its kinks, if any"
    ),
}
