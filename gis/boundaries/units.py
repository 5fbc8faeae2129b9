"""From rows of a file to units: which rows are wanted, what codes they carry, which rows are one unit.

In: a ``RawLayer`` and the columns that mean something. Out: ``Rows`` (one per wanted row, then one per unit), and notes
on everything a reader of the results should know.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gis.boundaries.codes import (
    MUNICIPALITIES,
    PROVINCES,
    UNDIVIDED,
    city_of,
    code_text,
    is_code,
    is_municipality,
    level_of,
    normalise_code,
)
from gis.boundaries.geometry import MAX_OVERLAP, geodesic_area_km2
from gis.errors import BoundaryInvalid, CodeInvalid

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pandas as pd
    from numpy.typing import NDArray
    from pyproj import CRS

    from gis.boundaries.columns import FoundColumns, LayerLevel
    from gis.boundaries.formats import RawLayer
    from gis.workspace import BoundarySource


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of a layer, reduced to what is used of them."""

    numbers: tuple[int, ...]
    """Row of the file each comes from, counted from 1; of a united unit, the first."""
    codes: tuple[str, ...]
    """Six-character codes."""
    names: tuple[str, ...]
    """Names, ``""`` where a cell is empty; no names at all where the layer has none."""
    parents: tuple[str, ...]
    """For districts, the city's code or ``""``; none at all for cities."""
    geometry: NDArray[Any]
    """(n,) shapely geometries."""
    city_names: tuple[str, ...] = ()
    """For districts, the name of the city each belongs to, where the layer has it."""


def pick_rows(
    raw: RawLayer, columns: FoundColumns, source: BoundarySource, level: LayerLevel, *, path: Path, key: str
) -> tuple[Rows, tuple[str, ...]]:
    """Take the wanted rows and spell their codes.

    Raises
    ------
    CodeInvalid
        A code is missing or malformed; ``codes`` or ``exclude`` name one the layer does not have.
    BoundaryInvalid
        The filters leave nothing, or most rows of a layer of cities are districts.
    """
    texts = [code_text(value) for value in raw.table[columns.code]]
    at = _wanted(texts, source, key)
    codes = _administrative(texts, at, path, columns.code, key)
    parents: tuple[str, ...] = ()
    notes = tuple(_oddities(codes, level, key))
    if level == "district":
        parents, said = _parents(codes, raw.table, columns.parent, at)
        notes += said
    names = _names(raw.table, columns.name, at)
    city_names = _names(raw.table, columns.city_name, at)
    return Rows(tuple(int(k) + 1 for k in at), codes, names, parents, raw.geometry[at], city_names), notes


def _wanted(texts: Sequence[str], source: BoundarySource, key: str) -> NDArray[np.intp]:
    """Rows that ``codes`` and ``exclude`` leave; both may spell a code as the file does, or in six digits."""
    spelled = [_spell(text) for text in texts]
    keep = np.ones(len(texts), dtype=bool)
    for name, listed in (("codes", source.codes), ("exclude", source.exclude)):
        if listed is None:
            continue
        named = {_spell(text) for text in listed}
        unknown = sorted(named - set(spelled))
        if unknown:
            near = difflib.get_close_matches(unknown[0], [*dict.fromkeys(spelled)], n=3, cutoff=0.6)
            raise CodeInvalid(
                f"the layer has no unit {some(unknown)}",
                where=f"{key}.{name}",
                mend=f"nearest codes there are: {', '.join(near)}" if near else "take the code out of the list",
            )
        hit = np.array([code in named for code in spelled])
        keep &= hit if name == "codes" else ~hit
    if not keep.any():
        raise BoundaryInvalid("codes and exclude leave no unit", where=key, mend=f"correct {key}.codes and .exclude")
    return np.flatnonzero(keep)


def _spell(text: str) -> str:
    return normalise_code(text) if is_code(text) else text.strip()


def _administrative(texts: Sequence[str], at: NDArray[np.intp], path: Path, column: str, key: str) -> tuple[str, ...]:
    bad = [int(k) for k in at if not is_code(texts[k])]
    if bad:
        listed = some([f"{texts[k] or 'nothing'} (row {k + 1})" for k in bad])
        names = ", ".join(f'"{text}"' for text in sorted({texts[k] for k in bad})[:100])
        raise CodeInvalid(
            f"{len(bad)} of {len(at)} rows have no administrative code in column {column}: {listed}",
            where=path,
            mend=f"{key}.exclude = [{names}] leaves them out; or name another column: {key}.columns.code",
        )
    return tuple(normalise_code(texts[k]) for k in at)


def _oddities(codes: Sequence[str], level: LayerLevel, key: str) -> Iterator[str]:
    """Notes on units that are not what the level says; refusal where most of a layer of cities are districts."""
    plain = [code for code in dict.fromkeys(codes) if not is_municipality(code) and code[:2] not in UNDIVIDED]
    found = {kind: [code for code in plain if level_of(code) == kind] for kind in ("district", "direct", "special")}
    if level == "city" and len(found["district"]) > len(codes) / 2:
        raise BoundaryInvalid(
            f"{len(found['district'])} of {len(codes)} units of the city layer have codes of districts: "
            f"{some(found['district'])}",
            where=key,
            mend="describe this layer as [boundaries.district]; cities are then dissolved from it",
        )
    if level == "city" and found["district"]:
        yield f"{len(found['district'])} units have codes of districts: {some(found['district'])}"
    if found["direct"]:
        yield f"{len(found['direct'])} units are under their province and belong to no city: {some(found['direct'])}"
    if found["special"]:
        yield f"{len(found['special'])} codes are outside the ranges of GB/T 2260: {some(found['special'])}"
    whole = [code for code in plain if level_of(code) == "province"]
    if whole:
        yield f"{len(whole)} units are whole provinces: {some(whole)}"
    invented = [code for code in plain if code[:2] not in PROVINCES]
    if invented:
        yield f"{len(invented)} codes are of provinces that GB/T 2260 does not have: {some(invented)}"


