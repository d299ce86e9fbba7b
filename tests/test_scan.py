# SPDX-License-Identifier: BSD-3-Clause
"""Scans: the numbers of the single functions, labelled, whoever computes them, whatever is killed meanwhile."""

import hashlib
import importlib.util
import itertools
import json
import math
import os
import pickle
import re
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import THEORIES, data, dense_networks, floats

import fisherfield as ff
from fisherfield.network.layer import axes, kinds
from fisherfield.scan import chunks, labels
from fisherfield.scan.grid import Grid
from fisherfield.scan.job import Job
from fisherfield.theory.settings import Descent, Settings

NET = ff.mlp([30, 100, 100, 3], trained=True)
VANILLA = ff.mlp([30, 100, 100, 3], batch_norm=False)
CONV = ff.convnet((2, 2, 2), [8, 8], 3, stride=1, padding=1)
# Every axis with values of all its kinds; where one is not in the domain of its point, the status says so.
AXES = {
    "gamma": [-0.5, 0.0, 2.0],
    "beta": [-0.3, 0.0, 0.3],
    "eps": [0.0, 0.1],
    "sigma_w2": [0.5, 3.0],
    "sigma_b2": [0.1, 1.0],
    "width": [1, 50, 200],
    "depth": [2, 5, 3],
    "momentum": [0.0, 0.9],
    "samples": [1, 2, 100, None],
    "length": [0.5, 2.0],
    "overlap": [-0.1, 0.0, 0.3, 0.5, 1.5],
}
OF_CORE = tuple(name for name in labels.QUANTITIES if name not in labels.SCATTER)
GRID = {"gamma": np.linspace(0.1, 5.0, 30), "sigma_b2": np.linspace(0.0, 1.0, 20)}
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="signals and limits of Linux")


def same_as_reference(net, axes, **arguments):
    """All numbers, to 1e-11 of the array's largest: a dozen layers' roundings, and the reference's subtractions."""
    fast, slow = (module.scan(net, axes, **arguments) for module in (ff, ff.reference))
    for name, expected in slow.items():
        assert fast[name].shape == expected.shape
        if name in ("status", "regime"):
            continue
        size = np.abs(expected[np.isfinite(expected)]).max(initial=0.0)
        np.testing.assert_allclose(fast[name], expected, rtol=1e-11, atol=1e-11 * size, err_msg=name)
    np.testing.assert_array_equal(fast.status, slow["status"])
    return fast, slow


