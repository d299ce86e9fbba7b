# SPDX-License-Identifier: BSD-3-Clause
"""Parts that may be missing are imported where they are used."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def optional(module: str, needs: str, pip: str) -> Any:
    """A module; where its package is not there, an ImportError of `needs` with the line that installs it.

    What a package that is there fails of, it says itself.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != module.partition(".")[0]:
            raise
        raise ImportError(f"{needs}: pip install {repr(pip) if '[' in pip else pip}") from None
