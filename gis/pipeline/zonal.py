"""``lightpanel zonal``: the engine as a tool for anyone, several rasters at a time.

In: raster files and one file of polygons. Out: a CSV or Parquet table, one row per raster and zone.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gis.errors import OptionInvalid
from gis.graph import cluster, run_tasks
from gis.grid import MEASURES
from gis.tables import atomic_path


def zonal_table(
    rasters: Sequence[Path | str],
    zones: Path,
    out: Path,
    *,
    stats: str | Sequence[str] = "sum,mean",
    layer: str | None = None,
    code: str | None = None,
    measure: str = "cells",
    weights: Path | str | None = None,
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
    from gis.zonal.shipping import cluster_runner
    from gis.zonal.stack import statistics_of_stack
    from gis.zonal.statistics import Plan, check_statistics, check_weights

    names = check_statistics(stats)
    if out.suffix.lower() not in (".csv", ".parquet"):
        raise OptionInvalid(f"no table format {out.suffix!r}", where=out, mend="name the file .csv or .parquet")
    if measure not in MEASURES:
        raise OptionInvalid(f"no measure {measure!r}", mend=f"one of {', '.join(MEASURES)}")
    check_weights(names, weights)
    plan = Plan(names, measure)
    infos = [read_info(path, band=band, crs=raster_crs, config_key="--raster-crs") for path in rasters]
    value = read_zones(zones, layer=layer, crs=zones_crs, code=code)

    def on_threads(function: Callable[[Any], Any], tasks: Sequence[Any]) -> list[Any]:
        return run_tasks(function, tasks, threads=threads)

    with (
        cluster(workers=workers, scheduler=scheduler) as client,
        tempfile.TemporaryDirectory(prefix=".lightpanel-", dir=out.absolute().parent if client else None) as shared,
    ):
        found = statistics_of_stack(
            infos, value, plan, nodata=nodata, weights=weights, weights_crs=weights_crs, on_threads=on_threads,
            run=None if client is None else cluster_runner(client, Path(shared)), report=report,
        )  # fmt: skip
    first = {"raster": np.repeat([i.path.name for i in infos], len(value)), "zone": np.tile(value.codes, len(infos))}
    table = pd.DataFrame(first | {name: column.reshape(-1) for name, column in found.items()})
    with atomic_path(out) as temporary:
        if out.suffix.lower() == ".csv":
            table.to_csv(temporary, index=False, encoding="utf-8-sig")
        else:
            table.to_parquet(temporary, index=False)
    return len(table)
