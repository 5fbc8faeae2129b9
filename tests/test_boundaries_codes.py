"""Administrative codes: every spelling of one code is one code, and every code has its level and city."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gis.boundaries.codes import (
    MUNICIPALITIES,
    PROVINCES,
    city_of,
    code_text,
    is_code,
    is_municipality,
    level_of,
    normalise_code,
)
from gis.errors import CodeInvalid

FORMS = [
    ("341402", "341402"),
    (341402, "341402"),
    (341402.0, "341402"),
    (np.int32(341402), "341402"),
    (np.float64(341402), "341402"),
    ("341402.0", "341402"),
    (" 341402\n", "341402"),
    ("３４１４０２", "341402"),
    (3414, "341400"),
    ("3414", "341400"),
    (11, "110000"),
    ("11", "110000"),
    (341402000000, "341402"),
    ("341402000000", "341402"),
    (3.41402e11, "341402"),
    ("341402000", "341402"),
    (156341402, "341402"),
    ("156341402", "341402"),
    ("156110000", "110000"),
]


@pytest.mark.parametrize(("value", "code"), FORMS)
def test_every_spelling_gives_six_characters(value, code):
    assert normalise_code(value) == code


@pytest.mark.parametrize(
    "value",
    ["", None, math.nan, True, "Beijing", 0, "0", 7001, "34140", 3, "341402001", "341402001000", "721402", "０",
     3414.5, "3414.5", -341402, "34140a", 1562341402, [341402]],
)  # fmt: skip
def test_what_is_not_a_code_is_refused_with_the_forms_that_are(value):
    assert not is_code(value)
    with pytest.raises(CodeInvalid, match=r"2, 4, 9 or 12 digits and 156 in front are understood"):
        normalise_code(value, row=7, where="layer.gpkg")


def test_the_row_and_the_value_are_named():
    with pytest.raises(CodeInvalid, match=r"7001(?s:.*)layer\.gpkg and row 7"):
        normalise_code(7001, row=7, where="layer.gpkg")


def test_short_codes_are_filled_on_the_right_never_on_the_left():
    assert normalise_code(1201) == "120100"  # not 001201


six_digits = st.builds(
    lambda province, rest: f"{province}{rest:04d}", st.sampled_from(sorted(PROVINCES)), st.integers(0, 9999)
)


@given(six_digits)
def test_spelling_a_code_in_any_way_and_back_changes_nothing(code):
    ways = [code, int(code), float(code), f"{code}.0", f" {code} ", f"{code}000", f"{code}000000", f"156{code}"]
    ways += [np.int64(int(code)), np.float64(int(code) * 10**6)]
    if code.endswith("00"):
        ways += [code[:4], int(code[:4])]
    if code.endswith("0000"):
        ways += [code[:2], int(code[:2])]
    assert {normalise_code(way) for way in ways} == {code}
    assert normalise_code(normalise_code(code)) == code


@given(six_digits)
def test_the_city_of_a_city_is_itself(code):
    city = city_of(code)
    if city is not None:
        assert city_of(city) == city
        assert city[:2] == code[:2]
        assert city.endswith("00")


@pytest.mark.parametrize(
    ("code", "level", "city"),
    [
        ("340000", "province", None),
        ("340100", "city", "340100"),
        ("340111", "district", "340100"),
        ("340121", "district", "340100"),
        ("340181", "district", "340100"),  # a county-level city is part of its prefecture
        ("222400", "city", "222400"),  # a prefecture (Yanbian)
        ("222401", "district", "222400"),
        ("152201", "district", "152200"),  # a league (Hinggan)
        ("542621", "district", "542600"),
        ("441900", "city", "441900"),  # Dongguan: a city without districts
        ("460400", "city", "460400"),
        ("419001", "direct", None),
        ("429021", "direct", None),
        ("469029", "direct", None),
        ("659012", "direct", None),
        ("629700", "special", None),
        ("347101", "special", None),
        ("110000", "province", "110000"),
        ("110100", "city", "110000"),
        ("110101", "district", "110000"),
        ("500233", "district", "500000"),
        ("500381", "district", "500000"),  # old code of a county-level city of Chongqing
        ("810001", "district", "810000"),
        ("820000", "province", "820000"),
        ("710000", "province", "710000"),
    ],
)
def test_level_and_city_follow_the_code(code, level, city):
    assert (level_of(code), city_of(code)) == (level, city)


def test_municipalities_are_the_four():
    assert sorted(MUNICIPALITIES) == ["110000", "120000", "310000", "500000"]
    assert is_municipality("500233")
    assert not is_municipality("510100")


@pytest.mark.parametrize(
    ("cell", "text"),
    [(None, ""), (math.nan, ""), (np.nan, ""), (7.0, "7"), ("BI001", "BI001"), (" a ", "a"), (2.5, "2.5"), (True, "")],
)
def test_any_cell_has_a_text(cell, text):
    assert code_text(cell) == text


@pytest.mark.real_data
def test_every_code_of_the_official_lists_has_a_level_we_know(real_data):
    """Every code of every year-end list 2000-2019; special ones are the three of Gansu's layer, not of the lists."""
    for year in range(2000, 2020):
        lines = (real_data / "codes/areacodes_1980_2024/data" / f"{year}.txt").read_text("utf-8").splitlines()
        codes = [line[:6] for line in lines if line[:6].isdigit()]
        assert len(codes) > 3000
        assert {normalise_code(int(code)) for code in codes} == set(codes)
        assert {level_of(code) for code in codes} <= {"province", "city", "district", "direct"}


@pytest.mark.real_data
@pytest.mark.parametrize(("year", "units"), [(2000, 333), (2004, 333), (2011, 332), (2015, 334), (2019, 333)])
def test_prefecture_level_units_are_as_many_as_published(real_data, year, units):
    lines = (real_data / "codes/areacodes_1980_2024/data" / f"{year}.txt").read_text("utf-8").splitlines()
    codes = [line[:6] for line in lines if line[:6].isdigit()]
    cities = {c for c in codes if level_of(c) == "city" and not is_municipality(c)}
    assert len(cities) == units  # counted from the official lists
