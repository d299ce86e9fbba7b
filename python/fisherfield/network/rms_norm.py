# SPDX-License-Identifier: BSD-3-Clause
"""RMSNorm: gamma over the root mean square of a sample's units."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from .layer import Parts, Shape, kind
from .norms import EPS, GAMMA, TRAINED, Each, OverUnits

__all__ = ["RMSNorm"]


@kind
@dataclass(frozen=True)
class RMSNorm(OverUnits):
    """gamma h/sqrt(f + eps), f the mean square of all units of one sample (of all channels and positions of an image).

    It stands where LayerNorm does. `trained` says that gamma, one for each unit, is a parameter of the network.

    Raises ValueError or TypeError for a number that is not finite or beyond 1e100, and for eps < 0.
    """

    core_kind = "rms_norm"
    word = "rms"
    own: ClassVar[Mapping[str, str]] = {"gammas": "gamma"}

    gamma: Each = field(default=1.0, metadata=GAMMA)
    eps: float = field(default=0.0, metadata=EPS)
    trained: bool = field(default=False, metadata=TRAINED)

    def sizes(self, before: Shape) -> Shape:
        return before

    def _linearize(self, core: Any, parts: Parts, before: Shape) -> None:
        [(gammas, trained)] = parts
        core.layer("rms_norm", [self.eps], [gammas], trained)
