"""How the sheet lies: upright, askew, on its side, or in a mirror, which means that two columns are swapped.

In: control points. Out: ``Orientation``. A map is drawn with east to the right of north, so from pixels (rows down) to
the ground the affine map's determinant is negative. A swap of two columns makes it positive; the turn that is left says
which.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from gis.historical.control_points import ControlPoints, ControlPointsInvalid
from gis.historical.transforms import affine_part, frame_of

FEW = 3
"""Fewer points than this have no orientation."""
FLAT = 1e-6
"""Determinant over sum of squares below which points are as good as on a line."""


@dataclass(frozen=True, slots=True)
class Orientation:
    """The affine map of the points, taken apart."""

    is_mirrored: bool
    """Whether no turn brings the sheet upright."""
    turn_degree: float
    """Turn of the scan from upright, clockwise, -180 to 180; of its mirror image if mirrored."""

    @property
    def swap(self) -> str:
        """The swap of columns that explains a mirror image best: what is left is a turn near 90, -90, 0 or 180."""
        turn = self.turn_degree
        if 45 <= turn < 135:
            return "longitude and latitude are swapped: longitude (x) comes first"
        if -135 < turn <= -45:
            return "row and column are swapped: the column (px) comes first"
        if abs(turn) < 45:
            return "rows are counted upward: write them downward from the upper edge, or give the link table as .txt"
        return "columns are counted from the right, or the scan was mirrored: give the scan as the sheet is read"


def orientation(points: ControlPoints) -> Orientation | None:
    """Find out how the sheet lies from the used points; None with fewer than three or with points on a line."""
    used = points.used()
    if len(used) < FEW:
        return None
    u, v = frame_of(used).normal(used.px, used.py)
    east = (used.lon - used.lon.mean()) * math.cos(math.radians(float(used.lat.mean())))
    linear = affine_part(u, v, np.column_stack([east, used.lat - used.lat.mean()]))[1:]
    det = float(np.linalg.det(linear))
    if abs(det) < FLAT * float((linear**2).sum()):
        return None
    # What a step right and a step UP on the scan do on the ground. Upright: (1, 0) and (0, 1). What points right on
    # a scan that was turned clockwise points up, to the north, on the ground: the turn has the sign of that angle.
    right, up = linear[0], -linear[1]
    # Of a mirror image the nearest reflection: right = (cos, sin), up = (sin, -cos).
    side = 1.0 if det > 0 else -1.0
    turn = math.atan2(right[1] + side * up[0], right[0] - side * up[1])
    return Orientation(det > 0, math.degrees(turn))


def refuse_mirrored(points: ControlPoints) -> None:
    """Refuse points that show the map in a mirror.

    Raises
    ------
    ControlPointsInvalid
        Which columns are most likely swapped.
    """
    lies = orientation(points)
    if lies is not None and lies.is_mirrored:
        raise ControlPointsInvalid(
            "the control points show the map in a mirror", where=points.source or None, mend=lies.swap
        )
