"""What became of units of the city level, 2000 to 2024, and under which code they go on."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gis.boundaries.lineage import (
    events_between,
    follow,
    history,
    identities,
    lineage_id,
    same_name,
    sentence,
    year_of_vintage,
)
from gis.boundaries.reference import changes, names_of_year
from gis.errors import CodeInvalid, OptionInvalid

YEARS = range(2000, 2025)


def heirs(code, *years):
    return {heir.code: heir.is_same for heir in history(code, *years).heirs}


# --- the changes every panel of China meets --------------------------------------------------------------------------


def test_chaohu_was_divided_among_three_in_2011():
    found = history("341400", 2010, 2019)
    assert heirs("341400", 2010, 2019) == {"340100": False, "340200": False, "340500": False}
    assert {e.date for e in found.events} == {"2011-07-14"}
    parts = {e.new_code: e.part for e in found.events}
    assert "居巢区" in parts["340100"] and "庐江县" in parts["340100"]
    assert "和县 (part)" in parts["340200"] and "和县 (part)" in parts["340500"]  # one town of it went another way
    assert follow("341400", 2010, 2011) is None


def test_laiwu_became_part_of_jinan_with_the_list_of_2018():
    assert heirs("371200", 2010, 2019) == {"370100": False}
    (event,) = history("371200").events
    assert (event.kind, event.part, event.year) == ("merge", "whole", 2018)
    assert "2019" in event.note  # carried out in January: layers of 2018 may hold either


def test_xiangfan_became_xiangyang_by_name_alone():
    found = history("420600", 2009, 2010)
    assert (found.name, [e.kind for e in found.events]) == ("襄樊市", ["rename"])
    assert follow("420600", 2000, 2024) == "420600"
    assert history("420600", 2010, 2024).name == "襄阳市"


def test_danzhou_had_three_codes():
    assert [follow("460003", 2000, year) for year in (2000, 2001, 2014, 2015)] == [
        "460003", "469003", "469003", "460400",
    ]  # fmt: skip
    assert lineage_id("460003", 2000) == lineage_id("469003", 2010) == lineage_id("460400", 2019) == "460400"
    assert follow("460400", 2019, 2000) == "460003"
    assert [e.year for e in history("460400", 2000, 2024).events] == [2001, 2015]


def test_sansha_was_set_up_from_three_groups_of_islands():
    found = history("460300")
    assert found.from_year == 2011  # the year before it first stood
    assert {e.old_name for e in found.events} == {"西沙群岛", "南沙群岛", "中沙群岛的岛礁及其海域"}
    assert follow("460300", 2012, 2011) is None


@pytest.mark.parametrize(
    ("code", "name", "prefecture", "rest"),
    [("451300", "来宾", "452200", "450200"), ("451400", "崇左", "452100", "450100")],
)
def test_two_prefectures_of_guangxi_were_divided_in_2002(code, name, prefecture, rest):
    found = history(code)
    assert found.name.startswith(name)
    assert {e.old_code for e in found.events} == {prefecture}
    assert heirs(prefecture, 2001, 2002) == {rest: False, code: False}


def test_an_heir_that_was_recoded_later_stands_under_its_later_code():
    """Suizhou came out of Xiaogan in 2000; Fuyang's Bozhou likewise; both stand in 2019."""
    assert heirs("341200", 1999 + 1, 2019)["341200"] is True
    assert heirs("652200", 2010, 2019) == {"650500": True}  # Hami, prefecture to city


# --- identity --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", ["city", "district"])
def test_one_id_is_one_unit_in_every_year(level):
    for year in YEARS if level == "city" else (2000, 2010, 2019):
        ids = [lineage_id(code, year, level) for code in names_of_year(level, year)]
        assert len(set(ids)) == len(ids)


@given(st.sampled_from(list(YEARS)), st.sampled_from(list(YEARS)), st.data())
def test_going_on_and_coming_back_is_the_same_unit(start, end, data):
    code = data.draw(st.sampled_from(sorted(names_of_year("city", start))))
    after = follow(code, start, end)
    if after is not None:
        assert after in names_of_year("city", end)
        assert follow(after, end, start) == code
        assert lineage_id(after, end) == lineage_id(code, start)


