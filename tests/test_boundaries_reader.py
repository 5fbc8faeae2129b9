"""Every format reads the same, and every fault of a layer is an error that says how to mend it."""

from __future__ import annotations

import json
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gis.boundaries import read_geometry, read_layer, read_zones
from gis.crs import ASIA_NORTH_LAMBERT, same_crs
from gis.errors import (
    BoundaryInvalid,
    BoundaryUnreadable,
    CodeInvalid,
    CrsMismatch,
    CrsMissing,
    GeometryInvalid,
    GisError,
)
from gis.workspace import BoundarySource

CODES = ["340100", "340200", "341200"]
NAMES = ["合肥市", "芜湖市", "阜阳市"]
HOLED = shapely.box(2, 30, 3, 31).difference(shapely.box(2.25, 30.25, 2.75, 30.75))
SHAPES = [
    shapely.box(0, 30, 1, 31),
    shapely.MultiPolygon([shapely.box(1, 30, 2, 31), shapely.box(1, 32, 2, 33)]),
    HOLED,
]


def frame(codes=CODES, names=NAMES, shapes=SHAPES, crs="EPSG:4326", **more) -> gpd.GeoDataFrame:
    return gpd.GeoDataFrame({"code": codes, "name": names, **more}, geometry=list(shapes), crs=crs)


def read(path: Path, level="city", **more):
    source = BoundarySource(file=path.name, vintage=more.pop("vintage", 2019), **more)
    return read_layer(source, path.parent, key=f"boundaries.{level}", level=level)


@pytest.fixture
def layer_file(tmp_path):
    """Write a GeoDataFrame as a GeoPackage and give its path."""

    def write(data: gpd.GeoDataFrame, name: str = "layer.gpkg") -> Path:
        path = tmp_path / name
        data.to_file(path, layer="units", driver="GPKG")
        return path

    return write


# --- formats ---------------------------------------------------------------------------------------------------------


def _csv(data, path, **more):
    import pandas as pd

    table = pd.DataFrame(data.drop(columns="geometry")).assign(形状=data.geometry.to_wkt())
    table.to_csv(path, index=False, **more)


def _topojson(data, path):
    """Quantisation-free TopoJSON: every ring an arc of its own."""
    arcs, geometries = [], []
    for row in data.itertuples():
        polygons = []
        for part in shapely.get_parts(row.geometry):
            rings = [part.exterior, *part.interiors]
            polygons.append([[len(arcs) + k] for k in range(len(rings))])
            arcs += [[list(xy) for xy in ring.coords] for ring in rings]
        geometries.append(
            {"type": "MultiPolygon", "arcs": polygons, "properties": {"code": row.code, "name": row.name}}
        )
    objects = {"units": {"type": "GeometryCollection", "geometries": geometries}}
    path.write_text(json.dumps({"type": "Topology", "arcs": arcs, "objects": objects}), encoding="utf-8")


WRITERS = {
    "gpkg": (lambda d, p: d.to_file(p, driver="GPKG"), {}),
    "shp": (lambda d, p: d.to_file(p, encoding="GBK"), {}),
    "geojson": (lambda d, p: d.to_file(p, driver="GeoJSON"), {}),
    "json": (_topojson, {"crs": "EPSG:4326"}),
    "fgb": (lambda d, p: d.to_file(p, driver="FlatGeobuf", SPATIAL_INDEX="NO"), {}),
    "parquet": (lambda d, p: d.to_parquet(p), {}),
    "csv": (lambda d, p: _csv(d, p, encoding="utf-8-sig"), {"crs": "EPSG:4326"}),
    "tsv": (lambda d, p: _csv(d, p, sep="\t", encoding="gbk"), {"crs": "EPSG:4326"}),
}


@pytest.mark.parametrize("suffix", WRITERS)
def test_every_format_reads_the_same(tmp_path, suffix):
    write, more = WRITERS[suffix]
    path = tmp_path / f"市界.{suffix}"
    write(frame(), path)
    layer = read(path, **more)
    zones = layer.zones
    assert zones.codes == tuple(CODES)
    assert zones.names == tuple(NAMES)
    assert zones.vintage == "2019"
    assert shapely.equals(zones.geometry, SHAPES).all()
    assert same_crs(zones.crs, "EPSG:4326")
    assert layer.crs_origin == ("config" if more else "file")
    assert len(layer.sha256) == 64
    assert layer.repairs == ()


