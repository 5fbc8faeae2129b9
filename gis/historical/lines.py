"""Telegraph lines as a network of offices, and what it says about pairs of cities.

In: lines the user digitised (a table of edges, or polylines in pixels or map coordinates), offices and their cities.
Out: ``Lines``, ``CityNetwork``: which cities a line joins, and how far apart they are along the lines.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gis.crs import crs_from, transformer
from gis.errors import CrsMissing, OptionInvalid, TableInvalid
from gis.historical.offices import TABLE_SUFFIXES, Locates, Offices, Space, read_text_table, some

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

TOUCH_KM = 5.0
"""A line passes an office that lies within this distance of it, both as drawn on the sheet [km]."""


@dataclass(frozen=True, slots=True)
class Lines:
    """Edges between offices."""

    edges: Ints
    """(n_edges, 2) positions of offices."""
    km: Floats = field(repr=False)
    """(n_edges,) length along the line [km]."""
    notes: tuple[str, ...] = ()
    """What was decided while reading, one sentence each."""


@dataclass(frozen=True, slots=True)
class CityNetwork:
    """What the lines say about pairs of cities; both matrices are symmetric and their diagonals mean nothing."""

    codes: tuple[str, ...]
    """Cities."""
    is_direct: NDArray[np.bool_] = field(repr=False)
    """(n_cities, n_cities) whether one edge joins an office of one to an office of the other."""
    km: Floats = field(repr=False)
    """(n_cities, n_cities) shortest way along the lines between any two of their offices [km]; inf for none."""

    @property
    def is_connected(self) -> NDArray[np.bool_]:
        """(n_cities, n_cities) whether some way along the lines joins the two."""
        return np.isfinite(self.km)


def read_lines(
    path: str | Path,
    offices: Offices,
    transform: Locates | None = None,
    *,
    layer: str | None = None,
    crs: Any = None,
    space: Space = "auto",
    touch_km: float = TOUCH_KM,
) -> Lines:
    """Read telegraph lines and attach them to offices.

    Parameters
    ----------
    path : CSV with columns ``office_a, office_b`` (and ``km``; default: the geodesic between the two), or a vector
        file of lines. A polyline joins, one after another, the offices it passes within ``touch_km``.
    transform : from pixels to the ground, for lines in pixels of the scan.
    crs, space : as in `gis.historical.offices.read_offices`.

    Raises
    ------
    TableInvalid
        The file is missing, or names an office that is not there, or holds something else than lines.
    OptionInvalid
        Pixels without a transform.
    CrsMissing
        Map coordinates without a CRS.
    """
    path = Path(path)
    if not path.is_file():
        raise TableInvalid("there is no such file of lines", where=path, mend="check the path")
    if path.suffix.lower() in TABLE_SUFFIXES:
        return _from_table(path, offices)
    return _from_polylines(_polylines(path, layer, crs, space, transform), offices, touch_km)


def city_network(lines: Lines, city_idx: Ints, codes: tuple[str, ...]) -> CityNetwork:
    """Shortest ways along the lines between cities.

    Parameters
    ----------
    city_idx : (n_offices,) position in ``codes`` of each office's city; below 0 for none. Such an office is still a
        place a line passes through.

    Notes
    -----
    Dijkstra's algorithm from every office that has a city; of parallel edges the shortest counts.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import dijkstra

    n, n_cities = len(city_idx), len(codes)
    is_direct, km = np.zeros((n_cities, n_cities), bool), np.full((n_cities, n_cities), np.inf)
    there = np.flatnonzero(city_idx >= 0)
    if not there.size:
        return CityNetwork(codes, is_direct, km)
    edges, length = _shortest_parallel(lines)
    # A sparse matrix drops zeros: two offices on one spot are a metre apart, not unconnected.
    graph = coo_array((np.maximum(length, 1e-3), (edges[:, 0], edges[:, 1])), shape=(n, n)).tocsr()
    way = dijkstra(graph, directed=False, indices=there)[:, there]
    np.minimum.at(km, (city_idx[there][:, None], city_idx[there][None, :]), way)
    ends = city_idx[edges]
    joined = ends[(ends >= 0).all(axis=1)]
    is_direct[joined[:, 0], joined[:, 1]] = is_direct[joined[:, 1], joined[:, 0]] = True
    return CityNetwork(codes, is_direct, km)


def _shortest_parallel(lines: Lines) -> tuple[Ints, Floats]:
    low, high = np.sort(lines.edges, axis=1).T.reshape(2, -1)
    order = np.lexsort((lines.km, high, low))
    edges = np.column_stack([low, high])[order]
    first = np.ones(len(edges), bool)
    first[1:] = (edges[1:] != edges[:-1]).any(axis=1)
    return edges[first], lines.km[order][first]


