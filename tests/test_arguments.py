# SPDX-License-Identifier: BSD-3-Clause
"""Every argument is refused in one sentence, with its name, its range and the value; the reference refuses it too."""

import math
import re

import numpy as np
import pytest
import strategies
from hypothesis import assume, given
from hypothesis import strategies as st

import fisherfield as ff
from fisherfield import _words

FUNCTIONS = ("fisher", "max_learning_rate", "order_parameters")
NET = ff.mlp([20, 300, 3])
VANILLA = NET.replace(batch_norm=False)
CONV = ff.convnet((1, 4, 4), [30], 3)
POOLED = ff.Network((1, 6, 6), [ff.Conv2d(4), ff.AvgPool2d(2), ff.GlobalAvgPool2d(), ff.Flatten(), ff.Dense(2)])
NAMES = ", ".join(ff.activation_names())


def refused(name, error, sentence, net=NET, **arguments):
    """The core says the sentence; the reference refuses in its own words."""
    with pytest.raises(error, match=f"^{re.escape(sentence)}$"):
        getattr(ff, name)(net, **arguments)
    with pytest.raises((ValueError, TypeError)):
        getattr(ff.reference, name)(net, **arguments)


# network, theory, data ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize(
    ("arguments", "error", "sentence"),
    [
        (
            {"theory": "exakt"},
            ValueError,
            "theory must be one of exact, frozen, wei2019, got 'exakt' (did you mean 'exact'?)",
        ),
        (
            {"theory": "Exact"},
            ValueError,
            "theory must be one of exact, frozen, wei2019, got 'Exact' (did you mean 'exact'?)",
        ),
        ({"theory": None}, ValueError, "theory must be one of exact, frozen, wei2019, got None"),
        ({"theory": ["exact"]}, ValueError, "theory must be one of exact, frozen, wei2019, got ['exact']"),
        ({"samples": 0}, ValueError, "samples must be a whole number >= 1, got 0"),
        ({"samples": -1}, ValueError, "samples must be a whole number >= 1, got -1"),
        ({"samples": -2.0}, ValueError, "samples must be a whole number >= 1, got -2.0"),
        ({"samples": 1.5}, TypeError, "samples must be a whole number >= 1, got 1.5"),
        ({"samples": math.inf}, TypeError, "samples must be a whole number >= 1, got inf"),
        ({"samples": math.nan}, TypeError, "samples must be a whole number >= 1, got nan"),
        ({"samples": True}, TypeError, "samples must be a whole number >= 1, got True"),
        ({"samples": "10"}, TypeError, "samples must be a whole number >= 1, got '10'"),
        ({"samples": [10]}, TypeError, "samples must be a whole number >= 1, got [10]"),
        (
            {"samples": 1},
            ValueError,
            "samples must be at least 2 under BatchNorm, whose variance over one sample is 0, got 1",
        ),
        (
            {"samples": 1, "net": CONV},
            ValueError,
            "samples must be at least 2 under BatchNorm, whose variance over one sample is 0, got 1",
        ),
        ({"overlap": -0.1}, ValueError, "overlap must be from 0 (infinite data) to length = 1, got -0.1"),
        ({"overlap": 1.1}, ValueError, "overlap must be from 0 (infinite data) to length = 1, got 1.1"),
        (
            {"overlap": 2.0, "length": 1.5},
            ValueError,
            "overlap must be from 0 (infinite data) to length = 1.5, got 2.0",
        ),
        (
            {"overlap": 1.1, "samples": 11},
            ValueError,
            "overlap must be from -length/(samples - 1) to length = 1, got 1.1",
        ),
        (
            {"overlap": -0.101, "samples": 11},
            ValueError,
            "overlap must be from -length/(samples - 1) to length = 1, got -0.101",
        ),
        (
            {"overlap": -1.1, "samples": 1, "net": VANILLA},
            ValueError,
            "overlap must be from -length to length = 1, got -1.1",
        ),
        ({"overlap": math.nan}, ValueError, "overlap must be from 0 (infinite data) to length = 1, got nan"),
        ({"overlap": math.inf}, ValueError, "overlap must be from 0 (infinite data) to length = 1, got inf"),
        ({"overlap": "0"}, TypeError, "overlap must be a finite number, got '0'"),
        ({"overlap": None}, TypeError, "overlap must be a finite number, got None"),
        ({"overlap": False}, TypeError, "overlap must be a finite number, got False"),
        ({"length": 0}, ValueError, "length must be finite and > 0, got 0"),
        ({"length": -1.0}, ValueError, "length must be finite and > 0, got -1.0"),
        ({"length": math.nan}, ValueError, "length must be finite and > 0, got nan"),
        ({"length": math.inf}, ValueError, "length must be finite and > 0, got inf"),
        ({"length": -math.inf}, ValueError, "length must be finite and > 0, got -inf"),
        ({"length": 1e-101}, ValueError, "length must be between 1e-100 and 1e+100 in size, got 1e-101"),
        ({"length": 1e101}, ValueError, "length must be between 1e-100 and 1e+100 in size, got 1e+101"),
        ({"length": "1"}, TypeError, "length must be finite and > 0, got '1'"),
        ({"length": True}, TypeError, "length must be finite and > 0, got True"),
        ({"length": [1.0]}, TypeError, "length must be finite and > 0, got [1.0]"),
        ({"length": np.ones(1)}, TypeError, "length must be finite and > 0, got array([1.])"),
        ({"length": 1j}, TypeError, "length must be finite and > 0, got 1j"),
        ({"biases": 1}, TypeError, "biases must be True or False, got 1"),
        ({"biases": 0.0}, TypeError, "biases must be True or False, got 0.0"),
        ({"biases": "yes"}, TypeError, "biases must be True or False, got 'yes'"),
        (
            {"theory": "wei2019", "net": POOLED},
            ValueError,
            "theory must be 'exact' or 'frozen' for a network with pooling, which wei2019 does not treat",
        ),
    ],
)
def test_an_argument_out_of_range_is_refused_in_a_sentence(name, arguments, error, sentence):
    refused(name, error, sentence, **arguments)


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize(
    ("net", "way"),
    [
        (None, ""),
        (3, ""),
        ([NET], ""),
        ("net.toml", ": fisherfield.load reads one from a file"),
        (ff.Network, ": it is a class, make an object of it"),
        (ff.Dense(3), ": fisherfield.Network(input_shape, layers) makes one"),
        ([ff.Dense(3)], ": fisherfield.Network(input_shape, layers) makes one"),
        ([20, 30, 3], ": fisherfield.mlp(widths) makes one"),
        (ff.sample(VANILLA), ": its description is its net"),
    ],
    ids=str,
)
def test_a_net_that_is_no_network_is_refused_with_the_way_to_one(name, net, way):
    sentence = f"net must be a fisherfield Network, got {_words.shown(net)}{way}"
    with pytest.raises(TypeError, match=f"^{re.escape(sentence)}$"):
        getattr(ff, name)(net)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_reference_refuses_a_net_that_is_no_network(name):
    with pytest.raises(TypeError, match="net must be"):
        getattr(ff.reference, name)("net")


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_reference_refuses_length_zero_without_batch_norm_too(name):
    refused(name, ValueError, "length must be finite and > 0, got 0", VANILLA, length=0)


