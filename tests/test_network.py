# SPDX-License-Identifier: BSD-3-Clause
"""Networks: shapes and counts by hand, values not objects, saved as they are, refused in one sentence."""

import copy
import math
import pickle
import re
import tomllib
from itertools import pairwise

import numpy as np
import pytest
import strategies
from hypothesis import given, settings
from hypothesis import strategies as st

import fisherfield as ff
from fisherfield.network.layer import kinds
from fisherfield.network.norms import Norm

NAMES = ", ".join(ff.activation_names())


@st.composite
def activations(draw):
    """Every name, with parameters of every digit."""
    name = draw(st.sampled_from(ff.activation_names()))
    of = {
        "slope": st.floats(-1e3, 1e3),
        "alpha": st.floats(1e-3, 1e3),
        "n": st.integers(0, 32),
        "coefficients": st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=33),
    }
    parameters = ff.Activation(strategies.GIVEN.get(name, name)).parameters
    return ff.Activation(name, **{key: draw(of[key]) for key in parameters})


@st.composite
def networks(draw):
    """Dense and convolutional networks with every named activation."""
    net = draw(st.one_of(strategies.dense_networks(), strategies.conv_networks(), strategies.networks(closed=False)))
    places = len(net.activations)
    return net.replace(activation=[draw(activations()) for _ in range(places)]) if places else net


def places_of(size, kernel, stride, padding):
    """How many windows fit, counted one by one."""
    return sum(1 for start in range(0, size + 2 * padding, stride) if start + kernel <= size + 2 * padding)


# shapes ---------------------------------------------------------------------------------------------------------------


def test_dense_layers_have_the_shapes_written_down():
    net = ff.Network(784, [ff.Dense(100), ff.BatchNorm(), ff.Activation("relu"), ff.Dense(10)])
    assert net.shapes == ((784,), (100,), (100,), (100,), (10,))
    assert net.input_shape == (784,)
    assert (net.outputs, net.depth) == (10, 2)


@pytest.mark.parametrize(
    ("layer", "after"),
    [
        (ff.Conv2d(5), (5, 9, 7)),  # kernel 3: 11 - 2, 9 - 2
        (ff.Conv2d(5, 1), (5, 11, 9)),
        (ff.Conv2d(5, (3, 2)), (5, 9, 8)),
        (ff.Conv2d(5, (2, 3)), (5, 10, 7)),
        (ff.Conv2d(5, 3, 2, 1), (5, 6, 5)),  # (11 + 2 - 3)/2 + 1, (9 + 2 - 3)/2 + 1
        (ff.Conv2d(5, 3, (2, 1), (0, 2)), (5, 5, 11)),
        (ff.Conv2d(5, (3, 5), (1, 4), (1, 0)), (5, 11, 2)),
        (ff.Conv2d(5, (11, 9)), (5, 1, 1)),
        (ff.Conv2d(5, (13, 11), 1, 1), (5, 1, 1)),
        (ff.Conv2d(5, 2, 100), (5, 1, 1)),
        (ff.AvgPool2d(2), (3, 5, 4)),  # what is left over is dropped
        (ff.AvgPool2d(3), (3, 3, 3)),
        (ff.AvgPool2d((11, 1)), (3, 1, 9)),
        (ff.AvgPool2d(2, 1), (3, 10, 8)),
        (ff.AvgPool2d((2, 3), (1, 3)), (3, 10, 3)),
        (ff.GlobalAvgPool2d(), (3, 1, 1)),
        (ff.Flatten(), (297,)),
    ],
    ids=str,
)
def test_one_layer_on_an_image_has_the_shape_counted_by_hand(layer, after):
    end = [ff.Dense(2)] if len(after) == 1 else [ff.Flatten(), ff.Dense(2)]
    net = ff.Network((3, 11, 9), [layer, *end])
    assert net.shapes[0] == (3, 11, 9)
    assert net.shapes[1] == after
    assert net.shapes[-1] == (2,)


@given(
    size=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    stride=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    padding=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    pool=st.booleans(),
    data=st.data(),
)
def test_windows_are_as_many_as_can_be_counted(size, stride, padding, pool, data):
    padding = (0, 0) if pool else padding
    kernel = tuple(data.draw(st.integers(1, side + 2 * pad)) for side, pad in zip(size, padding, strict=True))
    layer = ff.AvgPool2d(kernel, stride) if pool else ff.Conv2d(4, kernel, stride, padding)
    net = ff.Network((4, *size), [layer, ff.GlobalAvgPool2d(), ff.Flatten(), ff.Dense(1)])
    assert net.shapes[1] == (4, *map(places_of, size, kernel, stride, padding))


@given(networks())
def test_shapes_are_one_for_the_input_and_one_for_each_layer(net):
    assert len(net.shapes) == len(net.layers) + 1
    assert net.shapes[0] == net.input_shape
    assert net.outputs == net.shapes[-1][0]
    assert math.prod(net.shapes[-1]) == net.outputs
    for before, layer, after in zip(net.shapes, net.layers, net.shapes[1:], strict=False):
        if isinstance(layer, (ff.BatchNorm, ff.Activation)):
            assert after == before
        elif isinstance(layer, ff.Flatten):
            assert after == (math.prod(before),)
        elif isinstance(layer, ff.GlobalAvgPool2d):
            assert after == (before[0], 1, 1)


def test_a_network_may_end_with_one_position_of_an_image():
    head = [ff.Conv2d(5), ff.Activation("relu"), ff.Conv2d(10, 1)]
    assert ff.Network((1, 3, 3), head).shapes[-1] == (10, 1, 1)
    assert ff.Network((1, 3, 3), [*head, ff.Flatten()]).shapes[-1] == (10,)
    assert ff.Network((1, 6, 6), [*head, ff.GlobalAvgPool2d()]).shapes[-1] == (10, 1, 1)
    assert ff.Network((1, 6, 6), [*head, ff.AvgPool2d(4)]).outputs == 10
    assert ff.Network((1, 6, 6), [*head, ff.BatchNorm(), ff.GlobalAvgPool2d()]).outputs == 10


@pytest.mark.parametrize("pool", [ff.GlobalAvgPool2d(), ff.AvgPool2d(4)], ids=str)
def test_flatten_may_follow_a_pooling_to_one_position(pool):
    assert ff.Network((1, 6, 6), [ff.Conv2d(10), pool, ff.Flatten()]).shapes[-1] == (10,)


def test_a_single_affine_layer_is_a_network():
    assert ff.Network(3, [ff.Dense(1)]).parameters() == 4
    assert ff.Network(3, [ff.Dense(2), ff.BatchNorm()]).batch_norms == (ff.BatchNorm(),)


# counts ---------------------------------------------------------------------------------------------------------------


def test_parameters_of_the_paper_s_network_are_counted_by_hand():
    net = ff.mlp([784, 1000, 1000, 1000, 10])
    weights = 784_000 + 1_000_000 + 1_000_000 + 10_000
    assert net.parameters(biases=False) == weights
    assert net.parameters() == weights + 3010
    trained = net.replace(trained=True)
    assert trained.parameters() == weights + 3010 + 2 * 3000
    assert trained.parameters(biases=False) == weights + 2 * 3000
    assert net.replace(trained=[True, False, False]).parameters() == weights + 3010 + 2000


