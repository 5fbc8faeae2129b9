"""How far the measure decides who is hi: shares of pair-years against plain counting."""

from __future__ import annotations

from itertools import combinations
from math import isnan, nan

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gis.errors import TableInvalid
from gis.panel import balance, orientation, orientation_shares

MEASURES = ("level_lambert", "level_true", "level_cells")
CODES = ("110000", "310000", "440100", "460200")


def frame_of(levels: dict[tuple[str, int], tuple[float, float, float]]) -> pd.DataFrame:
    rows = [(code, year, *values) for (code, year), values in levels.items()]
    return pd.DataFrame(rows, columns=["city_code", "year", *MEASURES])


def test_two_cities_that_two_measures_order_differently():
    # True levels 2 and 3; counting cells favours the north (small cells) and puts it first.
    frame = frame_of({(c, y): v for y in (2000, 2001) for c, v in {CODES[0]: (2, 2, 5), CODES[1]: (3, 3, 4)}.items()})
    shares = orientation_shares(frame).set_index(["column_a", "column_b"])
    assert shares.loc[("level_lambert", "level_true"), "share_differ"] == 0.0
    assert shares.loc[("level_lambert", "level_cells"), "share_differ"] == 1.0
    assert shares["n_pair_years"].tolist() == [1, 1, 1]


LEVEL = st.sampled_from([nan, 0.0, 1.0, 2.0, 3.0, 4.0])
PANEL = st.lists(st.tuples(LEVEL, LEVEL, LEVEL), min_size=12, max_size=12).map(
    lambda values: dict(zip([(c, 2000 + k) for c in CODES for k in range(3)], values, strict=True))
)


@given(PANEL, st.sampled_from(["previous", "drop", "t-2"]), st.sampled_from([1, 4, 100]))
def test_shares_are_those_of_the_panels_built_one_by_one(levels, tie, batch):
    frame = frame_of(levels)
    hi = {name: balance(frame.assign(level=frame[name]), tie=tie)["hi"].astype(object) for name in MEASURES}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(orientation, "PAIRS_PER_BATCH", batch)
        found = orientation_shares(frame, tie=tie)
    for row, (a, b) in zip(found.itertuples(), combinations(MEASURES, 2), strict=True):
        both = [(x, y) for x, y in zip(hi[a], hi[b], strict=True) if not pd.isna(x) and not pd.isna(y)]
        differ = sum(x != y for x, y in both)
        assert (row.column_a, row.column_b, row.n_pair_years, row.n_differ) == (a, b, len(both), differ)
        assert row.share_differ == differ / len(both) if both else isnan(row.share_differ)


def test_a_measure_that_is_not_there_is_named():
    with pytest.raises(TableInvalid, match=r"mend:.*city_code, year, level_watts"):
        orientation_shares(
            frame_of({(c, y): (1, 1, 1) for c in CODES for y in (2000, 2001)}), ("level_true", "level_watts")
        )
