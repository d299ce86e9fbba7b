# SPDX-License-Identifier: BSD-3-Clause
"""Training beside theory: the boundary on a quadratic, on digits, and what is refused."""

from __future__ import annotations

import contextlib
import json
import math
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import fisherfield as ff
from fisherfield.training.boundary import bisection
from fisherfield.training.recipe import threshold_of

torch = pytest.importorskip("torch")
pytest.importorskip("sklearn")

boundary = ff.experiments.boundary
LINE = ff.Network(5, [ff.Dense(1)])
SMALL = ff.mlp([64, 64, 64, 10])


def line(outputs=1):
    """A linear network's data: the loss is a quadratic, and its Hessian known."""
    random = np.random.default_rng(3)
    x = random.standard_normal((100, 5)) * [1, 2, 0.5, 1.5, 1]
    return (x, random.standard_normal((100, outputs))), np.linalg.eigvalsh(extended(x).T @ extended(x) / 100)[-1]


def extended(x):
    """With the inputs of the biases."""
    return np.hstack([x, np.ones((len(x), 1))])


# ------------------------------------------------------------------------------------------------------------- boundary


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9, 0.99])
def test_on_a_quadratic_the_boundary_is_two_times_one_plus_mu_over_lambda(momentum):
    data, largest = line()
    result = boundary(LINE, data, momentum, batch="full", epochs=500, standardize=None)
    known = 2 * (1 + momentum) / largest
    assert result.measured[0] == pytest.approx(known, rel=1e-4)  # Lanczos' tolerance
    assert result.eta_c[0] == pytest.approx(known, rel=0.02)  # what is promised
    assert result.ratios["measured"][0] == pytest.approx(1.0, rel=0.02)


@pytest.mark.parametrize(
    ("momentum", "nesterov", "decay"), [(0.9, True, 0.0), (0.5, True, 0.7), (0.9, False, 0.7), (0.0, True, 0.7)]
)
def test_on_a_quadratic_nesterov_and_weight_decay_have_the_boundary_that_theory_gives_them(momentum, nesterov, decay):
    data, largest = line()
    recipe = {"batch": "full", "epochs": 500, "standardize": None, "nesterov": nesterov, "weight_decay": decay}
    result = boundary(LINE, data, momentum, **recipe)
    known = 2 * (1 + momentum) / (1 + 2 * momentum * nesterov) / (largest + decay)
    assert result.measured[0] == pytest.approx(known, rel=1e-4)  # Lanczos' tolerance
    assert result.eta_c[0] == pytest.approx(known, rel=0.02)  # what is promised
    assert (result.settings["nesterov"], result.settings["weight_decay"]) == (nesterov, decay)
    words = [f"momentum {momentum:g}", *(["Nesterov"] if nesterov else []), *(["weight decay 0.7"] if decay else [])]
    assert f"loss sum, {', '.join(words)},\n" in repr(result)
    assert result.eta_star["exact"] == result.eta_star_all["exact"]  # a step has them all
    theory = ff.max_learning_rate(
        *(LINE, momentum, "exact", 100),
        **{name: result.settings[name] for name in ("overlap", "length", "nesterov", "weight_decay")},
    )
    assert result.eta_star["exact"] == theory


@pytest.mark.parametrize(("batch", "epochs"), [("full", 60), (60, 30)])
def test_a_boundary_stands_beside_the_outlier_where_another_rule_is_lambda_max(batch, epochs):
    net = ff.mlp([64, 60, 60, 10], "tanh")
    result = boundary(net, "digits", batch=batch, epochs=epochs, samples=120)
    assert np.isfinite(result.eta_c).all()
    overlap, length = (result.settings[name] for name in ("overlap", "length"))
    n = 120 if batch == "full" else batch
    rate = ff.max_learning_rate(net, 0.9, "exact", n, overlap, length)
    assert rate < 0.9 * rate.outlier_limit
    assert result.ratios["exact"][0] == result.eta_c[0] / rate
    assert result.ratios_outlier["exact"][0] == result.eta_c[0] / rate.outlier_limit
    assert result.ratios_outlier["wei2019"][0] == result.ratios["wei2019"][0]  # which has no edge
    lines = [line.split() for line in repr(result).splitlines()]
    row = next(place for place, words in enumerate(lines) if words[0] == "exact")
    assert lines[row][1] == f"{float(rate):.5g}"
    assert lines[row + 1][:3] == ["outlier", f"{rate.outlier_limit:.5g}", f"{result.ratios_outlier['exact'][0]:.4g}"]
    assert len(lines[row + 1]) == (3 if batch == "full" else 5)
    if batch != "full":
        at_all = result.eta_star_all["exact"].outlier_limit
        assert lines[row + 1][3:] == [f"{at_all:.5g}", f"{result.eta_c[0] / at_all:.4g}"]
    below = next(place for place, words in enumerate(lines) if words[0] == "wei2019")
    assert lines[below + 1][0] == "F"


