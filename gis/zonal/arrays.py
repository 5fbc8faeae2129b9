"""Zonal statistics of xarray DataArrays, NumPy- or Dask-backed.

In: a DataArray with x and y coordinates, a CRS and any further dimensions, and zones. Out: an xarray Dataset over
zones and the further dimensions; with Dask input nothing is read until it is asked for.

The numbers are those of a GeoTIFF with the same cells, to the bit. The atom of summation is the same strip of 512
rows, counted from the array's northernmost row, whichever way y runs; so a Dask array is rechunked in space to whole
rows and whole strips before anything is summed, and its chunks change no bit. Further dimensions keep their chunks,
but for blocks above `BLOCK_BYTES`. Statistics that need values in order hold one slice's distinct values at a time:
there are no second passes over an array.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gis.errors import OptionInvalid, RasterInvalid
from gis.grid import STRIP_ROWS, Measure, Zones
from gis.raster_io import CellRules, working_dtype
from gis.raster_io.rows import EXACT_INTEGERS
from gis.zonal.array_grid import ArrayRaster, not_of_the_map
from gis.zonal.coverage import Coverage, coverage_from_zones
from gis.zonal.distribution import Sweep
from gis.zonal.engine import StripSums, ZoneSums, strip_arrays, weighted_sums
from gis.zonal.names import definition_of, needs_weights
from gis.zonal.statistics import Found, Plan
from gis.zonal.value_tables import ValueTable, blanked, table_of_values

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr
    from numpy.typing import NDArray

    Array = NDArray[Any]
    Runner = Callable[..., list[Any]]

BLOCK_BYTES = 256_000_000
"""Largest block of a Dask array that keeps the chunks of its further dimensions; of larger ones each slice is one."""


@dataclass(frozen=True, slots=True)
class Plate:
    """What every block of an array is computed with."""

    coverage: Coverage
    """Zones on the array's grid."""
    rules: CellRules
    """Which cells are data."""
    plan: Plan
    """Which statistics."""


@dataclass(frozen=True, slots=True)
class StripPart:
    """What one strip of one slice adds."""

    sums: StripSums | None
    """For sums, extremes and moments."""
    table: ValueTable | None
    """For ordered statistics."""


def statistics_of_array(
    array: ArrayRaster,
    zones: Zones,
    stats: Sequence[str],
    *,
    measure: Measure = "cells",
    weights: Any = None,
    index: pd.Index | None = None,
    run: Runner | None = None,
) -> xr.Dataset:
    """Statistics of every slice of an array over zones.

    Parameters
    ----------
    stats : checked names, see `gis.zonal.names`.
    index : values of the coordinate ``zone``; default: 0, 1, ...
    run : callable, optional
        ``run(function, tasks) -> list`` in the order of the tasks, for NumPy-backed arrays and for the coverage.

    Returns
    -------
    Dataset
        A float64 variable per statistic over (zone, and the array's further dimensions in their order), with the
        array's coordinates along these. Dask-backed where the array is.

    Raises
    ------
    OptionInvalid
        A statistic needs weights: they go with raster files.
    """
    import xarray as xr

    if any(needs_weights(s) for s in stats):
        raise OptionInvalid(
            "a raster of weights goes with a raster file, not with an array",
            mend="write the array to a GeoTIFF (array.rio.to_raster) and give its path",
        )
    data = array.data
    coverage = coverage_from_zones(array.grid, zones, run=run)
    plate = Plate(coverage, array.rules, Plan(tuple(stats), measure))
    compute = _lazy if data.chunks is not None else _now
    result = compute(data, plate, run)
    extra = data.dims[:-2]
    labels = np.arange(len(zones)) if index is None else index
    variables = {
        stat: xr.Variable(("zone", *extra), result[k], {"definition": definition_of(stat)})
        for k, stat in enumerate(stats)
    }
    out = xr.Dataset(variables, coords=not_of_the_map(data), attrs={"measure": measure})
    return out.assign_coords(zone=("zone", labels))


def _now(data: xr.DataArray, plate: Plate, run: Runner | None) -> Array:
    """(n_stats, n_zones, *extra) of a NumPy-backed array."""
    extra, strips = data.shape[:-2], plate.coverage.covered_strips()
    out = np.empty((len(plate.plan.stats), len(plate.coverage), *extra))
    for place in np.ndindex(*extra):  # one after the other: a slice's ordered values may be many
        values = data.values[place]

        def one(strip: int, values: Array = values) -> StripPart:
            row0, row1 = plate.coverage.grid.strip_rows(strip)
            return part_of_strip(values[row0:row1], strip, plate)

        parts = run(one, strips) if run else [one(s) for s in strips]
        out[(slice(None), slice(None), *place)] = _slice_statistics(parts, plate)
    return out


