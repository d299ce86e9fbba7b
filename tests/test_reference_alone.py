# SPDX-License-Identifier: BSD-3-Clause
"""The reference by itself: it needs the description of a network, NumPy, SciPy and mpmath, and no compiled core.

These tests run where there is none, too:

    python -c "import sys, pytest; sys.modules['fisherfield._core'] = None; pytest.main()" tests/test_reference_alone.py
"""

import ast
import importlib.util
import json
import pickle
import subprocess
import sys
from pathlib import Path

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from judge import judge
from strategies import GIVEN, floats, norms

import fisherfield as ff
from fisherfield import reference
from fisherfield.network.layer import kinds
from fisherfield.reference import quadrature
from fisherfield.reference.activations_mpmath import functions
from fisherfield.reference.kind import without_recursion
from fisherfield.reference.layers import KINDS

FOLDER = Path(reference.__file__).parent
DESCRIPTION = ("fisherfield.network", "fisherfield.network.activation")
OTHERS = {*sys.stdlib_module_names, "numpy", "scipy", "mpmath"}


# ------------------------------------------------------------------------------------------------- what it needs


def imported(path):
    """Full names of the modules that a file imports."""
    package = ".".join(("fisherfield.reference", *path.relative_to(FOLDER).parent.parts))
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
            # `from .. import x` imports a module, `from ..x import y` names of one
            yield from ([module] if node.module else [f"{module}.{alias.name}" for alias in node.names])


def allowed(module):
    inside = module.startswith(("fisherfield.reference.", *(f"{name}." for name in DESCRIPTION)))
    return inside or module in DESCRIPTION or module.partition(".")[0] in OTHERS


@pytest.mark.parametrize("path", sorted(FOLDER.rglob("*.py")), ids=lambda path: str(path.relative_to(FOLDER)))
def test_a_file_imports_the_reference_and_the_description_of_networks_alone(path):
    modules = list(imported(path))
    assert [module for module in modules if not allowed(module)] == []
    assert modules


def test_an_import_of_anything_else_would_be_seen():
    for module in ("fisherfield._core", "fisherfield._numbers", "fisherfield.sampled", "fisherfield", "torch"):
        assert not allowed(module)
    assert "fisherfield.reference.layers.phi" in list(imported(FOLDER / "layers" / "batch_norm.py"))
    assert "fisherfield.network" in list(imported(FOLDER / "layers" / "batch_norm.py"))


def test_every_kind_of_layer_has_its_maps_in_one_file():
    assert set(KINDS) == set(kinds().values())
    for kind in KINDS.values():
        maps = (kind.state, kind.forward, kind.back)
        homes = {function.__module__ for function in maps if function is not without_recursion}
        assert len(homes) == 1
        assert homes.pop().startswith("fisherfield.reference.layers.")


# ------------------------------------------------------------------------------------------------- without the core

NETWORKS = (
    ff.mlp([5, 8, 7, 2], activation=["leaky_relu(0.2)", "gelu"], gamma=[0.7, -1.2], trained=True),
    ff.Network(
        (2, 5, 5),
        [
            ff.Conv2d(3, 2, padding=1),
            ff.BatchNorm(0.8),
            ff.Activation("erf"),
            ff.AvgPool2d(2),
            ff.Flatten(),
            ff.Dense(2),
        ],
    ),
)
NUMBERS = """
import numpy as np

def numbers(module, slope_mean, Activation, networks):
    for net in networks:
        x = np.random.default_rng(0).standard_normal((5, *net.input_shape))
        for theory in ("exact", "frozen"):
            spectrum = module.fisher(net, theory, samples=7)
            yield from (spectrum.a, spectrum.b, spectrum.lambda_max, *module.order_parameters(net, theory).theta)
            yield float(module.max_learning_rate(net, 0.9, theory, loss="mse"))
        if len(net.input_shape) == 1:
            yield module.fisher(net, "wei2019").lambda_max
        spectrum = module.sampled_fisher(net, x, 1, k=3)
        yield from getattr(spectrum, "eigenvalues", spectrum)
        scan = module.scan(net, {"gamma": [0.5, 2.0]}, "lambda_max")
        yield from scan["lambda_max"].tolist()
        runs = module.verify(net, seeds=(3, 4), samples=6)
        yield from getattr(runs, "runs", runs)["lambda_max"].ravel().tolist()
    # a callable without a slope, which is taken by differences on either side of its kink
    phi = Activation(lambda x: np.where(x > 0.3, np.tanh(x - 0.3), 0.1 * (x - 0.3)), kinks=[0.3])
    yield from (float(slope_mean(phi, q, 0.3)) for q in (0.0, 1.0))
"""
ALONE = (
    "import sys; sys.modules['fisherfield._core'] = None\n"
    + NUMBERS
    + """
import json, pickle
import fisherfield as ff
from fisherfield.network.layer import kinds
from fisherfield.reference import quadrature
networks = pickle.loads(bytes.fromhex(sys.argv[1]))
values = [float(each) for each in numbers(ff.reference, quadrature.slope_mean, ff.Activation, networks)]
print(json.dumps([values, [name for name in sys.modules if name.startswith("fisherfield.")]]))
"""
)