def test_a_boundary_stands_beside_the_theories_at_a_batch_and_at_all_samples():
    result = boundary(SMALL, "digits", batch=8, epochs=1, samples=200)
    overlap, length = (result.settings[name] for name in ("overlap", "length"))
    for theory in ("exact", "frozen"):
        at_batch, at_all = (ff.max_learning_rate(SMALL, 0.9, theory, n, overlap, length) for n in (8, 200))
        assert (result.eta_star[theory], result.eta_star_all[theory]) == (at_batch, at_all)
        assert result.ratios[theory][0] == result.eta_c[0] / at_batch
        assert result.ratios_all[theory][0] == result.eta_c[0] / at_all
    assert result.eta_star["exact"] < 0.9 * result.eta_star_all["exact"]  # BatchNorm takes the mean of eight
    assert list(result.eta_star_all) == ["exact", "frozen", "wei2019"]
    lines = repr(result).splitlines()
    assert lines[3].split() == ["eta_star", "of", "n", "=", "8", "eta_c/eta_star", "n", "=", "200", "eta_c/eta_star"]
    assert len(lines[4].split()) == 5
    assert len(lines[-1].split()) == 4  # F measured has no such number
    assert max(map(len, lines)) <= 130


@pytest.mark.parametrize(("loss", "factor"), [("sum", 1.0), ("mean", 1 / 3), ("mse", 2 / 3)])
def test_every_squared_loss_has_its_own_boundary(loss, factor):
    data, largest = line(outputs=3)
    result = boundary(ff.Network(5, [ff.Dense(3)]), data, loss=loss, batch="full", epochs=500, standardize=None)
    assert result.eta_c[0] == pytest.approx(3.8 / (factor * largest), rel=0.02)


def test_the_threshold_leaves_room_for_what_overshoots_and_comes_back():
    data, largest = line()
    arguments = {"batch": "full", "epochs": 500, "standardize": None}
    stable = boundary(LINE, data, **arguments)
    tight = boundary(LINE, data, threshold=2.0, **arguments)
    assert tight.eta_c[0] < 0.9 * 3.8 / largest < stable.eta_c[0]
    # from rest, at the boundary: x_{t+1} = (1 + mu - x) x_t - mu x_{t-1} with x = 2 (1 + mu)
    for mu in (0.0, 0.5, 0.9, 0.99):
        before = now = 1.0
        most = 0.0
        for _ in range(3000):
            before, now = now, (1 + mu - 2 * (1 + mu)) * now - mu * before
            most = max(most, now * now)
        assert most == pytest.approx(((1 + mu) / (1 - mu)) ** 2, rel=1e-9)
        assert threshold_of(mu) > 2.7 * most
        # Nesterov's: theta_1 = theta_0 - eta (1 + mu) lambda theta_0, then docs/theory.md, section 2
        step = 2 * (1 + mu) / (1 + 2 * mu)
        before, now = 1.0, 1 - (1 + mu) * step
        for _ in range(3000):
            before, now = now, (1 - step) * ((1 + mu) * now - mu * before)
        assert abs(now) == pytest.approx((1 + mu) * (1 + 2 * mu) / (1 + 3 * mu), rel=1e-9)
    assert threshold_of(0.9) == 1000.0
    assert stable.settings["threshold"] == 1000.0


@pytest.mark.parametrize("known", [1e-3, 0.02, 0.7, 1.0, 1.4, 30.0, 99.0])
@pytest.mark.parametrize("tolerance", [0.02, 1e-3])
def test_bisection_finds_a_boundary_wherever_it_lies(known, tolerance):
    tried = []

    def explodes(eta):
        tried.append(eta)
        return eta >= known

    low, high = bisection(explodes, 0.5, tolerance, 0.5 / 1000, 500.0)
    assert low < known <= high <= low * (1 + tolerance)
    assert len(tried) <= 3 + 9 + math.log2(1 / tolerance)
    assert all(0.5 / 1000 <= eta <= 500 for eta in tried)


def test_no_boundary_is_infinite_and_no_stable_rate_is_zero():
    assert bisection(lambda eta: False, 0.1, 0.02, 1e-3, 10.0) == (10.0, math.inf)
    assert bisection(lambda eta: True, 0.1, 0.02, 1e-3, 10.0) == (0.0, 1e-3)
    data, _ = line()
    assert boundary(LINE, data, batch="full", epochs=1, standardize=None, reach=2).eta_c[0] == math.inf
    # without momentum no mode of a quadratic rises below 2/lambda, and the largest does above it: no room is needed
    tight = boundary(LINE, data, 0.0, batch="full", epochs=500, standardize=None, threshold=1.0)
    assert tight.ratios["measured"][0] == pytest.approx(1.0, rel=0.02)


