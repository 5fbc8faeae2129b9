"""The instrument against METHOD 5's micro-example, a slow version from the definition, and dummies."""

from __future__ import annotations

import math
from itertools import combinations, product

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gis.errors import CodeInvalid, OptionInvalid, TableInvalid
from gis.historical.assignment import Probabilities
from gis.historical.exposure import Exposure, expected_exposure
from gis.panel import balance
from gis.panel.flows import oriented_flows
from gis.panel.instrument import InstrumentOptions, diagnostics, instrument, rows_after, two_way_residuals

A, B, C = "110000", "310000", "440100"
CODES = (A, B, C, "460200", "500000")
LEVELS = {A: (2.0, 2.2, 2.3), B: (1.0, 1.5, 2.4), C: (0.5, 0.5, 0.6)}
FLOWS = {
    2000: {(A, B): 7, (B, A): 3, (A, C): 1, (C, A): 0, (B, C): 2, (C, B): 0},
    2001: {(A, B): 15, (B, A): 7, (A, C): 3, (C, A): 1, (B, C): 0, (C, B): 4},
}
COUNTS = {A: 3.0, B: 2.0, C: 0.0}


def levels_frame(levels=LEVELS, first=2000):
    rows = [(code, first + k, value) for code, values in levels.items() for k, value in enumerate(values)]
    return pd.DataFrame(rows, columns=["city_code", "year", "level"])


def flows_frame(flows=FLOWS, *, keep_zeros=False):
    rows = [(*key, year, n) for year, of in flows.items() for key, n in of.items() if n or keep_zeros]
    return pd.DataFrame(rows, columns=["src", "dst", "year", "n"])


def exposure_of(counts=COUNTS, kind="hard"):
    return Exposure(tuple(counts), np.array(list(counts.values()), float), None, kind)


@pytest.fixture(scope="module")
def pairs():
    return balance(levels_frame())


def of_pair(found, a, b, column="iv"):
    rows = found.rows[found.rows["pair_id"] == int(a) * 10**6 + int(b)]
    return rows[column].tolist()


# --- the micro-example of METHOD 4.1 and 5 --------------------------------------------------------------------------


def test_flows_of_the_micro_example_are_oriented_by_the_row(pairs):
    found = oriented_flows(pairs, flows_frame()).set_index(["pair_id", "year"])
    ab, bc = 110000310000, 310000440100
    assert found.loc[(ab, 2001), ["dkf_htol", "dkf_ltoh"]].tolist() == [7, 3]
    assert found.loc[(ab, 2002), ["dkf_htol", "dkf_ltoh"]].tolist() == [15, 7]
    net = {(ab, 2001): 0.6931471805599453, (ab, 2002): 0.6931471805599453, (bc, 2002): -1.6094379124341003}
    for row, value in net.items():
        assert found.loc[row, "ln_dkf_net"] == pytest.approx(value, abs=1e-15)  # one rounding of a difference
    assert found.loc[(ab, 2001), "ln_dkf_htol"] == pytest.approx(2.0794415416798357, abs=1e-15)  # ln 8


def test_the_micro_example_in_levels(pairs):
    found = instrument(pairs, flows_frame(), exposure_of())
    assert found.total == 6
    assert of_pair(found, A, B) == [7.0, 6.0]
    assert of_pair(found, A, B, "share") == [1.0, 1.0]
    assert of_pair(found, A, C) == of_pair(found, B, C) == [0.0, 0.0]
    assert found.by_year["national_net"].tolist() == [7.0, 6.0]
    assert found.by_year["n_pairs_net"].tolist() == [3, 3]
    assert found.by_year["flow_year"].tolist() == [2000, 2001]


@pytest.mark.filterwarnings("ignore:the national net flow changes its sign")
def test_the_micro_example_in_logarithms_and_without_the_own_pair(pairs):
    log = instrument(pairs, flows_frame(), exposure_of(), InstrumentOptions(national="sum_ln"))
    assert of_pair(log, A, B) == pytest.approx([2.4849066497880004, -0.2231435513142097], abs=1e-15)  # sums of three
    loo = instrument(pairs, flows_frame(), exposure_of(), InstrumentOptions(leave_out="loo"))
    assert of_pair(loo, A, B) == [3.0, -2.0]
    assert loo.by_year["national_net"].tolist() == [7.0, 6.0]  # nothing left out in the national series


