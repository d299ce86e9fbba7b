# SPDX-License-Identifier: BSD-3-Clause
"""The rooms of the package: what is imported at once goes from right to left, and never in a circle."""

from __future__ import annotations

import ast
import pickle
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import numpy as np
import pytest

import fisherfield as ff

HOME = Path(ff.__file__).parent
ROOMS = next(
    line.split(" -> ")
    for line in (Path(__file__).parent.parent / "CONTRIBUTING.md").read_text(encoding="utf-8").splitlines()
    if line.strip().startswith("data -> network")
)
ROOMS = [room.strip() for room in ROOMS]
FACADES = {"__init__", "__main__", "experiments", "figures"}  # names of rooms for users
MODULES = {
    path.relative_to(HOME).with_suffix("").as_posix().removesuffix("/__init__").replace("/", "."): path
    for path in HOME.rglob("*.py")
}


def at_once(tree):
    """The imports that run with the module: not those in functions, nor those for type checkers."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            yield node
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            yield from (each for part in node.orelse for each in at_once(part))
        elif not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield from at_once(node)


def imported(name):
    """The package's modules that one names in its imports; rooms that come with their modules are none of them."""
    package = name.split(".") if MODULES[name].name == "__init__.py" and name != "__init__" else name.split(".")[:-1]
    for node in at_once(ast.parse(MODULES[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[2] for alias in node.names if alias.name.startswith("fisherfield."))
        elif node.level:
            base = [*package[: len(package) - node.level + 1], *(node.module or "").split(".")]
            base = ".".join(part for part in base if part)
            for alias in node.names:
                inner = f"{base}.{alias.name}".removeprefix(".")
                yield inner if inner in MODULES else base


GRAPH = {name: {each for each in imported(name) if each in MODULES and each != name} for name in MODULES}


def test_imports_make_no_circle():
    assert sum(map(len, GRAPH.values())) > 200
    try:
        tuple(TopologicalSorter(GRAPH).static_order())
    except CycleError as error:
        pytest.fail(" <- ".join(error.args[1]))


def test_a_circle_would_be_found():
    with pytest.raises(CycleError):
        tuple(TopologicalSorter({**GRAPH, "_words": {"_numbers"}}).static_order())


def test_rooms_import_rooms_to_their_left():
    places = {room: place for place, room in enumerate(ROOMS)}
    assert {name.partition(".")[0] for name in MODULES if "." in name} - {"reference"} == set(ROOMS)
    wrong = []
    for name, others in GRAPH.items():
        room = name.partition(".")[0]
        if room in FACADES or room == "reference":
            continue
        for other in others:
            into = other.partition(".")[0]
            known = into in places or into == "reference"
            if known and places.get(into, len(places)) > places.get(room, -1) and room != "command_line":
                wrong.append(f"{name} imports {other}")
    assert wrong == []


def test_few_modules_stand_outside_of_rooms():
    assert len(list(HOME.glob("*.py"))) <= 14


def names_in(tree):
    """Every name that a module gives: to variables, arguments, functions, classes and attributes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.attr
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.MatchAs, ast.ExceptHandler)) and node.name:
            yield node.lineno, node.name


VAGUE = {"said", "told", "given", "found", "odd", "left"}


def test_names_say_what_they_name():
    names = [(name, *each) for name, path in MODULES.items() for each in names_in(ast.parse(path.read_text("utf-8")))]
    assert len(names) > 5000
    assert [each for each in names if each[-1].strip("_") in VAGUE] == []


def test_what_users_pickle_comes_back():
    net = ff.mlp([4, 6, 2])
    x = np.random.default_rng(0).standard_normal((5, 4))
    results = {
        "fisher": ff.fisher(net, samples=9),
        "rate": ff.max_learning_rate(net, 0.9, nesterov=True),
        "order": ff.order_parameters(net),
        "scan": ff.scan(net, {"gamma": [0.5, 1.0]}),
        "sampled": ff.sample(net),
        "spectrum": ff.sampled_fisher(net, x),
        "moments": ff.sampled_moments(net, x),
        "density": ff.sampled_density(net, x, vectors=2, steps=3),
        "verification": ff.verify(net, seeds=2, samples=5),
        "data": ff.data.load((x, np.arange(5))),
        "boundary": ff.experiments.Boundary(net, (0,), np.ones(1), np.ones(1), {}, {}),
        "figure": ff.experiments.Figure2({}, {"seeds": "0"}),
    }
    for name, result in results.items():
        again = pickle.loads(pickle.dumps(result))
        assert type(again) is type(result), name
        if name not in ("boundary", "figure"):
            assert repr(again) == repr(result), name


def test_a_diagram_is_read_where_nothing_was_trained(tmp_path):
    """The words for training come with what reads them."""
    import subprocess
    import sys

    pytest.importorskip("zarr")
    pytest.importorskip("torch")
    pytest.importorskip("sklearn")
    net = ff.mlp([64, 8, 10])
    store = tmp_path / "cells.zarr"
    diagram = ff.experiments.phase_diagram(
        net, "digits", [1.0], [0.01, 0.1], epochs=1, samples=64, batch=32, store=store
    )
    code = (
        "import sys, fisherfield as ff\n"
        f"scan = ff.Scan.open({str(store)!r})\n"
        "print('\\n'.join(repr(scan).splitlines()[:3]))\n"
        "assert 'torch' not in sys.modules"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.splitlines() == repr(diagram).splitlines()[:3]
    assert out.startswith("Scan of 1 x 2 = 2 points: training on digits, loss sum, momentum 0.9, batch 32, 1 epochs")
