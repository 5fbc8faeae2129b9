"""Small panels and slow definitions for the tests of estimation; nothing here uses the package's own algebra."""

from __future__ import annotations

from functools import cache

import numpy as np
import pandas as pd

from gis.demo.estimation import KnownPanel, known_panel


@cache
def panel(n_cities: int = 14, n_years: int = 5, seed: int = 3) -> pd.DataFrame:
    """A small unbalanced panel: a seventh of the rows gone, so that effects are not orthogonal."""
    frame = known_panel(KnownPanel(n_cities=n_cities, n_years=n_years), seed)
    keep = np.random.default_rng(seed).random(len(frame)) > 1 / 7
    return frame[keep].reset_index(drop=True)


def dummies(*codes: np.ndarray) -> np.ndarray:
    """(n, all levels) 0/1 columns of every effect."""
    return np.column_stack([(c[:, None] == np.unique(c)).astype(float) for c in codes])


def free_of(columns: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Residuals of a regression on ``others``, by a pseudo-inverse: redundant columns do not matter."""
    return columns - others @ (np.linalg.pinv(others) @ columns)


def double_sum(scores: np.ndarray, related: np.ndarray) -> np.ndarray:
    """Sum of s_r s_q' over the rows r, q that are related: the definition of every clustered meat."""
    return sum(np.outer(scores[r], scores[q]) for r in range(len(scores)) for q in np.flatnonzero(related[r]))  # type: ignore[return-value]


def relations(frame: pd.DataFrame) -> dict[str, np.ndarray]:
    """(n, n) which rows may be correlated, from the words: same pair; a city in the same place; any city in common."""
    i, j = frame["city_i"].astype(str).to_numpy(), frame["city_j"].astype(str).to_numpy()
    same_i, same_j = i[:, None] == i, j[:, None] == j
    return {
        "pair": same_i & same_j,
        "city_two_way": same_i | same_j,
        "dyadic": same_i | same_j | (i[:, None] == j) | (j[:, None] == i),
    }
