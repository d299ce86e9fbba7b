# SPDX-License-Identifier: BSD-3-Clause
"""A kind of layer is one class: who works on a network asks its layers, and never which kind one is."""

import ast
from pathlib import Path

import pytest

import fisherfield as ff
from fisherfield.network import layer as base

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
