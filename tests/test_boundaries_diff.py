"""Two vintages laid over each other: designed changes are named, two drawings of one border are not."""

from __future__ import annotations

from itertools import pairwise

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from vintage_cases import new_china, old_china

from gis.boundaries import geodesic_area_km2
from gis.boundaries.diff import compare_vintages, core_km2, match_units, overlay
from gis.boundaries.diff_files import write_diff
from gis.crs import crs_from
from gis.demo.geography import ABOLISHED, NEW, OLD, geography
from gis.errors import OptionInvalid
from gis.grid import Zones
from gis.tables import BOUNDARY_DIFF, read_table

WGS84 = crs_from("EPSG:4326")
KM = 1 / 111.2
"""About a kilometre, in degrees of latitude."""


def boxes(spec, vintage="", crs="EPSG:4326"):
    """{code: (name, west, south, east, north) or list of them} as zones."""
    shapes, names = [], []
    for name, *rest in spec.values():
        parts = rest[0] if isinstance(rest[0], list) else [tuple(rest)]
        shapes.append(shapely.union_all([shapely.box(*part) for part in parts]))
        names.append(name)
    geometry = np.array([*shapes, None], dtype=object)[:-1]
    return Zones(tuple(spec), geometry, crs_from(crs), vintage, tuple(names))


def rows(diff, column="changes"):
    return {(r["old_code"], r["new_code"]): r[column] for r in diff.units.to_dict("records")}


# --- the demo's designed changes -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def demo():
    g = geography(1907)
    districts = g.zones(OLD, "district"), g.zones(NEW, "district")
    return compare_vintages(g.zones(OLD, "city"), g.zones(NEW, "city"), districts=districts)


def test_every_change_of_the_demo_is_found_and_no_other(demo):
    found = {key: kinds for key, kinds in rows(demo).items() if kinds}
    assert found == {
        ("444300", "446800"): "recoded;renamed",
        ("446200", "446200"): "gained",
        ("446300", "446300"): "gained",
        ("446600", "446600"): "gained",
        (ABOLISHED, ""): "split",
        ("526100", "526100"): "gained",
        ("526200", "526200"): "lost",
        ("526300", "526300"): "renamed",
    }
    assert demo.units["noise_km2"].max() == 0
    assert (demo.pieces["verdict"] != "noise").all()


def test_counties_that_moved_are_named_whole_or_in_part(demo):
    ground = rows(demo, "ground")
    assert "疏浦县" in ground["526200", "526200"] and "526100" in ground["526200", "526200"]
    assert "澄岑区" in ground[ABOLISHED, ""] and "疏渚县" in ground[ABOLISHED, ""]
    assert ground[ABOLISHED, ""].count("砚寨县 (part") == 2  # the divided county went two ways
    assert ground["526300", "526300"] == "526300 瑶垣市 is now called 澜桐市"


def test_recoded_and_redrawn_counties_of_the_demo_are_found():
    g = geography(1907)
    diff = compare_vintages(g.zones(OLD, "district"), g.zones(NEW, "district"), level="district")
    kinds = rows(diff)
    assert kinds["446429", "446403"] == "recoded;renamed"  # a county that became a district
    assert kinds["526225", "526123"] == "recoded"  # its city changed, and so did its code
    assert kinds["446922", "446681"] == "recoded;renamed;lost"  # the divided one
    assert kinds["446921", "446223"] == "recoded;gained"
    assert sum(bool(k) for k in kinds.values()) == 11


def test_another_crs_changes_nothing(demo):
    from gis.crs import transform_geometry

    g = geography(1907)
    old = g.zones(OLD, "city")
    lambert = crs_from("ESRI:102027")
    moved = Zones(old.codes, transform_geometry(old.geometry, old.crs, lambert), lambert, OLD, old.names)
    diff = compare_vintages(moved, g.zones(NEW, "city"))
    assert rows(diff) == rows(demo)


def test_against_itself_nothing_has_changed():
    zones = geography(1907).zones(NEW, "city")
    diff = compare_vintages(zones, zones)
    assert set(diff.units["changes"]) == {""}
    assert diff.units["area_change"].abs().max() < 1e-12  # two quadratures of equal rings
    assert diff.changed().empty