def digests(path):
    return {
        str(file.relative_to(path)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(Path(path).rglob("*"))
        if file.is_file()
    }


def equal(one, two):
    assert one.arrays.keys() == two.arrays.keys()
    for name in (*one.arrays, *one.axes, "status"):
        np.testing.assert_array_equal(np.asarray(one[name]), np.asarray(two[name]), err_msg=name)


# numbers --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("theory", ["exact", "frozen", "wei2019"])
@pytest.mark.parametrize("name", AXES)
def test_along_every_axis_all_quantities_are_those_of_the_reference(name, theory):
    fast, slow = same_as_reference(NET, {name: AXES[name]}, quantities=OF_CORE, theory=theory)
    np.testing.assert_array_equal(fast.regime, slow["regime"])


@pytest.mark.parametrize("name", AXES)
def test_along_every_axis_convolutions_are_those_of_the_reference(name):
    same_as_reference(CONV, {name: AXES[name]}, quantities=OF_CORE)


@pytest.mark.parametrize(
    "axes",
    [
        {"samples": [1, 2, 30, None], "overlap": [-0.1, 0.2, 1.0, 1.5], "length": [0.5, 1.0]},
        {"depth": [2, 4], "width": [10, 20, 30]},
        {"layers[1].gamma": [0.1, 0.2], "gamma": [1.0, 2.0], "layers[6].sigma_b2": [0.0, 1.0]},
        {("depth", "gamma", "samples"): [(2, 1.0, None), (4, 2.0, 10), (2, 3.0, 1)], "eps": [0.1, 0.2]},
        {("gamma", "layers[0].sigma_w2"): np.array([[1.0, 2.0], [3.0, 4.0]]), ("eps",): [(0.0,), (0.1,), (0.2,)]},
        {},
    ],
    ids=["data", "depth x width", "one layer", "paired depths", "two pairings", "one point"],
)
def test_products_and_pairs_are_those_of_the_reference(axes):
    same_as_reference(NET, axes, quantities=("lambda_max", "q", "parameters", "contributions"))


@st.composite
def scanned(draw):
    """A network, settings, and values for some axes that it has."""
    net = draw(dense_networks(depth=4))
    layers = [step.layer for step in net.steps]
    fields = ("sigma_w2", "sigma_b2", "gamma", "beta", "eps")
    varied = [name for name in fields if any(each.has(name) for each in layers)]
    names = [*(name for name in varied if all(each.shares(name) for each in layers)), "length", "momentum"]
    chosen = draw(st.lists(st.sampled_from(names), unique=True, max_size=3))
    values = {
        "gamma": floats(-3.0, 3.0).filter(lambda x: abs(x) > 1e-3 or x == 0),
        "beta": floats(-1.0, 1.0),
        "eps": st.sampled_from((0.0, 1e-5, 0.1)),
        "momentum": floats(0.0, 0.99),
    }
    positive = floats(0.3, 3.0)
    axes = {name: draw(st.lists(values.get(name, positive), min_size=1, max_size=4)) for name in chosen}
    given_data = draw(data())
    if "length" in axes:
        given_data.pop("length")
    momentum = {} if "momentum" in axes else {"momentum": draw(floats(0.0, 0.99))}
    return net, axes, {**given_data, **momentum, "theory": draw(THEORIES), "biases": draw(st.booleans())}


@settings(max_examples=60)
@given(scanned(), st.integers(1, 30))
def test_every_point_is_what_the_single_functions_give(case, chunk):
    net, axes, given_settings = case
    out = ff.scan(net, axes, ("lambda_max", "max_learning_rate", "theta", "bulk"), chunk=chunk, **given_settings)
    for place in np.ndindex(out.shape):
        point = {name: axes[name][at] for name, at in zip(axes, place, strict=True)}
        arguments = {**given_settings, **{name: point.pop(name) for name in ("length", "momentum") if name in point}}
        momentum = arguments.pop("momentum")
        network = net.replace(**point)
        try:
            spectrum = ff.fisher(network, **arguments, edge=False)
        except ValueError as refusal:
            assert out.status[place] == (1 if "eps" in str(refusal) else 6)
            assert np.isnan(out.lambda_max[place])
            continue
        assert out.status[place] == 0
        # the scan's own order of operations: a few ulp a layer, of what the bulk is a difference of
        assert out.lambda_max[place] == pytest.approx(spectrum.lambda_max, rel=1e-12)
        assert out.bulk[place] == pytest.approx(spectrum.bulk, rel=1e-12, abs=1e-13 * spectrum.a)
        rate = ff.max_learning_rate(network, momentum, **arguments, edge=False)
        assert out.max_learning_rate[place] == pytest.approx(float(rate), rel=1e-12)
        theta = ff.order_parameters(network, **arguments).theta
        np.testing.assert_allclose(out.theta[place], theta, rtol=1e-12)


@pytest.mark.parametrize(
    ("net", "axes", "status"),
    [
        (NET, {"overlap": [0.5, 1.0]}, [0, 1]),
        (ff.mlp([30, 100, 3], "softsign", batch_norm=False), {"sigma_w2": [1.0, 1e40]}, [0, 2]),
        (ff.mlp([30, 100, 100, 100, 100, 3], batch_norm=False), {"sigma_w2": [1e70, 1e90]}, [0, 5]),
        (NET, {"overlap": [-0.1, 0.0, 1.5]}, [6, 0, 6]),
    ],
)
def test_a_point_without_a_value_has_a_status_that_says_why_and_costs_the_others_nothing(net, axes, status):
    out = ff.scan(net, axes)
    assert out.status.tolist() == status
    np.testing.assert_array_equal(np.isnan(out.lambda_max), ~np.isin(status, (0, 5)))
    if 5 in status:
        assert (out.lambda_max[1], out.max_learning_rate[1]) == (math.inf, 0.0)
    for word in {ff.Scan.STATUSES[number] for number in status} - {"ok"}:
        assert word in repr(out)


def test_nesterov_and_weight_decay_are_settings_that_files_keep(tmp_path):
    descent = {"momentum": 0.9, "nesterov": True, "weight_decay": 0.25, "loss": "mse"}
    axes = {"gamma": [0.5, 2.0], "samples": [None, 100]}
    scan = ff.scan(NET, axes, **descent)
    for place, (gamma, samples) in enumerate(itertools.product((0.5, 2.0), (None, 100))):
        rate = ff.max_learning_rate(NET.replace(gamma=gamma), samples=samples, edge=False, **descent)
        assert scan.max_learning_rate.ravel()[place] == pytest.approx(float(rate), rel=1e-14)  # two roundings
    np.testing.assert_allclose(
        scan.max_learning_rate, ff.reference.scan(NET, axes, **descent)["max_learning_rate"], rtol=1e-12
    )
    assert "momentum 0.9, Nesterov, weight decay 0.25" in repr(scan)
    plain = ff.scan(NET, axes, momentum=0.9)
    for each in (scan, plain):
        again = ff.Scan.open(each.to_xarray())
        assert again.settings == each.settings
    store = tmp_path / "store"
    ff.scan(NET, axes, store=store, **descent)
    with pytest.raises(
        ValueError, match=r"differs in nesterov \('True' there, 'False' here\), weight_decay \(0.25 there"
    ):
        ff.scan(NET, axes, store=store, momentum=0.9, loss="mse")


def test_a_store_without_nesterov_and_weight_decay_has_neither(tmp_path):
    """As earlier versions wrote it."""
    store = tmp_path / "store"
    scan = ff.scan(NET, {"gamma": [0.5, 2.0]}, momentum=0.9, store=store)
    written = json.loads((store / "zarr.json").read_text())
    for name in ("nesterov", "weight_decay", "_nc_fisherfield_checksum"):
        del written["attributes"][name]
    (store / "zarr.json").write_text(json.dumps(written))
    (store / "status" / "scan.sha256").unlink()
    assert ff.Scan.open(store).settings == scan.settings
    np.testing.assert_array_equal(
        ff.scan(NET, {"gamma": [0.5, 2.0]}, momentum=0.9, store=store).lambda_max[...], scan.lambda_max[...]
    )
    with pytest.raises(ValueError, match="differs in nesterov"):
        ff.scan(NET, {"gamma": [0.5, 2.0]}, momentum=0.9, nesterov=True, store=store)


def test_loss_and_momentum_count_for_learning_rates_alone():
    one = ff.scan(NET, GRID)
    two = ff.scan(NET, GRID, loss="mse", momentum=0.5)
    np.testing.assert_array_equal(one.lambda_max, two.lambda_max)
    np.testing.assert_allclose(two.max_learning_rate, one.max_learning_rate * 1.5 * 3 / 2, rtol=1e-14)


def test_random_points_are_drawn_within_their_ranges_and_again_the_same():
    drawn = ff.random_points(
        1000, seed=3, gamma=(-1, 5), sigma_w2=(0.5, 4, "log"), samples=(2, 50, "log"), depth=(2, 3)
    )
    [(names, points)] = drawn.items()
    assert names == ("gamma", "sigma_w2", "samples", "depth")
    for column, (low, high) in zip(points.T, [(-1, 5), (0.5, 4), (2, 50), (2, 3)], strict=True):
        assert low <= column.min() < low + 0.05 * (high - low)
        assert high - 0.1 * (high - low) < column.max() <= high
    assert abs(np.mean(points[:, 1] < math.sqrt(0.5 * 4)) - 0.5) < 0.05  # half of them below the geometric middle
    assert np.all(points[:, 2:] == np.floor(points[:, 2:]))
    again = ff.random_points(1000, 3, gamma=(-1, 5), sigma_w2=(0.5, 4, "log"), samples=(2, 50, "log"), depth=(2, 3))
    np.testing.assert_array_equal(again[names], points)
    assert not np.array_equal(ff.random_points(1000, 4, gamma=(-1, 5))["gamma",][:, 0], points[:, 0])
    assert ff.scan(NET, drawn).shape == (1000,)


# whoever computes -----------------------------------------------------------------------------------------------------

BOXED = {"depth": [2, 5, 3], ("gamma", "eps"): [(0.0, 0.0), (1.0, 0.1), (2.0, 0.0)], "samples": [2, 100, None, 7]}
ALL = ("lambda_max", "q", "regime", "contributions")


@pytest.mark.parametrize("chunk", [1, 5, 12, 30, 1000])
def test_chunks_do_not_matter_to_the_last_bit(chunk):
    equal(ff.scan(NET, BOXED, ALL), ff.scan(NET, BOXED, ALL, chunk=chunk))


@pytest.mark.parametrize("net", [NET, CONV], ids=["dense", "conv"])
def test_1_4_and_7_threads_do_not_matter_to_the_last_bit(net):
    one, four, seven = (ff.scan(net, GRID, ALL, threads=threads) for threads in (1, 4, 7))
    equal(one, four)
    equal(one, seven)


def test_an_executor_s_threads_and_processes_give_the_same_bits(tmp_path):
    here = ff.scan(NET, BOXED, ALL, chunk=5, store=tmp_path / "here")
    with ThreadPoolExecutor(2) as pool:
        equal(here, ff.scan(NET, BOXED, ALL, chunk=5, client=pool))
        ff.scan(NET, BOXED, ALL, chunk=5, client=pool, store=tmp_path / "threads")
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        equal(here, ff.scan(NET, BOXED, ALL, chunk=5, client=pool, threads=1))
        ff.scan(NET, BOXED, ALL, chunk=5, client=pool, store=tmp_path / "processes")
    assert digests(tmp_path / "here") == digests(tmp_path / "threads") == digests(tmp_path / "processes")


@linux
def test_a_broken_pool_is_told_in_a_sentence_and_what_is_finished_stays(tmp_path):
    def kill(done, total):
        if done > 60:
            for process in list(pool._processes.values()):
                process.kill()

    deep = ff.mlp([30, *[100] * 40, 3])
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool, pytest.raises(BrokenExecutor) as refusal:
        ff.scan(deep, GRID, chunk=10, client=pool, store=tmp_path / "s", progress=kill)
    match = re.fullmatch(
        r"a worker process ended abruptly, killed or out of memory, with (\d+) of 60 chunks finished, which stay: the "
        r"same call goes on from there",
        str(refusal.value),
    )
    assert 7 <= int(match[1]) < 60
    heard = []
    ff.scan(deep, GRID, chunk=10, store=tmp_path / "s", progress=lambda done, total: heard.append(done))
    assert heard[0] >= 70


def test_a_killed_worker_of_a_cluster_costs_nothing_but_time(tmp_path):
    """Two worker processes; one is killed in mid-scan. All points are there, none counts twice."""
    distributed = pytest.importorskip("distributed")
    ff.scan(NET, GRID, chunk=10, store=tmp_path / "here")
    heard, killed = [], []
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs="CRITICAL"
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        first, _ = client.run(os.getpid).values()

        def kill(done, total):
            heard.append(done)
            if done > 200 and not killed:
                killed.append(first)
                os.kill(first, 9)

        ff.scan(NET, GRID, chunk=10, client=client, threads=1, store=tmp_path / "there", progress=kill)
        in_memory = ff.scan(NET, GRID, chunk=30, client=client, threads=1)
    assert killed == [first]
    assert heard == list(range(0, 601, 10))
    assert digests(tmp_path / "here") == digests(tmp_path / "there")
    equal(in_memory, ff.scan(NET, GRID))


def test_workers_of_another_version_are_refused(monkeypatch):
    settings = {"theory": Settings.of(NET, "exact"), "descent": Descent(), "backend": "cpu", "threads": 1}
    job = Job(network=NET, grid=Grid((), (), ()), chunk=(), quantities=(), version="0.1.0", **settings)
    monkeypatch.setattr(ff, "__version__", "0.0.1")
    with pytest.raises(RuntimeError, match=r"^workers must have fisherfield 0\.1\.0 like the client, got 0\.0\.1$"):
        chunks._work(job, 0, None, None)


def test_without_cuda_its_backend_is_refused_and_nothing_else_computes():
    if importlib.util.find_spec("fisherfield._cuda"):
        pytest.skip("this build has CUDA")
    sentence = "backend='cuda' needs a build with CUDA: pip install fisherfield -C cmake.define.FISHERFIELD_CUDA=ON"
    with pytest.raises(RuntimeError, match=f"^{re.escape(sentence)}$"):
        ff.scan(NET, GRID, backend="cuda")


# stores ---------------------------------------------------------------------------------------------------------------

zarr = pytest.importorskip("zarr")
xarray = pytest.importorskip("xarray")


@pytest.mark.parametrize("axes", [GRID, BOXED, {}, ff.random_points(50, gamma=(0.1, 5))], ids=["2", "3", "0", "random"])
def test_a_store_is_the_scan_as_xarray_reads_it_and_opens_again(tmp_path, axes):
    held = ff.scan(NET, axes, ALL)
    kept = ff.scan(NET, axes, ALL, store=tmp_path / "s.zarr", chunk=7)
    equal(held, kept)
    equal(held, ff.Scan.open(tmp_path / "s.zarr"))
    dataset, inside = kept.to_xarray(), held.to_xarray()
    xarray.testing.assert_equal(dataset, xarray.open_zarr(tmp_path / "s.zarr"))
    xarray.testing.assert_equal(dataset.compute(), inside)
    assert {**inside.attrs, "chunk": dataset.attrs["chunk"]} == dataset.attrs
    assert {name: inside[name].attrs for name in inside.variables} == {
        name: dataset[name].attrs for name in dataset.variables
    }


def test_netcdf_and_zarr_by_xarray_keep_everything(tmp_path):
    pytest.importorskip("h5netcdf")
    held = ff.scan(NET, BOXED, ALL, samples=None, momentum=0.5, theory="frozen", biases=False)
    held.to_xarray().to_netcdf(tmp_path / "s.nc", engine="h5netcdf")
    again = ff.Scan.open(tmp_path / "s.nc")
    equal(held, again)
    assert (again.network, again.settings, again.dimensions) == (held.network, held.settings, held.dimensions)
    assert repr(again) == repr(held).rsplit("\n", 1)[0]  # but for the time that it took
    equal(held, ff.Scan.open(held.to_xarray()))
    xarray.testing.assert_identical(xarray.load_dataset(tmp_path / "s.nc"), held.to_xarray())


def test_a_file_found_a_year_later_explains_itself():
    saved = ff.scan(NET, {"gamma": [1.0, 2.0]}, samples=100, momentum=0.9).to_xarray()
    assert saved.attrs["fisherfield_version"] == ff.__version__
    assert (saved.attrs["theory"], saved.attrs["samples"], saved.attrs["momentum"]) == ("exact", 100, 0.9)
    assert 'type = "BatchNorm", gamma = 1.0' in saved.attrs["network"]
    assert saved.lambda_max.attrs == {"long_name": "largest eigenvalue of the Fisher information", "units": "1"}
    assert saved.gamma.attrs["long_name"] == "a normalisation's scale"
    flags = saved.status.attrs
    assert len(flags["flag_values"]) == len(flags["flag_meanings"].split()) == len(ff.Scan.STATUSES)


SCRIPT = """
import os, sys, pathlib
import numpy as np
import fisherfield as ff

left = int(sys.argv[2])
if left:  # killed in the middle of writing file number `left`, before it has its name
    rename = pathlib.Path.replace
    def replace(self, target):
        global left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), 9)
        return rename(self, target)
    pathlib.Path.replace = replace
net = ff.mlp([30, 100, 100, 3], trained=True)
grid = {"gamma": np.linspace(0.1, 5.0, 30), "sigma_b2": np.linspace(0.0, 1.0, 20)}
def tell(done, total):
    print(done, flush=True)
ff.scan(net, grid, chunk=10, store=sys.argv[1], progress=tell)
"""


@linux
def test_a_scan_killed_at_any_file_goes_on_and_ends_with_the_same_bytes(tmp_path):
    whole = ff.scan(NET, GRID, chunk=10, store=tmp_path / "whole")
    for file in (1, 2, 6, 14, 40):
        store = tmp_path / f"killed {file}"
        killed = subprocess.run([sys.executable, "-c", SCRIPT, str(store), str(file)], capture_output=True, check=False)
        assert killed.returncode == -9
        heard = []
        again = ff.scan(NET, GRID, chunk=10, store=store, progress=lambda done, total, heard=heard: heard.append(done))
        assert heard[0] == (len(killed.stdout.split()) - 1) * 10 * (file > 12)  # nothing is computed twice
        equal(whole, again)
        assert digests(store) == digests(tmp_path / "whole")


@linux
def test_a_scan_killed_at_any_time_goes_on_and_ends_with_the_same_bytes(tmp_path):
    ff.scan(NET, GRID, chunk=10, store=tmp_path / "whole")
    for points, by in ((100, signal.SIGKILL), (200, signal.SIGINT), (300, signal.SIGTERM)):
        with subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(tmp_path / "killed"), "0"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            while int(process.stdout.readline()) < points:
                pass
            time.sleep(points * 1e-5)
            process.send_signal(by)
            _, errors = process.communicate()
            heard = re.search(r"^(KeyboardInterrupt|KeyboardInterrupt: scan stopped with .*)$", errors, re.M)
            assert bool(heard) == (by == signal.SIGINT)
            assert process.returncode == -by
    ff.scan(NET, GRID, chunk=10, store=tmp_path / "killed")
    assert digests(tmp_path / "killed") == digests(tmp_path / "whole")


def test_ctrl_c_leaves_what_is_finished_and_the_same_call_goes_on(tmp_path):
    def interrupt(done, total):
        if done >= 200:
            raise KeyboardInterrupt

    heard = []
    sentence = "scan stopped with 20 of 60 chunks finished, which stay: the same call goes on from there"
    with pytest.raises(KeyboardInterrupt, match=f"^{sentence}$"):
        ff.scan(NET, GRID, chunk=10, store=tmp_path / "s", progress=interrupt)
    with ThreadPoolExecutor(2) as pool, pytest.raises(KeyboardInterrupt):
        ff.scan(NET, GRID, chunk=10, client=pool, progress=interrupt)
    ff.scan(NET, GRID, chunk=10, store=tmp_path / "s", progress=lambda done, total: heard.append((done, total)))
    assert heard[0] == (200, 600)
    assert heard[-1] == (600, 600)
    # a finished one is opened
    mark = digests(tmp_path / "s")
    ff.scan(NET, GRID, chunk=10, store=tmp_path / "s", progress=lambda done, total: heard.append((done, total)))
    assert heard[-1] == heard[-2] == (600, 600)
    assert digests(tmp_path / "s") == mark


def test_a_chunk_whose_file_was_cut_short_is_computed_again(tmp_path):
    ff.scan(NET, GRID, chunk=10, store=tmp_path / "s")
    mark = digests(tmp_path / "s")
    (tmp_path / "s" / "status" / "c" / "3" / "1").write_bytes(b"")
    (tmp_path / "s" / "status" / "c" / "4" / "0").unlink()
    with pytest.warns(UserWarning, match=r"was damaged in status/c/3/1, which is computed again now$"):
        ff.scan(NET, GRID, chunk=10, store=tmp_path / "s")
    assert digests(tmp_path / "s") == mark


@pytest.mark.parametrize(
    ("net", "axes", "changed", "difference"),
    [
        (NET.replace(eps=0.1), GRID, {}, "network"),
        (NET, GRID, {"theory": "frozen"}, "theory ('exact' there, 'frozen' here)"),
        (
            NET,
            GRID,
            {"samples": 10, "momentum": 0.5},
            "samples ('infinitely many' there, 10 here), momentum (0.0 there",
        ),
        (NET, GRID, {"chunk": 7}, "chunk ([1, 10] there, [1, 7] here)"),
        (NET, GRID, {"quantities": ("bulk",)}, "quantities ('lambda_max max_learning_rate' there, 'bulk' here)"),
        (NET, {**GRID, "eps": [0.0]}, {}, "eps, no axis there"),
        (NET, {**GRID, "gamma": GRID["gamma"] * 2}, {}, "the values of gamma; it was"),
        (NET, {**GRID, "gamma": GRID["gamma"][1:]}, {}, f"gamma ({GRID['gamma'].size} values there, "),
    ],
)
def test_a_store_of_other_arguments_is_refused_and_left_alone(tmp_path, net, axes, changed, difference):
    path = tmp_path / "s"
    ff.scan(NET, GRID, chunk=10, store=path)
    mark = digests(path)
    with pytest.raises(ValueError, match=r"^store must belong to the same scan, got .*give another one$") as refusal:
        ff.scan(net, axes, **{"chunk": 10, **changed}, store=path)
    assert difference in str(refusal.value)
    assert digests(path) == mark


def test_a_store_of_another_version_is_refused(tmp_path, monkeypatch):
    ff.scan(NET, GRID, store=tmp_path / "s")
    monkeypatch.setattr(ff, "__version__", "9.9")
    with pytest.raises(ValueError, match=r"differs in fisherfield_version \('0.1.0' there, '9.9' here\)"):
        ff.scan(NET, GRID, store=tmp_path / "s")


def test_what_is_no_scan_is_refused_and_left_alone(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "thesis.tex").write_text("years of work")
    (tmp_path / "file").write_text("x")
    zarr.create_group(tmp_path / "zarr", attributes={"mine": 1})
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "thesis.partial").write_text("years of work")
    before = digests(tmp_path)
    for name in ("folder", "file", "zarr", "half"):
        sentence = (
            f"store must be a new folder or that of a scan, got {str(tmp_path / name)!r}, which was left as it is"
        )
        with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
            ff.scan(NET, GRID, store=tmp_path / name)
        with pytest.raises(ValueError, match=r"^source must be what a scan has written, got"):
            ff.Scan.open(tmp_path / name)
    assert digests(tmp_path) == before
    with pytest.raises(FileNotFoundError, match=r"nowhere is not there$"):
        ff.Scan.open(tmp_path / "nowhere")


