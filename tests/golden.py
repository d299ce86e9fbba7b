#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""What the program computed for 570 fixed questions, kept as hexadecimal floats: a change that should alter no number
is held to it, bit by bit or nearly so.

    python tests/golden.py make             draw the questions again, and answer them all
    python tests/golden.py update TAG ...   answer those that carry one of the tags again: a change meant to alter them
    python tests/golden.py compare          what differs from the file, and by how much

`update` prints how many cases changed, and the largest and median change: they belong into the commit's message, with
the evidence from sampled networks. Tags: fisher, scan, sampled; the theory; dense, conv; padded, mean-zero (of an
activation behind BatchNorm), norm, trained, beta, eps, finite (samples are given), quadrature.
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
import math
import statistics
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import fisherfield as ff

FILE = Path(__file__).parent / "data" / "golden.json.gz"

CLOSED = ("relu", "leaky_relu(0.3)", "abs", "linear", "step", "sign", "erf", "sin", "cos", "exp", "gaussian", "rbf")
POLYNOMIAL = ("monomial(3)", "rectified_monomial(2)", "hermite(4)", "polynomial(0.5, -1, 0, 0.25)")
QUADRATURE = (
    *("tanh", "sigmoid", "gelu", "gelu_tanh", "silu", "softplus", "elu", "selu", "celu(0.5)", "mish", "hardtanh"),
    *("hardsigmoid", "hardswish", "relu6", "softsign"),
)
MEAN_ZERO = ("tanh", "erf", "sin", "linear", "hardtanh", "softsign", "sign", "monomial(3)")
THEORIES = ("exact", "frozen", "wei2019")


# ------------------------------------------------------------------------------------------------------ questions


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def norm(rng: np.random.Generator, shifted: bool) -> ff.BatchNorm:
    return ff.BatchNorm(
        gamma=log_uniform(rng, 0.1, 5.0) * float(rng.choice([1.0, 1.0, -1.0])),
        beta=float(rng.normal(0.0, 0.7)) if shifted else 0.0,
        eps=float(rng.choice([0.0, 0.0, 1e-5, 0.1])),
        trained=bool(rng.random() < 0.25),
    )


def variances(rng: np.random.Generator) -> tuple[float, float]:
    return log_uniform(rng, 0.3, 4.0), float(rng.choice([0.0, 0.05, 0.5]))


def activation(rng: np.random.Generator) -> ff.Activation:
    # images take two integrals for each pair of positions, so that most activations there have closed forms
    names = CLOSED + POLYNOMIAL + QUADRATURE
    return ff.Activation(str(rng.choice(names)))


def dense(rng: np.random.Generator) -> ff.Network:
    layers: list[Any] = []
    share, shifted = rng.choice([0.0, 0.5, 1.0]), rng.random() < 0.5
    phi = activation(rng)
    depth = int(rng.integers(1, 9))
    for place in range(depth):
        layers.append(ff.Dense(int(rng.integers(1, 1200)), *variances(rng)))
        last = place == depth - 1
        if rng.random() < (share if not last else 0.2 * share):
            layers.append(norm(rng, shifted))
        if not last:
            layers.append(phi if rng.random() < 0.8 else activation(rng))
    return ff.Network(int(rng.integers(1, 1000)), layers)


