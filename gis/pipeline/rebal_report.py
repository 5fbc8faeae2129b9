"""The difference report in words, for a reader: what the boundaries did, what moved, which pairs, and by whom.

In: the tables of ``gis.pipeline.rebal_rows`` and their totals. Out: ``difference.txt``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gis.pipeline.rebal_rows import SAME

if TYPE_CHECKING:
    import pandas as pd

    from gis.boundaries.diff import VintageDiff
    from gis.pipeline.inputs import Inputs

SHOWN = 15
"""Rows of each list; the tables have all."""


def difference_text(
    old: Inputs,
    new: Inputs,
    diff: VintageDiff,
    levels: pd.DataFrame,
    pairs: pd.DataFrame,
    totals: dict[str, float],
) -> str:
    """The report for a reader: units that changed, totals, levels that moved most, pair rows by cause."""
    a, b = old.layers["city"].vintage, new.layers["city"].vintage
    t = totals
    lines = [f"Boundaries of {a} replaced by those of {b}", ""]
    changed = diff.changed()
    lines += [f"Units that changed: {len(changed)} of {len(diff.units)}"]
    for row in changed.to_dict("records"):
        lines.append(f"  {row['changes']:18} {row['ground']}" + (f" [{row['event']}]" if row["event"] else ""))
    redrawn = diff.units[diff.units["changes"] == "redrawn"]
    noise = diff.units["area_change"].abs()[diff.units["changes"] == ""].median()
    lines += [
        f"Units whose outline alone is drawn larger or smaller by 1 % or more: {len(redrawn)}",
        f"Units without a change: {int((diff.units['changes'] == '').sum())}; median difference of area {noise:.2g}",
        "",
        *_totals_text(totals),
        "",
        *_levels_text(levels),
        "",
        f"Pair rows: {t['rows_before']} before, {t['rows_after']} after",
        (
            f"  {t['rows_same']} the same, {t['rows_changed']} changed ({t['rows_flipped']} of them flipped), "
            f"{t['rows_appeared']} appeared, {t['rows_vanished']} vanished"
        ),
    ]
    for status in ("flipped", "changed", "appeared", "vanished"):
        lines += _pairs_text(pairs, status)
    lines += [
        "",
        f"The results on the boundaries of {b} stand in {new.workspace.results}.",
        "To make them the panel's, put their sections under [boundaries] in workspace.toml, then: lightpanel run",
    ]
    if new.config.instrument is not None:
        lines.append("The historical instrument is not among them: that run makes it, with flows in the new codes.")
    return "\n".join(lines) + "\n"


def _totals_text(totals: dict[str, float]) -> list[str]:
    rows = [f"{'Over all units and years':26}{'before':>16}{'old bounds, now':>18}{'after':>16}"]
    for what, name in (("light [DN km2]", "light_{}_dn_km2"), ("people", "pop_{}_persons"), ("levels", "n_levels_{}")):
        before, now, after = (totals[name.format(side)] for side in ("before", "same_bounds", "after"))
        rows.append(f"  {what:24}{before:>16,.0f}{now:>18,.0f}{after:>16,.0f}")
    return rows


def _levels_text(levels: pd.DataFrame) -> list[str]:
    moved, n = levels[levels["status"] == "changed"], levels["status"].value_counts().to_dict()
    by_boundary = _moved(moved["level_same_bounds"], moved["level_after"])
    by_other = _moved(moved["level_before"], moved["level_same_bounds"])
    lines = [
        (
            f"Levels (unit-years): {n.get('same', 0)} the same, {len(moved)} moved ({int(by_boundary.sum())} by the "
            f"boundaries, {int(by_other.sum())} by anything else), {n.get('appeared', 0)} appeared, "
            f"{n.get('vanished', 0)} vanished"
        ),
    ]
    # One line per unit, its largest year: a unit that moved did so in most years.
    both = moved.dropna(subset=["level_before", "level_after"])
    worst = both.assign(size=both["change_share"].abs()).sort_values("size", ascending=False, kind="stable")
    units, n_years = worst.drop_duplicates(["old_code", "new_code"]), both.groupby(["old_code", "new_code"]).size()
    lines += [
        _level_line(row, int(n_years[row["old_code"], row["new_code"]])) for row in units.head(SHOWN).to_dict("records")
    ]
    for side, words in (("before", "have a level now and had none before"), ("after", "had a level and have none now")):
        lost = moved[moved[f"level_{side}"].isna()]
        if len(lost):
            names = lost["city_name"].drop_duplicates()
            more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
            lines.append(f"  {len(lost)} unit-years {words}: {', '.join(names[:SHOWN])}{more}")
    return lines


def _level_line(row: Mapping[Any, Any], n_years: int) -> str:
    return (
        f"  {row['new_code']} {row['city_name']}: {n_years} years, most in {row['year']}: {row['level_before']:.6g} to "
        f"{row['level_after']:.6g} ({row['change_share']:+.2%}; by the boundaries {row['change_boundary']:+.3g}, "
        f"else {row['change_other']:+.3g}): {row['cause']}"
    )


def _moved(a: pd.Series, b: pd.Series) -> pd.Series:
    """Whether two levels differ, a level that is missing on one side included."""
    return ((a - b).abs() > SAME * b.abs()) | (a.isna() != b.isna())


def _pairs_text(pairs: pd.DataFrame, status: str) -> list[str]:
    """Rows of one kind by the unit that is the cause, most rows first."""
    rows = pairs[pairs["is_flipped"].fillna(False)] if status == "flipped" else pairs[pairs["status"] == status]
    if rows.empty:
        return []
    counts = rows.groupby(["cause_code", "cause_name"], sort=True)["cause"].agg(["size", "first"]).reset_index()
    lines = [f"{status}: {len(rows)} rows"]
    for row in counts.sort_values("size", ascending=False, kind="stable").head(SHOWN).to_dict("records"):
        who = f"{row['cause_code']} {row['cause_name']}".strip() or "an order taken over from an earlier year"
        lines.append(f"  {row['size']:6} by {who}: {row['first']}")
    return lines
