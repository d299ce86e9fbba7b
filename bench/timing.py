# SPDX-License-Identifier: BSD-3-Clause
"""How the files here take times, and how they name the machine."""

from __future__ import annotations

import math
import os
import platform
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import fisherfield as ff


class Timed(NamedTuple):
    """One line of a file's tables, as another program times it (bench/wheels.py)."""

    name: str
    make: Callable[[], Callable[[], Any]]  # prepares, and gives the call that is timed
    numbers: Callable[[Any], Any]  # of what a call returns: one array, or several numbers
    threads: tuple[int, ...] = (1,)
    close: float = 1e-12  # how far apart two builds' numbers may be
    largest: bool = False  # beside the largest of them, as eigenvalues are right; else each beside itself


def seconds(call: Callable[[], object], calls: int) -> float:
    """The fastest of `calls` calls: what the machine can do when nothing else runs."""
    best = math.inf
    for _ in range(calls):
        start = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - start)
    return best


def machine() -> str:
    threads = ff.num_threads()
    return (
        f"{platform.machine()}, {os.cpu_count()} processors, {threads} thread{'s' * (threads != 1)}, "
        f"Python {platform.python_version()}"
    )
