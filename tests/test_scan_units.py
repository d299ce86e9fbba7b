# SPDX-License-Identifier: BSD-3-Clause
"""Scans by sampled units."""

import warnings
from importlib import import_module

import numpy as np
import pytest

import fisherfield as ff
from fisherfield import reference

RELU = ff.Activation("relu")
POOLED = ff.Network(
    (2, 6, 6),
    [
        *(ff.Conv2d(16, padding=1), ff.BatchNorm(), RELU, ff.MaxPool2d(2)),
        *(ff.Conv2d(16, padding=1), ff.BatchNorm(), RELU, ff.Flatten(), ff.Dense(2)),
    ],
)
ALL = ("lambda_max", "bulk", "mean", "second_moment", "multiplicity", "parameters", "a", "b")


def test_every_point_is_fisher_by_the_same_units():
    axes = {"gamma": [0.5, 1.0, 2.0], "momentum": [0.0, 0.9]}
    wanted = (*ALL, "max_learning_rate", "regime", "q", "c", "contributions", "shift", "spread")
    scan = ff.scan(POOLED, axes, wanted, samples=20, units=128, seed=3)
    for row, gamma in enumerate(axes["gamma"]):
        net = POOLED.replace(gamma=gamma)
        out = ff.fisher(net, samples=20, units=128, seed=3)
        for name in ALL:
            assert (scan[name][row] == getattr(out, name)).all()
        rows = ff.order_parameters(net, samples=20, units=128, seed=3)
        assert (scan["q"][row, 1] == rows.q).all()
        assert (scan["c"][row, 0] == rows.c).all()
        assert (scan["part_b"][row, 0] == out.layers.b).all()
        for column, momentum in enumerate(axes["momentum"]):
            rate = ff.max_learning_rate(net, momentum, samples=20, units=128, seed=3)
            assert scan["max_learning_rate"][row, column] == float(rate)
    assert (scan.status == 0).all()
    assert np.isnan(scan["shift"]).all()  # no formula is known of max pooling
    assert "by 128 sampled units" in repr(scan)


def test_the_reference_scans_by_the_same_units():
    ours = ff.scan(POOLED, {"gamma": [0.5, 1.0]}, ("lambda_max", "contributions"), samples=8, units=64)
    slow = reference.scan(POOLED, {"gamma": [0.5, 1.0]}, ("lambda_max", "contributions"), samples=8, units=64)
    np.testing.assert_allclose(ours["lambda_max"], slow["lambda_max"], rtol=1e-5)  # float32 products
    np.testing.assert_allclose(ours["part_a"], slow["part_a"], rtol=1e-5)
    assert (slow["status"] == 0).all()


def test_stores_go_on_and_know_their_units(tmp_path):
    def run(**keywords):
        return ff.scan(POOLED, {"gamma": np.linspace(0.5, 2, 5)}, samples=8, units=64, **keywords)

    def stopped(done, points):
        if done >= 2:
            raise KeyboardInterrupt

    whole = run().lambda_max
    with pytest.raises(KeyboardInterrupt):
        run(store=tmp_path / "s.zarr", chunk=1, progress=stopped)
    assert (run(store=tmp_path / "s.zarr", chunk=1).lambda_max == whole).all()
    assert ff.Scan.open(tmp_path / "s.zarr").settings["units"] == 64
    with pytest.raises(ValueError, match=r"seed \(0 there, 1 here\)"):
        run(store=tmp_path / "s.zarr", chunk=1, seed=1)


def test_points_without_a_number_have_a_status():
    net = ff.convnet((2, 4, 4), [8, 8], 1, sigma_b2=0.0)
    scan = ff.scan(net, {"overlap": [-0.1, 0.0, 0.5], "sigma_w2": [1.0, 2.0]}, samples=8, units=64)
    assert scan.status.tolist() == [[6, 6], [0, 0], [0, 0]]
    # whatever inputs share entirely leaves nothing over the data
    flat = ff.scan(net, {"overlap": [1.0]}, samples=8, units=64)
    assert flat.status.tolist() == [1]
    assert np.isnan(flat.lambda_max).all()


@pytest.mark.parametrize(
    ("keywords", "words"),
    [
        ({"units": 3}, "units must be a whole number >= 64, got 3"),
        ({"units": 64, "edge": True}, "edge must be False where units are drawn"),
        ({"units": 64, "backend": "cuda"}, "backend must be 'cpu' where units are drawn"),
        ({"units": 64, "overlap": -0.01}, "overlap must be >= 0 where units are drawn"),
        ({"units": 64, "theory": "wei2019"}, "theory must be 'exact' or 'frozen' for a network with"),
    ],
)
def test_what_units_have_not_is_refused(keywords, words):
    with pytest.raises(ValueError, match=f"^(?:{words})"):
        ff.scan(POOLED, {"gamma": [1.0]}, samples=8, **keywords)


def test_numbers_beyond_float32_are_none_of_units():
    with pytest.raises(ValueError, match=r"^net must keep its numbers within float32's range where units are drawn"):
        ff.fisher(POOLED.replace(gamma=1e40), samples=8, units=64)
    scan = ff.scan(POOLED, {"gamma": [1.0, 1e40]}, samples=8, units=64)
    assert scan.status.tolist() == [0, 2]
    padded = ff.convnet((1, 4, 4), [8, 8], 1, gamma=1e25)  # where "auto" has the closed recursion
    assert ff.fisher(padded, samples=32).lambda_max == ff.fisher(padded, samples=32, units=None).lambda_max
    assert ff.order_parameters(padded, samples=32).q[0] == ff.order_parameters(padded, samples=32, units=None).q[0]


def test_one_point_and_axes_of_samples():
    single = ff.scan(POOLED, {}, samples=8, units=64)
    assert single.lambda_max == ff.fisher(POOLED, samples=8, units=64).lambda_max
    over = ff.scan(POOLED, {"samples": [1, 8, 16]}, units=64)
    assert over.status.tolist() == [6, 0, 0]
    assert over.lambda_max[2] == ff.fisher(POOLED, samples=16, units=64).lambda_max
    on_units = ff.Network((16,), [ff.Dense(32), RELU, ff.BatchNorm(), ff.Dense(32), RELU, ff.Dense(1)])
    assert (ff.scan(on_units, {"samples": [16, 32]}, units=64).status == 0).all()
    with pytest.raises(ValueError, match=r"^samples must be a number up to 4096 where a BatchNorm stands on units"):
        ff.scan(on_units, {"samples": [16, 5000]}, units=64)


def test_a_long_scan_says_so_before_it_starts(monkeypatch):
    def stopped(*arguments, **keywords):
        raise KeyboardInterrupt

    monkeypatch.setattr(import_module("fisherfield.scan.scan"), "carried_out", stopped)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        with pytest.raises(KeyboardInterrupt):
            ff.scan(POOLED, {"gamma": np.linspace(0.1, 5, 10**6)}, samples=20, units=4096)
    assert "sampled units of 36 positions will take about" in str(warned[0].message)
