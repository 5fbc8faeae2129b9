"""Zonal statistics of xarray DataArrays, NumPy- or Dask-backed.

In: a DataArray with x and y coordinates, a CRS and any further dimensions, and zones; for weighted statistics a raster
of weights, see `gis.zonal.array_weighted`. Out: an xarray Dataset over zones and the further dimensions; with Dask
input nothing is read until it is asked for.

The numbers are those of a GeoTIFF with the same cells, to the bit. The atom of summation is the same strip of 512
rows, counted from the array's northernmost row, whichever way y runs; so a Dask array is rechunked in space to whole
rows and whole strips before anything is summed, and its chunks change no bit. Further dimensions keep their chunks,
but for blocks above `BLOCK_BYTES`. Statistics that need values in order hold one slice's distinct values at a time:
there are no second passes over an array.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gis.errors import OptionInvalid
from gis.grid import STRIP_ROWS, Measure, Zones
from gis.raster_io import CellRules
from gis.zonal.array_grid import ArrayCells, ArrayRaster, not_of_the_map
from gis.zonal.array_weighted import weighted_statistics_of_array
from gis.zonal.coverage import Coverage, coverage_from_zones
from gis.zonal.distribution import distribution_of_tables
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
    weights_crs: Any = None,
    index: pd.Index | None = None,
    run: Runner | None = None,
) -> xr.Dataset:
    """Statistics of every slice of an array over zones.

    Parameters
    ----------
    stats : checked names, see `gis.zonal.names`.
    weights, weights_crs : as for `gis.zonal_stats`; weights that no statistic needs are not looked at.
    index : values of the coordinate ``zone``; default: 0, 1, ...
    run : callable, optional
        ``run(function, tasks) -> list`` in the order of the tasks, for NumPy-backed arrays and for the coverage.

    Returns
    -------
    Dataset
        A float64 variable per statistic over (zone, and the array's further dimensions in their order), with the
        array's coordinates along these. Dask-backed where the array is; weighted statistics also where the weights
        are.

    Raises
    ------
    OptionInvalid
        The array has a dimension or coordinate ``zone``, or one named as a statistic.
    GridInvalid
        The array's longitudes run to 360 and a zone lies west of Greenwich.
    """
    import xarray as xr

    data = array.data
    coords, extra = not_of_the_map(data), data.dims[:-2]
    _check_names(("zone", *stats), (*extra, *coords))
    plain = Plan(tuple(s for s in stats if not needs_weights(s)), measure)
    weighted = Plan(tuple(s for s in stats if needs_weights(s)), measure)
    found: dict[str, Any] = {}
    if plain.stats:
        found |= zip(plain.stats, _plain(array, zones, plain, run), strict=True)
    if weighted.stats:
        columns = weighted_statistics_of_array(array, weights, zones, weighted, weights_crs=weights_crs, run=run)
        found |= zip(weighted.stats, columns, strict=True)
    labels = np.arange(len(zones)) if index is None else index
    variables = {s: xr.Variable(("zone", *extra), found[s], {"definition": definition_of(s)}) for s in stats}
    out = xr.Dataset(variables, coords=coords, attrs={"measure": measure})
    return out.assign_coords(zone=("zone", labels))


def _check_names(ours: Sequence[Hashable], theirs: Sequence[Hashable]) -> None:
    taken = [name for name in ours if name in theirs]
    if taken:
        raise OptionInvalid(
            f"the array has a dimension or coordinate {taken[0]}, which the result needs for itself",
            mend=f"rename it: array.rename({taken[0]}=...), or drop it: array.drop_vars({taken[0]!r})",
        )


def _plain(array: ArrayRaster, zones: Zones, plan: Plan, run: Runner | None) -> Any:
    """(n_stats, n_zones, *extra) of statistics without weights."""
    plate = Plate(coverage_from_zones(array.grid, zones, run=run), array.rules, plan)
    return (_lazy if array.data.chunks is not None else _now)(array.data, plate, run)


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
    window = ArrayCells(coverage.grid, plate.rules, values, row0).read_rows(row0, row1, col0, col1)  # to be written to
    sums = table = None
    if plan.of("sums"):
        sums = _sums(window, col0, strip, plate)
    if plan.of("ordered"):
        table = table_of_values(window, col0, plate.rules, coverage, strip)
    return StripPart(sums, table)


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

    plan, n = plate.plan, len(plate.coverage)
    sums, profile = np.zeros((n, 2 * len(plan.measures))), np.zeros((n, N_PROFILE))
    for part in parts:
        if part.sums is not None:
            sums[part.sums.zones] += part.sums.sums
            if part.sums.profile is not None:
                some = profile[part.sums.zones]
                merge_profiles(some, part.sums.profile)
                profile[part.sums.zones] = some
    m = len(plan.measures)
    found = Found(ZoneSums(plan.measures, sums[:, :m], sums[:, m:], profile, np.nan))
    if plan.of("ordered"):
        tables = (part.table for part in parts if part.table is not None)
        found.ordered["ordered"] = distribution_of_tables(tables, n, plan.quantiles("ordered"))
    return np.array([found.column(stat, plan.measure) for stat in plan.stats])
