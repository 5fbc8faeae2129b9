"""The GeoPackage against the standard: GDAL's own validation where it is installed, and the rules one by one.

Rules: OGC 12-128r17 (GeoPackage 1.3), by the number of their requirement.
"""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import geopandas as gpd
import pyogrio
import pytest
import shapely
from export_cases import CITIES, DISTRICTS, YEARS, pair_panel, write_run
from pyproj import CRS

from gis.export import ExportOptions, export
from gis.tables import write_table

ATTRIBUTES = {"city_year_data", "district_year_data", "dictionary", "layer_styles"}
FEATURES = {"city", "district", "city_year", "district_year", "pair_lines"}

TYPES = re.compile(
    r"BOOLEAN|TINYINT|SMALLINT|MEDIUMINT|INT|INTEGER|FLOAT|DOUBLE|REAL|(TEXT|BLOB)(\(\d+\))?|DATE|DATETIME|"
    r"GEOMETRY|POINT|LINESTRING|POLYGON|MULTIPOINT|MULTILINESTRING|MULTIPOLYGON|GEOMETRYCOLLECTION"
)
"""Requirements 5 and 31: data types of columns."""


@pytest.fixture(scope="module", params=["ESRI:102027", "EPSG:4326"])
def gpkg(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A map of everything: two years of lines, by a column with a Chinese name."""
    out = write_run(tmp_path_factory.mktemp("run") / "out")
    table, frame = pair_panel()
    write_table(table, frame, out / "pair_panel.parquet")
    options = ExportOptions(crs=request.param, pair_lines=True, pair_years=(2019, 2020), pair_by="产值差")
    (path,) = export(out, "gpkg", options=options)
    return path


def rows(path: Path, sql: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        return db.execute(sql).fetchall()


def columns(path: Path, table: str) -> dict[str, str]:
    return {r[1]: r[2] for r in rows(path, f'PRAGMA table_info("{table}")')}


# --- what GDAL says -----------------------------------------------------------------------------------------------


def python_with_gdal() -> str | None:
    """An interpreter that has GDAL's Python utilities: this one, or the system's."""
    for python in dict.fromkeys((sys.executable, shutil.which("python3", path=os.defpath))):
        probe = "import osgeo.ogr, osgeo_utils.samples.validate_gpkg"
        if python and subprocess.run([python, "-c", probe], capture_output=True, check=False).returncode == 0:
            return python
    return None


def test_gdal_validates_it_with_all_extra_checks(gpkg: Path) -> None:
    python = python_with_gdal()
    if python is None:
        pytest.skip("no interpreter with GDAL's validate_gpkg (Debian: python3-gdal)")
    command = [python, "-m", "osgeo_utils.samples.validate_gpkg", "--extra", "--warning-as-error", "-k", str(gpkg)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_pyogrio_reads_every_layer_to_the_end(gpkg: Path) -> None:
    layers = dict(map(tuple, pyogrio.list_layers(gpkg)))
    assert {name for name, kind in layers.items() if kind is None} == ATTRIBUTES
    assert {name for name, kind in layers.items() if kind is not None} == FEATURES
    for name in layers:
        info = pyogrio.read_info(gpkg, layer=name)
        assert len(pyogrio.read_dataframe(gpkg, layer=name)) == info["features"] > 0
        assert info["layer_metadata"]["DESCRIPTION"]


@pytest.mark.skipif(shutil.which("ogrinfo") is None, reason="ogrinfo is not installed (GDAL's command line tools)")
def test_ogrinfo_dumps_every_layer_without_a_word_of_warning(gpkg: Path) -> None:
    for layer in sorted(FEATURES | ATTRIBUTES):
        done = subprocess.run(["ogrinfo", "-ro", "-al", str(gpkg), layer], capture_output=True, text=True, check=True)
        assert done.stderr == ""
        count = int(re.search(r"Feature Count: (\d+)", done.stdout)[1])
        assert (
            done.stdout.count(f"OGRFeature({layer}):") == count == rows(gpkg, f'SELECT count(*) FROM "{layer}"')[0][0]
        )


# --- the rules ----------------------------------------------------------------------------------------------------


def test_the_file_says_what_it_is_and_is_sound(gpkg: Path) -> None:
    assert gpkg.read_bytes()[:16] == b"SQLite format 3\0"  # requirement 1
    assert rows(gpkg, "PRAGMA application_id") == [(int.from_bytes(b"GPKG"),)]  # 2
    assert rows(gpkg, "PRAGMA user_version") == [(10300,)]
    assert rows(gpkg, "PRAGMA integrity_check") == [("ok",)]  # 6
    assert rows(gpkg, "PRAGMA foreign_key_check") == []  # 7


def test_types_of_columns_are_those_of_the_standard(gpkg: Path) -> None:
    for layer in FEATURES | ATTRIBUTES:
        for name, kind in columns(gpkg, layer).items():
            assert TYPES.fullmatch(kind), (layer, name, kind)
    for layer in (FEATURES | ATTRIBUTES) - {"city_year", "district_year"}:  # 29, 119: an integer primary key
        keys = [(r[2], r[5]) for r in rows(gpkg, f'PRAGMA table_info("{layer}")') if r[5]]
        assert keys == [("INTEGER", 1)]
    for view in ("city_year", "district_year"):  # 150: the first column of a view is an integer, unique and not null
        (first, kind), *_ = columns(gpkg, view).items()
        n, distinct = rows(gpkg, f'SELECT count(*), count(DISTINCT "{first}") FROM "{view}"')[0]
        assert (kind, n) == ("INTEGER", distinct)


def test_spatial_reference_systems_are_declared(gpkg: Path) -> None:
    found = {r[0]: r[1:] for r in rows(gpkg, "SELECT srs_id, organization, definition FROM gpkg_spatial_ref_sys")}
    assert {-1, 0, 4326} <= set(found)  # 11
    used = rows(gpkg, "SELECT srs_id FROM gpkg_contents WHERE srs_id IS NOT NULL AND data_type = 'features'")
    assert {srs for (srs,) in used} <= set(found)  # 14
    for (srs,) in used:
        organization, definition = found[srs]
        assert CRS.from_wkt(definition).to_authority() == (organization, str(srs))  # one that PROJ reads


def test_contents_and_geometry_columns_agree_with_the_tables(gpkg: Path) -> None:
    there = {name for (name,) in rows(gpkg, "SELECT name FROM sqlite_master WHERE type IN ('table', 'view')")}
    contents = dict(rows(gpkg, "SELECT table_name, data_type FROM gpkg_contents"))
    assert contents == dict.fromkeys(FEATURES, "features") | dict.fromkeys(ATTRIBUTES, "attributes")
    assert set(contents) <= there  # 13
    assert rows(gpkg, "SELECT count(*) - count(DISTINCT identifier) FROM gpkg_contents") == [(0,)]
    stamp = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
    assert all(stamp.fullmatch(t) for (t,) in rows(gpkg, "SELECT last_change FROM gpkg_contents"))  # 15
    geometry = rows(gpkg, "SELECT table_name, column_name, geometry_type_name, srs_id FROM gpkg_geometry_columns")
    assert {r[0] for r in geometry} == FEATURES  # 22, 23: one row for each feature table
    assert len(geometry) == len(FEATURES)
    for table, column, kind, srs in geometry:
        assert column in columns(gpkg, table)  # 24
        assert kind in ("MULTIPOLYGON", "LINESTRING")  # 25
        assert rows(gpkg, f"SELECT srs_id FROM gpkg_contents WHERE table_name = '{table}'") == [(srs,)]  # 146
        if table in ("city", "district", "pair_lines"):
            assert columns(gpkg, table)[column] == kind  # 31


def test_geometries_are_as_the_headers_say(gpkg: Path) -> None:
    for table, srs, kind in rows(gpkg, "SELECT table_name, srs_id, geometry_type_name FROM gpkg_geometry_columns"):
        extent = rows(gpkg, f"SELECT min_x, min_y, max_x, max_y FROM gpkg_contents WHERE table_name = '{table}'")[0]
        for (blob,) in rows(gpkg, f'SELECT geom FROM "{table}"'):
            flags = blob[3]
            assert (blob[:3], int.from_bytes(blob[4:8], "little" if flags & 1 else "big")) == (b"GP\0", srs)  # 19, 33
            shape = shapely.from_wkb(blob[8 + {0: 0, 1: 32}[(flags >> 1) & 7] :])
            assert shape.geom_type.upper() == kind  # 32
            # GDAL writes the extent as decimals, one bit off: 1e-9 is a nanometre, or less in degrees
            low = all(a <= b + 1e-9 for a, b in zip(extent[:2], shape.bounds[:2], strict=True))
            high = all(a >= b - 1e-9 for a, b in zip(extent[2:], shape.bounds[2:], strict=True))
            assert low and high


def test_indexes_hold_every_feature_and_their_triggers_stand(gpkg: Path) -> None:
    triggers = {name for (name,) in rows(gpkg, "SELECT name FROM sqlite_master WHERE type = 'trigger'")}
    for table in ("city", "district", "pair_lines"):
        count = rows(gpkg, f'SELECT count(*) FROM "{table}"')
        assert rows(gpkg, f"SELECT count(*) FROM rtree_{table}_geom") == count  # 77, 78
        assert f"rtree_{table}_geom_insert" in triggers  # 75
        assert f"rtree_{table}_geom_delete" in triggers
        assert sum(name.startswith(f"rtree_{table}_geom_update") for name in triggers) >= 4


def test_extensions_name_tables_and_columns_that_are_there(gpkg: Path) -> None:
    there = {name for (name,) in rows(gpkg, "SELECT name FROM sqlite_master")}
    found = rows(gpkg, "SELECT table_name, column_name, extension_name, definition, scope FROM gpkg_extensions")
    for table, column, name, definition, scope in found:
        assert table in there  # 60
        assert column is None or column in columns(gpkg, table)  # 61
        assert re.fullmatch(r"(gpkg|gdal)_\w+", name)  # 62
        assert definition  # 63
        assert scope in ("read-write", "write-only")  # 64
    assert {"gpkg_rtree_index", "gpkg_schema", "gpkg_metadata"} <= {r[2] for r in found}
    used = rows(gpkg, "SELECT table_name, column_name FROM gpkg_data_columns")
    assert all(column in columns(gpkg, table) for table, column in used)  # 104, 105
    assert rows(gpkg, "SELECT count(*) FROM gpkg_data_columns GROUP BY table_name, name HAVING count(*) > 1") == []
    scopes = rows(gpkg, "SELECT reference_scope, table_name, column_name, row_id_value FROM gpkg_metadata_reference")
    assert scopes == [("geopackage", None, None, None)]  # 96 to 99


def test_wide_and_long_layers_hold_the_same_levels(gpkg: Path) -> None:
    for kind, zones in (("city", CITIES), ("district", DISTRICTS)):
        wide = gpd.read_file(gpkg, layer=kind).set_index(f"{kind}_code")
        long = gpd.read_file(gpkg, layer=f"{kind}_year").pivot(index=f"{kind}_code", columns="year", values="level")
        assert len(wide) == len(zones)
        assert list(long.columns) == list(YEARS)
        for year in YEARS:
            assert wide[f"level_{year}"].equals(long[year].rename(f"level_{year}").reindex(wide.index))
