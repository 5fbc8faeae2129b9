"""The projective transform: a flat sheet photographed at an angle.

In: control points. Out: ``ProjectiveTransform``, 8 parameters, fitted by least squares of ground distances.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from gis.historical.control_points import ControlPoints, ControlPointsInvalid, refuse_few
from gis.historical.transforms import Frame, LeftOut, Transform, affine_part, frame_of, targets

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray
    from pyproj import CRS

    Floats = NDArray[np.float64]

N_PARAMETERS = 8


@dataclass(frozen=True, slots=True, eq=False)
class ProjectiveTransform(Transform):
    """x = (a0 + a1 u + a2 v) / (1 + g u + h v), y likewise over the same denominator."""

    frame: Frame
    """Normalisation of pixels."""
    shift: Floats = field(repr=False)
    """(2,) subtracted from (x, y) before fitting [m]."""
    homography: Floats = field(repr=False)
    """(3, 3) matrix from (u, v, 1) to homogeneous (x, y, 1) less ``shift``; the last entry is 1."""

    def to_map(self, px: ArrayLike, py: ArrayLike) -> tuple[Floats, Floats]:
        """Carry pixels to (x, y); NaN on and beyond the horizon of the photograph."""
        u, v = self.frame.normal(px, py)
        x, y = _apply(self.homography, u, v)
        return x + self.shift[0], y + self.shift[1]

    def from_map(self, x: ArrayLike, y: ArrayLike) -> tuple[Floats, Floats]:
        """Carry (x, y) to pixels by the inverse matrix."""
        a, b = np.broadcast_arrays(np.asarray(x, np.float64), np.asarray(y, np.float64))
        inverse = np.linalg.inv(self.homography)
        # Brought to 1 at the image of the frame's centre, so that a positive denominator is this side of the horizon.
        inverse = inverse / (inverse[2] @ np.array([*self.homography[:2, 2], 1.0]))
        u, v = _apply(inverse, a - self.shift[0], b - self.shift[1])
        return u * self.frame.half_px + self.frame.px, v * self.frame.half_px + self.frame.py


def fit_projective(
    points: ControlPoints, model: str, crs: CRS, weights: Floats, start: Transform | None = None
) -> ProjectiveTransform:
    """Fit a projective transform to used points.

    Raises
    ------
    ControlPointsInvalid
        Fewer than 4 points, or three of four on a line.
    """
    from scipy.optimize import least_squares

    refuse_few(points, model, 4)
    frame, xy = frame_of(points), targets(points, crs)
    shift = xy.mean(axis=0)
    u, v = frame.normal(points.px, points.py)
    goal, root = xy - shift, np.sqrt(weights)
    scale = float(np.abs(goal).max())

    def residuals(parameters: Floats) -> Floats:
        x, y = _apply(_homography(parameters), u, v, strict=False)
        return np.concatenate([(x - goal[:, 0] / scale) * root, (y - goal[:, 1] / scale) * root])

    if isinstance(start, ProjectiveTransform):
        first = _in_frame(start, frame, shift, scale)
    else:
        plane = affine_part(u, v, goal / scale, weights)
        first = np.concatenate([plane[:, 0], plane[:, 1], [0.0, 0.0]])
    found = least_squares(residuals, first, xtol=1e-14, ftol=1e-14, gtol=1e-14, x_scale="jac", max_nfev=500)
    homography = _homography(found.x)
    homography[:2] *= scale
    denominator = 1 + homography[2, 0] * u + homography[2, 1] * v
    if np.linalg.matrix_rank(found.jac, tol=1e-9) < N_PARAMETERS or (denominator <= 1e-6).any():
        raise ControlPointsInvalid(
            "the control points leave the projective transform undetermined: too many of them lie on a line",
            where=points.source or None,
            mend="add points elsewhere on the sheet, or choose affine",
        )
    return ProjectiveTransform(model, N_PARAMETERS, crs, frame, shift, homography)


def leave_out_projective(points: ControlPoints, transform: ProjectiveTransform) -> LeftOut:
    """Predict every point by a fit to the others, one by one."""
    n = len(points)
    xy = np.full((n, 2), np.nan)
    for i in range(n):
        others = points.take(np.arange(n) != i)
        try:
            again = fit_projective(others, transform.model, transform.crs, np.ones(n - 1), transform)
        except ControlPointsInvalid:
            continue  # the others do not determine it
        xy[i] = np.column_stack(again.to_map(points.px[i : i + 1], points.py[i : i + 1]))[0]
    return LeftOut(xy, _leverage(points, transform))


def _leverage(points: ControlPoints, transform: ProjectiveTransform) -> Floats:
    """Diagonal of the hat matrix of the fit linearised at its solution, mean of both axes."""
    u, v = transform.frame.normal(points.px, points.py)
    h = transform.homography
    w = 1 + h[2, 0] * u + h[2, 1] * v
    base = np.column_stack([np.ones(u.size), u, v]) / w[:, None]
    x, y = _apply(h, u, v)
    none = np.zeros_like(base)
    by_x = np.column_stack([base, none, -(x * u / w), -(x * v / w)])
    by_y = np.column_stack([none, base, -(y * u / w), -(y * v / w)])
    jacobian = np.vstack([by_x, by_y])
    q, _ = np.linalg.qr(jacobian / np.linalg.norm(jacobian, axis=0))
    both = (q * q).sum(axis=1)
    return (both[: u.size] + both[u.size :]) / 2


def _homography(parameters: Floats) -> Floats:
    a, b, c = parameters[:3], parameters[3:6], parameters[6:]
    return np.array([[a[1], a[2], a[0]], [b[1], b[2], b[0]], [c[0], c[1], 1.0]])


def _apply(matrix: Floats, u: Floats, v: Floats, *, strict: bool = True) -> tuple[Floats, Floats]:
    w = matrix[2, 0] * u + matrix[2, 1] * v + matrix[2, 2]
    if strict:
        w = np.where(w > 0, w, np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        x = (matrix[0, 0] * u + matrix[0, 1] * v + matrix[0, 2]) / w
        y = (matrix[1, 0] * u + matrix[1, 1] * v + matrix[1, 2]) / w
    return x, y


def _in_frame(start: ProjectiveTransform, frame: Frame, shift: Floats, scale: float) -> Floats:
    """Parameters of an earlier fit in another frame, shift and scale."""
    ratio, old = frame.half_px / start.frame.half_px, start.frame
    move = np.array(
        [
            [ratio, 0, (frame.px - old.px) / old.half_px],
            [0, ratio, (frame.py - old.py) / old.half_px],
            [0, 0, 1.0],
        ]
    )
    dx, dy = start.shift - shift
    back = np.array([[1 / scale, 0, dx / scale], [0, 1 / scale, dy / scale], [0, 0, 1.0]])
    h = back @ start.homography @ move
    h /= h[2, 2]
    return np.array([h[0, 2], h[0, 0], h[0, 1], h[1, 2], h[1, 0], h[1, 1], h[2, 0], h[2, 1]])
