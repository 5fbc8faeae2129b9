"""Which year a layer's codes and names are of.

In: the codes and names of a layer, its level. Out: one ``YearScore`` per year-end from 2000 to 2024, best first, and
the units whose code or name no year had. The lists are those of `gis.boundaries.reference`.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from gis.boundaries.codes import UNDIVIDED, is_municipality, level_of
from gis.boundaries.reference import FIRST_YEAR, LAST_YEAR, Level, Unit, county_units, names_of_year, prefecture_units

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

MAX_DIFFERENCE = 0.25
"""A layer whose codes differ from every year's by more than this share of its units is of no year that we know."""
ISLANDS = ("三沙", "群岛", "岛礁", "西沙", "南沙")
"""Names of the units of the South China Sea: most layers leave them out, which says nothing about their year."""


@dataclass(frozen=True, slots=True)
class YearScore:
    """How far a layer's codes and names are from one year-end's."""

    year: int
    """The year-end."""
    n_differences: int
    """Codes that only one of the two has, in the provinces of the layer."""
    n_names: int
    """Codes that both have, under different names."""
    n_units: int
    """Codes of the layer that could be compared."""
    missing: tuple[str, ...]
    """Codes of the year that the layer lacks."""
    unknown: tuple[str, ...]
    """Codes of the layer that the year lacks."""
    renamed: tuple[str, ...]
    """Codes under different names."""


@dataclass(frozen=True, slots=True)
class NameFault:
    """A unit whose name is not the one its code has."""

    code: str
    """The unit."""
    name: str
    """Its name in the layer."""
    listed: str
    """The name or names its code has had, with their years."""
    years: tuple[int, int] | None
    """First and last year in which the code had the layer's name; None where it never did."""


def comparable_codes(codes: Iterable[str], level: Level) -> frozenset[str]:
    """Bring the codes of a layer to the form in which the year-end lists have them.

    In a layer of cities, whatever lies in a municipality counts as the municipality. In a layer of districts, the code
    of a city that has no districts (Dongguan) is left out, as are Hong Kong, Macau and Taiwan, which the lists do not
    divide, and the zones that only the statistical office numbers (last pair 71 to 79).
    """
    if level == "city":
        whole = {f"{c[:2]}0000" if is_municipality(c) or c[:2] in UNDIVIDED else c for c in codes}
        return frozenset(whole)
    undivided = _cities_without_districts()
    return frozenset(c for c in codes if c[:2] not in UNDIVIDED and c not in undivided and not is_statistical(c))


def is_statistical(code: str) -> bool:
    """Whether a code is of a development zone that the statistical office counts as a county (last pair 71 to 79).

    No list of administrative units has one; a census table does (docs/boundaries-doctor.md).
    """
    return "71" <= code[4:] <= "79" and level_of(code) == "district"


def year_scores(codes: Sequence[str], names: Sequence[str], level: Level) -> tuple[YearScore, ...]:
    """Score every year-end by the codes that only the layer or only the year has, then by names.

    Parameters
    ----------
    codes : six-character codes of the layer
    names : their names, or nothing; names without a Chinese character are not compared
    level : what the layer holds

    Returns
    -------
    Scores of all years, best first; years that are equal in both counts stand in order. No code gives no score.

    Notes
    -----
    Only the provinces of which the layer has units are compared; directly administered units only where the layer has
    some, islands of the South China Sea likewise.
    """
    present = comparable_codes(codes, level)
    if not present:
        return ()
    named = dict(zip(codes, names, strict=True)) if names else {}
    scores = [_score(year, present, named, level) for year in range(FIRST_YEAR, LAST_YEAR + 1)]
    return tuple(sorted(scores, key=lambda s: (s.n_differences, s.n_names)))


def best_years(scores: Sequence[YearScore]) -> tuple[int, ...]:
    """The years that no other beats; none where even the best differs by more than `MAX_DIFFERENCE` of the units."""
    if not scores or scores[0].n_differences > MAX_DIFFERENCE * scores[0].n_units:
        return ()
    best = scores[0]
    return tuple(sorted(s.year for s in scores if (s.n_differences, s.n_names) == (best.n_differences, best.n_names)))


