"""The variance that leaves out one city at a time: for regressors or instruments that few cities carry.

In: columns freed of the effects. Out: `Jackknife`: a covariance matrix, and how many cities carry every coefficient.

The dyadic variance takes residuals for errors. Where few cities carry a coefficient the fit follows their errors,
their residuals are too small, and so is the variance. Estimating again without each city shows what each one does.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from gis.estimate.design import Design, is_nested
from gis.estimate.inference import city_totals, pair_products

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

SINGULAR = 1e-10
"""Share of the variance of the instruments, or of their fitted values, in the worst direction, below which a sample
without a city cannot be estimated: as ``gis.estimate.within.COLLINEAR``."""

MOST_LEVELS = 100
"""Effects, beside those of pairs, that are estimated again without each city: their cross-products are kept for all."""


@dataclass(frozen=True, slots=True)
class Jackknife:
    """What leaving out one city after another does to coefficients of one or several equations."""

    covariance: Floats = field(repr=False)
    """(k m, k m) of all coefficients, equation after equation; NaN where they cannot be estimated without a city."""
    effective_cities: Floats
    """(k,) cities that carry each coefficient: (sum h)^2 / sum h^2, h a city's share of its sum of squares."""


def jackknife(x: Floats, z: Floats | None, residuals: Floats, design: Design) -> Jackknife:
    """Estimate again without each city by taking its rows out of the cross-products.

    Parameters
    ----------
    x : (n, k) regressors.
    z : (n, l) all instruments; None: least squares.
    residuals : (n, m) structural residuals of m equations with the same regressors.

    Returns
    -------
    Jackknife

    Notes
    -----
    With b(c) the coefficients without the pairs of city c, b(c) - b = (X'P X)^-1 X'P u over the rows left, which needs
    the city's cross-products only: one pass over the rows, whatever the number of cities. The covariance is
    (C - 1) / C times the sum over cities of (b(c) - b)(b(c) - b)', less the sandwich clustered by pair: a pair leaves
    with either of its cities and would count twice.

    Effects of pairs leave with the city. Year effects, or one other set of up to `MOST_LEVELS` effects, are estimated
    again; of two further sets or more, all are kept as they are.

    Source: MacKinnon, Nielsen and Webb (2023), Fast and reliable jackknife and bootstrap methods for cluster-robust
    inference (CV3, centred at b); (2024), Jackknife inference with two-way clustering, for differences of jackknives;
    Lin, Lunde and Sarkar (2020), On the theoretical properties of the network jackknife, for leaving out nodes; Carter,
    Schnepel and Steigerwald (2017) for the number of cities, here by leverage.
    Oracle: ``tests/test_estimate_jackknife.py``, the whole estimation without each city.
    """
    k, m, n_cities = x.shape[1], residuals.shape[1], design.n_cities
    z, two_stages = (x, False) if z is None else (z, True)
    zz = z.T @ z
    onto = np.linalg.solve(zz, z.T @ x)  # of instruments into fitted regressors
    bread = np.linalg.inv(x.T @ z @ onto)
    weights = onto @ bread
    pair_zu = pair_products(z, residuals, design)
    by_city = city_totals(np.concatenate([pair_products(z, z, design), pair_zu], axis=2), design)
    held = np.einsum("ak,cab,bk->ck", weights, by_city[:, :, : z.shape[1]], weights)
    effective = held.sum(axis=0) ** 2 / (held**2).sum(axis=0)
    right = np.column_stack([z, residuals])
    if two_stages:
        by_city = np.concatenate([by_city, city_totals(pair_products(z, x, design), design)], axis=2)
        right = np.column_stack([right, x])
    left = z.T @ right - by_city - _of_effects(z, right, design)
    moved = _moves(left, z.shape[1], m, np.sqrt(np.diag(zz)), np.sqrt(np.diag(bread)))
    if moved is None:
        return Jackknife(np.full((k * m, k * m), np.nan), effective)
    moved = np.swapaxes(moved, 1, 2).reshape(n_cities, m * k)
    pairs = np.swapaxes(np.einsum("ak,pam->pkm", weights, pair_zu), 1, 2).reshape(design.n_pairs, m * k)
    return Jackknife((n_cities - 1) / n_cities * moved.T @ moved - pairs.T @ pairs, effective)


def _moves(left: Floats, n_z: int, m: int, z_lengths: Floats, errors: Floats) -> Floats | None:
    """(n_cities, k, m) changes of coefficients from Z'[Z, U, X], of least squares Z'[Z, U], over the rows left.

    None where a city cannot be spared.
    """
    zz, zu, zx = left[:, :, :n_z], left[:, :, n_z : n_z + m], left[:, :, n_z + m :]
    if np.linalg.eigvalsh(zz / np.outer(z_lengths, z_lengths)).min() < SINGULAR:
        return None
    if not zx.shape[2]:
        return np.asarray(np.linalg.solve(zz, zu))
    xz = np.swapaxes(zx, 1, 2)
    xx, xu = xz @ np.linalg.solve(zz, zx), xz @ np.linalg.solve(zz, zu)
    if np.linalg.eigvalsh(xx * np.outer(errors, errors)).min() < SINGULAR:
        return None
    return np.asarray(np.linalg.solve(xx, xu))


def _of_effects(left: Floats, right: Floats, design: Design) -> Floats:
    """(n_cities, p, q) what cross-products over the rows left lose when the effects not nested in pairs are new.

    With D the dummies of these effects freed of those of pairs, L'D (D'D)^-1 D'R over the rows left. Columns sum to 0
    in every effect, so over the rows left they sum to minus the city's sum.
    """
    shared = [codes for codes in design.effects if not is_nested(codes, design.pair)]
    n_levels = int(shared[0].max()) + 1 if shared else 0
    if len(shared) != 1 or n_levels > MOST_LEVELS:
        return np.zeros((design.n_cities, left.shape[1], right.shape[1]))
    codes, shape = shared[0], (design.n_cities, n_levels)
    cells = [city * n_levels + codes for city in (design.city_i, design.city_j)]

    def sums(values: Floats) -> Floats:
        first, second = (np.bincount(c, values, minlength=shape[0] * n_levels) for c in cells)
        return np.asarray((first + second).reshape(shape), dtype=np.float64)

    there = np.bincount(design.pair * n_levels + codes, minlength=design.n_pairs * n_levels)
    inner = _inner_dummies(there.reshape(design.n_pairs, n_levels).astype(np.float64), design, len(design.effects) > 1)
    of_left, of_right = (np.stack([sums(v) for v in columns.T], axis=2) for columns in (left, right))
    inverse = np.linalg.pinv(inner, rcond=SINGULAR, hermitian=True)  # the effects' common constant is in the pairs'
    return np.einsum("ctp,ctu,cuq->cpq", of_left, inverse, of_right, optimize=True)


def _inner_dummies(there: Floats, design: Design, of_pairs: bool) -> Floats:
    """(n_cities, n_levels, n_levels) D'D over the rows left, from (n_pairs, n_levels) rows of each pair and level."""
    n_levels = there.shape[1]
    per_row = there / there.sum(axis=1, keepdims=True)
    inner = np.empty((design.n_cities, n_levels, n_levels))
    for t in range(n_levels):
        by_pair = -there[:, [t]] * per_row if of_pairs else np.zeros_like(there)
        by_pair[:, t] += there[:, t]
        inner[:, t] = by_pair.sum(axis=0) - city_totals(by_pair, design)
    return inner
