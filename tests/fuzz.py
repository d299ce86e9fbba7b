# SPDX-License-Identifier: BSD-3-Clause
"""Random and hostile inputs against laws, each case with a seed of its own.

    python tests/fuzz.py                              every part in full: about an hour on two cores
    python tests/fuzz.py --share 0.1 networks files   a tenth of two parts
    python tests/fuzz.py --only networks:1234         one case again, with what it was given
    python tests/fuzz.py --list                       the parts, how many cases they have and what must hold

Each failure is one line: part, seed and number of the case, the input as a Python expression, what was expected and
what came. `import fisherfield as ff`, `import numpy as np` and `from fuzzing.tools import *` (in tests/) make the
expressions run.

Cases run in processes of their own with a limit of memory and one of time a case; a process that dies, or that does
not come back, is a failure of the case that it was at. Under AddressSanitizer (LD_PRELOAD) there is no limit of
memory, cases have ten times as long, and what sanitizers print is a failure of the case that was running.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

# Of one process: imports take 1 GB of addresses, the largest cases some 100 MB.
MEMORY = 6 * 2**30
SANITIZED = "asan" in os.environ.get("LD_PRELOAD", "")
SLOWER = 10 if SANITIZED else 1
BATCHES = 16  # a part's cases are dealt to so many processes at the most
FEWEST = 400  # cases of a process, which takes a second to start
NOWHERE = 2**64 - 1  # in place of a case's number, before the first
SKIPPED = "skipped"  # as fuzzing.tools has it
MOST = 20  # failures shown of a part, unless --all


def random_of(seed: int, part: str, index: int) -> np.random.Generator:
    """The case's own random numbers, whatever other cases there are."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, *part.encode(), index])))


# ---------------------------------------------------------------------------------------------------- one process
def failures_of(part: Any, seed: int, index: int) -> list[dict[str, Any]]:
    """One case: its input is drawn, and every law looked at."""
    text = part.draw(random_of(seed, part.name, index))
    failures: dict[tuple[str, str], None] = {}  # each once
    try:
        failures.update(dict.fromkeys(part.check(text)))
    except Exception as error:  # of the laws, which look at what should not be
        failures["no exception on the way", f"{type(error).__name__}: {error}"] = None
    return [{"index": index, "input": text, "expected": expected, "got": got} for expected, got in failures]


def answer_for_memory(limit: int) -> None:
    """AddressSanitizer takes all addresses, so that they cannot be limited: what asks for memory hears of this much."""
    import fisherfield._memory

    fisherfield._memory.available_memory = lambda: limit
    for name, module in list(sys.modules.items()):
        if name.startswith("fisherfield.") and hasattr(module, "available_memory"):
            module.available_memory = fisherfield._memory.available_memory


