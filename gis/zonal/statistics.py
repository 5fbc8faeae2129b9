"""Zonal statistics as a tool for anyone: one raster or array, any polygons, a table.

In: a raster file or an xarray DataArray, zones (a GeoDataFrame or a file), optionally a raster of weights. Out: a
DataFrame in the order and with the index of the zones; for an array, a Dataset over zones and the array's further
dimensions.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np

from gis.errors import OptionInvalid
from gis.grid import MEASURES, Grid, Measure, Zones
from gis.raster_io import CellRules, RasterInfo, integer_fills, read_info
from gis.zonal.coverage import Coverage
from gis.zonal.distribution import ENTRIES, Distribution, distribution
from gis.zonal.engine import Job, ZoneSums, run_jobs
from gis.zonal.names import (
    QUANTILE,
    STATISTICS,
    WEIGHTED,
    Family,
    check_statistics,
    family_of,
    needs_weights,
    quantile_of,
)
from gis.zonal.value_tables import CellSource, Source
from gis.zonal.weighted import PieceSource, WeightedSums, Weights, match_weights, weighted_sums

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    import xarray as xr
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

__all__ = ["QUANTILE", "STATISTICS", "WEIGHTED", "check_statistics", "plain_rules", "statistics_of", "zonal_stats"]

_MOMENTS = {"variance", "stdev", "coefficient_of_variation"}
_PROFILED = {"min", "max", "lit_fraction", *_MOMENTS}


def plain_rules(info: RasterInfo, nodata: float | None = None) -> CellRules:
    """Rules for a raster of no known product: declared and given nodata and the dtype's fills; negatives are data."""
    values = [v for v in (info.nodata, nodata) if v is not None and not np.isnan(v)]
    return CellRules(nodata=tuple(dict.fromkeys([*values, *integer_fills(info.dtype)])), negatives="keep")


@overload
def zonal_stats(raster: str | Path | RasterInfo, zones: Any, *args: Any, **options: Any) -> pd.DataFrame: ...
@overload
def zonal_stats(raster: xr.DataArray, zones: Any, *args: Any, **options: Any) -> xr.Dataset: ...
def zonal_stats(
    raster: str | Path | RasterInfo | xr.DataArray,
    zones: Any,
    stats: str | Sequence[str] = ("sum", "mean"),
    *,
    measure: Measure = "cells",
    weights: Any = None,
    band: int = 1,
    nodata: float | None = None,
    raster_crs: Any = None,
    layer: str | None = None,
    zones_crs: Any = None,
    weights_crs: Any = None,
    threads: int | None = None,
) -> pd.DataFrame | xr.Dataset:
    """Exact zonal statistics of one raster band, or of every slice of an array.

    Parameters
    ----------
    raster : path, `RasterInfo` or xarray DataArray
        A file: any GDAL raster with a CRS; read in strips, never held whole. An array: NumPy- or Dask-backed (then the
        result is lazy), with regular x and y, a CRS and any further dimensions; see `gis.zonal.arrays`.
    zones : GeoDataFrame, GeoSeries, `Zones` or path
        Polygons in any CRS; they are carried into the raster's CRS after densification.
    stats : names from `STATISTICS` and `WEIGHTED`, ``quantile(q)``, ``weighted_quantile(q)``, or one text with commas.
    measure : what a cell weighs in ``sum`` and ``mean``
        ``cells`` 1, ``true`` its area on the ellipsoid, ``lambert`` its area in the ESRI:102027 plane [km2].
    weights : path, `RasterInfo` or, for an array, DataArray, optional
        Counts (persons per cell) on the same or any other grid and CRS, for the statistics in `WEIGHTED`;
        `gis.zonal.weighted` says how cells are matched. Further dimensions (years) match the array's by label.
    band, layer : band of a raster file, from 1; layer of the zones' file.
    nodata : a further value that means no data.
    raster_crs, zones_crs, weights_crs : CRS of an input that carries none.
    threads : default: one per core. Changes no bit.

    Returns
    -------
    DataFrame
        One row per zone in the order and with the index of ``zones`` (a file: 0, 1, ...; `Zones`: codes), a column per
        statistic. Without a valid cell: count, variety, valid_area_km2 and weights 0, everything else NaN.
    Dataset
        For an array: a variable per statistic, of dimensions ``zone`` and those of the array beside x and y.

    Raises
    ------
    GisError
        Unreadable inputs, missing CRS, invalid polygons, unknown statistics, arrays without coordinates.

    Examples
    --------
    >>> import gis
    >>> gis.zonal_stats("lights_2019.tif", "cities.gpkg", "sum,median,quantile(0.9),gini")  # doctest: +SKIP
    >>> gis.zonal_stats("lights_2019.tif", "cities.gpkg", "weighted_mean", weights="people.tif")  # doctest: +SKIP
    """
    import pandas as pd

    from gis.graph import run_tasks
    from gis.zonal.stack import statistics_of_stack

    names = check_statistics(stats)
    if measure not in MEASURES:
        raise OptionInvalid(f"no measure {measure!r}", mend=f"one of {', '.join(MEASURES)}")
    check_weights(names, weights)
    value, index = _read_zones(zones, layer, zones_crs)

    def run(function: Callable[[Any], Any], tasks: Sequence[Any]) -> list[Any]:
        return run_tasks(function, tasks, threads=threads)

    if not isinstance(raster, RasterInfo) and (hasattr(raster, "dims") or hasattr(raster, "__array__")):
        from gis.zonal.array_grid import array_raster
        from gis.zonal.arrays import statistics_of_array

        array = array_raster(raster, crs=raster_crs, nodata=nodata)
        return statistics_of_array(
            array, value, names, measure=measure, weights=weights, weights_crs=weights_crs, index=index, run=run
        )
    info = raster if isinstance(raster, RasterInfo) else read_info(raster, band=band, crs=raster_crs)
    found = statistics_of_stack(
        [info], value, Plan(names, measure), nodata=nodata, weights=weights, weights_crs=weights_crs, on_threads=run
    )
    return pd.DataFrame({name: rows[0] for name, rows in found.items()}, index=index)


