"""Transforms from the scan to the ground: what they all can do, and the ones that are linear in their parameters.

In: control points. Out: frozen ``Transform`` values: similarity, affine, polynomials of order 2 and 3. All are fitted
in a projected CRS, in metres: a degree of longitude is not a length (METHOD 8.3).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from gis.crs import ASIA_NORTH_LAMBERT, crs_from, transformer
from gis.errors import CrsInvalid
from gis.historical.control_points import WGS84, ControlPoints, ControlPointsInvalid, refuse_few

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray
    from pyproj import CRS

    Floats = NDArray[np.float64]

EAST_ASIA = (60.0, -5.0, 155.0, 65.0)
"""West, south, east, north [degree]: where ESRI:102027 is the CRS to fit in; its scale there is 0.905 to 1.27."""

NEWTON_STEPS = 50
NEWTON_PX = 1e-4
"""An inverse is found with the first step below this [px]: steps shrink by their square, so what is left after it is
below 1e-8 px (test_every_transform_is_undone_by_its_inverse)."""

ORDERS = {"affine": 1, "poly2": 2, "poly3": 3}
"""Polynomial models and their order; order o has (o + 1)(o + 2) parameters."""


@dataclass(frozen=True, slots=True)
class Frame:
    """Where pixels are centred and how they are scaled before fitting, so that powers stay near 1."""

    px: float
    """Centre, column [px]."""
    py: float
    """Centre, row [px]."""
    half_px: float
    """Half the larger extent of the points [px]."""

    def normal(self, px: ArrayLike, py: ArrayLike) -> tuple[Floats, Floats]:
        """Normalise (px, py); within the points both are in [-1, 1]."""
        u, v = np.broadcast_arrays(np.asarray(px, np.float64), np.asarray(py, np.float64))
        return (u - self.px) / self.half_px, (v - self.py) / self.half_px


@dataclass(frozen=True, slots=True, eq=False)
class Transform:
    """From pixels of the scan to the ground. Subclasses hold the parameters."""

    model: str
    """Name of the model, as `gis.historical.fit` takes it."""
    n_parameters: float
    """Parameters fitted, for both axes together; the effective number for a smoothed spline."""
    crs: CRS
    """Projected CRS of `to_map`."""

    def to_map(self, px: ArrayLike, py: ArrayLike) -> tuple[Floats, Floats]:
        """Carry pixels (column, row DOWN) to (x, y) in `crs` [m]; NaN where the model has no answer."""
        raise NotImplementedError

    def to_lonlat(self, px: ArrayLike, py: ArrayLike) -> tuple[Floats, Floats]:
        """Carry pixels (column, row DOWN) to (lon, lat) on WGS 84 [degree]; NaN where there is no answer."""
        x, y = self.to_map(px, py)
        return finite(*transformer(self.crs, crs_from(WGS84)).transform(x, y))

    def to_pixel(self, lon: ArrayLike, lat: ArrayLike) -> tuple[Floats, Floats]:
        """Carry (lon, lat) on WGS 84 [degree] to pixels (column, row DOWN): the inverse of `to_lonlat`."""
        return self.from_map(*transformer(crs_from(WGS84), self.crs).transform(*_plain(lon, lat)))

    def from_map(self, x: ArrayLike, y: ArrayLike) -> tuple[Floats, Floats]:
        """Carry (x, y) in `crs` to pixels: the inverse of `to_map`."""
        raise NotImplementedError

    def describe(self) -> dict[str, float]:
        """Name the parameters a reader can check against the sheet; empty where they mean nothing by themselves."""
        return {}


@dataclass(frozen=True, slots=True, eq=False)
class SmoothTransform(Transform):
    """A transform given in closed form from pixels to the ground only; the way back is Newton's."""

    frame: Frame
    """Normalisation of pixels."""
    shift: Floats = field(repr=False)
    """(2,) subtracted from (x, y) before fitting, so that nothing is lost to their size [m]."""
    linear: Floats = field(repr=False)
    """(3, 2) least-squares affine part over [1, u, v]: where Newton's method starts [m]."""

    def values(self, u: Floats, v: Floats) -> tuple[Floats, Floats]:
        """Map normalised pixels, (m,) each, to (x, y) less ``shift``."""
        raise NotImplementedError

    def slopes(self, u: Floats, v: Floats) -> tuple[Floats, Floats, Floats]:
        """(m, 2) each: (x, y) less ``shift`` at normalised pixels, and its derivatives by u and by v."""
        raise NotImplementedError

    def to_map(self, px: ArrayLike, py: ArrayLike) -> tuple[Floats, Floats]:
        """Carry pixels to (x, y) in `crs`; see `Transform.to_map`."""
        u, v = self.frame.normal(px, py)
        x, y = self.values(u.ravel(), v.ravel())
        return (x + self.shift[0]).reshape(u.shape), (y + self.shift[1]).reshape(u.shape)

    def from_map(
        self, x: ArrayLike, y: ArrayLike, *, start: tuple[Floats, Floats] | None = None
    ) -> tuple[Floats, Floats]:
        """Carry (x, y) to pixels by Newton's method; NaN where it finds none, beyond a fold for example.

        Parameters
        ----------
        start : pixels to begin at, of the shape of (x, y); default: where the affine part puts them

        Notes
        -----
        A polynomial or a spline may fold the sheet far from its points: several pixels then share one place, and the
        one nearest to the affine part's answer is given.
        """
        a, b = np.broadcast_arrays(np.asarray(x, np.float64), np.asarray(y, np.float64))
        target = np.stack([a.ravel() - self.shift[0], b.ravel() - self.shift[1]])
        if start is None:
            u, v = np.linalg.solve(self.linear[1:].T, target - self.linear[0][:, None])
        else:
            u, v = (np.array(s, np.float64).ravel() for s in self.frame.normal(*start))
        open_ = np.flatnonzero(np.isfinite(u) & np.isfinite(v))
        found = np.zeros(u.shape, bool)
        with np.errstate(all="ignore"):
            for _ in range(NEWTON_STEPS):
                if not open_.size:
                    break
                du, dv = self._newton_step(u[open_], v[open_], target[:, open_])
                # A long step has left the region where the slopes say anything: half the sheet at most.
                length = np.hypot(du, dv)
                damp = np.minimum(1.0, 1.0 / np.maximum(length, 1e-300))
                u[open_] -= damp * du
                v[open_] -= damp * dv
                done = length * self.frame.half_px < NEWTON_PX
                found[open_[done]] = True
                open_ = open_[~done & np.isfinite(length)]
        u, v = np.where(found, u, np.nan), np.where(found, v, np.nan)
        scale = self.frame.half_px
        return (u * scale + self.frame.px).reshape(a.shape), (v * scale + self.frame.py).reshape(a.shape)

    def _newton_step(self, u: Floats, v: Floats, target: Floats) -> tuple[Floats, Floats]:
        at, by_u, by_v = self.slopes(u, v)
        (xu, yu), (xv, yv) = by_u.T, by_v.T
        ex, ey = at[:, 0] - target[0], at[:, 1] - target[1]
        det = xu * yv - xv * yu
        return (ex * yv - ey * xv) / det, (ey * xu - ex * yu) / det


