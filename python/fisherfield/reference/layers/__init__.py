# SPDX-License-Identifier: BSD-3-Clause
"""The kinds of layers, one file each: a map of states (infinite width), and the two passes of a finite network."""

from __future__ import annotations

import importlib
import pkgutil

from ..kind import Kind

__all__ = ["KINDS"]

KINDS: dict[type, Kind] = {}
for _module in pkgutil.iter_modules(__path__):
    KINDS.update(importlib.import_module(f"{__name__}.{_module.name}").KINDS)
