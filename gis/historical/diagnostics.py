"""What is the matter with control points: swapped columns, a mirrored or turned sheet, one wrong point.

In: control points and, where there is one, a fit. Out: ``Finding`` values, gravest first. Nothing is changed or dropped.

A map drawn as maps are has east to the right of north: from pixels (rows down) to the ground, the affine map's
determinant is negative. A swap of two columns makes it positive; the turn that is left says which columns.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from gis.historical.accuracy import OUTLIER, Accuracy
from gis.historical.control_points import ControlPoints, ControlPointsInvalid
from gis.historical.transforms import affine_part, frame_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

TURNED = 60.0
"""From this turn on, a sheet lies on its side or on its head rather than askew [degree]."""
FEW = 3
"""Fewer points than this have no orientation."""
DOMINANT = 6.0
"""A leave-one-out error of so many times the median of all is worth a look, outlier by the rule or not."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to know about control points."""

    severity: Literal["error", "warning", "info"]
    """``error``: no fit makes sense; ``warning``: numbers may be wrong; ``info``: worth knowing."""
    code: str
    """``mirrored``, ``turned``, ``outlier``, ``suspect``, ``interpolates``, ``rivals``."""
    what: str
    """What is the matter."""
    mend: str
    """What to do about it; empty when nothing is to do."""


@dataclass(frozen=True, slots=True)
class Orientation:
    """How the sheet lies: the affine map of the points, taken apart."""

    is_mirrored: bool
    """Whether no turn brings the sheet upright: two columns are swapped, or rows are counted upward."""
    turn_degree: float
    """Turn from upright, counter-clockwise on the ground, -180 to 180; of the mirror image if mirrored."""


def orientation(points: ControlPoints) -> Orientation | None:
    """Find out how the sheet lies from the used points; None with fewer than three or with points on a line."""
    used = points.used()
    if len(used) < FEW:
        return None
    u, v = frame_of(used).normal(used.px, used.py)
    east = (used.lon - used.lon.mean()) * math.cos(math.radians(float(used.lat.mean())))
    linear = affine_part(u, v, np.column_stack([east, used.lat - used.lat.mean()]))[1:]
    det = float(np.linalg.det(linear))
    if abs(det) < 1e-6 * float((linear**2).sum()):
        return None
    # Columns of the map: what a step right, and a step UP, do on the ground. Upright: (1, 0) and (0, 1).
    right, up = linear[0], -linear[1]
    if det < 0:
        turn = math.atan2(right[1] - up[0], right[0] + up[1])
    else:  # nearest reflection: right = (cos, sin), up = (sin, -cos)
        turn = math.atan2(right[1] + up[0], right[0] - up[1])
    return Orientation(det > 0, math.degrees(turn))


def orientation_findings(points: ControlPoints) -> list[Finding]:
    """Say whether the sheet is mirrored (error) or lies on its side or head (info)."""
    lies = orientation(points)
    if lies is None:
        return []
    if lies.is_mirrored:
        return [Finding("error", "mirrored", "the control points show the map in a mirror", _unmirror(lies))]
    if abs(lies.turn_degree) >= TURNED:
        way = "on its head" if abs(lies.turn_degree) > 135 else "on its side"
        # On the ground counter-clockwise: what points right on the scan points there; the sheet was turned the other way.
        clock = "clockwise" if lies.turn_degree > 0 else "counter-clockwise"
        what = f"the sheet lies {way}: turned by {abs(lies.turn_degree):.0f} degrees {clock}"
        return [Finding("info", "turned", what, "")]
    return []


def refuse_mirrored(points: ControlPoints) -> None:
    """Refuse points that show the map in a mirror.

    Raises
    ------
    ControlPointsInvalid
        Which columns are most likely swapped.
    """
    for finding in orientation_findings(points):
        if finding.severity == "error":
            raise ControlPointsInvalid(finding.what, where=points.source or None, mend=finding.mend)


def diagnose(points: ControlPoints, accuracy: Accuracy | None = None) -> tuple[Finding, ...]:
    """Name what is the matter with control points, and with a fit of them, gravest first."""
    findings = orientation_findings(points)
    if accuracy is not None:
        findings += _wrong_points(accuracy)
        findings += [Finding("warning", "interpolates", note, "") for note in accuracy.notes if "RMSE 0" in note]
    order = {"error": 0, "warning": 1, "info": 2}
    return tuple(sorted(findings, key=lambda f: order[f.severity]))


def _unmirror(lies: Orientation) -> str:
    """Which swap explains a mirror image best: what is left of it is a turn near 90, -90, 0 or 180 degrees."""
    turn = lies.turn_degree
    if 45 <= turn < 135:
        return "longitude and latitude are swapped: longitude (x) comes first"
    if -135 < turn <= -45:
        return "row and column are swapped: the column (px) comes first"
    if abs(turn) < 45:
        return "rows are counted upward: write them downward from the upper edge, or read an ArcGIS link table as such"
    return "columns are counted from the right, or the scan was mirrored: give the scan as the sheet is read"


def _wrong_points(accuracy: Accuracy) -> list[Finding]:
    findings, loo = [], accuracy.loo_km
    middle = float(np.nanmedian(loo)) if np.isfinite(loo).any() else math.nan
    mend = "look at it on the scan and on the ground; if it is another place, disable it and say why in its note"
    order = sorted(range(len(loo)), key=lambda i: -np.nan_to_num(loo[i]))
    for i in order:
        where = f"point {accuracy.ids[i]} lies {accuracy.residual_km[i]:.1f} km from where {accuracy.model} puts it"
        apart = f"{loo[i]:.1f} km from where the others put it"
        if accuracy.is_outlier[i]:
            rule = f"{accuracy.studentised[i]:.1f} sigma, the threshold is {OUTLIER:g}"
            findings.append(Finding("warning", "outlier", f"{where} ({rule}), {apart}", mend))
        elif loo[i] > DOMINANT * middle and loo[i] > 1e-6 and middle > 0:
            findings.append(Finding("warning", "suspect", f"{where}, {apart}: {loo[i] / middle:.0f} times as far as usual", mend))
    return findings
