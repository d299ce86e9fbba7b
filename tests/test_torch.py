# SPDX-License-Identifier: BSD-3-Clause
"""PyTorch modules: the same network as the sampled one, back to the same description, and what is refused."""

from __future__ import annotations

import copy
import pickle
import re
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import strategies
from hypothesis import assume, given, settings

import fisherfield as ff

torch = pytest.importorskip("torch")
nn = torch.nn

GIVEN = {"monomial": "monomial(3)", "rectified_monomial": "rectified_monomial(2)", "hermite": "hermite(4)"}
GIVEN["polynomial"] = "polynomial(0.5, -1, 0, 0.25)"
NETWORKS = {
    "vanilla": ff.mlp([5, 7, 4, 3], "tanh", batch_norm=False),
    "dense": ff.mlp([6, 9, 8, 3], ["relu", "gelu"], gamma=[0.7, -1.8], beta=0.3, eps=[0.0, 0.1], trained=[True, False]),
    "normed output": ff.Network(
        4, [ff.Dense(6), ff.BatchNorm(1.5, trained=True), ff.Activation("sin"), ff.Dense(3), ff.BatchNorm(0.8)]
    ),
    "linear": ff.Network(4, [ff.Dense(6), ff.Activation("linear"), ff.Dense(2, 1.0, 0.0)]),
    "convolutions": ff.Network(
        (2, 6, 6),
        [
            ff.Conv2d(3, kernel=(3, 2), stride=(2, 1), padding=(1, 0)),
            ff.BatchNorm(1.2, 0.1, trained=True),
            ff.Activation("tanh"),
            ff.Conv2d(4, kernel=3, padding=1),
            ff.Activation("leaky_relu(0.2)"),
            ff.AvgPool2d((2, 3), stride=(1, 2)),
            ff.Flatten(),
            ff.Dense(2),
        ],
    ),
    "sums": ff.Network(
        4,
        [
            ff.Dense(6, bias=False),
            ff.Residual([ff.BatchNorm(1.2), ff.Activation("relu"), ff.Dense(8)], [ff.Dense(8), ff.LayerNorm()], 0.5),
            ff.Residual([ff.GroupNorm(2, trained=True), ff.Activation("linear"), ff.Dense(8)]),
            ff.Dense(2),
        ],
    ),
    "lines": ff.Network(
        (2, 1, 6),
        [ff.Conv1d(4, 2, dilation=2), ff.Activation("erf"), ff.AvgPool2d((1, 2), 1), ff.Flatten(), ff.Dense(2)],
    ),
    "positions averaged": ff.Network(
        (1, 5, 6),
        [
            ff.Conv2d(3, kernel=2, padding=1),
            ff.BatchNorm(0.9),
            ff.Activation("silu"),
            ff.Conv2d(2, kernel=(1, 3), stride=2),
            ff.BatchNorm(1.1, 0.2, 0.05, trained=True),
            ff.GlobalAvgPool2d(),
        ],
    ),
}


def gradients(module, x):
    """J, (n, C, P), by torch.func in train mode, of the parameters that require gradients."""
    from torch.func import functional_call, jacrev

    every = dict(module.named_parameters())
    trained = {name: value.detach() for name, value in every.items() if value.requires_grad}
    fixed = {name: value.detach() for name, value in every.items() if not value.requires_grad}

    def outputs(parameters):
        buffers = {name: value.clone() for name, value in module.named_buffers()}
        return functional_call(module, (parameters, fixed, buffers), (x,))

    result = jacrev(outputs)(trained)
    return torch.cat([part.flatten(start_dim=2) for part in result.values()], dim=2).numpy()


def as_taken(module, x):
    """Inputs as a module takes them: (n, channels, length) where its convolutions are along a line."""
    return x[:, :, 0] if any(isinstance(part, nn.Conv1d) for part in module.modules()) else x


def assert_same(net, seed=3):
    """A module is its sampled network: outputs, gradients, description, arrays."""
    x = ff.data.gaussian(net, 12, seed=1)
    module, sampled = ff.torch.module(net, seed), ff.sample(net, seed)
    assert module.training
    inputs = torch.from_numpy(as_taken(module, x))
    with torch.no_grad():
        outputs = module(inputs).numpy()
    np.testing.assert_allclose(outputs, sampled(x), rtol=0, atol=1e-12 * np.abs(outputs).max())  # roundings
    jacobian = gradients(module, inputs)
    assert jacobian.shape[2] == net.parameters()
    rows = jacobian.reshape(-1, jacobian.shape[2])
    largest = np.linalg.eigvalsh(rows @ rows.T / len(x))[-1]
    measured = ff.sampled_fisher(sampled, x, tolerance=1e-13).eigenvalues[0]
    assert measured == pytest.approx(largest, rel=1e-10)  # what is promised; a Lanczos tolerance and roundings
    assert ff.torch.describe(module, net.input_shape) == net
    taken = ff.torch.sampled(module)
    for part in ("weights", "biases", "gammas", "betas"):
        pairs = zip(getattr(taken, part), getattr(sampled, part), strict=True)
        assert all(np.array_equal(one, other) for one, other in pairs)


def _plain(value):
    """A test's name without addresses, which differ from process to process."""
    return re.sub(r" (at|of type object at) 0x\w+", "", str(value))


@pytest.mark.parametrize("name", NETWORKS)
def test_a_module_and_a_sampled_network_give_the_same_outputs_and_eigenvalue(name):
    assert_same(NETWORKS[name])


@pytest.mark.parametrize("name", ff.activation_names())
def test_every_activation_and_its_slope_are_the_module_s(name):
    phi = ff.Activation(GIVEN.get(name, name))
    module = ff.torch.module(ff.Network(1, [ff.Dense(1), phi, ff.Dense(1)]))[1]
    points = np.concatenate([np.linspace(-9.3, 9.3, 101), [-45.0, 25.5, 41.0]])
    if name == "exp":
        points = points[np.abs(points) < 10]
    x = torch.tensor(points, dtype=torch.float64, requires_grad=True)
    y = module(x)
    y.sum().backward()
    # 1e-12 of the largest term of a polynomial; else roundings
    scale = 1e-12 * max(1.0, float(np.abs(phi(points)).max()) if name in GIVEN else 1.0)
    np.testing.assert_allclose(y.detach().numpy(), phi(points), rtol=1e-13, atol=scale)
    np.testing.assert_allclose(x.grad.numpy(), phi.derivative(points), rtol=1e-11, atol=scale)


@pytest.mark.parametrize("dtype", ["float64", "float32", torch.float32])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_module_s_description_is_the_network(name, dtype):
    net = NETWORKS[name]
    module = ff.torch.module(net, 1, dtype)
    assert ff.torch.describe(module, net.input_shape) == net
    assert ff.torch.describe(module) == net
    assert ff.torch.describe(copy.deepcopy(module).to(torch.float32), net.input_shape, variances="initial") == net
    assert ff.torch.describe(pickle.loads(pickle.dumps(module))) == net
    assert next(module.parameters()).dtype == (torch.float64 if dtype == "float64" else torch.float32)


def test_what_training_makes_remembers_nothing():
    from fisherfield.torch.writing import written  # moments of all weights would be found for each run

    built = written(ff.sample(NETWORKS["dense"]))
    assert not any(hasattr(part, "_fisherfield") for part in built.modules())


