"""Work over processes, one thread of linear algebra each: for the shards of local models."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from contextlib import contextmanager
from typing import Any, TypeVar

from components.stage import progress as stage_progress

In = TypeVar("In")
Out = TypeVar("Out")

REPORT_SECONDS = 0.5
ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"), "1"
)


def run_in_processes(
    work: Callable[[In], Out],
    calls: Sequence[In],
    processes: int,
    total: int,
    progress: Callable[[int, int], None],
) -> list[Out]:
    """`[work(call) for call in calls]`, over up to `processes` processes, in the order of the calls.

    A single call is made in this process. Workers are spawned, not forked: the parent may hold threads.
    What they report as progress is added up to `total`. An exception in a worker is raised here, and
    calls that have not begun are given up.
    """
    if len(calls) == 1:
        return [work(calls[0])]
    context = multiprocessing.get_context("spawn")
    counter = context.Value("q", 0)
    workers = min(processes, len(calls))
    with (
        _environment(ONE_THREAD),
        ProcessPoolExecutor(workers, context, initializer=_count_into, initargs=(counter,)) as pool,
    ):
        futures = [pool.submit(work, call) for call in calls]
        pending = set(futures)
        try:
            while pending:
                done, pending = wait(pending, timeout=REPORT_SECONDS, return_when=FIRST_COMPLETED)
                progress(min(counter.value, total), total)
                for future in done:
                    future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        progress(total, total)
        return [future.result() for future in futures]


def _count_into(counter: Any) -> None:
    """In a worker: add what the stages report to a counter that the parent reads."""
    last = {"done": 0}

    def report(label: str, done: int, total: int) -> None:
        del label, total
        with counter.get_lock():
            counter.value += max(done - last["done"], 0)
        last["done"] = done

    stage_progress.reporter = report


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    """Set variables for the processes that start meanwhile."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
