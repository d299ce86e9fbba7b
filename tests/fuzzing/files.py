# SPDX-License-Identifier: BSD-3-Clause
"""Damaged files: networks as TOML, stores of scans, arrays, IDX files, and a figure's JSON.

A case names the kind of file, which of several it is and where it is damaged (as shares of their number and of its
length), and how.
"""

from __future__ import annotations

import gzip
import re
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

import fisherfield as ff

from .drawn import Random, chance, pick
from .tools import SKIPPED, Refused, evaluate, is_sentence, outcome

Broken = Iterator[tuple[str, str]]
KINDS = ("toml", "toml", "store", "store", "store", "npy", "npz", "idx", "gz", "json")
ACTIONS = ("flip", "flip", "flip", "cut", "delete", "zero", "append", "number", "drop", "repeat")
FIGURE = Path(__file__).parents[2] / "docs" / "figure2.json"
NUMBERS = (
    b"-1",
    b"0",
    b"1e400",
    b"nan",
    b"inf",
    b"-inf",
    b"1e-300",
    b"99999999999999999999",
    b"2147483648",
    b'"x"',
    b"[]",
)


def draw(random: Random) -> str:
    kind, action = pick(random, KINDS), pick(random, ACTIONS)
    if kind == "store" and chance(random, 0.5):
        action = pick(random, ("flip", "delete"))
    file, at = float(random.random()), float(random.random())
    if chance(random, 0.2):
        at = float(random.random()) * 0.01  # headers
    return f"arguments({kind!r}, {action!r}, file={file:.6f}, at={at:.8f}, how={int(random.integers(1000))})"


# ---------------------------------------------------------------------------------------------------- undamaged ones
NET = {"activation": "tanh", "beta": 0.3, "gamma": 1.3}
AXES = {"gamma": np.linspace(0.5, 3.0, 12), "samples": [10, 100, None]}
WANTED = ("lambda_max", "max_learning_rate", "regime", "q")


def network() -> Any:
    return ff.mlp([6, 5, 4, 3], **NET)


@cache
def folder() -> Path:
    """One of each, made once in a process."""
    root = Path(tempfile.mkdtemp(prefix="files"))
    for kind in set(KINDS):
        (root / kind).mkdir()
    for place, net in enumerate(
        (
            network(),
            ff.convnet((2, 5, 5), [3, 4], 2, activation="celu(0.5)", trained=True),
            ff.mlp([3, 4], sigma_b2=0),
            ff.Network(7, [ff.Dense(5), ff.Activation("polynomial", coefficients=[0.5, 1.0, -0.25]), ff.Dense(1)]),
        )
    ):
        net.save(root / "toml" / f"{place}.toml")
    with suppress(ImportError):  # without zarr there are no stores
        ff.scan(network(), AXES, WANTED, chunk=12, store=root / "store" / "scan")
    random = np.random.default_rng(0)
    x, y = random.standard_normal((12, 2, 3)), np.arange(12) % 3
    np.save(root / "npy" / "x.npy", x)
    np.savez(root / "npz" / "plain.npz", x=x, y=y)
    np.savez_compressed(root / "npz" / "packed.npz", x_train=x, y_train=y, x_test=x[:5], y_test=y[:5])
    for kind, opened, end in (("idx", open, ""), ("gz", gzip.open, ".gz")):
        for name, header, sizes in (("images-idx3", (20, 4, 5), 400), ("labels-idx1", (20,), 20)):
            head = bytes([0, 0, 8, len(header)]) + b"".join(size.to_bytes(4, "big") for size in header)
            with opened(root / kind / f"train-{name}-ubyte{end}", "wb") as file:  # type: ignore[operator]
                file.write(head + random.integers(0, 10, sizes, np.uint8).tobytes())
    if FIGURE.exists():
        shutil.copy(FIGURE, root / "json" / "figure2.json")
    return root


# ---------------------------------------------------------------------------------------------------- damage
def damage(kind: str, action: str, *, file: float, at: float, how: int) -> tuple[Path, str]:
    """A damaged copy, and in words what was done to it."""
    source = folder() / kind
    copy = Path(tempfile.mkdtemp(prefix="damaged")) / kind
    shutil.copytree(source, copy)
    files = sorted(path for path in copy.rglob("*") if path.is_file())
    if not files:
        return copy, "nothing"
    path = files[int(file * len(files))]
    content = bytearray(path.read_bytes())
    place = int(at * len(content))
    name = f"{path.relative_to(copy)} of {len(content)} bytes: {action} at {place}"
    if action == "delete":
        path.unlink()
        return copy, name
    if action == "flip":
        content[place] ^= 1 << how % 8
    elif action == "cut":
        del content[place:]
    elif action == "zero":
        content[place : place + 1 + how % 64] = bytes(len(content[place : place + 1 + how % 64]))
    elif action == "append":
        content += bytes(content[: 1 + how % 50])
    elif action == "drop":
        del content[place : place + 1 + how % 5]
    elif action == "repeat":
        content[place:place] = content[place : place + 1 + how % 80]
    elif numbers := list(re.finditer(rb"-?\d+(\.\d+)?(e[-+]?\d+)?|true|false", bytes(content))):
        number = numbers[int(at * len(numbers))]
        content[number.start() : number.end()] = NUMBERS[how % len(NUMBERS)]
        name += f" {NUMBERS[how % len(NUMBERS)].decode()} for {number[0].decode()}"
    path.write_bytes(content)
    return copy, name