def test_weights_that_have_changed_are_measured():
    net = ff.mlp([40, 50, 10], gamma=1.3)
    module = ff.torch.module(net)
    with torch.no_grad():
        module[0].weight *= 2
        module[1].weight.fill_(0.5)
    result = ff.torch.describe(module)
    module[3].weight.data.abs_()  # of the same mean square
    with pytest.warns(UserWarning, match=r"module\[3\]: the weights have mean"):
        assert ff.torch.describe(module).layers[3] == ff.Dense(10, *variances(module[3]))
    assert result.layers[0] == ff.Dense(50, *variances(module[0]))
    assert result.layers[0].sigma_w2 == pytest.approx(8.0, rel=0.2)  # 2000 weights
    assert result.layers[1:] == (ff.BatchNorm(0.5), *net.layers[2:])


def test_a_sampled_network_s_own_arrays_are_taken_and_pytorch_s_generator_is_left_alone():
    sampled = ff.sample(ff.mlp([4, 5, 2]), 0, "float32")
    sampled.weights[0] = np.ones((5, 4))
    before = torch.get_rng_state()
    module = ff.torch.module(sampled)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(module[0].weight, torch.ones(5, 4))
    sampled.weights[0][:] = 2.0
    assert torch.equal(module[0].weight, torch.ones(5, 4))
    with pytest.raises(ValueError, match="dtype must be left out or the SampledNetwork's own, float32"):
        ff.torch.module(sampled, dtype=torch.float64)


def test_eps_zero_changes_no_digit_in_either_dtype():
    net = ff.mlp([4, 5, 2])
    for dtype, tiny in (("float64", 2.2250738585072014e-308), ("float32", 1.1754943508222875e-38)):
        module = ff.torch.module(net, dtype=dtype)
        assert module[1].eps == tiny
        x = torch.from_numpy(1e-10 * ff.data.gaussian(net, 7)).to(getattr(torch, dtype))  # variances of 1e-20
        rounding = 1e-12 if dtype == "float64" else 1e-3  # what biases of order 1 leave of 1e-10
        with torch.no_grad():
            module[0].bias.zero_()
            z = module[0](x)
            np.testing.assert_allclose(module[1](z).var(dim=0, correction=0), 1.0, rtol=rounding)
    if torch.__version__.startswith("2.13"):  # 2.4 takes it
        with pytest.raises(ValueError, match="eps must be positive"):  # the reason for all this
            nn.BatchNorm1d(5, eps=0.0)(torch.ones(3, 5))


# --------------------------------------------------------------------------------------------------- a user's own model


def model(*layers):
    torch.manual_seed(0)
    return nn.Sequential(*layers)


def test_a_user_s_own_model_is_read_layer_by_layer():
    own = nn.Sequential(
        nn.Sequential(nn.Conv2d(1, 8, 3, padding="same"), nn.BatchNorm2d(8, affine=False), nn.ReLU()),
        nn.Dropout(0.5).eval(),
        nn.AvgPool2d(2),
        nn.Conv2d(8, 20, (2, 3), stride=(1, 2)),
        nn.BatchNorm2d(20, eps=1e-3),
        nn.LeakyReLU(0.2),
        nn.Identity(),
        nn.AdaptiveAvgPool2d((1, 1)),
        nn.Flatten(),
        nn.Linear(20, 10),
    )
    net = ff.torch.describe(own, (1, 8, 8))
    first, last = own[0][0], own[-1]
    assert net.layers == (
        ff.Conv2d(8, 3, 1, 1, *variances(first)),
        ff.BatchNorm(eps=1e-5),
        ff.Activation("relu"),
        ff.AvgPool2d(2),
        ff.Conv2d(20, (2, 3), (1, 2), 0, *variances(own[3])),
        ff.BatchNorm(eps=1e-3, trained=True),
        ff.Activation("leaky_relu", slope=0.2),
        ff.GlobalAvgPool2d(),
        ff.Flatten(),
        ff.Dense(10, *variances(last)),
    )


def test_average_pools_with_a_border_are_pytorch_s():
    layers = [ff.Conv2d(3, 2), ff.Activation("tanh"), ff.AvgPool2d((2, 3), (2, 1), (1, 0)), ff.AvgPool2d(3, 1, 1)]
    assert_same(ff.Network((2, 6, 5), [*layers, ff.Flatten(), ff.Dense(2)]))
    last = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
    whole = nn.AvgPool2d(2, padding=1, ceil_mode=True)  # no window is cut
    assert ff.torch.describe(nn.Sequential(whole, last), (1, 6, 6)).layers[0] == ff.AvgPool2d(2, padding=1)
    plain = nn.AvgPool2d(3, 1, count_include_pad=False)  # nothing is padded
    assert ff.torch.describe(nn.Sequential(plain, last), (1, 6, 6)).layers[0] == ff.AvgPool2d(3, 1)


RESIDUALS = {
    "pre-activation": [
        ff.Dense(6),
        ff.Residual([ff.BatchNorm(1.2, trained=True), ff.Activation("relu"), ff.Dense(6, bias=False)], scale=0.5),
        ff.Residual([ff.LayerNorm(), ff.Activation("tanh"), ff.Dense(9), ff.Activation("gelu"), ff.Dense(6)]),
        ff.BatchNorm(),
        ff.Activation("relu"),
        ff.Dense(2),
    ],
    "projections": [
        ff.Dense(6),
        ff.Activation("relu"),
        ff.Residual(
            [ff.Dense(7), ff.BatchNorm(), ff.Activation("relu"), ff.Dense(5), ff.BatchNorm(0.7)], [ff.Dense(5)], 2.0
        ),
        ff.Activation("tanh"),
        ff.Dense(2),
    ],
    "nested": [
        ff.Dense(6),
        ff.Residual(
            [ff.Dense(4), ff.Residual([ff.Activation("relu"), ff.Dense(4)]), ff.Activation("tanh"), ff.Dense(6)],
            [ff.Residual([ff.Dense(6)], [ff.Dense(6), ff.LayerNorm(trained=True)], -1.5)],
        ),
        ff.Activation("relu"),
        ff.Dense(2),
    ],
}


@pytest.mark.parametrize("name", RESIDUALS)
def test_sums_of_branches_are_modules(name):
    assert_same(ff.Network(5, RESIDUALS[name]))


@pytest.mark.parametrize("line", [True, False])
def test_sums_of_branches_of_images_are_modules(line):
    one, three = (
        (ff.Conv1d(4, 1), ff.Conv1d(4, 3, padding=1)) if line else (ff.Conv2d(4, 1), ff.Conv2d(4, 3, padding=1))
    )
    block = ff.Residual([ff.BatchNorm(), ff.Activation("relu"), three], scale=0.7)
    first = ff.Residual([three, ff.GroupNorm(2)], [one])
    assert_same(ff.Network((2, 1 if line else 4, 5), [first, block, ff.Activation("relu"), ff.Flatten(), ff.Dense(2)]))


