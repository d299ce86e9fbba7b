# SPDX-License-Identifier: BSD-3-Clause
"""`fisherfield plot`: a scan that was written, as a figure."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from .._words import shown
from ..plots.scan import selected
from ..scan import Scan
from ..scan.axis_words import selections_of
from ..scan.files import replacing
from .options import FORMATS, picture
from .terminal import console, refusing

EPILOG = (
    "\b\nExamples:\n  fisherfield plot dense.zarr\n"
    "  fisherfield plot scan.nc --quantity max_learning_rate --select samples=64 --out rates.svg"
)


def plot(
    file: Annotated[str, typer.Argument(metavar="SCAN", help="A .zarr store or an .nc file of fisherfield scan.")],
    quantity: Annotated[
        str | None, typer.Option(metavar="NAME", help="One of the scan's, or status.  [default: its first]")
    ] = None,
    select: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE",
            help="Which value to draw of an axis, the nearest there is; may be repeated. "
            "layer counts from 1, point (of paired points) from 0.",
        ),
    ] = None,
    out: Annotated[
        str, typer.Option(metavar="FILE", help=f"The file to write: {', '.join(FORMATS)}.  [default: SCAN.png]")
    ] = "",
) -> None:
    """Draw a scan: one axis as lines, two as a map, paired points as dots.

    An axis of at most six values beside a longer one gives a line for each. Of more axes, --select all but two.
    """
    with refusing():
        source = Path(file)
        if source.suffix.lower() in (".csv", ".parquet"):
            raise ValueError(f"a scan must be a .zarr store or an .nc file to be drawn, got {shown(file)}")
        path = picture(out or source.with_suffix(".png"))
        scan = Scan.open(file)
        chosen = selections_of(select or [])
        drawn = scan.plot(quantity, select=chosen)
        taken, _ = selected(scan, quantity or next(iter(scan.arrays)), chosen)
        with replacing(path) as partial:
            drawn.savefig(partial, dpi=150, format=path.suffix[1:].lower())
    output = console()
    for name, value in taken.items():
        if name in chosen and value != chosen[name] and not isinstance(value, str):
            output.print(Text(f"{name} = {value:g} is the nearest to {chosen[name]:g}"))
    missing = scan.failures().get(-1, 0)
    if missing:
        output.print(Text(f"{missing:,} of {scan.points:,} points are not computed yet"))
    output.print(Text(f"{path} written"), soft_wrap=True)
