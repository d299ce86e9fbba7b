# SPDX-License-Identifier: BSD-3-Clause
"""Values that nobody should pass, as Python source, and what that source needs."""

from __future__ import annotations

import concurrent.futures
import decimal
import fractions
import pathlib
import pickle
from typing import Any

import numpy as np


class Sub(np.ndarray):
    """An array of another class."""


class Bad:
    """A number, sequence and array that raises whatever it is asked."""

    def __float__(self) -> float:
        raise RuntimeError("no float")

    def __index__(self) -> int:
        raise RuntimeError("no index")

    def __len__(self) -> int:
        raise RuntimeError("no len")

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise RuntimeError("no array")


def misaligned(values: Any) -> np.ndarray:
    """At an address that is no multiple of 8."""
    array = np.asarray(values)
    bytes_ = np.empty(array.nbytes + 1, np.uint8)[1:]
    out: np.ndarray = np.frombuffer(bytes_, array.dtype).reshape(array.shape)
    out[...] = array
    return out


def apart(values: Any) -> np.ndarray:
    """Every second entry of a larger array, backwards."""
    array = np.asarray(values)
    return np.repeat(array, 2, axis=-1)[..., ::-2][..., ::-1]


def locked(values: Any) -> np.ndarray:
    """Read-only."""
    array = np.array(values)
    array.flags.writeable = False
    return array


class Sender(concurrent.futures.Executor):
    """Runs what it is given at once, but as a cluster does: pickled, with buffers that come back at odd addresses."""

    def submit(self, function: Any, /, *values: Any, **named: Any) -> concurrent.futures.Future[Any]:
        buffers: list[pickle.PickleBuffer] = []
        sent = pickle.dumps((function, values, named), 5, buffer_callback=buffers.append)
        arrived = [misaligned(np.frombuffer(buffer.raw(), np.uint8)) for buffer in buffers]
        function, values, named = pickle.loads(sent, buffers=arrived)
        future: concurrent.futures.Future[Any] = concurrent.futures.Future()
        try:
            future.set_result(function(*values, **named))
        except Exception as error:
            future.set_exception(error)
        return future


NAMES = {
    "Sender": Sender,
    "Sub": Sub,
    "Bad": Bad,
    "misaligned": misaligned,
    "apart": apart,
    "locked": locked,
    "Decimal": decimal.Decimal,
    "Fraction": fractions.Fraction,
    "Path": pathlib.Path,
}

SCALARS = (
    *(
        "None",
        "True",
        "False",
        "0",
        "-1",
        "1",
        "2",
        "3.5",
        "-0.0",
        "0.5",
        "nan",
        "inf",
        "-inf",
        "-nan",
        "1e-101",
        "1e101",
    ),
    *(
        "1e308",
        "-1e308",
        "5e-324",
        "1e100",
        "-1e100",
        "1e-100",
        "10**400",
        "-10**400",
        "2**31 - 1",
        "2**31",
        "2**32",
        "2**53",
    ),
    *("2**63 - 1", "2**63", "2**64", "-2**63", "10**9", "10**12", "10**18", "10**5000"),
    *(
        '""',
        '"x"',
        '"relu"',
        '"nan"',
        '"1"',
        'b"x"',
        '"a" * 5000',
        r'"\0"',
        '"\\u00e9"',
        '"exact"',
        '"all"',
        '"tanh(1)"',
    ),
    *(
        "1j",
        "object()",
        "lambda x: x",
        "lambda: 0",
        "lambda *a, **k: None",
        "int",
        "type",
        "...",
        "Bad()",
        "NotImplemented",
    ),
    *('Decimal("1.5")', 'Decimal("nan")', "Fraction(1, 3)", 'Path("nowhere")', 'Path(".")', "slice(1)"),
    *("np.float32(1)", "np.float16(0.5)", "np.longdouble(1)", "np.complex128(1)", "np.bool_(True)", "np.int8(3)"),
    *("np.uint64(2**64 - 1)", 'np.datetime64("2020-01-01")', 'np.str_("relu")', "np.float64(nan)", "np.array(3)"),
    *("np.array(2.5)", "np.longdouble('1e400')", "np.float32(1e38)"),
)
COLLECTIONS = (
    *("[]", "()", "{}", "set()", "[1]", "[nan]", "[inf]", "[None]", '["a"]', "[[1, 2], [3]]", "[1, 2, 3]", "range(3)"),
    *("range(0)", "[10**400]", "[1e300, 2.0]", "[True]", "[0.5, -0.5]", "{1: 2}", "{'gamma': [1]}", "iter([1.0, 2.0])"),
    *("(i for i in range(3))", "zip([1], [2])", "dict", "[object()]", "[[]]", "[Bad()]", "[2**63]", "bytearray(3)"),
    *("np.array([])", "np.zeros((0, 3))", "np.array([1.0, 2.0])", "np.array([[1.0, 2.0]])", "np.array([1j])"),
    *(
        "np.array(['a'])",
        "np.array([None])",
        "np.array([1.0], '>f8')",
        "np.array([1, 2], np.int8)",
        "np.array([nan, 1.0])",
    ),
    *(
        "np.array([inf])",
        "np.array([1.5], np.longdouble)",
        "np.ma.masked_array([1.0, 2.0], [0, 1])",
        "memoryview(b'abc')",
    ),
    *("np.arange(3.0).view(Sub)", "misaligned([0.5, 1.0])", "apart([0.5, 1.0, 2.0])", "locked([0.5, 1.0])"),
    *("np.asfortranarray(np.ones((3, 4)))", "np.broadcast_to(1.0, (10**12,))", "np.broadcast_to(0.5, (2, 10**11))"),
    *("np.zeros(3, [('a', float)])", "np.array([1, 2], object)", "np.array(['2020'], 'M8[Y]')", "np.ones((1,) * 32)"),
    *("np.float32([1, 2])", "np.float16([1, 2])", "np.array([1, 2], bool)", "np.array([2**63], np.uint64)"),
)
