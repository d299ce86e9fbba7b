# SPDX-License-Identifier: BSD-3-Clause
"""The theory over grids of parameters: in memory, in a store on disk, on a cluster or a GPU."""

from .scan import random_points, scan
from .table import Scan

__all__ = ["Scan", "random_points", "scan"]
