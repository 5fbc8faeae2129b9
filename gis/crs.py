"""Coordinate reference systems: Asia North Lambert, its area factors, and the one CRS-equality check.

In: CRS descriptions of any kind, geographic or projected coordinates. Out: ``pyproj.CRS``, scale factors, cell-area
densities, densified and transformed geometry. Every coordinate pair here is (x, y) or (lon, lat), in that order.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from gis.errors import CrsInvalid, CrsMissing

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pyproj import CRS, Transformer

ASIA_NORTH_LAMBERT = "ESRI:102027"
"""Asia North Lambert Conformal Conic, the paper's projection. Source: ESRI projection engine, code 102027."""

ASIA_NORTH_LAMBERT_PROJ = (
    "+proj=lcc +lat_0=30 +lon_0=95 +lat_1=15 +lat_2=65 +x_0=0 +y_0=0 +datum=WGS84 +units=m +no_defs +type=crs"
)
"""The same by parameters, for PROJ databases without the ESRI authority."""

WGS84_A = 6378137.0
"""Semi-major axis [m]. Source: EPSG:7030."""
WGS84_F = 1 / 298.257223563
"""Flattening. Source: EPSG:7030."""
WGS84_E2 = WGS84_F * (2 - WGS84_F)
"""First eccentricity squared."""
WGS84_E = math.sqrt(WGS84_E2)

LAMBERT_PARALLELS = (15.0, 65.0)
"""Standard parallels of ESRI:102027 [degree north]: the scale is 1 there and below 1 between them."""

MAX_SEGMENT_DEGREE = 0.01
"""Longest edge left undivided when a polygon changes CRS, in a geographic CRS [degree] (METHOD 1.4)."""
MAX_SEGMENT_METRE = 1000.0
"""The same in a projected CRS [m] (METHOD 1.4)."""

DERIVATIVE_STEP = 0.02
"""Step of the differences in `area_density` [degree]: truncation (h/R)^4 ~ 1e-14, rounding 1e-16 * 1e7 m / 2e3 m."""
ROUND_TRIP_METRE = 1.0
"""A point that comes back further away than this lies outside its projection's domain [m]."""


def crs_from(value: Any, *, where: object = None) -> CRS:
    """Read a CRS from anything that names one: ``"ESRI:102027"``, an EPSG int, WKT, a ``pyproj.CRS``.

    Raises
    ------
    CrsMissing
        ``value`` is None or empty.
    CrsInvalid
        PROJ does not know it. ``EPSG:102027`` is refused with the right authority in the mend line.
    """
    from pyproj import CRS
    from pyproj.exceptions import CRSError

    if value is None or (isinstance(value, str) and not value.strip()):
        raise CrsMissing(
            "no coordinate reference system is given", where=where, mend='name it, for example crs = "EPSG:4326"'
        )
    if isinstance(value, CRS):
        return value
    try:
        return CRS.from_user_input(value)
    except CRSError as error:
        text = str(value).strip()
        if text.upper() == ASIA_NORTH_LAMBERT:
            return CRS.from_user_input(ASIA_NORTH_LAMBERT_PROJ)
        mend = "use an authority code such as EPSG:4326 or ESRI:102027, or WKT"
        if text.upper().startswith("EPSG:102") or text.startswith("102"):
            mend = f'ESRI codes have the authority ESRI: crs = "ESRI:{text.rsplit(":", 1)[-1]}"'
        raise CrsInvalid(f"PROJ does not know the CRS {text!r}", where=where, mend=mend) from error


def same_crs(a: Any, b: Any) -> bool:
    """Whether two CRS put the same numbers in the same place, axis order and names aside.

    This is the one CRS-equality check of the package. Coordinates are always handled as (x, y), so the axis order
    of a definition is ignored. CGCS2000 (EPSG:4490) equals WGS 84 below 1 m but is a different datum: not the same;
    `transformer` carries it over by PROJ's ballpark step, which is exact to that metre (METHOD 9.5).
    """
    left, right = crs_from(a), crs_from(b)
    if left == right or left.equals(right, ignore_axis_order=True):
        return True
    # GeoTIFF and .prj files come back with other names and without authority codes; the PROJ string has neither.
    return _signature(left) == _signature(right)


