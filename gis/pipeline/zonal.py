"""``lightpanel zonal``: the engine as a tool for anyone, several rasters at a time.

In: raster files and one file of polygons. Out: a CSV or Parquet table, one row per raster and zone.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gis.errors import OptionInvalid
from gis.graph import cluster, run_tasks
from gis.grid import MEASURES, Grid
from gis.tables import atomic_path

if TYPE_CHECKING:
    from gis.raster_io import RasterInfo
    from gis.zonal.engine import ZoneSums


def zonal_table(
    rasters: Sequence[Path | str],
    zones: Path,
    out: Path,
    *,
    stats: str | Sequence[str] = "sum,mean",
    layer: str | None = None,
    code: str | None = None,
    measure: str = "cells",
    weights: Path | None = None,
    band: int = 1,
    nodata: float | None = None,
    raster_crs: str | None = None,
    zones_crs: str | None = None,
    weights_crs: str | None = None,
    threads: int | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
    report: Callable[[str, int, int], None] | None = None,
) -> int:
    """Write statistics of several rasters over one layer of zones; see `gis.zonal_stats` for the arguments.

    Rasters on the same grid share one coverage. Zones whose coverage would not fit into memory are taken in groups,
    from north to south. Columns: ``raster`` (file name), ``zone``, then the statistics.

    Parameters
    ----------
    workers, scheduler : read the rasters on a cluster, see `gis.graph.cluster`. Changes no number.

    Returns
    -------
    int
        Rows written.
    """
    import pandas as pd

    from gis.boundaries import read_zones
    from gis.raster_io import read_info
    from gis.zonal.coverage import coverage_from_zones
    from gis.zonal.engine import run_jobs
    from gis.zonal.groups import some_zones, zone_groups
    from gis.zonal.shipping import cluster_runner
    from gis.zonal.statistics import Plan, check_statistics, check_weights, lay_weights, plain_rules, statistics_of

    names = check_statistics(stats)
    if out.suffix.lower() not in (".csv", ".parquet"):
        raise OptionInvalid(f"no table format {out.suffix!r}", where=out, mend="name the file .csv or .parquet")
    if measure not in MEASURES:
        raise OptionInvalid(f"no measure {measure!r}", mend=f"one of {', '.join(MEASURES)}")
    check_weights(names, weights)
    plan = Plan(names, measure)
    infos = [read_info(path, band=band, crs=raster_crs, config_key="--raster-crs") for path in rasters]
    value = read_zones(zones, layer=layer, crs=zones_crs, code=code)
    found = {name: np.empty((len(infos), len(value))) for name in names}
    # With several grids, groups are made for the finest: the others need less.
    groups = zone_groups(min((i.grid for i in infos), key=lambda g: g.cell_side_km), value)

    def on_threads(function: Callable[[Any], Any], tasks: Sequence[Any]) -> list[Any]:
        return run_tasks(function, tasks, threads=threads)

    with (
        cluster(workers=workers, scheduler=scheduler) as client,
        tempfile.TemporaryDirectory(prefix=".lightpanel-", dir=out.absolute().parent if client else None) as shared,
    ):
        run = on_threads if client is None else cluster_runner(client, Path(shared))
        done = 0
        for group in groups:
            some = some_zones(value, group)
            for grid, members in _by_grid(infos):
                laid = lay_weights(weights, some, grid, names, crs=weights_crs, run=on_threads)
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
    first = {"raster": np.repeat([i.path.name for i in infos], len(value)), "zone": np.tile(value.codes, len(infos))}
    table = pd.DataFrame(first | {name: column.reshape(-1) for name, column in found.items()})
    with atomic_path(out) as temporary:
        if out.suffix.lower() == ".csv":
            table.to_csv(temporary, index=False, encoding="utf-8-sig")
        else:
            table.to_parquet(temporary, index=False)
    return len(table)


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
