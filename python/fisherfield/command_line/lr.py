# SPDX-License-Identifier: BSD-3-Clause
"""`fisherfield lr`: the largest stable learning rate by each theory, with and without BatchNorm."""

from __future__ import annotations

import itertools
import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

import fisherfield as ff

from .._numbers import STANDARDS, THEORIES, Theory, biases_of, choice, integer, loss_name
from .._words import descent_in_words, plural, standardised
from .options import Biases, File, Loss, Momentum, Nesterov, WeightDecay, decimal, whole
from .printing import architecture, bounded, distinct, four_digits, headed, json_number, kinds_in_words
from .terminal import console, refusing

_LOSS_WORDS = {
    "sum": "half the squared error, summed over outputs, mean over samples",
    "mean": "half the squared error, mean over outputs and samples",
    "mse": "torch.nn.MSELoss: the squared error, mean over outputs and samples",
    "cross_entropy": "cross-entropy, mean over samples: of the first step",
}
_BATCH_NORM, _TAKEN_OUT = "with BatchNorm", " (BatchNorm taken out)"
EPILOG = (
    "\b\nExamples:\n  fisherfield lr examples/dense.toml --momentum 0.9\n"
    "  fisherfield lr examples/convnet.toml --theory exact --samples 50000 --loss mse --json\n"
    "  fisherfield lr net.toml --data digits --samples 64 --momentum 0.9 --nesterov"
)


def lr(
    file: File,
    momentum: Momentum = 0.0,
    nesterov: Nesterov = False,
    weight_decay: WeightDecay = 0.0,
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
            parser=whole,
            metavar="N",
            help="Samples that a step sees, 1 or more; with BatchNorm and mini-batches the size of a batch.  [default: "
            "all of --data, or infinitely many]",
        ),
    ] = None,
    overlap: Annotated[
        float | None,
        typer.Option(
            parser=decimal,
            metavar="X",
            help="Mean product of two inputs, per coordinate, at most the length; about half of it in images.  "
            "[default: 0, or that of --data]",
        ),
    ] = None,
    length: Annotated[
        float | None,
        typer.Option(
            parser=decimal,
            metavar="X",
            help="Mean square of an input, per coordinate, > 0.  [default: 1, or that of --data]",
        ),
    ] = None,
    loss: Loss = "sum",
    biases: Biases = None,
    as_json: Annotated[
        bool, typer.Option("--json", help='Print JSON in full precision; infinity is the string "inf".')
    ] = False,
) -> None:
    """Print the largest stable learning rate of a network.

    By each theory, and where it has BatchNorm beside it the same network without. "exact" lets the gradient flow
    through the batch statistics, as training does; "frozen" holds them constant; "wei2019" is the theory as published
    by Wei, Stokes and Schwab. Where all sampled networks lay on one side a number is printed with >= or <=; one with ~
    may err on either side. The reason stands below.

    It is the limit of torch.optim.SGD, with or without momentum, for the squared losses. It is none of Adam.
    """
    with refusing():
        loss_name(loss)
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
    inputs = ff.data.load(source, None if how == "none" else choice("--standardize", how, STANDARDS), shape=net)
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


def _rows(net: ff.Network, theories: Sequence[Theory], arguments: dict[str, Any]) -> list[_Row]:
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
    output: Console,
    file: str,
    net: ff.Network,
    rows: Sequence[_Row],
    arguments: dict[str, Any],
    data: ff.data.Data | None,
) -> None:
    output.print(headed(_description(file, net, arguments, data)))
    for index, (batch_norm, group) in enumerate(itertools.groupby(rows, key=lambda row: row.batch_norm)):
        output.print()
        if net.batch_norms:
            output.print(Text(_BATCH_NORM if batch_norm else _without(net, _TAKEN_OUT), style="bold"))
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_header=index == 0, show_edge=False)
        table.add_column("theory", width=9)
        table.add_column("biases", width=8)
        table.add_column("lambda_max", justify="right", width=13)
        table.add_column("largest stable\nlearning rate", justify="right", width=14)
        table.add_column("bulk", justify="right", width=10)
        table.add_column("regime", width=8)
        for row in group:
            table.add_row(*_cells(row))
        output.print(table)
    comparison = _comparison(rows)
    if comparison:
        output.print()
        output.print(Text(f"learning rate with BatchNorm / {_without(net)}:  " + ",  ".join(comparison)))
    for owners, sentences in _notes(rows, _without(net)).items():
        output.print()
        output.print(Text(f"{owners}:", style="bold"))
        for sentence in sentences:
            output.print(Padding(Text(sentence), (0, 0, 0, 2), expand=False))


