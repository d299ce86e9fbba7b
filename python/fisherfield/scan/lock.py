# SPDX-License-Identifier: BSD-3-Clause
"""One writer at a time: a lock on a file, which the operating system takes away together with its process."""

from __future__ import annotations

import errno
import os
import sys
import time
import warnings
from contextlib import suppress
from pathlib import Path

_FAR = 2**30  # the byte that is locked on Windows, where nobody may read a locked one
_UNKNOWN = {getattr(errno, name, None) for name in ("ENOLCK", "ENOSYS", "ENOTSUP", "EOPNOTSUPP", "EINVAL")}
_open: set[int] = set()  # descriptors of this process


def _close_in_a_child() -> None:
    """A forked worker keeps no lock: it would hold it when the process that has it was killed."""
    while _open:
        with suppress(OSError):
            os.close(_open.pop())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_in_a_child)


if sys.platform == "win32":
    import msvcrt

    def _take(file: int) -> bool:
        os.lseek(file, _FAR, os.SEEK_SET)
        try:
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EDEADLK):
                return False
            raise
        return True

else:

    def _take(file: int) -> bool:
        # flock, not lockf: two threads of a process exclude each other, and closing another descriptor frees nothing
        try:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            return False
        except ImportError:
            raise OSError(errno.ENOSYS, "no locks") from None
        return True


class Lock:
    """Of one file, beside what is locked; it is there as long as somebody writes, or was killed while writing."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: int | None = None

    @property
    def held(self) -> bool:
        """Whether it is this object that holds it."""
        return self._file is not None

    def acquire(self, what: str) -> None:
        """Takes it, or says in a BlockingIOError who holds it; any other OSError is the file system's.

        Where the file system has no locks there is a warning, and whoever asks may write.
        """
        while self._file is None:
            file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
            _open.add(file)
            try:
                if not _take(file):
                    raise BlockingIOError(
                        f"{what} is being written by {_holder(file)}, and one scan at a time may write there: "
                        "wait for its end, or give another one"
                    )
                with suppress(FileNotFoundError):  # the last holder took it away before it was locked here
                    if os.path.samestat(os.fstat(file), os.stat(self.path)):
                        self._file = file
            except OSError as error:
                if error.errno not in _UNKNOWN or isinstance(error, BlockingIOError):
                    raise
                sentence = f"{what} lies where files cannot be locked: see that nobody else writes there"
                warnings.warn(sentence, stacklevel=2)
                self._file = file
            finally:
                if self._file is None:
                    _close(file)
        _sign(self._file)

    def release(self) -> None:
        """Gives it back, if it is held, and takes the file away."""
        if self._file is None:
            return
        file, self._file = self._file, None
        if file not in _open:  # a forked copy of the holder
            return
        if sys.platform == "win32":  # an open file cannot be removed there
            _close(file)
            with suppress(OSError):
                self.path.unlink()
        else:
            with suppress(OSError):
                self.path.unlink()
            _close(file)


def _close(file: int) -> None:
    if file in _open:
        _open.discard(file)
        os.close(file)


def _sign(file: int) -> None:
    """Who writes, for whoever is refused; a full disk is no reason not to try."""
    import socket

    with suppress(OSError):
        os.ftruncate(file, 0)
        os.lseek(file, 0, os.SEEK_SET)
        words = f"process {os.getpid()} on {socket.gethostname()} since {time.strftime('%Y-%m-%d %H:%M:%S')}\n"
        os.write(file, words.encode())


def _holder(file: int) -> str:
    try:
        os.lseek(file, 0, os.SEEK_SET)
        words = os.read(file, 1000).decode(errors="replace").strip()
    except OSError:
        words = ""
    return words if words.startswith("process ") else "another process"
