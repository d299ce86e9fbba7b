# SPDX-License-Identifier: BSD-3-Clause
"""What 0.1 wrote is read, what it left unfinished goes on, and what its documentation imports is there."""

import dataclasses
import json
import subprocess
import sys
import warnings
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import make_old_files as old
import numpy as np
import pytest

import fisherfield as ff

ROOT = Path(__file__).parent.parent
VERSIONS = ("0.1-first", "0.1-last")
CODE = {**old.networks(), "handwritten": old.handwritten()}

# The same formulas, whose parts may be summed in another order or by other instructions since: some tens of ulps.
SAME = {"rtol": 1e-13, "atol": 0.0}
# Integrals, which are right to 1e-12, have gained digits since.
INTEGRALS = {"rtol": 1e-12, "atol": 0.0}
# PyTorch adds up in whatever order it likes, in float64; a boundary is one of the rates of a bisection, which end on
# the same side unless the training next to it is.
TRAINED = {"rtol": 1e-9, "atol": 0.0}


@pytest.fixture(params=VERSIONS, scope="module")
def version(request, tmp_path_factory):
    """The files of a version, to read only."""
    folder = tmp_path_factory.mktemp("old") / request.param
    old.unpack(old.DATA / f"{request.param}.tar.gz", folder)
    return folder


@pytest.fixture
def files(version, tmp_path):
    """The same, to go on with."""
    old.unpack(old.DATA / f"{version.name}.tar.gz", tmp_path)
    return tmp_path


@pytest.fixture
def scans():
    for part in ("xarray", "zarr", "h5netcdf"):
        pytest.importorskip(part)


@pytest.fixture
def training():
    for part in ("torch", "zarr"):
        pytest.importorskip(part)


def kept(version, room, name):
    return old.unpacked(json.loads((version / "numbers.json").read_text())[room][name])


def has_numbers(scan, numbers, tolerance):
    assert {*scan.arrays, "status"} == numbers.keys()
    for name, values in numbers.items():
        # 1 / an eigenvalue to the tolerance that training asks of Lanczos, which stopped elsewhere in 0.1
        held = {"rtol": 1e-3} if name == "measured" else tolerance
        np.testing.assert_allclose(np.asarray(scan[name][...], np.float64), values, **held, err_msg=name)


def same_scan(one, two):
    """To the last bit, and with the same settings."""
    assert (one.network, one.settings, one.dimensions) == (two.network, two.settings, two.dimensions)
    assert one.arrays.keys() == two.arrays.keys()
    for name in (*two.arrays, *two.axes, "status"):
        np.testing.assert_array_equal(np.asarray(one[name][...]), np.asarray(two[name][...]), err_msg=name)


def gone_on(call, store):
    """The points that were finished already, and what the call gave; it must not find anything damaged."""
    heard = []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = call(store=store, progress=lambda done, total: heard.append((done, total)))
    return heard[0], result


# ------------------------------------------------------------------------------------------------------------- networks


@pytest.mark.parametrize("name", CODE)
def test_a_network_is_read_as_it_is_built_in_code_and_has_the_same_numbers(version, name):
    net = ff.load(version / "networks" / f"{name}.toml")
    assert net == CODE[name]
    numbers = old.numbers(net)
    for theory, expected in kept(version, "networks", name).items():
        np.testing.assert_allclose(numbers[theory], expected, **INTEGRALS, err_msg=theory)


@pytest.mark.parametrize("name", CODE)
def test_what_is_saved_now_is_read_back_as_what_was_saved_then(version, name, tmp_path):
    then = ff.load(version / "networks" / f"{name}.toml")
    then.save(tmp_path / "net.toml")
    assert ff.load(tmp_path / "net.toml") == then


def test_every_kind_of_layer_and_activation_of_the_version_is_among_the_files(version):
    text = "".join(file.read_text() for file in (version / "networks").glob("*.toml"))
    for kind in ("Dense", "Conv2d", "BatchNorm", "Activation", "Flatten", "AvgPool2d", "GlobalAvgPool2d"):
        assert f'type = "{kind}"' in text
    names = {form.partition("(")[0] for form in old.FORMS} - {"swish"}  # saved as silu
    assert len(names) == 31
    assert all(f'function = "{name}"' in text for name in names)
    assert all(f"\n{parameter} = " in text for parameter in ("slope", "alpha", "n", "coefficients"))


# ---------------------------------------------------------------------------------------------------------------- scans


@pytest.mark.parametrize("name", old.SCANS)
@pytest.mark.parametrize("ending", [".zarr", ".nc", "_xarray.zarr"])
def test_a_finished_scan_opens_with_its_numbers_axes_and_settings(version, scans, name, ending):
    scan, fresh = ff.Scan.open(version / "scans" / f"{name}{ending}"), old.SCANS[name]()
    has_numbers(scan, kept(version, "scans", name), {"rtol": 0.0, "atol": 0.0})
    has_numbers(fresh, kept(version, "scans", name), SAME)
    assert (scan.network, scan.settings, scan.dimensions) == (fresh.network, fresh.settings, fresh.dimensions)
    for axis, values in fresh.axes.items():
        np.testing.assert_array_equal(np.asarray(scan[axis]), values)