def test_a_sign_change_is_legal_and_announced(pairs):
    with pytest.warns(UserWarning, match="changes its sign 1 time"):
        found = instrument(pairs, flows_frame(), exposure_of(), InstrumentOptions(national="sum_ln"))
    assert of_pair(found, A, B)[1] < 0
    assert any("changes its sign" in note for note in found.notes)
    table = diagnostics(found).set_index("statistic")["value"]
    assert table["n_sign_changes"] == 1


# --- a slow version from the definition -----------------------------------------------------------------------------


def labels_of(levels, s):
    """(hi, lo) of every pair by levels of position s; ties keep the label before, else the lower code is hi."""
    out = {}
    for a, b in combinations(sorted(levels), 2):
        x, y = levels[a][s], levels[b][s]
        if math.isnan(x) or math.isnan(y):
            continue
        if x == y:
            before = labels_of(levels, s - 1).get((a, b)) if s else None
            out[a, b] = before or (a, b)
        else:
            out[a, b] = (a, b) if x > y else (b, a)
    return out


def national_by_hand(rule, nets):
    htol, ltoh = sum(h for h, _ in nets), sum(low for _, low in nets)
    return {
        "level": htol - ltoh,
        "sum_ln": sum(math.log(1 + h) - math.log(1 + low) for h, low in nets),
        "asinh": math.asinh(htol - ltoh),
        "ln1p": math.log(1 + htol) - math.log(1 + ltoh),
    }[rule]


def instrument_by_hand(levels, flows, counts, options, first=2000):
    """{(pair, row year): iv}, straight from METHOD 5."""
    codes = sorted(levels)
    n = {c: counts[c] for c in codes}
    if options.zeros == "plus1":
        n = {c: 1 + v for c, v in n.items()}
    products = {(a, b): n[a] * n[b] for a, b in combinations(codes, 2)}
    total = sum(v for v in products.values() if not math.isnan(v))
    out = {}
    n_years = len(next(iter(levels.values())))
    for t in range(1, n_years):
        s = t - options.lag  # position of the flows' year
        nets = {}
        if s >= 0 and first + s in flows:
            of = flows[first + s]
            nets = {p: (of.get((h, lo), 0), of.get((lo, h), 0)) for p, (h, lo) in labels_of(levels, s).items()}
        if options.lag == 2 and t < 2:
            nets = {}  # ordered by a row that the panel does not have
        for pair in products:
            share = products[pair] / total
            if options.zeros == "drop_zero" and share == 0:
                share = math.nan
            left = {"no": lambda p: True, "loo": lambda p, q=pair: p != q,
                    "loo_city": lambda p, q=pair: not set(p) & set(q)}[options.leave_out]  # fmt: skip
            kept = [v for p, v in nets.items() if left(p)]
            out[pair, first + t] = share * national_by_hand(options.national, kept) if nets else math.nan
    return out


LEVEL = st.sampled_from([math.nan, 0.0, 1.0, 2.0, 2.0, 3.0, 4.0])
WHOLE = st.integers(0, 6)


@st.composite
def panels(draw):
    codes = CODES[: draw(st.integers(3, 5))]
    n_years = draw(st.integers(2, 4))
    levels = {c: tuple(draw(st.lists(LEVEL, min_size=n_years, max_size=n_years))) for c in codes}
    years = draw(st.sets(st.integers(2000, 2000 + n_years - 1), min_size=1))
    flows = {y: {(a, b): draw(WHOLE) for a, b in product(codes, codes) if a != b} for y in years}
    for of in flows.values():  # a year is covered when it has a row at all
        of[codes[0], codes[1]] += 1
    counts = {c: draw(st.sampled_from([math.nan, 0.0, 1.0, 2.0, 5.0])) for c in codes}
    counts[codes[0]], counts[codes[1]] = 2.0, 3.0
    return levels, flows, counts


OPTIONS = st.builds(
    InstrumentOptions,
    national=st.sampled_from(["level", "sum_ln", "asinh", "ln1p"]),
    lag=st.sampled_from([0, 1, 2]),
    leave_out=st.sampled_from(["no", "loo", "loo_city"]),
    zeros=st.sampled_from(["keep", "plus1", "drop_zero"]),
)


