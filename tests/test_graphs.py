# SPDX-License-Identifier: BSD-3-Clause
"""Sums of branches and normalisations over units: theory against 60 digits at its corners, finite networks against
differences, images of one position against units."""

import functools
from dataclasses import fields

import mpmath
import numpy as np
import pytest
import strategies
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from mpmath import mpf

import fisherfield as ff
from fisherfield import reference

BOTH = {"core": ff, "reference": reference}


# ------------------------------------------------------------------------------------------------- 60 digits
class Exact:
    """One unit at two inputs, dense layers: lengths and kernels themselves, at x = y and at x != y, never their
    differences; with 60 digits that costs nothing. (Theta = o + ou u w, and D + U u^2 at x = y.)"""

    def __init__(self, xy, q, off=0, mean=0, o=0, D=0, ou=0, U=0):
        self.xy, self.q, self.off, self.mean, self.o, self.D, self.ou, self.U = map(
            mpf, (xy, q, off, mean, o, D, ou, U)
        )
        self.gaussian = False


def gaussian(*values):
    out = Exact(*values)
    out.gaussian = True
    return out


def relu(z):
    """E relu relu, E relu' relu' and E u w relu' relu' = E relu relu/q, at x != y and x = y; E relu."""
    assert z.mean == 0
    c = z.xy / z.q if z.q > 0 else mpf(0)
    angle = mpmath.acos(c)
    pair = z.q / (2 * mpmath.pi) * (mpmath.sqrt(1 - c**2) + (mpmath.pi - angle) * c)
    slopes = (mpmath.pi - angle) / (2 * mpmath.pi)
    return pair, z.q / 2, slopes, mpf(1) / 2, pair / z.q, mpf(1) / 2, mpmath.sqrt(z.q / (2 * mpmath.pi))


def sin(z):
    """E f(u) g(w) of f, g = sin, cos and their derivatives; u w by parts."""
    q, b = z.q, z.mean

    def of(r):
        even, turn = mpmath.exp(r - q), mpmath.cos(2 * b) * mpmath.exp(-q - r)
        sines, cosines = (even - turn) / 2, (even + turn) / 2
        by_value = (r * cosines - 2 * q * r * cosines + (q**2 + r**2) * sines) / q if q > 0 else mpf(0)
        return sines, cosines, by_value

    (xy, slopes, pair), (square, slopes2, pair2) = of(z.xy), of(q)
    pair2 = pair2 if q > 0 else slopes2  # u goes on where gamma is 0; it is taken for independent at x and y
    return xy, square, slopes, slopes2, pair, pair2, mpmath.sin(b) * mpmath.exp(-q / 2)


def linear(z):
    c = z.xy / z.q if z.q > 0 else mpf(0)
    return z.xy + z.mean**2, z.q + z.mean**2, mpf(1), mpf(1), c, mpf(1), z.mean


PHI = {"relu": relu, "sin": sin, "linear": linear}


def phi(layer, z):
    xy, q, S, S1, P, P1, mean = PHI[layer.function](z)
    return Exact(xy, q, S * z.off, mean, S * z.o + P * z.ou, S1 * z.D + P1 * z.U)


def dense(layer, h, before):
    N, w, bias = before[0], mpf(layer.sigma_w2), int(layer.bias)
    xy, q = (mpf(layer.sigma_b2) + w * each for each in (h.xy, h.q))
    return gaussian(xy, q, 0, 0, N * (h.xy + h.off) + bias + w * h.o, N * h.q + bias + w * h.D)