# --- the overlay -----------------------------------------------------------------------------------------------------


@settings(max_examples=25)
@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=3, unique=True),
    st.lists(st.integers(1, 9), max_size=3, unique=True),
)
def test_pieces_of_two_partitions_make_both_wholes(cuts_a, cuts_b):
    def strips(cuts, letter):
        edges = [0, *sorted(cuts), 10]
        cells = {f"{letter}{k}": ("", a, 30, b, 32) for k, (a, b) in enumerate(pairwise(edges))}
        return boxes(cells)

    found = overlay(strips(cuts_a, "a"), strips(cuts_b, "b"))
    by_old = np.bincount(found.old_idx, found.area_km2)
    by_new = np.bincount(found.new_idx, found.area_km2)
    np.testing.assert_allclose(by_old, found.old_area_km2, rtol=1e-10)  # rounding of the overlay's vertices
    np.testing.assert_allclose(by_new, found.new_area_km2, rtol=1e-10)


def test_units_that_only_touch_share_no_piece():
    found = overlay(
        boxes({"100000": ("", 0, 30, 1, 31)}), boxes({"200000": ("", 1, 30, 2, 31), "300000": ("", 0.5, 31, 1, 32)})
    )
    assert len(found) == 0


def test_layers_far_apart_have_no_piece_and_no_match():
    old, new = boxes({"100000": ("甲", 0, 30, 1, 31)}), boxes({"100000": ("甲", 50, 30, 51, 31)})
    diff = compare_vintages(old, new)
    assert rows(diff) == {("100000", ""): "gone", ("", "100000"): "new"}


# --- thick and thin --------------------------------------------------------------------------------------------------


def test_a_strip_has_no_core_and_a_county_keeps_its_own():
    lat, east = 30.0, KM / np.cos(np.radians(30.0))
    shapes = np.array(
        [
            shapely.box(100, lat, 100 + 1.5 * east, lat + 60 * KM),  # 1.5 km by 60 km
            shapely.box(100, lat, 100 + 20 * east, lat + 20 * KM),
            shapely.union_all(
                [
                    shapely.box(100, lat, 100 + 20 * east, lat + 20 * KM),
                    shapely.box(100, lat - 60 * KM, 100 + east, lat),
                ]
            ),
        ],
        dtype=object,
    )
    strip, county, both = core_km2(shapes, WGS84, 2.0)
    assert strip == 0
    assert county == pytest.approx(400, rel=0.01)  # KM is the mean degree; corners are rounded by the opening
    assert both == pytest.approx(county, rel=0.01)  # the strip that hangs on it is taken off
    assert core_km2(shapes[:1], WGS84, 0.0)[0] == pytest.approx(90, rel=0.01)  # no width is noise


def halves(wobble):
    """Two units of 19 by 111 km, their border moved to the east by some kilometres at each of 14 latitudes."""
    lat = np.linspace(30, 31, 14)
    line = np.column_stack([100 + np.asarray(wobble) * KM, lat])
    left, right = shapely.Polygon([(99.8, 30), *line, (99.8, 31)]), shapely.Polygon([*line, (100.2, 31), (100.2, 30)])
    return Zones(("110100", "110200"), np.array([left, right], dtype=object), WGS84)


@settings(max_examples=20)
@given(st.lists(st.floats(-0.8, 0.8), min_size=14, max_size=14))
def test_a_border_drawn_twice_moves_nobody(wobble):
    """Any redrawing within 0.8 km of the border leaves strips narrower than 2 km."""
    diff = compare_vintages(halves(np.zeros(14)), halves(wobble))
    assert "moves" not in set(diff.pieces["verdict"])
    assert not diff.units["changes"].str.contains("lost|gained").any()


def test_the_same_border_counts_once_no_width_is_noise():
    """The strip is 4 % of a unit: it is its width, not its size, that makes it noise."""
    pair = halves(np.zeros(14)), halves(np.r_[0, np.full(12, 0.8), 0])
    assert set(compare_vintages(*pair).pieces["verdict"]) == {"stays", "noise"}
    assert set(compare_vintages(*pair, noise_km=0).pieces["verdict"]) == {"stays", "moves"}


