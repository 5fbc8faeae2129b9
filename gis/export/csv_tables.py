"""Tables as CSV, for Stata, R and spreadsheets.

In: Parquet tables of a run. Out: UTF-8 CSV files, a missing value being an empty field.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from gis.errors import TableInvalid
from gis.tables import Table, atomic_path

if TYPE_CHECKING:
    import pyarrow as pa

BOM = b"\xef\xbb\xbf"
"""Without it Excel reads UTF-8 as the system's code page, and Chinese names as noise."""


def write_csv(table: Table, parquet: str | Path, path: str | Path, *, bom: bool = True) -> Path:
    """Write a Parquet table of a run as CSV, batch by batch, atomically.

    Parameters
    ----------
    bom : bool
        Begin with a byte order mark, for Excel. Stata, R and pandas skip it (pandas: ``encoding="utf-8-sig"``).

    Raises
    ------
    TableInvalid
        There is no such table, or it misses a column.

    Notes
    -----
    Texts are quoted, numbers are not, and floats are written in the shortest form that reads back to the same bits.
    """
    import pyarrow as pa
    import pyarrow.csv as pacsv
    import pyarrow.parquet as pq

    parquet, path = Path(parquet), Path(path)
    if not parquet.is_file():
        raise TableInvalid(f"there is no table {table.name}", where=parquet, mend="lightpanel run")
    with pq.ParquetFile(parquet) as source:
        missing = [c for c in table.columns if c not in source.schema_arrow.names]
        if missing:
            raise TableInvalid(f"table {table.name} misses {missing}", where=parquet, mend="rewrite it: lightpanel run")
        schema = pa.schema([source.schema_arrow.field(c) for c in table.columns])
        with atomic_path(path) as temporary, open(temporary, "wb") as stream:
            if bom:
                stream.write(BOM)
            with pacsv.CSVWriter(stream, schema) as writer:
                for batch in source.iter_batches(columns=list(table.columns)):
                    writer.write_batch(_without_nan(batch.select(list(table.columns))))
    return path


def _without_nan(batch: pa.RecordBatch) -> pa.RecordBatch:
    """NaN becomes null: "nan" in a CSV is a word to Stata."""
    import pyarrow as pa
    import pyarrow.compute as pc

    columns = [
        pc.if_else(pc.is_nan(c), pa.scalar(None, c.type), c) if pa.types.is_floating(c.type) else c
        for c in batch.columns
    ]
    return pa.RecordBatch.from_arrays(columns, schema=batch.schema)
