"""The GeoPackage: what is in it, that GIS programs can read it, and that a failed write changes nothing."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import geopandas as gpd
import numpy as np
import pyogrio
import pytest
import shapely
from export_cases import CITIES, DISTRICTS, YEARS, level_of, pair_year, unit_year
from hypothesis import given
from hypothesis import strategies as st
from pyproj import CRS, Geod, Transformer

from gis.errors import CodeInvalid, CrsInvalid, OptionInvalid, TableInvalid, WriteFailed
from gis.export import geopackage, layers
from gis.export.geopackage import write_geopackage
from gis.export.layers import PairChoice, pair_lines, unit_layer
from gis.export.qgis import graduated_qml, quantile_limits, ramp
from gis.grid import Zones
from gis.tables import CITY_YEAR, COLUMNS, DISTRICT_YEAR, PAIR_YEAR


def content(**changes: Any) -> dict[str, Any]:
    return {
        "cities": CITIES,
        "city_year": unit_year("city", CITIES),
        "districts": DISTRICTS,
        "district_year": unit_year("district", DISTRICTS),
        "pairs": pair_year(),
        "metadata": {"name": "示例", "inputs": ["rasters/2020.tif"]},
    } | changes


@pytest.fixture(scope="module")
def gpkg(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_geopackage(tmp_path_factory.mktemp("gpkg") / "lightpanel.gpkg", **content())


def rows(path: Path, sql: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path)) as db:
        return db.execute(sql).fetchall()


# --- values -------------------------------------------------------------------------------------------------------


def test_the_unit_layer_holds_the_latest_year_and_every_years_level(gpkg: Path) -> None:
    frame = gpd.read_file(gpkg, layer="city")
    assert list(frame["city_code"]) == list(CITIES.codes)
    assert list(frame["city_name"]) == list(CITIES.names)
    assert set(frame["year"]) == {2020}
    for year in YEARS:
        expected = [level_of(c, year) for c in CITIES.codes]
        np.testing.assert_array_equal(frame[f"level_{year}"], expected)
    np.testing.assert_array_equal(frame["level"], frame["level_2020"])


@pytest.mark.parametrize(
    ("layer", "zones", "code"), [("city_year", CITIES, "city_code"), ("district_year", DISTRICTS, "district_code")]
)
def test_the_view_gives_every_unit_in_every_year_its_polygon(gpkg: Path, layer: str, zones: Zones, code: str) -> None:
    view = pyogrio.read_dataframe(gpkg, layer=layer, fid_as_index=True)
    units = gpd.read_file(gpkg, layer=layer.removesuffix("_year")).set_index(code)
    assert len(view) == len(zones) * len(YEARS)
    assert view.index.is_unique
    assert set(zip(view[code], view["year"], strict=True)) == {(c, y) for c in zones.codes for y in YEARS}
    for row in view.itertuples():
        assert row.geometry.equals(units.geometry[getattr(row, code)])
    np.testing.assert_array_equal(
        view["level"], [level_of(c, y) for c, y in zip(view[code], view["year"], strict=True)]
    )


def test_each_polygon_is_stored_once(gpkg: Path) -> None:
    kinds = dict(rows(gpkg, "SELECT name, type FROM sqlite_master WHERE name IN ('city', 'city_year')"))
    assert kinds == {"city": "table", "city_year": "view"}
    assert "geom" not in [r[1] for r in rows(gpkg, "PRAGMA table_info(city_year_data)")]


def test_the_view_answers_a_box_from_the_units_index(gpkg: Path) -> None:
    south = Transformer.from_crs("EPSG:4326", "ESRI:102027", always_xy=True).transform(109.3, 18.3)
    found = pyogrio.read_dataframe(gpkg, layer="city_year", bbox=(*south, *south))
    assert set(found["city_name"]) == {"三亚市"}
    assert len(found) == len(YEARS)
    # GDAL takes the unit layer's index for a view that shows the unit layer's fid
    assert pyogrio.read_info(gpkg, layer="city_year")["capabilities"]["fast_spatial_filter"]


def test_missing_values_are_null_and_flags_are_boolean(gpkg: Path) -> None:
    missing = rows(gpkg, "SELECT city_code, year FROM city_year_data WHERE level IS NULL")
    assert missing == [("460200", 2019)]
    types = {r[1]: r[2] for r in rows(gpkg, "PRAGMA table_info(city_year_data)")}
    assert (types["is_synthetic"], types["level"], types["city_code"]) == ("BOOLEAN", "REAL", "TEXT")
    assert rows(gpkg, "SELECT DISTINCT switched FROM pair_lines ORDER BY 1") == [(None,), (0,)]


def test_a_unit_without_a_row_in_the_latest_year_stays_on_the_map(tmp_path: Path) -> None:
    frame = unit_year("district", DISTRICTS)
    frame = frame[~((frame["district_code"] == "120101") & (frame["year"] == 2020))]
    path = write_geopackage(
        tmp_path / "d.gpkg", cities=None, city_year=None, districts=DISTRICTS, district_year=frame, metadata={}
    )
    unit = gpd.read_file(path, layer="district").set_index("district_code").loc["120101"]
    assert (unit["district_name"], unit["city_code"], unit["year"]) == ("和平区", "120000", 2020)
    assert np.isnan(unit["level"])
    assert unit["level_2019"] == level_of("120101", 2019)
    assert not unit.geometry.is_empty
    assert len(gpd.read_file(path, layer="district_year")) == len(frame)


def test_one_layer_alone_and_an_empty_polygon(tmp_path: Path) -> None:
    shapes = CITIES.geometry.copy()
    shapes[1] = shapely.Polygon()
    zones = Zones(CITIES.codes, shapes, CITIES.crs, CITIES.vintage, CITIES.names)
    path = write_geopackage(
        tmp_path / "c.gpkg",
        cities=zones,
        city_year=unit_year("city", zones),
        districts=None,
        district_year=None,
        metadata={},
    )
    names = {"city", "city_year", "city_year_data", "layer_styles", "dictionary"}
    assert {name for name, _ in pyogrio.list_layers(path)} == names
    assert list(gpd.read_file(path, layer="city").geometry.is_empty) == [False, True, False, False]


# --- geometry and CRS ---------------------------------------------------------------------------------------------


def test_geometry_is_densified_and_lands_where_pyproj_puts_it(gpkg: Path) -> None:
    frame = gpd.read_file(gpkg, layer="city").set_index("city_code")
    move = Transformer.from_crs("EPSG:4326", "ESRI:102027", always_xy=True)
    # The north edge of Hulunbuir is ten degrees of a parallel: an arc in the plane, 1.7 km from its chord.
    arc = np.column_stack(move.transform(np.linspace(116, 126, 4001), np.full(4001, 53.0)))
    away = shapely.distance(shapely.points(arc), frame.geometry["150700"].boundary)
    assert away.max() < 0.05  # [m] sagitta of 0.01 degree at 53 N: (670 m)^2 / (8 * 4.8e6 m radius) = 0.012 m


def test_empty_holes_and_parts_survive(gpkg: Path) -> None:
    frame = gpd.read_file(gpkg, layer="city").set_index("city_code")
    assert len(frame.geometry["110000"].geoms[0].interiors) == 1
    assert len(frame.geometry["120000"].geoms) == 2
    assert frame.geometry.is_valid.all()


def test_the_spatial_reference_is_esris_and_the_same_everywhere(gpkg: Path) -> None:
    found = rows(gpkg, "SELECT srs_id, organization_coordsys_id FROM gpkg_spatial_ref_sys WHERE organization = 'ESRI'")
    assert found == [(102027, 102027)]
    used = rows(gpkg, "SELECT srs_id FROM gpkg_geometry_columns")
    assert len(used) == 5
    assert set(used) == {(102027,)}
    assert set(rows(gpkg, "SELECT srs_id FROM gpkg_contents WHERE data_type = 'features'")) == {(102027,)}
    (blob,) = rows(gpkg, "SELECT geom FROM city LIMIT 1")[0]
    assert int.from_bytes(blob[4:8], "little") == 102027  # srs_id in the geometry's own header
    for layer in ("city", "city_year", "pair_lines"):
        assert gpd.read_file(gpkg, layer=layer).crs.to_authority() == ("ESRI", "102027")


def test_extents_types_and_spatial_indexes(gpkg: Path) -> None:
    for layer in ("city", "district", "pair_lines", "city_year", "district_year"):
        extent = rows(gpkg, f"SELECT min_x, min_y, max_x, max_y FROM gpkg_contents WHERE table_name = '{layer}'")[0]
        bounds = gpd.read_file(gpkg, layer=layer).total_bounds
        np.testing.assert_allclose(extent, bounds, rtol=1e-15)  # GDAL writes the extent as decimals, one bit off
    types = dict(rows(gpkg, "SELECT table_name, geometry_type_name FROM gpkg_geometry_columns"))
    assert types.pop("pair_lines") == "LINESTRING"
    assert set(types.values()) == {"MULTIPOLYGON"}
    assert set(gpd.read_file(gpkg, layer="city").geom_type) == {"MultiPolygon"}
    indexed = rows(gpkg, "SELECT table_name FROM gpkg_extensions WHERE extension_name = 'gpkg_rtree_index' ORDER BY 1")
    assert indexed == [("city",), ("district",), ("pair_lines",)]
    assert rows(gpkg, "SELECT count(*) FROM rtree_city_geom") == [(len(CITIES),)]


def test_longitude_and_latitude_on_request(tmp_path: Path) -> None:
    path = write_geopackage(tmp_path / "lonlat.gpkg", **content(crs="EPSG:4326"))
    frame = gpd.read_file(path, layer="city")
    assert frame.crs.to_epsg() == 4326
    # The layer is in EPSG:4326 already, so not a vertex may have moved or been added
    expected = layers.multipolygons(CITIES.geometry)
    assert [a.equals_exact(b, 0) for a, b in zip(frame.geometry, expected, strict=True)] == [True] * len(CITIES)
    assert set(rows(path, "SELECT srs_id FROM gpkg_geometry_columns")) == {(4326,)}
    assert len(gpd.read_file(path, layer="city_year")) == len(CITIES) * len(YEARS)


def test_another_crs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CrsInvalid, match=r'mend: {2}crs = "ESRI:102027" or "EPSG:4326"'):
        write_geopackage(tmp_path / "x.gpkg", **content(crs="EPSG:3857"))
    with pytest.raises(CrsInvalid, match=r'mend: .*crs = "ESRI:102027"'):
        write_geopackage(tmp_path / "x.gpkg", **content(crs="EPSG:102027"))
    assert list(tmp_path.iterdir()) == []


# --- pair lines ---------------------------------------------------------------------------------------------------


def test_pair_lines_follow_the_geodesic(gpkg: Path) -> None:
    frame = gpd.read_file(gpkg, layer="pair_lines")
    assert len(frame) == 6
    assert set(frame["year"]) == {2020}
    geod = Geod(ellps="WGS84")
    points = dict(zip(CITIES.codes, shapely.point_on_surface(CITIES.geometry), strict=True))
    back = Transformer.from_crs("ESRI:102027", "EPSG:4326", always_xy=True)
    for row in frame.itertuples():
        a, b = points[row.city_i], points[row.city_j]
        lon, lat = back.transform(*shapely.get_coordinates(row.geometry).T)
        legs = geod.inv(lon[:-1], lat[:-1], lon[1:], lat[1:])[2]
        direct = geod.inv(a.x, a.y, b.x, b.y)[2]
        # every vertex lies on the shortest way, so the legs add up to it; [m] rounding of 7-digit metres and back
        assert abs(sum(legs) - direct) < 1e-3
        assert max(legs) <= layers.LINE_STEP_M * (1 + 1e-9)
        assert (lon[0], lat[0], lon[-1], lat[-1]) == pytest.approx((a.x, a.y, b.x, b.y), abs=1e-9)


def test_pair_lines_carry_the_panel(gpkg: Path) -> None:
    expected = pair_year().query("year == 2020").set_index("pair_id").sort_index()
    frame = gpd.read_file(gpkg, layer="pair_lines").set_index("pair_id").sort_index()
    np.testing.assert_array_equal(frame["bal"], expected["bal"])
    assert list(frame["hi"].fillna("")) == list(expected["hi"].fillna(""))
    assert set(PAIR_YEAR.columns) <= {*frame.columns, "pair_id"}


def test_a_limit_keeps_the_highest_bal() -> None:
    everything = pair_year().query("year == 2020")
    kept = pair_lines(pair_year(), CITIES, "ESRI:102027", PairChoice(top=2)).table.to_pandas()
    assert set(kept["pair_id"]) == set(everything.nlargest(2, "bal")["pair_id"])


def test_too_many_pairs_are_refused_unless_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layers, "PAIR_LINES_MAX", 5)
    with pytest.raises(OptionInvalid, match=r"mend: {2}--pair-top 1000"):
        pair_lines(pair_year(), CITIES, "ESRI:102027")
    assert len(pair_lines(pair_year(), CITIES, "ESRI:102027", PairChoice(top=5)).geometry) == 5
    with pytest.raises(OptionInvalid, match="mend:  --pair-top 1 or more"):
        pair_lines(pair_year(), CITIES, "ESRI:102027", PairChoice(top=0))


def test_pairs_need_the_polygons_of_their_cities(tmp_path: Path) -> None:
    few = Zones(CITIES.codes[:2], CITIES.geometry[:2], CITIES.crs)
    with pytest.raises(CodeInvalid, match="mend:  write units and pairs by the same run"):
        pair_lines(pair_year(), few, "ESRI:102027")
    shapes = CITIES.geometry.copy()
    shapes[0] = shapely.Polygon()
    with pytest.raises(CodeInvalid, match=r"mend:  leave the pair lines out: output.pair_lines = false"):
        pair_lines(pair_year(), Zones(CITIES.codes, shapes, CITIES.crs), "ESRI:102027")
    with pytest.raises(OptionInvalid, match="mend:  give cities and city_year"):
        write_geopackage(tmp_path / "x.gpkg", **content(cities=None, city_year=None))
    with pytest.raises(TableInvalid, match="mend:  lightpanel run, or leave the pair lines out"):
        pair_lines(pair_year().iloc[:0], CITIES, "ESRI:102027")


# --- what GIS programs look for -----------------------------------------------------------------------------------


def test_sqlite_finds_the_file_sound(gpkg: Path) -> None:
    assert rows(gpkg, "PRAGMA application_id") == [(0x47504B47,)]  # "GPKG"
    assert rows(gpkg, "PRAGMA user_version") == [(10300,)]
    assert rows(gpkg, "PRAGMA integrity_check") == [("ok",)]
    assert rows(gpkg, "PRAGMA foreign_key_check") == []


def test_every_column_of_every_layer_has_an_alias_and_a_unit(gpkg: Path) -> None:
    labels = {
        (t, c): (n, title, d)
        for t, c, n, title, d in rows(
            gpkg, "SELECT table_name, column_name, name, title, description FROM gpkg_data_columns"
        )
    }
    for layer in (
        "city",
        "district",
        "city_year",
        "district_year",
        "city_year_data",
        "district_year_data",
        "pair_lines",
    ):
        found = {r[1] for r in rows(gpkg, f"PRAGMA table_info({layer})")} - {"fid", "OGC_FID", "geom"}
        assert {c for t, c in labels if t == layer} == found
    for name in CITY_YEAR.columns:
        column = COLUMNS[name]
        unit = f"unit: {column.unit}" if column.unit else None
        assert labels["city_year", name] == (column.label, column.label, unit)
    assert labels["city", "level_2019"] == (
        "Light per person in 2019",
        "Light per person in 2019",
        "unit: DN km2/person",
    )
    extensions = rows(gpkg, "SELECT table_name FROM gpkg_extensions WHERE extension_name = 'gpkg_schema' ORDER BY 1")
    assert extensions == [("gpkg_data_column_constraints",), ("gpkg_data_columns",)]


def test_provenance_comes_back_as_json(gpkg: Path) -> None:
    found = rows(
        gpkg,
        "SELECT r.reference_scope, m.mime_type, m.metadata FROM gpkg_metadata m"
        " JOIN gpkg_metadata_reference r ON r.md_file_id = m.id",
    )
    assert [(scope, kind) for scope, kind, _ in found] == [("geopackage", "application/json")]
    assert json.loads(found[0][2]) == {"name": "示例", "inputs": ["rasters/2020.tif"]}
    assert "示例" in found[0][2]


def test_qgis_finds_a_style_for_every_map_layer(gpkg: Path) -> None:
    # QGIS looks for a default style by table and geometry column, with empty catalog and schema
    found = rows(
        gpkg,
        "SELECT f_table_name, styleQML FROM layer_styles WHERE useAsDefault = 1 AND f_table_schema = ''"
        " AND f_table_catalog = '' AND f_geometry_column = 'geom'",
    )
    assert {name for name, _ in found} == {"city", "district", "city_year", "district_year", "pair_lines"}
    for name, qml in found:
        renderer = ElementTree.fromstring(qml).find("renderer-v2")
        assert renderer is not None
        column = renderer.get("attr")
        values = [v for (v,) in rows(gpkg, f"SELECT {column} FROM {name} WHERE {column} IS NOT NULL")]
        classes = [(float(r.get("lower")), float(r.get("upper"))) for r in renderer.iter("range")]
        assert all(any(low <= v <= high for low, high in classes) for v in values)
        assert {r.get("symbol") for r in renderer.iter("range")} == {s.get("name") for s in renderer.iter("symbol")}


@given(st.lists(st.floats(allow_infinity=True, allow_nan=True) | st.sampled_from([0.0, 1.0]), max_size=60))
def test_classes_cover_every_value_once(values: list[float]) -> None:
    finite = [v for v in values if np.isfinite(v) and abs(v) < 1e300]  # a difference of two must not overflow
    limits = quantile_limits(np.array([*finite, np.nan]))
    assert (limits == ()) == (not finite)
    if finite:
        assert (limits[0], limits[-1]) == (min(finite), max(finite))
        assert len(limits) == 2 or list(limits) == sorted(set(limits))
        assert 1 <= len(limits) - 1 <= 7


def test_quantiles_hold_equal_numbers() -> None:
    limits = quantile_limits(np.arange(71.0))
    counts = np.histogram(np.arange(71.0), limits)[0]
    assert list(counts) == [10, 10, 10, 10, 10, 10, 11]
    assert ramp(2) == [(24, 22, 72), (255, 226, 110)]


def test_a_style_survives_odd_column_names() -> None:
    root = ElementTree.fromstring(graduated_qml('a<b>&"c"', (0.1, 0.2), by_year=True))
    assert root.find("renderer-v2").get("attr") == 'a<b>&"c"'
    assert root.find("temporal").get("startExpression") == 'make_date("year", 1, 1)'


@pytest.mark.skipif(shutil.which("ogrinfo") is None, reason="ogrinfo is not installed (GDAL's command line tools)")
def test_ogrinfo_reads_the_view_with_its_geometry(gpkg: Path) -> None:
    command = ["ogrinfo", "-so", str(gpkg), "city_year"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "Geometry: Multi Polygon" in text
    assert f"Feature Count: {len(CITIES) * len(YEARS)}" in text
    assert "FID Column = OGC_FID" in text
    assert 'ID["ESRI",102027]' in text


# --- refusals and failures ----------------------------------------------------------------------------------------


def test_polygons_and_table_come_together_or_not_at_all(tmp_path: Path) -> None:
    with pytest.raises(OptionInvalid, match="mend:  give both city polygons and table, or neither"):
        write_geopackage(tmp_path / "x.gpkg", **content(city_year=None))
    with pytest.raises(OptionInvalid, match="mend:  give both district polygons and table, or neither"):
        write_geopackage(tmp_path / "x.gpkg", **content(districts=None))
    nothing = dict.fromkeys(("cities", "city_year", "districts", "district_year", "pairs"))
    with pytest.raises(OptionInvalid, match="mend:  give cities and city_year, or districts"):
        write_geopackage(tmp_path / "x.gpkg", **content(**nothing))


def test_a_unit_without_a_polygon_is_refused() -> None:
    with pytest.raises(TableInvalid, match=r"460200\n  mend:  write units and tables by the same run"):
        unit_layer(
            "city", Zones(CITIES.codes[:3], CITIES.geometry[:3], CITIES.crs), unit_year("city", CITIES), "EPSG:4326"
        )
    with pytest.raises(TableInvalid, match="mend:  lightpanel run"):
        unit_layer("city", CITIES, unit_year("city", CITIES).iloc[:0], "EPSG:4326")
    with pytest.raises(OptionInvalid, match="mend:  city or district"):
        unit_layer("province", CITIES, unit_year("city", CITIES), "EPSG:4326")


@pytest.mark.parametrize("step", ["_write_features", "_write_attributes", "_add_view", "_add_metadata"])
@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), sqlite3.OperationalError("database or disk is full")]
)
def test_a_failure_at_any_step_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, error: Exception
) -> None:
    path = write_geopackage(tmp_path / "lightpanel.gpkg", **content())
    before = path.read_bytes()
    real = getattr(geopackage, step)
    calls = []

    def fails_the_second_time(*args: Any) -> None:
        calls.append(step)
        if len(calls) == (1 if step == "_add_metadata" else 2):
            raise error
        real(*args)

    monkeypatch.setattr(geopackage, step, fails_the_second_time)
    with pytest.raises(WriteFailed, match="mend:  free some space; what stood there is untouched"):
        write_geopackage(path, **content(crs="EPSG:4326"))
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["lightpanel.gpkg"]


def test_a_file_open_in_qgis_is_not_replaced(tmp_path: Path) -> None:
    path = write_geopackage(tmp_path / "lightpanel.gpkg", **content())
    before = path.read_bytes()
    with closing(sqlite3.connect(path)) as db:  # QGIS opens a GeoPackage with a write-ahead log
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("CREATE TABLE note (text TEXT)")
        with pytest.raises(WriteFailed, match=r"mend:  close it there \(QGIS: remove its layers"):
            write_geopackage(path, **content(crs="EPSG:4326"))
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert path.stat().st_size >= len(before)


# --- real layers --------------------------------------------------------------------------------------------------


@pytest.mark.real_data
@pytest.mark.slow
def test_a_real_prefecture_layer_keeps_its_areas(real_data: Path, tmp_path: Path) -> None:
    frame = gpd.read_file(real_data / "boundaries" / "cnatlas_2023" / "cnatlas_2023.gpkg", layer="prefecture")
    frame = frame[frame.geometry.is_valid & frame.geom_type.isin(["Polygon", "MultiPolygon"])].head(40)
    codes = tuple(f"{100000 + k}" for k in range(len(frame)))
    crs = CRS(frame.crs)
    zones = Zones(codes, frame.geometry.to_numpy(dtype=object), crs, "2023", tuple("市" + c for c in codes))
    table = unit_year("district", zones_with_parents(zones))
    path = write_geopackage(
        tmp_path / "real.gpkg", cities=None, city_year=None, districts=zones, district_year=table, metadata={}
    )
    written = gpd.read_file(path, layer="district").set_index("district_code").loc[list(codes)]
    dense = shapely.segmentize(zones.geometry, 0.01)
    expected = gpd.GeoSeries(dense, crs=crs).to_crs("ESRI:102027").area
    np.testing.assert_allclose(written.area.to_numpy(), expected.to_numpy(), rtol=1e-9)  # same maths, other call
    assert set(DISTRICT_YEAR.columns) <= set(written.columns) | {"district_code"}


def zones_with_parents(zones: Zones) -> Zones:
    return Zones(zones.codes, zones.geometry, zones.crs, zones.vintage, zones.names, ("",) * len(zones))
