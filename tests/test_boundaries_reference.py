"""The reference tables: published counts, changes that explain every difference between two years, and their files."""

from __future__ import annotations

import importlib.util
import json
from collections import Counter
from pathlib import Path

import pytest

from gis.boundaries import reference
from gis.boundaries.reference import (
    FIRST_YEAR,
    LAST_YEAR,
    changes,
    count_of_year,
    county_changes,
    county_units,
    names_of_year,
    prefecture_units,
    province_adjacency,
    provinces,
    reference_path,
    reference_points,
    roster_296,
)
from gis.errors import BoundaryUnreadable, OptionInvalid

CITIES = {
    2000: 263, 2001: 269, 2002: 279, 2003: 286, 2004: 287, 2005: 287, 2006: 287, 2007: 287, 2008: 287, 2009: 287,
    2010: 287, 2011: 288, 2012: 289, 2013: 290, 2014: 292, 2015: 295, 2016: 297, 2017: 298, 2018: 297, 2019: 297,
    2020: 297,
}  # fmt: skip
"""Prefecture-level cities and the four municipalities at the end of each year: METHOD 9.2."""
UNITS = {2000: 333, 2001: 332, 2002: 332, 2003: 333, 2007: 333, 2011: 332, 2013: 333, 2015: 334, 2017: 334, 2019: 333}
"""Units of prefecture level: METHOD 9.2."""
PREFECTURAL = ("地级市", "地区", "自治州", "盟")


@pytest.mark.parametrize("year", CITIES)
def test_counts_of_cities_are_the_published_ones(year):
    assert count_of_year(year) == CITIES[year]


@pytest.mark.parametrize("year", UNITS)
def test_counts_of_prefectures_are_the_published_ones(year):
    assert count_of_year(year, PREFECTURAL) == UNITS[year]


def test_counts_agree_with_the_golden_file(real_data):
    golden = json.loads((real_data.parent / "golden.json").read_text(encoding="utf-8"))
    wanted = golden["prefecture_cities_plus_municipalities"]
    assert len(wanted) == 21
    assert {year: count_of_year(int(year)) for year in wanted} == wanted


def test_counties_are_as_many_as_published():
    assert (len(names_of_year("district", 2000)), len(names_of_year("district", 2019))) == (2864, 2846)
    assert len(names_of_year("district", 2000).keys() & names_of_year("district", 2019).keys()) == 2229


def test_the_roster_is_the_cities_of_2019_without_sansha():
    cities = roster_296()
    expected = {u.code for u in prefecture_units() if u.stood(2019) and u.kind in ("地级市", "直辖市")} - {"460300"}
    assert {city.city_code for city in cities} == expected
    assert len(cities) == 296
    assert Counter(city.region for city in cities)["east"] == 101  # METHOD 3.1
    assert {c.province_name for c in cities if c.region == "east"} == {
        "北京市", "天津市", "河北省", "辽宁省", "上海市", "江苏省", "浙江省", "福建省", "山东省", "广东省", "海南省",
    }  # fmt: skip
    names = names_of_year("city", 2019)
    assert all(names[city.city_code] == city.city_name for city in cities)


def test_the_same_cities_stand_in_2018_and_2020():
    roster = {city.city_code for city in roster_296()}
    for year in (2018, 2020):
        assert {u.code for u in prefecture_units() if u.stood(year) and u.kind in ("地级市", "直辖市")} == roster | {
            "460300"
        }


def test_provinces_are_neighbours_once_and_across_the_strait_on_request():
    pairs = province_adjacency()
    assert len(pairs) == len(set(pairs)) == 69
    assert all(a < b for a, b in pairs)
    land = province_adjacency(across_sea=False)
    assert set(pairs) - set(land) == {("440000", "460000")}
    mainland = {p.code for p in provinces() if p.region}
    assert {code for pair in pairs for code in pair} == mainland
    assert len(mainland) == 31


