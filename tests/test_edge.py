# SPDX-License-Identifier: BSD-3-Clause
"""Where the bulk of the Fisher information ends at finite width, and how many eigenvalues lie above a number."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import floats

import fisherfield as ff
from fisherfield import _core, reference
from fisherfield.reference.arguments import settings_of
from fisherfield.reference.bulk import Bulk
from fisherfield.reference.edge import bulk_of, one_sample
from fisherfield.scan.labels import REGIMES
from fisherfield.theory.settings import Settings


def vanilla(widths: list[int], activation: str, sigma_w2: float, sigma_b2: float) -> ff.Network:
    return ff.mlp([*widths, 1], activation=activation, batch_norm=False, sigma_w2=sigma_w2, sigma_b2=sigma_b2)


def normed(widths: list[int], activation: str) -> ff.Network:
    return ff.mlp([*widths, 1], activation=activation, sigma_w2=2.0, sigma_b2=0.5)


def bulk(net: ff.Network, theory: str = "exact", samples: int | None = None) -> Bulk:
    found = bulk_of(net, settings_of(net, theory, samples, 0.0, 1.0, None))
    assert found is not None
    return found


# Solved before with another rule for the neurons' means and gradients, and x_1 by integrals of the density: 0.3 %.
# Sampled second eigenvalues of 3 networks each were 0.97 to 1.04 of them.
POSITIONS = [
    (vanilla([800] * 2, "tanh", 1.5, 0.0), "exact", 800, 4.41),
    (vanilla([1000] * 3, "tanh", 1.5, 0.0), "exact", 500, 7.47),
    (vanilla([800] * 3, "relu", 2.0, 0.5), "exact", 800, 10.85),
    (normed([400] * 3, "relu"), "exact", 400, 4.66),
    (normed([400] * 3, "relu"), "frozen", 400, 5.42),
]


@pytest.mark.parametrize(("net", "theory", "samples", "position"), POSITIONS)
def test_classical_positions_are_those_solved_before(net, theory, samples, position):
    assert reference.edge(net, theory, samples) == pytest.approx(position, rel=3e-3)


# At 10^6 samples by another program, to four digits: 11.34 and 6.34 there, and 11.33 and 6.338 at more.
@pytest.mark.parametrize(
    ("widths", "activation", "edge"),
    [([64, 256, 256, 256], "tanh", 11.33), ([300] * 4, "tanh", 6.338), ([64, 256, 256, 256], "relu", 5.211)],
)
def test_edges_of_infinite_data_are_those_solved_before(widths, activation, edge):
    assert reference.edge(normed(widths, activation)) == pytest.approx(edge, rel=1e-4)  # its digits


def test_one_layer_is_the_law_of_marchenko_and_pastur():
    # Theta/n = X X^T/n + 1/n; N_0 = c n: density sqrt((hi - x)(x - lo))/(2 pi x) on lo, hi = (1 -+ sqrt c)^2
    inputs, samples = 50, 100
    found = reference.edge(ff.mlp([inputs, 1], batch_norm=False), samples=samples)
    low, high = ((1 + sign * math.sqrt(inputs / samples)) ** 2 for sign in (-1, 1))
    t, weight = np.polynomial.legendre.leggauss(200)
    x = found + (high - found) * 0.5 * (1 + t)
    above = samples * 0.5 * (high - found) * weight @ (np.sqrt((high - x) * (x - low)) / (2 * math.pi * x))
    assert above == pytest.approx(0.5, rel=1e-5)  # of a square root by 200 nodes
    assert bulk(ff.mlp([inputs, 1], batch_norm=False), samples=samples).density(1.0) == pytest.approx(
        math.sqrt((high - 1) * (1 - low)) / (2 * math.pi), rel=1e-10
    )


@pytest.mark.parametrize("theory", ["exact", "frozen"])
def test_the_number_above_is_the_integral_of_the_density(theory):
    equations = bulk(normed([60, 80, 70], "relu"), theory, 90)
    low, high = 0.5 * reference.edge(normed([60, 80, 70], "relu"), theory, 90), 2.0
    t, weight = np.polynomial.legendre.leggauss(12)
    x = low + (high - low) * 0.5 * (1 + t)
    integral = 90 * 0.5 * (high - low) * sum(w * equations.density(each) for w, each in zip(weight, x, strict=True))
    assert integral == pytest.approx(equations.above(low) - equations.above(high), rel=1e-6)  # 12 nodes


def test_the_edge_is_where_the_imaginary_part_stops_to_depend_on_the_height():
    # Im S(x + i h) is that of the density inside, and falls as h outside: 1 and 100 for heights 1e-4 and 1e-6
    equations = bulk(normed([200] * 3, "tanh"))
    edge = equations.end()

    def ratio(x: float) -> float:
        heights, u = [], None
        for height in (1.0, 0.1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6):
            z = complex(x, height * x)
            u = equations.solve(z, u)
            heights.append(equations.update(u, z)[1].imag)
        return heights[4] / heights[6]

    assert ratio(0.99 * edge) == pytest.approx(1.0, abs=0.05)  # 1e-4 of x away from the axis, 1e-2 from the edge
    assert ratio(1.01 * edge) == pytest.approx(100.0, rel=0.05)


def test_the_edge_is_the_limit_of_many_samples():
    net = normed([100] * 3, "tanh")
    last = bulk(net, samples=10**7)
    many = Bulk(**{**vars(last)}).end()  # at finite n, too, the real solution ends there
    assert many == pytest.approx(reference.edge(net), rel=1e-4)  # 100/n of it


def test_networks_that_the_equations_do_not_describe_have_none():
    for net in (
        ff.mlp([50, 60, 60, 1], norm="layer"),
        ff.mlp([50, 60, 60, 1], residual=True),
        ff.Network(50, [*normed([50, 60], "relu").layers, ff.BatchNorm()]),
    ):
        assert math.isnan(reference.edge(net, samples=100))
    assert math.isnan(reference.edge(normed([50, 60], "relu"), "wei2019", 100))


# Activations of every shape, in networks of every theory; with all that a layer has.
RICH = ff.mlp(
    [40, 50, 60, 3], "selu", gamma=2.0, beta=0.3, eps=0.1, trained=True, sigma_w2=[1.0, 2.0, 1.5], sigma_b2=0.2
)
CASES = [
    (normed([64, 80, 70], "tanh"), "exact", None),
    (normed([50, 60, 70], "relu"), "frozen", 90),
    (vanilla([100, 60, 80], "relu", 2.0, 0.5), "exact", 50),
    (normed([60, 50, 40], "gelu"), "exact", 300),
    (normed([60, 50, 40], "sign"), "exact", 300),
    (normed([60, 50], "elu"), "frozen", None),
    (normed([60, 50], "abs"), "exact", 40),
    (RICH, "frozen", 77),
    (RICH, "exact", None),
    (ff.mlp([30, 5], batch_norm=False), "exact", 20),
]


def core_edge(net: ff.Network, theory: str = "exact", samples: int | None = None) -> float:
    return _core.edge(net._compiled, Settings.of(net, theory, samples))


@pytest.mark.parametrize(("net", "theory", "samples"), CASES)
def test_the_core_has_the_edge_of_the_reference(net, theory, samples):
    # both solve the same equations to 1e-12; behind 1e-6 of x the edge is drawn from two secants
    assert core_edge(net, theory, samples) == pytest.approx(reference.edge(net, theory, samples), rel=1e-9)


def test_the_core_has_the_density_of_the_reference():
    net = normed([50, 60, 70], "relu")
    equations = bulk(net, "frozen", 90)
    x = np.array([1.0, 0.2, 3.0, 0.01])  # the last lies below r, as no eigenvalue does
    density, above = _core.bulk_spectrum(net._compiled, Settings.of(net, "frozen", 90), x)
    for place in (0, 2):
        assert density[place] == pytest.approx(equations.density(x[place]), rel=1e-9)
        assert above[place] == pytest.approx(equations.above(x[place]), rel=1e-9)
    assert density[3] == 0.0
    assert above[3] == 90.0


def test_deep_networks_have_an_edge_above_the_least_eigenvalue():
    for depth in (8, 12, 16):
        for theory in ("exact", "frozen"):
            net = normed([100] * depth, "relu")
            assert core_edge(net, theory, 100) > bulk_of_r(net, theory, 100)


def bulk_of_r(net: ff.Network, theory: str, samples: int) -> float:
    equations = bulk(net, theory, samples)
    return equations.share * equations.r


def test_edges_lie_below_their_ceiling():
    # (a - b) (1/sqrt(n) + sum 1/sqrt(N_l))^2; how close they come is counted, so that the law is not empty
    generator, closest = np.random.default_rng(5), 0.0
    for _ in range(60):
        depth = int(generator.integers(1, 7))
        widths = [int(width) for width in 2 ** generator.uniform(4, 9, depth)]
        activation = generator.choice(["relu", "tanh", "erf", "selu", "gelu", "sin", "linear"])
        samples = None if generator.random() < 0.2 else int(2 ** generator.uniform(3, 12))
        norm = generator.random() < 0.6
        sigmas = {"sigma_w2": generator.uniform(0.5, 3.0), "sigma_b2": generator.uniform(0.0, 1.0)}
        net = ff.mlp([*widths, 1], str(activation), batch_norm=bool(norm), **sigmas)
        theory = "frozen" if norm and generator.random() < 0.5 else "exact"
        edge = core_edge(net, theory, samples)
        assert math.isfinite(edge), (net, theory, samples)
        of = ff.fisher(net, theory, samples)
        ceiling = (of.a - of.b) * ((0 if samples is None else samples**-0.5) + sum(w**-0.5 for w in widths)) ** 2
        closest = max(closest, edge / ceiling)
        assert edge < ceiling * (1 + 1e-12), (net, theory, samples)  # equal, but for rounding, in one layer
    assert closest > 0.5


def test_the_density_is_that_of_the_reference_with_the_trace_and_the_second_moment_of_the_theory():
    # n tr of the bulk is a - b but for the outlier's; moments of the density at n = 60 are those of infinite data
    net = normed([60, 80], "tanh")
    result, slow = ff.spectral_density(net, 60, points=12), reference.spectral_density(net, 60, points=12)
    for name in ("x", "density", "above"):
        np.testing.assert_allclose(getattr(result, name), slow[name], rtol=1e-8, atol=1e-12)
    fine = ff.spectral_density(net, 60, points=2000)
    assert np.trapezoid(fine.density, fine.x) == pytest.approx(1.0, abs=2e-3)  # of 2000 points with a root's edges
    limit = ff.fisher(net)
    assert np.trapezoid(fine.density * fine.x, fine.x) == pytest.approx((limit.a - limit.b) / 60, rel=2e-3)
    assert fine.above[np.searchsorted(fine.x, fine.edge)] == pytest.approx(0.5, abs=0.05)  # a step of the grid
    assert fine.outlier == ff.fisher(net, samples=60).outlier


def test_a_density_is_drawn_and_printed():
    result = ff.spectral_density(normed([60, 80], "relu"), 100, "frozen", points=20)
    assert "edge at" in repr(result)
    axes = result.plot().axes[0]
    assert [line.get_label().split(",")[0] for line in axes.get_lines()] == ["bulk", "edge", "outlier"]


def test_what_has_no_equations_has_no_density():
    with pytest.raises(ValueError, match="no equations are known"):
        ff.spectral_density(ff.mlp([50, 60, 60, 1], norm="layer"), 100)


# -------------------------------------------------------------------------------------------------- what lambda_max is


@pytest.mark.parametrize("depth", [4, 8])
def test_a_number_below_the_outlier_is_not_solved_for(depth):
    for net in (normed([784, *[1000] * (depth - 1)], "relu"), vanilla([784, *[1000] * (depth - 1)], "relu", 2.0, 0.5)):
        for samples in (None, 500):
            out = ff.fisher(net, samples=samples)
            assert "edge" not in vars(out) or depth == 8  # nothing was solved
            assert out.edge < out.outlier == out.lambda_max
            assert out.lambda_max == ff.fisher(net, samples=samples, edge=False).lambda_max


def test_the_largest_of_three_rules_in_core_and_reference():
    for net, theory, samples, regime in (
        (normed([60] * 3, "tanh"), "exact", 100, "bulk"),
        (normed([60] * 3, "tanh"), "exact", None, "bulk"),
        (normed([100] * 3, "relu"), "exact", 100, "outlier"),
        (normed([100] * 10, "relu"), "exact", 100, "sample"),
    ):
        if regime == "sample":  # ten layers take the reference half a minute
            settings = settings_of(net, theory, samples, 0.0, 1.0, None)
            assert ff.fisher(net, theory, samples).lambda_max == pytest.approx(one_sample(net, settings), rel=1e-6)
        else:
            slow = reference.fisher(net, theory, samples)
            assert slow.regime == regime
            assert ff.fisher(net, theory, samples).lambda_max == pytest.approx(slow.lambda_max, rel=1e-9)
        assert ff.fisher(net, theory, samples).regime == regime


def test_holds_is_continuous_in_the_number_of_samples():
    """It changes where edge and outlier are of like size, and not at a number of samples beside them."""
    net = normed([300, 300, 300], "selu")
    numbers = [ff.fisher(net, samples=samples) for samples in (300, 3000, 30000, 10**6, None)]
    assert [each.holds for each in numbers] == [True] * 5
    *finite, limit = (each.edge for each in numbers)
    assert finite == sorted(finite, reverse=True)
    assert finite[-1] < limit < 1.1 * finite[-1]  # half an eigenvalue above, and none


@pytest.mark.parametrize("name", ["tanh", "erf", "selu"])
def test_the_edge_is_the_largest_eigenvalue_of_sampled_networks(name):
    net = normed([64, 100, 100], name)
    values = [ff.sampled_fisher(net, ff.data.gaussian(64, 200, seed), seed).lambda_max for seed in range(4)]
    # single networks of these widths scatter by 3 to 8 %, and a mean of four is within 12 % of the edge
    assert np.mean(values) == pytest.approx(ff.fisher(net, samples=200).lambda_max, rel=0.12)


def test_one_sample_rules_deep_networks_as_in_sampled_ones():
    # 0.88 to 1.11 of it in sampled networks of 300 units and 8 to 16 layers; these are of 60
    net = normed([60] * 10, "relu")
    values = [ff.sampled_fisher(net, ff.data.gaussian(60, 60, seed), seed).lambda_max for seed in range(8)]
    out = ff.fisher(net, samples=60)
    assert out.regime == "sample"
    assert np.median(values) == pytest.approx(out.lambda_max, rel=0.35)  # eight that scatter by 40 % each
    assert np.median(values) > 1.5 * out.edge  # what the edge would give is not enough


def test_numbers_beyond_float64_are_left_to_the_estimate_by_layers():
    """Sums of powers of 1e310 are none of the equations', which are formed in float64."""
    hermite = [ff.Dense(8), ff.Activation("hermite(11)"), ff.Dense(8), ff.Activation("sign"), ff.Dense(2)]
    net = ff.Network(14, [ff.Dense(50, 1.0, 1e14), ff.Activation("monomial(23)"), *hermite])
    assert math.isnan(core_edge(net))
    result = ff.fisher(net)
    assert result.edge is None
    assert "networks" in repr(result)  # whose interval ends at infinity


