# SPDX-License-Identifier: BSD-3-Clause
"""Every argument is converted and refused here: one sentence with its name, its range and the value received."""

from __future__ import annotations

import math
import operator
import os
import reprlib
from collections.abc import Callable, Iterable
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import numpy as np

from ._memory import available_memory, bytes_in_words

if TYPE_CHECKING:
    from . import _core

__all__ = [
    "BACKENDS",
    "LARGEST",
    "LOSSES",
    "MAGNITUDE",
    "MANY",
    "MAX_DEGREE",
    "REAL",
    "SIGNED",
    "SMALLEST",
    "THEORIES",
    "Range",
    "array",
    "axis_values",
    "axis_words",
    "biases_of",
    "boolean",
    "choice",
    "client_of",
    "coefficients",
    "correlation_of",
    "degree",
    "dtype_of",
    "either_c",
    "entries",
    "failure",
    "float_array",
    "inputs_of",
    "integer",
    "integral",
    "is_sequence",
    "labels_of",
    "learning_rates_of",
    "loss_of",
    "magnitude",
    "memory_of",
    "momentum_of",
    "network_of",
    "not_overflown",
    "of_ufunc",
    "operand",
    "overlap_of",
    "pair",
    "parameters_of",
    "path_of",
    "positive",
    "progress_of",
    "quantities_of",
    "range_of",
    "real",
    "real_dtype_of",
    "refuse_integral",
    "refuse_large",
    "refuse_large_array",
    "refuse_large_batch",
    "refuse_large_images",
    "refuse_large_network",
    "refuse_operand",
    "refuse_tabulated",
    "sample_shape_of",
    "sampled_network_of",
    "sampled_of",
    "samples_array_of",
    "samples_of",
    "scan_settings_of",
    "seed_of",
    "seeds_of",
    "selection_of",
    "settings_of",
    "shown",
    "tables_of",
    "theory_of",
    "tolerance_of",
    "variances",
    "vector_of",
    "widths_of",
    "zero_variance",
]

THEORIES = ("exact", "frozen", "wei2019")
LOSSES = ("sum", "mean", "mse", "cross_entropy")
BACKENDS = ("cpu", "cuda")

# Single parameters stay within 1e-100 .. 1e100 so that a product of any three of them is a float64; what many layers
# make of them is carried with an exponent of its own (scaled.hpp).
SMALLEST, LARGEST = 1e-100, 1e100
MANY = 2**31 - 1  # the core counts units and positions in 32 bits
MAX_DEGREE = 32  # of a polynomial, as in the core


_LONGEST = 80  # characters of a value in a message


