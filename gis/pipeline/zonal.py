"""``lightpanel zonal``: the engine as a tool for anyone, several rasters at a time.

In: raster files and one file of polygons. Out: a CSV or Parquet table, one row per raster and zone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gis.errors import OptionInvalid
from gis.graph import run_tasks
from gis.grid import MEASURES, Grid
from gis.tables import atomic_path

if TYPE_CHECKING:
    from gis.zonal.coverage import Coverage
    from gis.zonal.weighted import Weights


def zonal_table(
    rasters: Sequence[Path],
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
    report: Callable[[str, int, int], None] | None = None,
) -> int:
    """Write statistics of several rasters over one layer of zones; see `gis.zonal_stats` for the arguments.

    Rasters on the same grid share one coverage. Columns: ``raster`` (file name), ``zone``, then the statistics.

    Returns
    -------
    int
        Rows written.
    """
    import pandas as pd

    from gis.boundaries import read_zones
    from gis.raster_io import read_info
    from gis.zonal.coverage import coverage_from_zones
    from gis.zonal.statistics import check_statistics, check_weights, lay_weights, plain_rules, statistics_of

    names = check_statistics(stats)
    if out.suffix.lower() not in (".csv", ".parquet"):
        raise OptionInvalid(f"no table format {out.suffix!r}", where=out, mend="name the file .csv or .parquet")
    if measure not in MEASURES:
        raise OptionInvalid(f"no measure {measure!r}", mend=f"one of {', '.join(MEASURES)}")
    check_weights(names, weights)
    infos = [read_info(path, band=band, crs=raster_crs, config_key="--raster-crs") for path in rasters]
    value = read_zones(zones, layer=layer, crs=zones_crs, code=code)

    def run(function: Callable[[Any], Any], tasks: Sequence[Any]) -> list[Any]:
        return run_tasks(function, tasks, threads=threads)

    coverages: list[tuple[Grid, Coverage, Weights | None]] = []
    frames = []
    for done, info in enumerate(infos):
        known = next((c for c in coverages if c[0].same_place(info.grid)), None)
        if known is None:
            laid = lay_weights(weights, value, info.grid, names, crs=weights_crs, run=run)
            known = (info.grid, coverage_from_zones(info.grid, value, run=run), laid)
            coverages.append(known)
        rules = plain_rules(info, nodata)
        columns = statistics_of(info, known[1], names, measure=measure, rules=rules, weights=known[2], run=run)
        frames.append(pd.DataFrame({"raster": info.path.name, "zone": value.codes, **columns}))
        if report:
            report("rasters", done + 1, len(infos))
    table = pd.concat(frames, ignore_index=True)
    with atomic_path(out) as temporary:
        if out.suffix.lower() == ".csv":
            table.to_csv(temporary, index=False, encoding="utf-8-sig")
        else:
            table.to_parquet(temporary, index=False)
    return len(table)