def test_a_user_s_own_sum_is_read_as_one():
    relu, inner, skip = nn.ReLU(), nn.Linear(6, 6), nn.Linear(6, 6, bias=False)
    blocks = (
        ff.torch.Residual(nn.Sequential(nn.Sequential(relu, inner), nn.Dropout().eval())),
        ff.torch.Residual(nn.Linear(6, 6), nn.Sequential(nn.Flatten(), nn.Sequential(skip)), -2),
        ff.torch.Residual(nn.Linear(6, 6), nn.Identity()),
    )
    own = model(nn.Linear(4, 6), *blocks, nn.Linear(6, 2)).double()
    net = ff.torch.describe(own)
    dense = [ff.Dense(6, *variances(layer)) for layer in (inner, blocks[1].branch, blocks[2].branch)]
    assert net.layers[1:4] == (
        ff.Residual([ff.Activation("relu"), dense[0]]),
        ff.Residual([dense[1]], [ff.Dense(6, *variances(skip), bias=False)], -2.0),
        ff.Residual([dense[2]]),
    )
    x = torch.randn(5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    np.testing.assert_allclose(ff.torch.sampled(own)(x.numpy()), own(x).detach().numpy(), rtol=1e-12)  # roundings
    assert "scale=-2.0" in repr(own)
    branch = nn.Sequential(nn.Sequential(relu, nn.LPPool1d(2, 2)), nn.Linear(3, 6))
    with pytest.raises(ValueError, match=r"^module\[1\]\.branch\[0\]\[1\]: LPPool1d cannot be described: the theory"):
        ff.torch.describe(nn.Sequential(skip, ff.torch.Residual(branch)))
    with pytest.raises(ValueError, match=r"^module\[0\]: Residual cannot be described: a skip must hold units behind"):
        ff.torch.describe(nn.Sequential(ff.torch.Residual(nn.Sequential(skip)), relu, nn.Linear(6, 1)), 6)
    with pytest.raises(ValueError, match=r"^module\[1\]\.branch: Linear .* its weight is module\[0\].weight too"):
        ff.torch.describe(nn.Sequential(skip, ff.torch.Residual(skip)))
    with pytest.raises(ValueError, match=r"the last Dense or Conv2d must stand behind the sum of branches"):
        ff.torch.describe(nn.Sequential(skip, ff.torch.Residual(inner)))
    with pytest.raises(TypeError, match=r"branch must be a torch.nn.Module, got 3"):
        ff.torch.Residual(3)
    with pytest.raises(TypeError, match=r"scale must be"):
        ff.torch.Residual(inner, scale="large")


LINES = {
    "of all kinds": [
        ff.Conv1d(6, 3, 2, 1, groups=2, dilation=2),
        ff.BatchNorm(1.2, trained=True),
        ff.Activation("relu"),
        ff.AvgPool2d((1, 3), (1, 2), (0, 1)),
        ff.LayerNorm(0.8, trained=True),
        ff.Conv1d(4, 2, bias=False),
        ff.GroupNorm(2),
        ff.Activation("tanh"),
        ff.Flatten(),
        ff.Dense(5),
        ff.BatchNorm(),
        ff.Activation("gelu"),
        ff.Dense(2),
    ],
    "averaged": [
        ff.AvgPool2d((1, 2), 1),
        ff.Conv1d(4, 3),
        ff.Activation("relu"),
        ff.Conv1d(2, 1),
        ff.GlobalAvgPool2d(),
    ],
    "with Conv2d": [ff.Conv2d(4, (1, 3)), ff.Activation("relu"), ff.Conv1d(2, 2, 2, 1), ff.GlobalAvgPool2d()],
    "every other column": [ff.AvgPool2d(1, (2, 1)), ff.Conv1d(2, 2), ff.GlobalAvgPool2d()],
}


@pytest.mark.parametrize("name", LINES)
def test_convolutions_along_a_line_are_pytorch_s(name):
    assert_same(ff.Network((4, 1, 11), LINES[name]))


def test_a_module_of_lines_is_described_with_images_of_height_1():
    own = model(
        nn.Conv1d(3, 8, 3, padding="same", bias=False),
        nn.BatchNorm1d(8),
        nn.ReLU(),
        nn.AvgPool1d(2, padding=1),
        nn.AdaptiveAvgPool1d(1),
        nn.Flatten(1, 2),
        nn.Linear(8, 2),
    ).double()
    net = ff.torch.describe(own, (3, 10))
    assert ff.torch.describe(own, (3, 1, 10)) == net
    assert net.input_shape == (3, 1, 10)
    assert net.layers == (
        ff.Conv1d(8, 3, 1, 1, *variances(own[0]), bias=False),
        ff.BatchNorm(eps=1e-5, trained=True),
        ff.Activation("relu"),
        ff.AvgPool2d((1, 2), (1, 2), (0, 1)),
        ff.GlobalAvgPool2d(),
        ff.Flatten(),
        ff.Dense(2, *variances(own[-1])),
    )
    x = torch.randn(5, 3, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    sampled = ff.torch.sampled(own, (3, 10))
    np.testing.assert_allclose(sampled(x.numpy()), own(x).detach().numpy(), rtol=1e-12)  # roundings
    assert np.array_equal(sampled(x.numpy()), sampled(x.numpy()[:, :, None]))
    with pytest.raises(ValueError, match=r"module\[0\]: Conv2d .* takes an image .* and gets shape \(4, 10\)"):
        ff.torch.describe(nn.Sequential(nn.Conv2d(4, 2, 1)), (4, 10))
    with pytest.raises(ValueError, match=r"module\[1\]: BatchNorm2d .* does not take inputs of shape \(2, 10\)"):
        ff.torch.describe(nn.Sequential(nn.Conv1d(4, 2, 1), nn.BatchNorm2d(2)), (4, 10))
    with pytest.raises(ValueError, match=r"use LayerNorm\(\[2, 10\]\), or GroupNorm\(1, 2\)"):
        ff.torch.describe(nn.Sequential(nn.Conv1d(4, 2, 1), nn.LayerNorm(10)), (4, 10))


def test_groups_and_dilation_are_the_description_s():
    net = ff.Network(
        (4, 7, 6),
        [
            ff.Conv2d(6, 3, padding=2, groups=2, dilation=(2, 1)),
            ff.Activation("relu"),
            ff.Conv2d(9, (1, 2), groups=3, bias=False),
            ff.GlobalAvgPool2d(),
        ],
    )
    assert_same(net)
    same = nn.Conv2d(4, 8, (3, 5), padding="same", dilation=(2, 3), groups=2)
    read = ff.torch.describe(nn.Sequential(same, nn.AdaptiveAvgPool2d(1)), (4, 9, 9)).layers[0]
    assert read == ff.Conv2d(8, (3, 5), 1, (2, 6), *variances(same), groups=2, dilation=(2, 3))
    even = nn.Conv2d(4, 8, 2, padding="same", dilation=2)  # as wide on both sides as an odd one
    assert ff.torch.describe(nn.Sequential(even, nn.AdaptiveAvgPool2d(1)), (4, 9, 9)).layers[0].padding == 1


LAYER_NORMS = {
    "before phi": ff.Network(
        5, [ff.Dense(7), ff.LayerNorm(1.4, 0.2, 1e-5, trained=True), ff.Activation("gelu"), ff.Dense(2)]
    ),
    "behind phi": ff.Network(5, [ff.Dense(7), ff.Activation("relu"), ff.LayerNorm(-0.8, eps=1e-3), ff.Dense(2)]),
    "of images": ff.Network(
        (2, 4, 5),
        [
            ff.Conv2d(3, 2),
            ff.LayerNorm(0.7, trained=True),
            ff.Activation("tanh"),
            ff.AvgPool2d(2, 1),
            ff.LayerNorm(),
            ff.Conv2d(4, 2),
            ff.GlobalAvgPool2d(),
        ],
    ),
    "behind the output": ff.Network(5, [ff.Dense(7), ff.Activation("tanh"), ff.Dense(4), ff.LayerNorm(1.1)]),
}


GROUP_NORMS = {
    "of units": ff.Network(5, [ff.Dense(8), ff.GroupNorm(2, 1.4, 0.2, 1e-5, True), ff.Activation("gelu"), ff.Dense(2)]),
    "behind phi": ff.Network(5, [ff.Dense(6), ff.Activation("relu"), ff.GroupNorm(3, -0.8, eps=1e-3), ff.Dense(2)]),
    "of images": ff.Network(
        (2, 4, 5),
        [
            ff.Conv2d(6, 2),
            ff.GroupNorm(3, 0.7),
            ff.Activation("tanh"),
            ff.GroupNorm(1),
            ff.Conv2d(4, 2),
            ff.GlobalAvgPool2d(),
        ],
    ),
}


@pytest.mark.parametrize("name", GROUP_NORMS)
def test_group_norms_are_pytorch_s(name):
    assert_same(GROUP_NORMS[name])


@pytest.mark.parametrize("name", LAYER_NORMS)
def test_layer_norms_are_pytorch_s(name):
    assert_same(LAYER_NORMS[name])


def test_a_layer_norm_without_gamma_and_beta_has_1_and_0():
    own = model(nn.Linear(4, 6), nn.LayerNorm(6, elementwise_affine=False), nn.ReLU(), nn.Linear(6, 2))
    assert ff.torch.describe(own).layers[1] == ff.LayerNorm(eps=1e-5)
    fixed = model(nn.Linear(4, 6), nn.LayerNorm(6, bias=False).requires_grad_(False), nn.ReLU(), nn.Linear(6, 2))
    assert ff.torch.describe(fixed).layers[1] == ff.LayerNorm(eps=1e-5)


def variances(layer):
    bias = torch.zeros(1) if layer.bias is None else layer.bias
    weight, bias = (part.detach().double().numpy() for part in (layer.weight, bias))
    return float(np.mean(weight**2)) * weight[0].size, float(np.mean(bias**2))


@pytest.mark.parametrize(
    ("initialise", "expected"),
    [
        (lambda weight: None, 1 / 3),
        (lambda weight: nn.init.kaiming_normal_(weight, nonlinearity="relu"), 2.0),
        (lambda weight: nn.init.kaiming_uniform_(weight, nonlinearity="relu"), 2.0),
        (nn.init.xavier_normal_, 2 * 300 / 700),
        (nn.init.xavier_uniform_, 2 * 300 / 700),
        (lambda weight: nn.init.normal_(weight, std=300**-0.5), 1.0),
    ],
)
def test_known_initialisers_are_recognised(initialise, expected):
    layer = model(nn.Linear(300, 400))
    initialise(layer[0].weight)
    result = ff.torch.describe(layer, variances="initial").layers[0]
    assert (result.sigma_w2, result.sigma_b2) == (pytest.approx(expected, rel=1e-15), 1 / 900)
    nn.init.zeros_(layer[0].bias)
    assert ff.torch.describe(layer, variances="initial").layers[0].sigma_b2 == 0.0
    nn.init.normal_(layer[0].weight, std=3.0)
    with pytest.raises(ValueError, match=r"of no known initialiser .* use variances='measured'"):
        ff.torch.describe(layer, variances="initial")


INITIALISERS = {
    "PyTorch's own": (lambda weight: None, lambda fan_in, fan_out: 1 / 3),
    "LeCun's": (lambda weight: nn.init.kaiming_normal_(weight, nonlinearity="linear"), lambda fan_in, fan_out: 1.0),
    **{
        f"{name} {law}": (getattr(nn.init, f"{name}_{law}_"), lambda fan_in, fan_out: 2 * fan_in / (fan_in + fan_out))
        for name in ("xavier",)
        for law in ("uniform", "normal")
    },
    **{
        f"kaiming {law} {mode}": (
            lambda weight, law=law, mode=mode: getattr(nn.init, f"kaiming_{law}_")(
                weight, mode=mode, nonlinearity="relu"
            ),
            (lambda fan_in, fan_out: 2.0) if mode == "fan_in" else (lambda fan_in, fan_out: 2 * fan_in / fan_out),
        )
        for law in ("uniform", "normal")
        for mode in ("fan_in", "fan_out")
    },
}


@pytest.mark.parametrize("name", INITIALISERS)
def test_a_known_initialiser_is_never_taken_for_another(name):
    initialise, expected = INITIALISERS[name]
    layers = [nn.Linear(4, 10), nn.Linear(10, 2), nn.Linear(3, 1), nn.Conv2d(3, 8, 3), nn.Linear(64, 30)]
    named = dict.fromkeys(layers, 0)
    for layer in layers:
        fans = nn.init._calculate_fan_in_and_fan_out(layer.weight)
        shape = (3, 5, 5) if isinstance(layer, nn.Conv2d) else fans[0]
        torch.manual_seed(1)
        for _ in range(200):
            layer.reset_parameters()
            initialise(layer.weight)
            parts = (layer, nn.AdaptiveAvgPool2d(1)) if isinstance(layer, nn.Conv2d) else (layer,)
            try:
                result = ff.torch.describe(nn.Sequential(*parts), shape, variances="initial").layers[0]
            except ValueError as error:
                assert re.search("too few to tell .* from .*: use variances='measured'$", str(error))
            else:
                named[layer] += 1
                assert (result.sigma_w2, result.sigma_b2) == (pytest.approx(expected(*fans)), 1 / (3 * fans[0]))
    if name == "PyTorch's own":
        assert named[layers[0]] > 100
    assert named[layers[-1]] == 200


def test_zero_and_constant_weights_are_no_random_ones():
    layer = nn.Linear(6, 5)
    nn.init.zeros_(layer.weight)
    assert ff.torch.describe(layer, variances="initial").layers == (ff.Dense(5, 0.0, 1 / 18),)
    nn.init.constant_(layer.bias, 0.5)  # above 6**-0.5
    with pytest.raises(ValueError, match=r"its biases have mean square 0.25, of no known initialiser"):
        ff.torch.describe(layer, variances="initial")


def test_each_unit_has_its_own_gamma_and_beta():
    random = np.random.default_rng(0)
    widths = (64, 512, 512)
    norms = [nn.BatchNorm1d(width) for width in widths[1:]]
    for norm in norms:
        with torch.no_grad():
            norm.weight.copy_(torch.tensor(random.normal(0.3, 0.1, 512)))
            norm.bias.copy_(torch.tensor(random.normal(-0.2, 0.15, 512)))
    torch.manual_seed(0)
    pairs = [nn.Linear(64, 512), norms[0], nn.ReLU(), nn.Linear(512, 512), norms[1], nn.ReLU(), nn.Linear(512, 1)]
    module = nn.Sequential(*pairs).double()
    net = ff.torch.describe(module)
    assert net.batch_norms[1].gamma == tuple(norms[1].weight.tolist())
    assert ff.torch.describe(ff.torch.module(copy.copy(net))) == net
    theory = ff.fisher(net, samples=500).lambda_max
    one = net.replace(gamma=0.1**0.5, beta=-0.2)  # root mean square and mean: 2.38
    measured = ff.sampled_fisher(ff.torch.sampled(module), ff.data.gaussian(net, samples=500)).lambda_max
    assert theory == pytest.approx(measured, rel=0.03)  # width 512: 1.8 %
    assert ff.fisher(one, samples=500).lambda_max < 0.6 * theory


def test_what_a_description_says_otherwise_is_said():
    own = model(nn.Linear(6, 8), nn.BatchNorm1d(8))
    with torch.no_grad():
        own[1].weight[:] = torch.arange(8.0)
        own[1].bias[0] = 4.0
    with pytest.warns(UserWarning) as warned:  # noqa: PT030 (what they say is looked at below)
        net = ff.torch.describe(own, 6)
    words = [str(each.message) for each in warned]
    assert words[0].startswith("module[1]: gamma is not the same in all outputs (0 to 7)")
    assert words[1].endswith("and enters by its mean, 0.5")
    assert len(words) == 2
    assert (net.layers[1].gamma, net.layers[1].beta) == (pytest.approx(17.5**0.5), 0.5)
    assert warned[0].filename == __file__
    still = model(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2)).eval()
    with pytest.warns(UserWarning, match=r"module\[1\]: BatchNorm is in eval mode, and described as in train mode"):
        ff.torch.describe(still)
    shifted = model(nn.Linear(60, 80), nn.ReLU(), nn.Linear(80, 2))
    nn.init.constant_(shifted[0].weight, 0.1)
    with pytest.warns(UserWarning, match=r"module\[0\]: the weights have mean 0.1 beside a root mean square of 0.1"):
        ff.torch.describe(shifted)


def with_biases(first, last, norm):
    layers = [nn.Linear(6, 9, bias=first), nn.ReLU(), nn.Linear(9, 2, bias=last)]
    return model(*layers[:1], *([nn.BatchNorm1d(9)] if norm else []), *layers[1:]).double()


@pytest.mark.parametrize("norm", [True, False])
@pytest.mark.parametrize(("first", "last"), [(True, True), (True, False), (False, True), (False, False)])
def test_a_layer_without_biases_is_described_as_one(first, last, norm):
    own = with_biases(first, last, norm)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # nothing is to be noted
        net = ff.torch.describe(own)
    assert [layer.bias for layer in net.affine_layers] == [first, last]
    assert net.parameters() == sum(part.numel() for part in own.parameters())
    assert [layer.sigma_b2 == 0.0 for layer in net.affine_layers] == [not first, not last]
    again = ff.torch.module(copy.copy(net))
    assert [part.shape for part in again.parameters() if part.requires_grad] == [
        part.shape for part in own.parameters()
    ]
    assert ff.torch.describe(again) == net
    if not (first or last):
        assert ff.fisher(net).lambda_max == ff.fisher(net, biases=False).lambda_max


def test_biases_before_a_batch_norm_change_no_eigenvalue():
    x = torch.from_numpy(ff.data.gaussian(ff.mlp([6, 2]), 12))

    def largest(own):
        rows = gradients(own, x).reshape(24, -1)
        return np.linalg.eigvalsh(rows @ rows.T)[-1]

    without, own = with_biases(False, True, True), with_biases(True, True, True)
    own.load_state_dict(without.state_dict(), strict=False)
    assert largest(own) == pytest.approx(largest(without), rel=1e-10)  # roundings
    net = ff.torch.describe(without)
    assert ff.fisher(net).lambda_max == pytest.approx(
        ff.fisher(net, biases=False).lambda_max + 1, rel=1e-12
    )  # output's


def hooked():
    layer = nn.Linear(4, 4)
    layer.register_forward_hook(lambda *_: None)
    return layer


class Doubled(nn.Sequential):
    def __call__(self, x):
        return 2 * super().__call__(x)


def changed(layer, change):
    change(layer)
    return layer


def half_frozen():
    layer = nn.BatchNorm1d(4)
    layer.bias.requires_grad_(False)
    return layer


FLAT = {
    "LayerNorm": (nn.LayerNorm(5), r"over shape \(5,\) and gets \(4,\), .* use LayerNorm\(\[4\]\)$"),
    "LayerNorm without beta": (nn.LayerNorm(4, bias=False), "it has no bias: leave bias=False out"),
    "InstanceNorm1d": (nn.InstanceNorm1d(4), "one channel of one sample are random at any width"),
    "SyncBatchNorm": (nn.SyncBatchNorm(4), "use BatchNorm1d or BatchNorm2d, which it equals on one device"),
    "Residual of nothing": (ff.torch.Residual(nn.ReLU()), "branch must hold at least one Dense or convolution"),
    "Residual's width": (
        ff.torch.Residual(nn.Linear(4, 3)),
        r"branch and skip must end with one shape, got \(3,\) and \(4,\)",
    ),
    "Residual's trained scale": (
        changed(ff.torch.Residual(nn.Linear(4, 4)), lambda it: setattr(it, "scale", nn.Parameter(torch.ones(())))),
        "its scale must be a float, for the theory does not train it, got ",
    ),
    "Residual in place": (
        ff.torch.Residual(nn.Sequential(nn.Identity(), nn.ReLU(inplace=True), nn.Linear(4, 4))),
        "ReLU at the start of its branch changes what both branches read: use inplace=False; ff",
    ),
    "Residual's skip in place": (
        ff.torch.Residual(nn.Linear(4, 4), nn.Sequential(nn.ReLU(inplace=True), nn.Linear(4, 4))),
        "ReLU at the start of its skip changes what both branches read: use inplace=False; ff",
    ),
    "PReLU": (nn.PReLU(), "its slope is trained"),
    "RReLU": (nn.RReLU(), "its slope is random"),
    "Softmax": (nn.Softmax(1), "leave it to the loss"),
    "Tanhshrink": (nn.Tanhshrink(), "of activations it has those of fisherfield.activation_names()"),
    "Hardtanh": (nn.Hardtanh(-2, 2), "must go from -1 to 1, or from 0 to 6"),
    "Softplus": (nn.Softplus(beta=2), "must have beta = 1"),
    "AlphaDropout": (
        nn.AlphaDropout(0.1),
        "draws random numbers in train mode: set the Dropout layers alone to eval mode",
    ),
    "Bilinear": (nn.Bilinear(4, 4, 4), "use Linear"),
    "Embedding": (nn.Embedding(4, 4), "begin with Linear or Conv2d"),
    "MultiheadAttention": (nn.MultiheadAttention(4, 2), "no products of activations"),
    "TransformerEncoderLayer": (nn.TransformerEncoderLayer(4, 2, batch_first=True), "no products of activations"),
    "LSTM": (nn.LSTM(4, 4), "no recurrent layers"),
    "GRU": (nn.GRU(4, 4), "no recurrent layers"),
    "LazyLinear": (nn.LazyLinear(4), "call the module on a batch once"),
    "ModuleList": (nn.ModuleList([nn.Linear(4, 4)]), "it has no forward: use Sequential"),
    "Linear": (nn.Linear(5, 4), "takes 5 inputs and gets 4"),
    "frozen Linear": (nn.Linear(4, 4).requires_grad_(False), "some of its do not require gradients"),
    "hooked Linear": (hooked(), "hooks, parametrisations"),
    "parametrised Linear": (nn.utils.parametrizations.weight_norm(nn.Linear(4, 4)), "hooks, parametrisations"),
    "backward hook": (changed(nn.ReLU(), lambda it: it.register_full_backward_hook(print)), "hooks, parametrisations"),
    "before backward": (changed(nn.ReLU(), lambda it: it.register_full_backward_pre_hook(print)), "hooks, param"),
    "weight's hook": (changed(nn.Linear(4, 4), lambda it: it.weight.register_hook(print)), "a hook on its weight"),
    "other forward": (
        changed(nn.Linear(4, 4), lambda it: setattr(it, "forward", abs)),
        "a forward or __call__ in place",
    ),
    "Sequential's": (
        changed(nn.Sequential(), lambda it: setattr(it, "forward", abs)),
        "a forward or __call__ in place",
    ),
    "other __call__": (Doubled(nn.Linear(4, 4)), "a forward or __call__ in place"),
    "complex": (nn.Linear(4, 4, dtype=torch.complex64), "its weight is complex: use a real dtype"),
    "meta": (nn.Linear(4, 4, device="meta"), "its weight is on the meta device"),
    "no units": (
        changed(nn.Linear(4, 1), lambda it: setattr(it, "weight", nn.Parameter(torch.zeros(0, 4)))),
        "one output",
    ),
    "eps": (nn.BatchNorm1d(4, eps=-0.1), "eps must be .*, got -0.1"),
    "AvgPool2d": (nn.AvgPool2d(2), r"takes an image \(channels, height, width\) and gets shape \(4,\)"),
    "BatchNorm1d": (nn.BatchNorm1d(5), "takes 5 features and gets 4"),
    "BatchNorm2d": (nn.BatchNorm2d(4), r"does not take inputs of shape \(4,\)"),
    "half frozen BatchNorm1d": (half_frozen(), "both trained or both fixed"),
    "Conv2d": (nn.Conv2d(4, 4, 1), r"takes an image \(channels, height, width\) and gets shape \(4,\)"),
    "AdaptiveAvgPool2d": (nn.AdaptiveAvgPool2d(1), "takes an image"),
    "NaN in Linear": (nn.Linear(4, 4), "weights and biases must be finite"),
}
nn.init.constant_(FLAT["NaN in Linear"][0].weight, float("nan"))
IMAGE = {
    "MaxPool2d with gaps": (nn.MaxPool2d(2, dilation=2), "windows have gaps, dilation=2: use dilation=1"),
    "MaxPool2d with places": (nn.MaxPool2d(2, return_indices=True), "use return_indices=False"),
    "MaxPool2d with cut windows": (nn.MaxPool2d(4, ceil_mode=True), "whole windows: use ceil_mode=False"),
    "AdaptiveMaxPool2d": (nn.AdaptiveMaxPool2d(4), r"not all of one size, from \(6, 6\) to \(4, 4\): use MaxPool2d"),
    "AdaptiveMaxPool2d with places": (nn.AdaptiveMaxPool2d(1, return_indices=True), "use return_indices=False"),
    "FractionalMaxPool2d": (nn.FractionalMaxPool2d(2, 3), "maxima over windows of one size alone: use MaxPool2d"),
    "LPPool2d": (nn.LPPool2d(2, 2), "no norms over positions"),
    "GroupNorm": (nn.GroupNorm(2, 6), "takes 6 channels and gets 4"),
    "GroupNorm of single channels": (
        nn.GroupNorm(4, 4),
        r"groups must hold two channels or more, got 4 groups of 4 channels: .* \(InstanceNorm\) differ from sample",
    ),
    "LayerNorm": (
        nn.LayerNorm(6),
        r"over shape \(6,\) and gets \(4, 6, 6\), .* LayerNorm\(\[4, 6, 6\]\), or GroupNorm\(1, 4\); ff.torch",
    ),
    "LocalResponseNorm": (nn.LocalResponseNorm(2), "no normalisation over neighbouring channels"),
    "ZeroPad2d": (nn.ZeroPad2d(1), "use padding= of Conv2d"),
    "Upsample": (nn.Upsample(scale_factor=2, mode="bilinear"), "repeats positions: use mode='nearest', got 'bilinear'"),
    "Upsample by halves": (nn.Upsample(scale_factor=1.5), r"a whole number of times, and it does \(1.5, 1.5\) times"),
    "Linear": (nn.Linear(6, 4), "put Flatten before it"),
    "dilated Conv2d": (nn.Conv2d(4, 4, 3, dilation=3), "kernel must be at most the padded size 6, got 3 with dilation"),
    "reflecting Conv2d": (nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect"), "zero padding alone"),
    "even Conv2d": (nn.Conv2d(4, 4, 2, padding="same"), "use an odd one"),
    "channels of Conv2d": (nn.Conv2d(5, 4, 3), "takes 5 channels and gets 4"),
    "large Conv2d": (nn.Conv2d(4, 4, 9), "kernel must be at most the padded size 6, got 9"),
    "Conv1d": (nn.Conv1d(4, 4, 3), r"takes \(channels, length\) and gets shape \(4, 6, 6\)"),
    "AvgPool1d": (nn.AvgPool1d(2), r"takes \(channels, length\) and gets shape \(4, 6, 6\)"),
    "ConvTranspose2d": (nn.ConvTranspose2d(4, 4, 3), "no transposed convolutions: use Conv2d"),
    "Conv3d": (nn.Conv3d(4, 4, 3), "images of two dimensions"),
    "BatchNorm3d": (nn.BatchNorm3d(4), "images of two dimensions"),
    "AvgPool2d without its padding": (
        nn.AvgPool2d(2, padding=1, count_include_pad=False),
        "means do not count the padding: use count_include_pad=True, or padding=0",
    ),
    "ceiled and padded AvgPool2d": (nn.AvgPool2d(3, padding=1, ceil_mode=True, stride=2), "use ceil_mode=False"),
    "large AvgPool2d": (nn.AvgPool2d(9), "kernel must be at most the image's size 6, got 9"),
    "divided AvgPool2d": (nn.AvgPool2d(2, divisor_override=3), "leave divisor_override out"),
    "ceiled AvgPool2d": (nn.AvgPool2d(4, ceil_mode=True), "use ceil_mode=False"),
    "AdaptiveAvgPool2d": (nn.AdaptiveAvgPool2d(4), "windows are not all of one size"),
    "Flatten": (nn.Flatten(2), "start_dim=1"),
}


@pytest.mark.parametrize("case", FLAT)
def test_what_cannot_be_described_is_refused_by_name(case):
    layer, reason = FLAT[case]
    with pytest.raises(ValueError, match=rf"^module\[1\]: {type(layer).__name__} cannot be described: .*{reason}"):
        ff.torch.describe(nn.Sequential(nn.Linear(4, 4), layer, nn.Linear(4, 2)), 4)


@pytest.mark.parametrize("case", IMAGE)
def test_what_cannot_be_described_of_images_is_refused_by_name(case):
    layer, reason = IMAGE[case]
    with pytest.raises(ValueError, match=rf"^module\[1\]: {type(layer).__name__} cannot be described: .*{reason}"):
        ff.torch.describe(nn.Sequential(nn.Conv2d(1, 4, 1), layer), (1, 6, 6))


def test_what_stands_in_the_wrong_place_or_is_nothing_is_refused():
    shared = nn.Linear(4, 4)
    with pytest.raises(
        ValueError, match=r"module\[2\]: Linear cannot be described: its weight is module\[0\].weight too, and"
    ):
        ff.torch.describe(nn.Sequential(shared, nn.ReLU(), shared))
    with pytest.raises(ValueError, match="at least one Dense or Conv2d"):
        ff.torch.describe(nn.Sequential(), 4)
    with pytest.raises(ValueError, match="input_shape must be given where the first layer is not Linear"):
        ff.torch.describe(nn.Sequential(nn.Conv2d(1, 4, 3)))
    with pytest.raises(
        ValueError, match=r"input_shape must be \(units,\), \(channels, length\) or \(channels, height, width\)"
    ):
        ff.torch.describe(nn.Sequential(nn.Linear(4, 4)), (4, 4, 4, 4))
    with pytest.raises(TypeError, match=r"module must be a torch.nn.Module, got 3"):
        ff.torch.describe(3, 4)
    with pytest.raises(ValueError, match="variances must be one of measured, initial, got 'known'"):
        ff.torch.describe(nn.Linear(4, 4), 4, variances="known")
    with pytest.raises(TypeError, match="net must be a fisherfield Network"):
        ff.torch.module(nn.Linear(4, 4))
    with pytest.raises(ValueError, match=r"layers\[1\]: activation must be a named one"):
        ff.torch.module(ff.mlp([3, 4, 2], np.tanh, batch_norm=False))
    with pytest.raises(TypeError, match=r"dtype must be float32 or float64, got 'torch.float16'"):
        ff.torch.module(ff.mlp([3, 4, 2]), dtype=torch.float16)


CONV, NORM, POOL, LINEAR = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.AvgPool2d(2), nn.Linear(16, 3)
MISPLACED = {
    "layer norm first": (
        [nn.LayerNorm((1, 6, 6)), CONV],
        r"module\[0\]: LayerNorm .* after the input: standardize the data before",
    ),
    "two kinds of norms": (
        [CONV, NORM, nn.LayerNorm((4, 4, 4)), nn.ReLU()],
        r"module\[2\]: LayerNorm .* of units that .* already it has no theory; it stands after BatchNorm; ff.torch",
    ),
    "two norms": ([CONV, NORM, nn.BatchNorm2d(4)], r"module\[2\]: BatchNorm2d .* after BatchNorm: leave one out"),
    "relu first": ([nn.ReLU(), CONV], r"module\[0\]: ReLU .* after the input: begin with Linear or Conv2d"),
    "sigmoid": ([CONV, POOL, nn.Flatten(), LINEAR, nn.Sigmoid()], r"module\[4\]: Sigmoid .* as BCEWithLogitsLoss does"),
    "tanh": (
        [CONV, POOL, nn.Flatten(), LINEAR, nn.Tanh()],
        r"module\[4\]: Tanh .* the output must be linear: leave Tanh",
    ),
    "softmax": ([CONV, POOL, nn.Flatten(), LINEAR, nn.Softmax(1)], r"module\[4\]: Softmax .* as CrossEntropyLoss does"),
}


@pytest.mark.parametrize("case", MISPLACED)
def test_what_stands_in_the_wrong_place_is_refused_with_its_place_and_advice(case):
    layers, reason = MISPLACED[case]
    with pytest.raises(ValueError, match=f"^{reason}"):
        ff.torch.describe(nn.Sequential(*layers), (1, 6, 6))


@pytest.mark.parametrize(
    ("own", "reason"),
    [
        (nn.DataParallel(nn.Linear(4, 2)), "it wraps another module: describe module.module"),
    ],
)
def test_what_holds_a_network_says_where_it_is(own, reason):
    for shape in (None, 4):
        with pytest.raises(ValueError, match=f"^module: {type(own).__name__} cannot be described: .*{reason}"):
            ff.torch.describe(own, shape)


PLAIN = nn.Sequential(nn.Linear(4, 50), nn.ReLU(), nn.Linear(50, 2))
with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # of torch.jit, which there still is
    SCRIPTED, TRACED = torch.jit.script(PLAIN), torch.jit.trace(PLAIN, torch.ones(1, 4))
SAMPLES = torch.utils.data.TensorDataset(torch.ones(6, 4), torch.zeros(6))
LOADER = torch.utils.data.DataLoader(SAMPLES)


@pytest.mark.parametrize(
    ("given", "way"),
    [
        (PLAIN, "fisherfield.torch.describe makes one of a module"),
        (PLAIN.state_dict(), "a state_dict has no layers, load it into its module and give that to fisherfield.torch"),
        (SCRIPTED, "fisherfield.torch.describe makes one of the module that was scripted"),
        (nn.Linear, "it is a class, make an object of it"),
        (LOADER, "it has samples and no layers"),
        (SAMPLES, "it has samples and no layers"),
        ((np.ones((6, 4)), np.zeros(6)), "it has samples and no layers"),
    ],
)
def test_what_pytorch_has_in_place_of_a_network_is_told_the_way_to_one(given, way):
    for ask in (
        ff.max_learning_rate,
        ff.fisher,
        ff.sample,
        ff.torch.module,
        lambda net: ff.scan(net, {"gamma": [1.0]}),
    ):
        with pytest.raises(TypeError, match=f"^net must be a fisherfield Network, got .+: {way}") as refused:
            ask(given)
        assert len(str(refused.value)) < 250


@pytest.mark.parametrize(
    ("given", "way"),
    [
        (PLAIN.state_dict(), "a state_dict has no layers"),
        (LOADER, "it has samples and no layers"),
        (ff.mlp([3, 2]), "it is a description already"),
        (nn.Linear, "it is a class, make an object of it"),
        ([nn.Linear(3, 2), nn.ReLU()], r"torch.nn.Sequential\(\*modules\) makes one"),
        (nn.functional.relu, "the layers of a function cannot be seen"),
        ("model.pt", "torch.load reads one from a file"),
    ],
)
def test_what_is_no_module_is_told_the_way_to_one(given, way):
    for ask in (ff.torch.describe, ff.torch.sampled):
        with pytest.raises(TypeError, match=f"^module must be a torch.nn.Module, got .+: {way}"):
            ask(given)


@pytest.mark.parametrize(
    ("given", "way"),
    [
        (LOADER, r"take a batch of it, x, y = next\(iter\(loader\)\)"),
        (SAMPLES, r"take its samples, x, y = next\(iter\(DataLoader\(dataset, batch_size=len\(dataset\)\)\)\)"),
        ((torch.ones(6, 4), torch.ones(6)), r"of a pair give x alone, but to fisherfield.data.load the tuple \(x, y\)"),
        (torch.ones(6, 4, requires_grad=True), r"use .detach\(\).cpu\(\).double\(\).numpy\(\)"),
        (torch.ones(6, 4, dtype=torch.bfloat16), r"use .detach\(\).cpu\(\).double\(\).numpy\(\)"),
        ([torch.ones(4, requires_grad=True)] * 6, r"use torch.stack\(x\).detach\(\).cpu\(\).double\(\).numpy\(\)"),
        ({"x": np.ones((6, 4))}, "give one of its values"),
        (ff.data.load(np.arange(24.0).reshape(6, 4)), "give its x"),
        ("digits", "fisherfield.data.load reads data sets"),
    ],
)
def test_samples_that_are_no_array_are_told_the_way_to_one(given, way):
    net = ff.mlp([4, 30, 2], batch_norm=False)
    for ask in (ff.sample(net), lambda x: ff.sampled_fisher(net, x)):
        with pytest.raises(TypeError, match=f"^x must be an array of real numbers, got .+: {way}$") as refused:
            ask(given)
        assert len(str(refused.value)) < 250


@pytest.mark.parametrize(
    ("given", "way"),
    [
        (nn.MSELoss(), "it is 'mse'"),
        (nn.MSELoss, "it is 'mse'"),
        (nn.functional.mse_loss, "it is 'mse'"),
        (nn.CrossEntropyLoss(), "it is 'cross_entropy'"),
        (nn.MSELoss(reduction="sum"), "losses are means over samples, that with reduction='mean' is 'mse'"),
        (nn.CrossEntropyLoss(label_smoothing=0.1), "without weights and label smoothing it is 'cross_entropy'"),
        (nn.CrossEntropyLoss(weight=torch.ones(3)), "without weights and label smoothing it is 'cross_entropy'"),
        (nn.L1Loss(), "there is no other loss"),
        (nn.BCEWithLogitsLoss(), "there is no other loss"),
    ],
    ids=_plain,
)
def test_a_loss_of_pytorch_s_is_told_its_name(given, way):
    allowed = "loss must be one of sum, mean, mse, cross_entropy, got "
    with pytest.raises(ValueError, match=f"^{allowed}.+: {way}$"):
        ff.max_learning_rate(ff.mlp([4, 30, 3]), loss=given)


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        (nn.ReLU(), "relu"),
        (nn.ReLU, "relu"),
        (torch.relu, "relu"),
        (nn.functional.leaky_relu, "leaky_relu"),
        (nn.Tanh(), "tanh"),
        (torch.tanh, "tanh"),
    ],
    ids=_plain,
)
def test_an_activation_of_pytorch_s_is_told_its_name(given, meant):
    allowed = "activation must be a name, an Activation or a function of NumPy arrays, got PyTorch's "
    with pytest.raises(TypeError, match=rf"^{allowed}.+ \(did you mean '{meant}'\?\)$"):
        ff.mlp([3, 4, 2], given)


