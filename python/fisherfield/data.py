# SPDX-License-Identifier: BSD-3-Clause
"""Inputs for sampled networks and for training: Gaussian ones, and data sets on disk; nothing is downloaded."""

from __future__ import annotations

import gzip
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
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from . import _numbers
from ._memory import available_memory, bytes_in_words
from ._random import stream

__all__ = ["Data", "gaussian", "load", "overlap_and_length"]

_NAMES = ("digits", "fashion-mnist")
_SPLITS = ("train", "test")
_FOLDER = "/usr/share/datasets/fashion-mnist"  # of Debian's package dataset-fashion-mnist
_BLOCK = 4096  # samples that statistics take at a time
_DIGITS = 1437  # of 1797 are the training split of scikit-learn's digits, which come without one

# The file names of MNIST and of what follows it, by split: images, labels.
_IDX = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
_CIFAR = {"train": tuple(f"data_batch_{number}.bin" for number in range(1, 6)), "test": ("test_batch.bin",)}
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
_PIECE = 2**24  # bytes read at a time
_DENSEST = 1032  # bytes that deflate makes one byte of, at most
_RECORDS, _RECORD = 10000, 1 + 3 * 32 * 32  # a file; bytes: the label, then the image by channel, row and column


@dataclass(frozen=True, eq=False, repr=False)
class Data:
    """Samples and their labels; ``x, y = data`` takes them out.

    Attributes
    ----------
    x : ndarray of float64, (n, features) or (n, channels, height, width)
    y : ndarray of int64, (n,), or None
        Labels 0, 1, ..., where there are any.
    name : str
    standardize : {"global", "feature", None}
        How x was standardised: (x - mean)/scale.
    mean, scale : float or ndarray
        What it was standardised with: numbers for "global", an array in one sample's shape for "feature", whose scale
        is inf where a feature is constant; 0 and 1 for None.
    classes : int
        How many labels there are in the whole split; 0 without labels.
    """

    x: NDArray[np.float64]
    y: NDArray[np.int64] | None
    name: str
    standardize: str | None
    mean: float | NDArray[np.float64] = 0.0
    scale: float | NDArray[np.float64] = 1.0
    classes: int = 0

    def __iter__(self) -> Iterator[Any]:
        return iter((self.x, self.y))

    def __len__(self) -> int:
        return len(self.x)

    @property
    def flat(self) -> NDArray[np.float64]:
        """x as (n, features)."""
        return self.x.reshape(len(self.x), -1)

    def one_hot(self, classes: int | None = None) -> NDArray[np.float64]:
        """(n, classes): 1 at each sample's label, else 0; `classes` is `self.classes` unless given.

        Raises ValueError where there are no labels, or more of them than classes.
        """
        if self.y is None:
            raise ValueError(f"one_hot needs labels, and {self.name} has none")
        count = self.classes if classes is None else _numbers.integer("classes", classes, self.classes)
        rows = np.zeros((len(self.y), count))
        rows[np.arange(len(self.y)), self.y] = 1.0
        return rows

    def __repr__(self) -> str:
        how = {"global": "standardised as a whole", "feature": "standardised feature by feature"}
        labels = f"{self.classes} classes" if self.y is not None else "no labels"
        shape = " x ".join(map(str, self.x.shape[1:]))
        words = how.get(self.standardize or "", "not standardised")
        return f"Data {self.name}: {len(self.x)} samples of {shape}, {words}, {labels}"


def gaussian(shape: Any, samples: int, seed: int = 0) -> NDArray[np.float64]:
    """Independent standard normal inputs, (samples, *shape): overlap 0 and length 1, as the theory assumes by default.

    `shape` is one sample's, or a Network, whose input_shape it is. Drawn from NumPy's PCG64 with a stream of its own
    for each seed, which is not that of `sample`. Raises ValueError or TypeError for a shape, number or seed that is
    none.
    """
    shape = _numbers.sample_shape_of(shape)
    samples, seed = _numbers.integer("samples", samples, 1), _numbers.seed_of(seed)
    _numbers.refuse_large_array("samples", (samples, *shape), copies=1)
    return stream(seed, "inputs").standard_normal((samples, *shape))


