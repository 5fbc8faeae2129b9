"""How strong instruments are, and what can be said when they are weak.

In: demeaned columns of a 2SLS model. Out: the rank statistic of Kleibergen and Paap as an F, the effective F of Montiel
Olea and Pflueger, Anderson-Rubin sets, and the thresholds they are held against.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from gis.estimate.design import Design
from gis.estimate.inference import CLUSTERINGS, Clustering, degrees_of_freedom, pair_products, sandwiches
from gis.estimate.jackknife import jackknife
from gis.estimate.within import Within

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

STOCK_YOGO_10: dict[tuple[int, int], float] = {
    (1, 1): 16.38, (1, 2): 19.93, (1, 3): 22.30, (1, 4): 24.58, (1, 5): 26.87,
    (2, 2): 7.03, (2, 3): 13.43, (2, 4): 16.87, (2, 5): 19.45,
}  # fmt: skip
"""(endogenous, instruments) -> F above which a nominal 5 % test rejects at most 10 %.
Source: Stock and Yogo (2005), Table 5.2, as in ivreg2 (routine cdsy, ivsize10). Made for errors without clusters; held
against the rank F by custom."""

OLEA_PFLUEGER_F = 23.11
"""Effective F above which the worst bias of 2SLS is at most 10 % of that of least squares (one endogenous regressor, a
5 % test): 95 % point of a noncentral chi2(1) with noncentrality 10; with several instruments the largest value it can
take. Source: Montiel Olea and Pflueger (2013)."""

TF_F = 104.7
"""First-stage F above which |t| > 1.96 is a 5 % test with one endogenous regressor and one instrument.
Source: Lee, McCrary, Moreira and Porter (2022), Valid t-ratio inference for IV."""


@dataclass(frozen=True, slots=True)
class FirstStages:
    """Regressions of the endogenous regressors, and of the outcome, on all instruments."""

    terms: tuple[str, ...]
    """Instruments: the excluded ones, then the exogenous regressors; in scaled units, as the design."""
    n_z: int
    """Excluded instruments."""
    coef: Floats = field(repr=False)
    """(l, k_endog + 1); the last column is the reduced form."""
    covariances: dict[Clustering, Floats] = field(repr=False)
    """Clustering -> (l (k_endog + 1), ...) of all coefficients, equation after equation."""
    degrees: dict[Clustering, Floats] = field(repr=False)
    """Clustering -> (l,) degrees of freedom of t, the same in every equation."""
    z_inner: Floats = field(repr=False)
    """(n_z, n_z) Z'Z of the excluded instruments freed of the exogenous regressors."""
    x_inner: Floats = field(repr=False)
    """(k_endog, k_endog) X'X of the endogenous regressors, freed likewise."""

    @property
    def n_endog(self) -> int:
        """Endogenous regressors."""
        return self.coef.shape[1] - 1

    def equation(self, k: int) -> slice:
        """Where a column of ``coef`` stands in ``covariances``."""
        return slice(k * len(self.terms), (k + 1) * len(self.terms))

    def excluded(self, covariance: Floats, equations: Sequence[int]) -> Floats:
        """The part of a covariance that belongs to the excluded instruments of some equations, in their order."""
        at = [self.equation(k).start + j for k in equations for j in range(self.n_z)]
        return covariance[np.ix_(at, at)]


def first_stages(within: Within, design: Design) -> FirstStages:
    """Least squares of every endogenous regressor and of the outcome on the instruments, with all variances."""
    z, n_z, k = within.instruments, within.z.shape[1], within.endog.shape[1]
    left = np.column_stack([within.endog, within.y])
    bread = np.asarray(np.linalg.inv(z.T @ z), dtype=np.float64)
    coef = bread @ (z.T @ left)
    residuals = left - z @ coef
    scores = np.swapaxes(pair_products(z, residuals, design), 1, 2).reshape(design.n_pairs, -1)
    covariances = sandwiches(np.asarray(np.kron(np.eye(k + 1), bread), dtype=np.float64), scores, design, z.shape[1])
    left_out = jackknife(z, None, residuals, design)
    x, w = within.endog, within.exog
    x_inner = x.T @ x
    if w.shape[1]:
        x_inner = x_inner - x.T @ w @ np.linalg.solve(w.T @ w, w.T @ x)
    return FirstStages(
        terms=(*within.z_terms, *within.exog_terms),
        n_z=n_z,
        coef=coef,
        covariances=covariances | {"jackknife": left_out.covariance},
        degrees=degrees_of_freedom(design, left_out.effective_cities),
        z_inner=np.asarray(np.linalg.inv(bread[:n_z, :n_z])),  # the inverse of a block of an inverse: partialled out
        x_inner=x_inner,
    )