def test_too_many_samples_are_told_the_largest_number():
    with pytest.raises(ValueError, match=f"{2**53}, got {2**53 + 1}$"):
        ff.fisher(NET, samples=2**53 + 1)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_ends_of_every_range_are_taken(name):
    call = getattr(ff, name)
    for arguments in (
        {"samples": 2},
        {"samples": 2**53},
        {"samples": 11, "overlap": -0.1},
        {"samples": 11, "overlap": 1.0, "net": VANILLA},
        {"samples": 1, "overlap": -1.0, "net": VANILLA},
        {"overlap": 1.0, "net": VANILLA},
        {"length": 1e-100},
        {"length": 1e100, "overlap": 0.5e100},
        {"biases": False},
        {"theory": "frozen", "net": POOLED},
    ):
        net = arguments.pop("net", NET)
        call(net, **arguments)


@given(
    name=st.sampled_from(FUNCTIONS),
    net=st.sampled_from((NET, VANILLA)),
    samples=st.one_of(st.none(), st.integers(-1, 50)),
    overlap=st.floats(-2.0, 2.0),
    length=st.floats(-0.5, 2.0),
)
def test_data_are_taken_just_where_a_gram_matrix_can_be(name, net, samples, overlap, length):
    assume(length == 0 or abs(length) > 1e-90)
    assume(abs(overlap - length) > 1e-9)  # there the variance vanishes
    least = 0.0 if samples is None else -length / max(samples - 1, 1)
    allowed = (samples is None or samples >= 1 + (net is NET)) and length > 0 and least <= overlap <= length
    arguments = {"samples": samples, "overlap": overlap, "length": length}
    if allowed:
        getattr(ff, name)(net, **arguments)
    else:
        with pytest.raises(ValueError, match=r"^(samples|overlap|length) must be .*, got \S+$"):
            getattr(ff, name)(net, **arguments)