def test_parameters_of_a_convolutional_network_are_counted_by_hand():
    net = ff.convnet((1, 28, 28), channels=[30, 60, 90], outputs=10)  # 28 -> 14 -> 7 -> 4
    weights = 30 * 1 * 9 + 60 * 30 * 9 + 90 * 60 * 9 + 10 * 90 * 16
    assert net.parameters(False) == weights
    assert net.parameters() == weights + 30 + 60 + 90 + 10
    assert net.replace(trained=True).parameters() == weights + 190 + 2 * 180  # one pair a channel, not a position
    rectangular = ff.Network((2, 5, 5), [ff.Conv2d(7, (3, 2)), ff.GlobalAvgPool2d(), ff.Flatten(), ff.Dense(3)])
    assert rectangular.parameters() == 7 * 2 * 6 + 7 + 3 * 7 + 3


@given(networks())
def test_parameters_are_the_sizes_of_the_arrays_pytorch_would_hold(net):
    weights, biases, norms = [], [], []
    for step in net.steps:
        layer, before, after = step.layer, step.before, step.after
        if isinstance(layer, ff.Dense):
            weights.append((layer.units, before[0]))
        elif isinstance(layer, ff.Conv2d):
            kernel = layer.kernel if isinstance(layer.kernel, tuple) else (layer.kernel, layer.kernel)
            weights.append((layer.channels, before[0] // layer.groups, *kernel))
        elif isinstance(layer, ff.Conv1d):
            weights.append((layer.channels, before[0] // layer.groups, layer.kernel))
        if isinstance(layer, (ff.Dense, ff.Conv2d, ff.Conv1d)) and layer.bias:
            biases.append(after[:1])
        if isinstance(layer, (ff.BatchNorm, ff.GroupNorm)) and layer.trained:
            norms += [after[:1]] * 2
        elif isinstance(layer, Norm) and layer.trained:
            norms += [after] * len(layer.values)  # one each for every unit
    assert net.parameters() == sum(map(math.prod, weights + biases + norms))
    assert net.parameters(False) == sum(map(math.prod, weights + norms))


def test_counts_beyond_32_bits_are_exact():
    width = 2**31 - 1
    assert ff.mlp([width, width, 1]).parameters() == width * width + width + width + 1


# mlp and convnet ------------------------------------------------------------------------------------------------------


def test_mlp_builds_what_it_says():
    assert ff.mlp([5, 4, 3, 2]).layers == (
        ff.Dense(4, 2.0, 0.5),
        ff.BatchNorm(1.0, 0.0, 0.0, False),
        ff.Activation("relu"),
        ff.Dense(3, 2.0, 0.5),
        ff.BatchNorm(1.0, 0.0, 0.0, False),
        ff.Activation("relu"),
        ff.Dense(2, 2.0, 0.5),
    )
    assert ff.mlp([5, 4, 2], "tanh", False, sigma_w2=1.5, sigma_b2=0.0).layers == (
        ff.Dense(4, 1.5, 0.0),
        ff.Activation("tanh"),
        ff.Dense(2, 1.5, 0.0),
    )
    assert ff.mlp([5, 2]).layers == (ff.Dense(2),)


def test_mlp_takes_one_value_a_layer():
    net = ff.mlp(
        (5, 4, 3, 2),
        activation=["tanh", ff.Activation("elu", alpha=0.5)],
        gamma=(0.5, -2.0),
        beta=[0.0, 1.0],
        eps=np.array([0.1, 0.0]),
        trained=[True, False],
        sigma_w2=[1.0, 2.0, 3.0],
        sigma_b2=iter([0.0, 0.1, 0.2]),
    )
    assert net.input_shape == (5,)
    assert net.layers == (
        ff.Dense(4, 1.0, 0.0),
        ff.BatchNorm(0.5, 0.0, 0.1, True),
        ff.Activation("tanh"),
        ff.Dense(3, 2.0, 0.1),
        ff.BatchNorm(-2.0, 1.0, 0.0, False),
        ff.Activation("elu(0.5)"),
        ff.Dense(2, 3.0, 0.2),
    )


def residual(*branch, skip=(), scale=1.0):
    return ff.Residual([*branch], [*skip], scale)


def test_a_residual_mlp_builds_what_it_says():
    phi, norm = ff.Activation("tanh"), ff.LayerNorm
    assert ff.mlp([5, 4, 4, 3, 2], "tanh", norm="layer", residual=[0.5, 2.0], gamma=[1.0, 2.0, 3.0]).layers == (
        ff.Dense(4),
        residual(norm(1.0), phi, ff.Dense(4), scale=0.5),
        residual(norm(2.0), phi, ff.Dense(3), skip=[ff.Dense(3)], scale=2.0),
        norm(3.0),
        phi,
        ff.Dense(2),
    )
    assert ff.mlp([5, 4, 4, 2], norm=None, residual=True, sigma_w2=[1.0, 2.0, 3.0]).layers == (
        ff.Dense(4, 1.0),
        residual(ff.Activation("relu"), ff.Dense(4, 2.0)),
        ff.Activation("relu"),
        ff.Dense(2, 3.0),
    )
    for widths in ([5, 2], [5, 4, 2]):  # nothing to skip
        for skips in (True, 0.5, []):
            assert ff.mlp(widths, residual=skips) == ff.mlp(widths)
    assert ff.mlp([5, 4, 4, 2], residual=False) == ff.mlp([5, 4, 4, 2], residual=np.False_) == ff.mlp([5, 4, 4, 2])


@pytest.mark.parametrize(
    "build", [lambda **by: ff.mlp([6, 4, 4, 2], **by), lambda **by: ff.convnet((1, 8, 8), [4], 2, **by)]
)
def test_builders_take_the_words_of_norms(build):
    assert build(norm="batch") == build()
    assert build(norm=None) == build(batch_norm=False) == build(norm=None, batch_norm=False)
    assert build(norm="layer", batch_norm=False) == build(norm="layer", batch_norm=True)
    words = {cls.word: cls for cls in kinds().values() if getattr(cls, "word", "")}
    assert {"batch", "layer"} <= set(words)
    for word, cls in words.items():
        assert {type(step.layer) for step in build(norm=word, gamma=2.0).steps if hasattr(step.layer, "gamma")} == {cls}


@pytest.mark.parametrize(
    ("arguments", "error", "sentence"),
    [
        ({"norm": "x"}, ValueError, "norm must be one of .*batch, .*layer.*, or None, got 'x'"),
        ({"norm": 1}, ValueError, "norm must be one of .*, or None, got 1"),
        ({"batch_norm": 2, "norm": "layer"}, TypeError, "batch_norm must be True or False, got 2"),
        ({"residual": None}, TypeError, "residual must be True, False, or the branches' scale, .*, got None"),
        ({"residual": "a"}, TypeError, "residual must be True, False, or the branches' scale, .*, got 'a'"),
        ({"residual": [0.5, 0.5]}, ValueError, r"residual must be one value or 1 \(one a layer\), got 2 values"),
        ({"residual": math.inf}, ValueError, "residual must be finite, got inf"),
    ],
)
def test_mlp_refuses_in_a_sentence(arguments, error, sentence):
    with pytest.raises(error, match=f"^{sentence}$"):
        ff.mlp([5, 4, 4, 2], **arguments)


def test_convnet_builds_what_it_says():
    net = ff.convnet(
        (3, 8, 9), [4, 5], 2, kernel=(3, 2), stride=1, padding=0, activation=["abs", "sin"], gamma=[2.0, 3.0],
        trained=True, eps=1e-5, sigma_w2=[1.0, 2.0, 3.0], sigma_b2=[0.1, 0.2, 0.3],
    )  # fmt: skip
    assert net.layers == (
        ff.Conv2d(4, (3, 2), 1, 0, 1.0, 0.1),
        ff.BatchNorm(2.0, 0.0, 1e-5, True),
        ff.Activation("abs"),
        ff.Conv2d(5, (3, 2), 1, 0, 2.0, 0.2),
        ff.BatchNorm(3.0, 0.0, 1e-5, True),
        ff.Activation("sin"),
        ff.Flatten(),
        ff.Dense(2, 3.0, 0.3),
    )
    assert net.shapes[-3:] == ((5, 4, 7), (140,), (2,))
    vanilla = ff.convnet((1, 4, 4), [3], 2, batch_norm=False)
    assert vanilla.layers == (ff.Conv2d(3, 3, 2, 1), ff.Activation("relu"), ff.Flatten(), ff.Dense(2))


@given(
    widths=st.lists(st.integers(1, 2000), min_size=2, max_size=8),
    batch_norm=st.booleans(),
    activation=activations(),
    gamma=st.floats(0.01, 100),
    sigma_w2=st.floats(0.01, 100),
)
def test_an_mlp_has_the_widths_and_the_parameters_it_was_given(widths, batch_norm, activation, gamma, sigma_w2):
    net = ff.mlp(widths, activation, batch_norm, gamma=gamma, sigma_w2=sigma_w2)
    assert net.input_shape == (widths[0],)
    assert net.affine_layers == tuple(ff.Dense(width, sigma_w2, 0.5) for width in widths[1:])
    assert net.batch_norms == (ff.BatchNorm(gamma),) * (batch_norm * (len(widths) - 2))
    assert [layer for layer in net.layers if isinstance(layer, ff.Activation)] == [activation] * (len(widths) - 2)
    assert net.parameters() == sum((a + 1) * b for a, b in pairwise(widths))


def test_widths_and_channels_may_be_iterators():
    assert ff.mlp(iter([5, 4, 3])) == ff.mlp([5, 4, 3])
    assert ff.convnet((1, 8, 8), iter([3, 4]), 2) == ff.convnet((1, 8, 8), [3, 4], 2)


# values ---------------------------------------------------------------------------------------------------------------


@given(networks(), networks())
def test_networks_are_values(net, other):
    again = ff.Network(net.input_shape, list(net.layers))
    assert again == net
    assert hash(again) == hash(net)
    assert len({again, net}) == 1
    assert (net == other) == (net.input_shape == other.input_shape and net.layers == other.layers)
    assert net != net.layers


@given(networks())
@settings(max_examples=50)
def test_pickles_and_copies_are_equal_and_compute_the_same(net):
    copies = [copy.copy(net), copy.deepcopy(net)]
    copies += [pickle.loads(pickle.dumps(net, protocol)) for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1)]
    for twin in copies:
        assert twin == net
        assert hash(twin) == hash(net)
        assert twin.shapes == net.shapes
        assert twin.parameters() == net.parameters()
        assert repr(twin) == repr(net)


@pytest.mark.parametrize("round_trip", [copy.copy, copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))])
def test_a_copy_gives_the_same_numbers(round_trip):
    net = ff.convnet((2, 5, 6), [20, 30], 3, kernel=(3, 2), activation=["relu", np.tanh], gamma=[0.7, 2.0])
    twin = round_trip(net)
    assert twin == net
    assert ff.fisher(twin, samples=50).lambda_max == ff.fisher(net, samples=50).lambda_max


def test_every_layer_is_a_frozen_value():
    layers = [
        ff.Dense(3), ff.Conv2d(3), ff.BatchNorm(), ff.Activation("relu"), ff.Flatten(), ff.AvgPool2d(2),
        ff.GlobalAvgPool2d(),
    ]  # fmt: skip
    for layer in layers:
        for twin in (copy.copy(layer), copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
            assert twin == layer
            assert hash(twin) == hash(layer)
        with pytest.raises(AttributeError):
            layer.units = 4
    assert len(set(layers)) == len(layers)
    net = ff.mlp([3, 4, 5])
    with pytest.raises(AttributeError):
        net.layers = ()
    with pytest.raises(AttributeError):
        del net.layers


def test_equal_spellings_are_equal_layers():
    assert ff.Conv2d(3, (3, 3), [2, 2], (1, 1)) == ff.Conv2d(3, 3, 2, 1)
    assert ff.AvgPool2d(2) == ff.AvgPool2d((2, 2), 2)
    assert ff.Dense(3.0, 2) == ff.Dense(np.int64(3), np.float32(2.0))
    assert ff.BatchNorm(trained=np.True_) == ff.BatchNorm(trained=True)
    assert ff.Network(3, [ff.Dense(1)]) == ff.Network((3,), (ff.Dense(1),)) == ff.Network([3.0], [ff.Dense(1)])
    assert ff.Network(np.array([1, 2, 2]), [ff.Flatten(), ff.Dense(1)]).input_shape == (1, 2, 2)
    assert ff.Conv2d(3, (3, 2)) != ff.Conv2d(3, (2, 3))


def test_a_callable_is_the_same_network_only_as_the_same_object():
    assert ff.mlp([3, 4, 5], np.tanh) == ff.mlp([3, 4, 5], np.tanh)
    assert ff.mlp([3, 4, 5], np.tanh) != ff.mlp([3, 4, 5], "tanh")
    assert ff.mlp([3, 4, 5], lambda x: x) != ff.mlp([3, 4, 5], lambda x: x)


# repr -----------------------------------------------------------------------------------------------------------------


def test_repr_shows_every_layer_beside_its_shape():
    lines = repr(ff.convnet((1, 28, 28), channels=[30], outputs=10, activation="leaky_relu(0.1)")).splitlines()
    assert lines[0] == "Network((1, 28, 28), ["
    assert lines[-1] == "])"
    columns = [(layer.strip(), shape.strip()) for layer, shape in (line.split("#") for line in lines[1:-1])]
    assert columns == [
        ("Conv2d(channels=30, kernel=3, stride=2, padding=1, sigma_w2=2.0, sigma_b2=0.5),", "30 x 14 x 14"),
        ("BatchNorm(gamma=1.0, beta=0.0, eps=0.0, trained=False),", "30 x 14 x 14"),
        ("Activation('leaky_relu', slope=0.1),", "30 x 14 x 14"),
        ("Flatten(),", "5880"),
        ("Dense(units=10, sigma_w2=2.0, sigma_b2=0.5),", "10"),
    ]


def test_repr_shows_what_a_layer_holds_one_a_line():
    inner = residual(ff.LayerNorm(2.0), ff.Activation("tanh"), ff.Dense(6), scale=0.5)
    net = ff.Network(
        5, [ff.Dense(6), residual(inner, ff.Activation("relu"), ff.Dense(3), skip=[ff.Dense(3)]), ff.Dense(2)]
    )
    lines = [tuple(part.rstrip() for part in line.split("#")) for line in repr(net).splitlines()]
    assert lines == [
        ("Network(5, [",),
        ("    Dense(units=6, sigma_w2=2.0, sigma_b2=0.5),", " 6"),
        ("    Residual(scale=1.0, branch=[",),
        ("        Residual(scale=0.5, branch=[",),
        ("            LayerNorm(gamma=2.0, beta=0.0, eps=0.0, trained=False),", " 6"),
        ("            Activation('tanh'),", " 6"),
        ("            Dense(units=6, sigma_w2=2.0, sigma_b2=0.5),", " 6"),
        ("        ]),", " 6"),
        ("        Activation('relu'),", " 6"),
        ("        Dense(units=3, sigma_w2=2.0, sigma_b2=0.5),", " 3"),
        ("    ], skip=[",),
        ("        Dense(units=3, sigma_w2=2.0, sigma_b2=0.5),", " 3"),
        ("    ]),", " 3"),
        ("    Dense(units=2, sigma_w2=2.0, sigma_b2=0.5),", " 2"),
        ("])",),
    ]
    assert eval(repr(net), {name: getattr(ff, name) for name in kinds()} | {"Network": ff.Network}) == net


@given(networks())
def test_repr_is_python_that_builds_the_network_again(net):
    assert eval(repr(net), {name: getattr(ff, name) for name in kinds()} | {"Network": ff.Network}) == net


# replace --------------------------------------------------------------------------------------------------------------


@given(networks(), st.floats(0.01, 100), st.booleans(), activations())
def test_replace_changes_every_layer_that_has_it_and_no_other(net, value, trained, activation):
    assert net.replace() == net
    for name in ("sigma_w2", "sigma_b2", "activation", "gamma", "beta", "eps", "trained"):
        if not any(step.layer.has(name) for step in net.steps):
            continue
        new = {"activation": activation, "trained": trained}.get(name, value)
        changed = net.replace(**{name: new})
        assert changed.input_shape == net.input_shape
        for before, after in zip(net.steps, changed.steps, strict=True):
            before, after = before.layer, after.layer
            if isinstance(before, ff.Residual):
                continue
            if not before.has(name):
                assert after == before
            elif name == "activation":
                assert after == activation
            else:
                assert vars(after) == vars(before) | {name: new}


@given(networks())
def test_replace_batch_norm_false_takes_out_batch_norm_alone(net):
    vanilla = net.replace(batch_norm=False)
    kept = [step.layer for step in net.steps if not isinstance(step.layer, (ff.BatchNorm, ff.Residual))]
    assert [step.layer for step in vanilla.steps if not isinstance(step.layer, ff.Residual)] == kept
    assert vanilla.batch_norms == ()
    assert vanilla.replace(batch_norm=False) == vanilla


def test_replace_takes_one_value_a_layer():
    net = ff.mlp([5, 4, 3, 2])
    changed = net.replace(
        gamma=[2, 3], activation=["tanh", "abs"], sigma_w2=np.array([1.0, 1.5, 3.0]), trained=(True, False)
    )
    assert changed == ff.mlp(
        [5, 4, 3, 2], gamma=[2, 3], activation=["tanh", "abs"], sigma_w2=[1.0, 1.5, 3.0], trained=[True, False]
    )
    assert net == ff.mlp([5, 4, 3, 2])  # unchanged itself
    assert net.replace(batch_norm=False, sigma_w2=1.0) == ff.mlp([5, 4, 3, 2], batch_norm=False, sigma_w2=1.0)


REPLACED = dict.fromkeys(name for cls in kinds().values() for name in cls.replaceable())


def test_replace_takes_what_kinds_say_that_it_takes():
    assert {"activation", "gamma", "beta", "eps", "trained", "sigma_w2", "sigma_b2", "scale"} <= set(REPLACED)
    net = ff.mlp([5, 4, 4, 2], norm="layer", residual=True)
    assert net.replace(scale=0.5, gamma=[2.0, 3.0]) == ff.mlp(
        [5, 4, 4, 2], norm="layer", residual=0.5, gamma=[2.0, 3.0]
    )


@pytest.mark.parametrize(
    ("changes", "error", "sentence"),
    [
        (
            {"width": 3},
            TypeError,
            f"replace takes {', '.join(REPLACED)}, batch_norm, got 'width'",
        ),
        (
            {"batch_norm": True},
            ValueError,
            "batch_norm can only be taken out (False) here, got True; to put it in, use mlp or convnet",
        ),
        ({"batch_norm": None}, TypeError, "batch_norm must be True or False, got None"),
        ({"gamma": [1.0, 2.0, 3.0]}, ValueError, "gamma must be one value or 2 (one a layer), got 3 values"),
        ({"sigma_w2": [1.0, 2.0]}, ValueError, "sigma_w2 must be one value or 3 (one a layer), got 2 values"),
        ({"sigma_w2": -1.0}, ValueError, "sigma_w2 must be finite and >= 0, got -1.0"),
        ({"sigma_b2": math.inf}, ValueError, "sigma_b2 must be finite and >= 0, got inf"),
        ({"gamma": math.nan}, ValueError, "gamma must be finite, got nan"),
        ({"gamma": "1"}, TypeError, "gamma must be finite, got '1'"),
        ({"beta": 1e101}, ValueError, "beta must be finite and at most 1e+100 in size, got 1e+101"),
        ({"eps": -1e-5}, ValueError, "eps must be finite and >= 0, got -1e-05"),
        ({"trained": 1}, TypeError, "trained must be True or False, got 1"),
        ({"activation": 3}, TypeError, "activation must be a name, a callable or an Activation, got 3"),
    ],
)
def test_replace_refuses_in_a_sentence(changes, error, sentence):
    with pytest.raises(error, match=f"^{re.escape(sentence)}$"):
        ff.mlp([5, 4, 3, 2]).replace(**changes)


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("gamma", "BatchNorm, GroupNorm, LayerNorm or RMSNorm"),
        ("gamma_scale", "BatchNorm, GroupNorm, LayerNorm or RMSNorm"),
        ("eps", "BatchNorm, GroupNorm, LayerNorm or RMSNorm"),
        ("trained", "BatchNorm, GroupNorm, LayerNorm or RMSNorm"),
        ("beta", "BatchNorm, GroupNorm or LayerNorm"),
        ("scale", "Residual"),
        ("rate", "Dropout"),
        ("activation", "Activation"),
    ],
)
def test_replace_refuses_what_no_layer_has_and_names_every_kind_that_has_it(name, kinds):
    with pytest.raises(ValueError, match=f"^{name} cannot be replaced: the network has no {kinds}$"):
        ff.mlp([3, 5]).replace(**{name: 1.0})


