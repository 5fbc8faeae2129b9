"""``lightpanel cache``: what the store of a workspace holds, and less of it.

In: a workspace. Out: lines of text; files deleted.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from gis.workspace import read_workspace
from gis.zonal.store import Entry, Store


def list_store(folder: str | Path) -> Iterator[str]:
    """One line per kind of entry, and one for all."""
    entries = _store(folder).entries()
    for kind in sorted({e.kind for e in entries}):
        some = [e for e in entries if e.kind == kind]
        yield f"{kind:9} {_counted(some)}, last used {_day(some[0])}, longest unused since {_day(some[-1])}"
    yield f"{'all':9} {_counted(entries)}"


def collect_store(folder: str | Path, *, older_than_days: float | None, keep_mb: float | None) -> str:
    """Delete by age, then by size; say what went."""
    store = _store(folder)
    gone = store.collect(older_than_days=older_than_days, keep_bytes=None if keep_mb is None else int(keep_mb * 1e6))
    return f"deleted {_counted(gone)}; left {_counted(store.entries())}"


def _store(folder: str | Path) -> Store:
    return Store(read_workspace(folder).cache / "store")


def _counted(entries: list[Entry]) -> str:
    return f"{len(entries)} files, {sum(e.size_bytes for e in entries) / 1e6:.1f} MB"


def _day(entry: Entry) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.used))