# variance zero --------------------------------------------------------------------------------------------------------

FLAT = "eps must be > 0 where the variance over the data is zero, as it is before the BatchNorm of affine layer {}"


@pytest.mark.parametrize("samples", [None, 50])
@pytest.mark.parametrize("theory", ["exact", "frozen", "wei2019"])
@pytest.mark.parametrize(
    ("net", "data", "layer"),
    [
        (NET.replace(sigma_w2=0.0), {}, 1),
        (ff.mlp([20, 300, 300, 3], sigma_w2=[2.0, 0.0, 2.0]), {}, 2),
        (NET, {"overlap": 1.0}, 1),
        (NET, {"overlap": 0.3, "length": 0.3}, 1),
        (ff.mlp([20, 300, 300, 300, 3], gamma=[1.0, 0.0, 1.0]), {}, 3),
        (ff.mlp([20, 300, 300, 3], gamma=[0.0, 1.0], activation="tanh", beta=0.5), {}, 2),
        (CONV.replace(sigma_w2=0.0), {}, 1),
        (ff.convnet((1, 4, 4), [30], 3, padding=0), {"overlap": 1.0}, 1),  # padding makes positions differ
        (ff.convnet((1, 4, 4), [30, 20], 3, gamma=[0.0, 1.0]), {}, 2),
    ],
    ids=[
        "w = 0",
        "later w = 0",
        "equal inputs",
        "equal short inputs",
        "gamma = 0",
        "tanh",
        "conv",
        "equal images",
        "conv gamma",
    ],
)
def test_zero_variance_before_a_batch_norm_without_eps_is_refused_with_its_layer(net, data, layer, theory, samples):
    for name in FUNCTIONS:
        refused(name, ValueError, FLAT.format(layer), net, theory=theory, samples=samples, **data)
    assert math.isfinite(ff.fisher(net.replace(eps=0.1), theory, samples, **data).a)