@pytest.mark.parametrize(("side_km", "verdict"), [(1.8, "noise"), (6, "noise"), (25, "moves")])
def test_ground_counts_as_moved_if_it_is_thick_and_large_enough(side_km, verdict):
    """Units of about 100 km by 111 km: 1 % of one is 106 km2, a square of 10.3 km."""
    west, east = boxes({"100100": ("西市", 99, 30, 100, 31)}), boxes({"100200": ("东市", 100, 30, 101, 31)})
    county = shapely.box(100 - side_km * KM / np.cos(np.radians(30.5)), 30.4, 100, 30.4 + side_km * KM)
    old = Zones(("100100", "100200"), np.array([west.geometry[0], east.geometry[0]], dtype=object), WGS84)
    changed = [shapely.difference(west.geometry[0], county), shapely.union(east.geometry[0], county)]
    diff = compare_vintages(old, Zones(old.codes, np.array(changed, dtype=object), WGS84))
    piece = diff.pieces[diff.pieces["old_code"] != diff.pieces["new_code"]].iloc[0]
    assert piece["verdict"] == verdict
    if verdict == "moves":
        assert rows(diff) == {("100100", "100100"): "lost", ("100200", "100200"): "gained"}


def test_a_strip_with_a_bulge_is_noise_unless_the_bulge_is_large_enough():
    """A strip of 1.5 km along the whole border is 1.5 % of a unit; what is thick in it, 4 by 4 km, is 0.15 %."""
    east = KM / np.cos(np.radians(30.5))
    old = boxes({"100100": ("西市", 99, 30, 100, 31), "100200": ("东市", 100, 30, 101, 31)})
    strip = shapely.box(100, 30, 100 + 1.5 * east, 31)
    for bulge_km, verdict in ((4, "noise"), (15, "moves")):
        bulge = shapely.box(100, 30.4, 100 + bulge_km * east, 30.4 + bulge_km * KM)
        west = shapely.union_all([old.geometry[0], strip, bulge])
        new = Zones(old.codes, np.array([west, shapely.difference(old.geometry[1], west)], dtype=object), WGS84)
        pieces = compare_vintages(old, new).pieces.set_index(["old_code", "new_code"])
        assert pieces.loc[("100200", "100100"), "new_share"] > 0.01
        assert pieces.loc[("100200", "100100"), "verdict"] == verdict


def test_a_coast_drawn_further_out_is_redrawn_not_moved():
    diff = compare_vintages(
        boxes({"350100": ("福州市", 119, 25, 120, 26)}), boxes({"350100": ("福州市", 119, 25, 120.2, 26)})
    )
    assert rows(diff) == {("350100", "350100"): "redrawn"}
    assert rows(diff, "ground")["350100", "350100"] == "drawn 20.0% larger, no other unit's ground"
    assert diff.changed().empty


# --- who is who ------------------------------------------------------------------------------------------------------


def test_one_code_on_other_ground_is_not_one_unit():
    old = boxes({"469025": ("定安县", 110, 19, 111, 20), "469030": ("白沙县", 108, 19, 109, 20)})
    new = boxes({"469025": ("白沙县", 108, 19, 109, 20), "469021": ("定安县", 110, 19, 111, 20)})
    assert match_units(overlay(old, new)) == {"469025": "469021", "469030": "469025"}


def test_the_lists_are_asked_where_the_vintages_are_dated():
    """On the ground alone the larger half would count as the unit; the lists say that it ended."""
    old = boxes({"371200": ("莱芜市", 117, 36, 118, 37), "370100": ("济南市", 116, 36, 117, 37)}, "2017-12-31")
    new = boxes({"370100": ("济南市", 116, 36, 118, 37)}, "2019-12-31")
    diff = compare_vintages(old, new)
    assert rows(diff) == {("371200", ""): "merged", ("370100", "370100"): "gained"}
    assert "国函〔2018〕163号" in rows(diff, "event")["371200", ""]


