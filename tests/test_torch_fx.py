# SPDX-License-Identifier: BSD-3-Clause
"""Modules with a forward of their own: followed by torch.fx, described as what they compute, or refused by place."""

from __future__ import annotations

import copy
import warnings

import numpy as np
import pytest
import strategies
from hypothesis import given, settings

import fisherfield as ff

torch = pytest.importorskip("torch")
nn = torch.nn
F = torch.nn.functional
MEASURE = r"; ff\.torch\.measure\(module, x\) measures the model as it is$"


class Own(nn.Module):
    """A module of these parts, whose forward is this function of itself and x."""

    def __init__(self, function, **parts):
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, part)
        self.function = function

    def forward(self, x):
        return self.function(self, x)


def dense(fan_in=4, units=4, **more):
    torch.manual_seed(0)
    return nn.Linear(fan_in, units, **more)


def of(layer):
    """The Dense or Conv2d that a module is described as."""
    return ff.torch.describe(nn.Sequential(layer, nn.Linear(layer.out_features, 2))).layers[0]


def assert_own_numbers(module, net, shape, seed=0):
    """What is described is what the module computes: a sampled network of its numbers has its outputs."""
    module = copy.deepcopy(module).double()
    sampled = ff.torch.sampled(module, shape)
    x = torch.randn(6, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        outputs = module(x).numpy()
    # roundings, which sums of branches enlarge
    np.testing.assert_allclose(sampled(x.numpy()), outputs, rtol=0, atol=1e-11 * np.abs(outputs).max())
    assert [type(layer) for layer in sampled.net.layers] == [type(layer) for layer in net.layers]


# --------------------------------------------------------------------------------------------- what is what a module is


@settings(max_examples=60)
@given(strategies.networks(activations=(*strategies.CLOSED, *strategies.QUADRATURE)))
def test_a_module_that_calls_another_one_is_described_as_that(net):
    inner = ff.torch.module(net, seed=1)
    own = Own(lambda self, x: self.inner(x), inner=inner)
    line = any(isinstance(part, (nn.Conv1d, nn.AvgPool1d, nn.AdaptiveAvgPool1d)) for part in inner.modules())
    shape = (net.input_shape[0], net.input_shape[2]) if line else net.input_shape
    assert ff.torch.describe(own, shape) == net


class PreActivation(nn.Module):
    def __init__(self, before, channels, stride=1):
        super().__init__()
        self.bn1, self.conv1 = nn.BatchNorm2d(before), nn.Conv2d(before, channels, 3, stride, 1, bias=False)
        self.bn2, self.conv2 = nn.BatchNorm2d(channels), nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        if stride != 1 or before != channels:
            self.shortcut = nn.Sequential(nn.Conv2d(before, channels, 1, stride, bias=False))

    def forward(self, x):
        out = F.relu(self.bn1(x))
        shortcut = self.shortcut(out) if hasattr(self, "shortcut") else x
        out = self.conv1(out)
        out = self.conv2(F.relu(self.bn2(out)))
        out += shortcut
        return out


class PreActivationNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, 1, 1, bias=False)
        self.layer1 = nn.Sequential(PreActivation(6, 6), PreActivation(6, 6))
        self.layer2 = nn.Sequential(PreActivation(6, 8, 2), PreActivation(8, 8))
        self.bn, self.fc = nn.BatchNorm2d(8), nn.Linear(8, 10)

    def forward(self, x, features=False, mask=None):
        x = self.layer2(self.layer1(self.stem(x)))
        x = F.relu(self.bn(x), inplace=True)
        x = F.avg_pool2d(x, x.size()[2:])
        x = x.view(x.size(0), -1)
        return x if features else self.fc(x)


