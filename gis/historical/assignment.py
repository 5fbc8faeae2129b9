"""Which city an office stands in: by polygon, by the nearest polygon, by probability, or shared along a border.

In: positions with their uncertainty, the cities of any vintage. Out: ``HardAssignment``, ``Probabilities``
(METHOD 8.6). Distances are geodesic, on WGS 84. Every office is treated by itself: the order of the offices, and which
others there are, changes nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from gis.crs import crs_from, transform_geometry
from gis.errors import OptionInvalid

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gis.grid import Zones

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

NOWHERE = -1
"""Position of an office that stands in no city."""

SNAP_SIGMAS = 2.0
"""An office outside every city goes to the nearest within so many sigma (METHOD 8.6)."""

MIN_DRAWS, DEFAULT_DRAWS = 2_000, 4_000
"""Draws of a probability. At least 2,000 (METHOD 8.6); with 4,000 the standard error stays below 0.008."""

GOLDEN = (math.sqrt(5) - 1) / 2
"""Golden section of 1: multiples of it fill a circle most evenly."""

OFFICES_AT_ONCE = 250
"""Offices whose draws are held together: 250 x 4,000 draws of two coordinates take 16 MB at 4,000 draws."""

KM_PER_DEGREE_MIN = 110.5
"""Kilometres in a degree of latitude at the equator, where it is shortest on WGS 84."""

AssignFlag = Literal["", "SNAPPED", "NOWHERE"]


@dataclass(frozen=True, slots=True)
class CityLookup:
    """Polygons of cities in longitude and latitude, prepared for many questions."""

    codes: tuple[str, ...]
    """City codes, in the order of the layer."""
    geometry: NDArray[Any] = field(repr=False)
    """(n_cities,) polygons, EPSG:4326, prepared."""
    vintage: str = ""
    """Date the boundaries stood."""

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """(west, south, east, north) of all cities together [degree]."""
        import shapely

        west, south, east, north = (float(v) for v in shapely.total_bounds(self.geometry))
        return west, south, east, north


@dataclass(frozen=True, slots=True)
class HardAssignment:
    """One city for each office."""

    city_codes: tuple[str, ...]
    """Cities, in the order of the layer."""
    city_idx: Ints
    """(n_offices,) position in ``city_codes``; ``NOWHERE`` for none."""
    flags: tuple[AssignFlag, ...]
    """SNAPPED: outside every city, given to the nearest; NOWHERE: outside, and none is near; empty: inside."""
    snap_km: Floats
    """(n_offices,) distance to the city it was given to: 0 inside, NaN for NOWHERE [km]."""

    def counts(self) -> Floats:
        """(n_cities,) offices in each city."""
        return _counted(self.city_idx, len(self.city_codes))


@dataclass(frozen=True, slots=True)
class Probabilities:
    """How probable each city is for each office: the entries above zero, office by office."""

    city_codes: tuple[str, ...]
    """Cities, in the order of the layer."""
    office_idx: Ints
    """(n_entries,) position of the office, ascending."""
    city_idx: Ints
    """(n_entries,) position of the city, ascending within an office."""
    p: Floats
    """(n_entries,) probability, above 0 and at most 1."""
    p_nowhere: Floats
    """(n_offices,) probability of no city; with the office's entries it adds up to 1."""

    def totals(self) -> Floats:
        """(n_offices,) probability of all cities and of nowhere together: 1."""
        return np.bincount(self.office_idx, weights=self.p, minlength=self.p_nowhere.size) + self.p_nowhere

    def of(self, city_idx: Ints) -> Floats:
        """(n_offices,) probability that each office stands in the city given for it; NaN for ``NOWHERE``."""
        key = self.office_idx * len(self.city_codes) + self.city_idx
        wanted = np.arange(self.p_nowhere.size) * len(self.city_codes) + city_idx
        at = np.minimum(np.searchsorted(key, wanted), max(key.size - 1, 0))
        found = key.size > 0 and key[at] == wanted
        return np.where(city_idx == NOWHERE, np.nan, np.where(found, self.p[at] if key.size else 0.0, 0.0))

    def given_somewhere(self) -> Probabilities:
        """The same under the condition that the office stands in some city: the sea is no place for an office.

        An office whose draws all fell outside stays nowhere, with probability 1.
        """
        inside = 1.0 - self.p_nowhere
        p = self.p / inside[self.office_idx]
        return Probabilities(self.city_codes, self.office_idx, self.city_idx, p, np.where(inside > 0, 0.0, 1.0))


