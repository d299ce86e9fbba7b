# SPDX-License-Identifier: BSD-3-Clause
"""Hostile calls: a call that is right, with one or two of its arguments replaced by what nobody should pass."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np

import fisherfield as ff

from . import hostile
from .drawn import Random, chance, pick
from .tools import Refused, evaluate, outcome

Broken = Iterator[tuple[str, str]]

NET = 'ff.mlp([6, 5, 4, 3], "tanh", beta=0.3)'
CONV = "ff.convnet((2, 4, 4), [3, 2], 2, stride=1)"
SAMPLED = "ff.sample(ff.mlp([3, 4, 2]), 1)"
X = "inputs((7, 3), 1)"
OPERATOR = f"ff.FisherOperator({SAMPLED}, {X})"
DATA = {"theory": '"exact"', "samples": "100", "overlap": "0.1", "length": "1.0", "biases": "None"}
LAYERS = {
    "activation": '"relu"',
    "batch_norm": "True",
    "gamma": "1.0",
    "beta": "0.0",
    "eps": "0.0",
    "trained": "False",
    "sigma_w2": "2.0",
    "sigma_b2": "0.5",
}
UFUNC = {"shift": "0.5", "error": "False", "out": "None", "where": "True", "dtype": "None"}
OF_SAMPLED = {
    "net": SAMPLED,
    "x": X,
    "seed": "0",
    "statistics": '"exact"',
    "loss": '"sum"',
    "biases": "True",
    "dtype": "None",
    "memory": "None",
}
GRID = {"axes": '{"gamma": [0.5, 1.0], "samples": [10, None]}', "quantities": '("lambda_max", "a")'}

CALLS: dict[str, dict[str, str]] = {
    "ff.mlp": {"widths": "[6, 5, 4, 3]", **LAYERS},
    "ff.convnet": {
        "input_shape": "(2, 4, 4)",
        "channels": "[3, 2]",
        "outputs": "2",
        "kernel": "3",
        "stride": "2",
        "padding": "1",
        **LAYERS,
    },
    "ff.Network": {"input_shape": "(3,)", "layers": '[ff.Dense(4), ff.Activation("relu"), ff.Dense(2)]'},
    "ff.Dense": {"units": "3", "sigma_w2": "2.0", "sigma_b2": "0.5"},
    "ff.Conv2d": {
        "channels": "3",
        "kernel": "3",
        "stride": "1",
        "padding": "(1, 0)",
        "sigma_w2": "2.0",
        "sigma_b2": "0.5",
    },
    "ff.BatchNorm": {"gamma": "1.0", "beta": "0.0", "eps": "0.0", "trained": "False"},
    "ff.AvgPool2d": {"kernel": "2", "stride": "None"},
    "ff.MaxPool2d": {"kernel": "3", "stride": "2", "padding": "1"},
    "ff.Subsample": {"channels": "4", "stride": "(1, 2)"},
    "ff.Activation": {"function": '"leaky_relu"', "slope": "0.1", "kinks": "()"},
    "ff.Activation ": {"function": "np.tanh", "slope": "None", "kinks": "[0.0]"},
    "ff.Activation  ": {"function": '"polynomial"', "coefficients": "[1.0, 2.0]"},
    "ff.Activation   ": {"function": '"celu"', "alpha": "0.5"},
    "ff.Activation    ": {"function": '"hermite"', "n": "2"},
    'ff.Activation("tanh")': {"x": "[0.5, 1.0]"},
    'ff.Activation("relu").derivative': {"x": "[0.5, 1.0]"},
    "ff.fisher": {"net": NET, **DATA},
    "ff.fisher ": {"net": CONV, **DATA},
    "ff.max_learning_rate": {"net": NET, "momentum": "0.9", **DATA, "loss": '"mse"'},
    "ff.order_parameters": {"net": NET, **DATA},
    f"{NET}.replace": {
        **{name: LAYERS[name] for name in ("gamma", "beta", "eps", "trained", "sigma_w2", "activation")}
    },
    f"{NET}.parameters": {"biases": "True"},
    f"{NET}.save": {"path": '"net.toml"'},
    "ff.load": {"path": '"nowhere.toml"'},
    **{
        f"ff.gaussian.{name}": {"activation": '"relu"', "q": "0.5", **UFUNC} for name in ("mean", "slope_second_moment")
    },
    "ff.gaussian.second_moment": {"activation": '"tanh"', "q": "[0.5, 1.0]", **UFUNC},
    "ff.gaussian.slope_mean": {"activation": "np.tanh", "q": "0.5", "shift": "0.0"},
    "ff.gaussian.covariance": {"activation": '"relu"', "q1": "0.5", "q2": "1.0", "c": "0.3", **UFUNC},
    "ff.gaussian.slope_covariance": {"activation": '"tanh"', "q1": "0.5", "q2": "1.0", "one_minus_c": "0.3", **UFUNC},
    "ff.gaussian.tabulate": {"activation": '"linear"', "q": "(0.9, 1.1)", "megabytes": "1.0"},
    "ff.scan": {"net": NET, **GRID, **DATA, "loss": '"sum"', "momentum": "0.9", "threads": "1", "chunk": "2"},
    "ff.scan ": {
        "net": NET,
        **GRID,
        "tables": "False",
        "backend": '"cpu"',
        "store": "None",
        "client": "None",
        "progress": "False",
        "edge": "False",
    },
    "ff.scan  ": {"net": NET, **GRID, **DATA, "momentum": "0.5", "chunk": "1", "client": "Sender()", "edge": "True"},
    "ff.random_points": {"count": "3", "seed": "0", "gamma": "(0.1, 5.0)", "sigma_w2": '(0.1, 5.0, "log")'},
    "ff.sample": {"net": NET, "seed": "0", "dtype": '"float64"'},
    SAMPLED: {"x": X},
    "ff.FisherOperator": OF_SAMPLED,
    "ff.sampled_fisher": {
        **OF_SAMPLED,
        "k": "2",
        "method": '"auto"',
        "tolerance": "1e-6",
        "eigenvectors": "False",
        "progress": "False",
    },
    "ff.sampled_moments": {**OF_SAMPLED, "method": '"auto"', "vectors": "3", "progress": "False"},
    "ff.sampled_density": {"net": SAMPLED, "x": X, "seed": "0", "statistics": '"exact"'},
    f"{OPERATOR}.vjp": {"w": "np.ones(14)"},
    f"{OPERATOR}.jvp": {"v": "np.ones(26)"},
    f"{OPERATOR}.__matmul__": {"w": "np.ones(14)"},
    f"ff.sampled_fisher({SAMPLED}, {X}).max_learning_rate": {"momentum": "0.9"},
    "ff.data.gaussian": {"shape": "(2, 3)", "samples": "4", "seed": "0"},
    "ff.data.overlap_and_length": {"x": X},
    "ff.data.load": {
        "source": f"({X}, np.arange(7))",
        "standardize": '"global"',
        "samples": "5",
        "seed": "0",
        "split": '"train"',
        "shape": "(3,)",
    },
    "ff.Scan.open": {"source": '"nowhere"'},
    f"ff.scan({NET}, {{'gamma': [0.5]}}).__getitem__": {"name": '"lambda_max"'},
    "ff.verify": {"net": "ff.mlp([3, 4, 2])", "samples": "5", "seeds": "1"},
}
POSITIONAL = {name: list(names) for name, names in CALLS.items()}
# Keyword arguments of these are positional here: a method of one argument, an operator.
BARE = ("ff.Activation(", "ff.sample(", ".__matmul__", ".__getitem__", ".derivative")


def draw(random: Random) -> str:
    if chance(random, 0.04):
        return large(random)
    name = pick(random, list(CALLS))
    arguments = dict(CALLS[name])
    for _ in range(1 if chance(random, 0.8) else 2):
        at = pick(random, list(arguments))
        arguments[at] = value(random, arguments[at])
    if chance(random, 0.03):
        arguments[pick(random, ("x", "foo", "net", "samples", "gama"))] = "1"
    if name.startswith(BARE) or name.endswith(BARE):
        return f"{name.strip()}({', '.join(arguments.values())})"
    words = ", ".join(f"{key}={text}" for key, text in arguments.items())
    return f"{name.strip()}({words})"


def value(random: Random, good: str) -> str:
    """Something else; now and then the good value inside of a container, or twice."""
    kind = random.random()
    if kind < 0.1:
        return f"[{good}, {good}]"
    if kind < 0.15:
        return f"[{good}, {pick(random, hostile.SCALARS)}]"
    return str(pick(random, hostile.SCALARS if kind < 0.6 else hostile.COLLECTIONS))


def large(random: Random) -> str:
    """Networks and data far beyond any memory, to be refused before they are made."""
    side = round(10 ** float(random.uniform(2.8, 9.3)))
    other = side if chance(random, 0.5) else int(pick(random, (1, 3, 500)))
    if side * other < 10**5:
        other = side
    shape = (int(pick(random, (1, 3, 10))), *((side, other) if chance(random, 0.5) else (other, side)))
    kind = random.random()
    if kind < 0.5:
        words = f"stride={pick(random, (1, 1, 2))}, kernel={pick(random, (3, 1))}, batch_norm={chance(random, 0.7)}"
        net = f"ff.convnet({shape}, [64, 128], 10, {words})"
    elif kind < 0.75:
        net = f"ff.Network({shape}, [ff.Conv2d(8, 3, padding=1), ff.GlobalAvgPool2d()])"
    else:
        units = int(10 ** float(random.uniform(7, 9.3)))
        return f"ff.sample(ff.mlp([{units}, {units}, 2]))"
    return pick(
        random,
        (
            f"ff.fisher({net})",
            f"ff.fisher({net}, 'frozen', samples=100)",
            f"ff.order_parameters({net})",
            f"ff.max_learning_rate({net}, 0.9)",
            f"ff.scan({net}, {{'gamma': [0.5, 1.0]}})" if "convnet" in net else f"ff.fisher({net}).layers",
            f"ff.sampled_fisher({net}, np.broadcast_to(1.0, (2000, *{shape})))",
        ),
    )


NEVER = (
    *(MemoryError, AssertionError, SystemError, OverflowError, NameError, RecursionError, ArithmeticError),
    *(StopIteration, NotImplementedError, EOFError, BufferError, Warning),
)
WITH_WORDS = (RuntimeError, LookupError, AttributeError)
FINE = (TypeError, ValueError, ImportError, OSError)
# What Python, NumPy and pybind11 say of their own operations is about no argument of the caller's.
LEAKED = re.compile(
    r"incompatible function arguments|unsupported operand|object is not (iterable|subscriptable|callable)|has no len|"
    r"truth value of|has no attribute|setting an array element|not enough values|too many values|takes no keyword|"
    r"cannot unpack|NoneType|index out of|inhomogeneous|bad allocation|bad_alloc|std::|Exceeds the limit|_core\."
)
LONGEST = 1500


def check(text: str) -> Broken:
    """a value without NaN, or a TypeError, ValueError, ImportError or OSError in a sentence; no warning, no growth."""
    result = outcome(evaluate, text)
    ff.set_num_threads(1)
    if not isinstance(result, Refused):
        if "ff.Activation(" not in text.partition("(")[0] + "(" and not_a_number(result):
            yield "no NaN", repr(result)[:300]
        return
    error, words = result.error, str(result.error)
    if isinstance(error, RuntimeWarning) and "overflow" in words and "gaussian" in text:
        return  # inf, as documented
    if isinstance(error, MemoryError) and words.startswith("Unable to allocate") and text.startswith("ff.gaussian."):
        return  # NumPy's sentence for a ufunc's result
    if isinstance(error, UserWarning) and "'where' used without 'out'" in words:
        return  # what any ufunc says
    if isinstance(error, UserWarning) and "and may take many minutes" in words:
        return  # of a table of a callable, as documented
    if isinstance(error, NEVER) or not isinstance(error, (*WITH_WORDS, *FINE)):
        yield "a sentence of its own", repr(result)
    elif "no float" in words or "no index" in words or "no array" in words or "no len" in words:
        if not isinstance(error, FINE):
            return  # the argument's own exception goes through
    elif len(words.split()) < (4 if isinstance(error, WITH_WORDS) else 3):
        yield "a sentence", repr(result)
    elif LEAKED.search(words):
        yield "a sentence about an argument", repr(result)
    elif len(words) > LONGEST and "10**5000" not in text and '"a" * 5000' not in text:
        yield f"a sentence of at most {LONGEST} letters", f"{len(words)} letters: {words[:200]}"


def not_a_number(result: Any) -> bool:
    if isinstance(result, (float, np.floating)):
        return bool(np.isnan(result))
    if isinstance(result, np.ndarray):
        return result.dtype.kind == "f" and bool(np.isnan(result).any())
    if isinstance(result, tuple):
        return any(map(not_a_number, result))
    if isinstance(result, (ff.Fisher, ff.OrderParameters)):
        return any(not_a_number(value) for name, value in vars(result).items() if name != "c")
    return False
