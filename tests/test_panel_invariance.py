"""The whole pair panel, flows and controls included: what changes when two cities swap, codes change, lights scale."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from gis.panel import balance_batches, distances, moderators
from gis.panel.assemble import FLOWS, PanelPlan, assembly
from gis.panel.controls import hsr_openings, hsr_variable, ipp_variable, similarities, similarity_variable, since_years
from gis.panel.covariates import SUFFIX, city_matrix, city_variable, pair_table, pair_variable
from gis.panel.flows import flow_table, oriented
from gis.tables import Column

CODES = ("110000", "310000", "440100", "510100", "620100")
YEARS = range(2000, 2004)
CODE_COLUMNS = ("city_code", "src", "dst", "city_i", "city_j")


def tables_of(seed: int) -> dict[str, pd.DataFrame]:
    """A table for every kind of variable; small whole numbers, so that most results are exact."""
    rng = np.random.default_rng(seed)
    city_years = [(c, y) for c in CODES for y in YEARS]
    city = pd.DataFrame(city_years, columns=["city_code", "year"])
    for name in ("gdp", "firms", "persons"):
        city[name] = rng.integers(0, 9, len(city)) * (300_000.0 if name == "persons" else 1.0)
    directed = [(a, b, y, int(n)) for a in CODES for b in CODES for y in YEARS if (n := rng.poisson(1))]
    stops = [(line, c, int(rng.integers(1999, 2004))) for line in "ab" for c in rng.choice(CODES, 3, replace=False)]
    joined = [(CODES[i], CODES[j], y, float(rng.integers(0, 9)))
              for i in range(5) for j in range(i + 1, 5) for y in YEARS if rng.random() < 0.7]  # fmt: skip
    ipc = [(c, y, k, int(rng.poisson(1))) for c, y in city_years for k in ("A01B", "G06F", "H04L")]
    return {
        "city": city,
        "flows": pd.DataFrame(directed, columns=["src", "dst", "year", "n"]),
        "hsr": pd.DataFrame(stops, columns=["line", "city_code", "open_year"]),
        "classes": pd.DataFrame(ipc, columns=["city_code", "year", "ipc", "n"]),
        "ipp": pd.DataFrame({"city_code": rng.choice(CODES, 2, replace=False), "start_year": [2000, 2002]}),
        "trade": pd.DataFrame(joined, columns=["city_i", "city_j", "year", "tons"]),
        "clusters": pd.DataFrame({"cluster": list("xxyy"), "city_code": rng.choice(CODES, 4)}).drop_duplicates(),
        "seats": pd.DataFrame({"city_code": CODES, "lon": rng.uniform(80, 130, 5), "lat": rng.uniform(20, 50, 5)}),
    }


def panel_of(levels: pd.DataFrame, tables: dict[str, pd.DataFrame], roster: tuple[str, ...] = CODES) -> pd.DataFrame:
    """Every variable that does not ask for the province: a code's first digits are no mere name."""
    codes = tuple(sorted(roster))
    city = tables["city"]
    own_names, own = city_variable("gdp", city_matrix(city, "gdp", codes), tuple(SUFFIX))
    trade_names, trade = pair_variable("trade", pair_table(tables["trade"], "tons", codes, fill=0.0))
    plan = PanelPlan(
        codes,
        (
            (FLOWS, oriented(flow_table(tables["flows"], codes, years=(2000, 2003)))),
            ("hsr", hsr_variable(hsr_openings(tables["hsr"], codes))),
            ("ts", similarity_variable(*similarities(tables["classes"], codes))),
            ("ipp", ipp_variable(since_years(tables["ipp"], "start_year", codes))),
            ("distance", distances.distance_variable(distances.pair_distances(
                distances.points_from_table(tables["seats"], codes)))),
            ("clusters", distances.cluster_variable(distances.memberships(tables["clusters"], codes))),
            ("compat_kno", moderators.compat_kno(city_matrix(city, "firms", codes))),
            ("gap_k", moderators.gap("gap_k", city_matrix(city, "firms", codes, base_year=2000))),
            ("gap_scale", moderators.gap_scale(city_matrix(city, "persons", codes))),
            ("gap_light", moderators.gap_light(city_matrix(levels, "level", codes))),
            ("own", own),
            ("trade", trade),
        ),
        tuple(Column(n, "float64", "1", n) for n in (*own_names, *trade_names)),
        ("hsr", "ts", "ipp"),
        bal_max=3.0,
    )  # fmt: skip
    # tie = "drop": the other rules fall back on the order of the codes, which renaming changes by design.
    made = assembly(plan, lambda: balance_batches(levels, tie="drop", pairs_per_batch=3))
    frame = pa.concat_tables(list(made.batches())).to_pandas()
    frame["of"] = [frozenset(p) for p in zip(frame["city_i"], frame["city_j"], strict=True)]
    frame.attrs["waterfall"] = made.waterfall.frame()
    return frame


