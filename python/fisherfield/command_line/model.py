# SPDX-License-Identifier: BSD-3-Clause
"""`fisherfield model`: theory, measurement and first step of a PyTorch module side by side."""

from __future__ import annotations

import importlib
import json
import os
import sys
from typing import Annotated, Any

import typer
from rich.text import Text

import fisherfield as ff

from .._numbers import choice, integer
from .._optional import optional
from .._random import stream
from .._words import shown
from .options import Loss, Momentum, Nesterov, WeightDecay, whole
from .printing import json_number
from .terminal import console, noting, refusing

EPILOG = (
    "\b\nExamples:\n  fisherfield model mypackage.models:resnet20 --input 3,32,32 --momentum 0.9\n"
    "  fisherfield model train:Net --input 1,8,8 --data digits --samples 64 --loss cross_entropy --optimizer adam\n"
    "  fisherfield model train:model --input 784 --loss mse --json"
)


def model(
    factory: Annotated[
        str,
        typer.Argument(
            metavar="PACKAGE.MODULE:FACTORY",
            help="A function or class that makes the torch.nn.Module, called without arguments, or a module itself; "
            "looked for from the current folder on.",
        ),
    ],
    shape: Annotated[
        str, typer.Option("--input", metavar="3,32,32", help="The shape of one input, without the batch.")
    ],
    data: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|PATH",
            help="Inputs and labels: digits, fashion-mnist, a folder of MNIST's or CIFAR-10's files, or a .npz file.  "
            "[default: standard normal inputs, random targets]",
        ),
    ] = None,
    samples: Annotated[
        int, typer.Option(parser=whole, metavar="N", help="Samples, as many as a training step has.")
    ] = 128,
    loss: Loss = "cross_entropy",
    optimizer: Annotated[str, typer.Option(metavar="NAME", help="sgd, adam, adamw or rmsprop.")] = "sgd",
    momentum: Momentum = 0.0,
    nesterov: Nesterov = False,
    weight_decay: WeightDecay = 0.0,
    seed: Annotated[int, typer.Option(parser=whole, metavar="N", help="Of weights, inputs and random layers.")] = 0,
    evaluate: Annotated[
        bool, typer.Option("--eval", help="In eval mode, with running averages and without Dropout.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help='Print JSON in full precision; infinity is the string "inf".')
    ] = False,
) -> None:
    """Print what a PyTorch module can stand: theory, measured lambda_max and the optimiser's first step.

    Each with what it was seen to mean in training. The module is measured with the weights that it has, in train mode
    unless --eval says otherwise. Needs pip install 'fisherfield[torch]'.
    """
    with refusing(), noting(console()):
        optional("torch", "fisherfield model needs PyTorch", "fisherfield[torch]")
        sizes = _shape(shape)
        seed = integer("--seed", seed, 0, 2**31)
        choice("--loss", loss, ("sum", "mean", "mse", "cross_entropy"))
        module = _made(factory, seed)
        module.train(not evaluate)
        x, y, words = _batch(module, sizes, data, integer("--samples", samples, 1), loss, seed)
        settings: dict[str, Any] = {"momentum": momentum, "nesterov": nesterov, "weight_decay": weight_decay}
        report = ff.torch.report(module, x, y, loss=loss, optimizer=optimizer, seed=seed, **settings)
    if as_json:
        values = {"fisherfield": ff.__version__, "factory": factory, "data": words, **report.to_dict()}
        typer.echo(json.dumps(_plain(values), indent=2, allow_nan=False))
    else:
        first, *lines = repr(report).splitlines()
        console().print(Text("\n".join([f"{factory}: {first}", *lines[:1], f"  {words}", *lines[1:]])), soft_wrap=True)


def _shape(text: str) -> tuple[int, ...]:
    parts = text.replace("x", ",").split(",")
    try:
        sizes = tuple(int(part) for part in parts)
    except ValueError:
        sizes = ()
    if not sizes or min(sizes) < 1:
        raise ValueError(f"--input must be whole numbers >= 1 with commas between them, got {shown(text)}")
    return sizes


def _made(factory: str, seed: int) -> Any:
    """The module, of PyTorch's generator at the seed."""
    import torch

    place, colon, name = factory.partition(":")
    if not (place and colon and name):
        raise ValueError(f"the argument must be PACKAGE.MODULE:FACTORY, got {shown(factory)}")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        value: Any = importlib.import_module(place)
    except ModuleNotFoundError as error:
        raise ValueError(f"{place} cannot be imported: {error}") from None
    for part in name.split("."):
        if not hasattr(value, part):
            raise ValueError(f"{place} must have {shown(name)}, and has no {shown(part)}")
        value = getattr(value, part)
    if not isinstance(value, torch.nn.Module):
        if not callable(value):
            raise ValueError(f"{factory} must be a torch.nn.Module or make one, got {shown(value)}")
        torch.manual_seed(seed)
        try:
            value = value()
        except TypeError as error:
            raise ValueError(f"{factory} must make a module without arguments, and says: {error}") from None
    if not isinstance(value, torch.nn.Module):
        raise ValueError(f"{factory} must be a torch.nn.Module or make one, got {shown(value)}")
    return value


def _batch(module: Any, sizes: tuple[int, ...], data: str | None, n: int, loss: str, seed: int) -> tuple[Any, Any, str]:
    """Inputs, targets, and what they are in words."""
    import numpy as np

    from ..torch.calls import Calls, module_of

    if data is not None:
        loaded = ff.data.load(data, samples=n)
        x = loaded.x.reshape(len(loaded.x), -1)
        if x.shape[1] != np.prod(sizes):
            raise ValueError(f"--input must have the {x.shape[1]} numbers of a sample of {loaded.name}, got {sizes}")
        if loaded.y is None:
            raise ValueError(f"--data must have labels, got {loaded.name} without any")
        return x.reshape(-1, *sizes), loaded.y, f"inputs and labels of {loaded.name}, standardised as a whole"
    random = stream(seed, "inputs")
    x = random.standard_normal((n, *sizes))
    calls = Calls(module_of(module), x, seed)
    with calls.open():
        outputs = calls.evaluate()
    many = outputs.shape[1] if outputs.ndim > 1 else 1
    if loss == "cross_entropy":
        return x, random.integers(0, many, (n, *outputs.shape[2:])), "standard normal inputs, random labels"
    return x, random.standard_normal(tuple(outputs.shape)), "standard normal inputs, standard normal targets"


def _plain(value: Any) -> Any:
    """Without infinities, which strict JSON has not."""
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return json_number(value) if isinstance(value, float) else value
