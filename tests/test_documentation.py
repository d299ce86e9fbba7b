# SPDX-License-Identifier: BSD-3-Clause
"""What the documentation shows is what comes out."""

from __future__ import annotations

import doctest
from pathlib import Path

import pytest


def test_the_examples_of_the_page_on_gaussian_integrals_run():
    pytest.importorskip("xarray")
    page = Path(__file__).parent.parent / "docs" / "gaussian.md"
    assert doctest.testfile(str(page), module_relative=False).failed == 0
