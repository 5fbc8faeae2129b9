"""Variances of estimates from a pair panel: clustered by pair, by both cities, and dyadic-robust.

In: scores of rows, codes of pairs and cities. Out: covariance matrices, with the small-sample factors written down.

Three answers to "which rows may be correlated": those of the same pair (``pair``); those with the same first city or
the same second city (``city_two_way``); those that share any city (``dyadic``). The second misses two pairs where a
city comes first in the one and second in the other; which city comes first is an accident of its code.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from gis.estimate.design import Design

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Codes = NDArray[np.int64]

Clustering = Literal["pair", "city_two_way", "dyadic"]
CLUSTERINGS: tuple[Clustering, ...] = get_args(Clustering)


def cluster_sums(scores: Floats, codes: Codes, n_clusters: int) -> Floats:
    """(n_clusters, k) sums of the rows of every cluster."""
    sums = [np.bincount(codes, scores[:, j], minlength=n_clusters) for j in range(scores.shape[1])]
    return np.column_stack(sums) if sums else np.empty((n_clusters, 0))


def meats(scores: Floats, design: Design) -> dict[Clustering, Floats]:
    """Sum of s_r s_q' over all rows r, q that may be correlated: the middles of sandwiches, without any factor.

    Parameters
    ----------
    scores : (n, k) float64
        Regressor (or instrument) times residual, row by row.

    Returns
    -------
    dict of (k, k) float64
        ``pair``: sum over pairs of S_d S_d'. ``city_two_way``: sums over first cities, plus second cities, less pairs
        (Cameron, Gelbach and Miller 2011). ``dyadic``: sum over cities of S_c S_c', less pairs, where S_c sums every
        pair with the city: a pair meets itself in both of its cities and would count twice
        (Fafchamps and Gubert 2007; Aronow, Samii and Assenova 2015).

    Notes
    -----
    Rows are summed to pairs first and pairs to cities, a nineteenth of the work.
    Oracle: ``tests/test_estimate_inference.py``, the double sum over rows.
    """
    by_pair = cluster_sums(scores, design.pair, design.n_pairs)
    first = cluster_sums(by_pair, design.pair_i, design.n_cities)
    second = cluster_sums(by_pair, design.pair_j, design.n_cities)
    both, inner = first + second, by_pair.T @ by_pair
    return {
        "pair": inner,
        "city_two_way": first.T @ first + second.T @ second - inner,
        "dyadic": both.T @ both - inner,
    }


def effective_cities(regressor: Floats, design: Design) -> float:
    """How many cities carry a regressor: (sum h)^2 / sum h^2, h a city's share of its sum of squares.

    Parameters
    ----------
    regressor : (n,) float64
        Freed of the effects; of 2SLS, the instruments' fitted value.

    Notes
    -----
    Equal to the number of cities when all carry the same. City-clustered variances behave like those of so many
    clusters; in the spirit of Carter, Schnepel and Steigerwald (2017), with leverage alone.
    """
    by_pair = np.bincount(design.pair, regressor**2, minlength=design.n_pairs)
    by_city = np.bincount(design.pair_i, by_pair, design.n_cities) + np.bincount(
        design.pair_j, by_pair, design.n_cities
    )
    return float(by_city.sum() ** 2 / (by_city @ by_city))


def n_clusters(design: Design, clustering: Clustering) -> int:
    """How many clusters the small-sample rules count: pairs, the rarer of first and second cities, or cities."""
    if clustering == "pair":
        return design.n_pairs
    if clustering == "dyadic":
        return design.n_cities
    return min(len(np.unique(design.pair_i)), len(np.unique(design.pair_j)))


def small_sample(design: Design, n_terms: int, clustering: Clustering) -> float:
    """The factor G/(G-1) * (N-1)/(N-K) of a clustered covariance, K with the effects that count (METHOD 6.3).

    NaN where there is one cluster, or no degree of freedom is left.
    """
    n, g = design.n, n_clusters(design, clustering)
    left = n - n_terms - design.n_effects
    return g / (g - 1) * (n - 1) / left if g > 1 and left > 0 else float("nan")


def sandwiches(bread: Floats, scores: Floats, design: Design, n_terms: int) -> dict[Clustering, Floats]:
    """(k, k) covariances: bread meat bread' times the small-sample factor for ``n_terms`` regressors."""
    return {
        c: bread @ middle @ bread.T * small_sample(design, n_terms, c) for c, middle in meats(scores, design).items()
    }


def standard_errors(covariance: Floats) -> Floats:
    """(k,) roots of the diagonal; NaN where it is not positive, as differences of meats can be in small samples."""
    diagonal = np.diag(covariance)
    return np.sqrt(np.where(diagonal > 0, diagonal, np.nan))


def t_quantile(degrees: int, level: float = 0.95) -> float:
    """Two-sided critical value of t with ``degrees`` = clusters - 1."""
    from scipy import stats

    return float(stats.t.ppf(0.5 + level / 2, degrees))


def p_values(coef: Floats, se: Floats, degrees: int) -> Floats:
    """Two-sided p values of coef / se under t with ``degrees`` = clusters - 1."""
    from scipy import stats

    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(2 * stats.t.sf(np.abs(coef / se), degrees))
