"""Lineage: what became of a unit, under which code it goes on, and who has the ground of one that ended.

In: the table of changes (``gis.boundaries.reference``), codes and year-ends. Out: ``History`` of a unit, its identity
at another year-end, and a lineage id that stands for the code where vintages are mixed.

A unit goes on while its code does, and through a ``recode``; ``split`` and ``merge`` end it
(docs/decisions/0055-identity-across-vintages.md). A code alone says nothing: it is read together with a year-end.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from gis.boundaries.reference import (
    FIRST_YEAR,
    LAST_YEAR,
    Change,
    Level,
    changes,
    county_changes,
    county_units,
    names_of_year,
    prefecture_units,
)
from gis.errors import CodeInvalid, OptionInvalid


@dataclass(frozen=True, slots=True)
class Heir:
    """A unit that has ground of an earlier one."""

    code: str
    """Its code at the later year-end."""
    name: str
    """Its name then."""
    part: str
    """``whole``, or the counties that passed, as the change names them."""
    is_same: bool
    """Whether it is the earlier unit itself, under whatever code and name."""


@dataclass(frozen=True, slots=True)
class History:
    """What happened to one unit between two year-ends."""

    code: str
    """The code that was asked for."""
    name: str
    """Its name at ``from_year``, or when it first stood after it."""
    from_year: int
    """Year-end the history begins with."""
    to_year: int
    """Year-end it ends with."""
    events: tuple[Change, ...]
    """Changes that touch the unit, under any of its codes, by year; those after it ended are its heirs' own."""
    heirs: tuple[Heir, ...]
    """Who has its ground at ``to_year``; the unit itself comes first while it stands."""


def history(code: str, from_year: int | None = None, to_year: int | None = None) -> History:
    """Follow a unit of the city level through the years.

    Parameters
    ----------
    code : six digits
    from_year, to_year : year-ends from 2000 to 2024; default: the first one at which the unit stood under this code,
        and for a unit that came out of another the year-end before; the last one there is.

    Raises
    ------
    CodeInvalid
        No unit of the city level had this code in these years; names the nearest ones.
    OptionInvalid
        The years are not covered, or run backwards.
    """
    first, last = _span(code)
    start = from_year if from_year is not None else max(first - 1, FIRST_YEAR)
    end = to_year if to_year is not None else LAST_YEAR
    _check_years(start, end)
    born = max(start, first)
    if born > min(end, last):
        raise CodeInvalid(
            f"{code} stood from the end of {first} to the end of {last}, not between {start} and {end}",
            mend=f"ask for other years: lightpanel boundaries lineage {code} --from {first}",
        )
    line = _line(code, born)
    events = tuple(
        e
        for e in changes()
        if start < e.year <= end and ((e.year, e.old_code) in line.gives or (e.year, e.new_code) in line.takes)
    )
    return History(code, names_of_year("city", born)[code], start, end, events, _heirs(code, born, end))


@dataclass(frozen=True, slots=True)
class _Line:
    """Codes of one unit through time."""

    gives: frozenset[tuple[int, str]]
    """(year of a change, code the year before)."""
    takes: frozenset[tuple[int, str]]
    """(year of a change, code since)."""


def _line(code: str, year: int) -> _Line:
    held = {year: code}
    for y in range(year + 1, LAST_YEAR + 1):
        after = _step(held[y - 1], y, "city")
        if after is None:
            break
        held[y] = after
    back = {(e.year, e.new_code): e.old_code for e in changes() if e.kind == "recode"}
    for y in range(year - 1, FIRST_YEAR - 1, -1):
        before = back.get((y + 1, held[y + 1]), held[y + 1])
        if before not in names_of_year("city", y):
            break
        held[y] = before
    gives = {(y + 1, c) for y, c in held.items()}
    takes = set(held.items())
    return _Line(frozenset(gives), frozenset(takes))


def follow(code: str, from_year: int, to_year: int, level: Level = "city") -> str | None:
    """Code at ``to_year`` of the unit that had ``code`` at ``from_year``; None where it ended, or is not known.

    Forward or backward in time: going back, a unit that was cut out of another, or merged together, has no earlier
    self.

    Raises
    ------
    OptionInvalid
        A year is not covered.
    """
    _check_years(min(from_year, to_year), max(from_year, to_year))
    if code not in names_of_year(level, from_year):
        return None
    if to_year < from_year:
        found = [c for c in names_of_year(level, to_year) if follow(c, to_year, from_year, level) == code]
        return found[0] if found else None
    here: str | None = code
    for year in range(from_year + 1, to_year + 1):
        here = _step(here, year, level) if here is not None else None
    return here


def lineage_id(code: str, year: int, level: Level = "city") -> str:
    """The code a unit had last: equal for one unit in all years, different for different units.

    A code that the lists do not have is its own id. Source: METHOD 0, "the lineage id stands for the code".
    """
    here = code
    for y in range(max(year, FIRST_YEAR) + 1, LAST_YEAR + 1):
        after = _step(here, y, level)
        if after is None:
            break
        here = after
    return here


def _step(code: str, year: int, level: Level) -> str | None:
    """Code in the list of ``year`` of the unit that had ``code`` in the list before it."""
    renumbered = _recodes(level).get((year, code))
    if renumbered is not None:
        return renumbered
    return code if code in names_of_year(level, year) else None