def overlap_and_length(x: Any) -> tuple[float, float]:
    """(overlap, length) of a batch: mean over i != j of <x_i, x_j>/d, and mean of |x_i|^2/d, d features.

    What the theory's arguments of these names are for these data. The overlap is formed as
    (|sum x_i|^2 - sum |x_i|^2)/(n (n-1) d), to about 1e-13 of length.

    Parameters
    ----------
    x : array_like, (n, ...), or Data

    Raises
    ------
    ValueError, TypeError
        For fewer than two samples, and for what is not finite.
    """
    rows = _numbers.samples_array_of("x", x.x if isinstance(x, Data) else x)
    n = len(rows)
    if n < 2:
        raise ValueError(f"x must hold at least 2 samples, whose overlap is asked for, got {n}")
    rows = rows.reshape(n, -1).astype(np.float64, copy=False)
    d = rows.shape[1]
    total, squares = np.sum(rows, axis=0), float(np.sum(np.einsum("ij,ij->i", rows, rows)))
    length = squares / (n * d)
    overlap = (float(total @ total) - squares) / (n * (n - 1) * d)
    return min(max(overlap, -length / (n - 1)), length), length  # the bounds of any batch, which rounding may pass


def load(
    source: Any,
    standardize: str | None = "global",
    samples: int | None = None,
    seed: int = 0,
    split: str = "train",
    shape: Any = None,
) -> Data:
    """A data set: images (n, channels, height, width) or features (n, features) in float64, and labels in int64.

    Parameters
    ----------
    source : str, path, array or pair of arrays
        ==================  ========================================================================================
        "digits"            scikit-learn's 1797 digits, 1 x 8 x 8; a fixed random 1437 of them are the training split
        "fashion-mnist"     as Debian's package dataset-fashion-mnist installs it, or in the folder, or in the folder
                            fashion-mnist of the folder, that the environment variable FISHERFIELD_DATA names
        a folder            of IDX files named as MNIST's (train-images-idx3-ubyte, ...), plain or compressed by gzip;
                            or of CIFAR-10's binary version (data_batch_1.bin, ...)
        a file .npy         x
        a file .npz         x, and y if there; or x_train, y_train, x_test, y_test
        x, or a pair x, y   arrays
        ==================  ========================================================================================
    standardize : {"global", "feature", None}
        "global": all numbers get mean 0 and variance 1 together, so that length is 1. "feature": each feature gets
        them over the samples; one that is constant becomes 0. None: left as they are. The mean and variance are those
        of the samples returned; for the test split, those of the whole training split.
    samples : int, optional
        So many of the split's, in random order: the first of a permutation that the seed gives. None: all, in order.
    seed : int
        0 or more.
    split : {"train", "test"}
        Arrays have a training split alone.
    shape : Network or sequence of int, optional
        One sample's shape; its sizes must multiply to the number of features. None: the source's own, where height x
        width becomes 1 x height x width.

    Returns
    -------
    Data

    Raises
    ------
    ImportError
        For "digits" without scikit-learn.
    FileNotFoundError
        For a folder or a file that is not there.
    ValueError, TypeError
        For a file that is damaged, too short, too long or something else, and for arguments out of range.
    """
    if standardize is not None:
        _numbers.choice("standardize", standardize, ("global", "feature"))
    _numbers.choice("split", split, _SPLITS)
    samples = None if samples is None else _numbers.integer("samples", samples, 1)
    seed = _numbers.seed_of(seed)
    name, x, y = _read(source, split)
    classes = 0 if y is None else int(np.max(y)) + 1
    x = _shaped(x, shape)
    if samples is not None:
        if samples > len(x):
            raise ValueError(f"samples must be at most {len(x)}, the number of {name}'s {split} split, got {samples}")
        chosen = stream(seed, "samples").permutation(len(x))[:samples]
        x, y = x[chosen], None if y is None else y[chosen]
    mean: Any = 0.0
    scale: Any = 1.0
    if standardize is not None:
        reference = x if split == "train" else _shaped(_read(source, "train")[1], shape)
        mean, scale = _statistics(reference, standardize, name)
    _numbers.refuse_large_array(f"x of {name}", x.shape, copies=1)
    numbers = x.astype(np.float64)
    if standardize is not None:
        numbers -= mean
        numbers /= scale
    return Data(numbers, y, name, standardize, mean, scale, classes)


def has_test(source: str) -> bool:
    """Whether a name, folder or file has a test split; nothing is read of it but names."""
    if source in _NAMES:
        return True
    path = Path(_numbers.path_of("source", source))
    if path.suffix == ".npz" and path.is_file():
        with open(path, "rb") as file, _reading(path):
            return _packed(file) and "x_test" in _members(file, zipfile.ZipFile(file))  # else `load` says what it is
    return path.is_dir() and (
        all(_find(path, name) for name in _IDX["test"]) or all((path / name).is_file() for name in _CIFAR["test"])
    )


def stamps(source: str) -> Iterator[tuple[str, int, int]]:
    """Path, time of the last change and size of what `load` reads: another stamp, other data."""
    if source == "digits":
        return
    path = _fashion_mnist() if source == "fashion-mnist" else Path(_numbers.path_of("source", source))
    for file in sorted(path.iterdir()) if path.is_dir() else [path] if path.exists() else []:
        state = file.stat()
        yield str(file.resolve()), state.st_mtime_ns, state.st_size


