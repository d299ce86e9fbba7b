# SPDX-License-Identifier: BSD-3-Clause
"""Arrays in NumPy's files, .npy and .npz; never a pickle."""

from __future__ import annotations

import lzma
import math
import os
import struct
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from .. import _numbers
from .._memory import refuse_large_file
from .._words import cut, shown

# What NumPy's and zipfile's readers raise for damaged files, beside what these are the bases of: UnicodeDecodeError,
# and the NotImplementedError of an unknown compression. RuntimeError stands for an encrypted member.
_DAMAGED = (
    ValueError,
    TypeError,
    AttributeError,
    LookupError,
    ArithmeticError,
    RuntimeError,
    MemoryError,
    SyntaxError,
    tokenize.TokenError,
    OSError,
    EOFError,
    struct.error,
    zlib.error,
    lzma.LZMAError,
    zipfile.BadZipFile,
)


PIECE = 2**24  # bytes read at a time


def only_training(split: str, what: str) -> None:
    if split != "train":
        raise ValueError(f"split must be 'train' for {what}, which have no other, got {shown(split)}")


def checked(x_name: str, x: Any, y_name: str, y: Any) -> tuple[NDArray[Any], NDArray[np.int64] | None]:
    x = _numbers.samples_array_of(x_name, x)
    return x, None if y is None else _numbers.labels_of(y_name, y, len(x))


def arrays_on_disk(path: Path, split: str) -> tuple[NDArray[Any], NDArray[np.int64] | None]:
    """Never a pickle."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} must be there")
    with open(path, "rb") as file:
        with reading(path):
            archive = zipfile.ZipFile(file) if is_zip(file) else None
            members = {} if archive is None else members_of(file, archive)
        x_name = f"x_{split}" if f"x_{split}" in members else "x"
        y_name = x_name.replace("x", "y", 1)
        if archive is not None and x_name not in members:
            held = ", ".join(members) or "nothing"
            raise ValueError(f"{path} must hold an array x, or x_train and x_test, got {held}")
        if x_name == "x":
            only_training(split, f"arrays named x, as in {path.name}")
        if archive is None:
            arrays = {"x": _array(path, file, os.fstat(file.fileno()).st_size)}
        else:
            chosen = [name for name in (x_name, y_name) if name in members]
            arrays = {name: _array_of(path, archive, members[name]) for name in chosen}
    return checked(f"{x_name} of {path}", arrays[x_name], f"{y_name} of {path}", arrays.get(y_name))


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Around the calls of NumPy's and zipfile's readers alone: whatever they raise is about the file."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the Python that a damaged header is read as
            yield
    except _DAMAGED as error:
        words = cut(str(error), 200) or type(error).__name__
        raise ValueError(
            f"{path} must be a whole {path.suffix} file of numbers, got one that is not ({words})"
        ) from error


def is_zip(file: BinaryIO) -> bool:
    """Whether arrays lie in a zip file, by its first bytes; an empty one begins with its end."""
    start = file.read(4)
    file.seek(0)
    return start in (b"PK\x03\x04", b"PK\x05\x06")


def members_of(file: BinaryIO, archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """The members by the names of their arrays, none lost or renamed by damage of the directory, which has no
    checksum: as many as its end counts, and each under the name that stands before its bytes."""
    members = archive.infolist()
    file.seek(-22 - len(archive.comment), os.SEEK_END)
    mark, *_, count, _, _, _ = struct.unpack("<4s4H2LH", file.read(22))
    if mark != b"PK\x05\x06":
        raise zipfile.BadZipFile("there are bytes behind its end")
    if count not in (len(members), 0xFFFF):  # which stands for more
        raise zipfile.BadZipFile(f"its end counts {count} members, and its directory {len(members)}")
    for member in members:
        archive.open(member).close()
    return {member.filename.removesuffix(".npy"): member for member in members}


def _array_of(path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> NDArray[Any]:
    with reading(path):
        opened = archive.open(member)
    with opened:
        return _array(path, opened, member.file_size)


def _array(path: Path, file: IO[bytes], size: int) -> NDArray[Any]:
    """An array in NumPy's format that takes all of a file's bytes: a header that lies must not claim memory."""
    with reading(path):
        version = np.lib.format.read_magic(file)
        if version not in ((1, 0), (2, 0), (3, 0)):
            raise ValueError(f"version {version[0]}.{version[1]} of the format is unknown")
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, kind = read(file)
        if kind.hasobject:
            raise ValueError("its objects are pickles, which run whatever they hold and are not read")
        if kind.itemsize == 0:
            raise ValueError(f"its header is of {kind}, which is no number")
        if not all(type(length) is int and length >= 0 for length in shape):
            raise ValueError(f"its header has shape {shown(shape)}")
        needed, held = math.prod(shape) * kind.itemsize, size - file.tell()
        if needed != held:
            raise ValueError(f"its header, shape {shown(shape)} of {kind}, is of {needed} bytes, and {held} are there")
    refuse_large_file(path, (2 if kind.kind == "f" else 1) * needed)
    with reading(path):
        array = np.empty(math.prod(shape), kind)
        remaining = array.view(np.uint8) if needed else np.empty(0, np.uint8)
        while remaining.size and (piece := file.read(min(remaining.size, PIECE))):
            remaining[: len(piece)] = np.frombuffer(piece, np.uint8)
            remaining = remaining[len(piece) :]
        if remaining.size or file.read(1):  # a member's checksum is looked at where it ends
            raise EOFError(f"it ends {remaining.size} bytes early")
        return array.reshape(shape, order="F" if fortran else "C")


def has_test_arrays(path: Path) -> bool:
    """Whether a file .npz has a test split, by names alone; `load` says what is wrong with it."""
    with open(path, "rb") as file, reading(path):
        return is_zip(file) and "x_test" in members_of(file, zipfile.ZipFile(file))
