"""Two results of two boundary vintages, row by row: levels and pairs, and which unit is the cause.

In: unit-year and pair-year rows of both results, and the difference of the boundaries. Out: rows of ``REBAL_LEVEL`` and
``REBAL_PAIR``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gis.panel.pair_index import CODE_SPAN
from gis.tables import REBAL_LEVEL, REBAL_PAIR

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from gis.boundaries.diff import VintageDiff

SAME = 1e-12
"""Levels and Bal closer than this share are the same: two orders of one summation differ by less."""

LARGE = 1e6
"""A move larger than any that has a number: a level that is missing on one side."""

NONE = -1
"""Stands for a code that is missing."""


# --- levels ----------------------------------------------------------------------------------------------------------


def level_differences(before: pd.DataFrame, now: pd.DataFrame, after: pd.DataFrame, diff: VintageDiff) -> pd.DataFrame:
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
    named = out.join(
        about[["old_name", "new_name", "changes", "ground", "event", "area_change"]], on=["old_code", "new_code"]
    )
    out["city_name"] = named["new_name"].where(out["new_code"] != "", named["old_name"])
    out["changes"] = named["changes"].fillna("")
    moved = ~_close(out["level_before"], out["level_after"])
    out["status"] = np.select(
        [out["old_code"] == "", out["new_code"] == "", moved], ["appeared", "vanished", "changed"], "same"
    )
    out["cause"] = _causes(named, out)
    out = out[list(REBAL_LEVEL.columns)].astype({"year": "int32"})
    return out.sort_values(["old_code", "new_code", "year"], ignore_index=True)


def _close(a: pd.Series, b: pd.Series) -> NDArray[np.bool_]:
    x, y = a.to_numpy(float), b.to_numpy(float)
    near = np.abs(x - y) <= SAME * np.maximum(np.abs(x), np.abs(y))
    return np.asarray(near | (np.isnan(x) & np.isnan(y)))


def _causes(named: pd.DataFrame, out: pd.DataFrame) -> list[str]:
    """Why a level moved: what the polygons and the lists tell, else how the unit was drawn, else the inputs."""
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
    old["hi_as_new"] = _mapped(old["hi"], same)
    new["key"] = new["pair_id"]
    rows = old.merge(new, on=["key", "year"], how="outer", suffixes=("_old", "_new"), indicator="side")
    rows["status"] = (
        rows["side"].map({"left_only": "vanished", "right_only": "appeared", "both": "changed"}).astype(str)
    )
    hi_before, hi_after = rows["hi_as_new"].fillna(NONE), rows["hi_new"].fillna(NONE)
    differ = (hi_before != hi_after) | ~_close(rows["bal_old"], rows["bal_new"]) | (rows["side"] != "both")
    rows["flip"] = (hi_before != hi_after).where((hi_before != NONE) & (hi_after != NONE) & (rows["side"] == "both"))
    # A unit may have a level in both results and pairs in one: a city since, directly administered before.
    was, now = {*i, *j}, {*new["i"], *new["j"]}
    back = {b: a for a, b in same.items()}
    alone = {
        "old_code": {c for c in {*old["i"], *old["j"]} if same.get(c) not in now},
        "new_code": {c for c in now if c not in was or back.get(c) is None},
    }
    return _pair_rows(rows[differ].reset_index(drop=True), levels, alone)


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


def _mapped(codes: pd.Series, same: dict[int, int]) -> NDArray[np.int64]:
    return np.asarray(codes.map(same).fillna(NONE), np.int64)


def _pair_rows(rows: pd.DataFrame, levels: pd.DataFrame, alone: dict[str, set[int]]) -> pd.DataFrame:
    """Rows of ``REBAL_PAIR``, each with the unit whose level moved most in its year or the year before."""
    import pandas as pd

    out: dict[str, Any] = {"year": rows["year"].to_numpy(np.int32), "status": rows["status"].to_numpy(object)}
    vanished = (rows["side"] == "left_only").to_numpy()
    out["pair_id"] = np.where(vanished, rows["pair_id_old"].fillna(0), rows["pair_id_new"].fillna(0)).astype(np.int64)
    out["is_flipped"] = rows["flip"].astype("boolean").array
    out["bal_before"], out["bal_after"] = rows["bal_old"].to_numpy(float), rows["bal_new"].to_numpy(float)
    out["hi_before"], out["hi_after"] = (
        _text(rows["hi_old"]),
        _text(rows["hi_new"]),
    )
    picked = np.empty((3, len(rows)), object)
    for side, codes, here in (("old_code", ("i_old", "j_old"), vanished), ("new_code", ("i_new", "j_new"), ~vanished)):
        if here.any():
            i, j = (rows.loc[here, code].astype(np.int64) for code in codes)
            picked[:, here] = _Moves(levels, side).larger(i, j, rows.loc[here, "year"], alone[side])
    out["cause_code"], out["cause_name"], out["cause"] = picked
    frame = pd.DataFrame(out)
    kinds = {
        (side, code): text
        for side in ("old_code", "new_code")
        for code, text in zip(levels[side], levels["changes"], strict=True)
    }
    frame["changes"] = [
        kinds.get(("old_code" if gone else "new_code", code), "")
        for gone, code in zip(vanished, frame["cause_code"], strict=True)
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
        told = frame.groupby(side)["cause"].max().to_dict()  # of its years, one with a text
        self.whole = np.array([told[c] or "forms pairs in one of the two results only" for c in codes], object)
        self.names = np.array([names[c] for c in codes], object)

    def larger(self, i: pd.Series, j: pd.Series, year: pd.Series, alone: set[int]) -> Any:
        """(3, n) code, name and cause of the unit of each pair that moved more; first of all one of ``alone``."""
        t = year.to_numpy(int) - self.first
        a, b = (np.searchsorted(self.codes, side.to_numpy()) for side in (i, j))
        only = np.isin(self.codes, list(alone))

        def best(unit: Any) -> tuple[Any, Any]:
            now, lag = self.score[unit, t], self.score[unit, t - 1]
            return np.where(only[unit], np.inf, np.maximum(now, lag)), np.where(now >= lag, t, t - 1)

        (score_a, at_a), (score_b, at_b) = best(a), best(b)
        first = score_a >= score_b
        unit, at = np.where(first, a, b), np.where(first, at_a, at_b)
        still = np.maximum(score_a, score_b) == 0  # an order taken over from a year further back
        code = np.array([f"{c:06d}" for c in self.codes], object)[unit]
        text = np.where(only[unit], self.whole[unit], self.text[unit, at])
        picked = np.stack([code, self.names[unit], text])
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
    return np.where(quiet, 0.0, np.where(one | new | np.isnan(distance), LARGE, np.minimum(distance, LARGE)))
