# SPDX-License-Identifier: BSD-3-Clause
"""Descriptions as PyTorch modules, and PyTorch modules as descriptions."""

from typing import TYPE_CHECKING, Any

from .._words import shown
from .module import describe, module, sampled

if TYPE_CHECKING:
    from .residual import Residual, Subsample

__all__ = [
    "Residual",
    "Subsample",
    "describe",
    "module",
    "sampled",
]


def __dir__() -> list[str]:
    return sorted({*(name for name in globals() if name.startswith("__")), *__all__})


def __getattr__(name: str) -> Any:
    if name in ("Residual", "Subsample"):  # classes of PyTorch's, which are imported with it
        from .._optional import optional

        optional("torch", "fisherfield.torch needs PyTorch", "fisherfield[torch]")
        from . import residual

        return getattr(residual, name)
    raise AttributeError(f"module {__name__!r} has no attribute {shown(name)}")
