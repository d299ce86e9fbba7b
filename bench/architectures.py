# SPDX-License-Identifier: BSD-3-Clause
"""Theory and measurement of well-known architectures, at He's initialisation: lambda_max of both, and their ratio.

    python bench/architectures.py                       every row below, as many networks as its mean needs
    python bench/architectures.py --only vgg            rows whose name has these letters
    python bench/architectures.py --results FILE        what is measured is kept there, and not measured again
    python bench/architectures.py --claim               does BatchNorm flatten VGG at torchvision's initialisation?

Half the channels of the originals, 32 at the least; one output, squared loss, 128 samples of white noise of 32 x 32
(AlexNet: 64 x 64; mobilenet_small, of seven blocks of 32 to 64 channels: 64 samples), weights of variance 2/fan_in,
biases 0, gamma 1, beta 0, all trained; Dropout as it is. Theory is `ff.fisher` of what `ff.torch.describe` reads, the
mean over as many draws of units as bring its error below 1 %, eight at the most. Measured is `ff.torch.measure` of the
module in float32: networks of other seeds, with other samples, until the standard error of their mean is 1.5 %, four at
the least. The definitions are those of the tests of `describe`.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from timing import machine
from torch import nn

import fisherfield as ff

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
import architectures as known

SAMPLES, ERROR, SPREAD = 128, 0.01, 0.015
BASIC, DEEP = known.BasicBlock, known.Bottleneck


def vgg(depth: int, batch_norm: bool) -> Callable[[], nn.Module]:
    return lambda: known.VGG(depth, batch_norm, 32, 2048, 1)


def resnet(block: type[nn.Module], *layers: int, **more: int) -> Callable[[], nn.Module]:
    return lambda: known.ResNet(block, layers, 1, channels=32, **more)


def cifar(depth: int) -> Callable[[], nn.Module]:
    """Twice their channels in place of half of them: they have 16, 32 and 64."""

    def make() -> nn.Module:
        module = known.CifarResNet(depth, 32)
        module.linear = nn.Linear(128, 1)
        return module

    return make


@dataclass(frozen=True)
class Row:
    make: Callable[[], nn.Module]
    side: int = 32
    samples: int = SAMPLES


ROWS = {
    "vgg11": Row(vgg(11, False)),
    "vgg11_bn": Row(vgg(11, True)),
    "vgg13_bn": Row(vgg(13, True)),
    "vgg16_bn": Row(vgg(16, True)),
    "alexnet": Row(lambda: known.AlexNet(0.5, 1), 64),
    "cifar_resnet20": Row(cifar(20)),
    "cifar_resnet32": Row(cifar(32)),
    "cifar_resnet56": Row(cifar(56)),
    "mobilenet_v2": Row(lambda: known.MobileNetV2(0.5, 1, least=32)),
    "mobilenet_small": Row(lambda: known.MobileNetV2(1.0, 1, small=True), samples=64),
    "resnet18": Row(resnet(BASIC, 2, 2, 2, 2)),
    "resnet34": Row(resnet(BASIC, 3, 4, 6, 3)),
    "resnet50": Row(resnet(DEEP, 3, 4, 6, 3)),
    "wide_resnet50_2": Row(resnet(DEEP, 3, 4, 6, 3, width_per_group=128)),
}


def he(module: nn.Module) -> nn.Module:
    for part in module.modules():
        if isinstance(part, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(part.weight, nonlinearity="relu")
            if part.bias is not None:
                nn.init.zeros_(part.bias)
    return module


@dataclass(frozen=True)
class Theory:
    """The mean over draws of units, its error, the bulk's share, what is said of it, and the seconds of processors."""

    net: ff.Network
    lambda_max: float
    error: float
    bulk: float
    holds: bool
    reason: str
    draws: int
    seconds: float


def theory(row: Row, most: int) -> Theory:
    """Of the description; units of other seeds until the error is small, `most` times at the most."""
    torch.manual_seed(0)
    module = he(row.make())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of means that are not 0 to the last digit
        net = ff.torch.describe(module, (3, row.side, row.side)).replace(sigma_w2=2.0, sigma_b2=0.0)
    draws: list[ff.Fisher] = []
    begin = time.process_time()
    while True:
        draws.append(ff.fisher(net, samples=row.samples, seed=len(draws)))
        mean = float(np.mean([draw.lambda_max for draw in draws]))
        error = float(np.linalg.norm([draw.error for draw in draws])) / len(draws)
        if error <= ERROR * mean or len(draws) >= most:
            one, seconds = draws[0], time.process_time() - begin
            return Theory(net, mean, error, one.bulk / one.lambda_max, one.holds, one.reason, len(draws), seconds)