def _score(year: int, present: frozenset[str], named: Mapping[str, str], level: Level) -> YearScore:
    listed = names_of_year(level, year)
    provinces = {code[:2] for code in present}
    has_direct = any(code[2:4] == "90" for code in present)
    wanted = {
        code
        for code, name in listed.items()
        if code[:2] in provinces
        and code in comparable_codes([code], level)
        and (has_direct or code[2:4] not in ("90", "00") or code.endswith("0000"))
        and (code in present or not _is_island(code, name))
    }
    missing, unknown = sorted(wanted - present), sorted(present - set(listed))
    renamed = sorted(c for c in wanted & present if c in named and not same_name(named[c], listed[c]))
    differences = len(missing) + len(unknown)
    return YearScore(year, differences, len(renamed), len(present), tuple(missing), tuple(unknown), tuple(renamed))


def _is_island(code: str, name: str) -> bool:
    return code[:2] == "46" and any(word in name for word in ISLANDS)


# --- names -----------------------------------------------------------------------------------------------------------


def same_name(given: str, listed: str) -> bool:
    """Whether a layer's name is the listed one, in full or cut (``恩施`` for ``恩施土家族苗族自治州``).

    Names without a Chinese character (pinyin, empty) cannot be compared and pass.
    """
    text = unicodedata.normalize("NFKC", given).replace(" ", "")
    if not any("\u4e00" <= char <= "\u9fff" for char in text):
        return True
    return text == listed or (len(text) >= 2 and listed.startswith(text))


def name_faults(codes: Sequence[str], names: Sequence[str], level: Level, year: int | None) -> tuple[NameFault, ...]:
    """Hold every name against the names its code has had.

    Parameters
    ----------
    codes, names : of the layer; codes that no year had are left to `unknown_codes`
    level : what the layer holds
    year : year-end the layer stands for; None: any year will do

    Returns
    -------
    Units whose code never had their name, and (with a year) those whose name is of other years.
    """
    known = _units_by_code(level)
    faults = []
    for code, name in zip(codes, names, strict=True):
        units = known.get(code, ())
        fitting = [unit for unit in units if same_name(name, unit.name)]
        if not units or (fitting and (year is None or any(unit.stood(year) for unit in fitting))):
            continue
        if fitting and year is not None and not any(unit.stood(year) for unit in units):
            continue  # the code itself is of other years: that is in the score, not a matter of names
        listed = "; ".join(f"{unit.name} {_span(unit)}" for unit in units)
        years = (fitting[0].from_year, fitting[0].to_year or LAST_YEAR) if fitting else None
        faults.append(NameFault(code, name, listed, years))
    return tuple(faults)


def unknown_codes(codes: Sequence[str], level: Level) -> tuple[str, ...]:
    """Codes that no unit of this level had at any year-end from 2000 to 2024."""
    known = _units_by_code(level)
    wanted = comparable_codes(codes, level)
    return tuple(dict.fromkeys(c for c in codes if c in wanted and c not in known))


@lru_cache(maxsize=2)
def _units_by_code(level: Level) -> dict[str, tuple[Unit, ...]]:
    found: dict[str, tuple[Unit, ...]] = {}
    for unit in prefecture_units() if level == "city" else county_units():
        found[unit.code] = (*found.get(unit.code, ()), unit)
    return found


@lru_cache(maxsize=1)
def _cities_without_districts() -> frozenset[str]:
    """Cities that have no district in some year: Dongguan, Zhongshan, Jiayuguan, Sanya, Sansha, Danzhou."""
    found: set[str] = set()
    for year in range(FIRST_YEAR, LAST_YEAR + 1):
        divided = {code[:4] for code in names_of_year("district", year)}
        found.update(c for c in names_of_year("city", year) if level_of(c) == "city" and c[:4] not in divided)
    return frozenset(found)


def _span(unit: Unit) -> str:
    return f"{unit.from_year}-{unit.to_year}" if unit.to_year else f"since {unit.from_year}"