def test_digits_explode_where_the_exact_theory_says():
    net = ff.mlp([64, 256, 256, 256, 10])
    result = boundary(net, "digits", seeds=2, threads=1)
    for gamma, each in ((1.0, result), (4.0, boundary(net.replace(gamma=4.0), "digits", threads=1))):
        assert each.network.batch_norms[0].gamma == gamma
        # docs/experiments.md: 1.03 to 1.05, and 1.44 to 1.79 of the published theory
        assert 0.95 < each.ratios["exact"].min() <= each.ratios["exact"].max() < 1.15
        assert 1.3 < each.ratios["wei2019"].min() <= each.ratios["wei2019"].max() < 2
    assert result.eta_star["exact"] == pytest.approx(0.0895, rel=1e-2)
    text = repr(result)
    assert "digits, standardised as a whole" in text
    assert "batches of 128 of 1437 samples, 5 epochs, gamma and beta fixed" in text
    assert text.splitlines()[-1].split()[:2] == ["F", "measured"]
    assert max(map(len, text.splitlines())) <= 130


def test_the_same_seeds_give_the_same_numbers_here_and_elsewhere(threads):
    threads(1)
    arguments = {"batch": 100, "epochs": 1, "seeds": (4, 2), "samples": 500, "threads": 1}
    once, heard = boundary(SMALL, "digits", **arguments), []
    with ThreadPoolExecutor(1) as client:
        again = boundary(
            SMALL, "digits", client=client, progress=lambda done, total: heard.append((done, total)), **arguments
        )
    np.testing.assert_array_equal(once.eta_c, again.eta_c)
    np.testing.assert_allclose(once.measured, again.measured, rtol=1e-6)  # sums of float32 in BLAS
    assert once.seeds == (4, 2)
    assert heard == [(0, 2), (1, 2), (2, 2)]
    assert boundary(SMALL, "digits", **{**arguments, "seeds": (2,)}).eta_c[0] == once.eta_c[1]


def test_a_search_that_was_killed_goes_on_with_the_next_seed(threads, tmp_path):
    pytest.importorskip("zarr")
    threads(1)
    store, heard = tmp_path / "boundary.zarr", []
    arguments = {"batch": 100, "epochs": 1, "seeds": (2**62, 2, 3), "samples": 300, "threads": 1}
    code = (
        "import os, sys, fisherfield as ff\n"
        "def end(done, total):\n"
        "    if done == 1: os._exit(9)\n"  # at once, with nothing put in order
        f"ff.experiments.boundary(ff.mlp([64, 64, 64, 10]), 'digits', store=sys.argv[1], progress=end, **{arguments!r})"
    )
    environment = {**os.environ, "FISHERFIELD_NUM_THREADS": "1"}
    assert subprocess.run([sys.executable, "-c", code, str(store)], env=environment).returncode == 9
    resumed = boundary(
        SMALL, "digits", store=store, progress=lambda done, total: heard.append((done, total)), **arguments
    )
    assert heard == [(1, 3), (2, 3), (3, 3)]
    unbroken = boundary(SMALL, "digits", **arguments)
    np.testing.assert_array_equal(resumed.eta_c, unbroken.eta_c)
    there = ff.Scan.open(store)
    np.testing.assert_array_equal(there.eta_c[...], resumed.eta_c)
    assert (there.settings["tolerance"], there.settings["reach"]) == (0.02, 100.0)
    assert there.settings["seeds"] == f"{2**62} 2 3"
    with pytest.raises(ValueError, match="differs in tolerance"):
        boundary(SMALL, "digits", store=store, tolerance=0.01, **arguments)
    path = store / "eta_c" / "c" / "1"  # a seed whose number is damaged is searched again
    path.write_bytes(path.read_bytes()[:-5] + b"wrong")
    with pytest.raises(ValueError, match="is damaged, eta_c/c/1 does not have the checksum that it was written with"):
        there.eta_c[...]
    heard.clear()
    with pytest.warns(UserWarning, match=r"was damaged in eta_c/c/1, which is computed again now$"):
        again = boundary(SMALL, "digits", store=store, progress=lambda done, _: heard.append(done), **arguments)
    assert heard == [2, 3]
    np.testing.assert_array_equal(again.eta_c, unbroken.eta_c)


def test_what_explodes_late_is_found_below_what_explodes_early():
    def explodes(eta):  # of the whole training, which stands less than its first fifth
        return eta >= 1.0

    low, high = bisection(lambda eta: eta >= 1.5, 1.0, 0.02, 0.01, 100.0)
    low, high = bisection(explodes, low, 0.02, 0.01, 100.0, high / low)
    assert low < 1.0 <= high <= 1.02 * low
    data, largest = line()
    short, long = (
        boundary(LINE, data, 0.0, batch="full", epochs=epochs, standardize=None, tolerance=1e-3) for epochs in (20, 500)
    )
    assert long.eta_c[0] < 0.97 * short.eta_c[0]  # beyond the boundary growth is slow without momentum
    assert long.eta_c[0] == pytest.approx(2 / largest, rel=0.01)


