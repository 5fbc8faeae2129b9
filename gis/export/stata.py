"""Tables as Stata files: format 118, every variable, value and data label in place, batch by batch.

In: Parquet tables of a run. Out: ``.dta`` files that Stata 14 and later open, as large as the disk allows.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from gis.errors import TableInvalid
from gis.tables import Table, atomic_path

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

NAME_MAX = 32
"""Characters of a variable name. Source: Stata, help limits; so are the next three."""
LABEL_MAX = 80
"""Characters of a variable or data label."""
STR_MAX = 2045
"""Bytes of a text of fixed width (str1 to str2045); a column with a longer one becomes strL."""
DOUBLE_MAX = 2**53
"""Integers up to it have a double of their own."""

INTEGERS = (("Int8", -127, 100), ("Int16", -32767, 32740), ("Int32", -2147483647, 2147483620))
"""Stata's byte, int and long: pandas' dtype, lowest and highest value (what lies above is a missing value)."""

NO_YES: dict[float, str] = {0: "no", 1: "yes"}
"""Value labels of columns that are true or false."""
DUMMIES = ("hsr", "east_east", "west_west", "east_west", "east_dev", "gap_light", "gap_light_first")
"""Integer columns that hold 0 or 1 by their label in ``gis/tables``, and get the same value labels."""

RESERVED = frozenset(
    "_all _b _coef _cons _n _N _pi _pred _rc _se _skip byte double float if in int long strL str# using with "
    "aggregate array boolean break case catch class colvector complex const continue default delegate delete do else "
    "eltypedef end enum explicit export external for friend function global goto inline local NULL pragma protected "
    "quad rowvector short typedef typename virtual".split()
)
"""Words that no variable may have for a name: Stata's own, and those of Mata, which pandas changes too."""

ROWS = 65_536
"""Rows that are in memory at a time."""


def stata_name(name: str) -> str:
    """Name of a column in Stata.

    A name of up to 32 letters, digits and underscores that does not begin with a digit and is no reserved word stays
    as it is. Of any other the first 25 characters are kept, with ``_`` for what Stata does not take, then ``_`` and
    the first 6 hexadecimal digits of the SHA-256 of the whole name. So a name depends on nothing but itself.
    """
    is_word = re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) is not None
    if is_word and len(name) <= NAME_MAX and name not in RESERVED and not re.fullmatch(r"str\d+", name):
        return name
    kept = re.sub(r"^(?=\d)", "_", re.sub(r"[^A-Za-z0-9_]", "_", name))[: NAME_MAX - 7]
    return f"{kept}_{hashlib.sha256(name.encode()).hexdigest()[:6]}"


def stata_names(names: Iterable[str], *, where: object = None) -> dict[str, str]:
    """Column -> name in Stata, each another.

    Raises
    ------
    TableInvalid
        Two columns would share a name.
    """
    found: dict[str, str] = {}
    taken: dict[str, str] = {}
    for name in names:
        found[name] = short = stata_name(name)
        if short in taken:
            raise TableInvalid(
                f"columns {taken[short]} and {name} would both be {short} in Stata",
                where=where,
                mend=f"rename one of them in workspace.toml (up to {NAME_MAX} letters, digits and _), or export to csv",
            )
        taken[short] = name
    return found


@dataclass(frozen=True, slots=True)
class Storage:
    """How one column is stored, the same in every batch."""

    kind: str
    """``Int8``, ``Int16``, ``Int32``, ``Float64``, ``str`` or ``strL``."""
    width: int = 0
    """Bytes of a text of fixed width, 1 or more."""