def test_without_the_core_the_reference_computes_what_the_core_does():
    pytest.importorskip("fisherfield._core")
    out = subprocess.run(
        [sys.executable, "-c", ALONE, pickle.dumps(NETWORKS).hex()], capture_output=True, text=True, check=True
    )
    values, modules = json.loads(out.stdout)
    namespace = {}
    exec(NUMBERS, namespace)
    expected = list(map(float, namespace["numbers"](ff, ff.gaussian.slope_mean, ff.Activation, NETWORKS)))
    # 1e-10 by quadrature of gelu; differences give a slope to about 1e-12
    assert values == pytest.approx(expected, rel=1e-10)
    # description, and what converts its numbers
    others = {"_numbers", "_ways", "_words", "_memory", "_core", "network", "reference"}
    assert {module.split(".")[1] for module in modules} <= others


def test_the_tests_of_this_file_need_no_core():
    if sys.modules.get("fisherfield._core", ...) is None:
        pytest.skip("this is that run")
    code = (
        "import sys, pytest; sys.modules['fisherfield._core'] = None; "
        "sys.exit(pytest.main(['-q', '-x', '-p', 'no:cacheprovider', '-k', 'kind or tail or affine', sys.argv[1]]))"
    )
    out = subprocess.run([sys.executable, "-c", code, __file__], capture_output=True, text=True)
    assert out.returncode == 0, out.stdout
    assert "passed" in out.stdout


# ------------------------------------------------------------------------------------------------- the maps


def chains(affine):
    """Two or three hidden layers, some with BatchNorm, and one that stands before a dense layer without a phi."""
    layers = st.tuples(st.one_of(st.none(), norms()), st.sampled_from((None, "relu", "abs", "sin", "erf", "linear")))
    return st.lists(layers, min_size=1, max_size=3).map(
        lambda rows: [
            each for norm, phi in rows for each in (affine(4), norm, phi and ff.Activation(phi)) if each is not None
        ]
    )


@settings(max_examples=40)
@given(chains(ff.Dense), st.sampled_from(("exact", "frozen")), floats(0.0, 0.9))
def test_a_convolution_of_one_position_is_a_dense_layer(layers, theory, overlap):
    """For many data: the two maps of BatchNorm and of phi, of numbers and of matrices, agree where both apply."""
    dense = ff.Network(3, [*layers, ff.Dense(2)])
    image = [ff.Conv2d(4, 1) if isinstance(layer, ff.Dense) else layer for layer in layers]
    conv = ff.Network((3, 1, 1), [*image, ff.Flatten(), ff.Dense(2)])
    one, other = (reference.fisher(net, theory, overlap=overlap) for net in (dense, conv))
    size = abs(one.a)
    # a dozen layers' roundings, of erf that beta shifts by two ways of quadrature
    assert (other.a, other.b) == pytest.approx((one.a, one.b), rel=1e-10, abs=1e-12 * size)
    np.testing.assert_allclose(other.layers.a, one.layers.a, rtol=1e-10, atol=1e-12 * size)


@pytest.mark.parametrize("theory", ["exact", "frozen"])
@pytest.mark.parametrize("samples", [None, 4, 30])
def test_two_affine_layers_in_a_row_have_the_identity_between_them(theory, samples):
    """What BatchNorm's variance and a trained gamma add goes with the unit's own value, and is not dropped."""
    norm = ff.BatchNorm(0.7, trained=True)
    behind = [ff.Dense(6), ff.Activation("relu"), ff.Dense(2)]
    plain, written = (
        reference.fisher(ff.Network(5, [ff.Dense(9), norm, *phi, *behind]), theory, samples=samples)
        for phi in ((), (ff.Activation("linear"),))
    )
    assert (plain.a, plain.b) == (written.a, written.b)


# ------------------------------------------------------------------------------------------------- its integrals


@pytest.mark.parametrize("name", ff.activation_names())
def test_homogeneous_activations_are_those_whose_values_scale(name):
    """phi(t x) = t phi(x) for t > 0, hence x phi'(x) = phi(x), which the closed finite-batch map needs."""
    numbers = ("(1)", "(2)") if name in ("monomial", "rectified_monomial", "hermite") else ("",)
    x = np.array([-3.0, -0.7, 0.4, 2.0])
    for phi in (ff.Activation(GIVEN[name] if name == "polynomial" else name + each) for each in numbers):
        f, slope = reference.activations.phi(phi), reference.activations.slope(phi)
        scales = np.allclose(f(4 * x), 4 * f(x), rtol=1e-14) and np.allclose(x * slope(x), f(x), rtol=1e-14)
        assert scales == phi.homogeneous


