# SPDX-License-Identifier: BSD-3-Clause
"""Theory, measurement and first step side by side, in Python and on the command line."""

from __future__ import annotations

import json
import math
import pickle
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest

import fisherfield as ff

torch = pytest.importorskip("torch")
nn = torch.nn

ROOT = Path(__file__).parent.parent


class Own(nn.Module):
    """No theory: a product of activations."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(5, 8), nn.Linear(5, 8), nn.Linear(8, 3)

    def forward(self, x):
        return self.c(torch.tanh(self.a(x)) * torch.sigmoid(self.b(x)))


def batch(n=40):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(n, 5, generator=generator), torch.randint(0, 3, (n,), generator=generator)


def described(norm=True, trained=False):
    torch.manual_seed(0)
    net = ff.mlp([5, 100, 100, 3], batch_norm=norm, **({"trained": trained} if norm else {}))
    return ff.torch.module(net, 1, "float32")


def test_the_rows_are_what_the_calls_give():
    module, (x, y) = described(), batch()
    optimizer = torch.optim.SGD(module.parameters(), 0.01, momentum=0.9, nesterov=True, weight_decay=1e-3)
    report = ff.torch.report(module, x, y, loss=nn.CrossEntropyLoss(), optimizer=optimizer)
    assert report.loss == "cross_entropy"
    spectrum = ff.torch.measure(module, x, loss="cross_entropy")
    assert report.measured.lambda_max == spectrum.lambda_max
    assert report.limit == spectrum.max_learning_rate(0.9, True, 1e-3)
    step = ff.torch.first_step(module, x, y, "cross_entropy", optimizer)
    assert report.step == step
    net = ff.torch.describe(module, (5,))
    overlap, length = ff.data.overlap_and_length(x.double().numpy())
    data = {"samples": 40, "overlap": overlap, "length": length}
    rate = ff.max_learning_rate(net, 0.9, loss="cross_entropy", nesterov=True, weight_decay=1e-3, **data)
    assert report.theory == rate
    words = repr(report)
    assert "SGD, momentum 0.9, Nesterov, weight decay 0.001" in words
    assert re.search(rf"yours +0\.01 +{0.01 / report.limit:.2g} of measured", words)
    assert repr(pickle.loads(pickle.dumps(report))) == words
    assert max(map(len, words.splitlines())) <= 100


def test_what_was_seen_goes_with_loss_and_norm():
    x, y = batch()
    for norm, trained, loss, words in (
        (True, False, "mse", "0.9 to 1.1 times this rate in dense networks, at 1.0 to 1.35"),
        (True, True, "mse", "with trained gamma and beta ReLU networks"),
        (False, False, "mse", "may leap over it and come back"),
        (False, False, "cross_entropy", "no limit of training"),
    ):
        report = ff.torch.report(described(norm, trained), x, y, loss=loss, momentum=0.9)
        assert words in report.meaning["measured"]
        assert ("BatchNorm's statistics are the batch's" in report.meaning["measured"]) == norm
        assert report.limit == report.measured.max_learning_rate(0.9)


def test_a_module_without_theory_says_why():
    report = ff.torch.report(Own(), *batch(), loss="cross_entropy")
    assert report.theory is None
    assert report.why_not
    assert report.limit == 2 / report.measured.lambda_max
    assert "no theory: " in repr(report)
    report = ff.torch.report(Own(), *batch(), loss=nn.CrossEntropyLoss(label_smoothing=0.1))
    assert "and not CrossEntropyLoss" in report.why_not


def test_adam_has_a_first_step_and_no_limit():
    report = ff.torch.report(described(), *batch(), loss="cross_entropy", optimizer="adam")
    assert report.limit is None
    assert report.rate is None
    assert "is no limit of Adam" in repr(report)
    assert 0 < report.step < math.inf
    assert report.to_dict()["measured"]["max_learning_rate"] is None


def test_arguments_that_contradict_are_refused():
    module, (x, y) = described(), batch()
    optimizer = torch.optim.SGD(module.parameters(), 0.1)
    with pytest.raises(ValueError, match="momentum must be left out where an optimizer is given"):
        ff.torch.report(module, x, y, optimizer=optimizer, momentum=0.9)
    with pytest.raises(ValueError, match="momentum must be left out for adam"):
        ff.torch.report(module, x, y, optimizer="adam", momentum=0.9)
    with pytest.raises(ValueError, match="optimizer must be one of sgd, adam, adamw, rmsprop"):
        ff.torch.report(module, x, y, optimizer="sdg")


# -------------------------------------------------------------------------------------------------- the command line
@pytest.fixture
def own(tmp_path, monkeypatch):
    """A folder with a user's modules."""
    (tmp_path / "own_models.py").write_text(
        "from torch import nn\n"
        "class Net(nn.Module):\n"
        "    def __init__(self, width=8):\n"
        "        super().__init__()\n"
        "        self.a, self.b = nn.Linear(6, width), nn.Linear(width, 3)\n"
        "    def forward(self, x):\n"
        "        return self.b(self.a(x.flatten(1)).sin() ** 2)\n"
        "made = Net()\n"
        "def needs(width): return Net(width)\n"
        "number = 3\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))


@pytest.mark.usefixtures("own")
def test_a_factory_a_class_and_a_module_are_measured(fisherfield):
    code, output, errors = fisherfield(
        "model", "own_models:Net", "--input", "1,2,3", "--samples", 20, "--momentum", 0.9
    )
    assert (code, errors) == (0, "")
    assert output.startswith("own_models:Net: Net, a module of 83 parameters in train mode")
    assert "standard normal inputs, random labels" in output
    again = fisherfield("model", "own_models:Net", "--input", "1,2,3", "--samples", 20, "--momentum", 0.9)
    assert again == (code, output, errors)
    code, output, errors = fisherfield(
        *("model", "own_models:made", "--input", 6, "--loss", "mse", "--optimizer", "adam", "--eval", "--json")
    )
    assert (code, errors) == (0, "")
    values = json.loads(output)
    assert values["module"] == {"name": "Net", "parameters": 83, "train": False, "random": False, "dtype": "float32"}
    assert values["samples"] == 128
    assert values["measured"]["max_learning_rate"] is None
    assert values["first_step"]["learning_rate"] > 0
    assert values["why_no_theory"]


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["own_models", "--input", "6"], "the argument must be PACKAGE.MODULE:FACTORY"),
        (["no_such:Net", "--input", "6"], "no_such cannot be imported"),
        (["own_models:Nett", "--input", "6"], "own_models must have 'Nett'"),
        (["own_models:number", "--input", "6"], "must be a torch.nn.Module or make one, got 3"),
        (["own_models:needs", "--input", "6"], "must make a module without arguments"),
        (["own_models:Net", "--input", "6,x"], "--input must be whole numbers"),
        (["own_models:Net", "--input", "7"], "module must take x of shape"),
        (["own_models:Net", "--input", "6", "--data", "digits"], "--input must have the 64 numbers"),
        (["own_models:Net", "--input", "6", "--loss", "ce"], "--loss must be one of"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(fisherfield, arguments, words):
    pytest.importorskip("sklearn")
    code, output, errors = fisherfield("model", *arguments)
    assert (code, output) == (2, "")
    assert words in errors
    assert errors.count("\n") == 1


def test_the_report_of_the_readme_is_what_is_printed(fisherfield, tmp_path, monkeypatch):
    """Words as they are; numbers to 1 %, for convolutions in float32 differ from machine to machine."""
    pytest.importorskip("sklearn")
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    command, shown = re.search(r"^(fisherfield model .*)\n```\n\n```text\n(.*?)^```$", page, re.M | re.S).groups()
    code, output, errors = fisherfield(*shlex.split(command)[1:])
    assert (code, errors) == (0, "")
    number = re.compile(r"(?<![\w.])\d+(?:\.\d+)?(?:e[-+]\d+)?")
    errors_of = re.compile(r"\+- \S+")  # of one digit
    texts = [errors_of.sub("", " ".join(text.split())) for text in (shown, output)]
    assert number.sub("#", texts[0]) == number.sub("#", texts[1])
    values = [np.array([float(each) for each in number.findall(text)]) for text in texts]
    assert values[1] == pytest.approx(values[0], rel=1e-2)