# learning rates -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "sentence"),
    [
        ({"momentum": 1}, ValueError, "momentum must be in [0, 1), got 1"),
        ({"momentum": 1.0}, ValueError, "momentum must be in [0, 1), got 1.0"),
        ({"momentum": -0.1}, ValueError, "momentum must be in [0, 1), got -0.1"),
        ({"momentum": math.nan}, ValueError, "momentum must be in [0, 1), got nan"),
        ({"momentum": math.inf}, ValueError, "momentum must be in [0, 1), got inf"),
        ({"momentum": "x"}, TypeError, "momentum must be in [0, 1), got 'x'"),
        ({"momentum": "0.9"}, TypeError, "momentum must be in [0, 1), got '0.9'"),
        ({"momentum": None}, TypeError, "momentum must be in [0, 1), got None"),
        ({"momentum": False}, TypeError, "momentum must be in [0, 1), got False"),
        ({"momentum": [0.9]}, TypeError, "momentum must be in [0, 1), got [0.9]"),
        ({"nesterov": 1}, TypeError, "nesterov must be True or False, got 1"),
        ({"nesterov": None}, TypeError, "nesterov must be True or False, got None"),
        ({"weight_decay": -1e-4}, ValueError, "weight_decay must be finite and >= 0, got -0.0001"),
        ({"weight_decay": math.inf}, ValueError, "weight_decay must be finite and >= 0, got inf"),
        (
            {"weight_decay": 1e-101},
            ValueError,
            "weight_decay must be 0 or between 1e-100 and 1e+100 in size, got 1e-101",
        ),
        ({"weight_decay": True}, TypeError, "weight_decay must be finite and >= 0, got True"),
        (
            {"loss": "l2"},
            ValueError,
            "loss must be one of sum, mean, mse, cross_entropy, got 'l2' (did you mean 'mse'?)",
        ),
        (
            {"loss": "MSE"},
            ValueError,
            "loss must be one of sum, mean, mse, cross_entropy, got 'MSE' (did you mean 'mse'?)",
        ),
        ({"loss": None}, ValueError, "loss must be one of sum, mean, mse, cross_entropy, got None"),
        (
            {"loss": "cross_entropy", "net": ff.mlp([20, 300, 1])},
            ValueError,
            "loss must be sum, mean or mse for a network with one output, got 'cross_entropy'",
        ),
    ],
)
def test_momentum_and_loss_out_of_range_are_refused_in_a_sentence(arguments, error, sentence):
    refused("max_learning_rate", error, sentence, **arguments)


def test_momentum_and_loss_in_range_are_taken():
    for momentum in (0, 0.0, -0.0, 0.5, math.nextafter(1.0, 0.0)):
        assert ff.max_learning_rate(NET, momentum).momentum == momentum
    for loss in ("sum", "mean", "mse"):
        assert ff.max_learning_rate(ff.mlp([20, 300, 1]), loss=loss) > 0
    assert ff.max_learning_rate(NET, loss="cross_entropy") > 0
    for decay in (0, 1e-100, np.float32(0.5), 1e100):
        assert ff.max_learning_rate(NET, weight_decay=decay, nesterov=np.True_).weight_decay == decay


# Gaussian integrals ---------------------------------------------------------------------------------------------------

MOMENTS = ("mean", "second_moment", "slope_mean", "slope_second_moment")
COVARIANCES = ("covariance", "slope_covariance")
UNKNOWN = f"activation must be one of {NAMES}, or a callable, got 'relo' (did you mean 'relu'?)"


def gaussian_refuses(which, error, beginning, *arguments, got=None, reference=True, **keywords):
    with pytest.raises(error, match=f"^{re.escape(beginning)}") as caught:
        getattr(ff.gaussian, which)(*arguments, **keywords)
    assert "\n" not in str(caught.value)
    assert got is None or got in str(caught.value)
    if reference:
        with pytest.raises((ValueError, TypeError)):
            getattr(ff.reference.gaussian, which)(*arguments, **keywords)


@pytest.mark.parametrize("phi", ["relu", "tanh", "step", np.tanh], ids=str)
@pytest.mark.parametrize("which", MOMENTS)
def test_moments_refuse_what_is_no_variance(which, phi):
    for q in (-1.0, -5e-324, math.nan, math.inf, [1.0, -0.5], [[1.0], [math.nan]]):
        wrong = -0.5 if q == [1.0, -0.5] else math.nan if isinstance(q, list) else q
        gaussian_refuses(which, ValueError, "q must be from 0 to 1e+100, got ", phi, q, got=str(wrong))
    gaussian_refuses(which, ValueError, "q must be from 0 to 1e+100, got ", phi, 1e101, got="1e+101", reference=False)
    for q in ("x", ["1", "x"], {}, object(), None):
        gaussian_refuses(which, TypeError, "q must be a number or an array of numbers, got ", phi, q, got=repr(q))