@linux
def test_a_full_disk_is_told_in_a_sentence_and_what_is_finished_stays(tmp_path):
    """A limit on the size of files stands for the disk's end."""
    import resource

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(done, total):
        if done >= 200:
            resource.setrlimit(resource.RLIMIT_FSIZE, (40, limits[1]))

    sentence = (
        f"store {str(tmp_path / 's')!r} cannot be written (File too large), with 20 of 60 chunks finished, which stay: "
        "the same call goes on from there"
    )
    try:
        with pytest.raises(OSError, match=f"{re.escape(sentence)}$"):
            ff.scan(NET, GRID, chunk=10, store=tmp_path / "s", progress=fill)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    half = xarray.load_dataset(tmp_path / "s", engine="zarr")
    assert np.count_nonzero(half.status == 0) == 200
    np.testing.assert_array_equal(half.lambda_max.values[:10], ff.scan(NET, GRID).lambda_max[:10])
    ff.scan(NET, GRID, chunk=10, store=tmp_path / "s")
    ff.scan(NET, GRID, chunk=10, store=tmp_path / "whole")
    assert digests(tmp_path / "s") == digests(tmp_path / "whole")


@pytest.fixture
def public_folder():
    """A folder that this process may read and not write, be it root's."""
    with tempfile.TemporaryDirectory() as path:
        yield Path(path)
        os.chmod(path, 0o755)


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="rights of POSIX")
def test_a_read_only_folder_is_told_in_a_sentence_and_a_finished_scan_opens_there(public_folder):
    path = public_folder / "finished"
    ff.scan(NET, GRID, chunk=100, store=path)

    def stop(done, total):
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ff.scan(NET, GRID, chunk=100, store=public_folder / "half", progress=stop)
    for folder in (public_folder, *public_folder.rglob("*")):
        os.chmod(folder, 0o555 if folder.is_dir() else 0o444)
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        equal(ff.scan(NET, GRID), ff.scan(NET, GRID, chunk=100, store=path))
        for name, rest in (
            ("half", "with 1 of 6 chunks finished, which stay: the same call goes on from there"),
            ("new", "and no scan was begun"),
        ):
            store = str(public_folder / name)
            sentence = f"store {store!r} cannot be written (Permission denied), {rest}"
            with pytest.raises(PermissionError, match=f"{re.escape(sentence)}$"):
                ff.scan(NET, GRID, chunk=100, store=store)
    finally:
        if root:
            os.seteuid(0)
        for folder in (public_folder, *public_folder.rglob("*")):
            os.chmod(folder, 0o755)


