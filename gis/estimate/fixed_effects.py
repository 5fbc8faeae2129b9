"""Fixed-effects least squares, and two-stage least squares with one endogenous regressor, by pyfixest.

In: a `Design` and its `Within`. Out: `Fit`: coefficients and the three covariances in scaled units.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from gis.errors import GisError, TableInvalid
from gis.estimate.design import Design
from gis.estimate.inference import Clustering, n_clusters, pair_products, sandwiches
from gis.estimate.within import Within

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

DEMEAN_TOLERANCE = 1e-10
"""Of pyfixest's alternating projections; its default, 1e-6, leaves coefficients of long unbalanced panels correct to
about six digits only, and libraries should agree to eight (METHOD 6.2)."""


class LibraryMissing(GisError, ImportError):
    """The extra ``estimate`` is not installed."""


@dataclass(frozen=True, slots=True)
class Fit:
    """Coefficients of one model, in units of the scaled columns."""

    coef: Floats = field(repr=False)
    """(k,) in the order of ``Within.terms``."""
    covariances: dict[Clustering, Floats] = field(repr=False)
    """Clustering -> (k, k), small-sample factors included."""
    residuals: Floats = field(repr=False)
    """(n,) structural residuals: of 2SLS with the regressors themselves, not their fitted values."""
    library: str
    """What computed the coefficients."""


def need_libraries() -> None:
    """Raise `LibraryMissing` unless the libraries of the extra ``estimate`` are there."""
    from importlib.util import find_spec

    missing = [name for name in ("pyfixest", "linearmodels", "pyhdfe") if find_spec(name) is None]
    if missing:
        raise LibraryMissing(f"estimation needs {', '.join(missing)}", mend='pip install "lightpanel[estimate]"')


def fit_pyfixest(design: Design, within: Within) -> Fit:
    """Estimate by pyfixest: no or one endogenous regressor.

    Raises
    ------
    TableInvalid
        pyfixest sees another sample or other regressors than the design does.

    Notes
    -----
    Dyadic variances are ours; those by pair and by both cities are pyfixest's, with the rules of reghdfe: effects
    nested in clusters are not counted, t with clusters - 1 (two-way: the smaller number).
    """
    import pandas as pd
    import pyfixest as pf

    names = {term: f"x{k}" for k, term in enumerate(within.terms)}
    z_names = {term: f"z{k}" for k, term in enumerate(within.z_terms)}
    data = {"y": design.y, "pair": design.pair, "city_i": design.city_i, "city_j": design.city_j}
    data |= {names[t]: design.columns[t] for t in within.terms}
    data |= {z_names[t]: design.columns[t] for t in within.z_terms}
    data |= {f"e{k}": codes for k, codes in enumerate(design.effects)}
    formula = f"y ~ {' + '.join(names[t] for t in within.exog_terms) or '1'}"
    if design.effects:
        formula += " | " + " + ".join(f"e{k}" for k in range(len(design.effects)))
    if within.endog_terms:
        formula += f" | {names[within.endog_terms[0]]} ~ {' + '.join(z_names.values())}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on what is checked here already: singletons, collinearity, few clusters
        found = pf.feols(
            formula,
            pd.DataFrame(data),
            vcov={"CRV1": "pair"},
            fixef_rm="singleton",
            copy_data=False,
            demeaner=pf.MapDemeaner(fixef_tol=DEMEAN_TOLERANCE),
        )
        order = [names[t] for t in within.terms]
        at = [list(found.coef().index).index(name) if name in found.coef().index else -1 for name in order]
        if -1 in at or design.n != found._N:
            raise TableInvalid(
                f"pyfixest used {found._N} rows of {design.n} and {len(order) - at.count(-1)} of {len(order)} terms",
                where=design.model.name,
                mend="leave out terms that are nearly collinear",
            )
        coef = found.coef().to_numpy()[at]
        by_pair = np.asarray(found._vcov)[np.ix_(at, at)]
        two_way = np.full_like(by_pair, np.nan)
        if n_clusters(design, "city_two_way") > 1:
            two_way = np.asarray(found.vcov({"CRV1": "city_i+city_j"})._vcov)[np.ix_(at, at)]
    residuals = within.y - within.x @ coef
    dyadic = own_covariances(design, within, residuals)["dyadic"]
    covariances: dict[Clustering, Floats] = {"pair": by_pair, "city_two_way": two_way, "dyadic": dyadic}
    return Fit(coef, covariances, residuals, f"pyfixest {pf.__version__}")


def own_covariances(design: Design, within: Within, residuals: Floats) -> dict[Clustering, Floats]:
    """(k, k) sandwiches of least squares or 2SLS: scores are fitted regressors times residuals (METHOD 6.3)."""
    fitted = within.x
    if within.endog_terms:
        z = within.instruments
        fitted = z @ np.linalg.solve(z.T @ z, z.T @ within.x)
    bread = np.asarray(np.linalg.inv(fitted.T @ fitted), dtype=np.float64)
    return sandwiches(bread, pair_products(fitted, residuals[:, None], design)[:, :, 0], design, fitted.shape[1])