# --- changes ---------------------------------------------------------------------------------------------------------


def events(**wanted):
    return [c for c in changes() if all(getattr(c, field) == value for field, value in wanted.items())]


def test_chaohu_was_split_among_three_cities():
    rows = {c.new_code: c for c in events(old_code="341400")}
    assert {c.kind for c in rows.values()} == {"split"}
    assert {code: c.new_name for code, c in rows.items()} == {
        "340100": "合肥市",
        "340200": "芜湖市",
        "340500": "马鞍山市",
    }
    assert rows["340100"].date == "2011-07-14" and rows["340100"].source == "国函〔2011〕84号"
    assert rows["340100"].part == "341402 居巢区 > 340181 巢湖市; 341421 庐江县 > 340124 庐江县"
    assert "341424 和县 (part) > 340207 鸠江区" in rows["340200"].part


@pytest.mark.parametrize(
    ("year", "kind", "old", "new"),
    [
        (2018, "merge", "371200", "370100"),  # Laiwu to Jinan, carried out in 2019
        (2010, "rename", "420600", "420600"),  # Xiangfan is Xiangyang
        (2007, "rename", "530800", "530800"),  # Simao is Pu'er
        (2000, "rename", "320800", "320800"),  # Huaiyin is Huai'an
        (2015, "recode", "469003", "460400"),  # Danzhou
        (2012, "merge", "469031", "460300"),  # Sansha
        (2002, "split", "452200", "451300"),  # Laibin out of Liuzhou prefecture
        (2002, "split", "452100", "451400"),  # Chongzuo out of Nanning prefecture
        (2003, "new", "640300", "640500"),  # Zhongwei out of Wuzhong
        (2003, "new", "640400", "640500"),  # and Haiyuan of Guyuan
        (2002, "transfer", "640300", "640100"),  # Lingwu
        (2003, "transfer", "640200", "640100"),  # Taole
        (2004, "transfer", "340100", "340400"),  # townships of Changfeng
        (2007, "transfer", "652300", "650100"),  # Miquan
        (2008, "transfer", "610300", "610400"),  # Fufeng, a township to Yangling
        (2015, "transfer", "341500", "340400"),  # Shou
        (2015, "transfer", "340800", "340700"),  # Zongyang
        (2016, "transfer", "512000", "510100"),  # Jianyang
        (2018, "transfer", "640300", "640500"),  # Qingtongxia, villages to Zhongning
        (2011, "recode", "522400", "520500"),  # Bijie
        (2020, "transfer", "220300", "220100"),  # Gongzhuling
    ],
)
def test_changes_that_matter_are_there(year, kind, old, new):
    assert len(events(year=year, kind=kind, old_code=old, new_code=new)) == 1


@pytest.mark.parametrize("year", range(FIRST_YEAR + 1, LAST_YEAR + 1))
def test_changes_explain_every_difference_between_two_years(year):
    """What the year before had and the year has not was given up by a change of that year; likewise what is new."""
    before, after = names_of_year("city", year - 1), names_of_year("city", year)
    rows = events(year=year)
    ending = {c.old_code for c in rows if c.kind in ("recode", "merge", "split", "abolished")}
    beginning = {c.new_code for c in rows if c.new_code not in before}
    assert before.keys() - after.keys() == ending
    assert after.keys() - before.keys() == beginning
    renamed = {code for code in before.keys() & after.keys() if before[code] != after[code]}
    assert renamed == {c.old_code for c in rows if c.kind == "rename"}
    for c in rows:
        assert not c.old_code or before[c.old_code] == c.old_name
        assert after[c.new_code] == c.new_name


