# SPDX-License-Identifier: BSD-3-Clause
"""The command line: `fisherfield init`, `lr`, `model`, `scan`, `plot`, `verify`, `figure`, `experiment`, `selftest`."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit, with one line on stderr unless all went well.

    0 done, 1 the selftest failed, 2 refused (or what is printed cannot be written), 130 stopped.
    """
    for name in ("stdout", "stderr"):
        if (
            getattr(sys, name) is None
        ):  # closed: what would be printed goes nowhere, and into no file that is opened next
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
    usual = signal.getsignal(signal.SIGINT)
    mine = usual is signal.default_int_handler and threading.current_thread() is threading.main_thread()
    if mine:
        signal.signal(signal.SIGINT, leave)
    try:
        from .app import run

        run(arguments)
    finally:
        if mine:
            signal.signal(signal.SIGINT, usual)


def leave(number: int, frame: object) -> None:
    """Ctrl-C outside of commands: modules that are half imported would raise errors of their own."""
    with suppress(OSError):
        os.write(2, b"fisherfield: stopped\n")
    os._exit(130)
