# SPDX-License-Identifier: BSD-3-Clause
"""A PyTorch module's own numbers as a sampled network, and the word where a description of it draws new ones."""

from __future__ import annotations

import copy
import pickle
import re
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import fisherfield as ff
from fisherfield import reference

torch = pytest.importorskip("torch")
nn = torch.nn

from test_torch import gradients  # noqa: E402 (it needs torch)

DOUBLE = {"dtype": torch.float64}


def dense(biases=(True, True, True)):
    return nn.Sequential(
        nn.Linear(5, 9, bias=biases[0], **DOUBLE),
        nn.BatchNorm1d(9, eps=1e-3, **DOUBLE),
        nn.ReLU(),
        nn.Linear(9, 7, bias=biases[1], **DOUBLE),
        nn.Tanh(),
        nn.Linear(7, 3, bias=biases[2], **DOUBLE),
    )


def images(affine=True):
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1, bias=False, **DOUBLE),
        nn.BatchNorm2d(4, affine=affine, **DOUBLE),
        nn.ReLU(),
        nn.AvgPool2d(2),
        nn.Conv2d(4, 3, 2, **DOUBLE),
        nn.BatchNorm2d(3, **DOUBLE),
        nn.SiLU(),
        nn.Flatten(),
        nn.Linear(12, 2, **DOUBLE),
    )


def sums():
    plain = nn.LayerNorm(8, eps=1e-3, elementwise_affine=False, **DOUBLE)  # the next block takes units for alike
    projection = nn.Sequential(nn.Linear(6, 8, bias=False, **DOUBLE), plain)
    branch = nn.Sequential(nn.BatchNorm1d(6, **DOUBLE), nn.ReLU(), nn.Linear(6, 8, **DOUBLE))
    inner = nn.Sequential(nn.GroupNorm(2, 8, **DOUBLE), nn.Tanh(), nn.Linear(8, 8, bias=False, **DOUBLE))
    first, last = nn.Linear(5, 6, **DOUBLE), nn.Linear(8, 2, **DOUBLE)
    residuals = (ff.torch.Residual(branch, projection, 0.5), ff.torch.Residual(inner))
    return nn.Sequential(first, *residuals, nn.ReLU(), nn.LayerNorm(8, elementwise_affine=False, **DOUBLE), last)


def lines():
    return nn.Sequential(
        nn.Conv1d(4, 6, 3, stride=2, padding=2, dilation=2, groups=2, bias=False, **DOUBLE),
        nn.LayerNorm((6, 5), eps=1e-3, **DOUBLE),
        nn.ReLU(),
        nn.AvgPool1d(2, 1, 1),
        nn.Flatten(),
        nn.Linear(36, 2, **DOUBLE),
    )


def flattened():
    """The groups of a flattened image end within a channel."""
    behind = nn.GroupNorm(2, 24, eps=1e-3, **DOUBLE), nn.Linear(24, 2, **DOUBLE)
    return nn.Sequential(nn.Conv2d(2, 3, 2, **DOUBLE), nn.ReLU(), nn.Flatten(), *behind)


MODULES = {
    "dense": (dense, (5,)),
    "no bias before the BatchNorm": (lambda: dense((False, True, True)), (5,)),
    "no bias at the end": (lambda: dense((True, True, False)), (5,)),
    "no biases": (lambda: dense((False, False, False)), (5,)),
    "images": (images, (2, 6, 6)),
    "not affine": (lambda: images(affine=False), (2, 6, 6)),
    "vanilla": (lambda: nn.Sequential(nn.Linear(4, 6, **DOUBLE), nn.GELU(), nn.Linear(6, 2, **DOUBLE)), (4,)),
    "sums": (sums, (5,)),
    "lines": (lines, (4, 9)),
    "groups of units": (flattened, (2, 3, 5)),
    "normed output": (lambda: nn.Sequential(nn.Linear(4, 3, **DOUBLE), nn.BatchNorm1d(3, **DOUBLE)), (4,)),
}


def made(name):
    """A module whose every number is its own, and inputs."""
    build, shape = MODULES[name]
    generator = torch.Generator().manual_seed(5)
    module = build()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype))
    return module, np.random.default_rng(1).standard_normal((8, *shape))


def own(module, x, dtype=None):
    return ff.torch.sampled(module, x.shape[1:], dtype)


