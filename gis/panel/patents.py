"""Patents as a compact table: one record per application number, with its year, kind and cities.

In: rows of a patent file (application number, years, type, place, is_digital), whole or batch by batch. Out:
``Patents``: arrays by application, and the sets of cities each lies in (METHOD 4.2).

What is large about a patent is its texts. Read batch by batch, they go to parts on disk by application number, and a
part at a time is brought to one record each; some thirty bytes a patent stay in memory, none of them text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from gis.errors import OptionInvalid, TableInvalid
from gis.panel.rows import row_name

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    from gis.grid import Zones

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

NOWHERE, OUTSIDE = -1, -2
"""Place of a patent without one (foreign, or no address), and of one in a unit that is not in the roster."""

INVENTION, UTILITY, DESIGN, OTHER = 1, 2, 3, 0
KINDS: dict[str, int] = {
    **dict.fromkeys(("invention", "发明", "发明专利", "发明公布", "发明授权", "发明公开", "1", "8", "i", "a", "b"),
                    INVENTION),
    **dict.fromkeys(("utility", "utility model", "实用新型", "实用新型专利", "2", "9", "u"), UTILITY),
    **dict.fromkeys(("design", "外观设计", "外观设计专利", "3", "d", "s"), DESIGN),
}  # fmt: skip
"""Spellings of the type: English, Chinese, and the digit of a Chinese application number (8 and 9: through the PCT)."""
PUBLICATIONS = frozenset(("publication", "published", "发明公布", "发明公开", "公布", "公开", "0", "a"))
"""Spellings of a record that is no grant yet, in the column ``stage`` or the type itself."""

POSTCODE_DIGITS = (6, 5, 4, 3, 2)
"""A postcode is looked for whole, then by its first digits: tables give areas as 2000 for 200000 to 200099."""

Multi = Literal["first", "full", "fractional"]
POINTS_AT_ONCE = 200_000
PARTS = 64
"""Parts on disk: ten million patents make parts of 160,000."""


@dataclass(frozen=True, slots=True)
class Patents:
    """One record per application number."""

    ids: tuple[pa.Array | Path, ...] = field(repr=False)
    """Application numbers, text, distinct, in parts: arrays, or files of one array each."""
    starts: Ints = field(repr=False)
    """(n_parts + 1,): part k holds the patents ``starts[k]`` to ``starts[k + 1]``."""
    codes: tuple[str, ...]
    """Roster: codes of the units, rising."""
    year: NDArray[np.int32] = field(repr=False)
    """(n,) year that dates a citation by this patent; 0 where unknown."""
    kind: NDArray[np.int8] = field(repr=False)
    """(n,) INVENTION, UTILITY, DESIGN or OTHER."""
    is_digital: NDArray[np.bool_] = field(repr=False)
    """(n,) whether it is a digital-technology patent."""
    place_ptr: Ints = field(repr=False)
    """(n + 1,): the places of patent k are ``place[place_ptr[k]:place_ptr[k + 1]]``."""
    place: NDArray[np.int32] = field(repr=False)
    """Positions in the roster, NOWHERE or OUTSIDE; distinct within a patent."""
    n_records: int
    """Rows read: publications, grants and further applicants included."""

    def __len__(self) -> int:
        return int(self.starts[-1])

    def find(self, numbers: pa.Array) -> Ints:
        """(n,) which patent has each application number; -1 for none. One part of the patents is held at a time."""
        import pyarrow as pa
        import pyarrow.compute as pc

        out = np.full(len(numbers), -1)
        part = part_of(numbers, len(self.ids))
        order = np.argsort(part, kind="stable")
        cuts = np.searchsorted(part[order], np.arange(len(self.ids) + 1))
        for k, ids in enumerate(self.ids):
            some = order[cuts[k] : cuts[k + 1]]
            if some.size:
                known = _read_part(ids)["application"] if isinstance(ids, Path) else ids
                at = pc.index_in(numbers.take(pa.array(some)), value_set=known)
                at = pc.fill_null(at, -1).to_numpy(zero_copy_only=False).astype(np.int64)
                out[some] = np.where(at >= 0, at + self.starts[k], -1)
        return out


def patents_from_table(
    table: pa.Table,
    place: NDArray[np.int32],
    codes: tuple[str, ...],
    *,
    multi: Multi = "first",
    year: str = "year",
    where: object = None,
) -> Patents:
    """Bring the rows of a patent file to one record per application number.

    Parameters
    ----------
    table : columns ``application`` (text), the column ``year`` names (whole numbers or empty), ``type``,
        ``is_digital``; and, where there, ``stage`` (publication or grant) and ``applicant_no``.
    place : (n_rows,) position of each row's place in ``codes``, NOWHERE or OUTSIDE; see `places_from_codes`.
    multi : with several applicants in several places: the first's, or all of them.
    where : the file, for messages.

    Raises
    ------
    TableInvalid
        A column is missing; an application number is empty; a type, year or flag cannot be read. Names the row.

    Notes
    -----
    Where an application has a grant, its publications are dropped. Its rows are its applicants then, in the order of
    ``applicant_no``, else of the file; the first one's year, type and flag are the patent's.
    """
    one = _one_each(_compact(table, place, year, where, 0), multi)
    return _joined([one.ids], [one], codes, table.num_rows)


def patents_from_batches(
    batches: Iterable[tuple[pa.Table, NDArray[np.int32]]],
    codes: tuple[str, ...],
    folder: Path,
    *,
    multi: Multi = "first",
    year: str = "year",
    where: object = None,
) -> Patents:
    """Do the same with a file read batch by batch, each with its places, in bounded memory.

    Parameters
    ----------
    folder : where parts are laid aside. The application numbers stay there: keep it as long as the patents.

    Notes
    -----
    Memory is one batch, one part of ``PARTS``, and 20 to 30 bytes a patent.
    """
    import pyarrow as pa

    n_rows = 0
    rows = [folder / f"patents{k}" for k in range(PARTS)]
    writers: dict[int, pa.RecordBatchFileWriter] = {}
    for table, place in batches:
        compact = _compact(table, place, year, where, n_rows)
        n_rows += table.num_rows
        part = part_of(compact["application"].combine_chunks(), PARTS)
        order = np.argsort(part, kind="stable")
        cuts = np.searchsorted(part[order], np.arange(PARTS + 1))
        for k in np.flatnonzero(np.diff(cuts)).tolist():
            if k not in writers:
                writers[k] = pa.ipc.new_file(str(rows[k]), compact.schema)
            writers[k].write_table(compact.take(pa.array(order[cuts[k] : cuts[k + 1]])))
    ids, each = [], []
    for k in sorted(writers):
        writers[k].close()
    for k in range(PARTS):
        one = _one_each(_read_part(rows[k]) if k in writers else _no_rows(), multi)
        ids.append(folder / f"ids{k}")
        with pa.ipc.new_file(str(ids[-1]), pa.schema([("application", pa.string())])) as file:
            file.write_table(pa.table({"application": one.ids}))
        rows[k].unlink(missing_ok=True)
        each.append(replace(one, ids=None))
    return _joined(ids, each, codes, n_rows)


def part_of(numbers: pa.Array, n_parts: int) -> NDArray[np.uint8]:
    """(n,) part of each application number, by its last eight bytes: there stands the serial number.

    One byte each: numpy sorts them by counting, ten times as fast as whole numbers.
    """
    if n_parts == 1:
        return np.zeros(len(numbers), np.uint8)
    _, offsets, data = numbers.buffers()
    edge = np.frombuffer(offsets, np.int32)[numbers.offset : numbers.offset + len(numbers) + 1].astype(np.int64)
    text = np.frombuffer(data, np.uint8) if data is not None and data.size else np.zeros(1, np.uint8)
    key = np.zeros(len(numbers), np.uint64)
    for back in range(1, 9):
        at = edge[1:] - back
        key = key * np.uint64(257) + np.where(at >= edge[:-1], text[np.maximum(at, 0)], 0).astype(np.uint64)
    # Fibonacci hashing: the high bits of a product with 2^64 over the golden ratio are even where serials run on.
    return np.asarray(((key * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(40)) % np.uint64(n_parts), np.uint8)


@dataclass(frozen=True, slots=True)
class _Part:
    """The fields of `Patents` for some applications."""

    ids: Any
    year: NDArray[np.int32]
    kind: NDArray[np.int8]
    is_digital: NDArray[np.bool_]
    n_places: Ints
    place: NDArray[np.int32]


def _joined(ids: list[Any], parts: list[_Part], codes: tuple[str, ...], n_records: int) -> Patents:
    year, kind, is_digital, n_places, place = (
        np.concatenate([getattr(p, name) for p in parts])
        for name in ("year", "kind", "is_digital", "n_places", "place")
    )
    starts = np.cumsum([0, *(p.year.size for p in parts)])
    return Patents(tuple(ids), starts, codes, year, kind, is_digital, np.r_[0, np.cumsum(n_places)], place, n_records)


def _compact(table: pa.Table, place: NDArray[np.int32], year: str, where: object, first_row: int) -> pa.Table:
    """Rows with numbers in place of texts, all checked; ``first_row`` is that of the batch in its file."""
    import pyarrow as pa

    _need(table, ("application", year, "type", "is_digital"), where)
    ids = table["application"].cast(pa.string())
    if ids.null_count:
        k = first_row + int(np.flatnonzero(ids.is_null().to_numpy())[0])
        raise TableInvalid(
            f"{ids.null_count} patents have no application number", where=row_name(where, k), mend="drop such rows"
        )
    kind, is_publication = _kinds(table, where, first_row)
    has_order = "applicant_no" in table.column_names
    order = _whole(table, "applicant_no", where, first_row, missing=2**31) if has_order else np.zeros(len(kind))
    columns = {
        "year": _whole(table, year, where, first_row, missing=0).astype(np.int32),
        "kind": kind,
        "is_publication": is_publication,
        "is_digital": _flags(table, where, first_row),
        "order": order.astype(np.int64),
        "place": np.asarray(place, np.int32),
    }
    return pa.table({"application": ids, **columns})


def _no_rows() -> pa.Table:
    import pyarrow as pa

    kinds = {"application": pa.string(), "year": pa.int32(), "kind": pa.int8(), "is_publication": pa.bool_(),
             "is_digital": pa.bool_(), "order": pa.int64(), "place": pa.int32()}  # fmt: skip
    return pa.schema(list(kinds.items())).empty_table()


def _read_part(path: Path) -> pa.Table:
    import pyarrow as pa

    with pa.memory_map(str(path)) as source:
        return pa.ipc.open_file(source).read_all()


def _one_each(rows: pa.Table, multi: Multi) -> _Part:
    """One record per application of compact rows."""
    import pyarrow as pa

    ids = rows["application"].combine_chunks()
    encoded = (pa.concat_arrays(ids.chunks) if isinstance(ids, pa.ChunkedArray) else ids).dictionary_encode()
    app = np.asarray(encoded.indices.to_numpy(zero_copy_only=False), np.int64)
    column = {name: rows[name].to_numpy() for name in rows.column_names[1:]}
    order = np.lexsort((column["order"], column["is_publication"], app))  # stable: the order of the file decides last
    app, publication = app[order], column["is_publication"][order]
    first = np.r_[True, app[1:] != app[:-1]] if app.size else np.empty(0, bool)
    start = np.flatnonzero(first)
    # A row survives when it is of the application's best stage, which the first one has.
    kept = publication == publication[np.repeat(start, np.diff(np.r_[start, app.size]))]
    one = order[start]
    n_places, places = _place_sets(app[kept], column["place"][order][kept], first[kept], start.size, multi)
    return _Part(encoded.dictionary, column["year"][one], column["kind"][one], column["is_digital"][one], n_places,
                 places)  # fmt: skip


def _place_sets(
    app: Ints, place: NDArray[np.int32], first: NDArray[np.bool_], n: int, multi: Multi
) -> tuple[Ints, NDArray[np.int32]]:
    """How many distinct places each application has, and which: the first one's, or all."""
    if multi == "first":
        return np.ones(n, np.int64), place[first].astype(np.int32)
    pairs = np.unique(np.stack([app, place.astype(np.int64)], axis=1), axis=0)
    return np.bincount(pairs[:, 0], minlength=n), pairs[:, 1].astype(np.int32)