def test_a_pre_activation_net_written_with_forward_is_described():
    torch.manual_seed(0)
    own = PreActivationNet()
    net = ff.torch.describe(own, (3, 8, 8))
    assert [type(layer).__name__ for layer in net.layers] == [
        *("Conv2d", "Residual", "Residual", "BatchNorm", "Activation", "Residual", "Residual"),
        *("BatchNorm", "Activation", "AvgPool2d", "Flatten", "Dense"),
    ]
    words = ["BatchNorm", "Activation", "Conv2d"] * 2
    assert [[type(layer).__name__ for layer in net.layers[place].branch] for place in (1, 2, 5, 6)] == [
        words,
        words,
        words[2:],
        words,
    ]
    assert [[type(layer).__name__ for layer in net.layers[place].skip] for place in (1, 2, 5, 6)] == [
        *([], [], ["Conv2d"], [])
    ]
    assert net.parameters() == sum(part.numel() for part in own.parameters())
    assert_own_numbers(own, net, (3, 8, 8))


def test_functions_and_methods_are_the_modules_that_they_equal():
    torch.manual_seed(0)
    conv, line, norm, group = (
        nn.Conv2d(2, 6, 3, 2, 1),
        nn.Conv2d(6, 4, (1, 2), bias=False),
        nn.BatchNorm2d(6),
        nn.GroupNorm(2, 4),
    )
    whole, rms, last = nn.LayerNorm(4), nn.RMSNorm(4, eps=1e-3), nn.Linear(4, 3)
    modules = nn.Sequential(
        *(conv, norm, nn.LeakyReLU(0.2), nn.AvgPool2d(2, 1), line, group, nn.Tanh(), nn.AdaptiveAvgPool2d(1)),
        *(nn.Flatten(), dense(), whole, nn.GELU(), dense(4, 4), rms, nn.Hardtanh(), last),
    )

    def forward(self, x):
        x = F.conv2d(x, conv.weight, conv.bias, stride=2, padding=1)
        x = F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias, training=True)
        x = F.avg_pool2d(F.leaky_relu(x, 0.2), 2, 1)
        x = torch.conv2d(x, line.weight)
        x = F.group_norm(x, 2, group.weight, bias=group.bias).tanh()
        x = x.mean(dim=(-1, -2))
        x = F.gelu(F.layer_norm(F.linear(x, self.one.weight, self.one.bias), (4,), whole.weight, whole.bias))
        x = F.rms_norm(F.linear(x, self.two.weight, self.two.bias), (4,), rms.weight, 1e-3).clamp(-1, 1)
        return F.linear(F.dropout(x, 0.5, training=False), last.weight, last.bias)

    own = Own(forward, kept=nn.ModuleList(modules), one=modules[9], two=modules[12])
    net = ff.torch.describe(modules, (2, 9, 9))
    assert ff.torch.describe(own, (2, 9, 9)) == net
    assert len(net.layers) == 16