@pytest.mark.parametrize("which", MOMENTS)
def test_moments_refuse_what_is_no_shift_and_no_activation(which):
    for shift in (math.nan, math.inf, -math.inf, 1e101, [0.0, math.nan]):
        with pytest.raises(ValueError, match=re.escape("shift must be from -1e+100 to 1e+100, got ")):
            getattr(ff.gaussian, which)("relu", 1.0, shift=shift)
    gaussian_refuses(which, TypeError, "shift must be a number or an array of numbers, got 'x'", "relu", 1.0, shift="x")
    gaussian_refuses(which, ValueError, UNKNOWN, "relo", 1.0)
    gaussian_refuses(which, TypeError, "activation must be a name, a callable or an Activation, got 3", 3, 1.0)


@pytest.mark.parametrize("which", COVARIANCES)
def test_covariances_refuse_what_is_no_covariance_matrix(which):
    for bad in (-1.0, math.nan, math.inf, [1.0, -1.0]):
        gaussian_refuses(which, ValueError, "q1 must be from 0 to 1e+100, got ", "relu", bad, 1.0, 0.5)
        gaussian_refuses(which, ValueError, "q2 must be from 0 to 1e+100, got ", "relu", 1.0, bad, 0.5)
    for bad in (1.1, -1.1, math.nan, math.inf, [0.5, 2.0]):
        got = str(bad).strip("[]").split(", ")[-1]
        gaussian_refuses(which, ValueError, "c must be from -1 to 1, got ", "relu", 1.0, 1.0, bad, got=got[:2])
    for bad in (2.1, -1e-17, math.nan, -math.inf):
        beginning = "one_minus_c must be from 0 to 2, got "
        gaussian_refuses(which, ValueError, beginning, "relu", 1.0, 1.0, got=str(bad), one_minus_c=bad)
    gaussian_refuses(which, TypeError, "c must be a number or an array of numbers, got 'x'", "relu", 1.0, 1.0, "x")
    gaussian_refuses(which, TypeError, "q1 must be a number or an array of numbers, got 'x'", "relu", "x", 1.0, 0.5)
    gaussian_refuses(which, ValueError, UNKNOWN, "relo", 1.0, 1.0, 0.5)


@pytest.mark.parametrize("which", COVARIANCES)
def test_covariances_want_c_or_one_minus_c_and_one_of_them_alone(which):
    for c, rest in ((None, None), (0.25, 0.75)):
        sentence = f"exactly one of c and one_minus_c must be given, got c={c}, one_minus_c={rest}"
        gaussian_refuses(which, ValueError, sentence, "relu", 1.0, 1.0, c, one_minus_c=rest)
        gaussian_refuses(which, ValueError, sentence, "tanh", 1.0, 1.0, c=c, one_minus_c=rest)


@pytest.mark.parametrize("which", COVARIANCES)
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_correlation_a_rounding_error_beyond_one_counts_as_one(which, sign):
    covariance, eps = getattr(ff.gaussian, which), np.finfo(float).eps
    for phi in ("relu", "leaky_relu(0.3)", "erf", "sin", "tanh"):
        for beyond in (1, 2, 3, 4):
            assert covariance(phi, 1.5, 1.5, sign * (1 + beyond * eps)) == covariance(phi, 1.5, 1.5, sign)
        for beyond in (5, 6, 100):
            with pytest.raises(ValueError, match=r"^c must be from -1 to 1, got "):
                covariance(phi, 1.5, 1.5, sign * (1 + beyond * eps))


@pytest.mark.parametrize("which", MOMENTS)
def test_moments_of_shapes_that_do_not_broadcast_are_numpy_s_own_error(which):
    with pytest.raises(ValueError, match="broadcast"):
        getattr(ff.gaussian, which)("relu", [1.0, 2.0], shift=[1.0, 2.0, 3.0])


@pytest.mark.parametrize("which", COVARIANCES)
def test_covariances_of_shapes_that_do_not_broadcast_are_numpy_s_own_error(which):
    for module in (ff.gaussian, ff.reference.gaussian):
        for shapes in (([1.0, 2.0], [1.0, 2.0, 3.0], 0.5), ([1.0, 2.0], 1.0, [0.1, 0.2, 0.3])):
            with pytest.raises(ValueError, match="broadcast"):
                getattr(module, which)("relu", *shapes)


