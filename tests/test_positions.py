# SPDX-License-Identifier: BSD-3-Clause
"""Positions of small images against the same recursion with 45 digits, where windows see the same, or multiples of it.

There c = 1 or -1, step and sign see the root of 1 - c, and a rounding of 1e-16 would be one of 1e-8 in them.
"""

import mpmath
import numpy as np
import pytest

import fisherfield as ff
from fisherfield.network.layer import two
from fisherfield.reference.layers.affine import image_taps, window_of

mp = mpmath.mp.clone()
mp.dps = 45


def pair(name, q1, q2, overlap):
    """E phi phi and E phi' phi' of piecewise linear phi; at a length of 0 phi = phi' = 0, and 1 is linear's slope."""
    root = mp.sqrt(q1 * q2)
    if name == "linear":
        return overlap, mp.mpf(1)
    if root == 0:
        return mp.mpf(0), mp.mpf(0)
    c = min(max(overlap / root, -1), 1)
    angle, sine = mp.acos(-c), mp.sqrt(1 - c * c)
    return {
        "step": (angle / (2 * mp.pi), mp.mpf(0)),
        "sign": (2 * mp.asin(c) / mp.pi, mp.mpf(0)),
        "relu": (root * (sine + c * angle) / (2 * mp.pi), angle / (2 * mp.pi)),
        "abs": (2 * root * (sine + c * mp.asin(c)) / mp.pi, 2 * mp.asin(c) / mp.pi),
    }[name]


def diagonal(matrix):
    return sum(np.diagonal(matrix)) / len(matrix)


def framed(matrix):
    """With the padding as one more position, -1, which is 0."""
    return np.pad(matrix, (0, 1), constant_values=mp.mpf(0))


def affine(step, state, rows):
    layer, (xx, xy, own, across) = step.layer, state
    taps, w2, b2 = [np.arange(len(xx))], mp.mpf(layer.sigma_w2), mp.mpf(layer.sigma_b2)
    if len(step.before) == 3:
        _, taps = image_taps(step.before[1:], window_of(layer, step.before))
    rows.append((diagonal(xx), diagonal(xx - xy)))

    def mean(matrix):
        return sum(framed(matrix)[np.ix_(reads, reads)] for reads in taps) / len(taps)

    fan = step.before[0] // layer.channel_groups * len(taps)
    own, across = (fan * mean(h) + layer.bias + w2 * mean(t) for h, t in ((xx, own), (xy, across)))
    return b2 + w2 * mean(xx), b2 + w2 * mean(xy), own, across


def batch_norm(layer, state, theory):
    xx, xy, own, across = state

    def centred(matrix, of):
        row = sum(of) / len(of)
        return matrix - row - row[:, None] + sum(row) / len(row)

    s2 = diagonal(xx) - sum(xy.ravel()) / xy.size + mp.mpf(layer.eps)
    share = mp.mpf(layer.gamma) ** 2 / s2
    own, across = (share * (centred(t, across) if theory == "exact" else t) for t in (own, across))
    return share * centred(xx, xy), share * centred(xy, xy), own, across


def activation(layer, state):
    xx, xy, own, across = state
    q, (first, second) = np.diagonal(xx), np.indices(xx.shape)
    pairs = np.frompyfunc(pair, 4, 2)
    (xx, slopes), (xy, slopes_xy) = (pairs(layer.function, q[first], q[second], h) for h in (xx, xy))
    return xx, xy, slopes * own, slopes_xy * across


def pool(step, state):
    _, taps = image_taps(step.before[1:], window_of(step.layer, step.before))
    return tuple(sum(framed(each)[np.ix_(s, t)] for s in taps for t in taps) / len(taps) ** 2 for each in state)


def dropout(layer, state):
    xx, xy, own, across = state
    more = mp.mpf(layer.rate) / (1 - mp.mpf(layer.rate))
    return xx + more * np.diag(np.diagonal(xx)), xy, own + more * np.diag(np.diagonal(own)), across


def upsample(step, state):
    rows, columns = two(step.layer.factor)
    source = [
        row // rows * step.before[2] + column // columns
        for row in range(step.after[1])
        for column in range(step.after[2])
    ]
    return tuple(each[np.ix_(source, source)] for each in state)


