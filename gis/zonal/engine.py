"""The engine: rasters through coverage to totals per zone, strip by strip.

In: ``RasterInfo`` and ``CellRules`` per raster, one ``Coverage`` per layer of zones. Out: per raster and layer the
sums, valid weights and profiles of every zone.

A task is some whole strips of one raster, read once for all layers. Its result holds one partial result per strip;
`combine` adds them in strip order, so that the bits do not depend on how strips were grouped into tasks, nor on the
number of workers.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from gis.errors import GridMismatch
from gis.grid import MEASURES, STRIP_ROWS, Grid, Measure
from gis.raster_io import CellRules, RasterHandle, RasterInfo, open_raster
from gis.zonal.coverage import Coverage, gather
from gis.zonal.facts import StripFacts, strip_facts, strip_runs, whole_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

TASK_CELLS = 16_000_000
"""Cells of a task: a few strips; small enough to balance two threads, large enough to hide the cost of a task."""

WHOLE_CELLS = 100_000_000
"""Rasters up to this size are read whole, for their total; of larger ones only what zones touch."""

SPARSE = 5
"""Where fewer than one cell in so many lies in a zone, cells are cleaned zone by zone: short loops cost more a cell."""

StripMask = Callable[[int], "NDArray[np.bool_]"]
"""Strip number to (n_rows, nx) bool: cells to treat as no data."""


@dataclass(frozen=True, slots=True)
class Job:
    """One raster and the layers it is summed over."""

    info: RasterInfo
    """The raster."""
    rules: CellRules
    """Which of its cells are data."""
    layers: tuple[Coverage, ...]
    """Coverages on the raster's own grid."""
    measures: tuple[Measure, ...] = MEASURES
    """Cell weights of the sums, in this order."""
    profile: bool = False
    """Whether negatives, lit cells, extremes and moments are wanted too."""
    moments: bool = True
    """Whether the profile holds mean and M2: without them it costs a fraction."""
    whole: bool = False
    """Whether to read every cell, for the raster's total."""
    mask: StripMask | None = None
    """Further cells without data."""
    key: Any = None
    """What the caller calls it (a product and a year); not used here."""

    def __post_init__(self) -> None:
        for coverage in self.layers:
            if not coverage.grid.same_place(self.info.grid):
                a, b = self.info.grid, coverage.grid
                raise GridMismatch(
                    f"the raster is {a.shape} in {a.crs.name}; the coverage is {b.shape} in {b.crs.name}",
                    where=self.info.path,
                    mend="build the coverage for this raster's own grid: coverage_from_zones(info.grid, zones)",
                )

    def tasks(self) -> list[Task]:
        """Whole strips in tasks of about ``TASK_CELLS``, never splitting a block of the file between two tasks."""
        grid = self.info.grid
        if self.whole:
            strips = list(range(grid.n_strips))
        else:
            strips = sorted({s for coverage in self.layers for s in coverage.covered_strips()})
        block = max(-(-self.info.block_shape[0] // STRIP_ROWS), 1)
        per_task = max(TASK_CELLS // (STRIP_ROWS * grid.shape[1]) // block, 1) * block
        groups: dict[int, list[int]] = {}
        for strip in strips:
            groups.setdefault(strip // per_task, []).append(strip)
        return [Task(self, tuple(group)) for group in groups.values()]


@dataclass(frozen=True, slots=True)
class Task:
    """Some whole strips of a job."""

    job: Job
    """The job."""
    strips: tuple[int, ...]
    """Strip numbers, rising."""


@dataclass(frozen=True, slots=True)
class StripSums:
    """What one strip adds to one layer."""

    zones: NDArray[np.intp]
    """(n,): zones with a cell in the strip."""
    sums: NDArray[np.float64]
    """(n, 2 * n_measures): as `gis.zonal.kernels.sum_strip` gives them."""
    profile: NDArray[np.float64] | None
    """(n, N_PROFILE), or None when not asked for."""


@dataclass(frozen=True, slots=True)
class ZoneSums:
    """Totals of one raster over one layer."""

    measures: tuple[Measure, ...]
    """Weights of the sums."""
    sums: NDArray[np.float64] = field(repr=False)
    """(n_zones, n_measures): sum of share * weight * value."""
    valid: NDArray[np.float64] = field(repr=False)
    """(n_zones, n_measures): sum of share * weight over valid cells."""
    profile: NDArray[np.float64] | None = field(repr=False)
    """(n_zones, N_PROFILE): columns as named in `gis.zonal.kernels`."""
    raster_sum: float
    """Sum of all valid cells of the raster; NaN unless it was read whole."""

    def sum_of(self, measure: Measure) -> NDArray[np.float64]:
        """(n_zones,): the sum under one measure."""
        return self.sums[:, self.measures.index(measure)]

    def valid_of(self, measure: Measure) -> NDArray[np.float64]:
        """(n_zones,): valid weight under one measure."""
        return self.valid[:, self.measures.index(measure)]


@dataclass(frozen=True, slots=True)
class Bounds:
    """`CellRules` as the kernels take them."""

    raw_low: float
    low: float
    high: float
    nodata: float
    floor: float
    others: tuple[float, ...]
    """Nodata values beyond the first."""


def bounds_from_rules(rules: CellRules, dtype: Any) -> Bounds:
    """Turn rules into the comparisons a kernel makes: data is ``low <= x <= high`` and ``x != nodata``."""
    kind = np.dtype(dtype)
    high = float(np.nextafter(rules.fill_limit, 0.0))
    raw_low = -high
    if kind.kind == "i":
        raw_low = max(raw_low, float(np.iinfo(kind).min) + 1)
    if rules.below_zero_is_nodata:
        raw_low = 0.0
    low = max(raw_low, 0.0) if rules.negatives == "nan" else raw_low
    floor = max(0.0, rules.dn_min) if rules.negatives != "keep" or rules.dn_min > 0 else -np.inf
    values = tuple(float(kind.type(v)) if kind.kind == "f" else float(v) for v in rules.nodata)
    inside = tuple(v for v in values if raw_low <= v <= high)  # the others are caught by the bounds
    return Bounds(raw_low, low, high, inside[0] if inside else np.nan, floor, inside[1:])


def run_task(task: Task) -> list[tuple[int, list[StripSums], float]]:
    """Read the strips of a task and sum them over every layer: the chunk function.

    Returns
    -------
    One (strip, one `StripSums` per layer, sum of the strip's valid cells or NaN) per strip.
    """
    job = task.job
    out = []
    with open_raster(job.info) as handle:
        for strip in task.strips:
            runs = _runs(job, strip)
            if not runs:
                out.append((strip, [_empty(job) for _ in job.layers], 0.0))
                continue
            out.append((strip, *sum_values(job, strip, _read(handle, job.info, strip, runs), runs[0][0])))
    return out


def _runs(job: Job, strip: int) -> list[tuple[int, int]]:
    """Columns of a strip to read: blocks that no zone touches are left out."""
    if job.whole:
        return [(0, job.info.grid.shape[1])]
    return strip_runs(merged(job.layers), strip, job.info.block_shape[1])


def _read(handle: RasterHandle, info: RasterInfo, strip: int, runs: list[tuple[int, int]]) -> NDArray[Any]:
    """Rows of a strip from the first run's first column to the last run's end; zeros between the runs."""
    row0, row1 = info.grid.strip_rows(strip)
    first, end = runs[0][0], runs[-1][1]
    if len(runs) == 1:
        return handle.read_rows(row0, row1, first, end)
    values = np.zeros((row1 - row0, end - first), info.working_dtype)
    for a, b in runs:
        values[:, a - first : b - first] = handle.read_rows(row0, row1, a, b)
    return values


def _empty(job: Job) -> StripSums:
    from gis.zonal.kernels import N_PROFILE

    n = 2 * len(job.measures)
    return StripSums(np.empty(0, np.intp), np.empty((0, n)), np.empty((0, N_PROFILE)) if job.profile else None)


def sum_values(job: Job, strip: int, values: NDArray[Any], col0: int) -> tuple[list[StripSums], float]:
    """Sum one strip that is read already, its columns from ``col0`` on; ``values`` are written to."""
    bounds = bounds_from_rules(job.rules, values.dtype)
    fill = np.nan if values.dtype.kind == "f" else np.iinfo(values.dtype).min
    for other in bounds.others:
        values[values == other] = fill
    if job.mask is not None:
        values[job.mask(strip)[:, col0 : col0 + values.shape[1]]] = fill
    # All layers in one pass: a row is turned into doubles once.
    coverage = merged(job.layers)
    row0, row1 = job.info.grid.strip_rows(strip)
    shares, n, facts = strip_arrays(coverage, row0, row1), len(coverage), strip_facts(coverage, strip)
    sums, total = weighted_sums(
        job.info.grid, job.measures, row0, row1, values, col0, bounds, shares, n, with_total=job.whole, facts=facts
    )
    profile = _profile(job, values, col0, bounds, shares, n, facts) if job.profile else None
    out, first = [], 0
    for layer in job.layers:
        zones = strip_facts(layer, strip).zones
        some = None if profile is None else profile[zones + first]
        out.append(StripSums(zones, sums[zones + first], some))
        first += len(layer)
    return out, total if job.whole else np.nan


def _profile(
    job: Job,
    values: NDArray[Any],
    col0: int,
    b: Bounds,
    shares: tuple[NDArray[Any], ...],
    n_zones: int,
    facts: StripFacts,
) -> NDArray[np.float64]:
    from gis.zonal.kernels import N_PROFILE, profile_strip, quality_strip

    out = np.zeros((n_zones, N_PROFILE))
    limits = (b.raw_low, b.low, b.high, b.nodata, b.floor)
    if job.moments:
        profile_strip(values, col0, *limits, *shares, out)
    else:
        quality_strip(values, col0, *limits, *shares, facts.row_cols, out)
    return out


def merged(layers: tuple[Coverage, ...]) -> Coverage:
    """Several layers of one grid as one coverage, the zones of a later layer after those of the earlier ones."""
    return layers[0] if len(layers) == 1 else _merged(layers)


@lru_cache(maxsize=4)  # light and population, changed and whole: what a run has at hand
def _merged(layers: tuple[Coverage, ...]) -> Coverage:
    first = np.cumsum([0, *map(len, layers[:-1])])
    codes = tuple(code for c in layers for code in c.codes)
    return gather(layers[0].grid, codes, [(c, a + np.arange(len(c))) for c, a in zip(layers, first, strict=True)])


def strip_arrays(coverage: Coverage, row0: int, row1: int) -> tuple[NDArray[Any], ...]:
    """The coverage of rows [row0, row1) as the kernels take it."""
    return (
        coverage.span_ptr[row0 : row1 + 1],
        coverage.span_zone,
        coverage.span_cols,
        coverage.cell_ptr[row0 : row1 + 1],
        coverage.cell_zone,
        coverage.cell_col,
        coverage.cell_share,
    )


def weighted_sums(
    grid: Grid,
    measures: Sequence[Measure],
    row0: int,
    row1: int,
    values: NDArray[Any],
    col0: int,
    bounds: Bounds,
    shares: tuple[NDArray[Any], ...],
    n_zones: int,
    *,
    with_total: bool = False,
    facts: StripFacts | None = None,
) -> tuple[NDArray[np.float64], float]:
    """Sums and valid weights of a strip under several measures, (n_zones, 2 * n_measures), and the sum of all cells.

    Parameters
    ----------
    facts : of the strip, where they are known: cells outside all zones are then passed over.
    """
    from gis.zonal.kernels import sum_strip, sum_strip_by_cell

    n = len(measures)
    out = np.zeros((n_zones, 2 * n))
    b = (bounds.low, bounds.high, bounds.nodata, bounds.floor)
    by_row = [i for i, m in enumerate(measures) if grid.is_geographic or m == "cells"]
    by_cell = [i for i in range(n) if i not in by_row]
    rows = np.ones((len(by_row), row1 - row0))
    for k, i in enumerate(by_row):
        if measures[i] != "cells":
            rows[k] = grid.cell_areas_km2(measures[i], row0, row1)
    part = np.zeros((n_zones, 2 * len(by_row)))
    row_cols, by_span = whole_rows(values, col0), False
    if facts is not None and not with_total:
        row_cols, by_span = facts.row_cols, SPARSE * facts.n_cells < values.size
    total = float(sum_strip(values, col0, *b, *shares, row_cols, rows, with_total, by_span, part))
    out[:, by_row], out[:, [n + i for i in by_row]] = part[:, : len(by_row)], part[:, len(by_row) :]
    if by_cell:
        weights = np.stack([_cell_weights(grid, measures[i], row0, row1) for i in by_cell])
        part = np.zeros((n_zones, 2 * len(by_cell)))
        sum_strip_by_cell(values, col0, *b, *shares, weights, part)
        out[:, by_cell], out[:, [n + i for i in by_cell]] = part[:, : len(by_cell)], part[:, len(by_cell) :]
    return out, total


class _WeightCache:
    """Cell weights of projected grids, by strip: the same for every raster on the grid, dearer than a read."""

    budget_bytes = 1 << 30

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[Any, NDArray[np.float64]] = OrderedDict()
        self._bytes = 0

    def get(self, grid: Grid, measure: Measure, row0: int, row1: int) -> NDArray[np.float64]:
        key = (grid.fingerprint, measure, row0, row1)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        weights = grid.cell_areas_km2(measure, row0, row1)
        weights.setflags(write=False)
        with self._lock:
            if key not in self._kept:
                self._kept[key] = weights
                self._bytes += weights.nbytes
                while self._bytes > self.budget_bytes and len(self._kept) > 1:
                    self._bytes -= self._kept.popitem(last=False)[1].nbytes
        return weights


_cache = _WeightCache()


def _cell_weights(grid: Grid, measure: Measure, row0: int, row1: int) -> NDArray[np.float64]:
    return _cache.get(grid, measure, row0, row1)


def combine(job: Job, results: Sequence[list[tuple[int, list[StripSums], float]]]) -> list[ZoneSums]:
    """Add the strips of a job in strip order: one `ZoneSums` per layer.

    Parameters
    ----------
    results : results of ``job.tasks()``, in any order.
    """
    from gis.zonal.kernels import M2, MEAN, N_PROFILE, merge_profiles

    strips = sorted((item for result in results for item in result), key=lambda item: item[0])
    n = len(job.measures)
    out = []
    for k, coverage in enumerate(job.layers):
        sums = np.zeros((len(coverage), 2 * n))
        profile = np.zeros((len(coverage), N_PROFILE)) if job.profile else None
        for _, layers, _ in strips:
            part = layers[k]
            sums[part.zones] += part.sums
            if profile is not None and part.profile is not None:
                some = profile[part.zones]
                merge_profiles(some, part.profile)
                profile[part.zones] = some
        raster_sum = 0.0
        for _, _, total in strips:
            raster_sum += total
        if profile is not None and not job.moments:
            profile[:, MEAN : M2 + 1] = np.nan  # not computed is not 0
        out.append(ZoneSums(job.measures, sums[:, :n], sums[:, n:], profile, raster_sum if job.whole else np.nan))
    return out


def run_jobs(jobs: Sequence[Job], *, run: Callable[..., list[Any]] | None = None) -> list[list[ZoneSums]]:
    """Run several jobs as one list of tasks; results in the order of the jobs, one per layer.

    Parameters
    ----------
    run : callable, optional
        ``run(function, tasks) -> list`` in the order of the tasks, such as `gis.graph.run_tasks`; default: one by one.
    """
    tasks = [(i, task) for i, job in enumerate(jobs) for task in job.tasks()]
    # One task of each grid goes first: two threads then prepare two grids, and not the same one twice.
    seen: set[tuple[Coverage, ...]] = set()
    late = [task.job.layers in seen or seen.add(task.job.layers) for _, task in tasks]  # type: ignore[func-returns-value]
    tasks = [tasks[k] for k in sorted(range(len(tasks)), key=lambda k: bool(late[k]))]
    parts = run(run_task, [t for _, t in tasks]) if run else [run_task(t) for _, t in tasks]
    by_job: dict[int, list[Any]] = {}
    for (i, _), part in zip(tasks, parts, strict=True):
        by_job.setdefault(i, []).append(part)
    return [combine(job, by_job.get(i, [])) for i, job in enumerate(jobs)]
