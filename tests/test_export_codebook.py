"""The codebook: the page is what the declarations say, and every export carries what it holds of it."""

from __future__ import annotations

import csv
import re
import sqlite3
from contextlib import closing
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pyogrio
import pytest
from export_cases import DISTRICTS, pair_panel, pair_year, write_run

from gis.errors import WriteFailed
from gis.export import ExportOptions, export
from gis.export.codebook import COMMAND, DICTIONARY_COLUMNS, dictionary_page, dictionary_rows, main
from gis.tables import COLUMNS, TABLES, write_table


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a panel that has columns of its workspace, with Chinese names."""
    out = write_run(tmp_path_factory.mktemp("run") / "out")
    table, frame = pair_panel()
    write_table(table, frame, out / "pair_panel.parquet")
    return out


def read(path: Path) -> list[dict[str, str]]:
    with open(path, encoding="utf-8-sig", newline="") as stream:
        return list(csv.DictReader(stream))


def data_files(paths: tuple[Path, ...]) -> list[Path]:
    return [p for p in paths if p.suffix in (".csv", ".parquet") and p.name != "dictionary.csv"]


# --- the page -----------------------------------------------------------------------------------------------------


def test_the_page_is_what_the_declarations_say(checkout: Path) -> None:
    text = (checkout / "docs" / "dictionary.md").read_text(encoding="utf-8")
    assert text == dictionary_page(), f"write it again: {COMMAND}"
    assert "(dictionary.md)" in (checkout / "docs" / "README.md").read_text(encoding="utf-8")


def test_every_column_of_every_table_is_on_the_page(checkout: Path) -> None:
    text = (checkout / "docs" / "dictionary.md").read_text(encoding="utf-8")
    sections = dict(re.findall(r"^### (\w+)\n(.*?)(?=^##)", text, re.M | re.S))
    assert list(sections) == list(TABLES)
    for name, table in TABLES.items():
        assert table.title in sections[name]
        rows = [line.strip("| ").split(" | ") for line in sections[name].splitlines() if line.startswith("| ")][1:]
        assert [row[0].strip("*") for row in rows] == list(table.columns)
        assert [row[0].strip("*") for row in rows if row[0].startswith("**")] == [
            c for c in table.columns if c in table.key
        ]
        for row in rows:
            column = COLUMNS[row[0].strip("*")]
            assert (row[1], row[3].replace("\\", "")) == (column.dtype, column.label)
    index = text.split("\n## Columns\n")[1]
    assert re.findall(r"^\| (\w+) \|", index, re.M)[1:] == sorted(COLUMNS)
    for name in COLUMNS:
        holds = re.findall(r"\[(\w+)\]", re.search(rf"^\| {name} \|.*$", index, re.M)[0])
        assert holds == [t for t in TABLES if name in TABLES[t].columns]


def test_one_command_writes_the_page(workdir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["page.md"]) == 0
    assert main([]) == 0
    assert (workdir / "page.md").read_text(encoding="utf-8") == capsys.readouterr().out == dictionary_page()
    (workdir / "file").touch()
    with pytest.raises(WriteFailed, match="mend:  check the folder's rights"):
        main(["file/page.md"])


# --- what exports carry -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("to", ["csv", "parquet", "geoparquet"])
def test_files_come_with_the_dictionary_of_their_columns(run: Path, tmp_path: Path, to: str) -> None:
    paths = export(run, to, folder=tmp_path, options=ExportOptions(pair_lines=True, pair_by="产值差"))
    assert tmp_path / "dictionary.csv" in paths
    said = [(row["table"], row["column"]) for row in read(tmp_path / "dictionary.csv")]
    there = []
    for path in data_files(paths):
        head = list(read(path)[0]) if to == "csv" else pq.read_schema(path).names
        there += [(path.stem, name) for name in head if name != "geometry"]
    assert said == there
    assert len(said) > 80


@pytest.mark.parametrize("to", ["parquet", "geoparquet"])
def test_fields_of_parquet_carry_unit_and_label(run: Path, tmp_path: Path, to: str) -> None:
    paths = export(run, to, folder=tmp_path, options=ExportOptions(pair_lines=True))
    said = {(r["table"], r["column"]): (r["unit"], r["label"]) for r in read(tmp_path / "dictionary.csv")}
    for path in data_files(paths):
        for field in pq.read_schema(path):
            if field.name != "geometry":
                unit, label = said[path.stem, field.name]
                assert field.metadata == {b"unit": unit.encode(), b"label": label.encode()}


def test_the_geopackage_holds_the_dictionary_of_its_layers(run: Path, tmp_path: Path) -> None:
    (path,) = export(run, "gpkg", folder=tmp_path, options=ExportOptions(pair_lines=True, pair_by="产值差"))
    book = pyogrio.read_dataframe(path, layer="dictionary")
    assert tuple(book.columns) == DICTIONARY_COLUMNS
    layers = [name for name, _ in pyogrio.list_layers(path) if name not in ("dictionary", "layer_styles")]
    assert len(layers) == 7
    for layer in layers:
        assert list(book.query("table == @layer")["column"]) == list(pyogrio.read_info(path, layer=layer)["fields"])
    assert set(book["table"]) == set(layers)
    keys = book[book["is_key"]].groupby("table")["column"].apply(list).to_dict()
    assert keys["city"] == ["city_code"]
    assert keys["city_year"] == ["city_code", "year"]
    assert set(book.query("column == 'level_2019'")["label"]) == {"Light per person in 2019"}


def test_two_panels_of_one_declaration_keep_their_own_columns(run: Path, tmp_path: Path) -> None:
    out = write_run(tmp_path / "out")
    table, frame = pair_panel()
    write_table(table, frame, out / "pair_panel.parquet")
    below, rows = pair_panel(pair_year(DISTRICTS), own=())
    write_table(below, rows, out / "district_pair_panel.parquet")
    export(out, "csv")
    book = read(out / "csv" / "dictionary.csv")
    named = {t: [r["column"] for r in book if r["table"] == t] for t in ("pair_panel", "district_pair_panel")}
    assert named == {"pair_panel": list(table.columns), "district_pair_panel": list(below.columns)}
    assert named["pair_panel"] != named["district_pair_panel"]


# --- Chinese names of columns -------------------------------------------------------------------------------------


@pytest.mark.parametrize("to", ["csv", "parquet", "geoparquet", "gpkg"])
def test_chinese_column_names_and_values_survive(run: Path, tmp_path: Path, to: str) -> None:
    _, frame = pair_panel()
    paths = export(run, to, folder=tmp_path, options=ExportOptions(pair_lines=True, pair_by="产值差"))
    if to == "gpkg":
        found = gpd.read_file(paths[0], layer="pair_lines")
    elif to == "geoparquet":
        found = gpd.read_parquet(tmp_path / "pair_lines.parquet")
    else:
        name = tmp_path / f"pair_panel.{to}"
        found = pd.read_csv(name) if to == "csv" else pd.read_parquet(name)
    both = found.merge(frame, on=["pair_id", "year"], suffixes=("", "_expected"))
    assert len(both) == len(found) > 0
    assert list(both["类型"]) == list(both["类型_expected"])
    np.testing.assert_array_equal(both["产值差"], both["产值差_expected"])


def test_labels_that_two_columns_share_make_two_aliases(run: Path, tmp_path: Path) -> None:
    (path,) = export(run, "gpkg", folder=tmp_path, options=ExportOptions(pair_lines=True, pair_by="产值差"))
    with closing(sqlite3.connect(path)) as db:
        sql = "SELECT column_name, name, title FROM gpkg_data_columns WHERE table_name = 'pair_lines'"
        found = {column: (name, title) for column, name, title in db.execute(sql)}
    assert found["类型"] == ("类型：东部、中部或西部", "类型：东部、中部或西部")
    assert found["产值差"] == ("Gap (产值差)", "Gap")
    assert found["gap_own"] == ("Gap (gap_own)", "Gap")


def test_rows_of_the_dictionary_are_one_a_column() -> None:
    assert len(dictionary_rows()) == sum(len(t.columns) for t in TABLES.values())