# ------------------------------------------------------------------------------------------- laws of drawn networks


@st.composite
def edged(draw):
    """A network whose edge has equations, the theory, and n. At sigma_b2 = 0 those of vanilla ReLU networks of infinite
    data are not always solved, and their edge is None."""
    widths = draw(st.lists(st.integers(50, 300), min_size=2, max_size=4))
    norm = draw(st.booleans())
    keywords = {
        "sigma_w2": draw(floats(0.5, 3.0)),
        "sigma_b2": draw(st.sampled_from((0.1, 0.5))),
        "batch_norm": norm,
    }
    if norm:
        keywords |= {"gamma": draw(floats(0.3, 2.0)), "beta": draw(st.sampled_from((0.0, 0.3, -1.0)))}
    net = ff.mlp([*widths, 1], draw(st.sampled_from(("relu", "tanh", "erf", "selu", "gelu"))), **keywords)
    theory = draw(st.sampled_from(("exact", "frozen"))) if norm else "exact"
    return net, theory, draw(st.one_of(st.none(), st.integers(50, 3000)))


@settings(max_examples=25)
@given(edged())
def test_lambda_max_is_the_larger_of_the_outlier_and_an_edge_above_the_bulks_mean(drawn):
    net, theory, samples = drawn
    out, plain = ff.fisher(net, theory, samples), ff.fisher(net, theory, samples, edge=False)
    assert out.edge >= out.bulk * (1 - 1e-12)
    assert (out.a, out.b, out.bulk, out.mean) == (plain.a, plain.b, plain.bulk, plain.mean)
    assert out.lambda_max >= plain.lambda_max
    if out.regime == "outlier":
        assert out.lambda_max == pytest.approx(out.outlier, rel=1e-13)  # o + d/n, from a and b
        assert out.lambda_max >= out.edge * (1 - 1e-12)
    elif out.regime == "bulk":
        assert out.lambda_max == out.edge >= out.outlier
    else:
        assert out.lambda_max > max(out.edge, out.outlier)
    scan = ff.scan(net, {"samples": [samples]}, ("lambda_max", "regime"), theory, edge=True)
    assert scan.lambda_max[0] == pytest.approx(out.lambda_max, rel=1e-13)  # two recursions of a few roundings a layer
    assert REGIMES[int(scan.regime[0])] == out.regime


