"""The summary: every unit without a level is named, no number is cut, plain text where there is no terminal."""

from __future__ import annotations

import io
import math
from typing import Any

import pandas as pd
import pytest
from export_cases import CITIES, DISTRICTS, YEARS, national_year, pair_year, unit_year
from rich.cells import cell_len
from rich.console import Console

from gis.export.summary import N_ENDS, pairs_info_from_frame, print_summary, summary_text
from gis.grid import Zones

WITHOUT = [
    {"code": "460200", "name": "三亚市", "first_year": 2019, "last_year": 2019, "n_years": 1, "reason": "LOWCOV"},
    {"code": "150700", "name": "呼伦贝尔市", "first_year": 2018, "last_year": 2020, "n_years": 3, "reason": "NOPOP"},
    {"code": "120000", "name": "天津市", "first_year": 2018, "last_year": 2020, "n_years": 3, "reason": "NOPOP"},
]


def content(**changes: Any) -> dict[str, Any]:
    return {
        "national_year": national_year(),
        "city_year": unit_year("city", CITIES),
        "district_year": unit_year("district", DISTRICTS),
        "pairs_info": pairs_info_from_frame(pair_year()),
        "notes": ["population years: nearest"],
        "without_level": pd.DataFrame(WITHOUT),
        "jumps": pd.DataFrame({"layer": ["city"], "year": [2019], "light_change": [0.25]}),
        "rank_agreement": pd.DataFrame({"measure_a": ["lambert"], "measure_b": ["true"], "spearman": [0.987654]}),
        "paths": {"tables": "out/city_year.parquet", "map": "out/[old] lightpanel.gpkg"},
    } | changes


def line_with(text: str, *parts: str) -> str:
    found = [line for line in text.splitlines() if all(part in line for part in parts)]
    assert len(found) == 1, f"{len(found)} lines with {parts}"
    return found[0]


def section(text: str, title: str) -> str:
    """A title and the rows under it, which are indented."""
    first, *rest = text[text.index(title) :].splitlines()
    end = next((k for k, line in enumerate(rest) if line and not line.startswith(" ")), len(rest))
    return "\n".join([first, *rest[:end]])


def test_national_totals_are_given_year_by_year() -> None:
    text = section(summary_text(**content(district_year=None)), "National totals, city")
    # year, light, persons, light per person, covered, levels, persons in units over persons in the raster, years
    assert line_with(text, "2018 ", "4/4").split() == "2018 5,000 10,000 0.5 100.0% 4/4 80.0% 2018".split()
    # One city of 4,000 persons in 10,000 is covered at 0.9: (6,000 + 3,600) / 10,000
    assert line_with(text, "2019 ", "3/4").split() == "2019 10,000 10,000 1 96.0% 3/4 80.0% 2019".split()
    assert line_with(text, "2020*").split()[0] == "2020*"


def test_the_sum_shown_is_that_of_the_configured_measure() -> None:
    cities = unit_year("city", CITIES).assign(measure="cells")
    line = line_with(section(summary_text(**content(city_year=cities)), "National totals, city"), "2018 ")
    assert line.split()[1:4] == ["7,000", "10,000", "0.7"]
    assert "measure cells" in summary_text(**content(city_year=cities))


def test_coverage_is_never_rounded_up_to_all() -> None:
    cities = unit_year("city", CITIES).assign(cov_pop=0.99996)
    line = line_with(section(summary_text(**content(city_year=cities)), "National totals, city"), "2018 ")
    assert "99.9%" in line


@pytest.mark.parametrize("width", [40, 60, 80, 110, 200])
def test_every_unit_without_a_level_is_named_with_its_reason_and_years(width: int) -> None:
    text = section(summary_text(width=width, **content()), "Units without a level")
    glued = "".join(text.split())
    for record in WITHOUT:
        assert f"{record['name']}{record['code']}" in glued
    assert line_with(text, "LOWCOV").split()[:3] == ["LOWCOV", "2019", "1"]
    assert line_with(text, "NOPOP").split()[:3] == ["NOPOP", "2018-2020", "2"]


def test_records_with_years_as_text_say_the_same() -> None:
    records = [
        {
            "unit_code": r["code"],
            "unit_name": r["name"],
            "years": str(r["first_year"]) if r["n_years"] == 1 else f"{r['first_year']}-{r['last_year']}",
            "reason": r["reason"],
        }
        for r in WITHOUT
    ]
    assert summary_text(**content(without_level=records)) == summary_text(**content())


def test_a_year_that_all_units_miss_is_said_in_one_line() -> None:
    codes = tuple(str(k) for k in range(100000, 100030))
    shapes = [CITIES.geometry[0]] * 30
    many = Zones(codes, shapes, CITIES.crs, "2019", tuple(f"市{c}" for c in codes))
    gone = [{"code": c, "name": c, "first_year": 2019, "last_year": 2019, "reason": "NOLIGHT"} for c in codes]
    text = summary_text(**content(city_year=unit_year("city", many), without_level=gone))
    assert line_with(text, "NOLIGHT").split() == ["NOLIGHT", "2019", "30", "all", "of", "layer", "city"]
    # one unit fewer, and all the others are named
    text = summary_text(**content(city_year=unit_year("city", many), without_level=gone[:-1]))
    assert all(c in text for c in codes[:-1])


