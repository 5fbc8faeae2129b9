"""Points of the sheet's own graticule, and the prime meridian its longitudes are counted from.

In: control points of kind ``graticule``, with the longitude the sheet prints, and towns with modern positions. Out: the
same points with longitudes from Greenwich, and an estimate of the prime meridian where the sheet does not name it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from gis.crs import crs_from
from gis.errors import OptionInvalid
from gis.historical.accuracy import fit_all
from gis.historical.control_points import WGS84, ControlPoints, ControlPointsInvalid
from gis.historical.models import fit

PRIME_MERIDIANS: dict[str, float] = {
    "greenwich": 0.0,
    "paris": 2.3372291667,
    "ferro": -17.6666667,
    "ferro-paris": -17.6627708,
    "pulkovo": 30.3278,
    "peking-axis": 116.391,
    "peking-observatory": 116.43,
}
"""Longitude from Greenwich [degree]: Paris 2 20' 14.025" (PROJ's ``paris``); Ferro 17 40' west, or by convention 20
degrees west of Paris; Pulkovo's round hall; Peking's city axis, or its old observatory (METHOD 8.4)."""

PEKING_PRIOR = (116.41, 0.04)
"""Mean and standard deviation of what "Peking" means on a map of the time [degree] (METHOD 8.4)."""

NAMED_BY_SHEET = "greenwich, paris, ferro, ferro-paris, pulkovo, peking-axis, peking-observatory, a number, or estimate"


@dataclass(frozen=True, slots=True)
class MeridianEstimate:
    """Prime meridian of a sheet, from its graticule and its towns."""

    offset_degree: float
    """Posterior mean: longitude from Greenwich of the sheet's prime meridian."""
    sd_degree: float
    """Posterior standard deviation."""
    towns_degree: float
    """The towns alone: mean of modern longitude minus the sheet's."""
    towns_sd_degree: float
    """Standard error of that mean."""
    n_towns: int
    """How many towns."""
    prior: tuple[float, float]
    """Mean and standard deviation assumed before looking [degree]."""
    latitude_shift_degree: float
    """Mean of modern latitude minus the sheet's: near 0 unless the drawing is shifted as a whole."""
    model: str
    """Model fitted to the graticule."""


def prime_meridian(name: str) -> float:
    """Longitude of a prime meridian by its name or as a number [degree from Greenwich].

    Raises
    ------
    OptionInvalid
        Neither a known name nor a number between -180 and 180.
    """
    key = name.strip().lower().replace(" ", "-").replace("_", "-")
    if key in PRIME_MERIDIANS:
        return PRIME_MERIDIANS[key]
    try:
        value = float(key)
    except ValueError:
        value = math.nan
    if not -180 <= value <= 180:
        raise OptionInvalid(f"no prime meridian {name!r}", mend=f"one of {NAMED_BY_SHEET}")
    return value


def has_graticule(points: ControlPoints) -> bool:
    """Whether an enabled point is of kind ``graticule``: somebody must then say which meridian it is counted from."""
    return bool(_is_graticule(points)[points.enabled].any())


def counted_from(points: ControlPoints, offset_degree: float) -> ControlPoints:
    """Add the prime meridian's longitude to that of graticule points; towns and coasts are modern and stay.

    Raises
    ------
    ControlPointsInvalid
        Graticule points that are not in longitude and latitude.
    """
    graticule = _is_graticule(points)
    if not graticule.any() or offset_degree == 0:
        return points
    if not points.crs.is_geographic:
        raise ControlPointsInvalid(
            "graticule points must be in longitude and latitude, as the sheet prints them",
            where=points.source or None,
            mend="give lon and lat in degrees for points of kind graticule",
        )
    lon = np.where(graticule, (points.lon + offset_degree + 180) % 360 - 180, points.lon)
    return replace(points, x=lon, y=points.lat, crs=crs_from(WGS84))


def estimate_meridian(
    points: ControlPoints, *, prior: tuple[float, float] = PEKING_PRIOR, model: str | None = None
) -> MeridianEstimate:
    """Estimate the prime meridian: fit the graticule, read the towns off it, compare with where they are.

    Parameters
    ----------
    points : graticule points as printed, and towns with modern positions; only used ones count
    prior : mean and standard deviation [degree]; a wide one leaves it to the towns
    model : fitted to the graticule; default: the projection family with the smallest leave-one-out error

    Raises
    ------
    ControlPointsInvalid
        No towns, or too few graticule points.
    OptionInvalid
        A standard deviation that is not positive.

    Notes
    -----
    Old latitudes need no shift at this accuracy; the mean shift in latitude is given as a check. The prior and the mean
    of the towns are combined by their inverse variances (METHOD 8.4).
    """
    if not prior[1] > 0:
        raise OptionInvalid(f"a prior of standard deviation {prior[1]:g}", mend="give a positive one, 0.04 for Peking")
    used = points.used()
    graticule = _is_graticule(used)
    lines, towns = counted_from(used.take(graticule), prior[0]), used.take(~graticule)
    if len(towns) < 2:
        raise ControlPointsInvalid(
            f"{len(towns)} towns: the prime meridian is estimated from towns with modern positions",
            where=points.source or None,
            mend="digitise some towns too, or name the meridian: --meridian " + NAMED_BY_SHEET,
        )
    families = [name for name in _families() if model is None or name == model]
    transform = fit_all(lines, families)[0].transform if families else fit(lines, str(model))
    lon, lat = transform.to_lonlat(towns.px, towns.py)
    east, north = (towns.lon - lon + 180) % 360 - 180, towns.lat - lat
    mean, error = prior[0] + float(east.mean()), float(east.std(ddof=1) / math.sqrt(len(towns)))
    weights = np.array([1 / prior[1] ** 2, 1 / max(error, 1e-12) ** 2])
    offset = float((weights * [prior[0], mean]).sum() / weights.sum())
    return MeridianEstimate(
        offset, float(weights.sum() ** -0.5), mean, error, len(towns), prior, float(north.mean()), transform.model
    )


def _families() -> list[str]:
    from gis.historical.models import MODELS

    return [name for name in MODELS if name.startswith("projection:")]


def _is_graticule(points: ControlPoints) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    return np.array([kind == "graticule" for kind in points.kind], dtype=bool)