@linux
def test_memory_is_bounded_by_the_chunk(tmp_path):
    """4e6 points of two quantities are 64 MB; chunks of 16384 take 0.3 MB, the rest is Zarr's and the allocator's."""
    code = """
import resource, sys, numpy as np, fisherfield as ff
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
net = ff.mlp([30, 100, 3], batch_norm=False)
ff.scan(net, {"momentum": np.linspace(0, 0.9, 40000)}, store=sys.argv[1] + "/small", chunk=16384)
before = peak()
axes = {"sigma_w2": np.linspace(0.5, 4, 40), "momentum": np.linspace(0, 0.9, 100000)}
out = ff.scan(net, axes, store=sys.argv[1] + "/large", chunk=16384)
assert out.points == 4_000_000
print(peak() - before)
"""
    out = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert float(out.stdout) < 16


# results --------------------------------------------------------------------------------------------------------------


def test_a_scan_is_pickled_and_listed_and_says_what_it_does_not_have(tmp_path):
    held = ff.scan(NET, BOXED, ALL)
    equal(held, pickle.loads(pickle.dumps(held)))
    equal(held, pickle.loads(pickle.dumps(ff.scan(NET, BOXED, ALL, store=tmp_path / "s"))))
    assert {"lambda_max", "gamma", "shape"} <= set(dir(held))
    assert held.q.shape == (3, 3, 4, 5)
    with pytest.raises(KeyError, match="'theta' is none of lambda_max, q, regime, part_a, part_b, depth"):
        held["theta"]
    with pytest.raises(AttributeError, match="Scan has no attribute 'theta'"):
        held.theta  # noqa: B018


