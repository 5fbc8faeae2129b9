"""Thin-plate splines: exact ones, which pass through every control point, and smoothed ones, which do not.

In: control points. Out: ``SplineTransform``. An exact spline's residuals are zero by construction and say nothing about
its error: only leaving points out does.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from gis.historical.control_points import ControlPoints, refuse_few
from gis.historical.transforms import (
    Frame,
    LeftOut,
    SmoothTransform,
    Transform,
    affine_part,
    frame_of,
    targets,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pyproj import CRS

    Floats = NDArray[np.float64]

SMOOTHINGS = np.logspace(-6, 2, 33)
"""Smoothing tried for ``tps_smooth``, in the units of the kernel on normalised pixels: from nearly exact to nearly
affine."""
KERNEL_CELLS = 100_000
"""Entries of the kernel held at once: its few temporaries stay in the cache."""


@dataclass(frozen=True, slots=True, eq=False)
class SplineTransform(SmoothTransform):
    """A thin plate bent over the control points; ``smoothing`` 0 passes through them."""

    smoothing: float
    """Added to the kernel's diagonal; 0 is exact."""
    nodes: Floats = field(repr=False)
    """(n, 2) control points in normalised pixels."""
    bend: Floats = field(repr=False)
    """(n, 2) weights of the kernel for x and y [m]."""
    plane: Floats = field(repr=False)
    """(3, 2) affine part over [1, u, v] [m]."""

    def values(self, u: Floats, v: Floats) -> tuple[Floats, Floats]:
        """Map normalised pixels to (x, y) less ``shift``."""
        out = np.empty((u.size, 2))
        for part in _parts(u.size, len(self.nodes)):
            kernel = _kernel(u[part, None] - self.nodes[:, 0], v[part, None] - self.nodes[:, 1])
            out[part] = kernel @ self.bend
        out += self.plane[0] + u[:, None] * self.plane[1] + v[:, None] * self.plane[2]
        return out[:, 0], out[:, 1]

    def slopes(self, u: Floats, v: Floats) -> tuple[Floats, Floats, Floats]:
        """Values and derivatives from one logarithm: that of r2 log r is (2 log r + 1) times the difference."""
        at, by_u, by_v = np.empty((3, u.size, 2))
        for part in _parts(u.size, len(self.nodes)):
            du, dv = u[part, None] - self.nodes[:, 0], v[part, None] - self.nodes[:, 1]
            r2 = du * du + dv * dv
            log = np.log(np.where(r2 > 0, r2, 1.0))
            at[part] = (0.5 * r2 * log) @ self.bend
            log += 1
            by_u[part] = (log * du) @ self.bend
            by_v[part] = (log * dv) @ self.bend
        at += self.plane[0] + u[:, None] * self.plane[1] + v[:, None] * self.plane[2]
        by_u += self.plane[1]
        by_v += self.plane[2]
        return at, by_u, by_v


def fit_spline(
    points: ControlPoints, model: str, crs: CRS, weights: Floats, start: Transform | None = None
) -> SplineTransform:
    """Fit ``tps`` or ``tps_smooth`` to used points.

    ``tps_smooth`` takes the smoothing with the smallest leave-one-out error; a ``start`` hands its own on. Weights
    divide the smoothing of their point; an exact spline has nothing for them to act on but 0.

    Raises
    ------
    ControlPointsInvalid
        Fewer than 3 points for the exact spline, 6 for the smoothed one, or all on a line.
    """
    refuse_few(points, model, 3 if model == "tps" else 6)
    frame, xy = frame_of(points), targets(points, crs)
    smoothing = 0.0
    if model == "tps_smooth":
        if isinstance(start, SplineTransform) and start.smoothing > 0:
            frame, smoothing = start.frame, start.smoothing
        else:
            smoothing = _best_smoothing(points, frame, xy, weights)
    return spline_on(points, model, crs, frame, smoothing, weights)


