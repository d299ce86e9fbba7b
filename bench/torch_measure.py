# SPDX-License-Identifier: BSD-3-Clause
"""ff.torch.measure beside plain power iteration and ARPACK: products, seconds and peak memory of a ResNet-18.

    python bench/torch_measure.py                          # torchvision's, 32 x 32, batch 128, float32, k = 1 to 1e-3
    python bench/torch_measure.py --width 16 --batch 16    # a quarter of its channels, for a first look

Each method runs in a process of its own, for its peak memory; seconds are those of all processors together. Power
iteration ends when the eigenvalue changes by less than the tolerance, as in PyHessian; ARPACK
(scipy.sparse.linalg.eigsh) by its own residual; curvlinops' GGN is given to ARPACK, where it is installed. All products
are those of the matrix with a vector.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import resource
import subprocess
import sys
import time

import numpy as np
import torch
from torch import nn

import fisherfield as ff


class Block(nn.Module):
    """torchvision's BasicBlock."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(after)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(after)
        self.downsample = None
        if stride > 1 or before != after:
            self.downsample = nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        return self.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet18(nn.Module):
    """torchvision's resnet18, at its own initialisation."""

    def __init__(self, width: int = 64, classes: int = 1000) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.bn1, self.relu, self.maxpool = nn.BatchNorm2d(width), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)
        sizes = [(width, width, 1), (width, 2 * width, 2), (2 * width, 4 * width, 2), (4 * width, 8 * width, 2)]
        blocks = [(Block(before, after, stride), Block(after, after, 1)) for before, after, stride in sizes]
        self.layers = nn.Sequential(*(block for pair in blocks for block in pair))
        self.avgpool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(8 * width, classes)
        for each in self.modules():
            if isinstance(each, nn.Conv2d):
                nn.init.kaiming_normal_(each.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.layers(self.maxpool(self.relu(self.bn1(self.conv1(x)))))
        return self.fc(self.avgpool(x).flatten(1))


METHODS = ("measure", "power iteration", "eigsh", "curvlinops + eigsh")


def problem(width: int, batch: int) -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    module = ResNet18(width)
    if width == 64:
        assert sum(each.numel() for each in module.parameters()) == 11_689_512  # torchvision's
    return module, torch.randn(batch, 3, 32, 32), torch.randint(0, 1000, (batch,))


def one(method: str, width: int, batch: int, tolerance: float) -> dict[str, float]:
    """A method's eigenvalue, products, seconds and peak memory in GB."""
    module, x, y = problem(width, batch)
    before, begin = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    value, products = {"measure": by_measure, "curvlinops + eigsh": by_curvlinops}.get(method, by_products)(
        module, x, y, tolerance, method
    )
    seconds, peak = time.process_time() - begin, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"lambda_max": value, "products": products, "seconds": seconds, "memory": (peak - before) * 1024 / 1e9}


def by_measure(module: nn.Module, x: torch.Tensor, y: torch.Tensor, tolerance: float, _: str) -> tuple[float, int]:
    spectrum = ff.torch.measure(module, x, loss="cross_entropy", tolerance=tolerance)
    return spectrum.lambda_max, spectrum.products


def by_products(
    module: nn.Module, x: torch.Tensor, y: torch.Tensor, tolerance: float, method: str
) -> tuple[float, int]:
    """Power iteration and ARPACK on F in the space of parameters, by the same passes."""
    from fisherfield.torch.calls import Calls
    from fisherfield.torch.losses import curvature_of, loss_of

    calls = Calls(module, x)
    with calls.open():
        calls.whole()
        curvature = curvature_of(loss_of("cross_entropy"), calls.outputs, y)

        def product(v: torch.Tensor) -> torch.Tensor:
            return calls.pull(curvature(calls.push(v)))

        start = torch.randn(calls.parameters, generator=torch.Generator().manual_seed(1))
        return power(product, start, tolerance) if method == "power iteration" else arpack(product, start, tolerance)


