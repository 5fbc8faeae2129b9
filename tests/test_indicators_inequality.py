"""Inequality within cities, the centre, flows between centre and periphery: by hand, by definition, by invariance."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from gis.errors import OptionInvalid, TableInvalid
from gis.grid import Zones
from gis.indicators.centre import choose_centre, seats_from_points
from gis.indicators.inequality import (
    gini,
    groups_from_arrays,
    inequality,
    mean_log_deviation,
    min_max_ratio,
    periphery_over_centre,
    theil,
    theil_parts,
    variation,
)
from gis.panel.flows import flow_table
from gis.panel.within_city import centre_periphery_flows, within_city_pairs
from gis.tables import CITY_WITHIN, DISTRICT_CENTRE, check

LIGHT, PEOPLE = np.array([900.0, 600, 300, 200]), np.array([150.0, 200, 200, 250])
"""The worked case of the method: four districts, the first is the centre."""
FIRST = np.array([[True, False, False, False]])


def one_group(level, weight):
    level, weight = np.asarray(level, float), np.asarray(weight, float)
    return groups_from_arrays(level, weight, np.zeros(level.size, int), 1)


# --- golden and oracle ---------------------------------------------------------------------------------------------


def test_the_worked_case_has_its_published_indices():
    groups = one_group(LIGHT / PEOPLE, PEOPLE)
    even = groups.evenly()
    found = [
        f(g)[0]
        for f, g in (
            (theil, groups),
            (mean_log_deviation, groups),
            (variation, groups),
            (gini, groups),
            (gini, even),
            (theil, even),
            (variation, even),
        )
    ]
    published = [0.2581, 0.2740, 0.7497, 0.3906, 0.3783, 0.2426, 0.7072]
    assert [round(v, 4) for v in found] == published
    assert round(periphery_over_centre(groups, FIRST)[0], 8) == 0.28205128
    assert groups.mean[0] == 2.5


def by_definition(x: list[float], w: list[float], centre: set[int]) -> dict[str, float]:
    """Every index from its formula, in plain Python."""
    total = sum(w)
    w = [v / total for v in w]
    mean = sum(a * b for a, b in zip(x, w, strict=True))
    part = {}
    for name, members in (
        ("c", [k for k in range(len(x)) if k in centre]),
        ("p", [k for k in range(len(x)) if k not in centre]),
    ):
        size = sum(w[k] for k in members)
        own = sum(w[k] * x[k] for k in members) / size
        inner = sum(w[k] / size * x[k] / own * math.log(x[k] / own) for k in members if x[k]) if own else 0.0
        part[name] = (size, own, inner)
    between = sum(s * m / mean * math.log(m / mean) for s, m, _ in part.values() if m)
    within = sum(s * m / mean * t for s, m, t in part.values())
    return {
        "gini": sum(a * b * abs(u - v) for u, a in zip(x, w, strict=True) for v, b in zip(x, w, strict=True))
        / (2 * mean),
        "theil": sum(a * u / mean * math.log(u / mean) for u, a in zip(x, w, strict=True) if u),
        "mld": sum(a * math.log(mean / u) for u, a in zip(x, w, strict=True)) if all(x) else math.nan,
        "cv": math.sqrt(sum(a * (u - mean) ** 2 for u, a in zip(x, w, strict=True))) / mean,
        "between": between,
        "within": within,
        "bal_in": part["p"][1] / part["c"][1] if part["c"][1] else math.nan,
    }


SIZES = st.integers(2, 7).flatmap(
    lambda n: st.tuples(
        st.lists(st.integers(0, 50), min_size=n, max_size=n).filter(any),
        st.lists(st.integers(1, 50), min_size=n, max_size=n),
        st.sets(st.integers(0, n - 1), min_size=1, max_size=n - 1),
    )
)


@given(SIZES)
def test_random_cities_match_the_definition(case):
    x, w, centre = case
    groups = one_group(x, w)
    marks = np.array([[k in centre for k in range(len(x))]])
    between, within = theil_parts(groups, marks)
    found = {
        "gini": gini(groups)[0],
        "theil": theil(groups)[0],
        "mld": mean_log_deviation(groups)[0],
        "cv": variation(groups)[0],
        "between": between[0],
        "within": within[0],
        "bal_in": periphery_over_centre(groups, marks)[0],
    }
    for name, value in by_definition([float(v) for v in x], [float(v) for v in w], centre).items():
        assert found[name] == pytest.approx(value, abs=1e-12, nan_ok=True), name  # sums of at most 49 terms near 1
    assert between[0] + within[0] == pytest.approx(theil(groups)[0], abs=1e-12)  # METHOD 7


@given(SIZES, st.integers(-20, 20))
def test_scaling_all_levels_changes_no_index(case, power):
    x, w, _ = case
    base, scaled = one_group(x, w), one_group(np.array(x) * 2.0**power, w)
    for index in (gini, theil, variation, min_max_ratio, mean_log_deviation):
        np.testing.assert_allclose(index(scaled), index(base), rtol=1e-12, atol=1e-13)  # logarithms of other numbers


@given(SIZES, st.randoms(use_true_random=False))
def test_the_order_of_the_districts_changes_nothing(case, random):
    x, w, _ = case
    order = list(range(len(x)))
    random.shuffle(order)
    base, moved = one_group(x, w), one_group(np.array(x)[order], np.array(w)[order])
    for index in (gini, theil, variation, min_max_ratio, mean_log_deviation):
        np.testing.assert_allclose(index(moved), index(base), rtol=1e-12, atol=1e-13)  # another order of summation


@given(SIZES)
def test_splitting_a_district_into_equal_halves_changes_no_weighted_index(case):
    x, w, _ = case
    base = one_group(x, w)
    halved = one_group([x[0], *x], [w[0] / 2, w[0] / 2, *w[1:]])
    for index in (gini, theil, variation, mean_log_deviation):
        np.testing.assert_allclose(index(halved), index(base), rtol=1e-12, atol=1e-13)  # one more term


def test_equal_districts_have_no_inequality_and_one_district_has_no_index():
    even = one_group([3, 3, 3], [1, 2, 3])
    for index in (gini, theil, variation, mean_log_deviation):
        assert index(even)[0] == pytest.approx(0, abs=1e-15)  # rounding of thirds
    assert min_max_ratio(even)[0] == 1
    for lonely in (one_group([3, np.nan], [1, 1]), one_group([3, 4], [1, 0]), one_group([0, 0], [1, 1])):
        for index in (gini, theil, variation, mean_log_deviation, min_max_ratio):
            assert np.isnan(index(lonely)[0])


def test_a_dark_district_has_no_log_deviation_unless_there_is_a_floor():
    groups = one_group([0, 2], [1, 1])
    assert np.isnan(mean_log_deviation(groups)[0])
    floored = mean_log_deviation(groups, zeros="floor", floor=0.5)[0]
    assert floored == pytest.approx(math.log(1.25) - (math.log(0.5) + math.log(2)) / 2, abs=1e-15)
    assert theil(groups)[0] == pytest.approx(math.log(2), abs=1e-15)  # 0 ln 0 = 0
    assert min_max_ratio(groups)[0] == 0


@pytest.mark.parametrize("rule", [{"zeros": "drop"}, {"zeros": "floor"}])
def test_a_rule_for_dark_districts_that_cannot_be_is_refused(rule):
    with pytest.raises(OptionInvalid, match=r"mend:  (nan or floor|give a level above 0)"):
        mean_log_deviation(one_group([0, 2], [1, 1]), **rule)


# --- tables ----------------------------------------------------------------------------------------------------------

CITY, OTHER = "440100", "510100"


def districts() -> pd.DataFrame:
    codes = ["440103", "440105", "440121", "440181", "510104", "510121"]
    rows = []
    for year, factor in ((2000, 1.0), (2001, 2.0)):
        for k, code in enumerate(codes):
            light, people = (LIGHT[k], PEOPLE[k]) if k < 4 else ((30.0, 10.0), (10.0, 10.0))[k - 4]
            rows.append(
                (
                    code,
                    code[:4] + "00",
                    year,
                    factor * light / people,
                    people,
                    factor * light / [9, 9, 1, 9, 6, 1][k],
                    factor * light,
                )
            )
    names = ["district_code", "city_code", "year", "level", "pop_persons", "light_density_dn", "light_sum_true_dn_km2"]
    return pd.DataFrame(rows, columns=names)


def centre_of(frame: pd.DataFrame, year: int = 2000) -> set[str]:
    return set(frame[(frame["year"] == year) & frame["is_centre"]]["district_code"])


def test_four_rules_choose_four_centres():
    frame = districts()
    assert centre_of(choose_centre(frame, "brightest")) == {"440121", "510121"}  # most light per area
    assert centre_of(choose_centre(frame, "districts")) == {"440103", "440105", "510104"}  # codes 01 to 20
    assert centre_of(choose_centre(frame, "seat", seats=("440103",))) == {"440103"}
    # densities 300, 100, 66.7, 22.2: 300 + 900 + 600 = 1,800 of 2,000 are 90 %, met exactly
    assert centre_of(choose_centre(frame, "share90")) == {"440121", "440103", "440105", "510104", "510121"}
    for rule in ("brightest", "districts", "share90"):
        check(DISTRICT_CENTRE, choose_centre(frame, rule))


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(1, 9)), min_size=1, max_size=9))
def test_the_share_centre_is_the_smallest_set_that_holds_it(pairs):
    light, area = np.array(pairs, float).T
    frame = pd.DataFrame(
        {
            "district_code": [f"4401{k:02d}" for k in range(len(pairs))],
            "city_code": CITY,
            "year": 2000,
            "light_density_dn": light / area,
            "light_sum_true_dn_km2": light,
        }
    )
    chosen = choose_centre(frame, "share90")["is_centre"].to_numpy()
    order = np.lexsort((np.arange(len(pairs)), -(light / area)))
    needed = [int(sum(light[order[:n]]) * 10 >= 9 * light.sum()) for n in range(len(pairs) + 1)].index(1)
    assert sorted(np.flatnonzero(chosen)) == sorted(order[:needed])


def test_a_centre_stays_unless_it_is_asked_to_move():
    frame = districts()
    late = (frame["year"] == 2001) & (frame["district_code"] == "440103")
    frame.loc[late, "light_density_dn"] = 1e6
    assert centre_of(choose_centre(frame, "brightest"), 2001) == {"440121", "510121"}
    assert centre_of(choose_centre(frame, "brightest", base_year=2001), 2000) == {"440103", "510121"}
    moving = choose_centre(frame, "brightest", dynamic=True)
    assert centre_of(moving, 2000) == {"440121", "510121"}
    assert centre_of(moving, 2001) == {"440103", "510121"}


def test_a_city_without_light_in_the_base_year_is_looked_at_later():
    frame = districts()
    frame.loc[(frame["year"] == 2000) & (frame["city_code"] == OTHER), "light_density_dn"] = np.nan
    assert centre_of(choose_centre(frame, "brightest")) == {"440121", "510121"}


def test_a_seat_lies_in_the_district_that_holds_it():
    boxes = np.array([shapely.box(k, 0, k + 1, 1) for k in range(3)], dtype=object)
    zones = Zones(("440105", "440103", "440121"), boxes, "EPSG:4326")
    points = np.array([[0.5, 0.5], [1.0, 0.5], [9.0, 9.0], [np.nan, np.nan]])
    assert seats_from_points(points, zones) == ("440103", "440105")  # on the border: the lower code


def test_the_table_holds_every_city_and_year_and_cities_without_districts():
    frame = districts()
    found = inequality(frame, choose_centre(frame, "seat", seats=("440103",)), cities=("441900",))
    check(CITY_WITHIN.with_columns(found.columns), found)
    assert len(found) == 3 * 2
    row = found[(found["city_code"] == CITY) & (found["year"] == 2000)].iloc[0]
    assert round(row["theil"], 4) == 0.2581
    assert round(row["bal_in"], 5) == 0.28205
    assert row["theil_between"] + row["theil_within"] == pytest.approx(row["theil"], abs=1e-12)  # METHOD 7
    assert (row["n_districts"], row["n_centre"], row["centre_rule"]) == (4, 1, "seat")
    without = found[found["city_code"] == OTHER].iloc[0]
    assert (without["n_centre"], without["centre_rule"]) == (0, "")
    assert np.isnan(without["bal_in"])
    assert without["gini"] > 0
    nothing = found[found["city_code"] == "441900"]
    assert nothing[["gini", "theil", "mld", "cv", "min_max_ratio", "bal_in"]].isna().all(axis=None)
    assert (nothing["n_districts"] == 0).all()


def test_scaling_all_lights_changes_no_row_of_the_table():
    frame = districts()
    found = inequality(frame, choose_centre(frame, "brightest"))
    one, other = (found[found["year"] == y].drop(columns="year").reset_index(drop=True) for y in (2000, 2001))
    pd.testing.assert_frame_equal(one, other, rtol=1e-13)  # the second year is the first, twice as bright


def test_renaming_the_cities_renames_the_rows():
    names = {CITY: OTHER, OTHER: CITY}
    frame = districts()
    found = inequality(frame.assign(city_code=frame["city_code"].map(names)))
    base = inequality(frame)
    moved = base.assign(city_code=base["city_code"].map(names)).sort_values(["city_code", "year"], ignore_index=True)
    pd.testing.assert_frame_equal(found, moved)


def test_a_district_without_a_level_is_counted_and_left_out():
    frame = districts()
    frame.loc[frame["district_code"] == "440181", "level"] = np.nan
    row = inequality(frame).iloc[0]
    assert (row["n_districts"], row["n_districts_missing"]) == (3, 1)
    assert row["gini"] == gini(one_group((LIGHT / PEOPLE)[:3], PEOPLE[:3]))[0]


FAULTS = {
    "a level below zero": (lambda f: f.assign(level=-1.0), r'(?s)440103 in 2000 is -1.*mend:  .*negatives = "zero"'),
    "a district twice": (lambda f: pd.concat([f, f.iloc[:1]]), r"(?s)440103 in 2000.*mend:  keep one row"),
    "a column gone": (lambda f: f.drop(columns="level"), r"(?s)no column level.*mend:  give rows of district_year"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_bad_districts_are_named(fault):
    change, message = FAULTS[fault]
    with pytest.raises(TableInvalid, match=message):
        inequality(change(districts()))


@pytest.mark.parametrize(
    ("options", "mend"),
    [
        ({"rule": "largest"}, "one of seat"),
        ({"rule": "seat"}, "set within_city.seats"),
        ({"rule": "brightest", "base_year": 1999}, "one of 2000, 2001"),
    ],
)
def test_a_centre_that_cannot_be_chosen_is_refused(options, mend):
    with pytest.raises(OptionInvalid, match=rf"mend:  {mend}"):
        choose_centre(districts(), **options)


# --- flows and pairs inside cities -----------------------------------------------------------------------------------


def test_centre_and_periphery_exchange_by_hand():
    frame = districts()
    centre = choose_centre(frame, "seat", seats=("440103", "510104"))
    rows = [
        ("440103", "440121", 2000, 5),
        ("440105", "440103", 2000, 2),
        ("440121", "440103", 2000, 1),
        ("440105", "440121", 2000, 9),
        ("510104", "440121", 2000, 4),
        ("510104", "510104", 2000, 7),
    ]
    table = flow_table(pd.DataFrame(rows, columns=["src", "dst", "year", "n"]), sorted(set(frame["district_code"])))
    found = centre_periphery_flows(table, centre, inequality(frame, centre)).set_index(["city_code", "year"])
    assert found.loc[(CITY, 2001), ["dkf_ctop", "dkf_ptoc", "dkf_external"]].tolist() == [5, 3, 4]
    assert found.loc[(CITY, 2001), "ln_dkf_ctop_net"] == math.log(6) - math.log(4)
    assert found.loc[(OTHER, 2001), ["dkf_ctop", "dkf_ptoc", "dkf_external"]].tolist() == [0, 0, 0]
    assert found.xs(2000, level="year")[["dkf_ctop", "dkf_external"]].isna().all(axis=None)  # 1999 is not covered
    check(CITY_WITHIN, found.reset_index())


def test_inflow_from_outside_may_come_from_flows_between_cities():
    frame = districts()
    centre = choose_centre(frame, "brightest")
    nothing = flow_table(
        pd.DataFrame({"src": [], "dst": [], "year": [], "n": []}), set(frame["district_code"]), years=(2000, 2000)
    )
    between = flow_table(
        pd.DataFrame({"src": [OTHER, CITY, "620100"], "dst": [CITY, CITY, CITY], "year": 2000, "n": [3.0, 50.0, 2.0]}),
        (CITY, OTHER, "620100"),
    )
    found = centre_periphery_flows(nothing, centre, inequality(frame), lag=0, city_flows=between)
    found = found.set_index(["city_code", "year"])["dkf_external"]
    assert (found[CITY, 2000], found[OTHER, 2000]) == (5, 0)


def test_a_city_without_a_centre_has_no_flows_between_the_two():
    frame = districts()
    centre = choose_centre(frame, "seat", seats=("440103",))
    table = flow_table(
        pd.DataFrame({"src": ["510104"], "dst": ["510121"], "year": [2000], "n": [1.0]}), set(frame["district_code"])
    )
    found = centre_periphery_flows(table, centre, inequality(frame), lag=0).set_index(["city_code", "year"])
    assert np.isnan(found.loc[(OTHER, 2000), "dkf_ctop"])
    assert found.loc[(CITY, 2000), "dkf_ctop"] == 0


def test_pairs_within_cities_are_all_pairs_of_districts_of_one_city():
    frame = districts()
    found = pd.concat([batch.to_pandas() for batch in within_city_pairs(frame)])
    assert len(found) == (6 + 1) * 1  # four and two districts, one row year
    assert (found["city_i"].str[:4] == found["city_j"].str[:4]).all()
    assert found["pair_id"].is_monotonic_increasing
    first = found.iloc[0]
    assert first["bal"] == pytest.approx(0.5, rel=1e-15)  # 3 over 6, both doubled


def test_cities_of_one_district_have_no_pair():
    with pytest.raises(TableInvalid, match=r"mend:  set within_city\.pairs = false"):
        list(within_city_pairs(districts().drop_duplicates(["city_code", "year"])))