@pytest.mark.filterwarnings("ignore:the national net flow changes its sign")
@settings(max_examples=60)
@given(panels(), OPTIONS)
def test_random_panels_match_the_definition(panel, options):
    levels, flows, counts = panel
    pairs = balance(levels_frame(levels))
    after = rows_after(levels_frame(levels))
    found = instrument(pairs, flows_frame(flows), exposure_of(counts, "given"), options, after=after)
    expected = instrument_by_hand(levels, flows, counts, options)
    rows = found.rows.assign(i=pairs["city_i"].astype(object), j=pairs["city_j"].astype(object))
    for row in rows.itertuples():
        wanted = expected[(row.i, row.j), row.year]
        assert row.iv == pytest.approx(wanted, abs=1e-12, nan_ok=True), row  # logarithms, in another order of sums


@pytest.mark.filterwarnings("ignore:the national net flow changes its sign")
@given(panels(), st.randoms())
@settings(max_examples=20)
def test_order_of_rows_changes_nothing(panel, random):
    levels, flows, counts = panel
    pairs = balance(levels_frame(levels))
    order = list(range(len(pairs)))
    random.shuffle(order)
    straight = instrument(pairs, flows_frame(flows), exposure_of(counts, "given"))
    shuffled = instrument(pairs.iloc[order], flows_frame(flows).iloc[::-1], exposure_of(counts, "given"))
    pd.testing.assert_frame_equal(straight.rows, shuffled.rows.sort_index())
    pd.testing.assert_frame_equal(straight.by_year, shuffled.by_year)


# --- shares ----------------------------------------------------------------------------------------------------------


def test_zero_rules_by_hand(pairs):
    plus = instrument(pairs, flows_frame(), exposure_of(), InstrumentOptions(zeros="plus1"))
    assert plus.total == 4 * 3 + 4 * 1 + 3 * 1
    assert of_pair(plus, A, C, "share") == [4 / 19, 4 / 19]
    dropped = instrument(pairs, flows_frame(), exposure_of(), InstrumentOptions(zeros="drop_zero"))
    assert np.isnan(of_pair(dropped, A, C)).all() and of_pair(dropped, A, B) == [7.0, 6.0]


def test_a_missing_count_is_not_zero(pairs):
    found = instrument(pairs, flows_frame(), exposure_of({A: 3.0, B: 2.0, C: math.nan}, "given"))
    assert found.total == 6 and found.n_cities_unknown == 1
    assert np.isnan(of_pair(found, A, C)).all() and np.isnan(of_pair(found, B, C)).all()
    assert of_pair(found, A, B) == [7.0, 6.0]
    absent = instrument(pairs, flows_frame(), exposure_of({A: 3.0, B: 2.0}, "given"))  # no row: unknown as well
    pd.testing.assert_frame_equal(absent.rows, found.rows)


def test_expected_counts_enter_through_their_expected_products(pairs):
    p = Probabilities((A, B, C), np.array([0, 0, 1, 1, 2, 2]), np.array([0, 1, 0, 1, 1, 2]),
                      np.array([0.9, 0.1, 0.6, 0.4, 0.2, 0.8]), np.zeros(3))  # fmt: skip
    found = instrument(pairs, flows_frame(), expected_exposure(p))
    assert found.total == pytest.approx(0.72 + 1.20 + 0.40, abs=1e-12)  # METHOD 8.6's micro-example
    assert of_pair(found, B, C)[0] == pytest.approx(7 * 0.40 / 2.32, abs=1e-12)
    plus = instrument(pairs, flows_frame(), expected_exposure(p), InstrumentOptions(zeros="plus1"))
    assert plus.total == pytest.approx(3 + 2 * (1.5 + 0.7 + 0.8) + 2.32, abs=1e-12)  # E[(1+n_i)(1+n_j)], three pairs