def test_a_bom_before_a_geojson_does_no_harm(tmp_path):
    path = tmp_path / "a.geojson"
    frame().to_file(path, driver="GeoJSON")
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert read(path).zones.names == tuple(NAMES)


def test_height_and_measure_are_dropped(tmp_path, layer_file):
    path = layer_file(frame(shapes=shapely.force_3d(SHAPES, 5.0)))
    zones = read(path).zones
    assert not shapely.has_z(zones.geometry).any()
    assert shapely.equals(zones.geometry, SHAPES).all()


def test_the_hash_of_a_shapefile_covers_its_attributes(tmp_path):
    path = tmp_path / "a.shp"
    frame().to_file(path, encoding="UTF-8")
    before = read(path).sha256
    frame(names=["合肥", "芜湖", "阜阳"]).to_file(path, encoding="UTF-8")
    assert read(path).sha256 != before


# --- files that cannot be read ---------------------------------------------------------------------------------------


def test_missing_file_names_the_nearest(tmp_path, layer_file):
    layer_file(frame(), "cities_2019.gpkg")
    with pytest.raises(BoundaryUnreadable, match=r"did you mean cities_2019\.gpkg\?"):
        read(tmp_path / "citys_2019.gpkg")
    with pytest.raises(BoundaryUnreadable, match=r"relative to the workspace"):
        read(tmp_path / "zzz.shp")


@pytest.mark.parametrize("suffix", [s for s in WRITERS if s not in ("csv", "tsv")])
def test_truncated_files_are_refused_not_half_read(tmp_path, suffix):
    path = tmp_path / f"cut.{suffix}"
    WRITERS[suffix][0](frame(), path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])
    with pytest.raises(BoundaryUnreadable, match=r"mend:  copy (or export it|the \.shp, \.shx, \.dbf and \.prj) again"):
        read(path, **WRITERS[suffix][1])


def test_a_truncated_csv_is_refused(tmp_path):
    path = tmp_path / "cut.csv"
    _csv(frame(), path)
    path.write_bytes(path.read_bytes()[:-60])
    with pytest.raises(BoundaryUnreadable, match=r"mend:  copy or export it again"):
        read(path, crs="EPSG:4326")


def test_a_cut_cell_of_wkt_names_its_row(tmp_path):
    path = tmp_path / "cut.csv"
    table = frame().drop(columns="geometry").assign(形状=[g.wkt for g in SHAPES])
    table.loc[1, "形状"] = table.loc[1, "形状"][:50]
    table.to_csv(path, index=False)
    with pytest.raises(BoundaryInvalid, match=r"row 2 of column 形状(?s:.*)cut cells at 32,767 characters"):
        read(path, crs="EPSG:4326")


@pytest.mark.parametrize(
    ("name", "content", "mend"),
    [
        ("a.gpkg", b"", "copy or download it again"),
        ("a.geojson", b"<html>not found</html>", "formats read: GeoPackage, Shapefile"),
        ("a.gpkg", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
        ("a.zip", b"PK\x03\x04", r"unpack it and name the \.shp or \.gpkg inside"),
        ("a.shp", b"\0" * 100, r"copy a\.shx and a\.dbf beside it"),
    ],
)
def test_files_that_are_no_layer_are_refused(tmp_path, name, content, mend):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BoundaryUnreadable, match=mend):
        read(tmp_path / name)


def test_a_folder_is_not_a_layer(tmp_path):
    (tmp_path / "layers").mkdir()
    with pytest.raises(BoundaryUnreadable, match=r"name the file in it"):
        read(tmp_path / "layers")


def test_a_parquet_without_geometry_is_refused(tmp_path):
    frame().drop(columns="geometry").to_parquet(tmp_path / "a.parquet")
    with pytest.raises(BoundaryInvalid, match=r"GeoDataFrame\.to_parquet"):
        read(tmp_path / "a.parquet")


def test_a_csv_without_geometry_is_refused(tmp_path):
    (tmp_path / "a.csv").write_text("code,name\n340100,合肥市\n", encoding="utf-8")
    with pytest.raises(BoundaryInvalid, match=r"columns: code, name(?s:.*)exactly one column of WKT"):
        read(tmp_path / "a.csv")


