# SPDX-License-Identifier: BSD-3-Clause
"""A kind of layer is one class: who works on a network asks its layers, and never which kind one is."""

import ast
import math
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
import strategies
from hypothesis import given

import fisherfield as ff
from fisherfield import _numbers
from fisherfield.network import layer as base
from fisherfield.network.toml import from_toml
from fisherfield.scan import labels
from fisherfield.scan.grid import field_of

PACKAGE = Path(ff.__file__).parent
OWN = ("network", "torch", "reference")  # their tables are where kinds are told apart


def classes(cls=base.Layer):
    """All classes of layers of the package, also those that kinds have in common."""
    for child in cls.__subclasses__():
        if child.__module__.startswith("fisherfield."):
            yield child
        yield from classes(child)


NAMES = {cls.__name__ for cls in classes()}


def names_in(node, aliases):
    """Whether an expression names a class of layers, or what a module calls several of them."""
    for part in ast.walk(node):
        word = part.id if isinstance(part, ast.Name) else part.attr if isinstance(part, ast.Attribute) else None
        if word in NAMES or word in aliases or (isinstance(part, ast.Constant) and part.value in NAMES):
            return True
    return False


def asks_for_a_type(node):
    """type(x), type(x).__name__, x.__class__, x.kind."""
    if isinstance(node, ast.Attribute) and node.attr in ("__name__", "__qualname__"):
        node = node.value
    called = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "type"
    return called or (isinstance(node, ast.Attribute) and node.attr in ("__class__", "kind"))


def lines_that_ask_for_a_kind(source):
    """isinstance, issubclass, match, a comparison of a type or its name, a table with kinds as its keys."""
    tree, aliases, lines = ast.parse(source), set(), set()
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Tuple) and names_in(node.value, ()):
            aliases |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            if node.func.id in ("isinstance", "issubclass") and names_in(node.args[1], aliases):
                lines.add(node.lineno)
        elif isinstance(node, ast.Compare):
            sides = (node.left, *node.comparators)
            if any(map(asks_for_a_type, sides)) and any(names_in(side, aliases) for side in sides):
                lines.add(node.lineno)
        elif isinstance(node, ast.match_case) and names_in(node.pattern, aliases):
            lines.add(node.pattern.lineno)
        elif isinstance(node, ast.Dict) and any(key is not None and bare(key) in NAMES for key in node.keys):
            lines.update(key.lineno for key in node.keys if key is not None and bare(key) in NAMES)
    return sorted(lines)


def bare(node):
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else None


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ("isinstance(layer, Dense)", [1]),
        ("isinstance(layer, (ff.Conv2d, int))", [1]),
        ("_BOTH = (Dense, Conv2d)\nx = 1\nisinstance(layer, _BOTH)", [3]),
        ("type(layer) is BatchNorm", [1]),
        ("type(layer).__name__ == 'Flatten'", [1]),
        ("type(layer).__name__ in ('Flatten', 'x')", [1]),
        ("layer.kind == 'Dense'", [1]),
        ("match layer:\n    case Dense(units):\n        pass\n    case ff.Activation():\n        pass", [2, 4]),
        ("{Dense: 1,\n BatchNorm: 2}[type(layer)]", [1, 2]),
        ("Dense(3)\nlayer.affine\nisinstance(layer, int)\ntype(layer) is int\n{'Dense': 1}", []),
    ],
)
def test_questions_are_counted(source, lines):
    assert lines_that_ask_for_a_kind(source) == lines


def test_nobody_asks_which_kind_a_layer_is():
    asked = []
    for file in sorted(PACKAGE.rglob("*.py")):
        if file.relative_to(PACKAGE).parts[0] not in OWN:
            lines = lines_that_ask_for_a_kind(file.read_text(encoding="utf-8"))
            asked += [f"{file.relative_to(PACKAGE)}:{line}" for line in lines]
    assert not asked


def test_every_kind_is_entered_in_the_tables():
    kinds = set(base.kinds().values())
    assert kinds == {getattr(ff, name) for name in ff.__all__ if getattr(ff, name) in NAMED}
    assert kinds == set(strategies.KINDS)


NAMED = {cls for cls in classes() if not cls.__name__.startswith("_") and cls.__name__ != "Affine"}


def test_every_kind_is_in_pytorch_s_table():
    pytest.importorskip("torch")
    from fisherfield.torch.layers import ROWS

    assert set(ROWS) == set(base.kinds().values())


@given(strategies.networks())
def test_steps_shapes_and_arrays_fit_together(net):
    assert [step.layer for step in net.steps] == list(net.layers)
    assert [step.before for step in net.steps] == list(net.shapes[:-1])
    assert [step.after for step in net.steps] == list(net.shapes[1:])
    assert [step.previous for step in net.steps] == [None, *net.layers[:-1]]
    assert [net.layers[step.place] for step in net.affine_steps] == list(net.affine_layers)
    widths = range(2, net.depth + 1)
    assert [layer.width for layer in net.with_widths(widths).affine_layers] == [*widths, net.outputs]
    for step in net.steps:
        sizes = {array.name: math.prod(array.shape) for array in step.layer.arrays(step.before, step.after)}
        assert step.layer.count(step.before, step.after, biases=True) in (sum(sizes.values()), 0)
        if step.layer.affine:
            with_biases = step.layer.count(step.before, step.after, biases=True)
            assert with_biases - step.layer.count(step.before, step.after, biases=False) == step.layer.width