def test_it_prints_as_a_table():
    axes = {"gamma": [0.0, 1.0], "samples": [1, 100, None], "overlap": [0.0, 2.0]}
    lines = repr(ff.scan(NET, axes, ("lambda_max", "regime", "q"), theory="frozen")).splitlines()
    assert lines[:-1] == [
        "Scan of 2 x 3 x 2 = 12 points: theory frozen, length 1, with biases",
        "  gamma       0 to 1, 2 values",
        "  samples     1 to inf, 3 values",
        "  overlap     0 to 2, 2 values",
        f"  lambda_max  {ff.fisher(NET, 'frozen').lambda_max:.6g} to {ff.fisher(NET, 'frozen', 100).lambda_max:.6g}",
        "  regime      none 10 times, outlier 2 times",
        "  q           1.5 to 2.5, 3 layers",
        "  2 points: zero variance before a normalisation with eps = 0",
        "  8 points: samples, overlap and length do not go together",
    ]
    assert re.fullmatch(r"  [\d.e+]+ \ws, [\d.e+]+ [mun]s a point", lines[-1])


def test_pandas_has_a_row_for_each_point():
    pandas = pytest.importorskip("pandas")
    held = ff.scan(NET, BOXED, ALL)
    frame = held.to_pandas()
    assert frame.index.names == ["depth", "point", "samples"]
    assert list(frame.columns[:5]) == ["gamma", "eps", "lambda_max", "q[1]", "q[2]"]
    row = frame.loc[(5.0, 1, 100.0)]
    assert (row["gamma"], row["eps"], row["lambda_max"]) == (1.0, 0.1, held.lambda_max[1, 1, 1])
    assert row["part_b[5]"] == held.part_b[1, 1, 1, 4]
    assert set(frame["regime"].dropna()) <= {"bulk", "outlier"}
    assert ff.scan(NET, GRID).to_pandas()["lambda_max"].to_xarray().shape == (30, 20)
    assert ff.scan(NET, {"gamma": [1.0, 2.0]}).to_pandas().index.name == "gamma"
    assert len(ff.scan(NET, {}).to_pandas()) == 1
    assert isinstance(frame["regime"].dtype, pandas.CategoricalDtype)


@pytest.mark.parametrize(
    ("axes", "quantity", "scales", "labels"),
    [
        ({"gamma": np.linspace(0.1, 5, 50)}, None, ("linear", "log"), (r"$\gamma$", r"\lambda_{\max}")),
        ({"sigma_w2": np.geomspace(0.1, 10, 50)}, "q", ("log", "linear"), (r"$\sigma_w^2$", "$q$")),
        ({"samples": [10, 100, 1000, None]}, "regime", ("log", "linear"), ("not drawn", "rules")),
        (
            {"gamma": np.linspace(0, 5, 9), "eps": np.linspace(0.0, 0.1, 7)},
            "max_learning_rate",
            ("linear", "linear"),
            ("grey", "eps"),
        ),
        (
            {"samples": [10, 30, 100, 300, 1000], "gamma": [0.0, 1.0]},
            "status",
            ("log", "linear"),
            ("samples", "normalisation"),
        ),
        (
            {"samples": [10, 30, None], "sigma_w2": np.geomspace(0.5, 4, 20)},
            "max_learning_rate",
            ("log", "linear"),
            (r"$\sigma_w^2$", r"$\eta^*$"),
        ),
        (ff.random_points(50, gamma=(0.1, 5), samples=(2, 1000, "log")), None, ("linear", "log"), ("scale", "$n$")),
    ],
)
def test_it_is_drawn_with_names_and_units_and_scales(axes, quantity, scales, labels):
    figures = pytest.importorskip("matplotlib.figure")
    held = ff.scan(NET, axes, ("lambda_max", "max_learning_rate", "q", "regime"))
    figure = held.plot(quantity)
    assert isinstance(figure, figures.Figure)
    figure.canvas.draw()
    drawn = figure.axes[0]
    assert (drawn.get_xscale(), drawn.get_yscale()) == scales
    assert all(label in text for label, text in zip(labels, (drawn.get_xlabel(), drawn.get_ylabel()), strict=True))
    assert "theory exact" in drawn.get_title()
    own = figures.Figure().subplots()
    assert held.plot(quantity, ax=own) is own.figure


def test_the_bar_tells_points_their_rate_and_the_time_that_is_left(capsys):
    ff.scan(NET, GRID, chunk=100, progress=True)
    output = capsys.readouterr().out
    assert "600 of 600 points" in output
    assert "points/s" in output


# refusals -------------------------------------------------------------------------------------------------------------

