"""What a run says about a layer: national totals and jumps, units without a level, agreement of the measures."""

from __future__ import annotations

from math import isnan, nan

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from gis.errors import TableInvalid
from gis.indicators import national_rows, rank_agreement, units_without_level, year_on_year_jumps
from gis.tables import NATIONAL_YEAR, arrow_from_frame

SUMS = ("light_sum_dn_km2", "light_sum_true_dn_km2", "light_sum_cells_dn", "pop_persons")


def units(rows: list[dict[str, object]], layer: str = "city") -> pd.DataFrame:
    """Unit-years with the columns the summary reads; what a row leaves out is 1, or no flag."""
    default = {
        "year": 2000, "level": 1.0, **dict.fromkeys(SUMS, 1.0), "pop_years": "2000", "flags": "",
        "is_synthetic": False, "level_lambert": 1.0, "level_true": 1.0, "level_cells": 1.0,
    }  # fmt: skip
    filled = [{f"{layer}_code": "110000", f"{layer}_name": "北京市", **default, **row} for row in rows]
    return pd.DataFrame(filled)


# --- national totals ------------------------------------------------------------------------------------------------


def test_national_rows_add_up_all_units_beside_the_rasters():
    frame = units(
        [
            {"year": 2001, "light_sum_cells_dn": 4.0, "level": nan},
            {"year": 2000, "light_sum_cells_dn": 2.0, "pop_persons": 300.0},
            {"year": 2000, "light_sum_cells_dn": 3.0, "pop_persons": 500.0, "is_synthetic": True},
        ]
    )
    out = national_rows(frame, "city", raster_cells_dn={2000: 6.0}, raster_persons={2000: 900.0, 2001: 950.0})
    first, second = out.to_dict("records")
    assert (first["layer"], first["year"], first["n_units"], first["n_levels"]) == ("city", 2000, 2, 2)
    assert (first["light_sum_cells_dn"], first["raster_total_cells_dn"]) == (5.0, 6.0)
    assert (first["zones_total_persons"], first["raster_total_persons"]) == (800.0, 900.0)
    assert (first["is_synthetic"], second["is_synthetic"]) == (True, False)
    # The light of a unit without a level still is the nation's light.
    assert (second["n_units"], second["n_levels"], second["light_sum_cells_dn"]) == (1, 0, 4.0)
    assert isnan(second["raster_total_cells_dn"])
    assert arrow_from_frame(NATIONAL_YEAR, out).num_rows == 2


def test_a_year_without_light_is_missing_and_never_zero():
    frame = units([dict.fromkeys(SUMS, nan), dict.fromkeys(SUMS, nan)])
    row = national_rows(frame, "city").iloc[0]
    assert row[["light_sum_dn_km2", "light_sum_cells_dn", "zones_total_persons"]].isna().all()


@given(st.lists(st.floats(0, 1e12), min_size=1, max_size=30), st.randoms(use_true_random=False))
def test_order_of_units_changes_no_national_total(values, random):
    shuffled = list(values)
    random.shuffle(shuffled)
    totals = [national_rows(units([{"light_sum_dn_km2": v} for v in vs]), "city") for vs in (values, shuffled)]
    pd.testing.assert_frame_equal(*totals, check_exact=True)


def test_jumps_are_changes_on_the_calendar_year_before():
    light = {2000: 10.0, 2001: 15.0, 2003: 30.0, 2004: 0.0, 2005: 7.0, 2006: nan, 2007: 7.0}
    frame = units([{"year": year, "light_sum_dn_km2": value} for year, value in light.items()])
    jumps = year_on_year_jumps(national_rows(frame, "city")).set_index("year")
    assert jumps["light_change"].dropna().to_dict() == {2001: 0.5, 2004: -1.0}
    assert jumps["pop_change"].dropna().to_dict() == {2001: 0.0, 2004: 0.0, 2005: 0.0, 2006: 0.0, 2007: 0.0}
    assert not np.isinf(jumps["light_change"]).any()


def test_layers_jump_apart():
    cities = national_rows(units([{"year": 2000}, {"year": 2001, "light_sum_cells_dn": 2.0}]), "city")
    districts = national_rows(units([{"year": 2000}, {"year": 2001}], "district"), "district")
    jumps = year_on_year_jumps(pd.concat([districts, cities])).set_index(["layer", "year"])["light_cells_change"]
    assert jumps.dropna().to_dict() == {("city", 2001): 1.0, ("district", 2001): 0.0}


