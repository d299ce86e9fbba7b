"""Sampled units in the reference: the algebra against matrices, and the laws that tie them to the closed recursion."""

import math

import numpy as np
import pytest
from scipy.special import ndtr, ndtri

import fisherfield as ff
from fisherfield import reference
from fisherfield.network.layer import Window
from fisherfield.reference.layers import KINDS
from fisherfield.reference.layers.affine import image_taps
from fisherfield.reference.layers.pools import largest_of_windows
from fisherfield.reference.state import Place, State
from fisherfield.reference.units.flatten import flatten
from fisherfield.reference.units.state import (
    Low,
    Sampling,
    Term,
    Units,
    _of_shares,
    _symmetric_root,
    as_units,
    averaged,
    drawn,
    normals,
)

RELU = ff.Activation("relu")


def sampling(units=2, largest=1, samples=3, of_batch=True, reads=3, seed=0):
    return Sampling(seed, 0, 1, units, largest, samples, of_batch, reads)


def place(theory="exact", samples=3, shape=(4, 2, 2), layers=2):
    return Place(theory, samples, True, shape, layers - 1, False)


def random_units(rng, units=2, reads=3, shape=(2, 2), layers=2):
    """With a term of two taps, one of one, and a pair of vectors."""
    positions = math.prod(shape)

    def matrix():
        a = rng.standard_normal((layers, positions, positions))
        return a @ np.swapaxes(a, 1, 2)

    def vector(*more):
        return rng.standard_normal((*more, units, reads, positions))

    taps = ((vector(), rng.permutation(positions)), (vector(), rng.permutation(positions)))
    terms = (Term(taps, matrix(), matrix()), Term(((vector(), np.arange(positions)),), matrix(), matrix()))
    return Units(vector(), terms, (Low(vector(), vector(layers)),), shape)


def kernels(units):
    """(layers, M, R K, R K), written out."""
    M, R, K = units.h.shape
    total = 0.0
    for term in units.terms:
        for A, reads in term.taps:
            for B, others in term.taps:
                o, d = (each[:, reads[:, None], others] for each in (term.o, term.d))
                inner = o[:, None, :, None, :] + np.eye(R)[None, :, None, :, None] * d[:, None, :, None, :]
                total = total + A[..., None, None] * B[:, None, None] * inner[:, None]
    for low in units.lows:
        both = low.P[..., None, None] * low.Q[:, :, None, None]
        total = total + both + np.moveaxis(both, (2, 3), (4, 5))
    return total.reshape(-1, M, R * K, R * K)


@pytest.mark.parametrize("theory", ["exact", "frozen"])
@pytest.mark.parametrize("trained", [False, True])
def test_a_norm_on_units_is_its_jacobian_on_both_sides_of_their_kernels(theory, trained):
    rng = np.random.default_rng(1)
    units, layer = random_units(rng), ff.BatchNorm(1.3, 0.4, eps=0.2, trained=trained)
    out = KINDS[ff.BatchNorm].units(layer, units, place(theory), sampling())
    before, after = kernels(units), kernels(out)
    for i, z in enumerate(units.h.reshape(2, -1)):
        N = z.size
        s = math.sqrt(np.var(z) + 0.2)
        u = (z - z.mean()) / s
        np.testing.assert_allclose(out.h[i].ravel(), 1.3 * u + 0.4, rtol=1e-13, atol=1e-13)
        jacobian = 1.3 / s * (np.eye(N) - (theory == "exact") * (np.ones((N, N)) + np.outer(u, u)) / N)
        for source in (0, 1):
            own = source * trained * (1 + np.outer(u, u))
            expected = jacobian @ before[source, i] @ jacobian.T + own
            # sums of 12 terms that are up to 100 times the result
            np.testing.assert_allclose(after[source, i], expected, rtol=1e-11, atol=1e-11)


def test_max_pooling_picks_of_the_kernel_what_it_picks_of_the_values():
    units = random_units(np.random.default_rng(6), shape=(3, 3))
    after, reads = image_taps((3, 3), Window((2, 2), (2, 2), (1, 1)))
    out = largest_of_windows(units, after, reads)
    before, behind = kernels(units), kernels(out)
    for i in (0, 1):
        picks = np.zeros((3 * 4, 3 * 9))
        for x in range(3):
            for p in range(4):
                window = [tap[p] for tap in reads if tap[p] >= 0]
                best = window[int(np.argmax(units.h[i, x, window]))]
                assert out.h[i, x, p] == units.h[i, x, best]
                picks[4 * x + p, 9 * x + best] = 1
        np.testing.assert_allclose(behind[:, i], picks @ before[:, i] @ picks.T, rtol=1e-12, atol=1e-12)