def _from_table(path: Path, offices: Offices) -> Lines:
    table = read_text_table(path)
    absent = [name for name in ("office_a", "office_b") if name not in table]
    if absent:
        raise TableInvalid(
            f"no column {', '.join(absent)} among {', '.join(table.columns)}",
            where=path,
            mend="one row per line between two neighbouring offices: office_a, office_b",
        )
    place = {office: k for k, office in enumerate(offices.ids)}
    unknown = sorted({v for name in ("office_a", "office_b") for v in table[name] if v not in place})
    if unknown:
        raise TableInvalid(
            f"{len(unknown)} ends of lines are no offices: {some(unknown)}", where=path, mend="use the office_id"
        )
    edges = np.array([[place[v] for v in table[name]] for name in ("office_a", "office_b")], np.int64).T.reshape(-1, 2)
    straight = _geodesic_km(offices.lonlat[edges[:, 0]], offices.lonlat[edges[:, 1]])
    try:
        km = (
            np.array([float(v) if v else np.nan for v in table["km"]]) if "km" in table else np.full(len(edges), np.nan)
        )
    except ValueError as error:
        raise TableInvalid(f"km: {error}", where=path, mend="give kilometres, or leave the cell empty") from error
    if (km < 0).any():
        raise TableInvalid("a line has a negative length", where=path, mend="give kilometres of 0 or more")
    return Lines(edges, np.where(np.isnan(km), straight, km))


def _polylines(path: Path, layer: str | None, crs: Any, space: Space, transform: Locates | None) -> NDArray[Any]:
    """Lines in longitude and latitude."""
    import pyogrio
    import shapely

    try:
        frame = pyogrio.read_dataframe(path, layer=layer)
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError) as error:
        raise TableInvalid(
            f"GDAL cannot read it: {error}", where=path, mend="give a CSV or a layer of lines"
        ) from error
    shapes = frame.geometry.to_numpy() if "geometry" in frame else np.empty(0, object)
    if not len(shapes) or not np.isin(shapely.get_type_id(shapes), (1, 5)).all():  # LineString, MultiLineString
        raise TableInvalid("not every line is a line", where=path, mend="digitise telegraph lines in a layer of lines")
    parts = shapely.get_parts(shapely.force_2d(shapes))
    xy = shapely.get_coordinates(parts)
    declared = frame.crs
    impossible = declared is not None and declared.is_geographic and bool((np.abs(xy) > [180.0, 90.0]).any())
    if space == "pixel" or (space == "auto" and crs is None and (declared is None or impossible)):
        if transform is None:
            raise OptionInvalid(
                "the lines are in pixels and there is no transform", where=path, mend="give control points"
            )
        if (xy[:, 1] <= 0).all():
            xy = xy * [1.0, -1.0]
        lon, lat = transform.to_lonlat(xy[:, 0], xy[:, 1])
    else:
        if declared is None and crs is None:
            raise CrsMissing("the lines state no CRS", where=path, mend='name it: crs = "EPSG:4326"')
        source = crs_from(declared if declared is not None else crs)
        lon, lat = transformer(source, crs_from("EPSG:4326")).transform(xy[:, 0], xy[:, 1])
    return np.asarray(shapely.set_coordinates(np.array(parts, dtype=object, copy=True), np.column_stack([lon, lat])))


def _from_polylines(lines: NDArray[Any], offices: Offices, touch_km: float) -> Lines:
    """Edges between the offices that each line passes, in the order it passes them."""
    import shapely
    from pyproj import Geod
    from shapely.ops import substring

    geod = Geod(ellps="WGS84")
    edges: list[tuple[int, int]] = []
    km: list[float] = []
    loose = 0
    for line in lines:
        lat = float(shapely.get_coordinates(line)[:, 1].mean())
        shrink = np.array([np.cos(np.radians(lat)), 1.0])
        local = shapely.transform(line, lambda xy, s=shrink: xy * s)
        # The sheet's own positions: line and office were drawn together, wherever the gazetteer puts the place.
        at = shapely.line_locate_point(local, shapely.points(offices.map_lonlat * shrink))
        foot = shapely.get_coordinates(shapely.line_interpolate_point(local, at)) / shrink
        touched = np.flatnonzero(_geodesic_km(foot, offices.map_lonlat) <= touch_km)
        order = touched[np.argsort(at[touched], kind="stable")]
        loose += order.size < 2
        for a, b in pairwise(order):
            part = substring(local, float(at[a]), float(at[b]))
            lonlat = shapely.get_coordinates(part) / shrink
            edges.append((int(a), int(b)))
            km.append(float(geod.line_length(lonlat[:, 0], lonlat[:, 1])) / 1000)
    notes = (f"{loose} of {len(lines)} lines pass fewer than two offices within {touch_km:g} km",) if loose else ()
    return Lines(np.array(edges, np.int64).reshape(-1, 2), np.array(km, np.float64), notes)


def _geodesic_km(a: Floats, b: Floats) -> Floats:
    from pyproj import Geod

    metres = Geod(ellps="WGS84").inv(a[:, 0].copy(), a[:, 1].copy(), b[:, 0].copy(), b[:, 1].copy())[2]
    return np.asarray(metres) / 1000