# one kind more, one class more ----------------------------------------------------------------------------------------


@pytest.fixture
def more_kinds(monkeypatch):
    """Two kinds of layers that the package does not have, one of which holds layers."""
    monkeypatch.setattr(base, "_KINDS", dict(base._KINDS))

    @base.kind
    @dataclass(frozen=True)
    class Scale(base.Layer):
        by: float = field(default=1.0, metadata=base.setting(_numbers.SIGNED, "a factor", "$s$"))

    @base.kind
    @dataclass(frozen=True)
    class Sum(base.Layer):
        """h + scale branch(h)."""

        branch: tuple = field(metadata=base.setting(lambda name, value: tuple(value)))
        scale: float = field(default=1.0, metadata=base.setting(_numbers.SIGNED, "the branch's scale", "$a$"))

        def leaves(self):
            for layer in self.branch:
                yield from layer.leaves()
            yield self

        def mapped(self, change):
            kept = tuple(new for layer in self.branch if (new := layer.mapped(change)) is not None)
            return change(replace(self, branch=kept))

        def steps(self, spot):
            inner = spot
            for number, layer in enumerate(self.branch):
                for step in layer.steps(inner._replace(where=f"{spot.where}.branch[{number}]")):
                    yield step
                    inner = inner._replace(shape=step.after)
                inner = inner._replace(previous=layer, stream=layer.gives(inner.stream))
            if inner.shape != spot.shape:
                raise ValueError(f"{spot.where}: the branch must keep the shape {spot.shape}, got {inner.shape}")
            yield from super().steps(spot)

    yield Scale, Sum
    base.kinds.cache_clear()
    base.axes.cache_clear()


def test_a_new_kind_is_one_class(more_kinds):
    Scale, Sum = more_kinds
    branch = [ff.Dense(6, 1.5), ff.BatchNorm(0.5, trained=True), ff.Activation("relu"), Scale(2.0)]
    net = ff.Network(6, [Sum(branch, 0.25), ff.Dense(2)])
    assert [type(step.layer).__name__ for step in net.steps] == [
        *(type(one).__name__ for one in branch),
        "Sum",
        "Dense",
    ]
    assert net.steps[1].where == "layers[0].branch[1]"
    assert net.shapes == ((6,), (6,), (2,))
    assert (net.depth, net.outputs) == (2, 2)
    assert net.parameters() == 6 * 6 + 6 + 2 * 6 + 6 * 2 + 2
    assert net.replace(gamma=3.0, by=4.0, scale=5.0, activation="tanh", sigma_w2=[1.0, 2.0]) == ff.Network(
        6,
        [
            Sum([ff.Dense(6, 1.0), ff.BatchNorm(3.0, trained=True), ff.Activation("tanh"), Scale(4.0)], 5.0),
            ff.Dense(2, 2.0),
        ],
    )
    assert net.replace(batch_norm=False).layers[0].branch == (branch[0], *branch[2:])
    assert from_toml("a file", net._to_toml().encode()) == net
    assert net.with_widths([6]) == net
    assert field_of(net, "by") == ("by", -1)
    with pytest.raises(ValueError, match=r"^axis by needs a Scale, and the network has none$"):
        field_of(ff.mlp([3, 2]), "by")
    with pytest.raises(ValueError, match=r"^axis layers\[0\]\.gamma must name a layer that has gamma, got .*Sum"):
        field_of(net, "layers[0].gamma")
    sampled = ff.sample(net, seed=3)
    assert [array.shape for array in (*sampled.weights, *sampled.gammas)] == [(6, 6), (2, 6), (6,)]
    assert np.all(sampled.gammas[0] == 0.5)
    assert "layers[0].branch[1] BatchNorm" in " ".join(repr(sampled).split())


def test_what_a_layer_holds_is_refused_where_it_stands(more_kinds):
    Scale, Sum = more_kinds
    for branch, sentence in (
        (
            [ff.Activation("relu")],
            r"layers\[0\]\.branch\[0\]: an activation must stand directly after a Dense.*the input",
        ),
        ([ff.Dense(6), Scale(), ff.BatchNorm()], r"layers\[0\]\.branch\[2\]: BatchNorm must stand .* after Scale"),
        ([ff.Dense(5)], r"layers\[0\]: the branch must keep the shape \(6,\), got \(5,\)"),
    ):
        with pytest.raises(ValueError, match=sentence):
            ff.Network(6, [Sum(branch), ff.Dense(2)])
    text = "input_shape = 6\n[[layers]]\ntype = 'Sum'\nbranch = [{type = 'Dense', units = 0}]\n"
    with pytest.raises(ValueError, match=r"^f: layers\[0\]\.branch\[0\]: units must be a whole number >= 1, got 0$"):
        from_toml("f", text.encode())


def test_axes_have_words_and_ranges_of_the_layers_that_have_them():
    assert list(base.axes()) == ["gamma", "beta", "eps", "sigma_w2", "sigma_b2"]
    for name, axis in base.axes().items():
        assert labels.AXES[name] == (axis.words, axis.symbol)
        many = np.array([-1e101, -1.0, -1e-101, 0.0, 1e-101, 1.0, 1e101, np.nan, np.inf])
        for value, fits in zip(many.tolist(), axis.range.fits(many), strict=True):
            if fits:
                assert axis.range.convert(name, value) == value
            else:
                with pytest.raises(ValueError, match=f"^{name} must be "):
                    axis.range.convert(name, value)
