# SPDX-License-Identifier: BSD-3-Clause
"""Sampled networks: what is drawn, what can be set, and laws that every implementation's Jacobian obeys."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import fisherfield as ff
from fisherfield import reference

STATISTICS = reference.sampled.STATISTICS

# Each has something that the others lack; smooth activations where differences are taken.
NETWORKS = {
    "vanilla": ff.mlp([5, 7, 4, 3], "tanh", batch_norm=False),
    "dense": ff.mlp([5, 7, 6, 3], ["tanh", "gelu"], gamma=[0.7, 1.8], beta=0.3, eps=0.1, trained=[True, False]),
    "normed output": ff.Network(
        4, [ff.Dense(6), ff.BatchNorm(1.5, trained=True), ff.Activation("sin"), ff.Dense(3), ff.BatchNorm(0.8)]
    ),
    "convolutions": ff.Network(
        (2, 6, 6),
        [
            ff.Conv2d(3, kernel=(3, 2), stride=(2, 1), padding=(1, 0)),
            ff.BatchNorm(1.2, 0.1, trained=True),
            ff.Activation("tanh"),
            ff.Conv2d(4, kernel=3, padding=1),
            ff.Activation("gelu"),
            ff.AvgPool2d((2, 3), stride=(1, 2)),
            ff.Flatten(),
            ff.Dense(2),
        ],
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
BATCH_NORM = [name for name, net in NETWORKS.items() if net.batch_norms]


class core:
    """The compiled operator in the reference's words."""

    @staticmethod
    def forward(sampled, x):
        return sampled(x)

    @staticmethod
    def jacobian(sampled, x, statistics="exact", biases=True):
        operator = ff.FisherOperator(sampled, x, statistics=statistics, biases=biases)
        rows = [operator.vjp(unit) for unit in np.eye(operator.shape[0])]
        return np.reshape(rows, (*operator.outputs.shape, operator.parameters))


@pytest.fixture(params=["reference", "core"])
def implementation(request):
    """A module of forward(sampled, x) and jacobian(sampled, x, statistics, biases) -> (n, C, P)."""
    return {"reference": reference.sampled, "core": core}[request.param]


@pytest.fixture(params=NETWORKS)
def case(request):
    """A network of random gamma and beta, and a batch."""
    return drawn(NETWORKS[request.param])


def drawn(net, samples=5, seed=0):
    random = np.random.default_rng(seed)
    sampled = ff.sample(net, seed)
    sampled.gammas = [gamma * random.uniform(0.5, 1.5, gamma.shape) for gamma in sampled.gammas]
    sampled.betas = [beta + 0.2 * random.standard_normal(beta.shape) for beta in sampled.betas]
    return sampled, ff.data.gaussian(net, samples, seed)


def in_order(sampled, biases=True):
    """The arrays of all parameters in the order of the Jacobian's columns."""
    affine = norms = 0
    for layer in sampled.net.layers:
        if isinstance(layer, (ff.Dense, ff.Conv2d)):
            yield sampled.weights[affine]
            if biases:
                yield sampled.biases[affine]
            affine += 1
        elif isinstance(layer, ff.BatchNorm):
            if layer.trained:
                yield sampled.gammas[norms]
                yield sampled.betas[norms]
            norms += 1


def affine_columns(sampled):
    """For each affine layer the columns of its weights and of its biases."""
    start, places = 0, []
    for array in in_order(sampled):
        places.append((array, slice(start, start + array.size)))
        start += array.size

    def of(array):
        return next(place for other, place in places if other is array)

    return [(of(W), of(b)) for W, b in zip(sampled.weights, sampled.biases, strict=True)]


def tangent_kernel(implementation, sampled, x):
    J = implementation.jacobian(sampled, x).reshape(len(x) * sampled.net.outputs, -1)
    return J @ J.T


# What is drawn


