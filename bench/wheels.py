# SPDX-License-Identifier: BSD-3-Clause
"""Is a commit slower than another, or larger? Their wheels are built, and the rows of bench/ timed with both in turn.

    python bench/wheels.py OLD NEW                          every row of fisher.py, scan.py and sampled.py
    python bench/wheels.py OLD NEW --only convolutions      rows whose name has that word
    python bench/wheels.py OLD NEW --rounds 2 --keep DIR    quickly; the wheels stay in DIR, and are taken from there

The rows are those of the files beside this one, for both commits; they use the public names alone. Each time is the
processor's, of all threads, and the fastest of some calls in a process of its own, where the old and the new wheel
follow each other: what else the machine does falls upon both. A row's ratio is the median over the rounds. Peaks are
VmHWM, after one call. Numbers of both wheels must agree, to 1e-12 in float64. Two threads of a BLAS wait for each other
in a loop, which counts: where the machine has other work their times are worth little, and the ratios of rounds lie far
apart.
"""

from __future__ import annotations

import argparse
import io
import json
import math
import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

FILES = ("fisher", "scan", "sampled")
MOST = 1.03  # a ratio beyond is called slower
BATCH, ENOUGH, ALWAYS = 0.02, 0.5, 2.0  # seconds: of calls that are timed as one, of all of them, and of a single call


class Run(NamedTuple):
    """What one process measured."""

    seconds: float
    megabytes: float


# ------------------------------------------------------------------------------------------------- in its own process


def measured(file: str, name: str, threads: int, package: str, out: str) -> None:
    import fisherfield as ff

    assert Path(ff.__file__).is_relative_to(package), f"{ff.__file__} is not that of the wheel in {package}"
    ff.set_num_threads(threads)
    row = next((row for row in import_module(file).rows() if row.name == name), None)
    if row is None:
        print("null")  # a row of what the package cannot do
        return
    call = row.make()
    start = time.process_time()
    answer = call()
    first, peak = time.process_time() - start, megabytes()
    np.save(out, np.asarray(row.numbers(answer), np.float64))
    print(json.dumps(Run(first if first > ALWAYS else fastest(call, first), peak)))


def fastest(call: Any, first: float) -> float:
    """Processor seconds of a call."""
    many, best, total = max(1, round(BATCH / max(first, 1e-7))), math.inf, 0.0
    while total < ENOUGH:
        start = time.process_time()
        for _ in range(many):
            call()
        taken = time.process_time() - start
        best, total = min(best, taken / many), total + taken
    return best


def megabytes() -> float:
    """The peak of this process; of resource.getrusage a part is the parent's."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


# ------------------------------------------------------------------------------------------------------------ wheels


def built(commit: str, folder: Path) -> Path:
    """Where the commit's package lies, built as a wheel unless it is there."""
    root = Path(__file__).parent.parent
    full = subprocess.check_output(
        ["git", "rev-parse", "--verify", f"{commit}^{{commit}}"], cwd=root, text=True
    ).strip()
    package = folder / full
    if package.is_dir():
        return package
    print(f"the wheel of {commit} ...", file=sys.stderr)
    source, wheel, installed = (folder / f"{full}.{word}" for word in ("source", "wheel", "installed"))
    archive = subprocess.check_output(["git", "archive", full], cwd=root)
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        tar.extractall(source, filter="data")
    # what builds it is taken from here where it is there, and downloaded elsewhere
    here = ["--no-build-isolation"] if find_spec("scikit_build_core") and find_spec("pybind11") else []
    pip = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--no-deps", *here, "-w", wheel, source], check=True)
    subprocess.run([*pip, "install", "--no-deps", "--target", installed, *wheel.glob("*.whl")], check=True)
    return installed.rename(package)