def test_shares_are_of_all_pairs_of_the_list_or_of_the_sample():
    levels = LEVELS | {C: (math.nan, math.nan, math.nan)}  # pairs with C never have a Bal
    pairs = balance(levels_frame(levels))
    counts = exposure_of({A: 3.0, B: 2.0, C: 1.0})
    assert instrument(pairs, flows_frame(), counts).total == 6 + 3 + 2
    sample = instrument(pairs, flows_frame(), counts, InstrumentOptions(denominator="sample"))
    assert sample.total == 6
    only = instrument(
        pairs[pairs["city_j"].astype(str) == B], flows_frame(), counts, cities=(A, B, C), drop_unknown=True
    )
    assert only.total == 6 + 3 + 2  # a city list may be longer than the rows at hand


@pytest.mark.parametrize(("zeros", "share"), [(50, 0.310), (100, 0.562), (150, 0.758)])
def test_share_of_zero_pairs_among_296_cities(zeros, share):
    # 1 - C(296 - z, 2) / 43,660 (METHOD 5), counted by the table instead of the formula
    codes = [f"{k:06d}" for k in range(100000, 100296)]
    levels = pd.DataFrame({"city_code": np.repeat(codes, 2), "year": [2000, 2001] * 296, "level": range(1, 593)})
    pairs = balance(levels)
    flows = pd.DataFrame({"src": [codes[1]], "dst": [codes[0]], "year": [2000], "n": [5]})
    counts = np.r_[np.zeros(zeros), np.arange(1, 297 - zeros)]
    found = instrument(pairs, flows, Exposure(tuple(codes), counts, None, "hard"))
    table = diagnostics(found).set_index("statistic")["value"]
    assert table["n_pairs"] == 43_660
    assert table["share_pairs_zero"] == pytest.approx(share, abs=5e-4)  # METHOD gives three digits
    assert table["n_cities_zero"] == zeros
    assert found.rows["share"].sum() == pytest.approx(1.0, abs=1e-12)  # one row year


def test_the_scale_multiplies_and_is_reported(pairs):
    found = instrument(pairs, flows_frame(), exposure_of(), InstrumentOptions(iv_scale=1000.0))
    assert of_pair(found, A, B) == [7000.0, 6000.0]
    assert diagnostics(found).set_index("statistic").loc["iv_scale", "value"] == 1000.0


# --- the national flow -----------------------------------------------------------------------------------------------


def test_a_year_without_flows_is_not_a_year_of_zero(pairs):
    found = instrument(pairs, flows_frame({2000: FLOWS[2000]}), exposure_of())
    assert of_pair(found, A, B)[0] == 7.0 and math.isnan(of_pair(found, A, B)[1])
    assert found.by_year["n_pairs_net"].tolist() == [3, 0]


def test_pairs_behind_the_national_flow_are_counted_by_year():
    pairs = balance(levels_frame(LEVELS | {C: (0.5, math.nan, 0.6)}))
    found = instrument(pairs, flows_frame(), exposure_of())
    assert found.by_year["n_pairs_net"].tolist() == [3, 1]
    assert found.by_year["national_net"].tolist() == [7.0, 8.0]
    assert of_pair(found, A, C) == [0.0, 0.0]  # a row without orientation still has its instrument


def test_without_a_lag_the_last_year_is_ordered_by_its_own_levels():
    flows = FLOWS | {2002: {(B, A): 9}}  # B is the higher one in 2002 (2.4 against 2.3)
    now, after = InstrumentOptions(lag=0), rows_after(levels_frame())
    found = instrument(balance(levels_frame()), flows_frame(flows), exposure_of(), now, after=after)
    assert found.by_year["national_net"].tolist() == [6.0, 9.0]
    without = instrument(balance(levels_frame()), flows_frame(flows), exposure_of(), now)
    assert without.by_year["national_net"][0] == 6.0 and math.isnan(without.by_year["national_net"][1])
    assert found.by_year["flow_year"].tolist() == [2001, 2002]


# --- what pair and year effects leave --------------------------------------------------------------------------------


@given(st.integers(0, 10_000), st.integers(2, 12), st.integers(2, 6), st.floats(0.3, 1.0))
@settings(max_examples=40)
def test_two_way_residuals_are_those_of_a_regression_on_dummies(seed, n_pairs, n_years, kept):
    rng = np.random.default_rng(seed)
    pair, year = (part.ravel() for part in np.meshgrid(np.arange(n_pairs), np.arange(n_years), indexing="ij"))
    keep = rng.random(pair.size) < kept
    pair, year = pair[keep], year[keep]
    values = rng.normal(size=pair.size)
    if not pair.size:
        return
    dummies = np.column_stack([pair[:, None] == np.unique(pair), year[:, None] == np.unique(year)]).astype(float)
    expected = values - dummies @ np.linalg.lstsq(dummies, values, rcond=None)[0]
    assert two_way_residuals(values, pair, year) == pytest.approx(expected, abs=1e-10)  # two least-squares solvers


