"""Statistics of many rasters over zones, however many there are of either.

In: rasters on any grids, zones, a plan. Out: for each statistic an array of rasters by zones.

Rasters of one grid share its coverage and go to the workers as one list of tasks. Zones are taken in groups whose
coverage fits into memory (`gis.zonal.groups`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gis.grid import Grid, Zones
from gis.raster_io import RasterInfo
from gis.zonal.compiled import compile_ahead
from gis.zonal.coverage import coverage_from_zones
from gis.zonal.engine import ZoneSums, run_jobs
from gis.zonal.groups import some_zones, zone_groups
from gis.zonal.statistics import Plan, lay_weights, plain_rules, statistics_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

Runner = Callable[[Callable[[Any], Any], Sequence[Any]], list[Any]]


def statistics_of_stack(
    infos: Sequence[RasterInfo],
    zones: Zones,
    plan: Plan,
    *,
    nodata: float | None = None,
    weights: str | Path | RasterInfo | None = None,
    weights_crs: Any = None,
    on_threads: Runner,
    run: Runner | None = None,
    report: Callable[[str, int, int], None] | None = None,
) -> dict[str, NDArray[np.float64]]:
    """Statistics of several rasters.

    Parameters
    ----------
    nodata, weights, weights_crs : as for `gis.zonal_stats`.
    on_threads : places the tasks that make coverages.
    run : places the tasks that read rasters; default: as ``on_threads``.

    Returns
    -------
    dict of (n_rasters, n_zones) float64
        By statistic, in the order of the plan.
    """
    run = run or on_threads
    compile_ahead((info.working_dtype for info in infos), report)
    found = {name: np.empty((len(infos), len(zones))) for name in plan.stats}
    # With several grids, groups are made for the finest: the others need less.
    groups = zone_groups(min((i.grid for i in infos), key=lambda g: g.cell_side_km), zones)
    done = 0
    for group in groups:
        some = some_zones(zones, group)
        for grid, members in _by_grid(infos):
            laid = lay_weights(weights, some, grid, plan.stats, crs=weights_crs, run=on_threads)
            coverage = coverage_from_zones(grid, some, run=on_threads)
            rules = [plain_rules(infos[i], nodata) for i in members]
            sums: list[ZoneSums | None] = [None] * len(members)
            if plan.of("sums"):
                jobs = [plan.job(infos[i], r, coverage) for i, r in zip(members, rules, strict=True)]
                sums = [layers[0] for layers in run_jobs(jobs, run=run)]
            for i, r, s in zip(members, rules, sums, strict=True):
                columns = statistics_of(infos[i], coverage, plan, rules=r, weights=laid, sums=s, run=run)
                for name, column in columns.items():
                    found[name][i, group] = column
            done += len(members)
            if report:
                report("rasters", done, len(groups) * len(infos))
    return found


def _by_grid(infos: Sequence[RasterInfo]) -> list[tuple[Grid, list[int]]]:
    """Grids, each with the rasters that lie on it."""
    out: list[tuple[Grid, list[int]]] = []
    for i, info in enumerate(infos):
        members = next((m for grid, m in out if grid.same_place(info.grid)), None)
        if members is None:
            members = []
            out.append((info.grid, members))
        members.append(i)
    return out