def batch_norm(layer, z, theory, n, closed):
    gamma, eps, trained = mpf(layer.gamma), mpf(layer.eps), int(layer.trained)
    v, r = z.q - z.xy, mpf(0) if n is None else 1 / mpf(n - 1)
    s2 = v + eps
    k, c = v / s2, gamma**2 / s2
    if theory == "frozen":
        w = v / z.q  # what the units' own values share with the mean over the data is the same for all of them
        o, D = c * (z.o + (1 - w) * z.ou), c * (z.D + (1 - w) * z.U)
        return gaussian(0, k * gamma**2, 0, layer.beta, o + trained, D + trained, c * w * z.ou + trained * k,
                        c * w * z.U + trained * k)  # fmt: skip
    d = (z.D - z.o) + (z.U - z.ou)
    if closed:
        x = c * d * n / mpf(n - 3)
        ou = -x / n + trained
        return gaussian(-(gamma**2) * r, gamma**2, 0, 0, -x / n + trained, x - x / n + trained, ou, ou)
    o, ou = -c * d * r, -c * d * k * (2 - k) * r
    g2 = k * gamma**2
    return gaussian(0, g2, -g2 * r, layer.beta, o + trained, c * d + trained, ou + trained * k, trained * k)


def layer_norm(layer, h):
    gamma, beta, trained = mpf(layer.gamma), mpf(layer.beta), int(layer.trained)
    m2 = 0 if h.gaussian else h.mean**2
    common, f = h.xy - m2, h.q - m2
    share = 1 / (f + mpf(layer.eps))
    s, b2 = gamma**2 * share, 0 if h.gaussian else beta**2
    by_value = h.gaussian and gamma != 0  # else nothing is left that a kernel could go with
    of_gamma = (0, 0, f * share, f * share) if by_value else (common * share, f * share, 0, 0)
    kernel = [s * each + trained * more for each, more in zip((h.o, h.D, h.ou, h.U), of_gamma, strict=True)]
    out = Exact(s * common + b2, s * f + b2, s * h.off, beta, kernel[0] + trained, kernel[1] + trained, *kernel[2:])
    out.gaussian = h.gaussian
    return out


OTHERS = {ff.LayerNorm: layer_norm, ff.GroupNorm: layer_norm}


def add(layer, branch, skip):
    alpha = mpf(layer.scale)
    out = gaussian(alpha**2 * branch.xy + skip.xy, alpha**2 * branch.q + skip.q, alpha**2 * branch.off + skip.off,
                   alpha * branch.mean + skip.mean)  # fmt: skip
    for part, factor in ((branch, alpha**2), (skip, mpf(1))):
        W = factor * part.q / out.q if part.q > 0 else mpf(0)
        two = (part.xy / part.q if part.q > 0 else 0) - (W * out.xy / out.q if out.q > 0 else 0)
        out.o += factor * (part.o + part.ou * two)
        out.D += factor * (part.D + part.U * (1 - W))
        out.ou += factor * W * part.ou
        out.U += factor * W * part.U
    return out


def before_rays(steps, number):
    """Whether a phi that is positively homogeneous, or a sum before one, comes next on every way."""
    readers = [step for step in steps if number in step.reads]
    return bool(readers) and all(
        step.layer.homogeneous
        if step.layer.pointwise
        else before_rays(steps, steps.index(step))
        if len(step.reads) > 1
        else step.layer.affine
        for step in readers
    )


@functools.cache
def at_60_digits(net, theory, samples=None, overlap=0.0, length=1.0, others=()):
    """a, b and a - b in float64; `others`: kinds of layers besides, each with its map."""
    with mpmath.workdps(60):
        return tuple(map(float, exact_fisher(net, theory, samples, overlap, length, OTHERS | dict(others))))


def exact_fisher(net, theory, samples, overlap, length, others):
    """a, b and a - b."""
    states = {-1: Exact(overlap, length)}
    for number, step in enumerate(net.steps):
        layer, fed = step.layer, [states[read] for read in step.reads]
        if step.layer.affine:
            h = phi(ff.Activation("linear"), fed[0]) if fed[0].gaussian else fed[0]
            after = dense(layer, h, step.before)
        elif layer.pointwise:
            after = phi(layer, fed[0])
            after.gaussian = False
        elif layer.over_batch:
            plain = layer.beta == 0 and layer.eps == 0 and layer.gamma != 0
            closed = theory == "exact" and plain and before_rays(net.steps, number) and (samples or 0) >= 4
            after = batch_norm(layer, fed[0], theory, samples, closed)
        else:
            after = add(layer, *fed) if len(fed) > 1 else others[type(layer)](layer, fed[0])
        states[number] = after
    end = phi(ff.Activation("linear"), after) if after.gaussian and (after.ou or after.U) else after
    return end.D, end.o, end.D - end.o


