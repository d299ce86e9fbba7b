# SPDX-License-Identifier: BSD-3-Clause
"""Training beside theory: at which learning rate it explodes, and what it reaches below. Needs PyTorch."""

from . import kinds  # noqa: F401  (what its scans hold is made known)
from .boundary import Boundary, boundary
from .figure2 import Figure2, figure2
from .phase_diagram import phase_diagram

__all__ = ["Boundary", "Figure2", "boundary", "figure2", "phase_diagram"]
