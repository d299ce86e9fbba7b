# SPDX-License-Identifier: BSD-3-Clause
"""What newcomers type and is not taken: the sentence names what was meant and the way to it, and cuts what it shows."""

import ast
import re
from pathlib import Path

import numpy as np
import pytest

import fisherfield as ff
from fisherfield import _words
from fisherfield.gaussian import table as tables

NET = ff.mlp([20, 30, 3])
VANILLA = NET.replace(batch_norm=False)
LONG = "x" * 10**6
MANY = range(10**11)
X = np.random.default_rng(0).normal(size=(40, 20))
MASKED = np.ma.masked_array(X, X > 1)
LOSSES = "loss must be one of sum, mean, mse, cross_entropy, got "
DENSE = 'input_shape = 3\n[[layers]]\ntype = "Dense"\nunits = 2\n'
ANOTHER = '[[layers]]\ntype = "{}"\n'


POLYNOMIAL = ff.Activation("polynomial", coefficients=[1.2345678901234567] * 33)


class Shown:
    """A callable that shows itself at length."""

    def __init__(self, text):
        self.text = text

    def __call__(self, x):
        return x

    def __repr__(self):
        return self.text


def says(ask):
    """The one line that a call is refused with."""
    with pytest.raises((ValueError, TypeError, KeyError, AttributeError)) as refused:
        ask()
    sentence = str(refused.value)
    assert "\n" not in sentence
    return sentence


# ------------------------------------------------------------------------------------------------- names meant


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("MSE", "mse"),
        ("MSELoss", "mse"),
        ("l2", "mse"),
        ("ce", "cross_entropy"),
        ("CrossEntropy", "cross_entropy"),
        ("cross-entropy", "cross_entropy"),
        ("xent", "cross_entropy"),
        ("SSE", "sum"),
        ("mea", "mean"),
    ],
)
def test_a_loss_by_another_name_is_told_its_name(word, meant):
    expected = f"{LOSSES}{word!r} (did you mean {meant!r}?)"
    assert says(lambda: ff.max_learning_rate(NET, loss=word)) == expected
    assert says(lambda: ff.scan(NET, {"gamma": [1.0]}, loss=word)) == expected
    assert says(lambda: ff.sampled_fisher(NET, X, loss=word)) == expected


@pytest.mark.parametrize("word", ["mae", "L1", "bce", "Huber"])
def test_a_loss_that_there_is_not_is_told_so(word):
    assert says(lambda: ff.max_learning_rate(NET, loss=word)) == f"{LOSSES}{word!r}: there is no other loss"


@pytest.mark.parametrize(
    ("word", "meant"), [("ReLU", "relu"), ("LeakyReLU", "leaky_relu"), ("GELU", "gelu"), ("Swish", "swish")]
)
def test_an_activation_in_another_spelling_is_told_its_name(word, meant):
    assert says(lambda: ff.mlp([3, 4, 2], word)).endswith(f", or a callable, got {word!r} (did you mean {meant!r}?)")


def test_names_are_compared_without_case_and_signs():
    assert _words.did_you_mean("Cross-Entropy", ("mse", "cross_entropy")) == " (did you mean 'cross_entropy'?)"
    assert _words.did_you_mean("quaternion", ("mse", "cross_entropy")) == ""
    assert _words.did_you_mean("gpu", ("cpu", "cuda")) == ""
    assert says(lambda: ff.fisher(NET, theory="EXACT")).endswith("got 'EXACT' (did you mean 'exact'?)")


# ------------------------------------------------------------------------------------------------- sets and masks


@pytest.mark.parametrize("value", [{3, 4}, frozenset({3}), {3: 1}])
@pytest.mark.parametrize(
    "ask",
    [
        lambda value: ff.Network(value, [ff.Dense(2)]),
        lambda value: ff.mlp(value),
        lambda value: ff.convnet(value, [8], 3),
        lambda value: ff.convnet((1, 8, 8), value, 3),
        lambda value: ff.Conv2d(3, kernel=value),
        lambda value: ff.AvgPool2d(value),
        lambda value: ff.mlp([20, 30, 3], sigma_w2=value),
        lambda value: ff.Dense(2, sigma_w2=value),
        lambda value: NET.replace(gamma=value),
        lambda value: ff.data.gaussian(value, 10),
        lambda value: ff.data.load(X, shape=value),
        lambda value: ff.scan(NET, {"gamma": value}),
        lambda value: ff.verify(NET, seeds=value),
    ],
)
def test_what_has_no_order_is_no_sequence(ask, value):
    assert says(lambda: ask(value)).endswith(f", got {value!r}: it has no order, use a tuple")