def write_dta(table: Table, parquet: str | Path, path: str | Path) -> Path:
    """Write a Parquet table of a run as a Stata file of format 118, atomically, in bounded memory.

    Parameters
    ----------
    table : the declaration of this very file, as `gis.tables.table_of_file` gives it.

    Raises
    ------
    TableInvalid
        There is no such table, it misses a column, two names collide, or a value has no place in Stata: an integer
        beyond 2^53, an infinite number, a text with a null character.

    Notes
    -----
    NaN and null become Stata's missing value ``.``; a missing text is the empty one, as Stata has no other. Integers
    take the smallest type that holds them (byte, int, long), beyond that a double, which is exact up to 2^53.
    A table with a text of more than 2045 bytes is held in memory whole: strL values are stored apart from the rows.
    """
    import pyarrow.parquet as pq

    parquet, path = Path(parquet), Path(path)
    if not parquet.is_file():
        raise TableInvalid(f"there is no table {table.name}", where=parquet, mend="lightpanel run")
    with pq.ParquetFile(parquet) as source:
        missing = [c for c in table.columns if c not in source.schema_arrow.names]
        if missing:
            raise TableInvalid(f"table {table.name} misses {missing}", where=parquet, mend="rewrite it: lightpanel run")
        names = stata_names(table.columns, where=parquet)
        storage = _storage(table, source, parquet)
        is_whole = any(s.kind == "strL" for s in storage.values())
        rows = max(source.metadata.num_rows, 1) if is_whole else ROWS
        written = datetime.fromtimestamp(parquet.stat().st_mtime, UTC).replace(tzinfo=None)
        with atomic_path(path) as temporary, open(temporary, "wb") as stream:
            frames = _frames(source, rows, storage, names, parquet)
            _join(stream, (_one_file(frame, table, storage, names, written) for frame in frames))
    return path


def _storage(table: Table, source: Any, where: Path) -> dict[str, Storage]:
    """Look at every integer and every text once: a type must hold all of a column's values."""
    import pyarrow as pa
    import pyarrow.compute as pc

    low, high, width = (dict.fromkeys(table.columns, 0) for _ in range(3))
    looked_at = [c for c in table.columns if table.column(c).dtype not in ("float64", "bool")]
    for batch in source.iter_batches(ROWS, columns=looked_at) if looked_at else ():
        for name in looked_at:
            values = batch[name]
            if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
                width[name] = max(width[name], pc.max(pc.binary_length(values)).as_py() or 0)
                if pc.any(pc.match_substring(values, "\0")).as_py():
                    raise _no_place(table, name, "a text with a null character, which would end it", where)
            elif values.null_count < len(values):
                ends = pc.min_max(values).as_py()
                low[name], high[name] = min(low[name], ends["min"]), max(high[name], ends["max"])
    found = {}
    for name in table.columns:
        dtype = table.column(name).dtype
        if dtype == "string":
            found[name] = Storage("strL") if width[name] > STR_MAX else Storage("str", max(width[name], 1))
        elif dtype == "float64":
            found[name] = Storage("Float64")
        else:
            fits = [kind for kind, least, most in INTEGERS if least <= low[name] and high[name] <= most]
            found[name] = Storage(fits[0] if fits else "Float64")
            beyond = max(-low[name], high[name])
            if beyond > DOUBLE_MAX:
                raise _no_place(table, name, f"{beyond}, and integers beyond 2^53 lose digits", where)
    return found


def _no_place(table: Table, name: str, what: str, where: object) -> TableInvalid:
    return TableInvalid(
        f"column {name} of table {table.name} holds {what} in Stata", where=where, mend="export to parquet or csv"
    )


def _frames(
    source: Any, rows: int, storage: Mapping[str, Storage], names: Mapping[str, str], where: Path
) -> Iterator[pd.DataFrame]:
    """Batches in Stata's types; one without rows for a table without any."""
    import pyarrow as pa

    first = 1
    for batch in source.iter_batches(rows, columns=list(names)):
        yield _frame(batch, storage, names, where, first)
        first += batch.num_rows
    if first == 1:
        schema = pa.schema([source.schema_arrow.field(name) for name in names])
        yield _frame(pa.RecordBatch.from_pylist([], schema), storage, names, where, first)


