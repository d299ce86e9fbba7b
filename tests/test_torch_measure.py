# SPDX-License-Identifier: BSD-3-Clause
"""Any PyTorch module measured: against sampled networks, whole matrices, and norms written in primitives."""

from __future__ import annotations

import copy
import gc
import itertools
import pickle
import random

import numpy as np
import pytest
import strategies
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import fisherfield as ff

torch = pytest.importorskip("torch")
nn = torch.nn

from fisherfield.torch import calls as calls_module  # noqa: E402  (PyTorch may be missing)


def classifier(seed=0, dtype=torch.float64, norm=True):
    torch.manual_seed(seed)
    layers = [nn.Linear(6, 30), nn.BatchNorm1d(30) if norm else nn.Identity(), nn.ReLU(), nn.Linear(30, 3)]
    return nn.Sequential(*layers).to(dtype)


def batch(n=20, features=6, classes=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, features, generator=generator, dtype=torch.float64)
    return x, torch.randint(0, classes, (n,), generator=generator)


def jacobian(module, x):
    """J (nC, P), one row after the other, by reverse mode."""
    module = copy.deepcopy(module)
    parameters = [each for each in module.parameters() if each.requires_grad]
    f = module(x).reshape(-1)
    rows = [torch.autograd.grad(each, parameters, retain_graph=True, allow_unused=True) for each in f]
    return torch.stack(
        [
            torch.cat(
                [
                    torch.zeros_like(p).flatten() if g is None else g.flatten()
                    for g, p in zip(r, parameters, strict=True)
                ]
            )
            for r in rows
        ]
    )


def whole_hessian(module, x, y, loss):
    """P x P, reverse over reverse; attention by the kernel that can be taken two gradients of."""
    module = copy.deepcopy(module)
    parameters = [each for each in module.parameters() if each.requires_grad]
    with nn.attention.sdpa_kernel(nn.attention.SDPBackend.MATH):
        f = module(x)
    gradient = torch.autograd.grad(loss(f, y), parameters, create_graph=True, materialize_grads=True)
    flat = torch.cat([each.flatten() for each in gradient])
    rows = [
        torch.autograd.grad(each, parameters, retain_graph=True, allow_unused=True, materialize_grads=True)
        for each in flat
    ]
    return torch.stack([torch.cat([each.flatten() for each in row]) for row in rows])