def _need(table: pa.Table, columns: tuple[str, ...], where: object) -> None:
    absent = [name for name in columns if name not in table.column_names]
    if absent:
        raise TableInvalid(
            f"the patents have no column {', '.join(absent)} among {', '.join(table.column_names)}",
            where=where,
            mend="say what the file calls them: [flows.citations.columns]",
        )


def _kinds(table: pa.Table, where: object, first_row: int) -> tuple[NDArray[np.int8], NDArray[np.bool_]]:
    """Kind of each row, and whether it is a publication rather than a grant."""
    texts, codes = _distinct(table, "type")
    known = [KINDS.get(t, -1) for t in texts]
    if -1 in known:
        wrong = known.index(-1)
        k = first_row + int(np.flatnonzero(codes == wrong)[0])
        raise TableInvalid(
            f"{texts[wrong]!r} is no type of patent",
            where=row_name(where, k),
            mend="write invention, utility or design (发明, 实用新型, 外观设计; 1, 2, 3)",
        )
    kind = np.array([*known, OTHER], np.int8)[codes]
    early = np.array([t in PUBLICATIONS and not t.isdigit() for t in texts] + [False])[codes]
    if "stage" in table.column_names:
        stages, at = _distinct(table, "stage")
        early = early | np.array([t in PUBLICATIONS for t in stages] + [False])[at]
    return kind, early


