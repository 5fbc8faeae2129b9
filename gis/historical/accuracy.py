"""How far a fitted model is from the truth: residuals, leave-one-out, leave-one-region-out, outliers; and the ranking.

In: control points and a model. Out: ``Accuracy``, all lengths in kilometres on the ellipsoid. RMSE alone flatters: a
model with as many parameters as points has none. The error of points that were left out is what a position read off the
map will have, so it ranks the models.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from gis.errors import OptionInvalid
from gis.historical.control_points import ControlPoints, ControlPointsInvalid
from gis.historical.models import MODELS, fit, leave_one_out, model_named
from gis.historical.orientation import refuse_mirrored
from gis.historical.transforms import Transform, finite

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pyproj import Geod

    Floats = NDArray[np.float64]
    Bools = NDArray[np.bool_]

OUTLIER = 3.5
"""A residual of more than so many sigma sqrt(1 - h) is reported as an outlier (METHOD 8.3)."""
N_BLOCKS = 8
"""Regions of the leave-one-region-out error, fewer where a region would have less than two points."""
INTERPOLATES = 0.5
"""A fit with less than this many spare observations (2n - p) interpolates: its residuals say nothing."""
WEAK_GAIN = 1.1
"""Leave-one-out errors within 10 % of the best are not told apart by some dozens of points."""


@dataclass(frozen=True, slots=True, eq=False)
class Accuracy:
    """One model and what its points say about its error; n points were fitted."""

    transform: Transform
    """The model, fitted to all used points."""
    rmse_km: float
    """Root mean square residual, as QGIS and ArcGIS give it: falls with every parameter, 0 for an exact spline."""
    sigma_axis_km: float
    """Unbiased standard deviation per axis, sqrt(sum r2 / (2n - p)); NaN where nothing is spare."""
    loo_rmse_km: float
    """Root mean square error of points predicted from the others; NaN where some point is not determined by them."""
    loo_median_km: float
    """Median of the same."""
    loo_p90_km: float
    """90th percentile of the same."""
    block_rmse_km: float
    """The same with whole regions left out: the error away from control points; NaN where a region cannot be spared."""
    check_rmse_km: float
    """Root mean square error at the check points, which are never fitted; NaN without any."""
    n_check: int
    """How many check points."""
    ids: tuple[str, ...] = field(repr=False)
    """(n,) names of the fitted points."""
    px: Floats = field(repr=False)
    """(n,) column [px]."""
    py: Floats = field(repr=False)
    """(n,) row, down [px]."""
    lon: Floats = field(repr=False)
    """(n,) true longitude [degree]."""
    lat: Floats = field(repr=False)
    """(n,) true latitude [degree]."""
    residual_east_km: Floats = field(repr=False)
    """(n,) fitted minus true, east."""
    residual_north_km: Floats = field(repr=False)
    """(n,) fitted minus true, north."""
    loo_east_km: Floats = field(repr=False)
    """(n,) predicted from the others minus true, east; NaN where they do not determine it."""
    loo_north_km: Floats = field(repr=False)
    """(n,) predicted from the others minus true, north."""
    leverage: Floats = field(repr=False)
    """(n,) how much a point decides its own fitted position: 0 to 1."""
    studentised: Floats = field(repr=False)
    """(n,) residual over sigma sqrt(1 - leverage); NaN where sigma is."""
    is_outlier: Bools = field(repr=False)
    """(n,) studentised above 3.5: to be looked at; nothing is dropped."""
    notes: tuple[str, ...] = field(repr=False)
    """What to read beside the numbers."""

    @property
    def model(self) -> str:
        """Name of the model."""
        return self.transform.model

    @property
    def n_points(self) -> int:
        """How many points were fitted."""
        return len(self.ids)

    @property
    def n_parameters(self) -> float:
        """Parameters of the model; the effective number for a smoothed spline."""
        return self.transform.n_parameters

    @property
    def residual_km(self) -> Floats:
        """(n,) length of the residual."""
        return np.hypot(self.residual_east_km, self.residual_north_km)

    @property
    def loo_km(self) -> Floats:
        """(n,) length of the leave-one-out error."""
        return np.hypot(self.loo_east_km, self.loo_north_km)

    @property
    def outliers(self) -> tuple[str, ...]:
        """Names of the outliers, worst first."""
        order = np.argsort(-np.nan_to_num(self.studentised))
        return tuple(self.ids[i] for i in order if self.is_outlier[i])


def assess(points: ControlPoints, model: str, *, crs: Any = None) -> Accuracy:
    """Fit one model to the used points and measure its error; see `gis.historical.fit` for what is refused.

    Raises
    ------
    ControlPointsInvalid
        The points show the map in a mirror: two columns are swapped.
    """
    refuse_mirrored(points)
    transform = fit(points, model, crs=crs)
    used, check = points.used(), points.take(points.is_check)
    residual = offsets_km(used.lon, used.lat, *transform.to_lonlat(used.px, used.py))
    left = leave_one_out(points, transform)
    loo = offsets_km(used.lon, used.lat, *_lonlat_of(transform, left.xy))
    block = _leave_regions_out(points, transform, crs)
    checked = offsets_km(check.lon, check.lat, *transform.to_lonlat(check.px, check.py))

    n, spare = len(used), 2 * len(used) - transform.n_parameters
    squares = float((residual**2).sum())
    sigma = math.sqrt(squares / spare) if spare > INTERPOLATES else math.nan
    length, loo_length = np.hypot(*residual), np.hypot(*loo)
    with np.errstate(divide="ignore", invalid="ignore"):
        studentised = length / (sigma * np.sqrt(1 - np.minimum(left.leverage, 1.0)))
    if sigma < 1e-9:  # exact points: what is left is rounding
        studentised = np.zeros(n)
    return Accuracy(
        transform=transform,
        rmse_km=math.sqrt(squares / n),
        sigma_axis_km=sigma,
        loo_rmse_km=_rms(loo_length),
        loo_median_km=float(np.median(loo_length)),
        loo_p90_km=float(np.quantile(loo_length, 0.9)),
        block_rmse_km=_rms(np.hypot(*block)),
        check_rmse_km=_rms(np.hypot(*checked)),
        n_check=len(check),
        ids=used.ids,
        px=used.px,
        py=used.py,
        lon=used.lon,
        lat=used.lat,
        residual_east_km=residual[0],
        residual_north_km=residual[1],
        loo_east_km=loo[0],
        loo_north_km=loo[1],
        leverage=left.leverage,
        studentised=studentised,
        is_outlier=studentised > OUTLIER,
        notes=_notes(transform, n, sigma, loo_length),
    )


def fit_all(points: ControlPoints, models: Iterable[str] | None = None, *, crs: Any = None) -> tuple[Accuracy, ...]:
    """Measure several models and rank them by their leave-one-out error, smallest first; undetermined ones last.

    Parameters
    ----------
    models : names of `MODELS`; default: all. Models with too few points for them are left out.

    Raises
    ------
    OptionInvalid
        An unknown model, or none is asked for.
    ControlPointsInvalid
        Not one of the models can be fitted: the reason of the first.
    """
    names = list(MODELS if models is None else models)
    if not names:
        raise OptionInvalid("no model is asked for", mend=f"one or several of {', '.join(MODELS)}")
    for name in names:
        model_named(name)
    found, refused = [], []
    for name in names:
        try:
            found.append(assess(points, name, crs=crs))
        except ControlPointsInvalid as error:
            refused.append(error)
    if not found:
        raise refused[0]
    return tuple(sorted(found, key=lambda a: (not math.isfinite(a.loo_rmse_km), a.loo_rmse_km)))


def rivals(ranked: tuple[Accuracy, ...]) -> tuple[Accuracy, ...]:
    """Models whose leave-one-out error is within a tenth of the best one's: the points do not tell them apart."""
    best = ranked[0].loo_rmse_km
    return tuple(a for a in ranked[1:] if a.loo_rmse_km <= WEAK_GAIN * best)