@dataclass(frozen=True, slots=True, eq=False)
class PolynomialTransform(SmoothTransform):
    """x and y as polynomials of the pixel: similarity, affine, and orders 2 and 3."""

    order: int
    """Highest total power."""
    coefficients: Floats = field(repr=False)
    """((order + 1)(order + 2) / 2, 2) coefficients of the terms of `terms` for x and y [m]."""

    def values(self, u: Floats, v: Floats) -> tuple[Floats, Floats]:
        """Map normalised pixels to (x, y) less ``shift``."""
        out = terms(u, v, self.order) @ self.coefficients
        return out[:, 0], out[:, 1]

    def slopes(self, u: Floats, v: Floats) -> tuple[Floats, Floats, Floats]:
        """Values and derivatives; see `SmoothTransform.slopes`."""
        by_u, by_v = np.zeros((2, u.size, len(self.coefficients)))
        for k, (i, j) in enumerate(powers(self.order)):
            if i:
                by_u[:, k] = i * u ** (i - 1) * v**j
            if j:
                by_v[:, k] = j * u**i * v ** (j - 1)
        c = self.coefficients
        return terms(u, v, self.order) @ c, by_u @ c, by_v @ c

    def describe(self) -> dict[str, float]:
        """Metres per pixel across and down, and the turn of the sheet, of the linear part."""
        jacobian = self.linear[1:] / self.frame.half_px
        return {
            "metres_per_px_across": float(np.hypot(*jacobian[0])),
            "metres_per_px_down": float(np.hypot(*jacobian[1])),
            "turn_degree": float(np.degrees(np.arctan2(jacobian[0, 1], jacobian[0, 0]))),
        }