@pytest.mark.parametrize("suffix", ["gpkg", "geojson"])
def test_a_layer_without_features_is_refused(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    frame().iloc[:0].to_file(path)
    with pytest.raises(BoundaryInvalid, match=r"holds no feature(?s:.*)one for each unit"):
        read(path)


def test_several_layers_are_listed_with_their_counts(tmp_path):
    path = tmp_path / "a.gpkg"
    frame().iloc[:1].to_file(path, layer="province")
    frame().to_file(path, layer="prefecture")
    with pytest.raises(
        BoundaryInvalid,
        match=r'province \(1 features\), prefecture \(3 features\)(?s:.*)boundaries\.city\.layer = "prefecture"',
    ):
        read(path)
    with pytest.raises(BoundaryInvalid, match=r'boundaries\.city\.layer = "prefecture"'):
        read(path, layer="prefectures")
    assert len(read(path, layer="prefecture").zones) == 3


def test_a_layer_that_a_one_layer_format_does_not_have_is_refused(tmp_path):
    path = tmp_path / "a.parquet"
    frame().to_parquet(path)
    with pytest.raises(BoundaryInvalid, match=r"leave boundaries\.city\.layer out"):
        read(path, layer="cities")


# --- CRS -------------------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:'crs' was not provided")
@pytest.mark.parametrize("suffix", ["gpkg", "shp", "fgb", "parquet", "csv", "json"])
def test_a_missing_crs_names_the_config_key(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    WRITERS[suffix][0](frame(crs=None), path)
    with pytest.raises(CrsMissing, match=r'mend:  boundaries\.city\.crs = "EPSG:4326"'):
        read(path)
    assert read(path, crs="EPSG:4326").crs_origin == "config"


def test_a_missing_crs_of_projected_coordinates_is_not_called_wgs84(tmp_path):
    path = tmp_path / "a.parquet"
    frame().to_crs(ASIA_NORTH_LAMBERT).set_crs(None, allow_override=True).to_parquet(path)
    with pytest.raises(CrsMissing, match=r'are projected(?s:.*)boundaries\.city\.crs = "EPSG:\.\.\."'):
        read(path)


def test_a_crs_that_says_only_that_there_is_none_is_none(tmp_path):
    path = tmp_path / "a.parquet"
    frame(crs='LOCAL_CS["Undefined Cartesian SRS",UNIT["metre",1]]').to_parquet(path)
    with pytest.raises(CrsMissing, match=r'boundaries\.city\.crs = "EPSG:4326"'):
        read(path)


def test_a_config_that_contradicts_the_file_is_refused(layer_file):
    path = layer_file(frame())
    with pytest.raises(CrsMismatch, match=r"leave boundaries\.city\.crs out"):
        read(path, crs="EPSG:4490")
    assert read(path, crs="OGC:CRS84").crs_origin == "file"  # the same CRS by another name


@pytest.mark.filterwarnings("ignore:'crs' was not provided")
def test_geojson_without_crs_is_wgs84_unless_its_coordinates_say_otherwise(tmp_path):
    path = tmp_path / "a.geojson"
    projected = frame().to_crs(ASIA_NORTH_LAMBERT).set_crs(None, allow_override=True)
    path.write_text(projected.to_json(drop_id=True), encoding="utf-8")
    with pytest.raises(CrsMissing, match=r'RFC 7946(?s:.*)boundaries\.city\.crs = "EPSG:\.\.\."'):
        read(path)
    zones = read(path, crs=ASIA_NORTH_LAMBERT).zones
    assert same_crs(zones.crs, ASIA_NORTH_LAMBERT)
    frame(crs=None).to_file(path, driver="GeoJSON")
    assert read(path).crs_origin == "file"
    assert same_crs(read(path, crs="EPSG:4490").zones.crs, "EPSG:4490")


def test_geojson_that_states_a_crs_is_believed(tmp_path):
    path = tmp_path / "a.geojson"
    frame(crs="EPSG:4490").to_file(path, driver="GeoJSON")
    assert '"crs"' in path.read_text(encoding="utf-8")
    assert same_crs(read(path).zones.crs, "EPSG:4490")
    with pytest.raises(CrsMismatch, match=r"leave boundaries\.city\.crs out"):
        read(path, crs="EPSG:4326")


def test_coordinates_that_cannot_be_in_the_crs_are_refused(tmp_path):
    path = tmp_path / "a.parquet"
    frame().to_crs(ASIA_NORTH_LAMBERT).set_crs("EPSG:4326", allow_override=True).to_parquet(path)
    with pytest.raises(CrsMismatch, match=r"a file without the wrong CRS"):
        read(path)
    frame().set_crs(ASIA_NORTH_LAMBERT, allow_override=True).to_parquet(path)
    with pytest.raises(CrsMismatch, match=r'boundaries\.city\.crs = "EPSG:4326"'):
        read(path)


def test_exchanged_axes_are_called_by_their_name(layer_file):
    path = layer_file(frame(shapes=[shapely.box(30 + k, 116, 31 + k, 117) for k in range(len(SHAPES))]))
    with pytest.raises(CrsMismatch, match=r"wrong way round(?s:.*)mend:  exchange them"):
        read(path)


def test_longitudes_past_180_are_refused(layer_file):
    path = layer_file(frame(shapes=[shapely.box(179, 0, 181, 1), *SHAPES[1:]]))
    with pytest.raises(GeometryInvalid, match=r"ogr2ogr -wrapdateline"):
        read(path)


# --- columns ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "name"),
    [("adcode", "地名"), ("区划码", "NAME"), ("PAC", "city_name"), ("ADCODE99", "市"), ("id", "name"), ("gb", "名称")],
)
def test_usual_names_of_columns_are_found(layer_file, code, name):
    path = layer_file(frame().rename(columns={"code": code, "name": name}))
    zones = read(path).zones
    assert (zones.codes, zones.names) == (tuple(CODES), tuple(NAMES))


def test_the_most_telling_column_wins(layer_file):
    path = layer_file(frame(city_code=CODES, id=["1", "2", "3"], province_code=[34] * 3).drop(columns="code"))
    assert read(path).zones.codes == tuple(CODES)


def test_chinese_names_are_preferred_to_pinyin(layer_file):
    path = layer_file(frame(names=["Hefei", "Wuhu", "Fuyang"], 地名=NAMES))
    assert read(path).zones.names == tuple(NAMES)


def test_configured_columns_win(layer_file):
    path = layer_file(frame(代号=CODES[::-1], label=NAMES[::-1]))
    zones = read(path, columns={"code": "代号", "name": "label"}).zones
    assert (zones.codes, zones.names) == (tuple(CODES[::-1]), tuple(NAMES[::-1]))


def test_an_unknown_configured_column_names_the_nearest(layer_file):
    path = layer_file(frame())
    with pytest.raises(BoundaryInvalid, match=r'columns: code, name(?s:.*)boundaries\.city\.columns\.code = "code"'):
        read(path, columns={"code": "codes"})
    with pytest.raises(BoundaryInvalid, match=r"name one of the columns listed above"):
        read(path, columns={"name": "zzz"})


def test_no_code_column_lists_the_columns_and_points_to_the_one_that_looks_like_it(layer_file):
    path = layer_file(frame().rename(columns={"code": "关键字"}))
    with pytest.raises(BoundaryInvalid, match=r'关键字, name(?s:.*)boundaries\.city\.columns\.code = "关键字"'):
        read(path)


def test_two_columns_that_disagree_are_ambiguous_two_that_agree_are_not(layer_file):
    path = layer_file(frame(adcode=CODES[::-1]))
    with pytest.raises(BoundaryInvalid, match=r'disagree(?s:.*)boundaries\.city\.columns\.code = "code"'):
        read(path)
    path = layer_file(frame(adcode=[float(c) for c in CODES]), "b.gpkg")
    assert read(path).zones.codes == tuple(CODES)


def test_a_column_of_the_usual_name_without_codes_is_passed_over(layer_file):
    path = layer_file(frame(codes=["a1", "b2", "c3"], id=CODES))
    assert read(path).zones.codes == tuple(CODES)


def test_a_layer_without_names_reads_and_says_so(layer_file):
    layer = read(layer_file(frame().drop(columns="name")))
    assert layer.zones.names == ()
    assert any("boundaries.city.columns.name" in note for note in layer.notes)


# --- codes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "codes",
    [[340100, 340200, 341200], [340100.0, 340200.0, 341200.0], ["3401", "3402", "3412"], [3401, 3402, 3412],
     ["340100000000", "340200000000", "341200000000"], ["156340100", "156340200", "156341200"]],
)  # fmt: skip
def test_every_spelling_of_codes_reads_the_same(layer_file, codes):
    assert read(layer_file(frame(codes=codes))).zones.codes == tuple(CODES)


