# SPDX-License-Identifier: BSD-3-Clause
"""Options that more than one command has, and what they check."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from .._numbers import LOSSES
from .._words import shown

FORMATS = (".png", ".pdf", ".svg")


def whole(text: Any) -> int:
    """A whole number, also as 1e5."""
    for convert in (int, float):
        with suppress(ValueError, OverflowError):
            number = convert(text)
            if number == int(number):
                return int(number)
    raise typer.BadParameter(f"it must be a whole number, got {shown(text)}{_written(text, '', int)}")


def decimal(text: Any) -> float:
    try:
        return float(text)
    except ValueError:
        raise typer.BadParameter(f"it must be a number, got {shown(text)}{_written(text, '.', float)}") from None


def _written(text: str, comma: str, convert: Callable[[str], object]) -> str:
    """How a number with a comma is to be written, if it is one."""
    plain = text.replace(",", comma).strip()
    with suppress(ValueError):
        return f": write {plain}" if "," in text and len(plain) < 30 and convert(plain) is not None else ""
    return ""


# Options that more than one command has.
File = Annotated[str, typer.Argument(metavar="NET.toml", help="The network, as Network.save writes it.")]
Momentum = Annotated[float, typer.Option(parser=decimal, metavar="MU", help="Momentum mu, in [0, 1).")]
Nesterov = Annotated[bool, typer.Option("--nesterov", help="Nesterov's momentum, as torch.optim.SGD has it.")]
WeightDecay = Annotated[
    float, typer.Option(parser=decimal, metavar="X", help="Weight decay, as torch.optim.SGD has it, 0 or more.")
]
Samples = Annotated[
    int | None,
    typer.Option(parser=whole, metavar="N", help="Samples in the data, 1 or more.  [default: infinitely many]"),
]
Overlap = Annotated[
    float,
    typer.Option(parser=decimal, metavar="X", help="Mean product of two inputs, per coordinate, at most the length."),
]
Length = Annotated[
    float, typer.Option(parser=decimal, metavar="X", help="Mean square of an input, per coordinate, > 0.")
]
Loss = Annotated[str, typer.Option(metavar="NAME", help=f"{', '.join(LOSSES)}.", autocompletion=lambda: list(LOSSES))]
Biases = Annotated[
    bool | None,
    typer.Option(
        "--biases/--no-biases",
        help="Whether the gradients of the biases count.  [default: in exact and frozen, not in wei2019]",
    ),
]
Threads = Annotated[
    int | None,
    typer.Option(parser=whole, metavar="N", help="Threads, 1 or more.  [default: all processors it may use]"),
]


def picture(out: str | Path) -> Path:
    """Where a figure is to be written."""
    path = Path(out)
    if path.suffix.lower() not in FORMATS:
        raise ValueError(f"--out must end in {', '.join(FORMATS)}, got {shown(str(path))}")
    if not path.parent.is_dir():
        raise ValueError(f"--out must lie in an existing folder, got {shown(str(path))}")
    with suppress(ImportError):  # said by what draws
        import matplotlib

        matplotlib.use("Agg")  # for files, whatever the machine has of windows
    return path
