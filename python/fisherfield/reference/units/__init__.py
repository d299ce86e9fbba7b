# SPDX-License-Identifier: BSD-3-Clause
"""Sampled units, where a closed recursion is not exact: their state, and the pass over a network's layers."""

from .state import Sampling, Units, averaged

__all__ = ["Sampling", "Units", "averaged"]