def test_flattened_units_have_their_position_s_part_of_the_kernel():
    units = random_units(np.random.default_rng(8), units=4, shape=(2, 3))
    out = flatten(ff.Flatten(), units, place(), sampling())
    before, after = kernels(units), kernels(out)
    assert out.h.shape == (16, 3, 1)  # four of six positions each
    seen = set()
    for i in range(16):
        unit, a = i // 4, (i // 4 % 2 * 4 + i % 4) % 6
        seen.add(a)
        np.testing.assert_array_equal(out.h[i, :, 0], units.h[unit, :, a])
        at = np.arange(3) * 6 + a
        np.testing.assert_allclose(after[:, i], before[:, unit][:, at[:, None], at], rtol=1e-12, atol=1e-12)
    assert seen == set(range(6))


@pytest.mark.parametrize("c", [0.2, 0.8])
def test_the_largest_of_a_window_is_its_quadrature(c):
    """Four independent positions, each of two inputs with the correlation c. With F(s, t) = Phi_2(s, t; c)^4,

    E max(x) max(y) = integral of F(s, t) - F(s) F(t), + (E max)^2      (Hoeffding),
    P(both pick the same) = 4 integral of phi_2 Phi_2^3.
    """
    s = np.linspace(-8, 8, 401)  # smooth and 0 at the ends: the trapezoidal sum has all digits
    step = s[1] - s[0]
    x, w = np.polynomial.hermite_e.hermegauss(80)
    w = w / math.sqrt(2 * math.pi)
    one = ndtr((s[:, None] - math.sqrt(c) * x) / math.sqrt(1 - c))
    both = (one * w) @ one.T  # Phi_2(s, t)
    F = ndtr(s) ** 4
    mean = float(np.sum(s * 4 * ndtr(s) ** 3 * np.exp(-(s**2) / 2)) * step / math.sqrt(2 * math.pi))
    product = float(np.sum(both**4 - np.outer(F, F)) * step**2) + mean**2
    density = np.exp(-(s[:, None] ** 2 - 2 * c * s[:, None] * s + s**2) / (2 * (1 - c**2)))
    density /= 2 * math.pi * math.sqrt(1 - c**2)
    same = 4 * float(np.sum(density * both**3) * step**2)
    assert np.sum(density) * step**2 == pytest.approx(1, rel=1e-12)

    eye, none = np.eye(4), np.zeros((1, 4, 4))
    state = State(True, c * eye, (1 - c) * eye, 0 * eye, 0.0, eye[None], 0.5 * eye[None], none, none, (2, 2), 0 * eye)
    scatter = []
    for seed in range(8):
        units = as_units(state, sampling(units=2048, largest=4, samples=16, of_batch=False, reads=16, seed=seed))
        after, reads = image_taps((2, 2), Window((2, 2), (2, 2)))
        pooled = averaged(largest_of_windows(units, after, reads))
        scatter.append([pooled.xy[0, 0], pooled.o[0, 0, 0], (pooled.o + pooled.d)[0, 0, 0]])
    means, errors = np.mean(scatter, axis=0), np.std(scatter, axis=0, ddof=1) / math.sqrt(8)
    # Student's t of 7 degrees of freedom: beyond 5.4 once in 1000
    assert np.all(np.abs(means[:2] - [product, same]) < 5.4 * errors[:2])
    assert np.all(errors[:2] < 0.01 * means[:2])
    assert means[2] == pytest.approx(1.5, rel=1e-12)  # x and x pick the same


def gaussian(rng, positions, layers=1):
    a, b, c, e = (rng.standard_normal((positions, positions)) for _ in range(4))
    none = np.zeros((layers, positions, positions))
    xy, v, o, d = a @ a.T, b @ b.T, (c @ c.T)[None], (e @ e.T)[None]
    return State(True, xy, v, 0 * xy, 0.0, o, d, none, none, (1, positions), 0 * xy)