# refusals -------------------------------------------------------------------------------------------------------------

D, C, B, R, F = ff.Dense(4), ff.Conv2d(4), ff.BatchNorm(), ff.Activation("relu"), ff.Flatten()
NORM = "BatchNorm must not stand directly behind another normalisation, or where units are 0; it stands after"
PHI = (
    "an activation must stand behind a Dense or a convolution, for data are described by second moments alone; it "
    "stands after"
)
ONE = "end with Flatten() and Dense, or with GlobalAvgPool2d()"


@pytest.mark.parametrize(
    ("shape", "layers", "sentence"),
    [
        (3, [D, B, B, D], f"layers[2]: {NORM} BatchNorm"),
        (3, [R, D], f"layers[0]: {PHI} the input"),
        (3, [B, R, D], f"layers[1]: {PHI} BatchNorm"),
        ((1, 5, 5), [F, R, D], f"layers[1]: {PHI} Flatten"),
        ((1, 5, 5), [ff.AvgPool2d(2), R, F, D], f"layers[1]: {PHI} AvgPool2d"),
        (3, [D, R], "layers[1]: the output must be linear, got relu after the last Dense or Conv2d"),
        (
            3,
            [D, B, ff.Activation("elu(0.5)")],
            "layers[2]: the output must be linear, got elu(0.5) after the last Dense or Conv2d",
        ),
        ((1, 5, 5), [D], "layers[0]: Dense needs a flat input, got shape (1, 5, 5); put Flatten() before it"),
        ((1, 5, 5), [C, R, D], "layers[2]: Dense needs a flat input, got shape (4, 3, 3); put Flatten() before it"),
        (3, [C], "layers[0]: Conv2d needs an image (channels, height, width), got shape (3,)"),
        (3, [F, D], "layers[0]: Flatten needs an image (channels, height, width), got shape (3,)"),
        ((1, 5, 5), [F, F, D], "layers[1]: Flatten needs an image (channels, height, width), got shape (25,)"),
        (3, [D, ff.AvgPool2d(1)], "layers[1]: AvgPool2d needs an image (channels, height, width), got shape (4,)"),
        (
            3,
            [ff.GlobalAvgPool2d(), D],
            "layers[0]: GlobalAvgPool2d needs an image (channels, height, width), got shape (3,)",
        ),
        ((1, 5, 5), [C, R, F, C], "layers[3]: Conv2d needs an image (channels, height, width), got shape (36,)"),
        ((1, 5, 6), [ff.Conv2d(2, 6)], "layers[0]: kernel must be at most the padded size 5, got 6"),
        ((1, 5, 6), [ff.Conv2d(2, (1, 9), 1, 1)], "layers[0]: kernel must be at most the padded size 8, got (1, 9)"),
        ((1, 5, 6), [ff.AvgPool2d((5, 7)), F, D], "layers[0]: kernel must be at most the image's size 6, got 7"),
        ((1, 5, 5), [C], f"layers must end with one position, got an output of shape (4, 3, 3); {ONE}"),
        (
            (1, 5, 5),
            [C, ff.AvgPool2d(2, 1)],
            f"layers must end with one position, got an output of shape (4, 2, 2); {ONE}",
        ),
        (
            (1, 5, 5),
            [C, F],
            "layers must end with one position: Flatten after the last Conv2d makes every position an output",
        ),
        (
            (1, 2**31 - 1, 5),
            [ff.Conv2d(2, 3, padding=(2**15, 0)), F, ff.Dense(1)],
            f"layers[0]: the output must have at most {2**31 - 1} positions along a side, got {2**31 + 2**16 - 3}",
        ),
        (
            (1, 5, 5),
            [C, ff.AvgPool2d(2), ff.Conv2d(2, 1), ff.AvgPool2d((1, 1)), F, ff.Dense(3), F],
            "layers[6]: Flatten needs an image (channels, height, width), got shape (3,)",
        ),
        (3, [], "layers must hold at least one Dense or Conv2d, got []"),
        (3, [B, R], f"layers must hold at least one Dense or Conv2d, got [{B!r}, {R!r}]"),
        ((1, 5, 5), [F], "layers must hold at least one Dense or Conv2d, got [Flatten()]"),
        (0, [D], "input_shape must be a whole number >= 1, got 0"),
        ((1, 0, 5), [C], "input_shape must be a whole number >= 1, got 0"),
        ((3, 4), [D], "input_shape must be (units,) or (channels, height, width), got (3, 4)"),
        ((), [D], "input_shape must be (units,) or (channels, height, width), got ()"),
        ((1, 2, 3, 4), [D], "input_shape must be (units,) or (channels, height, width), got (1, 2, 3, 4)"),
    ],
)
def test_an_order_that_cannot_be_is_refused_in_a_sentence(shape, layers, sentence):
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        ff.Network(shape, layers)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (
            lambda: ff.Network(3, [D, "relu", D]),
            "layers[1] must be a layer of fisherfield (Dense, Conv2d, ...), got 'relu'",
        ),
        (
            lambda: ff.Network(3, [D, np.tanh, D]),
            f"layers[1] must be a layer of fisherfield (Dense, Conv2d, ...), got {np.tanh!r}",
        ),
        (lambda: ff.Network(3, [D, None]), "layers[1] must be a layer of fisherfield (Dense, Conv2d, ...), got None"),
        (lambda: ff.Network(3, D), f"layers must be a sequence of layers, got {D!r}"),
        (lambda: ff.Network(3, "Dense"), "layers must be a sequence of layers, got 'Dense'"),
        (lambda: ff.Network("3", [D]), "input_shape must be a whole number >= 1, got '3'"),
        (lambda: ff.Network(3.5, [D]), "input_shape must be a whole number >= 1, got 3.5"),
        (lambda: ff.Network(True, [D]), "input_shape must be a whole number >= 1, got True"),
        (lambda: ff.Network(None, [D]), "input_shape must be a whole number >= 1, got None"),
        (lambda: ff.Dense("3"), "units must be a whole number >= 1, got '3'"),
        (lambda: ff.Dense(3.5), "units must be a whole number >= 1, got 3.5"),
        (lambda: ff.Dense(math.inf), "units must be a whole number >= 1, got inf"),
        (lambda: ff.Dense(True), "units must be a whole number >= 1, got True"),
        (lambda: ff.Dense(3, None), "sigma_w2 must be finite and >= 0, got None"),
        (lambda: ff.Dense(3, "2"), "sigma_w2 must be finite and >= 0, got '2'"),
        (lambda: ff.Dense(3, True), "sigma_w2 must be finite and >= 0, got True"),
        (lambda: ff.Dense(3, [2.0]), "sigma_w2 must be finite and >= 0, got [2.0]"),
        (lambda: ff.Dense(3, 2j), "sigma_w2 must be finite and >= 0, got 2j"),
        (lambda: ff.Conv2d(3, "3"), "kernel must be a whole number >= 1, got '3'"),
        (lambda: ff.Conv2d(3, (3, 1.5)), "kernel must be a whole number >= 1, got 1.5"),
        (lambda: ff.Conv2d(3, 3, None), "stride must be a whole number >= 1, got None"),
        (lambda: ff.BatchNorm(trained=1), "trained must be True or False, got 1"),
        (lambda: ff.BatchNorm(trained="yes"), "trained must be True or False, got 'yes'"),
        (lambda: ff.BatchNorm(None), "gamma must be finite, got None"),
        (lambda: ff.BatchNorm(1.0, "0"), "beta must be finite and at most 1e+100 in size, got '0'"),
        (lambda: ff.mlp([3, 4.5, 2]), "widths must be a whole number >= 1, got 4.5"),
        (lambda: ff.mlp([3, 4, 2], 3), "activation must be a name, a callable or an Activation, got 3"),
        (lambda: ff.mlp([3, 4, 2], batch_norm=1), "batch_norm must be True or False, got 1"),
        (lambda: ff.convnet((1, 4, 4), [2], "10"), "outputs must be a whole number >= 1, got '10'"),
        (lambda: ff.convnet((1, 4, 4), ["2"], 10), "channels must be a whole number >= 1, got '2'"),
    ],
)
def test_a_wrong_type_is_refused_in_a_sentence(make, sentence):
    with pytest.raises(TypeError, match=f"^{re.escape(sentence)}$"):
        make()


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: ff.Dense(0), "units must be a whole number >= 1, got 0"),
        (lambda: ff.Dense(-3), "units must be a whole number >= 1, got -3"),
        (lambda: ff.Dense(3, -1.0), "sigma_w2 must be finite and >= 0, got -1.0"),
        (lambda: ff.Dense(3, 10**5000), "sigma_w2 must be finite and >= 0, got a whole number of about 5000 digits"),
        (lambda: ff.Dense(3, math.nan), "sigma_w2 must be finite and >= 0, got nan"),
        (lambda: ff.Dense(3, 1.0, -math.inf), "sigma_b2 must be finite and >= 0, got -inf"),
        (lambda: ff.Dense(3, 1e101), "sigma_w2 must be 0 or between 1e-100 and 1e+100 in size, got 1e+101"),
        (lambda: ff.Dense(3, 1e-101), "sigma_w2 must be 0 or between 1e-100 and 1e+100 in size, got 1e-101"),
        (lambda: ff.Conv2d(0), "channels must be a whole number >= 1, got 0"),
        (lambda: ff.Conv2d(3, 0), "kernel must be a whole number >= 1, got 0"),
        (lambda: ff.Conv2d(3, 3, 0), "stride must be a whole number >= 1, got 0"),
        (lambda: ff.Conv2d(3, 3, 1, -1), "padding must be a whole number >= 0, got -1"),
        (lambda: ff.Conv2d(3, 3, 1, (0, -2)), "padding must be a whole number >= 0, got -2"),
        (lambda: ff.Conv2d(3, (1, 2, 3)), "kernel must be one whole number or two (height, width), got (1, 2, 3)"),
        (lambda: ff.Conv2d(3, 3, [2]), "stride must be one whole number or two (height, width), got [2]"),
        (lambda: ff.AvgPool2d(0), "kernel must be a whole number >= 1, got 0"),
        (lambda: ff.AvgPool2d(2, (1, 0)), "stride must be a whole number >= 1, got 0"),
        (lambda: ff.BatchNorm(math.inf), "gamma must be finite, got inf"),
        (lambda: ff.BatchNorm(-1e-101), "gamma must be 0 or between 1e-100 and 1e+100 in size, got -1e-101"),
        (lambda: ff.BatchNorm(beta=math.nan), "beta must be finite and at most 1e+100 in size, got nan"),
        (lambda: ff.BatchNorm(eps=-1e-5), "eps must be finite and >= 0, got -1e-05"),
        (lambda: ff.mlp([3]), "widths must hold at least the inputs and the outputs, got [3]"),
        (lambda: ff.mlp(3), "widths must hold at least the inputs and the outputs, got 3"),
        (lambda: ff.mlp("34"), "widths must hold at least the inputs and the outputs, got '34'"),
        (lambda: ff.mlp([3, 0, 2]), "widths must be a whole number >= 1, got 0"),
        (lambda: ff.mlp([3, 4, 2], gamma=[1, 2]), "gamma must be one value or 1 (one a layer), got 2 values"),
        (lambda: ff.mlp([3, 4, 2], ["relu"] * 2), "activation must be one value or 1 (one a layer), got 2 values"),
        (lambda: ff.mlp([3, 4, 2], sigma_b2=[1]), "sigma_b2 must be one value or 2 (one a layer), got 1 values"),
        (
            lambda: ff.mlp([3, 4, 2], "rleu"),
            f"activation must be one of {NAMES}, or a callable, got 'rleu' (did you mean 'relu'?)",
        ),
        (lambda: ff.convnet((1, 4, 4), [], 10), "channels must hold at least one number, got []"),
        (lambda: ff.convnet((1, 4, 4), 3, 10), "channels must hold at least one number, got 3"),
        (lambda: ff.convnet((1, 4, 4), [3], 0), "outputs must be a whole number >= 1, got 0"),
        (
            lambda: ff.convnet((1, 4, 4), [3, 3], 2, sigma_w2=[1.0, 2.0]),
            "sigma_w2 must be one value or 3 (one a layer), got 2 values",
        ),
        (
            lambda: ff.convnet(784, [3], 2),
            "layers[0]: Conv2d needs an image (channels, height, width), got shape (784,)",
        ),
    ],
)
def test_a_value_out_of_range_is_refused_in_a_sentence(make, sentence):
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        make()


