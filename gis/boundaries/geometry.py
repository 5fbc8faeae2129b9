"""Polygons made fit for summing: geodesic areas, repair with its price, overlaps, the antimeridian.

In: arrays of shapely geometries, codes, a CRS. Out: valid polygons, areas in km2 on the ellipsoid, a record of every
repair, a table of overlapping pairs. Rules: METHOD 2 rule 11.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gis.crs import WGS84_A, authalic_q, crs_from, transform_geometry
from gis.errors import BoundaryInvalid, GeometryInvalid
from gis.grid import cross_antimeridian

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from numpy.typing import NDArray
    from pyproj import CRS

    from gis.grid import Zones

    Geometries = NDArray[Any]

MAX_AREA_CHANGE = 0.005
"""A repair that changes a unit's area by more than this share is refused (METHOD 2 rule 11)."""
MAX_OVERLAP = 0.001
"""Two units may share at most this part of the smaller one (METHOD 2 rule 11)."""
OVERLAP_FLOOR_KM2 = 1e-6
"""Overlaps below one square metre are rounding of coordinates and are not listed [km2]."""

_POLYGONAL = (3, 6)  # shapely type ids of Polygon and MultiPolygon
_COLLECTION = 7


@dataclass(frozen=True, slots=True)
class Repair:
    """One polygon that was invalid and was mended."""

    code: str
    """The unit."""
    reason: str
    """What was wrong and where, in the layer's coordinates, as GEOS says it."""
    area_before_km2: float
    """Area the rings enclose as they were drawn (see `geodesic_area_km2`) [km2]."""
    area_after_km2: float
    """Area of the mended polygon [km2]."""
    change_share: float
    """Absolute change of area over the larger of the two."""


def geodesic_area_km2(geometry: Any, crs: Any) -> NDArray[np.float64]:
    """Area of polygons on the ellipsoid, their edges straight lines in the layer's own coordinates.

    Parameters
    ----------
    geometry : (n,) array of shapely Polygon or MultiPolygon
    crs : anything that names a CRS

    Returns
    -------
    (n,) float64 [km2]
        0 for an empty or missing polygon. Of an invalid polygon: per part, the area its shell winds around minus the
        areas its holes wind around. What a ring encircles twice counts twice and the two lobes of a bow-tie cancel,
        so the difference to a mended polygon measures how much of the drawing was ambiguous.

    Notes
    -----
    Each edge contributes the integral of a^2/2 * q(sin lat) over longitude (the area between it and the equator), by
    Gauss-Legendre quadrature with four nodes: below 1e-12 relative for edges under 5 degrees. An edge is straight in
    longitude and latitude, as the edge of a raster cell is, so cells and polygons add up; a geodesic between the same
    vertices bulges away from it (4e-4 of the area of a square of one degree at 30 degrees north).
    Peer: ``pyproj.Geod`` on densified edges (test_area_agrees_with_geodesics).
    """
    import shapely

    array = np.atleast_1d(np.asarray(geometry, dtype=object))
    where = crs_from(crs)
    if not _is_wgs84_like(where):
        array = np.atleast_1d(np.asarray(transform_geometry(array, where, crs_from("EPSG:4326")), dtype=object))
    parts, of_part = shapely.get_parts(array, return_index=True)
    rings, of_ring = shapely.get_rings(parts, return_index=True)
    if not len(rings):
        return np.zeros(len(array))
    is_shell = np.r_[True, of_ring[1:] != of_ring[:-1]]
    enclosed = np.abs(_ring_integrals(rings))
    area = np.bincount(of_part[of_ring], np.where(is_shell, enclosed, -enclosed), minlength=len(array))
    return area.astype(np.float64, copy=False)


def _is_wgs84_like(crs: CRS) -> bool:
    # CGCS2000 and GRS80 differ from WGS 84 in the flattening's tenth digit: the same area to 1e-10.
    ellipsoid = crs.ellipsoid
    return bool(
        crs.is_geographic
        and ellipsoid is not None
        and abs(ellipsoid.semi_major_metre - WGS84_A) < 0.5
        and crs.axis_info
        and crs.axis_info[0].unit_name == "degree"
    )


def _ring_integrals(rings: Geometries) -> NDArray[np.float64]:
    """Signed area of closed rings of (lon, lat) [km2], positive where they run clockwise."""
    import shapely

    lonlat, of = shapely.get_coordinates(rings, return_index=True)
    inside = of[1:] == of[:-1]
    lon, lat = np.radians(lonlat).T
    d_lon, start, d_lat = np.diff(lon)[inside], lat[:-1][inside], np.diff(lat)[inside]
    nodes, weights = np.polynomial.legendre.leggauss(4)
    height = np.zeros(len(d_lon))
    for node, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
        height += weight * authalic_q(np.sin(start + node * d_lat))
    strips = np.bincount(of[1:][inside], d_lon * height, minlength=len(rings))
    return np.asarray(strips * (WGS84_A**2 / 2e6), dtype=np.float64)


