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

from ..network.layer import Step


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


def kinds_in_words(net: ff.Network) -> dict[str, str]:
    """By kind, how many normalisations, sums of branches and the like there are, and their numbers."""
    steps: dict[str, list[Step]] = {}
    for step in net.steps:
        if step.layer.axes() and not step.layer.affine:
            steps.setdefault(type(step.layer).__name__, []).append(step)
    words = {name: _in_words(net, of_kind) for name, of_kind in sorted(steps.items())}
    normed = any(step.layer.variance_over for step in net.steps)
    return words if normed else {"BatchNorm": "none", **words}


def _in_words(net: ff.Network, steps: list[Step]) -> str:
    layers = [step.layer for step in steps]
    fields = {field: [getattr(layer, field) for layer in layers] for field in layers[0].__dataclass_fields__}
    behind = layers[0].variance_over and all(net.steps[step.reads[0]].layer.affine for step in steps)
    words = [f"after {len(steps)} of {net.depth} affine layers" if behind else f"{len(steps)} of them"]
    numbers = {field: values for field, values in fields.items() if _number(values[0])}
    words.append(", ".join(f"{field} {distinct(values)}" for field, values in numbers.items()))
    if trained := set(fields.get("trained", ())):
        how = "trained in some" if len(trained) > 1 else "trained" if trained == {True} else "not trained"
        words.append(f"{' and '.join(field for field in numbers if field in ('gamma', 'beta'))} {how}")
    return "; ".join(words)


def _number(value: Any) -> bool:
    each = value[0] if isinstance(value, tuple) and value else value
    return isinstance(each, (int, float)) and not isinstance(each, bool)


def distinct(values: Any) -> str:
    """The distinct values in order; from the least to the greatest where they are many."""
    words = list(dict.fromkeys(map(_word, values)))
    return ", ".join(words) if len(words) <= 4 else f"{', '.join(words[:3])}, ... ({len(words)} different)"


def _word(value: Any) -> str:
    if isinstance(value, tuple) and _number(value):
        return f"{min(value):g} to {max(value):g} ({len(value)} units)"
    return f"{value:g}" if isinstance(value, float) else str(value)


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