@pytest.mark.parametrize("name", MODULES)
def test_outputs_and_eigenvalues_are_the_module_s(name):
    module, x = made(name)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # unequal gammas and missing biases are as they are: nothing is to be said
        sampled = own(module, x)
    with torch.no_grad():
        outputs = module(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(sampled(x), outputs, rtol=0, atol=1e-12 * np.abs(outputs).max())  # roundings
    jacobian = gradients(module, torch.from_numpy(x))
    rows = jacobian.reshape(-1, jacobian.shape[2])
    assert sampled.parameters == rows.shape[1] == sum(part.numel() for part in module.parameters())
    expected = np.linalg.eigvalsh(rows @ rows.T / len(x))[::-1]
    spectrum = ff.sampled_fisher(sampled, x, k="all")
    assert spectrum.parameters == sampled.parameters
    np.testing.assert_allclose(spectrum.eigenvalues, expected, rtol=0, atol=1e-12 * expected[0])  # roundings
    few = ff.sampled_fisher(sampled, x, method="lanczos", tolerance=1e-12)
    assert few.lambda_max == pytest.approx(expected[0], rel=2e-12)


@pytest.mark.parametrize("name", [name for name in MODULES if name not in ("sums", "lines")])
def test_the_reference_has_the_same_eigenvalues(name):
    module, x = made(name)
    sampled = own(module, x)
    expected = ff.sampled_fisher(sampled, x, k="all").eigenvalues
    atol = 1e-12 * expected[0]  # roundings
    np.testing.assert_allclose(reference.sampled_fisher(sampled, x, k="all"), expected, rtol=0, atol=atol)


@pytest.mark.parametrize("name", ["no bias before the BatchNorm", "no bias at the end"])
def test_missing_biases_are_no_parameters_with_frozen_statistics_either(name):
    """There BatchNorm does not take the gradient of a bias before it away, which would be counted."""
    module, x = made(name)
    sampled = own(module, x)
    layers = [replace(layer, bias=True) if layer.affine else layer for layer in sampled.net.layers]
    biased = ff.Network(sampled.net.input_shape, layers)
    every = ff.SampledNetwork(biased, 0, "float64", *(getattr(sampled, part) for part in PARTS))
    with_all, own_alone = (ff.sampled_moments(each, x, statistics="frozen") for each in (every, sampled))
    assert own_alone.trace < with_all.trace
    trace, square = reference.sampled_moments(sampled, x, statistics="frozen")
    assert (own_alone.trace, own_alone.square) == pytest.approx((trace, square), rel=1e-12)  # roundings
    operator = ff.FisherOperator(sampled, x, statistics="frozen")
    w = np.random.default_rng(2).standard_normal(operator.shape[0])
    assert operator.vjp(w).shape == (sampled.parameters,)
    np.testing.assert_allclose(operator.dense() @ w, operator @ w, atol=1e-12 * np.abs(operator @ w).max())
    assert ff.FisherOperator(sampled, x, biases=False).parameters == sampled.net.parameters(biases=False)


PARTS = ("weights", "biases", "gammas", "betas")


def test_fixed_gammas_are_kept_and_no_parameters():
    module, x = made("dense")
    module[1].requires_grad_(False)
    sampled = own(module, x)
    assert not sampled.net.batch_norms[0].trained
    assert np.array_equal(sampled.gammas[0], module[1].weight.numpy())
    jacobian = gradients(module, torch.from_numpy(x))
    rows = jacobian.reshape(-1, jacobian.shape[2])
    assert sampled.parameters == rows.shape[1]
    expected = np.linalg.norm(rows @ rows.T / len(x), 2)
    assert ff.sampled_fisher(sampled, x, method="dense").lambda_max == pytest.approx(expected, rel=1e-12)


def test_weights_that_are_not_trained_are_refused_as_by_describe():
    module, x = made("dense")
    module[0].requires_grad_(False)
    for read in (ff.torch.describe, ff.torch.sampled):
        with pytest.raises(ValueError, match=r"module\[0\]: Linear cannot be described: .*do not require gradients"):
            read(module, x.shape[1:])
    with pytest.raises(ValueError, match=r"module\[0\]: MaxPool2d cannot be described: .*begin with Conv2d"):
        ff.torch.sampled(nn.Sequential(nn.MaxPool2d(2), nn.Flatten(), nn.Linear(4, 2)), (1, 4, 4))
    with pytest.raises(TypeError, match=r"module must be a torch.nn.Module"):
        ff.torch.sampled(3)


def test_a_module_in_float32_is_sampled_in_float32_or_exactly():
    module, x = made("images")
    module = module.float()
    single, double = own(module, x), own(module, x, torch.float64)
    assert (single.dtype, double.dtype) == (np.float32, np.float64)
    assert np.array_equal(single.weights[0], module[0].weight.detach().numpy())
    with torch.no_grad():
        outputs = module(torch.from_numpy(x).float()).numpy()
        exact = module.double()(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(single(x), outputs, atol=1e-5 * np.abs(outputs).max())  # float32
    np.testing.assert_allclose(double(x), exact, rtol=0, atol=1e-12 * np.abs(exact).max())
    values = [ff.sampled_fisher(each, x).lambda_max for each in (single, double)]
    assert values[0] == pytest.approx(values[1], rel=1e-5)  # float32
    half = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2)).to(torch.bfloat16)
    taken = ff.torch.sampled(half)
    assert taken.dtype == np.float32  # which holds them exactly
    assert np.array_equal(taken.weights[1], half[1].weight.detach().float().numpy())


