# SPDX-License-Identifier: BSD-3-Clause
"""The command line: `fisherfield lr`, `scan`, `plot`, `verify`, `figure`, `experiment` and `selftest`."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Sequence
from typing import Annotated

import typer

import fisherfield as ff

from . import experiment, figure, lr, plot, scan, selftest, verify
from .terminal import Refusal, Stopped

app = typer.Typer(
    name="fisherfield",
    help="Largest Fisher eigenvalue and largest stable learning rate of a wide network, with and without BatchNorm.",
    # Plain help: it pipes well, keeps examples as they are typed, and looks the same in every version of Typer.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


# With it the parent of Typer's usage errors (unknown option, missing argument, wrong type), reached by a public name.
_REFUSALS: tuple[type[BaseException], ...] = (Refusal, typer.BadParameter.__mro__[2])


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 1 the selftest failed, 2 refused, 130 stopped, with one line on stderr."""
    command = typer.main.get_command(app)
    try:
        code = command.main(arguments, prog_name="fisherfield", standalone_mode=False)
    except _REFUSALS as error:
        sentence = error.format_message() if hasattr(error, "format_message") else str(error)
        sys.stderr.write(f"fisherfield: {' '.join(sentence.split())}\n")
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


for module in (lr, scan, plot, verify, figure, selftest):
    app.command(epilog=module.EPILOG)(getattr(module, module.__name__.rpartition(".")[2]))
app.add_typer(experiment.experiment, name="experiment")