def polygons_only(geometry: Any, labels: Sequence[str], *, where: object = None) -> tuple[Geometries, tuple[str, ...]]:
    """Drop Z and M, take the polygons out of collections, make missing geometries empty, refuse points and lines.

    Returns
    -------
    (n,) array of Polygon or MultiPolygon, and one note per kind of change.

    Raises
    ------
    BoundaryInvalid
        A unit is a point or a line, or a collection without a polygon.
    """
    import shapely

    # A copy: the caller's array may be read-only, and is not ours to change.
    array = np.array(shapely.force_2d(np.asarray(geometry, dtype=object)), dtype=object, copy=True)
    notes: list[str] = []
    nothing = shapely.is_missing(array) | shapely.is_empty(array)
    if nothing.any():
        array[nothing] = shapely.Polygon()
        notes.append(f"{int(nothing.sum())} units have no geometry and get no value: {_some(labels, nothing)}")
    mixed = shapely.get_type_id(array) == _COLLECTION
    for k in np.flatnonzero(mixed):
        array[k] = _polygons_of(array[k])
    wrong = ~np.isin(shapely.get_type_id(array), _POLYGONAL) | (shapely.is_empty(array) & ~nothing)
    if wrong.any():
        kind = array[int(np.flatnonzero(wrong)[0])].geom_type if not mixed[wrong].any() else "GeometryCollection"
        raise BoundaryInvalid(
            f"{int(wrong.sum())} of {len(array)} units are not polygons ({kind}): {_some(labels, wrong)}",
            where=where,
            mend="give a layer of polygons; closed border lines become polygons with QGIS: Polygonize",
        )
    if mixed.any():
        notes.append(f"lines and points left out of {int(mixed.sum())} units: {_some(labels, mixed)}")
    return array, tuple(notes)


def _polygons_of(geometry: Any) -> Any:
    """The polygons of a collection as one geometry, however deep they lie; empty when there are none."""
    import shapely

    parts = shapely.get_parts(geometry)
    while (shapely.get_type_id(parts) > 3).any():  # collections and multipolygons
        parts = shapely.get_parts(parts)
    polygons = parts[shapely.get_type_id(parts) == 3]
    if len(polygons) < 2:
        return polygons[0] if len(polygons) else shapely.Polygon()
    return shapely.multipolygons(polygons)


def repair(
    geometry: Any, codes: Sequence[str], crs: Any, *, where: object = None
) -> tuple[Geometries, tuple[Repair, ...]]:
    """Mend invalid polygons, say what it did to their areas, and refuse where that is more than a trifle.

    Parameters
    ----------
    geometry : (n,) array of Polygon or MultiPolygon; valid ones are returned as they are.
    codes : n texts for the messages
    crs : anything that names a CRS

    Returns
    -------
    (n,) array of valid Polygon or MultiPolygon, and one `Repair` per polygon that was invalid.

    Raises
    ------
    GeometryInvalid
        A repair changes a unit's area by more than `MAX_AREA_CHANGE`; a unit crosses the antimeridian, or has a
        coordinate that is not a number.

    Notes
    -----
    ``make_valid(method="structure")``: shells are made valid and united, holes are cut out. The other method,
    ``linework``, gives areas to the even-odd rule and so cuts out what a ring encircles twice; rings that were
    rounded to a lattice do that along every border they touch. On 184 invalid counties of such a layer the largest
    change is 2.5e-5 with ``structure`` and 7.9e-4 with ``linework`` [measured]. Both keep both lobes of a bow-tie.
    """
    import shapely

    array = np.array(geometry, dtype=object, copy=True)
    _refuse_unusable(array, codes, crs_from(crs), where)
    bad = np.flatnonzero(~shapely.is_valid(array))
    if not len(bad):
        return array, ()
    broken = array[bad]
    reasons = shapely.is_valid_reason(broken)
    mended = shapely.make_valid(broken, method="structure", keep_collapsed=False)
    array[bad] = [_polygons_of(g) if g.geom_type not in ("Polygon", "MultiPolygon") else g for g in mended]
    before, after = geodesic_area_km2(broken, crs), geodesic_area_km2(array[bad], crs)
    largest = np.maximum(before, after)
    change = np.divide(np.abs(after - before), largest, out=np.zeros(len(bad)), where=largest > 0)
    repairs = tuple(
        Repair(codes[int(k)], str(reason), float(b), float(a), float(c))
        for k, reason, b, a, c in zip(bad, reasons, before, after, change, strict=True)
    )
    _refuse_costly(repairs, where)
    return array, repairs


