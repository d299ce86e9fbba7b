# SPDX-License-Identifier: BSD-3-Clause
"""The critical learning rate of an optimiser's own next update."""

from __future__ import annotations

import copy
import math
import pickle

import pytest

import fisherfield as ff

torch = pytest.importorskip("torch")
nn, optim = torch.nn, torch.optim

OPTIMIZERS = {
    "SGD": lambda p: optim.SGD(p, 0.1),
    "momentum": lambda p: optim.SGD(p, 0.1, momentum=0.9),
    "Nesterov": lambda p: optim.SGD(p, 0.1, momentum=0.9, nesterov=True, weight_decay=1e-3),
    "Adam": lambda p: optim.Adam(p, 1e-3),
    "AdamW": lambda p: optim.AdamW(p, 1e-3, weight_decay=0.1, amsgrad=True),
    "RMSprop": lambda p: optim.RMSprop(p, 1e-3),
    "Adagrad": lambda p: optim.Adagrad(p, 1e-3),
    "rate as a tensor": lambda p: optim.SGD(p, torch.tensor(0.1)),
    "two rates": lambda p: (lambda p: optim.SGD([{"params": p[:1]}, {"params": p[1:], "lr": 0.3}], 0.1))(list(p)),
}


def problem(seed=0, dtype=torch.float64, dropout=False):
    torch.manual_seed(seed)
    middle = nn.Dropout(0.2) if dropout else nn.BatchNorm1d(16)
    module = nn.Sequential(nn.Linear(5, 16), middle, nn.ReLU(), nn.Linear(16, 3)).to(dtype)
    return module, torch.randn(32, 5, dtype=dtype), torch.randint(0, 3, (32,))


def pieces(module, optimizer):
    """Numbers and places of all that may not change."""
    state = {
        (i, name): value.clone() if isinstance(value, torch.Tensor) else value
        for i, parameter in enumerate(module.parameters())
        for name, value in optimizer.state.get(parameter, {}).items()
    }
    groups = [{k: v for k, v in group.items() if k != "params"} for group in optimizer.param_groups]
    numbers = [each.clone() for each in module.state_dict().values()]
    grads = [None if p.grad is None else p.grad.clone() for p in module.parameters()]
    return state, groups, numbers, grads, torch.get_rng_state(), [p.data_ptr() for p in module.parameters()]


def same(one, other):
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


def stepped(module, optimizer, x, y, rate):
    """The loss after a step of copies at a rate, and before it; by PyTorch alone."""
    module, optimizer = copy.deepcopy((module, optimizer))
    loss = nn.functional.cross_entropy(module(x), y)
    optimizer.zero_grad()
    loss.backward()
    first = optimizer.param_groups[0]["lr"]
    for group in optimizer.param_groups:
        group["lr"] = group["lr"] * rate / first
    optimizer.step()
    with torch.no_grad():
        return float(nn.functional.cross_entropy(module(x), y)), loss.item()


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("warm", [False, True])
def test_at_the_rate_a_step_does_not_raise_the_loss_and_at_one_percent_more_it_does(name, warm):
    module, x, y = problem()
    optimizer = OPTIMIZERS[name](module.parameters())
    if warm:
        for _ in range(3):
            optimizer.zero_grad()
            nn.functional.cross_entropy(module(x), y).backward()
            optimizer.step()
    before = pieces(module, optimizer)
    rate = ff.torch.first_step(module, x, y, "cross_entropy", optimizer)
    assert same(before, pieces(module, optimizer))
    assert rate.evaluations <= 25
    assert 0 < rate == rate.low < rate.high <= 1.01 * rate
    after, start = stepped(module, optimizer, x, y, rate)
    assert start == pytest.approx(rate.before, rel=1e-12)
    assert after <= start * (1 + 1e-12)
    assert stepped(module, optimizer, x, y, rate.high)[0] > start * (1 - 1e-12)
    assert ff.torch.first_step(module, x, y, nn.functional.cross_entropy, optimizer) == rate


