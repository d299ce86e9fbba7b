# SPDX-License-Identifier: BSD-3-Clause
"""What the files of a stored scan must be: read from its metadata, and held against each file."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

# The attribute that holds the metadata's digest. xarray takes names that begin so for netCDF's own: it shows and copies
# none of them, and a Dataset that is changed and written elsewhere does not claim to be what it was made of.
MARK = "_nc_fisherfield_checksum"
# The digest once more, where neither Zarr nor xarray looks: when the metadata are lost, it says whose they were.
TWIN = "status/scan.sha256"
_HERE = "call the same scan again with this store, which computes what is damaged once more"
_ANOTHER = "remove it, or give another one"


# What stores call "dimensions" has this name in files of other formats: SciPy's netCDF takes no attribute of that name.
DIMENSIONS = "scan_dimensions"
ACTIVATIONS = "activations"  # of a store: what the numbers of an axis of activations mean


def dimensions_from(attributes: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Of each dimension the names of the axes along it, as a file has them."""
    text = attributes["dimensions" if "dimensions" in attributes else DIMENSIONS]
    return {name: tuple(names) for name, names in json.loads(text).items()}


class Damaged(ValueError):
    """One sentence: which file of a store is not what was written, and the way out."""

    def instead(self, way_out: str) -> Damaged:
        """The same with another way out."""
        return Damaged(f"{str(self).removesuffix(_HERE)}{way_out}" if str(self).endswith(_HERE) else str(self))


def damage(path: str, what: str, way_out: str = _HERE) -> Damaged:
    """The error that says so."""
    return Damaged(f"store {path!r} is damaged, {what}: {way_out}")