# --- fitting ----------------------------------------------------------------------------------------------------------


def fit_crs(points: ControlPoints, crs: Any = None) -> CRS:
    """Choose the projected CRS to fit in: the one asked for, ESRI:102027 in East Asia, else one centred on the points.

    Raises
    ------
    CrsInvalid
        The CRS asked for is not projected, or does not reach the points.
    """
    if crs is None:
        west, south, east, north = EAST_ASIA
        used = points.is_used
        lon, lat = points.lon[used], points.lat[used]
        if lon.size and not ((lon >= west) & (lon <= east) & (lat >= south) & (lat <= north)).all():
            return crs_from(f"+proj=laea +lat_0={lat.mean():.4f} +lon_0={lon.mean():.4f} +datum=WGS84 +units=m")
        return crs_from(ASIA_NORTH_LAMBERT)
    chosen = crs_from(crs)
    if not chosen.is_projected:
        raise CrsInvalid(
            f"{chosen.name} is not projected: a fit in degrees weighs east and north differently",
            mend="fit in ESRI:102027, or leave the CRS of the fit out",
        )
    return chosen


def targets(points: ControlPoints, crs: CRS) -> Floats:
    """(n, 2) ground positions in ``crs`` [its unit].

    Raises
    ------
    CrsInvalid
        A point has no image in ``crs``.
    """
    xy = np.column_stack(transformer(crs_from(WGS84), crs).transform(points.lon, points.lat))
    bad = np.flatnonzero(~np.isfinite(xy).all(axis=1))
    if bad.size:
        raise CrsInvalid(
            f"point {points.ids[bad[0]]} has no image in {crs.name}",
            where=points.source or None,
            mend="leave the CRS of the fit out: it is then centred on the points",
        )
    return xy


def frame_of(points: ControlPoints) -> Frame:
    """Centre and half the extent of the points on the scan."""
    low = np.array([points.px.min(), points.py.min()])
    high = np.array([points.px.max(), points.py.max()])
    centre, half = (low + high) / 2, float((high - low).max() / 2)
    return Frame(float(centre[0]), float(centre[1]), half if half > 0 else 1.0)


def powers(order: int) -> list[tuple[int, int]]:
    """Exponents (of u, of v) of a full polynomial, by total power: 1, u, v, u2, uv, v2, ..."""
    return [(total - j, j) for total in range(order + 1) for j in range(total + 1)]


def terms(u: Floats, v: Floats, order: int) -> Floats:
    """(m, n_terms) values of the terms of a full polynomial at normalised pixels."""
    return np.column_stack([u**i * v**j for i, j in powers(order)])


def affine_part(u: Floats, v: Floats, xy: Floats, weights: Floats | None = None) -> Floats:
    """(3, 2) least-squares affine map over [1, u, v]."""
    root = np.ones(u.size) if weights is None else np.sqrt(weights)
    return np.asarray(np.linalg.lstsq(terms(u, v, 1) * root[:, None], xy * root[:, None], rcond=None)[0])


