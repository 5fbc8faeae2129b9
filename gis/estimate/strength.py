"""How strong instruments are, and what can be said when they are weak.

In: demeaned columns of a 2SLS model. Out: the rank statistic of Kleibergen and Paap as an F, the effective F of Montiel
Olea and Pflueger, Anderson-Rubin sets, and the thresholds they are held against.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from gis.estimate.design import Design
from gis.estimate.inference import CLUSTERINGS, Clustering, meats, n_clusters, sandwiches, small_sample
from gis.estimate.within import Within

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

STOCK_YOGO_10: dict[tuple[int, int], float] = {
    (1, 1): 16.38, (1, 2): 19.93, (1, 3): 22.30, (1, 4): 24.58, (1, 5): 26.87,
    (2, 2): 7.03, (2, 3): 13.43, (2, 4): 16.87, (2, 5): 19.45,
}  # fmt: skip
"""(endogenous, instruments) -> F above which a nominal 5 % test rejects at most 10 %.
Source: Stock and Yogo (2005), Table 5.2. Made for errors without clusters; held against the rank F by custom."""

TF_F = 104.7
"""First-stage F above which |t| > 1.96 is a 5 % test with one endogenous regressor and one instrument.
Source: Lee, McCrary, Moreira and Porter (2022), Valid t-ratio inference for IV."""


@dataclass(frozen=True, slots=True)
class FirstStages:
    """Regressions of the endogenous regressors, and of the outcome, on all instruments."""

    terms: tuple[str, ...]
    """Instruments: the excluded ones, then the exogenous regressors; in scaled units, as the design."""
    coef: Floats = field(repr=False)
    """(l, k_endog + 1); the last column is the reduced form."""
    residuals: Floats = field(repr=False)
    """(n, k_endog + 1)."""
    bread: Floats = field(repr=False)
    """(l, l) inverse of Z'Z."""


def first_stages(within: Within) -> FirstStages:
    """Least squares of every endogenous regressor and of the outcome on the instruments."""
    z = within.instruments
    left = np.column_stack([within.endog, within.y])
    bread = np.asarray(np.linalg.inv(z.T @ z), dtype=np.float64)
    coef = bread @ (z.T @ left)
    return FirstStages((*within.z_terms, *within.exog_terms), coef, left - z @ coef, bread)


def equation_covariances(
    stages: FirstStages, within: Within, design: Design, equation: int
) -> dict[Clustering, Floats]:
    """(l, l) covariances of one column of ``coef``."""
    z = within.instruments
    return sandwiches(stages.bread, z * stages.residuals[:, [equation]], design, z.shape[1])


def _partialled(within: Within) -> tuple[Floats, Floats]:
    """Endogenous regressors and excluded instruments with the exogenous regressors taken out as well."""
    if not within.exog.shape[1]:
        return within.endog, within.z
    w = within.exog
    both = np.column_stack([within.endog, within.z])
    both = both - w @ np.linalg.solve(w.T @ w, w.T @ both)
    k = within.endog.shape[1]
    return both[:, :k], both[:, k:]


def rank_f(within: Within, design: Design) -> dict[Clustering, float]:
    """Kleibergen-Paap rk Wald F: whether the instruments move every endogenous regressor by itself.

    Returns
    -------
    dict of float
        With one endogenous regressor the F of the excluded instruments; with one instrument too, the squared t. NaN
        where the covariance is not positive.

    Notes
    -----
    Pi = (Z'Z)^-1 Z'X, scaled to Theta = F Pi G^-1 with F'F = Z'Z and G'G = X'X, has rank K - 1 when one combination of
    the regressors is not moved. With the singular vectors (U2, w2) that go with the smallest singular value,
    lambda = U2' Theta w2 and rk = lambda' Var(lambda)^-1 lambda is chi2(L - K + 1). The rotation in the paper's
    definition is orthogonal and leaves rk as it is. F = rk / L times the small-sample factor's inverse.
    Source: Kleibergen and Paap (2006); Baum, Schaffer and Stillman (2007); METHOD 6.4.
    Oracle: ``tests/test_estimate_strength.py``, the paper's matrices and loops over pairs.
    """
    x, z = _partialled(within)
    k, n_z = x.shape[1], z.shape[1]
    pi = np.linalg.solve(z.T @ z, z.T @ x)
    v = x - z @ pi
    f, g = np.linalg.cholesky(z.T @ z).T, np.linalg.cholesky(x.T @ x).T
    u, _, wt = np.linalg.svd(f @ pi @ np.linalg.inv(g))
    u2, w2 = u[:, k - 1 :], wt[k - 1 :].T
    # Only the combination v w2 of residuals enters lambda: scores of (L - K + 1) columns, not of L * K.
    scores = (z @ np.linalg.inv(f) @ u2) * (v @ (np.linalg.inv(g) @ w2))
    lam = u2.T @ f @ pi @ np.linalg.inv(g) @ w2
    found: dict[Clustering, float] = {}
    for clustering, omega in meats(scores, design).items():
        factor = small_sample(design, n_z + within.exog.shape[1], clustering)
        defined = bool(np.all(np.linalg.eigvalsh(omega) > 0)) and not math.isnan(factor)
        rk = float((lam.T @ np.linalg.solve(omega, lam)).item()) if defined else math.nan
        found[clustering] = rk / n_z / factor
    return found