ACTIVATIONS = {
    "relu": [F.relu, torch.relu, torch.relu_, lambda x: x.relu(), lambda x: x.relu_(), lambda x: x.clamp(min=0)],
    "relu6": [F.relu6, lambda x: torch.clamp(x, 0, 6)],
    "tanh": [torch.tanh, F.tanh, lambda x: x.tanh()],
    "sigmoid": [torch.sigmoid, F.sigmoid, lambda x: x.sigmoid()],
    "leaky_relu(0.2)": [lambda x: F.leaky_relu(x, 0.2, inplace=True)],
    "gelu_tanh": [lambda x: F.gelu(x, approximate="tanh")],
    "elu(0.5)": [lambda x: F.elu(x, 0.5)],
    "hardswish": [F.hardswish],
    "softplus": [F.softplus],
    "erf": [torch.erf, lambda x: x.erf()],
    "sin": [torch.sin],
    "abs": [abs, torch.abs],
    **{name: [getattr(F, name)] for name in ("silu", "mish", "selu", "softsign", "hardsigmoid", "gelu")},
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_are_read_as_functions_and_methods(name):
    for function in ACTIVATIONS[name]:
        own = Own(lambda self, x, phi=function: self.two(phi(self.one(x))), one=dense(), two=dense(4, 2))
        assert ff.torch.describe(own, 4).layers == (
            of(own.one),
            ff.Activation(name),
            ff.torch.describe(own.two).layers[0],
        )


PARTS = {"a": dense(), "f": dense(bias=False), "g": dense(4, 2)}
A, FF, G = of(PARTS["a"]), of(PARTS["f"]), ff.torch.describe(PARTS["g"]).layers[0]
SUMS = {
    "+": (lambda self, x: x + self.f(x), ff.Residual([FF])),
    "branch first": (lambda self, x: self.f(x) + x, ff.Residual([FF])),
    "torch.add": (lambda self, x: torch.add(x, self.f(x), alpha=0.5), ff.Residual([FF], scale=0.5)),
    "in place": (lambda self, x: self.f(x).add_(x), ff.Residual([FF])),
    "difference": (lambda self, x: x - self.f(x), ff.Residual([FF], scale=-1.0)),
    "factor": (lambda self, x: x + 2 * self.f(x) / 4, ff.Residual([FF], scale=0.5)),
    "negative": (lambda self, x: x + -self.f(x), ff.Residual([FF], scale=-1.0)),
    "sum": (lambda self, x: sum([x, self.f(x)]), ff.Residual([FF])),
    "what does nothing": (
        lambda self, x: x + F.dropout(self.f(x.view(len(x), -1)).contiguous(), training=False),
        ff.Residual([FF]),
    ),
    "branch's factor": (lambda self, x: self.h(x) + 0.5 * self.f(x), ff.Residual([FF], [A], 0.5)),
    "more weights": (
        lambda self, x: self.f(x) + self.k(torch.tanh(self.h(x))),
        ff.Residual([A, ff.Activation("tanh"), A], [FF]),
    ),
    "three": (lambda self, x: x + self.f(x) + self.h(x), ff.Residual([ff.Residual([FF])], [A])),
}


@pytest.mark.parametrize("name", SUMS)
def test_sums_of_branches_are_residuals(name):
    function, expected = SUMS[name]
    own = Own(lambda self, x: self.g(function(self, self.a(x))), **PARTS, h=dense(), k=dense())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of parts that are not called
        net = ff.torch.describe(own, 4)
        assert net.layers == (A, expected, G)
        assert_own_numbers(own, net, (4,))


def test_what_is_changed_in_place_is_read_as_it_is_then():
    def statement(self, x):
        y = self.a(x)
        F.relu(y, inplace=True)
        return self.g(y)

    own = Own(statement, a=dense(), g=dense(4, 2))
    assert ff.torch.describe(own, 4).layers == (A, ff.Activation("relu"), G)

    def through_identity(self, x):
        y = self.a(x)
        self.relu(self.nothing(y))  # the very same memory
        return self.g(y)

    own = Own(through_identity, a=dense(), g=dense(4, 2), relu=nn.ReLU(inplace=True), nothing=nn.Identity())
    assert ff.torch.describe(own, 4).layers == (A, ff.Activation("relu"), G)

    def accumulated(self, x):
        y = z = self.a(x)
        y += self.f(y)
        return self.g(z)

    own = Own(accumulated, a=dense(), f=dense(bias=False), g=dense(4, 2))
    assert ff.torch.describe(own, 4).layers == (A, ff.Residual([FF]), G)

    def flattened(self, x):
        y = self.a(x)
        z = y.flatten(1)
        F.relu_(y)
        return self.g(z)

    own = Own(flattened, a=nn.Conv2d(1, 4, 1), g=dense(4, 2))
    with pytest.raises(
        ValueError, match=r"^module\.g: Linear .* relu_\(\) at module has changed what it reads in place"
    ):
        ff.torch.describe(own, (1, 1, 1))


def test_a_line_is_followed_as_one():
    torch.manual_seed(0)
    own = Own(
        lambda self, x: self.out(F.relu(self.norm(self.conv(x))).mean(-1)),
        conv=nn.Conv1d(2, 6, 3, padding=1),
        norm=nn.BatchNorm1d(6),
        out=nn.Linear(6, 2),
    )
    net = ff.torch.describe(own, (2, 9))
    assert [type(layer) for layer in net.layers] == [
        *(ff.Conv1d, ff.BatchNorm, ff.Activation, ff.GlobalAvgPool2d, ff.Flatten, ff.Dense)
    ]
    assert_own_numbers(own, net, (2, 9))


def test_a_module_is_left_as_it_was():
    torch.manual_seed(0)
    own = PreActivationNet()
    own.drop = nn.Dropout(0.5)
    own.unused = nn.Parameter(torch.ones(3))
    before, attributes = copy.deepcopy(own.state_dict()), set(vars(own))
    random = torch.get_rng_state()
    with pytest.warns(
        UserWarning, match=r"^module\.unused: no output depends on such a parameter, and it is left out$"
    ):
        ff.torch.describe(own, (3, 8, 8))
    assert torch.equal(torch.get_rng_state(), random)
    assert set(vars(own)) == attributes
    assert own.training
    for name, tensor in own.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    assert own(torch.ones(2, 3, 8, 8)).shape == (2, 10)  # nothing of torch.fx is left in PyTorch's classes

    def counted(self, x):
        self.mean.mul_(0.9).add_(x.mean().detach())
        return self.g(self.a(x))

    own = Own(counted, a=dense(), g=dense(4, 2))
    own.register_buffer("mean", torch.ones(()))
    with pytest.raises(ValueError, match=r"^module: mean\(\) cannot be described"):
        ff.torch.describe(own, 4)
    assert own.mean == 1.0

    constant = Own(lambda self, x: self.g(self.a(x) + torch.ones(4)), **PARTS)
    attributes = set(vars(constant))
    with pytest.raises(ValueError, match="what it adds here is not computed of the input"):
        ff.torch.describe(constant, 4)
    assert set(vars(constant)) == attributes


# ------------------------------------------------------------------------------------------------------------ refusals


class Squared(nn.Conv2d):
    def _conv_forward(self, x, weight, bias):
        return super()._conv_forward(x, weight**2, bias)


class Scaled(nn.Linear):
    def forward(self, x):
        return 2 * super().forward(x)


class Several(nn.Module):
    def forward(self, x, y):
        return x + y


class Kept(nn.Sequential):
    """What a forward catches must not be a refusal."""

    def forward(self, x):
        try:
            return torch.cat([x, super().forward(x)], 1)
        except Exception:
            return x


def crossing(self, x):
    u = self.f(x)
    return self.h(x + u) + u


@torch.no_grad()
def frozen(self, x):
    return self.f(x)


def hooked():
    layer = dense()
    layer.register_forward_hook(lambda *_: None)
    return layer


REFUSED = {
    "concatenation": (lambda self, x: torch.cat([x, self.f(x)], 1), "cat()", "no concatenation: use a sum"),
    "product": (lambda self, x: x * torch.sigmoid(self.f(x)), "mul()", "no products of activations"),
    "layer scale": (lambda self, x: x + self.w * self.f(x), "mul()", "none that are trained or computed"),
    "factor": (lambda self, x: 0.5 * self.f(x), "mul()", r"factors of branches alone, as in x \+ 0.5 \* f\(x\)"),
    "two factors": (lambda self, x: 0.5 * self.h(x) + 0.5 * self.f(x), "the sum", "a factor of one of the branches"),
    "added parameter": (lambda self, x: self.f(x) + self.w, "add()", "what it adds here is not computed of the input"),
    "attention": (
        lambda self, x: F.scaled_dot_product_attention(x, self.f(x), x),
        "scaled_dot_product_attention()",
        "no products of activations",
    ),
    "matrix product": (lambda self, x: self.f(x) @ self.f.weight, "matmul()", "no products of activations"),
    "parts": (lambda self, x: self.f(x)[:, :2], "getitem()", "it has no parts of them"),
    "chunks": (lambda self, x: sum(self.f(x).chunk(2, 1)), "chunk()", "it has no parts of them"),
    "transposed": (lambda self, x: self.f(x).t().t(), "t()", "keeps channels before positions"),
    "one more dimension": (lambda self, x: self.f(x).unsqueeze(1), "unsqueeze()", "images from the input on"),
    "detached": (lambda self, x: self.f(x.detach()), "detach()", "no gradient flows through it"),
    "softmax": (lambda self, x: F.log_softmax(self.f(x), 1), "log_softmax()", "leave it to the loss"),
    "power": (lambda self, x: self.f(x) ** 2, "pow()", "no such function outside of an activation"),
    "unknown": (lambda self, x: torch.cumsum(self.f(x), 1), "cumsum()", "no function 'cumsum'"),
    "random": (lambda self, x: self.f(x) + torch.randn_like(x), "randn_like()", "no random numbers but Dropout's"),
    "crossing sums": (crossing, "Linear", "stand neither within nor behind one another"),
    "shared": (
        lambda self, x: self.h(self.f(self.f(x))),
        "Linear",
        "it is called twice.* give each call its own weight",
    ),
    "tied": (
        lambda self, x: F.linear(self.f(x), self.f.weight),
        "linear()",
        r"its weight is module\.block\.f\.weight too, and the theory has independent ones",
    ),
    "doubled": (lambda self, x: self.f(x) + self.f(x), "Linear", "it is called twice"),
    "control flow": (lambda self, x: self.f(x) if self.f(x) > 0 else x, "gt()", "no function 'gt'"),
    "samples": (lambda self, x: torch.stack([self.f(row) for row in x]), "Own", "it loops over samples, or decides by"),
    "error": (lambda self, x: self.f(self.nothing), "Own", "which stops with AttributeError: 'Own' object has no"),
    "no gradient": (frozen, "Linear", "it runs under torch.no_grad"),
    "module": (lambda self, x: self.lstm(x)[0], "LSTM", "the theory has no recurrent layers"),
    "hook": (lambda self, x: self.hooked(x), "Linear", "hooks, parametrisations"),
    "weight norm": (lambda self, x: self.normed(x), "ParametrizedLinear", "hooks, parametrisations"),
    "frozen": (lambda self, x: self.frozen(x), "Linear", "some of its do not require gradients"),
}
PLACES = {
    "crossing sums": ".f",
    "shared": ".f",
    "doubled": ".f",
    "no gradient": ".f",
    "module": ".lstm",
    "hook": ".hooked",
    "weight norm": ".normed",
    "frozen": ".frozen",
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_a_forward_does_that_the_theory_has_not_is_refused_by_its_place(case):
    function, name, reason = REFUSED[case]
    parts = {"f": dense(), "h": dense(), "w": nn.Parameter(torch.ones(4)), "lstm": nn.LSTM(4, 4), "hooked": hooked()}
    parts["normed"] = nn.utils.parametrizations.weight_norm(dense())
    parts["frozen"] = dense().requires_grad_(False)
    own = Own(lambda self, x: self.last(self.block(self.first(x))), first=dense(), block=Own(function, **parts))
    own.last = dense(4, 2)
    place = r"module\.block" + PLACES.get(case, "").replace(".", r"\.")
    escaped = name.replace("(", r"\(").replace(")", r"\)")
    with pytest.raises(ValueError, match=f"^{place}: {escaped} cannot be described: .*{reason}.*{MEASURE}"):
        ff.torch.describe(own, 4)


@pytest.mark.parametrize(
    ("own", "shape", "sentence"),
    [
        (Squared(1, 2, 3), (1, 3, 3), r"module: conv2d\(\) .* its weights are computed of others"),
        (nn.Sequential(Scaled(4, 4), dense()), 4, r"module\[0\]: mul\(\) .* factors of branches alone"),
        (Several(), 4, r"module: Several .* its forward takes 2 inputs, and the theory has one"),
        (
            Own(lambda self, x: {"logits": self.f(x)}, f=dense()),
            4,
            "module: Own .* its forward returns something else",
        ),
        (Kept(dense()), 4, r"module: cat\(\) cannot be described: the theory has no concatenation"),
        (
            nn.Sequential(nn.Sequential(dense(), Own(lambda self, x: torch.cat([x, x], 1))), dense(8)),
            4,
            r"module\[0\]\[1\]: cat\(\)",
        ),
    ],
)
def test_what_is_refused_of_a_whole_module(own, shape, sentence):
    with pytest.raises(ValueError, match=f"^{sentence}.*{MEASURE}"):
        ff.torch.describe(own, shape)


def test_what_pytorch_itself_would_not_run_is_not_to_be_measured():
    own = Own(lambda self, x: self.g(self.a(x)), a=dense(5), g=dense())
    with pytest.raises(
        ValueError, match=r"^module\.a: Linear .* does not take inputs of shape \(4,\) in PyTorch: a"
    ) as it:
        ff.torch.describe(own, 4)
    assert "measure" not in str(it.value)
    with pytest.raises(ValueError, match=r"takes 5 inputs and gets 4$"):
        ff.torch.describe(nn.Sequential(dense(), dense(5)))


def test_an_input_shape_is_asked_for_or_taken_from_the_first_layer():
    own = Own(lambda self, x: self.f(x), f=dense())
    with pytest.raises(ValueError, match=r"^input_shape must be given where the first layer is not Linear but Own: "):
        ff.torch.describe(own)
    recurrent = Own(lambda self, x: self.lstm(x)[0], lstm=nn.LSTM(4, 4))
    with pytest.raises(ValueError, match=rf"^module\.lstm: LSTM .* no recurrent layers.*{MEASURE}"):
        ff.torch.describe(recurrent)
    assert ff.torch.describe(nn.Sequential(dense(), own)).layers == (A, A)


def test_what_torch_compile_wraps_is_described():
    plain = Own(lambda self, x: self.g(torch.relu(self.a(x))), a=dense(), g=dense(4, 2))
    net = ff.torch.describe(plain, 4)
    assert ff.torch.describe(torch.compile(plain, backend="eager"), 4) == net
    inside = Own(lambda self, x: self.g(torch.relu(self.a(x))), a=torch.compile(dense(), backend="eager"), g=plain.g)
    assert ff.torch.describe(inside, 4) == net
    sequential = nn.Sequential(torch.compile(dense(), backend="eager"), nn.ReLU(), plain.g)
    assert ff.torch.describe(sequential) == net
    with pytest.raises(ValueError, match=rf"^module: DataParallel .* describe module\.module{MEASURE}"):
        ff.torch.describe(nn.DataParallel(plain), 4)


# ------------------------------------------------------------------------------------------------------ random forwards


STEPS = {
    "linear": lambda layer, a, b: layer(a),
    "phi": lambda layer, a, b: torch.tanh(a),
    "phi_": lambda layer, a, b: a.relu_(),
    "add": lambda layer, a, b: a + layer(b),
    "add_": lambda layer, a, b: layer(b).add_(a),
    "of two": lambda layer, a, b: a - 0.5 * b,
    "of two_": lambda layer, a, b: a.add_(b),
    "share": lambda layer, a, b: a.view(len(a), -1),
}


class Program(nn.Module):
    """A forward drawn at random: of values that there are it makes new ones, or changes them in place."""

    def __init__(self, seed, units=5):
        super().__init__()
        random = np.random.default_rng(seed)
        torch.manual_seed(seed)
        self.kinds = [str(kind) for kind in random.choice(list(STEPS), int(random.integers(2, 7)))]
        self.reads = [(-1, -int(random.integers(1, min(place + 2, 4)))) for place in range(len(self.kinds))]
        self.reads = [pair if random.random() < 0.7 else pair[::-1] for pair in self.reads]
        self.layers = nn.ModuleList(nn.Linear(units, units) for _ in self.kinds)
        self.first, self.last = nn.Linear(units, units), nn.Linear(units, 2)

    def forward(self, x):
        values = [self.first(x)]
        for kind, (one, other), layer in zip(self.kinds, self.reads, self.layers, strict=True):
            values.append(STEPS[kind](layer, values[one], values[other]))
        return self.last(values[-1])


def test_random_forwards_are_described_as_what_they_compute_or_not_at_all():
    described, changed, sums = 0, 0, 0
    for seed in range(100):
        own = Program(seed).double()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of layers whose results are not used
                sampled = ff.torch.sampled(own, 5)
        except ValueError as error:
            assert "cannot be described" in str(error)
            continue
        x = torch.randn(4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
        with torch.no_grad():
            outputs = own(x.clone()).numpy()
        # roundings, of values up to 100 where a sum is added to itself
        np.testing.assert_allclose(sampled(x.numpy()), outputs, rtol=0, atol=1e-12 * max(1.0, np.abs(outputs).max()))
        described += 1
        changed += any(kind.endswith("_") for kind in own.kinds)
        sums += any(isinstance(layer, ff.Residual) for layer in sampled.net.layers)
    assert described > 30
    assert changed > 20
    assert sums > 10
