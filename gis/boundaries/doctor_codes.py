"""What the doctor finds in codes and names: spelling, doubles, the year they are of, the roster.

In: codes and names of a layer. Out: findings, the scores of all years, the roster's report.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, cast

from gis.boundaries.codes import PROVINCES
from gis.boundaries.findings import Findings, Severity
from gis.boundaries.reference import Level
from gis.boundaries.roster import RosterReport, roster_report
from gis.boundaries.units import some
from gis.boundaries.vintage import YearScore, best_years, is_statistical, name_faults, unknown_codes, year_scores

if TYPE_CHECKING:
    from collections.abc import Sequence

RUNNERS_UP = 4
"""Years that are told beside the best ones."""


def examine_codes(
    texts: Sequence[str], codes: Sequence[str], names: Sequence[str], labels: Sequence[str], column: str, said: Findings
) -> None:
    """Say how codes are spelled, which rows have none, and which codes stand for several units.

    Parameters
    ----------
    texts : what the cells hold, as text
    codes : the six-character code of each, ``""`` where there is none
    names, labels : of the rows; no names where the layer has none
    column : where the codes come from
    said : takes the findings
    """
    forms = Counter(_form(text) for text, code in zip(texts, codes, strict=True) if code)
    odd = ", ".join(f"{n} with {form}" for form, n in sorted(forms.items()) if form != "6 digits")
    if odd:
        said.add("codes", "info", f"codes are not all of 6 digits: {odd}", "read as 6 digits; --fix writes them so")
    bad = [k for k, code in enumerate(codes) if not code]
    if bad:
        listed = some([f"{texts[k] or 'nothing'} (row {k + 1})" for k in bad])
        what = f"{len(bad)} of {len(codes)} rows have no administrative code in column {column}: {listed}"
        said.add("codes", "error", what, "leave them out (exclude), or correct them", [labels[k] for k in bad])
    _doubles(codes, names, said)
    invented = sorted({code for code in codes if code and code[:2] not in PROVINCES})
    if invented:
        what = f"{len(invented)} codes are of provinces that GB/T 2260 does not have: {some(invented)}"
        said.add("codes", "info", what, "nothing is known of these units: no datum, no year, no roster", invented)


def _form(text: str) -> str:
    return "156 in front" if len(text) == 9 and text.startswith("156") else f"{len(text)} digits"


def _doubles(codes: Sequence[str], names: Sequence[str], said: Findings) -> None:
    rows: dict[str, list[int]] = {}
    for k, code in enumerate(codes):
        if code:
            rows.setdefault(code, []).append(k)
    several = {code: at for code, at in rows.items() if len(at) > 1}
    called = {code: list(dict.fromkeys(names[k] for k in at if names[k])) for code, at in several.items() if names}
    unlike = [code for code, titles in called.items() if len(titles) > 1]
    if unlike:
        listed = some([f"{code} ({', '.join(called[code][:3])})" for code in unlike])
        what = f"{len(unlike)} codes stand for units of different names: {listed}"
        said.add("codes", "error", what, "correct the code of one of them", unlike)
    alike = [code for code in several if code not in unlike]
    if alike:
        listed = some([f"{code} ({len(several[code])} rows)" for code in alike])
        said.add("codes", "info", f"{len(alike)} units come in several rows: {listed}", "a run unites them", alike)


# --- the year --------------------------------------------------------------------------------------------------------


def examine_vintage(
    codes: Sequence[str], names: Sequence[str], level: Level, vintage: int | None, said: Findings
) -> tuple[YearScore, ...]:
    """Say which year-end codes and names fit best, what the lists do not know, and whose name is another's.

    Parameters
    ----------
    codes, names : of China's units; no names where the layer has none
    level : what the layer holds
    vintage : year-end the layer is said to stand for, or None
    said : takes the findings

    Returns
    -------
    Scores of all years, best first; none without codes.
    """
    scores = year_scores(codes, names, level)
    if not scores:
        return ()
    years, best = best_years(scores), scores[0]
    if years:
        next_ones = [s for s in scores if s.year not in years][:RUNNERS_UP]
        what = (
            f"codes and names fit year-end {span(years)} best: {best.n_differences} codes and {best.n_names} names "
            f"differ (next {', '.join(f'{s.year}: {s.n_differences}+{s.n_names}' for s in next_ones)})"
        )
        said.add("vintage", "info", what, "", [*best.unknown, *best.missing])
    else:
        what = f"the codes fit no year-end: at best {best.n_differences} of {best.n_units} differ ({best.year})"
        said.add("vintage", "warning", what, "if another column holds the codes, name it: --code COLUMN")
    if vintage is not None and years:
        _claimed(vintage, years, scores, said)
    _unlisted(codes, names, level, said)
    _titles(codes, names, level, vintage or (best.year if years else None), said)
    return scores


def _claimed(vintage: int, years: Sequence[int], scores: Sequence[YearScore], said: Findings) -> None:
    """The year that the user names against the year that the codes tell."""
    claim = next(s for s in scores if s.year == vintage)
    if claim.n_differences <= scores[0].n_differences:
        return
    what = (
        f"said to be of {vintage}, from which {claim.n_differences} codes differ; "
        f"from {span(years)} {scores[0].n_differences} do"
    )
    mend = f'vintage = "{years[-1]}", unless the codes are older than the borders'
    said.add("vintage", "warning", what, mend, [*claim.unknown, *claim.missing])


def _unlisted(codes: Sequence[str], names: Sequence[str], level: Level, said: Findings) -> None:
    never = unknown_codes(codes, level)
    if never:
        name = dict(zip(codes, names, strict=True)) if names else {}
        listed = some([f"{code} {name.get(code, '')}".strip() for code in never])
        what = f"{len(never)} codes stood at no year-end from 2000 to 2024: {listed}"
        said.add("codes", "warning", what, "unofficial codes: do not join tables on them", never)
    zones = sorted({code for code in codes if level == "district" and is_statistical(code)})
    if zones:
        what = f"{len(zones)} codes (last pair 71-79) are development zones of the statistical office: {some(zones)}"
        said.add("codes", "info", what, "no list of districts has them; they lie inside ordinary districts", zones)


def _titles(codes: Sequence[str], names: Sequence[str], level: Level, year: int | None, said: Findings) -> None:
    faults = name_faults(codes, names, level, year) if names else ()
    wrong = [f for f in faults if f.years is None]
    if wrong:
        listed = some([f"{f.code} is {f.name} here, {f.listed} in the lists" for f in wrong], 4)
        what = f"{len(wrong)} units have a name that their code never had: {listed}"
        said.add("names", "warning", what, "see which of the two is right", [f.code for f in wrong])
    old = [(f, f.years) for f in faults if f.years is not None]
    if old:
        listed = some([f"{f.code} {f.name} ({first}-{last})" for f, (first, last) in old], 4)
        what = f"{len(old)} units have the name of another year than {year}: {listed}"
        said.add("names", "info", what, "", [f.code for f, _ in old])


def span(years: Sequence[int]) -> str:
    """Write years as ``2018-2020``, ``2016`` or ``2013, 2016``."""
    if len(years) > 1 and years[-1] - years[0] == len(years) - 1:
        return f"{years[0]}-{years[-1]}"
    return ", ".join(map(str, years))


def examine_roster(codes: Sequence[str], level: str, said: Findings) -> RosterReport | None:
    """Say which of the 296 cities are there; None for layers of provinces and of made-up units."""
    if level not in ("city", "district") or not codes:
        return None
    found = roster_report(codes, cast(Level, level))
    what = f"{found.n_present} of {found.n_expected} cities of the roster of 296 are there"
    if found.n_expected < 296:
        what += " (of the provinces of this layer)"
    if found.missing:
        others = dict(found.as_other)
        what += f"; missing: {some([f'{c} (here as {others[c]})' if c in others else c for c in found.missing], 8)}"
    severity: Severity = "warning" if len(found.missing) > len(found.as_other) else "info"
    said.add("roster", severity, what, "a panel of the 296 needs them" if found.missing else "", found.missing)
    return found
