"""A scan georeferenced: control points settled, models measured and ranked, one chosen, and what is to be said of it.

In: control points, a model's name, the scan's size. Out: ``Georeference``, and its two tables. No file is written here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gis.errors import OptionInvalid
from gis.historical.accuracy import Accuracy, assess, fit_all, offsets_km
from gis.historical.control_points import ControlPoints, refuse_outside
from gis.historical.diagnostics import Finding, diagnose
from gis.historical.graticule import (
    NAMED_BY_SHEET,
    MeridianEstimate,
    counted_from,
    estimate_meridian,
    has_graticule,
    prime_meridian,
)
from gis.historical.models import MODELS
from gis.historical.orientation import refuse_mirrored
from gis.historical.projection_search import PREFIX, ProjectionTransform, parameter_errors

if TYPE_CHECKING:
    import pandas as pd

AUTO, PROJECTION = "auto", "projection"
"""Choose among all models, or among the projection families, by leave-one-out error."""
ESTIMATE = "estimate"
"""Estimate the prime meridian from towns."""


@dataclass(frozen=True, slots=True, eq=False)
class Georeference:
    """Everything known after fitting."""

    points: ControlPoints
    """The points as fitted: graticule longitudes counted from Greenwich."""
    chosen: Accuracy
    """The model the outputs are made with."""
    ranked: tuple[Accuracy, ...]
    """All models that could be fitted, smallest leave-one-out error first; the chosen one among them."""
    findings: tuple[Finding, ...]
    """What is to be said, gravest first."""
    meridian: MeridianEstimate | None
    """Estimate of the sheet's prime meridian, where it was asked for."""


def georeference(
    points: ControlPoints,
    model: str = AUTO,
    *,
    size: tuple[int, int] | None = None,
    meridian: str | None = None,
    crs: Any = None,
) -> Georeference:
    """Fit every model, choose one, and say what is the matter.

    Parameters
    ----------
    model : ``auto``, ``projection``, or a name of `MODELS`
    size : (height, width) of the scan [px]; points outside it are refused
    meridian : what graticule points are counted from: a name, a number of degrees, or ``estimate``
    crs : projected CRS to fit in

    Raises
    ------
    ControlPointsInvalid
        Points outside the scan, in a mirror, too few, or on a line.
    OptionInvalid
        No such model; graticule points without a meridian, or a meridian without graticule points.
    """
    if size is not None:
        refuse_outside(points, size)
    estimate = None
    if has_graticule(points) != (meridian is not None):
        if meridian is not None:
            raise OptionInvalid(
                f"the prime meridian {meridian} is for graticule points, of which there are none",
                where=points.source or None,
                mend="leave out --meridian, or give points of the sheet's graticule the kind graticule",
            )
        raise OptionInvalid(
            "graticule points carry the longitude the sheet prints: from which prime meridian?",
            where=points.source or None,
            mend=f"say which ring of figures was read: --meridian {NAMED_BY_SHEET}",
        )
    if meridian == ESTIMATE:
        estimate = estimate_meridian(points)
        points = counted_from(points, estimate.offset_degree)
    elif meridian is not None:
        points = counted_from(points, prime_meridian(meridian))
    refuse_mirrored(points)
    chosen, ranked = _choose(points, model, crs)
    return Georeference(points, chosen, ranked, diagnose(points, chosen, ranked), estimate)


def _choose(points: ControlPoints, model: str, crs: Any) -> tuple[Accuracy, tuple[Accuracy, ...]]:
    if model not in (AUTO, PROJECTION):
        chosen = assess(points, model, crs=crs)
        others = fit_all(points, [name for name in MODELS if name != model], crs=crs) if len(points) > 2 else ()
        ranked = (*others, chosen)
        return chosen, tuple(sorted(ranked, key=lambda a: (not math.isfinite(a.loo_rmse_km), a.loo_rmse_km)))
    ranked = fit_all(points, crs=crs)
    if model == AUTO:
        return ranked[0], ranked
    families = [a for a in ranked if a.model.startswith(PREFIX)]
    if not families:
        fit_all(points, [name for name in MODELS if name.startswith(PREFIX)], crs=crs)  # says why not
    return families[0], ranked


def model_rows(result: Georeference) -> pd.DataFrame:
    """Table ``georeference``: one row per model, best first."""
    import pandas as pd

    rows = [
        {
            "transform_model": a.model,
            "rank_loo": rank,
            "is_chosen": a is result.chosen,
            "n_points_fitted": a.n_points,
            "n_parameters": float(a.n_parameters),
            "rmse_km": a.rmse_km,
            "sigma_axis_km": a.sigma_axis_km,
            "loo_rmse_km": a.loo_rmse_km,
            "loo_median_km": a.loo_median_km,
            "loo_p90_km": a.loo_p90_km,
            "block_rmse_km": a.block_rmse_km,
            "n_points_check": a.n_check,
            "check_rmse_km": a.check_rmse_km,
            "n_outliers": len(a.outliers),
            "map_parameters": parameters_text(result.points, a),
            "transform_notes": "; ".join(a.notes),
        }
        for rank, a in enumerate(result.ranked, start=1)
    ]
    return pd.DataFrame(rows)


def point_rows(result: Georeference) -> pd.DataFrame:
    """Table ``control_point``: one row per point, used or not, with what the chosen model makes of it."""
    import pandas as pd

    points, a = result.points, result.chosen
    east, north = offsets_km(points.lon, points.lat, *a.transform.to_lonlat(points.px, points.py))
    fitted = {name: np.full(len(points), np.nan) for name in ("loo_east_km", "loo_north_km", "leverage", "studentised")}
    used = points.is_used
    for name, column in fitted.items():
        column[used] = getattr(a, name)
    outlier = np.full(len(points), None, dtype=object)
    outlier[used] = [bool(flag) for flag in a.is_outlier]
    return pd.DataFrame(
        {
            "point_id": list(points.ids), "px": points.px, "py": points.py, "lon": points.lon, "lat": points.lat,
            "is_enabled": points.enabled, "point_role": list(points.role), "point_kind": list(points.kind),
            "sigma_px": points.sigma_px, "residual_east_km": east, "residual_north_km": north,
            "residual_km": np.hypot(east, north), "loo_east_km": fitted["loo_east_km"],
            "loo_north_km": fitted["loo_north_km"],
            "loo_km": np.hypot(fitted["loo_east_km"], fitted["loo_north_km"]), "leverage": fitted["leverage"],
            "studentised": fitted["studentised"], "is_outlier": outlier, "point_note": list(points.note),
        }
    )  # fmt: skip


def parameters_text(points: ControlPoints, accuracy: Accuracy) -> str:
    """Name the parameters a reader can check, with standard errors where they are known: ``lat_1 40.1 (0.6)``."""
    values = accuracy.transform.describe()
    errors: list[float] = [math.nan] * len(values)
    if isinstance(accuracy.transform, ProjectionTransform):
        errors = list(parameter_errors(points.used(), accuracy.transform))
    parts = [
        f"{name} {value:.4g}" if math.isnan(error) else f"{name} {value:.2f} ({error:.2f})"
        for (name, value), error in zip(values.items(), errors, strict=True)
    ]
    return ", ".join(parts)