def _cells(row: _Row) -> tuple[str, ...]:
    counted = "counted" if row.biases else "left out"
    if row.rate is None:
        return (row.theory, counted, "refused", "-", "-", "-")
    fisher = row.rate.fisher
    return (
        row.theory,
        counted,
        bounded(fisher.bound, fisher.lambda_max),
        bounded(row.rate.bound, float(row.rate)),
        four_digits(fisher.bulk),
        fisher.regime,
    )


def _without(net: ff.Network, taken_out: str = "") -> str:
    """What the network is without its BatchNorm; a chain of layers is then nothing but these."""
    return f"vanilla{taken_out}" if net._facts.chain else "without BatchNorm"


def _notes(rows: Sequence[_Row], without: str) -> dict[str, list[str]]:
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
            ", ".join(row.theory for row in block) + (f" ({_BATCH_NORM if batch_norm else without})" if both else "")
            for batch_norm, block in blocks
        ]
        notes.setdefault("; ".join(names), []).append(sentence)
    return notes


def _comparison(rows: Sequence[_Row]) -> list[str]:
    """How many times larger BatchNorm's learning rate is, by theory; of bounds it says what they say of the ratio."""
    vanilla = {row.theory: row.rate for row in rows if not row.batch_norm}
    ratios = []
    for row in rows:
        bare = vanilla.get(row.theory)
        if not row.batch_norm or row.rate is None or bare is None or not (0 < bare < math.inf and row.rate < math.inf):
            continue
        sign = {("=", "="): "", ("<=", "="): "<= ", ("=", "<="): ">= "}.get((row.rate.bound, bare.bound), "about ")
        ratios.append(f"{row.theory} {sign}{four_digits(row.rate / bare)}")
    return ratios


def _description(file: str, net: ff.Network, arguments: dict[str, Any], data: ff.data.Data | None) -> dict[str, str]:
    samples = arguments["samples"]
    many = "infinitely many samples" if samples is None else plural(samples, "sample")
    if data is not None:
        many = (
            f"{data.name}, {standardised(data.standardize)}: {many}{'' if samples == len(data) else f' of {len(data)}'}"
        )
    loss = arguments["loss"]
    return {
        "network": f"{file}: {architecture(net)}",
        "activation": distinct(net.activations) or "none (linear)",
        **kinds_in_words(net),
        "weights": f"sigma_w2 {distinct(layer.sigma_w2 for layer in net.affine_layers)}, "
        f"sigma_b2 {distinct(layer.sigma_b2 for layer in net.affine_layers)}; {net.parameters():,} parameters",
        "data": f"{many}; inputs of length {arguments['length']:.4g}, overlap {arguments['overlap']:.4g}",
        "loss": f"{loss}: {_LOSS_WORDS[loss]}{'' if loss == 'sum' else '; lambda_max is that of sum'}",
        "optimiser": f"SGD, {', '.join(descent_in_words(arguments))}",
    }


def _as_json(
    file: str, net: ff.Network, rows: Sequence[_Row], arguments: dict[str, Any], data: ff.data.Data | None
) -> dict[str, Any]:
    """The schema: change it only by adding keys. Rows come in the order of the table."""
    return {
        "fisherfield": ff.__version__,
        "file": file,
        "network": {
            "description": architecture(net),
            "input_shape": list(net.input_shape),
            "outputs": net.outputs,
            "depth": net.depth,
            "parameters": net.parameters(),
            "batch_norms": len(net.batch_norms),
            "layers": dict(Counter(type(step.layer).__name__ for step in net.steps)),
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
        "max_learning_rate": json_number(row.rate),
        "max_learning_rate_bound": row.rate.bound,
        "lambda_max": json_number(fisher.lambda_max),
        "lambda_max_bound": fisher.bound,
        "bulk": json_number(fisher.bulk),
        "mean": json_number(fisher.mean),
        "second_moment": json_number(fisher.second_moment),
        "multiplicity": fisher.multiplicity,
        "parameters": fisher.parameters,
        "regime": fisher.regime,
        "holds": row.rate.holds,
        "reason": row.rate.reason,
    }