def test_what_is_taken_is_a_copy():
    module, x = made("dense")
    sampled = own(module, x)
    before = sampled(x)
    with torch.no_grad():
        module[0].weight.mul_(2)
    assert np.array_equal(sampled(x), before)


def test_a_batch_norm_in_eval_mode_is_said():
    module, x = made("dense")
    module.eval()
    with pytest.warns(UserWarning, match=r"module\[1\]: BatchNorm is in eval mode"):
        own(module, x)


@pytest.mark.parametrize("name", MODULES)
def test_module_and_back(name):
    module, x = made(name)
    sampled = own(module, x)
    again = ff.torch.module(sampled)
    assert [tuple(part.shape) for part in again.parameters() if part.requires_grad] == [
        tuple(part.shape) for part in module.parameters()
    ]
    other = ff.torch.sampled(again)
    for each in (other, copy.copy(sampled), pickle.loads(pickle.dumps(sampled))):
        assert each.trained_biases == sampled.trained_biases
        for part in PARTS:
            pairs = zip(getattr(each, part), getattr(sampled, part), strict=True)
            assert all(np.array_equal(one, two) for one, two in pairs)


def test_a_shown_network_tells_biases_that_are_no_parameters():
    module, x = made("no bias at the end")
    assert repr(own(module, x)).count("not trained") == 1
    with pytest.raises(ValueError, match="trained_biases must be 3 booleans, one an affine layer, got 1"):
        ff.SampledNetwork(ff.mlp([5, 9, 7, 3]), 0, "float64", [], [], [], [], [True])
    with pytest.raises(ValueError, match=r"trained_biases\[0\] must be False where a layer has bias=False, got True"):
        ff.SampledNetwork(ff.Network(2, [ff.Dense(1, bias=False)]), 0, "float64", [], [], [], [], [True])


# ------------------------------------------------------------------------------- descriptions that leave weights behind


def described():
    module, x = made("vanilla")
    return ff.torch.describe(module), x


@pytest.mark.parametrize(
    "ask",
    [
        lambda net, x: ff.sampled_fisher(net, x),
        lambda net, x: ff.sampled_moments(net, x),
        lambda net, x: ff.sampled_density(net, x),
        lambda net, x: ff.FisherOperator(net, x),
        lambda net, x: ff.sample(net),
        lambda net, x: ff.torch.module(net),
        lambda net, x: ff.verify(net, seeds=2, x=x),
        lambda net, x: ff.verify(net, [6, 8], seeds=2, samples=5),
    ],
)
def test_sampling_a_description_of_a_module_says_once_that_weights_are_new(ask):
    net, x = described()
    with pytest.warns(UserWarning, match=r"ff.torch.sampled\(module\) has the module's own") as heard:
        ask(net, x)
    assert len(heard) == 1
    assert heard[0].filename == __file__  # the caller's line, not the package's


def test_nothing_is_said_of_other_descriptions_nor_by_the_theory():
    module, x = made("vanilla")
    net = ff.torch.describe(module)
    copies = (copy.copy(net), copy.deepcopy(net), pickle.loads(pickle.dumps(net)), net.replace(sigma_b2=0.0))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for other in copies:
            ff.sample(other)
        ff.max_learning_rate(net)
        ff.fisher(net, samples=10)
        ff.sampled_fisher(own(module, x), x)
        ff.sample(ff.Network(net.input_shape, net.layers))


def test_the_mark_is_no_part_of_a_description(tmp_path):
    net, _ = described()
    plain = ff.Network(net.input_shape, net.layers)
    assert net == plain
    assert hash(net) == hash(plain)
    assert repr(net) == repr(plain)
    net.save(tmp_path / "net.toml")
    assert ff.load(tmp_path / "net.toml") == net
    assert (tmp_path / "net.toml").read_text().count("module") == 0


def test_the_example_of_the_page_on_sampled_networks_runs(capsys):
    page = (Path(__file__).parent.parent / "docs" / "sampled.md").read_text(encoding="utf-8")
    (block,) = (part for part in re.findall(r"```python\n(.*?)```", page, flags=re.S) if "torch.sampled" in part)
    names = {"ff": ff, "x": ff.data.gaussian(100, samples=40)}
    exec(block, names)
    assert float(capsys.readouterr().out) > 0
    assert names["own"].parameters == sum(part.numel() for part in names["model"].parameters())
