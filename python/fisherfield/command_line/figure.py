# SPDX-License-Identifier: BSD-3-Clause
"""`fisherfield figure`: the papers' figures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import typer

from .._numbers import choice
from ..scan.files import replacing
from .options import FORMATS, picture
from .terminal import refusing

_FIGURES = {"wei2019-1": "wei2019_figure_1"}
EPILOG = (
    "\b\nExample:\n  fisherfield figure wei2019-1 --out figure1.png\n\n"
    "\b\nFigures:\n  wei2019-1   lambda_max and learning rate against BatchNorm's gamma, dense and convolutional"
)


def figure(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME", help=f"Which figure: {', '.join(_FIGURES)}.", autocompletion=lambda: list(_FIGURES)
        ),
    ],
    out: Annotated[
        str, typer.Option(metavar="FILE", help=f"The file to write: {', '.join(FORMATS)}.  [default: NAME.png]")
    ] = "",
) -> None:
    """Draw a figure and write it to a file."""
    with refusing():
        choice("figure", name, tuple(_FIGURES))
        path = picture(out or f"{name}.png")
        from ..plots import figures

        draw: Callable[[], Any] = getattr(figures, _FIGURES[name])
        drawn = draw()
        with replacing(path) as partial:
            drawn.savefig(partial, dpi=150, format=path.suffix[1:].lower())
    typer.echo(f"{path} written")
