"""``lightpanel sensitivity``: how far levels and Bal depend on the measure and on the order of work.

In: a workspace. Out: levels under every measure and preset, each held against exact sums in the Lambert measure.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gis.errors import OptionInvalid
from gis.grid import MEASURES
from gis.pipeline.inputs import Inputs, read_inputs
from gis.pipeline.levels import Report, compute_levels
from gis.pipeline.presets import prepare
from gis.pipeline.run import panel_cities
from gis.tables import SENSITIVITY, SENSITIVITY_CITY, SENSITIVITY_LEVEL, Table, write_table
from gis.workspace import Workspace, read_workspace

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

PRESETS = ("exact", "paper", "paper_both", "arcgis")
"""In the order of METHOD 1.4."""

REFERENCE = "exact/lambert"
"""What the others are held against."""

N_MOVERS = 10
"""Cities named per variant."""


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """The three tables, and where they are."""

    summary: pd.DataFrame
    """Rows of ``SENSITIVITY``."""
    levels: pd.DataFrame
    """Rows of ``SENSITIVITY_LEVEL``."""
    movers: pd.DataFrame
    """Rows of ``SENSITIVITY_CITY``."""
    paths: tuple[Path, ...]
    """One Parquet file per table."""


def sensitivity(
    workspace: str | Path | Workspace = ".",
    *,
    presets: Sequence[str] = PRESETS,
    threads: int | None = None,
    report: Report | None = None,
) -> Sensitivity:
    """Compute the levels of a workspace under several presets, compare them, and write three tables.

    Parameters
    ----------
    presets : names of presets; ``exact`` is always among them and stands for its three measures.

    Raises
    ------
    OptionInvalid
        No such preset.
    GisError
        As a run.
    """
    unknown = [name for name in presets if name not in PRESETS]
    if unknown:
        raise OptionInvalid(f"no preset {unknown[0]!r}", where="--preset", mend=f"one of {', '.join(PRESETS)}")
    place = workspace if isinstance(workspace, Workspace) else read_workspace(workspace)
    inputs = read_inputs(place)
    levels = levels_by_variant(inputs, presets, threads=threads, report=report)
    summary = compare(levels, tie=inputs.config.panel.tie)
    movers = city_moves(levels)
    tables: tuple[tuple[Table, pd.DataFrame], ...] = (
        (SENSITIVITY, summary),
        (SENSITIVITY_LEVEL, levels),
        (SENSITIVITY_CITY, movers),
    )
    paths = tuple(write_table(table, frame, place.out / f"{table.name}.parquet") for table, frame in tables)
    return Sensitivity(summary, levels, movers, paths)


def with_preset(inputs: Inputs, preset: str) -> Inputs:
    """The same inputs under another preset; nothing is written to ``out/``."""
    config = inputs.config
    changed = config.model_copy(
        update={
            "levels": config.levels.model_copy(update={"preset": preset}),
            "reproject": config.reproject.model_copy(update={"rasters": False}),
        }
    )
    return replace(inputs, workspace=replace(inputs.workspace, config=changed))


def levels_by_variant(
    inputs: Inputs, presets: Sequence[str], *, threads: int | None = None, report: Report | None = None
) -> pd.DataFrame:
    """Rows of ``SENSITIVITY_LEVEL``: exact sums in the three measures, then each preset in the Lambert measure."""
    import pandas as pd

    parts = []
    for preset in [p for p in PRESETS if p in presets or p == "exact"]:
        chosen = with_preset(inputs, preset)
        prepared = prepare(chosen, threads=threads, report=report)
        tables = compute_levels(prepared.inputs, threads=threads, report=report)
        cities = panel_cities(inputs, tables.by_layer["city"])
        for measure in MEASURES if preset == "exact" else ("lambert",):
            part = cities[["city_code", "year", "city_name"]].assign(level=cities[f"level_{measure}"])
            parts.append(part.assign(level_variant=f"{preset}/{measure}"))
    return pd.concat(parts, ignore_index=True)[list(SENSITIVITY_LEVEL.columns)]


def compare(levels: pd.DataFrame, *, tie: Any = "previous") -> pd.DataFrame:
    """Rows of ``SENSITIVITY``: every variant of the levels against the reference.

    Parameters
    ----------
    levels : rows of ``SENSITIVITY_LEVEL``.
    tie : what orders a pair that was equal last year.
    """
    import pandas as pd

    by_variant = {str(name): part for name, part in levels.groupby("level_variant", sort=False)}
    reference = by_variant[REFERENCE]
    base = _pairs(reference, tie)
    rows = []
    for name, part in by_variant.items():
        preset, measure = name.split("/")
        both = part.merge(reference, on=["city_code", "year"], suffixes=("", "_ref")).dropna(
            subset=["level", "level_ref"]
        )
        by_year = [_spearman(year["level"], year["level_ref"]) for _, year in both.groupby("year")]
        known = [value for value in by_year if not math.isnan(value)]
        pairs = base if name == REFERENCE else _pairs(part, tie)
        ordered = pairs["hi"].notna() & base["hi"].notna()
        flipped = ordered & (pairs["hi"].astype(str) != base["hi"].astype(str))
        bal = pairs["bal"].notna() & base["bal"].notna()
        rows.append(
            {
                "level_variant": name,
                "preset": preset,
                "measure": measure,
                "n_unit_years": len(both),
                "level_spearman": _spearman(both["level"], both["level_ref"]),
                "level_spearman_lowest": min(known) if known else math.nan,
                "n_pair_years": int(ordered.sum()),
                "n_flipped": int(flipped.sum()),
                "flipped_share": float(flipped.sum() / ordered.sum()) if ordered.any() else math.nan,
                "bal_mean": float(pairs["bal"].mean()),
                "bal_median": float(pairs["bal"].median()),
                "bal_spearman": _spearman(pairs["bal"][bal], base["bal"][bal]),
            }
        )
    return pd.DataFrame(rows, columns=list(SENSITIVITY.columns))


def _pairs(levels: pd.DataFrame, tie: Any) -> pd.DataFrame:
    """Bal of one variant; every variant has the same cities and years, hence the same rows in the same order."""
    import pandas as pd

    from gis.panel import balance

    if levels["city_code"].nunique() < 2 or levels["year"].nunique() < 2:
        return pd.DataFrame({"hi": pd.Series(dtype=object), "bal": pd.Series(dtype=float)})
    return balance(levels[["city_code", "year", "level"]], tie=tie)[["hi", "bal"]]


def _spearman(a: pd.Series, b: pd.Series) -> float:
    """Pearson correlation of average ranks; NaN where nothing varies."""
    x, y = a.rank().to_numpy(np.float64), b.rank().to_numpy(np.float64)
    if len(x) < 2 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return math.nan
    return float(np.corrcoef(x, y)[0, 1])


def city_moves(levels: pd.DataFrame, n: int = N_MOVERS) -> pd.DataFrame:
    """Rows of ``SENSITIVITY_CITY``: the ``n`` cities whose levels move most under each variant.

    A factor common to all cities cancels in Bal, so the median city's change of the year is taken out first; a city's
    move is the median over its years.
    """
    import pandas as pd

    reference = levels[levels["level_variant"] == REFERENCE]
    keys = ["city_code", "year"]
    both = levels[levels["level_variant"] != REFERENCE].merge(
        reference[[*keys, "level"]], on=keys, suffixes=("", "_ref")
    )
    both = both[both["level_ref"] > 0].dropna(subset=["level"])
    both = both.assign(ratio=both["level"] / both["level_ref"])
    middle = both.groupby(["level_variant", "year"])["ratio"].transform("median")
    both = both[middle > 0].assign(move=both["ratio"] / middle - 1)
    moves = (
        both.groupby(["level_variant", "city_code", "city_name"], sort=True, dropna=False)["move"]
        .median()
        .reset_index()
    )
    moves["size"] = moves["move"].abs()
    moves = moves.sort_values(["level_variant", "size", "city_code"], ascending=[True, False, True])
    moves["rank_move"] = (moves.groupby("level_variant").cumcount() + 1).astype("int32")
    out = moves[moves["rank_move"] <= n].rename(columns={"move": "level_move"})
    return pd.DataFrame(out[list(SENSITIVITY_CITY.columns)].reset_index(drop=True))


def print_sensitivity(console: Console, found: Sensitivity) -> None:
    """Print the comparison, and each variant's movers in a line."""
    from rich.table import Table as Screen

    heads = ("variant", "rank corr.", "lowest year", "turned", "of pair-years", "mean Bal", "Bal rank corr.")
    table = Screen(title=f"Against {REFERENCE}", title_justify="left")
    for head in heads:
        table.add_column(head, justify="left" if head == "variant" else "right")
    for row in found.summary.to_dict("records"):
        table.add_row(
            row["level_variant"], f"{row['level_spearman']:.5f}", f"{row['level_spearman_lowest']:.5f}",
            f"{row['n_flipped']:,}", f"{row['flipped_share']:.3%}", f"{row['bal_mean']:.5f}",
            f"{row['bal_spearman']:.5f}",
        )  # fmt: skip
    console.print(table)
    for name, part in found.movers.groupby("level_variant", sort=False):
        cities = ", ".join(
            f"{city} {move:+.2%}" for city, move in zip(part["city_name"], part["level_move"], strict=True)
        )
        console.print(f"{name} moves most: {cities}", markup=False, soft_wrap=True)
    for path in found.paths:
        console.print(f"wrote {path}", markup=False, soft_wrap=True)