def city_lookup(zones: Zones) -> CityLookup:
    """Prepare the cities of a vintage, in any CRS, for assignment.

    Edges of a layer in another CRS are densified before they are carried to longitude and latitude.
    """
    import shapely

    geometry = np.array(transform_geometry(zones.geometry, zones.crs, crs_from("EPSG:4326")), dtype=object, copy=True)
    shapely.prepare(geometry)
    return CityLookup(zones.codes, geometry, zones.vintage)


def assign_hard(
    lonlat: Floats, sigma_km: Floats, cities: CityLookup, *, snap_sigmas: float = SNAP_SIGMAS
) -> HardAssignment:
    """Give each office the city whose polygon it stands in, else the nearest within ``snap_sigmas`` sigma.

    Parameters
    ----------
    lonlat : (n_offices, 2) [degree, WGS 84]
    sigma_km : (n_offices,) standard deviation per axis [km]
    snap_sigmas : 0 to snap nothing.

    Notes
    -----
    A point on the common border of two cities, or where polygons overlap, goes to the one that comes first in the
    layer: a rule, not a finding. Such a point is what `assign_probable` is for.
    """
    lonlat, sigma_km = _checked(lonlat, sigma_km)
    if not snap_sigmas >= 0:
        raise OptionInvalid(f"snap_sigmas = {snap_sigmas}", where="snap_sigmas", mend="give 0 (no snapping) or more")
    city_idx = cities_of_points(lonlat, cities)
    flags = np.where(city_idx == NOWHERE, "NOWHERE", "").astype(object)
    snap_km = np.where(city_idx == NOWHERE, np.nan, 0.0)
    outside = np.flatnonzero(city_idx == NOWHERE)
    near = cities_within(lonlat[outside], snap_sigmas * sigma_km[outside], cities)
    for office, (found, km) in zip(outside, near, strict=True):
        if found.size:
            nearest = int(np.lexsort((found, km))[0])
            city_idx[office], snap_km[office], flags[office] = found[nearest], km[nearest], "SNAPPED"
    return HardAssignment(cities.codes, city_idx, tuple(flags), snap_km)


def assign_probable(
    lonlat: Floats, sigma_km: Floats, cities: CityLookup, *, draws: int = DEFAULT_DRAWS, seed: int = 0
) -> Probabilities:
    """Probability of every city for every office, its position being normal around the point, by Monte Carlo.

    Parameters
    ----------
    lonlat : (n_offices, 2) [degree, WGS 84]
    sigma_km : (n_offices,) standard deviation per axis [km]; 0 puts the office where the point is.
    draws : 2,000 or more; rounded up to an even number.
    seed : the same seed gives the same probabilities, for each office whatever the others are.

    Notes
    -----
    All offices share one set of standard normal draws (common random numbers, `standard_draws`), in pairs z and -z, so
    that an office right on a straight border gets 1/2 and 1/2. A draw is carried to longitude and latitude by the
    geodesic from the office: that is the inverse of the azimuthal equidistant projection centred on it. An office
    whose farthest draw cannot leave its city has p = 1 without a test of its draws: the result is the same to the bit.
    """
    lonlat, sigma_km = _checked(lonlat, sigma_km)
    if draws < MIN_DRAWS:
        raise OptionInvalid(
            f"{draws} draws are too few: the standard error at p = 1/2 is {0.5 / max(draws, 1) ** 0.5:.2g}",
            where="draws",
            mend=f"give {MIN_DRAWS} or more",
        )
    z = standard_draws(draws, seed)
    reach_km = sigma_km * float(np.hypot(*z.T).max())
    parts = [
        _probable(lonlat[some], sigma_km[some], reach_km[some], z, cities, some.start)
        for some in (slice(k, k + OFFICES_AT_ONCE) for k in range(0, len(lonlat), OFFICES_AT_ONCE))
    ]
    empty = np.empty(0, np.int64)
    office = np.concatenate([empty, *(part[0] for part in parts)])
    city = np.concatenate([empty, *(part[1] for part in parts)])
    counts = np.concatenate([empty, *(part[2] for part in parts)])
    inside = np.bincount(office, weights=counts, minlength=len(lonlat))
    # Counts are whole, so the remainder is exact and an office's row adds up to 1 within rounding.
    return Probabilities(cities.codes, office, city, counts / len(z), (len(z) - inside) / len(z))


