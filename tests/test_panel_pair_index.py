"""Keys of pairs: pair_id in either order and back, the triangular index for rosters of any size."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gis.errors import CodeInvalid
from gis.panel import codes_of_pair, n_pairs, pair_id
from gis.panel.pair_index import pair_index, pair_members

SIX_DIGITS = st.integers(0, 999_999).map("{:06d}".format)


def test_pair_id_is_the_lower_code_times_a_million_plus_the_higher():
    assert pair_id("110000", "310000") == 110000310000


@given(SIX_DIGITS, SIX_DIGITS)
def test_pair_id_does_not_depend_on_the_order_and_leads_back(a, b):
    if a == b:
        return
    assert pair_id(a, b) == pair_id(b, a) < 2**53
    assert codes_of_pair(pair_id(a, b)) == (min(a, b), max(a, b))


@pytest.mark.parametrize("code", ["3414", "110000000000", "11000a", "１１００００", "", 110000, None])
def test_a_code_that_is_not_six_digits_is_refused(code):
    with pytest.raises(CodeInvalid, match='six-character text: "110000"'):
        pair_id(code, "310000")


def test_a_unit_makes_no_pair_with_itself():
    with pytest.raises(CodeInvalid, match="two different units"):
        pair_id("110000", "110000")


@pytest.mark.parametrize("key", [110000110000, 310000110000, -1, 10**12])
def test_a_number_that_is_no_pair_id_is_refused(key):
    with pytest.raises(CodeInvalid, match="column pair_id"):
        codes_of_pair(key)


@pytest.mark.parametrize("n_units", [2, 3, 7, 40])
def test_the_triangular_index_counts_pairs_in_the_order_of_their_codes(n_units):
    by_hand = list(combinations(range(n_units), 2))
    i, j = pair_members(np.arange(n_pairs(n_units)), n_units)
    assert list(zip(i.tolist(), j.tolist(), strict=True)) == by_hand
    assert pair_index(i, j, n_units).tolist() == list(range(len(by_hand)))


@given(st.integers(2, 100_000), st.data())
def test_the_triangular_index_is_exact_in_large_rosters(n_units, data):
    index = data.draw(st.integers(0, n_pairs(n_units) - 1))
    i, j = (int(v[0]) for v in pair_members(np.array([index]), n_units))
    assert 0 <= i < j < n_units
    # METHOD 0, in Python's unbounded integers.
    assert i * n_units - i * (i + 1) // 2 + (j - i - 1) == index
    assert int(pair_index(np.array([i]), np.array([j]), n_units)[0]) == index


@pytest.mark.parametrize("n_units", [2, 296, 2850, 100_000])
def test_first_and_last_pair_of_a_roster(n_units):
    i, j = pair_members(np.array([0, n_pairs(n_units) - 1]), n_units)
    assert (i.tolist(), j.tolist()) == ([0, n_units - 2], [1, n_units - 1])
