#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Write the files of an earlier version, which tests/test_old_files.py reads with this one.

    PYTHONPATH=CHECKOUT/python python tests/make_old_files.py NAME    makes tests/data/NAME.tar.gz

CHECKOUT is that version's, compiled. The archive holds networks as TOML, scans as Zarr stores (finished, interrupted,
and written by xarray) and as netCDF, phase diagrams, boundaries and a Figure2 of a training of milliseconds, the import
paths that its documentation names, and the numbers that it had of all that. Two of them are kept: 0.1-first, of commit
87392e1, whose stores have no checksums, and 0.1-last, of commit 0a94c09.
"""

from __future__ import annotations

import ast
import gzip
import inspect
import io
import json
import re
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import fisherfield as ff

DATA = Path(__file__).parent / "data"

# Every activation of 0.1, in every way that its parameter can be written.
FORMS = (
    *("linear", "relu", "leaky_relu", "leaky_relu(0.3)", "leaky_relu(-0.2)", "abs", "step", "sign", "relu6"),
    *("hardtanh", "hardsigmoid", "hardswish", "erf", "tanh", "sigmoid", "softsign", "sin", "cos", "exp", "gaussian"),
    *("rbf", "gelu", "gelu_tanh", "silu", "swish", "softplus", "mish", "elu", "elu(0.5)", "selu", "celu", "celu(0.5)"),
    *("monomial(3)", "rectified_monomial(2)", "hermite(4)", "polynomial(0.5, -1, 0, 0.25)"),
)


def networks() -> dict[str, ff.Network]:
    """What `Network.save` wrote: every kind of layer with every argument, and every activation."""
    forms = [[ff.Dense(5, 1.5, 0.1), ff.BatchNorm(0.7, 0.1), ff.Activation(form)] for form in FORMS]
    image = [
        ff.Conv2d(4, (3, 2), (2, 1), (1, 0), 1.5, 0.25),
        ff.BatchNorm(0.8, -0.3, 1e-3, True),
        ff.Activation("tanh"),
        ff.AvgPool2d((2, 3), (1, 2)),
        ff.Conv2d(3, 2, 1, 1),
        ff.Activation("elu", alpha=0.5),
        ff.AvgPool2d(2),
    ]
    return {
        "dense": ff.mlp(
            [784, 1000, 500, 10], "leaky_relu", gamma=[0.5, 2.0], beta=0.1, eps=1e-5, trained=[True, False]
        ),
        "vanilla": ff.mlp([784, 1000, 10], "gelu", batch_norm=False, sigma_w2=1.7, sigma_b2=0.0),
        "activations": ff.Network(6, [layer for three in forms for layer in three] + [ff.Dense(2)]),
        "flat_image": ff.Network((2, 9, 9), [*image, ff.Flatten(), ff.Dense(7), ff.BatchNorm(), ff.Dense(1)]),
        "pooled_image": ff.Network((2, 9, 9), [*image, ff.GlobalAvgPool2d(), ff.Flatten(), ff.Dense(3)]),
        "convnet": ff.convnet((1, 8, 8), [3, 4], outputs=2, activation="leaky_relu(0.1)", gamma=0.6),
    }


# As a user writes it: defaults are left out, parameters stand in brackets, one number is one for both sides.
HANDWRITTEN = """
input_shape = [1, 6, 6]
layers = [
    {type = "Conv2d", channels = 3, kernel = 2, stride = [1, 2]},
    {type = "BatchNorm", gamma = 2},
    {type = "Activation", function = "leaky_relu(0.3)"},
    {type = "AvgPool2d", kernel = 2},
    {type = "Flatten"},
    {type = "Dense", units = 4, sigma_b2 = 0},
    {type = "Activation", function = "polynomial", coefficients = [0, 1, -0.5]},
    {type = "Dense", units = 2},
]
"""


def handwritten() -> ff.Network:
    layers = [
        ff.Conv2d(3, (2, 2), (1, 2), (0, 0), 2.0, 0.5),
        ff.BatchNorm(2.0, 0.0, 0.0, False),
        ff.Activation("leaky_relu", slope=0.3),
        ff.AvgPool2d((2, 2), (2, 2)),
        ff.Flatten(),
        ff.Dense(4, 2.0, 0.0),
        ff.Activation("polynomial", coefficients=[0.0, 1.0, -0.5]),
        ff.Dense(2, 2.0, 0.5),
    ]
    return ff.Network((1, 6, 6), layers)


def numbers(net: ff.Network) -> dict[str, np.ndarray]:
    """lambda_max, a and b by theory."""
    pooled = any(type(layer).__name__.endswith("AvgPool2d") for layer in net.layers)
    theories = ("exact", "frozen") if pooled else ("exact", "frozen", "wei2019")
    # the closed recursion's, where a version has sampled units too
    words = {"units": None} if "units" in inspect.signature(ff.fisher).parameters else {}
    found = {theory: ff.fisher(net, theory=theory, samples=50, overlap=0.2, **words) for theory in theories}
    return {theory: np.array([each.lambda_max, each.a, each.b]) for theory, each in found.items()}


# ---------------------------------------------------------------------------------------------------- scans, training


def product(**more: Any) -> ff.Scan:
    """A product of axes, among them points without a value and infinitely many samples; a quantity of each shape."""
    axes = {"overlap": [0.0, 0.3, 1.0, 1.5], "samples": [10, None], "layers[3].sigma_w2": [0.5, 1.0, 2.0]}
    quantities = ("lambda_max", "max_learning_rate", "regime", "q", "contributions")
    net = ff.mlp([30, 100, 50, 3], gamma=0.7, trained=True)
    return ff.scan(net, axes, quantities, momentum=0.9, loss="mse", chunk=2, threads=1, **more)


def pairs(**more: Any) -> ff.Scan:
    """Paired points beside an axis, without BatchNorm."""
    axes = {("width", "sigma_w2"): [(20, 0.5), (30, 1.5), (40, 2.5)], "sigma_b2": np.linspace(0, 1, 4)}
    net = ff.mlp([10, 20, 20, 2], "tanh", batch_norm=False)
    return ff.scan(net, axes, ("lambda_max", "bulk"), samples=40, overlap=0.1, theory="frozen", chunk=3, **more)


SCANS: dict[str, Callable[..., ff.Scan]] = {"product": product, "pairs": pairs}


def training_data() -> tuple[np.ndarray, np.ndarray]:
    """Numbers that every machine has alike, and labels."""
    x = np.arange(32.0 * 4).reshape(32, 4) * 37 % 16 / 8 - 1
    return x, np.arange(32) % 2


TRAINED = ff.mlp([4, 8, 2], "tanh")
RECIPE: dict[str, Any] = {"momentum": 0.5, "batch": 16, "epochs": 2, "standardize": None}


def diagram(**more: Any) -> ff.Scan:
    axes = {"gammas": [0.5, 1.0], "learning_rates": [1e-3, 1e-2, 1e3]}
    words = {"seeds": 2, "chunk": 1, "threads": 1, "dtype": "float64"}
    return ff.experiments.phase_diagram(TRAINED, training_data(), **axes, **RECIPE, **words, **more)


def boundary(**more: Any) -> Any:
    return ff.experiments.boundary(TRAINED, training_data(), seeds=2, dtype="float64", threads=1, **RECIPE, **more)


TRAINING: dict[str, Callable[..., Any]] = {"diagram": diagram, "boundary": boundary}


def figure2() -> Any:
    words = {"gammas": [0.5, 1.0], "rates": 2, "seeds": 1, "threads": 1}
    return ff.experiments.figure2(training_data(), networks={"Dense: a small one": TRAINED}, **words, **RECIPE)


class Stop(BaseException):
    """Ends a call as Ctrl-C does."""


def interrupted(call: Callable[..., Any], path: Path) -> None:
    """What a call leaves behind that is stopped half-way."""

    def stop(done: int, total: int) -> None:
        if done >= total / 2:
            raise Stop

    try:
        call(store=path, progress=stop)
    except Stop:
        return
    raise AssertionError(f"{path.name} was not stopped")


def packed(arrays: dict[str, Any]) -> dict[str, Any]:
    """Arrays as shapes and hexadecimal floats."""
    every = {name: np.asarray(array[...], np.float64) for name, array in arrays.items()}
    return {name: [array.shape, [x.hex() for x in array.ravel().tolist()]] for name, array in every.items()}


def unpacked(arrays: dict[str, Any]) -> dict[str, np.ndarray]:
    return {name: np.reshape([float.fromhex(x) for x in text], shape) for name, (shape, text) in arrays.items()}


# -------------------------------------------------------------------------------------------------- documented paths

_FROM = re.compile(r"\bfrom\s+(fisherfield[\w.]*)\s+import\s+(\([^)]*\)|[^\n#;]+)")
_IMPORT = re.compile(r"(?:\bimport|\bpython -m)\s+(fisherfield[\w.]*)")
_DOTTED = re.compile(r"(?<![\w./-])(?:ff|fisherfield)((?:\.[A-Za-z]\w*)+)")
_FILES = ("toml", "md", "py", "zarr", "nc", "so")


def documented(root: Path) -> list[str]:
    """The import paths that README.md, docs/ and the docstrings of a checkout name, "fisherfield.data.load" say."""
    texts = [page.read_text(encoding="utf-8") for page in (root / "README.md", *sorted((root / "docs").glob("*.md")))]
    for source in sorted((root / "python").rglob("*.py")):
        texts += docstrings(source.read_text(encoding="utf-8"))
    return sorted({path for text in texts for path in paths(text) if path.rpartition(".")[2] not in _FILES})


def docstrings(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and (text := ast.get_docstring(node)):
            yield text


def paths(text: str) -> Iterator[str]:
    for module, names in _FROM.findall(text):
        yield from (f"{module}.{name.split()[0]}" for name in names.strip("()\n ").split(",") if name.strip())
    yield from _IMPORT.findall(text)
    yield from (f"fisherfield{rest}" for rest in _DOTTED.findall(text))


# --------------------------------------------------------------------------------------------------------------- file


def write(folder: Path) -> None:
    """All files of this version."""
    expected: dict[str, Any] = {"networks": {}, "scans": {}, "training": {}}
    for name in ("networks", "scans", "training"):
        (folder / name).mkdir()
    for name, net in {**networks(), "handwritten": handwritten()}.items():
        net.save(folder / "networks" / f"{name}.toml")
        expected["networks"][name] = packed(numbers(net))
    (folder / "networks" / "handwritten.toml").write_text(HANDWRITTEN, encoding="utf-8")
    for name, call in SCANS.items():
        scan = call(store=folder / "scans" / f"{name}.zarr")
        expected["scans"][name] = packed({**scan.arrays, "status": scan.status})
        interrupted(call, folder / "scans" / f"{name}_interrupted.zarr")
        scan.to_xarray().to_netcdf(folder / "scans" / f"{name}.nc", engine="h5netcdf")
        scan.to_xarray().to_zarr(folder / "scans" / f"{name}_xarray.zarr")
    for name, call in TRAINING.items():
        call(store=folder / "training" / f"{name}.zarr")
        interrupted(call, folder / "training" / f"{name}_interrupted.zarr")
        scan = ff.Scan.open(folder / "training" / f"{name}.zarr")
        expected["training"][name] = packed({**scan.arrays, "status": scan.status})
    figure2().save(folder / "training" / "figure2.json")
    (folder / "paths.json").write_text(json.dumps(documented(Path(ff.__file__).parents[2]), indent=0))
    (folder / "numbers.json").write_text(json.dumps(expected))


def pack(folder: Path, archive: Path) -> None:
    """The same bytes of the same files, whenever and by whomever; only netCDF's hold the time when they were made."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for file in sorted(file for file in folder.rglob("*") if file.is_file()):
            entry = tarfile.TarInfo(file.relative_to(folder).as_posix())
            entry.size = file.stat().st_size
            with file.open("rb") as content:
                tar.addfile(entry, content)
    archive.write_bytes(gzip.compress(buffer.getvalue(), mtime=0))


def unpack(archive: Path, folder: Path) -> None:
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder))
        pack(Path(folder), DATA / f"{sys.argv[1]}.tar.gz")
    print(f"{DATA / sys.argv[1]}.tar.gz: {(DATA / f'{sys.argv[1]}.tar.gz').stat().st_size} bytes")
