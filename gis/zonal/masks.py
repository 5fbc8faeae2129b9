"""Masks of METHOD section 2: gas flares, water, and light that blooms over the sea.

In: polygons or points, a grid, a coverage. Out: strip masks (cells to treat as no data) and extended coverages.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from gis.crs import ASIA_NORTH_LAMBERT, crs_from, lambert_scale, transform_geometry, transformer
from gis.grid import Grid, Zones
from gis.zonal.coverage import Coverage, coverage_from_zones, rings_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from gis.zonal.engine import StripMask

MOSTLY = 0.5
"""A cell belongs to a mask when at least half of it lies inside."""


def buffer_points(geometry: NDArray[Any], crs: Any, radius_km: float) -> NDArray[Any]:
    """Geodesic circles around points, in WGS 84; polygons are only carried over.

    Returns
    -------
    (n,) shapely polygons in EPSG:4326; a circle has 72 vertices at exactly ``radius_km`` on the ellipsoid.
    """
    import shapely
    from pyproj import Geod

    geodesic = Geod(ellps="WGS84")
    moved = transform_geometry(np.asarray(geometry, object), crs_from(crs), crs_from("EPSG:4326"))
    azimuth = np.arange(0.0, 360.0, 5.0)
    out = []
    for shape in moved:
        if shape.geom_type in ("Point", "MultiPoint"):
            circles = []
            for point in shapely.get_parts(shape):
                lon, lat, _ = geodesic.fwd(
                    np.full(72, point.x), np.full(72, point.y), azimuth, np.full(72, radius_km * 1000)
                )
                circles.append(shapely.Polygon(np.column_stack([lon, lat])))
            out.append(shapely.union_all(circles))
        else:
            out.append(shape)
    return np.array(out, dtype=object)


def polygon_mask(grid: Grid, geometry: NDArray[Any], crs: Any, *, inside: bool) -> StripMask:
    """Mask the cells that lie mostly inside (flares) or mostly outside (land) of some polygons.

    Parameters
    ----------
    geometry : (n,) polygons; overlaps between them do not matter.
    inside : bool
        Whether the cells inside are masked, or those outside.

    Returns
    -------
    Strip number to (n_rows, nx) bool.
    """
    import shapely

    united = shapely.union_all(np.asarray(geometry, object))
    coverage = coverage_from_zones(grid, Zones(("mask",), np.array([united], object), crs_from(crs)))

    def mask(strip: int) -> NDArray[np.bool_]:
        shares = strip_shares(coverage, *grid.strip_rows(strip))
        return shares >= MOSTLY if inside else shares < MOSTLY

    return mask


def either(masks: list[StripMask]) -> StripMask | None:
    """A mask of the cells that any mask takes out; None for no mask."""
    if not masks:
        return None

    def mask(strip: int) -> NDArray[np.bool_]:
        out = masks[0](strip)
        for other in masks[1:]:
            out = out | other(strip)
        return out

    return mask


def strip_shares(coverage: Coverage, row0: int, row1: int) -> NDArray[np.float64]:
    """(row1 - row0, nx) float64: share of each cell inside any zone (the sum of shares)."""
    nx = coverage.grid.shape[1]
    out = np.zeros((row1 - row0, nx + 1))
    spans = slice(coverage.span_ptr[row0], coverage.span_ptr[row1])
    row = np.repeat(np.arange(row1 - row0), np.diff(coverage.span_ptr[row0 : row1 + 1]))
    np.add.at(out, (row, coverage.span_cols[spans, 0]), 1.0)
    np.add.at(out, (row, coverage.span_cols[spans, 1]), -1.0)
    out = np.cumsum(out, axis=1)[:, :nx]
    cells = slice(coverage.cell_ptr[row0], coverage.cell_ptr[row1])
    row = np.repeat(np.arange(row1 - row0), np.diff(coverage.cell_ptr[row0 : row1 + 1]))
    np.add.at(out, (row, coverage.cell_col[cells]), coverage.cell_share[cells])
    return out


def count_touching(zones: Zones, geometry: NDArray[Any], crs: Any) -> NDArray[np.int32]:
    """(n_zones,) int32: how many of some shapes touch each zone."""
    import shapely

    shapes = transform_geometry(np.asarray(geometry, object), crs_from(crs), zones.crs)
    pairs = shapely.STRtree(shapes).query(zones.geometry, predicate="intersects")
    return np.bincount(pairs[0], minlength=len(zones)).astype(np.int32)


def coast_extender(buffer_km: float) -> Callable[[Coverage, Zones], Coverage]:
    """Make the function that gives every uncovered part of a cell near a zone to the nearest zone.

    What the zones leave of a cell (all of a sea cell, the sea part of a coastal one, a gap between neighbours) goes to
    the zone nearest to the cell's centre, when that is within ``buffer_km`` on the ground. The nearest zone is found
    in ESRI:102027, which is conformal: to within the buffer its scale k is one number, by which distances are divided.
    """

    def extend(coverage: Coverage, zones: Zones) -> Coverage:
        return _extended(coverage, zones, buffer_km)

    return extend


def _extended(coverage: Coverage, zones: Zones, buffer_km: float) -> Coverage:
    import shapely

    plane, grid = crs_from(ASIA_NORTH_LAMBERT), coverage.grid
    shapes = transform_geometry(zones.geometry, zones.crs, plane)
    edges, owner = _edges(shapes)
    to_plane = transformer(grid.crs, plane)
    to_lat = transformer(plane, crs_from("EPSG:4326"))
    t = grid.transform
    farthest = 1.3 * buffer_km * 1000  # k < 1.3 wherever the plane is used; the true distance is checked below
    added: list[tuple[Any, ...]] = []
    for strip in range(grid.n_strips):
        row0, row1 = grid.strip_rows(strip)
        rest = 1.0 - strip_shares(coverage, row0, row1)
        rows, cols = np.nonzero((rest > 1e-9) & _near_zones(coverage, row0, row1, buffer_km))
        if not rows.size:
            continue
        x, y = to_plane.transform(t.c + (cols + 0.5) * t.a, t.f + (rows + row0 + 0.5) * t.e)
        good = np.isfinite(x) & np.isfinite(y)
        rows, cols, x, y = rows[good], cols[good], np.asarray(x)[good], np.asarray(y)[good]
        i, zone, distance = _nearest_zone(shapely.points(x, y), shapes, edges, owner, farthest)
        k = lambert_scale(to_lat.transform(x[i], y[i])[1])
        near = distance / k <= buffer_km * 1000
        i, zone = i[near], zone[near]
        added.append((rows[i] + row0, cols[i], zone, rest[rows[i], cols[i]]))
    return _with_cells(coverage, added)


def _edges(shapes: NDArray[Any]) -> tuple[Any, NDArray[np.intp]]:
    """Every edge of the zones in a search tree, and the zone of each: far quicker to search than whole polygons."""
    import shapely

    rings, zone = rings_of(shapes)
    xy, ring = shapely.get_coordinates(rings, return_index=True)
    first = np.flatnonzero(ring[1:] == ring[:-1])
    lines = shapely.linestrings(np.stack([xy[first], xy[first + 1]], axis=1))
    return shapely.STRtree(lines), zone[ring[first]]


def _nearest_zone(
    points: NDArray[Any], shapes: NDArray[Any], edges: Any, owner: NDArray[np.intp], farthest: float
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]:
    """(point, zone, distance) of the points within ``farthest`` [m] of a zone; 0 inside one, the first of several."""
    import shapely

    zone = np.full(points.size, -1)
    distance = np.zeros(points.size)
    inside = shapely.STRtree(points).query(shapes, predicate="contains")
    zone[inside[1][::-1]] = inside[0][::-1]
    out = np.flatnonzero(zone < 0)
    (k, edge), far = edges.query_nearest(points[out], max_distance=farthest, return_distance=True, all_matches=False)
    zone[out[k]], distance[out[k]] = owner[edge], far
    found = np.flatnonzero(zone >= 0)
    return found, zone[found], distance[found]


def _near_zones(coverage: Coverage, row0: int, row1: int, buffer_km: float) -> NDArray[np.bool_]:
    """(row1 - row0, nx) bool: cells that may lie within the buffer, from the cells that zones cover; none is missed."""
    from scipy.ndimage import maximum_filter

    grid = coverage.grid
    area = float(grid.cell_areas_km2("true", row0, row1).min())
    if area <= 0:  # beyond a pole or the projection's domain: look everywhere
        return np.ones((row1 - row0, grid.shape[1]), bool)
    # A degree of latitude is at least 110.5 km; a projected cell is square enough for half its side to be safe.
    degree = math.degrees(grid.crs.axis_info[0].unit_conversion_factor)
    height = -grid.transform.e * degree * 110.5 if grid.is_geographic else math.sqrt(area) / 2
    width = area / (-grid.transform.e * degree * 111.7) if grid.is_geographic else height
    n_rows, n_cols = math.ceil(buffer_km / height) + 1, math.ceil(buffer_km / width) + 1
    first, last = max(row0 - n_rows, 0), min(row1 + n_rows, grid.shape[0])
    covered = strip_shares(coverage, first, last) > 0
    near = maximum_filter(covered, size=(2 * n_rows + 1, 2 * n_cols + 1), mode="constant", cval=False)
    return np.asarray(near[row0 - first : row1 - first], bool)


def _with_cells(coverage: Coverage, added: list[tuple[Any, ...]]) -> Coverage:
    """A coverage with further (row, column, zone, share) cells, sorted by row, zone and column as ever."""
    if not added:
        return coverage
    rows = np.repeat(np.arange(coverage.grid.shape[0]), np.diff(coverage.cell_ptr))
    row, col, zone, share = (np.concatenate(parts) for parts in zip(*added, strict=True))
    rows = np.concatenate([rows, row])
    zones = np.concatenate([coverage.cell_zone, zone.astype(coverage.cell_zone.dtype)])
    cols = np.concatenate([coverage.cell_col, col.astype(np.int32)])
    shares = np.concatenate([coverage.cell_share, share])
    order = np.lexsort((cols, zones, rows))
    return Coverage(
        coverage.grid,
        coverage.codes,
        coverage.span_ptr,
        coverage.span_zone,
        coverage.span_cols,
        np.searchsorted(rows[order], np.arange(coverage.grid.shape[0] + 1)).astype(np.int64),
        zones[order],
        cols[order],
        shares[order],
    )