def test_a_number_too_large_is_told_the_largest():
    with pytest.raises(
        ValueError, match=re.escape("units must be a whole number from 1 to 2147483647, got 2147483648")
    ):
        ff.Dense(2**31)


@given(st.floats(), st.sampled_from([(ff.Dense, "sigma_w2"), (ff.Dense, "sigma_b2"), (ff.BatchNorm, "gamma")]))
def test_a_number_is_kept_exactly_or_refused(value, where):
    cls, name = where
    make = {ff.Dense: lambda **fields: ff.Dense(1, **fields), ff.BatchNorm: ff.BatchNorm}[cls]
    allowed = value == 0 or (1e-100 <= abs(value) <= 1e100 and (value > 0 or name == "gamma"))
    if allowed:
        assert getattr(make(**{name: value}), name) == value
    else:
        with pytest.raises(ValueError, match=f"^{name} must be .*, got {re.escape(repr(value))}$"):
            make(**{name: value})


# files ----------------------------------------------------------------------------------------------------------------


@given(networks())
def test_a_saved_network_loads_equal(tmp_path_factory, net):
    path = tmp_path_factory.getbasetemp() / "network.toml"
    net.save(path)
    twin = ff.load(str(path))
    assert twin == net
    assert hash(twin) == hash(net)
    assert twin.shapes == net.shapes