def test_what_is_trained_and_what_is_left_of_the_theories():
    arguments = {"batch": 128, "epochs": 1, "samples": 300}
    fixed = boundary(SMALL, "digits", **arguments)
    trained = boundary(SMALL, "digits", train_affine=True, **arguments)
    assert (fixed.settings["trained"], trained.settings["trained"]) == (False, True)
    assert trained.eta_star["exact"] < fixed.eta_star["exact"]
    assert boundary(SMALL.replace(trained=True), "digits", **arguments).settings["trained"] is True
    image = ff.Network(
        (1, 8, 8),
        [
            ff.Conv2d(6, padding=1),
            ff.BatchNorm(),
            ff.Activation("relu"),
            ff.GlobalAvgPool2d(),
            ff.Flatten(),
            ff.Dense(10),
        ],
    )
    pooled = boundary(image, "digits", loss="cross_entropy", batch="full", epochs=3, reach=2, samples=64)
    assert list(pooled.eta_star) == ["exact", "frozen", "measured"]
    assert "full batches of 64 samples, 3 epochs" in repr(pooled)
    vanilla = boundary(SMALL.replace(batch_norm=False), "digits", **arguments)
    assert "no BatchNorm" in repr(vanilla)


def test_data_that_are_loaded_and_arrays_are_the_same():
    arguments = {"batch": "full", "epochs": 2, "reach": 2.0}
    loaded = ff.data.load("digits", samples=40)
    by_name = boundary(SMALL, "digits", samples=40, **arguments)
    of_data = boundary(SMALL, loaded, **arguments)
    arrays = boundary(SMALL, (loaded.x, loaded.y), standardize=None, **arguments)
    for each in (of_data, arrays):
        assert by_name.measured[0] == pytest.approx(each.measured[0], rel=1e-6)  # sums of float32 in BLAS


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch": 0}, "batch must be a whole number >= 2, got 0"),
        ({"batch": "all"}, "batch must be one of full, got 'all'"),
        ({"batch": 301, "samples": 300}, "batch must be at most 300, the number of samples, got 301"),
        ({"epochs": 0}, "epochs must be a whole number >= 1, got 0"),
        ({"momentum": 1.0}, r"momentum must be in \[0, 1\), got 1.0"),
        ({"loss": "hinge"}, "loss must be one of"),
        ({"standardize": "none"}, "standardize must be one of global, feature"),
        ({"threshold": 0.5}, "threshold must be from 1 to 1e.30, got 0.5"),
        ({"tolerance": 0.0}, "tolerance must be from 0.0001 to 0.5, got 0.0"),
        ({"reach": 1.0}, "reach must be from 2 to 1e.06, got 1.0"),
        ({"seeds": ()}, "seeds must be a number of seeds"),
        ({"dtype": "float16"}, "dtype must be float32 or float64"),
        ({"net": ff.mlp([64, 8, 8], batch_norm=False), "train_affine": True}, "train_affine must be False or None"),
        ({"net": ff.mlp([64, 8, 8])}, "net must have an output for each of 10 classes of digits, got 8"),
        ({"net": ff.mlp([63, 8, 10])}, r"data must have samples of 63 features, .* got 64 \(1, 8, 8\)"),
        ({"data": np.zeros((20, 64)) + np.eye(20, 64)}, "data must have labels to train for"),
        ({"data": (np.eye(20, 64), np.zeros((20, 3)))}, r"targets of shape \(20, 10\), got \(20, 3\)"),
        ({"data": "digit"}, r"did you mean 'digits'"),
    ],
)
def test_what_does_not_fit_is_refused(arguments, message):
    keywords = {"net": SMALL, "data": "digits", **arguments}
    with pytest.raises((ValueError, TypeError, FileNotFoundError), match=message):
        boundary(keywords.pop("net"), keywords.pop("data"), **keywords)


def test_loaded_data_stay_as_they_were_standardised():
    loaded = ff.data.load("digits", "feature", samples=40)
    result = boundary(SMALL, loaded, batch="full", epochs=1, reach=2.0)
    assert result.settings["standardize"] == "feature"
    with pytest.raises(ValueError, match="standardize must be 'feature', as the data were loaded with, got None"):
        boundary(SMALL, loaded, standardize=None)


def test_what_has_changed_on_disk_is_read_again(tmp_path, monkeypatch):
    x, y = np.random.default_rng(0).standard_normal((300, 64)), np.arange(300) % 10
    monkeypatch.chdir(tmp_path)
    arguments = {"epochs": 1, "batch": "full", "reach": 2.0}
    np.savez("some.npz", x=x[:100], y=y[:100])
    first = boundary(SMALL, "some.npz", **arguments)
    np.savez("some.npz", x=x, y=y)
    second = boundary(SMALL, "some.npz", **arguments)
    assert (first.settings["n"], second.settings["n"]) == (100, 300)
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    np.savez("some.npz", x=x[:50], y=y[:50])
    assert boundary(SMALL, "some.npz", **arguments).settings["n"] == 50


def test_a_search_without_an_end_says_so():
    data, _ = line()
    arguments = {"batch": "full", "epochs": 1, "standardize": None, "reach": 2.0, "seeds": 2}
    text = repr(boundary(LINE, data, **arguments))
    assert "eta_c none, to 2 %" in text
    assert text.endswith("none: training was stable at all rates, up to 2 times eta_star of F measured")
    assert "eta_c inf" not in text


# -------------------------------------------------------------------------------------------------------- phase diagram