def power(product, start: torch.Tensor, tolerance: float) -> tuple[float, int]:
    v, value = start / start.norm(), 0.0
    for count in range(1, 1001):
        image = product(v)
        before, value = value, float(torch.dot(v, image))
        if count > 1 and abs(value - before) <= tolerance * abs(value):
            break
        v = image / image.norm()
    return value, count


def arpack(product, start: torch.Tensor, tolerance: float) -> tuple[float, int]:
    from scipy.sparse.linalg import LinearOperator, eigsh

    count = 0

    def matvec(v: np.ndarray) -> np.ndarray:
        nonlocal count
        count += 1
        return product(torch.from_numpy(np.ascontiguousarray(v, np.float32).reshape(-1))).numpy()

    size = start.numel()
    operator = LinearOperator((size, size), matvec=matvec, dtype=np.float32)
    values = eigsh(operator, 1, which="LA", tol=tolerance, v0=start.numpy(), return_eigenvectors=False)
    return float(values[0]), count


def by_curvlinops(module: nn.Module, x: torch.Tensor, y: torch.Tensor, tolerance: float, _: str) -> tuple[float, int]:
    from curvlinops import GGNLinearOperator

    for norm in module.modules():  # its transforms refuse to write to buffers, which no product of train mode reads
        if isinstance(norm, nn.BatchNorm2d):
            norm.track_running_stats = False
            norm.running_mean = norm.running_var = norm.num_batches_tracked = None
    parameters = [each for each in module.parameters() if each.requires_grad]
    operator = GGNLinearOperator(module, nn.CrossEntropyLoss(), parameters, [(x, y)], check_deterministic=False)
    start = torch.randn(sum(each.numel() for each in parameters), generator=torch.Generator().manual_seed(1))
    return arpack(lambda v: operator @ v, start, tolerance)


def check() -> None:
    """What is timed is right: measure and both others on a small network, beside ff.sampled_fisher."""
    net = ff.mlp([6, 30, 30, 4], gamma=1.0)
    sampled, x = ff.sample(net, 1), ff.data.gaussian(net, 20)
    expected = ff.sampled_fisher(sampled, x, loss="cross_entropy", tolerance=1e-12).lambda_max
    module = ff.torch.module(sampled)
    spectrum = ff.torch.measure(module, x, loss="cross_entropy", tolerance=1e-10)
    assert abs(spectrum.lambda_max / expected - 1) < 1e-8, (spectrum.lambda_max, expected)
    single, y = ff.torch.module(sampled).float(), torch.zeros(20, dtype=torch.int64)
    for method in ("power iteration", "eigsh"):
        value, _ = by_products(single, torch.from_numpy(x).float(), y, 1e-5, method)
        assert abs(value / expected - 1) < 1e-2, (method, value, expected)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--tolerance", type=float, default=1e-3)
    parser.add_argument("--method", choices=METHODS)
    arguments = parser.parse_args()
    sizes = (arguments.width, arguments.batch, arguments.tolerance)
    if arguments.method:
        print(json.dumps(one(arguments.method, *sizes)))
        return
    check()
    print(f"ResNet-18 of width {sizes[0]}, batch {sizes[1]}, cross-entropy, k = 1 to {sizes[2]:g}")
    print(f"{'method':<20}{'lambda_max':>12}{'products':>10}{'seconds':>10}{'GB':>8}", flush=True)
    for method in METHODS:
        if method.startswith("curvlinops") and importlib.util.find_spec("curvlinops") is None:
            print(f"{method:<20}not installed")
            continue
        names = ("width", "batch", "tolerance")
        flags = [f"--{name}={value}" for name, value in zip(names, sizes, strict=True)]
        run = [sys.executable, __file__, "--method", method, *flags]
        row = json.loads(subprocess.run(run, capture_output=True, text=True, check=True).stdout)
        print(
            f"{method:<20}{row['lambda_max']:>12.5g}{row['products']:>10}{row['seconds']:>10.1f}{row['memory']:>8.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