@pytest.mark.parametrize("name", ff.activation_names())
def test_every_named_activation_is_saved_with_its_parameter(tmp_path, name):
    example = ff.Activation(strategies.GIVEN.get(name, name))
    other = {"slope": 0.1 + 0.2, "alpha": 0.1 + 0.2, "n": 7, "coefficients": (0.1 + 0.2, -1.0)}
    for phi in (example, ff.Activation(name, **{key: other[key] for key in example.parameters})):
        net = ff.mlp([3, 4, 5], phi)
        net.save(tmp_path / "net.toml")
        assert ff.load(tmp_path / "net.toml") == net


def test_the_file_is_the_toml_that_the_manual_shows(tmp_path):
    path = tmp_path / "net.toml"
    net = ff.Network(
        (1, 4, 4), [ff.Conv2d(2, (3, 2)), ff.BatchNorm(0.5), ff.Activation("leaky_relu(0.1)"), F, ff.Dense(3)]
    )
    net.save(path)
    assert tomllib.loads(path.read_text("utf-8")) == {
        "input_shape": [1, 4, 4],
        "layers": [
            {
                "type": "Conv2d", "channels": 2, "kernel": [3, 2], "stride": 1, "padding": 0, "sigma_w2": 2.0,
                "sigma_b2": 0.5,
            },
            {"type": "BatchNorm", "gamma": 0.5, "beta": 0.0, "eps": 0.0, "trained": False},
            {"type": "Activation", "function": "leaky_relu", "slope": 0.1},
            {"type": "Flatten"},
            {"type": "Dense", "units": 3, "sigma_w2": 2.0, "sigma_b2": 0.5},
        ],
    }  # fmt: skip