def assign_split(lonlat: Floats, within_km: float, cities: CityLookup) -> Probabilities:
    """Share each office equally among the cities within ``within_km`` of it: the buffer rule of older papers.

    Two cities near a border get one half each, as in METHOD 8.6; where three meet, one third each. The city the
    office stands in is always among them. An office with no city within reach is nowhere.
    """
    lonlat, reach = _checked(lonlat, np.full(len(lonlat), float(within_km)))
    inside = cities_of_points(lonlat, cities)
    office, city, share = [], [], []
    for k, (found, _) in enumerate(cities_within(lonlat, reach, cities)):
        chosen = np.union1d(found, inside[k : k + 1][inside[k : k + 1] != NOWHERE])
        office += [k] * chosen.size
        city += chosen.tolist()
        share += [1.0 / max(chosen.size, 1)] * chosen.size
    at, p = np.array(office, np.int64), np.array(share, np.float64)
    nowhere = (np.bincount(at, minlength=len(lonlat)) == 0).astype(np.float64)
    return Probabilities(cities.codes, at, np.array(city, np.int64), p, nowhere)


def certain(hard: HardAssignment) -> Probabilities:
    """A hard assignment as probabilities of 1, so that both go through the same formulas."""
    there = np.flatnonzero(hard.city_idx != NOWHERE)
    nowhere = (hard.city_idx == NOWHERE).astype(np.float64)
    return Probabilities(hard.city_codes, there, hard.city_idx[there], np.ones(there.size), nowhere)