def _refuse_costly(repairs: tuple[Repair, ...], where: object) -> None:
    costly = sorted((r for r in repairs if r.change_share > MAX_AREA_CHANGE), key=lambda r: -r.change_share)
    if not costly:
        return
    listed = "; ".join(
        f"{r.code} {r.area_before_km2:.3f} to {r.area_after_km2:.3f} km2 ({r.change_share:.1%}; {r.reason})"
        for r in costly[:5]
    )
    raise GeometryInvalid(
        f"mending {len(costly)} invalid polygons would change their area by more than {MAX_AREA_CHANGE:.1%}: {listed}",
        where=where,
        mend="redraw these rings (QGIS: Check validity, then edit), or leave the units out with exclude",
    )


def _refuse_unusable(array: Geometries, codes: Sequence[str], crs: CRS, where: object) -> None:
    """Refuse coordinates that are not numbers and rings that jump across the antimeridian."""
    import shapely

    xy, of = shapely.get_coordinates(array, return_index=True)
    finite = np.isfinite(xy).all(axis=1)
    if not finite.all():
        flags = np.isin(np.arange(len(array)), of[~finite])
        raise GeometryInvalid(
            f"coordinates that are not numbers in {_some(codes, flags)}",
            where=where,
            mend="export the layer again from its source, or leave the units out with exclude",
        )
    if not crs.is_geographic:
        return
    flags = cross_antimeridian(array)
    if flags.any():
        raise GeometryInvalid(
            f"{int(flags.sum())} polygons cross the antimeridian (an edge spans more than 180 degrees of "
            f"longitude): {_some(codes, flags)}",
            where=where,
            mend="split them at 180 degrees: ogr2ogr -wrapdateline split.gpkg layer.gpkg; if they are as wide as they "
            "look, give their long edges a vertex between: shapely.segmentize(polygon, 90)",
        )


def overlaps(geometry: Any, codes: Sequence[str], crs: Any) -> pd.DataFrame:
    """List the pairs of units that share ground.

    Parameters
    ----------
    geometry : (n,) array of valid Polygon or MultiPolygon
    codes : n texts
    crs : anything that names a CRS

    Returns
    -------
    DataFrame, the largest share first
        ``code_a``, ``code_b`` (in the order of ``codes``), ``overlap_km2``, ``share_of_smaller`` (1). Pairs that
        share less than `OVERLAP_FLOOR_KM2` are left out; no pair gives no row.

    Notes
    -----
    An index finds the neighbours, and a prepared DE-9IM test ("the interiors meet") spares the intersection of those
    that only touch: 8,195 pairs of neighbours among 2,891 districts with 425,000 vertices in 0.6 s [measured].
    """
    import pandas as pd
    import shapely

    array = np.asarray(geometry, dtype=object)
    left, right = shapely.STRtree(array).query(array, predicate="intersects")
    once = left < right
    left, right = left[once], right[once]
    shapely.prepare(array)
    meet = shapely.relate_pattern(array[left], array[right], "T********")
    left, right = left[meet], right[meet]
    shared = [_polygons_of(g) for g in shapely.intersection(array[left], array[right])]
    area = geodesic_area_km2(np.array([*shared, None], dtype=object)[:-1], crs)
    units = np.unique(np.r_[left, right])
    size = np.zeros(len(array))
    size[units] = geodesic_area_km2(array[units], crs)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.minimum(area / np.minimum(size[left], size[right]), 1.0)
    labels = np.array([*codes, None], dtype=object)[:-1]
    table = pd.DataFrame(
        {"code_a": labels[left], "code_b": labels[right], "overlap_km2": area, "share_of_smaller": share}
    )
    table = table[table["overlap_km2"] >= OVERLAP_FLOOR_KM2]
    return table.sort_values("share_of_smaller", ascending=False, kind="stable").reset_index(drop=True)


def refuse_overlaps(zones: Zones, *, where: object = None) -> pd.DataFrame:
    """Return the table of `overlaps` of a layer; refuse the layer where a pair shares more than `MAX_OVERLAP`.

    Raises
    ------
    BoundaryInvalid
        Names the five pairs that share most. Light and people on shared ground would be counted twice.
    """
    table = overlaps(zones.geometry, zones.codes, zones.crs)
    forbidden = table[table["share_of_smaller"] > MAX_OVERLAP]
    if len(forbidden):
        listed = "; ".join(
            f"{row.code_a} and {row.code_b} share {row.overlap_km2:.3f} km2 ({row.share_of_smaller:.2%} of the smaller)"
            for row in forbidden.head(5).itertuples()
        )
        raise BoundaryInvalid(
            f"{len(forbidden)} pairs of units overlap by more than {MAX_OVERLAP:.1%} of the smaller: {listed}",
            where=where,
            mend="leave one unit of each pair out with exclude, or clip it (QGIS: Difference)",
        )
    return table


def _some(labels: Sequence[str], flags: NDArray[np.bool_], n: int = 5) -> str:
    """Name the first few flagged units."""
    named = [labels[int(k)] for k in np.flatnonzero(flags)]
    return ", ".join(named[:n]) + (f" and {len(named) - n} more" if len(named) > n else "")