def test_what_is_left_out_of_a_file_has_python_s_default(tmp_path):
    path = tmp_path / "net.toml"
    path.write_text(
        'input_shape = [1, 4, 4]\nlayers = [{type = "Conv2d", channels = 2}, {type = "BatchNorm"},\n'
        '{type = "Activation", function = "elu(0.5)"}, {type = "AvgPool2d", kernel = 2}, {type = "GlobalAvgPool2d"},\n'
        '{type = "Flatten"}, {type = "Dense", units = 2, sigma_w2 = 1}]\n'
    )
    layers = [ff.Conv2d(2), ff.BatchNorm(), ff.Activation("elu", alpha=0.5), ff.AvgPool2d(2), ff.GlobalAvgPool2d()]
    assert ff.load(path) == ff.Network((1, 4, 4), [*layers, ff.Flatten(), ff.Dense(2, 1.0)])


def test_a_callable_activation_cannot_be_saved(tmp_path):
    path = tmp_path / "net.toml"
    sentence = "layers[2]: the callable tanh cannot be saved; only named activations can"
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        ff.mlp([3, 4, 5], np.tanh).save(path)
    assert not path.exists()


def test_a_file_that_is_not_there_is_python_s_own_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        ff.load(tmp_path / "none.toml")
    with pytest.raises(FileNotFoundError):
        ff.mlp([3, 5]).save(tmp_path / "none" / "net.toml")