@pytest.mark.parametrize("value", [b"ab", bytearray(b"ab"), memoryview(b"ab"), "ab"])
def test_bytes_and_text_are_no_shapes(value):
    for name, ask in (
        ("input_shape", lambda: ff.Network(value, [ff.Dense(2)])),
        ("shape", lambda: ff.data.gaussian(value, 2)),
    ):
        assert says(ask) == f"{name} must be a whole number >= 1, got {_words.shown(value)}"


@pytest.mark.parametrize(
    ("name", "ask"),
    [
        ("x", lambda: ff.sampled_fisher(NET, MASKED)),
        ("x", lambda: ff.sample(NET)(MASKED)),
        ("x", lambda: ff.data.load(MASKED)),
        ("y", lambda: ff.data.load((X, np.ma.masked_less(np.arange(40) % 3, 1)))),
        ("x", lambda: ff.data.overlap_and_length(MASKED)),
        ("x", lambda: ff.Activation("relu")(MASKED)),
        ("axis gamma", lambda: ff.scan(NET, {"gamma": np.ma.masked_array([1.0, 2.0], [False, True])})),
    ],
)
def test_masked_entries_are_no_numbers(name, ask):
    sentence = says(ask)
    assert sentence.startswith(f"{name} must have no masked entries, got masked_array(")
    assert sentence.endswith(": fill them or leave them out")


def test_a_mask_that_masks_nothing_is_none():
    assert np.array_equal(ff.sample(VANILLA)(np.ma.masked_array(X)), ff.sample(VANILLA)(X))


def test_the_integrals_keep_a_mask():
    found = ff.gaussian.second_moment("relu", np.ma.masked_array([2.0, 3.0], [False, True]))
    assert found[0] == 1.0
    assert found.mask.tolist() == [False, True]


# ------------------------------------------------------------------------------------------------- too many


@pytest.mark.parametrize(
    ("name", "ask"),
    [
        ("q", lambda: ff.gaussian.mean("relu", MANY)),
        ("x", lambda: ff.Activation("relu")(MANY)),
        ("x", lambda: ff.Activation("relu")([MANY])),
        ("x", lambda: ff.sample(NET)(MANY)),
        ("x", lambda: ff.data.load(MANY)),
        ("y", lambda: ff.data.load((X, MANY))),
        ("axis gamma", lambda: ff.scan(NET, {"gamma": MANY})),
        ("v", lambda: ff.FisherOperator(VANILLA, X).jvp(MANY)),
        ("w", lambda: ff.FisherOperator(VANILLA, X).vjp(MANY)),
        ("w", lambda: ff.FisherOperator(VANILLA, X) @ MANY),
        ("x", lambda: ff.Activation("relu")(range(10**30))),
    ],
)
def test_more_numbers_than_memory_holds_are_refused_before_they_are_made(name, ask):
    assert says(ask).startswith(f"{name} must fit into memory, got shape (")


def test_a_memory_error_of_numpy_is_a_sentence():
    class Boundless:
        def __array__(self, dtype=None, copy=None):
            raise MemoryError

        def __repr__(self):
            return "Boundless()"

    assert says(lambda: ff.Activation("relu")(Boundless())) == "x must fit into memory, got Boundless()"


def test_an_endless_shape_or_axis_is_refused():
    assert says(lambda: ff.data.gaussian([1] * 10**5, 10)).startswith(
        "shape must hold at most 32 values, got more: [1, 1"
    )
    sentence = says(lambda: ff.scan(NET, {"gamma": iter(range(10**12))}))
    assert sentence.startswith("axis gamma must hold at most 10000000 values, got more: <range_iterator")
    assert says(lambda: ff.mlp([3, 4, 2], sigma_w2=range(10**30))).startswith(
        "sigma_w2 must hold at most 1000000 values"
    )


@pytest.mark.parametrize(("widths", "shown"), [([], "[]"), (3, "3"), ([3, 4], "[3, 4]"), ({3}, "{3}")])
def test_widths_are_one_a_hidden_layer(widths, shown):
    assert says(lambda: NET.with_widths(widths)) == f"widths must be 1 whole numbers, one a hidden layer, got {shown}"


# ------------------------------------------------------------------------------------------------- values are cut