# --- units without a level ------------------------------------------------------------------------------------------


def test_units_without_a_level_are_listed_by_unbroken_runs_of_one_reason():
    story = {
        2000: (nan, "LOWAREA;LOWCOV;SAT"),
        2001: (nan, "LOWCOV"),
        2002: (1.0, "SAT"),
        2003: (nan, "LOWCOV"),
        2004: (nan, "ZEROPOP;NOLIGHT"),
    }
    rows = [{"year": year, "level": level, "flags": flags} for year, (level, flags) in story.items()]
    frame = pd.concat([units([{"city_code": "310000", "year": year} for year in story]), units(rows)])
    found = units_without_level(frame.sample(frac=1, random_state=1))
    assert found.values.tolist() == [
        ["110000", "北京市", 2000, 2001, 2, "LOWCOV"],
        ["110000", "北京市", 2003, 2003, 1, "LOWCOV"],
        ["110000", "北京市", 2004, 2004, 1, "ZEROPOP;NOLIGHT"],
    ]


def test_a_run_is_unbroken_over_a_year_that_nobody_has():
    rows = [{"year": year, "level": nan, "flags": "NOCELL"} for year in (2000, 2005)]
    assert units_without_level(units(rows))[["first_year", "last_year", "n_years"]].values.tolist() == [[2000, 2005, 2]]


def test_districts_are_listed_under_their_own_code():
    frame = units([{"level": nan, "flags": "NOCELL", "district_code": "110101"}], "district").assign(city_code="110000")
    assert units_without_level(frame)["code"].tolist() == ["110101"]


def test_no_unit_without_a_level_makes_an_empty_list():
    found = units_without_level(units([{}]))
    assert len(found) == 0
    assert list(found.columns) == ["code", "name", "first_year", "last_year", "n_years", "reason"]


def test_a_table_of_neither_cities_nor_districts_is_refused():
    with pytest.raises(TableInvalid, match=r"mend:.*rows of city_year or district_year"):
        units_without_level(units([{}]).rename(columns={"city_code": "code"}))


# --- agreement of the measures --------------------------------------------------------------------------------------

LEVEL = st.one_of(st.just(nan), st.integers(0, 5).map(float))


@settings(max_examples=40)
@given(st.lists(st.tuples(st.integers(2000, 2002), LEVEL, LEVEL, LEVEL), min_size=1, max_size=25))
def test_rank_agreement_matches_scipy(rows):
    names = ("lambert", "true", "cells")
    frame = units([{"year": y, **{f"level_{n}": v for n, v in zip(names, vs, strict=True)}} for y, *vs in rows])
    found = {(row["measure_a"], row["measure_b"]): row for row in rank_agreement(frame).to_dict("records")}
    for a, b in [("lambert", "true"), ("lambert", "cells"), ("true", "cells")]:
        both = frame[["year", f"level_{a}", f"level_{b}"]].dropna()

        def peer(part: pd.DataFrame, a: str = a, b: str = b) -> float:
            x, y = part[f"level_{a}"].to_numpy(), part[f"level_{b}"].to_numpy()
            return nan if len(set(x)) < 2 or len(set(y)) < 2 else float(spearmanr(x, y).statistic)

        row = found[a, b]
        assert row["n_unit_years"] == len(both)
        # A handful of ranks below 26: products and sums are exact, the square root and quotient round to 4e-16.
        assert row["spearman"] == pytest.approx(peer(both), abs=1e-14, nan_ok=True)
        by_year = {year: peer(part) for year, part in both.groupby("year")}
        judged = {year: value for year, value in by_year.items() if not isnan(value)}
        assert pd.isna(row["year_lowest"]) == (not judged)
        if judged:
            assert row["spearman_lowest"] == pytest.approx(min(judged.values()), abs=1e-14)  # as above
            assert judged[int(row["year_lowest"])] == pytest.approx(min(judged.values()), abs=1e-14)  # ties in years


def test_measures_that_order_alike_agree_perfectly_however_far_apart():
    rows = [{"level_lambert": v, "level_true": v**3, "level_cells": -v} for v in (1.0, 2.0, 5.0)]
    found = rank_agreement(units(rows)).set_index(["measure_a", "measure_b"])["spearman"]
    assert found["lambert", "true"] == pytest.approx(1.0, abs=1e-15)  # one rounding of a square root
    assert found["lambert", "cells"] == pytest.approx(-1.0, abs=1e-15)
