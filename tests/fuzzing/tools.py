# SPDX-License-Identifier: BSD-3-Clause
"""What the expressions of cases use beside ff, np, inf and nan; and what a refusal is."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import fisherfield as ff

__all__ = ["SKIPPED", "Refused", "arguments", "evaluate", "inputs", "is_sentence", "near", "outcome"]


def arguments(*values: Any, **named: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    return values, named


def inputs(shape: tuple[int, ...], seed: int, scale: float = 1.0) -> np.ndarray:
    """Standard normal inputs, times the scale."""
    return scale * np.random.default_rng(seed).standard_normal(shape)


def evaluate(text: str) -> Any:
    """The value of a case's expression."""
    from . import hostile

    return eval(
        text,
        {
            "ff": ff,
            "np": np,
            "inf": math.inf,
            "nan": math.nan,
            "arguments": arguments,
            "inputs": inputs,
            **hostile.NAMES,
        },
    )


class Refused:
    """An exception in place of a value."""

    def __init__(self, error: BaseException) -> None:
        self.error = error
        self.words = f"{type(error).__name__}: {error}"

    def __repr__(self) -> str:
        return self.words if len(self.words) <= 300 else f"{self.words[:297]}..."


def outcome(function: Any, *values: Any, **named: Any) -> Any:
    """The value, or the exception as a Refused."""
    try:
        return function(*values, **named)
    except Exception as error:
        return Refused(error)


LONGEST = 1000  # letters of a sentence: a list of thirty names takes 400, a polynomial of 33 coefficients 700


def is_sentence(refused: Refused, kinds: tuple[type[BaseException], ...] = (ValueError,)) -> bool:
    """Of the right kind, and in words."""
    words = str(refused.error)
    return isinstance(refused.error, kinds) and len(words.split()) >= 3 and len(words) <= LONGEST


def near(x: float, y: float, rel: float, size: float = 0.0) -> bool:
    """Equal to `rel` of the larger of both and of `size`, or both infinite alike."""
    return x == y or abs(x - y) <= rel * max(abs(x), abs(y), size)


# In place of what was expected: a case that could not be judged, counted apart.
SKIPPED = "skipped"