def test_a_seed_is_a_network_for_ever():
    sampled = ff.sample(ff.mlp([3, 2, 1], sigma_w2=[3.0, 2.0], sigma_b2=4.0), seed=7)
    random = np.random.Generator(np.random.PCG64(np.random.SeedSequence(7, spawn_key=tuple(b"weights"))))
    assert np.array_equal(sampled.weights[0], random.standard_normal((2, 3)))
    assert np.array_equal(sampled.biases[0], 2 * random.standard_normal(2))
    assert np.array_equal(sampled.weights[1], random.standard_normal((1, 2)))
    assert np.array_equal(sampled.biases[1], 2 * random.standard_normal(1))
    # NumPy may change its generators' streams some day; then these numbers say so
    assert sampled.weights[0][0] == pytest.approx([-0.0337699320788245, 0.9374872811413641, -0.5644224835343028])
    assert ff.sample(sampled.net).seed == 0


def test_weights_are_not_the_inputs_of_the_same_seed():
    """As they would be if both came from default_rng(seed)."""
    W = ff.sample(ff.mlp([300, 50, 1]), seed=4).weights[0]
    for x in (ff.data.gaussian(300, 50, seed=4), np.random.default_rng(4).standard_normal((50, 300))):
        assert np.abs(np.corrcoef(W.ravel(), x.ravel())[0, 1]) < 5 / np.sqrt(x.size)


def test_float32_is_the_same_network_rounded():
    net = NETWORKS["convolutions"]
    double, single = ff.sample(net, 3), ff.sample(net, 3, dtype="float32")
    for name in ("weights", "biases", "gammas", "betas"):
        for a, b in zip(getattr(double, name), getattr(single, name), strict=True):
            assert b.dtype == np.float32
            assert np.array_equal(a.astype(np.float32), b)
    x = ff.data.gaussian(net, 6)
    assert single(x).dtype == np.float32
    assert single(x) == pytest.approx(double(x), rel=1e-5, abs=1e-5)  # float32 through four layers


def test_shapes_are_those_of_pytorch():
    sampled = ff.sample(NETWORKS["convolutions"])
    assert [W.shape for W in sampled.weights] == [(3, 2, 3, 2), (4, 3, 3, 3), (2, 16)]
    assert [b.shape for b in sampled.biases] == [(3,), (4,), (2,)]
    assert [gamma.shape for gamma in sampled.gammas] == [beta.shape for beta in sampled.betas] == [(3,)]
    assert sampled.gammas[0].tolist() == [1.2] * 3
    assert sampled.betas[0].tolist() == [0.1] * 3
    assert sampled.parameters == sampled.net.parameters() == sum(array.size for array in in_order(sampled))
    assert sampled(ff.data.gaussian((2, 6, 6), 3)).shape == (3, 2)


def test_variances_are_those_described():
    sampled = ff.sample(ff.convnet((3, 4, 4), [200, 300], 100, sigma_w2=[1.0, 2.0, 3.0], sigma_b2=0.5))
    for W, variance in zip(sampled.weights, (1.0, 2.0, 3.0), strict=True):
        # a sample variance of m numbers is good to sqrt(2/m); 5 of those
        assert W[0].size * np.var(W) == pytest.approx(variance, rel=5 * np.sqrt(2 / W.size))
    every = np.concatenate(sampled.biases)
    assert np.var(every) == pytest.approx(0.5, rel=5 * np.sqrt(2 / every.size))


def test_it_prints_its_layers_and_shapes():
    assert repr(ff.sample(NETWORKS["convolutions"], seed=3, dtype="float32")).splitlines() == [
        "SampledNetwork: seed 3, float32, 191 parameters",
        "  layers[0]  Conv2d          weights[0] (3, 2, 3, 2), biases[0] (3,)",
        "  layers[1]  BatchNorm       gammas[0], betas[0] (3,)",
        "  layers[2]  Activation      tanh",
        "  layers[3]  Conv2d          weights[1] (4, 3, 3, 3), biases[1] (4,)",
        "  layers[4]  Activation      gelu",
        "  layers[5]  AvgPool2d",
        "  layers[6]  Flatten",
        "  layers[7]  Dense           weights[2] (2, 16), biases[2] (2,)",
    ]


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
def test_copies_are_the_same_network_and_share_nothing(copied):
    sampled, x = drawn(NETWORKS["dense"])
    other = copied(sampled)
    assert (other.net, other.seed, other.dtype) == (sampled.net, sampled.seed, sampled.dtype)
    before = sampled(x)
    assert np.array_equal(other(x), before)
    other.weights[0][...] = 0.5
    other.biases[1] = np.ones(6)
    assert np.array_equal(sampled(x), before)