def test_missing_and_malformed_codes_are_named_and_can_be_left_out(layer_file):
    codes = ["340100", None, "7001"]
    path = layer_file(frame(codes=codes))
    with pytest.raises(
        CodeInvalid,
        match=r'nothing \(row 2\), 7001 \(row 3\)(?s:.*)boundaries\.city\.exclude = \["", "7001"\] leaves them out',
    ):
        read(path)
    assert read(path, exclude=("", "7001")).zones.codes == ("340100",)


def test_filters_keep_and_leave_out(layer_file):
    path = layer_file(frame())
    assert read(path, codes=("3412", "340100")).zones.codes == ("340100", "341200")
    assert read(path, exclude=("340200",)).zones.codes == ("340100", "341200")
    with pytest.raises(CodeInvalid, match=r"no unit 340109(?s:.*)nearest codes there are: 340100"):
        read(path, codes=("340109",))
    with pytest.raises(CodeInvalid, match=r"boundaries\.city\.exclude(?s:.*)take the code out of the list"):
        read(path, exclude=("xyz",))
    with pytest.raises(BoundaryInvalid, match=r"correct boundaries\.city\.codes and \.exclude"):
        read(path, exclude=tuple(CODES))


def test_parts_of_one_unit_in_several_rows_are_united(layer_file):
    path = layer_file(frame(codes=["340100", "340200", "340100"], names=["合肥市", "芜湖市", None]))
    layer = read(path)
    assert layer.zones.codes == ("340100", "340200")
    assert layer.zones.names == ("合肥市", "芜湖市")
    assert layer.zones.geometry[0].equals(shapely.union_all([SHAPES[0], SHAPES[2]]))
    assert any("340100 (2 rows)" in note for note in layer.notes)


