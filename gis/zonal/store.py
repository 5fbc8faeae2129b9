"""The store: coverages and sums kept on disk by what they were made from, so that a rerun does only what changed.

In: grids, zones, jobs. Out: the same ``Coverage`` and ``ZoneSums`` as without a store, bit for bit.

Everything is keyed by content: a zone by its code, WKB and CRS, a grid by shape, transform and CRS, a raster by the
SHA-256 of its file, and all of them by the source text of the code that computes (`code_fingerprint`). A zone's sums
do not depend on the other zones of its layer, so they are kept zone by zone: a new boundary vintage computes the
polygons that changed and reads the strips that those touch.

Files are written under a temporary name, flushed and renamed. Two processes may share a store: each writes whole
files of its own knowledge, the later one wins, and what an earlier one knew besides is computed again.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gis.errors import GisError
from gis.graph import run_tasks
from gis.grid import Grid, Zones
from gis.tables import atomic_path
from gis.zonal.coverage import Coverage, coverage_from_zones, gather
from gis.zonal.engine import Job, ZoneSums, run_jobs
from gis.zonal.known import Known, bytes_of, known_from_arrays, texts_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

COMPUTING = ("crs.py", "grid.py", "raster_io", "zonal")
"""Modules and packages of ``gis`` whose text decides what a sum is."""


BATCH = 16
"""Rasters whose sums are written down together: what a killed run loses, at most, or an eighth of a longer list."""


@lru_cache(maxsize=1)
def code_fingerprint() -> str:
    """SHA-256 of the source text of everything that computes coverages and sums."""
    root = Path(__file__).resolve().parent.parent
    digest = hashlib.sha256()
    for name in COMPUTING:
        place = root / name
        for path in [place] if place.is_file() else sorted(place.glob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()


def _key(*parts: str) -> str:
    return hashlib.sha256("|".join((code_fingerprint(), *parts)).encode()).hexdigest()[:40]


@dataclass(slots=True)
class Reuse:
    """What a run found in the store, for it to say."""

    zones_known: int = 0
    """Zone coverages taken from the store."""
    zones_built: int = 0
    """Zone coverages built."""
    sums_known: int = 0
    """Sums of one zone in one raster taken from the store."""
    sums_made: int = 0
    """Sums of one zone in one raster computed."""
    rasters_read: int = 0
    """Rasters opened for summing."""
    rasters_spared: int = 0
    """Rasters of which everything was known."""

    def sentence(self) -> str:
        """One line for the summary."""
        return (
            f"store: coverage of {self.zones_known} zones reused, {self.zones_built} built; "
            f"{self.rasters_spared} rasters not read again, {self.rasters_read} read; "
            f"{self.sums_known} zone sums reused, {self.sums_made} computed"
        )


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of the store."""

    path: Path
    """Where it is."""
    kind: str
    """``coverage`` or ``sums``."""
    size_bytes: int
    """Its size."""
    used: float
    """When it was last used, seconds since the epoch."""


