"""A pair panel with all that models ask for, small enough for base R, and its lineage; for tests of exported scripts.

Twelve cities, eight years, made by a formula with a fixed seed: no two columns are collinear.
"""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd

from gis.export.lineage import Lineage, write_lineage
from gis.tables import PAIR_INSTRUMENT, PAIR_PANEL, Column, write_table

YEARS = range(2010, 2018)
OWN = (Column("long", "float64", "km", "长度: a name that Stata keeps for itself"),
       Column("a_name_of_more_than_thirty_two_characters", "float64", "1", "Longer than Stata's names"))  # fmt: skip
"""Columns of the workspace's own."""
VARIABLES = ("ln_dkf_htol", "ln_dkf_ltoh", "ln_dkf_net", "hsr", "ts", "ipp", "is_border", "gap_k", "east_dev")
"""Optional columns of the panel that are there."""
COLUMNS = PAIR_PANEL.with_columns((*PAIR_PANEL.columns[:14], *VARIABLES), OWN)
"""Declaration of the panel; without ``iv_hist_tel``, which stands in ``pair_instrument`` alone."""


def pair_panel() -> pd.DataFrame:
    """Rows of the panel; Bal follows the net flow with 0.02, and has three gaps."""
    rng = np.random.default_rng(1907)
    codes = [f"{110000 + 10100 * k}" for k in range(12)]
    keys = [(i, j, year) for i, j in combinations(codes, 2) for year in YEARS]
    n = len(keys)
    frame = pd.DataFrame({c: rng.normal(size=n) for c in COLUMNS.columns if COLUMNS.column(c).dtype == "float64"})
    i, j, year = zip(*keys, strict=True)
    frame["pair_id"] = [int(a) * 10**6 + int(b) for a, b in zip(i, j, strict=True)]
    frame["year"] = np.array(year, dtype="int32")
    frame["city_i"], frame["city_j"], frame["hi"], frame["lo"] = i, j, i, j
    frame["bal_flag"], frame["row_flag"] = "", "清洁"
    for name in ("switched", "tie", "is_border"):
        frame[name] = pd.array(rng.integers(0, 2, n).astype(bool), dtype="boolean")
    frame.loc[0, "switched"] = None
    for name in ("hsr", "ipp", "east_dev"):
        frame[name] = pd.array(rng.integers(0, 2, n), dtype="Int32")
    frame["ln_dkf_net"] = frame["ln_dkf_htol"] - frame["ln_dkf_ltoh"]
    frame["bal"] = 0.5 + 0.02 * frame["ln_dkf_net"] + 0.01 * frame["hsr"].astype(float) + 0.1 * rng.normal(size=n)
    frame.loc[[3, 40, 77], "bal"] = np.nan
    return frame[list(COLUMNS.columns)]


def pair_instrument() -> pd.DataFrame:
    """Rows of ``pair_instrument``: the instrument moves with the net flow."""
    panel = pair_panel()
    frame = panel[["pair_id", "year"]].copy()
    for name in PAIR_INSTRUMENT.columns[2:]:
        frame[name] = 0.5
    noise = np.random.default_rng(1984).normal(size=len(frame))
    frame["iv_hist_tel"] = 0.8 * panel["ln_dkf_net"].to_numpy() + noise
    return frame


def write_panel(out: Path, estimate: dict[str, object] | None = None) -> Path:
    """Leave in ``out`` a panel, its instrument and a lineage, as a finished run does."""
    files = [write_table(COLUMNS, pair_panel(), out / "pair_panel.parquet")]
    files.append(write_table(PAIR_INSTRUMENT, pair_instrument(), out / "pair_instrument.parquet"))
    lineage = Lineage(out.parent, {"estimate": estimate or {}}, {"lightpanel": "1.2.3"})
    source = out.parent / "灯光 $2019`.tif"
    source.write_bytes(b"light")
    made_from = lineage.add_input("lights", source, year=2019, crs="EPSG:4326")
    for path in files:
        lineage.add_output(path, made_from=[made_from], steps=["panel"])
    write_lineage(out / "lineage.json", lineage, created_utc="2026-01-01T00:00:00+00:00")
    return out