D, A, R = ff.Dense, ff.Activation, ff.Residual
RELU, BN = A("relu"), ff.BatchNorm()


def stream(*branch, blocks=2, scale=1.0, ends=(RELU,), first=None, skip=(), **changes):
    layers = [first or D(30), *[R(branch, skip, scale, **changes)] * blocks, *ends, D(1)]
    return ff.Network(20, layers)


LN = ff.LayerNorm
CORNERS = {
    "small": (ff.Network(20, [D(30, 1e-8, 0.0), R([RELU, D(30, 1e-4, 0.0)]), LN(trained=True), RELU, D(1)]), {}),
    "large": (ff.Network(20, [D(30, 1e8, 1e8), R([LN(trained=True), RELU, D(30, 1e6)]), RELU, D(1)]), {}),
    "deep": (stream(RELU, D(30, 0.01, 0.01), blocks=1000, ends=(LN(), RELU)), {"samples": 50}),
    "deep exact": (stream(BN, RELU, D(30), blocks=500, ends=(BN, RELU)), {"samples": 50}),
    "deep LayerNorm": (
        ff.Network(20, [*[D(30), LN(0.9), RELU, D(30), RELU, LN()] * 100, D(1)]),
        {"samples": 50},
    ),
    "gamma 0": (
        stream(LN(0.0, 0.3, trained=True), A("sin"), D(30), ff.BatchNorm(eps=0.1),
               ends=(LN(0.0, 0.2, 0.1, True), A("sin"))),
        {},
    ),
    "gamma 0 behind": (
        stream(RELU, D(30), ff.BatchNorm(0.0, trained=True), ends=(A("sin"),)),
        {"samples": 9, "overlap": 0.2},
    ),
    "gamma < 0, beta": (
        stream(A("sin"), D(30), ff.BatchNorm(-0.7, 40.0, 0.1, True), ends=(A("sin"), LN(-1.3, 40.0, trained=True))),
        {"samples": 30, "overlap": 0.1},
    ),
    "beta 40": (stream(LN(beta=40.0), A("sin"), D(30), ends=(A("sin"), LN(0.5, 40.0))), {"samples": 5}),
    "one sample": (stream(LN(), RELU, D(30), ends=(LN(), RELU)), {"samples": 1}),
    "scale 0": (stream(RELU, D(30), scale=0.0), {"samples": 9}),
    "scale -1": (stream(RELU, D(30), scale=-1.0), {"samples": 9, "overlap": -0.1}),
    "scale 1e5": (stream(BN, RELU, D(30), scale=1e5, ends=(BN, RELU)), {"samples": 9}),
    "scale 1e-5": (stream(BN, RELU, D(30), scale=1e-5, ends=(RELU,)), {"samples": 9}),
    "unlike branches": (
        stream(RELU, D(30, 1e-12, 0.0), ff.BatchNorm(1e-7, eps=1e-9, trained=True), skip=(D(30, 1e9),)),
        {"samples": 40, "overlap": 0.3},
    ),
    "unlike the other way": (
        stream(RELU, D(30, 1e9), ff.BatchNorm(1e4, eps=1e-3, trained=True), skip=(D(30, 1e-9),)),
        {"samples": 40, "overlap": 0.3},
    ),
    "trained in both": (
        stream(LN(0.7, trained=True), RELU, D(30, bias=False), ff.BatchNorm(0.6, trained=True, eps=0.2),
               skip=(D(30), ff.BatchNorm(1.4, trained=True)), ends=(ff.BatchNorm(0.8, trained=True, eps=0.3), RELU)),
        {"samples": 6, "overlap": 0.3},
    ),
    "norm in the skip": (
        stream(RELU, D(30), skip=(LN(1.2, trained=True),), ends=(LN(trained=True), A("linear"))),
        {"samples": 6, "overlap": 0.3},
    ),
}  # fmt: skip