phase_diagram = ff.experiments.phase_diagram
GRID = {"gammas": [0.5, 4.0], "learning_rates": [0.003, 0.1, 3.0]}
CELLS = {**GRID, "epochs": 2, "seeds": 2, "threads": 1, "samples": 400}
TINY = ff.mlp([64, 32, 32, 10])


@pytest.fixture(scope="module")
def unbroken():
    return phase_diagram(TINY, "digits", **CELLS)


def same(first, second):
    assert list(first.arrays) == list(second.arrays)
    for name in (*first.arrays, "status"):
        np.testing.assert_array_equal(np.asarray(first[name][...]), np.asarray(second[name][...]), err_msg=name)
    assert (first.settings, first.network) == (second.settings, second.network)


def test_a_phase_diagram_says_where_training_ends_well_and_where_it_explodes(unbroken):
    assert unbroken.shape == (2, 3)
    assert list(unbroken.arrays) == ["train_loss", "test_loss", "train_accuracy", "test_accuracy", "exploded"]
    np.testing.assert_array_equal(unbroken.status, [[0, 0, 7], [0, 7, 7]])
    np.testing.assert_array_equal(unbroken.exploded, np.where(unbroken.status, 1.0, 0.0))
    assert np.isnan(unbroken.test_loss[unbroken.status == 7]).all()
    assert unbroken.train_loss[0, 1] < unbroken.train_loss[0, 0]
    assert 0.1 < unbroken.test_accuracy[0, 1] <= 1  # of ten classes, after six steps
    text = repr(unbroken)
    assert "training on digits, loss sum, momentum 0.9, batch 128, 2 epochs, seeds 0 1" in text
    assert "3 points: training exploded in every restart" in text


def test_a_cell_is_what_pytorch_s_own_loop_gives(unbroken):
    train, test = ff.data.load("digits", samples=400), ff.data.load("digits", None, split="test")
    tested = torch.from_numpy((test.flat - train.mean) / train.scale).float()
    x, y = torch.from_numpy(train.flat).float(), torch.from_numpy(train.one_hot()).float()
    losses = []
    for seed in (0, 1):
        model = ff.torch.module(TINY.replace(gamma=0.5), seed, "float32")
        descent = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1, momentum=0.9)
        random = ff._random.stream(seed, "batches")
        for _ in range(2):
            order = torch.from_numpy(random.permutation(400))
            for part in (order[:128], order[128:256], order[256:384]):
                descent.zero_grad()
                (0.5 * (model(x[part]) - y[part]).square().sum(dim=1).mean()).backward()
                descent.step()
        for layer in model:
            if isinstance(layer, torch.nn.BatchNorm1d):
                layer.reset_running_stats()
                layer.momentum = 1.0
        with torch.no_grad():
            model(x)
            result = model.eval()(tested)
        losses.append(float(0.5 * (result - torch.from_numpy(test.one_hot())).square().sum(dim=1).mean()))
    assert unbroken.test_loss[0, 1] == pytest.approx(np.mean(losses), rel=1e-4)  # float32


def test_the_order_of_the_samples_in_a_file_does_not_change_what_is_measured():
    from fisherfield.training import descent

    data = ff.data.load("digits")  # 1437: two blocks of statistics
    losses = []
    for order in (np.arange(len(data)), np.argsort(data.y, kind="stable")):
        recipe = descent.Recipe((data.x[order], data.y[order]), None, None, batch=128)
        module = ff.torch.module(TINY, 0, "float32")
        losses.append(descent.measures(module, recipe, descent.loaded(recipe, TINY))[0].loss)
    assert losses[1] == pytest.approx(losses[0], rel=2e-3)  # which samples share a block; 0.03 where some were left out


def test_test_samples_are_standardised_as_the_training_samples_are():
    from fisherfield.training import descent

    recipe = descent.Recipe("digits", "feature", 100)
    train, test = (descent.dataset_of(recipe, split) for split in ("train", "test"))
    raw = ff.data.load("digits", None, split="test").flat
    np.testing.assert_allclose(test.x.numpy(), (raw - train.mean.ravel()) / train.scale.ravel(), rtol=1e-6)
    assert test.mean is train.mean


def test_a_folder_without_a_test_split_is_trained_on(tmp_path):
    images, labels = np.arange(40 * 64, dtype=np.uint8).reshape(40, 8, 8), (np.arange(40) % 10).astype(np.uint8)
    for name, array in (("train-images-idx3-ubyte", images), ("train-labels-idx1-ubyte", labels)):
        sizes = b"".join(extent.to_bytes(4, "big") for extent in array.shape)
        (tmp_path / name).write_bytes(bytes([0, 0, 8, array.ndim]) + sizes + array.tobytes())
    result = phase_diagram(TINY, tmp_path, [1.0], [0.01], batch="full", epochs=1)
    assert list(result.arrays) == ["train_loss", "train_accuracy", "exploded"]
    assert result.settings["n"] == 40