# What can be set


def test_arrays_can_be_set_one_by_one_and_in_place():
    sampled, x = drawn(ff.mlp([2, 2, 1], "linear", batch_norm=False))
    W = np.array([[1.0, 2.0], [3.0, 4.0]])
    sampled.weights = [W, [[1, 1]]]  # whole numbers are numbers
    sampled.biases[0] = [0.5, -0.5]
    sampled.biases[-1][...] = 3.0
    assert sampled(x) == pytest.approx(x @ [[4.0], [6.0]] + 3.0, rel=1e-15)
    W[...] = 0  # what was set is a copy
    assert sampled(x) == pytest.approx(x @ [[4.0], [6.0]] + 3.0, rel=1e-15)
    assert len(sampled.weights) == 2
    assert [W.shape for W in sampled.weights[:1]] == [(2, 2)]
    with pytest.raises(IndexError):
        sampled.weights[2] = W


@pytest.mark.parametrize(
    ("name", "value", "error", "words"),
    [
        ("weights", [np.ones((2, 3))], ValueError, "weights must be 2 arrays, got 1"),
        ("weights", 3, ValueError, "weights must be 2 arrays, got 3"),
        ("weights", [np.ones((3, 2)), np.ones((1, 2))], ValueError, "weights[0] must have shape (2, 3), got (3, 2)"),
        ("biases", [[1, 2], ["a"]], TypeError, "biases[1] must be an array of real numbers, got ['a']"),
        ("biases", [[1, 2j], [1]], TypeError, "biases[0] must be an array of real numbers, got [1, 2j]"),
        ("biases", [[1, [2]], [1]], TypeError, "biases[0] must be an array of real numbers, got [1, [2]]"),
        ("biases", [[1, True], [True]], TypeError, "biases[1] must be an array of real numbers, got [True]"),
        ("gammas", [[1, np.nan]], ValueError, "gammas[0] must be finite, got nan"),
        ("betas", [[1, 1e39]], ValueError, "betas[0] must be finite in float32, got 1e+39"),
    ],
)
def test_what_does_not_fit_is_refused_in_a_sentence(name, value, error, words):
    sampled = ff.sample(ff.mlp([3, 2, 1]), dtype="float32")
    with pytest.raises(error) as refusal:
        setattr(sampled, name, value)
    assert str(refusal.value) == words
    arrays = getattr(sampled, name)
    if "[" in words.split()[0]:
        place = int(words[words.index("[") + 1])
        with pytest.raises(error) as refusal:
            arrays[place] = value[place]
        assert str(refusal.value) == words


def test_the_rest_cannot_be_set():
    sampled = ff.sample(ff.mlp([3, 2, 1]))
    with pytest.raises(AttributeError, match="only weights, biases, gammas, betas of a SampledNetwork can be set"):
        sampled.seed = 1
    with pytest.raises(AttributeError, match="no attribute of a SampledNetwork can be deleted"):
        del sampled.weights


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (("net",), TypeError, "net must be a fisherfield Network, got 'net': fisherfield.load reads one from a file"),
        ((ff.mlp([3, 1]), -1), ValueError, "seed must be a whole number >= 0, got -1"),
        ((ff.mlp([3, 1]), 0.5), TypeError, "seed must be a whole number >= 0, got 0.5"),
        ((ff.mlp([3, 1]), 0, "int64"), TypeError, "dtype must be float32 or float64, got 'int64'"),
    ],
)
def test_sample_refuses_in_a_sentence(arguments, error, words):
    with pytest.raises(error) as refusal:
        ff.sample(*arguments)
    assert str(refusal.value) == words


def test_networks_that_no_memory_holds_are_refused():
    with pytest.raises(ValueError, match=r"net must fit into memory to be sampled: its 1,000,011,000,010 parameters"):
        ff.sample(ff.mlp([10**6, 10**6, 10]))