def test_every_unit_that_ended_has_heirs_that_stand():
    ended = [
        (code, y) for y in range(2000, 2024) for code in names_of_year("city", y) if follow(code, y, y + 1) is None
    ]
    assert ("341400", 2010) in ended and ("371200", 2017) in ended
    for code, year in ended:
        found = history(code, year, 2024)
        assert found.heirs, code
        assert {h.code for h in found.heirs} <= set(names_of_year("city", 2024))


def test_every_code_of_a_list_goes_on_or_ends_by_a_change_on_record():
    """From list to list nothing appears or vanishes without an event."""
    for year in range(2001, 2025):
        before, after = names_of_year("city", year - 1), names_of_year("city", year)
        told = [e for e in changes() if e.year == year]
        assert set(before) - set(after) <= {e.old_code for e in told}
        assert set(after) - set(before) <= {e.new_code for e in told}


def test_names_guard_against_codes_that_are_not_official():
    """A layer in circulation numbers Hainan's counties in its own way: 469031 is Changjiang there."""
    known = identities(["469031", "469003"], ["昌江黎族自治县", "儋州市"], 2010, 2019)
    assert known == {"469003": "460400"}
    assert identities(["469025"], ["定安县"], 2010, 2019) == {}  # 469025 is Baisha in the lists
    assert identities(["469025"], ["白沙黎族自治县"], 2010, 2019) == {"469025": "469025"}
    assert identities(["469003"], [], 2010, 2019) == {"469003": "460400"}  # no names: the codes are believed
    assert identities(["341400"], ["巢湖市"], 2010, 2019) == {}
    assert identities(["341400"], ["巢湖市"], 1990, 2019) == {}  # not covered


def test_names_are_one_but_for_their_ending():
    assert same_name("毕节地区", "毕节市") and same_name("襄阳市", "襄阳市") and same_name("", "襄阳市")
    assert not same_name("襄樊市", "襄阳市")


@pytest.mark.parametrize(
    ("vintage", "year"),
    [
        ("2019", 2019),
        ("2019-12", 2019),
        ("2019-12-31", 2019),
        ("2019-12-30", 2018),
        ("2019-06-30", 2018),
        ("2020-01", 2019),
    ],
)
def test_a_vintage_has_seen_the_last_year_end_before_it(vintage, year):
    assert year_of_vintage(vintage) == year


def test_a_change_reads_as_a_sentence():
    told = [sentence(e) for e in events_between(2010, 2011) if e.old_code == "341400"]
    assert all(text.startswith("2011-07-14 341400 巢湖市 abolished, a part to 34") for text in told)
    assert all("国函〔2011〕84号" in text for text in told)
    assert all(sentence(e) for e in changes())


# --- faults ----------------------------------------------------------------------------------------------------------


def test_a_code_without_a_unit_is_told_the_near_ones():
    with pytest.raises(CodeInvalid, match=r"mend:  codes of this province: 3\d{5} "):
        history("349900")


def test_a_county_is_told_its_city():
    with pytest.raises(CodeInvalid, match="mend:  it is 长丰县, a county-level unit; ask for its city 340100"):
        history("340121")


def test_years_in_which_the_unit_did_not_stand_are_refused():
    with pytest.raises(
        CodeInvalid, match=r"mend:  ask for other years: lightpanel boundaries lineage 341400 --from 2000"
    ):
        history("341400", 2015, 2019)


@pytest.mark.parametrize("years", [(2019, 2010), (1990, 2019), (2010, 2030)])
def test_years_beyond_the_lists_are_refused(years):
    with pytest.raises(OptionInvalid, match=r"mend:  name year-ends from 2000 to 2024"):
        history("340100", *years)


def test_a_vintage_that_is_no_date_is_refused():
    with pytest.raises(OptionInvalid, match=r'mend:  write the day the boundaries stood: vintage = "2019-12-31"'):
        year_of_vintage("newest")


def test_the_command_prints_heirs_and_decrees(capsys):
    from gis.pipeline.crosswalk import lineage_text

    text = lineage_text("341400", 2010, 2019)
    assert "340500 马鞍山市 (from it: 341423 含山县 > 340522 含山县" in text
    assert "460400 儋州市, the unit itself" in lineage_text("469003")
    assert "note: " in lineage_text("371200")
