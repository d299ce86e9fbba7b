# SPDX-License-Identifier: BSD-3-Clause
"""The theory over grids of parameters: in memory, in a store on disk, on a cluster or a GPU."""

from .scan import Scan, random_points, scan

__all__ = [
    "Scan",
    "random_points",
    "scan",
]