def test_one_code_for_two_names_is_refused(layer_file):
    path = layer_file(frame(codes=["340100", "340200", "340100"]))
    with pytest.raises(CodeInvalid, match=r"合肥市 \(row 1\), 阜阳市 \(row 3\)(?s:.*)correct the code of one"):
        read(path)


def test_one_code_for_overlapping_rows_is_refused(layer_file):
    path = layer_file(
        frame(codes=["340100", "340200", "340100"], names=["a", "b", "a"], shapes=[*SHAPES[:2], SHAPES[0]])
    )
    with pytest.raises(CodeInvalid, match=r"rows 1, 3(?s:.*)keep one row for each unit"):
        read(path)


@pytest.mark.parametrize(
    "codes", [["110000", "120000", "340100"], ["110100", "120100", "340100"], [1101, 1201, 3401], ["11", "12", "3401"]]
)
def test_a_municipality_is_one_city_however_it_is_written(layer_file, codes):
    layer = read(layer_file(frame(codes=codes)))
    assert layer.zones.codes == ("110000", "120000", "340100")
    assert layer.zones.names == tuple(NAMES)
    assert any("110100 became 110000" in note for note in layer.notes) == (str(codes[0]).startswith("1101"))


def test_districts_of_a_municipality_become_one_city_in_a_layer_of_cities(layer_file):
    layer = read(layer_file(frame(codes=["110101", "110228", "340100"])))
    assert layer.zones.codes == ("110000", "340100")
    assert layer.zones.names == ("北京市", "阜阳市")
    assert layer.zones.geometry[0].equals(shapely.union_all(SHAPES[:2]))
    # and stay what they are in a layer of districts
    layer = read(layer_file(frame(codes=["110101", "110228", "340104"]), "d.gpkg"), level="district")
    assert layer.zones.codes == ("110101", "110228", "340104")
    assert layer.zones.parents == ("110000", "110000", "340100")


def test_a_municipality_beside_its_own_districts_is_refused(layer_file):
    shapes = [shapely.box(0, 30, 2, 32), shapely.box(0, 30, 1, 31), SHAPES[2]]
    path = layer_file(frame(codes=["110000", "110101", "340100"], shapes=shapes))
    with pytest.raises(CodeInvalid, match=r"unit 110000 overlap(?s:.*)keep one row for each unit"):
        read(path)


def test_districts_given_as_cities_are_refused(layer_file):
    path = layer_file(frame(codes=["340104", "340203", "341202"]))
    with pytest.raises(BoundaryInvalid, match=r"describe this layer as \[boundaries\.district\]"):
        read(path)


