"""Whether the panel step has anything to do: one key over settings, inputs and code, kept in the cache.

In: a workspace with a finished run. Out: the key; or what the last step left, when nothing has changed since. The
outputs are known by their hashes in ``lineage.json``: a later run, which starts the lineage anew, makes the step due.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from gis.errors import GisError
from gis.pipeline.resume import run_key
from gis.rasters.archive import file_sha256
from gis.tables import atomic_path
from gis.workspace import Workspace

if TYPE_CHECKING:
    from gis.rasters.series import Series

KEY_FILE = "last_panel.json"
"""In the cache: the key of the last finished step, its tables and its notes."""


def panel_key(place: Workspace, of_the_run: Iterable[Path]) -> str:
    """SHA-256 over config, code, every file the config names, and those results of the run that the step reads."""
    series: tuple[Series, ...] = ()
    distance = place.config.covariates.distance
    if distance is not None and distance.points == "population":
        from gis.pipeline.inputs import read_both_series

        series = (read_both_series(place)[1],)
    parts = [run_key(place, series)]
    parts += [f"{p.name} {file_sha256(p, place.cache)}" for p in of_the_run if p.is_file()]
    return hashlib.sha256("|".join(parts).encode()).hexdigest()


def last_panel(place: Workspace, key: str) -> tuple[dict[str, Path], tuple[str, ...]] | None:
    """Table -> file and notes of the last step; None unless it had this key and its outputs are untouched."""
    from gis.export.lineage import read_lineage

    try:
        last = json.loads((place.cache / KEY_FILE).read_text(encoding="utf-8"))
        paths = {str(table): place.root / name for table, name in last["outputs"].items()}
        notes = tuple(map(str, last["notes"]))
        if last["key"] != key:
            return None
        known = read_lineage(place.out / "lineage.json", workspace=place.root).outputs
        same = all(
            known[name].sha256 == file_sha256(place.root / name, place.cache) for name in last["outputs"].values()
        )
    except (GisError, OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return (paths, notes) if same else None


def remember_panel(place: Workspace, key: str, paths: dict[str, Path], notes: Iterable[str]) -> None:
    """Write down that a step with this key has finished."""
    outputs = {table: path.relative_to(place.root).as_posix() for table, path in paths.items()}
    place.cache.mkdir(parents=True, exist_ok=True)
    with atomic_path(place.cache / KEY_FILE) as temporary:
        temporary.write_text(
            json.dumps({"key": key, "outputs": outputs, "notes": list(notes)}, ensure_ascii=False), encoding="utf-8"
        )
