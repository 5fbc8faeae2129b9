"""What an estimation returns: one value a model, and tidy frames of many.

In: a fit. Out: `Estimate`; the tables ``estimate``, ``estimate_model`` and ``estimate_rows`` of ``gis.tables``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from gis.estimate.design import Step
from gis.estimate.inference import CLUSTERINGS, Clustering, p_values, standard_errors, t_quantile
from gis.estimate.instrumental import Overid
from gis.estimate.models import Model

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Equation:
    """Coefficients of one regression, with all standard errors."""

    stage: str
    """``main``, ``first_stage`` or ``reduced_form``."""
    outcome: str
    """What is on the left."""
    terms: tuple[str, ...]
    """Regressors in order."""
    coef: Floats
    """(k,) in the units of the panel."""
    covariances: dict[Clustering, Floats] = field(repr=False)
    """Clustering -> (k, k), small-sample factors included."""
    degrees: dict[Clustering, Floats] = field(repr=False)
    """Clustering -> (k,) degrees of freedom of t (`inference.degrees_of_freedom`)."""

    def se(self, clustering: Clustering = "pair") -> Floats:
        """(k,) standard errors."""
        return standard_errors(self.covariances[clustering])

    def p(self, clustering: Clustering = "pair") -> Floats:
        """(k,) two-sided p values."""
        return p_values(self.coef, self.se(clustering), self.degrees[clustering])

    def interval(self, clustering: Clustering = "pair", level: float = 0.95) -> Floats:
        """(k, 2) confidence intervals."""
        half = t_quantile(self.degrees[clustering], level) * self.se(clustering)
        return np.column_stack([self.coef - half, self.coef + half])

    def at(self, term: str) -> int:
        """Position of a term."""
        return self.terms.index(term)


@dataclass(frozen=True, slots=True)
class Marginal:
    """Effect of a regressor at a value of what it is multiplied by."""

    term: str
    """The regressor."""
    moderator: str
    """The column it is multiplied by."""
    percentile: int
    """Of the moderator in the sample."""
    value: float
    """The moderator there."""
    effect: float
    """Coefficient of the regressor plus that of the product times ``value``."""
    se: dict[Clustering, float]
    """By the delta method, exact here: the effect is linear in the coefficients."""
    degrees: dict[Clustering, float]
    """Degrees of freedom of t: the fewer of the two coefficients'."""