def _lazy(data: xr.DataArray, plate: Plate, run: Runner | None) -> Any:
    """The same of a Dask-backed array, as a Dask array."""
    from gis.graph import place_rows

    strips = plate.coverage.covered_strips()
    rows = [plate.coverage.grid.strip_rows(s) for s in strips]
    tail = (len(plate.plan.stats), len(plate.coverage))
    return place_rows(
        data.data,
        parts_of_block,
        statistics_of_parts,
        plate,
        head=tail,
        wanted=rows,
        unit=STRIP_ROWS,
        limit=BLOCK_BYTES,
    )


def parts_of_block(block: Array, row0: int, plate: Plate) -> list[list[StripPart]]:
    """One list per slice of a block (..., rows, nx), one part per strip: the chunk function.

    ``row0`` is the block's first row, at the head of a strip.
    """
    covered = set(plate.coverage.covered_strips())
    grid, out = plate.coverage.grid, []
    for slice_ in block.reshape(-1, *block.shape[-2:]):
        parts = []
        for strip in range(row0 // STRIP_ROWS, -(-(row0 + block.shape[-2]) // STRIP_ROWS)):
            if strip in covered:
                a, b = grid.strip_rows(strip)
                parts.append(part_of_strip(slice_[a - row0 : b - row0], strip, plate))
        out.append(parts)
    return out


def statistics_of_parts(blocks: list[list[list[StripPart]]], extra: tuple[int, ...], plate: Plate) -> Array:
    """(n_stats, n_zones, *extra): blocks of rows, from north to south, put together."""
    n = int(np.prod(extra))
    columns = [_slice_statistics([part for block in blocks for part in block[k]], plate) for k in range(n)]
    head = (len(plate.plan.stats), len(plate.coverage))
    return np.stack(columns, axis=-1).reshape(*head, *extra) if columns else np.empty((*head, *extra))


def part_of_strip(values: Array, strip: int, plate: Plate) -> StripPart:
    """Sums and table of one strip, (n_rows, nx) in any dtype; the same steps as for a strip of a file."""
    coverage, plan = plate.coverage, plate.plan
    row0, row1 = coverage.grid.strip_rows(strip)
    col0, col1 = coverage.touched_columns(row0, row1)
    window = np.array(values[:, col0:col1], working_dtype(values.dtype), order="C")  # a copy: it is written to
    if values.dtype in (np.int64, np.uint64):
        _refuse_rounded(window, plate.rules)
    sums = table = None
    if plan.of("sums"):
        sums = _sums(window, col0, strip, plate)
    if plan.of("ordered"):
        table = table_of_values(window, col0, plate.rules, coverage, strip)
    return StripPart(sums, table)


def _refuse_rounded(values: Array, rules: CellRules) -> None:
    rounded = (np.abs(values) >= EXACT_INTEGERS) & ~np.isin(values, rules.nodata)
    if rounded.any():
        raise RasterInvalid(
            f"the integer {values[rounded][0]:.0f} is too large to be held exactly (2^53)",
            mend="if it is a fill value, name it: nodata=...",
        )


def _sums(values: Array, col0: int, strip: int, plate: Plate) -> StripSums:
    from gis.zonal.kernels import N_PROFILE, profile_strip

    coverage, plan = plate.coverage, plate.plan
    row0, row1 = coverage.grid.strip_rows(strip)
    shares, zones, b = (
        strip_arrays(coverage, row0, row1),
        coverage.touched_zones(row0, row1),
        blanked(values, plate.rules),
    )
    sums, _ = weighted_sums(coverage.grid, plan.measures, row0, row1, values, col0, b, shares, len(coverage))
    profile = None
    if plan.has_profile:
        profile = np.zeros((len(coverage), N_PROFILE))
        profile_strip(values, col0, b.raw_low, b.low, b.high, b.nodata, b.floor, *shares, profile)
    return StripSums(zones, sums[zones], None if profile is None else profile[zones])


def _slice_statistics(parts: Sequence[StripPart], plate: Plate) -> Array:
    """(n_stats, n_zones) of one slice, from its strips in order."""
    from gis.zonal.kernels import N_PROFILE, merge_profiles
    from gis.zonal.order_kernels import table_totals

    plan, n = plate.plan, len(plate.coverage)
    sums, profile = np.zeros((n, 2 * len(plan.measures))), np.zeros((n, N_PROFILE))
    table = ValueTable(np.zeros(n + 1, np.int64), np.empty(0), np.empty(0), np.empty(0))
    totals = np.zeros((n, 2))
    for part in parts:
        if part.sums is not None:
            sums[part.sums.zones] += part.sums.sums
            if part.sums.profile is not None:
                some = profile[part.sums.zones]
                merge_profiles(some, part.sums.profile)
                profile[part.sums.zones] = some
        if part.table is not None:
            totals += table_totals(*part.table.columns)
            table = table.merged(part.table)
    m = len(plan.measures)
    found = Found(ZoneSums(plan.measures, sums[:, :m], sums[:, m:], profile, np.nan))
    if plan.of("ordered"):
        swept = Sweep(totals, plan.quantiles("ordered"))
        swept.add(table)
        found.ordered["ordered"] = swept.result()
    return np.array([found.column(stat, plan.measure) for stat in plan.stats])