def after(step, fed, theory, rows):
    layer, (state, *skip) = step.layer, fed
    if layer.affine:
        return affine(step, state, rows)
    if isinstance(layer, ff.Residual):
        return tuple(of_skip + mp.mpf(layer.scale) ** 2 * each for each, of_skip in zip(state, *skip, strict=True))
    if isinstance(layer, ff.BatchNorm):
        return batch_norm(layer, state, theory)
    if isinstance(layer, ff.Activation):
        return activation(layer, state)
    if isinstance(layer, ff.Dropout):
        return dropout(layer, state)
    if isinstance(layer, ff.Flatten):
        return tuple(np.array([[diagonal(matrix)]]) for matrix in state)
    if isinstance(layer, ff.AvgPool2d | ff.GlobalAvgPool2d):
        return pool(step, state)
    if isinstance(layer, ff.Upsample):
        return upsample(step, state)
    share = mp.mpf(layer.gamma) ** 2 / (diagonal(state[0]) + mp.mpf(layer.eps))  # a norm over units of mean 0
    return tuple(share * matrix for matrix in state)


def judged(net, theory="exact", overlap=0.0):
    """a, b, and of every affine layer q_hat and v_hat, by docs/theory.md, section 5.

    Norms are of beta = 0, untrained, those over units behind affine layers.
    """
    count, rows = int(np.prod(net.input_shape[1:])), []
    one = np.array([[mp.mpf(int(i == j)) for j in range(count)] for i in range(count)])
    states = {-1: (one, mp.mpf(overlap) * one, 0 * one, 0 * one)}
    for number, step in enumerate(net.steps):
        states[number] = after(step, [states[read] for read in step.reads], theory, rows)
    _, _, own, across = states[number]
    return diagonal(own), diagonal(across), *np.array(rows).T


def network(shape, *layers, pooled=True):
    named = [ff.Activation(layer) if isinstance(layer, str) else layer for layer in layers]
    end = [ff.GlobalAvgPool2d()] * pooled
    return ff.Network(shape, [*named, *end, ff.Flatten(), ff.Dense(7, 1.3, 0.2)])


conv, POOL2, POOL3, ONE = ff.Conv2d, ff.AvgPool2d(2, 1), ff.AvgPool2d(3, 1), (2, 1, 1)
CASES = {
    "windows of 2, the same": network(
        ONE, conv(27, 1, 1, 1, 1.43, 2.82), "linear", POOL2, conv(19, 1, 1, 1, 1.76, 0.34), "sign", ff.AvgPool2d(2)
    ),
    "and once more": network(
        (13, 1, 1),
        *(conv(1, 1, 1, 1, 1.11, 2.36), "linear", POOL2, conv(33, 1, 1, 1, 2.07, 2.13), "step"),
        *(conv(4, 1, 1, 1, 0.88, 1.49), "step", ff.AvgPool2d(2)),
    ),
    "of 1 x 2": network(
        *((2, 1, 2), conv(2, 1, 1, 1, 1.22, 1.82), "step", POOL2, conv(1, 1, 1, 1, 1.54, 0.16), "abs"),
        *(conv(1, 1, 1, 0, 2.96, 0.12), "step"),
    ),
    "windows of 3, the same": network(
        ONE, conv(27, 1, 1, 2, 1.43, 2.82), "sign", POOL3, conv(19, 1, 1, 1, 1.76, 0.34), "sign"
    ),
    "the same on two sides": network(
        *(ONE, conv(27, 1, 1, 2, 1.43, 2.82), "abs", POOL3, conv(19, 1, 1, 1, 1.76, 0.34), "abs", POOL2),
        *(conv(19, 1, 1, 0, 1.76, 0.34), "step"),
    ),
    "multiples": network(
        *(ONE, conv(27, 1, 1, 2, 1.43, 0.0), "relu", POOL2, conv(19, 1, 1, 0, 1.76, 0.0), "abs", POOL2),
        *(conv(19, 1, 1, 0, 1.76, 0.0), "step"),
    ),
    "multiples of two": network(
        *((2, 1, 2), conv(27, 1, 1, 2, 1.43, 0.3), "linear", POOL3, POOL2, conv(19, 1, 1, 2, 1.76, 0.0), "linear"),
        *(POOL3, conv(19, 1, 1, 1, 1.76, 0.0), "step"),
    ),
    "opposite": network(
        *((3, 3, 1), conv(16, 1, 2, 1, 1.87, 2.67), "step", POOL2, conv(16, 2, 2, 1, 2.0, 0.79)),
        *(ff.BatchNorm(-0.7, 0.0, 1e-5), "relu"),
    ),
    "a border of zeros and nothing": network(
        *((2, 1, 2), conv(5, 1, 1, 1, 1.43, 0.0), "relu", ff.AvgPool2d(3, 1, 1), conv(7, 1, 1, 0, 1.1, 0.4), "step"),
        *(conv(5, 1, 1, 0, 1.43, 0.0), "sign"),
    ),
    "a border of zeros that counts": network(
        *((2, 1, 1), conv(5, 1, 1, 1, 1.43, 0.7), "abs", ff.AvgPool2d(2, 1, 1), conv(7, 1, 1, 0, 1.1, 0.4), "sign"),
        *(ff.AvgPool2d(2, 2, 1), conv(7, 1, 1, 0, 1.1, 0.4), "step"),
    ),
    "far taps of groups": network(
        *((4, 2, 2), conv(6, 2, 1, 2, 1.4, 0.3, groups=2, dilation=2), "sign", POOL2, conv(4, 1, bias=False), "step"),
    ),
    "sums of what comes in": network(
        *((2, 1, 2), conv(6, 1, 1, 1, 1.4, 0.3), ff.Residual([ff.Activation("step"), conv(6, 1)], scale=-0.7), "step"),
        *(POOL2, conv(6, 1, 1, 1, 1.4, 0.3), "step"),
    ),
    "sums of two branches": network(
        *((2, 1, 2), conv(6, 1, 1, 1, 1.4, 0.3), "sign"),
        ff.Residual([conv(6, 1), ff.LayerNorm(0.7)], [conv(6, 1, sigma_b2=0.2), ff.GroupNorm(2, eps=0.1)], 1.5),
        *("step", POOL2, conv(6, 1, 1, 1, 1.4, 0.3), ff.RMSNorm(-1.3), "step"),
    ),
    "norms over units": network(
        *((2, 1, 2), conv(6, 1, 1, 1, 1.4, 0.3), ff.LayerNorm(1.3), "step", POOL2, conv(4, 1), ff.GroupNorm(2), "sign"),
        *(ff.RMSNorm(0.6, 0.1), POOL2, conv(6, 1, 1, 0, 1.4, 0.3), "step"),
    ),
    "noise": network(
        *((2, 1, 2), conv(6, 1, 1, 1, 1.4, 0.3), "step", ff.Dropout(0.3), POOL2, conv(6, 1, 1, 0, 1.4, 0.3), "step"),
        *(ff.Dropout(0.2), conv(6, 1, 1, 1, 1.4, 0.3), "abs"),
    ),
    "repeated": network(
        *((2, 1, 2), conv(6, 1, 1, 1, 1.4, 0.3), "step", ff.Upsample(2), conv(6, 2, 1, 0, 1.4, 0.3), ff.BatchNorm(0.8)),
        *("relu", POOL2, ff.Upsample((1, 3)), conv(5, 2, 1, 1, 1.4, 0.3), "sign"),
    ),
    "repeated inputs": network(
        *((2, 1, 2), ff.Upsample((2, 1)), ff.Dropout(0.3), conv(6, 2, 1, 1, 1.4, 0.3), "step"),
        *(ff.Upsample((1, 2)), conv(6, (1, 2)), "abs"),
    ),
    "noise of the inputs": network((2, 1, 3), ff.Dropout(0.3), ff.AvgPool2d((1, 2), 1), conv(6, 1), "step"),
    "nothing in the border": network(
        *((4, 1, 1), conv(44, 3, 2, 1, 2.74, 0.0), "sign", conv(14, 1, 1, 2, 1.35, 0.0), ff.BatchNorm(-0.7, 0.0, 0.1)),
        *("relu", POOL2),
    ),
}


