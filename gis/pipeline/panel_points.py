"""Where a unit's people live on average: its centre by the cells of the population raster.

In: a workspace, polygons of its run, a year. Out: one longitude and latitude per unit, and the files it came from.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gis.crs import crs_from, same_crs, transformer
from gis.panel.distances import points_of_vectors, vector_sums

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gis.grid import Zones
    from gis.raster_io import CellRules, RasterInfo, RasterPath
    from gis.workspace import Workspace
    from gis.zonal.coverage import Coverage

    Floats = NDArray[np.float64]


def population_points(
    place: Workspace, zones: Zones, codes: Sequence[str], year: int
) -> tuple[Floats, tuple[RasterPath, ...]]:
    """(n_codes, 2) longitude and latitude of every unit's population in a year, NaN for a unit without any [degree].

    Returns
    -------
    points
    files : rasters that were read: the year's own, or those that ``population.missing_years`` puts in its place.

    Raises
    ------
    YearMissing, RasterUnreadable
        As a run.
    """
    from gis.rasters.catalogue import product_for, rules_for
    from gis.rasters.series import plan_years, read_series
    from gis.zonal.store import Store

    source = place.config.population
    product = product_for(source, key="population")
    series = read_series(source, product, place, key="population")
    plan = plan_years([year], series, source.missing_years, source.static_year)[year]
    store = Store(place.cache / "store")
    sums = np.zeros((len(zones), 3))
    files = []
    for raster_year, weight in plan:
        file = series.of(raster_year)
        coverage = store.coverage(file.info.grid, zones)
        sums += weight * cell_vectors(file.info, rules_for(product, source, file.info), coverage)
        files.append(file.source)
    at = {code: k for k, code in enumerate(zones.codes)}
    out = np.full((len(codes), 2), np.nan)
    known = [k for k, code in enumerate(codes) if code in at]
    out[known] = points_of_vectors(sums[[at[codes[k]] for k in known]])
    return out, tuple(files)


def cell_vectors(info: RasterInfo, rules: CellRules, coverage: Coverage) -> Floats:
    """(n_zones, 3) sum over cells of share inside the zone, times people, times the unit vector of the cell's centre.

    Notes
    -----
    A cell on the border counts at its own centre, not at that of the part inside. Strips are added in their order.
    Vectors are those of longitude and latitude on a sphere, as in `gis.panel.distances.centroids`.
    Oracle: ``tests/test_panel_points.py``, cell by cell with shapely's intersections.
    """
    from gis.raster_io import open_raster

    out = np.zeros((len(coverage), 3))
    with open_raster(info) as handle:
        for strip in coverage.covered_strips():
            row0, row1 = coverage.grid.strip_rows(strip)
            col0, col1 = coverage.touched_columns(row0, row1)
            values = handle.read_rows(row0, row1, col0, col1)
            out += _strip_vectors(values, rules, coverage, row0, col0)
    return out


def _strip_vectors(values: NDArray[Any], rules: CellRules, coverage: Coverage, row0: int, col0: int) -> Floats:
    from gis.raster_io import is_data
    from gis.zonal.matching import strip_cells

    people = np.where(is_data(values, rules) & (values > 0), values, 0).astype(np.float64)
    every = np.ones(len(coverage), bool)
    zone, row, col, share = strip_cells(coverage, row0, row0 + len(values), every)
    weight = share * people[row - row0, col - col0]
    there = np.flatnonzero(weight > 0)
    zone, row, col, weight = zone[there], row[there], col[there], weight[there]
    grid, t = coverage.grid, coverage.grid.transform
    lon, lat = t.c + (col + 0.5) * t.a, t.f + (row + 0.5) * t.e
    wgs84 = crs_from("EPSG:4326")
    if not same_crs(grid.crs, wgs84):
        lon, lat = transformer(grid.crs, wgs84).transform(lon, lat)
    return vector_sums(np.stack([lon, lat], axis=1), weight, zone, len(coverage))