def test_units_that_are_no_cities_stay_and_are_named(layer_file):
    codes = ["419001", "629700", "340000", "981200"]
    layer = read(layer_file(frame(codes=codes, names=codes, shapes=[*SHAPES, shapely.box(5, 30, 6, 31)])))
    assert layer.zones.codes == tuple(codes)
    for code, what in (
        ("419001", "belong to no city"),
        ("629700", "outside the ranges"),
        ("340000", "whole provinces"),
        ("981200", "GB/T 2260 does not have"),
    ):
        assert any(code in note and what in note for note in layer.notes)


def test_the_city_of_a_district_is_the_layers_own_where_it_says_so(layer_file):
    data = frame(
        codes=["340104", "340203", "419001"], city_code=["3401", None, "419001"], 市=["合肥市", "芜湖市", None]
    )
    layer = read(layer_file(data), level="district")
    assert layer.zones.parents == ("340100", "340200", "")
    assert layer.city_names == {"340100": "合肥市", "340200": "芜湖市"}
    moved = read(layer_file(frame(codes=["340104", "340203", "341202"], parent=["340200"] * 3), "m.gpkg"), "district")
    assert moved.zones.parents == ("340200",) * 3
    assert any("340104 (340200, by its code 340100)" in note for note in moved.notes)


def test_names_of_cities_are_taken_from_districts_only_where_these_agree(layer_file):
    data = frame(codes=["110101", "340203", "340204"], city_name=["市辖区", "芜湖市", "芜湖"])
    assert read(layer_file(data), level="district").city_names == {}
    data = frame(codes=["340104", "340203", "340204"], city_name=["合肥市", "芜湖市", "芜湖市"])
    assert read(layer_file(data, "b.gpkg"), level="district").city_names == {"340100": "合肥市", "340200": "芜湖市"}


def test_hong_kong_macau_and_taiwan_are_units_like_any_other(layer_file):
    layer = read(layer_file(frame(codes=["710000", "810000", "820000"])))
    assert layer.zones.codes == ("710000", "810000", "820000")
    assert not any("provinces" in note for note in layer.notes)


# --- geometry --------------------------------------------------------------------------------------------------------


def test_collections_keep_their_polygons(layer_file):
    mixed = shapely.GeometryCollection([SHAPES[0], shapely.LineString([(0, 30), (5, 35)]), shapely.Point(9, 39)])
    nested = shapely.GeometryCollection([shapely.GeometryCollection([SHAPES[1]])])
    layer = read(layer_file(frame(shapes=[mixed, nested, SHAPES[2]])))
    assert shapely.equals(layer.zones.geometry, SHAPES).all()
    assert any("left out of 2 units: 340100, 340200" in note for note in layer.notes)


@pytest.mark.parametrize("wrong", [shapely.Point(0, 30), shapely.LineString([(0, 30), (1, 31)]),
                                   shapely.GeometryCollection([shapely.Point(0, 30)])])  # fmt: skip
def test_points_and_lines_are_refused(tmp_path, wrong):
    path = tmp_path / "a.parquet"
    frame(shapes=[wrong, *SHAPES[1:]]).to_parquet(path)
    with pytest.raises(BoundaryInvalid, match=r"340100(?s:.*)give a layer of polygons"):
        read(path)


@pytest.mark.parametrize("nothing", [None, shapely.Polygon()])
def test_a_unit_without_geometry_stays_and_is_named(tmp_path, nothing):
    path = tmp_path / "a.parquet"
    frame(shapes=[nothing, *SHAPES[1:]]).to_parquet(path)
    layer = read(path)
    assert layer.zones.geometry[0].is_empty
    assert any("no geometry and get no value: 340100" in note for note in layer.notes)


def test_a_small_bow_tie_is_mended_and_recorded_a_large_one_refused(layer_file):
    small = shapely.Polygon([(0, 30), (1, 30), (1, 31), (0.5, 31.02), (0.51, 31.02), (0, 31)])
    layer = read(layer_file(frame(shapes=[small, *SHAPES[1:]])))
    assert [r.code for r in layer.repairs] == ["340100"]
    assert "Self-intersection" in layer.repairs[0].reason
    assert 0 < layer.repairs[0].change_share < 0.005
    assert shapely.is_valid(layer.zones.geometry).all()
    large = shapely.Polygon([(0, 30), (1, 31), (1, 30), (0, 31)])
    path = layer_file(frame(shapes=[large, *SHAPES[1:]]), "b.gpkg")
    with pytest.raises(GeometryInvalid, match=r"340100(?s:.*)redraw these rings"):
        read(path)
    assert len(read(path, exclude=("340100",)).zones) == 2


