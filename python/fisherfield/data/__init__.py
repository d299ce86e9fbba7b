# SPDX-License-Identifier: BSD-3-Clause
"""Inputs for sampled networks and for training: Gaussian ones, and data sets on disk; nothing is downloaded."""

from .sources import Data, gaussian, load, overlap_and_length
from .statistics import Statistics, statistics

__all__ = ["Data", "Statistics", "gaussian", "load", "overlap_and_length", "statistics"]