@pytest.mark.parametrize("theory", ["exact", "frozen"])
@pytest.mark.parametrize("implementation", BOTH)
@pytest.mark.parametrize("name", CORNERS)
def test_corners_are_those_at_60_digits(name, implementation, theory):
    net, data = CORNERS[name]
    assert_digits(implementation, net, theory, data)


def assert_digits(implementation, net, theory, data, others=()):
    """`fisher` has the a, b and a - b that there are at 60 digits."""
    (a, b, difference), n = at_60_digits(net, theory, **data, others=others), data.get("samples")
    result = BOTH[implementation].fisher(net, theory, **data)
    # a few roundings a layer, of a thousand layers at most
    rel = 1e-15 * (20 + 4 * len(net.steps))
    assert result.a == pytest.approx(a, rel=rel, abs=0)
    assert result.b == pytest.approx(b, rel=rel, abs=rel * 1e-2 * a)
    if n is not None and n > 1:  # by itself: a - b has lost the digits of a small difference
        assert result.bulk == pytest.approx(difference / n, rel=rel, abs=0)


# ------------------------------------------------------------------------------------------------- one position
def as_image(layer):
    if isinstance(layer, ff.Dense):
        same = {each.name: getattr(layer, each.name) for each in fields(layer) if each.name not in ("units",)}
        return ff.Conv2d(layer.units, 1, **same)
    return layer


@st.composite
def chains(draw):
    shape = (draw(st.integers(1, 40)),)
    layers, _ = strategies.layers_behind(draw, strategies.start(shape), strategies.CLOSED, 6, 1)
    return ff.Network(shape, [*layers, ff.Dense(2)])


@settings(max_examples=60)
@given(chains(), st.sampled_from(("exact", "frozen")), strategies.data(st.none()))
def test_images_of_one_position_are_units(net, theory, given_data):
    """For many data, where the two have the same theory."""
    images = [layer.mapped(as_image) for layer in net.layers]
    over_units = (ff.LayerNorm, ff.RMSNorm)  # which have gammas of units alone
    assume(not any(isinstance(step.layer, over_units) and step.layer.of_each for step in net.steps))
    conv = ff.Network((*net.input_shape, 1, 1), [*images[:-1], ff.Flatten(), net.layers[-1]])
    for module in BOTH.values():
        try:
            one = module.fisher(net, theory, **given_data)
        except ValueError as refusal:
            with pytest.raises(ValueError, match="eps must be > 0"):
                module.fisher(conv, theory, **given_data)
            assert "eps must be > 0" in str(refusal)
            continue
        other = module.fisher(conv, theory, **given_data)
        # a dozen layers' roundings, of erf that beta shifts by two ways of quadrature
        assert (other.a, other.b) == pytest.approx((one.a, one.b), rel=1e-10, abs=1e-12 * abs(one.a))


# ------------------------------------------------------------------------------------------------- finite networks
@settings(max_examples=40, suppress_health_check=list(HealthCheck))
@given(
    strategies.networks(activations=("tanh", "sin"), most=5, side=3, closed=False),
    st.integers(0, 99),
    st.booleans(),
)
def test_gradients_of_the_reference_are_differences(net, seed, centred):
    """Central differences of f along a direction in all parameters at once."""
    random = np.random.default_rng(seed)
    x = random.standard_normal((4, *net.input_shape))
    sampled = reference.sampled.draw(net, seed)
    assume(4 * net.outputs * net.parameters() < 2e6)
    try:
        J = reference.sampled.jacobian(sampled, x)
    except ValueError as refusal:
        assert "zero variance" in str(refusal)
        return
    trained = []
    counts = {"weights": 0, "biases": 0, "gammas": 0, "betas": 0}
    for step in net.steps:
        for array in step.layer.arrays(step.before, step.after):
            if array.trained:
                trained.append((array.name, counts[array.name]))
            counts[array.name] += 1
    directions = [random.standard_normal(getattr(sampled, name)[at].shape) for name, at in trained]
    expected = J @ np.concatenate([direction.ravel() for direction in directions])

    def moved(by):
        parts = {name: [array.copy() for array in getattr(sampled, name)] for name in counts}
        for (name, at), direction in zip(trained, directions, strict=True):
            parts[name][at] += by * direction
        there = reference.sampled.Sampled(net, *parts.values(), sampled.trained_biases, seed)
        return reference.sampled.forward(there, x)

    # Romberg's combination leaves h^4 of the fifth derivative, and rounding/h; where BatchNorm divides by a tiny
    # variance, derivatives are large
    h = 1e-4
    one, two = ((moved(t) - moved(-t)) / (2 * t) for t in (h, 2 * h))
    slope, size = (4 * one - two) / 3, np.abs(expected).max() + 1e-3
    assume(np.abs(one - two).max() < 1e-3 * size)  # smooth on this scale
    np.testing.assert_allclose(slope, expected, rtol=0, atol=1e-5 * size)