# ---------------------------------------------------------------------------------------------------- the same numbers
@settings(max_examples=50, suppress_health_check=list(HealthCheck))
@given(strategies.networks(most=6, side=4), st.integers(0, 5), st.sampled_from(("sum", "mean", "mse", "cross_entropy")))
def test_what_is_measured_of_a_described_network_is_what_its_sample_has(net, seed, loss):
    assume(not any(step.layer.draws if hasattr(step.layer, "draws") else False for step in net.steps))
    assume("Dropout" not in repr(net))  # masks come from other generators
    if net.outputs == 1 and loss == "cross_entropy":
        loss = "sum"
    sampled = ff.sample(net, seed)
    x = ff.data.gaussian(net, samples=7, seed=seed)
    try:
        expected = ff.sampled_fisher(sampled, x, loss=loss, tolerance=1e-13)
    except ValueError:  # a batch without variance
        assume(False)
    assume(expected.rounding <= 1e-11 * expected.lambda_max)
    module = ff.torch.module(sampled)
    if any(isinstance(each, nn.Conv1d) for each in module.modules()):  # which takes (n, channels, length)
        x = x.reshape(len(x), x.shape[1], -1)
    spectrum = ff.torch.measure(module, x, loss=loss, tolerance=1e-13)
    # both to 1e-13 by Lanczos, and rounding of two programs beside it
    assert spectrum.lambda_max == pytest.approx(expected.lambda_max, rel=1e-10)
    if net.parameters() <= 200:
        y = torch.zeros(7, net.outputs, dtype=torch.float64)
        if loss != "cross_entropy":  # of a linear function of outputs H is F's, wherever the targets are the outputs
            y = copy.deepcopy(module)(torch.as_tensor(x)).detach()
            hessian = ff.torch.measure(module, x, y, loss, "hessian", tolerance=1e-13)
            assert hessian.lambda_max == pytest.approx(expected.lambda_max, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("norm", [True, False])
def test_eigenvalues_and_vectors_are_those_of_the_whole_matrix(norm):
    module, (x, y) = classifier(norm=norm), batch()
    j = jacobian(module, x)
    values = torch.linalg.eigvalsh(j @ j.T / 20).flip(0).numpy()
    spectrum = ff.torch.measure(module, x, k=5, tolerance=1e-12, eigenvectors=True)
    assert spectrum.eigenvalues == pytest.approx(values[:5], rel=1e-11)
    for value, vector, residual in zip(spectrum.eigenvalues, spectrum.eigenvectors, spectrum.residuals, strict=True):
        w = torch.as_tensor(vector).reshape(-1)
        away = float((j @ (j.T @ w) / 20 - value * w).norm())
        assert away <= 1e-5 * values[0]
        assert np.abs(values - value).min() <= residual + 1e-12 * values[0]
    labels = nn.functional.cross_entropy
    hessian = torch.linalg.eigvalsh(whole_hessian(module, x, y, labels)).flip(0).numpy()
    spectrum = ff.torch.measure(module, x, y, "cross_entropy", "hessian", k=3, tolerance=1e-12)
    assert spectrum.eigenvalues == pytest.approx(hessian[:3], rel=1e-10)


class Diagonal(nn.Module):
    """Its Hessian under 1/4 sum_i d_i f_i^2 of two samples is the diagonal matrix of d."""

    def __init__(self, size, seed):
        super().__init__()
        torch.manual_seed(seed)
        self.w = nn.Parameter(torch.randn(size, dtype=torch.float64))

    def forward(self, x):
        return self.w * x


@pytest.mark.parametrize("seed", range(6))
def test_a_hessian_s_largest_eigenvalue_is_found_beside_far_larger_negative_ones(seed):
    random = np.random.default_rng(seed)
    one, many = np.append(0.95 * random.random(299), -100.0), -100 * random.random(300)  # eigenvalues beside 1
    for rest in (one, many):
        d = torch.as_tensor(np.append(1.0, rest))
        spectrum = ff.torch.measure(
            Diagonal(301, seed),
            torch.ones(2, 301, dtype=torch.float64),
            None,
            lambda f, y, d=d: (d * f * f).sum() / 4,
            "hessian",
            tolerance=1e-2,
        )
        assert abs(spectrum.lambda_max - 1) <= spectrum.errors[0] <= 0.0101  # and rounding


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_a_callable_s_matrix_is_the_generalised_gauss_newton_matrix(smoothing):
    module, (x, y) = classifier(), batch()
    loss = nn.CrossEntropyLoss(label_smoothing=smoothing)
    j = jacobian(module, x)
    p = torch.softmax(copy.deepcopy(module)(x).detach(), 1)
    h = torch.block_diag(*(torch.diag(each) - torch.outer(each, each) for each in p)) / 20
    expected = torch.linalg.eigvalsh(j.T @ h @ j).flip(0)[:2].numpy()
    spectrum = ff.torch.measure(module, x, y, loss, k=2, tolerance=1e-12)
    assert spectrum.eigenvalues == pytest.approx(expected, rel=1e-10)
    assert spectrum.loss == "CrossEntropyLoss"

    def coupled(f, targets):  # the square of a mean over samples: H has one block for all
        return f.mean(0).square().sum()

    h = torch.kron(torch.ones(20, 20, dtype=torch.float64), torch.eye(3, dtype=torch.float64)) * 2 / 400
    expected = torch.linalg.eigvalsh(j.T @ h @ j).flip(0)[:2].numpy()
    spectrum = ff.torch.measure(module, x, None, coupled, k=2, tolerance=1e-12)
    assert spectrum.eigenvalues == pytest.approx(expected, rel=1e-10)
    assert "all parameters" in spectrum.reason


@pytest.mark.parametrize(
    ("loss", "own"),
    [
        ("mse", nn.MSELoss()),
        ("mse", nn.functional.mse_loss),
        ("sum", lambda f, y: 0.5 * nn.functional.mse_loss(f, y, reduction="sum") / len(f)),
        ("sum", lambda f, y: 3 * nn.functional.huber_loss(f, y, delta=100.0)),
        ("cross_entropy", nn.functional.cross_entropy),
    ],
)
@pytest.mark.parametrize("matrix", ["fisher", "hessian"])
def test_pytorch_s_losses_are_the_named_ones(loss, own, matrix):
    module, (x, y) = classifier(), batch()
    targets = y if loss == "cross_entropy" else nn.functional.one_hot(y, 3).double()
    one, other = (ff.torch.measure(module, x, targets, each, matrix, tolerance=1e-11) for each in (loss, own))
    assert one.lambda_max == pytest.approx(other.lambda_max, rel=1e-10)


# --------------------------------------------------------------------------------------- the Hessian through norms
class Primitive(nn.Module):
    """A norm of PyTorch's in sums, products and roots, with its parameters."""

    def __init__(self, norm):
        super().__init__()
        self.norm = norm

    def forward(self, x):
        norm, shape = self.norm, x.shape
        if isinstance(norm, (nn.BatchNorm1d, nn.BatchNorm2d)):
            axes, affine = [0, *range(2, x.ndim)], (1, -1, *[1] * (x.ndim - 2))
        elif isinstance(norm, nn.GroupNorm):
            x, axes, affine = x.reshape(shape[0], norm.num_groups, -1), [2], (1, -1, *[1] * (len(shape) - 2))
        else:
            axes, affine = list(range(x.ndim - len(norm.normalized_shape), x.ndim)), norm.normalized_shape
        centred = x - x.mean(axes, keepdim=True)
        y = (centred / ((centred * centred).mean(axes, keepdim=True) + norm.eps).sqrt()).reshape(shape)
        return y if norm.weight is None else y * norm.weight.reshape(affine) + norm.bias.reshape(affine)


class Graph(nn.Module):
    """Affine layers with norms and activations, some of them with a sum around."""

    def __init__(self, blocks, output):
        super().__init__()
        self.blocks, self.output = nn.ModuleList(blocks), output

    def forward(self, x):
        for block in self.blocks:
            y = block(x)
            x = x + y if y.shape == x.shape and len(block) % 2 else y
        return self.output(x.flatten(1))


def random_graph(seed):
    """A graph with PyTorch's norms, and the same with primitives, of the same parameters."""
    generator = random.Random(seed)
    torch.manual_seed(seed)
    image = generator.random() < 0.4
    width, shape = generator.choice((4, 6)), ((3, 3) if image else ())
    blocks, primitives, before = [], [], 2
    for _ in range(generator.choice((1, 2, 3))):
        affine = nn.Conv2d(before, width, 3, padding=1) if image else nn.Linear(before, width)
        eps = generator.choice((1e-5, 0.1))
        norms = [
            (nn.BatchNorm2d if image else nn.BatchNorm1d)(width, eps, affine=generator.random() < 0.8),
            nn.GroupNorm(2, width, eps, affine=generator.random() < 0.8),
            nn.LayerNorm([width, *shape], eps, elementwise_affine=generator.random() < 0.8),
        ]
        norm = generator.choice(norms)
        if norm.weight is not None:
            nn.init.uniform_(norm.weight, 0.5, 1.5)
            nn.init.normal_(norm.bias)
        rest = [generator.choice((nn.Tanh, nn.GELU, nn.Sigmoid, nn.Softplus))()]
        rest += [nn.Identity()] if generator.random() < 0.5 else []
        blocks.append(nn.Sequential(affine, norm, *rest))
        primitives.append(nn.Sequential(affine, Primitive(norm), *rest))
        before = width
    output = nn.Linear(before * (9 if image else 1), 2)
    return Graph(blocks, output).double(), Graph(primitives, output).double(), (2, *shape)


def test_products_of_the_hessian_are_those_of_norms_in_primitives():
    """300 graphs with BatchNorm, LayerNorm and GroupNorm; reverse over reverse through primitives is the judge."""
    kinds = set()
    for seed in range(300):
        module, primitive, shape = random_graph(seed)
        kinds |= {type(each).__name__ for each in module.modules()}
        x, y = torch.randn(5, *shape, dtype=torch.float64), torch.randn(5, 2, dtype=torch.float64)

        def loss(f, y):
            return (f - y).square().mean() + f.pow(3).mean()

        named = [each for _, each in primitive.named_parameters()]
        gradient = torch.autograd.grad(loss(primitive(x), y), named, create_graph=True)
        v = [torch.randn_like(each) for each in named]
        judge = torch.autograd.grad(
            sum((g * w).sum() for g, w in zip(gradient, v, strict=True)), named, materialize_grads=True
        )
        addresses = [each.data_ptr() for each in named]
        order = [addresses.index(each.data_ptr()) for each in module.parameters()]
        calls = calls_module.Calls(module, x)
        with calls.open():
            product = calls.hessian(calls.flat([v[i] for i in order]), loss, y, lambda part: 1.0)
        expected = calls.flat([judge[i] for i in order])
        # 1e-10 of the size of the vector: rounding in float64 is below 1e-12 here
        assert float((product - expected).norm()) <= 1e-10 * float(expected.norm()), seed
    assert {"BatchNorm1d", "BatchNorm2d", "LayerNorm", "GroupNorm"} <= kinds


# ------------------------------------------------------------------------------------------- modules of many kinds
class Drawing(nn.Module):
    """Draws by PyTorch, Python, NumPy and a generator of its own, counts its calls, and keeps what it made."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(6, 12), nn.Linear(12, 2)
        self.generator = torch.Generator().manual_seed(5)
        self.calls, self.cache, self.by_name = 0, [], {}
        self.register_buffer("mean", torch.zeros(12))

    def forward(self, x):
        self.calls += 1
        h = torch.tanh(self.a(x)) * torch.rand(12).to(x) * (1 + random.random()) * (1 + np.random.rand())  # noqa: NPY002
        h = h * torch.rand(12, generator=self.generator).to(x)
        self.mean.mul_(0.9).add_(0.1 * h.mean(0))
        self.cache.append(h)
        self.by_name["last"] = h
        return self.b(h + self.mean)


def everything(module):
    """All that a measurement may not change."""
    state = {name: value.clone() for name, value in module.state_dict().items()}
    grads = [None if p.grad is None else p.grad.clone() for p in module.parameters()]
    flags = [(p.requires_grad, p.data_ptr()) for p in module.parameters()]
    modes = [part.training for part in module.modules()]
    numpy = np.random.get_state()[1].tobytes()  # noqa: NPY002
    return state, grads, flags, modes, torch.get_rng_state(), random.getstate(), numpy


def same(one, other):
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


@pytest.mark.parametrize("matrix", ["fisher", "hessian"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_everything_is_put_back_bit_for_bit_and_the_same_bits_come_again(matrix, dtype):
    x, _ = batch()
    drawing = Drawing()
    for module in (classifier(), nn.Sequential(nn.Linear(6, 8), nn.Dropout(), nn.Linear(8, 3)), drawing):
        module.to(dtype)
        inputs = x[:, :6].to(dtype)
        module(inputs).float().square().mean().backward()
        targets = torch.zeros(20, module(inputs).shape[1])
        before, counted = everything(module), (drawing.calls, len(drawing.cache), drawing.generator.get_state())
        first = ff.torch.measure(module, inputs, targets, "mse", matrix)
        assert same(before, everything(module))
        assert same(counted, (drawing.calls, len(drawing.cache), drawing.generator.get_state()))
        assert drawing.by_name.keys() <= {"last"}
        random.random()
        torch.rand(3)
        second = ff.torch.measure(module, inputs, targets, "mse", matrix)
        assert np.array_equal(first.eigenvalues, second.eigenvalues)
        assert np.array_equal(first.errors, second.errors)
        assert first.dtype == ("float64" if dtype == torch.float64 else "float32")
        assert first.random == (module is drawing or isinstance(module[1], nn.Dropout))


def test_a_failure_puts_back_as_well():
    class Failing(Drawing):
        def forward(self, x):
            y = super().forward(x)
            if self.calls > 3:
                raise ZeroDivisionError("the fourth call")
            return y

    module = Failing()
    before = everything(module)
    with pytest.raises(ZeroDivisionError):
        ff.torch.measure(module, batch()[0].float())
    assert same(before, everything(module))
    assert module.calls == 0


def test_halves_are_measured_in_float32():
    x, _ = batch(64)
    module = classifier(dtype=torch.bfloat16)
    exact = copy.deepcopy(module).double()
    half = ff.torch.measure(module, x, tolerance=1e-6)
    # the same parameters, and inputs that float32 holds: float32 in place of float64
    assert half.lambda_max == pytest.approx(ff.torch.measure(exact, x.float()).lambda_max, rel=1e-3)
    assert half.dtype == "float32"
    assert module[0].weight.dtype == torch.bfloat16


class Sequence(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.cells, self.output = kind(6, 4, batch_first=True), nn.Linear(4, 2)

    def forward(self, x):
        return self.output(self.cells(x)[0][:, -1])


class Attending(nn.Module):
    """A word model with tied weights."""

    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(7, 4)
        self.layer = nn.TransformerEncoderLayer(4, 2, 6, dropout=0.0, batch_first=True)
        self.output = nn.Linear(4, 7)
        self.output.weight = self.words.weight

    def forward(self, x):
        return self.output(self.layer(self.words(x)).mean(1))


class Own(torch.autograd.Function):
    """A function of its own, without forward mode."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.tanh()

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * (1 - x.tanh() ** 2)


class WithOwn(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Linear(6, 9)

    def forward(self, x):
        return Own.apply(self.a(x))


class Checkpointed(nn.Module):
    """Its first part is computed again on the way back."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Sequential(nn.Linear(6, 9), nn.Tanh()), nn.Linear(9, 2)

    def forward(self, x):
        from torch.utils.checkpoint import checkpoint

        return self.last(checkpoint(self.first, x, use_reentrant=False))


SERIES = torch.randn(6, 4, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
WORDS = torch.arange(30).reshape(6, 5) % 7
MODULES = {
    "LSTM": (lambda: Sequence(nn.LSTM), SERIES),
    "GRU": (lambda: Sequence(nn.GRU), SERIES),
    "attention": (Attending, WORDS),
    "attention in eval mode": (lambda: Attending().eval(), WORDS),
    "weight norm": (lambda: nn.utils.parametrizations.weight_norm(nn.Linear(6, 4)), SERIES[:, 0]),
    "spectral norm": (lambda: nn.utils.parametrizations.spectral_norm(nn.Linear(6, 4)).eval(), SERIES[:, 0]),
    "function": (WithOwn, SERIES[:, 0]),
    "checkpoint": (Checkpointed, SERIES[:, 0]),
    "wrapped": (lambda: nn.DataParallel(nn.Linear(6, 4)), SERIES[:, 0]),
    "maxima": (
        lambda: nn.Sequential(nn.Conv1d(4, 5, 3), nn.MaxPool1d(2), nn.ReLU(), nn.Flatten(), nn.Linear(10, 2)),
        SERIES,
    ),
}


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_modules_that_no_theory_describes_are_measured(name, dtype):
    torch.manual_seed(0)
    make, x = MODULES[name]
    module = make().to(dtype)
    x = x.to(dtype) if x.is_floating_point() else x
    judge, inputs = copy.deepcopy(module).double(), x.double() if x.is_floating_point() else x
    judge = judge.module if isinstance(judge, nn.DataParallel) else judge
    j = jacobian(judge, inputs)
    top = float(torch.linalg.eigvalsh(j @ j.T / 6)[-1])
    spectrum = ff.torch.measure(module, x, tolerance=1e-6)
    # 1e-6 is asked for; float32 beside it has some 1e-6 in these small modules
    assert spectrum.lambda_max == pytest.approx(top, rel=1e-5)
    without_forward = name in ("weight norm", "function")
    assert ("reverse mode" in spectrum.reason) == without_forward
    targets = torch.randn(6, j.shape[0] // 6, dtype=torch.float64)
    if without_forward:
        with pytest.raises(ValueError, match="has no forward mode: ask for matrix='fisher'"):
            ff.torch.measure(module, x, targets, matrix="hessian")
        return

    def loss(f, y):
        return 0.5 * (f - y).square().sum() / len(f)

    top = float(torch.linalg.eigvalsh(whole_hessian(judge, inputs, targets, loss))[-1])
    spectrum = ff.torch.measure(module, x, targets, matrix="hessian", tolerance=1e-6)
    assert spectrum.lambda_max == pytest.approx(top, rel=1e-5)


def test_several_inputs_are_a_tuple():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Bilinear(3, 3, 2)

        def forward(self, x, y):
            return self.a(x, y)

    torch.manual_seed(0)
    module, x = Two().double(), batch()[0]
    spectrum = ff.torch.measure(module, (x[:, :3], x[:, 3:]), tolerance=1e-10, chunk=6)
    products = torch.einsum("ni,nj->nij", x[:, :3], x[:, 3:]).reshape(20, -1)
    expected = torch.linalg.eigvalsh(products @ products.T + 1)[-1] / 20
    assert spectrum.lambda_max == pytest.approx(float(expected), rel=1e-9)


# ------------------------------------------------------------------------------------------------ chunks and memory
@pytest.mark.parametrize("matrix", ["fisher", "hessian"])
@pytest.mark.parametrize("loss", ["sum", "cross_entropy", nn.CrossEntropyLoss(), nn.CrossEntropyLoss(reduction="sum")])
def test_chunks_change_nothing_where_samples_are_not_coupled(matrix, loss):
    module, (x, y) = classifier(norm=False), batch()
    whole = ff.torch.measure(module, x, y, loss, matrix, tolerance=1e-11)
    parts = ff.torch.measure(module, x, y, loss, matrix, tolerance=1e-11, chunk=6)
    assert parts.lambda_max == pytest.approx(whole.lambda_max, rel=1e-10)  # sums in another order
    assert (whole.chunk, parts.chunk) == (None, 6)


def test_modules_that_couple_samples_are_not_cut():
    x, y = batch()
    for module in (classifier(), nn.Sequential(nn.Linear(6, 3), nn.Softmax(0))):
        with pytest.raises(ValueError, match="chunk must be None for a module that couples the samples"):
            ff.torch.measure(module.double(), x, chunk=7)
    evaluating = classifier().eval()
    assert ff.torch.measure(evaluating, x, chunk=7).lambda_max > 0

    def loss(f, targets):
        return f.std(0).sum()

    with pytest.raises(ValueError, match="neither a mean nor a sum over samples"):
        ff.torch.measure(classifier(norm=False), x, y, loss, "hessian", chunk=7)


def test_what_does_not_fit_is_cut_or_refused_before_it_is_begun():
    x = batch(400)[0]
    module = classifier(norm=False)
    whole = ff.torch.measure(module, x, tolerance=1e-10)
    parts = ff.torch.measure(module, x, tolerance=1e-10, memory=5e5)
    assert whole.chunk is None
    assert 1 <= parts.chunk < 400
    assert parts.lambda_max == pytest.approx(whole.lambda_max, rel=1e-9)
    with pytest.raises(
        ValueError, match=r"memory must be at least .* for 400 samples of this module, which the module"
    ):
        ff.torch.measure(classifier(), x, memory=5e5)
    with pytest.raises(ValueError, match=r"memory must be at least .*: give fewer samples or a smaller k"):
        ff.torch.measure(module, x, memory=1e4)


# ---------------------------------------------------------------------------------------------------------- refusals
class Says(nn.Module):
    def __init__(self, value):
        super().__init__()
        self.a, self.value = nn.Linear(6, 2), value

    def forward(self, x):
        return self.value(self.a(x))


REFUSED = {
    "no module": ((object(),), {}, "module must be a torch.nn.Module"),
    "frozen": ((nn.Linear(6, 2).requires_grad_(False),), {}, "module must have parameters that require gradients"),
    "lazy": ((nn.LazyLinear(2),), {}, "its weight is not known yet"),
    "meta": ((nn.Linear(6, 2, device="meta"),), {}, "on the meta device"),
    "shape": ((nn.Linear(5, 2),), {}, r"module must take x of shape \(20, 6\), and says: mat1 and mat2"),
    "tuple": ((Says(lambda f: (f, f)),), {}, "module must return a tensor of outputs, got tuple: wrap it"),
    "mean": ((Says(lambda f: f.mean()),), {}, "outputs for each of 20 samples"),
    "nan": ((Says(lambda f: f / 0.0),), {}, "module must return finite outputs"),
    "detached": ((Says(lambda f: f.detach()),), {}, "module must pass gradients"),
    "loss": ((nn.Linear(6, 2),), {"loss": "msee"}, "loss must be sum, mean, mse, cross_entropy or a callable"),
    "one output": ((nn.Linear(6, 1),), {"loss": "cross_entropy"}, "loss must be a squared one"),
    "matrix": ((nn.Linear(6, 2),), {"matrix": "ggn"}, "matrix must be one of fisher, hessian"),
    "k": ((nn.Linear(6, 2),), {"k": 41}, "k must be at most 40"),
    "tolerance": (
        (nn.Linear(6, 2),),
        {"tolerance": 1e-9},
        r"tolerance must be in .*, 0.1. for a module in float32",
    ),
    "no targets": ((nn.Linear(6, 2),), {"matrix": "hessian"}, "targets must be there for the loss sum"),
    "callable": ((nn.Linear(6, 2),), {"loss": nn.CrossEntropyLoss()}, "targets must be there for a callable loss"),
    "labels": (
        (nn.Linear(6, 2),),
        {"matrix": "hessian", "targets": np.full(20, 7)},
        r"targets must be of shape \(20, 2\), or 20 labels",
    ),
    "short": ((nn.Linear(6, 2),), {"matrix": "hessian", "targets": [1.0]}, "targets must hold one for each of 20"),
    "number": (
        (nn.Linear(6, 2),),
        {"loss": lambda f, y: f, "targets": np.zeros(20)},
        "loss must return a tensor of one number",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_measured_is_refused_in_a_sentence(name):
    arguments, keywords, words = REFUSED[name]
    with pytest.raises((ValueError, TypeError), match=words) as refusal:
        ff.torch.measure(*arguments, batch()[0].float(), **keywords)
    assert "\n" not in str(refusal.value)


def test_derivatives_that_contradict_each_other_are_found():
    class Wrong(torch.autograd.Function):
        @staticmethod
        def forward(x):
            return x.tanh()

        @staticmethod
        def setup_context(ctx, inputs, output):
            ctx.save_for_backward(*inputs)
            ctx.save_for_forward(*inputs)

        @staticmethod
        def backward(ctx, g):
            return g * (1 - ctx.saved_tensors[0].tanh() ** 2)

        @staticmethod
        def jvp(ctx, t):
            return 1.5 * t

    with pytest.raises(RuntimeError, match="two ways to the same number differ"):
        ff.torch.measure(Says(Wrong.apply), batch()[0].float())


def test_the_result_says_what_was_measured():
    module, (x, y) = nn.Sequential(nn.Linear(6, 8), nn.Dropout(), nn.Linear(8, 3)), batch()
    spectrum = ff.torch.measure(module, x, chunk=6)
    words = repr(spectrum)
    assert "Fisher information of Sequential, a module of 83 parameters in train mode" in words
    assert "random numbers of seed 0 in every product" in words
    assert "20 samples, 6 at a time, 3 outputs, loss sum, float32" in words
    assert f"({spectrum.products} products)" in words
    again = pickle.loads(pickle.dumps(spectrum))
    assert repr(again) == words
    hessian = ff.torch.measure(module.eval(), x, y, nn.functional.cross_entropy, "hessian")
    assert "Hessian of the loss of Sequential, a module of 83 parameters in eval mode" in repr(hessian)
    assert spectrum.max_learning_rate(0.9) == pytest.approx(3.8 / spectrum.lambda_max, rel=1e-14)
    assert spectrum.max_learning_rate(weight_decay=1.0) == pytest.approx(2 / (spectrum.lambda_max + 1), rel=1e-14)


def test_progress_hears_every_product():
    heard = []
    spectrum = ff.torch.measure(classifier(), batch()[0], progress=lambda count, value: heard.append((count, value)))
    assert [count for count, _ in heard] == list(range(1, spectrum.products + 1))
    assert heard[-1][1] == spectrum.lambda_max
    assert all(one <= other * (1 + 1e-12) for (_, one), (_, other) in itertools.pairwise(heard))


@pytest.mark.parametrize("matrix", ["fisher", "hessian"])
def test_nothing_of_a_module_stays_behind(matrix):
    """Not even an output that its own node saves, as ReLU's is: PyTorch's graph of a pass holds itself then, unseen by
    the garbage collector."""

    def tensors():
        gc.collect()
        return sum(issubclass(type(each), torch.Tensor) for each in gc.get_objects())

    x, y = batch()
    before = None
    for seed in range(3):
        ff.torch.measure(classifier(seed), x, y, loss="cross_entropy", matrix=matrix)
        before = tensors() if before is None else before
    assert tensors() == before
