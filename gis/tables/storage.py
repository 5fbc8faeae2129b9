"""How tables are checked and stored: Parquet files written whole or not at all.

In: DataFrames or Arrow tables and their ``Table``. Out: the same, checked; files whose fields carry unit and label.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gis.errors import GisError, TableInvalid, WriteFailed
from gis.tables.columns import Column, Dtype
from gis.tables.declared import Table

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


def check(table: Table, frame: pd.DataFrame, *, where: object = None) -> pd.DataFrame:
    """Return ``frame`` with exactly the table's columns in order, or say what is wrong with it.

    Raises
    ------
    TableInvalid
        A column is missing or undeclared, a key is repeated or null, a value does not fit its dtype.
    """
    missing = [c for c in table.columns if c not in frame.columns]
    extra = [c for c in frame.columns if c not in table.columns]
    if missing or extra:
        raise TableInvalid(
            f"table {table.name} misses {missing or 'nothing'} and has undeclared {extra or 'nothing'}",
            where=where,
            mend="declare columns in gis/tables",
        )
    if not frame.columns.is_unique:
        twice = sorted(set(frame.columns[frame.columns.duplicated()]))
        raise TableInvalid(f"table {table.name} has columns twice: {twice}", where=where, mend="drop or rename one")
    keys = frame.loc[:, list(table.key)]
    if keys.isna().any(axis=None):
        names = [name for name in table.key if keys[name].isna().any()]
        raise TableInvalid(
            f"table {table.name} has a row without {' and '.join(names)}", where=where, mend="fill or drop such rows"
        )
    repeated = keys.duplicated()
    if repeated.any():
        first = keys[repeated].iloc[0].to_dict()
        raise TableInvalid(
            f"table {table.name} has {int(repeated.sum())} repeated keys, first {first}",
            where=where,
            mend=f"keep one row for each {' and '.join(table.key)}",
        )
    return frame.loc[:, list(table.columns)]


def arrow_from_frame(table: Table, frame: pd.DataFrame, *, where: object = None) -> pa.Table:
    """Check a DataFrame and convert it to Arrow under the table's schema; see `check` for the errors."""
    import pyarrow as pa

    checked = check(table, frame, where=where)
    # Arrow cuts 0.5 to 0 where a column of Python objects is to hold integers; as float64 it is refused.
    objects = [n for n in table.columns if table.column(n).dtype.startswith("int") and checked[n].dtype == object]
    checked = checked.assign(**{n: checked[n].infer_objects() for n in objects})
    try:
        return pa.Table.from_pandas(checked, schema=table.arrow_schema(), preserve_index=False)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as error:
        raise TableInvalid(
            f"table {table.name}: {error}", where=where, mend="bring the column to its dtype in gis/tables"
        ) from error


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a temporary path beside ``path``; on success it is flushed and renamed over it, on failure removed.

    Raises
    ------
    WriteFailed
        The operating system refused (disk full, no permission); ``path`` is as it was.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.stem[:40]}.", suffix=path.suffix, dir=path.parent)
        os.close(handle)
    except OSError as error:
        raise WriteFailed(f"cannot write: {error}", where=path, mend="check the folder's rights and space") from error
    temporary = Path(name)
    temporary.unlink()  # some drivers refuse to write over a file that exists
    try:
        yield temporary
        with open(temporary, "rb") as stream:
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except OSError as error:
        if isinstance(error, GisError):  # an input that could not be read, not this output
            raise
        raise WriteFailed(
            f"could not finish writing: {error}", where=path, mend="free some space; what stood there is untouched"
        ) from error
    finally:
        for left in temporary.parent.glob(f"{escape(temporary.name)}*"):  # drivers add -wal, -journal and .aux.xml
            with suppress(OSError):
                left.unlink()


def write_table(table: Table, frame: pd.DataFrame, path: Path, *, metadata: dict[str, Any] | None = None) -> Path:
    """Check ``frame`` and write it as Parquet (zstd), atomically; ``metadata`` goes into the file as JSON."""
    return write_batches(table, [arrow_from_frame(table, frame, where=path)], path, metadata=metadata)


def write_batches(
    table: Table, batches: Iterable[pa.Table], path: Path, *, metadata: dict[str, Any] | None = None
) -> Path:
    """Write a stream of Arrow tables under the table's schema, one row group each, in bounded memory."""
    import pyarrow.parquet as pq

    schema = table.arrow_schema()
    if metadata:
        schema = schema.with_metadata(
            {**(schema.metadata or {}), b"lightpanel": json.dumps(metadata, ensure_ascii=False).encode()}
        )
    with atomic_path(path) as temporary, pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
        for batch in batches:
            writer.write_table(batch.cast(schema) if batch.schema != schema else batch)
    return Path(path)


def read_table(table: Table, path: Path) -> pd.DataFrame:
    """Read a Parquet file written by `write_table` and check that it has the table's columns.

    Raises
    ------
    TableInvalid
        There is no such file, it is not Parquet or truncated, or it misses a column.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = Path(path)
    if not path.exists():
        raise TableInvalid(f"there is no table {table.name}", where=path, mend="lightpanel run")
    try:
        frame = pq.read_table(path).to_pandas()
    except (pa.ArrowInvalid, OSError) as error:
        raise TableInvalid(
            f"table {table.name} cannot be read: {error}", where=path, mend="delete it and rewrite it: lightpanel run"
        ) from error
    missing = [c for c in table.columns if c not in frame.columns and c not in table.optional]
    if missing:
        raise TableInvalid(f"table {table.name} misses {missing}", where=path, mend="rewrite it: lightpanel run")
    return frame


def table_of_file(table: Table, path: Path) -> Table:
    """Declaration of one Parquet file of a table: the optional columns that it has, and those a workspace declared.

    What exports need: a panel holds what was configured, and its own columns carry unit and label in the file alone.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    dtypes: dict[Any, Dtype] = {
        pa.string(): "string", pa.int64(): "int64", pa.int32(): "int32", pa.float64(): "float64", pa.bool_(): "bool",
    }  # fmt: skip
    schema = pq.read_schema(path)
    own = []
    for field in schema:
        if field.name not in table.columns and field.type in dtypes:
            meta = field.metadata or {}
            unit, label = (meta.get(key, b"").decode() for key in (b"unit", b"label"))
            own.append(Column(field.name, dtypes[field.type], unit, label or field.name))
    return table.with_columns(schema.names, own)
