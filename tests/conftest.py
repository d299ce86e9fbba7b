# SPDX-License-Identifier: BSD-3-Clause
import os

import hypothesis
import pytest

import fisherfield as ff
from fisherfield import _core, ufuncs

hypothesis.settings.register_profile("default", deadline=None, derandomize=True, max_examples=100)
hypothesis.settings.register_profile("long", deadline=None, max_examples=2000)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


@pytest.fixture
def threads():
    """Set the number of threads for one test; put the old one back after it."""
    before = ff.num_threads()
    yield ff.set_num_threads
    ff.set_num_threads(before)


@pytest.fixture
def path():
    """Choose the instruction set for one test; put the old one back after it."""
    before = _core.simd_path()
    yield ufuncs._set_path
    ufuncs._set_path(before)
