# SPDX-License-Identifier: BSD-3-Clause
"""A kind of layer is one class: who works on a network asks its layers, and never which kind one is."""

import ast
import math
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import strategies
from hypothesis import Phase, find, given, settings

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


COMMON = {"Affine", "Norm", "OverUnits"}  # classes of what kinds have in common
NAMED = {cls for cls in classes() if not cls.__name__.startswith("_") and cls.__name__ not in COMMON}


@pytest.mark.parametrize("kind", sorted(NAMED, key=lambda kind: kind.__name__), ids=lambda kind: kind.__name__)
def test_every_kind_is_drawn_alone_and_in_branches(kind):
    for inside in (False, kind is not ff.Flatten):
        find(
            strategies.networks(closed=False),
            lambda net, inside=inside: any(
                type(step.layer) is kind and ("." in step.where) >= inside for step in net.steps
            ),
            settings=settings(max_examples=50000, phases=[Phase.generate], derandomize=True, deadline=None),
        )


def test_every_kind_is_in_pytorch_s_table():
    pytest.importorskip("torch")
    from fisherfield.torch.layers import ROWS

    assert set(ROWS) == set(base.kinds().values())


@given(strategies.networks(closed=False))
def test_steps_shapes_and_arrays_fit_together(net):
    assert [step.layer for step in net.steps] == [leaf for layer in net.layers for leaf in layer.leaves()]
    ends = [
        step for step in net.steps if step.layer is net.layers[step.place] and step.where == f"layers[{step.place}]"
    ]
    assert [step.layer for step in ends] == list(net.layers)
    assert [step.before for step in ends] == list(net.shapes[:-1])
    assert [step.after for step in ends] == list(net.shapes[1:])
    assert [step.previous for step in ends] == [None, *net.layers[:-1]]
    assert [step.layer for step in net.affine_steps] == list(net.affine_layers)
    for number, step in enumerate(net.steps):
        assert all(-1 <= read < number for read in step.reads)
        if len(step.reads) == 1:
            (read,) = step.reads
            assert step.before == (net.input_shape if read < 0 else net.steps[read].after)
        else:
            assert {net.steps[read].after if read >= 0 else net.input_shape for read in step.reads} == {step.after}
    assert net.with_widths([layer.width for layer in net.affine_layers[:-1]]) == net
    for step in net.steps:
        sizes = [math.prod(array.shape) for array in step.layer.arrays(step.before, step.after) if array.trained]
        assert step.layer.count(step.before, step.after, biases=True) == sum(sizes)
        if step.layer.affine:
            with_biases = step.layer.count(step.before, step.after, biases=True)
            biases = with_biases - step.layer.count(step.before, step.after, biases=False)
            assert biases == step.layer.bias * step.layer.width


# one kind more, one class more ----------------------------------------------------------------------------------------


@pytest.fixture
def more_kinds(monkeypatch):
    """A kind of layer that the package does not have."""
    monkeypatch.setattr(base, "_KINDS", dict(base._KINDS))

    @base.kind
    @dataclass(frozen=True)
    class Gain(base.Layer):
        by: float = field(default=1.0, metadata=base.setting(_numbers.SIGNED, "a factor", "$s$"))

    yield Gain
    base.kinds.cache_clear()
    base.axes.cache_clear()


def test_a_new_kind_is_one_class(more_kinds):
    Gain = more_kinds
    branch = [Gain(2.0), ff.Dense(6, 1.5), ff.BatchNorm(0.5, trained=True)]
    net = ff.Network(6, [ff.Residual(branch, [ff.Dense(6)], 0.25), ff.Dense(2)])
    assert [type(step.layer).__name__ for step in net.steps] == [
        *(type(one).__name__ for one in branch),
        "Dense",
        "Residual",
        "Dense",
    ]
    assert net.steps[1].where == "layers[0].branch[1]"
    assert [step.reads for step in net.steps] == [(-1,), (0,), (1,), (-1,), (2, 3), (4,)]
    assert net.shapes == ((6,), (6,), (2,))
    assert (net.depth, net.outputs) == (3, 2)
    assert net.parameters() == 2 * (6 * 6 + 6) + 2 * 6 + 6 * 2 + 2
    assert net.replace(gamma=3.0, by=4.0, scale=5.0, sigma_w2=[1.0, 3.0, 2.0]) == ff.Network(
        6,
        [
            ff.Residual([Gain(4.0), ff.Dense(6, 1.0), ff.BatchNorm(3.0, trained=True)], [ff.Dense(6, 3.0)], 5.0),
            ff.Dense(2, 2.0),
        ],
    )
    assert net.replace(batch_norm=False).layers[0].branch == tuple(branch[:2])
    assert from_toml("a file", net._to_toml().encode()) == net
    assert net.with_widths([6, 6]) == net
    assert field_of(net, "by") == ("by", -1)
    with pytest.raises(ValueError, match=r"^axis by needs a Gain, and the network has none$"):
        field_of(ff.mlp([3, 2]), "by")
    with pytest.raises(ValueError, match=r"^axis layers\[0\]\.gamma must name a layer that has gamma, got .*Residual"):
        field_of(net, "layers[0].gamma")
    sampled = ff.sample(net, seed=3)
    assert [array.shape for array in (*sampled.weights, *sampled.gammas)] == [(6, 6), (6, 6), (2, 6), (6,)]
    assert np.all(sampled.gammas[0] == 0.5)
    assert "layers[0].branch[2] BatchNorm" in " ".join(repr(sampled).split())


def test_what_a_layer_holds_is_refused_where_it_stands(more_kinds):
    Gain = more_kinds
    for branch, sentence in (
        (
            [Gain(), ff.Activation("relu"), ff.Dense(6)],
            r"layers\[0\]\.branch\[1\]: an activation must stand behind a Dense.* it stands after Gain",
        ),
        (
            [ff.Dense(6), ff.LayerNorm(), ff.BatchNorm()],
            r"layers\[0\]\.branch\[2\]: BatchNorm must not .* after LayerN",
        ),
        ([ff.Dense(5)], r"layers\[0\]: branch and skip must end with one shape, got \(5,\) and \(6,\)"),
    ):
        with pytest.raises(ValueError, match=sentence):
            ff.Network(6, [ff.Residual(branch, [ff.Dense(6)]), ff.Dense(2)])
    text = "input_shape = 6\n[[layers]]\ntype = 'Residual'\nbranch = [{type = 'Dense', units = 0}]\n"
    with pytest.raises(ValueError, match=r"^f: layers\[0\]\.branch\[0\]: units must be a whole number >= 1, got 0$"):
        from_toml("f", text.encode())


def test_axes_have_words_and_ranges_of_the_layers_that_have_them():
    assert {"gamma", "beta", "eps", "sigma_w2", "sigma_b2", "scale"} <= set(base.axes())
    for name, axis in base.axes().items():
        assert labels.AXES[name] == (axis.words, axis.symbol)
        many = np.array([-1e101, -1.0, -1e-101, 0.0, 1e-101, 1.0, 1e101, np.nan, np.inf])
        for value, fits in zip(many.tolist(), axis.range.fits(many), strict=True):
            if fits:
                assert axis.range.convert(name, value) == value
            else:
                with pytest.raises(ValueError, match=f"^{name} must be "):
                    axis.range.convert(name, value)
