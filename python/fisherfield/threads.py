# SPDX-License-Identifier: BSD-3-Clause
"""How many threads the core's loops use; results do not depend on it."""

from __future__ import annotations

from . import _arguments, _core

__all__ = ["num_threads", "set_num_threads"]


def set_num_threads(threads: int) -> None:
    """Use up to `threads` threads from now on; at start FISHERFIELD_NUM_THREADS, or the machine's processors."""
    _core.set_num_threads(_arguments.integer("threads", threads, 1, 4096))


def num_threads() -> int:
    """How many threads loops may use."""
    return _core.num_threads()