def _read_zones(zones: Any, layer: str | None, crs: Any) -> tuple[Zones, pd.Index]:
    """Zones, and the index of a frame; the zones of a file are numbered from 0."""
    import pandas as pd

    from gis.boundaries import read_zones

    if isinstance(zones, Zones):
        return zones, pd.Index(zones.codes)
    if hasattr(zones, "to_frame") and hasattr(zones, "geometry"):  # a GeoSeries
        zones = zones.to_frame("geometry")
    value = read_zones(zones, layer=layer, crs=crs)
    return value, zones.index if hasattr(zones, "geometry") else pd.RangeIndex(len(value))


def check_weights(stats: Sequence[str], weights: Any) -> None:
    """Refuse statistics that need weights where none are given; warn of weights that nothing needs.

    Raises
    ------
    OptionInvalid
    """
    wanting = [s for s in stats if needs_weights(s)]
    if wanting and weights is None:
        raise OptionInvalid(
            f"{wanting[0]} needs a raster of weights", mend="give one: weights=..., on the command line --weights FILE"
        )
    if weights is not None and not wanting:
        warnings.warn(
            f"none of {', '.join(stats)} uses the weights; these do: {', '.join(WEIGHTED)}, weighted_quantile(q)",
            stacklevel=3,
        )


def lay_weights(
    weights: str | Path | RasterInfo | None,
    zones: Zones,
    values: Grid,
    stats: Sequence[str],
    *,
    crs: Any = None,
    run: Callable[..., list[Any]] | None = None,
) -> Weights | None:
    """Read a raster of weights and lay the zones over it, if a statistic needs it."""
    if weights is None or not any(needs_weights(s) for s in stats):
        return None
    if hasattr(weights, "dims") or hasattr(weights, "__array__"):
        raise OptionInvalid(
            "an array of weights goes with an array of values, not with a file",
            mend="open the values as an array too: rioxarray.open_rasterio(path, chunks={})",
        )
    info = weights if isinstance(weights, RasterInfo) else read_info(weights, crs=crs, config_key="weights_crs")
    return match_weights(info, plain_rules(info), zones, values, run=run)


