"""The one door to Dask: places plain chunk functions, keeps the order of the tasks, reports progress.

In: a function, a list of tasks. Out: the list of results in the order of the tasks, whatever the number of threads,
worker processes or machines.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar

from gis.errors import OptionInvalid

if TYPE_CHECKING:
    from distributed import Client

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


# --- processes and machines -------------------------------------------------------------------------------------------

RETRIES = 3
"""How often a task is tried again when the worker that had it is lost."""


WORKER_MALLOC = {"MALLOC_TRIM_THRESHOLD_": 128 << 20, "MALLOC_MMAP_THRESHOLD_": 32 << 20}
"""glibc's settings in worker processes [bytes]. Dask trims at 64 KiB, which also stops glibc from raising its threshold
for mapped blocks: every strip and every block of GDAL's then comes from the kernel as fresh, zeroed pages. On 42
rasters that was 2.5 million page faults instead of 0.45, and a fifth of the time."""


@contextmanager
def cluster(*, workers: int | None = None, scheduler: str | None = None) -> Iterator[Client | None]:
    """Connect to a cluster, or start one on this machine; None when neither is asked for.

    Parameters
    ----------
    workers : int, optional
        Worker processes to start here, one thread each.
    scheduler : str, optional
        Address of a running scheduler, ``tcp://host:8786``: dask-jobqueue, Kubernetes and Coiled all give one. Its
        workers must see the rasters and the workspace under the same paths, and have this version installed.

    Raises
    ------
    OptionInvalid
        Both are given, or no scheduler answers at the address.
    """
    if workers is None and scheduler is None:
        yield None
        return
    if workers is not None and scheduler is not None:
        raise OptionInvalid("workers and a scheduler are given", mend="give --workers N or --scheduler ADDRESS")
    import distributed

    if scheduler is not None:
        try:
            client = distributed.Client(scheduler, timeout="10s", set_as_default=False)
        except (OSError, ValueError) as error:
            raise OptionInvalid(
                f"no scheduler answers: {error}", where=scheduler, mend="start one: dask scheduler; dask worker ADDRESS"
            ) from error
        with client:
            yield client
        return
    import dask.config

    # Any free port, no spilling: tasks hold a strip and return a few numbers.
    with (
        dask.config.set(
            {f"distributed.nanny.pre-spawn-environ.{name}": value for name, value in WORKER_MALLOC.items()}
        ),
        distributed.LocalCluster(
            n_workers=workers, threads_per_worker=1, dashboard_address=":0", memory_limit=0, silence_logs=40
        ) as local,
        distributed.Client(local, set_as_default=False) as client,
    ):
        yield client


def run_on_cluster(
    client: Client,
    function: Callable[[Task], Result],
    tasks: Sequence[Task],
    *,
    progress: Progress | None = None,
) -> list[Result]:
    """`run_tasks` on the workers of a cluster; function and tasks must be picklable and small.

    A lost worker costs its unfinished tasks: they go to others, up to `RETRIES` times each.
    """
    if not tasks:
        return []
    from distributed import as_completed

    futures = client.map(function, tasks, pure=False, retries=RETRIES, batch_size=1000)
    with client.as_current():
        for done, future in enumerate(as_completed(futures), start=1):
            if future.status == "error":
                future.result()  # raises the task's own error
            if progress:
                progress(done, len(tasks))
    return list(client.gather(futures))


# --- arrays -----------------------------------------------------------------------------------------------------------


def place_rows(
    array: Any,
    first: Callable[[Any, int, Any], Any],
    last: Callable[[list[Any], tuple[int, ...], Any], Any],
    shared: Any,
    *,
    head: tuple[int, ...],
    wanted: Sequence[tuple[int, int]],
    unit: int,
    limit: int,
) -> Any:
    """Lay one function over the blocks of rows of a Dask array and another over what these give; compute nothing.

    Parameters
    ----------
    array : dask.array of shape (*extra, ny, nx)
        Rechunked to whole rows and whole units of rows; chunks of the other dimensions are kept.
    first : called as ``first(block, row0, shared)`` with a block (*extra of the chunk, rows, nx).
    last : called as ``last(results, extra, shared)`` with the results of one chunk of the other dimensions in the
        order of rows; returns (*head, *extra) float64.
    shared : one value that every call gets; a single key of the graph, however many tasks there are.
    wanted : half-open ranges of rows that matter; blocks without any of them are never computed.
    unit : rows that a block never splits.
    limit : bytes of a block above which the other dimensions are taken one by one.

    Returns
    -------
    dask.array of shape (*head, *extra), float64
    """
    import dask.array as da
    from dask.delayed import delayed

    largest = max(array.chunks[-2], default=unit)
    rows = max(largest // unit, 1) * unit
    each = int(math.prod(max(c) for c in array.chunks[:-2]))
    if each * rows * array.shape[-1] * array.dtype.itemsize > limit:
        rows = unit
        if each * rows * array.shape[-1] * array.dtype.itemsize > limit:
            array = array.rechunk(dict.fromkeys(range(array.ndim - 2), 1))
    array = array.rechunk({array.ndim - 2: rows, array.ndim - 1: -1})
    blocks = array.to_delayed()
    common = delayed(shared, pure=False, traverse=False)
    begin, end = delayed(first, pure=False), delayed(last, pure=False)
    starts = [k * rows for k in range(blocks.shape[-2])]
    needed = [k for k, a in enumerate(starts) if any(r0 < a + rows and r1 > a for r0, r1 in wanted)]

    def build(place: tuple[int, ...]) -> Any:
        """Nested lists over the blocks of the other dimensions, as `dask.array.block` takes them."""
        if len(place) < array.ndim - 2:
            return [build((*place, k)) for k in range(blocks.shape[len(place)])]
        parts = [begin(blocks[(*place, k, 0)], starts[k], common) for k in needed]
        extra = tuple(array.chunks[axis][k] for axis, k in enumerate(place))
        return da.from_delayed(end(parts, extra, common), (*head, *extra), dtype=float)

    nested = build(())
    return da.block(nested) if isinstance(nested, list) else nested


def place_windows(
    arrays: Sequence[Any],
    windows: Sequence[Sequence[tuple[int, int, int, int]]],
    first: Callable[[int, list[Any], Any], Any],
    last: Callable[[list[Any], tuple[int, ...], Any], Any],
    shared: Any,
    *,
    head: tuple[int, ...],
    limit: int,
) -> Any:
    """Lay one function over windows of Dask arrays and another over what these give; compute nothing.

    Parameters
    ----------
    arrays : dask.array of shape (*extra, ny, nx)
        ``ny`` and ``nx`` are each array's own; along ``extra`` the others are as long as the first, or 1.
    windows : for each call of ``first``, half-open (row0, row1, col0, col1) of each array.
    first : called as ``first(k, blocks, shared)``: number of the window, and (*extra of the chunk, rows, cols) of each.
    last, shared, head : as for `place_rows`, results in the order of ``windows``.
    limit : bytes of a block above which the other dimensions are taken one by one.

    Returns
    -------
    dask.array of shape (*head, *extra), float64
        A cell that lies in several windows is computed once.
    """
    import dask.array as da
    from dask.delayed import delayed

    lead, n = arrays[0], arrays[0].ndim - 2
    each = int(math.prod(max(c, default=1) for c in lead.chunks[:-2]))
    largest = max(
        (_cells(w) * a.dtype.itemsize for found in windows for a, w in zip(arrays, found, strict=True)), default=0
    )
    if each * largest > limit:
        lead = lead.rechunk(dict.fromkeys(range(n), 1))
    common = delayed(shared, pure=False, traverse=False)
    begin, end = delayed(first, pure=False), delayed(last, pure=False)

    def cut(array: Any, window: tuple[int, int, int, int]) -> Any:
        """Delayed blocks of a window, in the chunks of the other dimensions."""
        row0, row1, col0, col1 = window
        chunks = {axis: lead.chunks[axis] for axis in range(n) if array.shape[axis] == lead.shape[axis]}
        part = array[..., row0:row1, col0:col1].rechunk({**chunks, n: -1, n + 1: -1})
        return part.to_delayed(optimize_graph=False)  # else each window would read its chunks for itself

    blocks = [[cut(a, w) for a, w in zip(arrays, found, strict=True)] for found in windows]

    def build(place: tuple[int, ...]) -> Any:
        """Nested lists over the blocks of the other dimensions, as `dask.array.block` takes them."""
        if len(place) < n:
            return [build((*place, k)) for k in range(lead.numblocks[len(place)])]
        parts = []
        for k, found in enumerate(blocks):
            here = [b[(*(min(i, m - 1) for i, m in zip(place, b.shape[:n], strict=True)), 0, 0)] for b in found]
            parts.append(begin(k, here, common))
        extra = tuple(lead.chunks[axis][k] for axis, k in enumerate(place))
        return da.from_delayed(end(parts, extra, common), (*head, *extra), dtype=float)

    nested = build(())
    return da.block(nested) if isinstance(nested, list) else nested


def _cells(window: tuple[int, int, int, int]) -> int:
    row0, row1, col0, col1 = window
    return (row1 - row0) * (col1 - col0)