SEEN = "its layers cannot be seen any more: describe the module that it was scripted, traced or quantised from"


@pytest.mark.parametrize(
    ("own", "reason"),
    [
        (SCRIPTED, SEEN),
        (TRACED, SEEN),
        (torch.fx.symbolic_trace(PLAIN), SEEN),
        (nn.LSTM(4, 5), "the theory has no recurrent layers: use Linear or Conv1d"),
        (nn.MultiheadAttention(4, 2), "no products of activations: describe the Sequentials of Linear layers in it"),
        (nn.Unflatten(1, (1, 2, 2)), r"leave it out, and give input_shape as \(channels, height, width\)"),
        (nn.LayerNorm(4), "it stands after the input: standardize the data before"),
        (nn.ReLU(), "it stands after the input: begin with Linear or Conv2d"),
    ],
)
def test_a_first_layer_that_cannot_be_is_refused_by_name_with_and_without_an_input_shape(own, reason):
    for shape in (None, 4):
        with pytest.raises(ValueError, match=f"^module: {type(own).__name__} cannot be described: .*{reason}"):
            ff.torch.describe(own, shape)
        where = r"module\[0\]" if type(own).__name__ != "GraphModule" else "module"
        with pytest.raises(ValueError, match=f"^{where}.*: {type(own).__name__} cannot be described: .*{reason}"):
            ff.torch.describe(nn.Sequential(own, nn.Linear(4, 2)), shape)


