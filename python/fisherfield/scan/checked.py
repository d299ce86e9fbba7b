# SPDX-License-Identifier: BSD-3-Clause
"""Zarr's local store that lets no damaged chunk through; imports Zarr, and is imported where that is needed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from zarr.storage import LocalStore

from .layout import Layout, damage


class Checked(LocalStore):  # type: ignore[misc]
    """The files of a scan, each looked at before it is decoded.

    A status whose values are not there is not there either, so that its points read as not computed yet.
    """

    def __init__(self, root: Path | str, *, read_only: bool = False, layout: Layout | None = None) -> None:
        super().__init__(root, read_only=read_only)
        self.layout = layout

    def with_read_only(self, read_only: bool = False) -> Checked:
        return Checked(self.root, read_only=read_only, layout=self.layout)

    def _passed(self, key: str, buffer: Any) -> Any:
        name, chunk, _ = key.partition("/c")
        if self.layout is None or not chunk or name not in self.layout.arrays:
            return buffer
        content = None if buffer is None else buffer.as_numpy_array()
        if what := self.layout.wrong(key, content):
            raise damage(str(self.root), what)
        if content is not None and name == "status" and self.layout.missing(self.root, key, content):
            return None
        return buffer

    async def get(self, key: str, prototype: Any = None, byte_range: Any = None) -> Any:
        buffer = await super().get(key, prototype, byte_range)
        return buffer if byte_range is not None else self._passed(key, buffer)

    def get_sync(self, key: str, *, prototype: Any = None, byte_range: Any = None) -> Any:
        buffer = super().get_sync(key, prototype=prototype, byte_range=byte_range)
        return buffer if byte_range is not None else self._passed(key, buffer)
