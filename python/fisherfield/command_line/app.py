# SPDX-License-Identifier: BSD-3-Clause
"""The command line: `fisherfield lr`, `scan`, `plot`, `verify`, `figure`, `experiment` and `selftest`."""

from __future__ import annotations

import itertools
import json
import logging
import math
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

import fisherfield as ff

from .. import _labels
from .._numbers import BACKENDS, LOSSES, THEORIES, biases_of, choice, integer
from ..scan.files import ENDINGS
from .scan import FORMATS, picture, run_plot, run_scan
from .terminal import Refusal, Stopped, console, refusing
from .verify import run_verify

__all__ = ["app", "main"]

app = typer.Typer(
    name="fisherfield",
    help="Largest Fisher eigenvalue and largest stable learning rate of a wide network, with and without BatchNorm.",
    # Plain help: it pipes well, keeps examples as they are typed, and looks the same in every version of Typer.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)

_FIGURES = {"wei2019-1": "wei2019_figure_1"}

_LOSS_WORDS = {
    "sum": "half the squared error, summed over outputs, mean over samples",
    "mean": "half the squared error, mean over outputs and samples",
    "mse": "torch.nn.MSELoss: the squared error, mean over outputs and samples",
    "cross_entropy": "cross-entropy at small logits, mean over samples",
}
_BATCH_NORM, _VANILLA = "with BatchNorm", "vanilla (BatchNorm taken out)"


# With it the parent of Typer's usage errors (unknown option, missing argument, wrong type), reached by a public name.
_REFUSALS: tuple[type[BaseException], ...] = (Refusal, typer.BadParameter.__mro__[2])


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 1 the selftest failed, 2 refused, 130 stopped, with one line on stderr."""
    command = typer.main.get_command(app)
    try:
        code = command.main(arguments, prog_name="fisherfield", standalone_mode=False)
    except _REFUSALS as error:
        said = error.format_message() if hasattr(error, "format_message") else str(error)
        sys.stderr.write(f"fisherfield: {' '.join(said.split())}\n")
        sys.exit(2)
    except Stopped as ending:
        # Zarr's tasks and coroutines that were cut short are of no interest, some of them only as Python ends.
        logging.getLogger("asyncio").setLevel(logging.CRITICAL)
        warnings.filterwarnings("ignore", "coroutine .* was never awaited", RuntimeWarning)
        sys.stderr.write(f"fisherfield: {ending}\n")
        sys.exit(130)
    except typer.Abort:
        sys.exit(130)
    sys.exit(code if isinstance(code, int) else 0)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"fisherfield {ff.__version__}")
        raise typer.Exit()


@app.callback(
    invoke_without_command=True,
    epilog="\b\nExamples:\n  fisherfield lr examples/dense.toml --momentum 0.9\n"
    "  fisherfield scan examples/dense.toml --axis gamma=0.1:5:200 --out scan.zarr\n"
    "  fisherfield plot scan.zarr\n"
    "  fisherfield verify examples/dense.toml --width 100 --width 200 --out verify.png\n"
    "  fisherfield figure wei2019-1 --out figure1.png\n  fisherfield selftest",
)
def _root(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


# ---------------------------------------------------------------------------------------------------------------- lr


# Options that more than one command has.
_File = Annotated[str, typer.Argument(metavar="NET.toml", help="The network, as Network.save writes it.")]
_Momentum = Annotated[float, typer.Option(metavar="MU", help="Momentum mu, in [0, 1).")]
_Nesterov = Annotated[bool, typer.Option("--nesterov", help="Nesterov's momentum, as torch.optim.SGD has it.")]
_WeightDecay = Annotated[float, typer.Option(metavar="X", help="Weight decay, as torch.optim.SGD has it, 0 or more.")]
_Samples = Annotated[
    int | None, typer.Option(metavar="N", help="Samples in the data, 1 or more.  [default: infinitely many]")
]
_Overlap = Annotated[
    float, typer.Option(metavar="X", help="Mean product of two inputs, per coordinate, at most the length.")
]
_Length = Annotated[float, typer.Option(metavar="X", help="Mean square of an input, per coordinate, > 0.")]
_Loss = Annotated[str, typer.Option(metavar="NAME", help=f"{', '.join(LOSSES)}.")]
_Biases = Annotated[
    bool | None,
    typer.Option(
        "--biases/--no-biases",
        help="Whether the gradients of the biases count.  [default: in exact and frozen, not in wei2019]",
    ),
]


@app.command(
    epilog="\b\nExamples:\n  fisherfield lr examples/dense.toml --momentum 0.9\n"
    "  fisherfield lr examples/convnet.toml --theory exact --samples 50000 --loss mse --json\n"
    "  fisherfield lr net.toml --data digits --samples 64 --momentum 0.9 --nesterov"
)
def lr(
    file: _File,
    momentum: _Momentum = 0.0,
    nesterov: _Nesterov = False,
    weight_decay: _WeightDecay = 0.0,
    theory: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help=f"{', '.join(THEORIES)}; may be repeated.  [default: all three]"),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|PATH",
            help="Take overlap, length and number of samples from these: digits, fashion-mnist, a folder of MNIST's or "
            "CIFAR-10's files, or a .npy or .npz file.",
        ),
    ] = None,
    standardize: Annotated[
        str | None, typer.Option(metavar="HOW", help="Of --data: global, feature or none.  [default: global]")
    ] = None,
    samples: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Samples that a step sees, 1 or more; with BatchNorm and mini-batches the size of a batch.  [default: "
            "all of --data, or infinitely many]",
        ),
    ] = None,
    overlap: Annotated[
        float | None,
        typer.Option(
            metavar="X",
            help="Mean product of two inputs, per coordinate, at most the length; about half of it in images.  "
            "[default: 0, or that of --data]",
        ),
    ] = None,
    length: Annotated[
        float | None,
        typer.Option(
            metavar="X", help="Mean square of an input, per coordinate, > 0.  [default: 1, or that of --data]"
        ),
    ] = None,
    loss: _Loss = "sum",
    biases: _Biases = None,
    as_json: Annotated[
        bool, typer.Option("--json", help='Print JSON in full precision; infinity is the string "inf".')
    ] = False,
) -> None:
    """Print the largest stable learning rate of a network.

    By each theory, and beside it the same network without BatchNorm. "exact" lets the gradient flow through the batch
    statistics, as training does; "frozen" holds them constant; "wei2019" is the theory as published by Wei, Stokes and
    Schwab. Where all sampled networks lay on one side a number is printed with >= or <=; one with ~ may err on either
    side. The reason stands below.

    It is the limit of torch.optim.SGD, with or without momentum, for the squared losses. It is none of Adam.
    """
    with refusing():
        choice("loss", loss, LOSSES)
        theories = tuple(dict.fromkeys(choice("theory", name, THEORIES) for name in theory or THEORIES))
        net = ff.load(file)
        inputs = _data(net, data, standardize, samples, overlap, length)
        arguments: dict[str, Any] = {
            "samples": samples if inputs is None or samples is not None else len(inputs),
            "overlap": 0.0 if overlap is None else overlap,
            "length": 1.0 if length is None else length,
            "biases": biases,
            "momentum": momentum,
            "loss": loss,
            "nesterov": nesterov,
            "weight_decay": weight_decay,
        }
        if inputs is not None:
            arguments["overlap"], arguments["length"] = ff.data.overlap_and_length(inputs)
        rows = _rows(net, theories, arguments)
    if as_json:
        typer.echo(json.dumps(_as_json(file, net, rows, arguments, inputs), indent=2, allow_nan=False))
    else:
        _print_rates(console(), file, net, rows, arguments, inputs)


def _data(
    net: ff.Network,
    source: str | None,
    standardize: str | None,
    samples: int | None,
    overlap: float | None,
    length: float | None,
) -> ff.data.Data | None:
    """The data that are asked for, which what else was given must agree with."""
    if source is None:
        if standardize is not None:
            raise ValueError("--standardize needs --data")
        return None
    for name, value in (("overlap", overlap), ("length", length)):
        if value is not None:
            raise ValueError(f"--{name} must be left out with --data, which has its own, got {value:g}")
    how = choice("--standardize", standardize or "global", ("global", "feature", "none"))
    inputs = ff.data.load(source, None if how == "none" else how, shape=net)
    if samples is not None:
        integer("--samples", samples, 1, len(inputs))
    return inputs


@dataclass(frozen=True)
class _Row:
    """One theory on the network as it stands, or without its BatchNorm; `rate` is None where the theory refuses it."""

    theory: str
    batch_norm: bool
    biases: bool
    rate: ff.LearningRate | None
    refusal: str = ""


def _rows(net: ff.Network, theories: Sequence[str], arguments: dict[str, Any]) -> list[_Row]:
    variants = [(True, net), (False, net.replace(batch_norm=False))] if net.batch_norms else [(False, net)]
    rows = []
    for batch_norm, variant in variants:
        refused: list[Exception] = []
        for theory in theories:
            biases = biases_of(arguments["biases"], theory)
            try:
                rows.append(_Row(theory, batch_norm, biases, ff.max_learning_rate(variant, theory=theory, **arguments)))
            except (ValueError, RuntimeError) as error:
                rows.append(_Row(theory, batch_norm, biases, None, str(error)))
                refused.append(error)
        if variant is net and len(refused) == len(theories):
            raise refused[0]
    return rows


def _print_rates(
    said: Console,
    file: str,
    net: ff.Network,
    rows: Sequence[_Row],
    arguments: dict[str, Any],
    data: ff.data.Data | None,
) -> None:
    heading = Table.grid(padding=(0, 2))
    for name, words in _description(file, net, arguments, data).items():
        heading.add_row(Text(name, style="bold"), Text(words))
    said.print(heading)
    for index, (batch_norm, group) in enumerate(itertools.groupby(rows, key=lambda row: row.batch_norm)):
        said.print()
        if net.batch_norms:
            said.print(Text(_BATCH_NORM if batch_norm else _VANILLA, style="bold"))
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_header=index == 0, show_edge=False)
        table.add_column("theory", width=9)
        table.add_column("biases", width=8)
        table.add_column("lambda_max", justify="right", width=13)
        table.add_column("largest stable\nlearning rate", justify="right", width=14)
        table.add_column("bulk", justify="right", width=10)
        table.add_column("regime", width=8)
        for row in group:
            table.add_row(*_cells(row))
        said.print(table)
    comparison = _comparison(rows)
    if comparison:
        said.print()
        said.print(Text("learning rate with BatchNorm / vanilla:  " + ",  ".join(comparison)))
    for owners, sentences in _notes(rows).items():
        said.print()
        said.print(Text(f"{owners}:", style="bold"))
        for sentence in sentences:
            said.print(Padding(Text(sentence), (0, 0, 0, 2), expand=False))


def _cells(row: _Row) -> tuple[str, ...]:
    counted = "counted" if row.biases else "left out"
    if row.rate is None:
        return (row.theory, counted, "refused", "-", "-", "-")
    fisher = row.rate.fisher
    return (
        row.theory,
        counted,
        _bounded(fisher.bound, fisher.lambda_max),
        _bounded(row.rate.bound, float(row.rate)),
        _number(fisher.bulk),
        fisher.regime,
    )


def _notes(rows: Sequence[_Row]) -> dict[str, list[str]]:
    """Which rows -> what is to be said of them, each distinct reason and refusal once."""
    owners: dict[str, list[_Row]] = {}
    for row in rows:
        # A result joins its reasons by "; ".
        for sentence in [row.refusal] if row.rate is None else row.rate.reason.split("; "):
            if sentence:
                owners.setdefault(sentence, []).append(row)
    both = len({row.batch_norm for row in rows}) > 1
    notes: dict[str, list[str]] = {}
    for sentence, group in owners.items():
        blocks = itertools.groupby(group, key=lambda row: row.batch_norm)
        names = [
            ", ".join(row.theory for row in block) + (f" ({_BATCH_NORM if batch_norm else 'vanilla'})" if both else "")
            for batch_norm, block in blocks
        ]
        notes.setdefault("; ".join(names), []).append(sentence)
    return notes


def _comparison(rows: Sequence[_Row]) -> list[str]:
    """How many times larger BatchNorm's learning rate is, by theory; of bounds it says what they say of the ratio."""
    vanilla = {row.theory: row.rate for row in rows if not row.batch_norm}
    said = []
    for row in rows:
        bare = vanilla.get(row.theory)
        if not row.batch_norm or row.rate is None or bare is None or not (0 < bare < math.inf and row.rate < math.inf):
            continue
        sign = {("=", "="): "", ("<=", "="): "<= ", ("=", "<="): ">= "}.get((row.rate.bound, bare.bound), "about ")
        said.append(f"{row.theory} {sign}{_number(row.rate / bare)}")
    return said


def _description(file: str, net: ff.Network, arguments: dict[str, Any], data: ff.data.Data | None) -> dict[str, str]:
    samples = arguments["samples"]
    many = "infinitely many samples" if samples is None else f"{samples} sample{'s' if samples != 1 else ''}"
    if data is not None:
        how = {"global": "standardised as a whole", "feature": "standardised feature by feature"}
        words = how.get(data.standardize or "", "not standardised")
        many = f"{data.name}, {words}: {many}{'' if samples == len(data) else f' of {len(data)}'}"
    loss = arguments["loss"]
    return {
        "network": f"{file}: {_architecture(net)}",
        "activation": _values(net.activations) or "none (linear)",
        "BatchNorm": _batch_norm_words(net),
        "weights": f"sigma_w2 {_values(layer.sigma_w2 for layer in net.affine_layers)}, "
        f"sigma_b2 {_values(layer.sigma_b2 for layer in net.affine_layers)}; {net.parameters():,} parameters",
        "data": f"{many}; inputs of length {arguments['length']:.4g}, overlap {arguments['overlap']:.4g}",
        "loss": f"{loss}: {_LOSS_WORDS[loss]}{'' if loss == 'sum' else '; lambda_max is that of sum'}",
        "optimiser": f"SGD, {', '.join(_labels.descent(arguments))}",
    }


def _architecture(net: ff.Network) -> str:
    """E.g. "784 -> 3 x Dense 1000 -> Dense 10"; images are channels x height x width."""
    outlines = (layer.outline(shape) for layer, shape in zip(net.layers, net.shapes[1:], strict=True))
    steps = [" x ".join(map(str, net.input_shape)), *filter(None, outlines)]
    runs = [(step, len(list(run))) for step, run in itertools.groupby(steps)]
    return " -> ".join(step if count == 1 else f"{count} x {step}" for step, count in runs)


def _batch_norm_words(net: ff.Network) -> str:
    norms = net.batch_norms
    if not norms:
        return "none"
    values = ", ".join(f"{name} {_values(getattr(norm, name) for norm in norms)}" for name in ("gamma", "beta", "eps"))
    trained = {norm.trained for norm in norms}
    words = "not trained" if trained == {False} else "trained" if trained == {True} else "trained in some"
    return f"after {len(norms)} of {net.depth} affine layers; {values}; gamma and beta {words}"


def _values(values: Any) -> str:
    """The distinct values in order; from the least to the greatest where they are many."""
    words = list(dict.fromkeys(f"{value:g}" if isinstance(value, float) else str(value) for value in values))
    return ", ".join(words) if len(words) <= 4 else f"{', '.join(words[:3])}, ... ({len(words)} different)"


def _number(value: float) -> str:
    """Four digits, and one decimal at least where the number has fewer than six before it."""
    if 100 <= abs(value) < 1e5:
        return f"{value:.1f}"
    return f"{value:.4g}"


def _bounded(bound: str, value: float) -> str:
    return _number(value) if bound == "=" else f"{bound} {_number(value)}"


def _as_json(
    file: str, net: ff.Network, rows: Sequence[_Row], arguments: dict[str, Any], data: ff.data.Data | None
) -> dict[str, Any]:
    """The schema: change it only by adding keys. Rows come in the order of the table."""
    return {
        "fisherfield": ff.__version__,
        "file": file,
        "network": {
            "description": _architecture(net),
            "input_shape": list(net.input_shape),
            "outputs": net.outputs,
            "depth": net.depth,
            "parameters": net.parameters(),
            "batch_norms": len(net.batch_norms),
        },
        "arguments": arguments,
        "data": None if data is None else {"name": data.name, "standardize": data.standardize, "samples": len(data)},
        "rows": [_row_as_json(row) for row in rows],
    }


def _row_as_json(row: _Row) -> dict[str, Any]:
    head = {"theory": row.theory, "batch_norm": row.batch_norm, "biases": row.biases}
    if row.rate is None:
        return {**head, "refused": True, "reason": row.refusal}
    fisher = row.rate.fisher
    return {
        **head,
        "refused": False,
        "max_learning_rate": _json_number(row.rate),
        "max_learning_rate_bound": row.rate.bound,
        "lambda_max": _json_number(fisher.lambda_max),
        "lambda_max_bound": fisher.bound,
        "bulk": _json_number(fisher.bulk),
        "mean": _json_number(fisher.mean),
        "second_moment": _json_number(fisher.second_moment),
        "multiplicity": fisher.multiplicity,
        "parameters": fisher.parameters,
        "regime": fisher.regime,
        "holds": row.rate.holds,
        "reason": row.rate.reason,
    }


def _json_number(value: float) -> float | str | None:
    """Strict JSON has no infinity: "inf" or "-inf"; a number that does not exist is null."""
    value = float(value)
    return value if math.isfinite(value) else None if math.isnan(value) else "inf" if value > 0 else "-inf"


# ---------------------------------------------------------------------------------------------------- scan and plot


@app.command(
    epilog="\b\nExamples:\n"
    "  fisherfield scan net.toml --axis gamma=0.1:5:200 --axis sigma_w2=0.5:4:100:log\n"
    "  fisherfield scan net.toml --axis gamma=0.1:5:200 --axis samples=16,64,inf\n"
    "  fisherfield scan net.toml --random 1000 --axis gamma=0.1:5 --out scan.csv\n"
    "  fisherfield scan net.toml --points points.csv --quantity q --out scan.nc\n"
    "  fisherfield plot net.zarr"
)
def scan(
    file: _File,
    axis: Annotated[
        list[str] | None,
        typer.Option(
            metavar="AXIS",
            help="What is varied, and by which values (both above); repeated, all combinations.",
        ),
    ] = None,
    points: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Paired points: a .csv or .parquet table whose columns have the names of axes, a row for each point.",
        ),
    ] = None,
    random: Annotated[
        int | None,
        typer.Option(
            metavar="COUNT", help="Random points, 1 or more, from the axes NAME=LOW:HIGH and NAME=LOW:HIGH:log."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="The same seed gives the same random points; 0 or more.")] = 0,
    quantity: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help=f"What is computed: {', '.join(_labels.QUANTITIES)}; may be repeated.  "
            "[default: lambda_max and max_learning_rate]",
        ),
    ] = None,
    theory: Annotated[str, typer.Option(metavar="NAME", help=f"{', '.join(THEORIES)}.")] = "exact",
    samples: _Samples = None,
    overlap: _Overlap = 0.0,
    length: _Length = 1.0,
    loss: _Loss = "sum",
    momentum: _Momentum = 0.0,
    nesterov: _Nesterov = False,
    weight_decay: _WeightDecay = 0.0,
    biases: _Biases = None,
    out: Annotated[
        str,
        typer.Option(
            metavar="FILE",
            help=f"Where to: {', '.join(ENDINGS)}. A .zarr store is written as the scan goes, takes any number of "
            "points, and goes on where it was stopped; the others are written at the end.  [default: NET.zarr]",
        ),
    ] = "",
    force: Annotated[bool, typer.Option("--force", help="Overwrite a file that is there.")] = False,
    threads: Annotated[
        int | None, typer.Option(metavar="N", help="Threads, 1 or more.  [default: all processors]")
    ] = None,
    backend: Annotated[str, typer.Option(metavar="NAME", help=f"{', '.join(BACKENDS)}.")] = "cpu",
    chunk: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="The most points that are computed and written at a time, 1 or more.  [default: what takes about a "
            "second]",
        ),
    ] = None,
) -> None:
    """Evaluate the theory over a grid of parameters.

    \b
    Names of axes:
      gamma, beta, eps    of every BatchNorm
      sigma_w2, sigma_b2  variances, of every layer
      width, depth        units or channels of hidden layers, and number of
                          layers, where all hidden layers are alike
      samples             whole numbers, inf for infinitely many
      length, overlap     of the data
      momentum            of gradient descent
      'layers[2].gamma'   one of the first five in one layer, counted from 0

    \b
    Values of axes:
      gamma=0.1:5:200     200 values from 0.1 to 5, evenly spaced
      gamma=0.1:5:50:log  50 values, evenly spaced in the logarithm
      samples=16,64,inf   these values
      gamma=0.1:5         between 0.1 and 5 for --random; with :log its
                          logarithm is uniform

    Points without a value are NaN, and a status says why. Ctrl-C stops; the same command goes on in a .zarr store.
    """
    run_scan(
        file,
        axes=axis or [],
        points=points,
        random=random,
        seed=seed,
        out=out,
        force=force,
        describe=lambda name, net: f"{name}: {_architecture(net)}",
        quantities=tuple(quantity or ("lambda_max", "max_learning_rate")),
        theory=theory,
        samples=samples,
        overlap=overlap,
        length=length,
        biases=biases,
        loss=loss,
        momentum=momentum,
        nesterov=nesterov,
        weight_decay=weight_decay,
        threads=threads,
        backend=backend,
        chunk=chunk,
    )