def test_a_share_times_a_constant_flow_leaves_nothing(pairs):
    flows = flows_frame({2000: FLOWS[2000], 2001: FLOWS[2000]})
    levels = {c: (v[0],) * 3 for c, v in LEVELS.items()}
    found = instrument(balance(levels_frame(levels)), flows, exposure_of({A: 3.0, B: 2.0, C: 1.0}))
    table = diagnostics(found).set_index("statistic")["value"]
    assert table["share_variance_left"] == pytest.approx(0.0, abs=1e-25)  # squares of 1e-16
    moving = instrument(pairs, flows_frame(), exposure_of({A: 3.0, B: 2.0, C: 1.0}))
    table = diagnostics(moving).set_index("statistic")["value"]
    # s_p N_t on a balanced panel: (s - mean s)(N - mean N) is what is left.
    s, n = np.array([6, 3, 2]) / 11, np.array([7.0, 6.0])
    iv = np.outer(s, n)
    assert table["share_variance_left"] == pytest.approx(s.var() * n.var() / iv.var(), rel=1e-12)


# --- faults ----------------------------------------------------------------------------------------------------------


def test_no_two_cities_with_offices_is_refused(pairs):
    with pytest.raises(TableInvalid, match=r"mend:.*check the codes and the assignment"):
        instrument(pairs, flows_frame(), exposure_of({A: 3.0, B: 0.0, C: 0.0}))


def test_a_city_outside_the_layer_of_the_offices_is_named(pairs):
    with pytest.raises(CodeInvalid, match=rf"{C}[\s\S]*mend:.*boundaries of the panel's vintage"):
        instrument(pairs, flows_frame(), exposure_of({A: 3.0, B: 2.0}))


def test_flows_of_unknown_cities_are_named_or_dropped(pairs):
    strange = pd.concat([flows_frame(), pd.DataFrame([("999999", A, 2000, 5)], columns=["src", "dst", "year", "n"])])
    with pytest.raises(CodeInvalid, match=r"999999[\s\S]*mend:.*drop_unknown"):
        instrument(pairs, strange, exposure_of())
    found = instrument(pairs, strange, exposure_of(), drop_unknown=True)
    assert of_pair(found, A, B) == [7.0, 6.0]


def test_negative_flows_and_missing_columns_are_refused(pairs):
    with pytest.raises(TableInvalid, match=r"mend:.*a count of 0 or more"):
        oriented_flows(pairs, flows_frame().assign(n=-1))
    with pytest.raises(TableInvalid, match=r"mend:.*src, dst, year, n"):
        oriented_flows(pairs, flows_frame().drop(columns="dst"))
    with pytest.raises(TableInvalid, match=r"mend:.*rows of pair_year, all of them"):
        instrument(pairs.drop(columns="bal"), flows_frame(), exposure_of())
    with pytest.raises(OptionInvalid, match=r"mend:.*whole years"):
        oriented_flows(pairs, flows_frame(), lag=0.5)


@pytest.mark.parametrize(
    ("option", "value", "mend"),
    [
        ("national", "log", "level, sum_ln, asinh, ln1p"),
        ("lag", 3, "1, 0, 2"),
        ("leave_out", "one", "no, loo, loo_city"),
        ("denominator", "half", "all, sample"),
        ("zeros", "none", "keep, plus1, drop_zero"),
        ("iv_scale", 0.0, "above 0"),
    ],
)
def test_options_that_are_not_offered_are_refused(option, value, mend):
    with pytest.raises(OptionInvalid, match=rf"mend:.*{mend}"):
        InstrumentOptions(**{option: value})


def test_repeated_flows_are_summed(pairs):
    twice = pd.concat([flows_frame().assign(n=lambda f: f["n"] / 2)] * 2)
    found = instrument(pairs, twice, exposure_of())
    assert of_pair(found, A, B) == [7.0, 6.0]