def test_statistics_of_many_samples_are_those_of_the_population():
    """One unit, one alpha: what the batch's own statistics give as n grows is what the population's rule says."""
    rng = np.random.default_rng(2)
    state, n = gaussian(rng, 4), 4000
    layer, at = ff.BatchNorm(1.2, eps=0.1), place("exact", n, layers=1)
    few = sampling(units=8, samples=n, of_batch=False, reads=16)
    many = sampling(units=8, samples=n, of_batch=True, reads=n)
    one, all_n = (KINDS[ff.BatchNorm].units(layer, state, at, how) for how in (few, many))
    a, b = averaged(one), averaged(all_n)
    # alpha is the same; the 16 samples' b scatter by 1/sqrt(8 16) of v, and what is dropped is O(1/n)
    assert np.max(np.abs(a.o - b.o)) < 0.3 * np.max(np.abs(b.o))
    np.testing.assert_allclose(one.terms[0].o, all_n.terms[0].o - _centre(all_n, state, n), rtol=0.02, atol=0.02)


def _centre(units, state, n):
    """What the general rule's first pair of vectors takes from o, the population's rule has taken already."""
    both = state.o[0] + state.d[0] / n
    t = both.mean(axis=1)
    return (t[:, None] + t - t.mean())[None] - state.d / n


def dense(*between, width=60, depth=3, inputs=15, **weights):
    layers = [each for _ in range(depth) for each in (ff.Dense(width, **weights), *between)]
    return ff.Network(inputs, [*layers, ff.Dense(1, **weights)])


def image(*between, pool=False, **weights):
    first = [ff.Conv2d(20, 3, 2, **weights), *between, *([ff.AvgPool2d(2, 1)] if pool else [])]
    return ff.Network(
        (3, 9, 9), [*first, ff.Conv2d(15, 2, 1, **weights), *between, ff.Flatten(), ff.Dense(1, **weights)]
    )


def chains():
    """Chains where the closed recursion is exact: infinite data, no padding."""
    rng = np.random.default_rng(5)
    for number in range(28):
        phi = ff.Activation(str(rng.choice(["relu", "tanh", "gelu", "leaky_relu(0.3)", "sin", "erf"])))
        weights = {"sigma_w2": float(rng.uniform(0.5, 2.5)), "sigma_b2": float(rng.uniform(0.1, 1))}
        norm = ff.BatchNorm(
            float(rng.uniform(0.5, 2)), float(rng.uniform(-1, 1)), float(rng.choice([0.0, 0.2])), bool(rng.integers(2))
        )
        between = (norm, phi) if rng.integers(3) else (phi,)
        theory = str(rng.choice(["exact", "frozen"]))
        kind = rng.integers(3)
        net = dense(*between, **weights) if kind == 0 else image(*between, pool=kind == 1, **weights)
        yield net, theory, number


def test_units_are_the_closed_recursion_within_their_error():
    """Off by z errors of 16 groups of four seeds: Student's t of 12 degrees of freedom, whose standard deviation is
    1.10, beyond 2.18 once in 20, and beyond 4.32 once in 1000. 200 networks more are those of bench/units.py."""
    z = []
    for net, theory, number in chains():
        sampled = [ff.fisher(net, theory, units=512, seed=4 * number + seed) for seed in range(4)]
        error = math.sqrt(sum(one.error**2 for one in sampled)) / 4
        closed = ff.fisher(net, theory, units=None).b
        z.append((np.mean([one.b for one in sampled]) - closed) / (error + 1e-6 * closed))
    assert len(z) == 28
    assert abs(np.mean(z)) < 3 * 1.1 / math.sqrt(28)
    assert np.std(z) < 1.6  # 1.10 scatters by 0.15
    assert np.max(np.abs(z)) < 4.32


@pytest.mark.parametrize("n", [6, 20])
def test_units_of_a_batch_are_exact_at_every_n(n):
    """As the closed finite batch of positively homogeneous phi is."""
    net = dense(ff.BatchNorm(1.4, trained=True), RELU, depth=2)
    closed, sampled = (reference.fisher(net, samples=n, units=units) for units in (None, 16384))
    assert 0 < sampled.error < 0.02 * closed.lambda_max  # of a heavy tail, 1/s^2 of 5 degrees of freedom
    # Student's t of 3 degrees of freedom: once in 300
    assert abs(sampled.lambda_max - closed.lambda_max) < 8 * sampled.error


def test_images_of_one_position_are_dense_networks():
    norm = ff.BatchNorm(0.8, 0.3, trained=True)
    flat = dense(norm, RELU, depth=2)
    layers = [ff.Conv2d(60, 1), norm, RELU, ff.Conv2d(60, 1), norm, RELU, ff.Flatten(), ff.Dense(1)]
    one = ff.Network((15, 1, 1), layers)
    for theory in ("exact", "frozen"):
        a, b = (reference.fisher(net, theory, samples=12, units=256) for net in (flat, one))
        assert (a.a, a.b, a.error) == pytest.approx((b.a, b.b, b.error), rel=1e-12)
        # the last Dense's part and those before it
        assert a.layers.b == pytest.approx(b.layers.b, rel=1e-12)