def test_killed_and_resumed_equals_unbroken(unbroken, tmp_path):
    pytest.importorskip("zarr")
    store, heard = tmp_path / "diagram.zarr", []
    code = (
        "import os, sys, fisherfield as ff\n"
        "net = ff.mlp([64, 32, 32, 10])\n"
        "def end(done, total):\n"
        "    if done == 4: os._exit(9)\n"  # at once, with nothing put in order
        f"ff.experiments.phase_diagram(net, 'digits', store=sys.argv[1], progress=end, **{CELLS!r})\n"
    )
    assert subprocess.run([sys.executable, "-c", code, str(store)]).returncode == 9
    broken = ff.Scan.open(store)
    assert 3 <= np.count_nonzero(np.asarray(broken.status[...]) != -1) < 6
    resumed = phase_diagram(
        TINY, "digits", store=store, progress=lambda done, total: heard.append((done, total)), **CELLS
    )
    assert heard[0][0] >= 3
    assert heard[-1] == (6, 6)
    same(resumed, unbroken)
    same(ff.Scan.open(store), unbroken)
    with pytest.raises(ValueError, match=r"store must belong to the same scan, .* differs in seeds"):
        phase_diagram(TINY, "digits", store=store, **{**CELLS, "seeds": 3})
    loaded = ff.data.load("digits", samples=400)
    arrays, again = tmp_path / "arrays.zarr", {**CELLS, "samples": None, "standardize": None, "epochs": 1}
    phase_diagram(TINY, (loaded.x, loaded.y), store=arrays, **again)
    with pytest.raises(ValueError, match="differs in checksum"):
        phase_diagram(TINY, (loaded.x, np.roll(loaded.y, 1)), store=arrays, **again)


def test_workers_give_the_same_numbers(unbroken, tmp_path):
    pytest.importorskip("zarr")
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as client:
        same(phase_diagram(TINY, "digits", client=client, chunk=3, **CELLS), unbroken)
        same(phase_diagram(TINY, "digits", client=client, store=tmp_path / "one.zarr", **CELLS), unbroken)


def test_a_phase_diagram_is_drawn_and_written_as_scans_are(unbroken, tmp_path):
    for part in ("xarray", "h5netcdf", "matplotlib"):
        pytest.importorskip(part)
    unbroken.to_xarray().to_netcdf(tmp_path / "diagram.nc", engine="h5netcdf")
    same(ff.Scan.open(tmp_path / "diagram.nc"), unbroken)
    figure = unbroken.plot("test_loss")
    assert figure.axes[0].get_title().startswith("training on digits, loss sum, momentum 0.9")
    assert list(unbroken.to_pandas().columns)[-2:] == ["exploded", "status"]


def test_one_axis_and_data_without_labels_or_test_split():
    data, largest = line()
    result = phase_diagram(
        LINE, data, None, np.array([0.5, 1.2]) * 3.8 / largest, batch="full", epochs=300, standardize=None
    )
    assert list(result.arrays) == ["train_loss", "train_accuracy", "exploded"]
    assert result.dimensions == {"learning_rate": ("learning_rate",)}
    solved = np.linalg.lstsq(extended(data[0]), data[1], rcond=None)[1][0] / 200
    assert result.train_loss[0] == pytest.approx(solved, rel=1e-5)  # float32
    assert np.isnan(result.train_accuracy).all()
    np.testing.assert_array_equal(result.status, [0, 7])
    assert result.settings["batch"] is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"gammas": [math.inf]}, "axis gamma must be finite"),
        ({"net": TINY.replace(batch_norm=False)}, "gammas must be None for a network without BatchNorm"),
        ({"learning_rates": [0.1, 0.0]}, "learning_rates must be finite and > 0, got 0.0"),
        ({"learning_rates": []}, "learning_rates must be one value or more in one dimension"),
        ({"learning_rates": "0.1"}, "learning_rates must be a number or an array of numbers"),
        ({"chunk": 0}, "chunk must be a whole number >= 1, got 0"),
        ({"client": 3}, "client must be"),
    ],
)
def test_axes_that_do_not_fit_are_refused(arguments, message):
    keywords = {"net": TINY, **CELLS, **arguments}
    with pytest.raises((ValueError, TypeError), match=message):
        phase_diagram(keywords.pop("net"), "digits", **keywords)


# ------------------------------------------------------------------------------------------------------------- figure 2


