# SPDX-License-Identifier: BSD-3-Clause
"""Scans on disk: a Zarr group that xarray reads, written chunk by chunk, safe to be killed at any moment.

A chunk of the scan is one chunk of every array. Its status is written last, and like all files by a rename (Zarr's
LocalStore): where it stands, all of the chunk stands. A writer that was killed leaves files of its own behind, named
`*.partial`, which are swept out at the end. There are no time stamps, so the same scan gives the same bytes.

Every chunk carries a checksum (Zarr's crc32c), and the group's metadata a digest of all metadata and axes. Whoever goes
on with a scan looks at every file, and writes again what is damaged or gone; whoever opens one is refused there. While
a scan writes it holds the lock of a file, which is there only then.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import warnings
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._optional import optional
from .._words import shown
from .layout import MARK, TWIN, Damaged, Layout, damage, in_order, layout_of, marked, read, root_of, same, sound
from .lock import Lock

# An attribute of the folder until its metadata are complete; then those of the scan replace it.
_MAKING = "fisherfield_scan_in_the_making"
VERSION = "fisherfield_version"  # the attribute that every scan has
# Settings that earlier versions did not have, and what all their scans had of them.
UNWRITTEN = {"nesterov": "False", "weight_decay": 0.0, "edge": "False", "units": "none", "seed": 0}
_COORDINATES = 2**20  # values in a chunk of coordinates
_LEFT = re.compile(r".+\.[0-9a-f]{32}\.partial")  # what Zarr calls a file that is being written
_LOCK = "writer.lock"
_ANOTHER = "remove it, or give another one"

Described = tuple[tuple[str, ...], NDArray[Any], dict[str, Any]]  # dimensions, values, attributes
Box = tuple[slice, ...]


def _zarr() -> Any:
    return optional("zarr", "a store needs zarr", "fisherfield[scan]")


def opened(path: str) -> Any:
    """The Zarr group of the scan at `path`, to read; None where there is none. Raises Damaged."""
    zarr = _zarr()
    root = root_of(path)
    if root is None and (Path(path) / ".zgroup").is_file():  # a copy in Zarr's format 2
        with suppress(ValueError, KeyError, TypeError, OSError):
            return zarr.open_group(path, mode="r")
    return _group(path, root, "r") if root is not None and VERSION in root["attributes"] else None


def _group(path: str, root: dict[str, Any], mode: str) -> Any:
    from .checked import Checked

    layout = layout_of(path, root)
    try:
        return _zarr().open_group(Checked(path, read_only=mode == "r", layout=layout), mode=mode)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise damage(path, f"Zarr cannot read its metadata ({error})", _ANOTHER) from None


def _differing(there: Any, coordinates: dict[str, Described]) -> list[str]:
    """Axes that a scan there has otherwise."""
    differences = []
    for name, (_, values, _) in coordinates.items():
        if name not in there:
            differences.append(f"{name}, no axis there")
        elif there[name].shape != values.shape:
            differences.append(f"{name} ({there[name].size} values there, {values.size} here)")
        elif not np.array_equal(there[name][...], values):
            differences.append(f"the values of {name}")
    return differences


def _others(there: Any, attributes: dict[str, Any]) -> list[str]:
    """Attributes that differ, but for the title and the note, which follow from others."""
    there = {**UNWRITTEN, **there}
    return [
        f"{name} ({shown(there[name])} there, {shown(value)} here)"
        if name in there and len(f"{value}{there[name]}") < 80
        else name
        for name, value in attributes.items()
        if name not in ("title", "note") and there.get(name) != value
    ]


class Store:
    """One scan's folder; what it is called with has been checked."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._folder = Path(path)
        self._lock = Lock(self._folder / _LOCK)
        self._arrays: dict[str, Any] = {}
        self._new = False

    @cached_property
    def _root(self) -> dict[str, Any]:
        root = root_of(self.path)
        if root is None:
            raise damage(self.path, "zarr.json is missing", _ANOTHER)
        return root

    @cached_property
    def _layout(self) -> Layout:
        return layout_of(self.path, self._root)

    @cached_property
    def group(self) -> Any:
        """Its arrays, by name."""
        return _group(self.path, self._root, "r+")

    def _written(self, name: str) -> Any:
        """An array to write to, empty chunks too where the store was begun so: what is not there was not written."""
        if name not in self._arrays:
            array = self.group[name]
            self._arrays[name] = _with_empty_chunks(array) if self._layout.strict else array
        return self._arrays[name]

    # ---------------------------------------------------------------------------------------------------- one writer

    def hold(self) -> bool:
        """Takes the lock, if this object does not have it; a BlockingIOError says who has."""
        if self._lock.held:
            return False
        self._folder.mkdir(parents=True, exist_ok=True)
        self._lock.acquire(f"store {self.path!r}")
        return True

    def release(self) -> None:
        """Gives the lock back."""
        self._lock.release()

    # ------------------------------------------------------------------------------------------------------ metadata

    def prepare(
        self,
        attributes: dict[str, Any],
        coordinates: dict[str, Described],
        arrays: dict[str, Described],
        shape: tuple[int, ...],
        chunk: tuple[int, ...],
    ) -> None:
        """Makes the folder, or finds that it is this very scan's and mends it; refuses any other in one sentence.

        The values of `arrays` are what one empty entry holds: its dtype is the array's, and extents of its own come
        behind the grid's.
        """
        root = _described(attributes, coordinates, arrays, shape, chunk)
        if self._amiss(root, attributes, coordinates) == []:
            return
        self.hold()
        amiss = self._amiss(root, attributes, coordinates)
        if amiss is None:
            self._make(root, coordinates)
        elif amiss:
            self._mend(root, coordinates, amiss)
            warnings.warn(f"store {self.path!r} was damaged in {_few(amiss)}, written anew now", stacklevel=5)

    def _amiss(
        self, root: dict[str, Any], attributes: dict[str, Any], coordinates: dict[str, Described]
    ) -> list[str] | None:
        """Files of metadata and axes that are to be written; None where that is all of them."""
        if not self._folder.exists() or (
            self._folder.is_dir()
            and all(_LEFT.fullmatch(entry.name) or entry.name == _LOCK for entry in self._folder.iterdir())
        ):
            return None
        content = read(self._folder / "zarr.json") or b""
        there = _parsed(content)
        if isinstance(there, dict) and _MAKING in str(there.get("attributes")):
            return None
        # The digest of this very scan is there, or all that it is made of.
        digest = root["attributes"][MARK]["sha256"].encode()
        twin = b"" if sound(there) else read(self._folder / TWIN) or b""
        if digest in content + twin or same(there, root):
            return self._damaged_files(root, [] if sound(there) else ["zarr.json"])
        try:
            there = root_of(self.path)
        except Damaged as error:
            raise error.instead(_ANOTHER) from None
        if there is None or VERSION not in there["attributes"]:
            raise ValueError(
                f"store must be a new folder or that of a scan, got {self.path!r}, which was left as it is"
            )
        try:
            differences = ", ".join(
                _differing(_group(self.path, there, "r"), coordinates) or _others(there["attributes"], attributes)
            )
        except Damaged as error:
            raise error.instead(_ANOTHER) from None
        if differences:
            raise ValueError(
                f"store must belong to the same scan, got {self.path!r}, which differs in {differences}; "
                "it was left as it is: give another one"
            )
        return []

    def _damaged_files(self, root: dict[str, Any], damaged: list[str]) -> list[str]:
        layout = layout_of(self.path, root)
        for name, metadata in root["consolidated_metadata"]["metadata"].items():
            if _parsed(read(self._folder / name / "zarr.json")) != metadata:
                damaged.append(f"{name}/zarr.json")
        if read(self._folder / TWIN) != root["attributes"][MARK]["sha256"].encode():
            damaged.append(TWIN)
        for name in layout.axes:
            keys = [f"{name}/{place}" for place in layout.arrays[name].places()]
            damaged += [key for key in keys if layout.wrong(key, _bytes(self._folder / key))]
        return damaged

    def _make(self, root: dict[str, Any], coordinates: dict[str, Described]) -> None:
        for entry in self._folder.iterdir():  # of a call that was killed here
            if entry.is_dir():
                shutil.rmtree(entry)
            elif entry.name not in ("zarr.json", _LOCK):
                entry.unlink()
        making = {"attributes": {_MAKING: True}, "zarr_format": 3, "node_type": "group"}
        _put(self._folder / "zarr.json", making)
        for name, metadata in root["consolidated_metadata"]["metadata"].items():
            _put(self._folder / name / "zarr.json", metadata)
        group = _zarr().open_group(self.path, mode="r+")
        for name, (_, values, _) in coordinates.items():
            _with_empty_chunks(group[name])[...] = values
        _put(self._folder / TWIN, root["attributes"][MARK]["sha256"])
        _put(self._folder / "zarr.json", root)
        self._new = True

    def _mend(self, root: dict[str, Any], coordinates: dict[str, Described], amiss: list[str]) -> None:
        for key in amiss:
            name = key.rpartition("/")[0]
            if key == TWIN:
                _put(self._folder / key, root["attributes"][MARK]["sha256"])
            elif key.endswith("zarr.json"):
                _put(self._folder / key, root["consolidated_metadata"]["metadata"][name] if name else root)
        for name in dict.fromkeys(key.partition("/c")[0] for key in amiss if "/c/" in key):
            for key in amiss:  # Zarr may read what it writes a part of
                if key.startswith(f"{name}/c"):
                    (self._folder / key).unlink(missing_ok=True)
            self._written(name)[...] = coordinates[name][1]

    # -------------------------------------------------------------------------------------------------------- chunks

    def values(self, name: str, part: slice) -> NDArray[np.float64]:
        """Some of an axis's values."""
        return np.asarray(self.group[name][part], dtype=np.float64)

    def write(self, box: Box, arrays: dict[str, NDArray[Any]], status: NDArray[np.int8]) -> None:
        """One chunk, its status last."""
        at: Any = box or ...
        for name, values in arrays.items():
            self._written(name)[(*box, ...)] = values
        self._written("status")[at] = status

    def unfinished(self, numbers: Iterable[int], box: Callable[[int], Box]) -> list[int]:
        """Those of the chunks that do not stand, or of which a file is damaged or gone."""
        return list(numbers) if self._new else [number for number in numbers if self._wrong(box(number)) is not None]

    def clear(self, numbers: Iterable[int], box: Callable[[int], Box]) -> None:
        """Takes away what there is of chunks that are computed again, and warns of those that seemed to be finished."""
        if self._new:
            return
        wrong = []
        for number in numbers:
            wrong += self._wrong(box(number)) or []
            for key in reversed(self._layout.files(self._place(box(number)))):  # the status first
                (self._folder / key).unlink(missing_ok=True)
        if wrong:
            warnings.warn(
                f"store {self.path!r} was damaged in {_few(wrong)}, which is computed again now", stacklevel=4
            )

    def _place(self, box: Box) -> str:
        sides = self._layout.arrays["status"].chunk
        return "/".join(("c", *(str(part.start // side) for part, side in zip(box, sides, strict=True))))

    def _wrong(self, box: Box) -> list[str] | None:
        """None where a chunk stands; else what is damaged of it, or missing although its status is there."""
        layout = self._layout
        *keys, last = layout.files(self._place(box))
        status = _bytes(self._folder / last)
        if status is None:
            return []
        if layout.wrong(last, status):
            return [last]
        if layout.unfinished(last, status):
            return []
        wrong = layout.missing(self._folder, last, status)
        wrong += [
            key for key in keys if (content := _bytes(self._folder / key)) is not None and layout.wrong(key, content)
        ]
        return wrong or None

    def sweep(self) -> None:
        """Takes away what killed writers have left."""
        partial = [each for each in self._folder.rglob("*.partial") if _LEFT.fullmatch(each.name)]
        if partial or (self._lock.path.exists() and not self._lock.held):
            try:
                self.hold()
            except OSError:  # somebody writes, or nobody may
                return
        for each in partial:
            with suppress(OSError):
                each.unlink()


def _described(
    attributes: dict[str, Any],
    coordinates: dict[str, Described],
    arrays: dict[str, Described],
    shape: tuple[int, ...],
    chunk: tuple[int, ...],
) -> dict[str, Any]:
    """The group's metadata with those of all arrays and their digest, as they are written."""
    zarr = _zarr()
    files: dict[str, Any] = {}
    memory = zarr.storage.MemoryStore(files)
    group = zarr.create_group(memory)
    for name, (dimensions, values, own) in coordinates.items():
        chunks = tuple(min(extent, _COORDINATES) for extent in values.shape)
        _create(group, name, dimensions, values.shape, chunks, values.dtype, 0, own)
    for name, (dimensions, empty, own) in arrays.items():
        extents, chunks = (*shape, *empty.shape), (*chunk, *empty.shape)
        _create(group, name, dimensions, extents, chunks, empty.dtype, empty.max().item(), own)
    with warnings.catch_warnings():
        # not yet part of Zarr 3's specification, and what xarray looks for first
        warnings.filterwarnings("ignore", message="Consolidated metadata")
        whole = zarr.consolidate_metadata(memory)
    whole.attrs.put(attributes)
    root = in_order(json.loads(files["zarr.json"].to_bytes()))
    return marked(root, {name: values for name, (_, values, _) in coordinates.items()})


def _create(
    group: Any,
    name: str,
    dimensions: tuple[str, ...],
    shape: tuple[int, ...],
    chunks: tuple[int, ...],
    dtype: Any,
    fill: Any,
    attributes: dict[str, Any],
) -> None:
    from zarr.codecs import BloscCodec, Crc32cCodec

    # 1.0 GB/s and 1.3 times smaller on lambda_max over gamma, sigma_w2, sigma_b2, where zstd writes 0.4 GB/s
    blosc = BloscCodec(typesize=dtype.itemsize, cname="lz4", clevel=5, shuffle="shuffle")
    group.create_array(
        name,
        shape=shape,
        chunks=chunks,
        dtype=dtype,
        fill_value=fill,
        compressors=(blosc, Crc32cCodec()),
        dimension_names=dimensions,
        attributes=attributes,
    )


def _with_empty_chunks(array: Any) -> Any:
    """The same array, which also writes chunks that hold nothing but its fill value."""
    zarr = _zarr()
    return zarr.Array(zarr.AsyncArray(array.metadata, array.store_path, {"write_empty_chunks": True}))


def _put(path: Path, content: dict[str, Any] | str) -> None:
    """Metadata as Zarr writes them, or a text: whole or not at all."""
    text = content if isinstance(content, str) else json.dumps(content, indent=2)
    path.parent.mkdir(exist_ok=True)
    partial = path.with_suffix(f".{os.urandom(16).hex()}.partial")
    try:
        partial.write_bytes(text.encode())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def _parsed(content: bytes | None) -> Any:
    try:
        return json.loads(content or b"")
    except ValueError:
        return None


def _bytes(path: Path) -> NDArray[np.uint8] | None:
    content = read(path)
    return None if content is None else np.frombuffer(content, np.uint8)


def _few(keys: list[str]) -> str:
    return ", ".join(keys[:3]) + (f" and {len(keys) - 3} more files" if len(keys) > 3 else "")
