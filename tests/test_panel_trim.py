"""Trimming, the row waterfall, and the panel put together: sizes, order of operations, batches, faults."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gis.errors import OptionInvalid, TableInvalid
from gis.estimate.design import without_singletons
from gis.panel import balance, balance_batches, distances, n_pairs, pair_id
from gis.panel.assemble import FLOWS, PanelPlan, assembly
from gis.panel.controls import ipp_variable, since_years
from gis.panel.covariates import city_matrix, city_variable
from gis.panel.flows import flow_table, oriented
from gis.panel.trim import trim
from gis.panel.waterfall import ROW_FLAGS
from gis.tables import PAIR_PANEL, Column, read_table, table_of_file, write_batches

CODES = tuple(f"1{k}0100" for k in range(1, 9))


# --- trimming ----------------------------------------------------------------------------------------------------


def test_shares_of_the_papers_rows_go():
    bal = np.random.default_rng(1).permutation(829_540).astype(float)
    # METHOD 3.1 counts 41,477 and 16,591 as 5 % and 2 %; a linear quantile lies between two values: one more each way
    assert trim(bal, bal_quantile=(0.025, 0.975)).dropped(bal).sum() == pytest.approx(41_477, abs=2)
    assert trim(bal, bal_quantile=(0.01, 0.99)).dropped(bal).sum() == pytest.approx(16_591, abs=2)


def test_winsorising_drops_nothing_and_pulls_the_ends_in():
    bal = np.array([0.0, 1, 2, 3, 4, np.nan])
    limits = trim(bal, winsor=(0.25, 0.75))
    np.testing.assert_array_equal(limits.applied(bal), [1, 1, 2, 3, 3, np.nan])
    assert not limits.dropped(bal).any()


def test_a_limit_itself_stays_and_what_is_missing_is_not_dropped_here():
    bal = np.array([0.5, 2.0, 2.1, np.nan])
    limits = trim(bal, bal_max=2.0)
    assert limits.dropped(bal).tolist() == [False, False, True, False]
    np.testing.assert_array_equal(limits.applied(bal), [0.5, 2.0, np.nan, np.nan])
    assert not trim(bal).dropped(bal).any()


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=60), st.integers(0, 40), st.integers(60, 100))
def test_quantiles_never_drop_more_than_their_shares(values, low, high):
    bal = np.array(values, float)
    limits = trim(bal, bal_quantile=(low / 100, high / 100))
    assert (bal < limits.low).sum() <= low / 100 * (bal.size - 1) + 1
    assert (bal > limits.high).sum() <= (1 - high / 100) * (bal.size - 1) + 1
    inside = limits.applied(bal)
    np.testing.assert_array_equal(inside[~limits.dropped(bal)], bal[~limits.dropped(bal)])


@pytest.mark.parametrize(
    ("rule", "mend"),
    [
        ({"bal_quantile": (0.9, 0.1)}, r"give rising quantiles"),
        ({"winsor": (-0.1, 0.9)}, r"give rising quantiles"),
        ({"bal_max": 0.0}, r"give a number above 0"),
        ({"bal_max": 2.0, "winsor": (0.1, 0.9)}, r"choose one of them"),
    ],
)
def test_a_rule_that_cannot_be_is_refused(rule, mend):
    with pytest.raises(OptionInvalid, match=rf"(?s)where: sample.*mend:  {mend}"):
        trim(np.ones(3), **rule)


# --- the panel -----------------------------------------------------------------------------------------------------


def levels(seed: int = 1, n: int = 8, years: int = 6) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"city_code": np.repeat(CODES[:n], years), "year": np.tile(np.arange(2000, 2000 + years), n),
                          "level": rng.lognormal(0, 0.5, n * years)})  # fmt: skip
    frame.loc[rng.choice(len(frame), 3, replace=False), "level"] = np.nan
    frame.loc[frame["city_code"].eq(CODES[0]) & frame["year"].eq(2003), "level"] = 0.0
    return frame


def flows(seed: int = 1, years=(2000, 2001, 2002, 2003)) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    rows = [(a, b, y, int(rng.poisson(2))) for a in CODES for b in CODES for y in years]
    return pd.DataFrame(rows, columns=["src", "dst", "year", "n"])


def plan(**options) -> PanelPlan:
    since = since_years(pd.DataFrame({"city_code": CODES[:2], "start_year": [2001, 2003]}), "start_year", CODES)
    gdp = pd.DataFrame({"city_code": CODES[1:], "year": 2002, "gdp": np.arange(1.0, 8)})
    names, own = city_variable("gdp", city_matrix(gdp, "gdp", CODES), ["ratio_lh"])
    return PanelPlan(
        CODES,
        ((FLOWS, oriented(flow_table(flows(), CODES))), ("ipp", ipp_variable(since)), ("own", own),
         ("province", distances.same_group("is_same_province", [c[:2] for c in CODES]))),
        tuple(Column(n, "float64", "1", f"label of {n}") for n in names),
        **options,
    )  # fmt: skip


def made(how: PanelPlan, pairs_per_batch: int = 1000, frame: pd.DataFrame | None = None):
    source = levels() if frame is None else frame
    assembled = assembly(how, lambda: balance_batches(source, pairs_per_batch=pairs_per_batch))
    table = pa.concat_tables(list(assembled.batches()))
    return table.to_pandas(), assembled


def test_the_panel_holds_every_row_of_pair_year_and_its_columns_unchanged():
    found, _ = made(plan())
    base = pa.concat_tables(list(balance_batches(levels()))).to_pandas()
    pd.testing.assert_frame_equal(found[list(base.columns)], base)
    assert len(found) == n_pairs(8) * 5


@pytest.mark.parametrize("size", [1, 3, 7])
@pytest.mark.parametrize(
    "options",
    [{}, {"bal_quantile": (0.1, 0.9)}, {"winsor": (0.1, 0.9)}, {"orient_lag": 2}, {"controls": ("gdp_ratio_lh",)}],
)
def test_batches_change_nothing(size, options):
    whole, one = made(plan(**options))
    cut, other = made(plan(**options), size)
    pd.testing.assert_frame_equal(cut, whole)
    pd.testing.assert_frame_equal(other.waterfall.frame(), one.waterfall.frame())


def test_the_waterfall_ends_with_the_sample_and_names_each_reason():
    found, assembled = made(plan(controls=("gdp_ratio_lh",), bal_max=3.0))
    table = assembled.waterfall.frame()
    assert table["n_left"].iloc[0] == len(found)
    assert (table["n_left"].diff().fillna(0) == -table["n_dropped"]).all()
    counts = found["row_flag"].value_counts()
    for k, reason in enumerate(list(ROW_FLAGS)[1:], start=1):
        assert table["n_dropped"].iloc[k] == counts.get(reason, 0)
    base = found[found["row_flag"] == ""]
    assert counts[["NOORDER", "NOLEVEL", "ZEROHI", "NOFLOW", "TRIMMED"]].gt(0).all()
    with_control = base[base["gdp_ratio_lh"].notna()]
    assert table["n_left"].iloc[len(ROW_FLAGS)] == len(with_control)
    effects = tuple(np.unique(with_control[c], return_inverse=True)[1] for c in ("pair_id", "year"))
    inside, rounds = without_singletons(effects, len(with_control))
    assert table["n_left"].iloc[-1] == inside.sum()
    assert table["detail"].iloc[-1] in ("", f"{rounds} rounds")


def test_the_detail_names_the_cities_behind_a_loss():
    frame = levels().assign(level=lambda d: d["level"].where(d["city_code"] != CODES[3]))
    _, assembled = made(plan(), frame=frame)
    row = assembled.waterfall.frame().set_index("step").filter(like="no orientation", axis=0).iloc[0]
    assert row["detail"].startswith(f"{CODES[3]}: 35")  # 7 pairs in 5 years


def test_a_row_whose_ground_changed_is_named_so_and_not_as_without_a_level():
    first, *rest = balance_batches(levels())
    at, moved = first.column_names.index("bal_flag"), first["bal_flag"].to_pylist()
    clean = [k for k, flag in enumerate(moved) if flag == ""][:2]
    for k in clean:
        moved[k] = "NEWAREA"
    bal = first["bal"].to_pandas().mask(np.isin(np.arange(len(moved)), clean))
    first = first.set_column(at, first.schema.field(at), pa.array(moved))
    at = first.column_names.index("bal")
    first = first.set_column(at, first.schema.field(at), pa.array(bal, from_pandas=True))
    assembled = assembly(plan(), lambda: [first, *rest])
    found = pa.concat_tables(list(assembled.batches())).to_pandas()
    assert (found["row_flag"] == "NEWAREA").sum() == 2
    step = assembled.waterfall.frame().set_index("step")
    assert step.loc["no bal: the ground of either city changed since last year", "n_dropped"] == 2


def test_trimming_looks_at_the_sample_without_controls():
    with_control, _ = made(plan(controls=("gdp_ratio_lh",), bal_quantile=(0.1, 0.9)))
    without, _ = made(plan(bal_quantile=(0.1, 0.9)))
    pd.testing.assert_series_equal(with_control["bal_trimmed"], without["bal_trimmed"])
    base = without[without["row_flag"].isin(["", "TRIMMED"])]["bal"]
    low, high = np.quantile(base, [0.1, 0.9])
    kept = without[without["row_flag"] == ""]["bal"]
    assert low <= kept.min()
    assert kept.max() <= high
    assert (without["row_flag"] == "TRIMMED").sum() == ((base < low) | (base > high)).sum()


def test_a_restriction_flags_the_pairs_outside_and_moves_the_limits():
    inside = lambda rows: (rows.i < 4) & (rows.j < 4)  # noqa: E731
    found, assembled = made(plan(inside=inside, bal_quantile=(0.1, 0.9)))
    asked = found["city_i"].isin(CODES[:4]) & found["city_j"].isin(CODES[:4])
    assert (found.loc[~asked, "row_flag"] == "RESTRICTED").all()
    assert not (found.loc[asked, "row_flag"] == "RESTRICTED").any()
    assert assembled.waterfall.frame()["n_left"].iloc[1] == n_pairs(4) * 5
    base = found[found["row_flag"].isin(["", "TRIMMED"])]["bal"]
    assert assembled.limits.low == np.quantile(base, 0.1)


def test_variables_under_reading_ii_have_the_labels_of_the_row_before():
    own, _ = made(plan())
    before, _ = made(plan(orient_lag=2))
    own, before = (f.set_index(["pair_id", "year"]) for f in (own, before))
    previous = own["hi"].groupby("pair_id").shift(1)
    same = own["hi"] == previous
    turned = (own["lo"] == previous) & previous.notna()
    assert turned.sum() > 5
    np.testing.assert_array_equal(before.loc[same, "ln_dkf_net"], own.loc[same, "ln_dkf_net"])
    np.testing.assert_array_equal(before.loc[turned, "ln_dkf_net"], -own.loc[turned, "ln_dkf_net"])
    np.testing.assert_array_equal(before["bal"], own["bal"])
    first = before.xs(2001, level="year")
    assert first["ln_dkf_net"].isna().all()


def test_units_and_labels_of_a_workspaces_own_columns_reach_the_file(tmp_path):
    assembled = assembly(plan(), lambda: balance_batches(levels()))
    path = write_batches(assembled.table, assembled.batches(), tmp_path / "pair_panel.parquet")
    schema = pa.parquet.read_schema(path)
    assert schema.field("gdp_ratio_lh").metadata[b"label"] == b"label of gdp_ratio_lh"
    assert "hsr" not in schema.names  # nobody configured it
    assert schema.names[-1] == "gdp_ratio_lh"
    assert schema.metadata[b"lightpanel.table"] == b"pair_panel"
    assert set(PAIR_PANEL.columns) > set(schema.names) - {"gdp_ratio_lh"}
    assert table_of_file(PAIR_PANEL, path) == assembled.table  # what an export is told
    assert read_table(PAIR_PANEL, path).columns.tolist() == schema.names


@given(st.integers(-5, 5))
def test_scaling_all_lights_changes_levels_and_nothing_else(power):
    base, _ = made(plan(bal_quantile=(0.1, 0.9)))
    scaled, _ = made(plan(bal_quantile=(0.1, 0.9)), frame=levels().assign(level=lambda d: d["level"] * 2.0**power))
    moved = [c for c in base if c.startswith("level_")]
    pd.testing.assert_frame_equal(scaled.drop(columns=moved), base.drop(columns=moved))
    for column in moved:
        np.testing.assert_array_equal(scaled[column], base[column] * 2.0**power)


FAULTS = {
    "twice": (lambda p: p.variables[0], r"(?s)both make the column dkf_htol.*mend:  give one of them another name"),
    "undeclared": (
        lambda p: ("x", lambda rows: {"x": np.zeros(len(rows))}),
        r"(?s)undeclared columns: x.*mend:  columns",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_variable_that_cannot_stand_in_the_panel_is_refused(fault):
    more, message = FAULTS[fault]
    one = plan()
    both = PanelPlan(CODES, (*one.variables, more(one)), one.own)
    with pytest.raises(TableInvalid, match=message):
        assembly(both, lambda: balance_batches(levels()))


def test_a_control_that_is_no_column_is_named():
    with pytest.raises(
        TableInvalid, match=r"(?s)controls without a column: hsr.*where: sample\.controls.*mend:  columns of"
    ):
        assembly(plan(controls=("hsr",)), lambda: balance_batches(levels()))


def test_a_panel_without_a_row_is_refused():
    with pytest.raises(TableInvalid, match=r"mend:  lightpanel run"):
        assembly(plan(), list)


def test_pairs_are_named_by_their_codes():
    found, _ = made(plan())
    assert found["pair_id"].iloc[0] == pair_id(CODES[0], CODES[1])
    pd.testing.assert_series_equal(found["pair_id"], balance(levels())["pair_id"])


# --- size ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_296_cities_in_20_years_make_829540_rows(checkout: Path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(checkout / "benchmarks"))
    sys.modules.pop("panel", None)
    import panel  # the benchmark's own set-up

    assert panel.cities() == (43_660, 829_540)
    assert "829,540 rows" in capsys.readouterr().out


def test_the_benchmarks_set_ups_run_small(checkout: Path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(checkout / "benchmarks"))
    sys.modules.pop("panel", None)
    import panel

    assert panel.districts(n=40, years=4, n_flows=500) == n_pairs(40) * 3
    assert panel.citations(n_patents=2_000, n_citations=20_000)["total"] > 5_000  # checks itself
    assert "equal to brute force" in capsys.readouterr().out