def test_the_stream_of_a_pre_activation_network_stays_gaussian():
    block = ff.Residual([RELU, ff.Dense(40)], scale=0.7)
    net = ff.Network(10, [ff.Dense(40), block, block, RELU, ff.Dense(1)])
    closed, sampled = (reference.fisher(net, units=units) for units in (None, 8192))
    assert abs(sampled.b - closed.b) < 8 * sampled.error
    assert sampled.error < 0.05 * closed.b


def test_an_identity_skip_is_independent_of_its_branch():
    """Of one position, against four million pairs drawn by NumPy alone: h = relu(z), s = h + z', relu(s)."""
    C, inputs, count = 64, 20, 4_000_000
    net = ff.Network(inputs, [ff.Dense(C), RELU, ff.Residual([ff.Dense(C)]), RELU, ff.Dense(1)])
    rng = np.random.default_rng(0)

    def pair(q, c):
        common = math.sqrt(c) * rng.standard_normal(count)
        return (common + math.sqrt(q - c) * rng.standard_normal(count) for _ in range(2))

    def affine(x, y, D, o, fan):
        q, c = np.mean(x * x), np.mean(x * y)
        return 0.5 + 2 * q, 0.5 + 2 * c, fan * q + 1 + 2 * np.mean(D), fan * c + 1 + 2 * np.mean(o)

    x, y = pair(2.5, 0.5)
    D, o = (x > 0) * (inputs + 1.0), (x > 0) * (y > 0) * 1.0
    x, y = np.maximum(x, 0), np.maximum(y, 0)
    q, c, more, of_two = affine(x, y, D, o, C)
    s, t = (h + z for h, z in zip((x, y), pair(q, c), strict=True))
    D, o = (s > 0) * (D + more), (s > 0) * (t > 0) * (o + of_two)
    _, _, a, b = affine(np.maximum(s, 0), np.maximum(t, 0), D, o, C)
    sampled = reference.fisher(net, units=16384)
    # of means of squares of 4e6 numbers, which scatter by twice themselves: 1e-3; and of the units Student's t of 3
    assert sampled.b == pytest.approx(b, abs=8 * sampled.error + 5e-3 * b)
    assert sampled.error < 0.01 * sampled.b
    assert sampled.a == pytest.approx(a, abs=8 * sampled.error + 5e-3 * a)


def test_projection_skips_are_two_gaussian_states_or_units():
    skip = [ff.Dense(40), ff.BatchNorm()]
    block = ff.Residual([ff.Dense(40), ff.BatchNorm(), RELU, ff.Dense(40), ff.BatchNorm()], skip)
    net = ff.Network(10, [ff.Dense(40), RELU, block, RELU, ff.Dense(1)])
    for theory in ("exact", "frozen"):
        closed, sampled = (reference.fisher(net, theory, units=units) for units in (None, 8192))
        assert abs(sampled.b - closed.b) < 8 * sampled.error
        assert sampled.error < 0.05 * closed.b


def test_four_times_the_units_have_a_quarter_of_the_variance():
    net = image(ff.BatchNorm(), RELU)
    scatter = []
    for units in (64, 256):
        numbers = [reference.fisher(net, samples=10, units=units, seed=seed).lambda_max for seed in range(40)]
        scatter.append(np.var(numbers))
    # two variances of 39 degrees of freedom each: their ratio is within 0.45 to 2.2 times 4 in 98 of 100
    assert 1.8 < scatter[0] / scatter[1] < 8.8


def test_averages_lose_no_digits_where_samples_are_nearly_the_same():
    """v of averages is a mean of squares, and no difference."""
    rng = np.random.default_rng(3)
    h = rng.standard_normal((50, 1, 3)) + 1e-9 * rng.standard_normal((50, 8, 3))
    state = averaged(Units(h, (), (Low(h, h[None]),), (1, 3)))
    assert np.all(np.linalg.eigvalsh(state.v) > 0)
    # 350 independent squares of 1e-9
    assert np.diagonal(state.v) == pytest.approx(3 * [1e-18], rel=0.3)


