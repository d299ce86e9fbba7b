# SPDX-License-Identifier: BSD-3-Clause
"""Scans on disk: a Zarr group that xarray reads, written chunk by chunk, safe to be killed at any moment.

A chunk of the scan is one chunk of every array. Its status is written last, and like all files by a rename (Zarr's
LocalStore): where it stands, all of the chunk stands. A writer that was killed leaves files of its own behind, named
`*.partial`, which are swept out at the end. There are no time stamps, so the same scan gives the same bytes.
"""

from __future__ import annotations

import re
import shutil
import warnings
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["UNWRITTEN", "VERSION", "Described", "Store", "opened"]

# An attribute of the folder until its metadata are complete; then those of the scan replace it.
_MAKING = "fisherfield_scan_in_the_making"
VERSION = "fisherfield_version"  # the attribute that every scan has
# Settings that earlier versions did not have, and what all their scans had of them.
UNWRITTEN = {"nesterov": "False", "weight_decay": 0.0}
_COORDINATES = 2**20  # values in a chunk of coordinates
_LEFT = re.compile(r".+\.[0-9a-f]{32}\.partial")  # what Zarr calls a file that is being written

Described = tuple[tuple[str, ...], NDArray[Any], dict[str, Any]]  # dimensions, values, attributes


def _zarr() -> Any:
    """Zarr, or an ImportError that gives the pip command."""
    try:
        import zarr
    except ImportError:
        raise ImportError("a store needs zarr: pip install 'fisherfield[scan]'") from None
    return zarr


def opened(path: str) -> Any:
    """The Zarr group at `path`, to read; None where there is none."""
    try:
        return _zarr().open_group(path, mode="r")
    except (FileNotFoundError, NotADirectoryError, ValueError, KeyError):
        return None


def _differing(there: Any, coordinates: dict[str, Described]) -> list[str]:
    """Axes that a scan there has otherwise."""
    found = []
    for name, (_, values, _) in coordinates.items():
        if name not in there:
            found.append(f"{name}, no axis there")
        elif there[name].shape != values.shape:
            found.append(f"{name} ({there[name].size} values there, {values.size} here)")
        elif not np.array_equal(there[name][...], values):
            found.append(f"the values of {name}")
    return found


def _others(there: Any, attributes: dict[str, Any]) -> list[str]:
    """Attributes that differ, but for the title, which follows from others."""
    there = {**UNWRITTEN, **there}
    return [
        f"{name} ({there[name]!r} there, {value!r} here)"
        if name in there and len(f"{value}{there[name]}") < 80
        else name
        for name, value in attributes.items()
        if name != "title" and there.get(name) != value
    ]


class Store:
    """One scan's folder; what it is called with has been checked."""

    def __init__(self, path: str) -> None:
        self.path = path

    @cached_property
    def group(self) -> Any:
        """Its arrays, by name."""
        return _zarr().open_group(self.path, mode="r+")

    def prepare(
        self,
        attributes: dict[str, Any],
        coordinates: dict[str, Described],
        arrays: dict[str, Described],
        shape: tuple[int, ...],
        chunk: tuple[int, ...],
    ) -> None:
        """Makes the folder, or finds that it is this very scan's; refuses any other in one sentence.

        The values of `arrays` are what one empty entry holds: its dtype is the array's, and extents of its own come
        behind the grid's.
        """
        folder = Path(self.path)
        there = opened(self.path)
        nothing = not folder.exists() or (
            folder.is_dir() and all(_LEFT.fullmatch(entry.name) for entry in folder.iterdir())
        )
        if nothing or (there is not None and _MAKING in there.attrs):
            self._make(attributes, coordinates, arrays, shape, chunk)
            return
        if there is None or VERSION not in there.attrs:
            raise ValueError(
                f"store must be a new folder or that of a scan, got {self.path!r}, which was left as it is"
            )
        told = ", ".join(_differing(there, coordinates) or _others(there.attrs, attributes))
        if told:
            raise ValueError(
                f"store must belong to the same scan, got {self.path!r}, which differs in {told}; "
                "it was left as it is: give another one"
            )

    def _make(
        self,
        attributes: dict[str, Any],
        coordinates: dict[str, Described],
        arrays: dict[str, Described],
        shape: tuple[int, ...],
        chunk: tuple[int, ...],
    ) -> None:
        zarr, folder = _zarr(), Path(self.path)
        folder.mkdir(parents=True, exist_ok=True)
        for entry in folder.iterdir():  # of a call that was killed here
            if entry.is_dir():
                shutil.rmtree(entry)
            elif entry.name != "zarr.json":
                entry.unlink()
        group = zarr.create_group(self.path, overwrite=True, attributes={_MAKING: True})
        for name, (dimensions, values, said) in coordinates.items():
            chunks = tuple(min(extent, _COORDINATES) for extent in values.shape)
            self._array(group, name, dimensions, values.shape, chunks, values.dtype, 0, said)[...] = values
        for name, (dimensions, empty, said) in arrays.items():
            extents, chunks = (*shape, *empty.shape), (*chunk, *empty.shape)
            self._array(group, name, dimensions, extents, chunks, empty.dtype, empty.max().item(), said)
        with warnings.catch_warnings():
            # not yet part of Zarr 3's specification, and what xarray looks for first
            warnings.filterwarnings("ignore", message="Consolidated metadata")
            whole = zarr.consolidate_metadata(self.path)
        whole.attrs.put(attributes)

    @staticmethod
    def _array(
        group: Any,
        name: str,
        dimensions: tuple[str, ...],
        shape: tuple[int, ...],
        chunks: tuple[int, ...],
        dtype: Any,
        fill: Any,
        attributes: dict[str, Any],
    ) -> Any:
        from zarr.codecs import BloscCodec

        return group.create_array(
            name,
            shape=shape,
            chunks=chunks,
            dtype=dtype,
            fill_value=fill,
            # 1.0 GB/s and 1.3 times smaller on lambda_max over gamma, sigma_w2, sigma_b2, where zstd writes 0.4 GB/s
            compressors=BloscCodec(typesize=dtype.itemsize, cname="lz4", clevel=5, shuffle="shuffle"),
            dimension_names=dimensions,
            attributes=attributes,
        )

    def values(self, name: str, part: slice) -> NDArray[np.float64]:
        """Some of an axis's values."""
        return np.asarray(self.group[name][part], dtype=np.float64)

    def write(self, box: tuple[slice, ...], arrays: dict[str, NDArray[Any]], status: NDArray[np.int8]) -> None:
        """One chunk, its status last."""
        at: Any = box or ...
        for name, values in arrays.items():
            self.group[name][(*box, ...)] = values
        self.group["status"][at] = status

    def done(self, box: tuple[slice, ...]) -> bool:
        """Whether a chunk stands."""
        try:
            return not np.any(self.group["status"][box or ...] == -1)
        except (RuntimeError, ValueError):  # a file that a power failure cut short
            return False

    def sweep(self) -> None:
        """Takes away what killed writers have left."""
        for left in Path(self.path).rglob("*.partial"):
            if _LEFT.fullmatch(left.name):
                with suppress(OSError):
                    left.unlink()
