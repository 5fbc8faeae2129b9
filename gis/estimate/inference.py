"""Variances of estimates from a pair panel: clustered by pair, by both cities, and dyadic-robust.

In: scores of pairs, codes of pairs and cities. Out: covariance matrices, with the small-sample factors written down.

Three answers to "which rows may be correlated": those of the same pair (``pair``); those with the same first city or
the same second city (``city_two_way``); those that share any city (``dyadic``). The second misses two pairs where a
city comes first in the one and second in the other; which city comes first is an accident of its code. A fourth,
``jackknife``, takes the same rows for correlated as the third and leaves out one city at a time
(``gis.estimate.jackknife``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from gis.estimate.design import Design

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Codes = NDArray[np.int64]

Clustering = Literal["pair", "city_two_way", "dyadic", "jackknife"]
CLUSTERINGS: tuple[Clustering, ...] = get_args(Clustering)
SANDWICHES: tuple[Clustering, ...] = CLUSTERINGS[:3]
"""Those made of sums of scores; the jackknife is made of estimates."""


def pair_products(left: Floats, right: Floats, design: Design) -> Floats:
    """(n_pairs, p, q) sums over a pair's rows of left_r right_r', for (n, p) and (n, q)."""
    out = np.empty((design.n_pairs, left.shape[1], right.shape[1]))
    for a in range(left.shape[1]):
        for b in range(right.shape[1]):
            out[:, a, b] = np.bincount(design.pair, left[:, a] * right[:, b], minlength=design.n_pairs)
    return out


def group_sums(by_pair: Floats, codes: Codes, n_groups: int) -> Floats:
    """(n_groups, ...) sums of (n_pairs, ...) over the pairs of every group."""
    flat = by_pair.reshape(len(by_pair), -1)
    out = np.empty((n_groups, flat.shape[1]))
    for k in range(flat.shape[1]):
        out[:, k] = np.bincount(codes, flat[:, k], minlength=n_groups)
    return out.reshape(n_groups, *by_pair.shape[1:])


def city_totals(by_pair: Floats, design: Design) -> Floats:
    """(n_cities, ...) sums over all pairs of a city, each of which it shares with their other city."""
    first = group_sums(by_pair, design.pair_i, design.n_cities)
    return first + group_sums(by_pair, design.pair_j, design.n_cities)


def meats(by_pair: Floats, design: Design) -> dict[Clustering, Floats]:
    """Sum of s_r s_q' over all rows r, q that may be correlated: the middles of sandwiches, without any factor.

    Parameters
    ----------
    by_pair : (n_pairs, k) float64
        Regressor (or instrument) times residual, summed over the rows of a pair.

    Returns
    -------
    dict of (k, k) float64
        ``pair``: sum over pairs of S_d S_d'. ``city_two_way``: sums over first cities, plus second cities, less pairs
        (Cameron, Gelbach and Miller 2011). ``dyadic``: sum over cities of S_c S_c', less pairs, where S_c sums every
        pair with the city: a pair meets itself in both of its cities and would count twice
        (Fafchamps and Gubert 2007; Aronow, Samii and Assenova 2015).

    Notes
    -----
    Oracle: ``tests/test_estimate_inference.py``, the double sum over rows.
    """
    first = group_sums(by_pair, design.pair_i, design.n_cities)
    second = group_sums(by_pair, design.pair_j, design.n_cities)
    both, inner = first + second, by_pair.T @ by_pair
    return {
        "pair": inner,
        "city_two_way": first.T @ first + second.T @ second - inner,
        "dyadic": both.T @ both - inner,
    }


def n_clusters(design: Design, clustering: Clustering) -> int:
    """How many clusters the small-sample rules count: pairs, the rarer of first and second cities, or cities."""
    if clustering == "pair":
        return design.n_pairs
    if clustering in ("dyadic", "jackknife"):
        return design.n_cities
    return min(len(np.unique(design.pair_i)), len(np.unique(design.pair_j)))


def small_sample(design: Design, n_terms: int, clustering: Clustering) -> float:
    """The factor G/(G-1) * (N-1)/(N-K) of a clustered covariance, K with the effects that count (METHOD 6.3).

    NaN where there is one cluster, or no degree of freedom is left.
    """
    n, g = design.n, n_clusters(design, clustering)
    left = n - n_terms - design.n_effects
    return g / (g - 1) * (n - 1) / left if g > 1 and left > 0 else float("nan")


def sandwiches(bread: Floats, by_pair: Floats, design: Design, n_terms: int) -> dict[Clustering, Floats]:
    """(k, k) covariances: bread meat bread' times the small-sample factor for ``n_terms`` regressors."""
    return {
        c: bread @ middle @ bread.T * small_sample(design, n_terms, c) for c, middle in meats(by_pair, design).items()
    }


def standard_errors(covariance: Floats) -> Floats:
    """(k,) roots of the diagonal; NaN where it is not positive, as differences of meats can be in small samples."""
    diagonal = np.diag(covariance)
    return np.sqrt(np.where(diagonal > 0, diagonal, np.nan))


def degrees_of_freedom(design: Design, effective_cities: Floats) -> dict[Clustering, Floats]:
    """Clustering -> (k,) degrees of t: clusters - 1; of the jackknife, the cities that carry the coefficient - 1.

    Notes
    -----
    Source: Carter, Schnepel and Steigerwald (2017); MacKinnon and Webb (2017) for t with the effective number - 1.
    """
    found = {c: np.full(effective_cities.size, max(n_clusters(design, c) - 1.0, 0.0)) for c in CLUSTERINGS}
    return found | {"jackknife": effective_cities - 1}


def t_quantile(degrees: Floats, level: float = 0.95) -> Floats:
    """(k,) two-sided critical values of t."""
    from scipy import stats

    return np.asarray(stats.t.ppf(0.5 + level / 2, degrees))


def p_values(coef: Floats, se: Floats, degrees: Floats) -> Floats:
    """(k,) two-sided p values of coef / se under t."""
    from scipy import stats

    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(2 * stats.t.sf(np.abs(coef / se), degrees))