SHAPE = "input_shape = 3\n"
DENSE = '[[layers]]\ntype = "Dense"\nunits = 2\n'
PHI_ENTRY = '[[layers]]\ntype = "Activation"\n'
NORM_ENTRY = '[[layers]]\ntype = "BatchNorm"\n'
KINDS = ", ".join(kinds())
KEYS = "type, units, sigma_w2, sigma_b2, bias"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "the file: input_shape is missing"),
        (SHAPE, "the file: layers is missing"),
        (DENSE, "the file: input_shape is missing"),
        (
            "input_shpae = 3\n" + DENSE,
            "the file: keys must be among input_shape, layers, got 'input_shpae' (did you mean 'input_shape'?)",
        ),
        ("title = 'x'\n" + SHAPE + DENSE, "the file: keys must be among input_shape, layers, got 'title'"),
        (SHAPE + '[[layers]]\ntype = "Dense"\n', "layers[0]: units is missing"),
        (SHAPE + "[[layers]]\nunits = 2\n", f"layers[0]: type must be one of {KINDS}, got None"),
        (
            SHAPE + '[[layers]]\ntype = "Dence"\n',
            f"layers[0]: type must be one of {KINDS}, got 'Dence' (did you mean 'Dense'?)",
        ),
        (SHAPE + '[[layers]]\ntype = "a\\nb"\n', f"layers[0]: type must be one of {KINDS}, got 'a\\nb'"),
        (SHAPE + "[[layers]]\ntype = 3\n", f"layers[0]: type must be one of {KINDS}, got 3"),
        (
            SHAPE + DENSE + "sigma_w = 2.0\n",
            f"layers[0]: keys must be among {KEYS}, got 'sigma_w' (did you mean 'sigma_w2'?)",
        ),
        (SHAPE + DENSE + "biass = true\n", f"layers[0]: keys must be among {KEYS}, got 'biass' (did you mean 'bias'?)"),
        (SHAPE + DENSE + "bias = 1\n", "layers[0]: bias must be True or False, got 1"),
        (
            SHAPE + DENSE + DENSE + "gamma = 1.0\n",
            f"layers[1]: keys must be among {KEYS}, got 'gamma'",
        ),
        (SHAPE + DENSE + "sigma_w2 = nan\n", "layers[0]: sigma_w2 must be finite and >= 0, got nan"),
        (SHAPE + DENSE + "sigma_w2 = -1.0\n", "layers[0]: sigma_w2 must be finite and >= 0, got -1.0"),
        (SHAPE + DENSE + "sigma_b2 = inf\n", "layers[0]: sigma_b2 must be finite and >= 0, got inf"),
        (SHAPE + DENSE + "sigma_b2 = true\n", "layers[0]: sigma_b2 must be finite and >= 0, got True"),
        (SHAPE + DENSE + 'sigma_w2 = "2"\n', "layers[0]: sigma_w2 must be finite and >= 0, got '2'"),
        (SHAPE + DENSE + "sigma_w2 = [2.0]\n", "layers[0]: sigma_w2 must be finite and >= 0, got [2.0]"),
        (SHAPE + '[[layers]]\ntype = "Dense"\nunits = 2.5\n', "layers[0]: units must be a whole number >= 1, got 2.5"),
        (SHAPE + '[[layers]]\ntype = "Dense"\nunits = "2"\n', "layers[0]: units must be a whole number >= 1, got '2'"),
        (SHAPE + DENSE + NORM_ENTRY + "gamma = nan\n", "layers[1]: gamma must be finite, got nan"),
        (SHAPE + DENSE + NORM_ENTRY + "eps = -1\n", "layers[1]: eps must be finite and >= 0, got -1"),
        (SHAPE + DENSE + NORM_ENTRY + "trained = 1\n", "layers[1]: trained must be True or False, got 1"),
        (
            SHAPE + DENSE + NORM_ENTRY + "Gamma = 1\n",
            "layers[1]: keys must be among type, gamma, beta, eps, trained, got 'Gamma' (did you mean 'gamma'?)",
        ),
        (SHAPE + DENSE + PHI_ENTRY + DENSE, "layers[1]: function is missing"),
        (
            SHAPE + DENSE + PHI_ENTRY + 'function = "rleu"\n' + DENSE,
            f"layers[1]: activation must be one of {NAMES}, or a callable, got 'rleu' (did you mean 'relu'?)",
        ),
        (
            SHAPE + DENSE + PHI_ENTRY + "function = 5\n" + DENSE,
            "layers[1]: activation must be a name, a callable or an Activation, got 5",
        ),
        (
            SHAPE + DENSE + PHI_ENTRY + 'function = "relu"\nslope = 0.1\n' + DENSE,
            "layers[1]: activation 'relu' takes no parameter, got slope=0.1",
        ),
        (
            SHAPE + DENSE + PHI_ENTRY + 'function = "elu"\nalpha = nan\n' + DENSE,
            "layers[1]: alpha must be finite and at most 1e+100 in size, got nan",
        ),
        (
            SHAPE + DENSE + PHI_ENTRY + 'function = "relu"\nkinks = [0.0]\n' + DENSE,
            "layers[1]: keys must be among type, function, slope, alpha, n, coefficients, got 'kinks'",
        ),
        (SHAPE + "layers = 3\n", "layers must be [[layers]] tables, got 3"),
        (SHAPE + "layers = [3]\n", "layers[0] must be a table with a type, got 3"),
        (SHAPE + "layers = [[]]\n", "layers[0] must be a table with a type, got []"),
        (SHAPE + "layers = []\n", "layers must hold at least one Dense or Conv2d, got []"),
        (
            SHAPE + '[layers]\ntype = "Dense"\nunits = 2\n',
            "layers must be [[layers]] tables, got {'type': 'Dense', 'units': 2}",
        ),
        (
            SHAPE + DENSE + '[[layers.norm]]\ntype = "BatchNorm"\n',
            f"layers[0]: keys must be among {KEYS}, got 'norm'",
        ),
        ("input_shape = 0\n" + DENSE, "input_shape must be a whole number >= 1, got 0"),
        ('input_shape = "3"\n' + DENSE, "input_shape must be a whole number >= 1, got '3'"),
        ("input_shape = [3, 4]\n" + DENSE, "input_shape must be (units,) or (channels, height, width), got [3, 4]"),
        (
            "input_shape = [1, 2, 2]\n" + DENSE,
            "layers[0]: Dense needs a flat input, got shape (1, 2, 2); put Flatten() before it",
        ),
        (SHAPE + DENSE + NORM_ENTRY + NORM_ENTRY, f"layers[2]: {NORM} BatchNorm"),
        (
            'input_shape = [1, 5, 5]\n[[layers]]\ntype = "Conv2d"\nchannels = 2\nkernel = [1, 2, 3]\n',
            "layers[0]: kernel must be one whole number or two (height, width), got [1, 2, 3]",
        ),
        (
            'input_shape = [1, 5, 5]\n[[layers]]\ntype = "Conv2d"\nchannels = 2\nkernel = 7\n',
            "layers[0]: kernel must be at most the padded size 5, got 7",
        ),
    ],
)
def test_a_file_that_does_not_fit_is_refused_in_one_line_that_names_it(tmp_path, text, sentence):
    path = tmp_path / "net.toml"
    path.write_text(text)
    with pytest.raises(ValueError, match=f"^{re.escape(f'{path}: {sentence}')}$") as error:
        ff.load(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "text", [b"input_shape =", b"\xff\xfe", b"input_shape = 3\ninput_shape = 3\n", b"[[layers]\n", b"a = 1 b = 2"]
)
def test_a_file_that_is_not_toml_is_refused_in_one_line_that_names_it(tmp_path, text):
    path = tmp_path / "net.toml"
    path.write_bytes(text)
    with pytest.raises(ValueError, match=f"^{re.escape(f'{path}: not TOML')}(, which is UTF-8)?: .+$") as error:
        ff.load(path)
    assert "\n" not in str(error.value)