def test_an_input_shape_that_must_be_given_is_asked_for_by_the_layer_s_name():
    lines = nn.Sequential(nn.Conv1d(1, 8, 3), nn.Flatten(), nn.Linear(48, 2))
    words = "input_shape must be given where the first layer is not Linear but Conv1d: (units,), (channels, length) or "
    with pytest.raises(ValueError, match=f"^{re.escape(words)}"):
        ff.torch.describe(lines)
    with pytest.raises(ValueError, match=r"gets shape \(8,\): give it as input_shape, without the batch$"):
        ff.torch.describe(lines, 8)
    with pytest.raises(ValueError, match=r"^input_shape must hold at most 32 values, got more: "):
        ff.torch.describe(lines, iter(range(1, 10**9)))


def test_a_padding_mode_is_cut():
    layer = nn.Conv2d(1, 4, 3)
    layer.padding_mode = "x" * 10**6
    with pytest.raises(
        ValueError, match=r"the theory has zero padding alone, and it has 'xxx.+': use 'zeros'$"
    ) as refused:
        ff.torch.describe(nn.Sequential(layer, nn.Flatten(), nn.Linear(64, 2)), (1, 6, 6))
    assert len(str(refused.value)) < 250


def tied(one, other, name, change=lambda tensor: tensor):
    setattr(other, name, change(getattr(one, name)))
    return one, other


