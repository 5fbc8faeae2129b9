"""Which column of a layer holds the code, the name and the parent of a unit.

In: a table, the columns the config names, the level. Out: column names. What the config leaves open is looked for by
the names that layers of China usually have, and checked by content.
"""

from __future__ import annotations

import difflib
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from gis.boundaries.codes import code_text, is_code, normalise_code
from gis.errors import BoundaryInvalid

if TYPE_CHECKING:
    import pandas as pd

    from gis.workspace import Columns

LayerLevel = Literal["city", "district"]
"""What the rows of a layer are."""

# Names in lower case, in tiers: the most telling first. Collected from the layers named in boundaries/README.md.
_ANY_CODE = (
    "code", "adcode", "ad_code", "gb", "区划码", "区划代码", "行政区划代码", "行政代码", "代码", "pac", "adcode99",
)  # fmt: skip
_ANY_NAME = ("name", "地名", "名称", "行政区名", "xzqmc")
_CITY_CODE = ("city_code", "city_adcode", "citycode", "city_id", "市代码", "地级码", "市级码")

CODE_NAMES: dict[LayerLevel, tuple[tuple[str, ...], ...]] = {
    "city": (_CITY_CODE, _ANY_CODE, ("id",)),
    "district": (
        ("district_code", "district_adcode", "county_code", "county_adcode", "县级码", "县代码", "区县代码", "区县码"),
        _ANY_CODE,
        ("id",),
    ),
}
"""Usual names of the code column."""

NAME_NAMES: dict[LayerLevel, tuple[tuple[str, ...], ...]] = {
    "city": (("city_name", "cityname", "市名", "地级", "市", "city"), _ANY_NAME),
    "district": (("district_name", "county_name", "县名", "区县名", "县级", "县", "district", "county"), _ANY_NAME),
}
"""Usual names of the name column."""

PARENT_NAMES = ("parent", "parent_code", *_CITY_CODE)
"""Usual names of a district's city code."""


@dataclass(frozen=True, slots=True)
class FoundColumns:
    """The columns of a layer that mean something to us."""

    code: str
    """Administrative code."""
    name: str | None
    """Name, or None where the layer has none."""
    parent: str | None
    """City code of a district, or None: then it follows from the code."""
    city_name: str | None
    """In a layer of districts, the name of the city each belongs to, or None."""
    notes: tuple[str, ...]
    """Choices that a reader should know of."""


def find_columns(table: pd.DataFrame, wanted: Columns, level: LayerLevel, *, key: str) -> FoundColumns:
    """Find code, name and parent columns: as the config says, else by the usual names.

    Raises
    ------
    BoundaryInvalid
        A configured column does not exist; no column looks like the code, or several do and disagree. The message
        lists the columns there are and the config key to set.
    """
    notes: list[str] = []
    for role in ("code", "name", "parent"):
        _check_exists(table, getattr(wanted, role), role, key)
    code = wanted.code or _find_code(table, level, key)
    name = wanted.name or _find_name(table, level)
    if name is None:
        notes.append(f'no column looks like a name; set {key}.columns.name = "..." to have one')
    parent = wanted.parent
    if parent is None and level == "district":
        parent = next((c for c in _named(table, PARENT_NAMES) if c != code and _code_share(table[c]) > 0.5), None)
    used = f"code from column {code}" + (f", name from {name}" if name else "")
    notes.append(used + (f", city from {parent}" if parent else ""))
    city_name = None
    if level == "district":
        city_name = next((c for c in _named(table, NAME_NAMES["city"][0]) if c != name and _is_text(table[c])), None)
    return FoundColumns(code, name, parent, city_name, tuple(notes))


def _check_exists(table: pd.DataFrame, column: str | None, role: str, key: str) -> None:
    if column is None or column in table.columns:
        return
    near = difflib.get_close_matches(column, [str(c) for c in table.columns], n=1, cutoff=0.5)
    hint = f'{key}.columns.{role} = "{near[0]}"' if near else "name one of the columns listed above"
    raise BoundaryInvalid(
        f"there is no column {column!r}; columns: {_listed(table)}", where=f"{key}.columns.{role}", mend=hint
    )


def _find_code(table: pd.DataFrame, level: LayerLevel, key: str) -> str:
    for tier in CODE_NAMES[level]:
        candidates = [c for c in _named(table, tier) if _code_share(table[c]) >= 0.5]
        spellings = {tuple(_spelled(table[c])) for c in candidates}
        if len(spellings) > 1:
            raise BoundaryInvalid(
                f"columns {' and '.join(candidates)} both look like the code and disagree; columns: {_listed(table)}",
                where=key,
                mend=f'say which: {key}.columns.code = "{candidates[0]}"',
            )
        if candidates:
            return candidates[0]
    named = [c for tier in CODE_NAMES[level] for c in _named(table, tier)]
    alike = [str(c) for c in table.columns if _code_share(table[c]) > 0.9] or named
    raise BoundaryInvalid(
        f"no column looks like an administrative code; columns: {_listed(table)}",
        where=key,
        mend=f'name it: {key}.columns.code = "{alike[0] if alike else "..."}"',
    )


def _find_name(table: pd.DataFrame, level: LayerLevel) -> str | None:
    for tier in NAME_NAMES[level]:
        candidates = [c for c in _named(table, tier) if _is_text(table[c])]
        if candidates:
            # Some layers carry a name in Chinese beside one in pinyin: names stay in the source's own script.
            return next((c for c in candidates if _is_han(table[c])), candidates[0])
    return None


def _named(table: pd.DataFrame, names: tuple[str, ...]) -> list[str]:
    """Columns whose name is one of ``names``, whatever their case, in the order of ``names``."""
    lower: dict[str, list[str]] = {}
    for column in table.columns:
        lower.setdefault(unicodedata.normalize("NFKC", str(column)).strip().lower(), []).append(column)
    return [column for name in names for column in lower.get(name, [])]


def _code_share(values: pd.Series) -> float:
    """Share of the cells with something in them that are administrative codes."""
    texts = [text for text in map(code_text, values) if text]
    return sum(map(is_code, texts)) / len(texts) if texts else 0.0


def _spelled(values: pd.Series) -> list[str]:
    return [normalise_code(text) if is_code(text) else text for text in map(code_text, values)]


def _is_text(values: pd.Series) -> bool:
    """Whether a column holds something other than codes and numbers."""
    texts = [text for text in map(code_text, values) if text]
    return any(any(char.isalpha() for char in text) for text in texts) and _code_share(values) == 0


def _is_han(values: pd.Series) -> bool:
    texts = [str(v) for v in values.dropna()]
    return sum(any("\u4e00" <= char <= "\u9fff" for char in text) for text in texts) > len(texts) / 2


def _listed(table: pd.DataFrame) -> str:
    return ", ".join(map(str, table.columns)) or "none"