def test_figure_2_on_the_command_line_is_trained_written_and_drawn_again(fisherfield, tmp_path, monkeypatch):
    for part in ("matplotlib", "zarr"):
        pytest.importorskip(part)
    monkeypatch.chdir(tmp_path)
    options = ["--samples", 200, "--batch", 64, "--epochs", 1, "--rates", 3, "--width", 16, "--seeds", 1]
    options += ["--gammas", 5, "--workers", 1, "--store", "runs"]
    code, output, errors = fisherfield("experiment", "figure2", *options)
    assert (code, errors) == (0, "")
    assert "Dense: 64 inputs, 3 x 16 units" in output
    assert "Convolutional: 1 x 8 x 8, channels 30, 60" in output
    assert output.endswith("figure2.png and figure2.json written\n")
    assert (tmp_path / "figure2.png").read_bytes()[:4] == b"\x89PNG"
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == [
        *("convolutional.zarr", "convolutional_boundaries.zarr"),
        *("dense.zarr", "dense_boundaries.zarr"),
    ]
    code, _, errors = fisherfield("experiment", "figure2", *options)
    assert code == 2
    assert "draw them with --redraw figure2.json" in errors
    code, output, errors = fisherfield(
        "experiment", "figure2", "--redraw", "figure2.json", "--quantity", "train_loss", "--out", "again.svg"
    )
    assert (code, errors) == (0, "")
    assert output.endswith("again.svg written\n")
    result = ff.experiments.Figure2.open("figure2.json")
    [dense, images] = result.panels
    assert result.panels[dense].arrays["test_loss"].shape == (5, 3)
    assert result.panels[images].eta_c.shape == (5, 1)
    diagram = ff.Scan.open("runs/dense.zarr")
    np.testing.assert_allclose(result.panels[dense].arrays["exploded"], diagram.exploded[...])
    np.testing.assert_allclose(result.panels[dense].arrays["test_loss"], diagram.test_loss[...], rtol=1e-4)  # 5 digits
    figure = result.plot("test_accuracy")
    assert [axes.get_title() for axes in figure.axes[:2]] == [dense, images]
    assert "standardised as a whole" in figure._supxlabel.get_text()
    with pytest.raises(ValueError, match="quantity must be one of train_loss, test_loss, "):
        result.plot("loss")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--batch", "many"], "--batch must be a whole number or full, got 'many'"),
        (["--out", "figure2.txt"], "--out must end in .png, .pdf, .svg"),
        (["--out", "nowhere/figure2.png"], "--out must lie in an existing folder"),
        (["--redraw", "nothing.json"], "nothing.json: No such file or directory"),
        (["--redraw", "empty.json"], "empty.json must be what a Figure2 has saved"),
        (["--quantity", "loss"], "--quantity must be one of test_loss, train_loss, "),
        (["--gammas", "0"], "gammas must be a whole number >= 1, got 0"),
        (["--workers", "0"], "workers must be a whole number >= 1, got 0"),
        (["--data", "nowhere", "--workers", "1"], "nowhere"),
        (["--loss", "hinge", "--workers", "1"], "loss must be one of"),
    ],
)
def test_figure_2_refuses_what_does_not_fit(fisherfield, tmp_path, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.json").write_text("{}", encoding="utf-8")
    code, _, errors = fisherfield("experiment", "figure2", *options)
    assert code == 2
    assert message in errors
    assert len(errors.splitlines()) == 1


def test_data_without_a_test_split_are_drawn_by_their_training_loss():
    loaded = ff.data.load("digits", samples=100)
    small = {"networks": {"dense": TINY}, "gammas": [1.0], "rates": 2, "epochs": 1, "batch": "full", "seeds": 1}
    result = ff.experiments.figure2((loaded.x, loaded.y), **small)
    assert "loss of the training samples" in result.plot().axes[-1].get_ylabel()
    with pytest.raises(
        ValueError, match="quantity must be one of train_loss, train_accuracy, exploded, got 'test_loss'"
    ):
        result.plot("test_loss")


def test_stores_of_networks_do_not_meet_and_stay_in_the_folder(tmp_path):
    pytest.importorskip("zarr")
    small = {"gammas": [1.0], "rates": 2, "epochs": 1, "batch": "full", "samples": 40, "seeds": 1}
    networks = {"../up: a": TINY, "Dense: b": TINY, "Dense: c": SMALL}
    ff.experiments.figure2("digits", networks=networks, store=tmp_path / "runs", **small)
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == sorted(
        f"{word}{what}.zarr" for word in ("1_up", "2_dense", "3_dense") for what in ("", "_boundaries")
    )


def test_figures_that_are_kept_are_drawn_and_others_refused(tmp_path):
    docs = Path(__file__).parent.parent / "docs"
    for name in ("figure2", "figure2_fashion"):
        result = ff.experiments.Figure2.open(docs / f"{name}.json")
        result.save(tmp_path / "again.json")
        assert json.loads((tmp_path / "again.json").read_text()) == json.loads((docs / f"{name}.json").read_text())
        assert result.settings["seeds"] == "0 1 2"
        [dense, _] = result.panels
        ratios = result.panels[dense].eta_c / result.eta_star(dense)["exact"][:, None]
        assert 0.85 < ratios.min() <= ratios.max() < 1.15  # docs/experiments.md: 0.87 to 1.10
    content = json.loads((docs / "figure2.json").read_text())
    for change, message in (
        ({"panels": {}}, "without panels"),
        ({"settings": {**content["settings"], "seeds": "0"}}, "boundaries"),
        ({"settings": {"data": "digits"}}, "without n, standardize"),
    ):
        (tmp_path / "other.json").write_text(json.dumps({**content, **change}))
        with pytest.raises(ValueError, match=f"must be what a Figure2 has saved, and is not .*{message}"):
            ff.experiments.Figure2.open(tmp_path / "other.json")


def test_a_diagram_of_version_0_1_without_labels_is_finished_there(tmp_path):
    """Its accuracies are NaN throughout, which Zarr left out: nothing is missing. A loss that is gone is."""
    pytest.importorskip("zarr")
    from test_stores import without_checksums

    x = np.random.default_rng(0).standard_normal((40, 6))
    arguments = {"data": (x, x[:, :1]), "gammas": [1.0], "learning_rates": [1e-3, 2e-3], "batch": 10, "epochs": 1}
    net, heard = ff.mlp([6, 8, 1]), []
    result = phase_diagram(net, **arguments, threads=1, store=tmp_path / "new")
    assert np.isnan(result.train_accuracy[...]).all()
    old = without_checksums(tmp_path / "new", tmp_path / "old")
    assert not (old / "train_accuracy" / "c").exists()
    same(ff.Scan.open(old), result)
    arguments |= {"threads": 1, "store": old, "progress": lambda done, total: heard.append(done)}
    phase_diagram(net, **arguments)
    assert heard == [2]
    (old / "train_loss" / "c" / "0" / "1").unlink()
    assert ff.Scan.open(old).status[...].tolist() == [[0, -1]]
    with pytest.warns(UserWarning, match=r"was damaged in train_loss/c/0/1, which is computed again now$"):
        same(phase_diagram(net, **arguments), result)
    assert (heard[1], heard[-1]) == (1, 2)


def test_a_figure_s_file_with_a_flipped_bit_never_gives_other_numbers(tmp_path):
    kept = (Path(__file__).parent.parent / "docs" / "figure2.json").read_bytes()
    whole, dice, refused = json.loads(kept), random.Random(0), 0
    for _ in range(150):
        place = dice.randrange(8 * len(kept))
        changed = bytearray(kept)
        changed[place // 8] ^= 1 << place % 8
        (tmp_path / "flipped.json").write_bytes(changed)
        try:
            result = ff.experiments.Figure2.open(tmp_path / "flipped.json")
        except ValueError as error:
            refused += 1
            assert "must be what a Figure2 has saved, and is not" in str(error)
            continue
        result.save(tmp_path / "again.json")
        assert json.loads((tmp_path / "again.json").read_text()) == whole
    assert refused > 100
    del whole["checksum"]  # as version 0.1 wrote it
    (tmp_path / "old.json").write_text(json.dumps(whole))
    assert ff.experiments.Figure2.open(tmp_path / "old.json").settings == whole["settings"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"gammas": [-1.0, 1.0]}, "gammas must be > 0, each once"),
        ({"gammas": [1.0, 1.0]}, "gammas must be > 0, each once"),
        ({"networks": [TINY]}, "networks must be a mapping from titles to networks"),
        ({"threads": -1}, "threads must be a whole number >= 1, got -1"),
    ],
)
def test_figures_that_cannot_be_are_refused(arguments, message):
    with pytest.raises((ValueError, TypeError), match=message):
        ff.experiments.figure2(**arguments)


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_ctrl_c_does_not_wait_for_workers(tmp_path):
    for part in ("matplotlib", "zarr"):
        pytest.importorskip(part)
    command = [sys.executable, "-m", "fisherfield", "experiment", "figure2", "--epochs", "100000", "--gammas", "1"]
    command += ["--workers", "2", "--store", "runs", "--width", "16"]
    running = subprocess.Popen(
        command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, start_new_session=True, env={**os.environ}
    )
    try:
        for _ in range(600):
            if (tmp_path / "runs" / "dense_boundaries.zarr").is_dir():
                break
            time.sleep(0.1)
        time.sleep(5)  # the workers have begun what takes hours
        os.killpg(running.pid, signal.SIGINT)
        _, errors = running.communicate(timeout=60)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(running.pid, signal.SIGKILL)
    assert errors == "fisherfield: stopped before all was trained: the same command goes on from runs\n"