def _flags(table: pa.Table, where: object, first_row: int) -> NDArray[np.bool_]:
    import pyarrow as pa

    column = table["is_digital"]
    if pa.types.is_boolean(column.type):
        return np.asarray(column.to_pandas().fillna(False).to_numpy(bool))
    texts, codes = _distinct(table, "is_digital")
    said = {"1": True, "true": True, "yes": True, "是": True, "1.0": True,
            "0": False, "false": False, "no": False, "否": False, "0.0": False, "": False}  # fmt: skip
    wrong = [t for t in texts if t not in said]
    if wrong:
        k = first_row + int(np.flatnonzero(codes == texts.index(wrong[0]))[0])
        raise TableInvalid(
            f"is_digital is {wrong[0]!r}", where=row_name(where, k), mend="write 1 for a digital technology, else 0"
        )
    return np.array([*(said[t] for t in texts), False])[codes]


def _distinct(table: pa.Table, column: str) -> tuple[list[str], Ints]:
    """Distinct texts in lower case, and each row's; an empty cell has the position after the last."""
    import pyarrow as pa
    import pyarrow.compute as pc

    encoded = pc.dictionary_encode(table[column].cast(pa.string()))
    if isinstance(encoded, pa.ChunkedArray):
        encoded = pa.concat_arrays(encoded.unify_dictionaries().chunks) if encoded.num_chunks else None
    if encoded is None:
        return [], np.empty(0, np.int64)
    texts = [str(t).strip().lower() for t in encoded.dictionary.to_pylist()]
    codes = pc.fill_null(encoded.indices, len(texts)).to_numpy(zero_copy_only=False)
    return texts, np.asarray(codes, np.int64)


