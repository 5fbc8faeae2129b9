"""Statistics of xarray DataArrays weighted by a second raster, itself a file or a DataArray.

In: an array of values, weights on any grid and CRS, zones. Out: an array of statistics by zones and the further
dimensions of the values; a Dask array where either input is one.

Cells are matched, and numbers come out to the bit, as for two files: the chunk function is that of
`gis.zonal.weighted`, given rows in memory in place of open files. The atom of summation is the strip of 512 rows of
pieces of the weights. With Dask input a task holds what one such strip needs: the rows of weights, and the window of
the values that lies under them, worked out from the two grids before anything is read. Which chunks these windows are
cut from changes no bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from gis.errors import OptionInvalid
from gis.grid import Grid, Zones
from gis.raster_io import CellRules, RasterInfo
from gis.zonal.array_grid import ArrayCells, ArrayRaster, array_raster
from gis.zonal.distribution import distribution, distribution_of_tables
from gis.zonal.names import Family
from gis.zonal.statistics import Found, Plan, lay_weights
from gis.zonal.value_tables import ValueTable
from gis.zonal.weighted import (
    Cells,
    PieceSource,
    StripTotals,
    Weights,
    Windows,
    match_weights,
    sum_strip,
    sums_of_strips,
    weighted_sums,
    windows_of_strip,
)

if TYPE_CHECKING:
    import xarray as xr
    from numpy.typing import NDArray

    Array = NDArray[Any]
    Runner = Callable[..., list[Any]]

ORDERED: tuple[Family, ...] = ("weighted_ordered", "per_head")
"""Families that need values in order."""


@dataclass(frozen=True, slots=True)
class WeightedPlate:
    """What every task is computed with."""

    grid: Grid
    """Of the values."""
    rules: CellRules
    """Which of the values are data."""
    weights: Weights
    """Zones over the weights; an array's cells are put in by each task."""
    plan: Plan
    """Which statistics."""
    windows: tuple[Windows, ...] = ()
    """For Dask: what each strip of pieces needs, in strip order."""

    def sources(self, values: ArrayCells, weights: Cells) -> dict[Family, PieceSource]:
        """Where the pieces of one slice come from, for each family that is asked for."""
        source = PieceSource(values, self.rules, replace(self.weights, info=weights))
        per_head = replace(source, kind="per_head", area="lambert" if self.plan.measure == "lambert" else "true")
        every: dict[Family, PieceSource] = {"weighted": source, "weighted_ordered": source, "per_head": per_head}
        return {family: found for family, found in every.items() if self.plan.of(family)}

    def columns(self, found: Found) -> Array:
        """(n_stats, n_zones) of one slice."""
        return np.array([found.column(stat, self.plan.measure) for stat in self.plan.stats])


@dataclass(frozen=True, slots=True)
class WeightedPart:
    """What one strip of pieces adds to one slice."""

    totals: StripTotals | None
    """For sums and moments."""
    tables: dict[Family, ValueTable]
    """For ordered statistics."""


def weighted_statistics_of_array(
    array: ArrayRaster, weights: Any, zones: Zones, plan: Plan, *, weights_crs: Any = None, run: Runner | None = None
) -> Any:
    """Weighted statistics of every slice of an array over zones.

    Parameters
    ----------
    weights : path, `RasterInfo` or DataArray
        Counts. A DataArray may have further dimensions of the values: each slice then takes the weights of its labels.
    plan : statistics that need weights, and no other.

    Returns
    -------
    (n_stats, n_zones, *extra) float64
        A Dask array where the values or the weights are.

    Raises
    ------
    OptionInvalid
        The weights have a dimension, or lack a label, of their own.
    """
    if isinstance(weights, RasterInfo) or not is_array(weights):
        laid = lay_weights(weights, zones, array.grid, plan.stats, crs=weights_crs, run=run)
        assert laid is not None  # the plan needs weights, and there are some
        data = None
    else:
        other = array_raster(weights, crs=weights_crs, crs_key="weights_crs")
        laid = match_weights(ArrayCells(other.grid, other.rules), other.rules, zones, array.grid, run=run)
        data = by_slice(other.data, array.data)
    plate = WeightedPlate(array.grid, array.rules, laid, plan)
    if array.data.chunks is not None or (data is not None and data.chunks is not None):
        return _lazy(array.data, data, plate, run)
    return _now(array.data, data, plate, run)


def is_array(raster: Any) -> bool:
    """Whether something is meant as an array and not as the name of a file."""
    return hasattr(raster, "dims") or hasattr(raster, "__array__")


def by_slice(weights: xr.DataArray, values: xr.DataArray) -> xr.DataArray:
    """The weights with the further dimensions of the values, in their order and labels; of length 1 where without.

    A dimension of length 1 that the values do not have is dropped: ``band`` of a file with one band.

    Raises
    ------
    OptionInvalid
    """
    extra = values.dims[:-2]
    for dim in weights.dims[:-2]:
        if dim not in extra and weights.sizes[dim] == 1:
            weights = weights.isel({dim: 0}, drop=True)
        elif dim not in extra:
            raise OptionInvalid(
                f"the weights have {weights.sizes[dim]} slices along {dim}, which the array does not have",
                mend=f"choose one: weights.isel({dim}=0), or add them up: weights.sum({dim!r})",
            )
        else:
            weights = weights.isel({dim: _positions(weights, values, dim)})
    missing = [dim for dim in extra if dim not in weights.dims]
    return weights.expand_dims(missing).transpose(*extra, *weights.dims[-2:])


