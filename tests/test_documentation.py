# SPDX-License-Identifier: BSD-3-Clause
"""What the documentation shows is what comes out."""

from __future__ import annotations

import doctest
from pathlib import Path


def test_the_examples_of_the_page_on_gaussian_integrals_run():
    page = Path(__file__).parent.parent / "docs" / "gaussian.md"
    assert doctest.testfile(str(page), module_relative=False).failed == 0