def test_maps_may_have_fewer_restarts_than_boundaries():
    small = {"networks": {"dense": TINY}, "gammas": [1.0, 4.0], "rates": 2, "epochs": 1, "samples": 200, "threads": 1}
    few = ff.experiments.figure2(seeds=2, restarts=1, **small)
    one = ff.experiments.figure2(seeds=1, **small)
    assert few.panels["dense"].eta_c.shape == (2, 2)
    np.testing.assert_array_equal(few.panels["dense"].eta_c[:, :1], one.panels["dense"].eta_c)
    for name, values in one.panels["dense"].arrays.items():
        np.testing.assert_array_equal(few.panels["dense"].arrays[name], values)
    assert "1 restart." in " ".join(few.plot()._supxlabel.get_text().split())
    assert "each of 2 seeds explodes" in " ".join(few.plot()._supxlabel.get_text().split())
    with pytest.raises(ValueError, match="restarts must be a whole number from 1 to 2, got 3"):
        ff.experiments.figure2(seeds=2, restarts=3, **small)


def test_figure_2_of_networks_without_batch_norm_is_refused():
    with pytest.raises(ValueError, match="networks must hold at least one, each with BatchNorm"):
        ff.experiments.figure2(networks={"vanilla": TINY.replace(batch_norm=False)})