def _frame(
    batch: pa.RecordBatch, storage: Mapping[str, Storage], names: Mapping[str, str], where: Path, first: int
) -> pd.DataFrame:
    """One batch, after a row of padding that makes every text as wide as its column in every batch."""
    import pandas as pd

    columns: dict[str, Any] = {}
    for name, short in names.items():
        kind, values = storage[name].kind, batch[name]
        if kind in ("str", "strL"):
            texts = ["x" * storage[name].width, *values.fill_null("").to_pylist()]
            columns[short] = np.array(texts, dtype=object)
        elif kind == "Float64":
            numbers = values.cast("float64").to_numpy(zero_copy_only=False)
            infinite = np.flatnonzero(np.isinf(numbers))
            if infinite.size:
                raise TableInvalid(
                    f"column {name} is infinite, which has no place in Stata",
                    where=f"{where}, row {first + int(infinite[0])}",
                    mend="export to parquet or csv, or make it missing in the table it comes from",
                )
            columns[short] = np.concatenate([[0.0], numbers])
        else:
            is_null = values.is_null().to_numpy(zero_copy_only=False)
            whole = values.cast("int64").fill_null(0).to_numpy(zero_copy_only=False)
            columns[short] = pd.arrays.IntegerArray(
                np.concatenate([[0], whole]).astype(kind.lower()), np.concatenate([[False], is_null])
            )
    return pd.DataFrame(columns)


def _one_file(
    frame: pd.DataFrame, table: Table, storage: Mapping[str, Storage], names: Mapping[str, str], written: datetime
) -> tuple[bytes, int]:
    """A frame as a Stata file of its own, as pandas writes it, and the frame's number of rows."""
    is_yes_no = (c for c in names if table.column(c).dtype == "bool" or c in DUMMIES)
    stream = io.BytesIO()
    frame.to_stata(
        stream,
        version=118,
        byteorder="<",
        write_index=False,
        time_stamp=written,
        data_label=cut(table.title.rstrip("."), LABEL_MAX),
        variable_labels={names[c]: cut(table.column(c).label, LABEL_MAX) for c in names},
        value_labels={names[c]: NO_YES for c in is_yes_no},
        convert_strl=[names[c] for c in names if storage[c].kind == "strL"],
    )
    return stream.getvalue(), len(frame)


def cut(text: str, most: int) -> str:
    """Shorten a text to whole words and an ellipsis, where it is longer than ``most`` characters."""
    if len(text) <= most:
        return text
    return text[: most - 1].rsplit(" ", 1)[0][: most - 1] + "…"


def _join(stream: BinaryIO, files: Iterable[tuple[bytes, int]]) -> None:
    """Write files of the same variables as one: the first one's head, everyone's rows but the padding, one tail.

    Notes
    -----
    Between ``<data>`` and ``</data>`` there are records of one width and nothing else. What depends on their number
    stands in two places: ``<N>``, and ``<map>``, the offsets of all sections, of which 10 to 13 follow the rows.
    Source: Stata, help dta_118.
    """
    n_rows = grown = 0
    tail = b""
    for k, (whole, n) in enumerate(files):
        map_at = whole.index(b"</timestamp></header><map>") + len(b"</timestamp></header><map>")
        offsets = np.frombuffer(whole, "<i8", 14, map_at).copy()
        start, stop = int(offsets[9]) + len(b"<data>"), int(offsets[10]) - len(b"</data>")
        record = (stop - start) // n
        if k == 0:
            stream.write(whole[:start])
            first_map, first_at, old = offsets, map_at, stop - start
        stream.write(memoryview(whole)[start + record : stop])
        tail = whole[stop:]
        grown += stop - start - record
        n_rows += n - 1
    stream.write(tail)
    first_map[10:] += grown - old
    stream.seek(first_at)
    stream.write(first_map.tobytes())
    stream.seek(len(b"<stata_dta><header><release>118</release><byteorder>LSF</byteorder><K>nn</K><N>"))
    stream.write(n_rows.to_bytes(8, "little"))
