"""What the map's errors do to a 2SLS coefficient: estimated again with every draw of the instrument.

In: a panel, a model with one instrument, draws of cities' shares or of the instrument. Out: `Spread`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from gis.errors import OptionInvalid, TableInvalid
from gis.estimate.design import Design, design_from_frame
from gis.estimate.fit import estimate
from gis.estimate.inference import Clustering
from gis.estimate.models import Model
from gis.estimate.within import Within, demean, within_from_design

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

SHARE_ROOT, NATIONAL = "share_root", "national_net"
"""Columns of the tables ``office_draw`` and ``pair_instrument``."""


@dataclass(frozen=True, slots=True)
class Spread:
    """How far a 2SLS coefficient moves with the draws of its instrument."""

    coef: float
    """With the instrument as it stands in the panel."""
    se: float
    """Its standard error by ``clustering``: the sampling of outcomes, the instrument taken as known."""
    clustering: Clustering
    """Of ``se``."""
    draws: Floats = field(repr=False)
    """(n_draws,) the coefficient with every draw."""
    first_stage_f: Floats = field(repr=False)
    """(n_draws,) squared t of the first stage by pair: a weak draw throws the coefficient far."""

    @property
    def sd(self) -> float:
        """Standard deviation over draws: the error of the map, outcomes taken as known."""
        return float(np.std(self.draws, ddof=1))

    @property
    def total_se(self) -> float:
        """Both together: root of se^2 + (1 + 1/B) sd^2 (Rubin 1987, with draws in the place of imputations)."""
        return math.sqrt(self.se**2 + (1 + 1 / self.draws.size) * self.sd**2)

    def percentiles(self, *at: float) -> Floats:
        """Percentiles over draws; by default the 2.5th, 50th and 97.5th."""
        return np.asarray(np.percentile(self.draws, at or (2.5, 50.0, 97.5)))


def instrument_spread(
    frame: pd.DataFrame,
    model: Model,
    draws: pd.DataFrame,
    *,
    series: str | None = NATIONAL,
    clustering: Clustering = "pair",
) -> Spread:
    """Estimate a 2SLS model again with every draw of its instrument.

    Parameters
    ----------
    model : one endogenous regressor and one instrument.
    draws : ``draw``, ``city_code``, ``share_root`` (the table ``office_draw``: a pair's share is the product of its
        cities'), or ``draw``, ``pair_id`` and a column with the instrument's name (a pair's share).
    series : column of the panel that shares are multiplied by, the row's national net flow; None: by nothing.

    Raises
    ------
    OptionInvalid
        The model has another number of endogenous regressors or instruments.
    TableInvalid
        A column is missing, a city or pair of the sample is missing in a draw, or there are fewer than two draws.

    Notes
    -----
    Only the instrument changes, so everything else is demeaned once: with x, y and z freed of the effects and of the
    exogenous regressors, the coefficient is z'y / z'x. Oracle: the whole estimation with the draw in the panel.
    """
    if len(model.endog) != 1 or len(model.instruments) != 1:
        raise OptionInvalid(
            f"{model.name} has {len(model.endog)} endogenous regressors and {len(model.instruments)} instruments",
            where=model.formula,
            mend="draws are for one of each: iv_telegraph, for instance",
        )
    _check(frame, model, draws, series)
    main = estimate(frame, model)
    design = design_from_frame(frame, model)
    within = within_from_design(design)
    factor = 1.0 if series is None else frame[series].to_numpy(dtype=np.float64)[design.rows]
    found = [_refit(design, within, share * factor) for share in _shares(frame, model, draws, design)]
    coefs, strengths = np.array(found).T
    term = model.endog[0]
    return Spread(main.coef(term), main.se(term, clustering), clustering, coefs / design.scales[term], strengths)


def _check(frame: pd.DataFrame, model: Model, draws: pd.DataFrame, series: str | None) -> None:
    needed = ("city_code", SHARE_ROOT) if SHARE_ROOT in draws else ("pair_id", model.instruments[0])
    missing = [c for c in ("draw", *needed) if c not in draws]
    if missing:
        raise TableInvalid(
            f"the draws have no column {', '.join(missing)}",
            where="draws",
            mend=f"give the table office_draw, or the columns draw, pair_id, {model.instruments[0]}",
        )
    if series is not None and series not in frame:
        raise TableInvalid(
            f"the panel has no column {series}",
            where="series",
            mend="join the table pair_instrument, or name the column of the national net flow",
        )
    if draws["draw"].nunique() < 2:
        raise TableInvalid("fewer than two draws", where="draws", mend="draw the offices again 200 times or more")


def _shares(frame: pd.DataFrame, model: Model, draws: pd.DataFrame, design: Design) -> Iterator[Floats]:
    """One (n,) column of shares per draw, in the order of the sample."""
    import pandas as pd

    first = np.unique(design.pair, return_index=True)[1]
    sample = frame.iloc[design.rows[first]]  # one row of every pair, in the order of the codes
    for number, group in draws.groupby("draw", sort=True):
        if SHARE_ROOT in draws:
            roots = pd.Series(group[SHARE_ROOT].to_numpy(dtype=np.float64), index=group["city_code"].astype(str))
            ends = (roots.reindex(sample[c].astype(str)).to_numpy() for c in ("city_i", "city_j"))
            share = np.prod(list(ends), axis=0)
        else:
            by_pair = group.set_index("pair_id")[model.instruments[0]]
            share = by_pair.reindex(sample["pair_id"]).to_numpy(dtype=np.float64)
        if np.isnan(share).any():
            raise TableInvalid(
                f"draw {number} has no share for {int(np.isnan(share).sum())} pairs of the sample",
                where="draws",
                mend="let every draw hold every city; one without offices is 0, not missing",
            )
        yield share[design.pair]


def _refit(design: Design, within: Within, instrument: Floats) -> tuple[float, float]:
    """The coefficient and the first stage's squared t, with another instrument."""
    w, x, y = within.exog, within.endog[:, 0], within.y
    z = demean(design, (instrument / (np.abs(instrument).max() or 1.0))[:, None])[:, 0]
    if w.shape[1]:
        inner = np.linalg.inv(w.T @ w)
        z = z - w @ (inner @ (w.T @ z))
        x = x - w @ (inner @ (w.T @ x))
    pi = float(z @ x / (z @ z))
    by_pair = np.bincount(design.pair, z * (x - pi * z), minlength=design.n_pairs)
    return float(z @ y / (z @ x)), float(z @ x) ** 2 / float(by_pair @ by_pair)