def run(package: Path, file: str, name: str, threads: int, out: Path) -> Run | None:
    names = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
    done = subprocess.run(
        [sys.executable, __file__, "--child", file, name, str(threads), package, out],
        env=os.environ | dict.fromkeys(names, str(threads)) | {"PYTHONPATH": str(package)},
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    numbers = json.loads(done.stdout)
    return None if numbers is None else Run(*numbers)


def apart(old: Any, new: Any, largest: bool) -> float:
    """How far two answers are from each other; no numbers must be so on both sides."""
    assert old.shape == new.shape
    assert (np.isnan(old) == np.isnan(new)).all()
    with np.errstate(invalid="ignore", divide="ignore"):
        difference = np.where((old == new) | np.isnan(old), 0.0, np.abs(new - old))
        size = np.nanmax(np.abs(old)) if largest else np.where(difference > 0, np.abs(old), 1.0)
        return float(np.max(difference / size))


# ------------------------------------------------------------------------------------------------------------- table


def shown(seconds: float) -> str:
    return (
        f"{seconds * 1e6:.1f} us"
        if seconds < 1e-3
        else f"{seconds * 1e3:.1f} ms"
        if seconds < 1
        else f"{seconds:.2f} s"
    )


def compare(packages: list[Path], file: str, row: Any, threads: int, rounds: int, folder: Path) -> tuple[Any, bool]:
    """One line of the table; the rounds' ratios of time and of memory, and whether the answers agree."""
    runs: list[list[Run]] = [[], []]
    outs = [folder / "old.npy", folder / "new.npy"]
    for turn in range(rounds):
        for which in (0, 1) if turn % 2 == 0 else (1, 0):
            measured_now = run(packages[which], file, row.name, threads, outs[which])
            if measured_now is None:
                print(f"{row.name:<66}{threads:>8}  only one of both has it", flush=True)
                return [[], []], True
            runs[which].append(measured_now)
    error = apart(*map(np.load, outs), row.largest)
    ratios = [[new[at] / old[at] for old, new in zip(*runs, strict=True)] for at in (0, 1)]
    seconds, peaks = ([statistics.median(one[at] for one in each) for each in runs] for at in (0, 1))
    times = "".join(f"{shown(each):>11}" for each in seconds) + f"{statistics.median(ratios[0]):>8.3f}"
    memory = "".join(f"{each:>8.0f}" for each in peaks) + f"{statistics.median(ratios[1]):>8.3f}"
    print(f"{row.name:<66}{threads:>8}{times}{memory}{error:>9.0e}", flush=True)
    return ratios, error <= row.close


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", help="a commit")
    parser.add_argument("new", help="another one")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", default="", metavar="WORD", help="rows with this in their name")
    parser.add_argument(
        "--keep", type=Path, metavar="DIR", help="of the wheels; else they are built in a temporary one"
    )
    chosen = parser.parse_args()
    others: list[str] = []  # rows whose answers are not the same
    above: tuple[list[str], list[str]] = ([], [])  # of time, and of memory
    with tempfile.TemporaryDirectory() as temporary:
        folder = (chosen.keep or Path(temporary)).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        packages = [built(commit, folder) for commit in (chosen.old, chosen.new)]
        sys.path.insert(0, str(packages[1]))  # for the names of the rows
        print(
            f"{'':<66}{'threads':>8}{'old':>11}{'new':>11}{'ratio':>8}{'MB old':>8}{'new':>8}{'ratio':>8}{'apart':>9}"
        )
        for file in FILES:
            for row in import_module(file).rows():
                for threads in row.threads if chosen.only in row.name else ():
                    ratios, agree = compare(packages, file, row, threads, chosen.rounds, Path(temporary))
                    where = f"{row.name}, {threads} thread{'s' * (threads > 1)}"
                    others += [] if agree else [where]
                    for each, words in zip(ratios, above, strict=True):
                        if each and statistics.median(each) > MOST:
                            words.append(
                                f"  {where}: {statistics.median(each):.3f}, {min(each):.3f} to {max(each):.3f}"
                            )
    for what, words in zip(("time", "memory"), above, strict=True):
        print(f"\nratios of {what} above {MOST}, and those of the rounds:", *(words or ["  none"]), sep="\n")
    if others:
        sys.exit("the answers differ: " + "; ".join(others))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        measured(sys.argv[2], sys.argv[3], int(sys.argv[4]), *sys.argv[5:7])
    else:
        main()