@pytest.mark.parametrize(
    ("x", "error", "words"),
    [
        (np.ones((3, 7)), ValueError, "x must have shape (n, 1, 2, 2), got (3, 7)"),
        (np.ones((3, 4)), ValueError, "x must have shape (n, 1, 2, 2), got (3, 4)"),
        (np.ones((1, 2, 2)), ValueError, "x must have shape (n, 1, 2, 2), got (1, 2, 2)"),
        (1.0, ValueError, "x must have shape (n, 1, 2, 2), got ()"),
        (np.ones((0, 1, 2, 2)), ValueError, "x must hold at least one sample, got shape (0, 1, 2, 2)"),
        (np.full((2, 1, 2, 2), np.inf), ValueError, "x must be finite, got inf"),
        (np.full((2, 1, 2, 2), 1e300), ValueError, "x must be finite in float32, got 1e+300"),
        ("x", TypeError, "x must be an array of real numbers, got 'x': fisherfield.data.load reads data sets"),
    ],
)
def test_inputs_are_refused_in_a_sentence(x, error, words):
    sampled = ff.sample(ff.Network((1, 2, 2), [ff.Flatten(), ff.Dense(2)]), dtype="float32")
    with pytest.raises(error) as refusal:
        sampled(x)
    assert str(refusal.value) == words


def test_one_number_has_no_variance():
    x = ff.data.gaussian((1, 4, 4), 2)
    with pytest.raises(ValueError, match=r"x must hold at least 2 samples under the BatchNorm of layers\[4\]"):
        ff.sample(ff.convnet((1, 4, 4), [3, 3, 3], 2, eps=1.0, trained=True))(x[:1])
    sampled = ff.sample(ff.convnet((1, 4, 4), [3], 2))
    assert sampled(x[:1]).shape == (1, 2)  # one sample, but four positions


def test_zero_variance_needs_eps(implementation):
    x = ff.data.gaussian(3, 8)
    net = ff.Network(3, [ff.Dense(4), ff.BatchNorm(), ff.Activation("relu"), ff.Dense(2)])
    sampled = ff.sample(net)
    sampled.weights[0][2] = 0.0
    with pytest.raises(ValueError, match=r"layers\[1\]: unit 2 has zero variance over the batch; BatchNorm needs eps"):
        implementation.forward(sampled, x)
    other = ff.sample(net.replace(eps=1e-3))
    other.weights, other.biases = sampled.weights, sampled.biases
    assert np.isfinite(implementation.forward(other, x)).all()
    # the same sample eight times: what rounding leaves is no variance
    with pytest.raises(ValueError, match=r"layers\[1\]: unit 0 has zero variance"):
        implementation.forward(ff.sample(ff.mlp([50, 40, 1])), np.tile(0.1 * np.arange(50), (8, 1)))
    image = ff.sample(ff.convnet((1, 4, 4), [3], 2))
    image.weights[0][1] = 0.0
    with pytest.raises(ValueError, match=r"layers\[1\]: channel 1 has zero variance"):
        implementation.forward(image, ff.data.gaussian((1, 4, 4), 8))


# Laws of the Jacobian


def differences(sampled, x, biases, held):
    """d f_k(x_i)/d theta_p by central differences of fourth order: (n, C, P)."""
    step, columns = 5e-4, []
    for array in in_order(sampled, biases):
        for place in range(array.size):
            value, outputs = array.flat[place], {}
            for shift in (-2, -1, 1, 2):
                array.flat[place] = value + shift * step
                outputs[shift] = reference.sampled.forward(sampled, x, held)
            array.flat[place] = value
            columns.append((8 * (outputs[1] - outputs[-1]) - (outputs[2] - outputs[-2])) / (12 * step))
    return np.stack(columns, axis=-1)


