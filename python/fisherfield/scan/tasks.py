# SPDX-License-Identifier: BSD-3-Clause
"""Tasks for others: in the processes of an executor, or on the workers of a cluster."""

from __future__ import annotations

import queue
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import BrokenExecutor
from contextlib import suppress
from typing import Any


def elsewhere(
    client: Any, work: Callable[..., Any], tasks: Iterable[tuple[Any, tuple[Any, ...]]], least: int = 2
) -> Generator[tuple[Any, Any], None, None]:
    """(name, work(*arguments)) of every (name, arguments), as they finish, by a dask Client or an Executor.

    A bounded window of tasks is in flight, `least` or more on a cluster; dask repeats what lost workers had.
    """
    finished: queue.SimpleQueue[Any] = queue.SimpleQueue()
    running: dict[Any, Any] = {}
    is_dask = hasattr(client, "nthreads")
    keywords = {"pure": False} if is_dask else {}  # not hashed; each task has a key of its own
    todo = iter(tasks)
    try:
        while True:
            for name, arguments in todo:
                future = client.submit(work, *arguments, **keywords)
                running[future] = name
                future.add_done_callback(finished.put)
                if len(running) >= _window(client, is_dask, least):
                    break
            if not running:
                return
            future = _first(finished)
            name = running.pop(future)
            yield name, future.result()
    finally:
        for future in running:
            future.cancel()


def _first(finished: queue.SimpleQueue[Any]) -> Any:
    while True:
        with suppress(queue.Empty):
            return finished.get(timeout=0.5)  # Windows lets no Ctrl-C into a wait without end


def _window(client: Any, is_dask: bool, least: int) -> int:
    """Tasks in flight: enough that no worker waits, and on a cluster that adapts, that there is a reason to grow."""
    if is_dask:
        workers = int(sum(client.nthreads().values()))
    else:
        workers = int(getattr(client, "_max_workers", None) or 1)
    return max(2 * workers, least if is_dask else 2)


def lost(error: BaseException) -> bool:
    """Whether an error says that worker processes are gone for good."""
    return isinstance(error, BrokenExecutor) or type(error).__name__ == "KilledWorker"


def refuse_other_version(version: str) -> None:
    """On a worker: what the client computes with must be what stands here."""
    from .. import __version__

    if __version__ != version:
        raise RuntimeError(f"workers must have fisherfield {version} like the client, got {__version__}")
