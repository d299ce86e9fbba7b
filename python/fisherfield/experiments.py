# SPDX-License-Identifier: BSD-3-Clause
"""Training beside theory: at which learning rate it explodes, and what it reaches below. Needs PyTorch."""

from .training import Boundary, Figure2, boundary, figure2, phase_diagram

__all__ = ["Boundary", "Figure2", "boundary", "figure2", "phase_diagram"]
