"""Tables as Excel workbooks: one each, with a codebook sheet; refused where a sheet has too few rows.

In: Parquet tables of a run. Out: ``.xlsx`` files, written row by row.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gis.errors import TableInvalid
from gis.export.codebook import DICTIONARY_COLUMNS, dictionary_rows
from gis.indicators.flags import FLAGS
from gis.tables import Table, atomic_path

if TYPE_CHECKING:
    import pyarrow as pa

SHEET_ROWS = 1_048_576
"""Rows of a sheet, the header's included. Source: Microsoft, Excel specifications and limits; so are the next two."""
CELL_CHARACTERS = 32_767
"""Characters of a cell."""
DIGITS = 15
"""Digits that Excel keeps of a number."""
ROWS = 16_384
"""Rows in memory at a time."""
ZIP64_CELLS = 30_000_000
"""Above so many cells the sheet may outgrow what the plain zip format holds."""


def check_sheets(found: Sequence[tuple[Table, Path]]) -> None:
    """Refuse tables that do not fit a sheet, all by name, before anything is written.

    Raises
    ------
    TableInvalid
        A table has more than 1,048,575 rows: with its header that is more than a sheet holds.
    """
    import pyarrow.parquet as pq

    rows = {path: pq.read_metadata(path).num_rows for _, path in found}
    long = [path for path, n in rows.items() if n + 1 > SHEET_ROWS]
    if not long:
        return
    named = ", ".join(f"{path.stem} ({rows[path]:,} rows)" for path in long)
    others = " ".join(f"--table {path.stem}" for path in rows if path not in long)
    raise TableInvalid(
        f"an Excel sheet holds {SHEET_ROWS - 1:,} rows and a header; too long: {named}. Nothing was written",
        where=long[0],
        mend="export --to csv, parquet or dta" + (f"; or only what fits: {others}" if others else ""),
    )


def write_xlsx(table: Table, parquet: str | Path, path: str | Path) -> Path:
    """Write a Parquet table of a run as a workbook of two sheets, the table and its codebook, atomically.

    Raises
    ------
    TableInvalid
        The table is not there or too long, or a value has no place in Excel: an integer of more than 15 digits, an
        infinite number, a text of more than 32,767 characters.

    Notes
    -----
    Codes are texts. A missing value is an empty cell. Every name in the header carries its label and unit as a note.
    Numbers are written with 16 digits, of which Excel keeps 15.
    """
    import pyarrow.parquet as pq
    import xlsxwriter

    parquet, path = Path(parquet), Path(path)
    if not parquet.is_file():
        raise TableInvalid(f"there is no table {table.name}", where=parquet, mend="lightpanel run")
    check_sheets([(table, parquet)])
    with pq.ParquetFile(parquet) as source, atomic_path(path) as temporary:
        missing = [c for c in table.columns if c not in source.schema_arrow.names]
        if missing:
            raise TableInvalid(f"table {table.name} misses {missing}", where=parquet, mend="rewrite it: lightpanel run")
        # Rows wait in a file of their own until the workbook is closed; it goes with the folder, whatever happens.
        with tempfile.TemporaryDirectory(prefix=".xlsx.", dir=path.parent) as scratch:
            book = xlsxwriter.Workbook(temporary, {"constant_memory": True, "tmpdir": scratch})
            if source.metadata.num_rows * len(table.columns) > ZIP64_CELLS:
                book.use_zip64()
            written = datetime.fromtimestamp(parquet.stat().st_mtime, UTC).replace(tzinfo=None)
            book.set_properties({"title": table.title, "created": written})
            _fill(book, replace(table, name=parquet.stem), source, parquet)
            book.close()
    return path


def _fill(book: Any, table: Table, source: Any, where: Path) -> None:
    bold, whole = book.add_format({"bold": True}), book.add_format({"num_format": "0"})
    sheet = book.add_worksheet(table.name)
    for k, name in enumerate(table.columns):
        column = table.column(name)
        sheet.set_column(k, k, max(len(name) + 2, 10), whole if column.dtype.startswith("int") else None)
        sheet.write_string(0, k, name, bold)
        sheet.write_comment(0, k, f"{column.label}\nunit: {column.unit or 'none'}", {"x_scale": 2})
    sheet.freeze_panes(1, 0)
    sheet.autofilter(0, 0, source.metadata.num_rows, len(table.columns) - 1)
    first = 1
    for batch in source.iter_batches(ROWS, columns=list(table.columns)):
        _write_rows(sheet, table, batch, first, where, whole)
        first += batch.num_rows
    codebook = book.add_worksheet("codebook")
    for k, width in enumerate((20, 8, 28, 8, 16, 6, 80)):
        codebook.set_column(k, k, width)
    for r, row in enumerate([DICTIONARY_COLUMNS, *dictionary_rows([table])]):
        codebook.write_row(r, 0, row, bold if r == 0 else None)
    if "flags" in table.columns:
        meanings = book.add_worksheet("flags")
        meanings.set_column(1, 1, 80)
        meanings.write_row(0, 0, ("flag", "meaning"), bold)
        for r, (flag, what) in enumerate(FLAGS.items(), start=1):
            meanings.write_row(r, 0, (flag, what.meaning))


def _write_rows(sheet: Any, table: Table, batch: pa.RecordBatch, first: int, where: Path, whole: Any) -> None:
    dtypes = [table.column(name).dtype for name in table.columns]
    columns = [batch[name].to_pylist() for name in table.columns]
    most = 10**DIGITS
    for r, row in enumerate(zip(*columns, strict=True), start=first):
        for c, (dtype, value) in enumerate(zip(dtypes, row, strict=True)):
            if value is None or value == "":
                continue
            if dtype == "float64":
                if math.isfinite(value):
                    sheet.write_number(r, c, value)
                elif math.isinf(value):
                    raise _no_place(table, c, "an infinite number", where, r)
            elif dtype == "string":
                if sheet.write_string(r, c, value) != 0:
                    raise _no_place(table, c, f"a text of more than {CELL_CHARACTERS:,} characters", where, r)
            elif dtype == "bool":
                sheet.write_boolean(r, c, value)
            else:
                if abs(value) >= most:
                    raise _no_place(table, c, f"an integer of more than {DIGITS} digits", where, r)
                sheet.write_number(r, c, value, whole)


def _no_place(table: Table, column: int, what: str, where: Path, row: int) -> TableInvalid:
    return TableInvalid(
        f"column {table.columns[column]} holds {what}, which has no place in Excel",
        where=f"{where}, row {row}",
        mend="export to parquet or csv",
    )