def test_a_bounded_activation_s_variance_beyond_1e30_is_refused_in_a_sentence():
    sentence = "the variance must be at most 1e30 for the integrals of the bounded activation softsign"
    for call in (
        lambda: ff.gaussian.mean("softsign", 1e31),
        lambda: ff.gaussian.slope_second_moment("softsign", [1.0, 1e31]),
        lambda: ff.gaussian.covariance("softsign", 1e31, 1e31, 0.5),
    ):
        with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
            call()
    net = ff.mlp([20, 300, 3], "softsign", batch_norm=False, sigma_w2=1e31)
    for name in FUNCTIONS:
        with pytest.raises(ValueError, match=f"^{re.escape(f'affine layer 1: {sentence}')}$"):
            getattr(ff, name)(net)


def test_a_refused_number_is_printed_as_a_number():
    with pytest.raises(ValueError, match=r"got -1\.0$"):
        ff.gaussian.mean("relu", -1.0)
    with pytest.raises(ValueError, match=r"got 1\.5$"):
        ff.gaussian.covariance("relu", 1.0, 1.0, 1.5)


@pytest.mark.parametrize("value", ["1.5", True, [True, False]], ids=repr)
def test_strings_and_booleans_are_no_variances(value):
    with pytest.raises(TypeError, match=r"^q must be a number"):
        ff.gaussian.mean("relu", value)


@pytest.mark.filterwarnings("ignore::numpy.exceptions.ComplexWarning")
def test_complex_arrays_are_no_variances():
    with pytest.raises(TypeError, match=r"^q must be a number"):
        ff.gaussian.mean("relu", np.array([1.0 + 1.0j]))


@pytest.mark.parametrize("which", MOMENTS)
def test_the_reference_refuses_a_shift_that_is_not_finite(which):
    with pytest.raises(ValueError, match="shift"):
        getattr(ff.reference.gaussian, which)("relu", 1.0, math.nan)


def test_the_reference_counts_as_one_what_the_core_does():
    beyond = 1 + 4 * np.finfo(float).eps
    assert ff.reference.gaussian.covariance("relu", 1.0, 1.0, beyond) == pytest.approx(0.5, rel=1e-15)


# what counts as a number ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize(
    "arguments",
    [
        {"samples": np.int64(50)},
        {"samples": np.uint8(50)},
        {"samples": np.array(50)},
        {"samples": 50.0},
        {"samples": np.float64(50.0)},
        {"overlap": np.float64(0.25), "samples": 50},
        {"overlap": np.float32(0.25), "length": np.int32(1), "samples": 50},
        {"overlap": np.array(0.25), "length": np.array(1.0), "samples": 50},
        {"overlap": np.array(0.25, dtype=np.float32), "biases": np.True_, "samples": 50},
        {"theory": np.str_("exact"), "samples": 50},
    ],
    ids=repr,
)
def test_numpy_s_scalars_and_0_d_arrays_are_numbers(name, arguments):
    plain = {"samples": 50, **({"overlap": 0.25} if "overlap" in arguments else {})}
    got, expected = (getattr(ff, name)(NET, **chosen) for chosen in (arguments, plain))
    if name == "order_parameters":
        assert np.array_equal(got.theta, expected.theta)
    else:
        assert got == expected


def test_a_momentum_may_be_numpy_s():
    expected = ff.max_learning_rate(NET, 0.5)
    for momentum in (np.float32(0.5), np.float64(0.5), np.array(0.5)):
        assert ff.max_learning_rate(NET, momentum) == expected
        assert type(ff.max_learning_rate(NET, momentum).momentum) is float


@pytest.mark.parametrize("samples", [np.float32(50), np.array(50.0)], ids=repr)
def test_whole_floats_of_numpy_are_whole_numbers(samples):
    assert ff.fisher(NET, samples=samples) == ff.fisher(NET, samples=50)


@pytest.mark.parametrize("arguments", [{"momentum": np.False_}, {"length": np.True_}, {"overlap": np.False_}], ids=repr)
def test_numpy_s_booleans_are_no_numbers(arguments):
    with pytest.raises(TypeError, match="must be"):
        ff.max_learning_rate(NET, **arguments)