def _whole(table: pa.Table, column: str, where: object, first_row: int, *, missing: int) -> Ints:
    """Whole numbers of a column; a date such as 2016-05-03 or 20160503 gives its year."""
    import pyarrow as pa

    if pa.types.is_integer(table[column].type):
        return np.asarray(table[column].fill_null(missing).to_numpy(), np.int64)
    texts, codes = _distinct(table, column)
    values = []
    for t, text in enumerate(texts):
        digits = text[:4] if len(text) >= 8 and text[:4].isdigit() else text.removesuffix(".0")
        if text in ("", "nan"):
            values.append(missing)
        elif digits.isdigit():
            values.append(int(digits))
        else:
            k = first_row + int(np.flatnonzero(codes == t)[0])
            raise TableInvalid(
                f"{column} is {text!r}, no year", where=row_name(where, k), mend="write 2016, or 2016-05-03"
            )
    return np.array([*values, missing], np.int64)[codes]


# --- places ----------------------------------------------------------------------------------------------------------


def places_from_codes(
    table: pa.Table,
    column: str,
    roster: tuple[str, ...],
    *,
    recode: Mapping[str, str] | None = None,
    parent: Callable[[str], str | None] | None = None,
) -> NDArray[np.int32]:
    """(n_rows,) place of each row by its administrative code.

    Parameters
    ----------
    recode : code in the file -> code of the roster, for codes of another vintage; asked first.
    parent : unit of the roster's level that a code below it belongs to, such as `gis.boundaries.city_of`.
    """
    texts, codes = _distinct(table, column)
    at = {code: k for k, code in enumerate(roster)}
    known = recode or {}

    def place(text: str) -> int:
        code = text.removesuffix(".0")
        code = code[:6] if len(code) in (9, 12) else code.ljust(6, "0") if len(code) == 4 else code
        if len(code) != 6 or not code.isdigit():
            return NOWHERE
        now = known.get(code, code)
        if len(now) != 6:  # the unit ended: its code, given to another since, would mislead
            return OUTSIDE
        above = parent(now) if parent else None
        for one in (now, above, known.get(above or "")):
            if one in at:
                return at[one]
        return OUTSIDE

    return np.array([*map(place, texts), NOWHERE], np.int32)[codes]


