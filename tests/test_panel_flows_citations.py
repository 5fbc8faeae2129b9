"""From citations to flows: every option against a count by hand, the waterfall, places, and streaming."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from itertools import product

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

import gis.panel.citations as citations_module
from gis.boundaries import city_of
from gis.errors import OptionInvalid, TableInvalid
from gis.grid import Zones
from gis.panel.citations import flows_from_citations
from gis.panel.patents import (
    NOWHERE,
    OUTSIDE,
    part_of,
    patents_from_batches,
    patents_from_table,
    places_from_codes,
    places_from_points,
    places_from_postcodes,
)

CODES = ("110000", "310000", "440100")


def table(*rows) -> pa.Table:
    """Patents: application, year, type, place, is_digital."""
    names = ("application", "year", "type", "place", "is_digital")
    return pa.table({n: [r[k] for r in rows] for k, n in enumerate(names)})


def patents(*rows, multi="first"):
    whole = table(*rows)
    return patents_from_table(
        whole.drop_columns("place"), whole["place"].to_numpy().astype(np.int32), CODES, multi=multi
    )


def cites(*pairs) -> list[pa.Table]:
    return [pa.table({"citing": pa.array([a for a, _ in pairs], pa.string()),
                      "cited": pa.array([b for _, b in pairs], pa.string())})]  # fmt: skip


def as_dict(found) -> dict:
    return {(r.src, r.dst, r.year): r.n for r in found.flows.itertuples()}


# --- by hand -----------------------------------------------------------------------------------------------------


def test_knowledge_moves_from_the_cited_to_the_citing_city_in_the_citing_year():
    known = patents(("a", 2010, "invention", 0, True), ("b", 2003, "utility", 1, True))
    found = flows_from_citations(known, cites(("a", "b")))
    assert as_dict(found) == {("310000", "110000", 2010): 1}


def test_the_worked_case_of_several_applicants():
    """Citing {A1, A2}, cited {B1, B2, A1}: six ordered combinations, one of them internal."""
    rows = [("a", 2010, "1", 0, 1), ("a", 2010, "1", 1, 1), ("b", 2005, "1", 2, 1), ("b", 2005, "1", -2, 1),
            ("b", 2005, "1", 0, 1)]  # fmt: skip
    rows = [(i, y, t, p, bool(d)) for i, y, t, p, d in rows]
    full = flows_from_citations(patents(*rows, multi="full"), cites(("a", "b")), multi="full")
    inside = {(s, d) for s, d, _ in as_dict(full)}
    assert full.flows["n"].tolist() == [1] * 4
    assert inside == {("440100", "110000"), ("440100", "310000"), ("110000", "110000"), ("110000", "310000")}
    assert full.by_year["flow_src_na"].tolist() == [2]  # from the city that is not in the roster, to both
    parts = flows_from_citations(patents(*rows, multi="fractional"), cites(("a", "b")), multi="fractional")
    np.testing.assert_allclose(parts.flows["n"], 1 / 6, rtol=1e-15)  # one division
    whole = parts.by_year.drop(columns="year").to_numpy().sum()
    assert whole == pytest.approx(1, rel=1e-15)  # six sixths
    first = flows_from_citations(patents(*rows), cites(("a", "b")))
    assert as_dict(first) == {("440100", "110000", 2010): 1}


def test_every_step_of_the_waterfall_loses_its_own_citations():
    known = patents(
        ("ok", 2010, "invention", 0, True), ("ok2", 2011, "utility", 1, True), ("design", 2010, "design", 0, True),
        ("plain", 2010, "invention", 0, False), ("undated", 0, "invention", 0, True),
        ("nowhere", 2010, "invention", NOWHERE, True), ("outside", 2010, "invention", OUTSIDE, True),
    )  # fmt: skip
    given_ = [("?", "ok"), ("ok", "?"), ("design", "ok"), ("ok", "design"), ("ok", "plain"), ("undated", "ok"),
              ("ok", "ok2"), ("ok", "ok2"), ("nowhere", "ok"), ("ok", "outside"), ("plain", "ok")]  # fmt: skip
    found = flows_from_citations(known, cites(*given_))
    assert found.waterfall["n_dropped"].tolist() == [0, 1, 1, 1, 1, 1, 1, 1, 1, 1]
    assert found.waterfall["n_left"].tolist() == [11, 10, 9, 8, 7, 6, 5, 4, 3, 2]
    assert found.flows["n"].sum() == 2
    assert found.by_year[["flow_src_na", "flow_dst_na"]].to_numpy().tolist() == [[1, 1]]


def test_a_repeated_citation_counts_once_or_as_often_as_it_is_given():
    known = patents(("a", 2010, "1", 0, True), ("b", 2005, "1", 1, True))
    three = cites(("a", "b"), ("a", "b"), ("a", "b"))
    assert flows_from_citations(known, three).flows["n"].tolist() == [1]
    assert flows_from_citations(known, three, repeated="each").flows["n"].tolist() == [3]


def test_all_cited_patents_may_count():
    known = patents(("a", 2010, "1", 0, True), ("b", 2005, "1", 1, False))
    assert len(flows_from_citations(known, cites(("a", "b"))).flows) == 0
    assert flows_from_citations(known, cites(("a", "b")), cited="all").flows["n"].tolist() == [1]


def test_a_grant_takes_the_place_of_its_publication():
    whole = pa.table({"application": ["a", "a", "b"], "year": [2010, 2010, 2005], "type": ["发明", "发明", "发明"],
                      "stage": ["publication", "grant", "publication"], "is_digital": ["0", "1", "1"],
                      "grant_year": [None, 2013, None]})  # fmt: skip
    known = patents_from_table(whole, np.array([0, 1, 2], np.int32), CODES)
    assert len(known) == 2
    assert known.place.tolist() == [1, 2]
    assert known.is_digital.tolist() == [True, True]
    dated = patents_from_table(whole, np.array([0, 1, 2], np.int32), CODES, year="grant_year")
    assert dated.year.tolist() == [2013, 0]


def test_types_of_chinese_files_tell_publication_from_grant():
    whole = pa.table({"application": ["a", "a"], "year": ["2010", "2010"], "type": ["发明公布", "发明授权"],
                      "is_digital": ["是", "是"]})  # fmt: skip
    known = patents_from_table(whole, np.array([0, 1], np.int32), CODES)
    assert known.place.tolist() == [1]


def test_the_first_applicant_is_the_one_with_the_lowest_number():
    whole = pa.table({"application": ["a", "a"], "year": [2010, 2010], "type": ["1", "1"], "applicant_no": [2, 1],
                      "is_digital": [True, True]})  # fmt: skip
    assert patents_from_table(whole, np.array([0, 1], np.int32), CODES).place.tolist() == [1]


def test_a_date_gives_its_year():
    whole = pa.table({"application": list("abcd"), "year": ["2010-05-03", "20110101", "2012.0", None],
                      "type": ["1"] * 4, "is_digital": [True] * 4})  # fmt: skip
    assert patents_from_table(whole, np.zeros(4, np.int32), CODES).year.tolist() == [2010, 2011, 2012, 0]


# --- oracle --------------------------------------------------------------------------------------------------------


def by_hand(rows, pairs, multi, repeated, cited):
    """Flows in exact fractions, citation by citation, from the definition."""
    records: dict = {}
    for app, year, kind, place, digital in rows:
        records.setdefault(app, []).append((year, kind, place, digital))
    sides = {app: [found[0][2]] if multi == "first" else sorted({p for *_, p, _ in found})
             for app, found in records.items()}  # fmt: skip
    seen, total = set(), Counter()
    for a, b in pairs:
        if a not in records or b not in records:
            continue
        (year, kind_a, _, _), (_, kind_b, _, digital) = records[a][0], records[b][0]
        if "design" in (kind_a, kind_b) or year == 0 or (cited == "digital" and not digital):
            continue
        if repeated == "once" and (a, b) in seen:
            continue
        seen.add((a, b))
        for dst, src in product(sides[a], sides[b]):
            if src >= 0 and dst >= 0:
                weight = Fraction(1, len(sides[a]) * len(sides[b])) if multi == "fractional" else 1
                total[CODES[src], CODES[dst], year] += weight
    return total


ROW = st.tuples(
    st.sampled_from("abcdef"), st.sampled_from([0, 2000, 2001]), st.sampled_from(["invention", "utility", "design"]),
    st.integers(-2, 2), st.booleans(),
)  # fmt: skip
PAIR = st.tuples(st.sampled_from("abcdefg"), st.sampled_from("abcdefg"))


@given(
    st.lists(ROW, min_size=1, max_size=12),
    st.lists(PAIR, max_size=25),
    st.sampled_from(["first", "full", "fractional"]),
    st.sampled_from(["once", "each"]),
    st.sampled_from(["digital", "all"]),
)
def test_random_citations_match_the_definition(rows, pairs, multi, repeated, cited):
    found = flows_from_citations(
        patents(*rows, multi=multi), cites(*pairs), multi=multi, repeated=repeated, cited=cited
    )
    truth = {key: n for key, n in by_hand(rows, pairs, multi, repeated, cited).items() if n}
    mine = as_dict(found)
    assert mine.keys() == truth.keys()
    for key, n in truth.items():
        assert mine[key] == pytest.approx(float(n), rel=1e-12)  # sums of at most 25 fractions
    assert found.waterfall["n_left"].iloc[0] == len(pairs)
    if multi == "first":
        assert found.waterfall["n_left"].iloc[-1] == sum(truth.values())


def test_batches_and_parts_change_nothing(monkeypatch):
    rng = np.random.default_rng(5)
    rows = [(f"p{k}", int(rng.integers(2000, 2004)), "1", int(rng.integers(-1, 3)), bool(rng.random() < 0.7))
            for k in range(200)]  # fmt: skip
    pairs = [(f"p{a}", f"p{b}") for a, b in rng.integers(0, 210, (3000, 2))]
    known = patents(*rows)
    whole = flows_from_citations(known, cites(*pairs))
    monkeypatch.setattr(citations_module, "BATCH_ROWS", 70)
    monkeypatch.setattr(citations_module, "PARTS", 3)
    cut = flows_from_citations(known, (t for k in range(0, 3000, 33) for t in cites(*pairs[k : k + 33])))
    pd.testing.assert_frame_equal(cut.flows, whole.flows)
    pd.testing.assert_frame_equal(cut.waterfall, whole.waterfall)
    pd.testing.assert_frame_equal(cut.by_year, whole.by_year)


ROWS = st.lists(
    st.tuples(st.sampled_from(["CN1", "CN2", "CN10", "x", "", "号码十二"]), st.sampled_from([0, 2001, 2002]),
              st.sampled_from(["发明公布", "发明授权", "实用新型", "外观设计"]), st.integers(-2, 2), st.booleans()),
    max_size=14,
)  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(ROWS, st.integers(1, 5), st.sampled_from(["first", "full", "fractional"]))
def test_patents_read_batch_by_batch_are_those_of_the_whole_table(tmp_path_factory, rows, size, multi):
    pairs = [(a, b) for a in ("CN1", "CN2", "CN10", "x", "", "号码十二", "CN3") for b in ("CN2", "CN10", "", "CN1")]
    cut = [table(*rows[k : k + size]) for k in range(0, len(rows), size)]
    batches = [(t.drop_columns("place"), t["place"].to_numpy().astype(np.int32)) for t in cut]
    streamed = patents_from_batches(batches, CODES, tmp_path_factory.mktemp("parts"), multi=multi)
    assert (len(streamed), streamed.n_records) == (len({r[0] for r in rows}), len(rows))
    found = flows_from_citations(streamed, cites(*pairs), multi=multi)
    expected = flows_from_citations(patents(*rows, multi=multi), cites(*pairs), multi=multi) if rows else found
    for name in ("flows", "waterfall", "by_year"):  # thirds add up in another order
        pd.testing.assert_frame_equal(getattr(found, name), getattr(expected, name), rtol=1e-14)


def test_a_bad_patent_of_a_later_batch_is_named_by_its_row_in_the_file(tmp_path):
    good = pa.table({"application": ["a", "b"], "year": ["2010", "2011"], "type": ["1", "2"], "is_digital": ["1", "0"]})
    bad = good.set_column(1, "year", pa.array(["2010", "soon"]))
    place = np.zeros(2, np.int32)
    with pytest.raises(TableInvalid, match=r"(?s)'soon'.*patents\.csv, row 4.*mend:  write 2016"):
        patents_from_batches([(good, place), (bad, place)], CODES, tmp_path, where="patents.csv")


def test_parts_are_about_equally_large_for_serial_numbers():
    ids = pa.array([f"CN{2010 + k % 8}1{k:07d}.{k % 10}" for k in range(64_000)])
    size = np.bincount(part_of(ids, 64), minlength=64)
    assert 800 < size.min() <= size.max() < 1200  # 1,000 on average
    some = ids.slice(777, 100)  # a slice has an offset of its own
    np.testing.assert_array_equal(part_of(some, 64), part_of(ids, 64)[777:877])


def test_parts_on_disk_are_gone_afterwards(tmp_path):
    known = patents(("a", 2010, "1", 0, True), ("b", 2005, "1", 1, True))
    flows_from_citations(known, cites(("a", "b")), scratch=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_no_citation_makes_no_flow():
    known = patents(("a", 2010, "1", 0, True))
    found = flows_from_citations(known, [])
    assert (len(found.flows), found.n_citations, len(found.by_year)) == (0, 0, 0)
    assert found.waterfall["n_left"].tolist() == [0] * 10


# --- places ----------------------------------------------------------------------------------------------------------


def test_a_code_is_found_by_itself_by_its_city_and_through_another_vintage():
    codes = ["110105", "110000", "440106", "4401", "341402", "341400", "530100", "", None, "abc"]
    recode = {"341402": "310000", "341400": "341400 ended"}
    found = places_from_codes(pa.table({"c": codes}), "c", CODES, recode=recode, parent=city_of)
    assert found.tolist() == [0, 0, 2, 2, 1, OUTSIDE, OUTSIDE, NOWHERE, NOWHERE, NOWHERE]


def test_a_postcode_is_found_whole_or_by_its_first_digits():
    areas = {"100081": 2, "1000": 0, "20": 1, "0100": OUTSIDE}
    found = places_from_postcodes(pa.table({"p": ["100081", "100001", "200433", "10020", "999999", None]}), "p", areas)
    assert found.tolist() == [2, 0, 1, OUTSIDE, NOWHERE, NOWHERE]


def test_a_point_is_in_the_polygon_that_holds_it_and_on_a_border_in_the_lower_code():
    boxes = np.array([shapely.box(2, 0, 3, 1), shapely.box(0, 0, 1, 1), shapely.box(1, 0, 2, 1)], dtype=object)
    zones = Zones(("440100", "110000", "999900"), boxes, "EPSG:4326")
    lon = np.array([0.5, 1.5, 2.5, 1.0, 2.0, 9.0, np.nan, 0.5])
    found = places_from_points(lon, np.full(8, 0.5), zones, CODES)
    assert found.tolist() == [0, OUTSIDE, 2, 0, 2, NOWHERE, NOWHERE, 0]


def test_random_points_match_one_by_one(monkeypatch):
    rng = np.random.default_rng(3)
    boxes = np.array([shapely.box(x, y, x + 1, y + 1) for x in range(4) for y in range(4)], dtype=object)
    codes = tuple(f"11010{k:x}".replace("a", "0") if k < 10 else f"1102{k:02d}" for k in range(16))
    zones = Zones(codes, boxes, "EPSG:4326")
    points = rng.uniform(-0.5, 4.5, (500, 2))
    monkeypatch.setattr("gis.panel.patents.POINTS_AT_ONCE", 60)
    roster = tuple(sorted(codes))
    found = places_from_points(points[:, 0], points[:, 1], zones, roster)
    for (x, y), place in zip(points, found, strict=True):
        inside = [roster.index(c) for c, box in zip(codes, boxes, strict=True) if box.covers(shapely.Point(x, y))]
        assert place == (min(inside) if inside else NOWHERE)


# --- faults ------------------------------------------------------------------------------------------------------

GOOD = {"application": ["a", "b"], "year": ["2010", "2011"], "type": ["1", "2"], "is_digital": ["1", "0"]}
FAULTS = {
    "no number": (
        {"application": ["a", None]},
        r"(?s)no application number.*patents\.csv, row 2.*mend:  drop such rows",
    ),
    "no type": ({"type": ["1", "trademark"]}, r"(?s)'trademark'.*patents\.csv, row 2.*mend:  write invention, utility"),
    "no year": ({"year": ["2010", "soon"]}, r"(?s)'soon'.*patents\.csv, row 2.*mend:  write 2016"),
    "no flag": ({"is_digital": ["1", "maybe"]}, r"(?s)'maybe'.*patents\.csv, row 2.*mend:  write 1 for a digital"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_bad_patent_is_named_with_its_file_and_row(fault):
    change, message = FAULTS[fault]
    with pytest.raises(TableInvalid, match=message):
        patents_from_table(pa.table(GOOD | change), np.zeros(2, np.int32), CODES, where="patents.csv")


@pytest.mark.parametrize("gone", GOOD)
def test_a_missing_column_of_the_patents_is_named(gone):
    whole = pa.table({k: v for k, v in GOOD.items() if k != gone})
    with pytest.raises(TableInvalid, match=rf"(?s)no column {gone}.*mend:  say what the file calls them"):
        patents_from_table(whole, np.zeros(2, np.int32), CODES)


def test_a_missing_column_of_the_citations_is_named():
    with pytest.raises(TableInvalid, match=r"(?s)no column cited.*mend:  say what the file calls them"):
        flows_from_citations(patents(("a", 2010, "1", 0, True)), [pa.table({"citing": ["a"]})])


@pytest.mark.parametrize("rule", [{"multi": "all"}, {"repeated": "twice"}, {"cited": "none"}])
def test_a_rule_that_is_not_offered_is_refused(rule):
    with pytest.raises(OptionInvalid, match=r"mend:  one of"):
        flows_from_citations(patents(("a", 2010, "1", 0, True)), [], **rule)