def test_a_run_in_which_every_unit_has_a_level_says_so() -> None:
    assert "Every unit has a level in every year" in summary_text(**content(without_level=[]))


@pytest.mark.parametrize("width", [30, 60, 80, 110])
def test_numbers_are_never_cut_and_lines_fit_where_they_can(width: int) -> None:
    big = national_year().assign(zones_total_persons=1_412_120_000.0, light_sum_dn_km2=123_456_789.0)
    text = summary_text(width=width, **content(national_year=big))
    assert text.count("1,412,120,000") == text.count("123,456,789") == 2 * len(YEARS)
    if width >= 110:
        assert max(cell_len(line) for line in text.splitlines()) <= width


def test_columns_line_up_under_chinese_names() -> None:
    lines = section(summary_text(**content()), "Highest and lowest").splitlines()
    rows = [line for line in lines if "市" in line]
    assert len(rows) == len(CITIES)
    # A Chinese character is two columns wide: the rows end in the same column only if that was counted
    assert len({cell_len(row) for row in rows}) == 1


def test_flags_are_counted_by_rows_and_units() -> None:
    cities = unit_year("city", CITIES)
    cities["flags"] = ["SAT", "SAT", "", "SAT;INTERP", *[""] * 8]
    text = section(summary_text(**content(city_year=cities, district_year=None)), "Flags")
    assert line_with(text, "SAT").split()[:4] == ["city", "SAT", "3", "2"]
    assert line_with(text, "INTERP").split()[:4] == ["city", "INTERP", "1", "1"]
    assert "Flags: none" in summary_text(**content(city_year=cities.assign(flags=""), district_year=None))


def test_highest_and_lowest_are_the_ends_of_the_latest_year() -> None:
    codes = tuple(str(k) for k in range(100000, 100014))
    many = Zones(codes, [CITIES.geometry[0]] * 14, CITIES.crs, "2019", tuple(f"第{k}市" for k in range(14)))
    frame = unit_year("city", many)
    frame.loc[(frame["city_code"] == "100013") & (frame["year"] == 2020), "level"] = math.nan
    text = section(summary_text(**content(city_year=frame)), "Highest and lowest level of 2020")
    ranks = [line.split()[:2] for line in text.splitlines() if "市" in line]
    expected = [(1, "100012"), (2, "100011"), (3, "100010"), (4, "100009"), (5, "100008")]
    expected += [(9, "100004"), (10, "100003"), (11, "100002"), (12, "100001"), (13, "100000")]
    assert ranks == [[str(rank), code] for rank, code in expected]
    assert len(expected) == 2 * N_ENDS


def test_pairs_are_counted() -> None:
    pairs = pair_year()
    pairs.loc[0, "bal"] = 1.25
    pairs.loc[1, "switched"] = True
    info = pairs_info_from_frame(pairs)
    assert info["n_pairs"] == 6
    assert info["n_rows"] == 12
    assert info["n_bal"] == int(pairs["bal"].notna().sum())
    assert (info["n_switched"], info["n_above_one"], info["n_ties"]) == (1, 1, 0)
    assert (info["first_year"], info["last_year"]) == (2019, 2020)
    text = section(summary_text(**content(pairs_info=info)), "City pairs")
    assert line_with(text, "switched").split()[-1] == "1"
    assert line_with(text, "first year").split()[-1] == "2019"  # a year has no thousands separator
    assert math.isnan(pairs_info_from_frame(pairs.iloc[:0])["share_bal"])


def test_brackets_in_names_are_not_markup() -> None:
    assert "out/[old] lightpanel.gpkg" in summary_text(**content())


def test_no_terminal_no_colours_and_no_box_characters() -> None:
    text = summary_text(**content())
    assert "\x1b" not in text
    assert not set(text) & set("─│┌┐└┘━┃")
    assert not any(line.endswith(" ") for line in text.splitlines())
    stream = io.StringIO()
    print_summary(Console(file=stream, force_terminal=True, width=110), **content())
    assert "\x1b[" in stream.getvalue()


def test_what_a_workspace_lacks_is_left_out() -> None:
    national = national_year().query("layer == 'district'")
    text = summary_text(national_year=national, district_year=unit_year("district", DISTRICTS), without_level=[])
    assert "district layer" in text
    assert "City pairs" not in text
    assert "city layer" not in text
    empty = unit_year("city", CITIES).assign(level=math.nan)
    assert "No city has a level in any year" in summary_text(**content(city_year=empty))
    assert "- synthetic years: 2020" in summary_text(**content())