*MOST, LAST = (name for name, cls in kinds().items() if "gamma" in cls.axes())
KINDS = f"{', '.join(MOST)} or {LAST}"
NAMES = ", ".join((*axes(), "width, depth, blocks, activation, momentum, samples, length, overlap"))
UNEQUAL = ff.mlp([30, 100, 200, 3])
STRIDED = ff.convnet((1, 8, 8), [4, 4], 3)


@pytest.mark.parametrize(
    ("arguments", "error", "sentence"),
    [
        ({"axes": ["gamma"]}, TypeError, "axes must be a mapping from names to values, got ['gamma']"),
        (
            {"axes": {"gama": [1]}},
            ValueError,
            f"axes must be named {NAMES} or as \"layers[0].sigma_w2\", got 'gama' (did you mean 'gamma'?)",
        ),
        ({"axes": {3: [1]}}, ValueError, f'axes must be named {NAMES} or as "layers[0].sigma_w2", got 3'),
        ({"axes": {(): []}}, ValueError, "axes must have names, got an empty tuple"),
        ({"axes": {"gamma": []}}, ValueError, "axis gamma must be one value or more in one dimension, got shape (0,)"),
        ({"axes": {"gamma": 1.0}}, ValueError, "axis gamma must be one value or more in one dimension, got shape ()"),
        (
            {"axes": {"gamma": np.ones((2, 2))}},
            ValueError,
            "axis gamma must be one value or more in one dimension, got shape (2, 2)",
        ),
        ({"axes": {"gamma": "abc"}}, TypeError, "axis gamma must be a number or an array of numbers, got 'abc'"),
        (
            {"axes": {"gamma": [1, None]}},
            TypeError,
            "axis gamma must be a number or an array of numbers, got [1, None]",
        ),
        ({"axes": {"gamma": [1, math.nan]}}, ValueError, "axis gamma must be finite, got nan"),
        (
            {"axes": {"gamma": [1, 1e-101]}},
            ValueError,
            "axis gamma must be 0 or between 1e-100 and 1e+100 in size, got 1e-101",
        ),
        ({"axes": {"beta": [1e101]}}, ValueError, "axis beta must be finite and at most 1e+100 in size, got 1e+101"),
        ({"axes": {"eps": [-1.0]}}, ValueError, "axis eps must be finite and >= 0, got -1.0"),
        ({"axes": {"sigma_w2": [-1.0]}}, ValueError, "axis sigma_w2 must be finite and >= 0, got -1.0"),
        ({"axes": {"sigma_b2": [math.inf]}}, ValueError, "axis sigma_b2 must be finite and >= 0, got inf"),
        (
            {"axes": {"layers[0].sigma_b2": [-1]}},
            ValueError,
            "axis layers[0].sigma_b2 must be finite and >= 0, got -1.0",
        ),
        ({"axes": {"length": [0.0]}}, ValueError, "axis length must be finite and > 0, got 0.0"),
        (
            {"axes": {"overlap": [-math.inf]}},
            ValueError,
            "axis overlap must be finite and at most 1e+100 in size, got -inf",
        ),
        ({"axes": {"momentum": [0.5, 1.0]}}, ValueError, "axis momentum must be in [0, 1), got 1.0"),
        ({"axes": {"samples": [0]}}, ValueError, "axis samples must be a whole number >= 1, got 0.0"),
        ({"axes": {"samples": [1.5]}}, TypeError, "axis samples must be a whole number >= 1, got 1.5"),
        ({"axes": {"samples": [-math.inf]}}, TypeError, "axis samples must be a whole number >= 1, got -inf"),
        ({"axes": {"width": [0]}}, ValueError, "axis width must be a whole number >= 1, got 0.0"),
        ({"axes": {"depth": [1]}}, ValueError, "axis depth must be a whole number >= 2, got 1.0"),
        ({"axes": {"depth": [2.5]}}, TypeError, "axis depth must be a whole number >= 2, got 2.5"),
        (
            {"axes": {"gamma": [1], ("eps", "gamma"): [(1, 1)]}},
            ValueError,
            "axis gamma must be given once, got it twice",
        ),
        ({"axes": {("eps", "gamma"): []}}, ValueError, "axes (eps, gamma) must be points of 2 values each, got none"),
        ({"axes": {("eps", "gamma"): 1}}, TypeError, "axes (eps, gamma) must be points of 2 values each, got 1"),
        ({"axes": {("eps", "gamma"): [1]}}, ValueError, "axes (eps, gamma) must be points of 2 values each, got 1"),
        (
            {"axes": {("eps", "gamma"): np.ones((2, 3))}},
            ValueError,
            "axes (eps, gamma) must be points of 2 values each, got shape (2, 3)",
        ),
        (
            {"axes": {"gamma": [1]}, "net": VANILLA},
            ValueError,
            f"axis gamma needs a {KINDS}, and the network has none",
        ),
        (
            {"axes": {"layers[0].gamma": [1]}},
            ValueError,
            "axis layers[0].gamma must name a layer that has gamma, got Dense(units=100, sigma_w2=2.0, sigma_b2=0.5)",
        ),
        (
            {"axes": {"layers[0].units": [1]}},
            ValueError,
            f"axis layers[0].units must name one of {', '.join(axes())}, activation, got 'units'",
        ),
        ({"axes": {"layers[7].eps": [1]}}, ValueError, "axis layers[7].eps must name a layer from 0 to 6, got 7"),
        (
            {"axes": {"layers[1].eps": [1], "depth": [2]}},
            ValueError,
            "axis depth must stand without axes of single layers, got layers[1].eps",
        ),
        (
            {"axes": {"width": [1]}, "net": UNEQUAL},
            ValueError,
            "axis width needs hidden layers that are alike, got layers[0] = Dense(units=100, sigma_w2=2.0, "
            "sigma_b2=0.5) and layers[3] = Dense(units=200, sigma_w2=2.0, sigma_b2=0.5)",
        ),
        (
            {"axes": {"depth": [2]}, "net": NET.replace(gamma=[1.0, 2.0])},
            ValueError,
            "axis depth needs hidden layers that are alike, got layers[1] = BatchNorm(gamma=1.0, beta=0.0, eps=0.0, "
            "trained=True) and layers[4] = BatchNorm(gamma=2.0, beta=0.0, eps=0.0, trained=True)",
        ),
        (
            {"axes": {"depth": [2]}, "net": STRIDED},
            ValueError,
            "axis depth needs convolutions that keep the image's size, got layers[0] = Conv2d(channels=4, kernel=3, "
            "stride=2, padding=1, sigma_w2=2.0, sigma_b2=0.5) from (1, 8, 8) to (4, 4, 4)",
        ),
        (
            {
                "axes": {"depth": [2]},
                "net": ff.Network(3, [ff.Dense(5), ff.Dense(5), ff.Activation("relu"), ff.Dense(2)]),
            },
            ValueError,
            "axis depth needs hidden layers that are alike, got layers[2] = Activation('relu') behind the last of them "
            "alone",
        ),
        (
            {"axes": {"width": [2]}, "net": ff.Network(3, [ff.Dense(5)])},
            ValueError,
            "axis width needs a hidden layer, and the network has none",
        ),
        (
            {"axes": {"samples": [10]}, "samples": 5},
            ValueError,
            "samples must be either an axis or an argument, got both, the argument 5",
        ),
        (
            {"axes": {"overlap": [0.1]}, "overlap": 0.2},
            ValueError,
            "overlap must be either an axis or an argument, got both, the argument 0.2",
        ),
        ({"overlap": 2.0}, ValueError, "overlap must be from 0 (infinite data) to length = 1, got 2.0"),
        (
            {"axes": {"overlap": [0.1]}, "samples": 1},
            ValueError,
            "samples must be at least 2 under BatchNorm, whose variance over one sample is 0, got 1",
        ),
        (
            {"theory": "exakt"},
            ValueError,
            "theory must be one of exact, frozen, wei2019, got 'exakt' (did you mean 'exact'?)",
        ),
        (
            {"loss": "l2"},
            ValueError,
            "loss must be one of sum, mean, mse, cross_entropy, got 'l2' (did you mean 'mse'?)",
        ),
        ({"momentum": 1.0}, ValueError, "momentum must be in [0, 1), got 1.0"),
        ({"biases": 1}, TypeError, "biases must be True or False, got 1"),
        ({"net": 3}, TypeError, "net must be a fisherfield Network, got 3"),
        ({"backend": "gpu"}, ValueError, "backend must be one of cpu, cuda, got 'gpu'"),
        ({"threads": 0}, ValueError, "threads must be a whole number >= 1, got 0"),
        ({"chunk": 0}, ValueError, "chunk must be a whole number >= 1, got 0"),
        ({"progress": 1}, TypeError, "progress must be True or False, got 1"),
        (
            {"client": "localhost"},
            TypeError,
            "client must be a dask.distributed Client or a concurrent.futures.Executor, got 'localhost'",
        ),
        (
            {"quantities": ("lambda_mx",)},
            ValueError,
            f"quantities must be among {', '.join(labels.QUANTITIES)}, got 'lambda_mx' (did you mean 'lambda_max'?)",
        ),
        (
            {"quantities": ()},
            ValueError,
            f"quantities must be one name or more of {', '.join(labels.QUANTITIES)}, got ()",
        ),
    ],
)
def test_an_argument_out_of_range_is_refused_in_a_sentence(arguments, error, sentence):
    with pytest.raises(error, match=f"^{re.escape(sentence)}$"):
        ff.scan(**{"net": NET, "axes": {"eps": [0.1]}, **arguments})


