"""The datums of Chinese web maps: what GCJ-02 and BD-09 do to coordinates, how to undo it, how to tell.

In: longitudes and latitudes; centroids and areas of a layer's units. Out: corrected coordinates and geometries;
``DatumVerdict``, which of the three datums a layer is in. GCJ-02 is a shift without a CRS code: 38 to 683 m in China,
432 m in the median (METHOD 9.5); BD-09 adds about 900 m to it. Neither is what its label, WGS 84, says.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from gis.boundaries.codes import UNDIVIDED
from gis.boundaries.reference import reference_points
from gis.crs import WGS84_A, WGS84_E2
from gis.errors import OptionInvalid

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

Datum = Literal["wgs84", "gcj02", "bd09"]
DATUMS: tuple[Datum, ...] = ("wgs84", "gcj02", "bd09")
"""The datums that a layer in degrees of China can be in; CGCS2000 equals WGS 84 below 1 m."""

KRASOVSKY_A, KRASOVSKY_E2 = 6378245.0, 0.00669342162296594323
"""Ellipsoid by which GCJ-02 turns metres into degrees. Source: the formula in public circulation; there is no published
standard. Checked against METHOD 9.5 (test_offsets_of_eight_cities_are_the_golden_ones)."""
SHIFTED = (72.004, 0.8293, 137.8347, 55.8271)
"""Rectangle outside of which map vendors shift nothing: west, south, east, north [degree]. Same source."""

TOLERANCE_DEGREE = 1e-10
"""The inversion stops when a step is shorter [degree]: a tenth of the 1e-9 that METHOD 9.5 asks for."""
MAX_STEPS = 20
"""Far above the 3 to 5 that are needed: the shift changes by less than 1 % of a move (METHOD 9.5)."""

MATCH_RADIUS_M = 2500.0
"""A unit and its reference lie no further apart than this [m]: BD-09 moves by 1,700 m at most."""
MATCH_AREA = 0.01
"""Areas that differ by more than this share are not the same unit any more (its boundary changed)."""
MIN_MATCHED = 5
"""Fewer units than this decide nothing."""
MIN_AGREEMENT = 0.6
"""Share of the units that must lie nearest to where the datum puts them."""
MAX_SLOPE_ERROR = 0.25
"""How far the slope may lie from the datum's own, 0 or 1; real layers lie within 0.15 (docs/boundaries-doctor.md)."""
MAX_STANDARD_ERROR = 0.2
"""A slope less certain than this cannot tell 0 from 1 by five standard errors."""


# --- the shifts ------------------------------------------------------------------------------------------------------


def gcj02_from_wgs84(lon: Any, lat: Any) -> tuple[Floats, Floats]:
    """Shift WGS 84 to GCJ-02, as web maps of China do [degree]; points outside `SHIFTED` stay."""
    lon, lat = _pair(lon, lat)
    x, y = lon - 105.0, lat - 35.0
    wave = _wave((20.0, 6 * x), (20.0, 2 * x))
    root = np.sqrt(np.abs(x))
    north = -100.0 + 2 * x + 3 * y + 0.2 * y * y + 0.1 * x * y + 0.2 * root + wave
    north += _wave((20.0, y), (40.0, y / 3)) + _wave((160.0, y / 12), (320.0, y / 30))
    east = 300.0 + x + 2 * y + 0.1 * x * x + 0.1 * x * y + 0.1 * root + wave
    east += _wave((20.0, x), (40.0, x / 3)) + _wave((150.0, x / 12), (300.0, x / 30))
    phi = np.radians(lat)
    w2 = 1 - KRASOVSKY_E2 * np.sin(phi) ** 2
    meridian, normal = KRASOVSKY_A * (1 - KRASOVSKY_E2) / (w2 * np.sqrt(w2)), KRASOVSKY_A / np.sqrt(w2)
    west, south, right, top = SHIFTED
    inside = (lon >= west) & (lon <= right) & (lat >= south) & (lat <= top)
    with np.errstate(divide="ignore", invalid="ignore"):
        d_lon, d_lat = np.degrees(east / (normal * np.cos(phi))), np.degrees(north / meridian)
    return np.where(inside, lon + d_lon, lon), np.where(inside, lat + d_lat, lat)


def _wave(*terms: tuple[float, Floats]) -> Floats:
    """Two thirds of a sum of sines of half turns [m]."""
    return np.asarray(sum(size * np.sin(np.pi * turns) for size, turns in terms) * (2 / 3))


def bd09_from_gcj02(lon: Any, lat: Any) -> tuple[Floats, Floats]:
    """Shift GCJ-02 on to BD-09, the datum of Baidu's maps [degree]."""
    lon, lat = _pair(lon, lat)
    turn = np.pi * 3000 / 180
    radius = np.hypot(lon, lat) + 0.00002 * np.sin(lat * turn)
    angle = np.arctan2(lat, lon) + 0.000003 * np.cos(lon * turn)
    return radius * np.cos(angle) + 0.0065, radius * np.sin(angle) + 0.006


