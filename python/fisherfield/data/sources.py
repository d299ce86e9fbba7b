# SPDX-License-Identifier: BSD-3-Clause
"""Inputs for sampled networks and for training: Gaussian ones, and data sets; nothing is downloaded."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import _numbers
from .._memory import refuse_large_array
from .._numbers import Standardize
from .._random import stream
from .._words import did_you_mean, shown, standardised
from .arrays import arrays_on_disk, checked, has_test_arrays, only_training
from .images import digits, fashion_mnist, folder, has_test_files, idx

_NAMES = ("digits", "fashion-mnist")
_SPLITS = ("train", "test")
_BLOCK = 4096  # samples that statistics take at a time


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
    standardize: Standardize | None
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
        labels = f"{self.classes} classes" if self.y is not None else "no labels"
        shape = " x ".join(map(str, self.x.shape[1:]))
        return f"Data {self.name}: {len(self.x)} samples of {shape}, {standardised(self.standardize)}, {labels}"


def gaussian(shape: Any, samples: int, seed: int = 0) -> NDArray[np.float64]:
    """Independent standard normal inputs, (samples, *shape): overlap 0 and length 1, as the theory assumes by default.

    `shape` is one sample's, or a Network, whose input_shape it is. Drawn from NumPy's PCG64 with a stream of its own
    for each seed, which is not that of `sample`. Raises ValueError or TypeError for a shape, number or seed that is
    none.
    """
    shape = _numbers.sample_shape_of(shape)
    samples, seed = _numbers.integer("samples", samples, 1), _numbers.seed_of(seed)
    refuse_large_array("samples", (samples, *shape), copies=1)
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
    standardize: Standardize | None = "global",
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
        _numbers.choice("standardize", standardize, _numbers.STANDARDS)
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
    refuse_large_array(f"x of {name}", x.shape, copies=1)
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
        return has_test_arrays(path)
    return path.is_dir() and has_test_files(path)


def stamps(source: str) -> Iterator[tuple[str, int, int]]:
    """Path, time of the last change and size of what `load` reads: another stamp, other data."""
    if source == "digits":
        return
    path = fashion_mnist() if source == "fashion-mnist" else Path(_numbers.path_of("source", source))
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
        return "digits", *digits(split)
    if isinstance(source, str) and source == "fashion-mnist":
        return "fashion-mnist", *idx(fashion_mnist(), split)
    if isinstance(source, (str, os.PathLike)):
        path = Path(_numbers.path_of("source", source))
        if path.is_dir():
            return path.resolve().name, *folder(path, split)
        if path.suffix in (".npy", ".npz"):
            return path.stem, *arrays_on_disk(path, split)
        raise _nothing(source, path)
    x, y = source if isinstance(source, tuple) and len(source) == 2 else (source, None)
    only_training(split, "arrays")
    return "arrays", *checked("x", x, "y", y)


def _nothing(source: Any, path: Path) -> Exception:
    text = f"source must be {', '.join(_NAMES)}, a folder, a file .npy or .npz, or arrays, got {shown(str(source))}"
    if path.exists():
        return ValueError(f"{text}, another file")
    return FileNotFoundError(f"{text}, which is not there{did_you_mean(source, _NAMES)}")
