"""The unknown projection of an old map: a family, its parameters, and an affine map of the paper.

In: control points. Out: ``ProjectionTransform``: pixel = affine(projection(lon, lat)), fitted by least squares of
pixels over the family's parameters; for given parameters the affine map is linear, so the search has two dimensions at
most.

Only parameters the points can tell are searched. The affine map takes up every shift, turn and scale, and with them the
central meridian of a conic (a turn about its apex), the second standard parallel of a conformal conic (a scale) and
both parameters of the two cylindrical families (decision 0020).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from gis.crs import crs_from, transformer
from gis.historical.control_points import WGS84, ControlPoints, ControlPointsInvalid, refuse_few
from gis.historical.transforms import LeftOut, Transform, finite

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray
    from pyproj import CRS, Transformer

    Floats = NDArray[np.float64]
    Profile = Callable[[Floats], tuple[Floats, Floats]]

AFFINE_PARAMETERS = 6
UNIT = 1e6
"""Projected coordinates are handled in this unit [m], so that they are near 1."""
PREFIX = "projection:"
DIFFERENCE = 1e-4
"""Step of derivatives by a parameter [degree]: 10 m on the ground, where PROJ's forward formulas hold to 1e-9 m."""

REFINE_STEPS, HALVINGS = 20, 10
REFINED_DEGREE = 1e-6
"""A search near its minimum stops with a step below this [degree]: 0.1 m on the ground."""
FLAT = 1e-9
"""Determinant of the affine map below which it is none."""


@dataclass(frozen=True, slots=True)
class Family:
    """One family of projections and the parameters that an affine map cannot take up."""

    name: str
    """PROJ's name."""
    title: str
    """For readers."""
    parameters: tuple[str, ...]
    """Names of PROJ's parameters that are searched: ``lat_1``, ``lat_2``, ``lon_0``."""
    fixed: str
    """PROJ parameters that follow: ``{lon}`` is the points' mean longitude, ``{lat_1}`` what is searched."""


FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        Family("bonne", "Bonne", ("lat_1", "lon_0"), ""),
        Family("eqdc", "equidistant conic", ("lat_1", "lat_2"), "+lon_0={lon}"),
        Family("lcc", "Lambert conformal conic", ("lat_1",), "+lat_0={lat_1} +lon_0={lon}"),
        Family("poly", "polyconic", ("lon_0",), ""),
        Family("sinu", "sinusoidal", ("lon_0",), ""),
        Family("merc", "Mercator", (), "+lon_0={lon}"),
        Family("eqc", "equirectangular", (), "+lon_0={lon}"),
    )
}
"""Families in use for maps of countries around 1900 (METHOD 8.3)."""

LATITUDES = (1.0, 89.0)
"""Bounds of a standard parallel, in the points' hemisphere [degree]: at 0 a cone is a cylinder, at 90 a plane."""
LATITUDE_STARTS = (15.0, 35.0, 55.0)
MERIDIAN_STARTS = (-12.0, 0.0, 12.0)
"""Where searches start: parallels, and meridians from the points' mean longitude [degree]."""
MERIDIAN_REACH = 80.0
"""How far a central meridian may lie from the points' mean longitude [degree]."""


@dataclass(frozen=True, slots=True, eq=False)
class ProjectionTransform(Transform):
    """Affine map of the paper after a projection of the globe."""

    family: str
    """PROJ's name of the projection."""
    parameters: tuple[float, ...]
    """Values of the family's parameters [degree]."""
    centre_lon: float
    """Mean longitude of the points, where a central meridian is of no account [degree]."""
    affine: Floats = field(repr=False)
    """(3, 2) pixel over [1, u, v] with (u, v) the projected position [1000 km]."""

    def to_lonlat(self, px: ArrayLike, py: ArrayLike) -> tuple[Floats, Floats]:
        """Carry pixels to (lon, lat): the inverse affine map, then the inverse projection."""
        a, b = np.broadcast_arrays(np.asarray(px, np.float64), np.asarray(py, np.float64))
        uv = np.linalg.solve(self.affine[1:].T, np.stack([a.ravel(), b.ravel()]) - self.affine[0][:, None])
        proj = self._proj()
        lon, lat = finite(*proj.transform(uv[0] * UNIT, uv[1] * UNIT, direction="INVERSE"))
        # Some inverses answer beyond the edge of the map: only a place that comes back counts.
        back = np.stack(finite(*proj.transform(lon, lat))) / UNIT
        bad = ~(np.hypot(*(back - uv)) < 1e-6)
        lon, lat = np.where(bad, np.nan, lon), np.where(bad, np.nan, lat)
        return lon.reshape(a.shape), lat.reshape(a.shape)

    def to_map(self, px: ArrayLike, py: ArrayLike) -> tuple[Floats, Floats]:
        """Carry pixels to (x, y) in `crs` by way of longitude and latitude."""
        return finite(*transformer(crs_from(WGS84), self.crs).transform(*self.to_lonlat(px, py)))

    def to_pixel(self, lon: ArrayLike, lat: ArrayLike) -> tuple[Floats, Floats]:
        """Carry (lon, lat) to pixels: the projection, then the affine map; both in closed form."""
        a, b = np.broadcast_arrays(np.asarray(lon, np.float64), np.asarray(lat, np.float64))
        u, v = finite(*self._proj().transform(a, b))
        u, v = u / UNIT, v / UNIT
        m = self.affine
        return m[0, 0] + m[1, 0] * u + m[2, 0] * v, m[0, 1] + m[1, 1] * u + m[2, 1] * v

    def from_map(self, x: ArrayLike, y: ArrayLike) -> tuple[Floats, Floats]:
        """Carry (x, y) in `crs` to pixels by way of longitude and latitude."""
        return self.to_pixel(*finite(*transformer(self.crs, crs_from(WGS84)).transform(x, y)))

    def describe(self) -> dict[str, float]:
        """The projection's parameters [degree]."""
        return dict(zip(FAMILIES[self.family].parameters, self.parameters, strict=True))

    def proj_text(self) -> str:
        """PROJ string of the projection, without the affine map."""
        return _proj_text(FAMILIES[self.family], self.parameters, self.centre_lon)

    def _proj(self) -> Transformer:
        return _proj_of(self.proj_text())


