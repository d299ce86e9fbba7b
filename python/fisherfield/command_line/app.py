# SPDX-License-Identifier: BSD-3-Clause
"""All commands, and how the program ends."""

from __future__ import annotations

import errno
import logging
import os
import signal
import sys
import warnings
from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

import fisherfield as ff

from . import experiment, figure, init, leave, lr, model, plot, scan, selftest, verify
from .terminal import Refusal, Stopped


class _Commands(TyperGroup):
    def invoke(self, ctx: Any) -> Any:
        """A command that says nothing of its own where it is stopped: Typer would end without a word."""
        outside = signal.getsignal(signal.SIGINT) is leave
        if outside:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise Stopped("stopped") from None
        finally:
            if outside:
                signal.signal(signal.SIGINT, leave)


app = typer.Typer(
    cls=_Commands,
    name="fisherfield",
    help="Largest Fisher eigenvalue and largest stable learning rate of a wide network, with and without BatchNorm.",
    # Plain help: it pipes well, keeps examples as they are typed, and looks the same in every version of Typer.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


# With it the parent of Typer's usage errors (unknown option, missing argument, wrong type), reached by a public name.
_REFUSALS: tuple[type[BaseException], ...] = (Refusal, typer.BadParameter.__mro__[2])


def run(arguments: Sequence[str] | None = None) -> None:
    """See `main`."""
    command = typer.main.get_command(app)
    try:
        code = command.main(arguments, prog_name="fisherfield", standalone_mode=False)
        sys.stdout.flush()
    except _REFUSALS as error:
        _end(2, error.format_message() if hasattr(error, "format_message") else str(error))
    except Stopped as ending:
        # Zarr's tasks and coroutines that were cut short are of no interest, some of them only as Python ends.
        logging.getLogger("asyncio").setLevel(logging.CRITICAL)
        warnings.filterwarnings("ignore", "coroutine .* was never awaited", RuntimeWarning)
        _end(130, str(ending))
    except (typer.Abort, KeyboardInterrupt):
        _end(130, "stopped")
    except OSError as error:  # of files the commands tell by themselves
        if error.errno is None:
            raise
        _discard(sys.stdout)
        _end(1 if error.errno == errno.EPIPE else 2, "" if error.errno == errno.EPIPE else _unwritten(error))
    sys.exit(code if isinstance(code, int) else 0)


def _unwritten(error: OSError) -> str:
    return f"{error.filename or 'standard output'}: {error.strerror}"


def _end(code: int, sentence: str) -> NoReturn:
    """Exit, with a line on stderr where that can be written."""
    if sentence:
        try:
            sys.stderr.write(f"fisherfield: {' '.join(sentence.split())}\n")
            sys.stderr.flush()
        except OSError:
            _discard(sys.stderr)
    sys.exit(code)


def _discard(stream: Any) -> None:
    """What a stream still holds goes nowhere: Python would try to write it again as it ends, and say that it failed."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"fisherfield {ff.__version__}")
        raise typer.Exit()


@app.callback(
    invoke_without_command=True,
    epilog="\b\nExamples:\n  fisherfield init dense > net.toml\n  fisherfield lr examples/dense.toml --momentum 0.9\n"
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


for module in (init, lr, model, scan, plot, verify, figure, selftest):
    app.command(epilog=module.EPILOG)(getattr(module, module.__name__.rpartition(".")[2]))
app.add_typer(experiment.experiment, name="experiment")
