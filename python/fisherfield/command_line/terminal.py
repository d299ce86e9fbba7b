# SPDX-License-Identifier: BSD-3-Clause
"""What all commands share: how they refuse, how they are stopped, and where they print."""

from __future__ import annotations

import shutil
import signal
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.text import Text


class Refusal(Exception):
    """One sentence for the user; the program ends with exit code 2."""


class Stopped(Exception):
    """Ctrl-C, and one sentence on what is left; the program ends with exit code 130."""


@contextmanager
def refusing() -> Iterator[None]:
    """Turns what the library refuses into a refusal of the command line."""
    try:
        yield
    except OSError as error:
        raise Refusal(f"{error.filename}: {error.strerror}" if error.filename else error.strerror or error) from error
    except MemoryError as error:
        raise Refusal("this does not fit into memory") from error
    except (ValueError, TypeError, RuntimeError, ImportError) as error:
        raise Refusal(str(error)) from error


@contextmanager
def terminating() -> Iterator[None]:
    """SIGTERM, which batch systems send, stops as Ctrl-C does."""

    def interrupt(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def noting(output: Console) -> Iterator[None]:
    """Prints what the library warns of in stores as a line of its own, without the place in the code."""
    before = warnings.showwarning

    def show(message: Warning | str, *place: Any, **more: Any) -> None:
        if str(message).startswith("store "):
            output.print(Text(str(message)), soft_wrap=True)
        else:
            before(message, *place, **more)

    with warnings.catch_warnings():
        warnings.filterwarnings("always", message="store ", category=UserWarning)
        warnings.showwarning = show
        yield


_NARROWEST = 80  # columns, for narrower tables leave out digits; a terminal that is narrower wraps their lines


def console() -> Console:
    """Standard output; piped, 100 columns unless COLUMNS says otherwise, and no colour."""
    columns = max(_NARROWEST, shutil.get_terminal_size((100, 24)).columns)  # a COLUMNS that is no number > 0 is ignored
    output = Console(highlight=False, width=columns)
    if not output.is_terminal:
        output = Console(highlight=False, width=columns, color_system=None)
    return output
