# SPDX-License-Identifier: BSD-3-Clause
"""What `fuzz.py` runs: a part draws an input as Python source, and looks at the laws that hold for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np

from . import calls, ends, files, integrals, networks, sampled


class Part(NamedTuple):
    name: str
    count: int
    seconds: float  # of the processor that one case may take at the most
    draw: Callable[[np.random.Generator], str]
    check: Callable[[str], Iterable[tuple[str, str]]]  # what was expected and what came, of each law that is broken

    @property
    def law(self) -> str:
        return " ".join((self.check.__doc__ or "").split())


PARTS = {
    part.name: part
    for part in (
        Part("networks", 100_000, 20, networks.draw, networks.check),
        Part("reference", 10_000, 60, networks.draw_cheap, networks.check_reference),
        # three quarters of which have a formula
        Part("gaussian", 134_000, 20, integrals.draw_closed, integrals.check_closed),
        Part("mpmath", 3_000, 120, integrals.draw, integrals.check),
        Part("sampled", 3_000, 60, sampled.draw, sampled.check),
        Part("graphs", 10_000, 20, networks.draw_graph, networks.check),
        Part("graph_reference", 3_000, 60, networks.draw_cheap_graph, networks.check_reference),
        Part("graph_samples", 2_000, 60, sampled.draw_graph, sampled.check),
        Part("calls", 10_000, 60, calls.draw, calls.check),
        Part("files", 10_000, 60, files.draw, files.check),
    )
}

# Not of what is run: how cases end.
HIDDEN = {"ends": Part("ends", 100, 2, ends.draw, ends.check)}
