"""Zonal statistics as a tool for anyone: one raster, any polygons, a table.

In: a raster file and zones (a GeoDataFrame or a file). Out: a DataFrame in the order and with the index of the zones.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gis.errors import NotBuilt, OptionInvalid
from gis.grid import MEASURES, Measure
from gis.raster_io import CellRules, RasterInfo, integer_fills, read_info
from gis.zonal.coverage import Coverage, coverage_from_zones
from gis.zonal.engine import Job, ZoneSums, run_jobs

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

STATISTICS: dict[str, str] = {
    "count": "sum of f over valid cells [cells]",
    "sum": "sum of f * w * v [unit of the raster, times km2 unless w is 1]",
    "mean": "sum of f * w * v over sum of f * w [unit of the raster]",
    "min": "smallest valid v with f > 0 [unit]",
    "max": "largest valid v with f > 0 [unit]",
    "variance": "sum of f * (v - m)^2 over sum of f, m the mean with w = 1 [unit squared]",
    "stdev": "square root of variance [unit]",
    "coefficient_of_variation": "stdev over the mean with w = 1 [1]",
    "lit_fraction": "sum of f over valid cells with v > 0, over count [1]",
    "valid_area_km2": "sum of f * area on the ellipsoid over valid cells [km2]",
}
"""Statistic to definition; v is the cell's value, f its share inside the zone, w its weight under the measure.

Source: exactextract's operations, with population variance; ``sum`` and ``mean`` also under a measure.
"""

PLANNED = ("median", "quantile", "gini", "theil", "weighted_mean", "weighted_sum", "majority", "variety")
"""Statistics that are designed and not built."""

_PROFILED = {"min", "max", "variance", "stdev", "coefficient_of_variation", "lit_fraction"}


def check_statistics(stats: Sequence[str]) -> tuple[str, ...]:
    """Return the statistics as a tuple, or name the nearest known one.

    Raises
    ------
    OptionInvalid, NotBuilt
    """
    if isinstance(stats, str):
        stats = tuple(s.strip() for s in stats.split(","))
    for stat in stats:
        if stat in STATISTICS:
            continue
        if stat.split("(")[0].rstrip("0123456789_") in PLANNED:
            raise NotBuilt(f"the statistic {stat!r} is not built yet", mend=f"one of {', '.join(STATISTICS)}")
        near = difflib.get_close_matches(stat, STATISTICS, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise OptionInvalid(f"no statistic {stat!r}", mend=f"{hint}known: {', '.join(STATISTICS)}")
    if len(set(stats)) != len(stats):
        raise OptionInvalid("a statistic is asked for twice", mend="name each once")
    return tuple(stats)


def plain_rules(info: RasterInfo, nodata: float | None = None) -> CellRules:
    """Rules for a raster of no known product: declared and given nodata and the dtype's fills; negatives are data."""
    values = [v for v in (info.nodata, nodata) if v is not None and not np.isnan(v)]
    return CellRules(nodata=tuple(dict.fromkeys([*values, *integer_fills(info.dtype)])), negatives="keep")