@pytest.mark.parametrize(
    ("pair", "name"),
    [
        ((nn.BatchNorm1d(4),) * 2, "weight"),
        (tied(nn.BatchNorm1d(4), nn.BatchNorm1d(4), "weight"), "weight"),
        (tied(nn.Linear(4, 4), nn.Linear(4, 4), "bias"), "bias"),
        (tied(nn.Linear(4, 4), nn.Linear(4, 4), "weight", lambda it: nn.Parameter(it.data)), "weight"),
        (tied(nn.Linear(4, 4), nn.Linear(4, 4), "weight", lambda it: nn.Parameter(it.data.T)), "weight"),
    ],
)
def test_shared_parameters_are_refused(pair, name):
    parts = (
        [layer for each in pair for layer in (nn.Linear(4, 4), each)] if isinstance(pair[0], nn.BatchNorm1d) else pair
    )
    with pytest.raises(
        ValueError, match=rf"its {name} is module\[\d\].{name} too, and the theory has independent ones"
    ):
        ff.torch.describe(nn.Sequential(*parts, nn.Linear(4, 4)))


def test_a_module_goes_on_behind_the_flatten_that_makes_its_outputs_flat():
    net = NETWORKS["positions averaged"]
    longer = nn.Sequential(ff.torch.module(net), nn.Linear(2, 3))
    result = ff.torch.describe(longer, net.input_shape)
    assert result.layers[:-1] == (*net.layers, ff.Flatten())


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
def test_a_layer_without_units_is_refused():
    with pytest.raises(ValueError, match=r"at least one input and one output, got a weight of shape \(0, 6\)"):
        ff.torch.describe(nn.Linear(6, 0))