def spline_on(
    points: ControlPoints, model: str, crs: CRS, frame: Frame, smoothing: float, weights: Floats
) -> SplineTransform:
    """Fit a spline with a given frame and smoothing; see `fit_spline`."""
    xy = targets(points, crs)
    shift = xy.mean(axis=0)
    nodes = np.column_stack(frame.normal(points.px, points.py))
    inverse = np.linalg.inv(_system(nodes, smoothing, weights))
    n = len(nodes)
    solution = inverse[:, :n] @ (xy - shift)
    effective = 2 * (n - smoothing * (np.diag(inverse)[:n] / weights).sum())
    linear = affine_part(nodes[:, 0], nodes[:, 1], xy - shift)
    return SplineTransform(
        model, float(effective), crs, frame, shift, linear, smoothing, nodes, solution[:n], solution[n:]
    )


def leave_out_spline(points: ControlPoints, transform: SplineTransform) -> LeftOut:
    """Predict every point from the others in closed form, frame and smoothing held.

    Notes
    -----
    With B the point block of the inverse of the spline's system, the error of leaving i out is (B y)_i / B_ii, smoothed
    or exact. Source: Rippa (1999), Adv. Comput. Math. 11, 193-210, for interpolation; the same algebra holds with a
    constant on the diagonal. Oracle: test_leave_one_out_in_closed_form_is_refitting.
    """
    xy = targets(points, transform.crs)
    nodes = np.column_stack(transform.frame.normal(points.px, points.py))
    n = len(nodes)
    inverse = np.linalg.inv(_system(nodes, transform.smoothing, np.ones(n)))
    own = np.diag(inverse)[:n].copy()
    with np.errstate(divide="ignore", invalid="ignore"):
        left = transform.bend / own[:, None]
    # Without the point the others lie on a line, or are too few: B_ii is 0 up to rounding.
    left[np.abs(own) < 1e-9 * np.abs(inverse[:n, :n]).max(initial=0.0)] = np.nan
    if n <= 3:
        left[:] = np.nan
    return LeftOut(xy - left, 1 - transform.smoothing * own)


def _best_smoothing(points: ControlPoints, frame: Frame, xy: Floats, weights: Floats) -> float:
    nodes = np.column_stack(frame.normal(points.px, points.py))
    n, goal = len(nodes), xy - xy.mean(axis=0)
    errors = []
    for smoothing in SMOOTHINGS:
        inverse = np.linalg.inv(_system(nodes, smoothing, weights))[:n, :n]
        left = (inverse @ goal) / np.diag(inverse)[:, None]
        errors.append(float((weights[:, None] * left**2).sum()))
    return float(SMOOTHINGS[int(np.argmin(errors))])


def _system(nodes: Floats, smoothing: float, weights: Floats) -> Floats:
    """(n + 3, n + 3) matrix of the spline: the kernel with its diagonal, bordered by the plane."""
    n = len(nodes)
    matrix = np.zeros((n + 3, n + 3))
    matrix[:n, :n] = _kernel(nodes[:, None, 0] - nodes[:, 0], nodes[:, None, 1] - nodes[:, 1])
    matrix[np.arange(n), np.arange(n)] += smoothing / weights
    matrix[:n, n:] = np.column_stack([np.ones(n), nodes])
    matrix[n:, :n] = matrix[:n, n:].T
    return matrix


def _kernel(du: Floats, dv: Floats) -> Floats:
    """The thin plate's kernel r2 log r, 0 at 0. Source: Duchon (1977)."""
    r2 = du * du + dv * dv
    return np.asarray(0.5 * r2 * np.log(np.where(r2 > 0, r2, 1.0)))


def _parts(n_values: int, n_nodes: int) -> list[slice]:
    step = max(1, KERNEL_CELLS // max(1, n_nodes))
    return [slice(first, first + step) for first in range(0, n_values, step)]