def compare(implementation, net, theory, overlap):
    a, b, q_hat, v_hat = judged(net, theory, overlap)
    result = implementation.fisher(net, theory, overlap=overlap, units=None)
    rows = implementation.order_parameters(net, theory, overlap=overlap, units=None)
    # a dozen layers of sums and closed forms, a few ulp each; v of the length that it is a part of
    assert result.a == pytest.approx(float(a), rel=1e-13)
    assert result.b == pytest.approx(float(b), rel=1e-13, abs=1e-13 * float(a))
    assert rows.q_hat == pytest.approx(q_hat.astype(float), rel=1e-13)
    assert np.all(np.abs(rows.v_hat - v_hat.astype(float)) <= 1e-13 * q_hat.astype(float))


@pytest.mark.parametrize("implementation", [ff, ff.reference], ids=["core", "reference"])
@pytest.mark.parametrize("overlap", [0.0, 0.3])
@pytest.mark.parametrize("net", CASES.values(), ids=CASES)
def test_windows_with_the_same_content_are_one_and_multiples_have_its_correlation(implementation, net, overlap):
    compare(implementation, net, "exact", overlap)


# The border's variance is what a BatchNorm leaves of the mean of all positions, overlap/81 of the middle's: its
# correlation with the middle has to be seen beside lengths that differ by 1e-15 and more.
@pytest.mark.parametrize("implementation", [ff, ff.reference], ids=["core", "reference"])
@pytest.mark.parametrize("overlap", [1e-3, 1e-15, 1.5e-27, 1e-30])
@pytest.mark.parametrize("name", ["relu", "step", "sign", "abs"])
def test_a_border_far_below_the_middle(implementation, name, overlap):
    net = network((1, 1, 1), conv(8, 1, 1, 1, 1.0, 1.0), ff.BatchNorm(1.0), name, conv(8, 1, 1, 0, 1.2, 0.3), name)
    compare(implementation, net, "exact", overlap)