def _shaped(x: NDArray[Any], shape: Any) -> NDArray[Any]:
    if shape is None:
        return x[:, None] if x.ndim == 3 else x
    sizes = _numbers.sample_shape_of(shape)
    if math.prod(sizes) != math.prod(x.shape[1:]):
        raise ValueError(
            f"shape must have {math.prod(x.shape[1:])} features, those of samples of shape {x.shape[1:]}, got {sizes}"
        )
    return x.reshape(len(x), *sizes)


def _statistics(x: NDArray[Any], standardize: str, name: str) -> tuple[Any, Any]:
    """Mean and standard deviation, over all numbers or over the samples, in blocks that take little memory."""
    axes = tuple(range(x.ndim)) if standardize == "global" else (0,)
    blocks = [x[start : start + _BLOCK] for start in range(0, len(x), _BLOCK)]
    count = x.size if standardize == "global" else len(x)
    mean = sum(np.sum(block, axis=axes, dtype=np.float64) for block in blocks) / count
    scale = np.sqrt(sum(np.sum((block - mean) ** 2, axis=axes) for block in blocks) / count)
    # of a constant rounding leaves some, and of numbers below 1e-160 underflow leaves none
    constant = (np.min(x, axis=axes) == np.max(x, axis=axes)) | (scale == 0.0)
    if standardize == "global":
        if constant:
            raise ValueError(f"standardize must be None for numbers that are all the same, as those of {name} are")
        return float(mean), float(scale)
    return mean, np.where(constant, np.inf, scale)


def _read(source: Any, split: str) -> tuple[str, NDArray[Any], NDArray[np.int64] | None]:
    """Name, x as it is stored, and labels."""
    if isinstance(source, str) and source == "digits":
        return "digits", *_digits(split)
    if isinstance(source, str) and source == "fashion-mnist":
        return "fashion-mnist", *_idx(_fashion_mnist(), split)
    if isinstance(source, (str, os.PathLike)):
        path = Path(_numbers.path_of("source", source))
        if path.is_dir():
            return path.resolve().name, *_folder(path, split)
        if path.suffix in (".npy", ".npz"):
            return path.stem, *_arrays_on_disk(path, split)
        raise _nothing(source, path)
    x, y = source if isinstance(source, tuple) and len(source) == 2 else (source, None)
    _only_training(split, "arrays")
    return "arrays", *_checked("x", x, "y", y)


def _nothing(source: Any, path: Path) -> Exception:
    from difflib import get_close_matches

    near = get_close_matches(str(source), _NAMES, n=1)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    text = f"source must be {', '.join(_NAMES)}, a folder, a file .npy or .npz, or arrays, got {str(source)!r}"
    return (
        ValueError(f"{text}, another file") if path.exists() else FileNotFoundError(f"{text}, which is not there{hint}")
    )


def _only_training(split: str, what: str) -> None:
    if split != "train":
        raise ValueError(f"split must be 'train' for {what}, which have no other, got {split!r}")


def _checked(x_name: str, x: Any, y_name: str, y: Any) -> tuple[NDArray[Any], NDArray[np.int64] | None]:
    x = _numbers.samples_array_of(x_name, x)
    return x, None if y is None else _numbers.labels_of(y_name, y, len(x))


def _digits(split: str) -> tuple[NDArray[Any], NDArray[np.int64]]:
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise ImportError("the digits need scikit-learn: pip install 'fisherfield[data]'") from None
    x, y = load_digits(return_X_y=True)
    order = stream(0, "digits").permutation(len(x))
    chosen = order[:_DIGITS] if split == "train" else order[_DIGITS:]
    return x[chosen].reshape(-1, 1, 8, 8), y[chosen].astype(np.int64)


def _fashion_mnist() -> Path:
    given = os.environ.get("FISHERFIELD_DATA")
    folder = Path(os.path.expanduser(given)) if given else Path(_FOLDER)
    if given and (folder / "fashion-mnist").is_dir():
        folder = folder / "fashion-mnist"
    if not any(_find(folder, name) for names in _IDX.values() for name in names):
        raise FileNotFoundError(
            f"fashion-mnist must lie in {_FOLDER}, where 'apt-get install dataset-fashion-mnist' puts it, or where the "
            f"environment variable FISHERFIELD_DATA says, and is not in {folder}"
        )
    return folder


