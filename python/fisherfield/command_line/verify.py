# SPDX-License-Identifier: BSD-3-Clause
"""`fisherfield verify`: what it does with the options that `command_line` has read."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any

import numpy as np
import typer
from rich import box
from rich.table import Table
from rich.text import Text

import fisherfield as ff

from ..sampled import Verification
from ..sampled.verify import rows_of
from ..scan.files import replacing
from ..scan.scan import bar
from .scan import picture
from .terminal import Stopped, console, refusing, terminating

__all__ = ["run_verify"]


def run_verify(
    file: str,
    *,
    data: str | None,
    samples: int | None,
    out: str,
    as_json: bool,
    describe: Callable[[ff.Network], Mapping[str, str]],
    **arguments: Any,
) -> None:
    """Verify a network, print the table and the verdict, and draw the picture; `arguments` are those of `ff.verify`."""
    said = console()
    counted = [0, 0]
    try:
        with terminating(), refusing():
            path = picture(out) if out else None
            net = ff.load(file)
            given: dict[str, Any] = {"samples": samples}
            if data is not None:
                given = {"x": ff.data.load(data, samples=samples, shape=net)}
            shown = said.is_terminal and not as_json
            with bar(said, "networks") if shown else nullcontext(lambda done, total: None) as show:

                def told(done: int, total: int) -> None:
                    counted[:] = done, total
                    show(done, total)

                found = ff.verify(net, **given, **arguments, progress=told)
            if path is not None:
                with replacing(path) as partial:
                    found.plot().savefig(partial, dpi=150, format=path.suffix[1:].lower())
    except KeyboardInterrupt:
        done, total = counted
        far = f"with {done} of {total} networks finished" if total else "before the first network"
        raise Stopped(f"stopped {far}, of which nothing is kept" if done else f"stopped {far}") from None
    if as_json:
        typer.echo(json.dumps(_as_json(file, found), indent=2, allow_nan=False))
        return
    heading = Table.grid(padding=(0, 2))
    for name, words in {**describe(net), **_description(found, data)}.items():
        heading.add_row(Text(name, style="bold"), Text(words))
    said.print(heading)
    said.print()
    said.print(_table(found))
    said.print()
    for sentence in found.verdicts:
        said.print(Text(sentence))
    if path is not None:
        said.print(Text(f"{path} written"), soft_wrap=True)


def _description(found: Verification, data: str | None) -> dict[str, str]:
    given, count = found.settings, found.seeds.size
    inputs = f"{given['samples']} samples of {data}" if data else f"{given['samples']} Gaussian samples a network"
    return {
        "sampled": f"{count} network{'s' * (count != 1)} a width, statistics {given['statistics']}, gradients of the "
        f"biases {'counted' if given['biases'] else 'left out'}",
        "data": f"{inputs}; length {given['length']:.4g}, overlap {given['overlap']:.4g}",
        "theory": given["theory"],
    }


def _table(found: Verification) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 2, 0, 0))
    for place, column in enumerate(("width", "", "sampled", "theory", "sampled/theory")):
        table.add_column(column, justify="right" if place == 0 else "left")
    for row in rows_of(found):
        table.add_row(*row)
    return table


def _as_json(file: str, found: Verification) -> dict[str, Any]:
    """The schema: change it only by adding keys. Arrays go along the widths, those of `runs` along the seeds, too."""

    def plain(values: Any) -> Any:
        return json.loads(json.dumps(np.asarray(values).tolist()), parse_constant=lambda constant: None)

    power = found.powers["lambda_max"]
    return {
        "fisherfield": ff.__version__,
        "file": file,
        "settings": found.settings,
        "widths": plain(found.widths),
        "seeds": plain(found.seeds),
        "sampled": {name: plain(values) for name, values in found.sampled.items()},
        "errors": {name: plain(values) for name, values in found.errors.items()},
        "theory": {name: plain(values) for name, values in found.theory.items()},
        "lambda_max_of_other_theories": {name: plain(values) for name, values in found.others.items()},
        "bound": [result.bound for result in found.fishers],
        "holds": [result.holds for result in found.fishers],
        "reason": [result.reason for result in found.fishers],
        "power": None
        if power is None or not math.isfinite(power.exponent)
        else {
            "exponent": power.exponent,
            "error": power.error,
            "factor": power.factor,
            "widths": power.widths,
            "chi2": power.chi2,
        },
        "runs": {name: plain(values) for name, values in found.runs.items()},
        "verdict": list(found.verdicts),
    }