def test_a_number_of_thousands_of_digits_is_refused_with_the_file_s_name(tmp_path):
    path = tmp_path / "net.toml"
    path.write_text("input_shape = " + "9" * 5000 + "\n" + DENSE)
    with pytest.raises(ValueError, match=f"^{re.escape(f'{path}: ')}"):
        ff.load(path)


@given(st.binary(max_size=60) | st.text(max_size=60).map(lambda text: text.encode("utf-8", "replace")))
def test_any_bytes_at_all_load_or_are_refused_in_one_line(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "bytes.toml"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=re.escape(str(path))) as error:
        ff.load(path)
    assert "\n" not in str(error.value)


VALUES = st.one_of(
    st.integers(), st.floats(), st.booleans(), st.text(max_size=5), st.lists(st.integers(-2, 9), max_size=3)
)


@given(
    place=st.integers(0, 7),
    key=st.sampled_from(
        ("units", "channels", "kernel", "stride", "padding", "sigma_w2", "gamma", "trained", "function")
    ),
    value=VALUES,
)
def test_a_changed_entry_is_loaded_as_written_or_refused_in_one_line(tmp_path_factory, place, key, value):
    import tomli_w

    path = tmp_path_factory.getbasetemp() / "changed.toml"
    ff.convnet((1, 5, 5), [2, 3], 2, activation="leaky_relu").save(path)
    content = tomllib.loads(path.read_text("utf-8"))
    content["layers"][place][key] = value
    path.write_text(tomli_w.dumps(content), encoding="utf-8")
    try:
        net = ff.load(path)
    except ValueError as error:
        assert str(error).startswith(f"{path}: layers")
        assert "\n" not in str(error)
    else:
        kept = getattr(net.layers[place], key)
        if isinstance(value, list):  # of height and width, or of two equal ones
            kept, value = kept if isinstance(kept, tuple) else (kept, kept), tuple(value)
        assert kept == value


@pytest.mark.parametrize(
    ("make", "twin"),
    [
        pytest.param(lambda: ff.Dense(3, np.array(1.5)), ff.Dense(3, 1.5), id="sigma_w2"),
        pytest.param(lambda: ff.Dense(np.array(3)), ff.Dense(3), id="units"),
        pytest.param(lambda: ff.BatchNorm(np.float32(0.5)), ff.BatchNorm(0.5), id="gamma"),
        pytest.param(lambda: ff.mlp(np.array([3, 4, 2])), ff.mlp([3, 4, 2]), id="widths"),
        pytest.param(lambda: ff.mlp([3, 4, 2], gamma=np.float64(2)), ff.mlp([3, 4, 2], gamma=2), id="one gamma"),
        pytest.param(lambda: ff.Network(np.int32(3), [D]), ff.Network(3, [D]), id="input_shape"),
        pytest.param(lambda: ff.Conv2d(3, np.array(2)), ff.Conv2d(3, 2), id="0-d kernel"),
        pytest.param(lambda: ff.mlp([3, 4, 2], gamma=np.array(2.0)), ff.mlp([3, 4, 2], gamma=2.0), id="0-d gamma"),
        pytest.param(lambda: ff.Network(np.array(3), [D]), ff.Network(3, [D]), id="0-d input_shape"),
    ],
)
def test_numpy_s_numbers_are_numbers(make, twin):
    assert make() == twin