def work(name: str, seed: int, indices: range, at: Path) -> None:
    """Cases of one part, one after another; failures as JSON on standard output.

    `at` always holds the number of the case that is running: it is what is left of a process that dies.
    """
    import resource
    import warnings

    from fuzzing import HIDDEN, PARTS

    if SANITIZED:
        answer_for_memory(MEMORY // 2)
    else:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    part = {**PARTS, **HIDDEN}[name]
    written = 0
    # of our own: a case may write to, or close, the usual ones
    answers, errors = os.fdopen(os.dup(1), "w"), os.dup(2)
    with open(at, "r+b", buffering=0) as mark:
        for index in indices:
            os.pwrite(mark.fileno(), index.to_bytes(8, "little"), 0)
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                failures = failures_of(part, seed, index)
            for descriptor, kept in ((1, answers.fileno()), (2, errors)):
                try:
                    os.fstat(descriptor)
                except OSError:
                    os.dup2(kept, descriptor)
                    words = part.draw(random_of(seed, name, index))
                    expected = "standard output and error to stay open"
                    failures.append(
                        {"index": index, "input": words, "expected": expected, "got": f"{descriptor} closed"}
                    )
            size = os.fstat(errors).st_size
            if size > written:  # standard error is a file of ours
                words = (
                    os.pread(errors, size - written, written).decode(errors="replace")
                    if size - written < 2**20
                    else "too much"
                )
                written = size
                failures.append(
                    {
                        "index": index,
                        "input": part.draw(random_of(seed, name, index)),
                        "expected": "nothing on standard error",
                        "got": " ".join(words.split())[:500],
                    }
                )
            for each in failures:
                print(json.dumps(each), file=answers, flush=True)
    print(json.dumps({"end": True}), file=answers, flush=True)


# ---------------------------------------------------------------------------------------------------- all of them
class Run:
    """One part: its failures, and how far it is."""

    def __init__(self, part: Any, seed: int, indices: range) -> None:
        self.part, self.seed, self.indices = part, seed, indices
        self.failures: list[dict[str, Any]] = []
        self.skipped: list[dict[str, Any]] = []
        self.done = 0
        self.seconds = 0.0
        self._lock = threading.Lock()

    def batches(self, jobs: int) -> Iterator[range]:
        """One for each job, and more of many cases, so that no job waits long for another."""
        pieces = max(jobs, min(BATCHES, len(self.indices) // FEWEST))
        step = -(-len(self.indices) // pieces)
        for start in range(0, len(self.indices), step):
            yield self.indices[start : start + step]

    def add(self, failures: list[dict[str, Any]], done: int) -> None:
        with self._lock:
            self.failures += failures
            self.done += done

    def process(self, batch: range) -> None:
        """A batch in a process; where that dies, the rest in another one."""
        start = time.monotonic()
        while batch:
            at = self._one_process(batch)
            if at is None:
                break
            if at == NOWHERE:  # imports fail: so would those of the next one
                self.add([], len(batch))
                break
            batch = range(at + batch.step, batch.stop, batch.step)
        with self._lock:
            self.seconds += time.monotonic() - start

    def _one_process(self, batch: range) -> int | None:
        """None at the end, or the case at which it was lost."""
        limit = self.part.seconds * SLOWER
        with tempfile.TemporaryDirectory(prefix="fuzz") as folder:
            at = Path(folder) / "at"
            at.write_bytes(NOWHERE.to_bytes(8, "little"))
            command = [sys.executable, __file__, "--worker", self.part.name, str(self.seed), str(at)]
            command += [str(batch.start), str(batch.stop), str(batch.step)]
            with open(Path(folder) / "errors", "w+b") as errors:
                with subprocess.Popen(
                    command,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    stdin=subprocess.DEVNULL,
                    env=environment(folder),
                    cwd=folder,
                ) as process:
                    watched = _Watch(process, at, limit)
                    ended = False
                    assert process.stdout is not None
                    for line in process.stdout:
                        with suppress(ValueError):
                            record = json.loads(line)
                            ended = record.get("end", False)
                            if not ended:
                                self.add([record], 0)
                    status = process.wait()
                    watched.stop()
                index = int.from_bytes(at.read_bytes()[:8], "little")
                if ended and status == 0:
                    self.add([], len(batch))
                    return None
                errors.seek(0)
                words = errors.read().decode(errors="replace")
                if watched.late:
                    got = f"no answer within {limit:g} s"
                else:
                    name = signal.Signals(-status).name if status < 0 else f"exit status {status}"
                    got = f"the process died: {name} {_essence(words)}".strip()
                if index == NOWHERE:
                    lost = {"index": batch.start, "input": "import fisherfield", "expected": "a start", "got": got}
                    self.add([lost], 0)
                    return NOWHERE
                text = self.part.draw(random_of(self.seed, self.part.name, index))
                lost = {"index": index, "input": text, "expected": "a value or a sentence", "got": got}
                self.add([lost], len(range(batch.start, index + 1, batch.step)))
                return index


class _Watch(threading.Thread):
    """Ends a process that stays at one case for longer than the limit."""

    def __init__(self, process: subprocess.Popen[bytes], at: Path, limit: float) -> None:
        super().__init__(daemon=True)
        self.process, self.at, self.limit, self.late = process, at, limit, False
        self.over = threading.Event()
        self.start_time = time.monotonic()
        self.start()

    def run(self) -> None:
        last, since = b"", self.seconds()
        while not self.over.wait(0.1):
            now, spent = self.at.read_bytes(), self.seconds()
            if now != last:
                last, since = now, spent
            elif spent - since > self.limit and int.from_bytes(now, "little") != NOWHERE:
                self.late = True
                self.process.kill()
                return

    def seconds(self) -> float:
        """Of the processor, which others may be using; and a twentieth of those that went by, for what only sleeps."""
        try:
            numbers = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
            busy = (int(numbers[11]) + int(numbers[12])) / os.sysconf("SC_CLK_TCK")
        except (OSError, IndexError, ValueError):
            return time.monotonic()
        return busy + (time.monotonic() - self.start_time) / 20

    def stop(self) -> None:
        self.over.set()
        self.join()


def _essence(words: str) -> str:
    """What a sanitizer or a traceback ends with."""
    lines = [line.strip() for line in words.splitlines() if line.strip()]
    kept = [line for line in lines if "runtime error:" in line or line.startswith("SUMMARY:")] or lines[-1:]
    return " | ".join(kept)[:500]


def environment(folder: str) -> dict[str, str]:
    """One thread a process, files of its own, and sanitizers that go on where they can."""
    threads = {name: os.environ.get(name, "1") for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    return {**os.environ, **threads, "FISHERFIELD_NUM_THREADS": "1", "TMPDIR": folder, "PYTHONFAULTHANDLER": "0"}


def expression(failure: dict[str, Any], part: str, seed: int) -> str:
    words = [f"{part}:{failure['index']} (--seed {seed})", failure["input"]]
    words += [f"expected {failure['expected']}", f"got {failure['got']}"]
    return " ".join(" | ".join(words).split())


def run_part(part: Any, seed: int, indices: range, jobs: int, progress: bool = False) -> Run:
    run = Run(part, seed, indices)
    with ThreadPoolExecutor(jobs) as pool:
        waiting = [pool.submit(run.process, batch) for batch in run.batches(jobs)]
        while progress and not all(future.done() for future in waiting):
            sys.stderr.write(f"\r{part.name}: {run.done} of {len(indices)}, {len(run.failures)} failed ")
            sys.stderr.flush()
            time.sleep(0.5)
        for future in waiting:
            future.result()
    if progress:
        sys.stderr.write("\r\x1b[K")
    run.skipped = [each for each in run.failures if each["expected"] == SKIPPED]
    run.failures = [each for each in run.failures if each["expected"] != SKIPPED]
    run.failures.sort(key=lambda each: int(each["index"]))
    return run


def main(arguments: list[str] | None = None) -> int:
    from fuzzing import PARTS

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all unless named")
    parser.add_argument("--seed", type=int, default=0, help="0 or more; another seed, other cases (default 0)")
    parser.add_argument("--share", type=float, default=1.0, help="of each part's number of cases (default 1)")
    parser.add_argument("--only", metavar="PART:NUMBER", help="one case alone, here, with its input")
    parser.add_argument("--jobs", type=int, default=2, help="processes at a time (default 2)")
    parser.add_argument("--all", action="store_true", help=f"show all failures, not the first {MOST} of each part")
    parser.add_argument("--list", action="store_true", help="the parts")
    options = parser.parse_args(arguments)
    if options.list:
        for part in PARTS.values():
            print(f"{part.name:<10} {part.count:>7} cases  {part.law}")
        return 0
    if options.only:
        name, _, number = options.only.partition(":")
        if name not in PARTS or not number.isdecimal():
            parser.error(f"--only must be PART:NUMBER with a part of {', '.join(PARTS)}, got {options.only!r}")
        print(PARTS[name].draw(random_of(options.seed, name, int(number))), flush=True)
        runs = [run_part(PARTS[name], options.seed, range(int(number), int(number) + 1), 1)]
    else:
        unknown = [name for name in options.parts if name not in PARTS]
        if unknown or options.seed < 0 or not options.share > 0 or options.jobs < 1:
            parser.error(f"parts must be of {', '.join(PARTS)}, seed >= 0, share > 0, jobs >= 1")
        runs = []
        for name in options.parts or PARTS:
            part = PARTS[name]
            count = max(1, round(part.count * options.share))
            run = run_part(part, options.seed, range(count), options.jobs, sys.stderr.isatty())
            runs.append(run)
            report(run, options.all)
    if options.only:
        report(runs[0], True)
    failed = sum(len({each["index"] for each in run.failures}) for run in runs)
    print(f"{sum(len(run.indices) for run in runs) - failed} passed, {failed} failed")
    return 1 if failed else 0


def diverse(failures: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Few failures of many kinds: the first of each, then the second of each, and so on."""
    kinds: dict[str, list[dict[str, Any]]] = {}
    for failure in failures:
        kind = (
            re.sub(r"[-+.\d]+(e[-+]?\d+)?", "#", failure["expected"])[:50]
            + failure["got"][:10] * failure["got"].isalpha()
        )
        kinds.setdefault(kind, []).append(failure)
    ranked = sorted((place, int(each["index"])) for kind in kinds.values() for place, each in enumerate(kind))
    chosen = [
        each
        for kind in kinds.values()
        for place, each in enumerate(kind)
        if (place, int(each["index"])) <= ranked[min(MOST, len(ranked)) - 1]
    ]
    return sorted(chosen, key=lambda each: int(each["index"]))[: 2 * MOST]


def report(run: Run, everything: bool) -> None:
    shown = run.failures if everything else diverse(run.failures)
    for failure in shown:
        print(expression(failure, run.part.name, run.seed))
    if len(shown) < len(run.failures):
        print(f"{run.part.name}: {len(run.failures) - len(shown)} more failures (--all shows them)")
    failed = len({each["index"] for each in run.failures})
    skipped = f"{len(run.skipped)} that could not be judged, " if run.skipped else ""
    print(
        f"{run.part.name}: {len(run.indices)} cases, {failed} failed, {skipped}{run.seconds:.0f} s of a process",
        flush=True,
    )


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    if sys.argv[1:2] == ["--worker"]:
        name, seed, at, *numbers = sys.argv[2:]
        work(name, int(seed), range(*map(int, numbers)), Path(at))
    else:
        sys.exit(main())