@pytest.mark.parametrize("statistics", STATISTICS)
def test_rows_are_differences_of_the_forward_pass(implementation, case, statistics):
    """With the statistics that the gradient does not flow through held at the batch's."""
    sampled, x = case
    batch = reference.sampled.batch_statistics(sampled, x)
    held = {
        "exact": [(None, None)] * len(batch),
        "frozen": batch,
        "mean_only": [(None, var) for _, var in batch],
        "variance_only": [(mean, None) for mean, _ in batch],
    }[statistics]
    result = implementation.jacobian(sampled, x, statistics)
    slow = differences(sampled, x, True, held)
    # the differences' errors: step^4 = 6e-14 times a fifth derivative, which a BatchNorm of small variance makes large
    assert result == pytest.approx(slow, abs=1e-8 * np.max(np.abs(slow)))


def test_biases_left_out_are_columns_left_out(implementation, case):
    sampled, x = case
    J = implementation.jacobian(sampled, x)
    columns = np.ones(J.shape[-1], bool)
    for _, bias in affine_columns(sampled):
        columns[bias] = False
    assert np.array_equal(implementation.jacobian(sampled, x, biases=False), J[..., columns])


def test_permuted_samples_permute_rows(implementation, case):
    sampled, x = case
    order = np.random.default_rng(1).permutation(len(x))
    J = implementation.jacobian(sampled, x)
    # sums over the batch in another order
    assert implementation.jacobian(sampled, x[order]) == pytest.approx(J[order], abs=1e-12 * np.max(np.abs(J)))


def test_without_batch_norm_statistics_do_not_matter_and_rows_stand_alone(implementation):
    sampled, x = drawn(NETWORKS["vanilla"])
    J = implementation.jacobian(sampled, x)
    for statistics in STATISTICS:
        assert np.array_equal(implementation.jacobian(sampled, x, statistics), J)
    assert implementation.jacobian(sampled, x[:1]) == pytest.approx(J[:1], rel=1e-13, abs=1e-13)


@pytest.mark.parametrize("name", ["normed output", "convolutions"])
def test_a_layer_before_batch_norm_moves_neither_with_its_scale_nor_with_its_bias(implementation, name):
    """eps = 0: f does not change with the scale of a unit's weights, nor, exactly, with its bias."""
    sampled, x = drawn(NETWORKS[name])
    J = implementation.jacobian(sampled, x)
    W = sampled.weights[0]
    weights, bias = affine_columns(sampled)[0]
    along = J[..., weights].reshape(*J.shape[:2], len(W), -1) * W.reshape(len(W), -1)
    assert np.sum(along, axis=-1) == pytest.approx(0, abs=1e-13 * np.max(np.abs(J)))
    assert J[..., bias] == pytest.approx(0, abs=1e-13 * np.max(np.abs(J)))


@pytest.mark.parametrize("activation", ["relu", "leaky_relu(0.3)", "abs"])
@pytest.mark.parametrize(
    "net",
    [
        ff.mlp([6, 8, 7, 2], gamma=1.0),
        ff.convnet((2, 4, 4), [4, 5], 2, gamma=1.0, stride=1),
    ],
    ids=["dense", "convolutions"],
)
def test_the_scaling_law_of_homogeneous_networks(implementation, net, activation):
    """Theta = gamma^2 Theta_W + 11^T for each output, Theta_W the same for all sigma_w2, sigma_b2 and gamma."""
    net = net.replace(activation=activation)
    x = ff.data.gaussian(net, 6)
    outputs = np.kron(np.ones((6, 6)), np.eye(net.outputs))
    kernels = []
    # One seed: the same standard normals. Biases fall out before a BatchNorm; the last one shifts f alone.
    for gamma, sigma_w2, sigma_b2 in ((1.0, 2.0, 0.5), (0.25, 0.3, 4.0), (3.0, 50.0, 0.0), (-2.0, 2.0, 0.5)):
        sampled = ff.sample(net.replace(gamma=gamma, sigma_w2=sigma_w2, sigma_b2=sigma_b2), seed=1)
        sign = np.sign(gamma)
        if sign < 0:  # gamma u is what -gamma makes of -u
            for norm in range(len(sampled.gammas)):
                sampled.weights[norm][...] *= sign
                sampled.biases[norm][...] *= sign
        kernels.append((tangent_kernel(implementation, sampled, x) - outputs) / gamma**2)
    for kernel in kernels[1:]:
        assert kernel == pytest.approx(kernels[0], abs=1e-12 * np.max(np.abs(kernels[0])))


