"""``lightpanel rebal``: Bal for a new boundary vintage, and what it changed, row by row and by name.

In: a workspace with its last results, and a new vintage. Out: a complete set of results for the new vintage in a folder
of its own, and the difference report: ``rebal_level.parquet``, ``rebal_pair.parquet``, ``boundary_diff.gpkg`` and
``difference.txt``.

A level moves for two reasons, and the report keeps them apart by a third number: the level on the *old* boundaries
from the inputs of *now*. From there to the new level is the effect of the boundaries; from the earlier result to there
is everything else (docs/decisions/0059-rebal-and-its-three-levels.md).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gis.boundaries.diff import VintageDiff, compare_vintages, write_diff
from gis.errors import OptionInvalid, TableInvalid
from gis.pipeline.inputs import Inputs, read_inputs, read_layers
from gis.pipeline.levels import Report, compute_levels
from gis.pipeline.resume import finished, run_key
from gis.panel.pair_index import CODE_SPAN
from gis.pipeline.run import RunResult, compute
from gis.tables import CITY_YEAR, PAIR_YEAR, REBAL_LEVEL, REBAL_PAIR, atomic_path, read_table, write_table
from gis.workspace import BoundarySource, Vintage, Workspace, read_workspace

if TYPE_CHECKING:
    import pandas as pd

REBAL_FOLDER = "rebal"
"""Inside the results' folder; below it one folder per new vintage."""

SAME = 1e-12
"""Levels and Bal closer than this share are the same: what another order of summation can do to 512-row strips."""

SHOWN = 15
"""Rows of each list in ``difference.txt``; the tables have all."""


@dataclass(frozen=True, slots=True)
class RebalResult:
    """What a change of vintage has made."""

    result: RunResult
    """The new results."""
    diff: VintageDiff
    """What the new boundaries are beside the old ones."""
    levels: pd.DataFrame
    """Rows of ``REBAL_LEVEL``."""
    pairs: pd.DataFrame
    """Rows of ``REBAL_PAIR``: those that are not the same."""
    totals: dict[str, float]
    """Sums and counts of both results, by name."""
    paths: dict[str, Path]
    """What -> file."""
    text: str
    """``difference.txt``."""


def rebal(
    workspace: str | Path | Workspace = ".",
    vintage: str | Path | None = None,
    *,
    layer: str | None = None,
    date: str | None = None,
    threads: int | None = None,
    report: Report | None = None,
) -> RebalResult:
    """Make the panel anew for another boundary vintage and say what that changed.

    Parameters
    ----------
    workspace : folder with ``workspace.toml``, or a `Workspace`; its config and its results stay as they are.
    vintage : date of one of ``[[boundaries.vintages]]``, or a file with the new layer of cities.
    layer, date : of a file: the layer inside it, and the day it stood; needed for a file.
    threads, report : as for `gis.run`.

    Raises
    ------
    OptionInvalid
        The config has no such vintage; a file without a date; the mode is not ``fixed``.
    GisError
        As `gis.run`.

    Notes
    -----
    Sums of polygons that did not change come from the store, so a new vintage costs what is new in it. The earlier
    result is that of the last run where one stands in ``out/``; its levels are computed again only if an input,
    setting or the code has changed since.
    """
    place = workspace if isinstance(workspace, Workspace) else read_workspace(workspace)
    boundaries = place.config.boundaries
    if boundaries.mode != "fixed":
        raise OptionInvalid(
            f"rebal is for one vintage at a time, and boundaries.mode is {boundaries.mode!r}",
            mend='set boundaries.mode = "fixed", or run with the vintages added: lightpanel run',
        )
    entry = _wanted(place, vintage, layer, date)
    inputs = read_inputs(place)
    new = _with_vintage(inputs, entry)
    districts = _both_districts(inputs, new)
    diff = compare_vintages(inputs.layers["city"], new.layers["city"], districts=districts)
    old_levels, old_pairs, now = _old_results(inputs, threads, report)
    result = compute(new, roster=_roster(inputs, diff), threads=threads, report=report)
    levels = level_differences(old_levels, now, result.city_year, diff)
    new_pairs = _read_pairs(result.paths.get("city pairs (Bal)"))
    pairs = pair_differences(old_pairs, new_pairs, levels, diff)
    totals = _totals(old_levels, now, result.city_year, old_pairs, new_pairs, pairs)
    text = difference_text(inputs, new, diff, levels, pairs, totals)
    out = new.workspace.out
    paths = {
        "levels": write_table(REBAL_LEVEL, levels, out / f"{REBAL_LEVEL.name}.parquet"),
        "pairs": write_table(REBAL_PAIR, pairs, out / f"{REBAL_PAIR.name}.parquet"),
        "boundaries": write_diff(diff, out / "boundary_diff.gpkg"),
        "text": out / "difference.txt",
    }
    with atomic_path(paths["text"]) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return RebalResult(result, diff, levels, pairs, totals, paths, text)


