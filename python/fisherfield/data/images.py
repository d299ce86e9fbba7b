# SPDX-License-Identifier: BSD-3-Clause
"""Data sets in folders as MNIST's and CIFAR-10's are, and scikit-learn's digits."""

from __future__ import annotations

import gzip
import math
import os
import zlib
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from .._memory import refuse_large_file
from .._optional import optional
from .._random import stream
from .arrays import PIECE

_FOLDER = "/usr/share/datasets/fashion-mnist"  # of Debian's package dataset-fashion-mnist
_DIGITS = 1437  # of 1797 are the training split of scikit-learn's digits, which come without one

# The file names of MNIST and of what follows it, by split: images, labels.
_IDX = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
_CIFAR = {"train": tuple(f"data_batch_{number}.bin" for number in range(1, 6)), "test": ("test_batch.bin",)}
_DENSEST = 1032  # bytes that deflate makes one byte of, at most
_RECORDS, _RECORD = 10000, 1 + 3 * 32 * 32  # a file; bytes: the label, then the image by channel, row and column


def digits(split: str) -> tuple[NDArray[Any], NDArray[np.int64]]:
    datasets = optional("sklearn.datasets", "the digits need scikit-learn", "fisherfield[data]")
    x, y = datasets.load_digits(return_X_y=True)
    order = stream(0, "digits").permutation(len(x))
    chosen = order[:_DIGITS] if split == "train" else order[_DIGITS:]
    return x[chosen].reshape(-1, 1, 8, 8), y[chosen].astype(np.int64)


def fashion_mnist() -> Path:
    variable = os.environ.get("FISHERFIELD_DATA")
    folder = Path(os.path.expanduser(variable)) if variable else Path(_FOLDER)
    if variable and (folder / "fashion-mnist").is_dir():
        folder = folder / "fashion-mnist"
    if not any(find(folder, name) for names in _IDX.values() for name in names):
        raise FileNotFoundError(
            f"fashion-mnist must lie in {_FOLDER}, where 'apt-get install dataset-fashion-mnist' puts it, or where the "
            f"environment variable FISHERFIELD_DATA says, and is not in {folder}"
        )
    return folder


def folder(folder: Path, split: str) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Which of the two kinds of folders it is."""
    if any(find(folder, name) for names in _IDX.values() for name in names):
        return idx(folder, split)
    if any((folder / name).is_file() for names in _CIFAR.values() for name in names):
        return _cifar(folder, split)
    if (folder / "data_batch_1").is_file():
        raise ValueError(
            f"source must be a folder of CIFAR-10's binary version (cifar-10-binary.tar.gz), got {str(folder)!r} with "
            "pickles, which run whatever they hold and are not read"
        )
    raise FileNotFoundError(
        f"source must be a folder with {', '.join(_IDX['train'])} (or the same with .gz), or with "
        f"{_CIFAR['train'][0]} to {_CIFAR['train'][-1]}, got {str(folder)!r}, which has neither"
    )


def find(folder: Path, name: str) -> Path | None:
    """The file of this name, plain or with .gz; some copies write train-images.idx3-ubyte."""
    for stem in (name, name.replace("-idx", ".idx")):
        for path in (folder / stem, folder / f"{stem}.gz"):
            if path.is_file():
                return path
    return None


def idx(folder: Path, split: str) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """MNIST's format: two zero bytes, the type (8 is unsigned byte), the number of dimensions; their sizes, big-endian
    in 32 bits; the numbers in C order (http://yann.lecun.com/exdb/mnist)."""
    arrays, paths = [], []
    for name, dimensions in zip(_IDX[split], (3, 1), strict=True):
        path = find(folder, name)
        if path is None:
            raise FileNotFoundError(f"{folder / name} (or the same with .gz) must be there for the {split} split")
        arrays.append(_idx_array(path, dimensions))
        paths.append(path)
    x, y = arrays
    if len(x) != len(y):
        raise ValueError(f"{paths[1]} must hold a label for each of {len(x)} images, got {len(y)}")
    return x, y.astype(np.int64)


def _idx_array(path: Path, dimensions: int) -> NDArray[np.uint8]:
    size = path.stat().st_size
    with open(path, "rb") as plain:
        packed = plain.read(2) == b"\x1f\x8b"
    with _opened(path, packed) as file:
        try:
            header = _bytes(file, 4 + 4 * dimensions)
            magic = bytes([0, 0, 8, dimensions])
            if header[:4] != magic:
                raise ValueError(
                    f"{path} must begin with 0x{magic.hex()}, as IDX files of bytes in {dimensions} "
                    f"{'dimension' if dimensions == 1 else 'dimensions'} do, got 0x{header[:4].hex()}"
                )
            if len(header) < 4 + 4 * dimensions:
                raise ValueError(f"{path} must have a header of {4 + 4 * dimensions} bytes, got {len(header)}")
            sizes = [int.from_bytes(header[4 * place : 4 * place + 4], "big") for place in range(1, dimensions + 1)]
            count = math.prod(sizes)
            refuse_large_file(path, 2 * min(count, _DENSEST * size if packed else size))
            numbers = _bytes(file, count + 1)
        except (OSError, EOFError, zlib.error) as error:
            if not packed:
                raise
            raise ValueError(f"{path} must be a whole gzip file, got a damaged one ({error})") from error
    words = f"{count} bytes after its header ({' x '.join(map(str, sizes))})"
    if len(numbers) != count:
        raise ValueError(f"{path} must hold {words}, got {'more' if len(numbers) > count else len(numbers)}")
    if count == 0:
        raise ValueError(f"{path} must hold at least one sample, got {' x '.join(map(str, sizes))}")
    return np.frombuffer(numbers, np.uint8).reshape(sizes)


def _opened(path: Path, packed: bool) -> BinaryIO:
    return cast(BinaryIO, gzip.open(path)) if packed else open(path, "rb")


def _cifar(folder: Path, split: str) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """The binary version of https://www.cs.toronto.edu/~kriz/cifar.html: records of a label and 3 x 32 x 32 bytes."""
    records = []
    for name in _CIFAR[split]:
        path = folder / name
        if not path.is_file():
            raise FileNotFoundError(f"{path} must be there for the {split} split of CIFAR-10's binary version")
        if (size := path.stat().st_size) != _RECORDS * _RECORD:
            raise ValueError(
                f"{path} must hold {_RECORDS * _RECORD} bytes, CIFAR-10's {_RECORDS} records of {_RECORD}, got {size}"
            )
        rows = np.fromfile(path, np.uint8).reshape(-1, _RECORD)
        if rows[:, 0].max() > 9:
            raise ValueError(f"{path} must have labels from 0 to 9, as CIFAR-10 has, got {rows[:, 0].max()}")
        records.append(rows)
    every = np.concatenate(records)
    return every[:, 1:].reshape(-1, 3, 32, 32), every[:, 0].astype(np.int64)


def has_test_files(folder: Path) -> bool:
    """Whether a folder has a test split; nothing is read of it but names."""
    return all(find(folder, name) for name in _IDX["test"]) or all((folder / name).is_file() for name in _CIFAR["test"])


def _bytes(file: BinaryIO, count: int) -> bytes:
    """At most `count` bytes, in pieces: a header that lies must not claim memory."""
    pieces = []
    while count > 0 and (piece := file.read(min(count, PIECE))):
        pieces.append(piece)
        count -= len(piece)
    return b"".join(pieces)
