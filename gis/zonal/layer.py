"""One layer of zones on one light grid, and the step from engine sums to the totals the indicators take.

In: coverage, zones, masks; `ZoneSums` of a year. Out: ``LightTotals`` and ``PopulationTotals``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from gis.grid import Grid, Zones
from gis.zonal.coverage import Coverage, coverage_from_zones, weigh, zone_areas
from gis.zonal.engine import StripMask, ZoneSums, bounds_from_rules, strip_arrays, weighted_sums
from gis.zonal.totals import LightTotals, PopulationTotals

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from gis.zonal.store import Store


@dataclass(frozen=True, slots=True)
class LightLayer:
    """What does not change from year to year: a layer's coverage of the light grid, and its areas."""

    zones: Zones
    """The layer."""
    coverage: Coverage
    """Its cells."""
    reach: Coverage
    """The cells whose light counts: ``coverage``, and sea cells where a coast buffer is set."""
    cells: NDArray[np.float64] = field(repr=False)
    """(n_zones,): sum of shares over the raster's cells [cells]."""
    area_true: NDArray[np.float64] = field(repr=False)
    """(n_zones,): area on the ellipsoid, beyond the raster's edge too [km2]."""
    area_lambert: NDArray[np.float64] = field(repr=False)
    """(n_zones,): the same in the ESRI:102027 plane [km2]."""
    masked_cells: NDArray[np.float64] = field(repr=False)
    """(n_zones,): sum of shares over cells of the flare mask [cells]."""
    masked_true: NDArray[np.float64] = field(repr=False)
    """(n_zones,): their area [km2]."""


def light_layer(
    grid: Grid,
    zones: Zones,
    *,
    flares: StripMask | None = None,
    reach: Callable[[Coverage, Zones], Coverage] | None = None,
    store: Store | None = None,
    masked_by: str = "",
    run: Callable[..., list[Any]] | None = None,
) -> LightLayer:
    """Cover a light grid by a layer and measure it, once for all years.

    Parameters
    ----------
    flares : callable, optional
        Strip to bool mask of flare cells, see `gis.zonal.masks.flare_mask`.
    reach : callable, optional
        Extends the coverage over the sea, see `gis.zonal.masks.extend_to_coast`.
    store : where coverage and areas are kept; default: nowhere.
    masked_by : what the flare mask is made from, for the store.
    run : callable, optional
        As for `coverage_from_zones`.
    """
    coverage = store.coverage(grid, zones, run=run) if store else coverage_from_zones(grid, zones, run=run)

    def measure(some: NDArray[np.intp]) -> NDArray[np.float64]:
        """(n, 5): cells, areas and masked cells of some zones."""
        part, cells = coverage.only(some), Zones(tuple(zones.codes[i] for i in some), zones.geometry[some], zones.crs)
        masked = np.zeros((some.size, 2)) if flares is None else _masked(part, flares)
        areas = zone_areas(grid, cells, part, ("true", "lambert"))
        return np.column_stack([weigh(part, "cells"), areas, masked])

    if store:
        numbers = store.per_zone(f"areas|{grid.fingerprint}|{masked_by}", zones, 5, measure)
    else:
        numbers = measure(np.arange(len(zones)))
    return LightLayer(
        zones=zones,
        coverage=coverage,
        reach=reach(coverage, zones) if reach else coverage,
        cells=numbers[:, 0],
        area_true=numbers[:, 1],
        area_lambert=numbers[:, 2],
        masked_cells=numbers[:, 3],
        masked_true=numbers[:, 4],
    )


def _masked(coverage: Coverage, mask: StripMask) -> NDArray[np.float64]:
    from gis.raster_io import CellRules

    out = np.zeros((len(coverage), 2))
    bounds = bounds_from_rules(CellRules(), np.float64)
    for strip in coverage.covered_strips():
        row0, row1 = coverage.grid.strip_rows(strip)
        values = mask(strip).astype(np.float64)
        if values.any():
            shares = strip_arrays(coverage, row0, row1)
            part, _ = weighted_sums(
                coverage.grid, ("cells", "true"), row0, row1, values, 0, bounds, shares, len(coverage)
            )
            out += part[:, :2]
    return out


def light_totals(layer: LightLayer, sums: ZoneSums, reached: ZoneSums | None = None) -> LightTotals:
    """Totals of one light year.

    Parameters
    ----------
    sums : sums over ``layer.coverage`` under all measures, with profile.
    reached : sums over ``layer.reach`` where that differs; its light replaces that of ``sums``, its areas do not.
    """
    from gis.zonal.kernels import ABSOLUTE_SUM, AT_MAX, COUNT, LIT_CELLS, MAX, NEGATIVE_CELLS, NEGATIVE_SUM

    assert sums.profile is not None  # light jobs ask for it
    light = reached or sums
    profile = sums.profile
    valid = sums.valid_of("cells")
    max_value = np.where(profile[:, COUNT] > 0, profile[:, MAX], np.nan)
    return LightTotals(
        sum_lambert=light.sum_of("lambert"),
        sum_true=light.sum_of("true"),
        sum_cells=light.sum_of("cells"),
        valid_true=sums.valid_of("true"),
        valid_cells=valid,
        nodata_cells=_rest(layer.cells, valid, layer.masked_cells),
        masked_cells=layer.masked_cells,
        masked_true=layer.masked_true,
        area_true=layer.area_true,
        area_lambert=layer.area_lambert,
        negative_cells=profile[:, NEGATIVE_CELLS],
        negative_sum=profile[:, NEGATIVE_SUM],
        absolute_sum=profile[:, ABSOLUTE_SUM],
        lit_cells=profile[:, LIT_CELLS],
        max_value=max_value,
        at_max_cells=np.where(profile[:, COUNT] > 0, profile[:, AT_MAX], 0.0),
        raster_max=float(np.nanmax(max_value)) if np.isfinite(max_value).any() else float("nan"),
        raster_sum_cells=sums.raster_sum,
    )


def _rest(cells: NDArray[np.float64], valid: NDArray[np.float64], masked: NDArray[np.float64]) -> NDArray[np.float64]:
    # Three sums of the same shares in different orders: what is left of them below a billionth is rounding.
    rest = cells - valid - masked
    return np.where(rest > 1e-9 * np.maximum(cells, 1.0), rest, 0.0)


def population_totals(sums: ZoneSums, lit_side: NDArray[np.float64] | None = None) -> PopulationTotals:
    """Totals of one population year.

    Parameters
    ----------
    lit_side : (n_zones,) float64 [persons], optional
        Population living where the light is valid; default: everybody, for zones without a missing light cell.
    """
    from gis.zonal.kernels import NEGATIVE_CELLS

    persons = sums.sum_of("cells")
    negative = np.zeros_like(persons) if sums.profile is None else sums.profile[:, NEGATIVE_CELLS]
    return PopulationTotals(
        sum_persons=persons,
        valid_cells=sums.valid_of("cells"),
        negative_cells=negative,
        lit_side_persons=persons if lit_side is None else lit_side,
        raster_sum_persons=sums.raster_sum,
    )