def drawn(random):
    """A small network of piecewise linear activations, many of them without biases."""
    size, layers = [int(random.integers(1, 3)) for _ in range(2)], []
    input_shape = (int(random.integers(1, 9)), *size)
    for _ in range(int(random.integers(1, 4))):
        padding = int(random.integers(0, 3)) if max(size) < 5 else 0
        kernel = min(int(random.choice([1, 1, 2, 3])), min(size) + 2 * padding)
        stride = int(random.integers(1, 3))
        biases = float(random.choice([0.0, 0.3, random.uniform(0, 3)]))
        layers.append(ff.Conv2d(8, kernel, stride, padding, float(random.uniform(0.1, 3)), biases))
        if random.random() < 0.3:
            layers.append(ff.BatchNorm(float(random.uniform(0.2, 2)), 0.0, 0.1))
        layers.append(str(random.choice(["step", "sign", "abs", "relu", "linear"])))
        size = [(side + 2 * padding - kernel) // stride + 1 for side in size]
        window = int(random.integers(2, 4))
        if min(size) >= window:
            layers.append(ff.AvgPool2d(window, 1))
            size = [side - window + 1 for side in size]
    return network(input_shape, *layers, pooled=False)


@pytest.mark.parametrize("implementation", [ff, ff.reference], ids=["core", "reference"])
def test_small_networks_are_those_of_many_digits(implementation):
    for seed in range(15):
        random = np.random.default_rng(seed)
        net, theory = drawn(random), ("exact", "frozen")[seed % 2]
        compare(implementation, net, theory, (0.0, 0.3, 0.9)[seed % 3])


@pytest.mark.parametrize("small", [1e-277, 1e-320])
def test_an_overlap_far_below_the_length_is_none(small):
    for net in CASES.values():
        one, other = (ff.order_parameters(net, overlap=overlap, units=None) for overlap in (0.0, small))
        assert np.array_equal(one.q_hat, other.q_hat)
        assert np.array_equal(one.theta, other.theta)


@pytest.mark.parametrize("theory", ["exact", "frozen"])
def test_a_variance_below_zero_is_refused_with_the_overlap(theory):
    """Of many data no overlaps are negative: a border that sees biases alone would have the variance -w overlap/K."""
    net = network((3, 1, 1), conv(9, 1, 1, 1, 0.5, 2.0), conv(6, 1), ff.BatchNorm(), "linear", POOL2)
    for function in (ff.fisher, ff.order_parameters, ff.max_learning_rate):
        with pytest.raises(ValueError, match=r"overlap must be >= 0 .* the BatchNorm of affine layer 2, got -0\.25"):
            function(net, theory=theory, samples=3, overlap=-0.25)
    with pytest.raises(ValueError, match="overlap must be >= 0"):
        ff.reference.fisher(net, theory, samples=3, overlap=-0.25)
    points = ff.scan(net, {"overlap": [-0.25, 0.25]}, theory=theory, samples=3)
    assert [ff.Scan.STATUSES[status] for status in points.status] == [ff.Scan.STATUSES[6], "ok"]
    plain = net.replace(batch_norm=False)
    assert ff.fisher(plain, theory, samples=3, overlap=-0.25).a > 0


@pytest.mark.parametrize("theory", ["exact", "frozen"])
@pytest.mark.parametrize("module", [ff, ff.reference])
def test_batch_norm_of_images_takes_any_bias_out(module, theory):
    """u = (z - mean)/s does not know a bias, whose variance over the channels all entries of Z have: not even what is
    left of gamma = 1e-12 behind padding loses a digit to it."""

    def net(gamma, sigma_b2):
        norm = ff.BatchNorm(gamma, eps=0.0)
        stage = [ff.Conv2d(30, 3, padding=1, sigma_w2=2.0, sigma_b2=sigma_b2), norm, ff.Activation("relu")]
        return ff.Network((3, 4, 4), [*stage, *stage, *stage, ff.GlobalAvgPool2d(), ff.Flatten(), ff.Dense(1)])

    def top(gamma, sigma_b2):
        answer = module.fisher(net(gamma, sigma_b2), theory, units=None, edge=False, biases=False)
        return answer.lambda_max / gamma**2

    plain = top(1.0, 0.0)
    assert top(1.0, 1e3) == plain
    # gamma scales what every layer's gradient is multiplied by; powers of it round
    assert top(1e-12, 0.7) == pytest.approx(plain, rel=1e-13)