class Measured:
    """lambda_max by row and seed, kept in a file of one line each where there is one."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.values: dict[tuple[str, int], float] = {}
        if path is not None and path.exists():
            for each in map(json.loads, path.read_text().splitlines()):
                self.values[each["row"], each["seed"]] = each["lambda_max"]

    def of(self, name: str, seed: int) -> float:
        if (name, seed) not in self.values:
            row = ROWS[name]
            torch.manual_seed(seed)
            module = he(row.make())
            x = ff.data.gaussian((3, row.side, row.side), row.samples, seed)
            top = ff.torch.measure(module, x, tolerance=1e-2, seed=seed).lambda_max
            self.values[name, seed] = top
            if self.path is not None:
                with self.path.open("a") as file:
                    file.write(json.dumps({"row": name, "seed": seed, "lambda_max": top}) + "\n")
        return self.values[name, seed]

    def mean(self, name: str, fewest: int, most: int) -> tuple[float, float, int]:
        """Over networks; its standard error; of how many networks."""
        values: list[float] = []
        while True:
            values.append(self.of(name, len(values) + 1))
            if len(values) < min(fewest, most):
                continue
            mean, error = float(np.mean(values)), float(np.std(values, ddof=1) / len(values) ** 0.5)
            if error <= SPREAD * mean or len(values) >= most:
                return mean, error, len(values)


def check() -> None:
    """What is measured is right: a small described network, by `ff.sampled_fisher` in float64."""
    net = ff.resnet(8, (3, 8, 8), 1, 4)
    sampled, x = ff.sample(net, 1), ff.data.gaussian(net, 20)
    expected = ff.sampled_fisher(sampled, x, tolerance=1e-12).lambda_max
    found = ff.torch.measure(ff.torch.module(sampled).float(), x, tolerance=1e-5).lambda_max
    assert abs(found / expected - 1) < 1e-4, (found, expected)  # float32


HEADER = (
    f"{'':<17}{'parameters':>12}{'theory':>11}{'error':>8}{'draws':>7}{'bulk':>7}{'holds':>7}{'s':>6}   "
    f"{'measured':>10}{'error':>8}{'nets':>6}{'ratio':>8}"
)


def line(name: str, measured: Measured, numbers: tuple[int, int, int]) -> str:
    fewest, most, draws = numbers
    try:
        found = theory(ROWS[name], draws)
    except ValueError as refusal:
        return f"{name:<17}refused: {refusal}"
    top = found.lambda_max
    words = f"{name:<17}{found.net.parameters():>12,}{top:>11.5g}{found.error / top:>8.1%}{found.draws:>7}"
    words += f"{found.bulk:>7.2f}{'yes' if found.holds else 'no':>7}{found.seconds:>6.0f}   "
    mean, error, nets = measured.mean(name, fewest, most)
    words += f"{mean:>10.5g}{error / mean:>8.1%}{nets:>6}{top / mean:>8.3f}"
    return f"{words}\n    {found.reason}" if found.reason else words


# --------------------------------------------------------------------------------------------------- a common belief


def as_torchvision(module: nn.Module) -> nn.Module:
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(part, nn.Linear):
            nn.init.normal_(part.weight, 0, 0.01)
        if isinstance(part, (nn.Conv2d, nn.Linear)) and part.bias is not None:
            nn.init.zeros_(part.bias)
    return module


def claim(depths: tuple[int, ...], seeds: int, channels: int) -> None:
    """torchvision trains VGG at 0.01 and its twins with BatchNorm at 0.1: what their first steps stand."""
    hidden = 64 * channels
    print("VGG at torchvision's initialisation: cross-entropy, 1000 classes, 32 images of 64 x 64, white noise")
    print(f"channels {channels} to {8 * channels}, {hidden} hidden units; rates of plain descent")
    print(f"{'':<12}{'seed':>6}{'lambda_max':>13}{'2/lambda_max':>14}{'first step':>12}", flush=True)
    for depth in depths:
        for batch_norm in (False, True):
            for seed in range(1, seeds + 1):
                torch.manual_seed(seed)
                module = as_torchvision(known.VGG(depth, batch_norm, channels, hidden, 1000))
                x, y = torch.randn(32, 3, 64, 64), torch.randint(0, 1000, (32,))
                top = ff.torch.measure(module, x, loss="cross_entropy", tolerance=1e-2, seed=seed).lambda_max
                optimizer = torch.optim.SGD(module.parameters(), 0.01)
                step = ff.torch.first_step(module, x, y, "cross_entropy", optimizer, seed=seed)
                name = f"vgg{depth}{'_bn' * batch_norm}"
                print(f"{name:<12}{seed:>6}{top:>13.4g}{2 / top:>14.4g}{float(step):>12.4g}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=[""])
    parser.add_argument("--fewest", type=int, default=4, help="networks of a row")
    parser.add_argument("--most", type=int, default=200, help="networks of a row")
    parser.add_argument("--draws", type=int, default=8, help="of units, at the most")
    parser.add_argument("--results", type=Path)
    parser.add_argument("--claim", action="store_true")
    parser.add_argument("--depths", type=int, nargs="*", default=(11, 16))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--channels", type=int, default=64)
    arguments = parser.parse_args()
    check()
    print(machine())
    if arguments.claim:
        claim(tuple(arguments.depths), arguments.seeds, arguments.channels)
        return
    print(HEADER, flush=True)
    measured, numbers = Measured(arguments.results), (arguments.fewest, arguments.most, arguments.draws)
    for name in ROWS:
        if any(word in name for word in arguments.only):
            print(line(name, measured, numbers), flush=True)


if __name__ == "__main__":
    main()