@lru_cache(maxsize=256)
def _signature(crs: CRS) -> str:
    """PROJ string with its terms sorted, and the datum where the string names an ellipsoid only."""
    import warnings

    from pyproj.exceptions import CRSError

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # "you will lose information": wanted here
        try:
            text = crs.to_proj4()
        except CRSError:  # a local CRS has none
            text = ""
    if not text:
        return crs.to_wkt()
    terms = sorted(text.split())
    if not any(term.startswith(("+datum=", "+towgs84=", "+nadgrids=")) for term in terms):
        # Beijing 1954, New Beijing and Pulkovo 1942 are one string, "+ellps=krass", and lie up to 100 m apart.
        name = crs.datum.name.lower().removesuffix(" ensemble") if crs.datum else ""
        terms.append("" if name.startswith(("unknown", "unnamed", "not specified")) else name)
    return " ".join(terms)


def crs_name(crs: Any) -> str:
    """Name a CRS as ``AUTHORITY:CODE`` where it has one, else by its own name."""
    value = crs_from(crs)
    authority = value.to_authority(min_confidence=100)
    return ":".join(authority) if authority else value.name


@lru_cache(maxsize=64)
def transformer(source: CRS, target: CRS) -> Transformer:
    """Make the (x, y) -> (x, y) transformer from one CRS to another; axis order is always east, north."""
    from pyproj import Transformer

    return Transformer.from_crs(source, target, always_xy=True)


# --- Asia North Lambert in closed form (METHOD 1.2; Snyder 1987, Map Projections, eq. 14-15, 15-9, 15-8) ---------


