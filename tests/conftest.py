# SPDX-License-Identifier: BSD-3-Clause
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

import hypothesis
import pytest

import fisherfield as ff  # and not the core: tests/test_reference_alone.py runs without it

hypothesis.settings.register_profile("default", deadline=None, derandomize=True, max_examples=100)
hypothesis.settings.register_profile("long", deadline=None, max_examples=2000)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # as a shell starts what runs in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def no_figure_stays_open():
    """pyplot keeps every figure until it is closed."""
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


@pytest.fixture
def threads():
    """Set the number of threads for one test; put the old one back after it."""
    before = ff.num_threads()
    yield ff.set_num_threads
    ff.set_num_threads(before)


@pytest.fixture
def path():
    """Choose the instruction set for one test; put the old one back after it."""
    from fisherfield import _core
    from fisherfield.gaussian import ufuncs

    before = _core.simd_path()
    yield ufuncs._set_path
    ufuncs._set_path(before)


@pytest.fixture
def fisherfield(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Runs the command line here: exit code, standard output, standard error."""
    from fisherfield import command_line

    def run(*arguments: Any) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ending:
            command_line.main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return int(ending.value.code or 0), captured.out, captured.err

    return run
