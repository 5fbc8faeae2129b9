"""Patents as a compact table: one record per application number, with its year, kind and cities.

In: rows of a patent file (application number, years, type, place, is_digital). Out: ``Patents``: arrays by application,
and the sets of cities each lies in (METHOD 4.2).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

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


@dataclass(frozen=True, slots=True)
class Patents:
    """One record per application number."""

    ids: pa.Array = field(repr=False)
    """(n,) application numbers, text, distinct."""
    codes: tuple[str, ...]
    """Roster: codes of the units, rising."""
    year: Ints = field(repr=False)
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
        return len(self.ids)


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
    import pyarrow as pa
    import pyarrow.compute as pc

    _need(table, ("application", year, "type", "is_digital"), where)
    ids = table["application"].cast(pa.string())
    if ids.null_count:
        k = int(np.flatnonzero(ids.is_null().to_numpy())[0])
        raise TableInvalid(
            f"{ids.null_count} patents have no application number", where=row_name(where, k), mend="drop such rows"
        )
    encoded = pc.dictionary_encode(ids)
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.unify_dictionaries().combine_chunks()
        encoded = encoded.chunk(0) if isinstance(encoded, pa.ChunkedArray) else encoded
    app = np.asarray(encoded.indices.to_numpy(zero_copy_only=False), np.int64)
    kind, is_publication = _kinds(table, where)
    order_in = _whole(table, "applicant_no", where, missing=2**31) if "applicant_no" in table.column_names else None
    keys = (is_publication, app) if order_in is None else (order_in, is_publication, app)
    order = np.lexsort(keys)  # the sort is stable: the order of the file decides last
    app, publication = app[order], is_publication[order]
    first = np.r_[True, app[1:] != app[:-1]] if app.size else np.empty(0, bool)
    start = np.flatnonzero(first)
    # A row survives when it is of the application's best stage, which the first one has.
    kept = publication == publication[np.repeat(start, np.diff(np.r_[start, app.size]))]
    one = order[start]
    n = len(encoded.dictionary)
    ptr, places = _place_sets(app[kept], np.asarray(place)[order][kept], first[kept], n, multi)
    return Patents(
        encoded.dictionary,
        codes,
        _whole(table, year, where, missing=0)[one],
        kind[one],
        _flags(table, where)[one],
        ptr,
        places,
        table.num_rows,
    )


def _place_sets(
    app: Ints, place: NDArray[np.int32], first: NDArray[np.bool_], n: int, multi: Multi
) -> tuple[Ints, NDArray[np.int32]]:
    """Distinct places of each application: the first one's, or all."""
    if multi == "first":
        return np.arange(n + 1), place[first].astype(np.int32)
    pairs = np.unique(np.stack([app, place.astype(np.int64)], axis=1), axis=0)
    return np.searchsorted(pairs[:, 0], np.arange(n + 1)), pairs[:, 1].astype(np.int32)


def _need(table: pa.Table, columns: tuple[str, ...], where: object) -> None:
    absent = [name for name in columns if name not in table.column_names]
    if absent:
        raise TableInvalid(
            f"the patents have no column {', '.join(absent)} among {', '.join(table.column_names)}",
            where=where,
            mend="say what the file calls them: [flows.citations.columns]",
        )


def _kinds(table: pa.Table, where: object) -> tuple[NDArray[np.int8], NDArray[np.bool_]]:
    """Kind of each row, and whether it is a publication rather than a grant."""
    texts, codes = _distinct(table, "type")
    known = [KINDS.get(t, -1) for t in texts]
    if -1 in known:
        wrong = known.index(-1)
        k = int(np.flatnonzero(codes == wrong)[0])
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


def _flags(table: pa.Table, where: object) -> NDArray[np.bool_]:
    import pyarrow as pa

    column = table["is_digital"]
    if pa.types.is_boolean(column.type):
        return np.asarray(column.to_pandas().fillna(False).to_numpy(bool))
    texts, codes = _distinct(table, "is_digital")
    said = {"1": True, "true": True, "yes": True, "是": True, "1.0": True,
            "0": False, "false": False, "no": False, "否": False, "0.0": False, "": False}  # fmt: skip
    wrong = [t for t in texts if t not in said]
    if wrong:
        k = int(np.flatnonzero(codes == texts.index(wrong[0]))[0])
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


def _whole(table: pa.Table, column: str, where: object, *, missing: int) -> Ints:
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
            k = int(np.flatnonzero(codes == t)[0])
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
