"""From levels to pairs: Bal, the orientation of every pair in every year, and its keys.

In: city-year (or district-year) levels. Out: the pair-year table of ``gis.tables.PAIR_YEAR``.
"""

from __future__ import annotations

from gis.panel.orientation import TieRule, orientation_shares
from gis.panel.pair_index import codes_of_pair, n_pairs, pair_id
from gis.panel.pairs import BAL_FLAGS, balance, balance_batches, write_pairs

__all__ = [
    "BAL_FLAGS",
    "TieRule",
    "balance",
    "balance_batches",
    "codes_of_pair",
    "n_pairs",
    "orientation_shares",
    "pair_id",
    "write_pairs",
]