def conv(rng: np.random.Generator) -> ff.Network:
    channels, size = int(rng.integers(1, 4)), [int(rng.integers(1, 8)), int(rng.integers(1, 8))]
    shape = (channels, *size)
    layers: list[Any] = []
    shifted = rng.random() < 0.4
    quick = ff.Activation(str(rng.choice(CLOSED)))
    for _ in range(int(rng.integers(1, 4))):
        padding, stride = int(rng.integers(0, 3)), int(rng.integers(1, 3))
        kernel = tuple(int(rng.integers(1, min(3, side + 2 * padding) + 1)) for side in size)
        layers.append(ff.Conv2d(int(rng.integers(1, 100)), kernel, stride, padding, *variances(rng)))
        size = [(side + 2 * padding - tap) // stride + 1 for side, tap in zip(size, kernel, strict=True)]
        if rng.random() < 0.6:
            layers.append(norm(rng, shifted))
        layers.append(quick if math.prod(size) > 9 or rng.random() < 0.7 else activation(rng))
        if min(size) >= 2 and rng.random() < 0.3:
            layers.append(ff.AvgPool2d(2, 2))
            size = [(side - 2) // 2 + 1 for side in size]
    if rng.random() < 0.3:
        layers.append(ff.GlobalAvgPool2d())
    layers += [ff.Flatten(), ff.Dense(int(rng.integers(1, 11)), *variances(rng))]
    return ff.Network(shape, layers)


def settings(rng: np.random.Generator, net: ff.Network) -> dict[str, Any]:
    pooled = any(type(layer).__name__.endswith("AvgPool2d") for layer in net.layers)
    theory = str(rng.choice(THEORIES[:2] if pooled else THEORIES))
    samples = None if rng.random() < 0.35 else int(rng.choice([2, 4, 5, 30, 128, 500, 60000]))
    length = float(rng.choice([1.0, 1.0, log_uniform(rng, 0.3, 3.0)]))
    overlap = float(rng.choice([0.0, 0.0, 0.5 * length, 0.9 * length]))
    biases = rng.choice([None, None, True, False])
    return {"theory": theory, "samples": samples, "overlap": overlap, "length": length, "biases": biases}


def tags(kind: str, net: ff.Network, arguments: dict[str, Any]) -> list[str]:
    names = [type(layer).__name__ for layer in net.layers]
    norms = [layer for layer in net.layers if type(layer).__name__ == "BatchNorm"]
    functions = [str(layer) for layer in net.layers if type(layer).__name__ == "Activation"]
    every = {
        kind: True,
        arguments["theory"]: True,
        "conv" if "Conv2d" in names else "dense": True,
        "padded": any(getattr(layer, "padding", 0) not in (0, (0, 0)) for layer in net.layers),
        "mean-zero": bool(norms) and any(name in MEAN_ZERO for name in functions),
        "norm": bool(norms),
        "trained": any(layer.trained for layer in norms),
        "beta": any(layer.beta != 0 for layer in norms),
        "eps": any(layer.eps != 0 for layer in norms),
        "finite": arguments["samples"] is not None,
        "quadrature": any(name in QUADRATURE for name in functions),
    }
    return [tag for tag, holds in every.items() if holds]


def toml(net: ff.Network) -> str:
    with tempfile.TemporaryDirectory() as folder:
        net.save(f"{folder}/net.toml")
        return Path(f"{folder}/net.toml").read_text(encoding="utf-8")


def network(text: str) -> ff.Network:
    with tempfile.TemporaryDirectory() as folder:
        Path(f"{folder}/net.toml").write_text(text, encoding="utf-8")
        return ff.load(f"{folder}/net.toml")


def case(kind: str, net: ff.Network, arguments: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"kind": kind, "tags": tags(kind, net, arguments), "network": toml(net), "settings": arguments, **more}


def questions(seed: int = 20260) -> list[dict[str, Any]]:
    rng = np.random.default_rng(seed)
    out = []
    while len(out) < 500:
        net = dense(rng) if rng.random() < 0.7 else conv(rng)
        arguments = settings(rng, net)
        try:
            ff.fisher(net, **arguments, units=None)
        except ValueError:  # variance 0 under BatchNorm, or what overflows
            continue
        out.append(case("fisher", net, arguments))
    for number in range(40):
        net = dense(rng) if number % 5 else conv(rng)
        arguments = settings(rng, net)
        arguments["biases"] = None
        out.append(case("scan", net, arguments, axes=axes(rng, net, arguments, number)))
    for number in range(30):
        net = small(rng, images=number % 3 == 0)
        arguments = {"theory": str(rng.choice(THEORIES[:2])), "samples": int(rng.integers(3, 12))}
        out.append(case("sampled", net, arguments, seed=number))
    return out


def axes(rng: np.random.Generator, net: ff.Network, arguments: dict[str, Any], number: int) -> dict[str, list[float]]:
    """Two axes; among their values are such as have no answer, so that every status occurs."""
    every: dict[str, list[float]] = {
        "sigma_w2": [0.0, 0.5, 2.0, 1e60],
        "sigma_b2": [0.0, 0.3, 1e-90],
        "length": [1e-3, 1.0, 40.0],
        "overlap": [-0.01, 0.0, 0.4, 3.0],
        "samples": [2.0, 5.0, 1000.0, math.inf],
    }
    if any(type(layer).__name__ == "BatchNorm" for layer in net.layers):
        every |= {"gamma": [-1.5, 0.0, 0.3, 2.0, 1e50], "beta": [-2.0, 0.0, 0.5, 15.0], "eps": [0.0, 1e-3, 1.0]}
    chosen = rng.choice(sorted(every), size=2, replace=False)
    for name in chosen:
        arguments[str(name)] = {"samples": None, "overlap": 0.0, "length": 1.0}.get(str(name), arguments.get(str(name)))
    return {str(name): every[str(name)] for name in chosen}


def small(rng: np.random.Generator, images: bool) -> ff.Network:
    phi = ff.Activation(str(rng.choice(["relu", "tanh", "gelu", "leaky_relu(0.3)"])))
    norms = [norm(rng, True)] if rng.random() < 0.7 else []
    if not images:
        hidden = [ff.Dense(int(rng.integers(3, 30)), *variances(rng)), *norms, phi]
        return ff.Network(int(rng.integers(2, 20)), [*hidden, *hidden, ff.Dense(int(rng.integers(1, 4)), 2.0, 0.1)])
    layers = [ff.Conv2d(int(rng.integers(2, 8)), 3, 1, int(rng.integers(0, 2)), *variances(rng)), *norms, phi]
    pool = [ff.AvgPool2d(2, 2)] if rng.random() < 0.5 else []
    return ff.Network((2, 5, 5), [*layers, *pool, ff.Flatten(), ff.Dense(2, 1.5, 0.2)])


# -------------------------------------------------------------------------------------------------------- answers

SPECTRUM = ("a", "b", "lambda_max", "bulk", "mean", "second_moment", "multiplicity")
SCANNED = ("lambda_max", "bulk", "mean", "second_moment", "max_learning_rate", "multiplicity", "regime", "a", "b")


def answer(question: dict[str, Any]) -> dict[str, list[float]]:
    """Every number of one question, by name."""
    net, arguments = network(question["network"]), question["settings"]
    if question["kind"] == "fisher":
        # the closed recursion's: tests/test_edge.py holds the edge, tests/test_units_core.py sampled units
        result = ff.fisher(net, **arguments, edge=False, units=None)
        parameters = ff.order_parameters(net, **arguments, units=None)
        out = {name: [float(getattr(result, name))] for name in SPECTRUM}
        out |= {"part_a": result.layers.a.tolist(), "part_b": result.layers.b.tolist()}
        columns = ("q_hat", "q_hat_xy", "v_hat", "q", "q_xy", "v", "theta", "theta_xy", "d")
        return out | {name: getattr(parameters, name).tolist() for name in columns}
    if question["kind"] == "scan":
        free = {key: value for key, value in arguments.items() if key not in question["axes"]}
        result = ff.scan(net, question["axes"], SCANNED, momentum=0.9, threads=1, **free)
        out = {name: np.asarray(result[name], np.float64).ravel().tolist() for name in SCANNED}
        status = np.where(result.status == 8, 0, result.status)  # an edge that may rule: tests/test_scan_edge.py
        return out | {"status": status.astype(np.float64).ravel().tolist()}
    seed = question["seed"]
    x = ff.data.gaussian(net, arguments["samples"], seed)
    spectrum = ff.sampled_fisher(net, x, seed, arguments["theory"], k="all", method="dense")
    return {"eigenvalues": np.asarray(spectrum.eigenvalues).tolist()}


def layers(question: dict[str, Any]) -> int:
    return len(network(question["network"]).affine_layers)


def ulps(old: float, new: float, scale: float) -> float:
    """How far apart, in units of 2^-52 times the larger of |old| and `scale`; inf where one of them is no number."""
    if old == new or (math.isnan(old) and math.isnan(new)):
        return 0.0
    size = max(abs(old), scale)
    return abs(new - old) / (size * 2.0**-52) if math.isfinite(old) and math.isfinite(new) and size > 0 else math.inf


def distance(question: dict[str, Any], old: dict[str, list[float]], new: dict[str, list[float]]) -> float:
    """The most ulps a layer that a number of this case has moved.

    An overlap is measured beside its length, b beside a, an eigenvalue beside the largest: it is a sum of terms of that
    size, of either sign.
    """
    beside = {"b": "a", "part_b": "part_a", "q_hat_xy": "q_hat", "q_xy": "q", "theta_xy": "theta"}
    most = 0.0
    for name, values in old.items():
        if len(values) != len(new[name]):
            return math.inf
        scales = [abs(x) if math.isfinite(x) else 0.0 for x in old.get(beside.get(name, ""), [0.0] * len(values))]
        if name == "eigenvalues":
            scales = [max(values)] * len(values)
        most = max([most, *(ulps(*three) for three in zip(values, new[name], scales, strict=True))])
    return most / layers(question)


# ----------------------------------------------------------------------------------------------------------- file


def packed(numbers: dict[str, list[float]]) -> dict[str, str]:
    return {name: " ".join(float(x).hex() for x in values) for name, values in numbers.items()}


def unpacked(numbers: dict[str, str]) -> dict[str, list[float]]:
    return {name: [float.fromhex(x) for x in text.split()] for name, text in numbers.items()}


def read() -> list[dict[str, Any]]:
    with gzip.open(FILE, "rt", encoding="utf-8") as file:
        return list(json.load(file))


def write(cases: list[dict[str, Any]]) -> None:
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb", compresslevel=9, mtime=0) as file:  # the same bytes at every time
        file.write(json.dumps(cases).encode())
    FILE.write_bytes(buffer.getvalue())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("make", "update", "compare"))
    parser.add_argument("tags", nargs="*", help="of update: cases with one of these")
    chosen = parser.parse_args()
    if chosen.command == "make":
        write([{**question, "numbers": packed(answer(question))} for question in questions()])
        print(f"{FILE}: {FILE.stat().st_size} bytes")
        return
    cases = read()
    known = {tag for question in cases for tag in question["tags"]}
    if chosen.command == "update" and not (chosen.tags and known.issuperset(chosen.tags)):
        parser.error(f"tags must be some of {', '.join(sorted(known))}, got {' '.join(chosen.tags) or 'none'}")
    moved = []
    for number, question in enumerate(cases):
        new = answer(question)
        apart = distance(question, unpacked(question["numbers"]), new)
        if apart > 0:
            moved.append(apart)
            print(f"case {number} ({', '.join(question['tags'])}): {apart:.3g} ulp a layer")
        if chosen.command == "update" and not set(chosen.tags).isdisjoint(question["tags"]):
            question["numbers"] = packed(new)
    if moved:
        largest, median = max(moved), statistics.median(moved)
        print(f"{len(moved)} cases differ, at most by {largest:.3g}, median {median:.3g} ulp a layer")
    if chosen.command == "update":
        write(cases)


if __name__ == "__main__":
    main()
