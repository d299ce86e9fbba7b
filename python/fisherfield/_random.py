# SPDX-License-Identifier: BSD-3-Clause
"""Streams of random numbers that do not meet."""

from __future__ import annotations

import numpy as np


def stream(seed: int, purpose: str) -> np.random.Generator:
    """NumPy's PCG64 with a stream of its own for each seed and purpose.

    Were weights and inputs both drawn from PCG64(seed), which is numpy.random.default_rng(seed), the rows of the first
    weights would be the inputs themselves.
    """
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=tuple(purpose.encode()))))