def places_from_postcodes(table: pa.Table, column: str, areas: Mapping[str, int]) -> NDArray[np.int32]:
    """(n_rows,) place of each row by its postcode; ``areas``: postcode, or its first digits -> position or OUTSIDE."""
    texts, codes = _distinct(table, column)

    def place(text: str) -> int:
        digits = text.removesuffix(".0")
        if not digits.isdigit() or len(digits) > 6:
            return NOWHERE
        whole = digits.zfill(6)  # a spreadsheet takes the zeros from 010020
        return next((areas[whole[:k]] for k in POSTCODE_DIGITS if whole[:k] in areas), NOWHERE)

    return np.array([*map(place, texts), NOWHERE], np.int32)[codes]


def places_from_points(lon: Floats, lat: Floats, zones: Zones, roster: tuple[str, ...]) -> NDArray[np.int32]:
    """(n,) place of points by the polygon they lie in; a point on a shared border goes to the lower code.

    Parameters
    ----------
    lon, lat : WGS 84 [degree]; NaN where unknown.
    zones : polygons whose codes are looked up in ``roster``; a point in another zone is OUTSIDE, in none NOWHERE.
    """
    import shapely

    from gis.crs import crs_from, transform_geometry

    order = np.argsort(zones.codes)
    at = {code: k for k, code in enumerate(roster)}
    places = np.array([at.get(zones.codes[k], OUTSIDE) for k in order], np.int32)
    polygons = np.asarray(transform_geometry(zones.geometry, zones.crs, crs_from("EPSG:4326")), dtype=object)[order]
    out = np.full(lon.size, NOWHERE, np.int32)
    known = np.flatnonzero(np.isfinite(lon) & np.isfinite(lat))
    # Applicants share addresses: each point is asked for once.
    points, back = np.unique(np.stack([lon[known], lat[known]], axis=1), axis=0, return_inverse=True)
    found = np.full(len(points), len(places))
    for start in range(0, len(points), POINTS_AT_ONCE):
        some = points[start : start + POINTS_AT_ONCE]
        # The tree holds the points: shapely then prepares each polygon, and thousands of vertices are met once.
        zone, point = shapely.STRtree(shapely.points(some)).query(polygons, predicate="intersects")
        np.minimum.at(found, start + point, zone)
    out[known] = np.append(places, NOWHERE)[found[back.reshape(-1)]]
    return out


def check_multi(multi: str) -> None:
    """Refuse a rule for several applicants that is not offered."""
    if multi not in ("first", "full", "fractional"):
        raise OptionInvalid(f"no rule {multi!r}", where="multi", mend="one of first, full, fractional")
