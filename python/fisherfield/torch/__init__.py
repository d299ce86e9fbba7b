# SPDX-License-Identifier: BSD-3-Clause
"""Descriptions as PyTorch modules, and PyTorch modules as descriptions."""

from .module import describe, module, sampled

__all__ = [
    "describe",
    "module",
    "sampled",
]