# PyTorch


def torch_forward(torch, net, parameters, x, statistics="exact"):
    """The network in torch.nn.functional; `parameters` are those of `in_order`, and all gammas and betas besides."""
    functional, h = torch.nn.functional, x
    arrays = iter(parameters)
    for layer in net.layers:
        if isinstance(layer, ff.Dense):
            h = functional.linear(h, next(arrays), next(arrays))
        elif isinstance(layer, ff.Conv2d):
            h = functional.conv2d(h, next(arrays), next(arrays), layer.stride, layer.padding)
        elif isinstance(layer, ff.BatchNorm):
            gamma, beta = next(arrays), next(arrays)
            if statistics == "exact":
                eps = max(layer.eps, 1e-100)  # PyTorch asks for some
                h = functional.batch_norm(h, None, None, gamma, beta, training=True, eps=eps)
            else:
                over = (0, *range(2, h.ndim))
                shape = (-1, *(1,) * (h.ndim - 2))
                fixed = h.detach()
                mean = (h if statistics == "mean_only" else fixed).mean(over).reshape(shape)
                var = ((fixed if statistics != "variance_only" else h) - mean.detach()).square().mean(over)
                if statistics != "variance_only":
                    var = var.detach()
                h = (h - mean) / (var.reshape(shape) + layer.eps).sqrt() * gamma.reshape(shape) + beta.reshape(shape)
        elif isinstance(layer, ff.Activation):
            h = {"tanh": torch.tanh, "gelu": functional.gelu, "sin": torch.sin, "silu": functional.silu}[
                layer.function
            ](h)
        elif isinstance(layer, ff.AvgPool2d):
            h = functional.avg_pool2d(h, layer.kernel, layer.stride)
        elif isinstance(layer, ff.GlobalAvgPool2d):
            h = functional.adaptive_avg_pool2d(h, 1)
        else:
            h = h.flatten(1)
    return h.flatten(1)


def torch_parameters(torch, sampled):
    """Arrays in the layers' order, and which of them are parameters."""
    affine = iter(zip(sampled.weights, sampled.biases, strict=True))
    norms = iter(zip(sampled.gammas, sampled.betas, strict=True))
    arrays, trained = [], []
    for layer in sampled.net.layers:
        if isinstance(layer, (ff.Dense, ff.Conv2d, ff.BatchNorm)):
            arrays += [torch.from_numpy(array.copy()) for array in next(norms if hasattr(layer, "gamma") else affine)]
            trained += [getattr(layer, "trained", True)] * 2
    return arrays, trained