def _folder(folder: Path, split: str) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Which of the two kinds of folders it is."""
    if any(_find(folder, name) for names in _IDX.values() for name in names):
        return _idx(folder, split)
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


def _find(folder: Path, name: str) -> Path | None:
    """The file of this name, plain or with .gz; some copies write train-images.idx3-ubyte."""
    for stem in (name, name.replace("-idx", ".idx")):
        for path in (folder / stem, folder / f"{stem}.gz"):
            if path.is_file():
                return path
    return None


def _idx(folder: Path, split: str) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """MNIST's format: two zero bytes, the type (8 is unsigned byte), the number of dimensions; their sizes, big-endian
    in 32 bits; the numbers in C order (http://yann.lecun.com/exdb/mnist)."""
    arrays, paths = [], []
    for name, dimensions in zip(_IDX[split], (3, 1), strict=True):
        path = _find(folder, name)
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
            _refuse_large_file(path, 2 * min(count, _DENSEST * size if packed else size))
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


def _bytes(file: BinaryIO, count: int) -> bytes:
    """At most `count` bytes, in pieces: a header that lies must not claim memory."""
    pieces = []
    while count > 0 and (piece := file.read(min(count, _PIECE))):
        pieces.append(piece)
        count -= len(piece)
    return b"".join(pieces)


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


def _arrays_on_disk(path: Path, split: str) -> tuple[NDArray[Any], NDArray[np.int64] | None]:
    """Never a pickle."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} must be there")
    with open(path, "rb") as file:
        with _reading(path):
            archive = zipfile.ZipFile(file) if _packed(file) else None
            members = {} if archive is None else _members(file, archive)
        x_name = f"x_{split}" if f"x_{split}" in members else "x"
        y_name = x_name.replace("x", "y", 1)
        if archive is not None and x_name not in members:
            held = ", ".join(members) or "nothing"
            raise ValueError(f"{path} must hold an array x, or x_train and x_test, got {held}")
        if x_name == "x":
            _only_training(split, f"arrays named x, as in {path.name}")
        if archive is None:
            arrays = {"x": _array(path, file, os.fstat(file.fileno()).st_size)}
        else:
            chosen = [name for name in (x_name, y_name) if name in members]
            arrays = {name: _array_of(path, archive, members[name]) for name in chosen}
    return _checked(f"{x_name} of {path}", arrays[x_name], f"{y_name} of {path}", arrays.get(y_name))


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Around the calls of NumPy's and zipfile's readers alone: whatever they raise is about the file."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the Python that a damaged header is read as
            yield
    except _DAMAGED as error:
        words = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(
            f"{path} must be a whole {path.suffix} file of numbers, got one that is not "
            f"({words if len(words) <= 200 else f'{words[:197]}...'})"
        ) from error


def _packed(file: BinaryIO) -> bool:
    """Whether arrays lie in a zip file, by its first bytes; an empty one begins with its end."""
    start = file.read(4)
    file.seek(0)
    return start in (b"PK\x03\x04", b"PK\x05\x06")


def _members(file: BinaryIO, archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
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
    with _reading(path):
        opened = archive.open(member)
    with opened:
        return _array(path, opened, member.file_size)


def _array(path: Path, file: IO[bytes], size: int) -> NDArray[Any]:
    """An array in NumPy's format that takes all of a file's bytes: a header that lies must not claim memory."""
    with _reading(path):
        version = np.lib.format.read_magic(file)
        if version not in ((1, 0), (2, 0), (3, 0)):
            raise ValueError(f"version {version[0]}.{version[1]} of the format is unknown")
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, kind = read(file)
        if kind.hasobject:
            raise ValueError("its objects are pickles, which run whatever they hold and are not read")
        if not all(type(length) is int and length >= 0 for length in shape):
            raise ValueError(f"its header has shape {_numbers.shown(shape)}")
        needed, held = math.prod(shape) * kind.itemsize, size - file.tell()
        if needed != held:
            raise ValueError(
                f"its header, shape {_numbers.shown(shape)} of {kind}, is of {needed} bytes, and {held} are there"
            )
    _refuse_large_file(path, (2 if kind.kind == "f" else 1) * needed)
    with _reading(path):
        array = np.empty(math.prod(shape), kind)
        left = array.view(np.uint8) if needed else np.empty(0, np.uint8)
        while left.size and (piece := file.read(min(left.size, _PIECE))):
            left[: len(piece)] = np.frombuffer(piece, np.uint8)
            left = left[len(piece) :]
        if left.size or file.read(1):  # a member's checksum is looked at where it ends
            raise EOFError(f"it ends {left.size} bytes early")
        return array.reshape(shape, order="F" if fortran else "C")


def _refuse_large_file(path: Path, needed: int) -> None:
    there = available_memory() if needed > 1e8 else None
    if there is not None and needed > there:
        raise ValueError(
            f"{path} must fit into memory, and takes up to {bytes_in_words(needed)}, more than the "
            f"{bytes_in_words(there)} there are"
        )