def zonal_stats(
    raster: str | Path | RasterInfo,
    zones: Any,
    stats: Sequence[str] = ("sum", "mean"),
    *,
    measure: Measure = "cells",
    band: int = 1,
    nodata: float | None = None,
    raster_crs: Any = None,
    layer: str | None = None,
    zones_crs: Any = None,
    threads: int | None = None,
) -> pd.DataFrame:
    """Exact zonal statistics of one raster band.

    Parameters
    ----------
    raster : path or `RasterInfo`
        Any GDAL raster with a CRS; read in strips, never held whole.
    zones : GeoDataFrame, GeoSeries or path
        Polygons in any CRS; they are carried into the raster's CRS after densification.
    stats : names from `STATISTICS`, or one comma-separated text.
    measure : what a cell weighs in ``sum`` and ``mean``
        ``cells`` 1, ``true`` its area on the ellipsoid, ``lambert`` its area in the ESRI:102027 plane [km2].
    band : counted from 1.
    nodata : a further value that means no data.
    raster_crs, zones_crs : CRS of an input that carries none.
    layer : layer of the zones' file.
    threads : default: one per core.

    Returns
    -------
    DataFrame
        One row per zone in the order and with the index of ``zones`` (for a file: 0, 1, ...), a float64 column per
        statistic. Without a valid cell: count and valid_area_km2 0, everything else NaN.

    Raises
    ------
    GisError
        Unreadable inputs, missing CRS, invalid polygons, unknown statistics.

    Examples
    --------
    >>> import gis
    >>> gis.zonal_stats("lights_2019.tif", "cities.gpkg", ("sum", "mean", "max"))  # doctest: +SKIP
    """
    import pandas as pd

    from gis.boundaries import read_zones

    names = check_statistics(stats)
    if measure not in MEASURES:
        raise OptionInvalid(f"no measure {measure!r}", mend=f"one of {', '.join(MEASURES)}")
    _refuse_arrays(raster)
    info = raster if isinstance(raster, RasterInfo) else read_info(raster, band=band, crs=raster_crs)
    if hasattr(zones, "to_frame") and hasattr(zones, "geometry"):  # a GeoSeries
        zones = zones.to_frame("geometry")
    value = read_zones(zones, layer=layer, crs=zones_crs)
    index = zones.index if hasattr(zones, "index") and hasattr(zones, "geometry") else pd.RangeIndex(len(value))
    from gis.graph import run_tasks

    def run(function: Callable[[Any], Any], tasks: Sequence[Any]) -> list[Any]:
        return run_tasks(function, tasks, threads=threads)

    coverage = coverage_from_zones(info.grid, value, run=run)
    columns = statistics_of(info, coverage, names, measure=measure, rules=plain_rules(info, nodata), run=run)
    return pd.DataFrame(columns, index=index)


def _refuse_arrays(raster: Any) -> None:
    if hasattr(raster, "dims") or isinstance(raster, np.ndarray):
        raise NotBuilt(
            "arrays as raster input are not built yet",
            mend="write a GeoTIFF (rioxarray: .rio.to_raster) and give its path",
        )


def statistics_of(
    info: RasterInfo,
    coverage: Coverage,
    stats: Sequence[str],
    *,
    measure: Measure,
    rules: CellRules,
    run: Callable[..., list[Any]] | None = None,
) -> dict[str, Floats]:
    """Columns of statistics for one raster over a coverage of its grid."""
    measures: tuple[Measure, ...] = ("cells",) if measure == "cells" else ("cells", measure)
    if "valid_area_km2" in stats and "true" not in measures:
        measures = (*measures, "true")
    job = Job(info, rules, (coverage,), measures, profile=bool(_PROFILED & set(stats)))
    sums = run_jobs([job], run=run)[0][0]
    return {stat: _statistic(stat, sums, measure) for stat in stats}


def _statistic(stat: str, sums: ZoneSums, measure: Measure) -> Floats:
    from gis.zonal.kernels import COUNT, LIT_CELLS, M2, MAX, MEAN, MIN

    count = sums.valid_of("cells")
    if stat == "count":
        return count
    if stat == "valid_area_km2":
        return sums.valid_of("true")
    some = count > 0
    with np.errstate(divide="ignore", invalid="ignore"):
        if stat == "sum":
            return np.where(some, sums.sum_of(measure), np.nan)
        if stat == "mean":
            return np.where(some, sums.sum_of(measure) / sums.valid_of(measure), np.nan)
        profile = sums.profile
        assert profile is not None  # asked for by statistics_of
        column = {"min": MIN, "max": MAX}.get(stat)
        if column is not None:
            return np.where(some, profile[:, column], np.nan)
        variance = profile[:, M2] / profile[:, COUNT]
        values = {
            "variance": variance,
            "stdev": np.sqrt(variance),
            "coefficient_of_variation": np.sqrt(variance) / profile[:, MEAN],
            "lit_fraction": profile[:, LIT_CELLS] / profile[:, COUNT],
        }[stat]
        return np.where(some, values, np.nan)