@dataclass(frozen=True, slots=True)
class Strength:
    """How strong the instruments are."""

    rank_f: dict[Clustering, float]
    """Kleibergen-Paap rk Wald F by clustering."""
    effective_f: dict[Clustering, float]
    """Effective F by clustering; NaN with several endogenous regressors."""
    thresholds: dict[str, float]
    """Name -> F it should pass."""
    anderson_rubin: dict[Clustering, tuple[tuple[float, float], ...] | None]
    """95 % sets of the endogenous coefficient, in the units of the panel."""
    overid: Overid | None
    """Hansen's J, where over-identified."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """One model, estimated."""

    model: Model
    """What was asked."""
    main: Equation
    """The coefficients the model is about."""
    further: tuple[Equation, ...]
    """First stages and the reduced form of a 2SLS model."""
    strength: Strength | None
    """Of a 2SLS model."""
    marginals: tuple[Marginal, ...]
    """Effects at percentiles of the moderators."""
    n: int
    """Rows of the sample."""
    n_pairs: int
    """Pairs."""
    n_cities: int
    """Cities."""
    n_years: int
    """Years."""
    n_cities_effective: float
    """Cities that carry the first coefficient: its leverage spread over cities (`gis.estimate.jackknife`)."""
    n_singletons: int
    """Rows dropped as singletons, over all rounds."""
    r2: float
    """1 - SSR / SST, effects included; of 2SLS with structural residuals, no measure of fit."""
    r2_within: float
    """The same after the effects are taken out."""
    waterfall: tuple[Step, ...]
    """From all rows to the sample."""
    notes: tuple[str, ...]
    """What was left out or is to be known."""
    rules: str
    """Small-sample rules, in words."""
    library: str
    """What computed the coefficients."""

    def coef(self, term: str) -> float:
        """Coefficient of a term."""
        return float(self.main.coef[self.main.at(term)])

    def se(self, term: str, clustering: Clustering = "pair") -> float:
        """Standard error of a term."""
        return float(self.main.se(clustering)[self.main.at(term)])


def set_text(regions: tuple[tuple[float, float], ...] | None, digits: int = 4) -> str:
    """An Anderson-Rubin set in words."""
    if regions is None:
        return "not defined"
    if not regions:
        return "empty"
    return " or ".join(
        f"{'(' if math.isinf(a) else '['}{a:.{digits}g}, {b:.{digits}g}{')' if math.isinf(b) else ']'}"
        for a, b in regions
    )


def frames_from_estimates(estimates: Sequence[Estimate]) -> dict[str, pd.DataFrame]:
    """Tabulate estimates.

    Returns
    -------
    dict of DataFrame
        ``estimate``: one row per model, equation and term. ``estimate_model``: one row per model.
        ``estimate_rows``: one row per model and step of its waterfall.
    """
    import pandas as pd

    from gis.tables import ESTIMATE, ESTIMATE_MODEL, ESTIMATE_ROWS

    rows = [row for e in estimates for eq in (e.main, *e.further) for row in _equation_rows(e, eq)]
    rows += [_marginal_row(e, m) for e in estimates for m in e.marginals]
    models = [_model_row(e) for e in estimates]
    steps = [
        {"model": e.model.name, "step_no": k, "step": s.what, "n_dropped": s.dropped, "n_left": s.left}
        for e in estimates
        for k, s in enumerate(e.waterfall)
    ]
    return {
        table.name: pd.DataFrame(data, columns=list(table.columns))
        for table, data in ((ESTIMATE, rows), (ESTIMATE_MODEL, models), (ESTIMATE_ROWS, steps))
    }


def _equation_rows(estimate: Estimate, equation: Equation) -> list[dict[str, Any]]:
    kinds = dict.fromkeys(estimate.model.endog, "endogenous") | dict.fromkeys(estimate.model.instruments, "instrument")
    rows = []
    by = {c: (equation.se(c), equation.p(c), equation.interval(c)) for c in CLUSTERINGS}
    for k, term in enumerate(equation.terms):
        row: dict[str, Any] = {
            "model": estimate.model.name, "stage": equation.stage, "outcome": equation.outcome, "term": term,
            "role": kinds.get(term, "exogenous"), "coef": equation.coef[k],
        }  # fmt: skip
        for c in CLUSTERINGS:
            se, p, interval = by[c]
            row |= {f"se_{c}": se[k], f"p_{c}": p[k], f"ci_low_{c}": interval[k, 0], f"ci_high_{c}": interval[k, 1]}
        rows.append(row)
    return rows


def _marginal_row(estimate: Estimate, marginal: Marginal) -> dict[str, Any]:
    row: dict[str, Any] = {
        "model": estimate.model.name,
        "stage": "marginal",
        "outcome": estimate.model.outcome,
        "term": f"{marginal.term} at p{marginal.percentile} of {marginal.moderator} = {marginal.value:.6g}",
        "role": "marginal",
        "coef": marginal.effect,
    }
    for c in CLUSTERINGS:
        degrees, se = np.array([marginal.degrees[c]]), marginal.se[c]
        half = float(t_quantile(degrees)[0]) * se
        row |= {
            f"se_{c}": se,
            f"p_{c}": float(p_values(np.array([marginal.effect]), np.array([se]), degrees)[0]),
            f"ci_low_{c}": marginal.effect - half,
            f"ci_high_{c}": marginal.effect + half,
        }
    return row


def _model_row(e: Estimate) -> dict[str, Any]:
    s = e.strength
    row: dict[str, Any] = {
        "model": e.model.name, "title": e.model.title, "formula": e.model.formula, "sample": e.model.where or "",
        "n_obs": e.n, "n_pairs": e.n_pairs, "n_cities": e.n_cities, "n_years": e.n_years,
        "n_cities_effective": e.n_cities_effective, "n_singletons": e.n_singletons,
        "r2": e.r2, "r2_within": e.r2_within,
    }  # fmt: skip
    for c in CLUSTERINGS:
        row[f"kp_f_{c}"] = s.rank_f[c] if s else np.nan
        row[f"effective_f_{c}"] = s.effective_f[c] if s else np.nan
        row[f"anderson_rubin_{c}"] = set_text(s.anderson_rubin[c], 8) if s and len(e.model.endog) == 1 else ""
    overid = s.overid if s else None
    row |= {
        "f_thresholds": "; ".join(f"{k}: {v}" for k, v in s.thresholds.items()) if s else "",
        "hansen_j": overid.statistic if overid else np.nan,
        "hansen_p": overid.p_value if overid else np.nan,
        "rules": e.rules, "library": e.library, "notes": "; ".join(e.notes),
    }  # fmt: skip
    return row