@settings(max_examples=40, suppress_health_check=list(HealthCheck))
@given(
    strategies.networks(activations=("relu", "tanh", "abs", "sin"), most=6, side=4, closed=False).filter(
        lambda net: not any(step.layer.random for step in net.steps)  # each draws numbers of its own
    ),
    st.integers(0, 99),
    st.sampled_from(reference.sampled.STATISTICS),
)
def test_finite_networks_of_the_core_are_the_reference_s(net, seed, statistics):
    assume(4 * net.outputs * net.parameters() < 1e6)
    x = np.random.default_rng(seed).standard_normal((4, *net.input_shape))
    sampled, drawn = ff.sample(net, seed), reference.sampled.draw(net, seed)
    for name in ("weights", "biases", "gammas", "betas"):
        for mine, other in zip(getattr(sampled, name), getattr(drawn, name), strict=True):
            np.testing.assert_array_equal(mine, other)
    try:
        f = reference.sampled.forward(sampled, x)
    except ValueError as refusal:
        assert "zero variance" in str(refusal)
        with pytest.raises(ValueError, match="zero variance"):
            sampled(x)
        return
    # sums of some hundred terms in another order; a small variance that a norm divides by enlarges it
    np.testing.assert_allclose(sampled(x), f, rtol=0, atol=1e-9 * np.abs(f).max())
    slow = reference.sampled_fisher(sampled, x, statistics=statistics, k="all")
    fast = ff.sampled_fisher(sampled, x, statistics=statistics, k="all", method="dense")
    np.testing.assert_allclose(fast.eigenvalues, slow[: len(fast.eigenvalues)], rtol=0, atol=1e-9 * slow[0])


OFFSETS = {
    "branch": ff.Network(6, [ff.Dense(12), R([BN, A("tanh"), ff.Dense(12)]), BN, RELU, ff.Dense(2)]),
    "both": ff.Network(6, [R([ff.Dense(12)], [ff.Dense(12), BN]), BN, A("tanh"), ff.Dense(2)]),
    "sum of affine": ff.Network(6, [R([ff.Dense(12)], [ff.Dense(12)], -0.5), BN, A("tanh"), ff.Dense(2)]),
    "nested": ff.Network(6, [R([R([ff.Dense(12)], [ff.Dense(12)])], [ff.Dense(12)], 2.0), BN, RELU, ff.Dense(2)]),
}
TAKEN_OFF = ("sum of affine", "nested")


@pytest.mark.parametrize("name", OFFSETS)
def test_offsets_before_a_batch_norm_behind_a_sum(name):
    """What all that read a layer take off costs no digits; what one of them keeps is not taken off."""
    net = OFFSETS[name]
    x = np.random.default_rng(3).standard_normal((7, 6))
    for offset in (0.0, 1e3, 1e9):
        if offset > 1e3 and name not in TAKEN_OFF:
            continue
        sampled, inputs = reference.sampled.draw(net, 2), x + offset
        f, values = reference.sampled.forward(sampled, inputs), reference.sampled_fisher(sampled, inputs, k="all")
        shifted = inputs - offset  # exact: x was rounded when the offset was added
        plain = reference.sampled.draw(net, 2)
        if name in TAKEN_OFF:
            expected = reference.sampled.forward(plain, shifted), reference.sampled_fisher(plain, shifted, k="all")
            np.testing.assert_allclose(f, expected[0], rtol=0, atol=1e-13 * np.abs(f).max())
            np.testing.assert_allclose(values, expected[1], rtol=0, atol=1e-13 * values[0])
        means = [mean for mean, _ in reference.sampled.batch_statistics(sampled, inputs)]
        held = [(mean, None) for mean in means]  # the same means, held: what was taken off is put back
        # as many digits as the offset leaves of the units
        np.testing.assert_allclose(
            reference.sampled.forward(sampled, inputs, held), f, rtol=0, atol=1e-13 * (1 + offset) * np.abs(f).max()
        )