@pytest.mark.parametrize(
    "ask",
    [
        lambda: ff.Activation(LONG),
        lambda: ff.Activation(f"relu({LONG})"),
        lambda: ff.Activation(f"elu({LONG})"),
        lambda: ff.Activation("relu", kinks=range(10**5)),
        lambda: ff.Activation(np.tanh, kinks=np.arange(10**5) * 1e-3),
        lambda: ff.Network(3, [ff.Activation("relu")] * 10**5),
        lambda: ff.Network(3, [LONG, ff.Dense(2)]),
        lambda: NET.replace(**{LONG: 1}),
        lambda: ff.mlp([3, 4, 2], norm=LONG),
        lambda: ff.scan(NET, {LONG: [1.0]}),
        lambda: ff.scan(NET, {"gamma": [1.0]}, quantities=LONG),
        lambda: ff.scan(NET, {"gamma": [1.0]})[LONG],
        lambda: getattr(ff.scan(NET, {"gamma": [1.0]}), LONG),
        lambda: getattr(ff, LONG),
        lambda: setattr(ff.sample(NET), LONG, 3),
        lambda: delattr(ff.sample(NET), LONG),
        lambda: setattr(ff.Activation("relu"), LONG, 3),
        lambda: ff.load(LONG),
        lambda: NET.save(LONG),
        lambda: ff.Scan.open(LONG),
        lambda: ff.data.load(LONG),
        lambda: ff.experiments.Figure2.open(LONG),
        lambda: ff.max_learning_rate(NET, loss=LONG),
        lambda: ff.reference.max_learning_rate(NET, loss=LONG),
        lambda: ff.scan(ff.mlp([3, 4, 4, 2], gamma=[[0.1] * 4, [0.2] * 4]), {"depth": [3]}),
        lambda: ff.gaussian.covariance(LONG, 1.0, 1.0, 0.5),
        lambda: ff.gaussian.tabulate(POLYNOMIAL, megabytes=1e-6),
        lambda: ff.Network(3, [ff.Dense(2), ff.Dense(2), POLYNOMIAL]),
        lambda: ff.Network(3, [ff.Dense(2), Shown(LONG), ff.Dense(2)]),
        lambda: ff.Network(3, [ff.Dense(2), ff.Activation(Shown(LONG)), ff.Dense(2)]).save("net.toml"),
        lambda: ff.scan(NET, {f"layers[{'9' * 10**5}].gamma": [1.0]}),
        lambda: ff.figures.wei2019_figure_1(gammas=[-1.0] * 10**5),
        lambda: ff.figures.wei2019_figure_1(gammas=LONG),
    ],
)
def test_no_message_is_longer_than_what_it_says(ask):
    assert len(says(ask)) < 500  # a value of 80 characters, or two, beside the names of all activations


def test_messages_show_values_by_one_function():
    """`!r` shows a value whole: in what is raised only of names and paths, which are short."""
    package = Path(ff.__file__).parent
    short = {"__name__", "path", "self.path", "store.path", "str(folder)", "near[0]", "data.standardize"}
    whole = [
        f"{path.relative_to(package)}: {ast.unparse(part.value)}"
        for path in sorted(package.rglob("*.py"))
        for raised in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(raised, ast.Raise)
        for part in ast.walk(raised)
        if isinstance(part, ast.FormattedValue) and part.conversion == ord("r")
        if ast.unparse(part.value) not in short
    ]
    # of the reference, whose layers and quadrature take few and small values
    assert [line for line in whole if not line.startswith("reference/")] == []


# ------------------------------------------------------------------------------------------------- files


def test_a_file_descriptor_is_no_path(tmp_path):
    with open(tmp_path / "open.toml", "w+") as file:
        number = file.fileno()
        for ask in (
            lambda: ff.load(number),
            lambda: NET.save(number),
            lambda: ff.load(file),
            lambda: ff.experiments.Figure2.open(number),
            lambda: ff.scan(NET, {"gamma": [1.0]}, store=number),
        ):
            assert " must be a path on a file system, got " in says(ask)
        file.write("still open")


@pytest.mark.parametrize(
    ("kind", "way"),
    [
        ("relu", ': write type = "Activation", function = "relu"'),
        ("ReLU", ': write type = "Activation", function = "relu"'),
        ("LeakyReLU", ': write type = "Activation", function = "leaky_relu"'),
        ("swish", ': write type = "Activation", function = "swish"'),
        ("Linear", " (did you mean 'Dense'?)"),
        ("dense", " (did you mean 'Dense'?)"),
        ("BatchNorm1d", " (did you mean 'BatchNorm'?)"),
        ("conv2d", " (did you mean 'Conv2d'?)"),
        ("lstm", ""),
    ],
)
def test_a_layer_by_another_name_is_told_what_to_write(tmp_path, kind, way):
    path = tmp_path / "net.toml"
    path.write_text(DENSE + ANOTHER.format(kind))
    assert re.fullmatch(
        re.escape(f"{path}: layers[1]: type must be one of ") + f".+, got '{kind}'{re.escape(way)}",
        says(lambda: ff.load(path)),
    )