@pytest.mark.parametrize("year", range(FIRST_YEAR + 1, LAST_YEAR + 1))
def test_county_changes_explain_every_difference_between_two_years(year):
    before, after = names_of_year("district", year - 1), names_of_year("district", year)
    rows = [c for c in county_changes() if c.year == year]
    # A city without districts (Danzhou) is a county's heir; it stands in the list of cities.
    assert before.keys() - after.keys() <= {c.old_code for c in rows}
    assert {c.old_code for c in rows} <= before.keys() | names_of_year("city", year - 1).keys()
    assert {c.new_code for c in rows} <= after.keys() | names_of_year("city", year).keys()


def test_parts_of_a_change_are_county_changes():
    known = {(c.year, c.old_code, c.new_code): c.is_part for c in county_changes()}
    for change in changes():
        for part in [] if change.part in ("", "whole") else change.part.split("; "):
            old, new = part.split(" > ")
            assert known[change.year, old[:6], new[:6]] == old.endswith(" (part)")


def test_no_two_units_have_one_code_in_one_year():
    for units in (prefecture_units(), county_units()):
        for year in (2000, 2010, 2019, 2024):
            codes = [u.code for u in units if u.stood(year)]
            assert len(codes) == len(set(codes))


def test_reference_points_lie_in_china_and_are_of_every_level():
    levels = Counter(p.level for p in reference_points())
    assert levels["province"] == 34 and levels["city"] == 375 and levels["district"] == 2891
    assert all(73 < p.lon < 136 and 3 < p.lat < 54 and p.area_km2 > 0 for p in reference_points())


# --- files -----------------------------------------------------------------------------------------------------------


def test_a_missing_table_is_refused_with_both_places_and_the_mend(tmp_path, monkeypatch):
    monkeypatch.setattr(reference, "_FOLDERS", (tmp_path / "a", tmp_path / "b"))
    with pytest.raises(BoundaryUnreadable, match=r"pip install --force-reinstall lightpanel") as caught:
        reference_path("changes")
    assert str(tmp_path / "a") in str(caught.value) and str(tmp_path / "b") in str(caught.value)


def test_an_installed_package_has_its_own_tables_first(tmp_path, monkeypatch):
    for name in ("wheel", "checkout"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "changes.csv").touch()
    monkeypatch.setattr(reference, "_FOLDERS", (tmp_path / "wheel", tmp_path / "checkout"))
    assert reference_path("changes") == tmp_path / "wheel" / "changes.csv"
    (tmp_path / "wheel" / "changes.csv").unlink()
    assert reference_path("changes") == tmp_path / "checkout" / "changes.csv"


def test_a_table_with_other_columns_is_refused(tmp_path, monkeypatch):
    (tmp_path / "provinces.csv").write_text("code,label\n110000,北京\n", encoding="utf-8")
    monkeypatch.setattr(reference, "_FOLDERS", (tmp_path,))
    reference._rows.cache_clear()
    try:
        with pytest.raises(BoundaryUnreadable, match="git checkout boundaries"):
            provinces()
    finally:
        reference._rows.cache_clear()


def test_years_beyond_the_lists_are_refused():
    with pytest.raises(OptionInvalid, match="name a year-end from 2000 to 2024"):
        names_of_year("city", 1999)


@pytest.mark.real_data
@pytest.mark.slow
def test_the_tables_are_what_their_script_makes(real_data, checkout, tmp_path, monkeypatch):
    path = checkout / "tests" / "golden" / "make_boundary_tables.py"
    spec = importlib.util.spec_from_file_location("make_boundary_tables", path)
    assert spec is not None and spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(__import__("sys").modules, spec.name, script)  # dataclasses look their module up
    spec.loader.exec_module(script)
    monkeypatch.setattr(script, "OUT", tmp_path)
    script.main(real_data)
    made = {p.name: p.read_bytes() for p in tmp_path.glob("*.csv")}
    assert made.keys() == {f"{name}.csv" for name in script.HEADERS}
    shipped = {name: (Path(checkout) / "boundaries" / name).read_bytes() for name in made}
    assert [name for name in made if made[name] != shipped[name]] == []