@pytest.mark.parametrize("name", ff.activation_names())
@settings(max_examples=2)
@given(floats(-2.0, 2.0), st.sampled_from((0.0, 0.4, -0.7)))
def test_moments_of_the_recursions_are_those_at_40_digits(name, x, shift):
    name = GIVEN.get(name, name)
    q = min(10.0**x, 10.0 if name in ("sin", "cos", "rbf", "exp") else 100.0)  # what quadrature.py promises
    for which in ("mean", "second_moment", "slope_mean", "slope_second_moment"):
        exact = float(getattr(reference.gaussian, which)(name, q, shift))
        size = float(getattr(quadrature, which.replace("mean", "second_moment"))(name, q, shift))
        size = np.sqrt(size) if which.endswith("mean") else size
        # 1e-11 where nothing cancels, else of the largest possible value
        assert getattr(quadrature, which)(name, q, shift) == pytest.approx(exact, rel=1e-11, abs=1e-11 * size)


@pytest.mark.parametrize("name", ["relu6", "celu(0.5)", "gelu", "erf", "hermite(3)", "sin", "cos", "rbf", "gaussian"])
@pytest.mark.parametrize("which", ["covariance", "slope_covariance"])
def test_covariances_of_the_recursions_are_those_at_40_digits(name, which):
    """One point of each kind that does not take minutes at 40 digits."""
    arguments = {"q1": 1.3, "q2": 0.4, "c": -0.3, "shift": 0.4}
    exact = float(getattr(reference.gaussian, which)(name, **arguments))
    assert getattr(quadrature, which)(name, **arguments) == pytest.approx(exact, rel=1e-11)


@pytest.mark.parametrize(
    ("name", "kinks"), [("tanh", ()), ("mish", ()), ("celu(0.5)", (0,)), ("hardswish", (-3, 3)), ("softsign", (0,))]
)
def test_the_reference_at_40_digits_is_what_mpmath_s_own_quadrature_gives(name, kinks):
    """By tanh-sinh on pieces of 2 between kinks; 1e-25 is what its 30 digits leave."""
    with mpmath.workdps(30):
        root, shift = mpmath.sqrt(2), mpmath.mpf(0.5)
        ends = sorted({*map(mpmath.mpf, range(-14, 15, 2)), *((kink - shift) / root for kink in kinks)})
        for f, which in zip(functions(ff.Activation(name)), ("mean", "slope_mean"), strict=True):
            one = mpmath.quad(lambda z, f=f: f.value(root * z + shift) * mpmath.npdf(z), ends)
            assert abs(getattr(reference.gaussian, which)(name, 2.0, shift=0.5) - one) < 1e-25


# By the trapezoidal rule in both arguments, which converges exponentially for entire functions: steps of 0.05 (one
# argument) and of 0.25 in (u + w, u - w) over 40 deviations; 15 digits were printed.
@pytest.mark.parametrize(
    ("variances", "rest", "shift", "value"),
    [
        ((1,), None, -30, 4.63826696094187e-132),
        ((4,), None, -40, 2.98671854796968e-79),
        ((1, 1), 0.1, -30, 1.44831943863923e-136),
        ((1, 4), 0.7, -30, 1.26138142285288e-119),
    ],
)
def test_the_reference_at_40_digits_follows_a_tail_to_where_its_square_is_largest(variances, rest, shift, value):
    if rest is None:
        exact = reference.gaussian.second_moment("gelu", *variances, shift=shift)
    else:
        exact = reference.gaussian.covariance("gelu", *variances, one_minus_c=rest, shift=shift)
    assert float(exact) == pytest.approx(value, rel=1e-14, abs=0)


@pytest.mark.parametrize("name", ["celu(0.014)", "celu(1e-7)"])
def test_the_panels_of_the_reference_know_the_scale_of_celu(name):
    for which, variances, keywords in (
        ("mean", (1.5,), {}),
        ("second_moment", (1.5,), {"shift": -0.3}),
        ("slope_mean", (0.7,), {"shift": 0.2}),
        ("slope_second_moment", (0.7,), {}),
        ("covariance", (1.0, 2.0), {"one_minus_c": 0.3}),
    ):
        value = getattr(quadrature, which)(name, *variances, **keywords)
        # panels of 20 nodes leave nothing, sums of some thousand terms their roundings
        assert value == pytest.approx(float(judge(name, which, *variances, **keywords)), rel=1e-13, abs=0)


def test_the_differences_of_the_reference_know_the_scale_of_celu():
    # of two values of the judge, at c = 1 and at 1 - c = 1e-3
    for which, expected in (("spread", 0.0005396961211753332), ("slope_spread", 0.004937605508864159)):
        value = getattr(quadrature, which)("celu(0.014)", 1.0, 1e-3, 0.1)
        assert value == pytest.approx(expected, rel=1e-13, abs=0)
