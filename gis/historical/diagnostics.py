"""What is the matter with control points and their fit: a turned sheet, a wrong point, an error that is none.

In: control points and ranked fits. Out: ``Finding`` values, gravest first. Nothing is changed or dropped.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from gis.historical.accuracy import OUTLIER, Accuracy, rivals
from gis.historical.control_points import ControlPoints
from gis.historical.orientation import orientation

TURNED = 60.0
"""From this turn on, a sheet lies on its side or on its head rather than askew [degree]."""
DOMINANT = 6.0
"""A leave-one-out error of so many times the median of all is worth a look, outlier by the rule or not."""
LOOK = "look at it on the scan and on the ground; if it is another place, disable it and say why in its note"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to know about control points."""

    severity: Literal["error", "warning", "info"]
    """``error``: no fit makes sense; ``warning``: numbers may be wrong; ``info``: worth knowing."""
    code: str
    """``mirrored``, ``turned``, ``outlier``, ``suspect``, ``interpolates``, ``few``, ``rivals``."""
    what: str
    """What is the matter."""
    mend: str
    """What to do about it; empty when nothing is to do."""


def diagnose(
    points: ControlPoints, chosen: Accuracy | None = None, ranked: tuple[Accuracy, ...] = ()
) -> tuple[Finding, ...]:
    """Name what is the matter with control points, and with a fit of them, gravest first.

    Parameters
    ----------
    chosen : the fit that is used
    ranked : all fits, best first, as `fit_all` gives them
    """
    findings = _orientation(points)
    if chosen is not None:
        findings += _wrong_points(chosen, _clearest(chosen, ranked)) + _errors_that_are_none(chosen, ranked)
    order = {"error": 0, "warning": 1, "info": 2}
    return tuple(sorted(findings, key=lambda f: order[f.severity]))


def _orientation(points: ControlPoints) -> list[Finding]:
    lies = orientation(points)
    if lies is None:
        return []
    if lies.is_mirrored:
        return [Finding("error", "mirrored", "the control points show the map in a mirror", lies.swap)]
    if abs(lies.turn_degree) < TURNED:
        return []
    way = "on its head" if abs(lies.turn_degree) > 135 else "on its side"
    clock = "clockwise" if lies.turn_degree > 0 else "counter-clockwise"
    return [
        Finding("info", "turned", f"the sheet lies {way}: turned {clock} by {abs(lies.turn_degree):.0f} degrees", "")
    ]


def _clearest(chosen: Accuracy, ranked: tuple[Accuracy, ...]) -> Accuracy:
    """The fit that outliers are judged by: the chosen one, or the best with a sigma where that one has none."""
    if math.isfinite(chosen.sigma_axis_km):
        return chosen
    return next((a for a in ranked if math.isfinite(a.sigma_axis_km)), chosen)


def _wrong_points(chosen: Accuracy, judge: Accuracy) -> list[Finding]:
    findings, loo = [], chosen.loo_km
    middle = float(np.nanmedian(loo)) if np.isfinite(loo).any() else math.nan
    for i in sorted(range(len(loo)), key=lambda i: -float(np.nan_to_num(loo[i]))):
        name = judge.ids[i]
        if judge.is_outlier[i]:
            what = (
                f"point {name} lies {judge.residual_km[i]:.1f} km from where {judge.model} puts it: "
                f"{judge.studentised[i]:.1f} sigma (threshold {OUTLIER:g}), "
                f"{loo[i]:.1f} km from where the others put it"
            )
            findings.append(Finding("warning", "outlier", what, LOOK))
        elif middle > 1e-6 and loo[i] > DOMINANT * middle:
            times = f"{loo[i] / middle:.0f} times the median"
            what = f"point {name} lies {loo[i]:.1f} km from where the others put it, {times}"
            findings.append(Finding("warning", "suspect", what, LOOK))
    if any(f.code == "outlier" for f in findings) and chosen is judge:
        what = "the ranking of models is ruled by points that may be wrong"
        findings.append(Finding("info", "outlier", what, "settle them first, then rank again"))
    return findings


def _errors_that_are_none(chosen: Accuracy, ranked: tuple[Accuracy, ...]) -> list[Finding]:
    findings = []
    for accuracy in (chosen, *(a for a in ranked if a is not chosen)):
        notes = [note for note in accuracy.notes if "RMSE 0" in note]
        severity: Literal["warning", "info"] = "warning" if accuracy is chosen else "info"
        findings += [Finding(severity, "interpolates", f"{accuracy.model} {note}", "") for note in notes]
    findings += [Finding("info", "few", note, "") for note in chosen.notes if "no point can be told" in note]
    near = rivals(ranked) if ranked and chosen is ranked[0] else ()
    if near and math.isfinite(chosen.loo_rmse_km):
        names = ", ".join(f"{a.model} ({a.loo_rmse_km:.2f} km)" for a in near)
        what = f"the points hardly tell {chosen.model} ({chosen.loo_rmse_km:.2f} km) from {names}"
        findings.append(
            Finding("info", "rivals", what, "more points near the sheet's corners, or its graticule, would")
        )
    return findings