def test_a_byte_order_mark_is_read_over(tmp_path):
    path = tmp_path / "net.toml"
    path.write_bytes(b"\xef\xbb\xbf" + DENSE.encode())
    assert ff.load(path) == ff.Network(3, [ff.Dense(2)])


@pytest.mark.parametrize("encoding", ["utf-16", "latin1"])
def test_another_encoding_is_refused_with_the_right_one(tmp_path, encoding):
    path = tmp_path / "net.toml"
    path.write_bytes(f"# é\n{DENSE}".encode(encoding))
    assert says(lambda: ff.load(path)).startswith(f"{path}: not TOML, which is UTF-8: 'utf-8' codec can't decode byte")


@pytest.mark.parametrize(
    "text",
    [
        f'input_shape = 3\n[[layers]]\ntype = "{LONG}"\n',
        f'input_shape = 3\nlayers = "{LONG}"\n',
        f'input_shape = 3\nlayers = ["{LONG}"]\n',
        f"{LONG} = 3\n",
        f"{DENSE}{LONG} = 1\n",
    ],
    ids=["type", "layers", "layer", "key", "key of a layer"],
)
def test_what_a_file_holds_is_cut_too(tmp_path, text):
    path = tmp_path / "net.toml"
    path.write_text(text)
    assert len(says(lambda: ff.load(path))) < 300 + len(str(path))


@pytest.mark.parametrize(
    "content", [b"hallo", b"{}", b"[" * 10**5, b'{"fisherfield": "' + LONG.encode() + b'"}', b"\xff"]
)
def test_what_is_no_figure_is_refused_in_a_sentence(tmp_path, content):
    path = tmp_path / "figure2.json"
    path.write_bytes(content)
    sentence = says(lambda: ff.experiments.Figure2.open(path))
    assert sentence.startswith(f"{path} must be what a Figure2 has saved, and is not (")
    assert len(sentence) < 300 + len(str(path))


# ------------------------------------------------------------------------------------------------- pictures, tables


@pytest.mark.parametrize("ax", [[], 3, "ax", np.empty(2)])
def test_axes_are_matplotlib_s(ax):
    pytest.importorskip("matplotlib")
    sentence = f"ax must be one matplotlib Axes, as plt.subplots() gives, got {ax!r}"
    assert says(lambda: ff.scan(NET, {"gamma": [0.5, 1.0]}).plot(ax=ax)) == sentence
    assert says(lambda: ff.verify(VANILLA, widths=[10], seeds=1, x=X).plot(ax=ax)) == sentence


@pytest.mark.parametrize("select", [set(), [], "gamma", 3, {"gamma"}])
def test_a_selection_is_a_mapping(select):
    pytest.importorskip("matplotlib")
    sentence = f"select must be a mapping from names to values, got {select!r}"
    assert says(lambda: ff.scan(NET, {"gamma": [0.5, 1.0]}).plot(select=select)) == sentence


def test_a_whole_number_beyond_all_is_shown_as_it_is():
    for sign, digits in ((1, "1000"), (-1, "-1000")):
        sentence = says(lambda sign=sign: ff.gaussian.mean("relu", 1.0, shift=sign * 10**400))
        assert sentence.startswith(f"shift must be from -1e+100 to 1e+100, got {digits}")
        assert len(sentence) < 130


def test_a_table_that_takes_long_says_so_once(monkeypatch):
    monkeypatch.setattr(tables, "_PATIENCE", 0.0)
    phi = ff.Activation(np.tanh, slope=lambda x: 1.0 - np.tanh(x) ** 2)
    words = "the table of tanh is not made after 0 s and may take many minutes: a narrower q takes less, and a name of"
    with pytest.warns(UserWarning, match="not made after") as heard:
        found = ff.gaussian.tabulate(phi, q=(1.0, 1.1))
    assert [str(warning.message)[: len(words)] for warning in heard] == [words]
    assert heard[0].filename == __file__
    expected = ff.gaussian.covariance("tanh", 1.05, 1.05, 0.5)
    assert found.covariance(1.05, 0.5) == pytest.approx(expected, abs=found.error)  # of E tanh^2 < 1