# --- the two sets of boundaries --------------------------------------------------------------------------------------


def _wanted(place: Workspace, vintage: str | Path | None, layer: str | None, date: str | None) -> Vintage:
    known = place.config.boundaries.vintages
    dates = ", ".join(v.date for v in known)
    if vintage is None:
        if len(known) == 1:
            return known[0]
        raise OptionInvalid(
            f"{len(known)} vintages are configured ({dates})" if known else "no other vintage is configured",
            where="boundaries.vintages",
            mend="name one: --vintage DATE, or a file: --vintage cities.gpkg --date 2021-12-31",
        )
    found = [v for v in known if v.date == str(vintage)] or [v for v in known if v.date.startswith(str(vintage))]
    if len(found) == 1:
        return found[0]
    path = Path(vintage)
    if path.is_file():
        if date is None:
            raise OptionInvalid(
                "the file does not say when its boundaries stood", where=path, mend="add --date 2021-12-31"
            )
        return Vintage(city=BoundarySource(file=str(path.resolve()), layer=layer, vintage=date))
    raise OptionInvalid(
        f"there is no vintage {vintage}, nor a file of that name",
        where="boundaries.vintages",
        mend=f"one of {dates}" if dates else "add [[boundaries.vintages]] to workspace.toml, or name a file",
    )


def _with_vintage(inputs: Inputs, entry: Vintage) -> Inputs:
    """The inputs with other boundaries, their results in a folder of their own."""
    place = inputs.workspace
    sources, layers, notes = read_layers(place, entry)
    boundaries = place.config.boundaries.model_copy(update={"city": entry.city, "district": entry.district})
    config = place.config.model_copy(update={"boundaries": boundaries})
    folder = f"{place.results}/{REBAL_FOLDER}/{entry.date}"
    said = [note for note in inputs.notes if not note.startswith(("city layer:", "district layer:"))]
    return replace(
        inputs,
        workspace=replace(place, config=config, results=folder),
        sources=tuple(sources),
        layers={name: layers[name] for name in layers if name in inputs.layers},
        notes=(*notes, *said),
    )


def _both_districts(old: Inputs, new: Inputs) -> Any:
    if "district" in old.layers and "district" in new.layers:
        return old.layers["district"], new.layers["district"]
    return None


def _roster(inputs: Inputs, diff: VintageDiff) -> list[str] | None:
    """Codes of the panel's cities in the new vintage, where the config lists them; those gone are left out."""
    from gis.pipeline.run import roster_codes

    listed = roster_codes(inputs)
    if listed is None:
        return None
    return [diff.same[code] for code in listed if code in diff.same]


