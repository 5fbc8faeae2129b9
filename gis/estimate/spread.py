"""What the map's errors do to a 2SLS coefficient: estimated again with every draw of the instrument.

In: a panel, a model with one instrument, draws of cities' shares or of the instrument. Out: `Spread`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from gis.errors import OptionInvalid, TableInvalid
from gis.estimate.design import Design, design_from_frame
from gis.estimate.fit import estimate
from gis.estimate.inference import Clustering
from gis.estimate.models import Model
from gis.estimate.results import Estimate
from gis.estimate.within import demean

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
    found: Estimate | None = None,
) -> Spread:
    """Estimate a 2SLS model again with every draw of its instrument.

    Parameters
    ----------
    model : one endogenous regressor and one instrument.
    draws : ``draw``, ``city_code``, ``share_root`` (the table ``office_draw``: a pair's share is the product of its
        cities'), or ``draw``, ``pair_id`` and a column with the instrument's name (a pair's share).
    series : column of the panel that shares are multiplied by, the row's national net flow; None: by nothing.
    found : the estimate of this model on this panel; default: it is estimated here.

    Raises
    ------
    OptionInvalid
        The model has another number of endogenous regressors or instruments.
    TableInvalid
        A column is missing, a city or pair of the sample is missing in a draw or stands in it twice, or there are
        fewer than two draws.

    Notes
    -----
    The sample is that of the panel's own instrument. With M, which takes out effects and exogenous regressors, the
    coefficient is z'My / z'Mx: outcome and regressor are freed once, and a draw's instrument never. z is a share of
    the pair times a series, so that sums of series times My and Mx by pair are all that a draw meets.
    Oracle: the whole estimation with the draw in the panel.
    """
    if len(model.endog) != 1 or len(model.instruments) != 1:
        raise OptionInvalid(
            f"{model.name} has {len(model.endog)} endogenous regressors and {len(model.instruments)} instruments",
            where=model.formula,
            mend="draws are for one of each: iv_telegraph, for instance",
        )
    _check(frame, model, draws, series)
    main = estimate(frame, model) if found is None else found
    design = design_from_frame(frame, model)
    first = np.unique(design.pair, return_index=True)[1]
    shares = _shares(frame.iloc[design.rows[first]], model, draws)  # one row of every pair, in the order of the codes
    factor = np.ones(design.n) if series is None else frame[series].to_numpy(dtype=np.float64)[design.rows]
    y, x = (shares @ np.bincount(design.pair, factor * v, minlength=design.n_pairs) for v in _freed(design, main))
    term = model.endog[0]
    coefs = y / x * (design.scales[model.outcome] / design.scales[term])
    return Spread(main.coef(term), main.se(term, clustering), clustering, coefs)


def _freed(design: Design, found: Estimate) -> tuple[Floats, Floats]:
    """Outcome and endogenous regressor without the effects and the exogenous regressors that were estimated."""
    clean = demean(design, np.column_stack([design.y, design.matrix(found.main.terms)]))  # endogenous terms are first
    both, w = clean[:, :2], clean[:, 2:]
    both = both - w @ np.linalg.solve(w.T @ w, w.T @ both)
    return both[:, 0], both[:, 1]


def _check(frame: pd.DataFrame, model: Model, draws: pd.DataFrame, series: str | None) -> None:
    needed = ("city_code", SHARE_ROOT) if SHARE_ROOT in draws else ("pair_id", model.instruments[0])
    missing = [c for c in ("draw", *needed) if c not in draws]
    if missing:
        raise TableInvalid(
            f"the draws have no column {', '.join(missing)}",
            where="draws",
            mend=f"give the table office_draw, or the columns draw, pair_id, {model.instruments[0]}",
        )
    if draws.duplicated(["draw", needed[0]]).any():
        raise TableInvalid(
            f"{int(draws.duplicated(['draw', needed[0]]).sum())} rows repeat draw and {needed[0]}",
            where="draws",
            mend=f"keep one row for each draw and {needed[0]}",
        )
    if series is not None and series not in frame:
        raise TableInvalid(
            f"the panel has no column {series}",
            where="series",
            mend="join the table pair_instrument, or name the column of the national net flow",
        )
    if draws["draw"].nunique() < 2:
        raise TableInvalid("fewer than two draws", where="draws", mend="draw the offices again 200 times or more")


def _shares(pairs: pd.DataFrame, model: Model, draws: pd.DataFrame) -> Floats:
    """(n_draws, n_pairs) shares, draws by number, pairs as given."""
    import pandas as pd

    def of(column: str, key: str, wanted: pd.Series) -> Floats:
        table = draws.assign(key=draws[key].astype(wanted.dtype)).pivot(index="draw", columns="key", values=column)
        at = table.columns.get_indexer(pd.Index(wanted))
        values = table.to_numpy(dtype=np.float64)[:, at]
        values[:, at < 0] = np.nan
        return values

    if SHARE_ROOT in draws:
        share = of(SHARE_ROOT, "city_code", pairs["city_i"].astype(str))
        share *= of(SHARE_ROOT, "city_code", pairs["city_j"].astype(str))
    else:
        share = of(model.instruments[0], "pair_id", pairs["pair_id"])
    without = np.isnan(share).sum(axis=1)
    if without.any():
        worst = int(without.argmax())
        raise TableInvalid(
            f"draw {sorted(draws['draw'].unique())[worst]} has no share for {without[worst]} pairs of the sample",
            where="draws",
            mend="let every draw hold every city; one without offices is 0, not missing",
        )
    return share