def effective_f(within: Within, design: Design) -> dict[Clustering, float]:
    """Effective F: the first stage's strength where errors are not independent, one endogenous regressor only.

    Notes
    -----
    F = pi' Z'Z pi / trace(Var(pi) Z'Z), with Z freed of the effects *and* of the exogenous regressors. With one
    instrument it is the rank F. Source: Montiel Olea and Pflueger (2013).
    """
    if within.endog.shape[1] != 1:
        return dict.fromkeys(CLUSTERINGS, math.nan)
    x, z = _partialled(within)
    inner = z.T @ z
    pi = np.linalg.solve(inner, z.T @ x)
    strength = float((pi.T @ inner @ pi).item())
    found: dict[Clustering, float] = {}
    for clustering, middle in meats(z * (x - z @ pi), design).items():
        factor = small_sample(design, z.shape[1] + within.exog.shape[1], clustering)
        trace = float(np.trace(np.linalg.solve(inner, middle))) * factor
        found[clustering] = strength / trace if trace > 0 else math.nan
    return found


def anderson_rubin_sets(
    stages: FirstStages, within: Within, design: Design, level: float = 0.95
) -> dict[Clustering, tuple[tuple[float, float], ...] | None]:
    """Values of the endogenous coefficient that the instruments do not reject, however weak they are.

    Returns
    -------
    dict of tuples of (low, high), rising
        One interval when instruments are strong; two rays or the whole line (infinite ends) when they are weak; none
        when over-identified and every value is rejected. In units of the scaled regressor.
        None with several endogenous regressors, or where the covariance is not positive.

    Notes
    -----
    A value b is kept when the instruments have no effect on y - b x: Wald(b) <= L F(L, G - 1). With g the reduced
    form's and p the first stage's coefficients, Wald(b) = (g - bp)' V(b)^-1 (g - bp), V(b) quadratic in b; times det V
    it is a polynomial of degree 2L, whose roots bound the set exactly, without a grid.
    Source: Anderson and Rubin (1949); Finlay and Magnusson (2009). Oracle: a regression at each point of a grid.
    """
    n_z = within.z.shape[1]
    if within.endog.shape[1] != 1:
        return dict.fromkeys(CLUSTERINGS)
    z = within.instruments
    n_all = z.shape[1]
    scores = np.column_stack([z * stages.residuals[:, [1]], z * stages.residuals[:, [0]]])
    pick = [*range(n_z), *range(n_all, n_all + n_z)]  # excluded instruments in the reduced form and the first stage
    both = np.kron(np.eye(2), stages.bread)
    return {
        clustering: _wald_set(
            (both @ middle @ both)[np.ix_(pick, pick)] * small_sample(design, n_all, clustering),
            stages.coef[:n_z, 1],
            stages.coef[:n_z, 0],
            n_clusters(design, clustering) - 1,
            level,
        )
        for clustering, middle in meats(scores, design).items()
    }


def _wald_set(
    covariance: Floats, form: Floats, first: Floats, degrees: int, level: float
) -> tuple[tuple[float, float], ...] | None:
    """Where the Wald statistic of form - b first is at most its critical value; None: covariance not positive."""
    from scipy import stats

    n_z = form.size
    if degrees < 1 or not np.all(np.isfinite(covariance)) or not np.all(np.linalg.eigvalsh(covariance) > 0):
        return None
    yy, yx, xx = covariance[:n_z, :n_z], covariance[:n_z, n_z:], covariance[n_z:, n_z:]
    critical = n_z * float(stats.f.ppf(level, n_z, degrees))
    # Around the generalised mean and in its standard error, so that the polynomial's coefficients are of one size.
    weight = np.linalg.inv(yy)
    centre = float(first @ weight @ form / (first @ weight @ first))
    unit = 1 / math.sqrt(float(first @ weight @ first))

    def excess(t: float) -> float:
        b = centre + unit * t
        v = yy - b * (yx + yx.T) + b * b * xx
        gap = form - b * first
        return float(np.linalg.det(v / np.trace(yy)) * (gap @ np.linalg.solve(v, gap) - critical))

    return _below_zero(np.vectorize(excess), 2 * n_z, centre, unit)


def _below_zero(excess: np.vectorize, degree: int, centre: float, unit: float) -> tuple[tuple[float, float], ...]:
    """Intervals where a polynomial of known degree is at most 0, from its values at Chebyshev nodes."""
    nodes = 4 * np.cos(np.pi * (np.arange(degree + 1) + 0.5) / (degree + 1))
    polynomial = np.polynomial.Polynomial.fit(nodes, excess(nodes), degree, domain=[-4, 4])
    roots = polynomial.roots()
    real = np.sort(roots[np.abs(roots.imag) < 1e-7 * (1 + np.abs(roots))].real)
    edges = [-math.inf, *real, math.inf]
    found: list[tuple[float, float]] = []
    for low, high in itertools.pairwise(edges):
        inner = _between(low, high)
        if excess(inner) <= 0:
            ends = float(centre + unit * low), float(centre + unit * high)
            found = [*found[:-1], (found[-1][0], ends[1])] if found and found[-1][1] == ends[0] else [*found, ends]
    return tuple(found)


def _between(low: float, high: float) -> float:
    if math.isinf(low) and math.isinf(high):
        return 0.0
    if math.isinf(low):
        return high - 1 - abs(high)
    return low + 1 + abs(low) if math.isinf(high) else (low + high) / 2


def thresholds(n_endog: int, n_instruments: int) -> dict[str, float]:
    """Thresholds the rank F is held against, by name; only those that exist for the numbers given."""
    found = {}
    if (n_endog, n_instruments) in STOCK_YOGO_10:
        found["Stock-Yogo 10 % size"] = STOCK_YOGO_10[n_endog, n_instruments]
    if n_endog == n_instruments == 1:
        found["tF"] = TF_F
    return found


__all__ = [
    "FirstStages",
    "STOCK_YOGO_10",
    "TF_F",
    "anderson_rubin_sets",
    "effective_f",
    "equation_covariances",
    "first_stages",
    "rank_f",
    "thresholds",
]