@pytest.mark.parametrize("name", old.SCANS)
def test_the_same_call_opens_a_finished_store_and_computes_nothing(files, scans, name):
    (done, total), scan = gone_on(old.SCANS[name], files / "scans" / f"{name}.zarr")
    assert done == total == scan.points
    has_numbers(scan, kept(files, "scans", name), {"rtol": 0.0, "atol": 0.0})


@pytest.mark.parametrize("name", old.SCANS)
def test_an_interrupted_scan_goes_on_where_it_stopped_and_ends_as_one_of_today(files, scans, name):
    store, fresh = files / "scans" / f"{name}_interrupted.zarr", old.SCANS[name]()
    status = np.asarray(ff.Scan.open(store).status[...])
    there = int((status != -1).sum())
    assert 0 < there < status.size
    (done, total), scan = gone_on(old.SCANS[name], store)
    assert (done, total) == (there, status.size)
    numbers = {key: np.asarray(fresh[key][...], np.float64) for key in (*fresh.arrays, "status")}
    has_numbers(scan, numbers, SAME)
    then = status == -1
    for key, values in numbers.items():
        np.testing.assert_array_equal(np.asarray(scan[key][...])[then], values[then], err_msg=key)
    same_scan(ff.Scan.open(store), scan)


# ------------------------------------------------------------------------------------------------------------- training


def test_a_phase_diagram_and_boundaries_open_and_the_same_call_trains_nothing(files, training):
    for name in old.TRAINING:
        numbers, store = kept(files, "training", name), files / "training" / f"{name}.zarr"
        has_numbers(ff.Scan.open(store), numbers, {"rtol": 0.0, "atol": 0.0})
        (done, total), result = gone_on(old.TRAINING[name], store)
        assert done == total
    np.testing.assert_array_equal(result.eta_c, numbers["eta_c"])
    np.testing.assert_array_equal(result.measured, numbers["measured"])


@pytest.mark.parametrize("name", old.TRAINING)
def test_an_interrupted_training_goes_on_where_it_stopped(files, training, name):
    store = files / "training" / f"{name}_interrupted.zarr"
    status = np.asarray(ff.Scan.open(store).status[...])
    there = int((status != -1).sum())
    assert 0 < there < status.size
    (done, total), _ = gone_on(old.TRAINING[name], store)
    assert (done, total) == (there, status.size)
    has_numbers(ff.Scan.open(store), kept(files, "training", name), TRAINED)


def test_a_figure_2_opens_and_is_saved_as_what_is_opened_again(version, training, tmp_path):
    figure = ff.experiments.Figure2.open(version / "training" / "figure2.json")
    (panel,) = figure.panels.values()
    assert panel.network == old.TRAINED
    assert (panel.gammas.tolist(), panel.eta_c.shape, panel.n) == ([0.5, 1.0], (2, 1), 16)
    where = (0.5, "exact", panel.n, panel.overlap, panel.length)  # momentum 0.5
    rates = [ff.max_learning_rate(old.TRAINED.replace(gamma=gamma), *where) for gamma in (0.5, 1.0)]
    assert figure.eta_star("Dense: a small one")["exact"].tolist() == rates
    figure.save(tmp_path / "again.json")
    again = ff.experiments.Figure2.open(tmp_path / "again.json")
    assert repr(again) == repr(figure)
    assert again.settings == figure.settings


# ---------------------------------------------------------------------------------------------------------------- paths


def found(path):
    """What a dotted path names: modules are imported, and a field that a dataclass has in its objects counts."""
    names = path.split(".")
    thing = import_module(names[0])
    for place, name in enumerate(names[1:], start=1):
        if name in getattr(thing, "__dataclass_fields__", ()) and not hasattr(thing, name):
            assert place == len(names) - 1
            return dataclasses.fields(thing)
        if not hasattr(thing, name):
            import_module(".".join(names[: place + 1]))
        thing = getattr(thing, name)
    return thing


def importable(paths):
    """Those that need nothing that is not there."""
    return [path for path in paths if find_spec("torch") or not path.startswith("fisherfield.torch")]


def test_what_the_version_s_documentation_imports_is_there(version):
    paths = json.loads((version / "paths.json").read_text())
    assert len(paths) >= 40
    for path in importable(paths):
        found(path)


def test_what_the_documentation_of_today_imports_is_there():
    paths = old.documented(ROOT)
    assert {"fisherfield.fisher", "fisherfield.Scan.open", "fisherfield.experiments.boundary"} <= {*paths}
    for path in importable(paths):
        found(path)


def test_paths_are_seen_in_every_way_that_they_are_written():
    text = """from fisherfield.data import (load,
        gaussian as g)  # and `ff.Scan.open("scan.zarr")`, not scan.ff.x nor a/fisherfield.md
    import fisherfield.theory as t; python -m fisherfield lr net.toml; from fisherfield import mlp, reference"""
    names = ("data.load", "data.gaussian", "mlp", "reference", "theory", "", "Scan.open", "data", "theory")
    expected = {f"fisherfield.{name}".rstrip(".") for name in names}
    assert {*old.paths(text)} - {"fisherfield.md"} == expected


def test_python_m_fisherfield_is_the_command():
    out = subprocess.run(
        [sys.executable, "-m", "fisherfield", "--version"], capture_output=True, text=True, check=True
    ).stdout
    assert ff.__version__ in out