def blocks(points: ControlPoints, n_blocks: int = N_BLOCKS) -> NDArray[np.int64]:
    """Cut points into regions of about equal numbers by halving the longer side at its median, again and again.

    Returns
    -------
    (n,) region of each point, 0, 1, ...; fewer than ``n_blocks`` where one would get less than two points.
    """
    block = np.zeros(len(points), np.int64)
    while int(block.max(initial=0)) + 1 < n_blocks:
        sizes = np.bincount(block)
        largest = int(np.argmax(sizes))
        members = np.flatnonzero(block == largest)
        if members.size < 4:
            break
        px, py = points.px[members], points.py[members]
        along = px if np.ptp(px) >= np.ptp(py) else py
        upper = members[np.argsort(along, kind="stable")[members.size // 2 :]]
        block[upper] = int(block.max()) + 1
    return block


def offsets_km(lon: Floats, lat: Floats, other_lon: Floats, other_lat: Floats) -> Floats:
    """(2, n) east and north [km] from (lon, lat) to the other position, along the geodesic on WGS 84."""
    if not np.size(lon):
        return np.zeros((2, 0))
    bad = ~(np.isfinite(other_lon) & np.isfinite(other_lat))
    there_lon, there_lat = np.where(bad, lon, other_lon), np.where(bad, lat, other_lat)
    azimuth, _, distance = geod().inv(lon, lat, there_lon, there_lat)
    angle = np.radians(azimuth)
    out = np.stack([np.sin(angle), np.cos(angle)]) * np.asarray(distance) / 1000.0
    out[:, bad] = np.nan
    return np.asarray(out, np.float64)


@lru_cache(maxsize=1)
def geod() -> Geod:
    """The ellipsoid on which distances are measured."""
    from pyproj import Geod

    return Geod(ellps="WGS84")


def _leave_regions_out(points: ControlPoints, transform: Transform, crs: Any) -> Floats:
    """(2, n) error of each used point predicted from the points of all other regions [km]; NaN where they are too few.

    Searches begin at the whole fit's result; a smoothed spline keeps its smoothing.
    """
    used = points.used()
    block, out = blocks(used), np.full((2, len(used)), np.nan)
    for k in range(int(block.max()) + 1):
        inside = block == k
        try:
            again = fit(used.take(~inside), transform.model, crs=crs or transform.crs, start=transform)
        except ControlPointsInvalid:
            continue  # the region cannot be spared
        lonlat = again.to_lonlat(used.px[inside], used.py[inside])
        out[:, inside] = offsets_km(used.lon[inside], used.lat[inside], *lonlat)
    return out


def _lonlat_of(transform: Transform, xy: Floats) -> tuple[Floats, Floats]:
    from gis.crs import crs_from, transformer
    from gis.historical.control_points import WGS84

    return finite(*transformer(transform.crs, crs_from(WGS84)).transform(xy[:, 0], xy[:, 1]))


def _rms(lengths: Floats) -> float:
    return float(np.sqrt((lengths**2).mean())) if lengths.size else math.nan


def _notes(transform: Transform, n: int, sigma: float, loo: Floats) -> tuple[str, ...]:
    notes = []
    spare = 2 * n - transform.n_parameters
    if spare <= INTERPOLATES:
        error = f"leaving points out, it errs by {_rms(loo):.1f} km" if np.isfinite(loo).all() else "no error is known"
        notes.append(f"passes through all {n} points by construction: RMSE 0 is not accuracy; {error}")
    elif spare <= OUTLIER**2:
        # |r|2 / (sigma2 (1 - h)) cannot exceed 2n - p: with so few points no residual can pass the threshold.
        notes.append(f"only {spare:.0f} spare observations: no point can be told an outlier; look at leave-one-out")
    if transform.model == "tps_smooth":
        notes.append("its smoothing was chosen for the smallest leave-one-out error, which is therefore a little low")
    if not np.isfinite(loo).all():
        notes.append("a point is not determined by the others: there is no leave-one-out error")
    return tuple(notes)