def statistics_of(
    info: RasterInfo,
    coverage: Coverage,
    plan: Plan,
    *,
    rules: CellRules,
    weights: Weights | None = None,
    sums: ZoneSums | None = None,
    entries: int = ENTRIES,
    run: Callable[..., list[Any]] | None = None,
) -> dict[str, Floats]:
    """Columns of statistics for one raster over a coverage of its grid.

    Parameters
    ----------
    weights : for the statistics that need them, made by `match_weights` for ``info.grid``.
    sums : what the family ``sums`` needs, where it is known already.
    entries : memory for ordered statistics, see `gis.zonal.distribution.distribution`; changes no bit.
    run : callable, optional
        ``run(function, tasks) -> list`` in the order of the tasks.
    """
    found, measure = Found(sums), plan.measure
    if sums is None and plan.of("sums"):
        found.sums = run_jobs([plan.job(info, rules, coverage)], run=run)[0][0]
    sources: dict[Family, Source] = {"ordered": CellSource(info, rules, coverage)}
    if weights is not None:
        pieces = PieceSource(info, rules, weights)
        area: Literal["true", "lambert"] = "lambert" if measure == "lambert" else "true"
        sources |= {"weighted_ordered": pieces, "per_head": PieceSource(info, rules, weights, "per_head", area)}
        if plan.of("weighted"):
            found.weighted = weighted_sums(pieces, run=run)
    for family, source in sources.items():
        if plan.of(family):
            found.ordered[family] = distribution(source, plan.quantiles(family), entries=entries, run=run)
    return {stat: found.column(stat, measure) for stat in plan.stats}


@dataclass(frozen=True, slots=True)
class Plan:
    """What has to be computed for some statistics."""

    stats: tuple[str, ...]
    """Checked names."""
    measure: Measure
    """What a cell weighs in ``sum`` and ``mean``."""

    def of(self, family: Family) -> list[str]:
        """The statistics of one family."""
        return [s for s in self.stats if family_of(s) == family]

    def job(self, info: RasterInfo, rules: CellRules, coverage: Coverage) -> Job:
        """What the sums of one raster take."""
        moments = bool(_MOMENTS & set(self.stats))  # they cost several times as much as everything else
        return Job(info, rules, (coverage,), self.measures, profile=self.has_profile, moments=moments)

    def quantiles(self, family: Family) -> tuple[float, ...]:
        """The quantiles that the statistics of a family need, each once."""
        return tuple(dict.fromkeys(q for s in self.of(family) if (q := quantile_of(s)) is not None))

    @property
    def measures(self) -> tuple[Measure, ...]:
        """Measures of the sums."""
        area: tuple[Measure, ...] = ("true",) if "valid_area_km2" in self.stats else ()
        return tuple(dict.fromkeys(("cells", self.measure, *area)))

    @property
    def has_profile(self) -> bool:
        """Whether extremes or moments are needed."""
        return bool(_PROFILED & set(self.stats))


@dataclass(slots=True)
class Found:
    """What was computed, before it becomes columns."""

    sums: ZoneSums | None = None
    """For the family ``sums``."""
    weighted: WeightedSums | None = None
    """For the family ``weighted``."""
    ordered: dict[Family, Distribution] = field(default_factory=dict)
    """For the others."""

    def column(self, stat: str, measure: Measure) -> Floats:
        """(n_zones,): one statistic."""
        family = family_of(stat)
        if family == "sums":
            assert self.sums is not None  # asked for by the plan
            return _of_sums(stat, self.sums, measure)
        if family == "weighted":
            assert self.weighted is not None
            return _of_weighted(stat, self.weighted)
        found = self.ordered[family]
        q = quantile_of(stat)
        if q is not None:
            return found.quantiles[q]
        column: Floats = getattr(found, stat.removeprefix("weighted_").removesuffix("_per_head"))
        return column


def _of_sums(stat: str, sums: ZoneSums, measure: Measure) -> Floats:
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
        assert profile is not None  # asked for by the plan
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


def _of_weighted(stat: str, sums: WeightedSums) -> Floats:
    if stat == "weight_sum":
        return sums.weight
    if stat == "weight_on_data":
        return sums.weight_on_data
    some = sums.weight_on_data > 0
    with np.errstate(divide="ignore", invalid="ignore"):
        values = {
            "weighted_sum": sums.total,
            "weighted_mean": sums.total / sums.weight_on_data,
            "weighted_variance": sums.variance,
            "weighted_stdev": np.sqrt(sums.variance),
        }[stat]
    return np.where(some, values, np.nan)
