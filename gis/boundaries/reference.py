"""The reference tables: which unit stood in which year under which code, what became of it, where it lies.

In: the CSV files of ``boundaries/`` that travel with the package. Out: tuples of frozen rows, read once. The tables are
facts with named sources (docs/boundaries-doctor.md#reference-tables), made by ``tests/golden/make_boundary_tables.py``.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, TypeVar

from gis.errors import BoundaryUnreadable, OptionInvalid

Level = Literal["city", "district"]
ChangeKind = Literal["rename", "recode", "split", "merge", "transfer", "new", "abolished"]
Region = Literal["east", "central", "west"]

FIRST_YEAR, LAST_YEAR = 2000, 2024
"""Year-ends that the tables cover."""

_PACKAGE = Path(__file__).resolve().parent.parent
_FOLDERS = (_PACKAGE / "_evidence" / "boundaries", _PACKAGE.parent / "boundaries")
"""Where the tables lie: in an installed wheel, then in a checkout (pyproject.toml, force-included sources)."""


@dataclass(frozen=True, slots=True)
class Unit:
    """One code under one name, and the years it stood."""

    code: str
    """Six digits."""
    name: str
    """Name in those years."""
    from_year: int
    """First year-end at which it stood; the lists begin in 1981."""
    to_year: int | None
    """Last year-end at which it stood; None where it stood at the end of 2024."""
    kind: str = "县级"
    """地级市, 地区, 自治州, 盟, 直辖市, 直辖县级, 省 or 特别行政区; 县级 for units below a city."""

    def stood(self, year: int) -> bool:
        """Whether the unit stood at the end of ``year``."""
        return self.from_year <= year and (self.to_year is None or year <= self.to_year)


@dataclass(frozen=True, slots=True)
class Change:
    """Ground that passed from one unit of the city level to another, or a unit that changed its name."""

    year: int
    """First year-end list that shows it."""
    date: str
    """Day of the decree as ``YYYY-MM-DD``; empty where none is on record."""
    kind: ChangeKind
    """``recode``: all of one became all of another. ``merge``: all of one became part of another. ``split``: one of
    several heirs of a unit that ended. ``new``: a unit cut out of one that remains. ``transfer``: between two that
    remain. ``rename``: the name alone. ``abolished``: ended without an heir (none so far)."""
    old_code: str
    """Unit that gave; empty where the list does not say which."""
    old_name: str
    """Its name the year before."""
    new_code: str
    """Unit that received."""
    new_name: str
    """Its name since."""
    part: str
    """``whole``, or the counties as ``old code name [(part)] > new code name``, separated by semicolons."""
    note: str
    """What a reader should know."""
    source: str
    """Number of the decree, or the list."""


@dataclass(frozen=True, slots=True)
class CountyChange:
    """Ground that passed from one county-level code to another."""

    year: int
    """First year-end list that shows it."""
    old_code: str
    """Unit that gave."""
    old_name: str
    """Its name."""
    new_code: str
    """Unit that received."""
    new_name: str
    """Its name."""
    is_part: bool
    """Whether only a part of the old unit went there."""
    source: str
    """Number of the decree, or the list."""


@dataclass(frozen=True, slots=True)
class RosterCity:
    """One of the 296 cities of the panel."""

    city_code: str
    """Six digits, as of the end of 2019."""
    city_name: str
    """Its name then."""
    province_code: str
    """Its province; of a municipality, itself."""
    province_name: str
    """Name of the province."""
    region: Region
    """East by the definition of 11 provinces; central and west are pooled in the regressions."""


@dataclass(frozen=True, slots=True)
class Province:
    """A unit of the first level."""

    code: str
    """Six digits, ``PP0000``."""
    name: str
    """Full name."""
    short_name: str
    """Without 省, 市, 自治区, 特别行政区."""
    region: str
    """east, central or west; empty for Hong Kong, Macau and Taiwan."""


@dataclass(frozen=True, slots=True)
class ReferencePoint:
    """Where a unit of about 2021 lies."""

    level: Literal["province", "city", "district"]
    """Its level."""
    code: str
    """Its code then."""
    lon: float
    """Longitude of the centroid of its polygon, WGS 84, rounded to 1e-4 [degree]."""
    lat: float
    """Latitude likewise [degree]."""
    area_km2: float
    """Its area on the ellipsoid, to five digits [km2]."""


Row = TypeVar("Row")


def reference_path(name: str) -> Path:
    """Find a reference table by its file name without ending, such as ``"changes"``.

    Raises
    ------
    BoundaryUnreadable
        The table is in neither of the two places where the package keeps it.
    """
    for folder in _FOLDERS:
        if (path := folder / f"{name}.csv").is_file():
            return path
    raise BoundaryUnreadable(
        f"the reference table {name}.csv is not there",
        where=" or ".join(str(folder) for folder in _FOLDERS),
        mend="install the package again: pip install --force-reinstall lightpanel; a checkout keeps it in boundaries/",
    )


def prefecture_units() -> tuple[Unit, ...]:
    """Every unit of the city level that stood at some year-end from 2000 to 2024: cities, prefectures, leagues,
    autonomous prefectures, municipalities, directly administered units, Hong Kong, Macau and Taiwan.
    """  # noqa: D205
    return _rows("prefectures", Unit)


def county_units() -> tuple[Unit, ...]:
    """Every unit of the county level of those years, directly administered ones included."""
    return _rows("counties", Unit)


def changes() -> tuple[Change, ...]:
    """What happened between units of the city level, 2000 to 2024, by year."""
    return _rows("changes", Change)


def county_changes() -> tuple[CountyChange, ...]:
    """The same between units of the county level, within cities and across them."""
    return _rows("county_changes", CountyChange)


def provinces() -> tuple[Province, ...]:
    """The 34 units of the first level."""
    return _rows("provinces", Province)


def roster_296() -> tuple[RosterCity, ...]:
    """The 296 cities: 293 prefecture-level cities and 4 municipalities of 2019 without Sansha, by code."""
    return _rows("roster_296", RosterCity)


def reference_points(level: Literal["province", "city", "district"] | None = None) -> tuple[ReferencePoint, ...]:
    """Centroids and areas of the units of one level, or of all."""
    rows = _rows("reference_points", ReferencePoint)
    return rows if level is None else tuple(row for row in rows if row.level == level)


def province_adjacency(*, across_sea: bool = True) -> tuple[tuple[str, str], ...]:
    """Pairs of mainland provinces that share a border, each once, the lower code first.

    Parameters
    ----------
    across_sea : whether Guangdong and Hainan count as neighbours: 69 pairs with them, 68 without (METHOD 10).
    """
    pairs = _rows("province_adjacency", _Neighbours)
    return tuple((p.code_a, p.code_b) for p in pairs if across_sea or p.across == "land")


@dataclass(frozen=True, slots=True)
class _Neighbours:
    code_a: str
    name_a: str
    code_b: str
    name_b: str
    across: str


@lru_cache(maxsize=64)
def names_of_year(level: Level, year: int) -> dict[str, str]:
    """Names by code of the units that stood at the end of a year.

    Parameters
    ----------
    level : ``"city"``: what a layer of cities holds, directly administered units included; ``"district"``: counties
    year : 2000 to 2024

    Raises
    ------
    OptionInvalid
        The tables do not cover the year.
    """
    if not FIRST_YEAR <= year <= LAST_YEAR:
        raise OptionInvalid(
            f"there is no list of units for {year}", mend=f"name a year-end from {FIRST_YEAR} to {LAST_YEAR}"
        )
    units = prefecture_units() if level == "city" else county_units()
    return {unit.code: unit.name for unit in units if unit.stood(year)}


def count_of_year(year: int, kinds: tuple[str, ...] = ("地级市", "直辖市")) -> int:
    """How many units of these kinds stood at the end of a year; by default cities and the four municipalities."""
    return sum(unit.stood(year) and unit.kind in kinds for unit in prefecture_units())


# --- reading ---------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=16)
def _rows(name: str, kind: type[Row]) -> tuple[Row, ...]:
    """Read a table into rows of ``kind``; its columns must be the fields, in their order (defaults may be absent)."""
    path = reference_path(name)
    with open(path, encoding="utf-8", newline="") as stream:
        reader = csv.reader(stream)
        header = next(reader, [])
        wanted = [field.name for field in fields(kind)]  # type: ignore[arg-type]
        if header != wanted[: len(header)] or len(header) < min(4, len(wanted)):
            raise BoundaryUnreadable(
                f"the reference table has columns {', '.join(header)}, not {', '.join(wanted)}",
                where=path,
                mend="restore the file: git checkout boundaries, or pip install --force-reinstall lightpanel",
            )
        types = [str(field.type) for field in fields(kind)][: len(header)]  # type: ignore[arg-type]
        return tuple(kind(*map(_cell, types, row)) for row in reader)


def _cell(kind: str, text: str) -> Any:
    if kind == "int | None":
        return int(text) if text else None
    if kind == "bool":
        return text == "1"
    return {"int": int, "float": float}.get(kind, str)(text)
