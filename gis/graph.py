"""The one door to Dask: places plain chunk functions, keeps the order of the tasks, reports progress.

In: a function, a list of tasks. Out: the list of results in the order of the tasks, whatever the number of threads.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from itertools import count
from threading import Lock
from typing import Any, TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")

Progress = Callable[[int, int], None]
"""Called with (tasks done, tasks in all), from any thread, in no particular order of tasks."""


def default_threads() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_tasks(
    function: Callable[[Task], Result],
    tasks: Sequence[Task],
    *,
    threads: int | None = None,
    progress: Progress | None = None,
) -> list[Result]:
    """Run ``function`` on every task with Dask's threaded scheduler.

    Parameters
    ----------
    threads : int, optional
        Default: one per core. Reading, decompression and the compiled kernels release the GIL.
    progress : callable, optional
        Counts up to the number of tasks, one call at a time.

    Returns
    -------
    Results in the order of ``tasks``; empty for no tasks. The first error of a task is raised as it is.
    """
    if not tasks:
        return []
    from dask.threaded import get

    # One key per task and no further layer: the scheduler adds nothing to the arithmetic.
    keys = [("task", i) for i in range(len(tasks))]
    run = _counted(function, len(tasks), progress) if progress else function
    graph: dict[Any, Any] = {key: (_Call(run, task),) for key, task in zip(keys, tasks, strict=True)}
    return list(get(graph, keys, num_workers=threads or default_threads()))


def _counted(function: Callable[[Task], Result], n_tasks: int, progress: Progress) -> Callable[[Task], Result]:
    # Dask's own callbacks are global to the process: two runs at a time would count each other's tasks.
    lock, done = Lock(), count(1)

    def run(task: Task) -> Result:
        result = function(task)
        with lock:
            progress(next(done), n_tasks)
        return result

    return run


class _Call:
    """A task as an opaque callable: Dask must not look for keys inside a user's tuple or list."""

    __slots__ = ("function", "task")

    def __init__(self, function: Callable[[Any], Any], task: Any) -> None:
        self.function, self.task = function, task

    def __call__(self) -> Any:
        return self.function(self.task)
