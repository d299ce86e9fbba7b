# SPDX-License-Identifier: BSD-3-Clause
"""The command line: `fisherfield lr`, `scan`, `plot`, `verify`, `figure`, `experiment` and `selftest`."""

from .app import main

__all__ = ["main"]