@app.command(
    epilog="\b\nExamples:\n  fisherfield plot dense.zarr\n"
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
    run_plot(file, quantity, select or [], out)


# ------------------------------------------------------------------------------------------------------------ verify


@app.command(
    epilog="\b\nExamples:\n  fisherfield verify examples/vanilla.toml --seeds 20\n"
    "  fisherfield verify examples/dense.toml --width 125 --width 250 --width 500 --out verify.png\n"
    "  fisherfield verify net.toml --data digits --samples 300 --json"
)
def verify(
    file: _File,
    width: Annotated[
        list[int] | None,
        typer.Option(
            metavar="N",
            help="Units or channels of the widest hidden layer, the others in proportion; may be repeated.  "
            "[default: the network as it is]",
        ),
    ] = None,
    seeds: Annotated[int, typer.Option(metavar="N", help="How many networks at each width, 1 or more.")] = 10,
    samples: Annotated[
        int | None,
        typer.Option(metavar="N", help="Samples, 2 or more.  [default: 500 Gaussian ones, or all of --data]"),
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
    biases: _Biases = None,
    vectors: Annotated[
        int, typer.Option(metavar="N", help="Random vectors that traces of large networks are estimated by, 2 or more.")
    ] = 8,
    threads: Annotated[
        int | None, typer.Option(metavar="N", help="Threads, 1 or more.  [default: all processors]")
    ] = None,
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
        describe=lambda net: {"network": f"{file}: {_architecture(net)}", "BatchNorm": _batch_norm_words(net)},
        widths=width,
        seeds=seeds,
        statistics=statistics,
        biases=biases,
        vectors=vectors,
        threads=threads,
    )


# ------------------------------------------------------------------------------------------------------------ figure


@app.command(
    epilog="\b\nExample:\n  fisherfield figure wei2019-1 --out figure1.png\n\n"
    "\b\nFigures:\n  wei2019-1   lambda_max and learning rate against BatchNorm's gamma, dense and convolutional"
)
def figure(
    name: Annotated[str, typer.Argument(metavar="NAME", help=f"Which figure: {', '.join(_FIGURES)}.")],
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
        draw().savefig(path, dpi=150)
    typer.echo(f"{path} written")


# -------------------------------------------------------------------------------------------------------- experiment

_experiment = typer.Typer(
    help="Train networks, and lay the theory beside what happens. Needs pip install 'fisherfield[torch,plot,data]'.",
    rich_markup_mode=None,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
app.add_typer(_experiment, name="experiment")


@_experiment.command(
    epilog="\b\nExamples:\n  fisherfield experiment figure2 --out figure2.png\n"
    "  fisherfield experiment figure2 --data fashion-mnist --restarts 1 --store runs --out fashion.png\n"
    "  fisherfield experiment figure2 --redraw figure2.json --quantity train_loss --out again.png"
)
def figure2(
    data: Annotated[
        str,
        typer.Option(
            metavar="NAME|PATH",
            help="digits, fashion-mnist, a folder of IDX files or of CIFAR-10's .bin, or a file .npz.",
        ),
    ] = "digits",
    loss: _Loss = "sum",
    momentum: _Momentum = 0.9,
    batch: Annotated[str, typer.Option(metavar="N", help="Samples a step, or full.")] = "128",
    epochs: Annotated[int, typer.Option(metavar="N", help="Passes over the data; with --batch full, steps.")] = 5,
    train_affine: Annotated[
        bool, typer.Option("--train-affine/--fixed-affine", help="Train gamma and beta, or hold them.")
    ] = False,
    standardize: Annotated[str, typer.Option(metavar="HOW", help="global, feature or none.")] = "global",
    samples: Annotated[
        int | None, typer.Option(metavar="N", help="So many of the data's, at random.  [default: all]")
    ] = None,
    seeds: Annotated[int, typer.Option(metavar="N", help="Restarts: the boundary is found for each.")] = 2,
    restarts: Annotated[
        int | None, typer.Option(metavar="N", help="So many of them train every cell.  [default: all]")
    ] = None,
    gammas: Annotated[int, typer.Option(metavar="N", help="Values of gamma, from 0.25 to 4.")] = 9,
    rates: Annotated[int, typer.Option(metavar="N", help="Learning rates.")] = 13,
    width: Annotated[int, typer.Option(metavar="N", help="Units of the dense network's hidden layers.")] = 256,
    workers: Annotated[
        int | None, typer.Option(metavar="N", help="Processes of one thread each.  [default: as many as cores]")
    ] = None,
    store: Annotated[
        str | None, typer.Option(metavar="DIR", help="Where cells are kept as they are trained, to go on from.")
    ] = None,
    redraw: Annotated[
        str | None, typer.Option(metavar="FILE", help="Draw the .json that an earlier call has written; train nothing.")
    ] = None,
    quantity: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="test_loss, train_loss, test_accuracy, train_accuracy or exploded.  [default: test_loss, or "
            "train_loss where there is no test split]",
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite numbers that are there.")] = False,
    out: Annotated[
        str, typer.Option(metavar="FILE", help=f"The picture ({', '.join(FORMATS)}); numbers go beside it, in .json.")
    ] = "figure2.png",
) -> None:
    """Figure 2 of Wei, Stokes and Schwab: loss after training over gamma and learning rate.

    Cells where a restart exploded are grey, crosses stand where training explodes by bisection, lines are the largest
    stable learning rates of the three theories. On digits, two cores take less than three minutes.
    """
    from .experiment import run_figure2

    with refusing():
        if batch != "full" and not batch.isdecimal():
            raise ValueError(f"--batch must be a whole number or full, got {batch!r}")
    run_figure2(
        out,
        redraw,
        quantity,
        workers,
        force,
        data=data,
        loss=loss,
        momentum=momentum,
        batch="full" if batch == "full" else int(batch),
        epochs=epochs,
        train_affine=train_affine,
        standardize=None if standardize.lower() == "none" else standardize,
        samples=samples,
        seeds=seeds,
        restarts=restarts,
        gammas=gammas,
        rates=rates,
        width=width,
        store=store,
    )


# ---------------------------------------------------------------------------------------------------------- selftest


@app.command(epilog="\b\nExample:\n  fisherfield selftest --networks 200 --seed 1")
def selftest(
    networks: Annotated[int, typer.Option(metavar="N", help="How many random networks.")] = 40,
    seed: Annotated[int, typer.Option(metavar="N", help="The same seed gives the same networks.")] = 0,
) -> None:
    """Check the compiled core against the reference.

    On random networks, dense and convolutional, with and without BatchNorm. Exit code 1 where they differ by more than
    the tolerance: 1e-12 for activations with closed forms, 1e-10 for those integrated by quadrature.
    """
    from rich.progress import Progress

    from . import selftest

    with refusing():
        integer("networks", networks, 1)
        integer("seed", seed, 0)
    said = console()
    with Progress(console=said, transient=True, disable=not said.is_terminal) as progress:
        comparisons = [
            comparison
            for group in progress.track(
                selftest.selftest(networks, seed), total=networks, description="networks compared"
            )
            for comparison in group
        ]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    for name in ("networks", "integrals", "theory"):
        table.add_column(name)
    table.add_column("count", justify="right")
    for quantity in selftest.QUANTITIES:
        table.add_column(quantity, justify="right")
    table.add_column("limit", justify="right")
    table.add_column("")
    kinds = sorted({(item.case.kind, item.case.tolerance) for item in comparisons})
    for (kind, tolerance), theory in itertools.product(kinds, THEORIES):
        group = [item for item in comparisons if item.case.kind == kind and item.theory == theory]
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
    said.print(Text("Greatest relative deviation of the core from the reference", style="bold"))
    said.print()
    said.print(table)
    said.print()
    failed = [item for item in comparisons if not item.passed]
    if not failed:
        said.print(Text(f"ok: {len(comparisons)} comparisons on {networks} random networks (seed {seed})"))
        return
    worst = max(failed, key=lambda item: max(item.deviations) / item.case.tolerance)
    said.print(Text(f"FAILED: {len(failed)} of {len(comparisons)} comparisons; the worst, theory {worst.theory!r}:"))
    said.print(Text(worst.error or repr(worst.case)), soft_wrap=True)
    raise typer.Exit(1)
