# SPDX-License-Identifier: BSD-3-Clause
"""The package's names come when they are used, and what describes a network needs no compiled core."""

import ast
import inspect
import os
import pickle
import re
import runpy
import subprocess
import sys
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import FunctionType, ModuleType
from typing import get_args

import pytest

import fisherfield as ff
from fisherfield import _core, _numbers
from fisherfield.network import activation as activations


def run(code, **environment):
    """What a fresh interpreter prints."""
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={**os.environ, **environment}
    )
    return out.stdout.strip()


WITHOUT_CORE = "import sys; sys.modules['fisherfield._core'] = None\n"


def test_activations_are_the_core_s_in_name_and_homogeneity():
    assert list(ff.activation_names()) == _core.activation_names()
    for name, (parameter, _) in activations._TABLE.items():
        texts = {
            "": (name,),
            "n": tuple(f"{name}({n})" for n in range(4)),
            "coefficients": tuple(f"{name}({numbers})" for numbers in ("0", "0, 1", "1, 1", "0, 0, 1")),
        }.get(parameter.name if parameter else "", (name, f"{name}(0.5)"))
        for text in texts:
            phi = ff.Activation(text)
            assert phi.homogeneous == phi._compiled.homogeneous, text
    assert not ff.Activation(abs).homogeneous
    assert not ff.Activation(abs)._compiled.homogeneous


def test_limits_of_activations_are_the_core_s():
    assert _numbers.MAX_DEGREE == _core.MAX_DEGREE
    kinks = [float(place) for place in range(activations._MOST_KINKS + 1)]
    _core.CallableActivation(abs, abs, kinks[:-1])
    with pytest.raises(ValueError, match="kinks must be at most 8 points, got 9"):
        _core.CallableActivation(abs, abs, kinks)
    with pytest.raises(ValueError, match="kinks must be at most 8 points, got 9"):
        ff.Activation(abs, kinks=kinks)


def test_networks_and_activations_are_described_saved_and_refused_without_the_core(tmp_path):
    path = tmp_path / "net.toml"
    out = run(
        WITHOUT_CORE
        + "import pickle, fisherfield as ff\n"
        + f"net = ff.convnet((1, 8, 8), [3, 4], 2, activation='leaky_relu'); net.save({str(path)!r})\n"
        + f"assert ff.load({str(path)!r}) == pickle.loads(pickle.dumps(net)) == net.replace(gamma=1)\n"
        + "print(net.parameters(), net.depth, net.shapes[-1], net.layers[2].homogeneous, repr(net.layers[2]))\n"
        + "bad = ('ff.Activation(\"tanhh\")', 'ff.Activation(abs, kinks=range(9))', 'ff.fisher')\n"
        + "for call in bad:\n"
        + "    try: eval(call)\n"
        + "    except (ValueError, ImportError) as error: print(type(error).__name__)\n"
    )
    # (9 + 1) 3 + (27 + 1) 4 + (16 + 1) 2 parameters
    expected = "176 3 (2,) True Activation('leaky_relu', slope=0.01)\nValueError\nValueError\nModuleNotFoundError"
    assert out == expected


def test_threads_make_one_compiled_activation_together_and_copies_their_own():
    with ThreadPoolExecutor(8) as threads:
        for _ in range(50):
            phi = ff.Activation("tanh")
            assert len(set(map(id, threads.map(lambda _, phi=phi: phi._compiled, range(16))))) == 1
    net = ff.mlp([3, 4, 2], "tanh")
    assert pickle.dumps(net) == pickle.dumps(pickle.loads(pickle.dumps(net)))
    before = pickle.dumps(net)
    assert ff.fisher(net).a > 0
    assert pickle.dumps(net) == before  # what the core made of it is not in it
    assert net == ff.mlp([3, 4, 2], "tanh")


def test_type_checkers_and_the_interpreter_see_the_same_names():
    tree = ast.parse(Path(ff.__file__).read_text(encoding="utf-8"))
    checked = next(node for node in tree.body if isinstance(node, ast.If))
    homes = {alias.name: node.module for node in checked.body[:-1] for alias in node.names}
    assert sorted(homes) == ast.literal_eval(checked.body[-1].value)
    assert set(ff.__all__) == set(homes)  # kinds in modules of their own, too
    homes = {name: home for name, home in homes.items() if home}
    assert {name: home for name, home in homes.items() if name not in ff.network.kinds()} == ff._HOME
    assert {name for name in homes if name not in ff._HOME} == set(ff.network.kinds())


@pytest.mark.parametrize("name", ["", "torch"])
def test_dir_has_the_public_names_and_no_others(name):
    """Completion offers what is there to be used, and none of what the module itself imports."""
    if name:
        pytest.importorskip(name)
    out = run(
        "from importlib import import_module\n"
        f"module = import_module('fisherfield{name and '.'}{name}')\n"
        "names = [name for name in dir(module) if not name.startswith('__')]\n"
        "assert names == sorted(module.__all__), names\n"
        "[getattr(module, name) for name in dir(module)]\n"
        "print('whole')"
    )
    assert out == "whole"


