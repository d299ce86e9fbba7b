# SPDX-License-Identifier: BSD-3-Clause
"""Cases that end badly on purpose: what `fuzz.py` makes of them is tested with these."""

from __future__ import annotations

import os
import signal
import sys
import warnings
from collections.abc import Iterator

from .drawn import Random, pick
from .tools import outcome

ENDS = (
    "fine",
    "signal",
    "exit",
    "endless",
    "memory",
    "warning",
    "wrong",
    "standard error",
    "closed",
    "skipped",
)


def draw(random: Random) -> str:
    return str(pick(random, ENDS))


def check(text: str) -> Iterator[tuple[str, str]]:
    """each end is told, with its case"""
    if text == "signal":
        os.kill(os.getpid(), signal.SIGSEGV)
    elif text == "exit":
        os._exit(3)
    elif text == "endless":
        while True:
            pass
    elif text == "memory":
        yield "no memory", repr(outcome(bytearray, 2**36))
    elif text == "warning":
        yield "no warning", repr(outcome(warnings.warn, "a word", UserWarning, stacklevel=1))
    elif text == "wrong":
        yield "right", "wrong"
        yield "right", "wrong"
    elif text == "standard error":
        os.write(2, b"lanes.hpp:85: runtime error: signed integer overflow\n")
    elif text == "closed":
        os.close(1)
    elif text == "skipped":
        yield "skipped", "too slow"
    sys.stdout.flush()
