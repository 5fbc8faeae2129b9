"""A layer against the 296 cities of the panel: who is there, who is not, and under which other code they stand.

In: the codes of a layer. Out: ``RosterReport``. The roster is `gis.boundaries.reference.roster_296`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from gis.boundaries.codes import city_of, level_of
from gis.boundaries.reference import Level, changes, roster_296


@dataclass(frozen=True, slots=True)
class RosterReport:
    """How a layer covers the 296 cities."""

    n_present: int
    """Cities of the roster that the layer has, as themselves or by their districts."""
    n_expected: int
    """Cities of the roster in the provinces that the layer covers; 296 for a layer of the whole country."""
    missing: tuple[str, ...]
    """Codes of those that it lacks."""
    as_other: tuple[tuple[str, str], ...]
    """Of the missing ones, those whose ground stands in the layer under an earlier or later code: (city, other)."""
    beyond: tuple[str, ...]
    """Units at city level that are not of the roster: prefectures, leagues, direct units, cities that are no more."""


def roster_report(codes: Iterable[str], level: Level) -> RosterReport:
    """Hold a layer against the roster of 296.

    Parameters
    ----------
    codes : six-character codes; of districts, whose cities are then meant
    level : what the layer holds

    Returns
    -------
    RosterReport
        Only provinces of which the layer has a unit are expected.
    """
    given = tuple(codes)
    present = {city_of(code) or code for code in given}
    if level == "district":  # direct units and zones are of no city
        present = {city for code in given if (city := city_of(code))}
    provinces = {code[:2] for code in given}
    wanted = [city.city_code for city in roster_296() if city.city_code[:2] in provinces]
    missing = tuple(code for code in wanted if code not in present)
    others = tuple((code, other) for code in missing if (other := _other_code(code, present)))
    beyond = sorted(c for c in present - set(wanted) if level_of(c) in ("city", "direct", "special"))
    return RosterReport(len(wanted) - len(missing), len(wanted), missing, others, tuple(beyond))


def _other_code(code: str, present: set[str]) -> str:
    """Code under which all ground of a city stood before or stands since, if the layer has it; else ``""``."""
    for change in changes():
        if change.kind == "recode" and code in (change.old_code, change.new_code):
            other = change.old_code if code == change.new_code else change.new_code
            if other in present:
                return other
    return ""
