# SPDX-License-Identifier: BSD-3-Clause
"""Scans with the bulk's edge, and with what networks scatter by: point by point what `fisher` gives."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from test_scan import digests, equal

import fisherfield as ff
from fisherfield import _core
from fisherfield.scan import labels, one_by_one
from fisherfield.theory.settings import Descent, Settings

OPEN = 8
BY_EDGE = ("lambda_max", "max_learning_rate", "regime", "multiplicity")
TANH = ff.mlp([64, 80, 80, 3], "tanh")
DEEP = ff.mlp([100] * 7 + [1])
BARE = ff.mlp([100] * 7 + [1], batch_norm=False)


def points(axes):
    """(place, what it has of each axis) in the order of a scan."""
    for place in np.ndindex(*(len(values) for values in axes.values())):
        yield place, {name: values[at] for (name, values), at in zip(axes.items(), place, strict=True)}


def at_point(net, varied):
    """The network of a point, and what is assumed of the data there."""
    data = {name: value for name, value in varied.items() if name in ("samples", "overlap", "length")}
    changed = {name: value for name, value in varied.items() if name not in (*data, "momentum", "width")}
    if "width" in varied:
        net = net.with_widths([varied["width"]] * (net.depth - 1))
    return net.replace(**changed), data


def same(x, y):
    """Two recursions of a few roundings a layer."""
    assert x == pytest.approx(y, rel=1e-13)


CASES = [
    (TANH, {"gamma": [0.5, 2.0], "samples": [30, 100, None], "momentum": [0.0, 0.9]}, {}),
    (TANH, {"width": [40, 60], "samples": [80, None]}, {"theory": "frozen", "loss": "mse", "weight_decay": 0.1}),
    (DEEP, {"samples": [60, 100, 400], "gamma": [1.0, 0.5], "beta": [0.0, 0.3]}, {}),
    (BARE, {"sigma_w2": [0.5, 1.0, 2.0], "sigma_b2": [0.0, 0.5]}, {}),
    (ff.mlp([60, 60, 60, 1], norm="layer"), {"samples": [60, None]}, {}),
]


@pytest.mark.parametrize(("net", "axes", "keywords"), CASES)
def test_every_point_is_that_of_its_network(net, axes, keywords):
    """With the edge; without it too, and there the status says ok where the edge would change nothing."""
    solved = ff.scan(net, axes, BY_EDGE, edge=True, **keywords)
    plain = ff.scan(net, axes, BY_EDGE, **keywords)
    assert (solved.status == 0).all()
    assert np.isin(plain.status, (0, OPEN)).all()
    of_rates = {name: keywords[name] for name in ("loss", "weight_decay") if name in keywords}
    theory = keywords.get("theory", "exact")
    for place, varied in points(axes):
        network, data = at_point(net, varied)
        for scan, edge in ((solved, True), (plain, False)):
            fisher = ff.fisher(network, theory, edge=edge, **data)
            rate = ff.max_learning_rate(network, varied.get("momentum", 0.0), theory, edge=edge, **data, **of_rates)
            same(scan.lambda_max[place], fisher.lambda_max)
            same(scan.max_learning_rate[place], float(rate))
            assert labels.REGIMES[int(scan.regime[place])] == fisher.regime
            assert scan.multiplicity[place] == fisher.multiplicity
        if plain.status[place] == 0:
            same(solved.lambda_max[place], plain.lambda_max[place])


def test_the_cases_have_every_regime_and_both_statuses():
    scans = [ff.scan(net, axes, BY_EDGE, edge=edge, **words) for net, axes, words in CASES for edge in (True, False)]
    assert {int(code) for scan in scans for code in np.unique(scan.regime)} == {0, 1, 2}
    assert {int(code) for scan in scans for code in np.unique(scan.status)} == {0, OPEN}
    assert OPEN in scans[1].failures()
    assert labels.STATUSES[OPEN] in repr(scans[1])
    assert "with the bulk's edge" in repr(scans[0])


def test_depth_and_activation_are_other_networks():
    axes = {"depth": [2, 4], "activation": ["tanh", "relu"], ("gamma", "samples"): [(0.5, 60), (1.0, 100), (1.0, 80)]}
    scan = ff.scan(TANH, axes, edge=True)
    for place in np.ndindex(2, 2, 3):
        depth, phi = axes["depth"][place[0]], axes["activation"][place[1]]
        gamma, samples = axes["gamma", "samples"][place[2]]
        net = ff.mlp([64, *[80] * (depth - 1), 3], phi, gamma=gamma)
        same(scan.lambda_max[place], ff.fisher(net, samples=samples).lambda_max)


def test_a_scan_of_one_point_has_its_edge():
    for axes in ({}, {"gamma": [1.0]}):
        scan = ff.scan(TANH, axes, ("lambda_max", "spread"), edge=True, samples=100)
        same(float(np.ravel(scan.lambda_max)[0]), ff.fisher(TANH, samples=100).lambda_max)
        assert np.isnan(scan.spread).all()  # the bulk rules
        assert (scan.status == 0).all()


def test_one_layers_own_number_counts_before_all_layers():
    axes = {"gamma": [0.5, 2.0], "layers[4].gamma": [1.0, 3.0]}
    scan = ff.scan(TANH, axes, edge=True, samples=100)
    for place, (one, other) in enumerate([(0.5, 1.0), (0.5, 3.0), (2.0, 1.0), (2.0, 3.0)]):
        net = TANH.replace(gamma=[one, other])
        same(scan.lambda_max.ravel()[place], ff.fisher(net, samples=100).lambda_max)


# ------------------------------------------------------------------------------------------------ what decides first

VALUES = {"sigma_w2": np.linspace(0.5, 3, 6), "sigma_b2": np.array([0.0, 0.1, 1.0])}


@pytest.mark.parametrize(
    ("net", "keywords"),
    [
        (BARE, {"samples": 200}),
        (BARE.replace(activation="leaky_relu(-0.5)"), {"samples": 100}),
        (DEEP, {"samples": 300}),
        (DEEP, {"theory": "frozen"}),
        (TANH, {"samples": 100}),
    ],
)
def test_statuses_are_those_of_the_reference_by_kernels_and_by_one_point_after_another(net, keywords):
    kernels = ff.scan(net, VALUES, ("lambda_max", "a"), **keywords)
    walker = ff.scan(net, VALUES, ("lambda_max", "multiplicity"), **keywords)
    slow = ff.reference.scan(net, VALUES, ("lambda_max", "a"), **keywords)
    np.testing.assert_array_equal(kernels.status, slow["status"])
    np.testing.assert_array_equal(walker.status, slow["status"])
    assert (ff.scan(net, VALUES, ("a", "q"), **keywords).status == 0).all()  # of which the edge changes nothing


@pytest.mark.parametrize("name", _core.simd_paths())
def test_every_instruction_set_marks_the_same_points(name, path):
    axes = {"sigma_w2": np.linspace(0.5, 3, 40), "sigma_b2": np.linspace(0.0, 0.3, 31)}
    walker = ff.scan(BARE, axes, ("lambda_max", "multiplicity"), samples=200)
    assert 100 < np.count_nonzero(walker.status) < 1140
    np.testing.assert_array_equal(ff.scan(BARE, axes, samples=200).status, walker.status)
    momenta = {**axes, "momentum": [0.0, 0.1, 0.5]}  # the recursion runs ahead of these
    ahead = ff.scan(BARE, momenta, samples=200).status
    np.testing.assert_array_equal(ahead, np.repeat(walker.status[:, :, None], 3, axis=2))


def marked(net, slots, settings, sharp):
    shape = np.broadcast_shapes(*(values.shape for _, _, values in slots))
    call = (net._compiled, settings, Descent(), list(shape), slots, ["lambda_max"], 1, None, ())
    return _core.scan(*call, 0.0, sharp)[1] == OPEN


def test_one_bound_for_all_points_lies_above_that_of_each():
    """Where kernels compute b alone; 300 networks, with how many points it leaves open beside those that are."""
    random = np.random.default_rng(1)
    coarse_points = sharp_points = 0
    for _ in range(300):
        depth = int(random.integers(2, 33))
        widths = [int(width) for width in 2 ** random.uniform(5.7, 10.5, depth)]
        widths = widths if random.random() < 0.5 else widths[:1] * depth
        one = float(np.exp(random.uniform(-1.5, 1.5)))
        sigma_w2 = one if random.random() < 0.8 else [float(x) for x in one * random.uniform(0.3, 3, depth)]
        phi = str(random.choice(["relu", "leaky_relu(0.1)", "leaky_relu(0.7)", "linear"]))
        net = ff.mlp([*widths, int(random.integers(1, 5))], phi, batch_norm=False, sigma_w2=sigma_w2)
        length = np.exp(random.uniform(-4, 4, 2))
        slots = [
            ("sigma_b2", -1, np.array([0.0, *10 ** random.uniform(-4, 1, 5)]).reshape(-1, 1, 1)),
            ("overlap", -1, np.array([0.0, random.uniform(0, length.min())]).reshape(1, -1, 1)),
            ("length", -1, length.reshape(1, 1, -1)),
        ]
        settings = Settings("exact", None, 0.0, 1.0, bool(random.random() < 0.8))
        coarse, sharp = (marked(net, slots, settings, exactly) for exactly in (False, True))
        assert not (sharp & ~coarse).any(), (net, settings)
        coarse_points, sharp_points = coarse_points + coarse.sum(), sharp_points + sharp.sum()
    assert 1000 < sharp_points < coarse_points < 6000  # of 7200: it is of use


def test_nothing_is_solved_where_the_bound_decides(monkeypatch):
    monkeypatch.setattr(one_by_one, "rule_of", None)  # whose call would raise
    net = ff.mlp([784, 1000, 1000, 1000, 10])
    for network in (net, net.replace(batch_norm=False)):
        for samples in (None, 500):
            axes = {"sigma_w2": np.linspace(0.5, 4, 30), "sigma_b2": np.linspace(0, 1, 30)}
            one, two = (ff.scan(network, axes, samples=samples, edge=edge) for edge in (True, False))
            equal(one, two)
            assert (one.status == 0).all()


def test_what_was_not_solved_keeps_its_status(monkeypatch):
    monkeypatch.setattr(one_by_one, "rule_of", lambda *_: None)
    one, two = (ff.scan(TANH, {"gamma": [0.5, 1.0]}, samples=100, edge=edge) for edge in (True, False))
    equal(one, two)
    assert one.status.tolist() == [OPEN, OPEN]
    what = f"2 points: {labels.STATUSES[OPEN]}"
    assert f"{what} (its equations could not be solved)" in repr(one)  # edge=True was asked for
    assert f"{what} (edge=True does)" in repr(two)


# ----------------------------------------------------------------------------------------- threads, stores and workers

AXES = {"gamma": np.linspace(0.5, 2.0, 6), "samples": [60, 100, 200, None], "momentum": [0.0, 0.5]}
QUANTITIES = (*BY_EDGE, "shift", "spread", "q")


def test_threads_workers_and_chunks_make_no_difference(tmp_path):
    one = ff.scan(TANH, AXES, QUANTITIES, edge=True, threads=1)
    for threads in (2, 5):
        equal(one, ff.scan(TANH, AXES, QUANTITIES, edge=True, threads=threads))
    equal(one, ff.scan(TANH, AXES, QUANTITIES, edge=True, chunk=5))
    with ThreadPoolExecutor(2) as pool:
        equal(one, ff.scan(TANH, AXES, QUANTITIES, edge=True, chunk=7, client=pool))
    kept = ff.scan(TANH, AXES, QUANTITIES, edge=True, chunk=5, store=tmp_path / "s")
    equal(one, kept)
    again = ff.Scan.open(tmp_path / "s")
    assert again.settings["edge"] is True
    assert again.settings == one.settings
    assert again.to_xarray().attrs["edge"] == "True"
    assert ff.scan(TANH, AXES).settings["edge"] is False


def test_a_store_says_whether_edges_were_asked_for(tmp_path):
    ff.scan(TANH, AXES, store=tmp_path / "s")
    with pytest.raises(ValueError, match=r"differs in edge \('False' there, 'True' here\)"):
        ff.scan(TANH, AXES, store=tmp_path / "s", edge=True)


@pytest.mark.parametrize("threads", [1, 2])
def test_ctrl_c_in_a_chunk_that_is_solved_leaves_the_others(tmp_path, threads, monkeypatch):
    whole = ff.scan(TANH, AXES, edge=True, chunk=8, store=tmp_path / "whole")
    alive = threading.active_count()

    def interrupt(done, total):
        if done > 16:
            raise KeyboardInterrupt

    solve = one_by_one.rule_of
    monkeypatch.setattr(one_by_one, "rule_of", lambda *of: (time.sleep(0.15), solve(*of))[1])  # longer than a report
    with pytest.raises(KeyboardInterrupt, match="scan stopped with 2 of 6 chunks finished"):
        ff.scan(TANH, AXES, edge=True, chunk=8, store=tmp_path / "s", progress=interrupt, threads=threads)
    monkeypatch.setattr(one_by_one, "rule_of", solve)
    assert threading.active_count() == alive
    heard = []
    again = ff.scan(
        TANH, AXES, edge=True, chunk=8, store=tmp_path / "s", progress=lambda *at: heard.append(at), threads=threads
    )
    assert heard[0] == (16, 48)
    assert heard == sorted(heard)
    equal(whole, again)
    assert digests(tmp_path / "s") == digests(tmp_path / "whole")


def test_an_error_in_a_thread_is_raised_here():
    def work(number):
        if number == 3:
            raise OSError("one")
        return number

    for threads in (1, 2):
        with pytest.raises(OSError, match="one"):
            one_by_one.in_turn(work, 10, threads, lambda _: None)
        assert one_by_one.in_turn(lambda number: 2 * number, 10, threads, lambda _: None) == list(range(0, 20, 2))


def test_the_command_line_takes_both(tmp_path, fisherfield):
    TANH.save(tmp_path / "net.toml")
    out = tmp_path / "out.csv"
    words = ["scan", tmp_path / "net.toml", "--axis", "gamma=0.5,1", "--samples", "100", "--out", out]
    words += ["--quantity", "lambda_max", "--quantity", "regime", "--quantity", "spread"]
    code, printed, errors = fisherfield(*words, "--edge")
    assert code == 0, errors
    assert "with the bulk's edge" in " ".join(printed.split())
    assert "bulk 2" in printed
    rows = out.read_text().splitlines()
    assert rows[0] == "gamma,lambda_max,regime,spread,status"
    assert float(rows[2].split(",")[1]) == pytest.approx(ff.fisher(TANH, samples=100).lambda_max, rel=1e-13)
    code, printed, errors = fisherfield(*words, "--force")
    assert "2 points (kept): the bulk's edge, or one sample, may rule" in " ".join(printed.split())


# --------------------------------------------------------------------------------------------------- shift and spread


@pytest.mark.parametrize("edge", [True, False])
@pytest.mark.parametrize(
    ("net", "axes"),
    [
        (ff.mlp([100, 128, 128, 2]), {"sigma_w2": [0.5, 2.0], "samples": [60, 300, None], "gamma": [0.1, 1.0]}),
        (BARE, {"sigma_w2": [0.5, 2.0], "samples": [60, None], "momentum": [0.0, 0.9]}),
        (ff.convnet((1, 8, 8), [30, 30], 2, batch_norm=False), {"sigma_w2": [0.5, 2.0]}),
    ],
)
def test_shift_and_spread_are_those_of_each_network(net, axes, edge):
    scan = ff.scan(net, axes, ("spread", "shift"), edge=edge)
    assert list(scan.arrays) == ["spread", "shift"]
    known = 0
    for place, varied in points(axes):
        network, data = at_point(net, varied)
        fisher = ff.fisher(network, edge=edge, **data)
        for name in ("shift", "spread"):
            value = getattr(fisher, name)
            known += value is not None
            # the same call of the same network
            assert scan[name][place] == value if value is not None else np.isnan(scan[name][place])
    assert known > 1
