# SPDX-License-Identifier: BSD-3-Clause
"""Layers of finite networks in the core, each against PyTorch's own derivatives."""

from __future__ import annotations

import copy
import functools

import numpy as np
import pytest

import fisherfield as ff
from fisherfield import _core
from fisherfield.sampled.linearization import bytes_of_forward

torch = pytest.importorskip("torch")
F = torch.nn.functional

SAMPLES = 4
# Rounding of sums of some hundred terms of order 1 to 10, in float64; float32 has 2^29 times as much.
TOLERANCE = 1e-12


def drawn(shape, seed):
    return torch.tensor(np.random.default_rng(seed).standard_normal(shape))


GAMMAS, BETAS = 1.0 + 0.3 * drawn(6, 21), drawn(6, 22)


class Case:
    """A network, as it is built in the core and as a function of its parameters in PyTorch."""

    def __init__(self, shape):
        self.shape, self.parameters, self.calls, self.last = shape, [], [], -1

    def drawn(self, *shape, mean=0.0):
        """Parameters, on which the function of the next call depends."""
        self.parameters.append(mean + drawn(shape, len(self.parameters)) / np.sqrt(max(1, np.prod(shape[1:]))))
        return self.parameters[-1]

    def call(self, name, function, *args, **words):
        """A call of the core, and what it does: function(h, *parameters) of those that were drawn since the last."""
        count = len(self.parameters) - sum(call[-2] for call in self.calls)
        self.calls.append((name, args, words, function, count, self.last))
        self.last = len(self.calls) - 1

    # ------------------------------------------------------------------------------------------------------------ calls

    def dense(self, before, after):
        w, b = self.drawn(after, before), self.drawn(after)
        self.call("affine", lambda h, w, b: F.linear(h.flatten(1), w, b), w, b, True)

    def conv2d(self, before, after, kernel, stride=(1, 1), padding=(0, 0), dilation=(1, 1), groups=1):
        w, b = self.drawn(after, before // groups, *kernel), self.drawn(after)
        function = lambda h, w, b: F.conv2d(h, w, b, stride, padding, dilation, groups)  # noqa: E731
        self.call("affine", function, w, b, True, stride=stride, padding=padding, dilation=dilation)

    def activation(self):
        self.call("activation", torch.tanh, _core.Activation("tanh"))

    def batch_norm(self, channels):
        gammas, betas = self.drawn(channels, mean=1.0), self.drawn(channels)
        function = lambda h, g, b: F.batch_norm(h, None, None, g, b, training=True, eps=0.1)  # noqa: E731
        self.call("batch_norm", function, gammas, betas, 0.1, True)

    def layer_norm(self, *shape):
        gammas, betas = self.drawn(*shape, mean=1.0), self.drawn(*shape)
        self.call(
            "layer", lambda h, g, b: F.layer_norm(h, shape, g, b, 0.1), "layer_norm", [0.1], [gammas, betas], True
        )

    def group_norm(self, groups, channels, flat=False):
        gammas, betas = self.drawn(channels, mean=1.0), self.drawn(channels)
        function = lambda h, g, b: F.group_norm(h.flatten(1) if flat else h, groups, g, b, 0.1)  # noqa: E731
        self.call("layer", function, "group_norm", [groups, 0.1], [gammas, betas], True)

    def scale(self, factor):
        self.call("layer", lambda h: factor * h, "scale", [factor], [], False)

    def average_pool(self, *windows):
        """Kernel, stride, padding."""
        self.call("average_pool", lambda h: F.avg_pool2d(h, *windows, count_include_pad=True), *windows)

    def max_pool(self, kernel, stride, padding=(0, 0)):
        function = lambda h: F.max_pool2d(h, kernel, stride, padding)  # noqa: E731
        self.call("layer", function, "max_pool", [*kernel, *stride, *padding], [], False)

    def subsample(self, channels, stride):
        function = lambda h: F.pad(  # noqa: E731
            h[:, :, :: stride[0], :: stride[1]], (0, 0, 0, 0, 0, channels - h.shape[1])
        )
        self.call("layer", function, "subsample", [channels, *stride], [], False)

    def flat_batch_norm(self, units):
        """Of each unit of an image."""
        gammas, betas = self.drawn(units, mean=1.0), self.drawn(units)
        function = lambda h, g, b: F.batch_norm(h.flatten(1), None, None, g, b, training=True, eps=0.1)  # noqa: E731
        self.call("batch_norm", function, gammas, betas, 0.1, True)

    def add(self, *inputs):
        """The sum of what these nodes give."""
        self.call("add", inputs, list(inputs))

    # ---------------------------------------------------------------------------------------------------------- results

    def built(self, dtype="float64"):
        def converted(value):
            if isinstance(value, list):
                return [converted(each) for each in value]
            return value.numpy().astype(dtype) if torch.is_tensor(value) else value

        core = (_core.Linearization64 if dtype == "float64" else _core.Linearization32)(
            list(self.shape), True, True, True
        )
        nodes = {-1: -1}  # of each call; of a flattened image there may be one more
        for place, (name, args, words, *_, before) in enumerate(self.calls):
            core.last = nodes[before]
            if name == "add":
                core.add([nodes[node] for node in args[0]])
            else:
                getattr(core, name)(*map(converted, args), **words)
            nodes[place] = core.last
        return core

    def function(self, parameters, x):
        values, rest = [], iter(parameters)
        for *_, function, count, before in self.calls:
            own = [next(rest) for _ in range(count)]
            if isinstance(function, tuple):
                parts = [x if node < 0 else values[node] for node in function]
                same = len({part.ndim for part in parts}) == 1
                values.append(sum(part if same else part.flatten(1) for part in parts))
            else:
                values.append(function(x if before < 0 else values[before], *own))
        return values[-1].flatten(1)

    def jacobian(self, x):
        """(n C, P)"""
        parts = torch.func.jacrev(self.function)(tuple(self.parameters), x)
        return torch.cat([part.reshape(part.shape[0] * part.shape[1], -1) for part in parts], 1).numpy()


def fixed_case(kind, numbers, arrays, function):
    """Gamma and beta that are not trained, between layers that are."""
    case = Case((5,))
    case.dense(5, 6)
    case.call("layer", function, kind, numbers, arrays, False)
    case.activation()
    case.dense(6, 2)
    return case


def dense_case(norm, *args):
    """Before an activation, behind one, and last."""
    case = Case((5,))
    case.dense(5, 6)
    getattr(case, norm)(*args)
    case.activation()
    case.dense(6, 6)
    case.activation()
    getattr(case, norm)(*args)
    case.dense(6, 3)
    return case


def image_case(norm, *args):
    case = Case((2, 4, 5))
    case.conv2d(2, 4, (3, 2), padding=(1, 0))
    getattr(case, norm)(*args)
    case.activation()
    case.dense(64, 2)
    return case


def flattened_case(groups, units, positions):
    """Before any weights, of three channels."""
    case = Case((3, *positions))
    case.group_norm(groups, units, True)
    case.dense(units, 3)
    return case


def residual_case(norm, *args):
    """The norm reads what others read, and a sum reads it."""
    case = Case((5,))
    case.dense(5, 6)  # 0
    getattr(case, norm)(*args)  # 1
    case.activation()
    case.dense(6, 6)  # 3
    case.add(0, 3, 1, 0)  # 4
    getattr(case, norm)(*args)
    case.dense(6, 2)
    return case


def convolution_case(inputs, channels, *args, norm=True, **words):
    """One that reads images, a BatchNorm behind it, and one that reads activations; ends in a dense layer."""
    case = Case((inputs, 5, 6))
    case.conv2d(inputs, channels, *args, **words)
    if norm:
        case.batch_norm(channels)
    case.activation()
    case.conv2d(channels, channels, *args, **words)
    case.activation()
    case.dense(np.prod(case.function(case.parameters, inputs_of(case)).shape[1:]), 2)
    return case


def one_position_case():
    """Groups of inputs without neighbours: no product of all with all makes J J^T of them."""
    case = Case((6, 1, 1))
    case.conv2d(6, 4, (1, 1), groups=2)
    case.activation()
    case.conv2d(4, 4, (1, 1), groups=4)
    case.activation()
    case.dense(4, 3)
    return case


def pool_case(*windows):
    """Pools of inputs and of activations, with a BatchNorm behind the first weights."""
    case = Case((2, 5, 6))
    case.average_pool((2, 2), (1, 1), (1, 0))
    case.conv2d(2, 3, (2, 2), padding=(0, 1))
    case.batch_norm(3)
    case.activation()
    case.average_pool(*windows)
    case.dense(np.prod(case.function(case.parameters, inputs_of(case)).shape[1:]), 2)
    return case


def max_pool_case(*windows):
    """Of what comes in, of activations, and before a BatchNorm that reads the largest."""
    case = Case((2, 6, 7))
    case.max_pool((1, 2), (1, 1))
    case.conv2d(2, 3, (2, 2), padding=(0, 1))
    case.max_pool(*windows)
    case.batch_norm(3)
    case.activation()
    case.max_pool((2, 1), (1, 1), (1, 0))
    case.dense(np.prod(case.function(case.parameters, inputs_of(case)).shape[1:]), 2)
    return case


def post_activation_case(skip, stride):
    """Sums of what an activation gives, with a skip without parameters or none."""
    case = Case((2, 5, 6))
    case.conv2d(2, 4, (3, 3), padding=(1, 1))
    case.batch_norm(4)
    case.activation()
    stream = case.last
    case.conv2d(4, skip or 4, (3, 3), stride, (1, 1))
    case.batch_norm(skip or 4)
    branch = case.last
    if skip:
        case.last = stream
        case.subsample(skip, stride)
        stream = case.last
    case.add(branch, stream)
    case.activation()
    case.batch_norm(skip or 4)
    case.dense(np.prod(case.function(case.parameters, inputs_of(case)).shape[1:]), 2)
    return case


def depthwise_case(each):
    """Each channel by its own taps, `each` times; then all channels together."""
    case = Case((3, 5, 6))
    case.batch_norm(3)
    case.conv2d(3, 3 * each, (3, 2), (1, 2), (1, 0), groups=3)
    case.batch_norm(3 * each)
    case.activation()
    case.conv2d(3 * each, 4, (1, 1))
    case.batch_norm(4)
    case.activation()
    case.average_pool((2, 2), (2, 2), (0, 0))
    case.batch_norm(4)
    case.dense(np.prod(case.function(case.parameters, inputs_of(case)).shape[1:]), 2)
    return case


def flattened_units_case():
    """Units of an image, each for itself: BatchNorm, and a sum with a layer's."""
    case = Case((2, 3, 4))
    case.flat_batch_norm(24)
    case.dense(24, 6)
    case.last = -1
    case.conv2d(2, 3, (2, 3))
    case.activation()
    image = case.last
    case.dense(12, 12)
    case.add(image, case.last)
    case.flat_batch_norm(12)
    case.dense(12, 6)
    case.add(1, case.last)
    return case


def normed_sum_case():
    """A BatchNorm directly behind a sum: of weights that it alone reads, and of the input."""
    case = Case((5,))
    case.dense(5, 5)  # 0
    case.add(-1, 0)
    case.batch_norm(5)
    case.activation()
    case.dense(5, 3)
    return case


def pre_activation_case():
    """Blocks whose sum a BatchNorm reads, and the next sum; a BatchNorm alone reads the last one."""
    case = Case((5,))
    case.dense(5, 6)
    stream = 0
    for _ in range(2):
        case.batch_norm(6)
        case.activation()
        case.dense(6, 6)
        case.add(stream, len(case.calls) - 1)
        stream = len(case.calls) - 1
    case.batch_norm(6)
    case.activation()
    case.dense(6, 2)
    return case


def shared_weights_case():
    """Two BatchNorms read the same weights, and weights read what one of these gives and the weights themselves."""
    case = Case((5,))
    case.dense(5, 6)  # 0
    case.batch_norm(6)  # 1
    case.add(0)
    case.batch_norm(6)  # 3
    case.add(0, 1, 3)
    case.dense(6, 2)
    return case


def between_case():
    """Other layers stand between weights and the BatchNorm, and before the weights."""
    case = Case((6,))
    case.layer_norm(6)
    case.dense(6, 6)
    case.group_norm(2, 6)
    case.batch_norm(6)
    case.scale(0.7)
    case.dense(6, 6)
    case.scale(-1.4)
    case.batch_norm(6)
    case.layer_norm(6)
    case.dense(6, 2)
    return case


def first_case():
    """Parameters of a BatchNorm, with nothing before them but pools of the input and their sum."""
    case = Case((2, 4, 4))
    case.average_pool((1, 2), (1, 1), (0, 0))  # 0
    case.add(-1)
    case.average_pool((1, 2), (1, 1), (0, 0))  # 2
    case.add(0, 2)
    case.batch_norm(2)
    case.activation()
    case.conv2d(2, 3, (2, 2))
    case.batch_norm(3)
    case.dense(18, 2)
    return case


def projection_case():
    """Both branches of a sum begin at the input, one of them scaled; the next ones at their sum."""
    case = Case((5,))
    start = case.last
    for width in (6, 4):
        case.dense(5, width)
        case.batch_norm(width)
        case.activation()
        case.dense(width, 5)
        case.scale(-0.3)
        branch, case.last = case.last, start
        case.dense(5, 5)
        case.batch_norm(5)
        case.add(branch, case.last)
        case.batch_norm(5)
        start = case.last
    case.dense(5, 2)
    return case


BATCH_NORMS = {
    "depthwise": lambda: depthwise_case(1),
    "depthwise, two of each": lambda: depthwise_case(2),
    "sum with activations": lambda: post_activation_case(0, (1, 1)),
    "skip without parameters": lambda: post_activation_case(7, (2, 2)),
    "skip of the same channels": lambda: post_activation_case(4, (1, 2)),
    "BatchNorm of a sum": normed_sum_case,
    "BatchNorms of sums that others read": pre_activation_case,
    "two BatchNorms of the same": shared_weights_case,
    "other layers between": between_case,
    "BatchNorm first": first_case,
    "branches from the input": projection_case,
}

CASES = BATCH_NORMS | {
    "layer_norm": lambda: dense_case("layer_norm", 6),
    "layer_norm not trained": lambda: fixed_case(
        "layer_norm", [0.1], [GAMMAS, BETAS], lambda h: F.layer_norm(h, (6,), GAMMAS, BETAS, 0.1)
    ),
    "layer_norm of images": lambda: image_case("layer_norm", 4, 4, 4),
    "layer_norm of a sum": lambda: residual_case("layer_norm", 6),
    "group_norm": lambda: dense_case("group_norm", 2, 6),
    "group_norm not trained": lambda: fixed_case(
        "group_norm", [3, 0.1], [GAMMAS, BETAS], lambda h: F.group_norm(h, 3, GAMMAS, BETAS, 0.1)
    ),
    "group_norm of images": lambda: image_case("group_norm", 2, 4),
    # channels of 16 units: groups of two channels, of parts of one, and of parts of two
    "group_norm of a flattened image": lambda: image_case("group_norm", 2, 64, True),
    "groups within flattened channels": lambda: image_case("group_norm", 32, 64, True),
    "groups across flattened channels": lambda: flattened_case(4, 36, (3, 4)),
    "one group of images": lambda: image_case("group_norm", 1, 4),
    "group_norm of a sum": lambda: residual_case("group_norm", 3, 6),
    "max pools": lambda: max_pool_case((2, 2), (2, 2)),
    "padded max pools": lambda: max_pool_case((3, 2), (2, 1), (1, 1)),
    "max pools apart": lambda: max_pool_case((2, 1), (3, 2)),
    "units of a flattened image": flattened_units_case,
    "padded pools": lambda: pool_case((3, 2), (2, 1), (1, 1)),
    "padded pools apart": lambda: pool_case((2, 2), (3, 3), (1, 0)),
    "dilation": lambda: convolution_case(2, 3, (2, 2), padding=(1, 0), dilation=(1, 2)),
    "dilation and stride": lambda: convolution_case(2, 3, (2, 3), (2, 1), (1, 3), (2, 2), norm=False),
    "groups": lambda: convolution_case(4, 6, (2, 2), (1, 2), (0, 1), groups=2),
    "groups without BatchNorm": lambda: convolution_case(4, 6, (2, 2), (1, 2), (0, 1), (1, 2), 2, norm=False),
    "one channel a group": lambda: convolution_case(3, 6, (3, 2), padding=(1, 1), groups=3, norm=False),
    "groups of one tap": lambda: convolution_case(4, 6, (1, 1), groups=2),
    "groups of one position": one_position_case,
}


@functools.cache
def case_of(name):
    """With (n C, P) of the derivatives that are expected."""
    case = CASES[name]()
    return case, case.jacobian(inputs_of(case))


@pytest.fixture(params=CASES)
def case(request):
    return case_of(request.param)[0]


def inputs_of(case):
    return drawn((SAMPLES, *case.shape), 99)


def close(actual, expected, dtype):
    """To rounding beside the largest number there."""
    tolerance = TOLERANCE * (1 if dtype == "float64" else 2.0**29) * max(1.0, np.abs(expected).max())
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", CASES)
def test_values_and_derivatives_are_pytorch_s(name, dtype):
    case, expected = case_of(name)
    x, core = inputs_of(case), case.built(dtype)
    outputs = case.function(case.parameters, x).numpy()
    close(core.forward(x.numpy().astype(dtype), 1e6, True), outputs, dtype)
    assert core.parameters == expected.shape[1]
    every = np.eye(len(expected), dtype=dtype)
    close(core.pull(every), expected, dtype)
    close(core.push(np.eye(expected.shape[1], dtype=dtype)), expected.T, dtype)
    dual = expected @ expected.T
    for _ in range(2):
        close(core.product(every), dual, dtype)
        core.prepare(1e9, 1e9)
    if not core.coupled:
        shape = (SAMPLES, outputs.shape[1])
        close(core.gram(), dual.reshape(*shape, *shape).transpose(1, 0, 3, 2).reshape(dual.shape), dtype)
    # a batch at a time takes no other way: with work space for one sample, and without what operators need
    close(core.forward(x.numpy().astype(dtype), 0.0, False), outputs, dtype)


def test_1_and_2_threads_give_the_same_bits(case, threads):
    x = drawn((40, *case.shape), 98).numpy()
    results = []
    for count in (1, 2):
        threads(count)
        core = case.built()
        outputs = core.forward(x, 1e6, True)
        random = np.random.default_rng(5)
        v, w = random.standard_normal((1, core.parameters)), random.standard_normal((1, outputs.size))
        results.append([outputs, core.pull(w), core.push(v)])
    for one, other in zip(*results, strict=True):
        np.testing.assert_array_equal(one, other)


def test_noise_is_of_the_size_of_rounding(case):
    """It moves every output, by some roundings of it."""
    x = inputs_of(case).numpy()
    core = case.built()
    clean, noisy = core.forward(x, 1e6, False), core.forward(x, 1e6, False, noise=1e6, seed=1)
    change = np.abs(noisy - clean) / np.abs(clean).max() / 1e6 / np.finfo(float).eps
    assert 0.05 < np.median(change) < 50.0


def test_of_equal_numbers_the_first_is_the_largest():
    """z is channel 0 alone, of few values; the gradient of channel 1's weight tells which position was taken."""
    x = drawn((7, 2, 6, 6), 97)
    x[:, 0] = torch.round(x[:, 0])
    weights = torch.tensor([[1.0, 0.0]], dtype=torch.float64, requires_grad=True)
    windows = ((3, 2), (1, 2), (1, 1))
    core = _core.Linearization64([2, 6, 6], True, True, True)
    core.affine(weights.detach().numpy()[:, :, None, None], np.zeros(1), False)
    core.layer("max_pool", [side for pair in windows for side in pair], [], False)
    z = F.max_pool2d(F.conv2d(x, weights[:, :, None, None]), *windows)
    core.affine(np.ones((1, z[0].numel())), np.zeros(1), False)
    core.forward(x.numpy(), 1e6, True)
    (expected,) = torch.autograd.grad(z.sum(), weights)
    close(core.pull(np.ones((1, 7)))[0][:2], expected.numpy()[0], "float64")
    ties = F.unfold(F.pad(x[:, :1], (1, 1, 1, 1), value=-np.inf), windows[0], stride=windows[1])
    assert (ties == ties.max(dim=1, keepdim=True).values).sum(dim=1).double().mean() > 1.3


def test_a_network_without_parameters_has_no_derivatives():
    core = _core.Linearization64([3], True, True, True)
    core.layer("layer_norm", [0.1], [np.ones(3), np.zeros(3)], False)
    core.activation(_core.Activation("tanh"))
    core.forward(np.random.default_rng(0).standard_normal((4, 3)), 1e6, True)
    assert core.parameters == 0
    assert core.pull(np.ones((2, 12))).shape == (2, 0)
    for result in (core.push(np.ones((2, 0))), core.product(np.ones((2, 12))), core.gram()):
        np.testing.assert_array_equal(result, np.zeros((len(result), 12)))


# A layer's own call
def test_what_is_no_layer_is_refused():
    core = _core.Linearization64([6], True, True, True)
    ones = np.ones(6)
    with pytest.raises(ValueError, match=r"^kind must be one of .*layer_norm.*, got 'no_norm'$"):
        core.layer("no_norm", [], [], False)
    with pytest.raises(ValueError, match=r"^layer_norm takes 1 number \(eps\), got 2$"):
        core.layer("layer_norm", [0.1, 0.2], [ones, ones], False)
    with pytest.raises(ValueError, match=r"^layer_norm takes 2 arrays \(gammas, betas\), got 1$"):
        core.layer("layer_norm", [0.1], [ones], False)
    with pytest.raises(ValueError, match=r"^layer_norm: betas must be 6 numbers, got 5$"):
        core.layer("layer_norm", [0.1], [ones, ones[1:]], False)
    with pytest.raises(ValueError, match=r"^layer_norm: eps must be finite and >= 0, got -1$"):
        core.layer("layer_norm", [-1.0], [ones, ones], False)
    for groups in (4.0, 0.0, 1.5, np.nan):
        with pytest.raises(ValueError, match=r"^group_norm: groups must be a whole number that divides the channels, "):
            core.layer("group_norm", [groups, 0.1], [ones, ones], False)
    for weights in (np.ones((4, 4, 1, 1)), np.ones((4, 2, 1, 1)), np.ones((4, 12, 1, 1)), np.ones((4, 0, 1, 1))):
        with pytest.raises(
            ValueError, match=r"^weights must be \(C_out, 6/groups, height, width\) with groups that div"
        ):
            core.affine(weights, np.zeros(4), True)
    images = _core.Linearization64([2, 3, 5], True, True, True)
    for numbers, words in (
        ([0, 1, 1, 1, 0, 0], "kernel must be whole numbers >= 1, got 0"),
        ([1, 1, 1, 1.5, 0, 0], "stride must be whole numbers >= 1, got 1.5"),
        ([2, 2, 1, 1, 0, -1], "padding must be whole numbers >= 0, got -1"),
        ([2, 3, 1, 1, 1, 2], "padding must be at most half of the kernel, got 2"),
        ([4, 3, 1, 1, 0, 1], "kernel must be at most the padded image's size, got 4"),
    ):
        with pytest.raises(ValueError, match=f"^max_pool: {words}$"):
            images.layer("max_pool", numbers, [], False)
    for numbers, words in (
        ([1, 2, 2], "channels must be at least those that come in, got 1"),
        ([2, 0, 2], "sizes must be whole numbers >= 1, got 0"),
        ([2, 1, np.nan], "sizes must be whole numbers >= 1, got nan"),
    ):
        with pytest.raises(ValueError, match=f"^subsample: {words}$"):
            images.layer("subsample", numbers, [], False)
    with pytest.raises(ValueError, match=r"^scale: factor must be finite, got nan$"):
        core.layer("scale", [np.nan], [], False)
    for node in (-2, 0):
        with pytest.raises(ValueError, match=rf"^a node must be in \[-1, 0\), got {node}$"):
            core.last = node
        with pytest.raises(ValueError, match=rf"^a node must be in \[-1, 0\), got {node}$"):
            core.add([-1, node])
    assert core.nodes == 0
    core.affine(np.ones((2, 6)), np.ones(2), True)
    with pytest.raises(ValueError, match=r"^inputs of a sum must have one shape, got those of nodes -1 and 0$"):
        core.add([-1, 0])
    assert (core.nodes, core.last) == (1, 0)


def test_a_sample_of_zero_variance_is_refused():
    """The first one, whichever thread meets it; with eps there is nothing to refuse."""
    x = np.random.default_rng(0).standard_normal((20, 6))
    x[13:, :3], x[17:, 3:] = 0.1, 0.1
    for kind, numbers, sample in (("layer_norm", [], 17), ("group_norm", [2.0], 13)):
        for eps in (0.0, 1e-5):
            core = _core.Linearization64([6], True, True, True)
            core.activation(_core.Activation("linear"))
            core.layer(kind, [*numbers, eps], [np.ones(6), np.ones(6)], False)
            if eps > 0.0:
                np.testing.assert_allclose(core.forward(x, 1e6, False)[17:], 1.0, rtol=0, atol=1e-12)
                continue
            with pytest.raises(_core.Failure) as raised:
                core.forward(x, 1e6, False)
            assert raised.value.status == _core.Status.zero_variance
            assert (raised.value.node, raised.value.unit) == (1, sample)


@pytest.mark.parametrize("taps", [1, 2])
@pytest.mark.parametrize("mean", [True, False])
def test_a_common_offset_of_grouped_channels_costs_nothing_before_a_batch_norm(taps, mean):
    """1e9 on every input, which BatchNorm takes off again: beside it are numbers of order 1, of which 1e-16 is left.
    Where gradients do not go through the mean, those of the weights hold the inputs as they are."""
    random, offset = np.random.default_rng(2), 1e9
    w, b, ends = (random.standard_normal(shape) for shape in ((6, 2, taps, taps), 6, (2, 6 * (4 - taps) ** 2)))
    x = np.round(random.standard_normal((7, 4, 3, 3)) * 2**16) / 2**16  # nothing is rounded when 1e9 is added
    results = []
    for inputs in (x, x + offset):
        core = _core.Linearization64([4, 3, 3], mean, True, True)
        core.affine(w, b, True)
        core.batch_norm(np.ones(6), np.zeros(6), 1e-3, False)
        core.affine(ends, np.zeros(2), True)
        results += [core.forward(inputs, 1e6, True), core.pull(np.arange(14.0)[None])[0]]
    outputs, gradient, outputs_off, gradient_off = results
    np.testing.assert_allclose(outputs_off, outputs, rtol=0, atol=TOLERANCE * np.abs(outputs).max())
    of_biases = gradient[w.size : w.size + 6]
    expected = gradient + np.pad(np.repeat(of_biases, w[0].size) * offset, (0, gradient.size - w.size))
    if mean:  # deltas sum to 0 in exact arithmetic
        assert np.abs(of_biases).max() < TOLERANCE * np.abs(gradient).max()
        expected = gradient
    np.testing.assert_allclose(gradient_off, expected, rtol=0, atol=TOLERANCE * np.abs(expected).max())


@pytest.mark.parametrize("name", BATCH_NORMS)
def test_common_offsets_are_right_wherever_a_batch_norm_stands(name):
    """What is taken off beforehand must be what the BatchNorm alone would have taken off."""
    case, _ = case_of(name)
    x = inputs_of(case) + 1e4
    core, expected = case.built(), case.jacobian(x)
    # PyTorch's and, behind sums, the core's numbers are 1e4 large before a BatchNorm takes them off
    outputs = case.function(case.parameters, x).numpy()
    np.testing.assert_allclose(core.forward(x.numpy(), 1e6, True), outputs, rtol=0, atol=1e4 * TOLERANCE)
    scale = 1e4 * TOLERANCE * np.abs(expected).max()
    np.testing.assert_allclose(core.pull(np.eye(len(expected))), expected, rtol=0, atol=scale)
    np.testing.assert_allclose(core.push(np.eye(expected.shape[1])), expected.T, rtol=0, atol=scale)


@pytest.mark.parametrize("flat", [True, False])
def test_a_common_offset_behind_a_padded_pool(flat):
    """Units lose it, each its own, without cost; at the positions of a channel it is not the same, and counts."""
    random, offset = np.random.default_rng(6), 1e6
    x = np.round(random.standard_normal((7, 2, 3, 3)) * 2**16) / 2**16  # nothing is rounded when 1e6 is added
    w, ends = random.standard_normal((3, 16) if flat else (3, 2, 2, 2)), random.standard_normal((2, 3 if flat else 9))
    outputs = []
    for inputs in (x, x + offset):
        core = _core.Linearization64([2, 3, 3], True, True, True)
        core.average_pool((2, 2), (1, 1), (1, 0))
        core.affine(w, np.zeros(3), True)
        core.batch_norm(np.ones(3), np.zeros(3), 1e-3, False)
        core.affine(ends, np.zeros(2), True)
        outputs.append(core.forward(inputs, 1e6, True))
        pooled = F.avg_pool2d(torch.tensor(inputs), 2, 1, (1, 0))
        z = F.linear(pooled.flatten(1), torch.tensor(w)) if flat else F.conv2d(pooled, torch.tensor(w))
        expected = F.batch_norm(z, None, None, training=True, eps=1e-3).flatten(1).numpy() @ ends.T
        np.testing.assert_allclose(outputs[-1], expected, rtol=0, atol=1e-8)  # PyTorch's z is 1e6 large
    change = np.abs(outputs[1] - outputs[0]).max()
    assert change < TOLERANCE if flat else change > 0.1


def test_a_batch_norm_knows_what_a_norm_before_the_weights_has_rounded():
    """Samples that differ in mean and size alone are equal behind a LayerNorm, up to rounding: no variance is left."""
    random = np.random.default_rng(1)
    x = random.uniform(0.5, 2.0, (9, 1)) * random.standard_normal(6) + random.standard_normal((9, 1))
    core = _core.Linearization64([6], True, True, True)
    core.layer("layer_norm", [0.0], [np.ones(6), np.full(6, 3.0)], False)
    core.affine(random.standard_normal((4, 6)), np.zeros(4), True)
    core.batch_norm(np.ones(4), np.zeros(4), 0.0, False)
    with pytest.raises(_core.Failure) as raised:
        core.forward(x, 1e6, False)
    assert (raised.value.node, raised.value.unit) == (2, 0)


def test_the_layer_that_fails_is_named_in_its_branch():
    branch = [ff.LayerNorm(), ff.Activation("relu"), ff.Dense(6), ff.GroupNorm(3)]
    sampled = ff.sample(ff.Network(4, [ff.Dense(6), *[ff.Residual(branch, scale=0.5)] * 2, ff.Dense(1)]))
    x = np.random.default_rng(0).standard_normal((5, 4))
    assert sampled(x).shape == (5, 1)
    for place, where in (
        (0, r"layers\[1\].branch\[0\]: sample 0 .* LayerNorm"),
        (2, r"layers\[2\].branch\[3\]: .* Grou"),
    ):
        broken = copy.copy(sampled)
        broken.weights[place] = np.zeros(sampled.weights[place].shape)
        broken.biases[place] = np.ones(6)
        with pytest.raises(ValueError, match=rf"^{where}.* needs eps > 0$"):
            broken(x)


def test_a_stream_takes_memory_while_its_branch_is_formed():
    dense, phi = ff.Dense(100), ff.Activation("relu")
    chain = ff.sample(ff.Network(100, [dense, phi, dense, phi, ff.Dense(1)]))
    stream = ff.sample(ff.Network(100, [dense, ff.Residual([phi, dense]), phi, ff.Dense(1)]))
    assert bytes_of_forward(chain, 1000) == 2 * 100 * 1000 * 8 + chain.parameters * 8
    assert bytes_of_forward(stream, 1000) == 3 * 100 * 1000 * 8 + stream.parameters * 8