@st.composite
def worlds(draw):
    """Levels with ties, zeros, gaps and crossings, and the seed of all other tables."""
    levels = st.sampled_from([0.0, 0.5, 1.0, 1.5, 2.0, 3.0, np.nan])
    values = draw(st.lists(levels, min_size=20, max_size=20))
    frame = pd.DataFrame([(c, y) for c in CODES for y in YEARS], columns=["city_code", "year"]).assign(level=values)
    return frame, tables_of(draw(st.integers(0, 2**32 - 1)))


def renamed(frame: pd.DataFrame, names: dict[str, str]) -> pd.DataFrame:
    return frame.assign(**{c: frame[c].map(names) for c in CODE_COLUMNS if c in frame})


def by_pair(frame: pd.DataFrame, without: tuple[str, ...] = ()) -> pd.DataFrame:
    key = [(*sorted(of), year) for of, year in zip(frame["of"], frame["year"], strict=True)]
    frame = frame.drop(columns=[*without, "of", "pair_id", "city_i", "city_j"])
    return frame.set_index(pd.MultiIndex.from_tuples(key)).sort_index()


def assert_same(found: pd.DataFrame, expected: pd.DataFrame) -> None:
    # 1e-12: the cosine's products and the geodesic are computed in another order of cities.
    pd.testing.assert_frame_equal(found, expected, rtol=1e-12, atol=0)


@settings(max_examples=25)
@given(worlds(), st.permutations(CODES))
def test_renaming_the_codes_moves_rows_and_changes_no_value(world, new):
    levels, tables = world
    names = dict(zip(CODES, new, strict=True))
    base = panel_of(levels, tables)
    found = panel_of(renamed(levels, names), {k: renamed(t, names) for k, t in tables.items()})
    expected = base.assign(
        of=[frozenset(names[c] for c in of) for of in base["of"]], hi=base["hi"].map(names), lo=base["lo"].map(names)
    )
    assert_same(by_pair(found), by_pair(expected))
    counts = ["step", "n_dropped", "n_left"]
    pd.testing.assert_frame_equal(found.attrs["waterfall"][counts], base.attrs["waterfall"][counts])


@settings(max_examples=25)
@given(worlds(), st.lists(st.sampled_from(CODES), min_size=2, max_size=2, unique=True))
def test_two_cities_that_swap_their_lights_turn_their_pair_around(world, two):
    levels, tables = world
    swap = dict(zip(CODES, CODES, strict=True)) | {two[0]: two[1], two[1]: two[0]}
    base = panel_of(levels, tables)
    found = panel_of(renamed(levels, swap), tables)
    ours = base["of"] == frozenset(two)
    one, other = base[ours], found[found["of"] == frozenset(two)]
    turned = {"hi": "lo", "dkf_htol": "dkf_ltoh", "ln_dkf_htol": "ln_dkf_ltoh", "gdp_h": "gdp_l"}
    turned |= {b: a for a, b in turned.items()}
    oriented_otherwise = ("ln_dkf_net", "gdp_diff_hl", "gdp_ratio_lh", "gap_k", "gap_scale", "gap_scale_1989",
                          "compat_kno")  # fmt: skip
    assert_same(by_pair(other, oriented_otherwise), by_pair(one.rename(columns=turned), oriented_otherwise)[
        by_pair(other, oriented_otherwise).columns])  # fmt: skip
    for name in ("ln_dkf_net", "gdp_diff_hl", "gap_scale", "gap_scale_1989"):
        np.testing.assert_array_equal(other[name], -one[name])
    both = np.isfinite(one["gap_k"].to_numpy()) & np.isfinite(other["gap_k"].to_numpy())  # else one is 0 or unknown
    np.testing.assert_allclose(other["gap_k"][both], 1 / one["gap_k"][both], rtol=1e-15)  # one division each
    apart = [not (of & set(two)) for of in base["of"]]
    assert_same(by_pair(found[apart]), by_pair(base[apart]))  # pairs of other cities do not notice


@settings(max_examples=15)
@given(worlds())
def test_the_order_of_the_cities_in_a_table_of_pairs_changes_nothing(world):
    levels, tables = world
    turned = tables["trade"].rename(columns={"city_i": "city_j", "city_j": "city_i"})
    shuffled = {k: t.sample(frac=1, random_state=1) for k, t in (tables | {"trade": turned}).items()}
    assert_same(by_pair(panel_of(levels.iloc[::-1], shuffled)), by_pair(panel_of(levels, tables)))


@settings(max_examples=25)
@given(worlds(), st.integers(-8, 8))
def test_scaling_all_lights_changes_levels_and_nothing_else(world, power):
    levels, tables = world
    factor = 2.0**power  # exact, so that no tie is made or broken
    base = panel_of(levels, tables)
    found = panel_of(levels.assign(level=levels["level"] * factor), tables)
    moved = [c for c in base if c.startswith("level_")]
    pd.testing.assert_frame_equal(found.drop(columns=moved), base.drop(columns=moved))
    pd.testing.assert_frame_equal(found[moved], base[moved] * factor)
    pd.testing.assert_frame_equal(found.attrs["waterfall"], base.attrs["waterfall"])