def test_on_a_quadratic_it_is_the_rate_of_the_gradient_s_curvature():
    torch.manual_seed(0)
    module, x, y = nn.Linear(4, 2).double(), torch.randn(20, 4).double(), torch.randn(20, 2).double()
    rate = ff.torch.first_step(module, x, y, "mse", optim.SGD(module.parameters(), 1.0))
    f = module(x)
    loss = nn.functional.mse_loss(f, y)
    g = torch.autograd.grad(loss, list(module.parameters()))
    along = x @ g[0].T + g[1]
    expected = 2 * sum(float(each.square().sum()) for each in g) / float(2 * along.square().mean())
    assert rate.estimate == pytest.approx(expected, rel=1e-12)
    assert rate.low <= expected * (1 + 1e-12)
    assert rate.high >= expected * (1 - 1e-12)
    assert rate >= 2 / ff.torch.measure(module, x, loss="mse").lambda_max / 1.01


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_other_dtypes_and_random_layers(dtype):
    module, x, y = problem(dtype=dtype, dropout=True)
    optimizer = optim.Adam(module.parameters())
    before = pieces(module, optimizer)
    rates = [ff.torch.first_step(module, x, y, "cross_entropy", optimizer) for _ in range(2)]
    assert rates[0] == rates[1] > 0
    assert same(before, pieces(module, optimizer))


def test_a_scheduler_s_optimizer_is_left_alone():
    module, x, y = problem()
    optimizer = optim.SGD(module.parameters(), 0.1)
    scheduler = optim.lr_scheduler.StepLR(optimizer, 2)
    attributes = {name: value for name, value in vars(optimizer).items() if isinstance(value, (int, bool))}
    assert ff.torch.first_step(module, x, y, "cross_entropy", optimizer) > 0
    assert {name: value for name, value in vars(optimizer).items() if isinstance(value, (int, bool))} == attributes
    assert scheduler.get_last_lr() == [0.1]


def test_where_no_rate_or_every_rate_raises_the_loss():
    torch.manual_seed(0)
    module, x = nn.Linear(3, 1).double(), torch.randn(8, 3).double()

    class Up(optim.SGD):
        def step(self, closure=None):
            for group in self.param_groups:
                for each in group["params"]:
                    each.data.add_(each.grad, alpha=group["lr"])

    y = torch.randn(8, 1).double()
    rate = ff.torch.first_step(module, x, y, "mse", Up(module.parameters(), 0.1))
    assert (float(rate), rate.low) == (0.0, 0.0)
    assert "every rate raises it" in repr(rate)

    def falling(f, targets):
        return f.mean()

    rate = ff.torch.first_step(module, x, None, falling, optim.SGD(module.parameters(), 0.1))
    assert math.isinf(rate)
    assert "no rate raises it" in repr(rate)
    assert rate.evaluations <= 25


def test_a_failing_step_leaves_all_as_it_was():
    class Failing(optim.Adam):
        def step(self, closure=None):
            super().step()
            raise ZeroDivisionError

    module, x, y = problem()
    optimizer = Failing(module.parameters())
    before = pieces(module, optimizer)
    with pytest.raises(ZeroDivisionError):
        ff.torch.first_step(module, x, y, "cross_entropy", optimizer)
    assert same(before, pieces(module, optimizer))


def test_what_cannot_be_stepped_is_refused_in_a_sentence():
    module, x, y = problem()
    for optimizer, words in (
        (optim.LBFGS(module.parameters()), "optimizer must take its step without a closure, and LBFGS needs one"),
        (optim.SGD, "optimizer must be a torch.optim.Optimizer, got .*: it is a class"),
        (optim.SGD(nn.Linear(2, 2).parameters(), 0.1), "optimizer must hold parameters of the module"),
        (
            optim.SGD([{"params": module[0].parameters(), "lr": 0.0}, {"params": module[3].parameters()}], 0.1),
            "rates > 0",
        ),
    ):
        with pytest.raises((ValueError, TypeError), match=words):
            ff.torch.first_step(module, x, y, "cross_entropy", optimizer)
    with pytest.raises(ValueError, match="targets must be there"):
        ff.torch.first_step(module, x, None, "cross_entropy", optim.SGD(module.parameters(), 0.1))


def test_it_is_pickled_and_says_what_it_is():
    module, x, y = problem()
    rate = ff.torch.first_step(module, x, y, "cross_entropy", optim.SGD(module.parameters(), 0.1))
    again = pickle.loads(pickle.dumps(rate))
    assert again == rate
    assert repr(again) == repr(rate)
    assert "the critical learning rate of the next update by SGD" in repr(rate)
    assert f"{rate.evaluations} forward passes" in repr(rate)