def bd09_from_wgs84(lon: Any, lat: Any) -> tuple[Floats, Floats]:
    """Shift WGS 84 to BD-09 [degree]; points outside `SHIFTED` stay, as in GCJ-02."""
    lon, lat = _pair(lon, lat)
    moved = bd09_from_gcj02(*gcj02_from_wgs84(lon, lat))
    west, south, right, top = SHIFTED
    inside = (lon >= west) & (lon <= right) & (lat >= south) & (lat <= top)
    return np.where(inside, moved[0], lon), np.where(inside, moved[1], lat)


def _unshifted(lon: Any, lat: Any) -> tuple[Floats, Floats]:
    return _pair(lon, lat)


FORWARD: dict[Datum, Callable[[Any, Any], tuple[Floats, Floats]]] = {
    "wgs84": _unshifted,
    "gcj02": gcj02_from_wgs84,
    "bd09": bd09_from_wgs84,
}
"""WGS 84 to each datum."""


def wgs84_from(datum: Datum, lon: Any, lat: Any) -> tuple[Floats, Floats]:
    """Undo the shift of a datum by fixed-point iteration.

    Parameters
    ----------
    datum : ``"gcj02"``, ``"bd09"``; ``"wgs84"`` returns the coordinates as they are
    lon, lat : coordinates in that datum [degree]

    Returns
    -------
    Two float64 arrays [degree]
        Shifting them again gives the input to 1e-9 degree (test_inversion_round_trip).

    Raises
    ------
    OptionInvalid
        Another datum, or a coordinate that is not a finite number.

    Notes
    -----
    p <- q - (forward(p) - p), from p = q. The shift varies by less than 1 % of a move, so each step gains two digits
    and more. On the edge of `SHIFTED` the shift jumps, and a point may have no origin there: it stays where the last
    step put it; the edge lies outside of China.
    """
    if datum not in FORWARD:
        raise OptionInvalid(f"no datum is called {datum!r}", mend=f"use one of {', '.join(DATUMS)}")
    lon, lat = _pair(lon, lat)
    if not (np.isfinite(lon).all() and np.isfinite(lat).all()):
        raise OptionInvalid(
            "a coordinate is not a finite number", mend="export the layer again, or leave empty units out"
        )
    here_lon, here_lat = lon, lat
    for _ in range(MAX_STEPS):
        there_lon, there_lat = FORWARD[datum](here_lon, here_lat)
        step_lon, step_lat = lon - there_lon, lat - there_lat
        here_lon, here_lat = here_lon + step_lon, here_lat + step_lat
        if max(np.abs(step_lon).max(initial=0.0), np.abs(step_lat).max(initial=0.0)) < TOLERANCE_DEGREE:
            break
    return here_lon, here_lat


def is_shifted_unit(code: str) -> bool:
    """Whether map vendors shift a unit: all of China but Hong Kong, Macau and Taiwan (METHOD 9.5)."""
    return code[:2] not in UNDIVIDED


def correct_geometry(geometry: Any, codes: Sequence[str], datum: Datum) -> NDArray[Any]:
    """Bring polygons in degrees of GCJ-02 or BD-09 to WGS 84.

    Parameters
    ----------
    geometry : (n,) array of shapely geometries, coordinates (lon, lat)
    codes : n codes; units of Hong Kong, Macau and Taiwan are not moved, any other text is

    Returns
    -------
    (n,) array of shapely geometries, as many vertices as before

    Raises
    ------
    As `wgs84_from`.
    """
    import shapely

    array = np.array(geometry, dtype=object, copy=True)
    moved = np.array([is_shifted_unit(code) for code in codes], dtype=bool)
    if datum == "wgs84" or not moved.any():
        return array
    lonlat = shapely.get_coordinates(array[moved])
    array[moved] = shapely.set_coordinates(array[moved], np.column_stack(wgs84_from(datum, *lonlat.T)))
    return array


# --- which datum a layer is in ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class DatumVerdict:
    """Which datum the coordinates of a layer are in, and how sure that is."""

    datum: Datum | Literal["unclear"]
    """The datum; ``unclear`` where too few units match a reference, or none of the three explains where they lie."""
    n_matched: int
    """Units that have a reference: within 2.5 km, of an area that agrees to 1 %."""
    agreement: float
    """Share of them that lie nearest to where this datum puts them, rather than one of the other two: the confidence.
    NaN without units."""
    slope: float
    """Regression of the units' offsets on the offsets of GCJ-02 (of BD-09 for ``bd09``), through the origin: 0 for
    WGS 84, 1 for the datum itself."""
    slope_error: float
    """Standard error of the slope."""
    offset_m: float
    """Median distance of the units from their references, as delivered [m]."""
    residual_m: dict[str, float]
    """The same after each datum is undone [m]."""