def standard_draws(draws: int, seed: int) -> Floats:
    """(draws, 2) standard normal points in pairs z and -z, spread evenly; an odd number is rounded up.

    Notes
    -----
    Half of them lie on a spiral: radii at equal steps of the radius' distribution, each turned on from the last by the
    golden section of a circle; where both sequences begin is drawn from the seed, so that every point by itself is
    normal. Measured on half-planes, 40 seeds: the error of a probability is 0.17 of the standard error of as many
    independent draws, at most 0.64 of it. Source: a randomised rank-1 lattice (Cranley and Patterson 1976) under the
    Box-Muller map.
    """
    half = -(-draws // 2)
    radius_from, angle_from = np.random.default_rng([seed, 86]).random(2)
    k = np.arange(half)
    radius = np.sqrt(-2 * np.log((k + 1 - radius_from) / half))  # 1 - u is in (0, 1]: never the logarithm of 0
    angle = 2 * np.pi * (k * GOLDEN + angle_from)
    z = np.column_stack([radius * np.cos(angle), radius * np.sin(angle)])
    return np.concatenate([z, -z])


def cities_of_points(lonlat: Floats, cities: CityLookup) -> Ints:
    """(n,) position of the city each point stands in, borders included; the first of several; ``NOWHERE`` for none."""
    import shapely

    # A tree of points asked by prepared polygons: the other way round GEOS would prepare each point.
    city, point = shapely.STRtree(shapely.points(lonlat)).query(cities.geometry, predicate="intersects")
    out = np.full(len(lonlat), len(cities.codes), np.int64)
    np.minimum.at(out, point, city)
    out[out == len(cities.codes)] = NOWHERE
    return out


def cities_within(lonlat: Floats, reach_km: Floats, cities: CityLookup) -> list[tuple[Ints, Floats]]:
    """For each point: positions of the cities within reach, ascending, and their distances [km, geodesic].

    Notes
    -----
    The nearest point of a border is found on a local map (degrees, longitude shrunk by the cosine of the latitude) and
    its distance taken on the ellipsoid: an error in the foot of the perpendicular enters the distance only squared.
    """
    import shapely
    from pyproj import Geod

    geod = Geod(ellps="WGS84")
    boxes = _boxes(lonlat, reach_km)
    office, city = shapely.STRtree(cities.geometry).query(boxes, predicate="intersects")
    out: list[tuple[Ints, Floats]] = []
    for k in range(len(lonlat)):
        found = np.sort(city[office == k])
        lon, lat = lonlat[k]
        shrink = np.array([np.cos(np.radians(lat)), 1.0])
        west, south, east, north = shapely.bounds(boxes[k])
        # Beyond the box nothing is within reach; cutting it off leaves a few vertices of a border with thousands.
        parts = [shapely.clip_by_rect(cities.geometry[c], west, south, east, north) for c in found]
        local = shapely.transform(np.array(parts, dtype=object), lambda xy, s=shrink: xy * s)
        foot = shapely.get_coordinates(shapely.shortest_line(shapely.Point(lonlat[k] * shrink), local))
        if foot.shape[0] != 2 * found.size:  # an empty part has no line: it touches the box in a corner at most
            whole = ~shapely.is_empty(local)
            found, local = found[whole], local[whole]
            foot = shapely.get_coordinates(shapely.shortest_line(shapely.Point(lonlat[k] * shrink), local))
        foot = foot[1::2] / shrink
        same = np.full(found.size, 1.0)
        km = geod.inv(same * lon, same * lat, foot[:, 0], foot[:, 1])[2] / 1000 if found.size else np.empty(0)
        near = km <= reach_km[k]
        out.append((found[near], np.asarray(km)[near]))
    return out


def displaced(lonlat: Floats, east_km: Floats, north_km: Floats) -> Floats:
    """(n, 2) points moved by so many kilometres in the azimuthal equidistant map centred on each of them."""
    from pyproj import Geod

    azimuth = np.degrees(np.arctan2(east_km, north_km))
    metres = np.hypot(east_km, north_km) * 1000
    lon, lat, _ = Geod(ellps="WGS84").fwd(lonlat[:, 0].copy(), lonlat[:, 1].copy(), azimuth, metres)
    return np.column_stack([lon, lat])


# --- the parts of a probability ----------------------------------------------------------------------------------


def _probable(
    lonlat: Floats, sigma_km: Floats, reach_km: Floats, z: Floats, cities: CityLookup, first: int
) -> tuple[Ints, Ints, Ints]:
    """(office, city, number of draws) of a block of offices whose first one has the position ``first``."""
    import shapely

    n, n_cities = len(lonlat), len(cities.codes)
    boxes = _boxes(lonlat, reach_km)
    city, office = shapely.STRtree(boxes).query(cities.geometry, predicate="intersects")
    whole = shapely.contains(cities.geometry[city], boxes[office])
    # Where polygons overlap, the first city wins everywhere, so a later one that holds the whole box decides nothing.
    settled = np.full(n, n_cities, np.int64)
    np.minimum.at(settled, office, np.where(whole, city, n_cities))
    touched_first = np.full(n, n_cities, np.int64)
    np.minimum.at(touched_first, office, city)
    alone = (settled < n_cities) & (settled == touched_first)
    entries = {int(k): np.array([[settled[k], len(z)]]) for k in np.flatnonzero(alone)}
    open_ = np.setdiff1d(office, np.flatnonzero(alone))  # also sorted, without repeats
    if open_.size:
        where = np.full((n, len(z)), -1, np.int16 if n_cities < 2**15 else np.int32)
        moved = displaced(
            np.repeat(lonlat[open_], len(z), axis=0),
            np.outer(sigma_km[open_], z[:, 0]).ravel(),
            np.outer(sigma_km[open_], z[:, 1]).ravel(),
        ).reshape(open_.size, len(z), 2)
        place = np.full(n, -1)
        place[open_] = np.arange(open_.size)
        for c in np.unique(city):
            these = office[(city == c) & ~alone[office]]
            xy = moved[place[these]]
            inside = shapely.contains_xy(cities.geometry[c], xy[..., 0], xy[..., 1]) & (where[these] < 0)
            where[these] = np.where(inside, c, where[these])
        for k in open_:
            found, count = np.unique(where[k][where[k] >= 0], return_counts=True)
            entries[int(k)] = np.column_stack([found, count])
    at = sorted(entries)
    table = np.concatenate([np.empty((0, 2), np.int64), *(entries[k] for k in at)]).astype(np.int64)
    owner = np.repeat(np.array(at, np.int64), [len(entries[k]) for k in at])
    return owner + first, table[:, 0], table[:, 1]


def _boxes(lonlat: Floats, reach_km: Floats) -> NDArray[Any]:
    """(n,) boxes in degrees that hold everything within reach of each point."""
    import shapely

    lon, lat = lonlat.T
    dlat = reach_km / KM_PER_DEGREE_MIN + 1e-9
    # A degree of longitude is shortest at the far edge; 111.3 is its length at the equator on WGS 84, 110.5 is less.
    dlon = reach_km / (KM_PER_DEGREE_MIN * np.cos(np.radians(np.minimum(np.abs(lat) + dlat, 89.0)))) + 1e-9
    return np.asarray(shapely.box(lon - dlon, lat - dlat, lon + dlon, lat + dlat), dtype=object)


def _counted(city_idx: Ints, n_cities: int) -> Floats:
    return np.bincount(city_idx[city_idx != NOWHERE], minlength=n_cities).astype(np.float64)


def _checked(lonlat: Floats, sigma_km: Floats) -> tuple[Floats, Floats]:
    lonlat = np.asarray(lonlat, np.float64).reshape(-1, 2)
    sigma_km = np.broadcast_to(np.asarray(sigma_km, np.float64), (len(lonlat),))
    wrong = ~(np.isfinite(lonlat).all(axis=1) & np.isfinite(sigma_km) & (sigma_km >= 0))
    if wrong.any():
        raise OptionInvalid(
            f"{int(wrong.sum())} offices have no position or no standard deviation of 0 or more, first number "
            f"{int(np.flatnonzero(wrong)[0]) + 1}",
            where="lonlat, sigma_km",
            mend="drop them, or give each a longitude, a latitude and a sigma_km",
        )
    return lonlat, sigma_km
