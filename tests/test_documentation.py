# SPDX-License-Identifier: BSD-3-Clause
"""What the documentation shows is what comes out."""

from __future__ import annotations

import doctest
import json
import re
import shlex
import shutil
from pathlib import Path

import pytest

from fisherfield import mlp
from fisherfield.theory import learning_rate

ROOT = Path(__file__).parent.parent


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


def test_the_examples_of_the_page_on_sampled_networks_run():
    page = Path(__file__).parent.parent / "docs" / "sampled.md"
    assert doctest.testfile(str(page), module_relative=False, optionflags=doctest.ELLIPSIS).failed == 0


def test_the_examples_of_the_page_on_pytorch_run():
    pytest.importorskip("sklearn")
    pytest.importorskip("torch")
    page = Path(__file__).parent.parent / "docs" / "pytorch.md"
    assert doctest.testfile(str(page), module_relative=False, optionflags=doctest.ELLIPSIS).failed == 0


def test_the_examples_of_the_page_on_the_learning_rate_run():
    pytest.importorskip("sklearn")
    page = Path(__file__).parent.parent / "docs" / "learning_rate.md"
    assert doctest.testfile(str(page), module_relative=False).failed == 0


def test_the_examples_of_the_page_on_descriptions_of_pytorch_models_run():
    pytest.importorskip("torch")
    page = Path(__file__).parent.parent / "docs" / "describe.md"
    assert doctest.testfile(str(page), module_relative=False).failed == 0


def test_the_commands_of_the_pages_and_of_the_readme_run(fisherfield, tmp_path, monkeypatch):
    for part in ("xarray", "zarr", "pandas", "h5netcdf", "matplotlib"):
        pytest.importorskip(part)
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    (tmp_path / "points.csv").write_text("gamma,eps\n0.5,0\n2,0.01\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    for page in ("README.md", "docs/scans.md", "docs/sampled.md"):
        shutil.rmtree("scan.zarr", ignore_errors=True)
        commands = re.findall(
            r"^fisherfield (scan .*|plot .*|verify .*)$", (ROOT / page).read_text(encoding="utf-8"), flags=re.M
        )
        assert len(commands) >= 2
        for command in commands:
            code, output, errors = fisherfield(*shlex.split(command))
            assert (code, errors) == (0, ""), command
            assert command.startswith("verify") or " written" in output or "written to" in output


def test_the_tables_on_training_are_those_of_the_numbers_that_are_kept(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "bench")
    import training

    page, kept = (ROOT / "docs" / "experiments.md").read_text(encoding="utf-8"), training.read()
    assert training.with_tables(page, kept) == page
    for name in ("digits, 256 units", "digits, 1000 units"):
        assert sorted(kept[name], key=float) == ["0.25", "0.5", "1", "2", "4"]
        for gamma in ("1", "2", "4"):  # what the README says of them
            entry = kept[name][gamma]
            assert len(entry["eta_c"]) == 3
            assert 0.95 < training.ratios(entry, "exact").min() <= training.ratios(entry, "exact").max() < 1.15
            assert 1.3 < training.ratios(entry, "wei2019").min() <= training.ratios(entry, "wei2019").max() < 2


def test_the_table_of_random_settings_is_that_of_the_numbers_that_are_kept(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "bench")
    import layers

    page = (ROOT / "docs" / "theory.md").read_text(encoding="utf-8")
    kept = json.loads((ROOT / "docs" / "layers.json").read_text(encoding="utf-8"))
    assert layers.table(kept) in page
    for name in kept:  # a setting's number is enough to draw it again
        row, depth = name.split(" | ")
        assert layers.drawn(row, int(depth), 7) == layers.drawn(row, int(depth), 7)


def test_what_a_learning_rate_says_of_training_is_what_was_measured(monkeypatch):
    """The extremes over every boundary that is kept, at batches of 64 and more: one figure behind the point, or two."""
    monkeypatch.syspath_prepend(ROOT / "bench")
    import training

    kinds = {True: "trained", False: "fixed", None: "vanilla"}
    seen: dict[tuple[str, bool, float], list[float]] = {}
    for rows in training.read().values():
        for entry in rows.values():
            settings = entry.get("settings", {}) if isinstance(entry, dict) else {}
            if "eta_c" in (entry if isinstance(entry, dict) else ()) and settings and (settings["batch"] or 1437) >= 64:
                key = (kinds[settings["trained"]], settings["loss"] == "cross_entropy", settings["momentum"])
                seen.setdefault(key, []).extend(training.ratios(entry, "exact"))

    def words(*values):
        finite = [value for value in values if value < float("inf")]
        return " to ".join(f"{value:.1f}" if value < 10 else f"{value:.0f}" for value in (min(finite), max(finite)))

    for kind in ("trained", "vanilla"):
        sentence = learning_rate._SQUARED[kind]
        assert f"{words(*seen[kind, False, 0.9])} times" in sentence
        assert f"{words(*seen[kind, False, 0.0])} times" in sentence
        both = [*seen[kind, True, 0.9], *seen[kind, True, 0.0]]
        assert f"{words(*both)} times" in learning_rate._CROSS_ENTROPY[kind]
    assert {*seen["fixed", True, 0.9]} == {float("inf")}
    assert float("inf") in seen["trained", True, 0.9]
    assert max(seen["vanilla", True, 0.9]) < float("inf")
    # what it says of the overlap of digits, 0.481, by the theory for networks of two and three hidden layers
    shares = [
        learning_rate.max_learning_rate(net) / learning_rate.max_learning_rate(net, overlap=0.481)
        for sizes in ([64, 256, 256, 10], [64, 256, 256, 256, 10])
        for w2, b2 in ((2.0, 0.5), (2.0, 0.0), (1 / 3, 1 / 192))
        for net in [mlp(sizes, sigma_w2=w2, sigma_b2=b2, batch_norm=False)]
    ]
    bare = learning_rate.max_learning_rate(mlp([64, 256, 256, 10], batch_norm=False))
    assert f"by {words(*shares)} times for ReLU networks on digits" in bare.reason


def test_what_the_pages_say_of_batches_and_of_pytorch_s_start_is_what_was_measured(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "bench")
    import training

    kept = training.read()
    trained = {batch: kept[f"digits, 256 units, batches of {batch}"]["1"] for batch in training.BATCHES}
    for batch, entry in trained.items():
        ratios = training.ratios(entry, "exact")
        if batch >= 24:  # README.md: within 12 %
            assert 0.88 < ratios.min() <= ratios.max() < 1.12 + 5e-4  # 1.120, of two digits
        assert entry["settings"]["batch"] == batch
        assert len(ratios) == 3
    middle = [training.over_all(trained[batch]).mean() for batch in (4, 6, 8, 12, 16, 24, 32, 64)]
    assert middle == sorted(middle)  # the largest stable rate falls with the batch
    unasked = {"mse": [], "cross_entropy": []}
    for loss, momentum in training.DRAWINGS:
        entry = kept[training.DRAWN.format(loss, momentum)]["no BatchNorm"]
        if momentum:
            rate = learning_rate.max_learning_rate(training.defaults(False), momentum, loss=loss)
            unasked[loss] = training.np.array(entry["eta_c"]) / rate
    assert min(unasked["mse"]) == pytest.approx(0.85, abs=5e-3)  # the page's digits
    assert min(unasked["cross_entropy"]) < 0.1