class _Shortened(reprlib.Repr):
    """repr, but short, on one line and of anything: also of an int that Python refuses to write."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlist = self.maxtuple = self.maxset = self.maxfrozenset = self.maxdeque = self.maxarray = 12
        self.maxdict = 6
        self.maxstring = self.maxother = self.maxlong = _LONGEST

    def repr_int(self, x: int, level: int) -> str:
        digits = x.bit_length() * math.log10(2.0)
        return super().repr_int(x, level) if digits < 1000 else f"a whole number of about {digits:.0f} digits"

    def repr_instance(self, x: Any, level: int) -> str:
        try:
            text = " ".join(repr(x).split())
        except Exception:  # a message must be told, whatever an object does
            text = f"<{type(x).__name__}>"
        return text if len(text) <= self.maxother else f"{text[: self.maxother - 3]}..."


_shortened = _Shortened()


def shown(value: Any) -> str:
    """A value received, as messages show it: its repr, cut at about 80 characters."""
    text = _shortened.repr(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def _no_number(value: Any) -> bool:
    """Text, truth values (NumPy's among them) and what an array masks: float() would take them."""
    if type(value).__name__ == "MaskedConstant":
        return True
    return isinstance(value, (bool, str, bytes)) or getattr(getattr(value, "dtype", None), "kind", "f") not in "fiu"


def _number(name: str, value: Any, allowed: str) -> float:
    if _no_number(value):
        raise TypeError(f"{name} must be {allowed}, got {shown(value)}")
    try:
        return float(value)
    except OverflowError:
        raise ValueError(f"{name} must be {allowed}, got {shown(value)}") from None
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be {allowed}, got {shown(value)}") from None


def real(name: str, value: Any) -> float:
    """Any finite number up to 1e100 in size."""
    allowed = f"finite and at most {LARGEST:g} in size"
    number = _number(name, value, allowed)
    if not abs(number) <= LARGEST:
        raise ValueError(f"{name} must be {allowed}, got {shown(value)}")
    return number


def magnitude(name: str, value: Any, *, positive: bool = False, signed: bool = False) -> float:
    """Zero (unless `positive`) or a number between 1e-100 and 1e100, of either sign if `signed`."""
    sign = "finite" if signed else "finite and > 0" if positive else "finite and >= 0"
    number = _number(name, value, sign)
    if not math.isfinite(number) or (number < 0 and not signed) or (number == 0 and positive):
        raise ValueError(f"{name} must be {sign}, got {shown(value)}")
    if number != 0 and not SMALLEST <= abs(number) <= LARGEST:
        zero = "" if positive else "0 or "
        raise ValueError(f"{name} must be {zero}between {SMALLEST:g} and {LARGEST:g} in size, got {shown(value)}")
    return number


def positive(name: str, value: Any) -> float:
    """A number from 1e-100 to 1e100."""
    return magnitude(name, value, positive=True)


def integer(name: str, value: Any, low: int, high: int = MANY) -> int:
    """A whole number from `low` to `high`; a float is taken only where it is whole."""
    allowed = f"a whole number >= {low}"
    if _no_number(value):
        raise TypeError(f"{name} must be {allowed}, got {shown(value)}")
    plain = value.item() if hasattr(value, "item") and getattr(value, "size", 0) == 1 else value
    try:
        number = int(plain) if isinstance(plain, float) and plain.is_integer() else operator.index(plain)
    except TypeError:
        raise TypeError(f"{name} must be {allowed}, got {shown(value)}") from None
    if number > high:
        raise ValueError(f"{name} must be a whole number from {low} to {high}, got {shown(value)}")
    if number < low:
        raise ValueError(f"{name} must be {allowed}, got {shown(value)}")
    return number


def is_sequence(value: Any) -> bool:
    """Several values rather than one: anything to iterate over but text and arrays without dimensions."""
    return isinstance(value, Iterable) and not isinstance(value, (str, bytes)) and getattr(value, "ndim", 1) > 0


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


def choice(name: str, value: Any, allowed: tuple[str, ...]) -> str:
    if not isinstance(value, str) or value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {shown(value)}")
    return value


def samples_of(value: Any) -> int | None:
    """The number of samples n >= 1, or None for infinitely many."""
    return None if value is None else integer("samples", value, 1, 2**53)


def overlap_of(overlap: Any, length: float, samples: int | None) -> float:
    """The input overlap, in [-length/(n-1), length]: a Gram matrix of n inputs has no negative eigenvalue."""
    number = _number("overlap", overlap, "a finite number")
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
        raise TypeError(f"net must be a fisherfield Network, got {shown(net)}")
    return net


def theory_of(net: Any, theory: Any) -> str:
    """One of the three theories, where it covers the network."""
    choice("theory", theory, THEORIES)
    if theory == "wei2019" and (words := net._facts.unpublished):
        raise ValueError(f"theory must be 'exact' or 'frozen' for a network with {words}, which wei2019 does not treat")
    return str(theory)


def settings_of(
    net: Any, theory: Any, samples: Any, overlap: Any, length: Any, biases: Any
) -> tuple[str, int | None, float, float, bool]:
    """theory, samples, overlap, length and biases, converted; refused in a sentence."""
    network_of(net)
    theory = theory_of(net, theory)
    refuse_large_images(net, theory)
    length = magnitude("length", length, positive=True)
    samples = samples_of(samples)
    if samples == 1 and net.batch_norms:
        raise ValueError("samples must be at least 2 under BatchNorm, whose variance over one sample is 0, got 1")
    return theory, samples, overlap_of(overlap, length, samples), length, biases_of(biases, theory)


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


def real_dtype_of(dtype: Any) -> np.dtype:
    """float32 or float64; None is float64."""
    chosen = dtype_of(dtype)
    return np.dtype(np.float64) if chosen is None else chosen


def sampled_of(sampled: Any) -> Any:
    if not hasattr(sampled, "weights") or not hasattr(sampled, "net"):
        raise TypeError(f"sampled must be a SampledNetwork, as fisherfield.sample gives, got {shown(sampled)}")
    return sampled


def _finite(name: str, given: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """The array in `dtype` and C order, every entry finite there; copied only where it has to be."""
    if not (given.flags.c_contiguous and given.dtype == dtype):
        refuse_large_array(name, given.shape, copies=1)
    with np.errstate(over="ignore"):
        numbers = np.ascontiguousarray(given, dtype)
    if not np.isfinite(numbers).all():
        wrong = given[~np.isfinite(numbers)][0]
        raise ValueError(
            f"{name} must be finite{' in float32' if np.isfinite(wrong) else ''}, got {shown(float(wrong))}"
        )
    return numbers


def _numbers(name: str, value: Any) -> np.ndarray:
    try:
        given = np.asarray(value)
    except (TypeError, ValueError, RuntimeError):  # ragged, or a tensor that gradients are asked of
        given = np.asarray(None)
    if given.dtype.kind not in "fiu":
        raise TypeError(f"{name} must be an array of real numbers, got {shown(value)}")
    return given


def sample_shape_of(shape: Any) -> tuple[int, ...]:
    """One sample's shape: that of a network's input, one whole number or a sequence of them."""
    shape = getattr(shape, "input_shape", shape)
    sizes = tuple(shape) if is_sequence(shape) else (shape,)
    if not sizes:
        raise ValueError(f"shape must be a Network, a whole number or a sequence of them, got {shown(shape)}")
    return tuple(integer("shape", size, 1) for size in sizes)


def samples_array_of(name: str, x: Any) -> np.ndarray:
    """At least one sample of at least one feature, in whatever type of real numbers they are."""
    given = _numbers(name, x)
    if given.ndim < 2 or given.size == 0:
        raise ValueError(f"{name} must have shape (n, ...) with a feature and a sample or more, got {given.shape}")
    if given.dtype.kind == "f":
        refuse_large_array(name, given.shape, copies=1)
        fits = np.abs(given) <= np.float64(LARGEST)  # which no float32 is beyond
        if not fits.all():
            raise ValueError(
                f"{name} must be finite and at most {LARGEST:g} in size, got {shown(float(given[~fits][0]))}"
            )
    return given


def labels_of(name: str, y: Any, count: int) -> np.ndarray:
    """int64 labels, one a sample."""
    given = _numbers(name, y)
    if given.shape != (count,):
        raise ValueError(f"{name} must have shape ({count},), a label for each sample, got {given.shape}")
    wrong = ~((given >= 0) & (given <= MANY) & (given == np.floor(given)))
    if wrong.any():
        raise ValueError(f"{name} must be whole numbers >= 0, got {given[wrong][0].item()!r}")
    return given.astype(np.int64)


def parameters_of(name: str, value: Any, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """A copy of one parameter array of a sampled network."""
    given = _numbers(name, value)
    if given.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, got {given.shape}")
    numbers = _finite(name, given, dtype)
    return numbers.copy() if np.may_share_memory(numbers, given) else numbers


def sampled_network_of(net: Any, seed: Any, dtype: Any, sample: Callable[..., Any]) -> Any:
    """A SampledNetwork as it is, or one that `sample` draws of a description."""
    if not hasattr(net, "weights"):
        return sample(net, seed, real_dtype_of(dtype))
    if dtype is not None and real_dtype_of(dtype) != net.dtype:
        raise ValueError(f"dtype must be left out or the SampledNetwork's own, {net.dtype}, got {shown(dtype)}")
    return net


def vector_of(name: str, value: Any, length: int, dtype: np.dtype) -> np.ndarray:
    """So many finite numbers in C order, of any shape."""
    given = _numbers(name, value)
    if given.size != length:
        raise ValueError(f"{name} must hold {length} numbers, got shape {given.shape}")
    return _finite(name, given, dtype).reshape(length)


def zero_variance(step: Any, unit: int) -> ValueError:
    kind = "channel" if step.image else "unit"
    return ValueError(f"{step.where}: {kind} {unit} has zero variance over the batch; BatchNorm needs eps > 0")


def not_overflown(name: str, numbers: np.ndarray) -> np.ndarray:
    if not np.isfinite(numbers).all():
        raise ValueError(f"{name} of this network overflows {numbers.dtype} on these inputs")
    return numbers


def memory_of(value: Any) -> float:
    """Bytes; None is what the machine has left."""
    if value is None:
        there = available_memory()
        return math.inf if there is None else float(there)
    return magnitude("memory", value, positive=True)


def tolerance_of(value: Any, dtype: np.dtype) -> float:
    least = 1e-14 if dtype == np.float64 else 1e-6
    number = _number("tolerance", value, f"in [{least:g}, 0.1]")
    if not least <= number <= 0.1:
        raise ValueError(f"tolerance must be in [{least:g}, 0.1], got {shown(value)}")
    return number


def inputs_of(net: Any, x: Any, dtype: np.dtype) -> np.ndarray:
    """Samples (n, *input_shape) in C order, at least two numbers under every BatchNorm.

    In `dtype`, in which they are finite; but in float64 where float32 would round them, for a common offset may yet be
    taken off them.
    """
    given, shape = _numbers("x", x), network_of(net).input_shape
    if given.ndim == 0 or given.shape[1:] != shape:
        raise ValueError(f"x must have shape (n, {', '.join(map(str, shape))}), got {given.shape}")
    if len(given) == 0:
        raise ValueError(f"x must hold at least one sample, got shape {given.shape}")
    for step in net.steps:
        if step.layer.over_batch and len(given) * math.prod(step.after[1:]) < 2:
            raise ValueError(
                f"x must hold at least 2 samples under the BatchNorm of {step.where}, whose variance over one "
                f"number is 0, got shape {given.shape}"
            )
    numbers = _finite("x", given, dtype)
    if numbers.dtype == np.float64 or given.dtype == numbers.dtype:
        return numbers
    exact = np.ascontiguousarray(given, np.float64)
    return numbers if np.array_equal(numbers, exact) else exact


def momentum_of(value: Any, name: str = "momentum") -> float:
    number = _number(name, value, "in [0, 1)")
    if not 0.0 <= number < 1.0:
        raise ValueError(f"{name} must be in [0, 1), got {shown(value)}")
    return number


def loss_of(value: Any, outputs: int) -> str:
    choice("loss", value, LOSSES)
    if value == "cross_entropy" and outputs < 2:
        raise ValueError(f"loss must be sum, mean or mse for a network with one output, got {shown(value)}")
    return str(value)


def scan_settings_of(
    net: Any,
    axes: Iterable[str],
    theory: Any,
    samples: Any,
    overlap: Any,
    length: Any,
    biases: Any,
    loss: Any,
    momentum: Any,
    nesterov: Any,
    weight_decay: Any,
) -> dict[str, Any]:
    """A scan's settings, converted; one that an axis gives is left at its default, and refused otherwise."""
    given = {
        "samples": (samples, None),
        "overlap": (overlap, 0.0),
        "length": (length, 1.0),
        "momentum": (momentum, 0.0),
    }
    taken = [name for name in given if name in axes]
    for name in taken:
        value, default = given[name]
        if value is not default and not (default is not None and _number(name, value, "a number") == default):
            raise ValueError(f"{name} must be either an axis or an argument, got both, the argument {shown(value)}")
    theory = theory_of(network_of(net), theory)
    length = magnitude("length", length, positive=True)
    samples = samples_of(samples)
    if {"samples", "overlap", "length"}.isdisjoint(taken):
        settings_of(net, theory, samples, overlap, length, biases)
    elif samples == 1 and net.batch_norms:
        raise ValueError("samples must be at least 2 under BatchNorm, whose variance over one sample is 0, got 1")
    return {
        "theory": theory,
        "samples": samples,
        "overlap": real("overlap", overlap),
        "length": length,
        "biases": biases_of(biases, theory),
        "loss": loss_of(loss, net.outputs),
        "momentum": momentum_of(momentum),
        "nesterov": boolean("nesterov", nesterov),
        "weight_decay": magnitude("weight_decay", weight_decay),
    }


def _magnitudes(numbers: np.ndarray) -> np.ndarray:
    size = np.abs(numbers)
    return np.asarray((numbers == 0) | ((size >= SMALLEST) & (size <= LARGEST)))


def _wholes(numbers: np.ndarray, low: int, high: int) -> np.ndarray:
    return np.asarray((numbers >= low) & (numbers <= high) & (numbers == np.floor(numbers)))


class Range(NamedTuple):
    """The values that a number may have: which of many are in it, and what converts one or refuses it in a sentence."""

    fits: Callable[[np.ndarray], np.ndarray]
    convert: Callable[[str, Any], Any]


REAL = Range(lambda numbers: np.abs(numbers) <= LARGEST, real)
SIGNED = Range(_magnitudes, lambda name, value: magnitude(name, value, signed=True))
MAGNITUDE = Range(lambda numbers: _magnitudes(numbers) & (numbers >= 0), magnitude)

# What a scan can vary beside the fields of layers, which say their own ranges.
_AXES = {
    "width": Range(lambda numbers: _wholes(numbers, 1, MANY), lambda name, value: integer(name, value, 1)),
    "depth": Range(lambda numbers: _wholes(numbers, 2, MANY), lambda name, value: integer(name, value, 2)),
    "momentum": Range(lambda numbers: (numbers >= 0) & (numbers < 1), lambda name, value: momentum_of(value, name)),
    "samples": Range(
        lambda numbers: _wholes(numbers, 1, 2**53) | (numbers == math.inf),
        lambda name, value: integer(name, value, 1, 2**53),
    ),
    "length": Range(lambda numbers: _magnitudes(numbers) & (numbers > 0), positive),
    "overlap": REAL,
}


def axis_words() -> tuple[str, ...]:
    """What a scan can vary beside the fields of layers."""
    return tuple(_AXES)


def axis_values(name: str, word: str, value: Any, allowed: Range | None = None) -> np.ndarray:
    """One axis: a float64 array with one dimension, at least one entry, every entry within the range of `word`.

    Of a layer's field the range is `allowed`.
    """
    if word == "samples" and is_sequence(value) and getattr(value, "dtype", np.dtype(object)).kind == "O":
        value = [math.inf if item is None else item for item in value]
    elif word == "samples" and value is None:
        value = math.inf
    if is_sequence(value) and not hasattr(value, "dtype"):
        value = list(value)
    numbers = float_array(f"axis {name}", value)
    if numbers.ndim != 1 or numbers.size == 0:
        raise ValueError(f"axis {name} must be one value or more in one dimension, got shape {numbers.shape}")
    fits, convert = allowed or _AXES[word]
    wrong = ~fits(numbers)
    if wrong.any():
        convert(f"axis {name}", float(numbers[wrong][0]))
    return numbers


def gammas_of(values: Any) -> np.ndarray:
    """Values of gamma > 0, each once, in order."""
    found = np.unique(axis_values("gamma", "gamma", values, SIGNED))
    if found.size < np.size(values) or not found[0] > 0:
        raise ValueError(f"gammas must be > 0, each once, got {shown(values)}")
    return found


def learning_rates_of(value: Any) -> np.ndarray:
    """One or more in one dimension."""
    rates = float_array("learning_rates", list(value) if is_sequence(value) and not hasattr(value, "dtype") else value)
    if rates.ndim != 1 or rates.size == 0:
        raise ValueError(f"learning_rates must be one value or more in one dimension, got shape {rates.shape}")
    wrong = rates[~((rates > 0) & (rates <= LARGEST))]
    if wrong.size:
        raise ValueError(f"learning_rates must be finite and > 0, got {shown(float(wrong[0]))}")
    return rates


def range_of(name: str, value: Any) -> tuple[float, float, bool]:
    """low, high and whether their logarithm is meant: (low, high) or (low, high, "log")."""
    allowed = 'a pair (low, high) or (low, high, "log") with low < high'
    if not is_sequence(value) or len(tuple(islice(value, 4))) not in (2, 3):
        raise TypeError(f"{name} must be {allowed}, got {shown(value)}")
    low, high, *rest = value
    low, high = (_number(name, number, allowed) for number in (low, high))
    if not (math.isfinite(low) and math.isfinite(high) and low < high) or (rest and rest != ["log"]):
        raise ValueError(f"{name} must be {allowed}, got {shown(value)}")
    if rest and low <= 0:
        raise ValueError(f"{name} must be > 0 where its logarithm is drawn, got {shown(value)}")
    return low, high, bool(rest)


def quantities_of(value: Any, allowed: tuple[str, ...]) -> tuple[str, ...]:
    """Names of what a scan gives, each once; one name may stand alone."""
    names = (value,) if isinstance(value, str) else entries("quantities", value) if is_sequence(value) else ()
    if not names:
        raise ValueError(f"quantities must be one name or more of {', '.join(allowed)}, got {shown(value)}")
    for name in names:
        if not isinstance(name, str) or name not in allowed:
            from difflib import get_close_matches

            near = get_close_matches(str(name), allowed, n=1)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            raise ValueError(f"quantities must be among {', '.join(allowed)}, got {shown(name)}{hint}")
    return tuple(dict.fromkeys(names))


def tables_of(value: Any, backend: str) -> bool | tuple[Any, ...]:
    """Whether to tabulate, or tables that are there."""
    given = entries("tables", value) if is_sequence(value) else value
    if given not in (True, False) and not (
        isinstance(given, tuple) and all(type(table).__name__ == "Table" for table in given)
    ):
        raise TypeError(f"tables must be True, False or tables made by gaussian.tabulate, got {shown(value)}")
    if given and backend == "cuda":
        raise ValueError("tables must be False with backend='cuda', which has none")
    return given if isinstance(given, tuple) else bool(given)


def selection_of(name: str, value: Any) -> float:
    """Where a figure of a scan cuts an axis: any number; infinitely many samples are inf or None."""
    number = math.inf if value is None else _number(f"select {name}", value, "a number")
    if math.isnan(number) or number == -math.inf:
        raise ValueError(f"select {name} must be a number, got {shown(value)}")
    return number


def refuse_large(needed: int, points: int) -> None:
    """Results that would not fit into memory; more points than any scan ends with."""
    if points > 2**53:
        raise ValueError(f"axes must make at most 2^53 points, got {points:.3g}")
    # to ask takes a quarter of a millisecond, a million points four of them
    there = available_memory() if needed > 1e8 else None
    if there is not None and needed > there:
        raise ValueError(
            f"store must be given for {points:,} points, whose results take {bytes_in_words(needed)}, more than the "
            f"{bytes_in_words(there)} of memory there are"
        )


def refuse_large_images(net: Any, theory: str, passes: int = 1, each: int | None = None) -> None:
    """Matrices over pairs of positions that would not fit into memory, `passes` of a network at a time."""
    needed = 0 if theory == "wei2019" else passes * (net._image_bytes if each is None else each)
    there = available_memory() if needed > 1e8 else None
    if there is not None and needed > there:
        most = max(math.prod(shape[1:]) for shape in net.shapes if len(shape) == 3)
        raise ValueError(
            f"net must fit into memory: the matrices over all pairs of its {most:,} positions take up to "
            f"{bytes_in_words(needed)}{f' in {passes} threads' if passes > 1 else ''}, more than the "
            f"{bytes_in_words(there)} there are"
        )


def refuse_large_network(net: Any) -> None:
    """Parameters that would not fit into memory, as they are drawn and as they are kept."""
    needed, there = 2 * 8 * net.parameters(), available_memory()
    if there is not None and needed > there:
        raise ValueError(
            f"net must fit into memory to be sampled: its {net.parameters():,} parameters take up to "
            f"{bytes_in_words(needed)}, more than the {bytes_in_words(there)} there are"
        )


def refuse_large_batch(samples: int, needed: int) -> None:
    """Samples that would not fit into memory with what the layers make of them."""
    there = available_memory() if needed > 1e8 else None
    if there is not None and needed > there:
        raise ValueError(
            f"x must fit into memory with what the layers make of it: {samples:,} samples of this network take up to "
            f"{bytes_in_words(needed)}, more than the {bytes_in_words(there)} there are"
        )


def path_of(name: str, value: Any) -> str:
    """A path on a file system; "~" is the user's folder."""
    try:
        path = os.fspath(value)
    except TypeError:
        path = None
    if not isinstance(path, str) or not path or "\0" in path or "://" in path:
        raise ValueError(f"{name} must be a path on a file system, got {shown(value)}")
    return os.path.expanduser(path)


def client_of(client: Any) -> Any:
    """Anything that takes tasks: a dask.distributed Client, a concurrent.futures.Executor, or None."""
    if client is not None and not callable(getattr(client, "submit", None)):
        raise TypeError(
            f"client must be a dask.distributed Client or a concurrent.futures.Executor, got {shown(client)}"
        )
    return client


def progress_of(progress: Any) -> Any:
    """True, False or a function of (points done, points in all)."""
    return progress if callable(progress) else boolean("progress", progress)


def float_array(name: str, value: Any) -> np.ndarray:
    """A float64 array of what is one number or an array of them."""
    try:
        given = np.asarray(value)
    except ValueError:  # ragged
        given = np.asarray(None)
    if given.dtype.kind not in "fiu":
        raise TypeError(f"{name} must be a number or an array of numbers, got {shown(value)}")
    refuse_large_array(name, given.shape)
    with np.errstate(over="ignore"):
        numbers = given.astype(np.float64)
    beyond = np.isinf(numbers) & ~np.isinf(given) if given.dtype.itemsize > 8 else np.False_
    if beyond.any():
        raise ValueError(f"{name} must be within the range of float64, got {shown(given[beyond].flat[0])}")
    return numbers


def refuse_large_array(name: str, shape: tuple[int, ...], copies: int = 3) -> None:
    """An array of float64 that would not fit into memory, with what is made of it."""
    needed = 8 * copies * math.prod(shape)
    there = available_memory() if needed > 1e8 else None
    if there is not None and needed > there:
        raise ValueError(
            f"{name} must fit into memory, got shape {shown(shape)}, for which {bytes_in_words(needed)} are needed and "
            f"{bytes_in_words(there)} are there"
        )


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
    given = value
    if not (hasattr(value, "dtype") and hasattr(value, "__array_ufunc__")):
        if type(value) is float:
            return value  # beside these NumPy's promotion leaves float32 what it is
        if type(value) is int:
            return float(value) if abs(value) <= 10**300 else refuse_operand(name, math.inf if value > 0 else -math.inf)
        try:
            given = np.asarray(value)
        except ValueError:  # ragged
            given = np.asarray(None)
    if getattr(given.dtype, "kind", "O") not in "fiu":
        raise TypeError(f"{name} must be a number or an array of numbers, got {shown(value)}")
    return given


def refuse_operand(name: str, value: float) -> NoReturn:
    """Raise for a value outside of an operand's range; the core's loops find them."""
    low, high = {"c": (-1.0, 1.0), "one_minus_c": (0.0, 2.0)}.get(name, (0.0 if name[0] == "q" else -LARGEST, LARGEST))
    raise ValueError(f"{name} must be from {low:g} to {high:g}, got {shown(value)}")


def refuse_tabulated(value: float, low: float, high: float, activation: str) -> NoReturn:
    """Raise for a variance that a table does not reach."""
    raise ValueError(f"q must be from {low:g} to {high:g}, the range of this table of {activation}, got {shown(value)}")


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
    low, high = (_number(name, number, allowed) for number in value)
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
    given = {"out": out, "where": None if where is True else where, "dtype": dtype_of(dtype)}
    return {name: value for name, value in given.items() if value is not None}


def integral(status: _core.Status, activation: Any) -> NoReturn:
    """Raise for a status of the core's integrals other than ok."""
    raise ValueError(_INTEGRAL[status.name].format(activation=activation))


def failure(status: int, layer: int, net: Any) -> ValueError:
    """What the core's (status, layer) means; layers are counted from 1, as affine ones."""
    if status == 1:
        return ValueError(
            "eps must be > 0 where the variance over the data is zero, "
            f"as it is before the BatchNorm of affine layer {layer}"
        )
    from . import _core

    behind = net.steps[net.steps.index(net.affine_steps[layer - 1]) :]
    name = next((str(step.layer) for step in behind if step.layer.pointwise), "the identity")
    return ValueError(f"affine layer {layer}: {_INTEGRAL[_core.Status(status).name].format(activation=name)}")


_INTEGRAL = {
    "out_of_range": ("the variance must be at most 1e30 for the integrals of the bounded activation {activation}"),
    "overflow": "the integrals of {activation} must stay within the range of float64, and overflow",
    "not_converged": (
        "the integrals of {activation} must converge and settle to 1e-13 as the mesh is refined: give its kinks, if any"
    ),
}
