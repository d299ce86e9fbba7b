# SPDX-License-Identifier: BSD-3-Clause
"""`fisherfield selftest`: the core against the reference."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from .._numbers import THEORIES, integer
from .options import whole
from .terminal import console, refusing

if TYPE_CHECKING:
    from .comparisons import Comparison

EPILOG = "\b\nExample:\n  fisherfield selftest --networks 200 --seed 1"


def selftest(
    networks: Annotated[int, typer.Option(parser=whole, metavar="N", help="How many random networks.")] = 40,
    seed: Annotated[int, typer.Option(parser=whole, metavar="N", help="The same seed gives the same networks.")] = 0,
) -> None:
    """Check the compiled core against the reference.

    On random networks, dense and convolutional, with and without BatchNorm. Exit code 1 where they differ by more than
    the tolerance: 1e-12 for activations with closed forms, 1e-10 for those integrated by quadrature.
    """
    from rich.progress import Progress

    from . import comparisons

    with refusing():
        integer("networks", networks, 1)
        integer("seed", seed, 0)
    output = console()
    groups: Iterable[list[Comparison]] = comparisons.selftest(networks, seed)
    with ExitStack() as shown:
        if output.is_terminal:  # Rich before 14.2 ends a bar that is not shown with an empty line
            progress = shown.enter_context(Progress(console=output, transient=True))
            groups = progress.track(groups, total=networks, description="networks compared")
        compared = [comparison for group in groups for comparison in group]
    output.print(Text("Greatest relative deviation of the core from the reference", style="bold"))
    output.print()
    output.print(_table(compared, comparisons.QUANTITIES))
    output.print()
    failed = [item for item in compared if not item.passed]
    if not failed:
        output.print(Text(f"ok: {len(compared)} comparisons on {networks} random networks (seed {seed})"))
        return
    worst = max(failed, key=lambda item: max(item.deviations) / item.case.tolerance)
    output.print(Text(f"FAILED: {len(failed)} of {len(compared)} comparisons; the worst, theory {worst.theory!r}:"))
    output.print(Text(worst.error or repr(worst.case)), soft_wrap=True)
    raise typer.Exit(1)


def _table(compared: Sequence[Comparison], quantities: Sequence[str]) -> Table:
    """The greatest deviations of every kind of network and theory."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    for name in ("networks", "integrals", "theory"):
        table.add_column(name)
    for name in ("count", *quantities, "limit"):
        table.add_column(name, justify="right")
    table.add_column("")
    kinds = sorted({(item.case.kind, item.case.tolerance) for item in compared})
    for (kind, tolerance), theory in itertools.product(kinds, THEORIES):
        group = [item for item in compared if item.case.kind == kind and item.theory == theory]
        if group:
            greatest = [max(column) for column in zip(*(item.deviations for item in group), strict=True)]
            passed = all(item.passed for item in group)
            table.add_row(
                *kind.split(", "),
                theory,
                str(len(group)),
                *(f"{deviation:.0e}" if deviation else "0" for deviation in greatest),
                f"{tolerance:.0e}",
                Text("ok", style="green") if passed else Text("FAILED", style="bold red"),
            )
    return table