def _m(phi: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.cos(phi) / np.sqrt(1 - WGS84_E2 * np.sin(phi) ** 2)


def _t(phi: NDArray[np.float64]) -> NDArray[np.float64]:
    sin = WGS84_E * np.sin(phi)
    return np.tan(np.pi / 4 - phi / 2) / ((1 - sin) / (1 + sin)) ** (WGS84_E / 2)


@lru_cache(maxsize=1)
def lambert_cone() -> tuple[float, float]:
    """Cone constant n and factor F of ESRI:102027 (both dimensionless)."""
    phi = np.radians(np.array(LAMBERT_PARALLELS))
    m, t = _m(phi), _t(phi)
    n = float((np.log(m[0]) - np.log(m[1])) / (np.log(t[0]) - np.log(t[1])))
    return n, float(m[0] / (n * t[0] ** n))


def lambert_scale(lat: Any) -> NDArray[np.float64]:
    """Linear scale factor k of ESRI:102027 at geodetic latitude ``lat`` [degree]; k**2 is the areal factor.

    Conformal: k is the same in every direction and depends on latitude alone. Source: Snyder (1987) eq. 15-9.
    """
    phi = np.radians(np.asarray(lat, dtype=np.float64))
    n, f = lambert_cone()
    return n * f * _t(phi) ** n / _m(phi)


def authalic_q(sin_lat: Any) -> NDArray[np.float64]:
    """Snyder's q as METHOD 1.4 writes it: the ellipsoid's area between equator and latitude is a^2/2 * q per radian."""
    s = np.asarray(sin_lat, dtype=np.float64)
    es = WGS84_E * s
    return (1 - WGS84_E2) * (s / (1 - es * es) + np.arctanh(es) / WGS84_E)


def area_density(crs: CRS, x: Any, y: Any) -> NDArray[np.float64]:
    """True area on the ellipsoid per unit of map area at points (x, y) of a projected CRS [m2 per CRS unit squared].

    Returns
    -------
    float64 of the shape x and y have together. NaN outside the projection's domain and at a pole; on some
    maps PROJ takes a point within a kilometre of a pole for the pole.

    Raises
    ------
    CrsInvalid
        The CRS has no geodetic base, a local engineering CRS for example.

    Notes
    -----
    The Jacobian of the forward projection, by fourth-order differences in longitude and latitude: forward formulas
    are closed and exact to rounding, so the error is below 1e-11 relative (test_area_density_*).
    Source: the areal scale of Tissot's indicatrix, Snyder (1987) ch. 4.
    """
    geodetic, ellipsoid = crs.geodetic_crs, crs.ellipsoid
    if geodetic is None or ellipsoid is None or crs.is_geocentric:
        raise CrsInvalid(f"{crs.name} is not a map of the earth", mend="give the raster a projected or geographic CRS")
    a = ellipsoid.semi_major_metre
    e2 = 1 - (ellipsoid.semi_minor_metre / a) ** 2
    x, y = np.broadcast_arrays(np.asarray(x, np.float64), np.asarray(y, np.float64))
    xy = np.stack([x.ravel(), y.ravel()])
    lonlat = _moved(transformer(crs, geodetic), xy)
    forward = transformer(geodetic, crs)
    here = _moved(forward, lonlat)
    with np.errstate(divide="ignore", invalid="ignore"):
        # Some inverses answer anywhere (sinusoidal, conic) and wrap the longitude: only a point that returns counts.
        inside = np.hypot(*(here - xy)) <= ROUND_TRIP_METRE / metres_per_unit(crs)
        lonlat[:, ~inside] = np.nan
        # Towards a pole the step shrinks: it must not cross it, and maps with a line for a pole are steep there.
        step = np.minimum(DERIVATIVE_STEP, (90.0 - np.abs(lonlat[1])) / 64)
        by_lon = _derivative(forward, lonlat, here, np.stack([np.full(step.shape, DERIVATIVE_STEP), 0 * step]))
        by_lat = _derivative(forward, lonlat, here, np.stack([0 * step, step]))
        jacobian = np.abs(by_lon[0] * by_lat[1] - by_lat[0] * by_lon[1])
        phi = np.radians(lonlat[1])
        w2 = 1 - e2 * np.sin(phi) ** 2
        element = a * a * (1 - e2) * np.cos(phi) / (w2 * w2)  # M N cos(phi)
        density = element / jacobian
    density[~np.isfinite(density)] = np.nan
    return np.asarray(density.reshape(x.shape))


def _moved(move: Transformer, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """(2, n) points in another CRS; NaN where PROJ has no answer (it says inf)."""
    out = np.stack(move.transform(points[0], points[1]))
    out[~np.isfinite(out)] = np.nan
    return out


def _derivative(
    forward: Transformer, lonlat: NDArray[np.float64], here: NDArray[np.float64], step: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(2, n) derivative of (x, y) along ``step`` [degree], per radian; central, one-sided at the map's edge."""
    p = {s: _moved(forward, lonlat + s * step) for s in (-2, -1, 1, 2)}
    slope = (p[-2] - 8 * p[-1] + 8 * p[1] - p[2]) / 12
    # Beyond the antimeridian of the projection the map has no point or goes on at its other edge: a leap.
    ahead, behind = np.hypot(*(p[2] - here)), np.hypot(*(p[-2] - here))
    edge = np.flatnonzero(~((ahead < 2 * behind) & (behind < 2 * ahead)) & np.isfinite(here[0]))
    if edge.size:
        side = np.where((ahead[edge] < behind[edge]) | np.isnan(behind[edge]), 1.0, -1.0)
        q = [_moved(forward, lonlat[:, edge] + s * side * step[:, edge]) for s in (1, 2, 3, 4)]
        slope[:, edge] = side * (-25 * here[:, edge] + 48 * q[0] - 36 * q[1] + 16 * q[2] - 3 * q[3]) / 12
    return np.asarray(slope / np.radians(np.hypot(*step)))


def transform_geometry(geometry: Any, source: CRS, target: CRS) -> Any:
    """Carry geometries to another CRS after densifying them, so that straight edges stay where they were.

    Parameters
    ----------
    geometry : array of shapely geometries, coordinates (x, y) in ``source``.

    Returns
    -------
    Array of shapely geometries in ``target``. Equal CRS: returned unchanged, no vertex added.

    Raises
    ------
    CrsInvalid
        A vertex has no finite image in ``target``.
    """
    import shapely

    if same_crs(source, target):
        return geometry
    step = MAX_SEGMENT_DEGREE if source.is_geographic else MAX_SEGMENT_METRE / metres_per_unit(source)
    dense = shapely.segmentize(geometry, step)
    move = transformer(source, target)
    xy = shapely.get_coordinates(dense)
    out = np.column_stack(move.transform(xy[:, 0], xy[:, 1]))
    if not np.isfinite(out).all():
        bad = xy[~np.isfinite(out).all(axis=1)][0]
        raise CrsInvalid(
            f"the point ({bad[0]:.6g}, {bad[1]:.6g}) of {source.name} has no image in {target.name}",
            mend="check that the layer's CRS is the one its coordinates are in",
        )
    return shapely.set_coordinates(np.array(dense, dtype=object, copy=True), out)


def metres_per_unit(crs: CRS) -> float:
    """Metres in one unit of a projected CRS."""
    return float(crs.axis_info[0].unit_conversion_factor) if crs.axis_info else 1.0
