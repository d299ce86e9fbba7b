# SPDX-License-Identifier: BSD-3-Clause
"""Networks and numbers as the commands print them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

import fisherfield as ff


def headed(rows: Mapping[str, str]) -> Table:
    """Bold names, and words beside them."""
    table = Table.grid(padding=(0, 2))
    for name, words in rows.items():
        table.add_row(Text(name, style="bold"), Text(words))
    return table


def lines(*columns: str, right: tuple[str, ...] = ()) -> Table:
    """A table with a line below its head; columns in `right` are numbers."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left")
    return table


def architecture(net: ff.Network) -> str:
    """E.g. "784 -> 3 x Dense 1000 -> Dense 10"; images are channels x height x width."""
    outlines = (layer.outline(shape) for layer, shape in zip(net.layers, net.shapes[1:], strict=True))
    steps = [" x ".join(map(str, net.input_shape)), *filter(None, outlines)]
    runs = [(step, len(list(run))) for step, run in itertools.groupby(steps)]
    return " -> ".join(step if count == 1 else f"{count} x {step}" for step, count in runs)


def batch_norm_words(net: ff.Network) -> str:
    norms = net.batch_norms
    if not norms:
        return "none"
    values = ", ".join(f"{name} {distinct(getattr(norm, name) for norm in norms)}" for name in ("gamma", "beta", "eps"))
    trained = {norm.trained for norm in norms}
    words = "not trained" if trained == {False} else "trained" if trained == {True} else "trained in some"
    return f"after {len(norms)} of {net.depth} affine layers; {values}; gamma and beta {words}"


def distinct(values: Any) -> str:
    """The distinct values in order; from the least to the greatest where they are many."""
    words = list(dict.fromkeys(f"{value:g}" if isinstance(value, float) else str(value) for value in values))
    return ", ".join(words) if len(words) <= 4 else f"{', '.join(words[:3])}, ... ({len(words)} different)"


def four_digits(value: float) -> str:
    """Four digits, and one decimal at least where the number has fewer than six before it."""
    if 100 <= abs(value) < 1e5:
        return f"{value:.1f}"
    return f"{value:.4g}"


def bounded(bound: str, value: float) -> str:
    return four_digits(value) if bound == "=" else f"{bound} {four_digits(value)}"


def json_number(value: float) -> float | str | None:
    """Strict JSON has no infinity: "inf" or "-inf"; a number that does not exist is null."""
    value = float(value)
    return value if math.isfinite(value) else None if math.isnan(value) else "inf" if value > 0 else "-inf"