@dataclass(frozen=True, slots=True)
class Store:
    """A folder of coverages and sums; deleting any of it costs time and nothing else."""

    root: Path
    """The folder; made when first written to."""
    reuse: Reuse = field(default_factory=Reuse)
    """Counts since this object was made."""

    # --- coverage ----------------------------------------------------------------------------------------------------

    def coverage(self, grid: Grid, zones: Zones, *, run: Callable[..., list[Any]] | None = None) -> Coverage:
        """Coverage of a grid by zones; only zones that no stored layer of this grid knows are built.

        Raises
        ------
        As `gis.zonal.coverage.coverage_from_zones`.
        """
        prints = zones.fingerprints
        folder = self.root / "coverage" / _key("grid", grid.fingerprint)
        path = folder / f"{_key('layer', *prints)}.npz"
        known = _read_coverage(path, grid)
        if known is not None and known.codes == prints:
            self.reuse.zones_known += len(prints)
            return replace(known, codes=zones.codes)
        place = {p: i for i, p in enumerate(prints)}
        pieces = []
        for other in self._layers(folder, grid):
            found = np.array([place.pop(p, -1) for p in other.codes], np.intp)
            pieces.append((other, found))
            if not place:
                break
        missing = np.array(list(place.values()), np.intp)
        self.reuse.zones_known += len(prints) - missing.size
        self.reuse.zones_built += missing.size
        if missing.size:
            some = Zones(tuple(zones.codes[i] for i in missing), zones.geometry[missing], zones.crs)
            pieces.append((coverage_from_zones(grid, some, run=run), missing))
        coverage = gather(grid, zones.codes, [(c, p) for c, p in pieces if p.max(initial=-1) >= 0])
        _write_coverage(path, prints, coverage)
        return coverage

    def _layers(self, folder: Path, grid: Grid) -> Iterator[Coverage]:
        """Stored layers of a grid, newest first; their codes are the fingerprints of the zones."""
        for path in sorted(folder.glob("*.npz"), key=_mtime, reverse=True) if folder.is_dir() else []:
            known = _read_coverage(path, grid)
            if known is not None:
                yield known

    # --- sums --------------------------------------------------------------------------------------------------------

    def run(
        self,
        jobs: Sequence[Job],
        zones: Sequence[Sequence[Zones]],
        rasters: Sequence[str],
        *,
        run: Callable[..., list[Any]] | None = None,
    ) -> list[list[ZoneSums]]:
        """`run_jobs`, but for sums the store knows.

        Parameters
        ----------
        jobs : jobs without a mask, or whose mask is named in ``rasters``.
        zones : for each job the zones of its layers, in order.
        rasters : for each job what its raster and mask are made from: a content hash.
        """
        parts: _Parts = {}  # rasters of one grid mostly lack the same zones: one coverage for all of them
        paths = [self._sums_path(job, raster) for job, raster in zip(jobs, rasters, strict=True)]
        known = run_tasks(lambda path: known_from_arrays(_load(path)), paths)
        plans = [self._plan(*asked, parts) for asked in zip(jobs, zones, paths, known, strict=True)]
        todo = [plan for plan in plans if plan.job is not None]
        self.reuse.rasters_read += len(todo)
        self.reuse.rasters_spared += len(jobs) - len(todo)
        step = max(BATCH, -(-len(todo) // 8))
        for k in range(0, len(todo), step):
            some = todo[k : k + step]
            for plan, made in zip(some, run_jobs([p.job for p in some if p.job], run=run), strict=True):
                _learn(plan, made)
            run_tasks(lambda plan: _save(plan.path, plan.known.arrays()), some)
        return [_answer(plan) for plan in plans]

    def _sums_path(self, job: Job, raster: str) -> Path:
        settings = f"{job.rules}|{job.measures}|{job.profile}|{job.moments}|{job.info.band}|{job.info.grid.fingerprint}"
        return self.root / "sums" / f"{_key('sums', raster, settings)}.npz"

    def _plan(self, job: Job, layers: Sequence[Zones], path: Path, known: Known, parts: _Parts) -> _Plan:
        prints = [zones.fingerprints for zones in layers]
        missing = [np.flatnonzero(known.places(p) < 0) for p in prints]
        unread = job.whole and np.isnan(known.raster_sum)
        made = sum(m.size for m in missing)
        self.reuse.sums_known += sum(map(len, prints)) - made
        self.reuse.sums_made += made
        if not made and not unread:
            return _Plan(path, job, prints, missing, known, None)
        key = (job.layers, tuple(m.tobytes() for m in missing))
        if key not in parts:
            parts[key] = tuple(c.only(m) for c, m in zip(job.layers, missing, strict=True))
        return _Plan(path, job, prints, missing, known, replace(job, layers=parts[key], whole=unread))

    # --- anything else that belongs to one zone ----------------------------------------------------------------------

    def per_zone(
        self, name: str, zones: Zones, width: int, compute: Callable[[NDArray[np.intp]], NDArray[np.float64]]
    ) -> NDArray[np.float64]:
        """(n_zones, width) float64: a value of each zone, computed for those that the store does not know.

        Parameters
        ----------
        name : what the values are made from besides the zone: hashes of rasters, grids and settings.
        compute : indices of zones -> (n, width); a zone's row must not depend on which others are asked for.
        """
        path = self.root / "sums" / f"{_key('values', name)}.npz"
        known, prints = known_from_arrays(_load(path)), zones.fingerprints
        missing = np.flatnonzero(known.places(prints) < 0)
        if missing.size:
            known.add([prints[i] for i in missing], compute(missing))
            _save(path, known.arrays())
        return known.of(prints, width)

    def of_raster(self, name: str, compute: Callable[[], Sequence[float]]) -> NDArray[np.float64]:
        """(n,) float64: numbers of a whole raster, computed when the store does not know them.

        Parameters
        ----------
        name : what the numbers are made from: hashes of the raster, rules and settings.
        """
        path = self.root / "sums" / f"{_key('raster', name)}.npz"
        known, only = known_from_arrays(_load(path)), ("0" * 64,)
        if known.places(only)[0] < 0:
            known.add(only, np.array([compute()], float))
            _save(path, known.arrays())
        return known.of(only, 0)[0]

    # --- housekeeping ------------------------------------------------------------------------------------------------

    def entries(self) -> list[Entry]:
        """Every file of the store, most recently used first."""
        out = []
        for kind in ("coverage", "sums"):
            for path in (self.root / kind).rglob("[!.]*.npz"):
                with suppress(FileNotFoundError):  # another process may be tidying up
                    stat = path.stat()
                    out.append(Entry(path, kind, stat.st_size, stat.st_mtime))
        return sorted(out, key=lambda e: e.used, reverse=True)

    def collect(self, *, older_than_days: float | None = None, keep_bytes: int | None = None) -> list[Entry]:
        """Delete entries unused for some days, then the least recently used ones beyond a size; return them.

        Files that an interrupted write left behind go as well when they are older than an hour.
        """
        entries, gone = self.entries(), []
        now, kept = time.time(), 0
        for entry in entries:
            old = older_than_days is not None and now - entry.used > older_than_days * 86_400
            kept += entry.size_bytes
            if old or (keep_bytes is not None and kept > keep_bytes):
                with suppress(FileNotFoundError):
                    entry.path.unlink()
                gone.append(entry)
        for path in self.root.rglob(".*.npz*"):
            with suppress(FileNotFoundError):
                if now - path.stat().st_mtime > 3600:
                    path.unlink()
        return gone


_Parts = dict[tuple[tuple[Coverage, ...], tuple[bytes, ...]], tuple[Coverage, ...]]
"""(Layers, zones missing in each) -> coverages of these zones."""


@dataclass(frozen=True, slots=True)
class _Plan:
    """What is known of a job and what is left to do."""

    path: Path
    asked: Job
    prints: list[tuple[str, ...]]
    missing: list[NDArray[np.intp]]
    known: Known
    job: Job | None


def _learn(plan: _Plan, made: list[ZoneSums]) -> None:
    """Take in what was computed for a plan."""
    known = plan.known
    for prints, missing, sums in zip(plan.prints, plan.missing, made, strict=True):
        fresh = known.places(prints)[missing] < 0  # two layers may share a zone
        known.add([prints[i] for i in missing[fresh]], _rows_of(sums)[fresh])
        if plan.job is not None and plan.job.whole:
            known.raster_sum = sums.raster_sum


def _answer(plan: _Plan) -> list[ZoneSums]:
    """The sums a job asked for, all of them known now."""
    known, job = plan.known, plan.asked
    n = len(job.measures)
    total = known.raster_sum if job.whole else np.nan
    out = []
    for prints in plan.prints:
        rows = known.of(prints, 2 * n)
        profile = rows[:, 2 * n :] if job.profile else None
        out.append(ZoneSums(job.measures, rows[:, :n], rows[:, n : 2 * n], profile, total))
    return out


def _rows_of(sums: ZoneSums) -> NDArray[np.float64]:
    parts = [sums.sums, sums.valid] + ([sums.profile] if sums.profile is not None else [])
    return np.hstack(parts)


def _mtime(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _load(path: Path) -> dict[str, NDArray[Any]]:
    """Arrays of a file; nothing for one that is absent or damaged, which then is made anew."""
    try:
        with np.load(path, allow_pickle=False) as data:
            found = {name: data[name] for name in data.files}
        os.utime(path)
    except (OSError, ValueError, KeyError, EOFError, _bad_zip()):
        return {}
    return found


def _bad_zip() -> type[Exception]:
    import zipfile

    return zipfile.BadZipFile


def _save(path: Path, arrays: dict[str, NDArray[Any]]) -> None:
    with suppress(GisError), atomic_path(path) as temporary, open(temporary, "wb") as stream:
        np.savez(stream, **arrays)  # type: ignore[arg-type]  # a full disk costs the next run time, not this one its result


ARRAYS = ("span_ptr", "span_zone", "span_cols", "cell_ptr", "cell_zone", "cell_col", "cell_share")
"""Fields of ``Coverage`` in a stored layer; by row, as they are used: an unchanged layer is read and nothing else."""


def _read_coverage(path: Path, grid: Grid) -> Coverage | None:
    """A stored layer, the fingerprints of its zones as codes; None where there is none."""
    data = _load(path)
    if not {"prints", *ARRAYS} <= data.keys():
        return None
    return Coverage(grid, tuple(texts_of(data["prints"].tobytes())), *(data[name] for name in ARRAYS))


def _write_coverage(path: Path, prints: Sequence[str], coverage: Coverage) -> None:
    _save(
        path,
        {"prints": np.frombuffer(bytes_of(prints), np.uint8), **{name: getattr(coverage, name) for name in ARRAYS}},
    )
