# SPDX-License-Identifier: BSD-3-Clause
"""Descriptions as PyTorch modules, PyTorch modules as descriptions, and any module measured."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .._words import shown
from .module import describe, module, sampled

if TYPE_CHECKING:
    from .autograd import AutogradCheck, check_autograd
    from .first_steps import FirstStep, first_step
    from .measuring import measure
    from .reports import Report, report
    from .residual import Residual, Subsample
    from .spectrum import ModuleSpectrum
    from .watch import Watch

__all__ = [
    "AutogradCheck",
    "FirstStep",
    "ModuleSpectrum",
    "Report",
    "Residual",
    "Subsample",
    "Watch",
    "check_autograd",
    "describe",
    "first_step",
    "measure",
    "module",
    "report",
    "sampled",
]

# What PyTorch is imported with. A module of the name of what it gives would stand in its place.
_HOMES = {
    "AutogradCheck": "autograd",
    "FirstStep": "first_steps",
    "ModuleSpectrum": "spectrum",
    "Report": "reports",
    "Residual": "residual",
    "Subsample": "residual",
    "Watch": "watch",
    "check_autograd": "autograd",
    "first_step": "first_steps",
    "measure": "measuring",
    "report": "reports",
}


def __dir__() -> list[str]:
    return sorted({*(name for name in globals() if name.startswith("__")), *__all__})


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        from .._optional import optional

        optional("torch", "fisherfield.torch needs PyTorch", "fisherfield[torch]")
        value = globals()[name] = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {shown(name)}")
