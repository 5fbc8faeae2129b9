"""Which unit of a pair is the more developed one, row by row, and how far that depends on the measure.

In: levels of both units, (n_years, n_pairs). Out: orientation of the row years, (n_years - 1, n_pairs): a row is
ordered by the levels of the year before (METHOD 3).
"""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from gis.errors import OptionInvalid
from gis.panel.level_matrix import level_matrix_from_frame
from gis.panel.pair_index import n_pairs, pair_members

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Signs = NDArray[np.int8]

TieRule = Literal["previous", "drop", "t-2"]
"""What orders a pair whose levels of last year are equal (METHOD 3)."""

TIE_TOLERANCE = 1e-12
"""Levels closer than this share of the larger one are equal. Source: METHOD 3."""

NONE, I_IS_HI, J_IS_HI = -1, 1, 0
"""Codes of an orientation: undefined, the lower code is hi, the higher code is hi."""

PAIRS_PER_BATCH = 16_384
"""Pairs worked on at a time: with 20 years, 330,000 rows and about 30 MB of working arrays."""


def check_tie(tie: str) -> None:
    """Refuse a tie rule that is not offered."""
    if tie not in get_args(TieRule):
        raise OptionInvalid(f"no tie rule {tie!r}", where="tie", mend=f"one of {', '.join(get_args(TieRule))}")


def orient(level_i: Floats, level_j: Floats, tie: TieRule) -> tuple[Signs, Signs]:
    """Order every pair in every row year by the levels of the year before.

    Parameters
    ----------
    level_i, level_j : (n_years, n_pairs) float64
        Levels of the unit with the lower and the higher code; 0 or more, NaN where missing.

    Returns
    -------
    order : (n_years - 1, n_pairs) int8
        ``I_IS_HI``, ``J_IS_HI``, or ``NONE`` where a level of the year before is missing (or tied, under ``drop``).
    tied : (n_years - 1, n_pairs) int8
        1 or 0; -1 where a level of the year before is missing.

    Notes
    -----
    ``previous`` looks back one row, not further: after a row without orientation the lower code is hi.
    ``t-2`` compares the levels of the year before last; where these are missing, tied or before the first year, the
    lower code is hi. Oracle: ``tests/test_panel_pairs.py::bal_by_hand``.
    """
    a, b = level_i[:-1], level_j[:-1]
    known = ~(np.isnan(a) | np.isnan(b))
    is_tie = np.abs(a - b) <= TIE_TOLERANCE * np.maximum(a, b)  # False beside NaN; two zeros are a tie
    order = np.where(known, np.where(a > b, I_IS_HI, J_IS_HI), NONE).astype(np.int8)
    if tie == "drop":
        order[is_tie] = NONE
    elif tie == "t-2":
        decided = np.where(known & ~is_tie, order, I_IS_HI)
        before_last = np.vstack([np.full_like(decided[:1], I_IS_HI), decided[:-1]])
        order = np.where(is_tie, before_last, order).astype(np.int8)
    else:
        last = np.full(order.shape[1], NONE, np.int8)
        for row in range(order.shape[0]):  # a tie takes over from a row that may itself have taken over
            kept = np.where(last == NONE, I_IS_HI, last)
            order[row] = np.where(is_tie[row], kept, order[row])
            last = order[row]
    return order, np.where(known, is_tie, -1).astype(np.int8)


def switches(order: Signs) -> Signs:
    """Whether a row's orientation differs from the row before: 1 or 0; -1 where either has none, and in row one."""
    out = np.full(order.shape, -1, np.int8)
    both = (order[1:] != NONE) & (order[:-1] != NONE)
    out[1:] = np.where(both, order[1:] != order[:-1], -1)
    return out


def orientation_shares(
    frame: pd.DataFrame,
    columns: tuple[str, ...] = ("level_lambert", "level_true", "level_cells"),
    *,
    code: str = "city_code",
    tie: TieRule = "previous",
) -> pd.DataFrame:
    """Share of pair-years that two measures of the same light order differently (METHOD 1.4).

    Parameters
    ----------
    frame : one row per unit and year with the columns named in ``columns``.

    Returns
    -------
    DataFrame, one row per two columns: ``column_a``, ``column_b``, ``n_pair_years`` (ordered under both),
    ``n_differ``, ``share_differ`` (NaN where no pair-year is ordered under both).

    Raises
    ------
    TableInvalid, OptionInvalid
        As `gis.panel.balance`.
    """
    import pandas as pd

    check_tie(tie)
    matrices = {name: level_matrix_from_frame(frame, code=code, level=name) for name in columns}
    couples = list(combinations(columns, 2))
    counts = np.zeros((len(couples), 2), np.int64)
    n_units = len(next(iter(matrices.values())).codes)
    for start in range(0, n_pairs(n_units), PAIRS_PER_BATCH):
        i, j = pair_members(np.arange(start, min(start + PAIRS_PER_BATCH, n_pairs(n_units))), n_units)
        orders = {name: orient(m.values[:, i], m.values[:, j], tie)[0] for name, m in matrices.items()}
        for k, (a, b) in enumerate(couples):
            both = (orders[a] != NONE) & (orders[b] != NONE)
            counts[k] += np.count_nonzero(both), np.count_nonzero(both & (orders[a] != orders[b]))
    return pd.DataFrame(
        {
            "column_a": [a for a, _ in couples],
            "column_b": [b for _, b in couples],
            "n_pair_years": counts[:, 0],
            "n_differ": counts[:, 1],
            "share_differ": [differ / n if n else np.nan for n, differ in counts],
        }
    )