def test_units_scatter_around_what_they_are_drawn_from():
    state = gaussian(np.random.default_rng(4), 4)
    how = sampling(units=8192, samples=16, reads=16)
    alpha, b = drawn(state, how)
    for sample, covariance in ((alpha, state.xy), (b.reshape(-1, 4), state.v)):
        of_sample, size = sample.T @ sample / len(sample), np.sqrt(np.outer(*2 * [np.diagonal(covariance)]))
        # pairs count once: 5 deviations of 4096
        assert np.all(np.abs(of_sample - covariance) < 5 * math.sqrt(2 / 4096) * size)
    again = averaged(as_units(state, how))
    assert np.max(np.abs(again.o - state.o)) < 1e-12 * np.max(np.abs(state.o))
    assert np.max(np.abs(again.d - state.d)) < 1e-12 * np.max(np.abs(state.d))


def test_a_root_keeps_the_trace_of_what_noise_made_of_a_covariance():
    rng = np.random.default_rng(7)
    true = np.diag([9.0, 1.0, *([0.0] * 38)])
    noise = rng.standard_normal((40, 40)) / 8
    vectors, scale = _symmetric_root(true + noise + noise.T)
    root, leading = (vectors * scale) @ vectors.T, vectors[:, -1]
    assert np.min(np.linalg.eigvalsh(true + noise + noise.T)) < -1
    assert np.trace(root @ root) == pytest.approx(np.trace(true + 2 * noise), rel=1e-12)
    assert np.min(np.linalg.eigvalsh(root)) > -1e-12
    assert abs(leading[0]) > 0.9
    exact = gaussian(rng, 6).xy
    vectors, scale = _symmetric_root(exact)
    root = (vectors * scale) @ vectors.T
    np.testing.assert_allclose(root @ root, exact, rtol=0, atol=1e-12 * np.trace(exact))
    assert not np.any(_symmetric_root(-np.eye(3))[1])


def test_quantiles_have_the_second_moments_of_their_shares():
    for half in (1, 4, 64, 4096):
        quantiles = _of_shares(half)
        assert np.mean(quantiles**2) == pytest.approx(1, rel=1e-11)  # sums of as many differences
        assert np.all(np.diff(quantiles) < 0)
    edges = ndtri(np.arange(5) / 8)
    z = np.linspace(edges[2], edges[3], 100001)
    square = 8 * np.trapezoid(z**2 * np.exp(-(z**2) / 2), z) / math.sqrt(2 * math.pi)
    assert _of_shares(4)[2] == pytest.approx(math.sqrt(square), rel=1e-9)  # the rule's error, (1/1e5)^2


def test_normal_numbers_are_those_of_their_counters():
    all_of = normals(sampling(), 0, 200, 300)
    assert np.array_equal(normals(sampling(), 0, 7, 11), all_of[:7, :11])
    assert not np.any(all_of == normals(sampling(), 1, 200, 300))
    # 60000 numbers: means and variances within 5 deviations
    assert abs(np.mean(all_of)) < 5 / math.sqrt(60000)
    assert abs(np.var(all_of) - 1) < 5 * math.sqrt(2 / 60000)
    assert abs(np.mean(all_of**4) - 3) < 5 * math.sqrt(96 / 60000)


@pytest.mark.parametrize("theory", ["exact", "frozen"])
def test_each_layers_part_sums_to_the_whole(theory):
    net = image(ff.BatchNorm(trained=True), RELU, pool=True)
    spectrum = reference.fisher(net, theory, samples=10, units=64)
    assert (np.sum(spectrum.layers.a), np.sum(spectrum.layers.b)) == pytest.approx((spectrum.a, spectrum.b), rel=1e-12)
    assert np.all(spectrum.layers.a > 0)


def test_a_padded_network_of_the_paper():
    """Channels 30, 60, 90 at 600 samples: the closed recursion has 306.0, sampled networks 299.8 +- 0.9, and four times
    as many units 301.5 +- 0.4."""
    blocks = [each for c in (30, 60, 90) for each in (ff.Conv2d(c, 3, 2, 1), ff.BatchNorm(), RELU)]
    net = ff.Network((1, 28, 28), [*blocks, ff.Flatten(), ff.Dense(10)])
    assert reference.fisher(net, samples=600, units=None).lambda_max == pytest.approx(306.0, abs=0.05)
    sampled = reference.fisher(net, samples=600, units=512)
    assert sampled.lambda_max == pytest.approx(301.5, abs=0.4 + 8 * sampled.error)
    assert sampled.error < 2