def test_the_forward_pass_is_pytorchs(implementation, case):
    torch = pytest.importorskip("torch")
    sampled, x = case
    arrays, _ = torch_parameters(torch, sampled)
    theirs = torch_forward(torch, sampled.net, arrays, torch.from_numpy(x)).numpy()
    assert implementation.forward(sampled, x) == pytest.approx(theirs, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("statistics", STATISTICS)
def test_the_jacobian_is_pytorchs(implementation, case, statistics):
    torch = pytest.importorskip("torch")
    sampled, x = case
    arrays, trained = torch_parameters(torch, sampled)

    def f(*parameters):
        values = iter(parameters)
        filled = [next(values) if mine else array for array, mine in zip(arrays, trained, strict=True)]
        return torch_forward(torch, sampled.net, filled, torch.from_numpy(x), statistics)

    free = [array for array, mine in zip(arrays, trained, strict=True) if mine]
    parts = torch.func.jacrev(f, argnums=tuple(range(len(free))))(*free)
    theirs = torch.cat([part.flatten(2) for part in parts], dim=2).numpy()
    result = implementation.jacobian(sampled, x, statistics)
    assert result == pytest.approx(theirs, abs=1e-12 * np.max(np.abs(theirs)))


# The Fisher information


@pytest.mark.parametrize("loss", ["sum", "mean", "mse", "cross_entropy"])
def test_the_dual_has_the_eigenvalues_of_the_fisher_information(loss):
    sampled, x = drawn(NETWORKS["dense"])
    n, outputs = len(x), sampled.net.outputs
    J, f = reference.sampled.jacobian(sampled, x), sampled(x)
    F = np.zeros((J.shape[-1],) * 2)
    for rows, logits in zip(J, f, strict=True):
        p = np.exp(logits) / np.sum(np.exp(logits))
        squared = {"sum": 1.0, "mean": 1 / outputs, "mse": 2 / outputs}
        H = np.diag(p) - np.outer(p, p) if loss == "cross_entropy" else squared[loss] * np.eye(outputs)
        F += rows.T @ H @ rows
    F /= n
    slow = np.linalg.eigvalsh(F)[::-1]
    result = reference.sampled_fisher(sampled, x, k="all", loss=loss)
    assert result.shape == (n * outputs,)
    assert result == pytest.approx(slow[: n * outputs], abs=1e-13 * slow[0])
    assert slow[n * outputs :] == pytest.approx(0, abs=1e-13 * slow[0])


def test_of_cross_entropy_it_is_the_covariance_of_the_score():
    """F = (1/n) sum_i sum_y p_y grad log p_y grad log p_y^T, its definition, by differences of log p."""
    sampled, x = drawn(NETWORKS["vanilla"])
    f = sampled(x)
    p = np.exp(f) / np.sum(np.exp(f), axis=1, keepdims=True)
    slopes = differences(sampled, x, True, None)
    scores = slopes - np.einsum("ik,ikp->ip", p, slopes)[:, None]
    F = np.einsum("ik,ikp,ikq->pq", p, scores, scores) / len(x)
    slow = np.linalg.eigvalsh(F)[::-1][:15]
    assert reference.sampled_fisher(sampled, x, k="all", loss="cross_entropy") == pytest.approx(
        slow, abs=1e-9 * slow[0]
    )


def test_more_rows_than_parameters_have_eigenvalues_0():
    sampled, x = drawn(ff.mlp([2, 2], batch_norm=False), samples=10)
    result = reference.sampled_fisher(sampled, x, k="all", biases=False)
    assert result.shape == (20,)
    assert np.all(result[4:] <= 1e-14 * result[0])
    assert np.all(np.diff(result) <= 0)
    assert np.all(result >= 0)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"statistics": "train"}, ValueError, "statistics must be one of exact, frozen, mean_only, variance_only, got"),
        ({"loss": "hinge"}, ValueError, "loss must be one of sum, mean, mse, cross_entropy, got 'hinge'"),
        ({"biases": 1}, TypeError, "biases must be True or False, got 1"),
        ({"x": np.ones((2, 4))}, ValueError, r"x must have shape \(n, 5\), got \(2, 4\)"),
        ({"net": 3}, TypeError, "net must be a fisherfield.Network"),
        ({"k": 16}, ValueError, "k must be a whole number from 1 to 15, got 16"),
        ({"k": "some"}, (TypeError, ValueError), "k must be"),
    ],
)
@pytest.mark.parametrize("module", [ff, reference], ids=["core", "reference"])
def test_both_refuse_in_a_sentence(module, arguments, error, words):
    sampled, x = drawn(NETWORKS["dense"])
    with pytest.raises(error, match=words):
        module.sampled_fisher(**{"net": sampled, "x": x, **arguments})


@pytest.mark.parametrize("statistics", ["exact", "frozen"])
def test_theory_is_what_wide_networks_show(statistics):
    """One output, 400 units: exact BatchNorm is good to 1 %, frozen networks differ by some percent from each other."""
    net = ff.mlp([200, 400, 400, 1])
    theory = ff.fisher(net, statistics, samples=50).lambda_max
    x = ff.data.gaussian(net, 50)
    result = np.mean([reference.sampled_fisher(net, x, seed, statistics)[0] for seed in (0, 1)])
    assert result == pytest.approx(theory, rel={"exact": 0.02, "frozen": 0.1}[statistics])
