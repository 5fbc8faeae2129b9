"""Directed flows as a table and as seen from a pair: dates, labels, sums, and every fault by file and row."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gis.errors import CodeInvalid, OptionInvalid, TableInvalid
from gis.panel import balance, pair_id
from gis.panel.flows import DENSE_CELLS, FlowTable, flow_table, oriented, oriented_flows
from gis.panel.rows import rows_from_frame

A, B, C = "110000", "310000", "440100"
LEVELS = {A: (2.0, 2.2, 2.3), B: (1.0, 1.5, 2.4), C: (0.5, 0.5, 0.6)}
FLOWS = {
    2000: {(A, B): 7, (B, A): 3, (A, C): 1, (C, A): 0, (B, C): 2, (C, B): 0},
    2001: {(A, B): 15, (B, A): 7, (A, C): 3, (C, A): 1, (B, C): 0, (C, B): 4},
}
"""The worked case of the method: years 0-2 are 2000-2002."""


def levels(last: int = 2002) -> pd.DataFrame:
    rows = [(c, 2000 + k, v) for c, values in LEVELS.items() for k, v in enumerate(values) if 2000 + k <= last]
    return pd.DataFrame(rows, columns=["city_code", "year", "level"])


def flows() -> pd.DataFrame:
    rows = [(s, d, y, n) for y, of_year in FLOWS.items() for (s, d), n in of_year.items()]
    return pd.DataFrame(rows, columns=["src", "dst", "year", "n"])


# --- golden ------------------------------------------------------------------------------------------------------


def test_the_worked_case_has_its_published_logarithms():
    found = oriented_flows(balance(levels()), flows()).set_index(["pair_id", "year"])
    ab, ac, bc = pair_id(A, B), pair_id(A, C), pair_id(B, C)
    # 4 digits as printed in the method
    assert found.loc[(ab, 2001), "ln_dkf_htol"] == pytest.approx(2.0794, abs=5e-5)
    assert found.loc[(ab, 2001), "ln_dkf_ltoh"] == pytest.approx(1.3863, abs=5e-5)
    for row, net in {(ab, 2001): 0.6931, (ac, 2001): 0.6931, (bc, 2001): 1.0986,
                     (ab, 2002): 0.6931, (ac, 2002): 0.6931, (bc, 2002): -1.6094}.items():  # fmt: skip
        assert found.loc[row, "ln_dkf_net"] == pytest.approx(net, abs=5e-5)


def test_balance_of_directions_is_twice_the_smaller_over_the_sum():
    found = oriented_flows(balance(levels()), flows()).set_index(["pair_id", "year"])
    assert found.loc[(pair_id(A, B), 2001), "dkf_balance"] == 2 * 3 / 10
    assert found.loc[(pair_id(A, C), 2001), "dkf_balance"] == 0
    nothing = oriented_flows(balance(levels()), flows().assign(n=0))
    assert nothing["dkf_balance"].isna().all()


# --- dates and labels ----------------------------------------------------------------------------------------------


def test_reading_ii_takes_the_labels_of_the_row_before():
    crossing = pd.concat([levels(), pd.DataFrame({"city_code": [A, B, C], "year": 2003, "level": [2.4, 2.5, 0.6]})])
    pairs = balance(crossing)  # B overtakes A in 2002: the row of 2003 has hi = B
    own = oriented_flows(pairs, flows().assign(year=lambda d: d["year"] + 1)).set_index(["pair_id", "year"])
    before = oriented_flows(pairs, flows().assign(year=lambda d: d["year"] + 1), orient_lag=2)
    before = before.set_index(["pair_id", "year"])
    ab = pair_id(A, B)
    assert own.loc[(ab, 2003), ["dkf_htol", "dkf_ltoh"]].tolist() == [7, 15]
    assert before.loc[(ab, 2003), ["dkf_htol", "dkf_ltoh"]].tolist() == [15, 7]
    assert before.loc[(ab, 2001), "dkf_htol"] != before.loc[(ab, 2001), "dkf_htol"]  # the first row has none before it


def test_the_order_of_the_rows_does_not_matter_to_reading_ii():
    pairs = balance(levels())
    found = oriented_flows(pairs, flows(), orient_lag=2)
    mixed = oriented_flows(pairs.sample(frac=1, random_state=1), flows(), orient_lag=2)
    pd.testing.assert_frame_equal(mixed.sort_index(), found)


def test_a_lag_moves_the_date_and_nothing_else():
    pairs = balance(levels())
    now = oriented_flows(pairs, flows().assign(year=lambda d: d["year"] + 1), lag=0)
    pd.testing.assert_frame_equal(now, oriented_flows(pairs, flows(), lag=1))


def test_a_covered_year_without_a_row_is_zero_and_an_uncovered_one_unknown():
    pairs, some = balance(levels()), flows().query("year == 2000")
    assert oriented_flows(pairs, some).query("year == 2002")["dkf_htol"].isna().all()
    covered = oriented_flows(pairs, some, years=(2000, 2001)).query("year == 2002")
    assert (covered[["dkf_htol", "dkf_ltoh", "ln_dkf_net"]] == 0).all(axis=None)


def test_codes_of_another_vintage_are_carried_and_added_up():
    old = flows().replace({"src": {A: "110100"}, "dst": {A: "110100"}})
    split = pd.concat([old, flows().query("src == @A").assign(n=1)])  # some rows already in the new code
    found = flow_table(split, (A, B, C), recode={"110100": A})
    assert found.of(*at(found, A, B, 2000)) == 8
    assert found.of(*at(found, B, A, 2000)) == 3


def at(table: FlowTable, src: str, dst: str, year: int):
    return (np.array([table.codes.index(src)]), np.array([table.codes.index(dst)]), np.array([year]))


# --- dense and sparse ------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(0, 3), st.integers(0, 9)), max_size=30))
def test_an_array_and_a_search_find_the_same(rows):
    codes = tuple(f"11010{k}" for k in range(5))
    frame = pd.DataFrame(
        [(codes[s], codes[d], 2000 + y, n) for s, d, y, n in rows], columns=["src", "dst", "year", "n"]
    )
    dense = flow_table(frame, codes, years=(2000, 2003))
    sparse = FlowTable(dense.codes, dense.years, dense.key, dense.n)
    assert dense.dense is not None
    assert sparse.dense is None
    s, d, y = (a.ravel() for a in np.meshgrid(np.arange(-1, 5), np.arange(-1, 5), np.arange(1999, 2006)))
    np.testing.assert_array_equal(dense.of(s, d, y), sparse.of(s, d, y))
    for year in range(2000, 2004):
        by_hand = np.zeros((5, 5))
        for src, dst, t, n in rows:
            by_hand[src, dst] += n * (2000 + t == year)
        np.testing.assert_array_equal(dense.matrix(year), by_hand)
        np.testing.assert_array_equal(sparse.matrix(year), by_hand)
    assert dense.frame()["n"].sum() == sum(n for *_, n in rows)


def test_a_large_roster_is_searched():
    codes = tuple(f"{k:06d}" for k in range(110000, 113000))
    assert len(codes) ** 2 > DENSE_CELLS
    found = flow_table(pd.DataFrame({"src": [codes[7]], "dst": [codes[9]], "year": [2001], "n": [2.5]}), codes)
    assert found.dense is None
    assert found.of(np.array([7, 9]), np.array([9, 7]), np.array([2001, 2001])).tolist() == [2.5, 0]


# --- invariances -----------------------------------------------------------------------------------------------------


def renamed(frame: pd.DataFrame, names: dict[str, str]) -> pd.DataFrame:
    columns = [c for c in ("city_code", "src", "dst") if c in frame]
    return frame.assign(**{c: frame[c].map(names) for c in columns})


@given(st.permutations([A, B, C]))
def test_renaming_the_codes_changes_which_pair_a_row_is_of_and_nothing_else(new):
    names = dict(zip((A, B, C), new, strict=True))
    pairs = balance(renamed(levels(), names))
    found = oriented_flows(pairs, renamed(flows(), names)).assign(hi=pairs["hi"], lo=pairs["lo"])
    base_pairs = balance(levels())
    base = oriented_flows(base_pairs, flows()).assign(hi=base_pairs["hi"], lo=base_pairs["lo"])
    base = base.assign(hi=base["hi"].map(names), lo=base["lo"].map(names))
    base["pair_id"] = [pair_id(str(h), str(low)) for h, low in zip(base["hi"], base["lo"], strict=True)]
    keys = ["pair_id", "year"]
    values = ["hi", "lo", "dkf_htol", "dkf_ltoh", "ln_dkf_net", "dkf_balance"]
    one, two = (f.sort_values(keys).astype({"hi": str, "lo": str})[keys + values] for f in (found, base))
    pd.testing.assert_frame_equal(one.reset_index(drop=True), two.reset_index(drop=True))


@given(st.integers(-8, 8))
def test_scaling_all_lights_changes_no_flow_and_no_bal(power):
    scaled = levels().assign(level=lambda d: d["level"] * 2.0**power)  # a power of two is exact
    pairs, base = balance(scaled), balance(levels())
    pd.testing.assert_frame_equal(oriented_flows(pairs, flows()), oriented_flows(base, flows()))
    np.testing.assert_array_equal(pairs["bal"], base["bal"])


def test_turning_every_flow_around_turns_every_net_flow_around():
    pairs = balance(levels())
    found = oriented_flows(pairs, flows())
    turned = oriented_flows(pairs, flows().rename(columns={"src": "dst", "dst": "src"}))
    np.testing.assert_array_equal(turned["ln_dkf_net"], -found["ln_dkf_net"])
    np.testing.assert_array_equal(turned["dkf_htol"], found["dkf_ltoh"])
    np.testing.assert_array_equal(turned["dkf_balance"], found["dkf_balance"])


def test_swapping_the_two_cities_of_a_row_swaps_nothing_oriented():
    pairs = balance(levels())
    swapped = pairs.rename(columns={"city_i": "city_j", "city_j": "city_i"})
    pd.testing.assert_frame_equal(oriented_flows(swapped, flows()), oriented_flows(pairs, flows()))


# --- faults ------------------------------------------------------------------------------------------------------


def with_row(**values) -> pd.DataFrame:
    return pd.concat([flows(), pd.DataFrame([{"src": A, "dst": B, "year": 2000, "n": 1, **values}])], ignore_index=True)


SRC_MEND, NUMBER_MEND = r"map the codes", r"correct it, or leave the cell empty"
FAULTS = {
    "negative": ({"n": -2}, TableInvalid, "first -2 from", "column n", "give a count of 0 or more"),
    "missing": ({"n": np.nan}, TableInvalid, "first nan", "column n", "give a count of 0 or more"),
    "infinite": ({"n": np.inf}, TableInvalid, "first inf", "", NUMBER_MEND),
    "a word": ({"n": "many"}, TableInvalid, "'many'", "", NUMBER_MEND),
    "unknown source": ({"src": "341400"}, CodeInvalid, "341400", "column src", SRC_MEND),
    "unknown destination": ({"dst": "341400"}, CodeInvalid, "341400", "column dst", SRC_MEND),
    "half a year": ({"year": 2000.5}, TableInvalid, "first 2000.5", "", "give every row its year"),
    "outside its coverage": ({"year": 2007}, TableInvalid, "2000-2001.*first 2007", "column year", "widen flows.years"),
}
"""Values, error, what, where beside file and row, mend."""


@pytest.mark.parametrize("fault", FAULTS)
def test_a_bad_row_is_named_with_its_file_and_number(fault):
    values, error, what, column, mend = FAULTS[fault]
    with pytest.raises(error, match=rf"(?s){what}.*flows/flows\.csv, row 13.*{column}.*mend:  {mend}"):
        flow_table(with_row(**values), (A, B, C), years=(2000, 2001), where=Path("flows/flows.csv"))


def test_blanks_and_the_point_of_a_spreadsheet_are_no_part_of_a_code():
    spoiled = flows().assign(src=" " + flows()["src"], dst=flows()["dst"] + ".0")
    pd.testing.assert_frame_equal(
        oriented_flows(balance(levels()), spoiled), oriented_flows(balance(levels()), flows())
    )


def test_unknown_codes_may_be_left_out_and_are_counted():
    found = flow_table(with_row(src="341400"), (A, B, C), drop_unknown=True)
    assert found.n_dropped == 1
    pd.testing.assert_frame_equal(found.frame(), flow_table(flows(), (A, B, C)).frame())


def test_a_missing_column_is_named():
    with pytest.raises(TableInvalid, match=r"(?s)no column n.*mend:  name the columns src, dst, year, n"):
        flow_table(flows().drop(columns="n"), (A, B, C))


@pytest.mark.parametrize(("key", "value"), [("lag", 0.5), ("orient_lag", 0)])
def test_a_lag_that_is_none_is_refused(key, value):
    with pytest.raises(OptionInvalid, match=r"mend:  give"):
        oriented_flows(balance(levels()), flows(), **{key: value})


def test_rows_of_another_roster_are_refused():
    variable = oriented(flow_table(flows(), (A, B, C)))
    rows = rows_from_frame(balance(levels()), (A, B, C, "510100"))
    with pytest.raises(CodeInvalid, match=r"mend:  make both with the same roster"):
        variable(rows)


def test_a_city_of_the_panel_that_is_not_in_the_roster_is_named():
    with pytest.raises(CodeInvalid, match=rf"(?s){C}.*mend:  give the roster the panel was made of"):
        rows_from_frame(balance(levels()), (A, B))


def test_the_worked_example_of_the_method_is_met(checkout):
    golden = json.loads((checkout / "tests" / "golden" / "micro_panel_flows.json").read_text(encoding="utf-8"))
    names = dict(zip("ABC", (A, B, C), strict=True))
    pairs = balance(levels())
    found = oriented_flows(pairs, flows()).assign(bal=pairs["bal"], hi=pairs["hi"]).set_index(["pair_id", "year"])
    for row in golden["rows"]:
        mine = found.loc[(pair_id(*(names[c] for c in row["pair"])), 2000 + row["t"])]
        assert mine["bal"] == pytest.approx(row["Bal"], rel=1e-15)  # one division
        assert mine["hi"] == names[row["H"]]
        assert mine["ln_dkf_net"] == pytest.approx(row["net"], abs=1e-15)  # one rounding of a difference
