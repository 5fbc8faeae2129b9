"""Tasks for workers in other processes: coverages go by file, everything else by value.

In: a chunk function and its tasks, a folder that the workers see too. Out: byte strings that a worker can run.

A coverage is tens of megabytes and the same for every task. A packed task names the file that holds it, and a worker
loads each file once.
"""

from __future__ import annotations

import hashlib
import io
import pickle
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from gis.graph import Progress, run_on_cluster
from gis.tables import atomic_path
from gis.zonal.coverage import Coverage


def cluster_runner(
    client: Any, folder: Path, *, progress: Progress | None = None
) -> Callable[[Callable[[Any], Any], Sequence[Any]], list[Any]]:
    """A ``run(function, tasks) -> list`` that places the tasks on the workers of a cluster.

    Parameters
    ----------
    client : a `distributed` client, see `gis.graph.cluster`.
    folder : where coverages are written; the workers must see it under the same path.
    """
    files: dict[int, tuple[Coverage, Path]] = {}

    def run(function: Callable[[Any], Any], tasks: Sequence[Any]) -> list[Any]:
        packed = [pack((function, task), folder, files) for task in tasks]
        return run_on_cluster(client, run_packed, packed, progress=progress)

    return run


def pack(thing: Any, folder: Path, files: dict[int, tuple[Coverage, Path]]) -> bytes:
    """Pickle something with its coverages written to ``folder``; ``files`` remembers those that are there."""
    stream = io.BytesIO()
    _Packer(stream, folder, files).dump(thing)
    return stream.getvalue()


def run_packed(data: bytes) -> Any:
    """Run a packed (function, task): what a worker is given."""
    function, task = pickle.loads(data)
    return function(task)


class _Packer(pickle.Pickler):
    def __init__(self, stream: io.BytesIO, folder: Path, files: dict[int, tuple[Coverage, Path]]) -> None:
        super().__init__(stream, protocol=5)
        self._folder, self._files = folder, files

    def reducer_override(self, thing: Any) -> Any:
        if not isinstance(thing, Coverage):
            return NotImplemented
        if id(thing) not in self._files:  # the coverage is kept beside its path, so that its id stays its own
            self._files[id(thing)] = (thing, _write(thing, self._folder))
        return _read, (self._files[id(thing)][1],)


def _write(coverage: Coverage, folder: Path) -> Path:
    data = pickle.dumps(coverage, protocol=5)
    path = folder / f"{hashlib.sha256(data).hexdigest()[:40]}.coverage"
    if not path.exists():
        with atomic_path(path) as temporary:
            temporary.write_bytes(data)
    return path


@lru_cache(maxsize=16)
def _read(path: Path) -> Coverage:
    with open(path, "rb") as stream:
        coverage = pickle.load(stream)
    assert isinstance(coverage, Coverage)  # written by _write
    return coverage