def test_the_biases_of_a_count_are_a_boolean():
    with pytest.raises(TypeError, match=r"^biases must be True or False, got 5$"):
        NET.parameters(5)


# scalars and arrays ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("phi", ["relu", "tanh", np.tanh], ids=str)
@pytest.mark.parametrize("number", [1, 1.0, np.float64(1.0), np.int8(1), np.array(1.0)], ids=repr)
def test_scalars_give_scalars(phi, number):
    for which in MOMENTS:
        value = getattr(ff.gaussian, which)(phi, number, shift=np.array(0.5))
        assert type(value) is np.float64
        assert value == getattr(ff.gaussian, which)(phi, 1.0, shift=0.5)
    for which in COVARIANCES:
        value = getattr(ff.gaussian, which)(phi, number, 2, 0.5)
        assert type(value) is np.float64
        assert value == getattr(ff.gaussian, which)(phi, 1.0, 2.0, one_minus_c=0.5)


SHAPES = st.tuples(*[st.sampled_from(((), (1,), (3,), (2, 1), (2, 3), (1, 1), (0,), (2, 0)))] * 4)


@given(phi=st.sampled_from(strategies.CLOSED), shapes=SHAPES, seed=st.integers(0, 99))
def test_arrays_broadcast_as_numpy_s_do(phi, shapes, seed):
    try:
        shape = np.broadcast_shapes(*shapes)
    except ValueError:
        assume(False)
    rng = np.random.default_rng(seed)
    q1, q2, c, shift = (
        rng.uniform(low, high, size) for low, high, size in zip((0, 0, -1, -2), (3, 3, 1, 2), shapes, strict=True)
    )
    for which in MOMENTS:
        values = getattr(ff.gaussian, which)(phi, q1, shift=shift)
        assert values.shape == np.broadcast_shapes(shapes[0], shapes[3])
        each = np.vectorize(lambda q, s, which=which: getattr(ff.gaussian, which)(phi, q, shift=s), otypes=[float])
        assert np.array_equal(values, each(q1, shift) if values.size else values)
    for which in COVARIANCES:
        values = getattr(ff.gaussian, which)(phi, q1, q2, c, shift=shift)
        assert values.shape == shape
        for place in np.ndindex(shape):
            one = (np.broadcast_to(array, shape)[place] for array in (q1, q2, c))
            assert values[place] == getattr(ff.gaussian, which)(phi, *one, shift=np.broadcast_to(shift, shape)[place])


def test_a_list_or_a_transposed_or_integer_array_is_an_array():
    q = np.arange(1.0, 7.0).reshape(2, 3)
    for phi in ("relu", "tanh"):
        expected = ff.gaussian.second_moment(phi, q)
        assert np.array_equal(ff.gaussian.second_moment(phi, q.T), expected.T)
        assert np.array_equal(ff.gaussian.second_moment(phi, q.tolist()), expected)
        assert np.array_equal(ff.gaussian.second_moment(phi, q.astype(np.int16)), expected)
        assert np.array_equal(ff.gaussian.second_moment(phi, q[:, ::-2]), expected[:, ::-2])


def test_what_is_given_is_left_as_it_was():
    q, c = np.array([1.0, 2.0]), np.array([1 + 2**-52, -0.5])
    for array in (q, c):
        array.flags.writeable = False
    ff.gaussian.covariance("relu", q, q, c)
    assert np.array_equal(q, [1.0, 2.0])
    assert np.array_equal(c, [1 + 2**-52, -0.5])


HUGE = np.broadcast_to(0.5, (2, 10**12))  # a view of one number


