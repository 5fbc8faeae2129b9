"""The difference report in words, for a reader: what the boundaries did, what moved, which pairs, and by whom.

In: the tables of ``gis.pipeline.rebal_rows`` and their totals. Out: ``difference.txt``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

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
    return "\n".join(lines) + "\n"


def _totals_text(totals: dict[str, float]) -> list[str]:
    rows = [f"{'Over all units and years':26}{'before':>16}{'old bounds, now':>18}{'after':>16}"]
    for what, name in (("light [DN km2]", "light_{}_dn_km2"), ("people", "pop_{}_persons"), ("levels", "n_levels_{}")):
        before, now, after = (totals[name.format(side)] for side in ("before", "same_bounds", "after"))
        rows.append(f"  {what:24}{before:>16,.0f}{now:>18,.0f}{after:>16,.0f}")
    return rows


def _levels_text(levels: pd.DataFrame) -> list[str]:
    moved, n = levels[levels["status"] == "changed"], levels["status"].value_counts().to_dict()
    by_boundary = moved["change_boundary"].abs() > SAME * moved["level_after"].abs()
    by_other = moved["change_other"].abs() > SAME * moved["level_before"].abs()
    lines = [
        (
            f"Levels (unit-years): {n.get('same', 0)} the same, {len(moved)} moved ({int(by_boundary.sum())} by the "
            f"boundaries, {int(by_other.sum())} by anything else), {n.get('appeared', 0)} appeared, "
            f"{n.get('vanished', 0)} vanished"
        ),
    ]
    # One line per unit, its largest year: a unit that moved did so in most years.
    worst = moved.assign(size=moved["change_share"].abs().fillna(np.inf)).sort_values(
        "size", ascending=False, kind="stable"
    )
    units, n_years = worst.drop_duplicates(["old_code", "new_code"]), moved.groupby(["old_code", "new_code"]).size()
    for row in units.head(SHOWN).to_dict("records"):
        change = "missing in one" if np.isnan(row["change_share"]) else f"{row['change_share']:+.2%}"
        lines.append(
            f"  {row['new_code']} {row['city_name']}: {n_years[row['old_code'], row['new_code']]} years, most in "
            f"{row['year']}: {row['level_before']:.6g} to {row['level_after']:.6g} ({change}; by the boundaries "
            f"{row['change_boundary']:+.3g}, else {row['change_other']:+.3g}): {row['cause']}"
        )
    return lines


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
