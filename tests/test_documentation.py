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


def test_the_examples_of_the_page_on_scans_run(tmp_path, monkeypatch):
    for part in ("xarray", "zarr", "h5netcdf", "matplotlib"):
        pytest.importorskip(part)
    monkeypatch.chdir(tmp_path)
    page = Path(__file__).parent.parent / "docs" / "scans.md"
    flags = doctest.ELLIPSIS
    assert doctest.testfile(str(page), module_relative=False, optionflags=flags).failed == 0
