# SPDX-License-Identifier: BSD-3-Clause
"""Where a scan goes: a Zarr store chunk by chunk, or a file that is written at the end, whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from .._numbers import path_of
from .._optional import optional
from .._words import shown
from .layout import in_order
from .table import Scan, numbered

_NEEDS = {".zarr": ("zarr",), ".nc": ("xarray", "h5netcdf"), ".csv": ("pandas",), ".parquet": ("pandas", "pyarrow")}
ENDINGS = tuple(_NEEDS)


def destination(text: str, force: bool) -> Path:
    """The path of --out, refused before anything is computed where it could not be written."""
    path = Path(text)
    ending = path.suffix.lower()
    if ending not in _NEEDS:
        raise ValueError(f"--out must end in {', '.join(_NEEDS)}, got {shown(text)}")
    if not path.parent.is_dir():
        raise ValueError(f"--out must lie in an existing folder, got {shown(text)}")
    for part in _NEEDS[ending]:
        optional(part, f"--out {text} needs {part}", "fisherfield[scan]")
    if ending == ".zarr":
        if force:
            raise ValueError("--force is for files: a store of the same scan goes on, any other one must be removed")
        return path
    if path.is_dir():
        raise ValueError(f"--out must be a file, got the folder {shown(text)}")
    if path.exists() and not force:
        raise ValueError(f"--out must be a new file where there is no --force, got {shown(text)}")
    if not os.access(path.parent, os.W_OK):
        raise ValueError(f"--out must lie in a folder that can be written to, got {shown(text)}")
    return path


def write(scan: Scan, path: Path) -> None:
    """A scan in memory as netCDF, CSV or Parquet."""
    writers: dict[str, Callable[[Path], object]] = {
        ".nc": lambda file: scan.to_xarray().to_netcdf(file, engine="h5netcdf"),
        ".csv": lambda file: scan.to_pandas().to_csv(file, index=bool(scan.dimensions)),
        ".parquet": lambda file: scan.to_pandas().to_parquet(file, engine="pyarrow"),
    }
    with replacing(path) as partial:
        writers[path.suffix.lower()](partial)


def save(scan: Scan, path: Any) -> None:
    """See `Scan.save`."""
    place = Path(path_of("path", path))
    ending = place.suffix.lower()
    if ending not in _NEEDS:
        raise ValueError(f"path must end in {', '.join(_NEEDS)}, got {shown(str(path))}")
    for part in dict.fromkeys(("xarray", *_NEEDS[ending]) if ending == ".zarr" else _NEEDS[ending]):
        optional(part, f"save to {ending} needs {part}", "fisherfield[scan]")
    if ending != ".zarr":
        write(scan, place)
        return
    if place.exists():
        raise ValueError(f"path must be a new folder, got {shown(str(path))}, which is there")
    with replacing(place) as partial, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Consolidated metadata")  # which Zarr has had for years, and no standard yet
        numbered(scan.to_xarray()).to_zarr(partial, mode="w", consolidated=True)
        root = partial / "zarr.json"
        root.write_text(json.dumps(in_order(json.loads(root.read_bytes())), indent=2), encoding="utf-8")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A file beside `path` to write to, which takes its place at the end, or is gone if anything goes wrong."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        yield partial
        os.replace(partial, path)
    except BaseException:
        with suppress(OSError):
            if partial.is_dir():
                shutil.rmtree(partial)
            else:
                partial.unlink()
        raise