def _positions(weights: xr.DataArray, values: xr.DataArray, dim: Any) -> Array:
    """Where along a dimension of the weights the slices of the values lie."""
    if dim not in weights.indexes or dim not in values.indexes:  # as xarray: without labels, by position
        if weights.sizes[dim] != values.sizes[dim]:
            raise OptionInvalid(
                f"along {dim} there are {weights.sizes[dim]} slices of weights and {values.sizes[dim]} of values",
                mend=f"label both: array.assign_coords({dim}=...)",
            )
        return np.arange(values.sizes[dim])
    known, wanted = weights.indexes[dim], values.indexes[dim]
    if not known.is_unique:
        twice = known[known.duplicated()][0]
        raise OptionInvalid(f"the weights have {dim} {twice} twice", mend=f"weights.drop_duplicates({dim!r})")
    found = known.get_indexer(wanted)
    if (found < 0).any():
        raise OptionInvalid(
            f"there are no weights for {dim} {wanted[found < 0][0]}",
            mend=f'take the nearest: weights.reindex({dim}=array.{dim}, method="nearest"), or weights.interp(...)',
        )
    return np.asarray(found)


def _now(values: xr.DataArray, weights: xr.DataArray | None, plate: WeightedPlate, run: Runner | None) -> Array:
    """(n_stats, n_zones, *extra) of arrays in memory: with the limits on memory that files have."""
    extra = values.shape[:-2]
    out = np.empty((len(plate.plan.stats), len(plate.weights.coverage), *extra))
    for place in np.ndindex(*extra):
        cells = ArrayCells(plate.grid, plate.rules, values.values[place])
        sources = plate.sources(cells, _weights_at(place, weights, plate))
        found = Found()
        if "weighted" in sources:
            found.weighted = weighted_sums(sources["weighted"], run=run)
        for family in ORDERED:
            if family in sources:
                found.ordered[family] = distribution(sources[family], plate.plan.quantiles(family), run=run)
        out[(slice(None), slice(None), *place)] = plate.columns(found)
    return out


def _weights_at(place: tuple[int, ...], weights: xr.DataArray | None, plate: WeightedPlate) -> Cells:
    if weights is None:
        return plate.weights.info
    return ArrayCells(plate.weights.info.grid, plate.weights.rules, weights.values[_own(place, weights.shape)])


def _own(place: tuple[int, ...], shape: Sequence[int]) -> tuple[int, ...]:
    """A place among the slices of the values, among those of the weights."""
    return tuple(min(i, n - 1) for i, n in zip(place, shape, strict=False))


# --- Dask -------------------------------------------------------------------------------------------------------------


def _lazy(values: xr.DataArray, weights: xr.DataArray | None, plate: WeightedPlate, run: Runner | None) -> Any:
    """The same, as a Dask array."""
    from gis.graph import place_windows
    from gis.zonal.arrays import BLOCK_BYTES

    def one(strip: int) -> Windows:
        return windows_of_strip(plate.weights, plate.grid, strip)

    strips = plate.weights.coverage.covered_strips()
    plate = replace(plate, windows=tuple(run(one, strips) if run else map(one, strips)))
    arrays = [a if a.chunks is not None else a.chunk() for a in (values, weights) if a is not None]
    return place_windows(
        [a.data for a in arrays],
        [(w.values, w.weights)[: len(arrays)] for w in plate.windows],
        parts_of_window,
        statistics_of_windows,
        plate,
        head=(len(plate.plan.stats), len(plate.weights.coverage)),
        limit=BLOCK_BYTES,
    )


def parts_of_window(k: int, blocks: list[Array], plate: WeightedPlate) -> list[WeightedPart]:
    """One part per slice of a block of values (..., rows, cols), and of weights unless they are a file.

    ``k`` numbers the strip among ``plate.windows``.
    """
    window, out = plate.windows[k], []
    for place in np.ndindex(*blocks[0].shape[:-2]):
        values = ArrayCells(plate.grid, plate.rules, blocks[0][place], window.values[0], window.values[2])
        weights = plate.weights.info
        if len(blocks) > 1:
            cells = blocks[1][_own(place, blocks[1].shape)]
            weights = ArrayCells(weights.grid, plate.weights.rules, cells, window.weights[0], window.weights[2])
        out.append(_part(plate.sources(values, weights), window.strip))
    return out


def _part(sources: dict[Family, PieceSource], strip: int) -> WeightedPart:
    totals = sum_strip(sources["weighted"], strip) if "weighted" in sources else None
    return WeightedPart(totals, {f: sources[f].table(strip, -np.inf) for f in ORDERED if f in sources})


def statistics_of_windows(windows: list[list[WeightedPart]], extra: tuple[int, ...], plate: WeightedPlate) -> Array:
    """(n_stats, n_zones, *extra): the strips of each slice, from north to south, put together."""
    head = (len(plate.plan.stats), len(plate.weights.coverage))
    out = np.empty((*head, int(np.prod(extra))))
    for k in range(out.shape[-1]):
        out[..., k] = plate.columns(_found([parts[k] for parts in windows], plate))
    return out.reshape(*head, *extra)


def _found(parts: Iterable[WeightedPart], plate: WeightedPlate) -> Found:
    parts, n, found = list(parts), len(plate.weights.coverage), Found()
    found.weighted = sums_of_strips((p.totals for p in parts if p.totals is not None), n)
    for family in ORDERED:
        if plate.plan.of(family):
            tables = (p.tables[family] for p in parts)
            found.ordered[family] = distribution_of_tables(tables, n, plate.plan.quantiles(family))
    return found