@lru_cache(maxsize=2)
def _recodes(level: Level) -> Mapping[tuple[int, str], str]:
    """(year, old code) -> new code of the units that go on under another code."""
    if level == "city":
        return {(e.year, e.old_code): e.new_code for e in changes() if e.kind == "recode"}
    # County changes have no kind: all of one code that ended became all of one that is new.
    heirs, sources = defaultdict(list), defaultdict(list)
    for e in county_changes():
        heirs[e.year, e.old_code].append(e)
        sources[e.year, e.new_code].append(e)
    out = {}
    for (year, old), found in heirs.items():
        new = found[0].new_code
        alone = len(found) == 1 and len(sources[year, new]) == 1 and not found[0].is_part
        ended = year - 1 >= FIRST_YEAR and old not in names_of_year(level, year)
        if alone and ended and new not in names_of_year(level, year - 1):
            out[year, old] = new
    return out


def _heirs(code: str, from_year: int, to_year: int) -> tuple[Heir, ...]:
    """Who has the ground; a later heir of an heir that ended stands in for it."""
    names = names_of_year("city", to_year)
    itself = follow(code, from_year, to_year)
    out = {itself: Heir(itself, names[itself], "whole", True)} if itself else {}
    here: str | None = code
    for year in range(from_year + 1, to_year + 1):
        given = [e for e in changes() if e.year == year and e.old_code == here and e.new_code != here]
        after = _step(here, year, "city") if here else None
        for e in given:
            if e.new_code != after:
                for late in _standing(e.new_code, year, to_year):
                    out.setdefault(late, Heir(late, names[late], e.part, False))
        here = after
    return tuple(out.values())


def _standing(code: str, year: int, to_year: int) -> tuple[str, ...]:
    """A unit at a later year-end, or those that came out of it."""
    late = follow(code, year, to_year)
    return (late,) if late else tuple(heir.code for heir in _heirs(code, year, to_year))


def _span(code: str) -> tuple[int, int]:
    found = [u for u in prefecture_units() if u.code == code]
    if not found:
        alike = sorted({f"{u.code} {u.name}" for u in prefecture_units() if u.code[:2] == code[:2]})
        below = [u for u in county_units() if u.code == code]
        hint = f"it is {below[0].name}, a county-level unit; ask for its city {code[:4]}00" if below else ""
        raise CodeInvalid(
            f"no unit of the city level had the code {code!r} from {FIRST_YEAR} to {LAST_YEAR}",
            mend=hint or f"codes of this province: {', '.join(alike[:6])}, ..." if alike else "give six digits: 341400",
        )
    first = max(min(u.from_year for u in found), FIRST_YEAR)
    return first, max(LAST_YEAR if u.to_year is None else u.to_year for u in found)


def _check_years(start: int, end: int) -> None:
    if not FIRST_YEAR <= start <= end <= LAST_YEAR:
        raise OptionInvalid(
            f"the years {start} to {end} are not within {FIRST_YEAR} to {LAST_YEAR}, or run backwards",
            mend=f"name year-ends from {FIRST_YEAR} to {LAST_YEAR}: --from {FIRST_YEAR} --to {LAST_YEAR}",
        )


def events_between(from_year: int, to_year: int) -> tuple[Change, ...]:
    """Changes of the city level that lie between two year-ends, in order."""
    return tuple(e for e in changes() if from_year < e.year <= to_year)


def sentence(event: Change) -> str:
    """One change in one line: what, when, which parts, by which decree."""
    old, new = f"{event.old_code} {event.old_name}".strip(), f"{event.new_code} {event.new_name}"
    verb: dict[str, str] = {
        "rename": f"{old} renamed {event.new_name}",
        "recode": f"{old} became {new}",
        "split": f"{old} abolished, a part to {new}",
        "merge": f"{old} merged into {new}",
        "transfer": f"{old} gave ground to {new}",
        "new": f"{new} cut out of {old}" if old else f"{new} set up",
        "abolished": f"{old} abolished",
    }
    part = "" if event.part in ("", "whole") else f": {event.part}"
    when = event.date or str(event.year)
    return f"{when} {verb[event.kind]}{part}" + (f" ({event.source})" if event.source else "")


def year_of_vintage(vintage: str) -> int:
    """Last year-end that a vintage has seen: ``2019``, ``2019-12`` and ``2019-12-31`` are 2019, ``2019-06-30`` is 2018.

    Raises
    ------
    OptionInvalid
        The text does not begin with a date.
    """
    found = re.match(r"\s*(\d{4})(?:-(\d{2})(?:-(\d{2}))?)?", str(vintage))
    if not found:
        raise OptionInvalid(
            f"the vintage {vintage!r} is no date", mend='write the day the boundaries stood: vintage = "2019-12-31"'
        )
    year, month, day = (int(part) if part else None for part in found.groups())
    assert year is not None
    at_year_end = month is None or (month == 12 and day in (None, 31))
    return year if at_year_end else year - 1


def identities(
    codes: Sequence[str], names: Sequence[str], from_year: int, to_year: int, level: Level = "city"
) -> dict[str, str]:
    """Code at ``to_year`` of every unit that goes on, by its code at ``from_year``, as far as the lists know it.

    A unit whose name is not the one the list gives its code is left out: layers exist whose codes are not official.
    """
    if min(from_year, to_year) < FIRST_YEAR or max(from_year, to_year) > LAST_YEAR:
        return {}
    known = names_of_year(level, from_year)
    out = {}
    for k, code in enumerate(codes):
        if code in known and (not names or same_name(names[k], known[code])):
            after = follow(code, from_year, to_year, level)
            if after is not None:
                out[code] = after
    return out


_ENDING = re.compile(r"(特别行政区|自治州|自治县|地区|新区|林区|省|市|盟|县|区|旗)$")


def same_name(a: str, b: str) -> bool:
    """Whether two names are of one place: equal, or equal but for the ending (地区, 市, 县, 区, ...)."""
    return not a or not b or a == b or _ENDING.sub("", a) == _ENDING.sub("", b)