def test_an_activation_without_a_name_is_scanned_and_explained_but_not_stored(tmp_path):
    net = ff.mlp([30, 100, 3], lambda x: x**2, batch_norm=False)
    held = ff.scan(net, {"sigma_w2": [1.0, 2.0]})
    assert held.lambda_max[1] == pytest.approx(ff.fisher(net).lambda_max, rel=1e-12)  # one integral, twice
    assert held.to_xarray().attrs["network"].startswith("Network(")
    with pytest.raises(ValueError, match="only named activations can"):
        ff.scan(net, {"sigma_w2": [1.0, 2.0]}, store=tmp_path / "s")
    with pytest.raises(ValueError, match="network must be one of named activations to be read back"):
        ff.Scan.open(held.to_xarray())


@pytest.mark.parametrize(
    ("ranges", "error", "sentence"),
    [
        ({}, ValueError, "ranges must be given for at least one axis, as gamma=(0.1, 5)"),
        ({"gamma": 3}, TypeError, 'gamma must be a pair (low, high) or (low, high, "log") with low < high, got 3'),
        (
            {"gamma": (2, 1)},
            ValueError,
            'gamma must be a pair (low, high) or (low, high, "log") with low < high, got (2, 1)',
        ),
        (
            {"gamma": (0, 1, "log")},
            ValueError,
            "gamma must be > 0 where its logarithm is drawn, got (0, 1, 'log')",
        ),
        (
            {"depth": (2.2, 2.8)},
            ValueError,
            "depth must have a whole number from low to high, got (2.2, 2.8)",
        ),
    ],
)
def test_a_range_that_is_none_is_refused_in_a_sentence(ranges, error, sentence):
    with pytest.raises(error, match=f"^{re.escape(sentence)}$"):
        ff.random_points(3, **ranges)


def test_more_than_can_be_drawn_is_refused_with_what_to_select():
    pytest.importorskip("matplotlib")
    held = ff.scan(NET, {"gamma": [1, 2], "eps": [0, 1], "beta": [0, 1]}, ("lambda_max", "q"))
    sentence = "plot draws one axis or two, got gamma, eps, beta: select a value of the others, as beta=1"
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        held.plot()
    with pytest.raises(ValueError, match=r"^plot draws q of all layers over one axis, got gamma, eps: select a"):
        ff.scan(NET, {"gamma": [1, 2], "eps": [0, 1]}, "q").plot()
    with pytest.raises(ValueError, match=r"^quantity must be one of lambda_max, q, status, got 'theta'$"):
        held.plot("theta")


def test_more_axes_than_two_are_drawn_where_values_are_selected_the_nearest_of_them(tmp_path):
    pytest.importorskip("matplotlib")
    axes = {"gamma": np.linspace(0.1, 5, 20), "samples": [16, 64, None], "sigma_b2": [0.0, 0.5, 1.0], "length": [2.0]}
    for held in (
        ff.scan(NET, axes, ("lambda_max", "q")),
        ff.scan(NET, axes, ("lambda_max", "q"), store=tmp_path / "s"),
    ):
        drawn = held.plot(select={"samples": 70, "sigma_b2": 0.6}).axes[0]
        np.testing.assert_array_equal(drawn.lines[0].get_ydata(), held.lambda_max[:, 1, 1, 0])
        assert "= 64" in drawn.get_title()
        assert "= 0.5" in drawn.get_title()
        # an axis of one value is told in the title alone, one of few gives a line each
        assert "= 2" in drawn.get_title()
        family = held.plot(select={"sigma_b2": 0}).axes[0]
        assert [line.get_label() for line in family.lines] == ["$n$ = 16", "$n$ = 64", r"$n$ = $\infty$"]
        np.testing.assert_array_equal(family.lines[2].get_ydata(), held.lambda_max[:, 2, 0, 0])
        layers = held.plot("q", select={"sigma_b2": 0, "samples": None})
        assert len(layers.axes[0].lines) == 3
        assert "layer = 2" in held.plot("q", select={"samples": 16, "layer": 2.2, "length": 1}).axes[0].get_title()
    for select, sentence in (
        ({"eps": 1}, "select must name one of gamma, samples, sigma_b2, length, got 'eps'"),
        ({"gamma": math.nan}, "select gamma must be a number, got nan"),
    ):
        with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
            held.plot(select=select)
    with pytest.raises(TypeError, match=r"^select gamma must be a number, got 'one'$"):
        held.plot(select={"gamma": "one"})
    paired = ff.scan(NET, ff.random_points(9, gamma=(0.1, 5), eps=(0, 1), beta=(0, 1)))
    assert [panel.get_xlabel()[-8:] for panel in paired.plot().axes] == [r"$\gamma$", r"epsilon$", r" $\beta$"]
    with pytest.raises(ValueError, match=r"got 'eps', one of the paired axes along point$"):
        paired.plot(select={"eps": 1})