def fit_projection(
    points: ControlPoints, model: str, crs: CRS, weights: Floats, start: Transform | None = None
) -> ProjectionTransform:
    """Search one family's parameters from several starts, or from those of ``start`` alone.

    Raises
    ------
    ControlPointsInvalid
        Too few points, or they leave the parameters undetermined.
    """
    family = FAMILIES[model.removeprefix(PREFIX)]
    n_free = len(family.parameters)
    refuse_few(points, model, 3 + -(-n_free // 2))
    centre = float(points.lon.mean())
    near = start if isinstance(start, ProjectionTransform) and start.family == family.name else None
    if near is not None:
        centre = near.centre_lon
    solve = _profile(points, family, centre, weights)
    best = np.zeros(0)
    if n_free:
        low, high = _bounds(family, points, centre)
        if near is not None:
            best = _refine(solve, np.array(near.parameters), low, high)
        else:
            best = _search(solve, _starts(family, points, centre), low, high)
        if family.parameters == ("lat_1", "lat_2"):
            best = np.sort(best)
    affine = solve(best)[1]
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[1:])) < FLAT:
        raise ControlPointsInvalid(
            f"the control points leave {model} undetermined",
            where=points.source or None,
            mend="add points elsewhere on the sheet, or choose affine",
        )
    values = tuple(float(value) for value in best)
    return ProjectionTransform(model, AFFINE_PARAMETERS + n_free, crs, family.name, values, centre, affine)


def leave_out_projection(points: ControlPoints, transform: ProjectionTransform) -> LeftOut:
    """Predict every point by a search among the others that starts from the whole fit's parameters."""
    family, n = FAMILIES[transform.family], len(points)
    lonlat = np.full((n, 2), np.nan)
    for i in range(n):
        weights = np.ones(n)
        weights[i] = 0.0
        solve = _profile(points, family, transform.centre_lon, weights)
        best = _refine(solve, np.array(transform.parameters), *_bounds(family, points, transform.centre_lon))
        again = replace(transform, parameters=tuple(best), affine=solve(best)[1])
        if abs(np.linalg.det(again.affine[1:])) > FLAT:  # otherwise the others do not determine it
            lonlat[i] = np.column_stack(again.to_lonlat(points.px[i : i + 1], points.py[i : i + 1]))[0]
    xy = np.column_stack(finite(*transformer(crs_from(WGS84), transform.crs).transform(*lonlat.T)))
    return LeftOut(xy, _leverage(points, transform))


def _search(solve: Profile, starts: list[Floats], low: Floats, high: Floats) -> Floats:
    """Find the least minimum that any start leads to."""
    from scipy.optimize import least_squares

    found = [
        least_squares(lambda p: solve(p)[0], np.clip(s, low + 1e-6, high - 1e-6), bounds=(low, high), x_scale=10.0)
        for s in starts
    ]
    return np.asarray(min(found, key=lambda f: float(f.cost)).x)


def _refine(solve: Profile, start: Floats, low: Floats, high: Floats) -> Floats:
    """Follow Gauss-Newton steps from a start that is near the minimum, halved where they gain nothing."""
    best = start
    residual = solve(best)[0]
    for _ in range(REFINE_STEPS if start.size else 0):
        # Forward differences suffice: an error of the slopes slows the steps down, it does not move the minimum.
        slopes = [(solve(best + step)[0] - residual) / DIFFERENCE for step in DIFFERENCE * np.eye(start.size)]
        by = np.linalg.lstsq(np.column_stack(slopes), -residual, rcond=None)[0]
        for half in range(HALVINGS):
            tried = np.clip(best + by / 2**half, low, high)
            if float(np.abs(tried - best).max()) < REFINED_DEGREE:
                return best
            new = solve(tried)[0]
            if new @ new < residual @ residual:
                best, residual = tried, new
                break
        else:
            return best
    return best


