# SPDX-License-Identifier: BSD-3-Clause
"""Where the training of PyTorch modules explodes, and under losses of one's own."""

from __future__ import annotations

import functools

import numpy as np
import pytest

import fisherfield as ff

torch = pytest.importorskip("torch")
nn = torch.nn

boundary = ff.experiments.boundary


def line(n=60, features=4, seed=0):
    """A linear problem: (X, y), and the largest eigenvalue of its Hessian by PyTorch's MSE of one output."""
    random = np.random.default_rng(seed)
    x = random.standard_normal((n, features))
    rows = np.hstack([x, np.ones((n, 1))])
    return (x, random.standard_normal((n, 1))), float(np.linalg.eigvalsh(rows.T @ rows / n)[-1])


QUADRATIC = {"batch": "full", "epochs": 300, "standardize": None, "dtype": "float64", "threads": 1}


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize(
    ("loss", "factor"),
    [
        ("sum", 1.0),
        (nn.MSELoss(), 2.0),
        (nn.functional.mse_loss, 2.0),
        (lambda f, y: 3 * (f - y).square().mean(), 6.0),
    ],
)
def test_on_a_quadratic_it_is_two_times_one_plus_mu_over_lambda_under_any_loss(momentum, loss, factor):
    data, largest = line()
    torch.manual_seed(0)
    result = boundary(nn.Linear(4, 1), data, momentum, loss, **QUADRATIC)
    known = 2 * (1 + momentum) / (factor * largest)
    assert result.measured[0] == pytest.approx(known, rel=2e-3)  # Lanczos' tolerance is 1e-3
    assert result.eta_c[0] == pytest.approx(known, rel=0.03)  # 2 % promised, from a start off by so much
    assert set(result.eta_star) >= {"measured"}


def test_nesterov_and_weight_decay_count():
    data, largest = line()
    torch.manual_seed(0)
    result = boundary(nn.Linear(4, 1), data, 0.5, nn.MSELoss(), nesterov=True, weight_decay=0.7, **QUADRATIC)
    known = 2 * 1.5 / 2.0 / (2 * largest + 0.7)
    assert result.measured[0] == pytest.approx(known, rel=2e-3)
    assert result.eta_c[0] == pytest.approx(known, rel=0.03)
    assert "loss MSELoss, momentum 0.5, Nesterov, weight decay 0.7" in repr(result)


NET = ff.mlp([64, 20, 10])


def made(seed, width=20):
    return ff.torch.module(ff.mlp([64, width, 10]), seed, "float32")


def test_a_factory_of_a_seed_has_the_boundary_of_the_network_that_it_is_made_of():
    pytest.importorskip("sklearn")
    recipe = {"momentum": 0.9, "epochs": 2, "batch": 64, "samples": 256, "seeds": (0, 1), "threads": 1}
    digits = ff.data.load("digits", samples=256, shape=(64,))
    del recipe["samples"]
    described = boundary(NET, digits, loss="mse", **recipe)
    of_modules = boundary(made, digits, loss="mse", **recipe)
    # the same weights and batches; the search begins at another program's eigenvalue, to 1e-3
    assert of_modules.eta_c == pytest.approx(described.eta_c, rel=0.05)
    assert of_modules.measured == pytest.approx(described.measured, rel=2e-3)
    assert of_modules.network == NET
    for theory, rate in described.eta_star.items():
        assert of_modules.eta_star[theory] == pytest.approx(rate, rel=2e-3)
    again = boundary(functools.partial(made), digits, loss="mse", **recipe)
    assert np.array_equal(again.eta_c, of_modules.eta_c)  # the same bits


def test_a_network_is_trained_under_a_loss_of_one_s_own():
    pytest.importorskip("sklearn")
    digits = ff.data.load("digits", samples=128, shape=(64,))
    recipe = {"epochs": 2, "batch": 64, "tolerance": 0.2, "reach": 4.0, "threads": 1}

    def one_hot(f, y):
        return (f - nn.functional.one_hot(y, 10)).square().mean()

    own, named = boundary(NET, digits, loss=one_hot, **recipe), boundary(NET, digits, loss="mse", **recipe)
    assert own.measured == pytest.approx(named.measured, rel=2e-3)
    assert own.eta_c == pytest.approx(named.eta_c, rel=0.21)  # of the tolerance
    assert own.network is None
    assert own.settings["loss"] == "one_hot"


def test_a_module_is_left_as_it_is_and_a_class_is_made():
    class Own(nn.Module):
        """Random, and without theory."""

        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(4, 12), nn.Linear(12, 3)
            self.norm, self.drop = nn.BatchNorm1d(12), nn.Dropout(0.1)

        def forward(self, x):
            h = self.norm(self.a(x))
            return self.b(self.drop(torch.tanh(h) * torch.sigmoid(h)))

    random = np.random.default_rng(0)
    data = random.standard_normal((64, 4)), random.integers(0, 3, 64)
    torch.manual_seed(3)
    module, state = Own(), torch.get_rng_state()
    numbers = {name: value.clone() for name, value in module.state_dict().items()}
    recipe = {"loss": "mse", "epochs": 20, "batch": "full", "seeds": (0,), "tolerance": 0.2, "threads": 1}
    result = boundary(module, data, **recipe)
    assert 0.2 < float(result.ratios["measured"][0]) < 20
    assert all(torch.equal(value, module.state_dict()[name]) for name, value in numbers.items())
    assert torch.equal(state, torch.get_rng_state())
    assert np.array_equal(boundary(module, data, **recipe).eta_c, result.eta_c)
    assert result.network is None
    assert result.settings["trained"] is True
    assert boundary(Own, data, **recipe).eta_c[0] > 0


def test_what_cannot_be_trained_is_refused_in_a_sentence(tmp_path):
    data, _ = line()
    linear = nn.Linear(4, 1)
    for arguments, keywords, words in (
        ((linear, data), {"store": tmp_path / "s"}, "store must be None for modules"),
        ((linear, data), {"train_affine": True}, "train_affine must be None for modules"),
        (
            (lambda seed, width: linear, data),
            {},
            "net must be a function of a seed or of nothing, got one of seed, width",
        ),
        ((lambda: 3, data), {}, "net must make a torch.nn.Module, got 3"),
        ((nn.Linear(5, 1), data), {}, "module must take x of shape"),
        ((linear, data), {"loss": "msee"}, "loss must be"),
        ((linear, data), {"momentum": 1.5}, "momentum"),
        ((linear, data), {"batch": 500}, "batch must be at most 60"),
        ((3, data), {}, "net must be a fisherfield Network"),
        ((linear, data), {"loss": lambda f, y: f.mean(), "batch": "full"}, "loss must be curved at the start"),
    ):
        with pytest.raises((ValueError, TypeError), match=words):
            boundary(*arguments, **keywords)
