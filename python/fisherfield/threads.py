# SPDX-License-Identifier: BSD-3-Clause
"""How many threads the core's loops use; results do not depend on it."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

from . import _core, _numbers

__all__ = ["num_threads", "set_num_threads"]

_lock = threading.Lock()

_MOST = 4096


def set_num_threads(threads: int) -> None:
    """Use up to `threads` threads from now on.

    At start FISHERFIELD_NUM_THREADS, else OMP_NUM_THREADS, else as many as there are processors that the process may
    use: those of its affinity (taskset, Slurm), and no more than its control group's quota (containers).
    """
    _core.set_num_threads(_numbers.integer("threads", threads, 1, _MOST))


def num_threads() -> int:
    """How many threads loops may use."""
    return _core.num_threads()


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """BLAS with one thread, so that its sums do not depend on how many there are; loops call it from their own."""
    with _lock:
        limits = _blas().limit(limits=1, user_api="blas")
    try:
        yield
    finally:
        with _lock:
            limits.restore_original_limits()


@cache
def _blas() -> Any:
    import scipy.linalg.cython_blas  # noqa: F401  (the BLAS that the core calls must be there to be found)
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def usable_processors() -> int:
    """Processors that this process may use: of its affinity, and no more than the quota of its control groups."""
    affinity = getattr(os, "sched_getaffinity", None)  # not on macOS and Windows
    processors = len(affinity(0)) if affinity else os.cpu_count() or 1
    return max(1, min([processors, *(-(-quota // period) for quota, period in _quotas())]))


def _quotas(root: Path = Path("/sys/fs/cgroup"), groups: Path = Path("/proc/self/cgroup")) -> Iterator[tuple[int, int]]:
    """(quota, period) of every control group of this process that has a limit, up to the root that is seen from here.

    A part of a processor counts as one. Version 2 has both numbers in cpu.max, version 1 each in a file.
    """
    try:
        lines = groups.read_text(encoding="utf-8").splitlines()
    except OSError:
        return  # no Linux
    for line in lines:
        _, controllers, place = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        mount = root / ("cpu" if controllers else "")
        here = mount / place.lstrip("/")
        for folder in (here, *here.parents):
            if not folder.is_relative_to(mount):
                break
            with suppress(OSError, ValueError):  # no such file, or "max" for no limit
                if controllers:
                    numbers = [(folder / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period")]
                else:
                    numbers = (folder / "cpu.max").read_text().split()
                quota, period = map(int, numbers)
                if quota > 0 and period > 0:
                    yield quota, period


def _from_environment() -> None:
    """Once at import; a value that is no number of threads is warned of and ignored."""
    set_num_threads(min(usable_processors(), _MOST))
    names = [name for name in ("FISHERFIELD_NUM_THREADS", "OMP_NUM_THREADS") if os.environ.get(name, "").strip()]
    for name in names[:1]:
        text = os.environ[name].strip()
        if name == "OMP_NUM_THREADS":
            text = text.partition(",")[0].strip()  # a number for each level of nesting
        try:
            set_num_threads(int(text) if text.isascii() and text.isdigit() else text)  # type: ignore[arg-type]
        except (TypeError, ValueError) as error:
            sentence = str(error).replace("threads", name, 1)
            warnings.warn(f"{sentence}: using {num_threads()} threads", RuntimeWarning, stacklevel=2)


_from_environment()
