"""Bal against its definition: an oracle in plain loops, the golden micro panel, invariances, the stream."""

from __future__ import annotations

import csv
import runpy
import tracemalloc
from itertools import combinations
from math import isnan, nan
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gis.panel import BAL_FLAGS, balance, balance_batches, write_pairs
from gis.tables import COLUMNS, PAIR_YEAR, arrow_from_frame, check, read_table

GOLDEN = Path(__file__).parent / "golden"
CODES = ("110000", "130100", "310000", "440100", "540100", "659001")
TIES = ("previous", "drop", "t-2")


def levels_of(series: dict[str, list[float]], first_year: int = 2000) -> pd.DataFrame:
    rows = [(code, first_year + k, value) for code, values in series.items() for k, value in enumerate(values)]
    return pd.DataFrame(rows, columns=["city_code", "year", "level"])


def plain(frame: pd.DataFrame) -> list[dict[str, object]]:
    """Rows as plain Python values, every missing one None."""
    columns = {
        name: [None if pd.isna(value) else value for value in frame[name].astype(object)] for name in PAIR_YEAR.columns
    }
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


# --- oracle ---------------------------------------------------------------------------------------------------------


def bal_by_hand(levels: dict[tuple[str, int], float], tie: str) -> list[dict[str, object]]:
    """The pair panel from the definition (METHOD 3), one pair, one year at a time; None is missing."""
    codes = sorted({code for code, _ in levels})
    years = [year for _, year in levels]

    def level(code: str, year: int) -> float | None:
        value = levels.get((code, year), nan)
        return None if isnan(value) else value

    def equal(a: float, b: float) -> bool:
        return abs(a - b) <= 1e-12 * max(a, b)

    def order(i: str, j: str, year: int) -> tuple[str, str] | None:
        a, b = level(i, year), level(j, year)
        if a is None or b is None or equal(a, b):
            return None
        return (i, j) if a > b else (j, i)

    rows = []
    for i, j in combinations(codes, 2):
        before: tuple[str, str] | None = None
        for year in range(min(years) + 1, max(years) + 1):
            a, b = level(i, year - 1), level(j, year - 1)
            known = a is not None and b is not None
            tied = known and equal(a, b)
            now: tuple[str, str] | None = None
            if tied and tie == "previous":
                now = before or (i, j)
            elif tied and tie == "t-2":
                now = order(i, j, year - 2) or (i, j)
            elif known and not tied:
                now = order(i, j, year - 1)
            row: dict[str, object] = dict.fromkeys(PAIR_YEAR.columns)
            row |= {"pair_id": int(i) * 10**6 + int(j), "year": year, "city_i": i, "city_j": j}
            row["tie"] = tied if known else None
            if now is None:
                row["bal_flag"] = "NOORDER"
            else:
                hi, lo = now
                high, low = level(hi, year), level(lo, year)
                row |= {"hi": hi, "lo": lo, "level_hi": high, "level_lo": low}
                row |= {"level_hi_lag": level(hi, year - 1), "level_lo_lag": level(lo, year - 1)}
                row["switched"] = None if before is None else hi != before[0]
                if high is None or low is None:
                    row["bal_flag"] = "NOLEVEL"
                elif high == 0:
                    row["bal_flag"] = "ZEROHI"
                else:
                    row["bal_flag"], row["bal"] = "", low / high
            rows.append(row)
            before = now
    return rows


# Few distinct values, so that ties, near ties, zeros and crossings are common, and any number besides. Nothing so
# small that a ratio overflows: that case is worked by hand below.
LEVEL = st.one_of(
    st.sampled_from([nan, 0.0, 1.0, 1.0 + 2**-42, 1.0 + 2**-38, 2.0, 3.0]),
    st.floats(1e-9, 1e6),
)