def _old_results(
    inputs: Inputs, threads: int | None, report: Report | None
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Levels and pairs as the last run left them, and levels of the same boundaries from the inputs of now."""
    place = inputs.workspace
    current = finished(place, run_key(place, (inputs.lights, inputs.population)))
    stored = _stored(place)
    if current is not None and stored is not None:
        return (*stored, stored[0])
    now = compute_levels(inputs, threads=threads, report=report).by_layer["city"]
    if stored is not None:
        return (*stored, now)
    from gis.panel import balance
    from gis.pipeline.run import panel_cities

    cities = panel_cities(inputs, now)
    return now, balance(cities, tie=inputs.config.panel.tie), now


def _stored(place: Workspace) -> tuple[pd.DataFrame, pd.DataFrame] | None:
    """City levels and pairs in the results' folder; None where there are none of this vintage."""
    city, pairs = place.out / f"{CITY_YEAR.name}.parquet", place.out / f"{PAIR_YEAR.name}.parquet"
    if not city.is_file() or not pairs.is_file():
        return None
    try:
        levels = read_table(CITY_YEAR, city)
    except TableInvalid:
        return None
    source = place.config.boundaries.city or place.config.boundaries.district
    if source is None or set(levels["vintage"]) != {str(source.vintage)}:
        return None  # another vintage's: the config was changed since
    return levels, _read_pairs(pairs)


def _read_pairs(path: Path | None) -> pd.DataFrame:
    import pandas as pd

    columns = ["pair_id", "year", "city_i", "city_j", "hi", "lo", "bal"]
    return pd.DataFrame(columns=columns) if path is None else pd.read_parquet(path, columns=columns)


# --- levels ----------------------------------------------------------------------------------------------------------


def level_differences(
    before: pd.DataFrame, now: pd.DataFrame, after: pd.DataFrame, diff: VintageDiff
) -> pd.DataFrame:
    """Levels of every unit and year of either result, side by side.

    Parameters
    ----------
    before, now, after : rows of ``CITY_YEAR``: the earlier result, the same boundaries from the inputs of now, the
        new boundaries. ``before`` and ``now`` may be one frame.

    Returns
    -------
    DataFrame, rows of ``REBAL_LEVEL``, by old code, new code and year
        ``change_boundary + change_other`` is ``level_after - level_before``, where all three levels are there.
    """
    columns = ["level", "light_sum_dn_km2", "pop_persons"]
    units = diff.units
    old = before[["city_code", "year", *columns]].rename(columns={"city_code": "old_code"})
    same = now[["city_code", "year", "level"]].rename(columns={"city_code": "old_code", "level": "level_same_bounds"})
    old = old.merge(same, on=["old_code", "year"], how="outer")
    old = old.merge(units.loc[units["old_code"] != "", ["old_code", "new_code"]], on="old_code", how="left")
    old["new_code"] = old["new_code"].fillna("")
    new = after[["city_code", "year", *columns]].rename(columns={"city_code": "new_code"})
    new = new.merge(units.loc[units["new_code"] != "", ["old_code", "new_code"]], on="new_code", how="left")
    new["old_code"] = new["old_code"].fillna("")
    out = old.merge(new, on=["old_code", "new_code", "year"], how="outer", suffixes=("_old", "_new"))
    out = out.rename(
        columns={
            "level_old": "level_before",
            "level_new": "level_after",
            "light_sum_dn_km2_old": "light_before_dn_km2",
            "light_sum_dn_km2_new": "light_after_dn_km2",
            "pop_persons_old": "pop_before_persons",
            "pop_persons_new": "pop_after_persons",
        }
    )
    out["change_share"] = out["level_after"] / out["level_before"].where(out["level_before"] > 0) - 1
    out["change_boundary"] = out["level_after"] - out["level_same_bounds"]
    out["change_other"] = out["level_same_bounds"] - out["level_before"]
    about = units.set_index(["old_code", "new_code"])
    named = out.join(about[["old_name", "new_name", "changes", "ground", "event", "area_change"]], on=["old_code", "new_code"])
    out["city_name"] = named["new_name"].where(out["new_code"] != "", named["old_name"])
    out["changes"] = named["changes"].fillna("")
    moved = ~_close(out["level_before"], out["level_after"])
    out["status"] = np.select(
        [out["old_code"] == "", out["new_code"] == "", moved], ["appeared", "vanished", "changed"], "same"
    )
    out["cause"] = _causes(named, out)
    out = out[list(REBAL_LEVEL.columns)].astype({"year": "int32"})
    return out.sort_values(["old_code", "new_code", "year"], ignore_index=True)


def _close(a: pd.Series, b: pd.Series) -> np.ndarray[Any, np.dtype[np.bool_]]:
    x, y = a.to_numpy(float), b.to_numpy(float)
    near = np.abs(x - y) <= SAME * np.maximum(np.abs(x), np.abs(y))
    return np.asarray(near | (np.isnan(x) & np.isnan(y)))


def _causes(named: pd.DataFrame, out: pd.DataFrame) -> list[str]:
    """Why a level moved: the official change, else what the polygons tell, else how they were drawn, else the inputs."""
    rows = zip(
        named["event"].fillna(""),
        named["ground"].fillna(""),
        named["area_change"],
        out["change_boundary"],
        out["change_other"],
        out["status"],
        strict=True,
    )
    texts = []
    for event, ground, area, by_boundary, by_other, status in rows:
        if status == "same":
            texts.append("")
            continue
        parts = [text for text in (ground, event) if text]
        if not parts and (np.isnan(by_boundary) or by_boundary != 0):
            parts = [f"drawn differently, area {area:+.3%}"]
        if by_other and not np.isnan(by_other):
            parts.append("inputs, settings or code have changed")
        texts.append("; ".join(parts))
    return texts


# --- pairs -----------------------------------------------------------------------------------------------------------


def pair_differences(
    before: pd.DataFrame, after: pd.DataFrame, levels: pd.DataFrame, diff: VintageDiff
) -> pd.DataFrame:
    """Pair rows that are not the same in two results, and the unit whose level moved most.

    Parameters
    ----------
    before, after : pairs with ``pair_id, year, city_i, city_j, hi, lo, bal``, each in the codes of its vintage
    levels : rows of ``REBAL_LEVEL``

    Returns
    -------
    DataFrame, rows of ``REBAL_PAIR``
        A pair is one through both vintages if both its units are. ``pair_id`` is that of the new codes, of a pair that
        vanished that of the old ones. A row of two units neither of which moved is never here.
    """
    old, new = _coded(before), _coded(after)
    same = {int(a): int(b) for a, b in diff.same.items()}
    i, j = _mapped(old["i"], same), _mapped(old["j"], same)
    both = (i >= 0) & (j >= 0)
    old["key"] = np.where(both, np.minimum(i, j) * CODE_SPAN + np.maximum(i, j), -old["pair_id"])
    old["hi_new"] = _mapped(old["hi"], same)
    new["key"] = new["pair_id"]
    rows = old.merge(new, on=["key", "year"], how="outer", suffixes=("_old", "_new"), indicator="side")
    rows["status"] = rows["side"].map({"left_only": "vanished", "right_only": "appeared", "both": "changed"}).astype(str)
    hi_before, hi_after = rows["hi_new_old"].fillna(NONE), rows["hi_new"].fillna(NONE)
    differ = (hi_before != hi_after) | ~_close(rows["bal_old"], rows["bal_new"]) | (rows["side"] != "both")
    rows["flip"] = (hi_before != hi_after).where((hi_before != NONE) & (hi_after != NONE) & (rows["side"] == "both"))
    return _pair_rows(rows[differ].reset_index(drop=True), levels)


NONE = -1
"""Stands for a code that is missing."""


def _coded(pairs: pd.DataFrame) -> pd.DataFrame:
    """Pairs with whole numbers for codes: 829,540 rows of text would take a minute."""
    import pandas as pd

    def number(column: pd.Series) -> Any:
        codes, texts = pd.factorize(column.astype(object))
        values = np.array([*(int(t) for t in texts), NONE], np.int64)
        return values[codes]

    names = {"i": "city_i", "j": "city_j", "hi": "hi"}
    numbers = {short: number(pairs[name]) for short, name in names.items()}
    kept = {"pair_id": pairs["pair_id"].to_numpy(np.int64), "year": pairs["year"].to_numpy(np.int64)}
    return pd.DataFrame({**kept, **numbers, "bal": pairs["bal"].to_numpy(float)})


def _mapped(codes: pd.Series, same: dict[int, int]) -> np.ndarray[Any, np.dtype[np.int64]]:
    return codes.map(same).fillna(NONE).to_numpy(np.int64)


def _pair_rows(rows: pd.DataFrame, levels: pd.DataFrame) -> pd.DataFrame:
    """Rows of ``REBAL_PAIR``, each with the unit whose level moved most in its year or the year before."""
    import pandas as pd

    out = {"year": rows["year"].to_numpy(np.int32), "status": rows["status"].to_numpy(object)}
    vanished = (rows["side"] == "left_only").to_numpy()
    out["pair_id"] = np.where(vanished, rows["pair_id_old"].fillna(0), rows["pair_id_new"].fillna(0)).astype(np.int64)
    out["is_flipped"] = pd.array(rows["flip"], dtype="boolean")
    out["bal_before"], out["bal_after"] = rows["bal_old"].to_numpy(float), rows["bal_new"].to_numpy(float)
    out["hi_before"], out["hi_after"] = _text(rows["hi_old"]), _text(rows["hi_new_new" if "hi_new_new" in rows else "hi_new"])
    picked = np.empty((3, len(rows)), object)
    for side, codes, here in (("old_code", ("i_old", "j_old"), vanished), ("new_code", ("i_new", "j_new"), ~vanished)):
        if here.any():
            moves = _Moves(levels, side)
            picked[:, here] = moves.larger(rows.loc[here, codes[0]], rows.loc[here, codes[1]], rows.loc[here, "year"])
    out["cause_code"], out["cause_name"], out["cause"] = picked
    frame = pd.DataFrame(out)
    kinds = {(side, code): text for side in ("old_code", "new_code") for code, text in zip(levels[side], levels["changes"], strict=True)}
    frame["changes"] = [
        kinds.get(("old_code" if gone else "new_code", code), "") for gone, code in zip(vanished, frame["cause_code"], strict=True)
    ]
    return frame[list(REBAL_PAIR.columns)].sort_values(["pair_id", "year", "status"], ignore_index=True)


def _text(codes: pd.Series) -> Any:
    return np.array([None if np.isnan(c) or c < 0 else f"{int(c):06d}" for c in codes.to_numpy(float)], object)


class _Moves:
    """How far each unit's level moved in each year, and why: looked up for pairs."""

    def __init__(self, levels: pd.DataFrame, side: str) -> None:
        frame = levels[levels[side] != ""]
        codes = sorted(set(frame[side]))
        self.codes = np.array([int(c) for c in codes])
        self.first = int(frame["year"].min()) - 1  # one year of slack for the year before
        n_years = int(frame["year"].max()) - self.first + 1
        at = frame[side].map({c: k for k, c in enumerate(codes)}).to_numpy(), frame["year"].to_numpy(int) - self.first
        self.score = np.zeros((len(codes), n_years))
        self.score[at] = _distance(frame)
        self.text = np.full((len(codes), n_years), "", object)
        self.text[at] = frame["cause"].to_numpy(object)
        names = dict(zip(frame[side], frame["city_name"], strict=True))
        self.names = np.array([names[c] for c in codes], object)

    def larger(self, i: pd.Series, j: pd.Series, year: pd.Series) -> Any:
        """(3, n) code, name and cause of the unit of each pair that moved more."""
        t = year.to_numpy(int) - self.first
        a, b = (np.searchsorted(self.codes, side.to_numpy(np.int64)) for side in (i, j))

        def best(unit: Any) -> tuple[Any, Any]:
            now, lag = self.score[unit, t], self.score[unit, t - 1]
            return np.maximum(now, lag), np.where(now >= lag, t, t - 1)

        (score_a, at_a), (score_b, at_b) = best(a), best(b)
        first = score_a >= score_b
        unit, at = np.where(first, a, b), np.where(first, at_a, at_b)
        still = np.maximum(score_a, score_b) == 0  # an order taken over from a year further back
        code = np.array([f"{c:06d}" for c in self.codes], object)[unit]
        picked = np.stack([code, self.names[unit], self.text[unit, at]])
        picked[:, still] = ""
        return picked


def _distance(frame: pd.DataFrame) -> Any:
    """|ln(after / before)| of levels; infinite where one of the two is missing, 0 where both are."""
    before, after = frame["level_before"].to_numpy(float), frame["level_after"].to_numpy(float)
    with np.errstate(divide="ignore", invalid="ignore"):
        distance = np.abs(np.log(after / before))
    one = np.isnan(before) != np.isnan(after)
    new = frame["status"].isin(["appeared", "vanished"]).to_numpy()
    quiet = frame["status"].eq("same").to_numpy()
    return np.where(quiet, 0.0, np.where(one | new | np.isnan(distance), np.inf, distance))


# --- in words --------------------------------------------------------------------------------------------------------


def _totals(
    before: pd.DataFrame,
    now: pd.DataFrame,
    after: pd.DataFrame,
    old_pairs: pd.DataFrame,
    new_pairs: pd.DataFrame,
    pairs: pd.DataFrame,
) -> dict[str, float]:
    """Sums over all units and years, and counts of pair rows."""
    out: dict[str, float] = {}
    for name, frame in (("before", before), ("same_bounds", now), ("after", after)):
        out[f"light_{name}_dn_km2"] = float(frame["light_sum_dn_km2"].sum())
        out[f"pop_{name}_persons"] = float(frame["pop_persons"].sum())
        out[f"n_levels_{name}"] = int(frame["level"].notna().sum())
    out["rows_before"], out["rows_after"] = len(old_pairs), len(new_pairs)
    out["rows_with_bal_before"] = int(old_pairs["bal"].notna().sum())
    out["rows_with_bal_after"] = int(new_pairs["bal"].notna().sum())
    for status in ("changed", "appeared", "vanished"):
        out[f"rows_{status}"] = int((pairs["status"] == status).sum())
    out["rows_same"] = out["rows_before"] - out["rows_changed"] - out["rows_vanished"]
    out["rows_flipped"] = int(pairs["is_flipped"].fillna(False).sum())
    return out


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
        f"Units without a change: {int((diff.units['changes'] == '').sum())}, area differs by {noise:.2g} in the median",
        "",
        "Totals over all units and years      before      same boundaries, inputs of now      after",
        f"  light [DN km2]  {t['light_before_dn_km2']:.6g}  {t['light_same_bounds_dn_km2']:.6g}  {t['light_after_dn_km2']:.6g}",
        f"  people          {t['pop_before_persons']:.6g}  {t['pop_same_bounds_persons']:.6g}  {t['pop_after_persons']:.6g}",
        f"  levels          {t['n_levels_before']}  {t['n_levels_same_bounds']}  {t['n_levels_after']}",
        "",
        *_levels_text(levels),
        "",
        f"Pair rows: {t['rows_before']} before, {t['rows_after']} after: {t['rows_same']} the same, {t['rows_changed']} "
        f"changed ({t['rows_flipped']} of them flipped), {t['rows_appeared']} appeared, {t['rows_vanished']} vanished",
    ]
    for status in ("flipped", "changed", "appeared", "vanished"):
        lines += _pairs_text(pairs, status)
    lines += [
        "",
        f"The results on the boundaries of {b} stand in {new.workspace.results}. To make them the panel's, put its "
        "sections under [boundaries] in workspace.toml and run: lightpanel run",
    ]
    return "\n".join(lines) + "\n"