# ---------------------------------------------------------------------------------------------------- laws
SENTENCES = (ValueError, OSError, ImportError)


def check(text: str) -> Broken:
    """what was written or one sentence: no other numbers out of stores and packed files, what is missing in a store is
    computed again, no NaN, no other exception, no growth."""
    (kind, action), arguments = evaluate(text)
    copy, words = damage(kind, action, **arguments)
    if words == "nothing":
        yield SKIPPED, f"no file of the kind {kind}, which takes the package's extras or its docs/"
        return
    try:
        for expected, got in LAWS[kind](copy):
            yield expected, f"{got} ({words})"
    finally:
        shutil.rmtree(copy.parent)


def refused(result: Any, what: str) -> Broken:
    if not is_sentence(result, SENTENCES):
        yield f"{what}, or one sentence", repr(result)


def of_toml(copy: Path) -> Broken:
    for path in sorted(copy.rglob("*.toml")):
        net = outcome(ff.load, path)
        if isinstance(net, Refused):
            yield from refused(net, "a network")
            continue
        if sum(size * size for shape in net.shapes if len(shape) == 3 for size in [shape[1] * shape[2]]) > 10**5:
            continue  # a larger image is a right one, and takes its time
        result = outcome(ff.fisher, net)
        if isinstance(result, Refused):
            yield from refused(result, "numbers")
        elif np.isnan([result.lambda_max, result.mean, result.bulk]).any():
            yield "numbers of the network read", repr(result)


@cache
def values() -> Any:
    return ff.scan(network(), AXES, WANTED, chunk=12)


def of_store(copy: Path) -> Broken:
    path = copy / "scan"
    opened = outcome(ff.Scan.open, path)
    if isinstance(opened, Refused):
        yield from refused(opened, "the scan")
    else:
        yield from same(opened, "opened")
    warnings.filterwarnings("ignore", message="store .* was damaged in")  # and what is done about it
    resumed = outcome(ff.scan, network(), AXES, WANTED, chunk=12, store=path)
    if isinstance(resumed, Refused):
        yield from refused(resumed, "the scan, gone on with")
        return
    yield from same(resumed, "gone on with")
    again = outcome(ff.Scan.open, path)
    if isinstance(again, Refused):
        yield "the scan opened that was just written", repr(again)
    else:
        yield from same(again, "gone on with and opened")


def same(scan: Any, what: str) -> Broken:
    """Where a value is said to be there, it is the right one; where the scan went on, all of them are."""
    right = values()

    def read() -> dict[str, Any]:
        result = {name: np.asarray(scan[name][...]) for name in WANTED}
        return result | {"status": np.asarray(scan.status[...])} | {name: np.asarray(scan[name]) for name in AXES}

    result = outcome(read)
    if isinstance(result, Refused):
        yield from refused(result, f"the values of the scan {what}")
        return
    status = result.pop("status")
    if status.shape != right.status.shape:
        yield f"a status of shape {right.status.shape} {what}", repr(status.shape)
        return
    known = np.ones(status.shape, bool) if what != "opened" else status != -1
    if not np.array_equal(status[known], right.status[known]):
        yield f"the status {what}", f"{int((status != right.status)[known].sum())} of {status.size} are others"
    for name, array in result.items():
        expected = np.asarray(right[name])
        if array.shape != expected.shape:
            yield f"{name} of shape {expected.shape} {what}", repr(array.shape)
            continue
        chosen = known if array.shape[: status.ndim] == status.shape else ...
        one, two = array[chosen], expected[chosen]
        alike = (one == two) | ((one != one) & (two != two))
        if not alike.all():
            yield f"{name} as written, {what}", f"{int((~alike).sum())} of {alike.size} are others"


def of_arrays(copy: Path) -> Broken:
    for path in sorted(copy.rglob("*.np?")):
        for standardize in (None, "global"):
            result = outcome(ff.data.load, path, standardize=standardize)
            if isinstance(result, Refused):
                yield from refused(result, "the arrays")
            elif not np.isfinite(result.x).all():
                yield "finite numbers", repr(result)
            elif standardize is None and path.suffix == ".npz":  # whose format has checksums
                yield from as_written(result, folder() / "npz" / path.name)


def of_idx(copy: Path) -> Broken:
    result = outcome(ff.data.load, copy, standardize=None)
    if isinstance(result, Refused):
        yield from refused(result, "the images")
    elif any(path.suffix == ".gz" for path in copy.iterdir()):  # has a checksum
        yield from as_written(result, folder() / "gz")


@cache
def original(path: Path) -> Any:
    return ff.data.load(path, standardize=None)


def as_written(result: Any, path: Path) -> Broken:
    right = original(path)
    labels = result.y is right.y or (result.y is not None and right.y is not None and np.array_equal(result.y, right.y))
    if not np.array_equal(result.x, right.x) or not labels:
        yield "the numbers that were written", repr(result)


def of_json(copy: Path) -> Broken:
    for path in sorted(copy.rglob("*.json")):
        result = outcome(ff.experiments.Figure2.open, path)
        if isinstance(result, Refused):
            yield from refused(result, "the figure")
            continue
        words = outcome(repr, result)
        if isinstance(words, Refused):
            yield from refused(words, "the figure's table")


LAWS = {
    "toml": of_toml,
    "store": of_store,
    "npy": of_arrays,
    "npz": of_arrays,
    "idx": of_idx,
    "gz": of_idx,
    "json": of_json,
}
