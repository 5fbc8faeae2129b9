"""Crosswalk: tables of an earlier boundary vintage carried to a later one.

In: two layers as ``Zones``, for weights by people or lights a raster; a table of the earlier vintage. Out: sparse
``Crosswalk`` (rows of an old unit add up to 1) and the table in units of the later vintage (METHOD 9.4).

The ground an old and a new unit share is intersected exactly. What a piece weighs is its area, or the people or light
in its cells, by the engine's coverage of the pieces themselves: no cell is given to one side whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from gis.boundaries.diff import MIN_SHARE, NOISE_KM, Overlay, core_km2, match_units, overlay
from gis.errors import BoundaryInvalid, CodeInvalid, OptionInvalid, TableInvalid
from gis.grid import Measure, Zones
from gis.tables import CROSSWALK, read_table, write_table

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from gis.raster_io import CellRules, RasterInfo

    Floats = NDArray[np.float64]

Weight = Literal["area", "population", "lights"]
"""What a piece of ground weighs."""
WEIGHTS: tuple[Weight, ...] = get_args(Weight)

MAX_UNCOVERED = 0.02
"""An old unit of which more than this share lies in no new unit is an error. Source: METHOD 9.4."""
SUM_TOLERANCE = 1e-12
"""Weights of an old unit add up to 1 this closely: a few hundred roundings."""


@dataclass(frozen=True, slots=True)
class WeightRaster:
    """The raster behind weights by people or lights."""

    info: RasterInfo
    """The file."""
    rules: CellRules
    """Which of its cells are data."""
    measure: Measure = "cells"
    """What a cell weighs: ``cells`` for counts; ``lambert`` or ``true`` for light per area."""


@dataclass(frozen=True, slots=True)
class Crosswalk:
    """Weights from an earlier to a later vintage."""

    frame: pd.DataFrame = field(repr=False)
    """Rows of ``CROSSWALK``: one per piece of ground, by old and new code; weights of an old unit add up to 1."""
    old_codes: tuple[str, ...]
    """Old units, in the order of their layer."""
    new_codes: tuple[str, ...]
    """New units, those without a source included."""
    vintages: tuple[str, str]
    """Of the old and of the new layer."""

    def matrix(self) -> Any:
        """(n_old, n_new) scipy CSR matrix of the weights; each row adds up to 1."""
        from scipy.sparse import csr_array

        row = {code: k for k, code in enumerate(self.old_codes)}
        col = {code: k for k, code in enumerate(self.new_codes)}
        at = [row[c] for c in self.frame["old_code"]], [col[c] for c in self.frame["new_code"]]
        return csr_array((self.frame["weight"].to_numpy(), at), shape=(len(row), len(col)))

    def slivers(self) -> pd.DataFrame:
        """Pieces that are strips between two drawings of one border, heaviest first."""
        return self.frame[self.frame["is_sliver"]].sort_values("weight", ascending=False, kind="stable")

    def without_slivers(self) -> Crosswalk:
        """The same without slivers, the rest of each old unit rescaled to 1."""
        kept = self.frame[~self.frame["is_sliver"]].copy()
        kept["weight"] = kept["weight"] / kept.groupby("old_code")["weight"].transform("sum")
        lost = sorted(set(self.frame["old_code"]) - set(kept["old_code"]))
        assert not lost  # the heaviest piece of a unit is never a sliver
        return Crosswalk(_checked(kept), self.old_codes, self.new_codes, self.vintages)


def crosswalk(
    old: Zones,
    new: Zones,
    *,
    weight: Weight = "area",
    raster: WeightRaster | None = None,
    max_uncovered: float = MAX_UNCOVERED,
    noise_km: float = NOISE_KM,
    min_share: float = MIN_SHARE,
) -> Crosswalk:
    """Weights that carry quantities of the units of one layer to those of another.

    Parameters
    ----------
    old, new : two layers of one level; within a layer units must not overlap.
    weight : ``area``, or ``population`` or ``lights`` of ``raster``.
    raster : people or light by cell; needed unless ``weight`` is ``area``.
    max_uncovered : largest share of an old unit, in its own weight, that may lie in no new unit.
    noise_km, min_share : what makes a piece a sliver, as in `gis.boundaries.diff.compare_vintages`.

    Returns
    -------
    Crosswalk
        ``weight`` = w(o and n) / sum over n of w(o and n); ``uncovered_share`` = 1 - sum / w(o); ``old_share`` is the
        plain share of area. An old unit in which nobody lives (or no light is seen) goes by area; ``basis`` says so.

    Raises
    ------
    OptionInvalid
        No such weight; no raster for it.
    BoundaryInvalid
        An old unit lies outside the new layer by more than ``max_uncovered``, or altogether.

    Notes
    -----
    Area weights are rescaled as the others are, so that totals are carried whole
    (docs/decisions/0056-crosswalk-rows-add-up-to-one.md).
    """
    if weight not in WEIGHTS:
        raise OptionInvalid(f"no weight {weight!r}", mend=f"one of {', '.join(WEIGHTS)}")
    if weight != "area" and raster is None:
        raise OptionInvalid(f"weights by {weight} need a raster", mend="give raster=WeightRaster(info, rules)")
    found = overlay(old, new)
    of_piece, of_old = found.area_km2, found.old_area_km2
    by_area = np.ones(len(old), bool)
    if weight != "area" and raster is not None:
        in_piece, in_old = _raster_weights(found, raster)
        # Nobody there, or nobody where the new layer is: area decides for the whole unit.
        by_area = ~(np.bincount(found.old_idx, in_piece, len(old)) > 0)
        of_piece = np.where(by_area[found.old_idx], of_piece, in_piece)
        of_old = np.where(by_area, of_old, in_old)
    covered = np.bincount(found.old_idx, of_piece, len(old)).astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        uncovered = np.where(of_old > 0, 1 - covered / of_old, 1.0)
    _refuse_uncovered(found.old, uncovered, covered, max_uncovered)
    frame = _frame(found, of_piece / covered[found.old_idx], uncovered, by_area, weight)
    frame["is_sliver"] = _slivers(found, frame["weight"].to_numpy(), noise_km, min_share)
    return Crosswalk(_checked(frame), old.codes, new.codes, (old.vintage, new.vintage))


def _raster_weights(found: Overlay, raster: WeightRaster) -> tuple[Floats, Floats]:
    """(n_pieces,) and (n_old,): what the raster holds in every piece and in every whole old unit."""
    from gis.graph import run_tasks
    from gis.zonal.coverage import coverage_from_zones
    from gis.zonal.engine import Job, run_jobs

    grid = raster.info.grid
    names = tuple(
        f"{found.old.codes[i]}>{found.new.codes[j]}" for i, j in zip(found.old_idx, found.new_idx, strict=True)
    )
    layers = tuple(
        coverage_from_zones(grid, zones, run=run_tasks)
        for zones in (Zones(names, found.geometry, found.new.crs), found.old)
    )
    job = Job(raster.info, raster.rules, layers, (raster.measure,))
    pieces, whole = run_jobs([job], run=run_tasks)[0]
    # Below zero only where the rules keep negatives: a weight cannot be.
    return np.maximum(pieces.sums[:, 0], 0.0), np.maximum(whole.sums[:, 0], 0.0)


def _refuse_uncovered(old: Zones, uncovered: Floats, covered: Floats, limit: float) -> None:
    names = old.names or ("",) * len(old)
    outside = np.flatnonzero(covered <= 0)
    if outside.size:
        listed = ", ".join(f"{old.codes[k]} {names[k]}".strip() for k in outside[:5])
        raise BoundaryInvalid(
            f"{outside.size} old units share no ground with the new layer: {listed}",
            mend=f'leave them out of the old layer: exclude = ["{old.codes[int(outside[0])]}", ...]',
        )
    bad = np.flatnonzero(uncovered > limit)
    if bad.size:
        worst = bad[np.argsort(-uncovered[bad], kind="stable")]
        listed = ", ".join(f"{old.codes[k]} {names[k]} {uncovered[k]:.1%}".replace("  ", " ") for k in worst[:5])
        raise BoundaryInvalid(
            f"{bad.size} old units lie outside the new layer by more than {limit:.0%} of their weight: {listed}",
            mend="see what is missing with lightpanel boundaries diff; where it is sea, raise the limit: "
            f"--max-uncovered {np.ceil(uncovered[worst[0]] * 100) / 100:.2f}",
        )


def _frame(
    found: Overlay, weights: Floats, uncovered: Floats, by_area: NDArray[np.bool_], weight: Weight
) -> pd.DataFrame:
    import pandas as pd

    i, j = found.old_idx, found.new_idx
    label = np.where(by_area, "area", weight)

    def take(labels: Sequence[str], at: NDArray[np.intp]) -> NDArray[Any]:
        return np.array([*labels, None], dtype=object)[:-1][at]

    return pd.DataFrame(
        {
            "old_code": take(found.old.codes, i),
            "new_code": take(found.new.codes, j),
            "old_name": take(found.old.names or found.old.codes, i),
            "new_name": take(found.new.names or found.new.codes, j),
            "weight": weights,
            "old_share": found.area_km2 / found.old_area_km2[i],
            "overlap_km2": found.area_km2,
            "uncovered_share": uncovered[i],
            "basis": take(list(label), i),
        }
    )


def _slivers(found: Overlay, weights: Floats, noise_km: float, min_share: float) -> NDArray[np.bool_]:
    """(n_pieces,) bool: thin pieces, never those of a unit that goes on nor the heaviest one of any unit."""
    same = match_units(found)
    i, j = found.old_idx, found.new_idx
    stays = np.array([same.get(found.old.codes[a]) == found.new.codes[b] for a, b in zip(i, j, strict=True)], bool)
    heaviest = np.zeros(len(found), bool)
    order = np.lexsort((-weights, i))
    heaviest[order[np.r_[True, i[order][1:] != i[order][:-1]]]] = True
    limit = min_share * np.minimum(found.old_area_km2[i], found.new_area_km2[j])
    thin = np.ones(len(found), bool)
    ask = found.area_km2 >= limit
    thin[ask] = core_km2(found.geometry[ask], found.new.crs, noise_km) < limit[ask]
    return thin & ~stays & ~heaviest


def _checked(frame: pd.DataFrame) -> pd.DataFrame:
    frame = frame[list(CROSSWALK.columns)].reset_index(drop=True)
    sums = frame.groupby("old_code")["weight"].sum()
    assert (abs(sums - 1) <= SUM_TOLERANCE).all()  # our own arithmetic
    return frame


# --- applying --------------------------------------------------------------------------------------------------------


def apply_crosswalk(
    walk: Crosswalk,
    table: pd.DataFrame,
    *,
    extensive: Sequence[str] = (),
    intensive: Mapping[str, str] | None = None,
    code: str = "city_code",
    by: Sequence[str] = (),
) -> pd.DataFrame:
    """Carry a table from the old to the new units.

    Parameters
    ----------
    table : one row per old unit and values of ``by``; units of the crosswalk without a row count as missing.
    extensive : columns that add up, such as persons: X_n = sum over o of weight * X_o.
    intensive : column -> its denominator, an extensive column of the table: a rate per head is weighed by heads,
        X_n = sum(weight * D_o * X_o) / sum(weight * D_o). Never a plain average.
    code : column of the old unit's code.
    by : further key columns, such as ``year``.

    Returns
    -------
    DataFrame with ``by``, ``code`` (now of the new unit), and the columns named, sorted by code and ``by``
        New units of which no source has a row are left out. A value is missing where that of a source is, unless the
        source is only a sliver; slivers of missing sources add nothing.

    Raises
    ------
    TableInvalid
        A column is missing or not numeric; a key is repeated; a denominator is not among the extensive columns.
    CodeInvalid
        A unit of the table is not in the crosswalk.
    """
    import pandas as pd

    rates = dict(intensive or {})
    _check_table(walk, table, tuple(extensive), rates, code, tuple(by))
    frame = walk.frame[["old_code", "new_code", "weight", "is_sliver"]].rename(columns={"old_code": code})
    groups: list[tuple[Any, pd.DataFrame]] = list(table.groupby(list(by), sort=True)) if by else [((), table)]
    parts = []
    for key, rows in groups:
        joined = frame.merge(rows[[code, *extensive, *rates]], on=code, how="left", indicator=True, validate="m:1")
        out = {c: _carried(joined, joined[c].to_numpy(float)) for c in extensive}
        for c, d in rates.items():
            heads = joined[d].to_numpy(float)
            top, bottom = _carried(joined, joined[c].to_numpy(float) * heads), _carried(joined, heads)
            out[c] = top / bottom  # nobody: 0 / 0, missing
        part = pd.DataFrame(out)
        part = part[part.index.isin(joined.loc[joined["_merge"] == "both", "new_code"])]
        keys = dict(zip(by, key if isinstance(key, tuple) else (key,), strict=True))
        parts.append(part.rename_axis(code).reset_index().assign(**keys))
    whole = pd.concat(parts, ignore_index=True)[[code, *by, *extensive, *rates]]
    return whole.sort_values([code, *by], ignore_index=True)


def _carried(joined: pd.DataFrame, values: Floats) -> pd.Series:
    """Sum of weight * value by new code; missing where a source is, slivers aside."""
    import pandas as pd

    missing = np.isnan(values)
    parts = pd.DataFrame(
        {
            "new_code": joined["new_code"],
            "value": np.where(missing, 0.0, joined["weight"].to_numpy() * values),
            "lacks": missing & ~joined["is_sliver"].to_numpy(bool),
            "has": ~missing,
        }
    )
    grouped = parts.groupby("new_code").agg(value=("value", "sum"), lacks=("lacks", "any"), has=("has", "any"))
    return grouped["value"].where(~grouped["lacks"] & grouped["has"])


def _check_table(
    walk: Crosswalk,
    table: pd.DataFrame,
    extensive: tuple[str, ...],
    rates: Mapping[str, str],
    code: str,
    by: tuple[str, ...],
) -> None:
    from pandas.api.types import is_numeric_dtype

    if not extensive and not rates:
        raise OptionInvalid(
            "nothing is said to be carried", mend="name the columns: --extensive persons, --intensive rate:persons"
        )
    wanted = [code, *by, *extensive, *rates]
    missing = [c for c in wanted if c not in table.columns]
    if missing:
        raise TableInvalid(
            f"the table has no column {', '.join(missing)}",
            where=f"columns {', '.join(map(str, table.columns))}",
            mend="name its columns: --code, --extensive a,b --intensive rate:denominator, --by year",
        )
    if table.empty:
        raise TableInvalid("the table has no rows", mend="check the file, and the filter that made it")
    blank = table[[*by]].isna().any(axis=1)
    if blank.any():
        raise TableInvalid(
            f"{int(blank.sum())} rows have nothing in {', '.join(by)}: what is in them would be lost",
            where=f"row {int(np.flatnonzero(blank)[0]) + 1}",
            mend="fill the cells, or drop these rows first",
        )
    words = [c for c in (*extensive, *rates) if not is_numeric_dtype(table[c])]
    if words:
        raise TableInvalid(
            f"{', '.join(words)}: words cannot be carried", mend="name numeric columns only, or make the column numeric"
        )
    strange = [f"{c}:{d}" for c, d in rates.items() if d not in table.columns or not is_numeric_dtype(table[d])]
    if strange or set(rates.values()) - set(extensive):
        lacking = ", ".join(strange or sorted(set(rates.values()) - set(extensive)))
        raise TableInvalid(
            f"the denominators of rates must be carried too: {lacking}",
            mend="name each denominator under --extensive as well",
        )
    if table.duplicated([code, *by]).any():
        first = table.loc[table.duplicated([code, *by]), [code, *by]].iloc[0].to_dict()
        raise TableInvalid(
            f"the table has several rows for {first}", mend="keep one row per unit, or name the other keys: --by year"
        )
    unknown = sorted(set(table[code]) - set(walk.old_codes))
    if unknown:
        raise CodeInvalid(
            f"{len(unknown)} units of the table are not in the old layer: {', '.join(map(str, unknown[:5]))}",
            where=f"column {code}",
            mend="take the layer of the table's own vintage, or drop these rows; codes are six-character text",
        )


# --- to disk ---------------------------------------------------------------------------------------------------------


def write_crosswalk(walk: Crosswalk, path: Path) -> Path:
    """Write the weights as Parquet, with both rosters and vintages in the file's metadata; or as ``.csv``.

    Raises
    ------
    OptionInvalid
        Another ending.
    WriteFailed
        The operating system refused.
    """
    from gis.tables import atomic_path, check

    path = Path(path)
    if path.suffix == ".csv":
        with atomic_path(path) as temporary:
            check(CROSSWALK, walk.frame).to_csv(temporary, index=False, encoding="utf-8-sig")
        return path
    if path.suffix != ".parquet":
        raise OptionInvalid(f"no format {path.suffix!r}", where=path, mend="name the file .parquet or .csv")
    metadata = {"old_codes": walk.old_codes, "new_codes": walk.new_codes, "vintages": walk.vintages}
    return write_table(CROSSWALK, walk.frame, path, metadata=metadata)


def read_crosswalk(path: Path) -> Crosswalk:
    """Read weights written by `write_crosswalk` as Parquet.

    Raises
    ------
    TableInvalid
        There is no such file, or it was not written by `write_crosswalk`.
    """
    import json

    import pyarrow.parquet as pq

    frame = read_table(CROSSWALK, Path(path))
    stored = (pq.read_schema(path).metadata or {}).get(b"lightpanel")
    if stored is None:
        raise TableInvalid(
            "the file has no roster",
            where=path,
            mend="write it anew: lightpanel boundaries crosswalk A B -o file.parquet",
        )
    about = json.loads(stored)
    return Crosswalk(
        _checked(frame),
        tuple(about["old_codes"]),
        tuple(about["new_codes"]),
        (about["vintages"][0], about["vintages"][1]),
    )
