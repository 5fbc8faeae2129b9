"""The codebook: every table and every column, as a page, as CSV and as rows that exports carry with them.

In: ``gis.tables``, or the declarations of what one export holds. Out: rows, ``dictionary.csv``, the page
``docs/dictionary.md`` (written by ``python -m gis.export.codebook docs/dictionary.md``, never by hand).
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from gis.tables import COLUMNS, DISTRICT_YEAR, PAIR_PANEL, PAIR_YEAR, TABLES, Column, Table, atomic_path

if TYPE_CHECKING:
    import pyarrow as pa

DICTIONARY_COLUMNS = ("table", "position", "column", "dtype", "unit", "is_key", "label")
"""Columns of the data dictionary."""

Row = tuple[str, int, str, str, str, bool, str]
"""One row of it."""

ALSO = {
    PAIR_YEAR.name: ("district_pair_year", "within_city_pair_year"),
    PAIR_PANEL.name: ("district_pair_panel", "within_city_pair_panel"),
}
"""Table -> further files with its columns, written where they were asked for; names without ending."""

ELSEWHERE = {
    "boundary_diff": "the one `lightpanel boundaries diff --out` names; a layer of `boundary_diff.gpkg`",
    "boundary_piece": "a layer of `boundary_diff.gpkg`",
    "crosswalk": "the one `lightpanel boundaries crosswalk --out` names",
}
"""Tables that lie in no file of their own name, and where they lie instead."""

COMMAND = "python -m gis.export.codebook docs/dictionary.md"
"""What writes the page."""

LEVEL_OF_YEAR = "level_{year}"
"""Name of the columns of a map layer that lay the years side by side."""

UNIT_FID = Column("unit_fid", "int64", "", "Feature of the unit's layer whose polygon this is")
"""In views of the GeoPackage; GDAL takes the unit layer's spatial index for them because this column is its fid."""


def level_of_year(year: int | str) -> Column:
    """The level of one year, as a column of a map layer."""
    name = LEVEL_OF_YEAR.format(year=year)
    return Column(name, "float64", COLUMNS["level"].unit, f"Light per person in {year}")


def files_of(table: Table) -> tuple[str, ...]:
    """Names without ending of the files that may hold rows of a table."""
    return (table.name, *ALSO.get(table.name, ()))


def dictionary_rows(tables: Iterable[Table] = TABLES.values()) -> list[Row]:
    """One row per column of every table, in the order of ``DICTIONARY_COLUMNS``."""
    return [
        (t.name, k, name, t.column(name).dtype, t.column(name).unit, name in t.key, t.column(name).label)
        for t in tables
        for k, name in enumerate(t.columns, start=1)
    ]


def dictionary_table(tables: Iterable[Table]) -> pa.Table:
    """The same rows as an Arrow table, for files that hold more than one table."""
    import pyarrow as pa

    types = (pa.string(), pa.int32(), pa.string(), pa.string(), pa.string(), pa.bool_(), pa.string())
    columns = zip(*dictionary_rows(tables), strict=True)
    arrays = [pa.array(values, dtype) for values, dtype in zip(columns, types, strict=True)]
    return pa.Table.from_arrays(arrays, names=list(DICTIONARY_COLUMNS))


def write_dictionary(path: str | Path, tables: Iterable[Table] = TABLES.values(), *, bom: bool = True) -> Path:
    """Write the data dictionary as CSV, atomically; with a byte order mark, Excel reads it as UTF-8."""
    path = Path(path)
    encoding = "utf-8-sig" if bom else "utf-8"
    with atomic_path(path) as temporary, open(temporary, "w", encoding=encoding, newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(DICTIONARY_COLUMNS)
        writer.writerows(dictionary_rows(tables))
    return path


# --- the page -----------------------------------------------------------------------------------------------------


def dictionary_page() -> str:
    """The dictionary of all declared tables, in Markdown."""
    parts = [_head(), _contents(), *(_table_section(t) for t in TABLES.values()), _maps(), _column_index()]
    return "\n\n".join(parts) + "\n"


def _head() -> str:
    return (
        "# Data dictionary\n\n"
        f"Every table and every column that lightpanel writes. Made from `gis/tables` by `{COMMAND}`; edits belong "
        "there. Exports carry the part of it that they hold: CSV, Parquet and GeoParquet as `dictionary.csv`, the "
        "GeoPackage as the table `dictionary`; unit and label also stand at each field of a Parquet file and at each "
        "column of a GeoPackage layer, where QGIS shows them as alias and comment.\n\n"
        "A unit of `1` is a ratio, no unit a code, a name or a flag. A missing value is null in Parquet and "
        "GeoPackage, an empty field in CSV, never a number that stands for it. Columns in **bold** are the key: "
        "taken together, their values occur once. What the flags mean, and how the numbers are made, is in "
        "[method.md](method.md)."
    )


def _contents() -> str:
    rows = [f"| [{t.name}](#{t.name}) | {_one_row(t)} | {_cell(t.title)} |" for t in TABLES.values()]
    return "\n".join(["## Tables", "", "| table | one row for each | holds |", "|---|---|---|", *rows])


def _one_row(table: Table) -> str:
    *first, last = table.key
    return f"{', '.join(first)} and {last}" if first else last


def _table_section(table: Table) -> str:
    files = ELSEWHERE.get(table.name) or ", ".join(f"`{stem}.parquet`" for stem in files_of(table))
    lines = [f"### {table.name}", "", f"{table.title} File: {files}; a row for each {_one_row(table)}."]
    if table.optional:
        lines += ["", "Written where configured: " + ", ".join(f"`{c}`" for c in table.optional) + "."]
    lines += ["", "| column | type | unit | meaning |", "|---|---|---|---|"]
    for name in table.columns:
        shown = f"**{name}**" if name in table.key else name
        lines.append(_column_row(shown, table.column(name)))
    return "\n".join(lines)


def _column_row(shown: str, column: Column) -> str:
    return f"| {shown} | {column.dtype} | {_cell(column.unit)} | {_cell(column.label)} |"


def _maps() -> str:
    added = [(level_of_year("YYYY"), "one for each year, in `city` and `district`")]
    added += [(UNIT_FID, f"in the views `city_year` and `{DISTRICT_YEAR.name}`")]
    return "\n".join(
        [
            "## Columns of maps",
            "",
            "GeoPackage and GeoParquet have the columns of the tables they draw, and these:",
            "",
            "| column | type | unit | meaning |",
            "|---|---|---|---|",
            *(f"{_column_row(c.name, c).removesuffix(' |')}; {where} |" for c, where in added),
        ]
    )


def _column_index() -> str:
    lines = ["## Columns", "", "| column | type | unit | tables |", "|---|---|---|---|"]
    for name, column in sorted(COLUMNS.items()):
        holds = ", ".join(f"[{t.name}](#{t.name})" for t in TABLES.values() if name in t.columns)
        lines.append(f"| {name} | {column.dtype} | {_cell(column.unit)} | {holds} |")
    return "\n".join(lines)


def _cell(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("*", "\\*")


def main(arguments: list[str]) -> int:
    """Write the page to the file named, or to standard output."""
    if not arguments:
        sys.stdout.write(dictionary_page())
        return 0
    with atomic_path(Path(arguments[0])) as temporary:
        temporary.write_text(dictionary_page(), encoding="utf-8", newline="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