@st.composite
def panels(draw: st.DrawFn) -> dict[tuple[str, int], float]:
    codes = draw(st.lists(st.sampled_from(CODES), min_size=2, max_size=5, unique=True))
    cells = [(code, 2000 + k) for code in codes for k in range(draw(st.integers(2, 7)))]
    levels = {cell: draw(LEVEL) for cell in cells}
    for year in draw(st.sets(st.integers(2001, 2004))):  # gaps: years without any row
        levels = {cell: value for cell, value in levels.items() if cell[1] != year}
    for cell in draw(st.sets(st.sampled_from(cells), max_size=3)):
        levels.pop(cell, None)
    assume(len({c for c, _ in levels}) > 1 and len({y for _, y in levels}) > 1)
    return levels


def frame_of(levels: dict[tuple[str, int], float]) -> pd.DataFrame:
    return pd.DataFrame([(c, y, v) for (c, y), v in levels.items()], columns=["city_code", "year", "level"])


@pytest.mark.parametrize("tie", TIES)
@given(panels())
def test_random_panels_match_the_definition(tie, levels):
    assert plain(balance(frame_of(levels), tie=tie)) == bal_by_hand(levels, tie)


# --- golden ---------------------------------------------------------------------------------------------------------


def golden(name: str) -> list[dict[str, str]]:
    with open(GOLDEN / name, encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_golden_files_are_what_their_script_writes():
    files = runpy.run_path(str(GOLDEN / "make_micro_panel.py"))["files"]()
    assert {name: (GOLDEN / name).read_text(encoding="utf-8") for name in files} == files


def test_the_micro_panel_is_the_published_one():
    levels = pd.read_csv(GOLDEN / "micro_panel_levels.csv", dtype={"city_code": "str"})
    found = {(row["pair_id"], row["year"]): row for row in plain(balance(levels))}
    expected = golden("micro_panel_rows.csv")
    assert len(found) == len(expected)
    for row in expected:
        got = found[int(row["pair_id"]), int(row["year"])]
        assert (got["hi"], got["lo"], got["bal_flag"]) == (row["hi"], row["lo"], row["bal_flag"])
        assert got["switched"] == (row["switched"] == "True" if row["switched"] else None)
        if row["bal_numerator"]:
            # Two decimals such as 2.4 and 2.3 are read, and their quotient rounded: three roundings of 1.1e-16.
            assert got["bal"] == pytest.approx(int(row["bal_numerator"]) / int(row["bal_denominator"]), rel=4e-16)
        else:
            assert got["bal"] is None


def test_the_golden_rows_cover_a_crossing_a_switch_and_a_missing_level():
    rows = golden("micro_panel_rows.csv")
    assert any(r["bal_numerator"] and int(r["bal_numerator"]) > int(r["bal_denominator"]) for r in rows)
    assert {r["switched"] for r in rows} == {"", "True", "False"}
    assert {r["bal_flag"] for r in rows} == {"", "NOLEVEL"}


def many_cities(n_cities: int, n_years: int, seed: int = 0) -> pd.DataFrame:
    levels = np.random.default_rng(seed).lognormal(size=(n_cities, n_years))
    return levels_of({f"{110000 + 100 * k}": list(row) for k, row in enumerate(levels)})


@pytest.mark.parametrize("fact", golden("pair_counts.csv"), ids=lambda fact: fact["claim"])
def test_row_counts_of_the_paper(fact):
    levels = many_cities(int(fact["n_cities"]), int(fact["n_level_years"]))
    without = levels["city_code"].unique()[: int(fact["n_cities_without_level"])]
    levels.loc[levels["city_code"].isin(without), "level"] = nan
    panel = balance(levels)
    assert len(panel) == int(fact["n_rows"])
    assert panel["bal"].notna().sum() == int(fact["n_bal"])


# --- cases, by hand -------------------------------------------------------------------------------------------------

A, B, NO = "110000", "310000", None


CASES = pytest.mark.parametrize(
    ("tie", "level_i", "level_j", "hi", "switched", "is_tie", "flag"),
    [
        # The first row has no row before it: a tie goes to the lower code under every rule that decides.
        ("previous", [1, 1], [1, 1], [A], [None], [True], [""]),
        ("t-2", [1, 1], [1, 1], [A], [None], [True], [""]),
        ("drop", [1, 1], [1, 1], [NO], [None], [True], ["NOORDER"]),
        # A tie keeps the row before: j stays hi; so does a second tie, which looks at a row that was itself kept.
        ("previous", [1, 2, 2, 3], [2, 2, 2, 1], [B, B, B], [None, False, False], [False, True, True], [""] * 3),
        # Two years back j was hi; three years back does not count: the second tie falls to the lower code.
        ("t-2", [1, 2, 2, 3], [2, 2, 2, 1], [B, B, A], [None, False, True], [False, True, True], [""] * 3),
        ("drop", [1, 2, 3, 3], [2, 2, 2, 1], [B, NO, A], [None] * 3, [False, True, False], ["", "NOORDER", ""]),
        # Two zeros are a tie; then i has 0 in the row's year: no ratio, also when both have.
        ("previous", [0, 0, 0], [0, 0, 1], [A, A], [None, False], [True, True], ["ZEROHI", "ZEROHI"]),
        # Missing now: the order stands, Bal does not; the next row has no order, and the one after no memory of one.
        (
            "previous",
            [1, nan, 2, 2],
            [2, 2, 2, 2],
            [B, NO, A],
            [None, None, None],
            [False, None, True],
            ["NOLEVEL", "NOORDER", ""],
        ),
        # hi has 0 and lo nothing: the level that is missing is named first.
        ("previous", [2, 0], [1, nan], [A], [None], [False], ["NOLEVEL"]),
        # A tie two years after a gap: under t-2 the gap decides nothing.
        ("t-2", [1, nan, 2, 2], [2, 2, 2, 2], [B, NO, A], [None] * 3, [False, None, True], ["NOLEVEL", "NOORDER", ""]),
        # Overtaking: Bal is 3 / 2 in the row of the crossing, then the labels change places.
        ("previous", [2, 2, 2], [1, 3, 3], [A, B], [None, True], [False, False], ["", ""]),
        # A ratio beyond the largest float is no number either.
        ("previous", [2, 1e-300], [1, 1e300], [A], [None], [False], ["ZEROHI"]),
    ],
)


@CASES
def test_cases_worked_by_hand(tie, level_i, level_j, hi, switched, is_tie, flag):
    rows = plain(balance(levels_of({A: level_i, B: level_j}), tie=tie))
    assert [row["hi"] for row in rows] == hi
    assert [row["lo"] for row in rows] == [{A: B, B: A, NO: NO}[h] for h in hi]
    assert [row["switched"] for row in rows] == switched
    assert [row["tie"] for row in rows] == is_tie
    assert [row["bal_flag"] for row in rows] == flag
    assert [row["bal"] is None for row in rows] == [f != "" for f in flag]


def test_the_cases_cover_every_flag_and_every_tie_rule():
    cases = CASES.args[1]
    assert {flag for case in cases for flag in case[-1]} == set(BAL_FLAGS) - {
        "NEWAREA"
    }  # given by the mode yearly, see test_rebal_modes
    assert {case[0] for case in cases} == set(TIES)


def test_levels_of_a_row_are_those_of_its_hi_and_lo_now_and_a_year_before():
    row = plain(balance(levels_of({A: [1.0, 5.0], B: [2.0, 4.0]})))[0]
    names = ("level_hi", "level_lo", "level_hi_lag", "level_lo_lag", "bal")
    assert [row[name] for name in names] == [4.0, 5.0, 2.0, 1.0, 1.25]


def test_a_zero_with_a_sign_is_a_zero():
    row = plain(balance(levels_of({A: [1.0, 2.0], B: [-0.0, -0.0]})))[0]
    assert [str(row[name]) for name in ("bal", "level_lo", "level_lo_lag")] == ["0.0", "0.0", "0.0"]


def test_a_year_without_any_row_is_a_gap_and_not_left_out():
    panel = balance(frame_of({(A, 2000): 1, (B, 2000): 2, (A, 2003): 1, (B, 2003): 2}))
    assert panel["year"].tolist() == [2001, 2002, 2003]
    assert panel["bal_flag"].tolist() == ["NOLEVEL", "NOORDER", "NOORDER"]


def test_a_city_without_any_level_keeps_its_pairs():
    panel = balance(levels_of({A: [1, 1], B: [2, 2], "440100": [nan, nan]}))
    assert panel["bal_flag"].tolist() == ["", "NOORDER", "NOORDER"]


# --- invariances ----------------------------------------------------------------------------------------------------


def same(a: pd.DataFrame, b: pd.DataFrame) -> bool:
    return plain(a) == plain(b)


@given(panels(), st.sampled_from(TIES), st.integers(-20, 20))
def test_scaling_all_levels_changes_no_bal(levels, tie, power):
    # By a power of two, which changes no digit: == is honest.
    scaled = balance(frame_of({cell: value * 2.0**power for cell, value in levels.items()}), tie=tie)
    original = balance(frame_of(levels), tie=tie)
    unscaled = [name for name in PAIR_YEAR.columns if not name.startswith("level_")]
    assert [{n: r[n] for n in unscaled} for r in plain(scaled)] == [
        {n: r[n] for n in unscaled} for r in plain(original)
    ]


@given(panels(), st.randoms(use_true_random=False))
def test_order_of_rows_and_further_columns_change_nothing(levels, random):
    frame = frame_of(levels)
    shuffled = frame.sample(frac=1, random_state=random.randrange(2**32)).assign(city_name="市", flags="SAT")
    assert same(balance(shuffled), balance(frame))


@given(panels(), st.sampled_from(TIES))
def test_renaming_codes_without_changing_their_order_changes_only_codes(levels, tie):
    new = {code: f"{(k + 1) * 111111}" for k, code in enumerate(CODES)}
    renamed = plain(balance(frame_of({(new[c], y): v for (c, y), v in levels.items()}), tie=tie))
    expected = plain(balance(frame_of(levels), tie=tie))
    for row in expected:
        row |= {name: new[row[name]] for name in ("city_i", "city_j", "hi", "lo") if row[name]}
        row["pair_id"] = int(row["city_i"]) * 10**6 + int(row["city_j"])
    assert renamed == expected


@given(st.lists(st.tuples(LEVEL, LEVEL), min_size=2, max_size=7))
def test_which_city_has_the_lower_code_matters_only_to_ties(pairs):
    a, b = zip(*pairs, strict=True)
    one, two = balance(levels_of({A: a, B: b}), tie="drop"), balance(levels_of({A: b, B: a}), tie="drop")
    other = {A: B, B: A, NO: NO}
    swapped = plain(two)
    for row in swapped:
        row |= {"hi": other[row["hi"]], "lo": other[row["lo"]]}
    assert swapped == plain(one)


@given(panels(), st.data())
def test_years_select_rows_and_change_none(levels, data):
    whole = balance(frame_of(levels))
    first, last = int(whole["year"].min()), int(whole["year"].max())
    start = data.draw(st.integers(first, last))
    stop = data.draw(st.integers(start, last))
    part = balance(frame_of(levels), years=(start, stop))
    assert same(part, whole[whole["year"].between(start, stop)])


@given(panels())
def test_a_smaller_roster_is_a_subset_of_the_rows(levels):
    codes = sorted({code for code, _ in levels})
    span = {year for _, year in levels}
    fewer = {cell: v for cell, v in levels.items() if cell[0] in codes[:2]}
    assume({year for _, year in fewer} >= {min(span), max(span)})
    whole = balance(frame_of(levels))
    assert same(balance(frame_of(fewer)), whole[whole["city_i"].eq(codes[0]) & whole["city_j"].eq(codes[1])])


# --- the table ------------------------------------------------------------------------------------------------------


def test_the_frame_is_the_declared_table_sorted_by_its_key():
    panel = balance(many_cities(9, 4))
    assert list(check(PAIR_YEAR, panel).columns) == list(panel.columns) == list(PAIR_YEAR.columns)
    assert panel.equals(panel.sort_values(list(PAIR_YEAR.key), ignore_index=True))
    kinds = {"int64": "int64", "int32": "int32", "float64": "float64", "bool": "boolean", "string": "category"}
    assert {n: str(panel[n].dtype) for n in panel} == {n: kinds[COLUMNS[n].dtype] for n in panel}


def test_code_columns_compare_group_and_merge_like_text():
    panel = balance(levels_of({A: [2, 2, 2], B: [1, 3, 3], "440100": [nan, 1, 1]}))
    assert (panel["hi"] == panel["city_i"]).tolist() == [True, False, False, True, False, True]
    assert (panel["hi"] == "310000").sum() == 2
    assert panel.groupby("hi", observed=True).size().to_dict() == {A: 2, B: 2}
    names = pd.DataFrame({"city_code": [A, B], "city_name": ["北京市", "上海市"]})
    merged = panel.merge(names, left_on="hi", right_on="city_code", how="left")
    assert merged["city_name"].dropna().tolist() == ["北京市", "上海市", "北京市", "上海市"]


def test_the_panel_of_the_paper_fits_in_60_megabytes():
    assert balance(many_cities(296, 20)).memory_usage(deep=True).sum() < 60e6


def test_a_panel_of_districts_is_made_from_their_own_codes():
    frame = levels_of({"110101": [1, 2], "110102": [2, 3]}).rename(columns={"city_code": "district_code"})
    panel = balance(frame.assign(city_code="110000"), code="district_code")
    assert panel["pair_id"].tolist() == [110101110102]


# --- the stream -----------------------------------------------------------------------------------------------------


@given(panels(), st.sampled_from(TIES), st.integers(1, 12))
def test_the_stream_agrees_with_the_frame_at_any_batch_size(levels, tie, size):
    batches = list(balance_batches(frame_of(levels), tie=tie, pairs_per_batch=size))
    whole = arrow_from_frame(PAIR_YEAR, balance(frame_of(levels), tie=tie))
    assert pa.concat_tables(batches).combine_chunks().equals(whole.combine_chunks())
    assert all(batch.schema.equals(PAIR_YEAR.arrow_schema(), check_metadata=True) for batch in batches)
    assert all(batch["pair_id"].unique().__len__() <= size for batch in batches)


def bits(values: pd.Series) -> list[int]:
    return values.to_numpy(np.float64).view(np.int64).tolist()


def test_the_file_agrees_with_the_frame_to_the_last_bit(tmp_path):
    levels = many_cities(40, 6)
    levels.loc[::7, "level"] = nan
    path = write_pairs(levels, tmp_path / "pairs.parquet", pairs_per_batch=100, metadata={"tie": "previous"})
    panel, read = balance(levels), read_table(PAIR_YEAR, path)
    for name in PAIR_YEAR.columns:
        if COLUMNS[name].dtype == "float64":
            assert bits(read[name]) == bits(panel[name])
        else:
            assert read[name].astype(object).where(read[name].notna(), None).tolist() == (
                panel[name].astype(object).where(panel[name].notna(), None).tolist()
            )
    assert pq.ParquetFile(path).num_row_groups == 8  # 780 pairs, 100 at a time
    assert b'"tie": "previous"' in pq.read_schema(path).metadata[b"lightpanel"]


def test_the_stream_of_five_billion_pairs_starts_at_once():
    codes = np.array([f"{k:06d}" for k in range(100_000)])
    levels = pd.DataFrame({"city_code": np.tile(codes, 2), "year": np.repeat([2000, 2001], codes.size), "level": 1.0})
    first = next(balance_batches(levels, pairs_per_batch=3))
    assert first["pair_id"].to_pylist() == [1, 2, 3]


def test_memory_of_the_stream_does_not_grow_with_the_number_of_pairs():
    def peak(n_cities: int) -> int:
        levels = many_cities(n_cities, 10)
        tracemalloc.start()
        n = sum(batch.num_rows for batch in balance_batches(levels, pairs_per_batch=1000))
        high = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert n == n_cities * (n_cities - 1) // 2 * 9
        return high

    assert peak(240) < 2 * peak(80)  # nine times the pairs; the levels themselves are three times as many
