"""Moderators by name: formulas by hand, orientation, dates, quartiles and classes."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gis.errors import OptionInvalid, TableInvalid
from gis.panel import moderators
from gis.panel.covariates import CityMatrix
from gis.panel.rows import PairRows

CODES = ("110000", "310000", "510100", "510300", "620100")


def rows(*of: tuple[int, int, int]) -> PairRows:
    """Rows of (hi, lo, year); -1 twice for no orientation of the pair (0, 1)."""
    hi, lo, year = (np.array(column, np.int64) for column in zip(*of, strict=True))
    i, j = np.where(hi < 0, 0, np.minimum(hi, lo)), np.where(hi < 0, 1, np.maximum(hi, lo))
    number = np.array([int(c) for c in CODES])
    return PairRows(CODES, number[i] * 10**6 + number[j], year, i, j, hi, lo)


def fixed(*values: float) -> CityMatrix:
    return moderators.fixed(np.array(values, float), CODES)


def yearly(values: dict[int, list[float]]) -> CityMatrix:
    return CityMatrix(CODES, np.array(sorted(values)), np.array([values[y] for y in sorted(values)], float))


def test_knowledge_is_the_logarithm_of_los_firms_in_the_lagged_year():
    firms = yearly({2000: [1, 2, 3, 4, 5], 2001: [10, 20, 30, 40, 50]})
    found = moderators.compat_kno(firms)(rows((0, 1, 2001), (1, 0, 2002), (-1, -1, 2002)))["compat_kno"]
    np.testing.assert_array_equal(found, [np.log(2), np.log(10), np.nan])


@pytest.mark.parametrize(("ln", "expected"), [("auto", math.log(3)), ("ln1p", math.log(3)), ("ln", math.log(2))])
def test_one_zero_anywhere_makes_it_one_plus_x_everywhere(ln, expected):
    firms = yearly({2000: [1, 2, 0, 4, 5]})
    assert moderators.compat_kno(firms, ln=ln)(rows((0, 1, 2001)))["compat_kno"][0] == expected
    zero = moderators.compat_kno(firms, ln=ln)(rows((0, 2, 2001)))["compat_kno"][0]
    assert (zero == 0) if ln != "ln" else np.isnan(zero)


def theil_by_hand(values: list[float]) -> float:
    mean = sum(values) / len(values)
    return sum(v / mean * math.log(v / mean) if v else 0.0 for v in values) / len(values)


@given(st.lists(st.lists(st.integers(0, 9), min_size=3, max_size=3), min_size=2, max_size=2))
def test_demand_is_one_over_the_mean_theil_by_hand(products):
    frame = pd.DataFrame(
        [
            (f"{p:02d}", country, v)
            for p, values in enumerate(products)
            for country, v in zip("xyz", values, strict=True)
        ],
        columns=["hs2", "country", "value"],
    )
    found = moderators.compat_dem(frame, CODES, np.zeros(len(frame), np.int64))
    theils = [theil_by_hand(values) for values in products if any(values)]
    mean = sum(theils) / len(theils) if theils else 0.0
    if mean < 1e-12:
        assert np.isnan(found[0])
    else:
        assert found[0] == pytest.approx(1 / mean, rel=1e-9)  # ln N - entropy cancels where the shares are near even
    assert np.isnan(found[1:]).all()


def test_a_single_source_is_the_most_concentrated_case():
    frame = pd.DataFrame({"hs2": "01", "country": list("xyz") * 2, "value": [9, 0, 0, 3, 3, 2]})
    found = moderators.compat_dem(frame, CODES, np.array([0, 0, 0, 1, 1, 1]))
    assert found[0] == pytest.approx(1 / math.log(3), rel=1e-15)  # one logarithm
    assert found[1] > found[0]


def test_negative_imports_are_named():
    frame = pd.DataFrame({"hs2": ["01"], "country": ["x"], "value": [-1.0]})
    with pytest.raises(TableInvalid, match=r"(?s)imports are -1.*imports\.csv, row 1.*mend:  give a value"):
        moderators.compat_dem(frame, CODES, np.zeros(1, int), "imports.csv")


def test_the_mean_of_the_province_leaves_the_city_itself_out():
    found = moderators.mean_of_others(np.array([1.0, 2.0, 3.0, 5.0, np.nan]), CODES)
    np.testing.assert_array_equal(found, [np.nan, np.nan, 5, 3, np.nan])


def test_a_gap_is_lo_over_hi_and_is_reversed_in_two_ways():
    rate = fixed(2, 8, 4, 1, 0)
    some = rows((0, 1, 2001), (1, 0, 2001), (4, 0, 2001))
    plain = moderators.gap("gap_l", rate)(some)["gap_l"]
    np.testing.assert_array_equal(plain, [4, 0.25, np.nan])
    largest = moderators.largest_ratio(rate, [some])
    assert largest == 4
    np.testing.assert_array_equal(
        moderators.gap("g", rate, reverse="max", largest=largest)(some)["g"], [0, 3.75, np.nan]
    )
    np.testing.assert_array_equal(moderators.gap("g", rate, reverse="inverse")(some)["g"], [0.25, 4, np.nan])


def test_the_largest_ratio_is_over_all_batches_and_missing_without_any():
    rate = fixed(2, 8, 4, 1, 0)
    batches = [rows((1, 0, 2001)), rows((0, 1, 2001)), rows((-1, -1, 2001))]
    assert moderators.largest_ratio(rate, batches) == 4
    assert np.isnan(moderators.largest_ratio(rate, batches[2:]))
    with pytest.raises(OptionInvalid, match=r"mend:  give largest"):
        moderators.gap("gap_l", rate, reverse="max")


def test_the_east_has_eleven_provinces_with_liaoning_hebei_and_hainan():
    east = (
        "110000",
        "120000",
        "130100",
        "210100",
        "310000",
        "320100",
        "330100",
        "350100",
        "370100",
        "440100",
        "460100",
    )
    rest = ("140100", "220100", "230100", "340100", "410100", "450100", "500000", "510100", "650100")
    assert moderators.is_east(east).all()
    assert not moderators.is_east(rest).any()


def test_region_dummies_partition_the_pairs_and_east_dev_looks_at_hi():
    found = moderators.regions(CODES)(rows((0, 1, 1), (2, 3, 1), (0, 2, 1), (2, 0, 1), (-1, -1, 1)))
    total = found["east_east"] + found["west_west"] + found["east_west"]
    assert total.tolist() == [1] * 5
    np.testing.assert_array_equal(found["east_dev"], [np.nan, np.nan, 1, 0, np.nan])
    assert found["east_east"].tolist() == [1, 0, 0, 0, 1]


def test_a_bound_of_the_size_classes_belongs_to_the_class_above():
    persons = np.array([0, 199_999, 200_000, 500_000, 1e6, 3e6, 5e6, 1e7, np.nan])
    np.testing.assert_array_equal(moderators.size_classes(persons), [1, 1, 2, 3, 4, 5, 6, 7, np.nan])
    found = moderators.size_classes(persons, moderators.CLASSES_1989)
    np.testing.assert_array_equal(found, [1, 1, 2, 3, 4, 4, 4, 4, np.nan])


def test_the_gap_of_scale_is_hi_minus_lo():
    found = moderators.gap_scale(fixed(1e7, 1e5, 6e5, 1, 1))(rows((0, 1, 1), (1, 2, 1)))
    assert found["gap_scale"].tolist() == [6, -2]
    assert found["gap_scale_1989"].tolist() == [3, -2]


def test_the_gap_of_light_takes_the_lowest_and_the_highest_quarter():
    levels = yearly({2000: [1, 2, 3, 4, 5], 2001: [9, 2, 3, 4, 5]})  # means 5, 2, 3, 4, 5: quartiles 3 and 5
    some = rows((0, 1, 2002), (0, 2, 2002), (1, 0, 2002), (3, 1, 2002), (-1, -1, 2002))
    found = moderators.gap_light(levels)(some)
    np.testing.assert_array_equal(found["gap_light"], [1, 1, 0, 0, np.nan])
    # first year 1..5: quartiles 2 and 4
    np.testing.assert_array_equal(found["gap_light_first"], [0, 0, 0, 1, np.nan])


@given(st.integers(-6, 6))
def test_scaling_all_lights_changes_no_gap_of_light(power):
    rng = np.random.default_rng(4)
    values = rng.integers(1, 99, (3, 5)).astype(float)
    some = rows(*[(a, b, 2001) for a in range(5) for b in range(5) if a != b])
    base = moderators.gap_light(CityMatrix(CODES, np.arange(2000, 2003), values))(some)
    scaled = moderators.gap_light(CityMatrix(CODES, np.arange(2000, 2003), values * 2.0**power))(some)
    for name, column in base.items():
        np.testing.assert_array_equal(scaled[name], column)


def test_centring_takes_the_mean_of_all_rows_that_have_a_value():
    variable = moderators.gap("gap_k", fixed(2, 8, 4, 1, 0))
    batches = [rows((0, 1, 1), (1, 0, 1)), rows((-1, -1, 1), (4, 0, 1))]
    means = moderators.means_of(variable, batches)
    assert means == {"gap_k": (4 + 0.25) / 2}
    centred = moderators.centred(variable, means)
    total = sum(np.nansum(centred(b)["gap_k"]) for b in batches)
    assert total == 0


def test_a_rule_that_is_not_offered_is_refused():
    with pytest.raises(OptionInvalid, match=r"mend:  one of auto, ln, ln1p"):
        moderators.compat_kno(fixed(1, 1, 1, 1, 1), ln="log10")