def fit_polynomial(points: ControlPoints, model: str, crs: CRS, weights: Floats) -> PolynomialTransform:
    """Fit an affine map or a polynomial of order 2 or 3 to used points by least squares.

    Raises
    ------
    ControlPointsInvalid
        Too few points, on a line, or on a conic (order 2) or cubic (order 3) that leaves the fit undetermined.
    """
    order = ORDERS[model]
    n_terms = (order + 1) * (order + 2) // 2
    refuse_few(points, model, n_terms)
    frame, xy = frame_of(points), targets(points, crs)
    shift = xy.mean(axis=0)
    u, v = frame.normal(points.px, points.py)
    root = np.sqrt(weights)[:, None]
    coefficients, _, rank, _ = np.linalg.lstsq(terms(u, v, order) * root, (xy - shift) * root, rcond=1e-10)
    if rank < n_terms:
        raise ControlPointsInvalid(
            f"the control points leave {model} undetermined: they lie on one curve of order {order}, or too few weigh",
            where=points.source or None,
            mend="add points elsewhere on the sheet, or choose affine",
        )
    linear = coefficients if order == 1 else affine_part(u, v, xy - shift, weights)
    return PolynomialTransform(model, 2 * n_terms, crs, frame, shift, linear, order, coefficients)


def fit_similarity(points: ControlPoints, model: str, crs: CRS, weights: Floats) -> PolynomialTransform:
    """Fit shift, turn and one scale (4 parameters); never a mirror image, since rows run down and northings up."""
    refuse_few(points, model, 2, on_a_line=True)
    frame, xy = frame_of(points), targets(points, crs)
    shift = xy.mean(axis=0)
    design, goal = similarity_design(*frame.normal(points.px, points.py)), xy - shift
    root = np.sqrt(weights)
    solution = np.linalg.lstsq(design * root[:, None], (goal[:, 0] + 1j * goal[:, 1]) * root, rcond=None)[0]
    b, a = solution  # x + iy = b + a (u - iv)
    coefficients = np.array([[b.real, b.imag], [a.real, a.imag], [a.imag, -a.real]])
    return PolynomialTransform(model, 4, crs, frame, shift, coefficients, 1, coefficients)


def similarity_design(u: Floats, v: Floats) -> NDArray[np.complex128]:
    """(n, 2) complex design of a similarity: a turn and a scale are one complex factor of u - iv."""
    return np.column_stack([np.ones(u.size), u - 1j * v])


@dataclass(frozen=True, slots=True, eq=False)
class LeftOut:
    """Where each fitted point would be put by a fit to the others."""

    xy: Floats
    """(n, 2) predicted positions in the transform's CRS; NaN where the others do not determine the fit."""
    leverage: Floats
    """(n,) share of its own position in a point's fitted one: 0 to 1."""


def leave_out_linear(points: ControlPoints, transform: PolynomialTransform) -> LeftOut:
    """Predict every point from the others in closed form: the residual over 1 - h (METHOD 8.3).

    Exact for least squares; the oracle refits (test_leave_one_out_in_closed_form_is_refitting).
    """
    u, v = transform.frame.normal(points.px, points.py)
    # The frame of the others is another one, but the space of polynomials it spans is the same: so is the fit.
    similar = transform.model == "similarity"
    design = similarity_design(u, v) if similar else terms(u, v, transform.order)
    q, _ = np.linalg.qr(design)
    leverage = (np.abs(q) ** 2).sum(axis=1)
    xy = targets(points, transform.crs)
    fitted = np.column_stack(transform.to_map(points.px, points.py))
    with np.errstate(divide="ignore", invalid="ignore"):
        left = (xy - fitted) / (1 - leverage)[:, None]
    left[leverage > 1 - 1e-9] = np.nan  # the point carries its parameters alone: nothing predicts it
    return LeftOut(xy - left, leverage)


def finite(a: Any, b: Any) -> tuple[Floats, Floats]:
    """Turn PROJ's inf into NaN, in both of a pair."""
    x, y = np.asarray(a, np.float64), np.asarray(b, np.float64)
    bad = ~(np.isfinite(x) & np.isfinite(y))
    return np.where(bad, np.nan, x), np.where(bad, np.nan, y)


def _plain(lon: ArrayLike, lat: ArrayLike) -> tuple[Floats, Floats]:
    a, b = np.broadcast_arrays(np.asarray(lon, np.float64), np.asarray(lat, np.float64))
    return a, b
