"""CSV, Parquet, GeoParquet and the units of a run: the same values in every format, Chinese text intact."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely
from export_cases import CITIES, DISTRICTS, YEARS, level_of, pair_year, tables, unit_year, write_run
from hypothesis import given
from hypothesis import strategies as st
from pyproj import CRS

from gis.errors import (
    BoundaryInvalid,
    BoundaryUnreadable,
    CrsInvalid,
    NotBuilt,
    OptionInvalid,
    TableInvalid,
    WriteFailed,
)
from gis.export import FORMATS, INSTEAD, UNITS, ExportOptions, export
from gis.export.codebook import DICTIONARY_COLUMNS, write_dictionary
from gis.export.csv_tables import BOM, write_csv
from gis.export.layers import unit_layer
from gis.export.parquet import read_units, write_geoparquet, write_units
from gis.grid import Zones
from gis.tables import CITY_YEAR, COLUMNS, PAIR_YEAR, TABLES, write_table


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("run") / "out")


# --- units --------------------------------------------------------------------------------------------------------


def same(a: Zones, b: Zones) -> bool:
    return (
        (a.codes, a.names, a.parents, a.vintage) == (b.codes, b.names, b.parents, b.vintage)
        and a.fingerprints == b.fingerprints
        and a.crs == b.crs
        and list(shapely.to_wkb(a.geometry)) == list(shapely.to_wkb(b.geometry))
    )


@pytest.mark.parametrize("zones", [CITIES, DISTRICTS], ids=["city", "district"])
def test_units_come_back_unchanged(tmp_path: Path, zones: Zones) -> None:
    assert same(read_units(write_units(zones, tmp_path / "u.parquet")), zones)


@pytest.mark.parametrize(
    "crs",
    [
        "ESRI:102027", "ESRI:54009", "EPSG:4490", "EPSG:4326", CRS("ESRI:102027").to_wkt("WKT1_ESRI"),
        "+proj=aea +lat_1=25 +lat_2=47 +lat_0=0 +lon_0=105 +ellps=krass +units=m +no_defs",
    ],
    ids=["lambert", "mollweide", "cgcs2000", "wgs84", "prj", "albers"],
)  # fmt: skip
def test_units_keep_their_crs_to_the_letter(tmp_path: Path, crs: str) -> None:
    zones = Zones(("110000",), np.array([shapely.box(0, 0, 1 / 3, 1e-300)], dtype=object), CRS(crs), "2019")
    assert same(read_units(write_units(zones, tmp_path / "u.parquet")), zones)


@given(
    st.lists(
        st.tuples(
            st.text(alphabet="0123456789", min_size=6, max_size=6),
            st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=8),
            st.tuples(st.floats(-180, 180), st.floats(-80, 80)),
        ),
        min_size=1,
        max_size=5,
        unique_by=lambda unit: unit[0],
    )
)
def test_any_units_come_back_unchanged(
    tmp_path_factory: pytest.TempPathFactory, units: list[tuple[str, str, tuple[float, float]]]
) -> None:
    codes, names, corners = zip(*units, strict=True)
    shapes = np.array([shapely.box(x, y, x + 0.1, y + 1 / 7) for x, y in corners], dtype=object)
    zones = Zones(codes, shapes, CRS("EPSG:4326"), "2019", names)
    assert same(read_units(write_units(zones, tmp_path_factory.mktemp("u") / "u.parquet")), zones)


def test_empty_polygons_and_absent_names_come_back(tmp_path: Path) -> None:
    shapes = np.array([shapely.Polygon(), CITIES.geometry[1]], dtype=object)
    zones = Zones(("110000", "120000"), shapes, CRS("EPSG:4326"), "")
    again = read_units(write_units(zones, tmp_path / "u.parquet"))
    assert same(again, zones)
    assert (again.names, again.parents) == ((), ())


def test_a_units_file_is_geoparquet_in_the_layers_own_crs(tmp_path: Path) -> None:
    path = write_units(DISTRICTS, tmp_path / "u.parquet")
    frame = gpd.read_parquet(path)
    assert list(frame.columns) == ["code", "name", "parent", "vintage", "geometry"]
    assert frame.crs.to_epsg() == 4490
    assert list(frame["name"]) == list(DISTRICTS.names)


def test_other_files_are_not_taken_for_units(tmp_path: Path) -> None:
    with pytest.raises(BoundaryUnreadable, match="mend:  lightpanel run writes them"):
        read_units(tmp_path / "absent.parquet")
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(b"PAR1 and nothing else")
    with pytest.raises(BoundaryUnreadable, match="mend:  lightpanel run"):
        read_units(broken)
    plain = write_table(CITY_YEAR, unit_year("city", CITIES), tmp_path / "plain.parquet")
    with pytest.raises(BoundaryUnreadable, match="mend:  lightpanel run"):
        read_units(plain)
    other = tmp_path / "other.parquet"
    gpd.GeoDataFrame({"code": ["1"]}, geometry=[shapely.box(0, 0, 1, 1)], crs="EPSG:4326").to_parquet(other)
    with pytest.raises(BoundaryInvalid, match="mend:  lightpanel run"):
        read_units(other)


def test_a_failed_write_leaves_the_old_units(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_units(CITIES, tmp_path / "u.parquet")
    before = path.read_bytes()

    def full(table: pa.Table, where: Any, **options: Any) -> None:
        Path(where).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq, "write_table", full)
    with pytest.raises(WriteFailed, match="mend:  free some space"):
        write_units(DISTRICTS, path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["u.parquet"]


# --- CSV ----------------------------------------------------------------------------------------------------------


def test_csv_holds_the_same_values_as_the_tables(run: Path, tmp_path: Path) -> None:
    export(run, "csv", folder=tmp_path)
    for table, frame in tables():
        again = pd.read_csv(tmp_path / f"{table.name}.csv", encoding="utf-8-sig", dtype=str, keep_default_na=False)
        assert list(again.columns) == list(table.columns)
        for name in table.columns:
            if COLUMNS[name].dtype == "string":
                assert list(again[name]) == list(frame[name].fillna("")), name
            elif COLUMNS[name].dtype == "bool":
                assert list(again[name]) == ["" if pd.isna(v) else str(bool(v)).lower() for v in frame[name]], name
            else:
                values = [float(v) if v else np.nan for v in again[name]]  # every bit: 17 digits where they are needed
                np.testing.assert_array_equal(values, frame[name].to_numpy(float), name)


@pytest.mark.parametrize("bom", [True, False])
def test_excel_finds_its_mark_and_others_do_without(run: Path, tmp_path: Path, bom: bool) -> None:
    paths = export(run, "csv", folder=tmp_path, options=ExportOptions(bom=bom))
    assert [p for p in paths if p.suffix == ".csv" and p.read_bytes().startswith(BOM) is not bom] == []
    text = (tmp_path / "city_year.csv").read_text(encoding="utf-8-sig" if bom else "utf-8")
    assert "呼伦贝尔市" in text


def test_a_missing_value_is_an_empty_field(tmp_path: Path) -> None:
    frame = pair_year()
    arrow = pa.table({c: pa.array(frame[c], from_pandas=False) for c in PAIR_YEAR.columns if c in ("bal", "level_hi")})
    assert arrow["bal"].null_count == 0  # NaN itself, as a table built from arrays may hold
    full = write_table(PAIR_YEAR, frame, tmp_path / "p.parquet")
    pq.write_table(pq.read_table(full).drop_columns("bal").append_column("bal", arrow["bal"]), full)
    path = write_csv(PAIR_YEAR, full, tmp_path / "p.csv", bom=False)
    with open(path, encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [r["bal"] == "" for r in rows] == list(frame["bal"].isna())
    assert not any("nan" in v.lower() for r in rows for v in r.values())


def test_commas_quotes_and_line_breaks_in_names_survive(tmp_path: Path) -> None:
    frame = unit_year("city", CITIES)
    odd = 'a,"b"\nc;\t省'
    frame.loc[0, "city_name"] = odd
    path = write_csv(CITY_YEAR, write_table(CITY_YEAR, frame, tmp_path / "c.parquet"), tmp_path / "c.csv", bom=False)
    with open(path, encoding="utf-8", newline="") as stream:
        assert next(csv.DictReader(stream))["city_name"] == odd


def test_the_dictionary_covers_every_column_of_every_table(tmp_path: Path) -> None:
    text = write_dictionary(tmp_path / "dictionary.csv").read_text(encoding="utf-8-sig")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert tuple(rows[0]) == DICTIONARY_COLUMNS
    assert [(r["table"], r["column"]) for r in rows] == [(t.name, c) for t in TABLES.values() for c in t.columns]
    for row in rows:
        column = COLUMNS[row["column"]]
        assert (row["dtype"], row["unit"], row["label"]) == (column.dtype, column.unit, column.label)
        assert row["is_key"] == str(row["column"] in TABLES[row["table"]].key)
    assert {r["column"] for r in rows} <= set(COLUMNS)


def test_a_table_that_is_not_there_or_not_whole_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TableInvalid, match="mend:  lightpanel run"):
        write_csv(CITY_YEAR, tmp_path / "absent.parquet", tmp_path / "c.csv")
    pq.write_table(pa.table({"city_code": ["110000"]}), tmp_path / "half.parquet")
    with pytest.raises(TableInvalid, match="mend:  rewrite it: lightpanel run"):
        write_csv(CITY_YEAR, tmp_path / "half.parquet", tmp_path / "c.csv")
    assert [p.name for p in tmp_path.iterdir()] == ["half.parquet"]


def test_a_failed_csv_leaves_the_old_one(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_csv(CITY_YEAR, run / "city_year.parquet", tmp_path / "c.csv")
    before = path.read_bytes()

    def full(batch: pa.RecordBatch) -> pa.RecordBatch:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("gis.export.csv_tables._without_nan", full)
    with pytest.raises(WriteFailed, match="mend:  free some space"):
        write_csv(CITY_YEAR, run / "city_year.parquet", path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["c.csv"]


# --- GeoParquet ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("crs", ["ESRI:102027", "EPSG:4326"])
def test_geoparquet_holds_units_with_the_latest_year(run: Path, tmp_path: Path, crs: str) -> None:
    paths = export(run, "geoparquet", folder=tmp_path, options=ExportOptions(crs=crs, pair_lines=True))
    names = ["city.parquet", "district.parquet", "pair_lines.parquet", "dictionary.csv"]
    assert [p.name for p in paths] == names
    frame = gpd.read_parquet(tmp_path / "city.parquet")
    assert ":".join(frame.crs.to_authority()) == crs
    assert list(frame["city_name"]) == list(CITIES.names)
    for year in YEARS:
        np.testing.assert_array_equal(frame[f"level_{year}"], [level_of(c, year) for c in CITIES.codes])
    assert set(frame.geom_type) == {"MultiPolygon"}
    assert len(gpd.read_parquet(tmp_path / "pair_lines.parquet")) == 6


def test_geoparquet_fields_carry_unit_and_label(tmp_path: Path) -> None:
    layer = unit_layer("city", CITIES, unit_year("city", CITIES), "EPSG:4326")
    schema = pq.read_schema(write_geoparquet(layer, tmp_path / "c.parquet"))
    for column in layer.columns:
        assert schema.field(column.name).metadata == {b"unit": column.unit.encode(), b"label": column.label.encode()}
    assert json.loads(schema.metadata[b"lightpanel.layer"])["title"] == layer.title
    assert json.loads(schema.metadata[b"geo"])["primary_column"] == "geometry"


# --- the dispatcher -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("to", sorted(FORMATS))
def test_every_format_can_be_exported_with_chinese_names(run: Path, to: str, tmp_path: Path) -> None:
    paths = export(run, to, folder=tmp_path, options=ExportOptions(pair_lines=True, metadata={"run": "示例"}))
    assert paths
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(p.name for p in paths)
    place = {"gpkg": "lightpanel_export.gpkg", "geoparquet": "city.parquet"}.get(to, f"city_year.{to}")
    if to in ("gpkg", "geoparquet"):
        frame = gpd.read_file(paths[0], layer="city_year") if to == "gpkg" else gpd.read_parquet(tmp_path / place)
    else:
        readers = {"csv": pd.read_csv, "parquet": pd.read_parquet, "dta": pd.read_stata, "xlsx": pd.read_excel}
        frame = readers[to](tmp_path / place)
    assert set(frame["city_name"]) == set(CITIES.names)


def test_files_go_beside_the_tables_by_default(tmp_path: Path) -> None:
    out = write_run(tmp_path / "out")
    assert {p.parent for p in export(out, ".CSV")} == {out / "csv"}


def test_parquet_is_copied_whole(run: Path, tmp_path: Path) -> None:
    export(run, "parquet", folder=tmp_path)
    there = [table for table in TABLES.values() if (run / f"{table.name}.parquet").exists()]
    assert len(there) >= 4
    for table in there:
        assert (tmp_path / f"{table.name}.parquet").read_bytes() == (run / f"{table.name}.parquet").read_bytes()


def test_a_panel_of_district_pairs_is_exported_too(tmp_path: Path) -> None:
    out = write_run(tmp_path / "out")
    write_table(PAIR_YEAR, pair_year(DISTRICTS), out / "district_pair_year.parquet")
    assert (out / "csv/district_pair_year.csv") in export(out, "csv")
    assert (out / "parquet/district_pair_year.parquet") in export(out, "parquet")
    assert len(pd.read_csv(out / "csv/district_pair_year.csv")) == 10 * 2
    assert pd.read_csv(out / "csv/dictionary.csv").duplicated().sum() == 0


def test_parquet_onto_itself_changes_nothing(tmp_path: Path) -> None:
    out = write_run(tmp_path / "out")
    before = (out / "city_year.parquet").read_bytes()
    export(out, "parquet", folder=out)
    assert (out / "city_year.parquet").read_bytes() == before


def test_a_workspace_with_districts_alone_is_exported(tmp_path: Path) -> None:
    out = write_run(tmp_path / "out")
    for name in ("city_year.parquet", "pair_year.parquet", UNITS["city"]):
        (out / name).unlink()
    (path,) = export(out, "gpkg")
    assert len(gpd.read_file(path, layer="district_year")) == len(DISTRICTS) * len(YEARS)
    with pytest.raises(TableInvalid, match="mend:  lightpanel run, or leave the pair lines out"):
        export(out, "gpkg", options=ExportOptions(pair_lines=True))
    tables = [p.name for p in export(out, "csv") if p.suffix == ".csv"]
    assert tables == ["district_year.csv", "national_year.csv", "dictionary.csv"]


@pytest.mark.parametrize(("to", "instead"), [("shp", "gpkg")])
def test_formats_that_are_not_built_name_another(run: Path, to: str, instead: str) -> None:
    assert to in INSTEAD
    with pytest.raises(NotBuilt, match=f"mend: .*{instead}"):
        export(run, to)
    with pytest.raises(NotImplementedError):  # the builtin it is
        export(run, to)


def test_unknown_formats_and_missing_runs_are_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionInvalid, match="mend:  one of gpkg, geoparquet, parquet, csv"):
        export(run, "kml")
    with pytest.raises(TableInvalid, match="mend:  lightpanel run"):
        export(tmp_path, "csv")
    with pytest.raises(CrsInvalid, match='mend:  crs = "ESRI:102027" or "EPSG:4326"'):
        export(run, "geoparquet", folder=tmp_path, options=ExportOptions(crs="EPSG:3857"))
    assert list(tmp_path.iterdir()) == []


def test_a_run_without_its_units_is_refused(tmp_path: Path) -> None:
    out = write_run(tmp_path / "out")
    (out / UNITS["city"]).unlink()
    with pytest.raises(BoundaryUnreadable, match="mend:  lightpanel run writes them"):
        export(out, "gpkg")