def rank_f(stages: FirstStages) -> dict[Clustering, float]:
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
    definition is orthogonal and leaves rk as it is. F = rk / L, Var with the small-sample factors.
    Source: Kleibergen and Paap (2006); Baum, Schaffer and Stillman (2007); METHOD 6.4.
    Oracle: ``tests/test_estimate_strength.py``, the paper's matrices and loops over pairs.
    """
    n_z, k = stages.n_z, stages.n_endog
    pi = stages.coef[:n_z, :k]
    f, g = np.linalg.cholesky(stages.z_inner).T, np.linalg.cholesky(stages.x_inner).T
    u, _, wt = np.linalg.svd(f @ pi @ np.linalg.inv(g))
    left, right = u[:, k - 1 :].T @ f, np.linalg.inv(g) @ wt[k - 1]
    lam, to_lam = left @ pi @ right, np.kron(right, left)
    found: dict[Clustering, float] = {}
    for clustering, covariance in stages.covariances.items():
        omega = to_lam @ stages.excluded(covariance, range(k)) @ to_lam.T
        found[clustering] = float(lam @ np.linalg.solve(omega, lam)) / n_z if _positive(omega) else math.nan
    return found


def _positive(covariance: Floats) -> bool:
    return bool(np.all(np.isfinite(covariance)) and np.all(np.linalg.eigvalsh(covariance) > 0))


def effective_f(stages: FirstStages) -> dict[Clustering, float]:
    """Effective F: the first stage's strength where errors are not independent, one endogenous regressor only.

    Notes
    -----
    F = pi' Z'Z pi / trace(Var(pi) Z'Z), with Z freed of the effects *and* of the exogenous regressors. With one
    instrument it is the rank F. Source: Montiel Olea and Pflueger (2013).
    """
    if stages.n_endog != 1:
        return dict.fromkeys(CLUSTERINGS, math.nan)
    pi = stages.coef[: stages.n_z, 0]
    strength = float(pi @ stages.z_inner @ pi)
    found: dict[Clustering, float] = {}
    for clustering, covariance in stages.covariances.items():
        trace = float(np.trace(stages.excluded(covariance, [0]) @ stages.z_inner))
        found[clustering] = strength / trace if trace > 0 else math.nan
    return found


def anderson_rubin_sets(
    stages: FirstStages, level: float = 0.95
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
    A value b is kept when the instruments have no effect on y - b x: Wald(b) <= L F(L, degrees). With g the reduced
    form's and p the first stage's coefficients, Wald(b) = (g - bp)' V(b)^-1 (g - bp), V(b) quadratic in b; times det V
    it is a polynomial of degree 2L, whose roots bound the set exactly, without a grid. Degrees are clusters - 1; of
    the jackknife, the fewest effective cities of an instrument - 1.
    Source: Anderson and Rubin (1949); Finlay and Magnusson (2009). Oracle: a regression at each point of a grid.
    """
    n_z = stages.n_z
    if stages.n_endog != 1:
        return dict.fromkeys(CLUSTERINGS)
    return {
        clustering: _wald_set(
            stages.excluded(covariance, [1, 0]),
            stages.coef[:n_z, 1],
            stages.coef[:n_z, 0],
            float(stages.degrees[clustering][:n_z].min()),
            level,
        )
        for clustering, covariance in stages.covariances.items()
    }


def _wald_set(
    covariance: Floats, form: Floats, first: Floats, degrees: float, level: float
) -> tuple[tuple[float, float], ...] | None:
    """Where the Wald statistic of form - b first is at most its critical value; None: covariance not positive."""
    from scipy import stats

    n_z = form.size
    if degrees <= 0 or not _positive(covariance):
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
    """Thresholds of the rank and the effective F, by name; only those that exist for the numbers given."""
    found = {}
    if (n_endog, n_instruments) in STOCK_YOGO_10:
        found["Stock-Yogo 10 % size"] = STOCK_YOGO_10[n_endog, n_instruments]
    if n_endog == 1:
        found["Olea-Pflueger 10 % bias"] = OLEA_PFLUEGER_F
    if n_endog == n_instruments == 1:
        found["tF"] = TF_F
    return found


__all__ = [
    "FirstStages",
    "OLEA_PFLUEGER_F",
    "STOCK_YOGO_10",
    "TF_F",
    "anderson_rubin_sets",
    "effective_f",
    "first_stages",
    "rank_f",
    "thresholds",
]