def test_a_named_move_counts_however_small():
    """Shenxiang, one town of He county: 0.3 % of Anqing is less than the threshold, the lists name the transfer."""
    old = boxes({"340800": ("安庆市", 116, 30, 117, 31), "340700": ("铜陵市", 117, 30, 118, 31)}, "2014-12-31")
    town = (116.94, 30.4, 117, 30.45)
    new_shapes = [
        shapely.difference(old.geometry[0], shapely.box(*town)),
        shapely.union(old.geometry[1], shapely.box(*town)),
    ]
    new = Zones(old.codes, np.array(new_shapes, dtype=object), WGS84, "2015-12-31", old.names)
    diff = compare_vintages(old, new)
    assert rows(diff) == {("340800", "340800"): "lost", ("340700", "340700"): "gained"}
    undated = compare_vintages(Zones(old.codes, old.geometry, WGS84), Zones(new.codes, new.geometry, WGS84))
    assert set(rows(undated).values()) == {""}


# --- to disk ---------------------------------------------------------------------------------------------------------


def test_a_difference_is_written_as_table_and_as_layers(demo, tmp_path):
    table = read_table(BOUNDARY_DIFF, write_diff(demo, tmp_path / "diff.parquet"))
    assert list(table["changes"]) == list(demo.units["changes"])
    text = pd.read_csv(write_diff(demo, tmp_path / "diff.csv"), dtype=str, encoding="utf-8-sig", keep_default_na=False)
    assert ABOLISHED in set(text["old_code"])
    path = write_diff(demo, tmp_path / "diff.gpkg")
    assert [str(n) for n in pyogrio.list_layers(path)[:, 0]] == ["boundary_diff", "boundary_piece"]
    units, pieces = gpd.read_file(path, layer="boundary_diff"), gpd.read_file(path, layer="boundary_piece")
    assert len(units) == len(demo.units)
    assert set(pieces["verdict"]) == {"moves"}
    moved = demo.pieces[demo.pieces["verdict"] == "moves"]
    np.testing.assert_allclose(
        geodesic_area_km2(pieces.geometry.to_numpy(), pieces.crs), moved["overlap_km2"], rtol=1e-9
    )
    assert {p.name for p in tmp_path.iterdir()} == {"diff.parquet", "diff.csv", "diff.gpkg"}


def test_a_format_that_is_none_is_refused_and_nothing_left(demo, tmp_path):
    with pytest.raises(OptionInvalid, match=r"mend:  name the file \.gpkg, \.parquet or \.csv"):
        write_diff(demo, tmp_path / "diff.shp")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("noise_km", "min_share"), [(-1, 0.01), (2, 0), (2, 1.5)])
def test_thresholds_that_tell_nothing_apart_are_refused(noise_km, min_share):
    zones = boxes({"100000": ("", 0, 30, 1, 31)})
    with pytest.raises(
        OptionInvalid, match=r"mend:  a width in km and a share between 0 and 1, such as 2\.0 and 0\.01"
    ):
        compare_vintages(zones, zones, noise_km=noise_km, min_share=min_share)


# --- real layers -----------------------------------------------------------------------------------------------------


@pytest.mark.real_data
@pytest.mark.slow
def test_real_vintages_name_the_official_changes(real_data):
    diff = compare_vintages(old_china(real_data), new_china(real_data))
    kinds, event = rows(diff), rows(diff, "event")
    assert kinds["341400", ""] == "split"
    assert kinds["371200", ""] == "merged"
    assert kinds["420600", "420600"] == "renamed"
    assert kinds["469003", "460400"].startswith("recoded")
    assert kinds["522400", "520500"] == "recoded;renamed"
    for codes, decree in {
        ("341400", ""): "国函〔2011〕84号",
        ("371200", ""): "国函〔2018〕163号",
        ("341500", "341500"): "国函〔2015〕206号",  # Shou county to Huainan
        ("340800", "340800"): "国函〔2015〕181号",  # Zongyang to Tongling
        ("512000", "512000"): "国函〔2016〕78号",  # Jianyang to Chengdu
        ("220300", "220300"): "国函〔2020〕84号",  # Gongzhuling to Changchun
    }.items():
        assert decree in event[codes], codes
    # The layer numbers Hainan's counties in its own way; each is found by its ground.
    assert kinds["469031", "469026"].startswith("recoded")
    noise = diff.pieces[diff.pieces["verdict"] == "noise"]
    assert len(noise) > 1700 and noise["width_km"].median() < 0.5  # km: two drawings, a few hundred metres apart
