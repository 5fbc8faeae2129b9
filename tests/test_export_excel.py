"""Workbooks, read back by openpyxl, which shares no code with the writer: values, codes as text, codebook, limits."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import openpyxl
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xlsxwriter
from export_cases import CITIES, pair_year, tables, unit_year, write_run

from gis.errors import TableInvalid, WriteFailed
from gis.export import ExportOptions, excel, export
from gis.export.codebook import DICTIONARY_COLUMNS, dictionary_rows
from gis.export.excel import SHEET_ROWS, check_sheets, write_xlsx
from gis.indicators.flags import FLAGS
from gis.tables import CITY_YEAR, COLUMNS, PAIR_YEAR, Column, Table, write_table


def rows_of(path: Path, sheet: str) -> list[tuple[Any, ...]]:
    book = openpyxl.load_workbook(path, read_only=True)
    found = list(book[sheet].iter_rows(values_only=True))
    book.close()
    return found


@pytest.mark.parametrize("rows", [5, 10**6])
def test_every_value_comes_back(tmp_path: Path, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(excel, "ROWS", rows)
    for table, frame in tables():
        source = write_table(table, frame, tmp_path / f"{table.name}.parquet")
        head, *body = rows_of(write_xlsx(table, source, tmp_path / "t.xlsx"), table.name)
        assert head == table.columns
        assert len(body) == len(frame)
        again = pd.DataFrame(body, columns=list(head))
        for name in table.columns:
            expected = frame[name]
            if table.column(name).dtype == "string":
                assert list(again[name].fillna("")) == list(expected.fillna("")), name
            else:
                numbers = expected.astype("Float64").to_numpy(float, na_value=np.nan)
                # 16 digits are written, of 17 that a float may need.
                np.testing.assert_allclose(again[name].to_numpy(float, na_value=np.nan), numbers, rtol=5e-16)
            if table.column(name).dtype == "bool":
                assert {type(v) for v in again[name].dropna()} <= {bool}


def test_codes_are_texts_and_missing_values_empty_cells(tmp_path: Path) -> None:
    source = write_table(PAIR_YEAR, pair_year(), tmp_path / "pair_year.parquet")
    sheet = openpyxl.load_workbook(write_xlsx(PAIR_YEAR, source, tmp_path / "p.xlsx"))["pair_year"]
    at = {c: k for k, c in enumerate(PAIR_YEAR.columns, start=1)}
    first = sheet.cell(2, at["city_i"])
    assert (first.value, first.data_type) == ("110000", "s")
    assert sheet.cell(2, at["pair_id"]).number_format == "0"  # 110000120000, not 1.1E+11
    assert sheet.cell(2, at["switched"]).value is None
    assert sheet.freeze_panes == "A2"
    assert sheet.auto_filter.ref == f"A1:N{len(pair_year()) + 1}"


def test_the_header_carries_label_and_unit_and_the_codebook_all_columns(tmp_path: Path) -> None:
    source = write_table(CITY_YEAR, unit_year("city", CITIES), tmp_path / "city_year.parquet")
    path = write_xlsx(CITY_YEAR, source, tmp_path / "c.xlsx")
    book = openpyxl.load_workbook(path)
    assert book.sheetnames == ["city_year", "codebook", "flags"]
    for cell in book["city_year"][1]:
        column = COLUMNS[cell.value]
        assert cell.comment.text.endswith(f"{column.label}\nunit: {column.unit or 'none'}")
    head, *body = rows_of(path, "codebook")
    assert head == DICTIONARY_COLUMNS
    assert [tuple(v or "" for v in r) for r in body] == [
        tuple(v or "" for v in r) for r in dictionary_rows([CITY_YEAR])
    ]
    assert dict(rows_of(path, "flags")[1:]) == {name: flag.meaning for name, flag in FLAGS.items()}
    assert book.properties.title == CITY_YEAR.title
    assert {row[2] for row in rows_of(path, "city_year")[1:]} == set(CITIES.names)


def test_texts_that_look_like_something_else_stay_texts(tmp_path: Path) -> None:
    odd = ["=1+1", "http://a.cn", "{=A1}", "007", "1e5", " 空 ", "a\nb\t<&>", "TRUE"]
    table = Table(
        "odd", "Odd.", ("k",), ("k", "note"), (), (Column("k", "int32", "", "K"), Column("note", "string", "", "N"))
    )
    frame = pd.DataFrame({"k": np.arange(len(odd), dtype="int32"), "note": odd})
    path = write_xlsx(table, write_table(table, frame, tmp_path / "odd.parquet"), tmp_path / "odd.xlsx")
    cells = [row[1] for row in openpyxl.load_workbook(path)["odd"].iter_rows(min_row=2)]
    assert [c.value for c in cells] == odd
    assert {c.data_type for c in cells} == {"s"}


def test_a_table_without_rows_has_a_header(tmp_path: Path) -> None:
    source = write_table(PAIR_YEAR, pair_year().head(0), tmp_path / "pair_year.parquet")
    assert rows_of(write_xlsx(PAIR_YEAR, source, tmp_path / "p.xlsx"), "pair_year") == [PAIR_YEAR.columns]


# --- what has no place ----------------------------------------------------------------------------------------------


def long_table(path: Path, rows: int) -> Path:
    pq.write_table(pa.table({"k": pa.nulls(rows, pa.int32())}), path)
    return path


def test_a_sheet_holds_a_header_and_1048575_rows(tmp_path: Path) -> None:
    fits = long_table(tmp_path / "fits.parquet", SHEET_ROWS - 1)
    check_sheets([(PAIR_YEAR, fits)])
    with pytest.raises(TableInvalid, match=r"long \(1,048,576 rows\)[^~]*mend:  export --to csv, parquet or dta; or"):
        check_sheets([(PAIR_YEAR, fits), (PAIR_YEAR, long_table(tmp_path / "long.parquet", SHEET_ROWS))])


def test_one_table_too_long_refuses_all_and_names_what_fits(tmp_path: Path) -> None:
    out = write_run(tmp_path / "out")
    frame = pair_year()
    small = pq.read_table(out / "pair_year.parquet")
    pq.write_table(small.take(np.arange(SHEET_ROWS) % len(frame)), out / "pair_year.parquet")
    with pytest.raises(TableInvalid, match="only what fits: --table city_year --table district_year --table national"):
        export(out, "xlsx")
    assert not (out / "xlsx").exists()
    found = export(out, "xlsx", options=ExportOptions(tables=("city_year", "national_year")))
    assert [p.name for p in found] == ["city_year.xlsx", "national_year.xlsx"]


@pytest.mark.parametrize(
    ("dtype", "value", "what"),
    [("int64", 10**15, "an integer of more than 15 digits"), ("float64", -np.inf, "an infinite number"),
     ("string", "长" * 32_768, "a text of more than 32,767 characters")],
)  # fmt: skip
def test_what_has_no_place_in_excel_is_refused_and_leaves_nothing(
    tmp_path: Path, dtype: Any, value: Any, what: str
) -> None:
    table = Table("odd", "Odd.", ("k",), ("k", "x"), (), (Column("k", "int32", "", "K"), Column("x", dtype, "", "X")))
    frame = pd.DataFrame({"k": np.arange(2, dtype="int32"), "x": [None if dtype == "string" else 0, value]})
    source = write_table(table, frame, tmp_path / "odd.parquet")
    with pytest.raises(TableInvalid, match=f"column x holds {what}[^~]*row 2\n  mend:  export to parquet or csv"):
        write_xlsx(table, source, tmp_path / "odd.xlsx")
    assert [p.name for p in tmp_path.iterdir()] == ["odd.parquet"]


def test_a_table_that_is_not_there_or_not_whole_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TableInvalid, match="mend:  lightpanel run"):
        write_xlsx(CITY_YEAR, tmp_path / "absent.parquet", tmp_path / "c.xlsx")
    pq.write_table(pa.table({"city_code": ["110000"]}), tmp_path / "half.parquet")
    with pytest.raises(TableInvalid, match="mend:  rewrite it: lightpanel run"):
        write_xlsx(CITY_YEAR, tmp_path / "half.parquet", tmp_path / "c.xlsx")
    assert [p.name for p in tmp_path.iterdir()] == ["half.parquet"]


def test_an_interrupted_write_leaves_the_old_workbook_and_no_scratch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write_table(PAIR_YEAR, pair_year(), tmp_path / "pair_year.parquet")
    path = write_xlsx(PAIR_YEAR, source, tmp_path / "p.xlsx")
    before = path.read_bytes()
    scratch = set(Path(tempfile.gettempdir()).glob("tmp*"))

    def full(self: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(xlsxwriter.Workbook, "close", full)
    with pytest.raises(WriteFailed, match="mend:  free some space"):
        write_xlsx(PAIR_YEAR, source, path)
    assert path.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["p.xlsx", "pair_year.parquet"]
    assert not {p for p in Path(tempfile.gettempdir()).glob("tmp*") if p not in scratch and p.suffix == ".xlsx"}


def test_an_export_writes_one_workbook_a_table(tmp_path: Path) -> None:
    out = write_run(tmp_path / "out")
    found = export(out, "xlsx")
    assert [p.name for p in found] == [f"{t.name}.xlsx" for t, _ in tables()]
    assert sorted(p.name for p in (out / "xlsx").iterdir()) == sorted(p.name for p in found)
    for path in found:
        assert "codebook" in openpyxl.load_workbook(path, read_only=True).sheetnames
