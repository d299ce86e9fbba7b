# SPDX-License-Identifier: BSD-3-Clause
"""What numbers of a sampled network were measured of, in words; and the warning where rounding takes their digits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .._html import InNotebooks
from .._numbers import Loss
from .._warn import warn
from .._words import plural
from .operator import FisherOperator

LOSS = {"float64": 1e-8, "float32": 1e-2}  # of the largest eigenvalue, from which on a loss of digits is said


@dataclass(frozen=True, repr=False)
class Measured(InNotebooks):
    """What a number was measured of; the operator itself would keep its memory."""

    samples: int
    outputs: int
    parameters: int
    statistics: str
    loss: Loss
    biases: bool
    dtype: str
    products: int
    method: str
    rounding: float

    @staticmethod
    def of(operator: FisherOperator) -> dict[str, Any]:
        samples, outputs = operator.outputs.shape
        return {
            "samples": samples,
            "outputs": outputs,
            "parameters": operator.parameters,
            "statistics": operator.statistics,
            "loss": operator.loss,
            "biases": operator.biases,
            "dtype": operator.dtype.name,
        }

    def _title(self, what: str) -> list[str]:
        biases = "" if self.biases else ", without biases"
        return [
            f"{what} of a sampled network of {self.parameters:,} parameters",
            f"  {self.samples} samples, {plural(self.outputs, 'output')}, "
            f"statistics {self.statistics}, loss {self.loss}{biases}, {self.dtype}",
        ]

    def _method(self) -> str:
        count = plural(self.products, "product") if self.products else "all of F*"
        return f"  method {self.method} ({count})"

    def _cancellation(self, largest: float, least: float = 0.0) -> str | None:
        """What is to be said where rounding takes more than LOSS, and more than `least`, of the largest value."""
        if self.rounding <= max(least, LOSS[self.dtype]) * largest:
            return None
        advice = "" if self.dtype == "float64" else ", or use dtype='float64'"
        share = f"{self.rounding / largest:.1g} times the largest" if largest > 0 else f"{self.rounding:.1g}"
        return (
            f"cancellation: rounding in {self.dtype} may change the eigenvalues by {share}, where values are large "
            f"beside their differences over the batch: take common offsets off the inputs and betas{advice}"
        )

    def _warn(self, largest: float, least: float = 0.0) -> None:
        if words := self._cancellation(largest, least):
            warn(words)