@settings(max_examples=15)
@given(edged())
def test_edges_fall_to_that_of_infinite_data(drawn):
    net, theory, _ = drawn
    edges = [ff.fisher(net, theory, n).edge for n in (10**3, 10**5, 10**7, 10**9)]
    limit = ff.fisher(net, theory).edge
    assert edges == sorted(edges, reverse=True)
    # where the edge is sharp the largest eigenvalue's position lies below it, by half an eigenvalue of 50 or more
    sharp = theory == "exact" and net.batch_norms
    assert edges[-1] == pytest.approx(edges[-2], rel=1e-4)  # it goes as N/n
    assert limit == pytest.approx(edges[-1], rel=0.15 if sharp else 1e-6)
    assert limit >= edges[-1] * (1 - 1e-6)


def test_holds_turns_only_where_two_rules_are_of_like_size():
    """Bisected to two numbers of samples side by side, where the smaller is 0.9 of the larger."""

    def at(n):
        out = ff.fisher(net, samples=n)
        return out.holds, min(out.edge, out.outlier) / max(out.edge, out.outlier)

    turns = 0
    for name, beta in (("selu", 0.3), ("selu", 0.4), ("tanh", 0.2), ("tanh", 0.3), ("erf", 0.2)):
        net = ff.mlp([64, 300, 300, 1], name, beta=beta)
        for low, high in pairwise(int(n) for n in np.geomspace(60, 10**5, 8)):
            before = at(low)[0]
            if at(high)[0] == before:
                continue
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (middle, high) if at(middle)[0] == before else (low, middle)
            # one more sample of 60 or more moves both by 2 % at the most
            assert [at(n)[1] for n in (low, high)] == pytest.approx([0.9, 0.9], rel=0.02)
            turns += 1
    assert turns >= 3


@pytest.mark.parametrize("seed", range(4))
def test_core_and_reference_have_the_same_lambda_max_with_the_edge(seed):
    rng = np.random.default_rng(seed)
    net = ff.mlp(
        [*(int(n) for n in rng.integers(50, 200, int(rng.integers(2, 4)))), 1],
        str(rng.choice(["tanh", "erf", "selu"])),
        sigma_w2=rng.uniform(0.5, 2.0),
        sigma_b2=rng.uniform(0.0, 0.5),
        gamma=rng.uniform(0.5, 1.5),
    )
    theory, samples = ("exact", "frozen")[seed % 2], int(rng.integers(50, 400))
    out, slow = ff.fisher(net, theory, samples), reference.fisher(net, theory, samples)
    assert out.regime == slow.regime
    assert out.lambda_max == pytest.approx(slow.lambda_max, rel=1e-9)