# ------------------------------------------------------------------------------------------------- what is refused
@pytest.mark.parametrize(
    "branch",
    [
        [R([RELU, D(6)])],
        [BN, R([RELU, D(6)])],
        [R([RELU, D(6), R([RELU, D(6)])], [LN()])],
    ],
)
def test_a_sum_needs_one_branch_that_goes_through_weights_as_a_whole(branch):
    """h + (h + f(h)) is 2 h + f(h): lengths of h and of a branch that holds h do not add."""
    with pytest.raises(ValueError, match=r"layers\[1\]: what comes in must go through a Dense .* not independent$"):
        ff.Network(5, [D(6), R(branch), D(1)])
    for skip in ([D(6)], [D(6), BN]):
        assert ff.Network(5, [D(6), R(branch, skip), D(1)]).depth > 2
    assert ff.Network(5, [D(6), R([RELU, D(6), *branch]), D(1)]).depth > 2


@pytest.mark.parametrize("norm", [LN(0.7, 0.3, 0.1, True), ff.GroupNorm(1, 0.7, 0.3, 0.1, True)])
@pytest.mark.parametrize("before", [ff.AvgPool2d(1), ff.AvgPool2d(2, 1, 1)], ids=str)
def test_a_norm_of_images_stands_before_the_first_convolution(norm, before):
    assert_first_norm_of_images(before, norm)


def assert_first_norm_of_images(before, norm):
    """Of the input the core holds diagonals alone; a norm behind it, and one more, that takes the first one's beta."""
    for layers in ([norm], [norm, LN(1.2, -0.4, trained=True)], [norm, ff.AvgPool2d(2, 1)]):
        net = ff.Network((2, 4, 4), [before, *layers, ff.Conv2d(4, 2), A("sin"), ff.Flatten(), D(1)])
        fast, slow = (module.fisher(net, samples=9, overlap=0.2) for module in (ff, reference))
        # a dozen roundings
        assert (fast.a, fast.b, fast.bulk) == pytest.approx((slow.a, slow.b, slow.bulk), rel=1e-13)


def test_a_branch_does_not_flatten():
    flat = [ff.Flatten(), D(6)]
    with pytest.raises(
        ValueError, match=r"^layers\[0\]: Flatten must stand before the sum or behind it, not in a branch$"
    ):
        ff.Network((2, 3, 3), [R(flat, flat), D(1)])


@pytest.mark.parametrize("module", [ff, ff.reference], ids=["core", "reference"])
def test_equal_activations_have_no_variance_over_units(module):
    """Not the rounding of their mean's square, which may be negative."""
    for phi, shape in (("step", (7,)), ("linear", (7, 1, 1))):
        first = ff.Dense(7) if len(shape) == 1 else ff.Conv2d(7, 1)
        for eps in (0.0, 1e-5):
            layers = [first, ff.LayerNorm(-2.4e-17, 2.74, 1e-5), ff.Activation(phi), ff.LayerNorm(-1.0, 0.0, eps)]
            net = ff.Network(shape, [*layers, *([ff.Flatten()] if len(shape) > 1 else []), ff.Dense(3)])
            if eps == 0:
                with pytest.raises(ValueError, match="eps must be > 0 where the variance over the units"):
                    module.fisher(net, biases=False)
            else:
                # 0 but for v = 1e-33/1e-5
                assert 0.0 <= module.fisher(net, biases=False).a < 1e-20