def _parents(
    codes: Sequence[str], table: pd.DataFrame, column: str | None, at: NDArray[np.intp]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """City of every district: by the column where it holds a code, else by the district's own code."""
    by_code = tuple(city_of(code) or "" for code in codes)
    if column is None:
        return by_code, ()
    stated = [code_text(value) for value in table[column].to_numpy()[at]]
    parents = tuple(
        (city_of(normalise_code(text)) or "") if is_code(text) else fallback
        for text, fallback in zip(stated, by_code, strict=True)
    )
    unlike = [
        f"{code} ({parent or 'none'}, by its code {other or 'none'})"
        for code, parent, other in zip(codes, parents, by_code, strict=True)
        if parent != other
    ]
    said = f"{len(unlike)} districts are of another city than their code says: {some(unlike)}"
    return parents, (said,) if unlike else ()


def _names(table: pd.DataFrame, column: str | None, at: NDArray[np.intp]) -> tuple[str, ...]:
    if column is None:
        return ()
    cells = table[column]
    return tuple(
        "" if missing else str(cell).strip()
        for cell, missing in zip(cells.to_numpy()[at], cells.isna().to_numpy()[at], strict=True)
    )


# --- one unit, several rows ------------------------------------------------------------------------------------------


def unite_rows(rows: Rows, level: LayerLevel, crs: CRS, *, path: Path, key: str) -> tuple[Rows, tuple[str, ...]]:
    """Make one row of each unit: parts of one unit are united, two units under one code are refused.

    In a layer of cities a municipality is one unit, whether it comes as 110000, as 110100 or as its districts.

    Raises
    ------
    CodeInvalid
        Rows of one code have different names, or overlap.
    """
    units = [f"{code[:2]}0000" if level == "city" and is_municipality(code) else code for code in rows.codes]
    groups: dict[str, list[int]] = {}
    for k, unit in enumerate(units):
        groups.setdefault(unit, []).append(k)
    shapes = [_shape(rows, members, unit, crs, path, key) for unit, members in groups.items()]
    names = tuple(_name(rows, members, unit, path) for unit, members in groups.items()) if rows.names else ()
    firsts = [members[0] for members in groups.values()]
    parents = tuple(rows.parents[k] for k in firsts) if rows.parents else ()
    numbers = tuple(rows.numbers[k] for k in firsts)
    array = np.array([*shapes, None], dtype=object)[:-1]  # the None keeps numpy from looking inside
    return Rows(numbers, tuple(groups), names, parents, array), tuple(_unions(rows, groups))


def _unions(rows: Rows, groups: dict[str, list[int]]) -> Iterator[str]:
    for unit, members in groups.items():
        other = [rows.codes[k] for k in members if rows.codes[k] != unit]
        if other:
            yield f"{some(other)} became {unit}: a municipality is one city"
    several = [f"{unit} ({len(members)} rows)" for unit, members in groups.items() if len(members) > 1]
    if several:
        yield f"{len(several)} units come in several rows and were united: {some(several)}"


def _name(rows: Rows, members: list[int], unit: str, path: Path) -> str:
    said = list(dict.fromkeys(rows.names[k] for k in members if rows.names[k]))
    recoded = any(rows.codes[k] != unit for k in members)
    if recoded and len(members) > 1:
        return MUNICIPALITIES[unit]  # the rows have the names of its districts
    if len(said) > 1:
        at = some([f"{rows.names[k]} (row {rows.numbers[k]})" for k in members])
        raise CodeInvalid(
            f"code {unit} stands for units of different names: {at}",
            where=path,
            mend="correct the code of one of them, or name another column of codes",
        )
    return said[0] if said else ""


def _shape(rows: Rows, members: list[int], unit: str, crs: CRS, path: Path, key: str) -> Any:
    """The polygon of a unit; its rows may touch, not overlap."""
    import shapely

    parts = rows.geometry[members]
    if len(parts) == 1:
        return parts[0]
    union = shapely.union_all(parts)
    whole, summed = float(geodesic_area_km2([union], crs)[0]), float(geodesic_area_km2(parts, crs).sum())
    if summed - whole > MAX_OVERLAP * whole:
        raise CodeInvalid(
            f"the {len(members)} rows of unit {unit} overlap: {summed:.1f} km2 together on {whole:.1f} km2 of ground, "
            f"rows {some([rows.numbers[k] for k in members])}",
            where=path,
            mend=f"keep one row for each unit, or leave the unit out: {key}.exclude",
        )
    return union


def some(values: Sequence[Any], n: int = 5) -> str:
    """Name the first few of many."""
    return ", ".join(map(str, values[:n])) + (f" and {len(values) - n} more" if len(values) > n else "")
