"""What pyfixest leaves open in two-stage least squares: several endogenous regressors, and Hansen's J, by linearmodels.

In: a `Design` and its `Within`. Out: `Fit`, `Overid`. linearmodels sees columns freed of the effects, which it cannot
know of: it computes without small-sample factors, and ours, which count the effects, are put on.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gis.estimate.design import Design
from gis.estimate.fixed_effects import Fit, own_covariances
from gis.estimate.inference import Clustering, n_clusters, small_sample
from gis.estimate.within import Within

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Overid:
    """Hansen's J: whether the instruments agree with one another."""

    statistic: float
    """Objective of two-step efficient GMM, clustered by pair."""
    degrees: int
    """Instruments beyond the endogenous regressors."""
    p_value: float
    """Under chi2; a small one says that the instruments do not agree."""


def fit_linearmodels(design: Design, within: Within) -> Fit:
    """Estimate 2SLS with several endogenous regressors by linearmodels on demeaned columns."""
    import linearmodels
    from linearmodels.iv import IV2SLS

    model = IV2SLS(within.y, _exog(within), within.endog, within.z)
    k_exog = within.exog.shape[1]
    # linearmodels puts exogenous regressors first; here endogenous ones come first.
    at = [*range(k_exog, k_exog + within.endog.shape[1]), *range(k_exog)]
    found = model.fit(cov_type="clustered", clusters=design.pair, debiased=False)
    coef = found.params.to_numpy()[at]
    k = len(at)
    by_pair = found.cov.to_numpy()[np.ix_(at, at)] * small_sample(design, k, "pair")
    two_way = np.full((k, k), np.nan)
    if n_clusters(design, "city_two_way") > 1:
        cities = np.column_stack([design.city_i, design.city_j])
        found = model.fit(cov_type="clustered", clusters=cities, debiased=False)
        two_way = found.cov.to_numpy()[np.ix_(at, at)] * small_sample(design, k, "city_two_way")
    residuals = within.y - within.x @ coef
    dyadic = own_covariances(design, within, residuals)["dyadic"]
    covariances: dict[Clustering, Floats] = {"pair": by_pair, "city_two_way": two_way, "dyadic": dyadic}
    return Fit(coef, covariances, residuals, f"linearmodels {linearmodels.__version__}")


def hansen_j(design: Design, within: Within) -> Overid | None:
    """Hansen's J of two-step GMM with a weight clustered by pair; None when exactly identified."""
    degrees = within.z.shape[1] - within.endog.shape[1]
    if degrees < 1:
        return None
    from linearmodels.iv import IVGMM
    from scipy import stats

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = IVGMM(within.y, _exog(within), within.endog, within.z, weight_type="clustered", clusters=design.pair)
        found: Any = model.fit(iter_limit=2)
    statistic = float(found.j_stat.stat)
    return Overid(statistic, degrees, float(stats.chi2.sf(statistic, degrees)))


def _exog(within: Within) -> Any:
    return within.exog if within.exog.shape[1] else None
