"""Where two units of a pair lie to each other: distance, bins, shared border, province, city, urban cluster.

In: points of units, polygons, codes, membership tables. Out: variables ``dist_km, dist_bin_km, is_border,
is_same_province, is_same_city, is_same_cluster``, which neither year nor orientation changes. Distances are geodesic on
WGS 84; nothing is measured in a map plane (METHOD 1.2).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gis.crs import crs_from, transform_geometry
from gis.errors import OptionInvalid, TableInvalid
from gis.panel.covariates import city_positions, refuse_repeated
from gis.panel.pair_index import n_pairs, pair_index, pair_members
from gis.panel.rows import PairRows, Variable, need, numbers, row_name

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from gis.grid import Zones

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

PAIRS_AT_ONCE = 1_000_000
EDGE_DEGREE = 0.1
"""Longest edge of a polygon before it is taken for an arc of a great circle: the two lie 20 m apart at 60 degrees."""
KM_PER_DEGREE = 111.32
"""Kilometres in a degree of longitude at the equator, WGS 84."""


def points_from_table(
    frame: pd.DataFrame, codes: Iterable[str], *, code: str = "city_code", recode: Mapping[str, str] | None = None,
    drop_unknown: bool = True, where: object = None,
) -> Floats:  # fmt: skip
    """(n_codes, 2) longitude and latitude of the seats of units, NaN where the table has none [degree].

    Raises
    ------
    TableInvalid
        A column is missing, a unit stands twice, or a position is no longitude and latitude. Names the row.
    """
    need(frame, (code, "lon", "lat"), "the seats", where)
    roster = tuple(sorted(codes))
    at = city_positions(frame[code], roster, recode, drop_unknown=drop_unknown, where=where)
    refuse_repeated(at, at >= 0, frame, [code], where)
    lon, lat = numbers(frame, "lon", where), numbers(frame, "lat", where)
    bad = ~((np.abs(lon) <= 180) & (np.abs(lat) <= 90))
    if bad.any():
        k = int(np.flatnonzero(bad)[0])
        raise TableInvalid(
            f"({frame['lon'].iloc[k]}, {frame['lat'].iloc[k]}) is no longitude and latitude",
            where=row_name(where, k),
            mend="give degrees of WGS 84, longitude in lon and latitude in lat",
        )
    out = np.full((len(roster), 2), np.nan)
    out[at[at >= 0]] = np.stack([lon, lat], axis=1)[at >= 0]
    return out


def centroids(zones: Zones, codes: Sequence[str]) -> Floats:
    """(n_codes, 2) longitude and latitude of the polygons' centroids; NaN for a unit without a polygon [degree].

    Notes
    -----
    The mean of all points of the unit, as unit vectors on the sphere of its longitudes and latitudes: neither the
    zones' CRS nor the latitude pulls it. Its integral over a polygon is half the sum over the edges of angle times
    normal (Stokes), so holes and parts need no care. Of 375 real cities the centroid in an equal-area plane of the
    unit's own lies 3 m away at the median and 324 m at most, in a unit of 1,000 km: sphere against ellipsoid
    (test_centroids_of_real_cities_differ_by_metres_from_planes_of_their_own).
    """
    import shapely

    place = {code: k for k, code in enumerate(codes)}
    at = np.array([place.get(code, -1) for code in zones.codes], np.int64)
    parts, part_of = shapely.get_parts(_lonlat(zones), return_index=True)
    dense = shapely.segmentize(shapely.orient_polygons(parts), EDGE_DEGREE)
    rings, ring_of = shapely.get_rings(dense, return_index=True)
    xy, ring = shapely.get_coordinates(rings, return_index=True)
    lon, lat = np.radians(xy).T
    vector = np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=1)
    edge = np.flatnonzero(ring[1:] == ring[:-1])
    cross = np.cross(vector[edge], vector[edge + 1])
    sine = np.linalg.norm(cross, axis=1)
    # Angle over sine tends to 1 as an edge shrinks; below 1e-6 rad it is 1 to the last bit.
    cross *= np.divide(np.arcsin(np.minimum(sine, 1.0)), sine, out=np.ones(sine.size), where=sine > 1e-6)[:, None]
    unit = at[part_of[ring_of[ring[edge]]]]
    known = unit >= 0
    x, y, z = (np.bincount(unit[known], weights=cross[known, k], minlength=len(codes)) for k in range(3))
    out = np.degrees(np.stack([np.arctan2(y, x), np.arctan2(z, np.hypot(x, y))], axis=1))
    out[np.bincount(unit[known], minlength=len(codes)) == 0] = np.nan
    return np.asarray(out)


def weighted_centroids(points: Floats, weights: Floats, group: Ints, n: int) -> Floats:
    """(n, 2) weighted mean position of groups of points, such as cells by population; NaN without any weight.

    Parameters
    ----------
    points : (n_points, 2) longitude and latitude [degree]
    weights : (n_points,) 0 or more; a point with NaN is left out.
    group : (n_points,) group of each point, -1 for none.

    Notes
    -----
    The mean is of unit vectors, put back on the sphere: longitudes need no care at 180 degrees.
    """
    return points_of_vectors(vector_sums(points, weights, group, n))


def vector_sums(points: Floats, weights: Floats, group: Ints, n: int) -> Floats:
    """(n, 3) sum of weight times unit vector, by group; arguments as in `weighted_centroids`. Sums of parts add up."""
    use = np.isfinite(points).all(axis=1) & np.isfinite(weights) & (weights > 0) & (group >= 0)
    lon, lat = np.radians(points[use]).T
    xyz = (np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat))
    return np.stack([np.bincount(group[use], weights=weights[use] * v, minlength=n) for v in xyz], axis=1)


def points_of_vectors(vectors: Floats) -> Floats:
    """(n, 2) longitude and latitude in which vectors point; NaN for one of no length [degree]."""
    x, y, z = vectors.T
    out = np.degrees(np.stack([np.arctan2(y, x), np.arctan2(z, np.hypot(x, y))], axis=1))
    out[~vectors.any(axis=1)] = np.nan
    return np.asarray(out)


def pair_distances(points: Floats) -> Floats:
    """(n_pairs,) geodesic distance of every two points, in the order of the triangular index [km]; NaN without one."""
    from pyproj import Geod

    geod, n = Geod(ellps="WGS84"), len(points)
    out = np.empty(n_pairs(n))
    for start in range(0, out.size, PAIRS_AT_ONCE):
        i, j = pair_members(np.arange(start, min(start + PAIRS_AT_ONCE, out.size)), n)
        metre = geod.inv(points[i, 0], points[i, 1], points[j, 0], points[j, 1])[2]
        out[start : start + i.size] = np.asarray(metre) / 1000.0
    return out


def distance_variable(km: Floats, *, bin_km: float = 100.0) -> Variable:
    """``dist_km`` and ``dist_bin_km``, the lower edge of its bin: [0, 100), [100, 200), ... (METHOD 10, P0)."""
    if not bin_km > 0:
        raise OptionInvalid(f"bins of {bin_km} km", where="bin_km", mend="give a width above 0")

    def columns(rows: PairRows) -> dict[str, NDArray[Any]]:
        of_row = km[rows.pair]
        return {"dist_km": of_row, "dist_bin_km": np.floor(of_row / bin_km) * bin_km}

    return columns


def shared_borders(zones: Zones, codes: Sequence[str], *, tolerance_km: float = 0.0) -> NDArray[np.bool_]:
    """(n_pairs,) whether two units share a stretch of border; a single common point is none.

    Parameters
    ----------
    tolerance_km : borders of two units may lie this far apart, for layers that do not match vertex by vertex. With 0
        the overlap of both boundaries must be a line.

    Notes
    -----
    With a tolerance, the part of one boundary within that distance of the other must be longer than four times the
    tolerance: two units that meet in a point have pieces of up to about that length.
    """
    import shapely

    geometry = _lonlat(zones)
    place = {code: k for k, code in enumerate(codes)}
    at = np.array([place.get(code, -1) for code in zones.codes], np.int64)
    use = np.flatnonzero(at >= 0)
    polygons, at = geometry[use], at[use]
    reach = tolerance_km / KM_PER_DEGREE
    tree = shapely.STRtree(polygons)
    near = tree.query(polygons, predicate="dwithin", distance=reach) if reach else tree.query(polygons, "intersects")
    a, b = near[:, near[0] < near[1]]
    edges = shapely.boundary(polygons)
    if reach:
        common = shapely.intersection(edges[a], shapely.buffer(edges[b], reach, quad_segs=4))
    else:
        common = shapely.intersection(edges[a], edges[b])
    found = shapely.length(common) > 4 * reach
    # Overlapping slivers cross without a common line, and a unit inside another's hole shares its whole ring.
    out = np.zeros(n_pairs(len(codes)), bool)
    low, high = np.minimum(at[a], at[b])[found], np.maximum(at[a], at[b])[found]
    out[pair_index(low, high, len(codes))] = True
    return out


def border_variable(borders: NDArray[np.bool_]) -> Variable:
    """``is_border``."""
    return lambda rows: {"is_border": borders[rows.pair]}


def same_group(name: str, groups: Sequence[str]) -> Variable:
    """Whether both units of a pair have the same group; an empty text is no group. For provinces: ``code[:2]``."""
    texts, at = np.unique(np.array(groups, dtype=str), return_inverse=True)
    at = np.where(texts[at] == "", -1, at)
    return lambda rows: {name: (at[rows.i] == at[rows.j]) & (at[rows.i] >= 0)}


def memberships(
    frame: pd.DataFrame, codes: Iterable[str], *, recode: Mapping[str, str] | None = None, drop_unknown: bool = False,
    vintage: str = "", where: object = None,
) -> NDArray[np.bool_]:  # fmt: skip
    """(n_clusters, n_codes) which city is a member of which urban cluster, from ``cluster, city_code``."""
    need(frame, ("cluster", "city_code"), "the clusters", where)
    roster = tuple(sorted(codes))
    at = city_positions(frame["city_code"], roster, recode, drop_unknown=drop_unknown, vintage=vintage, where=where)
    names, cluster = np.unique(frame["cluster"].astype("string").to_numpy(object).astype(str), return_inverse=True)
    refuse_repeated(cluster * (len(roster) + 1) + at, at >= 0, frame, ["cluster", "city_code"], where)
    out = np.zeros((names.size, len(roster)), bool)
    out[cluster[at >= 0], at[at >= 0]] = True
    return out


def cluster_variable(members: NDArray[np.bool_]) -> Variable:
    """``is_same_cluster``: a pair qualifies where it shares at least one cluster (METHOD 10, P0)."""
    shared = (members.T.astype(np.float32) @ members.astype(np.float32)) > 0
    return lambda rows: {"is_same_cluster": shared[rows.i, rows.j]}


def _lonlat(zones: Zones) -> NDArray[Any]:
    return np.asarray(transform_geometry(zones.geometry, zones.crs, crs_from("EPSG:4326")), dtype=object)