def _levels_text(levels: pd.DataFrame) -> list[str]:
    moved = levels[levels["status"] == "changed"]
    by_boundary = moved["change_boundary"].abs() > SAME * moved["level_after"].abs()
    by_other = moved["change_other"].abs() > SAME * moved["level_before"].abs()
    lines = [
        f"Levels (unit-years): {int((levels['status'] == 'same').sum())} the same, {len(moved)} moved "
        f"({int(by_boundary.sum())} by the boundaries, {int(by_other.sum())} by anything else), "
        f"{int((levels['status'] == 'appeared').sum())} appeared, {int((levels['status'] == 'vanished').sum())} vanished"
    ]
    size = moved["change_share"].abs().sort_values(ascending=False, kind="stable")
    for row in moved.loc[size.index[:SHOWN]].to_dict("records"):
        share = f"{row['change_share']:+.2%}" if not np.isnan(row["change_share"]) else "missing in one"
        lines.append(
            f"  {row['new_code']} {row['city_name']} {row['year']}: {row['level_before']:.6g} to {row['level_after']:.6g} "
            f"({share}; boundaries {row['change_boundary']:+.3g}, else {row['change_other']:+.3g}): {row['cause']}"
        )
    return lines


def _pairs_text(pairs: pd.DataFrame, status: str) -> list[str]:
    """Rows of one kind by the unit that is the cause, most rows first."""
    rows = pairs[pairs["is_flipped"].fillna(False)] if status == "flipped" else pairs[pairs["status"] == status]
    if rows.empty:
        return []
    counts = rows.groupby(["cause_code", "cause_name"], sort=True)
    size, text = counts.size().sort_values(ascending=False, kind="stable"), counts["cause"].first()
    lines = [f"{status}: {len(rows)} rows"]
    for key, n in size.head(SHOWN).items():
        who = " ".join(part for part in key if part) or "an order taken over from an earlier year"
        lines.append(f"  {n:6} by {who}: {text[key]}")
    return lines
