# SPDX-License-Identifier: BSD-3-Clause
"""Sharpness through training, which is not touched."""

from __future__ import annotations

import math
import sys
import types

import pytest

import fisherfield as ff

torch = pytest.importorskip("torch")
nn = torch.nn


def problem():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(5, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.1), nn.Linear(16, 3)).double()
    return module, torch.randn(32, 5).double(), torch.randint(0, 3, (32,))


def trained(watching, steps=12):
    module, x, y = problem()
    optimizer = torch.optim.SGD(module.parameters(), 0.2, momentum=0.9)
    watch = ff.torch.Watch(module, x, y, "cross_entropy", optimizer, every=5) if watching else None
    for _ in range(steps):
        if watch is not None:
            watch()
        optimizer.zero_grad()
        nn.functional.cross_entropy(module(x), y).backward()
        optimizer.step()
    return module, watch


def test_training_is_the_same_to_the_last_bit_and_so_are_its_rows():
    plain, _ = trained(False)
    watched, watch = trained(True)
    for one, other in zip(plain.state_dict().values(), watched.state_dict().values(), strict=True):
        assert torch.equal(one, other)
    assert [row.step for row in watch.rows] == [0, 5, 10]
    assert trained(True)[1].rows == watch.rows
    module, x, y = problem()
    spectrum = ff.torch.measure(module, x, y, "cross_entropy", "hessian", tolerance=1e-2)
    first = watch.rows[0]
    assert first.lambda_max == spectrum.lambda_max
    assert first.stability == pytest.approx(0.2 * spectrum.lambda_max / 3.8, rel=1e-14)
    assert first.learning_rate == 0.2


def test_it_is_printed_saved_and_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    pandas = pytest.importorskip("pandas")
    _, watch = trained(True)
    assert repr(watch).startswith(
        "Sharpness of Sequential, loss cross_entropy: lambda_max of the Hessian every 5 steps"
    )
    assert len(repr(watch).splitlines()) == 2 + 3
    watch.save(tmp_path / "rows.csv")
    table = watch.to_pandas()
    read = pandas.read_csv(tmp_path / "rows.csv", index_col="step")
    assert read.to_numpy() == pytest.approx(table.to_numpy(), rel=1e-15)  # a reader's last digit
    figure = watch.plot()
    lines = figure.axes[0].lines
    assert list(lines[0].get_ydata()) == list(table["lambda_max"])
    assert list(lines[1].get_ydata()) == pytest.approx([3.8 / 0.2] * 3, rel=1e-12)
    module, x, y = problem()
    empty = ff.torch.Watch(module, x, y)
    with pytest.raises(ValueError, match="nothing was measured yet"):
        empty.plot()


def test_other_optimizers_have_a_rate_and_no_limit_and_an_exploded_module_no_eigenvalue():
    module, x, y = problem()
    heard = []
    optimizer = torch.optim.Adam(module.parameters(), 0.01)
    watch = ff.torch.Watch(module, x, y, "cross_entropy", optimizer, every=1, matrix="fisher", log=heard.append)
    row = watch()
    assert heard == [row]
    assert (row.learning_rate, math.isnan(row.stability)) == (0.01, True)
    with torch.no_grad():
        module[0].weight.fill_(math.nan)
    assert math.isnan(watch().lambda_max)
    bare = ff.torch.Watch(problem()[0], x, y)
    assert math.isnan(bare().learning_rate)


def test_lightning_calls_it_before_every_batch(monkeypatch):
    class Callback:
        pass

    stub = types.ModuleType("lightning.pytorch")
    stub.Callback = Callback
    monkeypatch.setitem(sys.modules, "lightning", types.ModuleType("lightning"))
    monkeypatch.setitem(sys.modules, "lightning.pytorch", stub)
    module, x, y = problem()
    watch = ff.torch.Watch(module, x, y, every=2)
    callback = watch.lightning()
    assert isinstance(callback, Callback)
    trainer = types.SimpleNamespace(optimizers=[torch.optim.SGD(module.parameters(), 0.3)])
    for batch in range(3):
        callback.on_train_batch_start(trainer, module, None, batch)
    assert [row.step for row in watch.rows] == [0, 2]
    assert watch.rows[0].learning_rate == 0.3


def test_what_cannot_be_watched_is_refused():
    module, x, y = problem()
    for arguments, keywords, words in (
        ((module, x, y), {"every": 0}, "every must be a whole number >= 1"),
        ((module, x, y, "ce"), {}, "loss must be"),
        ((module, x, y, "mse", "sgd"), {}, "optimizer must be a torch.optim.Optimizer or None"),
        ((module, x, y), {"matrix": "ntk"}, "matrix must be one of fisher, hessian"),
        ((module, x, y), {"log": 3}, "log must be a callable"),
        ((module, torch.zeros(0, 5)), {}, "x must hold the same number of samples"),
    ):
        with pytest.raises((ValueError, TypeError), match=words):
            ff.torch.Watch(*arguments, **keywords)