def match_reference(lon: Any, lat: Any, area_km2: Any) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Pair units with reference points by place and size, whatever their codes say.

    Parameters
    ----------
    lon, lat : (n,) centroids of the units [degree]; NaN where a unit has none
    area_km2 : (n,) areas [km2]

    Returns
    -------
    Indices of units, and for each the index into `reference_points` of the nearest of those within `MATCH_RADIUS_M`
    whose area agrees to `MATCH_AREA`. Units of Hong Kong, Macau and Taiwan are not among them: they are not shifted.
    """
    import shapely

    points = reference_points()
    at = np.array([(p.lon, p.lat) for p in points])
    size = np.array([p.area_km2 if is_shifted_unit(p.code) else np.nan for p in points])
    lon, lat = _pair(lon, lat)
    area = np.asarray(area_km2, dtype=np.float64)
    tree = shapely.STRtree(shapely.points(at))
    there = np.flatnonzero(np.isfinite(lon) & np.isfinite(lat))
    # Degrees of longitude are shortest in the north: the circle of the query is wide enough at 60 degrees.
    near = tree.query(shapely.points(lon[there], lat[there]), predicate="dwithin", distance=MATCH_RADIUS_M / 55_000)
    unit, point = there[near[0]], near[1]
    distance = np.hypot(*_metres(lon[unit] - at[point, 0], lat[unit] - at[point, 1], at[point, 1]))
    alike = np.abs(area[unit] - size[point]) <= MATCH_AREA * size[point]  # False where either is NaN
    keep = alike & (distance <= MATCH_RADIUS_M)
    unit, point, distance = unit[keep], point[keep], distance[keep]
    order = np.lexsort((distance, unit))
    unit, point = unit[order], point[order]
    first = np.r_[True, unit[1:] != unit[:-1]] if len(unit) else np.zeros(0, dtype=bool)
    return unit[first], point[first]


def datum_verdict(lon: Any, lat: Any, area_km2: Any) -> DatumVerdict:
    """Tell the datum of a layer from where its units lie.

    Parameters
    ----------
    lon, lat : (n,) centroids of the units, as delivered [degree]
    area_km2 : (n,) their areas [km2]

    Returns
    -------
    DatumVerdict

    Notes
    -----
    Every unit that has a reference is shifted from it by some metres east and north. Each datum predicts that shift:
    none, GCJ-02's at that place, BD-09's. The datum with the smallest median distance between shift and prediction is
    taken, if most units agree (`MIN_AGREEMENT`) and the regression of the shifts on the prediction has the slope that
    belongs to it (`MAX_SLOPE_ERROR`). Simplified borders move a centroid by about 100 m in any direction; the shift of
    GCJ-02 has one direction at each place, so few units suffice.
    """
    unit, point = match_reference(lon, lat, area_km2)
    n = len(unit)
    if n < MIN_MATCHED:
        nan = float("nan")
        return DatumVerdict("unclear", n, nan, nan, nan, nan, {})
    lon, lat = _pair(lon, lat)
    at = np.array([(p.lon, p.lat) for p in reference_points()])[point]
    shift = _metres(lon[unit] - at[:, 0], lat[unit] - at[:, 1], at[:, 1])
    predicted = {}
    for datum in DATUMS:
        moved = FORWARD[datum](at[:, 0], at[:, 1])
        predicted[datum] = _metres(moved[0] - at[:, 0], moved[1] - at[:, 1], at[:, 1])
    left = np.stack([np.hypot(*(shift - predicted[datum])) for datum in DATUMS])
    median = np.median(left, axis=1)
    best = DATUMS[int(median.argmin())]
    agreement = float((left.argmin(axis=0) == median.argmin()).mean())
    slope, error = _slope(shift, predicted["bd09" if best == "bd09" else "gcj02"], left[DATUMS.index(best)])
    sure = agreement >= MIN_AGREEMENT and abs(slope - (best != "wgs84")) <= MAX_SLOPE_ERROR
    sure = sure and error <= MAX_STANDARD_ERROR
    residual = {str(datum): float(m) for datum, m in zip(DATUMS, median, strict=True)}
    return DatumVerdict(best if sure else "unclear", n, agreement, slope, error, residual["wgs84"], residual)


def _slope(shift: Floats, predicted: Floats, left: Floats) -> tuple[float, float]:
    """Least squares through the origin over east and north together, without units far from the rest.

    A unit may match another by chance, or have lost its islands: four medians is far outside of ordinary noise.
    """
    kept = left <= 4 * np.median(left)
    y, x = shift[:, kept].ravel(), predicted[:, kept].ravel()
    xx = float(x @ x)
    slope = float(x @ y) / xx
    rest = y - slope * x
    return slope, float(np.sqrt(rest @ rest / max(len(y) - 1, 1) / xx))


def _metres(d_lon: Floats, d_lat: Floats, lat: Floats) -> Floats:
    """(2, n) metres east and north of small differences in degrees, on the ellipsoid at ``lat``."""
    phi = np.radians(lat)
    w2 = 1 - WGS84_E2 * np.sin(phi) ** 2
    normal = WGS84_A / np.sqrt(w2)
    return np.stack([np.radians(d_lon) * normal * np.cos(phi), np.radians(d_lat) * normal * (1 - WGS84_E2) / w2])


def _pair(lon: Any, lat: Any) -> tuple[Floats, Floats]:
    a, b = np.broadcast_arrays(np.asarray(lon, dtype=np.float64), np.asarray(lat, dtype=np.float64))
    return a, b