# --- any polygons ----------------------------------------------------------------------------------------------------


def test_any_column_names_zones_and_the_order_is_kept(layer_file):
    data = frame(codes=["BI003", "BI001", "BI002"], n=[30, 10, 20], x=[1.5, 2.0, 3.0])
    path = layer_file(data)
    for source in (path, str(path), data):
        assert read_zones(source, code="code").codes == ("BI003", "BI001", "BI002")
        assert read_zones(source, code="n").codes == ("30", "10", "20")
        assert read_zones(source, code="x").codes == ("1.5", "2", "3")
        assert read_zones(source).codes == ("0", "1", "2")
        assert shapely.equals(read_zones(source).geometry, SHAPES).all()


def test_a_geodataframe_is_left_as_it_was():
    data = frame(
        shapes=[shapely.Polygon([(0, 30), (1, 30), (1, 31), (0.5, 31.02), (0.51, 31.02), (0, 31)]), *SHAPES[1:]]
    )
    before = data.copy(deep=True)
    with pytest.warns(UserWarning, match="1 invalid polygons mended"):
        zones = read_zones(data)
    assert shapely.is_valid(zones.geometry).all()
    assert data.geometry.geom_equals_exact(before.geometry, 0).all()


def test_a_row_without_geometry_keeps_its_place():
    with pytest.warns(UserWarning, match="no geometry and get no value: 340200"):
        zones = read_zones(frame(shapes=[SHAPES[0], None, SHAPES[2]]), code="code")
    assert zones.codes == tuple(CODES)
    assert zones.geometry[1].is_empty


def test_zones_need_one_code_each():
    with pytest.raises(CodeInvalid, match=r"a \(rows 1, 3\)(?s:.*)dissolve the rows by this column"):
        read_zones(frame(codes=["a", "b", "a"]), code="code")
    with pytest.raises(CodeInvalid, match=r"rows 2(?s:.*)leave code out to number the rows"):
        read_zones(frame(codes=["a", None, "c"]), code="code")
    with pytest.raises(BoundaryInvalid, match=r'code="code"'):
        read_zones(frame(), code="codes")


def test_zones_need_a_crs():
    with pytest.raises(CrsMissing, match=r'mend:  crs = "EPSG:4326"'):
        read_zones(frame(crs=None))
    assert same_crs(read_zones(frame(crs=None), crs=4326).crs, "EPSG:4326")
    with pytest.raises(CrsMismatch, match=r"leave crs out"):
        read_zones(frame(), crs="EPSG:3857")


def test_geometry_of_any_kind_can_be_read_alone(layer_file):
    points = [shapely.Point(1, 2), None, shapely.Point(3, 4)]
    geometry, crs = read_geometry(layer_file(frame(shapes=points)), key="lights.masks.flares")
    assert [g.wkt for g in geometry] == ["POINT (1 2)", "POINT (3 4)"]
    assert same_crs(crs, "EPSG:4326")


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    order=st.permutations(range(6)), crs=st.sampled_from(["EPSG:4326", "EPSG:4490", ASIA_NORTH_LAMBERT, "EPSG:3857"])
)
def test_order_of_rows_changes_nothing_but_the_order(tmp_path, order, crs):
    codes = np.array([f"34{k:02d}00" for k in range(1, 7)])
    shapes = np.array([shapely.box(100 + k, 30, 101 + k, 31 + k / 8) for k in range(6)])
    data = frame(codes=codes[order], names=codes[order], shapes=shapes[order]).to_crs(crs)
    path = tmp_path / "any.parquet"
    data.to_parquet(path)
    zones = read(path).zones
    assert zones.codes == tuple(codes[order])
    assert shapely.equals_identical(zones.geometry, data.geometry.to_numpy()).all()


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(0, 10_000), byte=st.integers(0, 255), suffix=st.sampled_from(["geojson", "shp", "fgb", "csv"]))
def test_a_flipped_byte_is_read_or_refused_never_a_crash(tmp_path, at, byte, suffix):
    path = tmp_path / f"a.{suffix}"
    WRITERS[suffix][0](frame(), path)
    content = bytearray(path.read_bytes())
    content[at % len(content)] = byte
    path.write_bytes(content)
    mend, n_zones = "", 0
    try:
        n_zones = len(read(path, **WRITERS[suffix][1]).zones)
    except GisError as error:  # nothing else may come out
        mend = error.mend
    assert mend or n_zones