@settings(max_examples=60)
@given(strategies.networks(activations=(*strategies.CLOSED, *strategies.QUADRATURE), closed=False))
def test_layers_in_any_order_are_written_and_read_again(net):
    module = ff.torch.module(net, seed=1)
    assert ff.torch.describe(module) == net
    x = ff.data.gaussian(net, 5)
    try:
        outputs = ff.sample(net, 1)(x)
    except ValueError as error:  # a normalisation over units that are all the same
        assert "zero variance" in str(error)
        assume(False)
    with torch.no_grad():
        first, again = (module(torch.from_numpy(as_taken(module, x))).numpy() for _ in range(2))
    # of few units two draws are alike now and then
    if not any(isinstance(part, nn.modules.dropout._DropoutNd) for part in module.modules()):
        assert np.array_equal(first, again)
        # roundings, which a normalisation over two units that are nearly the same enlarges
        np.testing.assert_allclose(first, outputs, rtol=0, atol=1e-9 * np.abs(outputs).max())


def test_a_single_layer_and_what_does_nothing_are_described():
    layer = nn.Linear(4, 2)
    assert ff.torch.describe(layer).layers == (ff.Dense(2, *variances(layer)),)
    idle = nn.Sequential(nn.Identity(), nn.Dropout(0.0), nn.Flatten(), layer)
    assert ff.torch.describe(idle, 4).layers == (ff.Dense(2, *variances(layer)),)


def test_the_networks_that_were_trained_as_pytorch_s_defaults_are_pytorch_s_defaults(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parent.parent / "bench")
    import training

    torch.manual_seed(0)
    for batch_norm in (False, True):
        layers = []
        for fan_in, units in ((64, 256), (256, 256), (256, 10)):
            layers += [nn.Linear(fan_in, units), *([nn.BatchNorm1d(units)] if batch_norm else []), nn.ReLU()]
        model = nn.Sequential(*layers[: -2 if batch_norm else -1])
        assert ff.torch.describe(model, variances="initial") == training.defaults(batch_norm)


# ---------------------------------------------------------------------------------------------------------- the package


def test_without_pytorch_the_pip_command_is_given():
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import fisherfield as ff\n"
        "for ask in (lambda: ff.torch.module(ff.mlp([3, 4, 2])), lambda: ff.torch.Residual):\n"
        "    try: ask()\n"
        "    except ImportError as error: print(error)\n"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.splitlines() == ["fisherfield.torch needs PyTorch: pip install 'fisherfield[torch]'"] * 2
