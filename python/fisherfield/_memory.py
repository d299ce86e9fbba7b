# SPDX-License-Identifier: BSD-3-Clause
"""How much memory there is, and what would not fit into it is refused before it is begun."""

from __future__ import annotations

import math
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from ._words import bytes_in_words, shown


def available_memory() -> int | None:
    """Bytes that may still be taken, by the limits of machine, container and process; None where nobody says."""
    limits = []
    with suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        limits.append(1024 * int(next(line.split()[1] for line in lines if line.startswith("MemAvailable:"))))
    with suppress(OSError, ValueError, StopIteration):
        group = Path("/sys/fs/cgroup")
        limit, current = (int((group / f"memory.{name}").read_text(encoding="ascii")) for name in ("max", "current"))
        lines = (group / "memory.stat").read_text(encoding="ascii").splitlines()
        cached = int(next(line.split()[1] for line in lines if line.startswith("inactive_file ")))
        limits.append(limit - current + cached)
    with suppress(ImportError, OSError, ValueError):
        import resource

        limit, _ = resource.getrlimit(resource.RLIMIT_AS)
        if limit != resource.RLIM_INFINITY:
            pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
            limits.append(limit - pages * resource.getpagesize())
    if not limits:
        with suppress(AttributeError, OSError, ValueError):
            limits.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    return min(limits, default=None)


def beyond_memory(needed: float, least: float = 1e8) -> tuple[str, str] | None:
    """What is needed and what is there, in words, where it is more; up to `least` bytes nobody is asked.

    To ask takes a quarter of a millisecond.
    """
    there = available_memory() if needed > least else None
    return None if there is None or needed <= there else (bytes_in_words(needed), bytes_in_words(there))


def refuse_large_array(name: str, shape: tuple[int, ...], copies: int = 3) -> None:
    """An array of float64 that would not fit into memory, with what is made of it."""
    if memory := beyond_memory(8 * copies * math.prod(shape)):
        raise ValueError(
            f"{name} must fit into memory, got shape {shown(shape)}, for which {memory[0]} are needed and "
            f"{memory[1]} are there"
        )


def refuse_large_file(path: Path, needed: int) -> None:
    """A file whose numbers would not fit into memory."""
    if memory := beyond_memory(needed):
        raise ValueError(
            f"{path} must fit into memory, and takes up to {memory[0]}, more than the {memory[1]} there are"
        )


def refuse_large_images(net: Any, theory: str, passes: int = 1, each: int | None = None) -> None:
    """Matrices over pairs of positions that would not fit into memory, `passes` of a network at a time."""
    if memory := beyond_memory(0 if theory == "wei2019" else passes * (net._image_bytes if each is None else each)):
        most = max(math.prod(shape[1:]) for shape in net.shapes if len(shape) == 3)
        raise ValueError(
            f"net must fit into memory: the matrices over all pairs of its {most:,} positions take up to "
            f"{memory[0]}{f' in {passes} threads' if passes > 1 else ''}, more than the "
            f"{memory[1]} there are"
        )