def test_a_map_s_cells_lie_about_their_values_on_a_logarithmic_axis_too():
    pytest.importorskip("matplotlib")
    held = ff.scan(NET, {"samples": [10, 100, 1000, 10000, 10**5, 10**6, None], "gamma": np.linspace(1, 2, 8)})
    drawn = held.plot().axes[0]
    assert drawn.get_xlim() == pytest.approx((10**0.5, 10**6.5), rel=1e-12)  # half a cell on both sides


@pytest.mark.parametrize(
    ("module", "call", "sentence"),
    [
        ("xarray", lambda held: held.to_xarray(), "to_xarray needs xarray: pip install 'fisherfield[scan]'"),
        ("pandas", lambda held: held.to_pandas(), "to_pandas needs pandas: pip install pandas"),
        ("matplotlib", lambda held: held.plot(), "plot needs matplotlib: pip install 'fisherfield[plot]'"),
        ("zarr", lambda held: ff.scan(NET, GRID, store="s"), "a store needs zarr: pip install 'fisherfield[scan]'"),
    ],
)
def test_a_missing_part_gives_the_pip_command(monkeypatch, module, call, sentence):
    held = ff.scan(NET, GRID)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=f"^{re.escape(sentence)}$"):
        call(held)


@pytest.mark.parametrize("store", [3, b"s.zarr", "a\0b", "", "s3://bucket/s.zarr", "memory://s.zarr"])
def test_a_store_that_is_no_path_is_refused(store, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"^store must be a path on a file system, got "):
        ff.scan(NET, GRID, store=store)
    assert not list(tmp_path.iterdir())


def test_a_store_may_lie_in_the_user_s_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    scan = ff.scan(NET, {"gamma": [1.0, 2.0]}, store="~/s.zarr")
    assert scan.store == str(tmp_path / "s.zarr")


def test_grids_beyond_all_measure_are_refused_before_they_begin(tmp_path):
    axes = {name: np.linspace(0.1, 1.0, 10_000) for name in ("gamma", "sigma_w2", "sigma_b2")}
    with pytest.raises(
        ValueError, match=r"^store must be given for 1,000,000,000,000 points, whose results take 17 TB, "
    ):
        ff.scan(NET, axes)
    axes |= {name: np.linspace(0.1, 1.0, 10_000) for name in ("eps", "beta", "length")}
    for store in (None, tmp_path / "s.zarr"):
        with pytest.raises(ValueError, match=r"^axes must make at most 2\^53 points, got 1e\+24$"):
            ff.scan(NET, axes, store=store)


def test_flags_are_words_that_any_reader_of_cf_takes():
    attributes = ff.scan(NET, {"gamma": [1.0]}).to_xarray().status.attrs
    words = attributes["flag_meanings"].split()
    assert len(words) == len(attributes["flag_values"])
    assert all(re.fullmatch(r"\w+", word) for word in words)


CROWDED = {
    "deep BatchNorm": (ff.mlp([100, *[40] * 24, 1]), {"gamma": [0.5, 1.0], "samples": [2, 100, 10**6, None]}),
    "outputs": (ff.mlp([3, 4, 200]), {"sigma_b2": [0.0, 0.1, 1.0], "samples": [3, 27, 100, None]}),
    "vanilla": (ff.mlp([40, 1, 40], batch_norm=False), {"sigma_w2": [1e-3, 0.5, 2.0], "sigma_b2": [0.0, 0.3, 1.0]}),
    "no hidden layer": (ff.Network(2, [ff.Dense(74)]), {"sigma_w2": [1.0, 2.0], "samples": [1, 2, 27, None]}),
    "last BatchNorm": (
        ff.Network(5, [*ff.mlp([5, 6, 3]).layers, ff.BatchNorm()]),
        {"gamma": [1.0, 2.0], "samples": [2, 10, 11, 12, 13, None]},
    ),
    "widths": (ff.mlp([9, 5, 5, 30], batch_norm=False), {"width": [1, 2, 5, 50], "sigma_b2": [0.0, 1.0]}),
    "P = C": (ff.Network(1, [ff.Dense(20)]), {"length": [0.5, 2.0], "samples": [1, 2, 9, None]}),
}


@pytest.mark.parametrize("biases", [True, False])
@pytest.mark.parametrize("name", CROWDED)
def test_where_gradients_outnumber_parameters_a_scan_says_what_fisher_does(name, biases):
    """By kernels of many points, with and without a, and by single points: the mean may rule at some of them."""
    net, axes = CROWDED[name]
    wanted = ("lambda_max", "max_learning_rate", "bulk", "mean", "second_moment", "regime")
    outs = [ff.scan(net, axes, names, biases=biases) for names in ("lambda_max", wanted, (*wanted, "multiplicity"))]
    rules = 0
    for place in np.ndindex(outs[0].shape):
        point = {key: values[i] for (key, values), i in zip(axes.items(), place, strict=True)}
        data = {key: point.pop(key) for key in ("samples", "length") if key in point}
        each = (
            ff.mlp([net.input_shape[0], point["width"], point.pop("width"), 30], batch_norm=False)
            if ("width" in point)
            else net
        )
        one = ff.fisher(each.replace(**point) if point else each, biases=biases, edge=False, **data)
        rules += one.regime == "bulk"
        for out in outs:
            # a few ulp a layer
            assert out.lambda_max[place] == pytest.approx(one.lambda_max, rel=1e-12)
        for out in outs[1:]:
            for quantity in ("bulk", "mean", "second_moment"):
                # the bulk is a difference from a
                assert out[quantity][place] == pytest.approx(getattr(one, quantity), rel=1e-11, abs=1e-13 * one.a)
        assert outs[2]["multiplicity"][place] == one.multiplicity
    assert rules > 0 or (biases and name in ("outputs", "no hidden layer"))  # the output's bias stands out there


@given(
    st.lists(st.integers(1, 30), min_size=2, max_size=8),
    st.sampled_from(("relu", "leaky_relu(0.3)", "linear")),
    st.booleans(),
    floats(0.3, 3.0),
)
def test_the_kernel_of_b_alone_is_used_only_where_the_outlier_rules(widths, name, biases, length):
    net = ff.mlp(widths, name, batch_norm=False)
    axes = {"sigma_w2": [1e-3, 0.5, 2.0, 3.0], "sigma_b2": [0.0, 1e-3, 0.5]}
    for layers in ({}, {"layers[0].sigma_w2": [0.1, 2.0]}):
        alone = ff.scan(net, {**axes, **layers}, "lambda_max", biases=biases, length=length)
        whole = ff.scan(net, {**axes, **layers}, ("lambda_max", "mean"), biases=biases, length=length)
        np.testing.assert_array_less(whole["mean"], whole.lambda_max * (1 + 1e-12))
        np.testing.assert_allclose(alone.lambda_max, whole.lambda_max, rtol=1e-13)
