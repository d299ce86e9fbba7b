# SPDX-License-Identifier: BSD-3-Clause
"""`fisherfield verify`: sampled networks beside the theory."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Annotated, Any

import numpy as np
import typer
from rich.table import Table
from rich.text import Text

import fisherfield as ff

from .._progress import bar
from .._words import plural
from ..sampled import Verification
from ..sampled.verification import rows_of
from ..scan.files import replacing
from .options import Biases, File, Threads, picture, whole
from .printing import architecture, headed, kinds_in_words, lines
from .terminal import Stopped, console, refusing, terminating

EPILOG = (
    "\b\nExamples:\n  fisherfield verify examples/vanilla.toml --seeds 20\n"
    "  fisherfield verify examples/dense.toml --width 125 --width 250 --width 500 --out verify.png\n"
    "  fisherfield verify net.toml --data digits --samples 300 --json"
)


def verify(
    file: File,
    width: Annotated[
        list[int] | None,
        typer.Option(
            parser=whole,
            metavar="N",
            help="Units or channels of the widest hidden layer, the others in proportion; may be repeated.  "
            "[default: the network as it is]",
        ),
    ] = None,
    seeds: Annotated[
        int, typer.Option(parser=whole, metavar="N", help="How many networks at each width, 1 or more.")
    ] = 10,
    samples: Annotated[
        int | None,
        typer.Option(
            parser=whole, metavar="N", help="Samples, 2 or more.  [default: 500 Gaussian ones, or all of --data]"
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="SOURCE",
            help="digits, fashion-mnist, a folder of MNIST's or CIFAR-10's files, or a .npy or .npz file, standardised "
            "as a whole.  [default: independent Gaussian inputs]",
        ),
    ] = None,
    statistics: Annotated[
        str, typer.Option(metavar="NAME", help="What is made of BatchNorm's mean and variance: exact, frozen.")
    ] = "exact",
    biases: Biases = None,
    vectors: Annotated[
        int,
        typer.Option(
            parser=whole, metavar="N", help="Random vectors that traces of large networks are estimated by, 2 or more."
        ),
    ] = 8,
    threads: Threads = None,
    out: Annotated[
        str, typer.Option(metavar="FILE", help="A picture besides: .png, .pdf, .svg.  [default: none]")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON in full precision, every network in it.")] = False,
) -> None:
    """Sample networks and hold the theory against them.

    The largest eigenvalue, the bulk, and the mean and second moment of the Fisher information of finite networks with
    random weights, each beside what the theory says: means over the networks with standard errors, and how the gap
    closes as networks widen. With --statistics exact gradients flow through BatchNorm's mean and variance, as in
    training; with frozen both are held constant, and the theory is frozen, too.
    """
    run_verify(
        file,
        data=data,
        samples=samples,
        out=out,
        as_json=as_json,
        describe=lambda net: {"network": f"{file}: {architecture(net)}", **kinds_in_words(net)},
        widths=width,
        seeds=seeds,
        statistics=statistics,
        biases=biases,
        vectors=vectors,
        threads=threads,
    )


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
    output = console()
    counted = [0, 0]
    try:
        with terminating(), refusing():
            path = picture(out) if out else None
            net = ff.load(file)
            inputs: dict[str, Any] = {"samples": samples}
            if data is not None:
                inputs = {"x": ff.data.load(data, samples=samples, shape=net)}
            shown = output.is_terminal and not as_json
            with bar(output, "networks") if shown else nullcontext(lambda done, total: None) as show:

                def counting(done: int, total: int) -> None:
                    counted[:] = done, total
                    show(done, total)

                verification = ff.verify(net, **inputs, **arguments, progress=counting)
            if path is not None:
                with replacing(path) as partial:
                    verification.plot().savefig(partial, dpi=150, format=path.suffix[1:].lower())
    except KeyboardInterrupt:
        done, total = counted
        far = f"with {done} of {total} networks finished" if total else "before the first network"
        raise Stopped(f"stopped {far}, of which nothing is kept" if done else f"stopped {far}") from None
    if as_json:
        typer.echo(json.dumps(_as_json(file, verification), indent=2, allow_nan=False))
        return
    output.print(headed({**describe(net), **_description(verification, data)}))
    output.print()
    output.print(_table(verification))
    output.print()
    for sentence in verification.verdicts:
        output.print(Text(sentence))
    if path is not None:
        output.print(Text(f"{path} written"), soft_wrap=True)


def _description(verification: Verification, data: str | None) -> dict[str, str]:
    settings, count = verification.settings, verification.seeds.size
    inputs = f"{settings['samples']} samples of {data}" if data else f"{settings['samples']} Gaussian samples a network"
    return {
        "sampled": f"{plural(count, 'network')} a width, statistics {settings['statistics']}, gradients of the "
        f"biases {'counted' if settings['biases'] else 'left out'}",
        "data": f"{inputs}; length {settings['length']:.4g}, overlap {settings['overlap']:.4g}",
        "theory": settings["theory"],
    }


def _table(verification: Verification) -> Table:
    table = lines("width", "", "sampled", "theory", "sampled/theory", right=("width",))
    for row in rows_of(verification):
        table.add_row(*row)
    return table


def _as_json(file: str, verification: Verification) -> dict[str, Any]:
    """The schema: change it only by adding keys. Arrays go along the widths, those of `runs` along the seeds, too."""

    def plain(values: Any) -> Any:
        return json.loads(json.dumps(np.asarray(values).tolist()), parse_constant=lambda constant: None)

    power = verification.powers["lambda_max"]
    return {
        "fisherfield": ff.__version__,
        "file": file,
        "settings": verification.settings,
        "widths": plain(verification.widths),
        "seeds": plain(verification.seeds),
        "sampled": {name: plain(values) for name, values in verification.sampled.items()},
        "errors": {name: plain(values) for name, values in verification.errors.items()},
        "theory": {name: plain(values) for name, values in verification.theory.items()},
        "lambda_max_of_other_theories": {name: plain(values) for name, values in verification.others.items()},
        **{
            name: [getattr(result, name, None) for result in verification.fishers]
            for name in ("bound", "holds", "reason")
        },
        "power": None
        if power is None or not math.isfinite(power.exponent)
        else {
            "exponent": power.exponent,
            "error": power.error,
            "factor": power.factor,
            "widths": power.widths,
            "chi2": power.chi2,
        },
        "shift": plain(verification.shift),
        "spread": plain(verification.spread),
        "sampled_spread": plain(verification.sampled_spread),
        "interval": plain(verification.intervals),
        "inside": plain(verification.inside),
        "edge": plain(verification.edge),
        "second": plain(verification.second),
        "runs": {name: plain(values) for name, values in verification.runs.items()},
        "verdict": list(verification.verdicts),
    }
