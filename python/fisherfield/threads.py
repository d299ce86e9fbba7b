# SPDX-License-Identifier: BSD-3-Clause
"""How many threads the core's loops use; results do not depend on it."""

from __future__ import annotations

import os
import warnings

from . import _core, _numbers

__all__ = ["num_threads", "set_num_threads"]


def set_num_threads(threads: int) -> None:
    """Use up to `threads` threads from now on; at start FISHERFIELD_NUM_THREADS, or the machine's processors."""
    _core.set_num_threads(_numbers.integer("threads", threads, 1, 4096))


def num_threads() -> int:
    """How many threads loops may use."""
    return _core.num_threads()


def _from_environment() -> None:
    """FISHERFIELD_NUM_THREADS, once at import; a value that is no number of threads is warned of and ignored."""
    text = os.environ.get("FISHERFIELD_NUM_THREADS", "").strip()
    if text:
        try:
            set_num_threads(int(text) if text.isascii() and text.isdigit() else text)  # type: ignore[arg-type]
        except (TypeError, ValueError) as error:
            sentence = str(error).replace("threads", "FISHERFIELD_NUM_THREADS", 1)
            warnings.warn(f"{sentence}: using {num_threads()} threads", RuntimeWarning, stacklevel=2)


_from_environment()
