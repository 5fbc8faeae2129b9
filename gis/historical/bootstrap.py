"""How far the counts depend on the map's errors: draws of control points and of positions, reassigned each time.

In: offices, cities, and how to refit the transform. Out: ``CountDraws``: counts of every city in every draw. Errors of
control points move neighbouring offices together, so they are drawn apart from the errors of single offices
(METHOD 8.6).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from gis.errors import GisError, OptionInvalid
from gis.graph import run_tasks
from gis.historical.assignment import NOWHERE, SNAP_SIGMAS, CityLookup, assign_hard, displaced
from gis.historical.offices import Locates, Offices

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Refit = Callable[[NDArray[np.float64]], Locates]

DrawKind = Literal["points", "positions", "both"]
"""Draw control points (refit), positions around the fitted ones, or both."""

DEFAULT_DRAWS = 200
"""Source: METHOD 8.6."""
REDRAWS = 100
"""How often a resample that no transform can be fitted to is drawn again before that is an error."""


@dataclass(frozen=True, slots=True)
class CountDraws:
    """Counts of every city in every draw."""

    codes: tuple[str, ...]
    """Cities."""
    counts: Floats = field(repr=False)
    """(n_draws, n_cities) offices in the city, by the rule of the point estimate (polygon, else nearest)."""
    kind: DrawKind = "both"
    """What was drawn."""
    seed: int = 0
    """The same seed gives the same draws, whatever the number of threads."""
    n_redrawn: int = 0
    """Resamples of control points that no transform could be fitted to, and that were drawn again."""

    def share_roots(self, codes: tuple[str, ...]) -> Floats:
        """(n_draws, n_cities) n_i / sqrt(S): the product of two cities' is their share n_i n_j / S in that draw.

        NaN in a draw without two cities that have an office (S = 0).
        """
        place = {code: k for k, code in enumerate(self.codes)}
        n = self.counts[:, [place[code] for code in codes]]
        total = (n.sum(axis=1) ** 2 - (n**2).sum(axis=1)) / 2
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(total[:, None] > 0, n / np.sqrt(total[:, None]), np.nan)

    def rows(self, codes: tuple[str, ...]) -> pd.DataFrame:
        """Rows of ``gis.tables.OFFICE_DRAW`` for a roster of cities."""
        import pandas as pd

        place = {code: k for k, code in enumerate(self.codes)}
        n_draws = len(self.counts)
        return pd.DataFrame(
            {
                "draw": np.repeat(np.arange(1, n_draws + 1, dtype=np.int32), len(codes)),
                "city_code": np.tile(np.array(codes, dtype=object), n_draws),
                "n_offices": self.counts[:, [place[code] for code in codes]].ravel(),
                "share_root": self.share_roots(codes).ravel(),
            }
        )


def bootstrap_counts(
    offices: Offices,
    cities: CityLookup,
    *,
    kind: DrawKind = "both",
    draws: int = DEFAULT_DRAWS,
    seed: int = 0,
    refit: Refit | None = None,
    used: NDArray[np.bool_] | None = None,
    snap_sigmas: float = SNAP_SIGMAS,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> CountDraws:
    """Count offices again and again: refit the map, move the positions, reassign.

    Parameters
    ----------
    kind : ``points``: control points are drawn with replacement and the transform refitted, which moves all offices
        read from the scan together; ``positions``: each office moves by itself, normal with its ``sigma_km``;
        ``both``: one after the other. Offices with a gazetteer's position or given map coordinates have no transform
        and move by themselves only.
    refit : weights of all control points -> transform; weights are multiplicities. For ``points`` and ``both``.
    used : (n_points,) which control points are fitted. For ``points`` and ``both``.
    threads : changes no number: a draw's random numbers depend on ``seed`` and its own number alone.

    Raises
    ------
    OptionInvalid
        No such kind, fewer than 2 draws, control points to be drawn and none given, or a hundred resamples in a row
        that no transform can be fitted to.
    """
    if kind not in get_args(DrawKind):
        raise OptionInvalid(f"no kind of draws {kind!r}", where="kind", mend=f"one of {', '.join(get_args(DrawKind))}")
    if draws < 2:
        raise OptionInvalid(f"{draws} draws have no spread", where="draws", mend="give 2 or more; 200 is usual")
    if kind != "positions" and (refit is None or used is None or not np.any(used)):
        raise OptionInvalid(
            "control points are to be drawn and there are none",
            where="refit, used",
            mend='give them, or kind="positions"',
        )

    def one(draw: int) -> tuple[Floats, int]:
        return _positions(offices, kind, np.random.default_rng([seed, 8, draw]), refit, used)

    found = run_tasks(one, list(range(draws)), threads=threads, progress=progress)
    # Polygons are asked in one go and on one thread: prepared geometries build their index at the first question.
    lonlat = np.concatenate([positions for positions, _ in found])
    hard = assign_hard(lonlat, np.tile(offices.sigma_km, draws), cities, snap_sigmas=snap_sigmas)
    n_cities = len(cities.codes)
    cell = np.repeat(np.arange(draws), len(offices)) * n_cities + hard.city_idx
    counts = np.bincount(cell[hard.city_idx != NOWHERE], minlength=draws * n_cities).reshape(draws, n_cities)
    return CountDraws(cities.codes, counts.astype(np.float64), kind, seed, sum(again for _, again in found))


def _positions(
    offices: Offices, kind: DrawKind, rng: np.random.Generator, refit: Any, used: NDArray[np.bool_] | None
) -> tuple[Floats, int]:
    """(n_offices, 2) positions of one draw, and how many resamples were thrown away."""
    lonlat, again = offices.lonlat.copy(), 0
    if kind != "positions":
        scan = np.array([word == "scan" for word in offices.position], bool)
        lonlat[scan], again = _refitted(
            rng, refit, np.flatnonzero(np.asarray(used)), len(np.asarray(used)), offices.px[scan]
        )
    if kind != "points":
        east, north = rng.standard_normal((2, len(offices))) * offices.sigma_km
        lonlat = displaced(lonlat, east, north)
    return lonlat, again


def _refitted(
    rng: np.random.Generator, refit: Refit, used: NDArray[np.int64], n_points: int, px: Floats
) -> tuple[Floats, int]:
    """Where a transform fitted to a resample puts pixels, and how many resamples were thrown away before it."""
    last: GisError | None = None
    for again in range(REDRAWS):
        weights = np.bincount(rng.choice(used, used.size), minlength=n_points).astype(np.float64)
        try:
            lonlat = np.column_stack(refit(weights).to_lonlat(px[:, 0], px[:, 1]))
        except GisError as error:
            # A resample of few or collinear points fits no transform: it says nothing about the map's error.
            last = error
            continue
        if np.isfinite(lonlat).all() and (np.abs(lonlat[:, 1]) <= 90).all():
            return lonlat, again
    raise OptionInvalid(
        f"{REDRAWS} resamples of {used.size} control points in a row could not be fitted"
        + (f": {last.what}" if last else ""),
        where="control points",
        mend='add control points, choose a model with fewer parameters, or draw kind="positions" only',
    ) from last