def test_a_kind_in_a_new_file_is_public(tmp_path):
    (tmp_path / "half.py").write_text(
        "from dataclasses import dataclass\n"
        "from fisherfield.network.layer import Layer, kind\n"
        "@kind\n"
        "@dataclass(frozen=True)\n"
        "class Half(Layer):\n"
        "    pass\n"
    )
    out = run(
        "import sys\n"
        "from importlib.util import find_spec, module_from_spec\n"
        "spec = find_spec('fisherfield.network')\n"
        f"spec.submodule_search_locations.append({str(tmp_path)!r})\n"
        "sys.modules[spec.name] = module_from_spec(spec)\n"
        "spec.loader.exec_module(sys.modules[spec.name])\n"
        "import fisherfield as ff\n"
        "assert 'Half' in ff.__all__ and 'Half' in dir(ff) and 'Half' in ff.network.__all__\n"
        "from fisherfield import *\n"
        "print(Half is ff.Half, repr(Half()), ff.Network(3, [ff.Dense(2), Half()]).shapes)"
    )
    assert out.split() == ["True", "Half()", "((3,),", "(2,),", "(2,))"]


@pytest.mark.parametrize("first", sorted(ff._MODULES))
def test_every_public_name_is_what_it_is_whichever_module_comes_first(first):
    """scan is a function, and the name of a room too."""
    out = run(
        f"import fisherfield.{first}\n"
        "import fisherfield as ff\n"
        "assert set(ff.__all__) <= set(dir(ff))\n"
        "first = [type(getattr(ff, name)).__name__ for name in ff.__all__]\n"
        "from fisherfield import *\n"
        "print(first == [type(globals()[name]).__name__ for name in ff.__all__], *first)"
    )
    assert out.split() == ["True", *(type(getattr(ff, name)).__name__ for name in ff.__all__)]
    for name in ("fisher", "scan", "verify", "order_parameters", "sampled_fisher"):
        assert isinstance(getattr(ff, name), FunctionType)
    assert isinstance(ff.gaussian, ModuleType)


CHOICES = {
    "theory": ("Theory", {"exact", "frozen", "wei2019"}),
    "loss": ("Loss", {"sum", "mean", "mse", "cross_entropy"}),
    "statistics": ("Statistics", {"exact", "frozen"}),
    "backend": ("Backend", {"cpu", "cuda"}),
    "standardize": ("Standardize | None", {"global", "feature"}),
}


def test_type_checkers_know_the_words_of_every_choice():
    """So that loss="msee" is found before anything runs; `reference` has words of its own."""
    modules = (ff, ff.data, ff.experiments, ff.figures)
    names = [getattr(module, name) for module in modules for name in module.__all__]
    functions = [each for each in names if isinstance(each, FunctionType)] + [ff.FisherOperator.__init__]
    found = set()
    for function in functions:
        for name in CHOICES.keys() & inspect.signature(function).parameters.keys():
            annotation = inspect.signature(function).parameters[name].annotation
            words = CHOICES[name][0], f"{CHOICES[name][0]} | Callable[..., Any]"  # or a function of one's own
            assert annotation in words, (function.__qualname__, name)
            found.add(name)
    assert found == set(CHOICES)
    for word, allowed in CHOICES.values():
        assert set(get_args(getattr(_numbers, word.partition(" ")[0]))) == allowed


def test_a_name_that_is_none_is_refused():
    with pytest.raises(AttributeError, match="has no attribute 'fischer'"):
        _ = ff.fischer


@pytest.mark.parametrize("way", ["import fisherfield.theory", "import fisherfield as ff; ff.fisher"])
def test_the_environment_sets_up_the_core_by_whichever_way_it_comes(way):
    path = _core.simd_paths()[0]  # one that every machine has
    code = f"{way}\nfrom fisherfield import _core\nprint(_core.num_threads(), _core.simd_path())"
    assert run(code, FISHERFIELD_NUM_THREADS="3", FISHERFIELD_SIMD=path) == f"3 {path}"


# ------------------------------------------------------------------------------------------------- lowest versions

MINIMA = Path(__file__).parent.parent / ".ci" / "minima.py"


@pytest.mark.skipif(not MINIMA.exists(), reason="a source distribution has no continuous integration")
def test_the_lowest_versions_that_are_tested_are_those_that_are_asked_for():
    minima = runpy.run_path(str(MINIMA))["minima"]
    project = tomllib.loads((MINIMA.parent.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = {*project["dependencies"], *sum(project["optional-dependencies"].values(), [])}  # noqa: RUF017
    plain = {re.sub(r"\[.*\]", "", text).replace(">=", "==") for text in asked if not text.startswith("fisherfield[")}
    assert minima(project) == sorted(plain)
    assert {text.partition("==")[0] for text in plain} >= {"numpy", "typer", "zarr", "torch", "dask", "pytest"}
    with pytest.raises(SystemExit, match=r"^pyproject.toml must have NAME>=VERSION everywhere, got 'numpy'$"):
        minima({**project, "dependencies": ["numpy"]})