@dataclass(frozen=True)
class Array:
    """How one array's chunks lie in files."""

    chunk: tuple[int, ...]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    codecs: tuple[str, ...]

    @property
    def size(self) -> int:
        """Bytes of a chunk."""
        return math.prod(self.chunk) * self.dtype.itemsize

    def places(self) -> list[str]:
        """All its chunks' files, beneath the array's folder."""
        counts = [-(-extent // side) for extent, side in zip(self.shape, self.chunk, strict=True)]
        return ["/".join(("c", *map(str, index))) for index in np.ndindex(*counts)]


@dataclass(frozen=True)
class Layout:
    """All arrays of a scan.

    In a store with a digest every chunk is written, whatever is in it; before, Zarr left out those that are empty.
    """

    arrays: dict[str, Array]
    axes: tuple[str, ...]
    aligned: bool  # all in the chunks of the status, as scans write them
    strict: bool
    blank: tuple[str, ...] = ()  # quantities that have no number anywhere in this store

    @property
    def quantities(self) -> tuple[str, ...]:
        """All that a chunk of the scan must have, but for its status."""
        return tuple(name for name in self.arrays if name not in (*self.axes, "status"))

    def wrong(self, key: str, content: NDArray[np.uint8] | None) -> str | None:
        """What is wrong with one file's content (None: it is not there), if anything."""
        name = key.partition("/c")[0]
        array = self.arrays[name]
        if content is None:
            return f"{key} is missing" if self.strict and name in self.axes else None
        if array.codecs[-1:] == ("crc32c",):
            import google_crc32c

            if content.size < 4 or google_crc32c.value(content[:-4]) != int.from_bytes(
                content[-4:].tobytes(), "little"
            ):
                return f"{key} does not have the checksum that it was written with"
        elif array.codecs == ("bytes", "blosc") and _decoded(array, content) is None:
            return f"{key} cannot be decoded"
        return None

    def missing(self, root: Path, key: str, status: NDArray[np.uint8]) -> list[str]:
        """Files that must be there beside that of a status."""
        if not self.aligned:
            return []
        place = key.partition("/")[2]
        names = [f"{name}/{self._place(name, place)}" for name in self.quantities]
        absent = [name for name in names if not (root / name).is_file()]
        if not absent or self.strict:
            return absent
        decoded = _decoded(self.arrays["status"], status)
        if decoded is None:  # some other codec, of a copy that somebody has made
            return []
        has_numbers = bool(np.isin(decoded.view(np.int8), (0, 5)).any())
        return [
            each
            for each in absent
            if (name := each.partition("/")[0]) not in self.blank and (has_numbers or name == "exploded")
        ]

    def files(self, place: str) -> list[str]:
        """Those of one chunk of the scan, its status the last."""
        return [*(f"{name}/{self._place(name, place)}" for name in self.quantities), f"status/{place}"]

    def _place(self, name: str, place: str) -> str:
        """Where a dimension of its own follows, it is in one chunk."""
        return place + "/0" * (len(self.arrays[name].shape) - len(self.arrays["status"].shape))

    def unfinished(self, key: str, status: NDArray[np.uint8]) -> bool:
        """Whether a sound chunk of the status has points that are not computed; behind the grid's end it has none."""
        array = self.arrays["status"]
        decoded = _decoded(array, status)
        if decoded is None:
            return True
        place = map(int, key.split("/")[2:])
        inside = tuple(
            slice(extent - number * side) for number, extent, side in zip(place, array.shape, array.chunk, strict=True)
        )
        return bool((decoded.view(np.int8).reshape(array.chunk)[inside] == -1).any())


def _decoded(array: Array, content: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
    """A chunk's bytes; None where it is not what Blosc wrote of so many."""
    if array.codecs[-1:] == ("crc32c",):
        content = content[:-4]
    if array.codecs[:2] != ("bytes", "blosc") or content.size < 16:
        return None
    size, _, compressed = struct.unpack("<3I", content[4:16].tobytes())
    if (size, compressed) != (array.size, content.size):  # Blosc believes its header, and reads behind the end
        return None
    from numcodecs import Blosc

    try:
        return np.frombuffer(Blosc().decode(content.tobytes()), np.uint8)
    except (RuntimeError, SystemError, ValueError, MemoryError):
        return None


# ------------------------------------------------------------------------------------------------------------ metadata


def read(path: Path) -> bytes | None:
    """A file's content, None where there is none."""
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None


def _ours(content: bytes | None) -> bool:
    """Whether metadata that need not be sound are a scan's."""
    return content is not None and any(word in content for word in (b"fisherfield_", b"whether the numbers are there"))


def root_of(path: str) -> dict[str, Any] | None:
    """The metadata of the group at `path`, held against their digest; None where there is none.

    Raises Damaged for what was a scan's.
    """
    content, status, twin = (read(Path(path) / name) for name in ("zarr.json", "status/zarr.json", TWIN))
    way_out = _HERE if twin or MARK.encode() in (content or b"") else _ANOTHER
    if content is None:
        if twin or _ours(status):
            raise damage(path, "zarr.json is missing", way_out)
        return None
    try:
        root = json.loads(content)
        if root["node_type"] != "group" or not isinstance(root.get("attributes", {}), dict):
            raise ValueError("no group")
    except (ValueError, KeyError, TypeError, AttributeError):
        if twin or _ours(content) or _ours(status):
            raise damage(path, "zarr.json cannot be read", way_out) from None
        return None
    root.setdefault("attributes", {})
    if MARK in root["attributes"] and not sound(root):
        raise damage(path, "zarr.json does not have the checksum that it was written with")
    return dict(root)


def in_order(root: dict[str, Any]) -> dict[str, Any]:
    """Metadata whose arrays stand by name, which is by chance as Zarr 3.0 writes them."""
    held = root["consolidated_metadata"]
    return {**root, "consolidated_metadata": {**held, "metadata": dict(sorted(held["metadata"].items()))}}


def marked(root: dict[str, Any], values: dict[str, NDArray[Any]]) -> dict[str, Any]:
    """Metadata with their digest, in which those of the axes' values are."""
    import hashlib

    mark = {
        "attributes": sorted(root["attributes"]),
        "arrays": sorted(root["consolidated_metadata"]["metadata"]),
        "axes": {
            name: hashlib.sha256(np.ascontiguousarray(axis, axis.dtype.newbyteorder("<")).data).hexdigest()
            for name, axis in values.items()
        },
    }
    marked_root = {**root, "attributes": {**root["attributes"], MARK: mark}}
    mark["sha256"] = _digest(marked_root)
    return marked_root


def sound(root: Any) -> bool:
    """Whether metadata are those that their digest was made of; what others have added since does not matter."""
    try:
        return bool(_digest(root) == root["attributes"][MARK]["sha256"])
    except (KeyError, TypeError, AttributeError):
        return False


def same(root: Any, other: dict[str, Any]) -> bool:
    """Whether metadata are those of `other`, whatever the digest that is written there."""
    try:
        return bool(_digest(root) == other["attributes"][MARK]["sha256"])
    except (KeyError, TypeError, AttributeError):
        return False


def _digest(root: Any) -> str:
    attributes, held = root["attributes"], root["consolidated_metadata"]
    mark = attributes[MARK]
    covered = {
        **root,
        "attributes": {name: attributes[name] for name in mark["attributes"]},
        "consolidated_metadata": {**held, "metadata": {name: held["metadata"][name] for name in mark["arrays"]}},
        MARK: {name: value for name, value in mark.items() if name != "sha256"},
    }
    import hashlib

    return hashlib.sha256(json.dumps(covered, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def layout_of(path: str, root: dict[str, Any]) -> Layout:
    """How the arrays lie in files. Raises Damaged where the metadata do not say it."""
    folder = Path(path)
    attributes = root["attributes"]
    try:
        held = root.get("consolidated_metadata")
        if held is None:
            metadata = {each.parent.name: json.loads(each.read_bytes()) for each in folder.glob("*/zarr.json")}
        else:
            metadata = held["metadata"]
        axes = [name for names in dimensions_from(attributes).values() for name in names]
        axes += ["layer"] if "layer" in metadata else []
        names = [*axes, *str(attributes["quantities"]).split(), "status"]
        arrays = {name: _array(metadata[name]) for name in names}
        grid = arrays["status"]
        aligned = all(
            arrays[name].chunk == (*grid.chunk, *arrays[name].shape[len(grid.shape) :])
            and arrays[name].shape[: len(grid.shape)] == grid.shape
            for name in names[len(axes) :]
        )
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise damage(path, f"its metadata are incomplete ({error})", _ANOTHER) from None
    strict = MARK in attributes
    blank = [
        name
        for name in arrays
        if not strict and name.endswith("_accuracy") and not any((folder / name / "c").rglob("[0-9]*"))
    ]
    return Layout(arrays, tuple(axes), aligned, strict, tuple(blank))


def _dtype(name: Any) -> np.dtype[Any]:
    """Of numbers, or of the words of a copy that xarray has written."""
    if name == "string":
        return np.dtype(object)
    if isinstance(name, dict) and name["name"] == "fixed_length_utf32":
        return np.dtype(f"U{int(name['configuration']['length_bytes']) // 4}")
    numbers: np.dtype[Any] = np.dtype(name)
    return numbers


def _array(metadata: dict[str, Any]) -> Array:
    if metadata["chunk_key_encoding"] != {"name": "default", "configuration": {"separator": "/"}}:
        raise ValueError("chunk_key_encoding")
    return Array(
        tuple(int(side) for side in metadata["chunk_grid"]["configuration"]["chunk_shape"]),
        tuple(int(extent) for extent in metadata["shape"]),
        _dtype(metadata["data_type"]),
        tuple(codec["name"] for codec in metadata["codecs"]),
    )
