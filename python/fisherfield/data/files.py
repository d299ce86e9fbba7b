# SPDX-License-Identifier: BSD-3-Clause
"""What the readers of files share."""

from __future__ import annotations

from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from .. import _numbers
from .._memory import beyond_memory
from .._words import shown

__all__ = ["PIECE", "checked", "only_training", "read_bytes", "refuse_large_file"]

PIECE = 2**24  # bytes read at a time


def only_training(split: str, what: str) -> None:
    if split != "train":
        raise ValueError(f"split must be 'train' for {what}, which have no other, got {shown(split)}")


def checked(x_name: str, x: Any, y_name: str, y: Any) -> tuple[NDArray[Any], NDArray[np.int64] | None]:
    x = _numbers.samples_array_of(x_name, x)
    return x, None if y is None else _numbers.labels_of(y_name, y, len(x))


def read_bytes(file: IO[bytes], count: int) -> bytes:
    """At most `count` bytes, in pieces: a header that lies must not claim memory."""
    pieces = []
    while count > 0 and (piece := file.read(min(count, PIECE))):
        pieces.append(piece)
        count -= len(piece)
    return b"".join(pieces)


def refuse_large_file(path: Path, needed: int) -> None:
    if memory := beyond_memory(needed):
        raise ValueError(
            f"{path} must fit into memory, and takes up to {memory[0]}, more than the {memory[1]} there are"
        )