@pytest.mark.parametrize(
    ("ask", "error", "sentence"),
    [
        (lambda: ff.Activation("tanh")([10**400]), TypeError, "x must be a number or an array of numbers, got [1000"),
        (lambda: ff.Activation("tanh")([(), 1]), TypeError, "x must be a number or an array of numbers, got [(), 1]"),
        (lambda: ff.Activation("relu").derivative(HUGE), ValueError, "x must fit into memory, got shape (2, 1000000"),
        (lambda: ff.gaussian.second_moment("tanh", 10**400), ValueError, "q must be from 0 to 1e+100, got 1000000"),
        (lambda: ff.gaussian.mean("relu", 1.0, shift=-(10**400)), ValueError, "shift must be from -1e+100 to 1e+100"),
        (lambda: ff.fisher(NET, samples=10**5000), ValueError, "samples must be a whole number from 1 to 9007199254"),
        (lambda: ff.fisher(NET, length="x" * 10**6), TypeError, "length must be finite and > 0, got 'xxxxxxxxx"),
        (lambda: ff.mlp([6, 5, 3], sigma_b2=HUGE[0]), ValueError, "sigma_b2 must be one value or 2 (one a layer), got"),
        (lambda: ff.scan(NET, {"gamma": [1.0]}, np.ones((1, 2))), ValueError, "quantities must be among lambda_max,"),
        (lambda: ff.data.gaussian(10**9, 10**9), ValueError, "samples must fit into memory, got shape (1000000000, 1"),
        (lambda: ff.verify(NET, seeds=10**9), ValueError, "seeds must be a whole number from 1 to 1000000, got 1000"),
        (lambda: ff.load(1), ValueError, "path must be a path on a file system, got 1"),
        (lambda: NET.save(None), ValueError, "path must be a path on a file system, got None"),
    ],
)
def test_huge_and_ragged_values_are_refused_in_a_short_sentence(ask, error, sentence):
    with pytest.raises(error, match=f"^{re.escape(sentence)}") as refused:
        ask()
    assert len(str(refused.value)) < 400  # names of quantities, and a value of 80 characters at most
    assert "\n" not in str(refused.value)


def test_what_an_object_shows_is_cut_and_never_fails():
    class Broken:
        def __repr__(self):
            raise RuntimeError("no")

    assert _words.shown(Broken()) == "<Broken>"
    assert _words.shown(1.5) == "1.5"
    assert _words.shown(np.arange(10**6)).startswith("array([")
    assert all(len(_words.shown(value)) <= 80 for value in ("x" * 10**6, [1.0] * 10**6, 10**300, NET, {1: NET}))


def test_a_failing_integral_names_the_activation_of_its_own_layer():
    layers = [layer for name in ("abs", "relu", "tanh") for layer in (ff.Dense(5), ff.Activation(name))]
    with pytest.raises(ValueError, match=r"^affine layer 3: .* of the bounded activation tanh$"):
        ff.fisher(ff.Network(4, [*layers, ff.Dense(1)]), length=1e40)


@pytest.mark.parametrize(
    "call",
    [
        lambda huge: ff.Activation(huge, coefficients=[1.0, 2.0]),
        lambda huge: ff.Activation(np.tanh, slope=huge),
        lambda huge: ff.Activation(np.tanh, kinks=huge),
        lambda huge: ff.mlp(huge),
        lambda huge: ff.convnet((2, 4, 4), huge, 2),
        lambda huge: ff.Network(3, huge),
        lambda huge: ff.gaussian.covariance("relu", 0.5, 1.0, 0.3, dtype=huge),
        lambda huge: ff.gaussian.second_moment(huge, [0.5, 1.0]),
        lambda huge: ff.scan(ff.mlp([3, 2]), huge),
    ],
)
def test_a_number_that_python_refuses_to_write_is_told_in_words(call):
    with pytest.raises((ValueError, TypeError), match="a whole number of about 5000 digits"):
        call(10**5000)


def test_random_points_beyond_the_memory_are_refused(monkeypatch):
    monkeypatch.setattr(ff._memory, "available_memory", lambda: 10**9)
    with pytest.raises(ValueError, match=r"count must fit into memory, got shape \(2147483647, 1\)"):
        ff.random_points(2**31 - 1, gamma=(0.1, 5.0))


def test_a_pair_of_a_million_million_numbers_is_refused_at_once():
    many = np.broadcast_to(1.0, (10**12,))
    with pytest.raises(TypeError, match=r"gamma must be a pair \(low, high\)"):
        ff.random_points(3, gamma=many)
    with pytest.raises(TypeError, match="q must be a pair"):
        ff.gaussian.tabulate("tanh", q=many)