def parameter_errors(points: ControlPoints, transform: ProjectionTransform) -> Floats:
    """(n_parameters of the family,) standard error of each parameter from the fit's own residuals [degree].

    NaN where there are no more observations than parameters.
    """
    jacobian, n_free = _jacobian(points, transform), len(transform.parameters)
    px, py = transform.to_pixel(points.lon, points.lat)
    squares = float(((px - points.px) ** 2 + (py - points.py) ** 2).sum())
    spare = 2 * len(points) - transform.n_parameters
    if spare <= 0 or not n_free:
        return np.full(n_free, np.nan)
    scale = np.linalg.norm(jacobian, axis=0)
    covariance = np.linalg.pinv((jacobian / scale).T @ (jacobian / scale)) * squares / spare
    return np.sqrt(np.diag(covariance)[:n_free]) / scale[:n_free]


def _leverage(points: ControlPoints, transform: ProjectionTransform) -> Floats:
    """Diagonal of the hat matrix of the fit linearised at its solution, mean of both axes."""
    jacobian = _jacobian(points, transform)
    q, _ = np.linalg.qr(jacobian / np.linalg.norm(jacobian, axis=0))
    both = (q * q).sum(axis=1)
    n = len(points)
    return (both[:n] + both[n:]) / 2


def _jacobian(points: ControlPoints, transform: ProjectionTransform) -> Floats:
    """(2n, n_parameters) derivative of pixels: columns first, rows below, by the family's parameters, then affine."""
    family, n = FAMILIES[transform.family], len(points)
    columns = []
    for k in range(len(transform.parameters)):
        moved = []
        for step in (-DIFFERENCE, DIFFERENCE):
            values = list(transform.parameters)
            values[k] += step
            proj = _proj_of(_proj_text(family, tuple(values), transform.centre_lon))
            moved.append(_design(proj, points) @ transform.affine)
        columns.append(((moved[1] - moved[0]) / (2 * DIFFERENCE)).T.ravel())
    design = _design(transform._proj(), points)
    none = np.zeros((n, 3))
    return np.column_stack([*columns, np.vstack([design, none]), np.vstack([none, design])])


def _profile(points: ControlPoints, family: Family, centre: float, weights: Floats) -> Profile:
    """Make the function from a family's parameters to weighted pixel residuals (2n,) and the best affine map (3, 2)."""
    goal = np.column_stack([points.px, points.py])
    root = np.sqrt(weights)[:, None]
    lost = np.full(2 * len(points), 1e6)  # outside the projection's domain: far worse than any fit [px]

    def solve(parameters: Floats) -> tuple[Floats, Floats]:
        design = _design(_proj_of(_proj_text(family, tuple(parameters), centre)), points)
        if not np.isfinite(design).all():
            return lost, np.full((3, 2), np.nan)
        affine = np.linalg.lstsq(design * root, goal * root, rcond=None)[0]
        return ((design @ affine - goal) * root).ravel(), np.asarray(affine, np.float64)

    return solve


def _design(proj: Transformer, points: ControlPoints) -> Floats:
    """(n, 3) [1, u, v] of the points [1000 km]."""
    u, v = finite(*proj.transform(points.lon, points.lat))
    return np.column_stack([np.ones(u.size), u / UNIT, v / UNIT])


def _proj_text(family: Family, parameters: tuple[Any, ...], centre: float) -> str:
    values = {name: f"{value:.15g}" for name, value in zip(family.parameters, parameters, strict=True)}
    searched = " ".join(f"+{name}={value}" for name, value in values.items())
    return f"+proj={family.name} {searched} {family.fixed.format(lon=f'{centre:.15g}', **values)} +datum=WGS84 +units=m"


@lru_cache(maxsize=512)
def _proj_of(text: str) -> Transformer:
    from pyproj import Transformer

    # A fifth of the time of pyproj.Proj, which makes a CRS first; and threads may share it.
    return Transformer.from_pipeline(text)


def _starts(family: Family, points: ControlPoints, centre: float) -> list[Floats]:
    side = _hemisphere(points)
    grids = [
        [side * lat for lat in LATITUDE_STARTS] if name != "lon_0" else [centre + step for step in MERIDIAN_STARTS]
        for name in family.parameters
    ]
    starts = [np.array(values) for values in product(*grids)]
    if family.parameters == ("lat_1", "lat_2"):  # the order of the two does not matter, and equal ones are a ridge
        starts = [s for s in starts if s[0] < s[1]]
    return starts


def _bounds(family: Family, points: ControlPoints, centre: float) -> tuple[Floats, Floats]:
    side = _hemisphere(points)
    parallel = sorted(side * lat for lat in LATITUDES)
    rows = [
        (centre - MERIDIAN_REACH, centre + MERIDIAN_REACH) if name == "lon_0" else (parallel[0], parallel[1])
        for name in family.parameters
    ]
    low, high = np.array(rows, np.float64).reshape(-1, 2).T
    return low, high


def _hemisphere(points: ControlPoints) -> float:
    return 1.0 if float(points.lat.mean()) >= 0 else -1.0
